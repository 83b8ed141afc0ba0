//! Splits a token into what is looked up: at hyphens, changes of case, digits and quotes.
//!
//! misaki does this with one regular expression; here its alternatives are tried in the same
//! order at each place, by hand, each character looked at a bounded number of times.

use super::characters::Class;
use std::ops::Range;

/// The pieces of `text`, as ranges of bytes, in order. Nothing of it is left out.
pub(super) fn split(text: &str) -> Vec<Range<usize>> {
    // Nearly every token is a plain word or one mark.
    let lower = |b: &u8| b.is_ascii_lowercase();
    let bytes = text.as_bytes();
    if bytes.len() < 2
        || lower_word(bytes)
        || bytes[0].is_ascii_uppercase() && bytes[1..].iter().all(lower)
    {
        return std::iter::once(0..text.len()).collect();
    }
    let chars: Vec<(usize, char)> = text.char_indices().collect();
    let byte = |i: usize| chars.get(i).map_or(text.len(), |(at, _)| *at);
    let scan = Scan { chars: &chars };
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let n = scan.piece(at).max(1);
        pieces.push(byte(at)..byte(at + n));
        at += n;
    }
    pieces
}

fn lower_word(bytes: &[u8]) -> bool {
    bytes.iter().all(u8::is_ascii_lowercase)
}

fn is_quote(c: char) -> bool {
    matches!(c, '\'' | '‘' | '’')
}

struct Scan<'a> {
    /// Byte offset and character.
    chars: &'a [(usize, char)],
}

impl Scan<'_> {
    fn get(&self, i: usize) -> Option<char> {
        self.chars.get(i).map(|(_, c)| *c)
    }

    fn is(&self, i: usize, class: Class) -> bool {
        self.get(i).is_some_and(|c| class.has(c))
    }

    /// How many of the characters from `from` on satisfy `wanted`.
    fn run(&self, from: usize, wanted: impl Fn(char) -> bool) -> usize {
        self.chars[from.min(self.chars.len())..].iter().take_while(|(_, c)| wanted(*c)).count()
    }

    /// How many characters the piece at `at` has.
    fn piece(&self, at: usize) -> usize {
        let n_quotes = self.run(at, is_quote);
        if at == 0 && n_quotes > 0 {
            return n_quotes;
        }
        // A capital before a capitalised word: the last of an acronym's letters stays alone.
        if self.is(at, Class::UpperLetter)
            && self.is(at + 1, Class::UpperLetter)
            && self.is(at + 2, Class::LowerLetter)
        {
            return 1;
        }
        let n_number = self.number(at);
        if n_number > 0 {
            return n_number;
        }
        let n_joints = self.run(at, |c| c == '-' || c == '_');
        if n_joints > 0 {
            return n_joints;
        }
        if n_quotes > 1 {
            return n_quotes;
        }
        if let Some(end) = self.camel_end(at) {
            return end - at;
        }
        if self.is(at, Class::Letter) {
            return self.word_end(at) - at;
        }
        1
    }

    /// Digits, each perhaps after a comma or dot; at the very front a minus may precede.
    fn number(&self, at: usize) -> usize {
        let minus = usize::from(at == 0 && self.get(0) == Some('-'));
        let digit = |i: usize| self.is(i, Class::Decimal);
        let mut end = at + minus;
        loop {
            if digit(end) {
                end += 1;
            } else if matches!(self.get(end), Some(',' | '.')) && digit(end + 1) {
                end += 2;
            } else {
                break;
            }
        }
        if end == at + minus { 0 } else { end - at }
    }

    /// The first place after `at` in its run of letters, and of groups of a quote and a letter after
    /// them, where a lower-case letter precedes an upper-case one.
    fn camel_end(&self, at: usize) -> Option<usize> {
        let mut i = at;
        // Letters, lazily, then quote and letter pairs, lazily, then one lower-case letter.
        let mut pairs = false;
        loop {
            if self.is(i, Class::LowerLetter) && self.is(i + 1, Class::UpperLetter) {
                return Some(i + 1);
            }
            if self.get(i).is_some_and(is_quote) && self.is(i + 1, Class::Letter) {
                pairs = true;
                i += 2;
            } else if !pairs && self.is(i, Class::Letter) {
                i += 1;
            } else {
                return None;
            }
        }
    }

    /// The end of the letters at `at` and the groups of a quote and a letter after them.
    fn word_end(&self, at: usize) -> usize {
        let mut end = at + self.run(at, |c| Class::Letter.has(c));
        while self.get(end).is_some_and(is_quote) && self.is(end + 1, Class::Letter) {
            end += 2;
        }
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_split_as_misaki_splits_them() {
        for (text, pieces) in [
            ("hello", "hello"),
            ("McDonald's", "Mc Donald's"),
            ("GitHub", "Git Hub"),
            ("HTMLParser", "HTMLParser"),
            ("aHTMLParser", "a HTMLParser"),
            ("ABc", "A Bc"),
            ("well-known", "well - known"),
            ("don’t", "don’t"),
            ("'tis", "' tis"),
            ("rock'n'roll", "rock'n'r oll"),
            ("a'bcD", "a'bc D"),
            ("1,234.50s", "1,234.50 s"),
            ("-5", "-5"),
            ("3-5", "3 - 5"),
            (".5", ".5"),
            ("5.", "5 ."),
            ("B2B", "B 2 B"),
            ("dogs'", "dogs '"),
            ("a/b", "a / b"),
            ("snake__case", "snake __ case"),
            ("Ünïcode", "Ünïcode"),
            ("5'10", "5 ' 10"),
        ] {
            let split: Vec<&str> = split(text).into_iter().map(|r| &text[r]).collect();
            assert_eq!(split.join(" "), pieces);
        }
    }
}
