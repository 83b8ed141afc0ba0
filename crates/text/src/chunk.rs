//! Runs of phonemes that the model can take, cut where a speaker would rest.
//!
//! Sentences come in, chunks go out: close to the wished length, never above the limit. Looks only
//! at symbols; what the words mean is settled.
//!
//! A chunk ends, in this order of liking, behind a sentence, behind `: ; —`, behind a comma, before
//! a word that opens a clause or a phrase, between words, between two that hang together, within
//! a name, and, if one is longer than the model's window, within what is read as several words or
//! anywhere in a word. Of equal places the one closest to the wished length wins. Closing quotes and
//! brackets stay with what they close. Sentences of one paragraph share a chunk while they fit the
//! wish: the voices speak very short chunks badly.

use crate::Limits;
use crate::phoneme::{Boundary, Chunk, Span, Word};
use crate::speak::{Joint, Line};

/// Kokoro clips or slurs chunks shorter than this, about one second; they are joined with a
/// neighbour where the paragraph has one.
const MIN_SYMBOLS: usize = 20;

/// Gathers sentences and gives chunks.
#[derive(Clone, Debug)]
pub(crate) struct Chunker {
    /// Those of the next chunk.
    limits: Limits,
    /// What is not yet given; the fields are those of [`Line`].
    symbols: Vec<char>,
    spans: Vec<Span>,
    words: Vec<Word>,
    joints: Vec<(usize, Joint)>,
    /// What stands behind all that was pushed.
    end: Boundary,
}

/// How good a place is to end a chunk, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Sentence,
    Colon,
    Comma,
    /// Before a word that opens a clause.
    Clause,
    /// Before one that opens a phrase.
    Phrase,
    Word,
    /// Between words that hang together, as an article and its noun.
    Tight,
    /// Between parts of a name.
    Name,
    /// Between the words that a number or an abbreviation is read as: its times would be two.
    Reading,
    InsideWord,
}

impl Chunker {
    pub(crate) fn new(limits: Limits) -> Self {
        // The upper bound is beyond any text; below it, no sum of wishes overflows.
        let limits = Limits { max: limits.max.clamp(1, usize::MAX / 4), ..limits };
        Chunker {
            limits,
            symbols: Vec::new(),
            spans: Vec::new(),
            words: Vec::new(),
            joints: Vec::new(),
            end: Boundary::Sentence,
        }
    }

    /// Takes in a sentence. One without a word adds nothing but its end: there is nothing to say.
    pub(crate) fn push(&mut self, line: Line) {
        let end_before = std::mem::replace(&mut self.end, line.end);
        if line.words.is_empty() {
            return;
        }
        if let (Some(last), Some(next)) = (self.spans.last(), line.spans.first()) {
            let gap = last.end.min(next.start)..next.start;
            // Headings and list items are written without a stop but not read without one.
            let is_open = self.symbols.last().is_some_and(|symbol| symbol.is_alphabetic());
            if is_open && end_before >= Boundary::Sentence {
                self.symbols.push('.');
                self.spans.push(gap.start..gap.start);
            }
            self.symbols.push(' ');
            self.spans.push(gap);
        }
        let offset = self.symbols.len();
        self.symbols.extend(line.symbols);
        self.spans.extend(line.spans);
        self.joints.extend(line.joints.into_iter().map(|(at, joint)| (at + offset, joint)));
        self.words.extend(line.words.into_iter().map(|mut word| {
            word.symbols.start += offset;
            word.symbols.end += offset;
            word
        }));
    }

    /// The next chunk, if there is enough for it; with `flush`, also what is left.
    pub(crate) fn take(&mut self, flush: bool) -> Option<Chunk> {
        let n_symbols = self.symbols.len();
        if n_symbols == 0 {
            return None;
        }
        let wish = self.limits.wish();
        let fits = (wish + wish / 2).min(self.limits.max);
        if n_symbols <= fits {
            return flush.then(|| self.cut(n_symbols, self.end));
        }
        let (at, place) = self.place(wish, flush);
        let boundary = match place {
            _ if at == n_symbols => self.end,
            Place::Sentence => Boundary::Sentence,
            Place::Colon | Place::Comma => Boundary::Clause,
            _ => Boundary::Word,
        };
        Some(self.cut(at, boundary))
    }

