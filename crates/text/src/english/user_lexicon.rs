//! The caller's own pronunciations, looked up before every dictionary.

use std::collections::HashMap;

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

/// A line of a user lexicon that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the lexicon is not a word, a tab and its phonemes")]
pub struct UserLexiconError {
    /// Counted from 1.
    pub line: usize,
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
    /// Says which line has no word, no tab or no phonemes.
    pub fn parse(text: &str) -> Result<UserLexicon, UserLexiconError> {
        let mut lexicon = UserLexicon::new();
        for (i, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (word, phonemes) = line
                .split_once('\t')
                .map(|(word, phonemes)| (word.trim(), phonemes.trim()))
                .filter(|(word, phonemes)| !word.is_empty() && !phonemes.is_empty())
                .ok_or(UserLexiconError { line: i + 1 })?;
            lexicon.insert(word, phonemes);
        }
        Ok(lexicon)
    }

    /// Adds a word, or changes its phonemes.
    pub fn insert(&mut self, word: &str, phonemes: &str) {
        self.words.insert(word.to_owned(), phonemes.to_owned());
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
        for text in ["a\tb\n\nword", "# x\na\tb\n\tb", "# x\na\tb\na\t"] {
            assert_eq!(UserLexicon::parse(text), Err(UserLexiconError { line: 3 }));
        }
    }
}
