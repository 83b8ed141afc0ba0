//! The dictionaries: misaki's gold and silver of one dialect, and the words of CMUdict.
//!
//! Finds entries and chooses among the pronunciations of one; how a word not listed is derived from
//! one that is, `word.rs` knows.

use super::blob::{Section, StringMap, section};
use super::characters::{capitalize, is_lower_or_caseless};
use super::tag::Tag;
use crate::phoneme::Dialect;
use std::sync::LazyLock;

/// What the pronunciations of an entry are chosen by, in the order of the blob's codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Variant {
    Default,
    /// Before a pause.
    None,
    Verb,
    Noun,
    Adjective,
    Adverb,
    Vbd,
    Vbn,
    Vbp,
    Dt,
}

/// The length that says: several pronunciations follow.
const SEVERAL: u8 = 255;
/// The length that says: none, spell it.
const SPELLED: u8 = 254;

/// The phonemes each code stands for.
static CODES: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let strings = std::str::from_utf8(section(Section::Codes)).unwrap_or_default();
    strings.split_terminator('\0').collect()
});

/// An entry of one dictionary: a length and phoneme codes, or several such.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry(&'static [u8]);

impl Entry {
    /// The entry at the front of `bytes`, and what follows it.
    fn split(bytes: &'static [u8]) -> (Entry, &'static [u8]) {
        let one = |at: usize| match bytes[at] {
            SPELLED => 1,
            n => 1 + usize::from(n),
        };
        let mut n = 0;
        if bytes[0] == SEVERAL {
            n = 2;
            for _ in 0..bytes[1] {
                n += 1 + one(n + 1);
            }
        } else {
            n += one(0);
        }
        let (entry, rest) = bytes.split_at(n);
        (Entry(entry), rest)
    }

    /// The pronunciation that fits the tag, the one for the end of a phrase if there is such and
    /// `before_pause`. None if the word is to be spelled.
    pub(super) fn choose(self, tag: Option<Tag>, before_pause: bool) -> Option<String> {
        if self.0[0] != SEVERAL {
            return Some(decode(&self.0[1..]));
        }
        let exact = tag.and_then(|tag| match tag {
            Tag::VBD => Some(Variant::Vbd),
            Tag::VBN => Some(Variant::Vbn),
            Tag::VBP => Some(Variant::Vbp),
            Tag::DT => Some(Variant::Dt),
            _ => None,
        });
        let kind = tag.and_then(|tag| match tag {
            _ if tag.is_verb() => Some(Variant::Verb),
            _ if tag.is_noun() => Some(Variant::Noun),
            _ if tag.is_adverb() => Some(Variant::Adverb),
            _ if tag.is_adjective() => Some(Variant::Adjective),
            _ => None,
        });
        let pause = before_pause.then_some(Variant::None);
        let mut wanted = [pause, exact, kind, Some(Variant::Default)].into_iter().flatten();
        let codes = wanted.find_map(|variant| self.variant(variant))?;
        (codes[0] != SPELLED).then(|| decode(&codes[1..]))
    }

    /// Whether the word is said one way whatever its tag.
    #[cfg(test)]
    fn is_plain(self) -> bool {
        self.0[0] != SEVERAL
    }

    /// Length and codes of a variant.
    fn variant(self, wanted: Variant) -> Option<&'static [u8]> {
        let mut rest = &self.0[2..];
        while let [variant, tail @ ..] = rest {
            let n = if tail[0] == SPELLED { 1 } else { 1 + usize::from(tail[0]) };
            if *variant == wanted as u8 {
                return Some(&tail[..n]);
            }
            rest = &tail[n..];
        }
        None
    }
}

fn decode(codes: &[u8]) -> String {
    codes.iter().map(|code| CODES[usize::from(*code)]).collect()
}

/// What the dictionaries have for a word.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Found {
    /// Checked by people.
    pub(super) gold: Option<Entry>,
    /// Made by machine.
    pub(super) silver: Option<Entry>,
}

