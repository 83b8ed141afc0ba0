//! One sentence from the caller's text to phonemes with their spans.
//!
//! Joins cleaning, normalising and the English front end, and leads every symbol back to the
//! caller's bytes. Knows nothing of chunks.

use crate::clean::{AskedWish, clean};
use crate::english::{English, Override, OverrideKind, Source, UserLexicon};
use crate::normalize::normalize;
use crate::phoneme::{Boundary, Dialect, Note, NoteKind, Span, Word, is_symbol};
use crate::segment::{Sentence, is_closer};
use std::ops::Range;

/// A spoken sentence.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line {
    /// Symbols of the alphabet; no space at the ends, never two together.
    pub(crate) symbols: Vec<char>,
    /// As long as `symbols`.
    pub(crate) spans: Vec<Span>,
    pub(crate) words: Vec<Word>,
    /// Indices of symbols that begin a word, where it matters how it hangs on the one before.
    pub(crate) joints: Vec<(usize, Joint)>,
    /// By their place in the text.
    pub(crate) notes: Vec<Note>,
    pub(crate) end: Boundary,
}

/// How two words hang together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Joint {
    /// The second opens a clause.
    Clause,
    /// The second opens a phrase.
    Phrase,
    /// Nobody stops between them.
    Tight,
    /// They are parts of a name.
    Name,
}

/// Speaks the sentence `sentence` of `text`.
pub(crate) fn speak(
    text: &str,
    sentence: Sentence,
    dialect: Dialect,
    lexicon: &UserLexicon,
) -> Line {
    let clean = clean(text, sentence.span, &sentence.inlines);
    let normal = normalize(clean, dialect, &|word| lexicon.lookup(word).is_some());
    let overrides: Vec<Override> = normal
        .overrides
        .into_iter()
        .map(|asked| Override {
            range: asked.range,
            kind: match asked.wish {
                AskedWish::Phonemes(phonemes) => OverrideKind::Phonemes(phonemes),
                AskedWish::Stress(stress) => OverrideKind::Stress(stress),
            },
        })
        .collect();
    let mut line = Line { notes: sentence.notes, end: sentence.end, ..Line::default() };
    line.notes.extend(normal.notes);
    let written = &normal.mapped.text;
    if !written.contains(char::is_alphanumeric) {
        // Marks alone say nothing; the tagger would look at each of them.
        line.notes.sort_by_key(|note| note.span.start);
        return line;
    }
    let mut space_due = false;
    let mut last_word = "";
    // A currency sign has no sound of its own; it belongs to the number behind it.
    let mut glued_start = None;
    for token in English::get(dialect).phonemize(written, &overrides, lexicon) {
        let word = &written[token.range.clone()];
        let is_word = word.contains(char::is_alphanumeric);
        let mut span = normal.mapped.source(token.range.clone());
        let before = line.symbols.len();
        if let Some(start) = glued_start.take() {
            span.start = start;
        }
        for symbol in token.phonemes.chars().filter(|&symbol| is_symbol(symbol)) {
            let is_space = symbol == ' ';
            if is_space && (line.symbols.is_empty() || line.symbols.ends_with(&[' '])) {
                continue;
            }
            if line.symbols.len() == before && space_due && !is_space {
                line.push_space(&span);
            }
            line.symbols.push(symbol);
            line.spans.push(span.clone());
        }
        let is_silent = line.symbols.len() == before;
        if is_silent {
            space_due |= token.space_after;
            if is_word && !line.is_spoken(&span) {
                line.notes.push(Note { span, kind: NoteKind::Unspeakable });
            } else if !is_word && !token.space_after && is_currency(word) {
                glued_start = Some(span.start);
            }
            continue;
        }
        if let Some(kind) = note_of(token.source) {
            line.notes.push(Note { span: span.clone(), kind });
        }
        let first = if line.symbols[before] == ' ' { before + 1 } else { before };
        if is_word {
            line.push_word(span, first, joint(last_word, word));
            last_word = word;
        }
        space_due = token.space_after;
    }
    line.trim_end();
    line.keep_last_stop(text, written, |range| normal.mapped.source(range));
    line.notes.sort_by_key(|note| note.span.start);
    line
}

