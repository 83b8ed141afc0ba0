//! Inputs made to break or stall a front end. What is quadratic does not finish here.

use koe_text::{Dialect, Limits, NoteKind, Options, Piece, UserLexicon, phonemize, pieces};

fn count(text: &str) -> (usize, usize, usize) {
    let lexicon = UserLexicon::default();
    let options =
        Options { dialect: Dialect::American, lexicon: &lexicon, limits: Limits::default() };
    let (mut n_chunks, mut n_pauses, mut n_notes) = (0, 0, 0);
    for piece in pieces(text, &options) {
        match piece {
            Piece::Speech(chunk) => {
                assert!(chunk.spans.len() <= 510);
                n_chunks += 1;
            }
            Piece::Pause { .. } => n_pauses += 1,
            Piece::Note(_) => n_notes += 1,
        }
    }
    (n_chunks, n_pauses, n_notes)
}

#[test]
fn a_megabyte_of_one_character_is_spoken_or_skipped() {
    for c in [
        'a', '1', ' ', '\n', '[', ']', '(', '.', ',', '\'', '"', '-', '_', '*', '$', '#', '@', '/',
        ':', '\u{0}', 'é', '\u{301}', '你', '🙂',
    ] {
        count(&c.to_string().repeat(1_000_000 / c.len_utf8()));
    }
}

#[test]
fn forty_kilobytes_of_one_short_pattern_is_spoken_or_skipped() {
    for pattern in [
        "a.",
        "a. ",
        "1:",
        "1-",
        "1/",
        "[a",
        "[a](",
        "[a](/b/)",
        "](",
        "5km",
        "$1",
        "a@b.",
        "\"'",
        ". \"",
        "I V X ",
        "Dr. ",
        "[1]",
        "3:30 p.m. ",
        "+1 555 ",
        "a\u{301}",
    ] {
        count(&pattern.repeat(40_000 / pattern.len()));
    }
}

#[test]
fn nested_brackets_are_text() {
    let text = "[".repeat(100_000) + "word" + &"]".repeat(100_000);
    assert!(count(&text).0 >= 1);
    let text = "[a](".repeat(100_000);
    assert!(count(&text).0 >= 1);
}

#[test]
fn ten_thousand_pauses_are_ten_thousand_pauses() {
    assert_eq!(count(&"[pause:1s]".repeat(10_000)), (0, 10_000, 0));
    assert_eq!(count(&"hi [pause:1s]\n".repeat(10_000)), (10_000, 10_000, 0));
}

#[test]
fn every_plane_of_unicode_is_total() {
    // Every 37th character, alone and inside a word.
    let chars: Vec<char> = ('\u{0}'..=char::MAX).step_by(37).collect();
    for run in chars.chunks(64) {
        let text: String = run.iter().flat_map(|&c| ['a', c, 'b', ' ', c, ' ']).collect();
        count(&text);
    }
}

#[test]
fn what_cannot_be_spoken_is_noted() {
    let lexicon = UserLexicon::default();
    for text in [
        "你好，世界。",
        "Привет, мир!",
        "שלום עולם",
        "مرحبا بالعالم",
        "ภาษาไทย",
        "🙂🙂🙂",
        "\u{0}\u{1}",
        "\u{301}\u{302}",
        "हिन्दी",
    ] {
        let spoken = phonemize(text, Dialect::American, &lexicon);
        assert!(spoken.words.is_empty(), "{text:?}");
        assert!(spoken.notes.iter().all(|note| note.kind == NoteKind::Unspeakable));
        assert!(!spoken.notes.is_empty(), "{text:?}");
        let options =
            Options { dialect: Dialect::American, lexicon: &lexicon, limits: Limits::default() };
        assert!(pieces(text, &options).all(|piece| matches!(piece, Piece::Note(_))), "{text:?}");
    }
}

#[test]
fn nothing_comes_of_nothing() {
    for text in ["", " ", "\n\n\n", "...", "!?", "—", "\"\"", "()", "\u{200b}", "[]", "[]()"] {
        assert_eq!(count(text).0, 0, "{text:?}");
    }
}

#[test]
fn the_first_chunk_needs_only_the_first_sentence() {
    let lexicon = UserLexicon::default();
    let options =
        Options { dialect: Dialect::American, lexicon: &lexicon, limits: Limits::default() };
    // If this read all of it first, taking the first piece 200 times would not end.
    let text =
        "This is the first sentence of a long, long book. And so on it goes. ".repeat(30_000);
    for _ in 0..200 {
        assert!(matches!(pieces(&text, &options).next(), Some(Piece::Speech(_))));
    }
}
