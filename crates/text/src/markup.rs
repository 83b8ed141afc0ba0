//! The three pieces of inline markup: how a word sounds, how strongly, and pauses.
//!
//! Reads one construct at an opening bracket; finding the brackets is the segmenter's work. The
//! grammar is that of misaki and Kokoro-FastAPI: `[Kokoro](/kˈOkəɹO/)`, `[word](+1)`,
//! `[pause:0.5s]`. What does not parse is spoken as text, with a note.

use crate::phoneme::{NoteKind, Span};
use std::ops::Range;
use std::time::Duration;

/// The longest pause that markup may ask for; longer ones are cut to it, with a note. Kokoro-FastAPI
/// has the same bound.
pub const MAX_PAUSE: Duration = Duration::from_secs(60);

/// The longest construct, in bytes; what is longer is text. Also keeps a sentence with markup in
/// it small.
const MAX_MARKUP: usize = 1000;

/// What stands at an opening bracket.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Markup {
    Pause {
        length: Duration,
        /// All of it, brackets included.
        span: Span,
        /// More was asked for than [`MAX_PAUSE`].
        is_cut: bool,
    },
    Inline(Inline),
    /// Meant as markup but wrong. `[` is text; the note covers the span.
    Malformed(Span),
}

/// A word with a wish about how to say it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Inline {
    /// All of it, brackets included.
    pub(crate) span: Span,
    /// The text between the square brackets.
    pub(crate) word: Range<usize>,
    pub(crate) wish: Wish,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Wish {
    /// Say it with these phonemes, not yet held against the alphabet.
    Phonemes(Range<usize>),
    /// Raise or lower the stress; misaki's scale from -2 (none) to 2 (primary).
    Stress(f32),
    /// Nothing but the text: the target of a link, left out of the speech.
    Link(Range<usize>),
}

/// Reads the markup whose `[` stands at byte `open` of `text`; `None` if it is plain text.
///
/// Looks no further than [`MAX_MARKUP`] bytes, so that calling it at every `[` of a text costs time
/// linear in the text.
pub(crate) fn parse(text: &str, open: usize) -> Option<Markup> {
    let text = &text[..text.floor_char_boundary(open + MAX_MARKUP)];
    let inside = open + 1;
    let close = inside + text[inside..].find(['[', ']'])?;
    if text.as_bytes()[close] == b'[' {
        return None;
    }
    let word = inside..close;
    if let Some(length) = strip_prefix_ignore_case(&text[word.clone()], "pause:") {
        let span = open..close + 1;
        return Some(match parse_pause(length) {
            Some(length) => {
                let is_cut = length > MAX_PAUSE;
                Markup::Pause { length: length.min(MAX_PAUSE), span, is_cut }
            }
            None => Markup::Malformed(span),
        });
    }
    let target = text[close + 1..].strip_prefix('(')?;
    let target_start = close + 2;
    let Some(n_target) = target.find(['(', ')', '[', ']', '\n']) else {
        return looks_meant(target).then_some(Markup::Malformed(open..target_start));
    };
    let target = target_start..target_start + n_target;
    let span = open..target.end + 1;
    if text.as_bytes()[target.end] != b')' {
        return looks_meant(&text[target.clone()]).then_some(Markup::Malformed(open..target.end));
    }
    let is_blank = text[word.clone()].trim().is_empty();
    let wish = parse_wish(text, target);
    Some(match wish {
        Some(wish) if !is_blank => Markup::Inline(Inline { span, word, wish }),
        _ => Markup::Malformed(span),
    })
}

/// Whether an unclosed target began like a phoneme or stress wish, so that a note is in order.
fn looks_meant(target: &str) -> bool {
    target.starts_with(['/', '+', '-'])
}

fn parse_wish(text: &str, target: Range<usize>) -> Option<Wish> {
    let written = &text[target.clone()];
    if written.len() > 2 && written.starts_with('/') && written.ends_with('/') {
        let phonemes = target.start + 1..target.end - 1;
        return (!text[phonemes.clone()].trim().is_empty()).then_some(Wish::Phonemes(phonemes));
    }
    if let Some(stress) = parse_stress(written) {
        return Some(Wish::Stress(stress));
    }
    is_link_target(written).then_some(Wish::Link(target))
}

/// misaki takes whole numbers and halves; what lies outside -2 to 2 acts like the end it passed.
fn parse_stress(written: &str) -> Option<f32> {
    let digits = written.strip_prefix(['+', '-']).unwrap_or(written);
    let plain = (1..=4).contains(&digits.len())
        && digits.bytes().all(|b| b.is_ascii_digit() || b == b'.')
        && digits.bytes().any(|b| b.is_ascii_digit());
    let stress: f32 = if plain { written.parse().ok()? } else { return None };
    (stress * 2.0 == (stress * 2.0).round()).then(|| stress.clamp(-2.0, 2.0))
}

/// Markdown links come with web pages and chat answers; their target is not for the ear.
fn is_link_target(written: &str) -> bool {
    let target = written.trim();
    !target.is_empty()
        && !target.contains(char::is_whitespace)
        && (target.contains("://")
            || target.starts_with(['#', '.'])
            || ["www.", "mailto:", "tel:"].iter().any(|prefix| target.starts_with(prefix))
            || target.starts_with('/') && !target.ends_with('/')
            || target.contains('.') && target.contains(|c: char| c.is_ascii_alphabetic()))
}

