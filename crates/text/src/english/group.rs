//! Words as they are said: tokens split into pieces, pieces glued into groups, groups said.
//!
//! A port of misaki's retokenize, resolve_tokens and the loop that calls them. A group is what stands
//! between spaces, less the punctuation around it: "well-known" is one group of three pieces, said as
//! the longest stretches that the dictionaries know.

use super::number::{Currency, is_number};
use super::stress::{self, PRIMARY};
use super::tag::Tag;
use super::tokenizer;
use super::word::{Context, Speaker, Spoken, Usage};
use super::{Override, OverrideKind, Source, Token, characters, subtoken};
use std::borrow::Cow;
use std::ops::Range;
use unicode_normalization::UnicodeNormalization;

/// Stretches of more pieces are not looked up: no entry has as many, and time stays linear.
const MAX_STRETCH: usize = 16;
/// Longer stretches are in no dictionary and are no number to be read as one.
const MAX_BYTES: usize = 128;

/// A piece of a token, or a token that stays whole.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    /// Bytes of the text.
    range: Range<usize>,
    tag: Tag,
    space_after: bool,
    /// Filled in as the piece is said.
    spoken: Option<Spoken>,
    /// Asked for by the caller.
    stress: Option<f32>,
    /// Whether it begins a word; numbers within one are read as codes.
    is_head: bool,
    /// The sign that stood before the number.
    currency: Option<Currency>,
    /// Said as another word: the 2 of B2B.
    alias: Option<&'static str>,
    /// Whether a space separates it, when said, from what is before it in its group.
    space_before: bool,
}

impl Piece {
    fn text<'a>(&self, text: &'a str) -> &'a str {
        &text[self.range.clone()]
    }
}

/// Pieces that make one token in the end.
#[derive(Clone, Debug)]
pub(super) struct Group {
    /// At least one.
    pieces: Vec<Piece>,
    /// Whether further pieces may be glued on: the words, but not marks and the like.
    open: bool,
}

/// Marks that are pauses or pitch to Kokoro.
fn is_mark(c: char) -> bool {
    is_pause(c) || is_quote_mark(c)
}

fn is_pause(c: char) -> bool {
    ";:,.!?—…".contains(c)
}

fn is_quote_mark(c: char) -> bool {
    "\"“”".contains(c)
}

/// Marks inside a word that are not said.
fn is_junk(c: char) -> bool {
    "',-._‘’/".contains(c)
}

/// The tokens as pieces, with the caller's wishes laid on those within their ranges. A token that
/// lies across the border of a range is cut there.
pub(super) fn with_overrides(
    text: &str,
    tokens: Vec<(tokenizer::Token, Tag)>,
    overrides: &[Override],
) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::with_capacity(tokens.len());
    for (token, tag) in tokens {
        pieces.push(Piece {
            range: token.range,
            tag,
            space_after: token.space_after,
            spoken: None,
            stress: None,
            is_head: true,
            currency: None,
            alias: None,
            space_before: false,
        });
    }
    for wish in overrides {
        lay_on(text, &mut pieces, wish);
    }
    pieces
}

/// Lays one wish on the pieces it covers.
fn lay_on(text: &str, pieces: &mut Vec<Piece>, wish: &Override) {
    let Range { start, end } = wish.range;
    if start >= end || !text.is_char_boundary(start) || !text.is_char_boundary(end.min(text.len()))
    {
        return;
    }
    for border in [start, end] {
        let at = pieces.partition_point(|piece| piece.range.end <= border);
        let Some(piece) = pieces.get_mut(at).filter(|piece| piece.range.start < border) else {
            continue;
        };
        let mut tail = piece.clone();
        tail.range.start = border;
        piece.range.end = border;
        piece.space_after = false;
        pieces.insert(at + 1, tail);
    }
    let first = pieces.partition_point(|piece| piece.range.start < start);
    let last = pieces.partition_point(|piece| piece.range.end <= end);
    match &wish.kind {
        _ if first >= last => {}
        OverrideKind::Stress(stress) => {
            pieces[first..last].iter_mut().for_each(|piece| piece.stress = Some(*stress));
        }
        OverrideKind::Phonemes(phonemes) => {
            // One token speaks for all of them.
            let mut whole = pieces[first].clone();
            whole.range.end = pieces[last - 1].range.end;
            whole.space_after = pieces[last - 1].space_after;
            whole.tag = heaviest(text, &pieces[first..last]);
            whole.spoken = Some(Spoken::new(phonemes.as_str(), Source::Override));
            pieces.splice(first..last, [whole]);
        }
    }
}

