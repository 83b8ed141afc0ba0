//! English text to Kokoro phonemes: pure, total, linear in the input.
//!
//! No files, clock or network; odd input gives notes, never an error or a panic. Every phoneme
//! symbol keeps the byte span of the caller's text that it came from.
#![forbid(unsafe_code)]

pub(crate) mod letters;
pub mod phoneme;
mod stand_in;

pub use phoneme::{
    ALPHABET, Boundary, Chunk, Dialect, Note, NoteKind, Phonemes, Piece, Span, Word, is_symbol,
};
pub use stand_in::UserLexicon;

/// How a text is to be spoken and cut.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// Which English.
    pub dialect: Dialect,
    /// The caller's own words, looked up before any dictionary.
    pub lexicon: &'a UserLexicon,
    /// How long the chunks may be.
    pub limits: Limits,
}

/// Lengths of chunks, in phoneme symbols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Wished for the first chunk: short, so that sound starts soon.
    pub first: usize,
    /// Wished for the later chunks.
    pub target: usize,
    /// Never exceeded; Kokoro-82M takes at most 510.
    pub max: usize,
}

impl Default for Limits {
    /// A first chunk of about three seconds, later ones of about fifteen, never above what
    /// Kokoro-82M can take.
    fn default() -> Self {
        Limits { first: 60, target: 250, max: 510 }
    }
}

/// Speaks `text` piece by piece, in the order of the text.
///
/// The iterator is lazy, sentence by sentence: an hour of text starts at once, and memory does not
/// grow with its length.
pub fn pieces<'a>(text: &'a str, options: &Options<'a>) -> Pieces<'a> {
    Pieces { _text: text, _options: *options }
}

/// The iterator that [`pieces`] returns.
#[derive(Clone, Debug)]
pub struct Pieces<'a> {
    _text: &'a str,
    _options: Options<'a>,
}

impl Iterator for Pieces<'_> {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        None
    }
}

/// The phonemes of the whole of `text` at once. Pauses asked for in markup are left out.
pub fn phonemize(_text: &str, _dialect: Dialect, _lexicon: &UserLexicon) -> Phonemes {
    Phonemes::default()
}
