//! English text to Kokoro phonemes: pure, total, linear in the input.
//!
//! No files, clock or network; odd input gives notes, never an error or a panic. Every phoneme
//! symbol keeps the byte span of the caller's text that it came from.
#![forbid(unsafe_code)]

mod chunk;
mod clean;
pub(crate) mod english;
pub(crate) mod letters;
mod mapped;
mod markup;
mod normalize;
pub mod phoneme;
mod segment;
mod speak;

pub use english::{EntryError, UserLexicon, UserLexiconError};
pub use markup::MAX_PAUSE;
pub use phoneme::{
    ALPHABET, Boundary, Chunk, Dialect, Note, NoteKind, Phonemes, Piece, Span, Word, is_symbol,
};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

use chunk::Chunker;
use segment::{Pause, Segment, Segments, segments};
use speak::speak;
use std::collections::VecDeque;

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
///
/// What is wished for grows with what was given. Where chunks are heard while the next ones are
/// made, a small `first` starts the sound soon, and `growth` keeps every chunk short enough to be
/// made while those before it are heard.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// The least wish, and that of the first chunk: short, so that sound starts soon.
    pub first: usize,
    /// What a chunk may wish for, times all that was given before it. Infinity reaches `target`
    /// at once; 0, less, or what is not a number never grows.
    pub growth: f32,
    /// The wish to which chunks grow.
    pub target: usize,
    /// Never exceeded; Kokoro-82M takes at most 510.
    pub max: usize,
    /// The symbols that were given before, so that a text that comes in parts is cut as one.
    pub given: usize,
}

impl Default for Limits {
    /// A first chunk of about four seconds, later ones of about sixteen, never above what
    /// Kokoro-82M can take.
    fn default() -> Self {
        Limits { first: 60, growth: f32::INFINITY, target: 250, max: 510, given: 0 }
    }
}

impl Limits {
    /// The wished length of the next chunk.
    ///
    /// ```
    /// let limits = koe_text::Limits { first: 24, growth: 2.0, target: 160, max: 510, given: 0 };
    /// assert_eq!(limits.wish(), 24);
    /// assert_eq!(koe_text::Limits { given: 20, ..limits }.wish(), 40);
    /// assert_eq!(koe_text::Limits { given: 90, ..limits }.wish(), 160);
    /// ```
    pub fn wish(&self) -> usize {
        // The conversion makes 0 of what is not a number and the largest integer of infinity.
        let grown = f64::from(self.growth) * self.given as f64;
        (grown as usize).max(self.first).min(self.target).clamp(1, self.max.max(1))
    }
}

/// Speaks `text` piece by piece, in the order of the text.
///
/// The iterator is lazy, sentence by sentence: an hour of text starts at once, and memory does not
/// grow with its length.
///
/// ```
/// use koe_text::{Dialect, Limits, Options, Piece, UserLexicon, pieces};
///
/// let text = "Meet [Kokoro](/kˈOkəɹO/) at 3:30pm.";
/// let lexicon = UserLexicon::default();
/// let options = Options { dialect: Dialect::American, lexicon: &lexicon, limits: Limits::default() };
/// let Some(Piece::Speech(chunk)) = pieces(text, &options).next() else { panic!() };
/// assert_eq!(chunk.symbols, "mˈit kˈOkəɹO æt θɹˈi θˈɜɹTi pˌiˈɛm.");
/// assert_eq!(&text[chunk.words[3].span.clone()], "3:30pm");
/// ```
pub fn pieces<'a>(text: &'a str, options: &Options<'a>) -> Pieces<'a> {
    Pieces {
        text,
        options: *options,
        segments: segments(text),
        chunker: Chunker::new(options.limits),
        notes: VecDeque::new(),
        ready: VecDeque::new(),
        is_done: false,
    }
}

/// The iterator that [`pieces`] returns.
#[derive(Clone, Debug)]
pub struct Pieces<'a> {
    text: &'a str,
    options: Options<'a>,
    segments: Segments<'a>,
    chunker: Chunker,
    /// Remarks on text that no chunk given so far has reached.
    notes: VecDeque<Note>,
    ready: VecDeque<Piece>,
    is_done: bool,
}

impl Iterator for Pieces<'_> {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Some(piece);
            }
            if self.is_done {
                return None;
            }
            self.advance();
        }
    }
}

