//! Holds the place of the English front end until it lands.
//!
//! Not for speaking: only the types that callers name.

/// The caller's own pronunciations.
#[derive(Clone, Debug, Default)]
pub struct UserLexicon {}
