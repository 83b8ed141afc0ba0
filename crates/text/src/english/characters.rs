//! Kinds of characters, as spaCy's patterns and Python's string methods see them.
//!
//! ASCII is answered here, the rest by tables compiled from spaCy and Python's Unicode data.

use super::blob::{Section, section, u32_at};
use std::sync::LazyLock;

/// A set of characters.
#[derive(Clone, Copy, Debug)]
pub(super) enum Class {
    /// spaCy's `ALPHA`: letters of the scripts it knows.
    Alpha,
    /// spaCy's `ALPHA_LOWER`: lower-case and caseless letters.
    AlphaLower,
    /// spaCy's `ALPHA_UPPER`: upper-case and caseless letters.
    AlphaUpper,
    /// spaCy's `ICONS`: emoji and other symbols.
    Icon,
    /// Python's `isalpha`, the category L.
    Letter,
    /// The category Lu.
    UpperLetter,
    /// The category Ll.
    LowerLetter,
    /// Python's `isdecimal`, the category Nd.
    Decimal,
    /// Python's `isdigit`: decimals, superscripts, circled digits.
    Digit,
}

/// Where the runs of each class lie in the section: byte offset and count.
static RUNS: LazyLock<[(usize, usize); 9]> = LazyLock::new(|| {
    let bytes = section(Section::Classes);
    let mut at = 0;
    std::array::from_fn(|_| {
        let n = u32_at(bytes, at) as usize;
        let runs = (at + 4, n);
        at += 4 + 8 * n;
        runs
    })
});

impl Class {
    /// Whether `c` belongs to the class.
    pub(super) fn has(self, c: char) -> bool {
        if c.is_ascii() {
            return match self {
                Class::Alpha | Class::Letter => c.is_ascii_alphabetic(),
                Class::AlphaLower | Class::LowerLetter => c.is_ascii_lowercase(),
                Class::AlphaUpper | Class::UpperLetter => c.is_ascii_uppercase(),
                Class::Icon => false,
                Class::Decimal | Class::Digit => c.is_ascii_digit(),
            };
        }
        self.run_before(c).is_some_and(|(_, last)| u32::from(c) <= last)
    }

    /// The last run that begins at or below `c`.
    fn run_before(self, c: char) -> Option<(u32, u32)> {
        let bytes = section(Section::Classes);
        let (start, n) = RUNS[self as usize];
        let (mut low, mut high) = (0, n);
        while low < high {
            let middle = low.midpoint(high);
            if u32_at(bytes, start + 8 * middle) <= u32::from(c) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let run = start + 8 * low.checked_sub(1)?;
        Some((u32_at(bytes, run), u32_at(bytes, run + 4)))
    }
}

/// The value of a decimal digit of any script. The digits of a script stand in order, ten by ten.
pub(super) fn decimal_value(c: char) -> Option<u32> {
    if c.is_ascii() {
        return c.to_digit(10);
    }
    let (first, last) = Class::Decimal.run_before(c)?;
    (u32::from(c) <= last).then(|| (u32::from(c) - first) % 10)
}

/// Python's `isspace`: Unicode's white space and the four information separators.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

/// Python's `text == text.lower()`.
pub(super) fn is_lower_or_caseless(text: &str) -> bool {
    if text.is_ascii() {
        return !text.bytes().any(|b| b.is_ascii_uppercase());
    }
    text.chars().all(|c| c.to_lowercase().eq([c]))
}

/// Python's `text == text.upper()`.
pub(super) fn is_upper_or_caseless(text: &str) -> bool {
    if text.is_ascii() {
        return !text.bytes().any(|b| b.is_ascii_lowercase());
    }
    text.chars().all(|c| c.to_uppercase().eq([c]))
}

/// Python's `isalpha`: not empty, letters only.
pub(super) fn is_alphabetic(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| Class::Letter.has(c))
}

/// The first character upper case, the rest lower case.
pub(super) fn capitalize(text: &str) -> String {
    let mut chars = text.chars();
    let mut out: String = chars.next().into_iter().flat_map(char::to_uppercase).collect();
    out.push_str(&chars.as_str().to_lowercase());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_know_their_members() {
        for (class, members, others) in [
            (Class::Alpha, "aZéßЖ日", "1.’ °"),
            (Class::AlphaLower, "aéж日", "AÉЖ1"),
            (Class::AlphaUpper, "AÉЖ日", "aéж1"),
            (Class::Icon, "°©😀", "aéǅ1$"),
            (Class::Letter, "aéǅʰ日", "1² \u{301}"),
            (Class::UpperLetter, "AÉΩ", "aǅ日"),
            (Class::LowerLetter, "aéß", "Aʰ日"),
            (Class::Decimal, "07٣९", "²①a"),
            (Class::Digit, "07٣²①", "½a"),
        ] {
            assert!(members.chars().all(|c| class.has(c)), "{class:?}");
            assert!(!others.chars().any(|c| class.has(c)), "{class:?}");
        }
    }

    #[test]
    fn decimals_of_any_script_have_their_value() {
        for (c, value) in [
            ('7', Some(7)),
            ('٣', Some(3)),
            ('९', Some(9)),
            ('𝟘', Some(0)),
            ('𝟡', Some(9)),
            ('²', None),
        ] {
            assert_eq!(decimal_value(c), value, "{c}");
        }
    }
}
