//! A sentence as the rules see it: fields between white space, each with a core between quotes,
//! brackets and stops.
//!
//! Only looks and cuts; what a field is called is for the rules beside this file.

use crate::phoneme::Dialect;
use std::ops::Range;

/// One field, as byte offsets into the sentence: `start <= core_start <= core_end <= end`.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) start: usize,
    pub(crate) core_start: usize,
    pub(crate) core_end: usize,
    pub(crate) end: usize,
    /// The caller has said how to speak it; no rule may touch or use it.
    pub(crate) fixed: bool,
    /// A space follows.
    spaced: bool,
    /// The core has a digit, or anything that is no letter of a plain word.
    pub(crate) odd: bool,
}

/// The fields of a sentence.
pub(crate) struct Fields<'t> {
    pub(crate) text: &'t str,
    pub(crate) list: Vec<Field>,
    pub(crate) dialect: Dialect,
}

impl<'t> Fields<'t> {
    /// Cuts `text`; fields that touch one of `fixed`, sorted ranges, are marked so.
    pub(crate) fn new(text: &'t str, dialect: Dialect, fixed: &[Range<usize>]) -> Self {
        let mut list = Vec::with_capacity(text.len() / 5 + 1);
        let mut fixed = fixed.iter().peekable();
        let mut start = 0;
        let mut chars = text.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            let next = at + c.len_utf8();
            // A dash or dots between words part them as well as a space does.
            let parts = matches!(c, '—' | '…') || c == '-' && text[next..].starts_with('-');
            if c != ' ' && !parts && next < text.len() {
                continue;
            }
            let mut end = if c == ' ' { at } else { next };
            if c == '-' {
                while chars.next_if(|&(_, c)| c == '-').is_some() {
                    end += 1;
                }
            }
            if start < end {
                let mut field = cut(text, start..end);
                field.spaced = c == ' ';
                while fixed.next_if(|range| range.end <= start).is_some() {}
                field.fixed = fixed.peek().is_some_and(|range| range.start < end);
                list.push(field);
            }
            start = end + usize::from(c == ' ');
        }
        Fields { text, list, dialect }
    }

    /// The core of field `idx`; empty where there is none to use.
    pub(crate) fn core(&self, idx: usize) -> &'t str {
        match self.list.get(idx) {
            Some(field) if !field.fixed => &self.text[field.core_start..field.core_end],
            _ => "",
        }
    }

    /// What stands in field `idx` before the core.
    pub(crate) fn prefix(&self, idx: usize) -> &'t str {
        self.list.get(idx).map_or("", |field| &self.text[field.start..field.core_start])
    }

    /// What stands in field `idx` after the core.
    pub(crate) fn suffix(&self, idx: usize) -> &'t str {
        self.list.get(idx).map_or("", |field| &self.text[field.core_end..field.end])
    }

    /// The core after `idx`, if nothing but a space stands between.
    pub(crate) fn next(&self, idx: usize) -> &'t str {
        let bare =
            self.list.get(idx).is_some_and(|field| field.core_end == field.end && field.spaced);
        if bare && self.prefix(idx + 1).is_empty() { self.core(idx + 1) } else { "" }
    }

    /// The core after `idx`, if nothing but a space and the stop of an abbreviation stands between.
    pub(crate) fn next_after_stop(&self, idx: usize) -> &'t str {
        let bare = matches!(self.suffix(idx), "" | ".") && self.list[idx].spaced;
        if bare && self.prefix(idx + 1).is_empty() { self.core(idx + 1) } else { "" }
    }

    /// The core before `idx`, if nothing but a space stands between.
    pub(crate) fn previous(&self, idx: usize) -> &'t str {
        match idx.checked_sub(1) {
            Some(before) if !self.next(before).is_empty() => self.core(before),
            _ => "",
        }
    }

    /// Whether field `idx` is the last of the sentence.
    pub(crate) fn is_last(&self, idx: usize) -> bool {
        idx + 1 >= self.list.len()
    }

    /// Replaces the core of field `idx`.
    pub(crate) fn say(&self, idx: usize, words: impl Into<String>) -> Option<Said> {
        let field = &self.list[idx];
        Some(Said::new(field.core_start..field.core_end, words))
    }

    /// Replaces all from the core of field `idx` to the end of the core of field `last`.
    pub(crate) fn say_to(&self, idx: usize, last: usize, words: impl Into<String>) -> Option<Said> {
        Some(Said::new(self.list[idx].core_start..self.list[last].core_end, words))
    }

    /// Replaces the core of field `idx` and the stop that belongs to it as an abbreviation. At the
    /// end of a sentence the stop stays: there it does two jobs.
    pub(crate) fn say_abbreviation(
        &self,
        idx: usize,
        last: usize,
        words: impl Into<String>,
    ) -> Option<Said> {
        let mut range = self.list[idx].core_start..self.list[last].core_end;
        if self.suffix(last).starts_with('.') && !self.is_last(last) {
            range.end += 1;
        }
        Some(Said::new(range, words))
    }
}

/// What a rule says in place of a part of the sentence.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) range: Range<usize>,
    pub(crate) words: String,
    /// The words leave something out.
    pub(crate) note: Option<crate::phoneme::NoteKind>,
}

impl Said {
    pub(crate) fn new(range: Range<usize>, words: impl Into<String>) -> Self {
        Said { range, words: words.into(), note: None }
    }
}

fn is_opener(c: char) -> bool {
    matches!(c, '(' | '[' | '{' | '"' | '\'' | '“' | '‘' | '*' | '_')
}

fn is_closer(c: char) -> bool {
    matches!(
        c,
        ')' | ']'
            | '}'
            | '"'
            | '\''
            | '”'
            | '’'
            | '.'
            | ','
            | ';'
            | ':'
            | '!'
            | '?'
            | '…'
            | '—'
            | '*'
            | '_'
    )
}

fn cut(text: &str, span: Range<usize>) -> Field {
    let whole = &text[span.clone()];
    let core = whole.trim_start_matches(is_opener);
    let core_start = span.end - core.len();
    let core = core.trim_end_matches("--").trim_end_matches(is_closer);
    let odd = core.bytes().any(|b| !(b.is_ascii_alphabetic() || b == b'\'' || b == b'-'));
    Field {
        start: span.start,
        core_start,
        core_end: core_start + core.len(),
        end: span.end,
        fixed: false,
        spaced: false,
        odd,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_stand_between_quotes_and_stops() {
        let fields = Fields::new("(“Hi,” he—well… 5km.) end", Dialect::American, &[]);
        let cores: Vec<&str> = (0..fields.list.len()).map(|idx| fields.core(idx)).collect();
        assert_eq!(cores, ["Hi", "he", "well", "5km", "end"]);
        assert_eq!((fields.next(1), fields.previous(4), fields.next(2)), ("", "", ""));
    }

    #[test]
    fn a_fixed_field_is_out_of_reach() {
        let fields = Fields::new("a bc d", Dialect::American, std::slice::from_ref(&(2..3)));
        assert_eq!((fields.core(0), fields.core(1), fields.core(2)), ("a", "", "d"));
        assert_eq!((fields.next(0), fields.previous(2)), ("", ""));
    }
}
