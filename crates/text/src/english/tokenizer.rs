//! Splits text into the tokens that spaCy's English tokenizer makes, which the tagger was trained on.
//!
//! The text is cut at white space, then each stretch is peeled: marks off its front and back, one
//! from each side at a time, until nothing more comes off or a special case ("don't", "a.m.", ":-)")
//! is left; the core is split at hyphens and the like inside it. Afterwards special cases that the
//! peeling tore apart are put together again. Every step looks at a bounded window, so the whole is
//! linear in the text.

use super::blob::{Section, StringMap};
use super::characters::{Class, is_space};
use super::url;
use std::ops::Range;

/// A token: where it stands, its norm when a special case gives one, and whether a space follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    /// Bytes of the text.
    pub(super) range: Range<usize>,
    /// What the special case that made it says it stands for, such as `not` for `n't`.
    pub(super) norm: Option<&'static str>,
    /// Whether one plain space follows.
    pub(super) space_after: bool,
}

/// No special case is longer, in bytes; longer text need not be looked up.
const MAX_SPECIAL: usize = 40;

/// The tokenizer's tables.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tokenizer {
    specials: StringMap,
    rejoins: StringMap,
}

impl Tokenizer {
    pub(super) fn new() -> Tokenizer {
        Tokenizer {
            specials: StringMap::new(Section::Specials),
            rejoins: StringMap::new(Section::Rejoins),
        }
    }

    /// The tokens of `text`, in order. Only single spaces between tokens belong to none.
    pub(super) fn tokenize(&self, text: &str) -> Vec<Token> {
        let mut tokens: Vec<Token> = Vec::with_capacity(text.len() / 4);
        let mut start = 0;
        let mut in_space = text.chars().next().is_some_and(is_space);
        for (at, c) in text.char_indices() {
            if is_space(c) == in_space {
                continue;
            }
            if start < at {
                self.stretch(text, start..at, &mut tokens);
            }
            start = at;
            if c == ' ' {
                if let Some(last) = tokens.last_mut() {
                    last.space_after = true;
                }
                start += 1;
            }
            in_space = !in_space;
        }
        if start < text.len() {
            self.stretch(text, start..text.len(), &mut tokens);
        }
        self.rejoin(text, tokens)
    }

