//! From the caller's characters to those that English text is made of.
//!
//! Folds white space, opens compatibility forms (full width, ligatures, styled letters), composes
//! accents, drops what is invisible, and notes what cannot be spoken. Decides character by
//! character; what a `%` or a date is called is the normaliser's business.

mod fate;

use crate::mapped::Mapped;
use crate::markup::{Inline, Wish};
use crate::phoneme::{Note, NoteKind, Span, is_symbol};
use crate::segment::footnote;
use fate::{Fate, fate, is_drawing, is_greek};
use std::ops::Range;
use unicode_normalization::char::{compose, decompose_compatible, is_combining_mark};

/// A clean sentence.
#[derive(Debug, Default)]
pub(crate) struct Clean {
    /// Words apart by single spaces, none at the ends.
    pub(crate) mapped: Mapped,
    /// In order, never overlapping; ranges of `mapped.text`.
    pub(crate) overrides: Vec<Asked>,
    pub(crate) notes: Vec<Note>,
}

/// What the caller's markup asks of a stretch of the text.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) range: Range<usize>,
    pub(crate) wish: AskedWish,
}

#[derive(Clone, Debug)]
pub(crate) enum AskedWish {
    /// Symbols of the alphabet, at least one.
    Phonemes(String),
    Stress(f32),
}

/// Cleans `source[span]`, whose markup is `inlines`.
pub(crate) fn clean(source: &str, span: Span, inlines: &[Inline]) -> Clean {
    let mut cleaner = Cleaner { source, out: Clean::default(), space: None, unspeakable: None };
    let mut at = span.start;
    for inline in inlines {
        cleaner.push(at..inline.span.start);
        cleaner.push_inline(inline);
        at = inline.span.end;
    }
    cleaner.push(at..span.end);
    cleaner.end_unspeakable();
    cleaner.out
}

struct Cleaner<'s> {
    source: &'s str,
    out: Clean,
    /// White space seen since the last word.
    space: Option<Span>,
    /// The run of unspeakable characters that is under way.
    unspeakable: Option<Span>,
}

