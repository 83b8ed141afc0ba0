//! What becomes of each character of Unicode, before any rule looks at words.

use unicode_normalization::char::is_combining_mark;

/// What becomes of a character.
pub(super) enum Fate {
    Keep,
    Space,
    /// Never seen and never heard, as a soft hyphen.
    Invisible,
    /// Seen but not heard, and no loss to the ear, as a bullet.
    Drop,
    /// Another way to write this.
    Means(&'static str),
    /// A styled or compatibility form; its plain form is in Unicode's tables.
    Compatibility,
    Digit(char),
    Greek,
    /// A combining mark.
    Mark,
    Unspeakable,
}

/// Signs that are drawn with when there are three or more in a row.
pub(super) fn is_drawing(c: char) -> bool {
    matches!(c, '*' | '_' | '~' | '=' | '#' | '^' | '|' | '+' | '<' | '>' | '/' | '%' | '@')
}

pub(super) fn is_greek(c: char) -> bool {
    matches!(c, '\u{391}'..='\u{3C9}')
}

pub(super) fn fate(c: char) -> Fate {
    match c {
        ' ' | '\t'..='\r' | '\u{85}' => Fate::Space,
        // Marks of code and of escaping; they would be read out as nothing anyway.
        '`' | '\\' => Fate::Drop,
        // The model knows one kind of bracket.
        '[' | '{' => Fate::Means("("),
        ']' | '}' => Fate::Means(")"),
        '!'..='~' => Fate::Keep,
        '\0'..='\u{1F}' | '\u{7F}'..='\u{9F}' => Fate::Unspeakable,
        '\u{A0}' => Fate::Space,
        '\u{AD}' => Fate::Invisible,
        '¢' | '£' | '¥' | '§' | '©' | '°' | '±' | '²' | '³' | '¹' | '¼' | '½' | '¾' | '×' | '÷'
        | 'µ' | '¬' => Fate::Keep,
        '«' => Fate::Means("“"),
        '»' => Fate::Means("”"),
        'ª' => Fate::Means("a"),
        'º' => Fate::Means("°"),
        '´' => Fate::Means("'"),
        '®' | '¡' | '¿' | '·' | '¸' | '¨' | '¯' | '¦' | '¶' => Fate::Drop,
        'À'..='\u{24F}' => Fate::Keep,
        _ if is_greek(c) => Fate::Greek,
        '\u{1E00}'..='\u{1EFF}' => Fate::Keep,
        _ if is_combining_mark(c) => {
            if matches!(c, '\u{FE00}'..='\u{FE0F}' | '\u{E0100}'..='\u{E01EF}' | '\u{34F}') {
                Fate::Invisible
            } else {
                Fate::Mark
            }
        }
        _ => rare_fate(c),
    }
}

/// The fate of what seldom comes in English text.
fn rare_fate(c: char) -> Fate {
    match c {
        // Quotes, dashes and stops.
        '“' | '”' | '‘' | '’' | '…' | '—' | '–' | '′' | '″' | '⁄' => Fate::Keep,
        '„' | '‟' | '〝' | '「' | '『' | '〈' | '《' => Fate::Means("“"),
        '〞' | '〟' | '」' | '』' | '〉' | '》' => Fate::Means("”"),
        '‚' | '‹' | '‛' => Fate::Means("‘"),
        '›' | 'ʼ' => Fate::Means("’"),
        '‐' | '‑' | '⁃' | '﹣' => Fate::Means("-"),
        '‒' => Fate::Means("–"),
        '―' | '⸺' | '⸻' | '─' => Fate::Means("—"),
        '⋯' | '⋮' => Fate::Means("…"),
        '‼' => Fate::Means("!!"),
        '⁇' => Fate::Means("??"),
        '⁈' => Fate::Means("?!"),
        '⁉' => Fate::Means("!?"),
        '‽' => Fate::Means("?!"),
        '。' | '｡' | '।' | '॥' | '۔' | '։' | '።' | '᙮' => Fate::Means(". "),
        '、' | '､' | '،' | '፣' => Fate::Means(", "),
        '؛' => Fate::Means("; "),
        '؟' => Fate::Means("? "),
        '！' => Fate::Means("! "),
        '？' => Fate::Means("? "),
        '，' => Fate::Means(", "),
        '：' => Fate::Means(":"),
        '；' => Fate::Means("; "),
        '【' | '〔' | '〖' => Fate::Means("("),
        '】' | '〕' | '〗' => Fate::Means(")"),
        // Bullets and rules.
        '•'
        | '‣'
        | '◦'
        | '▪'
        | '▫'
        | '■'
        | '□'
        | '●'
        | '○'
        | '∙'
        | '⋅'
        | '・'
        | '‾'
        | '™'
        | '℠'
        | '\u{2500}'..='\u{259F}' => Fate::Drop,
        // What the normaliser calls by name.
        '€'
        | '₹'
        | '₩'
        | '₽'
        | '₿'
        | '₫'
        | '₺'
        | '₴'
        | '₪'
        | '₱'
        | '₦'
        | '฿'
        | '‰'
        | '†'
        | '‡'
        | '−'
        | '∕'
        | '√'
        | '∞'
        | '≈'
        | '≠'
        | '≤'
        | '≥'
        | '∑'
        | '∫'
        | '∂'
        | '∈'
        | '∝'
        | '∴'
        | '⁰'
        | '⁴'..='⁹'
        | '₀'..='₉'
        | '⁺'
        | '⁻'
        | 'ⁿ'
        | '⅐'..='⅞'
        | '↉'
        | '℃'
        | '℉'
        | '℅' => Fate::Keep,
        '∗' => Fate::Means("*"),
        '∶' => Fate::Means(":"),
        '∣' => Fate::Means("|"),
        '∼' | '～' | '〜' => Fate::Means("~"),
        '№' => Fate::Means(" No. "),
        '℗' => Fate::Means("(P)"),
        // Forms of plain characters.
        '\u{FF01}'..='\u{FF5E}' | '\u{FFE0}'..='\u{FFE6}' => Fate::Compatibility,
        '\u{FB00}'..='\u{FB06}' | '\u{1D400}'..='\u{1D7FF}' => Fate::Compatibility,
        '\u{2460}'..='\u{249B}' | '\u{249C}'..='\u{24EA}' => Fate::Compatibility,
        '\u{1F100}'..='\u{1F10A}' | '\u{1F110}'..='\u{1F129}' | '\u{1F130}'..='\u{1F149}' => {
            Fate::Compatibility
        }
        '\u{2160}'..='\u{217F}' | '\u{3371}'..='\u{33DF}' => Fate::Compatibility,
        '\u{210A}'..='\u{2115}'
        | '\u{2118}'..='\u{211D}'
        | '\u{2124}'
        | '\u{2128}'..='\u{2134}' => Fate::Compatibility,
        '\u{2C60}'..='\u{2C7F}' | '\u{A722}'..='\u{A78E}' | '\u{AB30}'..='\u{AB64}' => {
            Fate::Unspeakable
        }
        '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}' => {
            Fate::Invisible
        }
        '\u{FEFF}'
        | '\u{61C}'
        | '\u{180E}'
        | '\u{115F}'
        | '\u{1160}'
        | '\u{3164}'
        | '\u{FFA0}'
        | '\u{E0001}'..='\u{E007F}' => Fate::Invisible,
        _ if c.is_whitespace() => Fate::Space,
        _ => match decimal_digit(c) {
            Some(digit) => Fate::Digit(digit),
            None => Fate::Unspeakable,
        },
    }
}

/// The zeros of the decimal digits (general category Nd) of living scripts outside ASCII, from
/// Unicode 16's `DerivedNumericType.txt`; nine more digits follow each.
const ZEROS: [u32; 38] = [
    0x660, 0x6F0, 0x7C0, 0x966, 0x9E6, 0xA66, 0xAE6, 0xB66, 0xBE6, 0xC66, 0xCE6, 0xD66, 0xDE6,
    0xE50, 0xED0, 0xF20, 0x1040, 0x1090, 0x17E0, 0x1810, 0x1946, 0x19D0, 0x1A80, 0x1A90, 0x1B50,
    0x1BB0, 0x1C40, 0x1C50, 0xA620, 0xA8D0, 0xA900, 0xA9D0, 0xA9F0, 0xAA50, 0xABF0, 0x104A0,
    0x11066, 0x1E950,
];

fn decimal_digit(c: char) -> Option<char> {
    let code = c as u32;
    let idx = ZEROS.partition_point(|&zero| zero <= code).checked_sub(1)?;
    char::from_digit(code - ZEROS[idx], 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digits_of_living_scripts_are_in_order() {
        assert!(ZEROS.is_sorted());
    }
}