    fn special(&self, text: &str) -> Option<&'static [u8]> {
        if text.len() > MAX_SPECIAL { None } else { self.specials.get(text) }
    }

    /// Tokenizes one stretch without white space in it (or of nothing else).
    fn stretch(&self, text: &str, range: Range<usize>, tokens: &mut Vec<Token>) {
        let mut core = range;
        let mut suffixes = Vec::new();
        while !core.is_empty() && self.special(&text[core.clone()]).is_none() {
            let string = &text[core.clone()];
            let n_prefix = prefix(string);
            if n_prefix > 0 && self.special(&string[n_prefix..]).is_some() {
                push(tokens, core.start..core.start + n_prefix);
                core.start += n_prefix;
                break;
            }
            let n_suffix = suffix(&string[n_prefix..]);
            let without = &string[..string.len() - n_suffix];
            if n_suffix > 0 && self.special(without).is_some() {
                suffixes.push(core.end - n_suffix..core.end);
                core.end -= n_suffix;
                break;
            }
            if n_prefix == 0 && n_suffix == 0 {
                break;
            }
            if n_prefix > 0 {
                push(tokens, core.start..core.start + n_prefix);
            }
            if n_suffix > 0 {
                suffixes.push(core.end - n_suffix..core.end);
            }
            core = core.start + n_prefix..core.end - n_suffix;
        }
        if !core.is_empty() {
            let string = &text[core.clone()];
            if let Some(special) = self.special(string) {
                push_special(tokens, core.start, special);
            } else if url::matches(string) {
                push(tokens, core);
            } else {
                split_inside(string, core.start, tokens);
            }
        }
        suffixes.into_iter().rev().for_each(|range| push(tokens, range));
    }

    /// Puts special cases together that the peeling took apart: `a.m` `.` becomes `a.m.`. The longest
    /// win, of equals the first; tokens with a space between them stay apart.
    fn rejoin(&self, text: &str, tokens: Vec<Token>) -> Vec<Token> {
        // (first token, count, special case)
        let mut matches: Vec<(usize, usize, &'static [u8])> = Vec::new();
        for (i, first) in tokens.iter().enumerate() {
            if first.range.len() > MAX_SPECIAL {
                continue;
            }
            let Some(mut cases) = self.rejoins.get(&text[first.range.clone()]) else { continue };
            while let [n_text, rest @ ..] = cases {
                let (whole, rest) = rest.split_at(usize::from(*n_text));
                let (lengths, rest) = rest[1..].split_at(usize::from(rest[0]));
                cases = rest;
                let run = &tokens[i..(i + lengths.len()).min(tokens.len())];
                let start = first.range.start;
                if text.as_bytes()[start..].starts_with(whole)
                    && run.iter().map(|t| t.range.len()).eq(lengths.iter().map(|n| usize::from(*n)))
                    && run.last().is_some_and(|t| t.range.end == start + whole.len())
                    && let Some(special) = self.special(&text[start..start + whole.len()])
                {
                    matches.push((i, lengths.len(), special));
                }
            }
        }
        if matches.is_empty() {
            return tokens;
        }
        matches.sort_by_key(|(start, n, _)| (std::cmp::Reverse(*n), *start));
        let mut taken = vec![false; tokens.len()];
        let mut chosen: Vec<Option<(usize, &'static [u8])>> = vec![None; tokens.len()];
        for (start, n, special) in matches {
            if !taken[start] && !taken[start + n - 1] {
                chosen[start] = Some((n, special));
            }
            taken[start..start + n].fill(true);
        }
        let mut out = Vec::with_capacity(tokens.len());
        let mut i = 0;
        while i < tokens.len() {
            let Some((n, special)) = chosen[i] else {
                out.push(tokens[i].clone());
                i += 1;
                continue;
            };
            push_special(&mut out, tokens[i].range.start, special);
            if let Some(last) = out.last_mut() {
                last.space_after = tokens[i + n - 1].space_after;
            }
            i += n;
        }
        out
    }
}

fn push(tokens: &mut Vec<Token>, range: Range<usize>) {
    tokens.push(Token { range, norm: None, space_after: false });
}

/// Pushes the tokens of a special case that begins at byte `start`.
fn push_special(tokens: &mut Vec<Token>, mut start: usize, special: &'static [u8]) {
    let mut rest = &special[1..];
    while let [n_orth, n_norm, tail @ ..] = rest {
        let (norm, tail) = tail.split_at(usize::from(*n_norm));
        rest = tail;
        let range = start..start + usize::from(*n_orth);
        start = range.end;
        let norm = std::str::from_utf8(norm).ok().filter(|norm| !norm.is_empty());
        tokens.push(Token { range, norm, space_after: false });
    }
}

/// spaCy's punctuation marks, which come off either end.
fn is_punctuation(c: char) -> bool {
    "…,:;!?¿؟¡()[]{}<>_#*&。？！，、；：～·।،۔؛٪".contains(c)
}

/// spaCy's quotation marks and brackets, likewise.
fn is_quote(c: char) -> bool {
    "'\"”“`‘´’‚,„»«「」『』（）〔〕【】《》〈〉〈〉⟦⟧".contains(c)
}

/// spaCy's currency signs of one character.
fn is_currency(c: char) -> bool {
    "$£€¥฿﷼".contains(c) || ('₠'..='₿').contains(&c)
}

/// How many bytes come off the front; 0 for none.
fn prefix(text: &str) -> usize {
    let mut chars = text.chars();
    let Some(first) = chars.next() else { return 0 };
    let next = chars.next();
    match first {
        // A single quote, letter or digit decides most calls.
        'a'..='z' | '0'..='9' => 0,
        'U' if text.starts_with("US$") => 3,
        'C' | 'A' if next == Some('$') => 2,
        'A'..='Z' => 0,
        '§' | '%' | '=' | '—' | '–' => first.len_utf8(),
        '+' if !next.is_some_and(|c| c.is_ascii_digit()) => 1,
        '.' => match text.bytes().take_while(|b| *b == b'.').count() {
            1 => 0,
            n => n,
        },
        _ if is_punctuation(first) || is_quote(first) || is_currency(first) => first.len_utf8(),
        _ if Class::Icon.has(first) => first.len_utf8(),
        _ => 0,
    }
}

/// Units of measure that come off a number. spaCy has Cyrillic and Arabic ones too.
const UNITS: [&str; 48] = [
    "km", "km²", "km³", "m", "m²", "m³", "dm", "dm²", "dm³", "cm", "cm²", "cm³", "mm", "mm²",
    "mm³", "ha", "µm", "nm", "yd", "in", "ft", "kg", "g", "mg", "µg", "t", "lb", "oz", "m/s",
    "km/h", "kmh", "mph", "hPa", "Pa", "mbar", "mb", "MB", "kb", "KB", "gb", "GB", "tb", "TB", "T",
    "G", "M", "K", "%",
];

/// How many bytes come off the back; 0 for none. Of several rules the longest wins, as spaCy's
/// search finds the leftmost.
fn suffix(text: &str) -> usize {
    let mut back = text.chars().rev();
    let Some(last) = back.next() else { return 0 };
    let before = back.next();
    let n = last.len_utf8();
    if last == '.' {
        let n_dots = text.bytes().rev().take_while(|b| *b == b'.').count();
        if n_dots > 1 {
            return n_dots;
        }
        let Some(before) = before else { return 0 };
        let degrees = "FfCcKk".contains(before) && back.next() == Some('°');
        let ends = before.is_ascii_digit()
            || Class::AlphaLower.has(before)
            || "%²-+|(?:)".contains(before)
            || is_punctuation(before)
            || is_quote(before)
            || degrees
            || Class::AlphaUpper.has(before)
                && text.chars().rev().nth(2).is_some_and(|c| Class::AlphaUpper.has(c));
        return usize::from(ends);
    }
    if last == '…' && before == Some('…') {
        return 2 * n;
    }
    if (last == 's' || last == 'S') && (before == Some('\'') || before == Some('’')) {
        return n + before.map_or(0, char::len_utf8);
    }
    if is_punctuation(last) || is_quote(last) || last == '—' || last == '–' {
        return n;
    }
    let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
    if is_currency(last) {
        for sign in ["US$", "C$", "A$"] {
            if text.strip_suffix(sign).is_some_and(|rest| digit(rest.chars().next_back())) {
                return sign.len();
            }
        }
        return if digit(before) { n } else { 0 };
    }
    if last == '+' {
        return usize::from(digit(before));
    }
    if last.is_ascii_digit() {
        return 0;
    }
    // The digit before a unit is within reach of the longest one.
    let near = text.char_indices().rev().take(6).find(|(_, c)| c.is_ascii_digit());
    if let Some((at, _)) = near
        && UNITS.contains(&&text[at + 1..])
    {
        return text.len() - at - 1;
    }
    if Class::Icon.has(last) { n } else { 0 }
}

/// Splits the core of a stretch at the marks inside it.
fn split_inside(text: &str, offset: usize, tokens: &mut Vec<Token>) {
    let mut start = 0;
    let mut at = 0;
    while at < text.len() {
        let n = infix(text, at);
        if n == 0 {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
            continue;
        }
        // A mark at the very front stays with what follows it.
        if at > 0 {
            if at > start {
                push(tokens, offset + start..offset + at);
            }
            push(tokens, offset + at..offset + at + n);
            start = at + n;
        }
        at += n;
    }
    if start < text.len() {
        push(tokens, offset + start..offset + text.len());
    }
}

/// The length of the mark at byte `at` that splits a word, or 0.
fn infix(text: &str, at: usize) -> usize {
    let rest = &text[at..];
    let mut chars = rest.chars();
    let Some(c) = chars.next() else { return 0 };
    if c.is_ascii_alphanumeric() {
        return 0;
    }
    let before = text[..at].chars().next_back();
    let next = chars.next();
    let before_is = |class: Class| before.is_some_and(|c| class.has(c));
    let next_is = |class: Class| next.is_some_and(|c| class.has(c));
    let after_digit = before.is_some_and(|c| c.is_ascii_digit());
    if c == '.' {
        let n_dots = rest.bytes().take_while(|b| *b == b'.').count();
        if n_dots > 1 {
            return n_dots;
        }
        let before = before_is(Class::AlphaLower) || before.is_some_and(is_quote);
        let after = next_is(Class::AlphaUpper) || next.is_some_and(is_quote);
        return usize::from(before && after);
    }
    if c == '…' || Class::Icon.has(c) {
        return c.len_utf8();
    }
    if "+-*^".contains(c) && after_digit && next.is_some_and(|c| c.is_ascii_digit() || c == '-') {
        return 1;
    }
    if c == ',' && before_is(Class::Alpha) && next_is(Class::Alpha) {
        return 1;
    }
    if after_digit || before_is(Class::Alpha) {
        for hyphen in ["-", "–", "—", "--", "---", "——", "~"] {
            if rest
                .strip_prefix(hyphen)
                .and_then(|r| r.chars().next())
                .is_some_and(|c| Class::Alpha.has(c))
            {
                return hyphen.len();
            }
        }
        if ":<>=/".contains(c) && next_is(Class::Alpha) {
            return 1;
        }
    }
    0
}
