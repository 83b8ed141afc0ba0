//! Writes out what English text leaves to the reader: times, dates, units, addresses, signs.
//!
//! Conservative: what misaki reads well (plain numbers, years, money, ordinals, acronyms) stays as
//! it is, and what is doubtful stays too. Takes a clean sentence, hands on one that the English
//! front end can look up word by word. Normalising twice changes nothing.

pub(crate) mod abbreviation;
mod date;
mod field;
mod money;
mod number;
mod phone;
mod roman;
mod symbol;
mod time;
mod unit;
mod web;

use crate::clean::{Asked, Clean};
use crate::mapped::Mapped;
use crate::phoneme::{Dialect, Note};
use field::{Fields, Said};

/// A sentence in which everything is a word, a plain number or punctuation.
#[derive(Debug, Default)]
pub(crate) struct Normal {
    pub(crate) mapped: Mapped,
    /// In order; ranges of `mapped.text`.
    pub(crate) overrides: Vec<Asked>,
    pub(crate) notes: Vec<Note>,
}

/// How often a sentence is gone over. What one rule says seldom lets another speak up, and hardly
/// ever a third; the bound keeps the time linear.
const MAX_PASSES: usize = 6;

/// Normalises a clean sentence. No rule touches a word for which `is_known` holds, the caller's own
/// dictionary.
pub(crate) fn normalize(clean: Clean, dialect: Dialect, is_known: &dyn Fn(&str) -> bool) -> Normal {
    let mut normal =
        Normal { mapped: clean.mapped, overrides: clean.overrides, notes: clean.notes };
    for _ in 0..MAX_PASSES {
        let says = said(&normal, dialect, is_known);
        if says.is_empty() {
            break;
        }
        normal = rewrite(normal, says);
    }
    normal
}

/// What the rules say of the sentence: in order, without overlap, each a change.
fn said(normal: &Normal, dialect: Dialect, is_known: &dyn Fn(&str) -> bool) -> Vec<Said> {
    let text = &normal.mapped.text;
    let fixed: Vec<_> = normal.overrides.iter().map(|asked| asked.range.clone()).collect();
    let fields = Fields::new(text, dialect, &fixed);
    let mut says: Vec<Said> = Vec::new();
    let mut at = 0;
    let mut push = |said: Said| {
        at = said.range.end;
        if said.words != text[said.range.clone()] {
            says.push(said);
        }
        at
    };
    let mut spoken_to = 0;
    for idx in 0..fields.list.len() {
        // A rule may have spoken this field along with one before; what is left of it stays.
        if fields.list[idx].start < spoken_to {
            continue;
        }
        let mark = symbol::footnote_mark(&fields, idx);
        let mark_start = mark.as_ref().map_or(usize::MAX, |mark| mark.range.start);
        if let Some(said) = rule(&fields, idx)
            && said.range.end <= mark_start
            && !(idx..fields.list.len())
                .take_while(|&n| fields.list[n].start < said.range.end)
                .any(|n| is_known(fields.core(n)))
        {
            spoken_to = push(said);
        }
        if let Some(mark) = mark {
            spoken_to = push(mark);
        }
    }
    says
}

/// The sentence with everything said in its place.
fn rewrite(normal: Normal, says: Vec<Said>) -> Normal {
    let Normal { mapped, overrides, notes } = normal;
    let mut builder = Builder {
        from: &mapped,
        out: Normal {
            mapped: Mapped::default(),
            overrides: Vec::with_capacity(overrides.len()),
            notes,
        },
        waiting: overrides.into_iter().peekable(),
        at: 0,
    };
    for said in says {
        builder.replace(said);
    }
    builder.keep_to(mapped.text.len());
    builder.out
}

/// What the first rule that knows field `idx` says of it.
fn rule(fields: &Fields<'_>, idx: usize) -> Option<Said> {
    let field = &fields.list[idx];
    if field.fixed {
        return None;
    }
    let is_short = field.core_start == field.core_end || field.end - field.start <= 2;
    if is_short && let Some(said) = symbol::lone_sign(fields, idx) {
        return Some(said);
    }
    if !field.odd {
        return words(fields, idx);
    }
    symbol::name(fields, idx)
        .or_else(|| date::digits(fields, idx))
        .or_else(|| phone::phone(fields, idx))
        .or_else(|| date::day(fields, idx))
        .or_else(|| time::time(fields, idx))
        .or_else(|| time::hour(fields, idx))
        .or_else(|| money::money(fields, idx))
        .or_else(|| money::beside(fields, idx))
        .or_else(|| unit::unit(fields, idx))
        .or_else(|| number::fraction(fields, idx))
        .or_else(|| number::range(fields, idx))
        .or_else(|| number::leading_zeros(fields, idx))
        .or_else(|| web::version(fields, idx))
        .or_else(|| web::web(fields, idx))
        .or_else(|| symbol::chemistry(fields, idx))
        .or_else(|| symbol::formula(fields, idx))
        .or_else(|| symbol::signs(fields, idx))
        .or_else(|| words(fields, idx))
}

