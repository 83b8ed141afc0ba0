//! Sentences, found lazily in the caller's own text, with the markup that stands in them.
//!
//! A sentence is what the tagger and the pronunciation of a word look at; a missed or extra end
//! costs little, since chunks are cut by what is heard (see `chunk`). No sentence is longer than
//! [`WINDOW`], so that every later stage works on bounded text whatever comes in.

use crate::markup::{self, Inline, Markup};
use crate::normalize::abbreviation;
use crate::phoneme::{Boundary, Note, NoteKind, Span};
use std::time::Duration;

/// The longest sentence, in bytes. Longer ones are cut where a clause or at least a word ends. The
/// longest sentence of "Ulysses" aside, prose stays below.
pub(crate) const WINDOW: usize = 2000;

/// What the text consists of.
#[derive(Debug, PartialEq)]
pub(crate) enum Segment {
    Sentence(Sentence),
    Pause(Pause),
}

/// A rest that the caller asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pause {
    pub(crate) length: Duration,
    /// The markup.
    pub(crate) span: Span,
    /// More was asked for than is given.
    pub(crate) is_cut: bool,
}

/// A stretch of the text to be pronounced in one go.
#[derive(Debug, PartialEq)]
pub(crate) struct Sentence {
    /// Without white space at its ends.
    pub(crate) span: Span,
    pub(crate) inlines: Vec<Inline>,
    /// About markup that does not parse.
    pub(crate) notes: Vec<Note>,
    pub(crate) end: Boundary,
}

/// The segments of `text`, in order.
pub(crate) fn segments(text: &str) -> Segments<'_> {
    Segments { text, at: 0, pause: None }
}

#[derive(Clone, Debug)]
pub(crate) struct Segments<'t> {
    text: &'t str,
    at: usize,
    /// Found at the end of the last sentence and not yet handed out.
    pause: Option<Pause>,
}

impl Iterator for Segments<'_> {
    type Item = Segment;

    fn next(&mut self) -> Option<Segment> {
        if let Some(pause) = self.pause.take() {
            return Some(Segment::Pause(pause));
        }
        self.at += leading_space(&self.text[self.at..]);
        if self.at == self.text.len() {
            return None;
        }
        let mut scan = Scan {
            text: self.text,
            start: self.at,
            at: self.at,
            inlines: Vec::new(),
            notes: Vec::new(),
            line_start: self.at,
            last_break: None,
        };
        let (end, boundary, next) = loop {
            match scan.step() {
                Step::On => {}
                Step::End { end, boundary, next } => break (end, boundary, next),
                Step::Pause(pause) => {
                    let Span { start, end } = pause.span;
                    self.pause = Some(pause);
                    break (start, end_before_pause(&self.text[scan.start..start]), end);
                }
            }
        };
        self.at = next;
        let end = scan.start + self.text[scan.start..end].trim_end().len();
        if end == scan.start {
            return self.next_after_empty();
        }
        Some(Segment::Sentence(Sentence {
            span: scan.start..end,
            inlines: scan.inlines,
            notes: scan.notes,
            end: boundary,
        }))
    }
}

impl Segments<'_> {
    /// Only a pause can stand where a sentence would begin.
    fn next_after_empty(&mut self) -> Option<Segment> {
        self.pause.take().map(Segment::Pause)
    }
}

/// A pause rests by itself; what stands before it ends only as far as it is written.
fn end_before_pause(text: &str) -> Boundary {
    match text.trim_end().trim_end_matches(is_closer).chars().next_back() {
        Some('.' | '!' | '?' | '…') => Boundary::Sentence,
        Some(',' | ';' | ':' | '—' | '–') => Boundary::Clause,
        _ => Boundary::Word,
    }
}

enum Step {
    On,
    End { end: usize, boundary: Boundary, next: usize },
    Pause(Pause),
}

struct Scan<'t> {
    text: &'t str,
    start: usize,
    at: usize,
    inlines: Vec<Inline>,
    notes: Vec<Note>,
    /// Where the line began that `at` is in.
    line_start: usize,
    /// Where to cut if the sentence grows too long, and what that place is.
    last_break: Option<(usize, Boundary)>,
}

