//! Numbers that misaki does not read, or not well: ranges, fractions, leading zeros; and the words
//! for numbers that the other rules need.
//!
//! Plain numbers, years, ordinals and decimals stay as digits; misaki reads those.

use super::field::{Fields, Said};
use crate::english::numerals::{ONES, TENS};

/// `n` below a hundred in words, without a hyphen: misaki would join the halves into one word.
pub(crate) fn below_hundred(n: u32) -> String {
    let n = n as usize % 100;
    match (n / 10, n % 10) {
        (0 | 1, _) => ONES[n].to_owned(),
        (tens, 0) => TENS[tens].to_owned(),
        (tens, ones) => format!("{} {}", TENS[tens], ONES[ones]),
    }
}

/// `n` below a hundred as an ordinal in words.
pub(crate) fn ordinal(n: u32) -> String {
    let cardinal = below_hundred(n);
    let (head, last) = match cardinal.rsplit_once(' ') {
        Some((head, last)) => (format!("{head} "), last),
        None => (String::new(), cardinal.as_str()),
    };
    let last = match last {
        "one" => "first",
        "two" => "second",
        "three" => "third",
        "five" => "fifth",
        "eight" => "eighth",
        "nine" => "ninth",
        "twelve" => "twelfth",
        _ => "",
    };
    if !last.is_empty() {
        return head + last;
    }
    match cardinal.strip_suffix('y') {
        Some(stem) => format!("{stem}ieth"),
        None => format!("{cardinal}th"),
    }
}

/// Every digit of `digits` by itself.
pub(crate) fn digits(digits: &str) -> String {
    let mut words = String::new();
    for digit in digits.bytes().filter(u8::is_ascii_digit) {
        push_word(&mut words, ONES[usize::from(digit - b'0')]);
    }
    words
}

pub(crate) fn push_word(words: &mut String, word: &str) {
    if !words.is_empty() {
        words.push(' ');
    }
    words.push_str(word);
}

/// Digits and nothing else, at least one and at most `max`.
pub(crate) fn parse(text: &str, max: usize) -> Option<u32> {
    let plain = (1..=max.min(9)).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

/// Splits `text` after the number it begins with: digits, grouping commas, one decimal point.
/// The number is empty if there is none.
pub(crate) fn split_number(text: &str) -> (&str, &str) {
    let bytes = text.as_bytes();
    let digit_at = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let mut at = 0;
    let mut seen_point = false;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'0'..=b'9' => {}
            b',' if !seen_point
                && at > 0
                && digit_at(at + 1)
                && digit_at(at + 2)
                && digit_at(at + 3)
                && !digit_at(at + 4) => {}
            b'.' if !seen_point && digit_at(at + 1) => seen_point = true,
            _ => break,
        }
        at += 1;
    }
    text.split_at(at)
}

/// All of `text` is one number as [`split_number`] takes it.
pub(crate) fn is_number(text: &str) -> bool {
    let (number, rest) = split_number(text);
    !number.is_empty() && rest.is_empty()
}

/// Whether the thing counted after `number` stands in the singular.
pub(crate) fn is_one(number: &str) -> bool {
    number == "1"
}

/// `5–10`, `20-30`, `1990-95`: "to". But `50-50` and `80-20` are the parts of a whole.
pub(crate) fn range(fields: &Fields<'_>, idx: usize) -> Option<Said> {
    let core = fields.core(idx);
    let (from, to) = split_range(core)?;
    let is_reading = |text: &str| is_number(text) || is_ordinal(text) || is_decade(text);
    if !is_reading(from) || !is_reading(to) {
        return None;
    }
    let shares = parse(from, 2).zip(parse(to, 2));
    let is_split = shares.is_some_and(|(from, to)| from >= to && from + to == 100);
    fields.say(idx, if is_split { format!("{from} {to}") } else { format!("{from} to {to}") })
}

/// The two ends of what is written like a range, neither empty.
pub(crate) fn split_range(core: &str) -> Option<(&str, &str)> {
    let (from, to) = core.split_once('–').or_else(|| core.split_once('-'))?;
    (!from.is_empty() && !to.is_empty() && !to.contains(['–', '-'])).then_some((from, to))
}

fn is_ordinal(text: &str) -> bool {
    ["st", "nd", "rd", "th"].iter().any(|end| text.strip_suffix(end).is_some_and(is_number))
}

fn is_decade(text: &str) -> bool {
    let text = text.strip_prefix(['\'', '’']).unwrap_or(text);
    text.strip_suffix('s').is_some_and(|number| parse(number, 4).is_some_and(|n| n % 10 == 0))
}

