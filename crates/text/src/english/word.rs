//! How one word is said: special cases, dictionaries, then the dictionaries by way of -s, -ed, -ing.
//!
//! A port of the class Lexicon of misaki's en.py in its order of rules; numbers are in `number.rs`,
//! what to do when all of it fails in `unknown.rs`.

use super::Source;
use super::characters::{is_alphabetic, is_lower_or_caseless, is_upper_or_caseless};
use super::lexicon::{Found, Lexicon};
use super::stress::{self, PRIMARY, SECONDARY};
use super::tag::Tag;
use super::user_lexicon::UserLexicon;
use crate::phoneme::Dialect;

/// What is known of the words to the right, which are said first.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Context {
    /// Whether the next sound is a vowel; unknown at a pause.
    pub(super) future_vowel: Option<bool>,
    /// Whether the next word is "to".
    pub(super) future_to: bool,
}

/// Ends of contractions that misaki lists with some words only; these are for "might've" and the like.
const ENDINGS: [(&str, &str); 5] =
    [("'ve", "əv"), ("'d", "əd"), ("'ll", "əl"), ("'re", "ə"), ("n't", "ənt")];

/// Phonemes and where they came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spoken {
    pub(super) phonemes: String,
    pub(super) source: Source,
}

impl Spoken {
    pub(super) fn new(phonemes: impl Into<String>, source: Source) -> Spoken {
        Spoken { phonemes: phonemes.into(), source }
    }

    /// A word that the rules themselves know.
    fn gold(phonemes: impl Into<String>) -> Spoken {
        Spoken::new(phonemes, Source::Gold)
    }

    fn stressed(self, stress: Option<f32>) -> Spoken {
        Spoken { phonemes: stress::apply(self.phonemes, stress), ..self }
    }
}

/// What is asked of a word beside its letters.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    pub(super) tag: Option<Tag>,
    /// As in [`stress::apply`].
    pub(super) stress: Option<f32>,
    /// Nothing for a word out of context, such as a number word.
    pub(super) context: Option<Context>,
}

/// Says single words of one dialect.
#[derive(Clone, Copy, Debug)]
pub(super) struct Speaker<'a> {
    pub(super) dialect: Dialect,
    pub(super) lexicon: Lexicon,
    pub(super) user: &'a UserLexicon,
}