impl Scan<'_> {
    fn step(&mut self) -> Step {
        let bytes = self.text.as_bytes();
        // Letters and digits, nearly all of a text, end nothing.
        let n_dull = bytes[self.at..]
            .iter()
            .take(WINDOW + 1)
            .take_while(|b| b.is_ascii_alphanumeric())
            .count();
        self.at += n_dull;
        if self.at - self.start > WINDOW {
            return self.cut();
        }
        let Some(c) = self.text[self.at..].chars().next() else {
            return Step::End { end: self.at, boundary: Boundary::Sentence, next: self.at };
        };
        let here = self.at;
        match c {
            '[' => return self.bracket(),
            '.' | '!' | '?' | '…' | '。' | '！' | '？' | '｡' | '।' | '؟' | '۔' | '‼' | '⁇'
            | '⁈' | '⁉' | '‽' => return self.stop(),
            '\u{2029}' | '\u{C}' => {
                return Step::End {
                    end: here,
                    boundary: Boundary::Paragraph,
                    next: here + c.len_utf8(),
                };
            }
            _ if c.is_whitespace() => return self.space(),
            ',' | ';' | ':' => self.last_break = Some((here + 1, Boundary::Clause)),
            '—' => self.last_break = Some((here + c.len_utf8(), Boundary::Clause)),
            _ => {}
        }
        self.at += c.len_utf8();
        Step::On
    }

    fn bracket(&mut self) -> Step {
        let open = self.at;
        match markup::parse(self.text, open) {
            Some(Markup::Pause { length, span, is_cut }) => {
                return Step::Pause(Pause { length, span, is_cut });
            }
            Some(Markup::Inline(inline)) => {
                self.at = inline.span.end;
                self.inlines.push(inline);
            }
            Some(Markup::Malformed(span)) => {
                self.notes.push(Note { span, kind: NoteKind::MalformedMarkup });
                self.at += 1;
            }
            None => self.at += 1,
        }
        Step::On
    }

    /// At white space: folds it, or ends the sentence if a paragraph or a list item ends.
    fn space(&mut self) -> Step {
        let here = self.at;
        let n_space = leading_space(&self.text[here..]);
        let space = &self.text[here..here + n_space];
        let next = here + n_space;
        let n_newlines = count_newlines(space);
        if n_newlines >= 2 || space.contains(['\u{2029}', '\u{C}']) {
            return Step::End { end: here, boundary: Boundary::Paragraph, next };
        }
        if n_newlines == 1 {
            let line = &self.text[self.line_start..here];
            let next_line = &self.text[next..];
            if line.starts_with('#') || starts_list_item(next_line) || next_line.starts_with('#') {
                return Step::End { end: here, boundary: Boundary::Sentence, next };
            }
            self.line_start = next;
        }
        if !matches!(self.last_break, Some((at, Boundary::Clause)) if here - at < WINDOW / 2) {
            self.last_break = Some((here, Boundary::Word));
        }
        self.at = next;
        Step::On
    }

    /// At a full stop or its kin.
    fn stop(&mut self) -> Step {
        let here = self.at;
        let rest = &self.text[here..];
        let n_stops: usize =
            rest.chars().take_while(|&c| is_stop(c)).take(WINDOW).map(char::len_utf8).sum();
        let stops = &rest[..n_stops];
        let mut end = here + n_stops;
        end += closers(&self.text[end..]);
        let after = &self.text[end..];
        let n_space = leading_space(after);
        let is_cjk = stops.chars().any(|c| matches!(c, '。' | '！' | '？' | '｡'));
        self.at = end;
        if n_space == 0 && !after.is_empty() && !is_cjk {
            return Step::On;
        }
        let next = end + n_space;
        let space = &after[..n_space];
        if count_newlines(space) >= 2 || space.contains(['\u{2029}', '\u{C}']) {
            return Step::End { end, boundary: Boundary::Paragraph, next };
        }
        let is_list = count_newlines(space) == 1 && starts_list_item(&self.text[next..]);
        let goes_on = if is_cjk || is_list {
            false
        } else if stops == "." {
            self.goes_on_after_full_stop(here, &self.text[next..])
        } else {
            starts_lower(&self.text[next..])
        };
        if goes_on {
            return Step::On;
        }
        Step::End { end, boundary: Boundary::Sentence, next }
    }

    /// Whether a single `.` at `stop` belongs to an abbreviation, or stands mid-sentence anyhow.
    fn goes_on_after_full_stop(&self, stop: usize, next: &str) -> bool {
        if next.is_empty() {
            return false;
        }
        if starts_lower(next) {
            return true;
        }
        let before = &self.text[self.start..stop];
        let word_start = before
            .char_indices()
            .rev()
            .take(24)
            .find(|&(_, c)| c.is_whitespace() || matches!(c, '(' | '[' | '"' | '“' | '—' | '/'))
            .map_or(0, |(at, c)| at + c.len_utf8());
        let word = &before[word_start..];
        // "1. First": the number of a list item, unless a sentence ends in a number.
        if word_start == 0 && word.len() <= 3 && word.bytes().all(|b| b.is_ascii_digit()) {
            return !word.is_empty();
        }
        let word_before = before[..word_start].split_whitespace().next_back().unwrap_or("");
        abbreviation::goes_on(word_before, word, next)
    }

    /// Ends a sentence that has grown too long, at the last good place.
    fn cut(&mut self) -> Step {
        let (end, boundary) = match self.last_break {
            Some((at, boundary)) if at > self.start && at - self.start <= WINDOW => (at, boundary),
            _ => {
                let at = self.text.floor_char_boundary(self.start + WINDOW);
                let astride = self.inlines.iter().find(|i| i.span.start < at && at < i.span.end);
                (astride.map_or(at, |inline| inline.span.end), Boundary::Word)
            }
        };
        self.inlines.retain(|inline| inline.span.end <= end);
        self.notes.retain(|note| note.span.start < end);
        Step::End { end, boundary, next: end }
    }
}

/// Bytes of white space, and of nothing else, that `text` begins with.
fn leading_space(text: &str) -> usize {
    text.len() - text.trim_start().len()
}

