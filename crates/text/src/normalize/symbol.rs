//! Signs that have names: mathematics, Greek letters, and the ASCII signs of formulas.

use super::field::{Fields, Said};
use super::number::{is_number, push_word};
use crate::phoneme::NoteKind;
use crate::segment::footnote;

/// Names of things that rules for their parts would get wrong.
const NAMES: &[(&str, &str)] = &[
    ("C++", "C plus plus"),
    ("c++", "C plus plus"),
    ("C#", "C sharp"),
    ("F#", "F sharp"),
    (".NET", "dot net"),
    ("24/7", "twenty four seven"),
    ("w/", "with"),
    ("w/o", "without"),
    ("b/c", "because"),
    ("c/o", "care of"),
    ("n/a", "N A"),
    ("N/A", "N A"),
    ("TCP/IP", "T C P I P"),
    ("I/O", "I O"),
    ("A/C", "A C"),
    ("H2O", "H 2 O"),
    ("CO2", "C O 2"),
    ("B2B", "B to B"),
    ("B2C", "B to C"),
    ("P2P", "P to P"),
    ("9/11", "nine eleven"),
    ("50/50", "fifty fifty"),
    ("4x4", "four by four"),
    ("->", "to"),
    ("→", "to"),
    ("=>", "to"),
    ("<3", "love"),
    ("e=mc²", "E equals M C squared"),
    ("E=mc²", "E equals M C squared"),
    ("&c", "etcetera"),
    ("km/h", "kilometers per hour"),
    ("No.1", "number 1"),
];

/// A name out of the table.
pub(crate) fn name(fields: &Fields<'_>, idx: usize) -> Option<Said> {
    let core = fields.core(idx);
    if !(2..=8).contains(&core.len()) {
        return None;
    }
    let (_, words) = NAMES.iter().find(|(written, _)| *written == core)?;
    fields.say(idx, *words)
}

/// `word.[12]`, `word¹`: a mark for the eye.
pub(crate) fn footnote_mark(fields: &Fields<'_>, idx: usize) -> Option<Said> {
    let field = &fields.list[idx];
    if field.fixed {
        return None;
    }
    let whole = &fields.text[field.start..field.end];
    let range = if let Some(open) = whole.find('[') {
        let before = whole[..open].chars().next_back()?;
        let is_behind = before.is_alphabetic()
            || matches!(before, '.' | ',' | ';' | '!' | '?' | '"' | '”' | ')');
        let mut end = open;
        while let Some(n) = footnote(&whole[end..]) {
            end += n;
        }
        (is_behind && end > open).then_some(open..end)?
    } else {
        let at = whole.find(superscript_digit)?;
        let n_word = whole[..at].chars().rev().take_while(|c| c.is_alphabetic()).count();
        let is_behind = n_word >= 4 || whole[..at].ends_with(['.', ',', ';', '"', '”']);
        let n: usize =
            whole[at..].chars().take_while(|&c| superscript_digit(c)).map(char::len_utf8).sum();
        is_behind.then_some(at..at + n)?
    };
    let mut said = Said::new(field.start + range.start..field.start + range.end, "");
    said.note = Some(NoteKind::Footnote);
    Some(said)
}

fn superscript_digit(c: char) -> bool {
    matches!(c, '¹' | '²' | '³' | '⁰' | '⁴'..='⁹')
}

/// `H₂O`, `CO₂`, `NaHCO₃`: letters and numbers one by one.
pub(crate) fn chemistry(fields: &Fields<'_>, idx: usize) -> Option<Said> {
    let core = fields.core(idx);
    let subscript =
        |c: char| c.to_digit(10).or(matches!(c, '₀'..='₉').then(|| c as u32 - '₀' as u32));
    if core.is_ascii() || core.len() > 48 || !core.contains(|c| matches!(c, '₀'..='₉')) {
        return None;
    }
    let mut words = String::new();
    let mut after_digit = false;
    for c in core.chars() {
        if let Some(digit) = subscript(c) {
            if !after_digit {
                words.push(' ');
            }
            words.extend(char::from_digit(digit, 10));
            after_digit = true;
        } else {
            let mut utf8 = [0; 4];
            push_word(&mut words, c.to_uppercase().next()?.encode_utf8(&mut utf8));
            after_digit = false;
        }
    }
    fields.say(idx, words.trim_start())
}

/// A field with signs in it that have names.
pub(crate) fn signs(fields: &Fields<'_>, idx: usize) -> Option<Said> {
    let core = fields.core(idx);
    if core.is_ascii() || !core.chars().any(|c| sign_name(c).is_some() || superscript(c).is_some())
    {
        return None;
    }
    let mut words = String::new();
    let mut chars = core.char_indices().peekable();
    let mut word_start = None;
    while let Some((at, c)) = chars.next() {
        let name = sign_name(c);
        if name.is_none() && superscript(c).is_none() {
            word_start.get_or_insert(at);
            continue;
        }
        if let Some(start) = word_start.take() {
            push_rest(&mut words, &core[start..at]);
        }
        if let Some(name) = name {
            push_word(&mut words, name);
            continue;
        }
        let mut power: String = superscript(c).into_iter().collect();
        while let Some(digit) = chars.peek().and_then(|&(_, c)| superscript(c)) {
            power.push(digit);
            chars.next();
        }
        push_power(&mut words, &power);
    }
    if let Some(start) = word_start {
        push_rest(&mut words, &core[start..]);
    }
    fields.say(idx, words)
}

