//! How a number in figures is said: cardinals, ordinals, years, decades, decimals, prices, versions.
//!
//! A port of misaki's `get_number`. Where it drops what was written (2.0 as "two", $1.5 as "one
//! dollar and five cents") this says it.

use super::Source;
use super::numerals::{cardinal, one_by_one, ordinal, year};
use super::word::{Speaker, Spoken, Usage};

/// A currency sign that stands before its number: the unit and its hundredth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Currency {
    sign: char,
    unit: &'static str,
    units: &'static str,
    cent: &'static str,
    cents: &'static str,
}

const CURRENCIES: [Currency; 6] = [
    Currency { sign: '$', unit: "dollar", units: "dollars", cent: "cent", cents: "cents" },
    Currency { sign: '£', unit: "pound", units: "pounds", cent: "pence", cents: "pence" },
    Currency { sign: '€', unit: "euro", units: "euros", cent: "cent", cents: "cents" },
    Currency { sign: '¥', unit: "yen", units: "yen", cent: "sen", cents: "sen" },
    Currency { sign: '₹', unit: "rupee", units: "rupees", cent: "paisa", cents: "paise" },
    Currency { sign: '₩', unit: "won", units: "won", cent: "jeon", cents: "jeon" },
];

impl Currency {
    /// The currency whose sign `text` is.
    pub(super) fn of_sign(text: &str) -> Option<Currency> {
        let mut chars = text.chars();
        let sign = chars.next().filter(|_| chars.as_str().is_empty())?;
        CURRENCIES.into_iter().find(|currency| currency.sign == sign)
    }
}

/// Endings a number may have.
const SUFFIXES: [&str; 9] = ["ing", "'d", "ed", "'s", "st", "nd", "rd", "th", "s"];

/// Whether `word` is a number in figures, with an ending perhaps; a minus only at the head of a word.
pub(super) fn is_number(word: &str, is_head: bool) -> bool {
    let stem = SUFFIXES.iter().find_map(|suffix| word.strip_suffix(suffix)).unwrap_or(word);
    let figures = if is_head { stem.strip_prefix('-').unwrap_or(stem) } else { stem };
    figures.bytes().any(|b| b.is_ascii_digit())
        && figures.bytes().all(|b| b.is_ascii_digit() || b == b',' || b == b'.')
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// The words of a number, gathered.
struct Words<'a> {
    speaker: &'a Speaker<'a>,
    phonemes: Vec<String>,
}

impl Words<'_> {
    fn word(&mut self, word: &str, stress: Option<f32>) {
        let usage = Usage { stress, ..Usage::default() };
        let said = self.speaker.lookup(word, usage);
        let said = said.unwrap_or_else(|| self.speaker.unknown(word, usage));
        self.phonemes.push(said.phonemes);
    }

    /// The name of a unit of money, which may be a plural that no dictionary lists.
    fn unit(&mut self, unit: &str) {
        let said = self.speaker.word(unit, Usage::default());
        let said = said.unwrap_or_else(|| self.speaker.unknown(unit, Usage::default()));
        self.phonemes.push(said.phonemes);
    }

    fn words<'w>(&mut self, words: impl IntoIterator<Item = &'w str>) {
        words.into_iter().for_each(|word| self.word(word, None));
    }

    fn point(&mut self) {
        self.word("point", Some(-2.0));
    }

    /// A number of a code or version: by digits if it begins with 0 or `spelled`, else whole.
    fn part(&mut self, digits: &str, spelled: bool) {
        if spelled || digits.starts_with('0') {
            self.words(one_by_one(digits));
        } else {
            self.words(cardinal(digits));
        }
    }

    /// What stands after the first subtoken of a word, as in B2, A320 or F1000.
    fn code(&mut self, digits: &str) {
        match digits.as_bytes() {
            [b'1'..=b'9', middle, last] if (*middle, *last) != (b'0', b'0') => {
                self.words(cardinal(&digits[..1]));
                if *middle == b'0' {
                    self.word("O", Some(-2.0));
                    self.words(cardinal(&digits[2..]));
                } else {
                    self.words(cardinal(&digits[1..]));
                }
            }
            _ => self.part(digits, digits.len() > 3),
        }
    }

    fn decimal(&mut self, whole: &str, fraction: &str) {
        if !whole.is_empty() {
            self.words(cardinal(whole));
        }
        if !fraction.is_empty() {
            self.point();
            self.words(one_by_one(fraction));
        }
    }

    fn price(&mut self, figures: &str, currency: Currency) {
        let (whole, fraction) = figures.split_once('.').unwrap_or((figures, ""));
        let whole = whole.trim_start_matches('0');
        // A single digit of cents is tens of them.
        let tens = if fraction.len() == 1 { format!("{fraction}0") } else { fraction.to_owned() };
        let cents = tens.trim_start_matches('0');
        if !whole.is_empty() || cents.is_empty() {
            self.words(cardinal(whole));
            self.unit(if whole == "1" { currency.unit } else { currency.units });
            if cents.is_empty() {
                return;
            }
            self.word("and", None);
        }
        self.words(cardinal(cents));
        self.unit(if cents == "1" { currency.cent } else { currency.cents });
    }
}