impl Pieces<'_> {
    /// Takes in one more segment of the text.
    fn advance(&mut self) {
        match self.segments.next() {
            Some(Segment::Sentence(sentence)) => {
                let Options { dialect, lexicon, .. } = self.options;
                let ends_paragraph = sentence.end == Boundary::Paragraph;
                let mut line = speak(self.text, sentence, dialect, lexicon);
                self.notes.extend(line.notes.drain(..));
                self.chunker.push(line);
                self.give(ends_paragraph);
            }
            Some(Segment::Pause(Pause { length, span, is_cut })) => {
                self.give(true);
                if is_cut {
                    let note = Note { span: span.clone(), kind: NoteKind::PauseCut };
                    self.ready.push_back(Piece::Note(note));
                }
                self.ready.push_back(Piece::Pause { length, span });
            }
            None => {
                self.give(true);
                self.is_done = true;
            }
        }
    }

    /// Readies the chunks that are complete, each behind the notes about its text.
    fn give(&mut self, flush: bool) {
        while let Some(chunk) = self.chunker.take(flush) {
            let end = chunk.spans.last().map_or(0, |span| span.end);
            while let Some(note) = self.notes.pop_front_if(|note| note.span.start < end) {
                self.ready.push_back(Piece::Note(note));
            }
            self.ready.push_back(Piece::Speech(chunk));
        }
        if flush {
            self.ready.extend(self.notes.drain(..).map(Piece::Note));
        }
    }
}

/// How many bytes of a text that is still arriving can be spoken already: its sentences but the
/// last, which may go on.
///
/// ```
/// assert_eq!(koe_text::whole_sentences("Dr. Who went. Then he ca"), "Dr. Who went. ".len());
/// assert_eq!(koe_text::whole_sentences("Then he came."), 0);
/// ```
pub fn whole_sentences(text: &str) -> usize {
    let last = segments(text).last();
    last.map_or(0, |last| match last {
        Segment::Sentence(sentence) => sentence.span.start,
        Segment::Pause(pause) => pause.span.start,
    })
}

/// The phonemes of the whole of `text` at once. Pauses asked for in markup are left out.
pub fn phonemize(text: &str, dialect: Dialect, lexicon: &UserLexicon) -> Phonemes {
    let mut all = Phonemes::default();
    for segment in segments(text) {
        let Segment::Sentence(sentence) = segment else { continue };
        let line = speak(text, sentence, dialect, lexicon);
        all.notes.extend(line.notes);
        if let (Some(last), Some(next)) = (all.spans.last(), line.spans.first()) {
            let gap = last.end.min(next.start)..next.start;
            all.symbols.push(' ');
            all.spans.push(gap);
        }
        let offset = all.spans.len();
        all.symbols.extend(line.symbols);
        all.spans.extend(line.spans);
        all.words.extend(line.words.into_iter().map(|word| Word {
            span: word.span,
            symbols: word.symbols.start + offset..word.symbols.end + offset,
        }));
    }
    all
}

/// What the port of misaki alone says of `text`, neither cleaned, normalised nor cut into sentences.
/// For comparing it with the reference, in `tests/agreement.rs` and `cargo xtask agreement`.
#[doc(hidden)]
pub fn phonemize_as_misaki(text: &str, dialect: Dialect) -> String {
    let mut all = String::new();
    for token in english::English::get(dialect).phonemize(text, &[], &UserLexicon::default()) {
        all.push_str(&token.phonemes);
        all.push_str(if token.space_after { " " } else { "" });
    }
    all
}

/// `text` as it is read aloud: markup gone, times, dates, units and signs in words. For showing to
/// people; [`pieces`] does this by itself.
pub fn normalize(text: &str, dialect: Dialect, lexicon: &UserLexicon) -> String {
    let mut all = String::new();
    for segment in segments(text) {
        let Segment::Sentence(sentence) = segment else { continue };
        let clean = clean::clean(text, sentence.span, &sentence.inlines);
        let normal = normalize::normalize(clean, dialect, &|word| lexicon.lookup(word).is_some());
        if !normal.mapped.text.is_empty() {
            all.push_str(&normal.mapped.text);
            all.push_str(if sentence.end == Boundary::Paragraph { "\n\n" } else { " " });
        }
    }
    all.truncate(all.trim_end().len());
    all
}
