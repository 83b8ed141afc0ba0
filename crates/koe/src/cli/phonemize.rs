//! `koe phonemize`: what the model would be given.

use koe_text::{ALPHABET, Boundary, Dialect, Limits, NoteKind, Options, Piece};
use serde::Serialize;

use super::{Failure, PhonemizeArgs, output, source};
use crate::pipeline::TARGET;

#[derive(Default, Serialize)]
struct Phonemized {
    chunks: Vec<Chunk>,
    notes: Vec<Note>,
}

#[derive(Serialize)]
struct Chunk {
    phonemes: String,
    /// What ends it: `word`, `clause`, `sentence` or `paragraph`.
    end: &'static str,
    words: Vec<Word>,
}

#[derive(Serialize)]
struct Word {
    word: String,
    phonemes: String,
    /// Where it stands in the text, in bytes.
    text_start: usize,
    text_end: usize,
}

#[derive(Serialize)]
struct Note {
    kind: String,
    text: String,
    text_start: usize,
    text_end: usize,
}

pub(super) fn run(args: PhonemizeArgs) -> Result<(), Failure> {
    if args.alphabet {
        let symbols: Vec<String> = ALPHABET
            .chars()
            .map(|symbol| format!("{symbol}\tU+{:04X}\n", u32::from(symbol)))
            .collect();
        return output::print(&symbols.concat());
    }
    let lexicon = source::lexicon(args.text.lexicon.as_deref())?;
    let dialect = args.text.lang.map(Dialect::from).unwrap_or_default();
    // No early sound is wanted here, so the first chunk is like the others.
    let max = koe_engine::MAX_TOKENS;
    let limits = Limits { first: TARGET, target: TARGET, max, ..Limits::default() };
    let options = Options { dialect, lexicon: &lexicon, limits };
    let mut all = Phonemized::default();
    let (mut any, mut any_sound) = (false, false);
    for segment in source::open(&args.text)?.segments {
        let segment = segment.map_err(crate::pipeline::Error::from)?;
        any |= !segment.text.trim().is_empty();
        let text =
            |span: &koe_text::Span| segment.text.get(span.clone()).unwrap_or_default().to_owned();
        for piece in koe_text::pieces(&segment.text, &options) {
            any_sound |= !matches!(piece, Piece::Note(_));
            match piece {
                Piece::Speech(chunk) if !args.json => {
                    output::print(&format!("{}\n", chunk.symbols.trim()))?;
                }
                Piece::Speech(chunk) => {
                    let symbols: Vec<char> = chunk.symbols.chars().collect();
                    let words = chunk.words.iter().map(|word| Word {
                        word: text(&word.span),
                        phonemes: symbols[word.symbols.clone()].iter().collect(),
                        text_start: segment.start + word.span.start,
                        text_end: segment.start + word.span.end,
                    });
                    all.chunks.push(Chunk {
                        words: words.collect(),
                        end: boundary(chunk.end),
                        phonemes: chunk.symbols,
                    });
                }
                Piece::Note(note) => all.notes.push(Note {
                    kind: kind(note.kind),
                    text: text(&note.span),
                    text_start: segment.start + note.span.start,
                    text_end: segment.start + note.span.end,
                }),
                Piece::Pause { .. } => {}
            }
        }
    }
    if !any {
        return Err(crate::pipeline::Error::Empty.into());
    }
    if args.json {
        let text = serde_json::to_string_pretty(&all);
        output::print(&(text.map_err(|error| Failure::failed(error.to_string()))? + "\n"))?;
    }
    match any_sound {
        true => Ok(()),
        false => Err(crate::pipeline::Error::Unspeakable.into()),
    }
}

fn boundary(boundary: Boundary) -> &'static str {
    match boundary {
        Boundary::Word => "word",
        Boundary::Clause => "clause",
        Boundary::Sentence => "sentence",
        Boundary::Paragraph => "paragraph",
    }
}

fn kind(kind: NoteKind) -> String {
    match kind {
        NoteKind::Unspeakable => "unspeakable".into(),
        NoteKind::MalformedMarkup => "malformed markup".into(),
        NoteKind::UnknownPhoneme => "unknown phoneme".into(),
        NoteKind::Guessed => "guessed".into(),
        NoteKind::Spelled => "spelled".into(),
        NoteKind::PauseCut => "pause cut".into(),
        other => format!("{other:?}").to_lowercase(),
    }
}