impl Line {
    /// A space between the last symbol and one from `next`.
    fn push_space(&mut self, next: &Span) {
        let Some(last) = self.spans.last() else { return };
        let gap = if last.end <= next.start { last.end..next.start } else { next.clone() };
        self.symbols.push(' ');
        self.spans.push(gap);
    }

    /// Notes that the symbols from `first` on speak `span`. Words made from one stretch of the
    /// caller's text are one word of the caller's.
    fn push_word(&mut self, span: Span, first: usize, joint: Option<Joint>) {
        let end = self.symbols.len();
        match self.words.last_mut() {
            Some(last) if span.start < last.span.end => {
                last.span.end = last.span.end.max(span.end);
                last.symbols.end = end;
            }
            _ => {
                self.joints.extend(joint.map(|joint| (first, joint)));
                self.words.push(Word { span, symbols: first..end });
            }
        }
    }

    /// Whether a word from there has been heard already.
    fn is_spoken(&self, span: &Span) -> bool {
        self.words.last().is_some_and(|last| span.start < last.span.end)
    }

    fn trim_end(&mut self) {
        while self.symbols.ends_with(&[' ']) {
            self.symbols.pop();
            self.spans.pop();
        }
        let end = self.symbols.len();
        if let Some(last) = self.words.last_mut() {
            last.symbols.end = last.symbols.end.min(end);
        }
    }

    /// "etc." and "p.m." take the stop of their sentence along; without it the voice would not
    /// fall. Says it again.
    fn keep_last_stop(&mut self, text: &str, written: &str, source: impl Fn(Range<usize>) -> Span) {
        let bare = written.trim_end_matches(|c| is_closer(c) || c == ' ');
        let Some(stop @ ('.' | '!' | '?' | '…')) = bare.chars().next_back() else { return };
        // The stop goes before the closing quotes that the text may have behind it.
        let n_closing =
            self.symbols.iter().rev().take_while(|s| matches!(s, '”' | '"' | ')')).count();
        let at = self.symbols.len() - n_closing;
        let is_heard = at > 0 && !self.symbols[at - 1].is_alphabetic();
        let in_word = self.words.last().is_some_and(|word| word.symbols.end > at);
        if at == 0 || is_heard || in_word {
            return;
        }
        let span = source(bare.len() - stop.len_utf8()..bare.len());
        self.unword_stop(text, &span);
        let last_start = self.spans[at - 1].start;
        let next_start = self.spans.get(at).map_or(usize::MAX, |next| next.start);
        let start = span.start.clamp(last_start, next_start.max(last_start));
        self.symbols.insert(at, stop);
        self.spans.insert(at, start..span.end.max(start));
    }
}

impl Line {
    /// Takes the stop at `stop` out of the last word, unless that has others: of "3:30pm." and "B."
    /// it is no part, of "p.m." it is.
    fn unword_stop(&mut self, text: &str, stop: &Span) {
        let Some(last) = self.words.last_mut().filter(|last| last.span.end == stop.end) else {
            return;
        };
        let bare = &text[last.span.start..stop.start.max(last.span.start)];
        if bare.is_empty() || bare.contains('.') {
            return;
        }
        last.span.end = stop.start;
        for span in &mut self.spans[last.symbols.clone()] {
            span.end = span.end.min(stop.start);
        }
    }
}

fn note_of(source: Source) -> Option<NoteKind> {
    match source {
        Source::Guess => Some(NoteKind::Guessed),
        Source::Letters => Some(NoteKind::Spelled),
        _ => None,
    }
}

fn is_currency(word: &str) -> bool {
    matches!(word, "$" | "£" | "€" | "#")
}

