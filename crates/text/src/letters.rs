//! Letter to sound: a guess at the pronunciation of a word that no dictionary has.
//!
//! A stub for now: it knows nothing. Called by the English front end after every lexicon has failed.

use crate::phoneme::Dialect;

/// The likely pronunciation of `word` in misaki's phoneme alphabet, with stress marks.
pub(crate) fn guess(_word: &str, _dialect: Dialect) -> Option<String> {
    None
}