/// `3/4`, `2 1/2`, `½`, `2½`.
pub(crate) fn fraction(fields: &Fields<'_>, idx: usize) -> Option<Said> {
    let core = fields.core(idx);
    let (whole, part) = match core.char_indices().find(|&(_, c)| vulgar(c).is_some()) {
        Some((at, c)) => {
            let (whole, rest) = core.split_at(at);
            if rest.len() != c.len_utf8() {
                return None;
            }
            (whole, vulgar(c)?)
        }
        None => {
            let (above, below) = core.split_once(['/', '⁄', '∕'])?;
            ("", (parse(above, 3)?, parse(below, 4)?))
        }
    };
    if !whole.is_empty() && !is_number(whole) {
        return None;
    }
    let words = fraction_words(part.0, part.1)?;
    if !whole.is_empty() {
        return fields.say(idx, format!("{whole} and {}", after_and(&words)));
    }
    let is_mixed = is_number(fields.previous(idx)) && part.0 < part.1;
    fields.say(idx, if is_mixed { format!("and {}", after_and(&words)) } else { words })
}

fn after_and(words: &str) -> String {
    match words.strip_prefix("one ") {
        Some(part) => format!("a {part}"),
        None => words.to_owned(),
    }
}

fn fraction_words(above: u32, below: u32) -> Option<String> {
    let part = match below {
        2 => "half",
        3 => "third",
        4 => "quarter",
        5 => "fifth",
        6 => "sixth",
        7 => "seventh",
        8 => "eighth",
        9 => "ninth",
        10 => "tenth",
        12 => "twelfth",
        16 => "sixteenth",
        20 => "twentieth",
        32 => "thirty second",
        64 => "sixty fourth",
        100 => "hundredth",
        _ => return None,
    };
    // 10/10 is a mark, 0/5 a score; neither is a fraction to the ear.
    if above == 0 || above >= below && below >= 5 {
        return (above <= below).then(|| format!("{above} out of {below}"));
    }
    if below > 10 && !is_in_lowest_terms(above, below) {
        return None;
    }
    Some(match (above, below) {
        (1, _) => format!("one {part}"),
        (_, 2) => format!("{above} halves"),
        _ => format!("{above} {part}s"),
    })
}

/// Fractions with large parts come reduced; what does not is more likely a date.
fn is_in_lowest_terms(above: u32, below: u32) -> bool {
    !(2..=above).any(|n| above.is_multiple_of(n) && below.is_multiple_of(n))
}

fn vulgar(c: char) -> Option<(u32, u32)> {
    Some(match c {
        '½' => (1, 2),
        '⅓' => (1, 3),
        '⅔' => (2, 3),
        '¼' => (1, 4),
        '¾' => (3, 4),
        '⅕' => (1, 5),
        '⅖' => (2, 5),
        '⅗' => (3, 5),
        '⅘' => (4, 5),
        '⅙' => (1, 6),
        '⅚' => (5, 6),
        '⅐' => (1, 7),
        '⅛' => (1, 8),
        '⅜' => (3, 8),
        '⅝' => (5, 8),
        '⅞' => (7, 8),
        '⅑' => (1, 9),
        '⅒' => (1, 10),
        '↉' => (0, 3),
        _ => return None,
    })
}

/// `007`: digit by digit, where misaki would drop the zeros.
pub(crate) fn leading_zeros(fields: &Fields<'_>, idx: usize) -> Option<Said> {
    let core = fields.core(idx);
    let is_code =
        core.len() >= 2 && core.starts_with('0') && core.bytes().all(|b| b.is_ascii_digit());
    (is_code && core.len() <= 40).then(|| fields.say(idx, digits(core)))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_ends_where_its_grouping_breaks() {
        for (text, number) in [
            ("1,234.5km", "1,234.5"),
            ("1,23", "1"),
            ("5.", "5"),
            (".5x", ".5"),
            ("1.2.3", "1.2"),
            ("1,2345", "1"),
            ("km", ""),
        ] {
            assert_eq!(split_number(text).0, number, "{text}");
        }
    }

    #[test]
    fn words_for_small_numbers() {
        assert_eq!(below_hundred(0), "zero");
        assert_eq!(below_hundred(13), "thirteen");
        assert_eq!(below_hundred(40), "forty");
        assert_eq!(below_hundred(99), "ninety nine");
        for (n, word) in [
            (1, "first"),
            (8, "eighth"),
            (12, "twelfth"),
            (14, "fourteenth"),
            (20, "twentieth"),
            (23, "twenty third"),
        ] {
            assert_eq!(ordinal(n), word);
        }
        assert_eq!(digits("0-9"), "zero nine");
    }
}
