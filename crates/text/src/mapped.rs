//! A text that remembers where every part of it came from.
//!
//! Cleaning and normalising change the caller's text before it is pronounced; this carries the
//! caller's byte spans through both, so that word times can point into what the caller wrote.
//! Knows nothing of what the changes mean.

use crate::phoneme::Span;
use std::ops::Range;

/// A text made from another, with the source of each stretch of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mapped {
    pub(crate) text: String,
    /// In order; each reaches to the start of the next. The first starts at 0.
    stretches: Vec<Stretch>,
}

#[derive(Clone, Debug)]
struct Stretch {
    /// First byte in `Mapped::text`.
    start: usize,
    /// Where it came from.
    source: Span,
    /// Copied byte by byte; otherwise all of it came from all of `source`.
    verbatim: bool,
}

impl Mapped {
    /// Appends `text`, which stands at `source_start` of the source just so.
    pub(crate) fn push_verbatim(&mut self, text: &str, source_start: usize) {
        if text.is_empty() {
            return;
        }
        let source = source_start..source_start + text.len();
        match self.stretches.last_mut() {
            Some(last) if last.verbatim && last.source.end == source_start => {
                last.source.end = source.end;
            }
            _ => self.stretches.push(Stretch { start: self.text.len(), source, verbatim: true }),
        }
        self.text.push_str(text);
    }

    /// Appends `text`, which was made from the whole of `source`.
    pub(crate) fn push_made(&mut self, text: &str, source: Span) {
        if text.is_empty() {
            return;
        }
        self.stretches.push(Stretch { start: self.text.len(), source, verbatim: false });
        self.text.push_str(text);
    }

    /// Appends the stretch `range` of `from` unchanged.
    pub(crate) fn push_kept(&mut self, from: &Mapped, range: Range<usize>) {
        let mut at = range.start;
        let mut idx = from.stretch_at(at);
        while at < range.end {
            let end = from.stretch_end(idx).min(range.end);
            let stretch = &from.stretches[idx];
            let text = &from.text[at..end];
            if stretch.verbatim {
                self.push_verbatim(text, stretch.source.start + (at - stretch.start));
            } else {
                self.push_made(text, stretch.source.clone());
            }
            at = end;
            idx += 1;
        }
    }

    /// Where the bytes `range` of this text came from. An empty range has an empty source.
    pub(crate) fn source(&self, range: Range<usize>) -> Span {
        if self.stretches.is_empty() {
            return 0..0;
        }
        let start = self.source_of_byte(range.start);
        if range.is_empty() {
            return start.start..start.start;
        }
        start.start..self.source_of_byte(range.end - 1).end.max(start.start)
    }

    /// The source of one byte; of the end of the text, the end of the source.
    fn source_of_byte(&self, at: usize) -> Span {
        let stretch = &self.stretches[self.stretch_at(at)];
        if at >= self.text.len() {
            stretch.source.end..stretch.source.end
        } else if stretch.verbatim {
            let at = stretch.source.start + (at - stretch.start);
            at..at + 1
        } else {
            stretch.source.clone()
        }
    }

    fn stretch_at(&self, at: usize) -> usize {
        self.stretches.partition_point(|stretch| stretch.start <= at).saturating_sub(1)
    }

    fn stretch_end(&self, idx: usize) -> usize {
        self.stretches.get(idx + 1).map_or(self.text.len(), |next| next.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_survive_two_rounds_of_change() {
        // Source: "a \u{fb01}x 5km", the ligature takes bytes 2..5.
        let mut clean = Mapped::default();
        clean.push_verbatim("a ", 0);
        clean.push_made("fi", 2..5);
        clean.push_verbatim("x 5km", 5);
        let mut normal = Mapped::default();
        normal.push_kept(&clean, 0..6);
        normal.push_made("5 kilometers", clean.source(6..9));
        assert_eq!(normal.text, "a fix 5 kilometers");
        assert_eq!(normal.source(2..5), 2..6);
        assert_eq!(normal.source(3..4), 2..5);
        assert_eq!(normal.source(6..7), 7..10);
        assert_eq!(normal.source(8..18), 7..10);
        assert_eq!(normal.source(0..1), 0..1);
        assert_eq!(normal.source(18..18), 10..10);
    }

    #[test]
    fn an_empty_text_has_an_empty_source() {
        assert_eq!(Mapped::default().source(0..0), 0..0);
    }
}
