//! What the front end hands on: phoneme symbols with the source span of each.
//!
//! Made by this crate alone; the engine turns symbols into token ids, the pipeline joins spans
//! with the durations of the tokens to give word times.

/// Bytes `start..end` of the caller's original text, always on character boundaries.
pub type Span = std::ops::Range<usize>;

/// Which English to speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// General American, Kokoro's language code `a`.
    #[default]
    American,
    /// British, Kokoro's language code `b`.
    British,
}

/// A run of phonemes that fits one call of the model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chunk {
    /// Phoneme symbols of Kokoro's vocabulary, one `char` each, nothing else.
    pub symbols: String,
    /// For every `char` of `symbols`, where it came from.
    pub spans: Vec<Span>,
    /// The spoken words, in order.
    pub words: Vec<Word>,
    /// What ends the chunk, which tells how long a rest to leave after it.
    pub end: Boundary,
}

/// One word as the caller wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// Where it stands in the caller's text.
    pub span: Span,
    /// Which symbols speak it: indices into the `char`s of [`Chunk::symbols`].
    pub symbols: std::ops::Range<usize>,
}

/// What stands between a chunk and the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Boundary {
    /// Inside a clause: the chunk was split because it was too long.
    Word,
    /// A comma, semicolon, colon or dash.
    Clause,
    /// The end of a sentence.
    #[default]
    Sentence,
    /// The end of a paragraph.
    Paragraph,
}

/// What comes out of the front end, in the order of the text.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// Something to speak.
    Speech(Chunk),
    /// A pause the caller asked for.
    Pause {
        /// Its length.
        length: std::time::Duration,
        /// The markup that asked for it.
        span: Span,
    },
    /// Something worth telling the caller; nothing is lost in silence.
    Note(Note),
}

/// A remark about a part of the text that could not be spoken as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The part concerned.
    pub span: Span,
    /// What happened.
    pub kind: NoteKind,
}

/// What a [`Note`] remarks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NoteKind {
    /// Skipped: nothing in it can be spoken, such as an emoji or a control character.
    Unspeakable,
    /// Markup that does not parse; it was spoken as text.
    MalformedMarkup,
    /// A phoneme in the caller's markup that Kokoro's vocabulary lacks; it was left out.
    UnknownPhoneme,
    /// In no dictionary: the pronunciation is a guess.
    Guessed,
    /// Spelled letter by letter.
    Spelled,
}