impl Cleaner<'_> {
    fn push(&mut self, range: Range<usize>) {
        let mut at = range.start;
        while at < range.end {
            // Plain ASCII is nearly everything; copy it in stretches.
            let rest = &self.source.as_bytes()[at..range.end];
            let n_plain = rest.iter().take_while(|&&b| is_plain(b)).count();
            // The last one may be the base of a combining mark.
            let n_plain = if rest.get(n_plain).is_some_and(|b| !b.is_ascii()) {
                n_plain.saturating_sub(1)
            } else {
                n_plain
            };
            if n_plain > 0 {
                self.keep(at..at + n_plain);
                at += n_plain;
            } else {
                at += self.push_char(at, range.end);
            }
        }
    }

    /// Takes in the character at `at` and its combining marks; returns how many bytes they are.
    fn push_char(&mut self, at: usize, end: usize) -> usize {
        let rest = &self.source[at..end];
        let mut chars = rest.chars();
        let Some(c) = chars.next() else { return end - at };
        let n_dashes = rest.bytes().take_while(|&b| b == b'-').count();
        if n_dashes > 1 {
            self.dash(at..at + n_dashes, end);
            return n_dashes;
        }
        // Emphasis of Markdown, and rules drawn with signs.
        if matches!(c, '*' | '_') && self.is_emphasis(at, end) {
            return 1;
        }
        if c == '`' {
            let n_ticks = rest.bytes().take_while(|&b| b == b'`').count();
            match opening_quote(n_ticks, &rest[n_ticks..]) {
                Some(quote) => self.make(quote, at..at + n_ticks),
                None => self.add_space(at..at + n_ticks),
            }
            return n_ticks;
        }
        if c == '-' && self.is_line_hyphen(rest) {
            self.keep(at..at + 1);
            return rest.len() - rest[1..].trim_start().len();
        }
        if is_drawing(c) {
            let n_run = rest.chars().take_while(|&next| next == c).count();
            let is_emphasis = n_run == 2 && matches!(c, '*' | '_' | '~');
            if n_run > 2 {
                self.add_space(at..at + n_run);
            }
            if n_run > 2 || is_emphasis {
                return n_run;
            }
        }
        if c == '—' {
            self.dash(at..at + c.len_utf8(), end);
            return c.len_utf8();
        }
        if let Some(n) = footnote(rest) {
            self.keep(at..at + n);
            return n;
        }
        let base_end = at + c.len_utf8();
        let mut span = at..base_end;
        match fate(c) {
            Fate::Keep if c.is_alphanumeric() => {
                let mut composed = c;
                for mark in chars.take_while(|&c| is_combining_mark(c)) {
                    span.end += mark.len_utf8();
                    // What does not compose has no sound of its own in English.
                    composed = compose(composed, mark).unwrap_or(composed);
                }
                if span.end == base_end {
                    self.keep(span.clone());
                } else {
                    let mut utf8 = [0; 4];
                    self.make(composed.encode_utf8(&mut utf8), span.clone());
                }
            }
            Fate::Keep => self.keep(span.clone()),
            Fate::Space => self.add_space(span.clone()),
            Fate::Invisible => {
                if let Some(run) = &mut self.unspeakable {
                    run.end = span.end;
                }
            }
            Fate::Drop => self.add_space(span.clone()),
            Fate::Means(plain) => self.make(plain, span.clone()),
            Fate::Compatibility => {
                let mut plain = String::new();
                decompose_compatible(c, |c| plain.push(c));
                plain.retain(|c| !is_combining_mark(c));
                self.make(&plain, span.clone());
            }
            Fate::Digit(digit) => {
                let mut utf8 = [0; 4];
                self.make(digit.encode_utf8(&mut utf8), span.clone());
            }
            Fate::Greek => {
                // One or two letters are a formula and have names; more are a word in Greek.
                let run = &self.source[at..end];
                let n_run: usize =
                    run.chars().take_while(|&c| is_greek(c)).map(char::len_utf8).sum();
                span.end = at + n_run;
                if run[..n_run].chars().count() <= 2 {
                    self.keep(span.clone());
                } else {
                    self.add_unspeakable(span.clone());
                }
            }
            Fate::Mark => {
                // After a kept character the mark is decoration; alone it is something lost.
                if self.unspeakable.is_some()
                    || self.space.is_some()
                    || self.out.mapped.text.is_empty()
                {
                    self.add_unspeakable(span.clone());
                }
            }
            Fate::Unspeakable => self.add_unspeakable(span.clone()),
        }
        span.end - at
    }

    /// A long dash. Between letters it parts words; beside a quote or bracket the English front end
    /// needs a space to see that.
    fn dash(&mut self, span: Span, end: usize) {
        let is_mark = |c: char| !c.is_alphanumeric() && !c.is_whitespace();
        let after = self.source[span.end..end].chars().next();
        let before = self.out.mapped.text.chars().next_back().filter(|_| self.space.is_none());
        let is_tight = after.is_some_and(is_mark) || before.is_some_and(is_mark);
        self.make(if is_tight { "— " } else { "—" }, span);
    }

    /// Whether a single `*` or `_` at `at` marks emphasis: it stands at one end of a word, where a
    /// sign of arithmetic has letters or spaces on both sides.
    fn is_emphasis(&self, at: usize, end: usize) -> bool {
        let kind = |c: Option<char>| match c {
            None => 0,
            Some(c) if c.is_whitespace() => 0,
            Some(c) if c.is_alphanumeric() => 2,
            Some(_) => 1,
        };
        let (before, after) =
            (self.source[..at].chars().next_back(), self.source[at + 1..end].chars().next());
        if after == Some('(') || before == Some(')') {
            return false;
        }
        let (before, after) = (kind(before), kind(after));
        before != after || before == 1
    }

    /// Whether `rest` begins with a hyphen at the end of a line, whose word goes on in the next.
    fn is_line_hyphen(&self, rest: &str) -> bool {
        let next = rest[1..].trim_start();
        let space = &rest[1..rest.len() - next.len()];
        self.space.is_none()
            && space.contains('\n')
            && self.out.mapped.text.ends_with(char::is_alphabetic)
            && next.starts_with(char::is_lowercase)
    }

    fn push_inline(&mut self, inline: &Inline) {
        if let Some((span, kind)) = inline.wish.note() {
            self.out.notes.push(Note { span, kind });
        }
        let wish = match &inline.wish {
            Wish::Link(_) => None,
            Wish::Stress(stress) => Some(AskedWish::Stress(*stress)),
            Wish::Phonemes(range) => self.known_phonemes(range.clone()).map(AskedWish::Phonemes),
        };
        // The space before it belongs outside the range.
        self.end_unspeakable();
        let start_before = self.out.mapped.text.len();
        self.push(inline.word.clone());
        self.end_unspeakable();
        let text = &self.out.mapped.text;
        let start =
            start_before + (text[start_before..].len() - text[start_before..].trim_start().len());
        match wish {
            Some(wish) if start < text.len() => {
                self.out.overrides.push(Asked { range: start..text.len(), wish });
            }
            // A word that cannot be read can still have phonemes: they speak its place.
            Some(wish @ AskedWish::Phonemes(_)) => {
                self.out.notes.retain(|note| {
                    note.span.start < inline.word.start || note.span.start >= inline.word.end
                });
                self.make(PLACEHOLDER, inline.word.clone());
                let end = self.out.mapped.text.len();
                self.out.overrides.push(Asked { range: end - PLACEHOLDER.len()..end, wish });
            }
            _ => {}
        }
    }

    /// The phonemes in `range` that Kokoro knows; a note for every run of others.
    fn known_phonemes(&mut self, range: Range<usize>) -> Option<String> {
        let mut known = String::new();
        for (offset, c) in self.source[range.clone()].char_indices() {
            let at = range.start + offset;
            if is_symbol(c) {
                known.push(c);
            } else if c.is_whitespace() {
                known.push(' ');
            } else if c == 'g' {
                // The Latin letter is what keyboards have for the voiced velar.
                known.push('ɡ');
            } else {
                match self.out.notes.last_mut() {
                    Some(Note { span, kind: NoteKind::UnknownPhoneme }) if span.end == at => {
                        span.end += c.len_utf8();
                    }
                    _ => self
                        .out
                        .notes
                        .push(Note { span: at..at + c.len_utf8(), kind: NoteKind::UnknownPhoneme }),
                }
            }
        }
        let known = known.trim();
        known.contains(|c: char| c.is_alphabetic()).then(|| known.to_owned())
    }

    fn add_space(&mut self, span: Span) {
        match &mut self.space {
            Some(space) => *space = space.start.min(span.start)..space.end.max(span.end),
            None => self.space = Some(span),
        }
    }

    fn add_unspeakable(&mut self, span: Span) {
        match &mut self.unspeakable {
            Some(run) => run.end = span.end,
            None => self.unspeakable = Some(span),
        }
    }

    fn end_unspeakable(&mut self) {
        if let Some(span) = self.unspeakable.take() {
            self.out.notes.push(Note { span: span.clone(), kind: NoteKind::Unspeakable });
            self.add_space(span);
        }
    }

    fn end_space(&mut self) {
        self.end_unspeakable();
        if let Some(space) = self.space.take() {
            if self.out.mapped.text.is_empty() {
            } else if self.source.as_bytes()[space.start] == b' ' && space.len() == 1 {
                self.out.mapped.push_verbatim(" ", space.start);
            } else {
                self.out.mapped.push_made(" ", space);
            }
        }
    }

    fn keep(&mut self, range: Range<usize>) {
        self.end_space();
        self.out.mapped.push_verbatim(&self.source[range.clone()], range.start);
    }

    fn make(&mut self, text: &str, source: Span) {
        // Some plain forms begin or end with a space of their own.
        if text.starts_with(' ') {
            self.add_space(source.clone());
        }
        if !text.trim().is_empty() {
            self.end_space();
            self.out.mapped.push_made(text.trim(), source.clone());
        }
        if text.ends_with(' ') {
            self.add_space(source);
        }
    }
}