/// How a word hangs on the one before, where that is not as any other does.
fn joint(before: &str, word: &str) -> Option<Joint> {
    let is = |word: &str, list: &[&str]| list.iter().any(|known| word.eq_ignore_ascii_case(known));
    let is_number =
        |word: &str| is(word, NUMBERS) || word.bytes().all(|byte| byte.is_ascii_digit());
    let goes_on = is(word, OBJECTS)
        || is_number(before) && (is_number(word) || word.eq_ignore_ascii_case("and"))
        || is(before, SEEKING) && word.eq_ignore_ascii_case("for");
    if is_name(before) && is_name(word) {
        Some(Joint::Name)
    } else if goes_on {
        Some(Joint::Tight)
    } else if is(word, CLAUSES)
        && !is(before, BINDING)
        && (is(before, POINTING) || !is(before, LEANING))
    {
        Some(Joint::Clause)
    } else if is(before, BINDING) || is(before, POINTING) || is(before, LEANING) {
        Some(Joint::Tight)
    } else {
        is(word, PHRASES).then_some(Joint::Phrase)
    }
}

/// Begins with a capital but is not written in them.
fn is_name(word: &str) -> bool {
    word.starts_with(char::is_uppercase) && word.contains(char::is_lowercase)
}

/// Words that open a clause.
#[rustfmt::skip]
const CLAUSES: &[&str] = &[
    "after", "although", "because", "before", "but", "if", "since", "that", "though", "unless",
    "until", "when", "where", "which", "while", "who", "whose",
];

/// Words that open a phrase, or a clause or only one more word.
#[rustfmt::skip]
const PHRASES: &[&str] = &[
    "across", "against", "among", "and", "as", "at", "between", "by", "during", "for", "from", "in",
    "into", "nor", "on", "onto", "or", "over", "so", "than", "through", "toward", "towards",
    "under", "upon", "with", "within", "without", "yet",
];

/// Words that belong to what opens a clause behind them, as in "even though".
#[rustfmt::skip]
const BINDING: &[&str] = &[
    "as", "even", "ever", "just", "less", "long", "more", "now", "only", "other", "rather", "so",
    "soon", "such",
];

/// Words that belong to a noun behind them or stand for one.
const POINTING: &[&str] = &["any", "each", "some", "that", "these", "this", "those"];

/// Words before which nobody stops, because they are what is done to.
const OBJECTS: &[&str] = &["me", "him", "us", "them"];

/// Words that a "for" completes.
const SEEKING: &[&str] = &[
    "ask",
    "asked",
    "asking",
    "look",
    "looked",
    "looking",
    "search",
    "searched",
    "searching",
    "wait",
    "waited",
    "waiting",
];

/// Words of which several make a number.
#[rustfmt::skip]
const NUMBERS: &[&str] = &[
    "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
    "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety", "hundred",
    "thousand", "million", "billion",
];