/// The tag of the first of the longest pieces, a capital counting twice.
fn heaviest(text: &str, pieces: &[Piece]) -> Tag {
    let weight = |piece: &Piece| -> usize {
        let lower = |c: char| c.to_lowercase().eq([c]);
        piece.text(text).chars().map(|c| if lower(c) { 1 } else { 2 }).sum()
    };
    let mut best = (&pieces[0], weight(&pieces[0]));
    for piece in &pieces[1..] {
        let weight = weight(piece);
        if weight > best.1 {
            best = (piece, weight);
        }
    }
    best.0.tag
}

/// misaki's retokenize: splits tokens into pieces, says marks, finds prices, glues words.
pub(super) fn groups(text: &str, tokens: Vec<Piece>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::with_capacity(tokens.len());
    let mut currency = None;
    for (i, token) in tokens.iter().enumerate() {
        let next_is_number = tokens.get(i + 1).is_some_and(|next| next.tag == Tag::CD);
        if token.spoken.is_some() {
            groups.push(Group { pieces: vec![token.clone()], open: false });
            continue;
        }
        let ranges = subtoken::split(token.text(text));
        let n = ranges.len();
        for (j, range) in ranges.iter().enumerate() {
            let last = j + 1 == n;
            let mut piece = Piece {
                range: token.range.start + range.start..token.range.start + range.end,
                space_after: last && token.space_after,
                ..token.clone()
            };
            let own = piece.text(text);
            let sign = if piece.tag == Tag::DOLLAR { Currency::of_sign(own) } else { None };
            if sign.is_some() {
                currency = sign;
                piece.spoken = Some(Spoken::new("", Source::Punctuation));
            } else if piece.tag == Tag::COLON && matches!(own, "-" | "–") {
                piece.spoken = Some(Spoken::new("—", Source::Punctuation));
            } else if piece.tag.is_punctuation() && !own.contains(char::is_alphanumeric) {
                // misaki asks for letters a to z only, and so falls silent at an "n’t" that the
                // tagger took for a full stop.
                piece.spoken =
                    Some(Spoken::new(mark_phonemes(piece.tag, own), Source::Punctuation));
            } else if currency.is_some() {
                if piece.tag != Tag::CD {
                    currency = None;
                } else if last && !next_is_number {
                    piece.currency = currency;
                }
            } else if own == "2" && !last && j > 0 && between_letters(token.text(text), range) {
                piece.alias = Some("to");
            }
            push(&mut groups, piece);
        }
    }
    groups
}

/// Glues a piece to the group before it, or begins one.
fn push(groups: &mut Vec<Group>, mut piece: Piece) {
    if piece.alias.is_some() || piece.spoken.is_some() {
        groups.push(Group { pieces: vec![piece], open: false });
        return;
    }
    match groups.last_mut() {
        Some(group) if group.open && !group.pieces[group.pieces.len() - 1].space_after => {
            piece.is_head = false;
            group.pieces.push(piece);
        }
        _ => {
            let open = !piece.space_after;
            groups.push(Group { pieces: vec![piece], open });
        }
    }
}

fn mark_phonemes(tag: Tag, text: &str) -> String {
    match tag {
        Tag::LRB => "(".into(),
        Tag::RRB => ")".into(),
        Tag::OPENING_QUOTE => "“".into(),
        Tag::CLOSING_QUOTE => "”".into(),
        _ => text.chars().filter(|c| is_mark(*c)).collect(),
    }
}

