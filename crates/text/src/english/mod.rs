//! English text to phonemes, as misaki 0.9.4 does it for Kokoro v1.0, in Rust of our own.
//!
//! Takes one sentence or any stretch of text that is already normalised; gives the tokens in order,
//! each with its place in the text and its phonemes. The way: [`tokenizer`] and [`tagger`] (spaCy's),
//! then misaki's own: tokens are split into pieces and glued into `Group`s (`group.rs`), and the
//! groups are said from right to left, since "the" and "to" depend on what follows (`word.rs`,
//! `number.rs`, `unknown.rs`). All data is in one blob (`blob.rs`). No files, no clock, and no input
//! that panics or takes more than linear time.

mod blob;
mod characters;
mod group;
mod lexicon;
mod number;
pub(crate) mod numerals;
mod stress;
mod subtoken;
mod tag;
mod tagger;
#[cfg(test)]
mod tests;
mod tokenizer;
mod unknown;
mod url;
mod user_lexicon;
mod word;

pub(crate) use tag::Tag;
pub use user_lexicon::{EntryError, UserLexicon, UserLexiconError};

use crate::phoneme::Dialect;
use lexicon::Lexicon;
use std::ops::Range;
use std::sync::LazyLock;
use tagger::{FeatureTables, TAGGER};
use tokenizer::Tokenizer;
use word::Speaker;

/// The rules and dictionaries of one dialect.
pub(crate) struct English {
    dialect: Dialect,
    tokenizer: Tokenizer,
    features: FeatureTables,
    lexicon: Lexicon,
}

/// What the caller's markup says about a stretch of the text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Override {
    /// Bytes of the text.
    pub(crate) range: Range<usize>,
    /// What it asks for.
    pub(crate) kind: OverrideKind,
}

/// What an [`Override`] asks for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum OverrideKind {
    /// Say exactly this.
    Phonemes(String),
    /// Raise or lower the stress: -2 none, -1 primary to secondary, 1 secondary to primary, 2 give a
    /// primary; 0 and halves as misaki has them.
    Stress(f32),
}

/// A word or mark with its sound.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token {
    /// Bytes of the text, on character boundaries. Ranges rise and do not overlap.
    pub(crate) range: Range<usize>,
    /// The part of speech; of several, the one of the longest piece.
    pub(crate) tag: Tag,
    /// In misaki's alphabet as Kokoro v1.0 takes it; empty for what cannot be said.
    pub(crate) phonemes: String,
    /// Whether a space follows.
    pub(crate) space_after: bool,
    /// Where the phonemes come from; of several sources, the least sure.
    pub(crate) source: Source,
}

/// Where phonemes come from, the surest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Source {
    /// A mark that is a phoneme symbol itself, or is silent.
    Punctuation,
    /// The caller's markup.
    Override,
    /// The caller's lexicon.
    User,
    /// The dictionary checked by people, or a rule.
    Gold,
    /// The dictionary made by machine.
    Silver,
    /// A dictionary, by way of the word's stem.
    Stem,
    /// A number in figures.
    Number,
    /// CMUdict.
    Bronze,
    /// Letter-to-sound rules.
    Guess,
    /// The names of the letters.
    Letters,
    /// Nothing: it cannot be said.
    None,
}

impl English {
    /// The rules of `dialect`. The first call costs about a millisecond, later ones nothing.
    pub(crate) fn get(dialect: Dialect) -> &'static English {
        static AMERICAN: LazyLock<English> = LazyLock::new(|| English::new(Dialect::American));
        static BRITISH: LazyLock<English> = LazyLock::new(|| English::new(Dialect::British));
        match dialect {
            Dialect::American => &AMERICAN,
            Dialect::British => &BRITISH,
        }
    }

    fn new(dialect: Dialect) -> English {
        LazyLock::force(&TAGGER);
        English {
            dialect,
            tokenizer: Tokenizer::new(),
            features: FeatureTables::new(),
            lexicon: Lexicon::new(dialect),
        }
    }

    /// Says `text`: one sentence, or any stretch, normalised and without markup.
    pub(crate) fn phonemize(
        &self,
        text: &str,
        overrides: &[Override],
        user: &UserLexicon,
    ) -> Vec<Token> {
        let speaker = Speaker { dialect: self.dialect, lexicon: self.lexicon, user };
        let tagged = self.tagged(text);
        let tokens = group::with_overrides(text, tagged, overrides);
        let mut groups = group::groups(text, tokens);
        group::say(text, &mut groups, &speaker);
        groups.into_iter().map(|group| group.into_token(text)).collect()
    }

    /// The tokens of `text` with their tags.
    fn tagged(&self, text: &str) -> Vec<(tokenizer::Token, Tag)> {
        let tokens = self.tokenizer.tokenize(text);
        let features: Vec<_> = tokens
            .iter()
            .map(|token| {
                self.features.of(&text[token.range.clone()], token.norm, token.space_after)
            })
            .collect();
        let tags = TAGGER.tag(&features);
        tokens.into_iter().zip(tags).collect()
    }
}
