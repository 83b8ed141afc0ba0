//! Numbers in words: cardinals, ordinals, years, as Python's num2words says them, without "and".
//!
//! Numbers come as ASCII digits of any length and leave as words for the lexicon; what to say for a
//! price or a decade is decided in `number.rs`.

pub(crate) const ONES: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
pub(crate) const TENS: [&str; 10] =
    ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
/// Names of the powers of a thousand; longer numbers are read digit by digit.
const THOUSANDS: [&str; 12] = [
    "",
    "thousand",
    "million",
    "billion",
    "trillion",
    "quadrillion",
    "quintillion",
    "sextillion",
    "septillion",
    "octillion",
    "nonillion",
    "decillion",
];

/// The words of a number given in digits. Leading zeros count for nothing.
pub(super) fn cardinal(digits: &str) -> Vec<&'static str> {
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return vec!["zero"];
    }
    if digits.len() > 3 * THOUSANDS.len() {
        return one_by_one(digits);
    }
    let mut words = Vec::new();
    let n_groups = digits.len().div_ceil(3);
    let mut start = 0;
    for group in (0..n_groups).rev() {
        let end = digits.len() - 3 * group;
        let value = digits[start..end].bytes().fold(0, |n, b| 10 * n + usize::from(b - b'0'));
        start = end;
        if value > 0 {
            below_thousand(value, &mut words);
            words.extend((group > 0).then_some(THOUSANDS[group]));
        }
    }
    words
}

fn below_thousand(value: usize, words: &mut Vec<&'static str>) {
    if value >= 100 {
        words.extend([ONES[value / 100], "hundred"]);
    }
    match value % 100 {
        0 => {}
        rest @ 1..20 => words.push(ONES[rest]),
        rest => {
            words.push(TENS[rest / 10]);
            words.extend((rest % 10 > 0).then_some(ONES[rest % 10]));
        }
    }
}

/// Each digit by itself.
pub(super) fn one_by_one(digits: &str) -> Vec<&'static str> {
    digits.bytes().filter(u8::is_ascii_digit).map(|b| ONES[usize::from(b - b'0')]).collect()
}

/// The words of an ordinal: the last word of the cardinal in another form.
pub(super) fn ordinal(digits: &str) -> Vec<String> {
    let mut words: Vec<String> = cardinal(digits).into_iter().map(str::to_owned).collect();
    if let Some(last) = words.last_mut() {
        *last = match last.as_str() {
            "one" => "first".into(),
            "two" => "second".into(),
            "three" => "third".into(),
            "five" => "fifth".into(),
            "eight" => "eighth".into(),
            "nine" => "ninth".into(),
            "twelve" => "twelfth".into(),
            word => match word.strip_suffix('y') {
                Some(stem) => format!("{stem}ieth"),
                None => format!("{word}th"),
            },
        };
    }
    words
}

/// The words of a year of four digits: 1905 is "nineteen oh five", 2005 "two thousand five".
pub(super) fn year(digits: &str) -> Vec<&'static str> {
    let (high, low) = digits.split_at(digits.len().saturating_sub(2));
    let round = high.ends_with('0') && low.starts_with('0');
    if round || high.bytes().all(|b| b == b'0') {
        return cardinal(digits);
    }
    let mut words = cardinal(high);
    match low.as_bytes() {
        b"00" => words.push("hundred"),
        [b'0', _] => {
            words.push("oh");
            words.extend(cardinal(low));
        }
        _ => words.extend(cardinal(low)),
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cardinals_are_said_in_groups_of_a_thousand() {
        for (digits, words) in [
            ("0", "zero"),
            ("007", "seven"),
            ("13", "thirteen"),
            ("40", "forty"),
            ("99", "ninety nine"),
            ("100", "one hundred"),
            ("342", "three hundred forty two"),
            ("1000", "one thousand"),
            ("1001", "one thousand one"),
            ("20015", "twenty thousand fifteen"),
            ("1000000", "one million"),
            ("1234567", "one million two hundred thirty four thousand five hundred sixty seven"),
            ("1000000000000000000", "one quintillion"),
        ] {
            assert_eq!(cardinal(digits).join(" "), words);
        }
        assert_eq!(cardinal(&"1".repeat(37)).len(), 37);
    }

    #[test]
    fn ordinals_change_their_last_word() {
        for (digits, words) in [
            ("1", "first"),
            ("12", "twelfth"),
            ("20", "twentieth"),
            ("23", "twenty third"),
            ("100", "one hundredth"),
            ("1005", "one thousand fifth"),
        ] {
            assert_eq!(ordinal(digits).join(" "), words);
        }
    }

    #[test]
    fn years_are_said_in_two_halves() {
        for (digits, words) in [
            ("1984", "nineteen eighty four"),
            ("1905", "nineteen oh five"),
            ("1900", "nineteen hundred"),
            ("2000", "two thousand"),
            ("2005", "two thousand five"),
            ("2010", "twenty ten"),
            ("1066", "ten sixty six"),
            ("0042", "forty two"),
            ("0930", "nine thirty"),
        ] {
            assert_eq!(year(digits).join(" "), words);
        }
    }
}
