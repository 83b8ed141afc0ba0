//! Phonemes as the caller writes them: cut into chunks, otherwise untouched.
//!
//! For callers who know how it should sound. Every line is spoken by itself; a line that is longer
//! than the model can take is cut at punctuation or between words. Symbols are not judged here:
//! the model's own vocabulary does that, and one that it lacks is an error of the pipeline.

use koe_text::{Boundary, Chunk, Word};

/// The chunks of `text`, none longer than `max` symbols.
pub fn chunks(text: &str, max: usize) -> impl Iterator<Item = Chunk> {
    let mut start = 0;
    let lines = text.split_inclusive('\n').map(move |line| {
        let at = start;
        start += line.len();
        (at + (line.len() - line.trim_start().len()), line.trim())
    });
    lines.filter(|(_, line)| !line.is_empty()).flat_map(move |(start, line)| cut(start, line, max))
}

fn cut(start: usize, line: &str, max: usize) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    let (mut start, mut rest) = (start, line);
    while !rest.is_empty() {
        let end = end_of_chunk(rest, max.max(1));
        let (head, tail) = rest.split_at(end);
        let last = tail.trim_start().is_empty();
        chunks.push(chunk(start, head.trim_end(), last));
        start += end + (tail.len() - tail.trim_start().len());
        rest = tail.trim_start();
    }
    chunks
}

/// How many bytes of `rest` to speak at once: all of it if it fits, else up to the last sentence,
/// clause or word that ends within `max` symbols.
fn end_of_chunk(rest: &str, max: usize) -> usize {
    let Some((limit, _)) = rest.char_indices().nth(max) else { return rest.len() };
    let fits = &rest[..limit];
    for boundary in [Boundary::Sentence, Boundary::Clause] {
        let mark = fits.char_indices().rfind(|&(_, c)| boundary_of(c) == Some(boundary));
        // The model speaks very short chunks badly: rather a lesser mark further on.
        if let Some((at, c)) = mark.filter(|(at, _)| at * 4 >= limit) {
            return at + c.len_utf8();
        }
    }
    match fits.rfind(' ') {
        Some(space) if space > 0 => space,
        _ => limit,
    }
}

fn chunk(start: usize, symbols: &str, ends_line: bool) -> Chunk {
    let spans: Vec<_> =
        symbols.char_indices().map(|(at, c)| start + at..start + at + c.len_utf8()).collect();
    let mut words = Vec::new();
    let mut word: Option<std::ops::Range<usize>> = None;
    for (i, c) in symbols.chars().chain([' ']).enumerate() {
        match (&mut word, is_mark(c)) {
            (None, false) => word = Some(i..i + 1),
            (Some(word), false) => word.end = i + 1,
            (None, true) => {}
            (Some(range), true) => {
                let span = spans[range.start].start..spans[range.end - 1].end;
                words.push(Word { span, symbols: range.clone() });
                word = None;
            }
        }
    }
    let end = match symbols.chars().rev().find_map(boundary_of) {
        _ if words.is_empty() => Boundary::Word,
        last if ends_line => last.filter(|_| ends_in_mark(symbols)).unwrap_or(Boundary::Sentence),
        last => last.filter(|_| ends_in_mark(symbols)).unwrap_or(Boundary::Word),
    };
    Chunk { symbols: symbols.to_owned(), spans, words, end }
}

fn ends_in_mark(symbols: &str) -> bool {
    symbols.chars().next_back().is_some_and(is_mark)
}

/// What a punctuation symbol ends.
fn boundary_of(symbol: char) -> Option<Boundary> {
    match symbol {
        '.' | '!' | '?' | '…' => Some(Boundary::Sentence),
        ',' | ';' | ':' | '—' => Some(Boundary::Clause),
        _ => None,
    }
}

/// Whether a symbol is no sound but punctuation, a bracket, a quotation mark or a space.
pub fn is_mark(symbol: char) -> bool {
    boundary_of(symbol).is_some() || matches!(symbol, ' ' | '"' | '(' | ')' | '“' | '”')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_fits_is_one_chunk_with_its_words() {
        let text = "  həlˈO, wˈɜɹld!\n\nðɪs\n";
        let chunks: Vec<_> = chunks(text, 510).collect();
        assert_eq!(chunks.len(), 2);
        assert_eq!(chunks[0].symbols, "həlˈO, wˈɜɹld!");
        let words: Vec<&str> =
            chunks[0].words.iter().map(|word| &text[word.span.clone()]).collect();
        assert_eq!(words, ["həlˈO", "wˈɜɹld"]);
        assert_eq!(chunks[0].words[1].symbols, 7..13);
        assert_eq!((chunks[0].end, chunks[1].end), (Boundary::Sentence, Boundary::Sentence));
        assert_eq!(&text[chunks[1].spans[0].start..chunks[1].spans[2].end], "ðɪs");
    }

    #[test]
    fn a_long_line_is_cut_at_the_best_place_that_fits() {
        let ends = |text: &str| -> Vec<_> {
            chunks(text, 12).map(|chunk| (chunk.symbols, chunk.end)).collect()
        };
        let chunk = |symbols: &str, end| (symbols.to_owned(), end);
        assert_eq!(
            ends("aaa. bb, cc dd ee"),
            [chunk("aaa.", Boundary::Sentence), chunk("bb, cc dd ee", Boundary::Sentence)]
        );
        assert_eq!(
            ends("a. bbb, cc dd ee"),
            [chunk("a. bbb,", Boundary::Clause), chunk("cc dd ee", Boundary::Sentence)]
        );
        assert_eq!(
            ends("aaaa, bb cc dd ee,"),
            [chunk("aaaa,", Boundary::Clause), chunk("bb cc dd ee,", Boundary::Clause)]
        );
        assert_eq!(
            ends("aaaa bbbb cccc"),
            [chunk("aaaa bbbb", Boundary::Word), chunk("cccc", Boundary::Sentence)]
        );
        assert_eq!(
            ends("ˈɔˈɔˈɔˈɔˈɔˈɔˈɔ"),
            [chunk("ˈɔˈɔˈɔˈɔˈɔˈɔ", Boundary::Word), chunk("ˈɔ", Boundary::Sentence)]
        );
    }

    #[test]
    fn no_symbol_is_lost_and_no_chunk_too_long() {
        let text = "ðə kwˈɪk, bɹˈWn fˈɑks. ʤˈʌmps — ˈOvəɹ (ðə) lˈAzi “dˈɔɡ”! ".repeat(40);
        let chunks: Vec<_> = chunks(&text, 37).collect();
        let without_spaces = |text: &str| text.replace(' ', "");
        let spoken: String = chunks.iter().map(|chunk| without_spaces(&chunk.symbols)).collect();
        assert_eq!(spoken, without_spaces(&text));
        for chunk in &chunks {
            assert!(chunk.symbols.chars().count() <= 37);
            for (symbol, span) in chunk.symbols.chars().zip(&chunk.spans) {
                assert_eq!(text[span.clone()], symbol.to_string());
            }
        }
    }
}