/// What stands beside a sign: `α-helix` keeps its hyphen.
fn push_rest(words: &mut String, rest: &str) {
    if rest.starts_with(char::is_alphanumeric) {
        push_word(words, rest);
    } else {
        words.push_str(rest);
    }
}

fn push_power(words: &mut String, power: &str) {
    match power {
        "2" => push_word(words, "squared"),
        "3" => push_word(words, "cubed"),
        _ => {
            push_word(words, "to the power of");
            for part in power.split_inclusive(['-', '+']) {
                match part.strip_suffix('-') {
                    Some(number) => {
                        if !number.is_empty() {
                            push_word(words, number);
                        }
                        push_word(words, "minus");
                    }
                    None => push_word(words, part.trim_end_matches('+')),
                }
            }
        }
    }
}

fn superscript(c: char) -> Option<char> {
    Some(match c {
        '⁰' => '0',
        '¹' => '1',
        '²' => '2',
        '³' => '3',
        '⁴' => '4',
        '⁵' => '5',
        '⁶' => '6',
        '⁷' => '7',
        '⁸' => '8',
        '⁹' => '9',
        '⁺' => '+',
        '⁻' => '-',
        'ⁿ' => 'n',
        _ => return None,
    })
}

fn sign_name(c: char) -> Option<&'static str> {
    Some(match c {
        '×' => "times",
        '÷' => "divided by",
        '±' => "plus or minus",
        '−' => "minus",
        '∕' | '⁄' => "over",
        '√' => "square root of",
        '∞' => "infinity",
        '≈' => "approximately",
        '≠' => "not equal to",
        '≤' => "less than or equal to",
        '≥' => "greater than or equal to",
        '∑' => "sum of",
        '∫' => "integral of",
        '∂' => "partial",
        '∈' => "in",
        '∝' => "proportional to",
        '∴' => "therefore",
        '¬' => "not",
        '§' => "section",
        '©' => "copyright",
        '°' => "degrees",
        '‰' => "per mille",
        '℅' => "care of",
        '℃' => "degrees Celsius",
        '℉' => "degrees Fahrenheit",
        '¢' => "cents",
        '¥' => "yen",
        '₹' => "rupees",
        '₩' => "won",
        '₽' => "rubles",
        '₿' => "bitcoin",
        '₫' => "dong",
        '₺' => "lira",
        '₴' => "hryvnia",
        '₪' => "shekels",
        '₱' => "pesos",
        '₦' => "naira",
        '฿' => "baht",
        '½' => "one half",
        '¼' => "one quarter",
        '¾' => "three quarters",
        'µ' | 'μ' | 'Μ' => "mu",
        'α' | 'Α' => "alpha",
        'β' | 'Β' => "beta",
        'γ' | 'Γ' => "gamma",
        'δ' | 'Δ' => "delta",
        'ε' | 'Ε' => "epsilon",
        'ζ' | 'Ζ' => "zeta",
        'η' | 'Η' => "eta",
        'θ' | 'Θ' => "theta",
        'ι' | 'Ι' => "iota",
        'κ' | 'Κ' => "kappa",
        'λ' | 'Λ' => "lambda",
        'ν' | 'Ν' => "nu",
        'ξ' | 'Ξ' => "xi",
        'ο' | 'Ο' => "omicron",
        'π' | 'Π' => "pi",
        'ρ' | 'Ρ' => "rho",
        'σ' | 'ς' | 'Σ' => "sigma",
        'τ' | 'Τ' => "tau",
        'υ' | 'Υ' => "upsilon",
        'φ' | 'Φ' => "phi",
        'χ' | 'Χ' => "chi",
        'ψ' | 'Ψ' => "psi",
        'ω' | 'Ω' => "omega",
        _ => return None,
    })
}

