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

/// Every symbol that Kokoro-82M knows, in the order of the `vocab` of its `config.json`: 114 of
/// them. The model drops all others without a word, so none may leave this crate.
///
/// `T` is a flap, `A I O Q W Y` are diphthongs and `S` is a long s: a Latin capital that leaks in
/// would be spoken. The lone combining tilde (U+0303) nasalises the vowel before it; composing it
/// into one character would lose the vowel.
pub const ALPHABET: &str = concat!(
    ";:,.!?—…\"()“” \u{303}",
    "ʣʥʦʨᵝꭧAIOQSTWYᵊ",
    "abcdefhijklmnopqrstuvwxyz",
    "ɑɐɒæβɔɕçɖðʤəɚɛɜɟɡɥɨɪʝɯɰŋɳɲɴøɸθœɹɾɻʁɽʂʃʈʧʊʋʌɣɤχʎʒʔ",
    "ˈˌːʰʲ↓→↗↘ᵻ",
);

/// Whether Kokoro-82M knows `symbol`, so that it may stand in [`Chunk::symbols`].
pub fn is_symbol(symbol: char) -> bool {
    if symbol.is_ascii() {
        // ASCII `g` is missing on purpose: the voiced velar is U+0261.
        return matches!(symbol, 'a'..='f' | 'h'..='z' | 'A' | 'I' | 'O' | 'Q' | 'S' | 'T' | 'W' | 'Y')
            || matches!(symbol, ';' | ':' | ',' | '.' | '!' | '?' | '"' | '(' | ')' | ' ');
    }
    ALPHABET.contains(symbol)
}

/// The phonemes of a whole text at once, not cut to the model's size.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Phonemes {
    /// Symbols of [`ALPHABET`], one `char` each, nothing else.
    pub symbols: String,
    /// For every `char` of `symbols`, where it came from.
    pub spans: Vec<Span>,
    /// The spoken words, in order; their indices point into this `symbols`.
    pub words: Vec<Word>,
    /// What could not be spoken as written, in the order of the text.
    pub notes: Vec<Note>,
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
    /// The target of a Markdown link; only the text of the link is spoken.
    LinkTarget,
    /// The mark of a footnote, which is for the eye; it was skipped.
    Footnote,
    /// A pause longer than [`MAX_PAUSE`](crate::MAX_PAUSE); it was cut to that.
    PauseCut,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alphabet_has_the_114_symbols_of_kokoro_once_each() {
        let unique: std::collections::BTreeSet<char> = ALPHABET.chars().collect();
        assert_eq!((ALPHABET.chars().count(), unique.len()), (114, 114));
    }

    #[test]
    fn is_symbol_agrees_with_the_alphabet_on_every_char() {
        for c in '\0'..=char::MAX {
            assert_eq!(is_symbol(c), ALPHABET.contains(c), "{c:?}");
        }
    }
}
