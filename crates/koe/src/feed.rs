//! Text on its way in: from a string, a file or a pipe, in segments that can be spoken one by one.
//!
//! A book need not be in memory to be read aloud, and a pipe need not be at its end. Input is cut
//! where a blank line parts two paragraphs (or, if asked, at every line), which no sentence spans;
//! the cuts depend on the text alone, never on how the bytes arrived, so the same text always
//! sounds the same. Spans count bytes from the start of the input, a byte order mark included.

use std::io::{self, Read};
use std::ops::Range;

use koe_text::Boundary;

/// A paragraph or several, cut from the caller's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it begins in the caller's text, in bytes.
    pub start: usize,
    /// The text itself.
    pub text: String,
    /// What ends with it; blank lines within or around it count in any case.
    pub end: Boundary,
}

impl Segment {
    /// The bytes of the caller's text that it covers.
    pub fn span(&self) -> Range<usize> {
        self.start..self.start + self.text.len()
    }
}

/// Why text could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system's reason.
    #[error("cannot read {name}: {source}")]
    Read {
        /// The file, or "standard input".
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// It looks like UTF-16.
    #[error("{name} is UTF-16, not UTF-8; convert it with: iconv -f UTF-16 -t UTF-8 FILE")]
    Utf16 {
        /// The file, or "standard input".
        name: String,
    },
    /// A byte that UTF-8 does not allow.
    #[error(
        "{name} is not UTF-8: byte 0x{byte:02x} at offset {offset}; if it is a Windows or Latin-1 \
         text, convert it with: iconv -f WINDOWS-1252 -t UTF-8 FILE"
    )]
    NotUtf8 {
        /// The file, or "standard input".
        name: String,
        /// Where.
        offset: usize,
        /// The first offending byte.
        byte: u8,
    },
}

/// Where a text may be cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cut {
    /// At blank lines.
    #[default]
    Paragraphs,
    /// At every line: each is spoken as soon as it is there, and ends like a paragraph.
    Lines,
}

/// A segment is cut off by force once it is this long without a blank line.
const MAX_BYTES: usize = 64 * 1024;

/// A text that is in memory already, as one segment.
pub fn from_text(text: String) -> impl Iterator<Item = Result<Segment, Error>> + Send {
    std::iter::once(Ok(Segment { start: 0, text, end: Boundary::Paragraph }))
}

/// A text that is read as it is needed.
pub fn from_reader<R: Read>(name: impl Into<String>, input: R, cut: Cut) -> Reader<R> {
    let name = name.into();
    Reader { name, input, cut, buffer: Vec::new(), start: 0, begun: false, ended: false }
}

/// The iterator that [`from_reader`] returns. It ends after its first error.
#[derive(Debug)]
pub struct Reader<R> {
    name: String,
    input: R,
    cut: Cut,
    /// What was read and not handed on yet.
    buffer: Vec<u8>,
    /// Where `buffer` begins in the input.
    start: usize,
    begun: bool,
    ended: bool,
}

impl<R: Read> Iterator for Reader<R> {
    type Item = Result<Segment, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let segment = self.segment();
        if segment.is_err() {
            self.ended = true;
            self.buffer.clear();
        }
        segment.transpose()
    }
}