/// Stands in the text for a word that has phonemes but no letters an English reader knows.
const PLACEHOLDER: &str = "x";

/// ASCII that is copied as it is, whatever stands beside it.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'.' | b',' | b'\'' | b'"' | b'!' | b'?' | b':' | b';' | b'(' | b')')
}

/// What backticks before `quoted` mean if straight quotes close them, as TeX and old mail have it.
/// Those of code are closed by their like and mean nothing.
fn opening_quote(n_ticks: usize, quoted: &str) -> Option<&'static str> {
    let (quote, n_closing) = match n_ticks {
        1 => ("‘", 1),
        2 => ("“", 2),
        _ => return None,
    };
    let is_closing = |c: char| matches!(c, '\'' | '’');
    let mut before = None;
    // Looks no further than the next backtick, so that all of a text costs one walk over it.
    for (at, c) in quoted.char_indices().take_while(|&(_, c)| c != '`') {
        let closed = quoted[at..].chars().take(n_closing).filter(|&c| is_closing(c)).count();
        let after = quoted[at..].chars().nth(n_closing);
        if closed == n_closing
            && before.is_some_and(|c: char| !c.is_whitespace())
            && !after.is_some_and(char::is_alphanumeric)
        {
            return Some(quote);
        }
        before = Some(c);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::{Segment, segments};

    fn clean_first(text: &str) -> Clean {
        match segments(text).next() {
            Some(Segment::Sentence(sentence)) => clean(text, sentence.span, &sentence.inlines),
            other => panic!("{other:?}"),
        }
    }

    fn check(text: &str, expected: &str) {
        assert_eq!(clean_first(text).mapped.text, expected, "{text:?}");
    }

    #[test]
    fn white_space_folds_to_single_spaces() {
        check("a  b\tc\u{a0}d\u{3000}e\r\nf", "a b c d e f");
    }

    #[test]
    fn a_word_broken_at_the_end_of_a_line_is_one() {
        check("a well-\n  known one - \nand that", "a well-known one - and that");
    }

    #[test]
    fn backticks_that_straight_quotes_close_are_quotes() {
        check("a `quoted' word", "a ‘quoted' word");
        check("a `don't touch' word", "a ‘don't touch' word");
        check("``Two words,'' he said", "“Two words,'' he said");
        check("run `ls` and `don't`, it's", "run ls and don't , it's");
        check("```a b'' `", "a b''");
        check("it` is ` 'a", "it is 'a");
    }

    #[test]
    fn accents_join_their_letters() {
        check("cafe\u{301} n\u{303}o a\u{20d2}b", "café ño ab");
    }

    #[test]
    fn plain_forms_stand_for_styled_ones() {
        check("ﬁsh ＡＢＣ 𝐛𝐨𝐥𝐝 ① ㎏ № 5", "fish ABC bold 1 kg No. 5");
    }

    #[test]
    fn spans_lead_back_over_what_changed() {
        let text = "x \u{fb01}sh\u{ad}y 🙂 \u{ff21}";
        let clean = clean_first(text);
        assert_eq!(clean.mapped.text, "x fishy A");
        assert_eq!(&text[clean.mapped.source(2..7)], "ﬁsh\u{ad}y");
        assert_eq!(&text[clean.mapped.source(8..9)], "\u{ff21}");
        assert_eq!(clean.notes.len(), 1);
        assert_eq!(&text[clean.notes[0].span.clone()], "🙂");
    }

    #[test]
    fn one_run_gives_one_note() {
        let text = "a 👨\u{200d}👩\u{200d}👧🙂 b 你好 世界 c";
        let spans: Vec<&str> =
            clean_first(text).notes.iter().map(|n| &text[n.span.clone()]).collect();
        assert_eq!(spans, ["👨\u{200d}👩\u{200d}👧🙂", "你好 世界"]);
    }

    #[test]
    fn markup_becomes_ranges_of_the_clean_text() {
        let text = "The [Kokoro](/kˈOkgʘəɹO/) [ big ](+2) 🙂[你好](/niˈhW/).";
        let clean = clean_first(text);
        assert_eq!(clean.mapped.text, "The Kokoro big x.");
        let asked: Vec<(&str, String)> = clean
            .overrides
            .iter()
            .map(|asked| (&clean.mapped.text[asked.range.clone()], format!("{:?}", asked.wish)))
            .collect();
        assert_eq!(
            asked,
            [
                ("Kokoro", r#"Phonemes("kˈOkɡəɹO")"#.to_owned()),
                ("big", "Stress(2.0)".to_owned()),
                ("x", r#"Phonemes("niˈhW")"#.to_owned()),
            ]
        );
        let notes: Vec<(NoteKind, &str)> =
            clean.notes.iter().map(|n| (n.kind, &text[n.span.clone()])).collect();
        assert_eq!(notes, [(NoteKind::UnknownPhoneme, "ʘ"), (NoteKind::Unspeakable, "🙂")]);
    }

    #[test]
    fn the_digits_of_living_scripts_are_ours() {
        check("١٢٣ ४५६ ๗๘๙", "123 456 789");
    }
}