fn between_letters(token: &str, range: &Range<usize>) -> bool {
    let letter = |c: char| characters::Class::Letter.has(c);
    token[..range.start].ends_with(letter) && token[range.end..].starts_with(letter)
}

/// Says every group, the last first.
pub(super) fn say(text: &str, groups: &mut [Group], speaker: &Speaker<'_>) {
    let mut context = Context::default();
    for i in (0..groups.len()).rev() {
        let (before, rest) = groups.split_at_mut(i);
        let group = &mut rest[0];
        if let Some(ending) = possessive_of_override(text, group, before.last(), speaker) {
            context = context_before(context, &ending.phonemes, "", group.pieces[0].tag);
            group
                .pieces
                .iter_mut()
                .for_each(|piece| piece.spoken = Some(Spoken::new("", ending.source)));
            group.pieces[0].spoken = Some(ending);
            continue;
        }
        match &mut group.pieces[..] {
            [piece] => {
                if piece.spoken.is_none() {
                    piece.spoken = say_single(text, piece, context, speaker);
                }
                let phonemes = piece.spoken.as_ref().map_or("", |spoken| &spoken.phonemes);
                context = context_before(context, phonemes, piece.text(text), piece.tag);
            }
            pieces => {
                context = say_pieces(text, pieces, context, speaker);
                settle(text, pieces);
            }
        }
    }
}

/// One piece by itself, whatever it takes.
fn say_single(
    text: &str,
    piece: &Piece,
    context: Context,
    speaker: &Speaker<'_>,
) -> Option<Spoken> {
    let stretch = Stretch::of(std::slice::from_ref(piece), text);
    let said = stretch.say(context, speaker);
    // An apostrophe that is its own token is as silent as one within a word.
    Some(said.unwrap_or_else(|| stretch.say_unknown(context, speaker)))
}

/// What a stretch of pieces is asked as.
struct Stretch<'a> {
    word: Cow<'a, str>,
    usage: Usage,
    stress: Option<f32>,
    currency: Option<Currency>,
    is_head: bool,
}

impl<'a> Stretch<'a> {
    fn of(pieces: &[Piece], text: &'a str) -> Stretch<'a> {
        let first = &pieces[0];
        let own = match first.alias {
            Some(alias) => alias,
            None => &text[first.range.start..pieces[pieces.len() - 1].range.end],
        };
        let word = folded(own);
        // A capital says: a little more stress; nothing but capitals: more.
        let stress = if characters::is_lower_or_caseless(&word) {
            None
        } else if characters::is_upper_or_caseless(&word) {
            Some(2.0)
        } else {
            Some(0.5)
        };
        let mut wishes = pieces.iter().filter_map(|piece| piece.stress);
        let wish = wishes.next().filter(|wish| wishes.all(|other| other == *wish));
        Stretch {
            word,
            usage: Usage { tag: Some(heaviest(text, pieces)), stress, context: None },
            stress: wish,
            currency: pieces.iter().find_map(|piece| piece.currency),
            is_head: first.is_head,
        }
    }

    /// misaki's Lexicon.__call__.
    fn say(&self, context: Context, speaker: &Speaker<'_>) -> Option<Spoken> {
        let usage = Usage { context: Some(context), ..self.usage };
        let spoken = match speaker.word(&self.word, usage) {
            Some(spoken) if spoken.source == Source::User => return Some(spoken),
            Some(spoken) => speaker.with_currency(spoken, self.currency),
            None if is_number(&self.word, self.is_head) => {
                speaker.number(&self.word, self.currency, self.is_head)?
            }
            None => return None,
        };
        Some(Spoken { phonemes: stress::apply(spoken.phonemes, self.stress), ..spoken })
    }

    fn say_unknown(&self, context: Context, speaker: &Speaker<'_>) -> Spoken {
        let spoken = speaker.unknown(&self.word, Usage { context: Some(context), ..self.usage });
        Spoken { phonemes: stress::apply(spoken.phonemes, self.stress), ..spoken }
    }
}

/// The word with straight quotes, in compatibility form, with ASCII digits.
fn folded(word: &str) -> Cow<'_, str> {
    if word.is_ascii() {
        return Cow::Borrowed(word);
    }
    let straight = word.chars().map(|c| if matches!(c, '‘' | '’') { '\'' } else { c });
    let digits = straight.nfkc().map(|c| match characters::decimal_value(c) {
        Some(value) => char::from_digit(value, 10).unwrap_or(c),
        None => c,
    });
    Cow::Owned(digits.collect())
}