impl<R: Read> Reader<R> {
    fn segment(&mut self) -> Result<Option<Segment>, Error> {
        // What was searched without success is not searched again.
        let mut searched = 0;
        loop {
            if let Some(end) = self.cut_after(searched) {
                return self.take(end).map(Some);
            }
            searched = self.buffer.len();
            if self.ended {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    self.take(searched).map(Some)
                };
            }
            self.read()?;
        }
    }

    /// Where the first segment in the buffer ends, if that is certain already.
    fn cut_after(&self, searched: usize) -> Option<usize> {
        let window = &self.buffer[..self.buffer.len().min(MAX_BYTES)];
        // A blank line may have begun in what was searched before.
        let from = window[..searched.min(window.len())]
            .iter()
            .rposition(|byte| !byte.is_ascii_whitespace())
            .map_or(0, |last| last + 1);
        let found = match self.cut {
            Cut::Lines => window.iter().position(|&byte| byte == b'\n').map(|at| at + 1),
            Cut::Paragraphs => after_blank_line(window, from),
        };
        found.or_else(|| (self.buffer.len() >= MAX_BYTES).then(|| forced_cut(window)))
    }

    fn read(&mut self) -> Result<(), Error> {
        const BLOCK: usize = 16 * 1024;
        let old = self.buffer.len();
        self.buffer.resize(old + BLOCK, 0);
        let n = loop {
            match self.input.read(&mut self.buffer[old..]) {
                Ok(n) => break n,
                Err(source) if source.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(Error::Read { name: self.name.clone(), source }),
            }
        };
        self.buffer.truncate(old + n);
        self.ended = n == 0;
        // Four bytes tell the encodings apart.
        if !self.begun && (self.buffer.len() >= 4 || self.ended) {
            self.begun = true;
            if looks_like_utf16(&self.buffer) {
                return Err(Error::Utf16 { name: self.name.clone() });
            }
            if self.buffer.starts_with(b"\xef\xbb\xbf") {
                self.buffer.drain(..3);
                self.start = 3;
            }
        }
        Ok(())
    }

    fn take(&mut self, end: usize) -> Result<Segment, Error> {
        let rest = self.buffer.split_off(end);
        let bytes = std::mem::replace(&mut self.buffer, rest);
        let start = self.start;
        self.start += bytes.len();
        let text = String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            Error::NotUtf8 {
                name: self.name.clone(),
                offset: start + at,
                byte: error.as_bytes()[at],
            }
        })?;
        Ok(Segment { start, text, end: Boundary::Paragraph })
    }
}

/// The end of the first run of white space that holds two line ends or more, looked for from
/// `from`. A run that reaches the end of `bytes` may go on and does not count yet; white space
/// before the first word does not part anything.
fn after_blank_line(bytes: &[u8], from: usize) -> Option<usize> {
    let first_word = bytes.iter().position(|byte| !byte.is_ascii_whitespace())?;
    let (mut line_ends, mut in_run) = (0, false);
    for (i, &byte) in bytes.iter().enumerate().skip(from.max(first_word)) {
        if byte.is_ascii_whitespace() {
            in_run = true;
            line_ends += usize::from(byte == b'\n');
        } else {
            if in_run && line_ends >= 2 {
                return Some(i);
            }
            (line_ends, in_run) = (0, false);
        }
    }
    None
}

/// Where to cut a text that goes on without a blank line: at the end of a line, a sentence, a word
/// or at least of a character, the latest in the second half of the window.
fn forced_cut(window: &[u8]) -> usize {
    let half = window.len() / 2;
    let after = |test: &dyn Fn(usize) -> bool| (half..window.len() - 1).rev().find(|&i| test(i));
    let is_space = |i: usize| window[i].is_ascii_whitespace();
    after(&|i| window[i] == b'\n')
        .or_else(|| after(&|i| is_space(i) && matches!(window[i - 1], b'.' | b'!' | b'?')))
        .or_else(|| after(&is_space))
        .or_else(|| after(&|i| window[i + 1] & 0xc0 != 0x80))
        .map_or(window.len(), |i| i + 1)
}