fn parse_pause(written: &str) -> Option<Duration> {
    let written = written.trim();
    let lower = written.to_ascii_lowercase();
    let (number, scale) = if let Some(number) = lower.strip_suffix("ms") {
        (number, 0.001)
    } else {
        (lower.strip_suffix('s')?, 1.0)
    };
    let number = number.trim_end();
    // `parse` would take signs, exponents, `inf` and `nan`; pauses are plain decimals.
    let plain = (1..=32).contains(&number.len())
        && number.bytes().all(|b| b.is_ascii_digit() || b == b'.')
        && number.starts_with(|c: char| c.is_ascii_digit());
    let seconds = if plain { number.parse::<f64>().ok()? * scale } else { return None };
    // What no `Duration` can hold is too long in any case.
    Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}

fn strip_prefix_ignore_case<'t>(text: &'t str, prefix: &str) -> Option<&'t str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then(|| &text[prefix.len()..])
}

impl Wish {
    /// The note that goes with the wish, if any.
    pub(crate) fn note(&self) -> Option<(Span, NoteKind)> {
        match self {
            Wish::Link(target) => Some((target.clone(), NoteKind::LinkTarget)),
            Wish::Phonemes(_) | Wish::Stress(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pause_ms(text: &str) -> Option<u128> {
        match parse(text, 0)? {
            Markup::Pause { length, span, is_cut } => {
                assert_eq!(span.start, 0);
                assert_eq!(is_cut, text.contains("60000") || text.contains("999"), "{text}");
                Some(length.as_millis())
            }
            _ => None,
        }
    }

    fn wish(text: &str) -> Option<Wish> {
        match parse(text, 0)? {
            Markup::Inline(inline) => Some(inline.wish),
            _ => None,
        }
    }

    #[test]
    fn pauses_are_plain_seconds_or_milliseconds_up_to_a_minute() {
        assert_eq!(pause_ms("[pause:0.5s]"), Some(500));
        assert_eq!(pause_ms("[PAUSE: 2 s] x"), Some(2000));
        assert_eq!(pause_ms("[pause:250ms]"), Some(250));
        assert_eq!(pause_ms("[pause:0s]"), Some(0));
        assert_eq!(pause_ms("[pause:60s]"), Some(60_000));
        assert_eq!(pause_ms("[pause:60000.1ms]"), Some(60_000));
        assert_eq!(pause_ms("[pause:99999s]"), Some(60_000));
        assert_eq!(pause_ms(&format!("[pause:{}s]", "9".repeat(32))), Some(60_000));
        for wrong in [
            "[pause:s]",
            "[pause:-1s]",
            "[pause:1]",
            "[pause:1e3s]",
            "[pause:infs]",
            "[pause:.5s]",
            "[pause:1.2.3s]",
        ] {
            assert_eq!(parse(wrong, 0), Some(Markup::Malformed(0..wrong.len())), "{wrong}");
        }
    }

    #[test]
    fn stress_is_a_whole_number_or_a_half() {
        assert_eq!(wish("[word](+1)"), Some(Wish::Stress(1.0)));
        assert_eq!(wish("[word](-2)"), Some(Wish::Stress(-2.0)));
        assert_eq!(wish("[word](0.5)"), Some(Wish::Stress(0.5)));
        assert_eq!(wish("[word](-0.5)"), Some(Wish::Stress(-0.5)));
        assert_eq!(wish("[word](9)"), Some(Wish::Stress(2.0)));
        assert_eq!(parse("[word](0.3)", 0), Some(Markup::Malformed(0..11)));
        assert_eq!(parse("[word](+)", 0), Some(Markup::Malformed(0..9)));
    }

    #[test]
    fn phonemes_stand_between_slashes() {
        let text = "[Kokoro](/kˈOkəɹO/) x";
        match wish(text) {
            Some(Wish::Phonemes(range)) => assert_eq!(&text[range], "kˈOkəɹO"),
            other => panic!("{other:?}"),
        }
        assert_eq!(parse("[Kokoro](//)", 0), Some(Markup::Malformed(0..12)));
        assert_eq!(parse("[ ](/a/)", 0), Some(Markup::Malformed(0..8)));
        assert_eq!(parse("[a](/b", 0), Some(Markup::Malformed(0..4)));
    }

    #[test]
    fn links_speak_their_text_only() {
        for target in
            ["https://example.com/a", "/docs/intro", "#top", "../readme.md", "mailto:a@b.c"]
        {
            assert!(matches!(wish(&format!("[text]({target})")), Some(Wish::Link(_))), "{target}");
        }
        assert_eq!(parse("[text](see also)", 0), Some(Markup::Malformed(0..16)));
    }

    #[test]
    fn brackets_without_a_target_are_text() {
        for text in ["[1]", "[sic] he said", "[", "[[a](b)", "[open", "[a] (b)"] {
            assert_eq!(parse(text, 0), None, "{text}");
        }
    }
}