impl Speaker<'_> {
    /// Says `word`, which [`is_number`].
    pub(super) fn number(
        &self,
        word: &str,
        currency: Option<Currency>,
        is_head: bool,
    ) -> Option<Spoken> {
        let figures = word.trim_end_matches(|c: char| c.is_ascii_lowercase() || c == '\'');
        let suffix = &word[figures.len()..];
        let ordinal_suffix = matches!(suffix, "st" | "nd" | "rd" | "th");
        let mut words = Words { speaker: self, phonemes: Vec::new() };
        let figures = match figures.strip_prefix('-') {
            Some(figures) => {
                words.word("minus", None);
                figures
            }
            None => figures,
        };
        let plain: String = figures.chars().filter(|c| *c != ',').collect();
        let n_dots = plain.bytes().filter(|b| *b == b'.').count();
        let cents = plain.split_once('.').map_or(0, |(_, cents)| cents.len());
        if is_digits(figures) && ordinal_suffix {
            words.words(ordinal(figures).iter().map(String::as_str));
        } else if words.phonemes.is_empty()
            && figures.len() == 4
            && currency.is_none()
            && is_digits(figures)
        {
            words.words(year(figures));
        } else if !is_head && n_dots == 0 {
            words.code(&plain);
        } else if n_dots > 1 || !is_head {
            for part in plain.split('.').filter(|part| !part.is_empty()) {
                let round = part[1..].bytes().all(|b| b == b'0');
                words.part(part, part.len() != 2 && !round);
            }
        } else if let Some(currency) = currency
            && cents < 3
        {
            words.price(&plain, currency);
        } else if ordinal_suffix && n_dots == 0 {
            words.words(ordinal(&plain).iter().map(String::as_str));
        } else {
            let (whole, fraction) = plain.split_once('.').unwrap_or((&plain, ""));
            words.decimal(whole, fraction);
        }
        if words.phonemes.is_empty() {
            return None;
        }
        let phonemes = words.phonemes.join(" ");
        let ended = match suffix {
            "s" | "'s" => self.plural(&phonemes),
            "ed" | "'d" => self.past(&phonemes),
            "ing" => self.gerund(&phonemes),
            _ => None,
        };
        Some(Spoken::new(ended.unwrap_or(phonemes), Source::Number))
    }

    /// `spoken` with the plural of the currency after it, for "5 million" after a dollar sign.
    pub(super) fn with_currency(&self, spoken: Spoken, currency: Option<Currency>) -> Spoken {
        let units = currency.and_then(|currency| self.word(currency.units, Usage::default()));
        match units {
            Some(units) => {
                Spoken { phonemes: format!("{} {}", spoken.phonemes, units.phonemes), ..spoken }
            }
            None => spoken,
        }
    }
}
