//! What must hold for every text: checked on texts put together at random from awkward parts.

use koe_text::{
    Boundary, Dialect, Limits, MAX_PAUSE, Note, NoteKind, Options, Piece, Span, UserLexicon, Word,
    is_symbol, phonemize, pieces,
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

fn limits(first: usize, growth: f32, target: usize, max: usize) -> Limits {
    Limits { first, growth, target, max, given: 0 }
}

#[test]
fn chunks_are_whole_within_bounds_and_in_order() {
    let lexicon = UserLexicon::default();
    let all_limits = [
        Limits::default(),
        limits(1, f32::INFINITY, 1, 1),
        limits(5, f32::INFINITY, 10, 20),
        limits(30, f32::INFINITY, 60, 510),
        limits(510, f32::INFINITY, 510, 510),
        limits(900, f32::INFINITY, 900, 40),
        limits(0, f32::INFINITY, 0, 0),
        limits(24, 1.5, 160, 510),
        limits(1, 1.01, 510, 510),
        limits(30, 0.0, 160, 200),
        limits(30, -f32::INFINITY, 160, 200),
        limits(30, f32::NAN, 160, 200),
        limits(usize::MAX, 2.0, usize::MAX, usize::MAX),
    ];
    for (idx, text) in texts(600) {
        let options = Options {
            dialect: dialect(idx),
            lexicon: &lexicon,
            limits: all_limits[idx % all_limits.len()],
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
fn a_pause_that_is_cut_is_told_just_before_it() {
    let lexicon = UserLexicon::default();
    let options =
        Options { dialect: Dialect::American, lexicon: &lexicon, limits: Limits::default() };
    let text = "One. [pause:600s] Two. [pause:60s] Three.";
    let found: Vec<Piece> = pieces(text, &options).collect();
    let cut = found.iter().position(|piece| matches!(piece, Piece::Note(_))).expect("a note");
    let span = 5..17;
    let note = Note { span: span.clone(), kind: NoteKind::PauseCut };
    assert_eq!(found[cut], Piece::Note(note));
    assert_eq!(found[cut + 1], Piece::Pause { length: MAX_PAUSE, span });
    assert_eq!(found.iter().filter(|piece| matches!(piece, Piece::Note(_))).count(), 1);
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

/// Sentences of `n_words` words each, without a comma.
fn sentences(n_sentences: usize, n_words: usize) -> String {
    let words = ["seven", "green", "bottles", "standing", "over", "there", "where", "nobody"];
    let sentence = |idx: usize| {
        let words: Vec<&str> = (0..n_words).map(|at| words[(idx * 3 + at) % 8]).collect();
        words.join(" ")
    };
    (0..n_sentences).map(|idx| sentence(idx) + ". ").collect()
}

fn chunk_lengths(text: &str, limits: Limits) -> Vec<usize> {
    let lexicon = UserLexicon::default();
    let options = Options { dialect: Dialect::American, lexicon: &lexicon, limits };
    let lengths = pieces(text, &options).filter_map(|piece| match piece {
        Piece::Speech(chunk) => Some(chunk.spans.len()),
        _ => None,
    });
    lengths.collect()
}

#[test]
fn chunks_grow_no_faster_than_asked_and_do_reach_the_target() {
    // Short sentences end close to any wish; the long ones must be cut within.
    for text in [sentences(400, 3), sentences(40, 60)] {
        for (first, growth) in [(24, 0.4_f32), (24, 1.4), (40, 1.0), (60, 4.0), (100, 0.0)] {
            let lengths = chunk_lengths(&text, limits(first, growth, 160, 510));
            let mut limits = limits(first, growth, 160, 510);
            let mut last_wish = first;
            for (idx, &length) in lengths[..lengths.len() - 1].iter().enumerate() {
                let wish = limits.wish();
                assert!((last_wish..=160).contains(&wish));
                assert!(wish == first || wish as f32 <= limits.given as f32 * growth);
                assert!(
                    (20.min(wish / 3)..=wish * 2).contains(&length),
                    "{length} for a wish of {wish} in chunk {idx} at {first} × {growth}",
                );
                limits.given += length;
                last_wish = wish;
            }
            assert_eq!(last_wish == 160, growth > 0.0, "{first} × {growth} reaches the target");
        }
    }
}

#[test]
fn a_number_is_whole_if_it_can_be_and_else_cut_between_the_words_it_is_read_as() {
    let text = "It is 98765432123456789 and so on.";
    let lexicon = UserLexicon::default();
    let symbols = |max: usize| -> Vec<String> {
        let limits = limits(24, 0.0, 24, max);
        let options = Options { dialect: Dialect::American, lexicon: &lexicon, limits };
        let chunks = pieces(text, &options).filter_map(|piece| match piece {
            Piece::Speech(chunk) => Some(chunk),
            _ => None,
        });
        chunks.map(|chunk| chunk.symbols).collect()
    };
    let (whole, cut) = (symbols(510), symbols(50));
    assert_eq!(whole.len(), 2, "{whole:?}");
    assert!(cut.len() > 4 && cut.iter().all(|chunk| chunk.chars().count() <= 50), "{cut:?}");
    assert_eq!(cut.join(" "), whole.join(" "));
}

#[test]
fn endless_growth_reaches_the_target_at_once() {
    let text = sentences(400, 3);
    for big in [f32::INFINITY, f32::MAX, 1000.0] {
        assert_eq!(Limits { given: 1, ..limits(0, big, 160, 510) }.wish(), 160);
        assert_eq!(
            chunk_lengths(&text, limits(30, big, 160, 510)),
            chunk_lengths(&text, limits(30, f32::INFINITY, 160, 510))
        );
    }
}

#[test]
fn a_first_chunk_ends_near_its_wish_where_a_speaker_could_rest() {
    let lexicon = UserLexicon::default();
    // No sentence ends early; the second has a comma, the third words that open a phrase.
    for (text, end) in [
        (sentences(3, 60), Boundary::Word),
        (sentences(3, 60).replace("there", "there,"), Boundary::Clause),
        (sentences(3, 60).replace("over", "and over"), Boundary::Word),
    ] {
        for first in [20, 24, 30, 40, 60] {
            let limits = limits(first, 1.5, 160, 510);
            let options = Options { dialect: Dialect::American, lexicon: &lexicon, limits };
            let Some(Piece::Speech(chunk)) = pieces(&text, &options).next() else {
                panic!("the text begins with speech")
            };
            let length = chunk.spans.len();
            // A comma may be up to twice as far; where words alone are to choose from, one is near.
            let most = if end == Boundary::Clause { first * 2 } else { first * 3 / 2 };
            assert!((first / 2..=most).contains(&length), "{length} for {first}: {text}");
            let last = chunk.words.last().expect("a chunk has words");
            let behind = &text[last.span.end..];
            assert!(behind.starts_with([' ', ',']), "no word is cut: {behind:?}");
            if end == Boundary::Clause && first >= 40 {
                assert_eq!(chunk.end, Boundary::Clause, "{first}: {:?}", chunk.symbols);
            }
        }
    }
}