/// `\r\n` counts once.
fn count_newlines(space: &str) -> usize {
    let n_lf = space.bytes().filter(|&b| b == b'\n').count();
    if n_lf > 0 { n_lf } else { space.bytes().filter(|&b| b == b'\r').count() }
}

fn is_stop(c: char) -> bool {
    matches!(
        c,
        '.' | '!'
            | '?'
            | '…'
            | '。'
            | '！'
            | '？'
            | '｡'
            | '।'
            | '؟'
            | '۔'
            | '‼'
            | '⁇'
            | '⁈'
            | '⁉'
            | '‽'
    )
}

pub(crate) fn is_closer(c: char) -> bool {
    matches!(c, '"' | '\'' | '”' | '’' | '»' | '›' | ')' | ']' | '}' | '」' | '』' | '*' | '_')
}

/// Bytes of closing quotes, brackets and footnote marks that `text` begins with.
fn closers(text: &str) -> usize {
    let mut at = 0;
    loop {
        let rest = &text[at..];
        at += match rest.chars().next() {
            Some(c) if is_closer(c) => c.len_utf8(),
            Some('[') => match footnote(rest) {
                Some(n) => n,
                None => return at,
            },
            _ => return at,
        };
        if at > WINDOW {
            return at;
        }
    }
}

/// The length of a footnote mark such as `[12]`.
pub(crate) fn footnote(text: &str) -> Option<usize> {
    let n_digits = text.strip_prefix('[')?.bytes().take_while(u8::is_ascii_digit).count();
    let closed = (1..=3).contains(&n_digits) && text.as_bytes().get(n_digits + 1) == Some(&b']');
    // `[1](…)` is markup.
    (closed && text.as_bytes().get(n_digits + 2) != Some(&b'(')).then_some(n_digits + 2)
}

fn starts_lower(text: &str) -> bool {
    text.trim_start_matches(['"', '\'', '“', '‘', '(', '[']).starts_with(char::is_lowercase)
}

/// `- milk`, `• eggs`, `2. flour`, `3) sugar`.
fn starts_list_item(line: &str) -> bool {
    let mut chars = line.chars();
    match chars.next() {
        Some('-' | '*' | '+' | '•' | '‣' | '◦' | '–') => chars.next() == Some(' '),
        Some(c) if c.is_ascii_digit() => {
            let rest = line.trim_start_matches(|c: char| c.is_ascii_digit());
            line.len() - rest.len() <= 3 && (rest.starts_with(". ") || rest.starts_with(") "))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `|` parts sentences, `‖` paragraphs; both go with their space.
    fn check(marked: &str) -> Option<String> {
        let text = marked.replace(['|', '‖'], "");
        let mut found = String::new();
        let mut at = 0;
        for segment in segments(&text) {
            let Segment::Sentence(sentence) = segment else { panic!("pause in {marked:?}") };
            found.push_str(&text[at..sentence.span.end]);
            at = sentence.span.end;
            if !text[at..].trim().is_empty() {
                found.push_str(match sentence.end {
                    Boundary::Paragraph => "‖",
                    Boundary::Sentence => "|",
                    _ => "!",
                });
            }
        }
        found.push_str(&text[at..]);
        (found != marked).then(|| format!("expected {marked:?}\n   found {found:?}\n"))
    }

    #[test]
    fn sentences_end_where_a_reader_would_end_them() {
        let rows = include_str!("../tests/data/sentences.txt").lines();
        let wrong: String = rows
            .filter(|row| !row.is_empty() && !row.starts_with("//"))
            .filter_map(|row| check(&row.replace("\\n", "\n")))
            .collect();
        assert!(wrong.is_empty(), "{wrong}");
    }

    #[test]
    fn a_sentence_without_an_end_is_cut_at_words() {
        let text = "word ".repeat(4000);
        let mut n_sentences = 0;
        for segment in segments(&text) {
            let Segment::Sentence(sentence) = segment else { panic!() };
            assert!(sentence.span.len() <= WINDOW);
            assert_eq!(&text[sentence.span.start..][..4], "word");
            n_sentences += 1;
        }
        assert_eq!(n_sentences, 10);
    }

    #[test]
    fn one_endless_word_is_cut_all_the_same() {
        let text = "é".repeat(100_000);
        let mut at = 0;
        for segment in segments(&text) {
            let Segment::Sentence(sentence) = segment else { panic!() };
            assert_eq!(sentence.span.start, at);
            at = sentence.span.end;
        }
        assert_eq!(at, text.len());
    }

    #[test]
    fn pauses_stand_apart_wherever_they_are() {
        let text = "[pause:1s][pause:2s] One [pause:1s]two. [pause:1s]";
        let shape: Vec<String> = segments(text)
            .map(|segment| match segment {
                Segment::Sentence(s) => format!("{} {:?}", &text[s.span], s.end),
                Segment::Pause(pause) => pause.length.as_secs().to_string(),
            })
            .collect();
        assert_eq!(shape, ["1", "2", "One Word", "1", "two. Sentence", "1"]);
    }
}
