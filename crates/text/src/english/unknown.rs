//! What to say for a word that misaki's dictionaries do not have: CMUdict, a guess, the letters.
//!
//! Never silence for a letter that has a name in English or a digit; signs and scripts that have
//! none stay silent, and the caller is told so by the empty phonemes.

use super::Source;
use super::characters::{Class, decimal_value};
use super::numerals::one_by_one;
use super::word::{Context, Speaker, Spoken, Usage};
use crate::letters;
use std::fmt::Write;
use unicode_normalization::UnicodeNormalization;

/// Longer words are no words; they are spelled.
const MAX_GUESSED: usize = 40;

impl Speaker<'_> {
    /// Says `word` whatever it is; empty if there is nothing in it that can be said.
    pub(super) fn unknown(&self, word: &str, usage: Usage) -> Spoken {
        if let Some(spoken) = self.listed_elsewhere(word) {
            return spoken;
        }
        let latin = to_latin(word);
        if latin.eq_ignore_ascii_case("phd")
            && let Some(spoken) = self.spelled(&latin)
        {
            return spoken;
        }
        if latin != word {
            let context = usage.context.or(Some(Context::default()));
            let usage = Usage { context, ..usage };
            let known = self.word(&latin, usage).or_else(|| self.listed_elsewhere(&latin));
            if let Some(spoken) = known {
                return spoken;
            }
        }
        let letters: String = latin.chars().filter(char::is_ascii_alphabetic).collect();
        let plain = latin.chars().all(|c| c.is_ascii_alphabetic() || "'’‘".contains(c));
        if plain
            && (2..=MAX_GUESSED).contains(&letters.len())
            && let Some(phonemes) = letters::guess(&letters.to_ascii_lowercase(), self.dialect)
            && !phonemes.is_empty()
        {
            return Spoken::new(phonemes, Source::Guess);
        }
        self.letter_by_letter(&latin)
    }

    /// CMUdict's word, or its stem's.
    fn listed_elsewhere(&self, word: &str) -> Option<Spoken> {
        if !word.bytes().all(|b| b.is_ascii_alphabetic() || b == b'\'') || word.len() < 2 {
            return None;
        }
        let word = word.to_ascii_lowercase();
        let known = |word: &str| self.lexicon.bronze(word);
        let strip = |suffix: &str| word.strip_suffix(suffix);
        let phonemes = known(&word)
            .or_else(|| {
                self.plural(&known(strip("'s").or_else(|| strip("s")).or_else(|| strip("s'"))?)?)
            })
            .or_else(|| self.past(&known(strip("ed").or_else(|| strip("d"))?)?))
            .or_else(|| self.gerund(&known(strip("ing")?)?))?;
        Some(Spoken::new(phonemes, Source::Bronze))
    }

    /// The names of the letters and digits, one word each.
    fn letter_by_letter(&self, word: &str) -> Spoken {
        let mut phonemes = String::new();
        for c in word.chars() {
            let name = match decimal_value(c) {
                Some(value) => {
                    let words = one_by_one(&value.to_string());
                    words.first().and_then(|word| self.lookup(word, Usage::default()))
                }
                None if c.is_ascii_alphabetic() => self.spelled(c.encode_utf8(&mut [0; 4])),
                None => None,
            };
            if let Some(name) = name {
                let space = if phonemes.is_empty() { "" } else { " " };
                // Writing to a string cannot fail.
                let _ = write!(phonemes, "{space}{}", name.phonemes);
            }
        }
        let source = if phonemes.is_empty() { Source::None } else { Source::Letters };
        Spoken::new(phonemes, source)
    }
}

/// `word` in Latin letters without marks: é to e, ß to ss, Greek and Cyrillic letter by letter.
/// Whatever has no such form stays as it is.
fn to_latin(word: &str) -> String {
    if word.is_ascii() {
        return word.to_owned();
    }
    let mut latin = String::with_capacity(word.len());
    for c in word.nfkd() {
        if c.is_ascii() {
            latin.push(c);
            continue;
        }
        let lower = c.to_lowercase().next().unwrap_or(c);
        match TO_LATIN.iter().find(|(from, _)| *from == lower) {
            Some((_, to)) if lower != c => {
                let mut letters = to.chars();
                latin.extend(letters.next().map(|first| first.to_ascii_uppercase()));
                latin.push_str(letters.as_str());
            }
            Some((_, to)) => latin.push_str(to),
            // A mark over the letter before.
            None if ('\u{300}'..='\u{36f}').contains(&c) => {}
            None if Class::Letter.has(c) || decimal_value(c).is_some() => latin.push(c),
            None => {}
        }
    }
    latin
}

/// Letters that do not come apart into a Latin one and a mark.
const TO_LATIN: [(char, &str); 76] = [
    ('ß', "ss"),
    ('æ', "ae"),
    ('œ', "oe"),
    ('ø', "o"),
    ('đ', "d"),
    ('ð', "th"),
    ('þ', "th"),
    ('ł', "l"),
    ('ħ', "h"),
    ('ı', "i"),
    ('ŋ', "ng"),
    ('ƒ', "f"),
    ('ə', "e"),
    ('’', "'"),
    ('‘', "'"),
    ('α', "a"),
    ('β', "b"),
    ('γ', "g"),
    ('δ', "d"),
    ('ε', "e"),
    ('ζ', "z"),
    ('η', "e"),
    ('θ', "th"),
    ('ι', "i"),
    ('κ', "k"),
    ('λ', "l"),
    ('μ', "m"),
    ('ν', "n"),
    ('ξ', "x"),
    ('ο', "o"),
    ('π', "p"),
    ('ρ', "r"),
    ('σ', "s"),
    ('ς', "s"),
    ('τ', "t"),
    ('υ', "y"),
    ('φ', "ph"),
    ('χ', "ch"),
    ('ψ', "ps"),
    ('ω', "o"),
    ('а', "a"),
    ('б', "b"),
    ('в', "v"),
    ('г', "g"),
    ('д', "d"),
    ('е', "e"),
    ('ж', "zh"),
    ('з', "z"),
    ('и', "i"),
    ('й', "y"),
    ('к', "k"),
    ('л', "l"),
    ('м', "m"),
    ('н', "n"),
    ('о', "o"),
    ('п', "p"),
    ('р', "r"),
    ('с', "s"),
    ('т', "t"),
    ('у', "u"),
    ('ф', "f"),
    ('х', "kh"),
    ('ц', "ts"),
    ('ч', "ch"),
    ('ш', "sh"),
    ('щ', "shch"),
    ('ъ', ""),
    ('ы', "y"),
    ('ь', ""),
    ('э', "e"),
    ('ю', "yu"),
    ('я', "ya"),
    ('і', "i"),
    ('ї', "yi"),
    ('є', "ye"),
    ('ґ', "g"),
];