/// Says the pieces of a group from the right, the longest known stretch first.
fn say_pieces(
    text: &str,
    pieces: &mut [Piece],
    mut context: Context,
    speaker: &Speaker<'_>,
) -> Context {
    let mut right = pieces.len();
    while right > 0 {
        let mut said = None;
        for left in right.saturating_sub(MAX_STRETCH)..right {
            let n_bytes = pieces[right - 1].range.end - pieces[left].range.start;
            if n_bytes > MAX_BYTES && left + 1 < right {
                continue;
            }
            let stretch = Stretch::of(&pieces[left..right], text);
            if let Some(spoken) = stretch.say(context, speaker) {
                said = Some((left, spoken));
                break;
            }
        }
        let Some((left, spoken)) = said else {
            right -= 1;
            if pieces[right].text(text).chars().all(is_junk) {
                pieces[right].spoken = Some(Spoken::new("", Source::Punctuation));
            } else {
                let stretch = Stretch::of(&pieces[right..=right], text);
                let mut spoken = stretch.say_unknown(context, speaker);
                take_possessive(text, pieces, right, &mut spoken, speaker);
                context = context_before(context, &spoken.phonemes, "", pieces[right].tag);
                pieces[right].spoken = Some(spoken);
            }
            continue;
        };
        let whole = &text[pieces[left].range.start..pieces[right - 1].range.end];
        context =
            context_before(context, &spoken.phonemes, whole, heaviest(text, &pieces[left..right]));
        for piece in &mut pieces[left + 1..right] {
            piece.spoken = Some(Spoken::new("", spoken.source));
        }
        pieces[left].spoken = Some(spoken);
        right = left;
    }
    context
}

/// An 's after a guessed word sounds as that word's ending asks.
fn take_possessive(
    text: &str,
    pieces: &mut [Piece],
    at: usize,
    spoken: &mut Spoken,
    speaker: &Speaker<'_>,
) {
    let ending = pieces.get(at + 1..at + 3).map(|p| &text[p[0].range.start..p[1].range.end]);
    if ending.is_some_and(is_possessive)
        && let Some(possessive) = speaker.plural(&spoken.phonemes)
    {
        spoken.phonemes = possessive;
        for piece in &mut pieces[at + 1..at + 3] {
            piece.spoken = Some(Spoken::new("", spoken.source));
        }
    }
}

fn is_possessive(text: &str) -> bool {
    matches!(text, "'s" | "’s" | "'S" | "’S")
}

/// The sound of an 's that stands right after a word that the caller's markup says.
fn possessive_of_override(
    text: &str,
    group: &Group,
    before: Option<&Group>,
    speaker: &Speaker<'_>,
) -> Option<Spoken> {
    let before = &before?.pieces[0];
    let owner = before.spoken.as_ref().filter(|spoken| spoken.source == Source::Override)?;
    let own = group.pieces[0].range.start..group.pieces[group.pieces.len() - 1].range.end;
    if before.space_after || !is_possessive(&text[own]) {
        return None;
    }
    let whole = speaker.plural(&owner.phonemes)?;
    Some(Spoken::new(whole.strip_prefix(owner.phonemes.as_str())?, Source::Override))
}