/// A sign that is a field of its own: `x = 5`, `5 - 3`, `word - word`.
pub(crate) fn lone_sign(fields: &Fields<'_>, idx: usize) -> Option<Said> {
    let field = &fields.list[idx];
    let whole = &fields.text[field.start..field.end];
    if field.fixed || whole.len() > 3 {
        return None;
    }
    let between = idx > 0 && !fields.is_last(idx);
    let range = field.start..field.end;
    let say = |words: &str| Some(Said::new(range.clone(), words));
    if !between {
        // A bullet at the head of a line is for the eye.
        let is_bullet =
            idx == 0 && matches!(whole, "-" | "–" | "*" | "+" | ">" | "#" | "##" | "###");
        return (is_bullet && fields.list.len() > 1).then(|| Said::new(range.clone(), ""));
    }
    let (left, right) = (fields.core(idx - 1), fields.core(idx + 1));
    let is_formula = is_operand(left) && is_operand(right);
    match whole {
        "=" | "==" => say("equals"),
        "<" => say("less than"),
        ">" => say("greater than"),
        "<=" => say("less than or equal to"),
        ">=" => say("greater than or equal to"),
        "!=" => say("not equal to"),
        "*" if is_formula => say("times"),
        "x" if is_number(left) && is_number(right) => say("by"),
        "/" if is_formula => say("divided by"),
        "^" if is_formula => say("to the power of"),
        "->" | "=>" => say("to"),
        "-" | "–" if is_formula => {
            // In a formula it takes away; between bare numbers it spans.
            let in_formula = fields.text.contains('=') || !is_number(left) || !is_number(right);
            say(if in_formula { "minus" } else { "to" })
        }
        "-" | "–" => say("—"),
        "|" | "||" | "~" => say("—"),
        _ => None,
    }
}

/// A number or the name of a variable.
fn is_operand(core: &str) -> bool {
    is_number(core)
        || core.len() == 1
            && core.bytes().all(|b| b.is_ascii_alphabetic())
            && !matches!(core, "a" | "A" | "I")
}

/// `2+2=4`, `x^2`, `5*3`, `a<b`, `1920x1080`, `key=value`, `~5`.
pub(crate) fn formula(fields: &Fields<'_>, idx: usize) -> Option<Said> {
    let core = fields.core(idx);
    if core.len() > 64 || !core.is_ascii() {
        return None;
    }
    if let Some((width, height)) = core.split_once('x')
        && is_number(width)
        && is_number(height)
    {
        return fields.say(idx, format!("{width} by {height}"));
    }
    if let Some(number) = core.strip_prefix('~').filter(|number| is_number(number)) {
        return fields.say(idx, format!("about {number}"));
    }
    for (sign, words) in [
        ("<=", "at most"),
        (">=", "at least"),
        ("<", "less than"),
        (">", "more than"),
        ("=", "equals"),
    ] {
        if let Some(rest) = core.strip_prefix(sign)
            && is_number(rest.strip_suffix('%').unwrap_or(rest))
        {
            return fields.say(idx, format!("{words} {rest}"));
        }
    }
    arithmetic(core).map(|words| fields.say(idx, words))?
}

/// The signs of formulas; the longer come first.
const SIGNS: [(&str, &str); 12] = [
    ("<=", "less than or equal to"),
    (">=", "greater than or equal to"),
    ("!=", "not equal to"),
    ("==", "equals"),
    ("=", "equals"),
    ("+", "plus"),
    ("-", "minus"),
    ("*", "times"),
    ("/", "over"),
    ("<", "less than"),
    (">", "greater than"),
    ("^", "to the power of"),
];

/// Operands and signs in turn, such as `x^2+y=4`; brackets are not heard.
fn arithmetic(core: &str) -> Option<String> {
    if !core.contains(['=', '+', '*', '<', '>', '^']) {
        return None;
    }
    let mut words = String::new();
    let mut rest = core;
    // What a sign for two stands behind.
    let mut left = "";
    while !rest.is_empty() {
        let (operand, after) = rest.split_at(operand_len(rest));
        if !operand.is_empty() {
            push_word(&mut words, operand);
            (left, rest) = (operand, after);
            continue;
        }
        if let Some(after) = rest.strip_prefix('(') {
            (left, rest) = ("", after);
            continue;
        }
        if let Some(after) = rest.strip_prefix(')') {
            (left, rest) = (")", after);
            continue;
        }
        let &(sign, name) = SIGNS.iter().find(|(sign, _)| rest.starts_with(sign))?;
        let after = &rest[sign.len()..];
        let right = &after[..operand_len(after)];
        // Only a minus may lead; a star between letters masks a word.
        if left.is_empty() && sign != "-" || sign == "*" && !(is_factor(left) && is_factor(right)) {
            return None;
        }
        rest = after;
        left = "";
        let power = match (sign, right) {
            ("^", "2") => Some("squared"),
            ("^", "3") => Some("cubed"),
            _ => None,
        };
        push_word(&mut words, power.unwrap_or(name));
        if power.is_some() {
            (left, rest) = (right, &after[1..]);
        }
    }
    (!left.is_empty()).then_some(words)
}

fn operand_len(text: &str) -> usize {
    let bytes = text.as_bytes();
    let is_inside = |at: usize| {
        bytes[at].is_ascii_alphanumeric()
            || bytes[at] == b'_'
            || matches!(bytes[at], b'.' | b',') && bytes.get(at + 1).is_some_and(u8::is_ascii_digit)
    };
    (0..bytes.len()).take_while(|&at| is_inside(at)).count()
}

fn is_factor(operand: &str) -> bool {
    operand.len() == 1 || is_number(operand) || operand.is_empty()
}