impl Speaker<'_> {
    fn british(&self) -> bool {
        self.dialect == Dialect::British
    }

    /// misaki's `get_word`. None: not known.
    pub(super) fn word(&self, word: &str, usage: Usage) -> Option<Spoken> {
        if let Some(phonemes) = self.user.lookup(word) {
            return Some(Spoken::new(phonemes, Source::User));
        }
        if let Some(special) = self.special_case(word, usage) {
            return Some(special);
        }
        let lower = self.lowered(word, usage);
        let word = lower.as_deref().unwrap_or(word);
        if self.is_known(word) {
            return self.lookup(word, usage);
        }
        if let Some(owner) = word.strip_suffix("s'")
            && self.is_known(&format!("{owner}'s"))
        {
            return self.lookup(&format!("{owner}'s"), usage);
        }
        if let Some(stem) = word.strip_suffix('\'')
            && self.is_known(stem)
        {
            return self.lookup(stem, usage);
        }
        let ing = Usage { stress: usage.stress.or(Some(0.5)), ..usage };
        self.stem_s(word, usage)
            .or_else(|| self.stem_ed(word, usage))
            .or_else(|| self.stem_ing(word, ing))
            .or_else(|| {
                let (_, phonemes) = ENDINGS.iter().find(|(ending, _)| *ending == word)?;
                Some(Spoken::gold(*phonemes))
            })
    }

    /// The word in lower case, if its capitals say nothing: a capitalised or shouted word that is
    /// known in lower case, and no short name.
    fn lowered(&self, word: &str, usage: Usage) -> Option<String> {
        if is_lower_or_caseless(word) || word.chars().nth(1).is_none() {
            return None;
        }
        if usage.tag == Some(Tag::NNP) && word.chars().count() <= 7 {
            return None;
        }
        if !word.chars().all(|c| c == '\'' || is_alphabetic(c.encode_utf8(&mut [0; 4]))) {
            return None;
        }
        let tail = &word[word.chars().next().map_or(0, char::len_utf8)..];
        if !is_upper_or_caseless(word) && !is_lower_or_caseless(tail)
            || self.lexicon.find(word).any()
        {
            return None;
        }
        let lower = word.to_lowercase();
        let known = self.lexicon.find(&lower).any()
            || self.stem_s(&lower, usage).is_some()
            || self.stem_ed(&lower, usage).is_some()
            || self.stem_ing(&lower, usage).is_some();
        known.then_some(lower)
    }

    /// Words whose sound depends on their neighbours or that are symbols, and dotted acronyms.
    fn special_case(&self, word: &str, usage: Usage) -> Option<Spoken> {
        let Usage { tag, stress, context } = usage;
        let is = |wanted: Tag| tag == Some(wanted);
        let future_vowel = context.and_then(|context| context.future_vowel);
        let known = |word: &str, tag: Option<Tag>| {
            Some(Spoken::gold(self.lexicon.find(word).gold?.choose(tag, false)?))
        };
        match word {
            "." if is(Tag::ADD) => {
                return self.lookup("dot", Usage { stress: Some(-0.5), tag: None, context });
            }
            "/" if is(Tag::ADD) => {
                return self.lookup("slash", Usage { stress: Some(-0.5), tag: None, context });
            }
            "%" | "&" | "+" | "@" => {
                let name = symbol(word)?;
                return self.lookup(name, Usage { stress: None, tag: None, context });
            }
            _ => {}
        }
        if is_dotted_acronym(word) {
            return self.spelled(word);
        }
        match word {
            "a" | "A" => Some(Spoken::gold(if is(Tag::DT) { "ɐ" } else { "ˈA" })),
            "am" | "Am" | "AM" => {
                if tag.is_some_and(Tag::is_noun) {
                    self.spelled(word)
                } else if future_vowel.is_none() || word != "am" || stress.is_some_and(|s| s > 0.0)
                {
                    known("am", None)
                } else {
                    Some(Spoken::gold("ɐm"))
                }
            }
            "AN" if tag.is_some_and(Tag::is_noun) => self.spelled(word),
            "an" | "An" | "AN" => Some(Spoken::gold("ɐn")),
            "I" if is(Tag::PRP) => Some(Spoken::gold("ˌI")),
            "by" | "By" | "BY" if tag.is_some_and(Tag::is_adverb) => Some(Spoken::gold("bˈI")),
            "TO" if !is(Tag::TO) && !is(Tag::IN) => None,
            "to" | "To" | "TO" => match future_vowel {
                None => known("to", None),
                Some(false) => Some(Spoken::gold("tə")),
                Some(true) => Some(Spoken::gold("tʊ")),
            },
            "IN" if is(Tag::NNP) => None,
            "in" | "In" | "IN" => {
                let strong = future_vowel.is_none() || !is(Tag::IN);
                Some(Spoken::gold(if strong { "ˈɪn" } else { "ɪn" }))
            }
            "THE" if !is(Tag::DT) => None,
            "the" | "The" | "THE" => {
                Some(Spoken::gold(if future_vowel == Some(true) { "ði" } else { "ðə" }))
            }
            "used" | "Used" | "USED" => {
                let past = (is(Tag::VBD) || is(Tag::JJ)) && context.is_some_and(|c| c.future_to);
                known("used", past.then_some(Tag::VBD))
            }
            _ if is(Tag::IN) && matches!(word.to_lowercase().as_str(), "vs" | "vs.") => {
                self.lookup("versus", Usage { stress: None, tag: None, context })
            }
            _ => None,
        }
    }

    /// The letters of `word` by their names, the last one stressed.
    pub(super) fn spelled(&self, word: &str) -> Option<Spoken> {
        let mut names = String::new();
        for letter in word.chars().filter(|c| is_alphabetic(c.encode_utf8(&mut [0; 4]))) {
            let upper: String = letter.to_uppercase().collect();
            names.push_str(&self.lexicon.find(&upper).gold?.choose(None, false)?);
        }
        if names.is_empty() {
            return None;
        }
        let mut names = stress::apply(names, Some(0.0));
        if let Some(at) = names.rfind(SECONDARY) {
            names.replace_range(at..at + SECONDARY.len_utf8(), "ˈ");
        }
        Some(Spoken::gold(names))
    }

    /// Whether [`Speaker::lookup`] has something to say to `word`.
    fn is_known(&self, word: &str) -> bool {
        if self.find(word).any() || symbol(word).is_some() || self.user.lookup(word).is_some() {
            return true;
        }
        if word.is_empty() || !word.bytes().all(|b| b.is_ascii_alphabetic()) {
            return false;
        }
        word.len() == 1
            || is_upper_or_caseless(word) && self.find(&word.to_lowercase()).gold.is_some()
            || is_upper_or_caseless(&word[1..])
    }

    fn find(&self, word: &str) -> Found {
        self.lexicon.find(word)
    }

    /// The entry of `word`, or of its lower case, or its letters.
    pub(super) fn lookup(&self, word: &str, usage: Usage) -> Option<Spoken> {
        if let Some(phonemes) = self.user.lookup(word) {
            return Some(Spoken::new(phonemes, Source::User));
        }
        let mut found = self.find(word);
        let lower;
        let mut word = word;
        let mut acronym = false;
        if found.gold.is_none() && is_upper_or_caseless(word) {
            lower = word.to_lowercase();
            word = &lower;
            found = self.find(word);
            acronym = usage.tag == Some(Tag::NNP);
        }
        let (entry, source) = match found {
            Found { gold: Some(gold), .. } => (Some(gold), Source::Gold),
            Found { silver, .. } => (silver.filter(|_| !acronym), Source::Silver),
        };
        let before_pause = usage.context.is_some_and(|context| context.future_vowel.is_none());
        let phonemes = entry.and_then(|entry| entry.choose(usage.tag, before_pause));
        if phonemes.as_ref().is_none_or(|phonemes| acronym && !phonemes.contains(PRIMARY))
            && let Some(spelled) = self.spelled(word)
        {
            return Some(spelled);
        }
        Some(Spoken::new(phonemes?, source).stressed(usage.stress))
    }

    /// A plural or the third person of a verb.
    pub(super) fn stem_s(&self, word: &str, usage: Usage) -> Option<Spoken> {
        let n = word.chars().count();
        let stem = word.strip_suffix('s').filter(|_| n >= 3)?;
        if !stem.ends_with('s') && self.is_known(stem) {
            return self.inflected(stem, usage, Self::plural);
        }
        if (stem.ends_with('\'') || n > 4 && stem.ends_with('e') && !stem.ends_with("ie"))
            && self.is_known(&stem[..stem.len() - 1])
        {
            return self.inflected(&stem[..stem.len() - 1], usage, Self::plural);
        }
        let singular = format!("{}y", stem.strip_suffix("ie").filter(|_| n > 4)?);
        if self.is_known(&singular) { self.inflected(&singular, usage, Self::plural) } else { None }
    }

    /// A past tense.
    fn stem_ed(&self, word: &str, usage: Usage) -> Option<Spoken> {
        let n = word.chars().count();
        let stem = word.strip_suffix('d').filter(|_| n >= 4)?;
        if !stem.ends_with('d') && self.is_known(stem) {
            return self.inflected(stem, usage, Self::past);
        }
        let stem = stem.strip_suffix('e').filter(|stem| n > 4 && !stem.ends_with('e'))?;
        if self.is_known(stem) { self.inflected(stem, usage, Self::past) } else { None }
    }

    /// A gerund.
    fn stem_ing(&self, word: &str, usage: Usage) -> Option<Spoken> {
        let n = word.chars().count();
        let stem = word.strip_suffix("ing").filter(|_| n >= 5)?;
        if n > 5 && self.is_known(stem) {
            return self.inflected(stem, usage, Self::gerund);
        }
        let with_e = format!("{stem}e");
        if self.is_known(&with_e) {
            return self.inflected(&with_e, usage, Self::gerund);
        }
        let [.., before, last] = stem.as_bytes() else { return None };
        let doubled = before == last && b"bcdgklmnprstvxz".contains(last) || stem.ends_with("ck");
        let single = &stem[..stem.len() - 1];
        if n > 5 && doubled && self.is_known(single) {
            return self.inflected(single, usage, Self::gerund);
        }
        None
    }

    fn inflected(
        &self,
        stem: &str,
        usage: Usage,
        ending: impl Fn(&Self, &str) -> Option<String>,
    ) -> Option<Spoken> {
        let stem = self.lookup(stem, usage)?;
        let source = if stem.source == Source::User { Source::User } else { Source::Stem };
        Some(Spoken::new(ending(self, &stem.phonemes)?, source))
    }

    /// The stem with the sound of -s.
    pub(super) fn plural(&self, stem: &str) -> Option<String> {
        Some(match stem.chars().next_back()? {
            'p' | 't' | 'k' | 'f' | 'θ' => format!("{stem}s"),
            's' | 'z' | 'ʃ' | 'ʒ' | 'ʧ' | 'ʤ' if self.british() => format!("{stem}ɪz"),
            's' | 'z' | 'ʃ' | 'ʒ' | 'ʧ' | 'ʤ' => format!("{stem}ᵻz"),
            _ => format!("{stem}z"),
        })
    }

    /// The stem with the sound of -ed.
    pub(super) fn past(&self, stem: &str) -> Option<String> {
        let mut back = stem.chars().rev();
        Some(match back.next()? {
            'p' | 'k' | 'f' | 'θ' | 'ʃ' | 's' | 'ʧ' => format!("{stem}t"),
            'd' if self.british() => format!("{stem}ɪd"),
            'd' => format!("{stem}ᵻd"),
            't' => match (back.next(), stem.strip_suffix('t')) {
                (Some(before), Some(rest)) if !self.british() => {
                    if stress::precedes_flap(before) {
                        format!("{rest}ɾᵻd")
                    } else {
                        format!("{stem}ᵻd")
                    }
                }
                _ => format!("{stem}ɪd"),
            },
            _ => format!("{stem}d"),
        })
    }

    /// The stem with the sound of -ing. A British stem that may end in an r is left to others.
    pub(super) fn gerund(&self, stem: &str) -> Option<String> {
        let mut back = stem.chars().rev();
        let last = back.next()?;
        if self.british() {
            return if last == 'ə' || last == 'ː' { None } else { Some(format!("{stem}ɪŋ")) };
        }
        match stem.strip_suffix('t') {
            Some(rest) if back.next().is_some_and(stress::precedes_flap) => {
                Some(format!("{rest}ɾɪŋ"))
            }
            _ => Some(format!("{stem}ɪŋ")),
        }
    }
}

/// The name of a symbol that is always said.
fn symbol(word: &str) -> Option<&'static str> {
    match word {
        "%" => Some("percent"),
        "&" => Some("and"),
        "+" => Some("plus"),
        "@" => Some("at"),
        _ => None,
    }
}

/// Letters with dots between them, none of the parts longer than two: U.S., Ph.D.
fn is_dotted_acronym(word: &str) -> bool {
    word.trim_matches('.').contains('.')
        && word.chars().all(|c| c == '.' || is_alphabetic(c.encode_utf8(&mut [0; 4])))
        && word.split('.').all(|part| part.chars().nth(2).is_none())
}
