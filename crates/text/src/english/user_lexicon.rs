//! The caller's own pronunciations, looked up before every dictionary.
//!
//! Every entry is checked when it is put in, so that a slip is told where it stands and not heard
//! later as a sound that is missing.

use crate::phoneme::is_symbol;
use std::collections::HashMap;

/// The longest word and the longest pronunciation, in characters. Kokoro-82M speaks at most 510
/// symbols at once.
const MAX_CHARS: usize = 500;

/// Words with the phonemes the caller wants for them.
///
/// A word written in lower case matches any capitalisation of it; a word with a capital in it
/// matches only as written, so `Polish` and `polish` may differ. Plurals and other regular endings
/// of a word follow from it.
///
/// ```
/// let lexicon = koe_text::UserLexicon::parse("kokoro\tkˈOkəɹO\n# a remark\nNASA\tnˈæsə").unwrap();
/// assert_eq!(lexicon.lookup("Kokoro"), Some("kˈOkəɹO"));
/// assert_eq!(lexicon.lookup("nasa"), None);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserLexicon {
    words: HashMap<String, String>,
}

/// A line of a user lexicon that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct UserLexiconError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: EntryError,
}

/// Why a word and its phonemes cannot be an entry of a lexicon.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntryError {
    /// One of them is not there, or what stands between them.
    #[error("needed a word, a tab and its phonemes")]
    Incomplete,
    /// Kokoro's alphabet lacks this.
    #[error("{0:?} is not a phoneme of Kokoro's alphabet")]
    UnknownPhoneme(char),
    /// Nothing but marks.
    #[error("the phonemes make no sound")]
    Silent,
    /// No word is this long.
    #[error("{what} of {found} characters, more than the limit of {MAX_CHARS}")]
    TooLong {
        /// `a word` or `phonemes`.
        what: &'static str,
        /// How many there are.
        found: usize,
    },
}

impl UserLexicon {
    /// A lexicon without words.
    pub fn new() -> UserLexicon {
        UserLexicon::default()
    }

    /// Reads lines of `word<TAB>phonemes`. Empty lines and lines that begin with `#` are skipped; of
    /// two entries for a word the later holds.
    ///
    /// # Errors
    /// Says which line has no word, no tab or no phonemes, or phonemes that cannot be spoken.
    pub fn parse(text: &str) -> Result<UserLexicon, UserLexiconError> {
        let mut lexicon = UserLexicon::new();
        for (i, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (word, phonemes) = line.split_once('\t').unwrap_or((line, ""));
            let wrong = |problem| UserLexiconError { line: i + 1, problem };
            lexicon.insert(word, phonemes).map_err(wrong)?;
        }
        Ok(lexicon)
    }

    /// Adds a word, or changes its phonemes. White space around either is no part of it; the letter
    /// `g`, which keyboards have, stands for `ɡ`.
    ///
    /// # Errors
    /// When one of them is missing or too long, or the phonemes are not of [`crate::ALPHABET`].
    pub fn insert(&mut self, word: &str, phonemes: &str) -> Result<(), EntryError> {
        let (word, phonemes) = (word.trim(), phonemes.trim());
        if word.is_empty() || phonemes.is_empty() {
            return Err(EntryError::Incomplete);
        }
        for (what, text) in [("a word", word), ("phonemes", phonemes)] {
            let found = text.chars().count();
            if found > MAX_CHARS {
                return Err(EntryError::TooLong { what, found });
            }
        }
        let phonemes = phonemes.replace('g', "ɡ");
        if let Some(unknown) = phonemes.chars().find(|&c| !is_symbol(c)) {
            return Err(EntryError::UnknownPhoneme(unknown));
        }
        // Stress and length are letters to Unicode, and say nothing alone.
        if !phonemes.contains(|c: char| c.is_alphabetic() && !matches!(c, 'ˈ' | 'ˌ' | 'ː')) {
            return Err(EntryError::Silent);
        }
        self.words.insert(word.to_owned(), phonemes);
        Ok(())
    }

    /// The phonemes of `word`: of the entry written just so, else of the one in lower case.
    pub fn lookup(&self, word: &str) -> Option<&str> {
        if self.words.is_empty() {
            return None;
        }
        let found = self.words.get(word).or_else(|| self.words.get(&word.to_lowercase()));
        found.map(String::as_str)
    }

    /// How many words it has.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Whether it has no words.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_as_written_goes_before_the_one_in_lower_case() {
        let lexicon = UserLexicon::parse("polish\ta\nPolish\tb\n").expect("two entries");
        assert_eq!(lexicon.lookup("Polish"), Some("b"));
        assert_eq!(lexicon.lookup("POLISH"), Some("a"));
        assert_eq!(lexicon.lookup("polishes"), None);
    }

    #[test]
    fn a_bad_line_is_named() {
        let incomplete = |text| {
            let error = UserLexiconError { line: 3, problem: EntryError::Incomplete };
            assert_eq!(UserLexicon::parse(text), Err(error), "{text:?}");
        };
        incomplete("a\tb\n\nword");
        incomplete("# x\na\tb\n\tb");
        incomplete("# x\na\tb\na\t");
    }

    #[test]
    fn what_cannot_be_spoken_is_refused_with_its_line() {
        let long = "a".repeat(MAX_CHARS + 1);
        for (line, problem) in [
            ("a\thəlˈ0", EntryError::UnknownPhoneme('0')),
            ("a\tb\tc", EntryError::UnknownPhoneme('\t')),
            ("a\tˈ.", EntryError::Silent),
            (&*format!("{long}\ta"), EntryError::TooLong { what: "a word", found: 501 }),
            (&*format!("a\t{long}"), EntryError::TooLong { what: "phonemes", found: 501 }),
        ] {
            let found = UserLexicon::parse(&format!("a\tb\n{line}\nc\td"));
            assert_eq!(found, Err(UserLexiconError { line: 2, problem }));
        }
        let longest = &long[1..];
        assert!(UserLexicon::parse(&format!("{longest}\t{longest}")).is_ok());
    }

    #[test]
    fn the_letter_of_keyboards_stands_for_the_voiced_velar() {
        let lexicon = UserLexicon::parse("go\tgˈO").expect("one entry");
        assert_eq!(lexicon.lookup("go"), Some("ɡˈO"));
    }
}