/// The rules for fields of plain letters.
fn words(fields: &Fields<'_>, idx: usize) -> Option<Said> {
    let core = fields.core(idx);
    // Nearly every word is longer than any abbreviation, or has no sign of being one.
    if core.len() > 16 {
        return None;
    }
    let stopped = fields.suffix(idx).starts_with('.');
    let capital = core.starts_with(|c: char| c.is_ascii_uppercase());
    if !stopped && !capital && core.len() > 6 {
        return None;
    }
    let after_number =
        idx > 0 && fields.previous(idx).ends_with(|c: char| c.is_ascii_digit() || !c.is_ascii());
    None.or_else(|| capital.then(|| date::month(fields, idx))?)
        .or_else(|| capital.then(|| date::weekday(fields, idx))?)
        .or_else(|| capital.then(|| roman::roman(fields, idx))?)
        .or_else(|| after_number.then(|| unit::unit(fields, idx))?)
        .or_else(|| after_number.then(|| money::beside(fields, idx))?)
        .or_else(|| unit::power(fields, idx))
        .or_else(|| abbreviation::abbreviation(fields, idx))
}

/// Writes the normalised sentence, carrying spans and overrides along.
struct Builder<'m> {
    from: &'m Mapped,
    out: Normal,
    waiting: std::iter::Peekable<std::vec::IntoIter<Asked>>,
    /// Everything of `from` before this byte is written.
    at: usize,
}

impl Builder<'_> {
    fn keep_to(&mut self, end: usize) {
        let start = self.out.mapped.text.len();
        while let Some(mut asked) = self.waiting.next_if(|asked| asked.range.start < end) {
            asked.range.start = start + (asked.range.start - self.at);
            asked.range.end = start + (asked.range.end - self.at);
            self.out.overrides.push(asked);
        }
        self.out.mapped.push_kept(self.from, self.at..end);
        self.at = end;
    }

    fn replace(&mut self, mut said: Said) {
        self.keep_to(said.range.start);
        if said.words.is_empty() && self.from.text[said.range.end..].starts_with(' ') {
            // What falls away between spaces takes one along.
            if self.out.mapped.text.is_empty() || self.out.mapped.text.ends_with(' ') {
                said.range.end += 1;
            }
        }
        let source = self.from.source(said.range.clone());
        if let Some(kind) = said.note {
            self.out.notes.push(Note { span: source.clone(), kind });
        }
        if !said.words.is_empty() {
            let after = &self.from.text[said.range.end..];
            if self.out.mapped.text.ends_with(char::is_alphanumeric) {
                self.out.mapped.push_made(" ", source.clone());
            }
            // The stop of "p.m." and that of the sentence are written as one.
            let words =
                if after.starts_with('.') { said.words.trim_end_matches('.') } else { &said.words };
            self.out.mapped.push_made(words, source.clone());
            if after.starts_with(char::is_alphanumeric) {
                self.out.mapped.push_made(" ", source);
            }
        }
        self.at = said.range.end;
    }
}

#[cfg(test)]
#[path = "../../tests/awkward/mod.rs"]
mod awkward;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::{Segment, segments};

    #[test]
    fn normalising_twice_changes_nothing() {
        for (idx, text) in awkward::texts(3000) {
            let dialect = if idx % 2 == 0 { Dialect::American } else { Dialect::British };
            for segment in segments(&text) {
                let Segment::Sentence(sentence) = segment else { continue };
                let clean = crate::clean::clean(&text, sentence.span, &sentence.inlines);
                let before = clean.mapped.text.clone();
                let once = normalize(clean, dialect, &|_| false);
                let Normal { mapped, overrides, notes } = once;
                let once = mapped.text.clone();
                let twice = normalize(Clean { mapped, overrides, notes }, dialect, &|_| false);
                assert_eq!(twice.mapped.text, once, "{before:?}");
            }
        }
    }
}