/// What is known to the left of a word that is said as `phonemes`.
fn context_before(context: Context, phonemes: &str, text: &str, tag: Tag) -> Context {
    let telling =
        phonemes.chars().find(|c| stress::is_vowel(*c) || stress::is_consonant(*c) || is_pause(*c));
    let future_vowel = match telling {
        Some(c) if is_pause(c) => None,
        Some(c) => Some(stress::is_vowel(c)),
        None => context.future_vowel,
    };
    let future_to =
        matches!(text, "to" | "To") || text == "TO" && (tag == Tag::TO || tag == Tag::IN);
    Context { future_vowel, future_to }
}

/// misaki's resolve_tokens: silences the joints of a group, and either sets its parts apart as words
/// or lowers the stress of all but the heaviest.
fn settle(text: &str, pieces: &mut [Piece]) {
    let whole = &text[pieces[0].range.start..pieces[pieces.len() - 1].range.end];
    let mut kinds = [false; 3];
    for c in whole.chars().filter(|c| !is_junk(*c)) {
        let letter = characters::Class::Letter.has(c);
        kinds[if letter { 0 } else { 2 - usize::from(c.is_ascii_digit()) }] = true;
    }
    let apart = whole.contains([' ', '/']) || kinds.iter().filter(|kind| **kind).count() > 1;
    let n = pieces.len();
    for (i, piece) in pieces.iter_mut().enumerate() {
        let own = piece.text(text);
        if piece.spoken.as_ref().is_some_and(|spoken| spoken.source != Source::None) {
            piece.space_before = i > 0 && apart;
        } else if i + 1 == n && own.chars().all(is_pause) {
            piece.spoken = Some(Spoken::new(own, Source::Punctuation));
        }
    }
    if apart {
        return;
    }
    let mut said: Vec<(bool, usize, usize)> = Vec::new();
    for (i, piece) in pieces.iter().enumerate() {
        if let Some(spoken) = piece.spoken.as_ref().filter(|spoken| !spoken.phonemes.is_empty()) {
            said.push((spoken.phonemes.contains(PRIMARY), stress::weight(&spoken.phonemes), i));
        }
    }
    let n_primary = said.iter().filter(|(primary, ..)| *primary).count();
    match said[..] {
        [(_, _, first), second] if pieces[first].text(text).chars().nth(1).is_none() => {
            said = vec![second];
        }
        [] | [_] => return,
        _ if n_primary <= said.len().div_ceil(2) => return,
        _ => {
            said.sort_unstable();
            said.truncate(said.len() / 2);
        }
    }
    for (_, _, i) in said {
        if let Some(spoken) = &mut pieces[i].spoken {
            spoken.phonemes = stress::apply(std::mem::take(&mut spoken.phonemes), Some(-0.5));
        }
    }
}

impl Group {
    /// The token that the group makes.
    pub(super) fn into_token(self, text: &str) -> Token {
        let pieces = self.pieces;
        let (first, last) = (&pieces[0], &pieces[pieces.len() - 1]);
        let mut phonemes = String::new();
        for piece in &pieces {
            let Some(spoken) = &piece.spoken else { continue };
            if piece.space_before
                && !spoken.phonemes.is_empty()
                && !phonemes.is_empty()
                && !phonemes.ends_with(char::is_whitespace)
            {
                phonemes.push(' ');
            }
            // Kokoro v1.0 knows the flap as T and no glottal stop.
            phonemes.extend(spoken.phonemes.chars().map(|c| match c {
                'ɾ' => 'T',
                'ʔ' => 't',
                c => c,
            }));
        }
        let sources = pieces.iter().filter_map(|piece| piece.spoken.as_ref());
        let sources = sources.map(|spoken| spoken.source).filter(|source| *source != Source::None);
        Token {
            range: first.range.start..last.range.end,
            tag: heaviest(text, &pieces),
            phonemes,
            space_after: last.space_after,
            source: sources.max().unwrap_or(Source::None),
        }
    }
}
