//! Part-of-speech tags, the Penn Treebank's as the tagger numbers them.

use super::blob::{Section, section, u32_at};

/// A tag, by its index among the tagger's outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Tag(pub(super) u8);

macro_rules! tags {
    ($($index:literal $name:ident $text:literal $doc:literal,)*) => {
        #[allow(missing_docs, dead_code, reason = "the full set, named as in the treebank")]
        impl Tag {
            $(#[doc = $doc] pub(crate) const $name: Tag = Tag($index);)*
            /// The names, by index.
            const NAMES: [&str; 50] = [$($text),*];
        }
    };
}

tags! {
    0 DOLLAR "$" "A currency sign.",
    1 CLOSING_QUOTE "''" "A closing quotation mark.",
    2 COMMA "," "A comma.",
    3 LRB "-LRB-" "An opening bracket.",
    4 RRB "-RRB-" "A closing bracket.",
    5 STOP "." "The end of a sentence.",
    6 COLON ":" "A colon, semicolon, dash or ellipsis.",
    7 ADD "ADD" "An address.",
    8 AFX "AFX" "An affix.",
    9 CC "CC" "A conjunction.",
    10 CD "CD" "A number.",
    11 DT "DT" "A determiner.",
    12 EX "EX" "Existential there.",
    13 FW "FW" "A foreign word.",
    14 HYPH "HYPH" "A hyphen.",
    15 IN "IN" "A preposition.",
    16 JJ "JJ" "An adjective.",
    17 JJR "JJR" "A comparative.",
    18 JJS "JJS" "A superlative.",
    19 LS "LS" "A list item marker.",
    20 MD "MD" "A modal verb.",
    21 NFP "NFP" "Superfluous punctuation.",
    22 NN "NN" "A noun.",
    23 NNP "NNP" "A proper noun.",
    24 NNPS "NNPS" "A proper noun, plural.",
    25 NNS "NNS" "A noun, plural.",
    26 PDT "PDT" "A predeterminer.",
    27 POS "POS" "A possessive ending.",
    28 PRP "PRP" "A personal pronoun.",
    29 PRP_POSSESSIVE "PRP$" "A possessive pronoun.",
    30 RB "RB" "An adverb.",
    31 RBR "RBR" "An adverb, comparative.",
    32 RBS "RBS" "An adverb, superlative.",
    33 RP "RP" "A particle.",
    34 SYM "SYM" "A symbol.",
    35 TO "TO" "The word to.",
    36 UH "UH" "An interjection.",
    37 VB "VB" "A verb, base form.",
    38 VBD "VBD" "A verb, past tense.",
    39 VBG "VBG" "A verb, gerund.",
    40 VBN "VBN" "A verb, past participle.",
    41 VBP "VBP" "A verb, present.",
    42 VBZ "VBZ" "A verb, third person.",
    43 WDT "WDT" "A wh-determiner.",
    44 WP "WP" "A wh-pronoun.",
    45 WP_POSSESSIVE "WP$" "Whose.",
    46 WRB "WRB" "A wh-adverb.",
    47 XX "XX" "Unknown.",
    48 SPACE "_SP" "White space.",
    49 OPENING_QUOTE "``" "An opening quotation mark.",
}

/// How many tags there are.
pub(super) const N_TAGS: usize = Tag::NAMES.len();

impl Tag {
    /// The tag as the treebank writes it.
    pub(crate) fn name(self) -> &'static str {
        Self::NAMES[usize::from(self.0)]
    }

    /// NN, NNP, NNPS, NNS.
    pub(super) fn is_noun(self) -> bool {
        self.name().starts_with("NN")
    }

    /// RB, RBR, RBS.
    pub(super) fn is_adverb(self) -> bool {
        self.name().starts_with("RB")
    }

    /// VB and its forms.
    pub(super) fn is_verb(self) -> bool {
        self.name().starts_with("VB")
    }

    /// JJ, JJR, JJS.
    pub(super) fn is_adjective(self) -> bool {
        self.name().starts_with("JJ")
    }

    /// Whether a token so tagged is punctuation, unless it is made of letters.
    pub(super) fn is_punctuation(self) -> bool {
        matches!(
            self,
            Tag::DOLLAR
                | Tag::CLOSING_QUOTE
                | Tag::COMMA
                | Tag::LRB
                | Tag::RRB
                | Tag::STOP
                | Tag::COLON
                | Tag::NFP
                | Tag::OPENING_QUOTE
        )
    }
}

/// The names of the tags as the weights order them, and the rest of the tagger's section.
pub(super) fn labels_and_weights() -> (&'static [u8], &'static [u8]) {
    let bytes = section(Section::Tagger);
    let n = u32_at(bytes, 0) as usize;
    (&bytes[4..4 + n], &bytes[(4 + n).next_multiple_of(4)..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weights_order_the_tags_as_we_name_them() {
        let (labels, _) = labels_and_weights();
        let labels = std::str::from_utf8(labels).expect("the names are text");
        assert_eq!(labels.lines().collect::<Vec<_>>(), Tag::NAMES);
    }
}