impl Found {
    pub(super) fn any(self) -> bool {
        self.gold.is_some() || self.silver.is_some()
    }
}

/// The dictionaries of one dialect.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lexicon {
    words: StringMap,
    /// Which of the dictionaries are this dialect's, by bit: gold, silver, CMUdict.
    own: [u8; 3],
}

impl Lexicon {
    pub(super) fn new(dialect: Dialect) -> Lexicon {
        let own = match dialect {
            Dialect::American => [0, 1, 4],
            Dialect::British => [2, 3, 5],
        };
        Lexicon { words: StringMap::new(Section::Lexicon), own }
    }

    /// What misaki's dictionaries have for `word`. A word listed in lower case is found capitalised,
    /// and the other way round, unless that form is listed itself.
    pub(super) fn find(&self, word: &str) -> Found {
        let mut found = self.exact(word);
        if found.gold.is_some() && found.silver.is_some() || word.chars().nth(1).is_none() {
            return found;
        }
        let other = if is_lower_or_caseless(word) {
            capitalize(word)
        } else {
            let lower = word.to_lowercase();
            if capitalize(&lower) != word {
                return found;
            }
            lower
        };
        if other != word {
            let grown = self.exact(&other);
            found.gold = found.gold.or(grown.gold);
            found.silver = found.silver.or(grown.silver);
        }
        found
    }

    fn exact(&self, word: &str) -> Found {
        let [gold, silver, _] = self.own;
        match self.words.get(word) {
            Some(value) => Found { gold: entry(value, gold), silver: entry(value, silver) },
            None => Found::default(),
        }
    }

    /// CMUdict's pronunciation of `word`, which is in lower case, as the dialect says it.
    pub(super) fn bronze(&self, word: &str) -> Option<String> {
        entry(self.words.get(word)?, self.own[2])?.choose(None, false)
    }
}

/// The entry of dictionary `wanted` in a value of the lexicon, whose first byte says which are there.
fn entry(value: &'static [u8], wanted: u8) -> Option<Entry> {
    let (flags, mut rest) = value.split_first()?;
    // A British entry that is the American one is not written again.
    let wanted = match wanted {
        2 | 3 if flags & 1 << (wanted + 4) != 0 => wanted - 2,
        _ => wanted,
    };
    for dictionary in 0..6 {
        if flags & 1 << dictionary == 0 {
            continue;
        }
        let (entry, tail) = Entry::split(rest);
        if dictionary == wanted {
            return Some(entry);
        }
        rest = tail;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_dialects_know_their_words() {
        let us = Lexicon::new(Dialect::American);
        let gb = Lexicon::new(Dialect::British);
        let say = |lexicon: Lexicon, word| lexicon.find(word).gold?.choose(None, false);
        assert_eq!(say(us, "tomato").as_deref(), Some("təmˈAɾO"));
        assert_eq!(say(gb, "tomato").as_deref(), Some("təmˈɑːtQ"));
        assert_eq!(say(us, "Tomato"), say(us, "tomato"));
        assert_eq!(say(us, "toMato"), None);
    }

    #[test]
    fn a_tag_chooses_the_pronunciation() {
        let entry = Lexicon::new(Dialect::American).find("record").gold.expect("it is listed");
        assert!(!entry.is_plain());
        assert_eq!(entry.choose(Some(Tag::NN), false).as_deref(), Some("ɹˈɛkəɹd"));
        assert_eq!(entry.choose(Some(Tag::VBP), false).as_deref(), Some("ɹəkˈɔɹd"));
    }

    #[test]
    fn cmudict_fills_gaps() {
        let us = Lexicon::new(Dialect::American);
        assert!(!us.find("aaberg").any());
        assert_eq!(us.bronze("aaberg").as_deref(), Some("ˈɑbˌɜɹɡ"));
        assert_eq!(Lexicon::new(Dialect::British).bronze("aaberg").as_deref(), Some("ˈabəːɡ"));
    }
}