    /// Where to end the next chunk. More is there than fits the wish.
    fn place(&self, wish: usize, flush: bool) -> (usize, Place) {
        let max = self.limits.max;
        let shortest = MIN_SYMBOLS.min(wish / 2).max(1);
        let n_symbols = self.symbols.len();
        // Rounds of ever humbler wishes: the worst place that is good enough, and how far from the
        // start a place may be.
        let rounds = [
            (Place::Sentence, shortest, wish + wish / 2),
            (Place::Colon, wish / 3, wish + wish / 2),
            (Place::Comma, wish / 3, wish + wish / 2),
            (Place::Clause, wish / 2, wish + wish / 2),
            (Place::Comma, shortest, wish * 2),
            (Place::Phrase, wish / 2, wish + wish / 2),
            (Place::Word, wish / 2, wish + wish / 2),
            (Place::Word, wish / 3, wish + wish / 2),
            (Place::Tight, wish / 3, wish + wish / 2),
            (Place::Name, wish / 3, wish * 2),
            (Place::Name, wish / 3, max),
            (Place::Reading, 1, max),
            (Place::InsideWord, 1, max),
        ];
        let last = max.min(n_symbols - 1);
        let mut places: Vec<(usize, Place)> =
            (1..=last).filter_map(|at| self.place_at(at).map(|place| (at, place))).collect();
        // All that is there, whose end is mostly that of a sentence.
        places.push(match self.end {
            Boundary::Word => (n_symbols, Place::Word),
            Boundary::Clause => (n_symbols, Place::Comma),
            Boundary::Sentence | Boundary::Paragraph => (n_symbols, Place::Sentence),
        });
        for may_leave_crumbs in [false, true] {
            for (worst, from, to) in rounds {
                let fits = |at: usize| {
                    (from.max(1)..=to.min(max)).contains(&at)
                        && (may_leave_crumbs
                            || !flush
                            || at == n_symbols
                            || n_symbols - at > MIN_SYMBOLS.min(wish / 2))
                };
                let best = places
                    .iter()
                    .filter(|&&(at, place)| place <= worst && fits(at))
                    .min_by_key(|&&(at, _)| at.abs_diff(wish));
                if let Some(&best) = best {
                    return best;
                }
            }
        }
        (self.anywhere(wish.min(max)), Place::InsideWord)
    }

    /// What kind of place lies before symbol `at`, if a chunk can end there.
    fn place_at(&self, at: usize) -> Option<Place> {
        let is_space = self.symbols[at] == ' ';
        if !is_space && !matches!(self.symbols[at - 1], '—' | '…') {
            return None;
        }
        // A dash or dots with a quote or stop behind them do not end there.
        if !is_space
            && !self.symbols[at].is_alphabetic()
            && !matches!(self.symbols[at], 'ˈ' | 'ˌ' | '“' | '(')
        {
            return None;
        }
        let before = self.symbols[..at].iter().rev().find(|s| !matches!(s, '”' | '"' | ')'))?;
        let next_word = self.words.partition_point(|word| word.symbols.end <= at);
        if self.words.get(next_word).is_some_and(|word| word.symbols.start < at) {
            return Some(if is_space { Place::Reading } else { Place::InsideWord });
        }
        Some(match before {
            '.' | '!' | '?' | '…' => Place::Sentence,
            ':' | ';' | '—' => Place::Colon,
            ',' => Place::Comma,
            _ => match self.joints.binary_search_by_key(&(at + 1), |&(at, _)| at) {
                Ok(i) => match self.joints[i].1 {
                    Joint::Clause => Place::Clause,
                    Joint::Phrase => Place::Phrase,
                    Joint::Tight => Place::Tight,
                    Joint::Name => Place::Name,
                },
                Err(_) => Place::Word,
            },
        })
    }

    /// A cut near `at` in the middle of a word, but never between a sound and its marks.
    fn anywhere(&self, at: usize) -> usize {
        let belongs_to_next = |symbol: char| matches!(symbol, 'ˈ' | 'ˌ' | '“' | '(');
        let belongs_to_last = |symbol: char| {
            matches!(symbol, '\u{303}' | 'ː' | 'ʰ' | 'ʲ' | '↓' | '→' | '↗' | '↘')
                || !symbol.is_alphabetic() && !belongs_to_next(symbol)
        };
        let good = |&at: &usize| {
            !belongs_to_last(self.symbols[at]) && !belongs_to_next(self.symbols[at - 1])
        };
        (1..=at).rev().take(MIN_SYMBOLS).find(good).unwrap_or(at)
    }