/// A byte order mark, or ASCII with a zero beside each of the first two letters.
fn looks_like_utf16(bytes: &[u8]) -> bool {
    matches!(bytes, [0xff, 0xfe, ..] | [0xfe, 0xff, ..])
        || matches!(bytes, [a, 0, b, 0, ..] | [0, a, 0, b, ..] if *a != 0 && *b != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands out at most so many bytes at once.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let n = self.1.min(self.0.len()).min(buffer.len());
            buffer[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    fn segments(input: &[u8], cut: Cut) -> Vec<Segment> {
        let whole: Vec<_> = from_reader("x", input, cut).map(Result::unwrap).collect();
        for step in [1, 2, 3, 5, 1000] {
            let parts: Vec<_> =
                from_reader("x", Slow(input, step), cut).map(Result::unwrap).collect();
            assert_eq!(parts, whole, "in steps of {step}");
        }
        whole
    }

    fn error(input: &[u8]) -> Error {
        from_reader("x", input, Cut::Paragraphs).find_map(Result::err).unwrap()
    }

    #[test]
    fn cuts_at_blank_lines_however_the_bytes_arrive() {
        let text = "\n\nOne\nline.\n \r\n\nTwo: größer.\n\n\n";
        let segments = segments(text.as_bytes(), Cut::Paragraphs);
        let texts: Vec<&str> = segments.iter().map(|segment| &*segment.text).collect();
        assert_eq!(texts, ["\n\nOne\nline.\n \r\n\n", "Two: größer.\n\n\n"]);
        for segment in &segments {
            assert_eq!(text[segment.span()], segment.text);
        }
    }

    #[test]
    fn cuts_at_every_line_if_asked() {
        let segments = segments(b"one\ntwo\n\nthree", Cut::Lines);
        let texts: Vec<&str> = segments.iter().map(|segment| &*segment.text).collect();
        assert_eq!(texts, ["one\n", "two\n", "\n", "three"]);
    }

    #[test]
    fn a_line_is_handed_on_before_the_next_one_arrives() {
        /// Panics when asked for more than it was given.
        struct Live(Option<&'static [u8]>);
        impl Read for Live {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let line = self.0.take().expect("asked for more");
                buffer[..line.len()].copy_from_slice(line);
                Ok(line.len())
            }
        }
        let mut reader = from_reader("x", Live(Some(b"hello\n")), Cut::Lines);
        assert_eq!(reader.next().unwrap().unwrap().text, "hello\n");
    }

    #[test]
    fn endless_text_is_cut_at_the_end_of_a_sentence_word_or_character() {
        for (unit, end) in [("So it goes on. Yes ", ". "), ("word ", " "), ("ö", "ö")] {
            let text = unit.repeat(300_000 / unit.len());
            let segments = segments(text.as_bytes(), Cut::Paragraphs);
            assert!(segments.len() >= 4);
            assert_eq!(segments.iter().map(|segment| &*segment.text).collect::<String>(), text);
            for segment in &segments[..segments.len() - 1] {
                assert!(segment.text.len() <= MAX_BYTES && segment.text.ends_with(end));
            }
        }
    }

    #[test]
    fn a_byte_order_mark_is_not_text_but_counts_in_the_offsets() {
        let segments = segments(b"\xef\xbb\xbfHi", Cut::Paragraphs);
        let end = Boundary::Paragraph;
        assert_eq!(segments, [Segment { start: 3, text: "Hi".into(), end }]);
        assert!(from_reader("x", &b"\xef\xbb\xbf"[..], Cut::Paragraphs).next().is_none());
    }

    #[test]
    fn other_encodings_are_named() {
        assert!(matches!(error(b"\xff\xfeH\0i\0"), Error::Utf16 { .. }));
        assert!(matches!(error(b"H\0i\0"), Error::Utf16 { .. }));
        assert!(matches!(error(b"\0H\0i"), Error::Utf16 { .. }));
        let error = error(b"One.\n\ncaf\xe9 two");
        assert!(matches!(error, Error::NotUtf8 { offset: 9, byte: 0xe9, .. }), "{error}");
    }

    #[test]
    fn nothing_follows_an_error() {
        let mut reader = from_reader("x", &b"\xff bad\n\ngood"[..], Cut::Paragraphs);
        assert!(reader.next().unwrap().is_err());
        assert!(reader.next().is_none());
    }
}
