//! What must hold for every text: checked on texts put together at random from awkward parts.

use koe_text::{
    Boundary, Dialect, Limits, Note, Options, Piece, Span, UserLexicon, Word, is_symbol, phonemize,
    pieces,
};

#[path = "awkward/mod.rs"]
mod awkward;

use awkward::texts;

fn dialect(idx: usize) -> Dialect {
    if idx.is_multiple_of(2) { Dialect::American } else { Dialect::British }
}

/// Holds for symbols with their spans and words, whether of a chunk or of a whole text.
fn check_symbols(text: &str, symbols: &str, spans: &[Span], words: &[Word]) {
    assert_eq!(symbols.chars().count(), spans.len());
    for symbol in symbols.chars() {
        assert!(is_symbol(symbol), "{symbol:?}");
    }
    assert!(
        !symbols.starts_with(' ') && !symbols.ends_with(' ') && !symbols.contains("  "),
        "{symbols:?}"
    );
    for span in spans {
        check_span(text, span);
    }
    assert!(spans.is_sorted_by_key(|span| span.start), "{spans:?}");
    assert!(
        words.is_sorted_by(|a, b| a.span.end <= b.span.start && a.symbols.end <= b.symbols.start),
        "{words:?}"
    );
    for word in words {
        check_span(text, &word.span);
        assert!(!word.span.is_empty(), "{word:?}");
        assert!(
            word.symbols.start < word.symbols.end && word.symbols.end <= spans.len(),
            "{word:?}"
        );
        for span in &spans[word.symbols.clone()] {
            assert!(span.start < word.span.end && word.span.start <= span.end, "{span:?} {word:?}");
        }
    }
}

fn check_span(text: &str, span: &Span) {
    assert!(
        span.start <= span.end && text.get(span.clone()).is_some(),
        "{span:?} of {}",
        text.len()
    );
}

/// The letters and digits of `text` are all in a word, a note, or markup that says how to speak.
fn check_nothing_lost(text: &str, words: &[Word], notes: &[Note], pauses: &[Span]) {
    let mut covered = vec![false; text.len()];
    let spans = words
        .iter()
        .map(|word| &word.span)
        .chain(notes.iter().map(|note| &note.span))
        .chain(pauses);
    for span in spans {
        covered[span.clone()].fill(true);
    }
    let mut in_target = false;
    for (at, c) in text.char_indices() {
        in_target = if in_target { c != ')' } else { text[..at].ends_with("](") };
        assert!(
            covered[at] || in_target || !c.is_alphanumeric(),
            "{c:?} at {at} is lost: {:?}",
            &text[..text.ceil_char_boundary((at + 20).min(text.len()))]
        );
    }
}

#[test]
fn phonemes_lead_back_to_the_text() {
    let lexicon = UserLexicon::default();
    for (idx, text) in texts(800) {
        let spoken = phonemize(&text, dialect(idx), &lexicon);
        check_symbols(&text, &spoken.symbols, &spoken.spans, &spoken.words);
        for note in &spoken.notes {
            check_span(&text, &note.span);
            assert!(!note.span.is_empty(), "{note:?}");
        }
    }
}

#[test]
fn no_letter_or_digit_is_lost_in_silence() {
    let lexicon = UserLexicon::default();
    for (idx, text) in texts(800) {
        let options =
            Options { dialect: dialect(idx), lexicon: &lexicon, limits: Limits::default() };
        let (mut words, mut notes, mut pauses) = (Vec::new(), Vec::new(), Vec::new());
        for piece in pieces(&text, &options) {
            match piece {
                Piece::Speech(chunk) => words.extend(chunk.words),
                Piece::Note(note) => notes.push(note),
                Piece::Pause { span, .. } => pauses.push(span),
            }
        }
        check_nothing_lost(&text, &words, &notes, &pauses);
    }
}

#[test]
fn chunks_are_whole_within_bounds_and_in_order() {
    let lexicon = UserLexicon::default();
    let limits = [
        Limits::default(),
        Limits { first: 1, target: 1, max: 1 },
        Limits { first: 5, target: 10, max: 20 },
        Limits { first: 30, target: 60, max: 510 },
        Limits { first: 510, target: 510, max: 510 },
        Limits { first: 900, target: 900, max: 40 },
        Limits { first: 0, target: 0, max: 0 },
    ];
    for (idx, text) in texts(600) {
        let options = Options {
            dialect: dialect(idx),
            lexicon: &lexicon,
            limits: limits[idx % limits.len()],
        };
        let mut words: Vec<Span> = Vec::new();
        let mut symbols = String::new();
        for piece in pieces(&text, &options) {
            let Piece::Speech(chunk) = piece else { continue };
            let n_symbols = chunk.spans.len();
            assert!((1..=options.limits.max.max(1)).contains(&n_symbols), "{n_symbols}");
            check_symbols(&text, &chunk.symbols, &chunk.spans, &chunk.words);
            symbols.extend(chunk.symbols.chars().filter(|&c| c != ' '));
            for word in chunk.words {
                // A word longer than a chunk is in several.
                if words.last() != Some(&word.span) {
                    words.push(word.span);
                }
            }
        }
        let whole = phonemize(&text, options.dialect, &lexicon);
        let expected: Vec<Span> = whole.words.into_iter().map(|word| word.span).collect();
        assert_eq!(words, expected, "{text:?}");
    }
}

#[test]
fn notes_and_chunks_come_in_the_order_of_the_text() {
    let lexicon = UserLexicon::default();
    for (idx, text) in texts(300) {
        let options =
            Options { dialect: dialect(idx), lexicon: &lexicon, limits: Limits::default() };
        let mut at = 0;
        for piece in pieces(&text, &options) {
            match piece {
                Piece::Speech(chunk) => {
                    assert!(chunk.spans[0].start >= at);
                    at = chunk.spans[0].start;
                }
                Piece::Pause { span, .. } => {
                    assert!(span.start >= at);
                    at = span.end;
                }
                Piece::Note(note) => assert!(note.span.end > at.saturating_sub(1), "{note:?} {at}"),
            }
        }
    }
}

#[test]
fn the_last_chunk_of_a_paragraph_says_so() {
    let lexicon = UserLexicon::default();
    let options =
        Options { dialect: Dialect::American, lexicon: &lexicon, limits: Limits::default() };
    let ends: Vec<Boundary> = pieces("One. Two.\n\nThree, four", &options)
        .filter_map(|piece| match piece {
            Piece::Speech(chunk) => Some(chunk.end),
            _ => None,
        })
        .collect();
    assert_eq!(ends, [Boundary::Paragraph, Boundary::Sentence]);
}