    /// Gives the first `at` symbols and forgets them, with the space behind them.
    fn cut(&mut self, at: usize, end: Boundary) -> Chunk {
        let n_given = at;
        self.limits.given = self.limits.given.saturating_add(n_given);
        let n_gone = at + self.symbols[at..].iter().take_while(|&&symbol| symbol == ' ').count();
        let mut chunk = Chunk {
            symbols: self.symbols[..n_given].iter().collect(),
            spans: self.spans[..n_given].to_vec(),
            words: Vec::new(),
            end,
        };
        self.symbols.drain(..n_gone);
        self.spans.drain(..n_gone);
        let n_whole = self.words.partition_point(|word| word.symbols.end <= n_given);
        chunk.words.extend(self.words.drain(..n_whole));
        // A word astride the cut is in both chunks, each with the symbols it has.
        if let Some(word) = self.words.first().filter(|word| word.symbols.start < n_given) {
            chunk
                .words
                .push(Word { span: word.span.clone(), symbols: word.symbols.start..n_given });
        }
        for word in &mut self.words {
            word.symbols.start = word.symbols.start.saturating_sub(n_gone);
            word.symbols.end -= n_gone;
        }
        let n_joints = self.joints.partition_point(|&(at, _)| at < n_gone);
        self.joints.drain(..n_joints);
        for (at, _) in &mut self.joints {
            *at -= n_gone;
        }
        chunk
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phoneme::Note;

    /// A line as it would come of `text`, were every letter its own phoneme.
    fn line(text: &str, offset: usize, end: Boundary) -> Line {
        let mut line = Line { end, notes: Vec::<Note>::new(), ..Line::default() };
        let mut byte = offset;
        for (at, c) in text.chars().enumerate() {
            let span = byte..byte + c.len_utf8();
            let in_word = c.is_alphabetic();
            match line.words.last_mut().filter(|word| word.symbols.end == at && in_word) {
                Some(word) => {
                    word.symbols.end += 1;
                    word.span.end = span.end;
                }
                None if in_word => {
                    line.words.push(Word { span: span.clone(), symbols: at..at + 1 });
                    if text.chars().skip(at).collect::<String>().starts_with("and ") {
                        line.joints.push((at, Joint::Clause));
                    }
                }
                None => {}
            }
            line.symbols.push(c);
            byte = span.end;
            line.spans.push(span);
        }
        line
    }

    /// Pushes the sentences, which stand apart by `‖`, and checks the chunks, which do by `|`.
    fn check(first: usize, target: usize, max: usize, sentences: &str, expected: &str) {
        let mut chunker = Chunker::new(Limits { first, target, max, ..Limits::default() });
        let mut chunks = Vec::new();
        let mut offset = 0;
        for sentence in sentences.split('‖') {
            chunker.push(line(sentence, offset, Boundary::Sentence));
            offset += sentence.len() + 1;
            chunks.extend(std::iter::from_fn(|| chunker.take(false)));
        }
        chunks.extend(std::iter::from_fn(|| chunker.take(true)));
        for chunk in &chunks {
            assert_eq!(chunk.symbols.chars().count(), chunk.spans.len());
            assert!(chunk.spans.len() <= max);
            assert!(chunk.words.iter().all(|word| word.symbols.end <= chunk.spans.len()));
        }
        let found: Vec<String> = chunks.into_iter().map(|chunk| chunk.symbols).collect();
        assert_eq!(found.join("|"), expected);
    }

    #[test]
    fn sentences_share_a_chunk_while_they_fit() {
        check(30, 60, 80, "Aaa bbb.‖Ccc ddd.‖Eee fff.", "Aaa bbb. Ccc ddd. Eee fff.");
        check(
            10,
            20,
            80,
            "Aaa bbb.‖Ccc ddd eee fff.‖Ggg hhh.",
            "Aaa bbb.|Ccc ddd eee fff. Ggg hhh.",
        );
    }

    #[test]
    fn commas_come_before_words_and_colons_before_commas() {
        check(
            24,
            24,
            60,
            "Aaaaaa bbbbbb, cccccc dddddd eeeeee ffffff gggggg.",
            "Aaaaaa bbbbbb,|cccccc dddddd eeeeee ffffff gggggg.",
        );
        check(
            24,
            24,
            60,
            "Aaaaaaaaa: bbbbbb cccc, dddddd eeeeee ffffff gggggg.",
            "Aaaaaaaaa:|bbbbbb cccc,|dddddd eeeeee ffffff gggggg.",
        );
    }

    #[test]
    fn a_clause_without_commas_ends_before_a_phrase() {
        check(
            20,
            60,
            60,
            "Aaaa bbbb cccc dddd and eeee ffff gggg hhhh.",
            "Aaaa bbbb cccc dddd|and eeee ffff gggg hhhh.",
        );
    }

    #[test]
    fn a_sentence_that_is_all_there_is_need_not_be_cut() {
        check(
            24,
            60,
            60,
            "Aaaa bbbb cccc dddd eeee ffff gggg hhh.",
            "Aaaa bbbb cccc dddd eeee ffff gggg hhh.",
        );
        // As with a comma there; beyond twice the wish there is no waiting.
        check(
            20,
            60,
            60,
            "Aaaa bbbb cccc dddd eeee ffff gggg hhh.‖Iii.",
            "Aaaa bbbb cccc dddd eeee ffff gggg hhh.|Iii.",
        );
        check(
            18,
            60,
            60,
            "Aaaa bbbb cccc dddd eeee ffff gggg hhh.",
            "Aaaa bbbb cccc dddd|eeee ffff gggg hhh.",
        );
    }

    #[test]
    fn words_that_hang_together_stay_together_if_there_is_another_place() {
        let mut chunker = Chunker::new(Limits { first: 12, target: 12, ..Limits::default() });
        let text = "Aaaa bbbb cccc dddd eeee ffff gggg hhhh.";
        let mut all = line(text, 0, Boundary::Sentence);
        all.joints = vec![(10, Joint::Tight), (15, Joint::Tight)];
        chunker.push(all);
        assert_eq!(chunker.take(true).unwrap().symbols, "Aaaa");
    }

    #[test]
    fn quotes_and_brackets_stay_with_what_they_close() {
        check(
            16,
            16,
            60,
            "“Aaaa bbbb cccc.” Dddd (eeee ffff.) Gggg hhhh.",
            "“Aaaa bbbb cccc.”|Dddd (eeee ffff.)|Gggg hhhh.",
        );
    }

    #[test]
    fn an_endless_word_is_cut_with_its_marks_whole() {
        check(4, 8, 8, "aːaːaːaːaːaːaːaː", "aːaː|aːaːaːaː|aːaː");
        check(4, 8, 8, "ˈaˈaˈaˈaˈaˈaˈaˈa", "ˈaˈa|ˈaˈaˈaˈa|ˈaˈa");
    }

    #[test]
    fn a_very_short_sentence_takes_some_of_the_next_along() {
        check(
            40,
            60,
            80,
            "No.‖Aaaa bbbb cccc dddd eeee, ffff gggg hhhh iiii jjjj kkkk llll.",
            "No. Aaaa bbbb cccc dddd eeee,|ffff gggg hhhh iiii jjjj kkkk llll.",
        );
    }

    #[test]
    fn a_list_item_gets_the_stop_it_lacks() {
        check(60, 60, 80, "Milk‖Eggs‖Flour.", "Milk. Eggs. Flour.");
    }

    #[test]
    fn a_chunk_says_what_stands_behind_it() {
        let mut chunker =
            Chunker::new(Limits { first: 8, target: 8, max: 12, ..Limits::default() });
        chunker.push(line("Aaaa bbbb, cccc dddd eeee. Ffff gggg", 0, Boundary::Paragraph));
        let ends: Vec<Boundary> =
            std::iter::from_fn(|| chunker.take(true)).map(|chunk| chunk.end).collect();
        assert_eq!(
            ends,
            [Boundary::Clause, Boundary::Word, Boundary::Sentence, Boundary::Paragraph]
        );
    }
}