/// Words after which nobody stops: they belong to what follows.
#[rustfmt::skip]
const LEANING: &[&str] = &[
    // Articles and what stands for them.
    "a", "an", "the", "my", "your", "his", "its", "our", "their", "whose", "no", "every", "very",
    "too",
    // Prepositions.
    "about", "across", "after", "against", "among", "at", "before", "between", "by", "during",
    "for", "from", "in", "into", "of", "on", "onto", "over", "per", "than", "through", "to",
    "toward", "towards", "under", "until", "upon", "via", "with", "within", "without",
    // Conjunctions.
    "and", "although", "because", "but", "if", "nor", "or", "since", "though", "unless", "when",
    "where", "which", "while", "who",
    // Questions.
    "what", "how", "why",
    // Subjects and auxiliaries.
    "i", "you", "he", "she", "we", "they", "i'm", "i've", "i'll", "am", "is", "are", "was", "were",
    "be", "been", "has", "have", "had", "will", "would", "can", "could", "should",
    // Titles.
    "dr", "mr", "mrs",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::{Segment, segments};

    fn speak_first(text: &str) -> Line {
        match segments(text).next() {
            Some(Segment::Sentence(sentence)) => {
                speak(text, sentence, Dialect::American, &UserLexicon::default())
            }
            other => panic!("{other:?}"),
        }
    }

    fn check(text: &str, symbols: &str, words: &[&str]) {
        let line = speak_first(text);
        assert_eq!(line.symbols.iter().collect::<String>(), symbols);
        let found: Vec<&str> = line.words.iter().map(|word| &text[word.span.clone()]).collect();
        assert_eq!(found, words);
    }

    #[test]
    fn words_hang_on_those_they_belong_to() {
        let line = speak_first("We saw the ships of New York because it rained, even though.");
        let words: Vec<(usize, Joint)> = line
            .joints
            .iter()
            .map(|(at, joint)| (line.words.partition_point(|w| w.symbols.start < *at), *joint))
            .collect();
        use Joint::{Clause, Name, Tight};
        let expected =
            [(1, Tight), (3, Tight), (5, Tight), (6, Name), (7, Clause), (8, Tight), (11, Tight)];
        assert_eq!(words, expected);
        assert_eq!(joint("this", "because"), Some(Clause));
        assert_eq!(joint("this", "house"), Some(Tight));
        assert_eq!(joint("so", "that"), Some(Tight));
        assert_eq!(joint("KING", "OF"), None);
        assert_eq!(joint("two", "hundred"), Some(Tight));
        assert_eq!(joint("hundred", "and"), Some(Tight));
        assert_eq!(joint("7946", "0958"), Some(Tight));
        assert_eq!((joint("looking", "for"), joint("tell", "us")), (Some(Tight), Some(Tight)));
        assert_eq!(joint("cakes", "for"), Some(Joint::Phrase));
        assert_eq!(joint("OF", "THE"), Some(Tight));
    }

    #[test]
    fn words_are_the_callers_own() {
        check("At 3:30pm, go.", "ˌæt θɹˈi θˈɜɹTi pˌiˈɛm, ɡˌO.", &["At", "3:30pm", "go"]);
        check(
            "It cost $5.99.",
            "ˌɪt kˈɔst fˈIv dˈɑləɹz ænd nˈIndi nˈIn sˈɛnts.",
            &["It", "cost", "$5.99"],
        );
        check("Don’t  run\n5km!", "dˈOnt ɹˈʌn fˈIv kəlˈɑməTəɹz!", &["Don’t", "run", "5km"]);
    }

    #[test]
    fn a_stop_is_part_of_a_word_that_has_others() {
        check("At 3:30pm.", "ˌæt θɹˈi θˈɜɹTi pˌiˈɛm.", &["At", "3:30pm"]);
        check("At 3 p.m.", "ˌæt θɹˈi pˌiˈɛm.", &["At", "3", "p.m."]);
    }

    #[test]
    fn markup_speaks_the_bracketed_word() {
        check("The [Kokoro](/kˈOkəɹO/) model", "ðə kˈOkəɹO mˈɑdᵊl", &["The", "Kokoro", "model"]);
        check("A [New York](/nˈu jˈɔɹk/) one", "ɐ nˈu jˈɔɹk wˈʌn", &["A", "New York", "one"]);
    }

    #[test]
    fn a_stop_that_an_abbreviation_took_is_heard() {
        check("Plums, etc.", "plˈʌmz, ɛtsˈɛTəɹə.", &["Plums", "etc"]);
        check("“Take plan B.”", "“tˈAk plˈæn bˈi.”", &["Take", "plan", "B"]);
    }

    #[test]
    fn what_has_no_sound_gives_a_note_and_no_word() {
        let line = speak_first("🙂 你好");
        assert!(line.symbols.is_empty() && line.words.is_empty());
        assert_eq!(line.notes.len(), 1);
        assert_eq!(line.notes[0].kind, NoteKind::Unspeakable);
    }
}
