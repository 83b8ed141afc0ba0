//! Word times as files: JSON, SubRip and WebVTT.
//!
//! Written as the sound is made, so that a book's worth takes no memory. Words and cues are the
//! caller's own text; JSON also tells where in it, in bytes.

use koe_audio::seconds;

use crate::pipeline::{Spoken, TimedWord};

/// What the file looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// An object with every word.
    Json,
    /// SubRip.
    Srt,
    /// WebVTT.
    Vtt,
}

impl Form {
    /// The form of files with this extension, without its dot.
    pub fn of_extension(extension: &str) -> Option<Self> {
        match extension.to_ascii_lowercase().as_str() {
            "json" => Some(Self::Json),
            "srt" => Some(Self::Srt),
            "vtt" => Some(Self::Vtt),
            _ => None,
        }
    }
}

/// The most characters of a cue: two lines of 42, which is what subtitles are set in.
const CUE_CHARS: usize = 84;
const LINE_CHARS: usize = 42;

/// Writes times in one of the forms.
#[derive(Debug)]
pub struct Timings {
    form: Form,
    /// Words or cues written so far.
    n: usize,
}

impl Timings {
    /// Nothing written yet.
    pub fn new(form: Form) -> Self {
        Self { form, n: 0 }
    }

    /// Appends what comes before the first word.
    pub fn start(&mut self, out: &mut String) {
        match self.form {
            Form::Json => out.push_str("{\"words\": ["),
            Form::Srt => {}
            Form::Vtt => out.push_str("WEBVTT\n"),
        }
    }

    /// Appends the words of a chunk.
    pub fn push(&mut self, spoken: &Spoken, out: &mut String) {
        match self.form {
            Form::Json => {
                for word in &spoken.words {
                    self.word(spoken, word, out);
                }
            }
            Form::Srt | Form::Vtt => {
                for cue in cues(spoken) {
                    self.cue(&cue, out);
                }
            }
        }
    }

    /// Appends what comes after the last word, given the length of the sound in samples.
    pub fn finish(&mut self, samples: u64, out: &mut String) {
        if self.form == Form::Json {
            out.push_str(&format!("\n], \"duration\": {:.6}}}\n", seconds(samples)));
        }
    }

    fn word(&mut self, spoken: &Spoken, word: &TimedWord, out: &mut String) {
        let text = serde_json::Value::from(spoken.text_of(&word.span));
        out.push_str(if self.n == 0 { "\n" } else { ",\n" });
        out.push_str(&format!(
            "  {{\"word\": {text}, \"start_time\": {:.6}, \"end_time\": {:.6}, \
             \"text_start\": {}, \"text_end\": {}}}",
            seconds(word.samples.start),
            seconds(word.samples.end),
            word.span.start,
            word.span.end,
        ));
        self.n += 1;
    }

    fn cue(&mut self, cue: &Cue, out: &mut String) {
        self.n += 1;
        let (start, end) = (clock(cue.start, self.form), clock(cue.end, self.form));
        let text = match self.form {
            Form::Vtt => cue.text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"),
            _ => cue.text.clone(),
        };
        match self.form {
            Form::Vtt => out.push_str(&format!("\n{start} --> {end}\n{text}\n")),
            _ => out.push_str(&format!("{}\n{start} --> {end}\n{text}\n\n", self.n)),
        }
    }
}

struct Cue {
    /// In samples.
    start: u64,
    end: u64,
    text: String,
}

/// The chunk in lines that fit a screen; each runs from its first word up to the next cue's, so
/// that punctuation stays with its word.
fn cues(spoken: &Spoken) -> Vec<Cue> {
    let words = &spoken.words;
    let mut cues = Vec::new();
    let mut first = 0;
    while first < words.len() {
        // A leading quotation mark belongs to the cue, text before the first word too.
        let start = if first == 0 { spoken.span.start } else { words[first].span.start };
        let end_after = |last: usize| match words.get(last + 1) {
            Some(next) => next.span.start,
            None => spoken.span.end,
        };
        let chars = |last: usize| spoken.text_of(&(start..end_after(last))).trim().chars().count();
        let mut last = first;
        while last + 1 < words.len() && chars(last + 1) <= CUE_CHARS {
            let ends_sentence = spoken
                .text_of(&(start..end_after(last)))
                .trim_end()
                .trim_end_matches(['"', '\'', ')', '”', '’'])
                .ends_with(['.', '!', '?', '…']);
            // A sentence that fills most of a cue ends it; short ones share one.
            if ends_sentence && chars(last) > LINE_CHARS {
                break;
            }
            last += 1;
        }
        let text = spoken.text_of(&(start..end_after(last)));
        cues.push(Cue {
            start: words[first].samples.start,
            end: words[last].samples.end,
            text: wrapped(text),
        });
        first = last + 1;
    }
    cues
}

/// One line, or two of about the same length.
fn wrapped(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.chars().count() <= LINE_CHARS {
        return text;
    }
    let middle = text.len() / 2;
    let spaces = text.char_indices().filter(|&(_, c)| c == ' ').map(|(at, _)| at);
    match spaces.min_by_key(|at| at.abs_diff(middle)) {
        Some(at) => format!("{}\n{}", &text[..at], &text[at + 1..]),
        None => text,
    }
}

/// `01:02:03,004` or, in WebVTT, `01:02:03.004`.
fn clock(samples: u64, form: Form) -> String {
    let ms = samples * 1000 / u64::from(koe_audio::SAMPLE_RATE_HZ);
    let point = if form == Form::Vtt { '.' } else { ',' };
    let (s, m, h) = (ms / 1000 % 60, ms / 60_000 % 60, ms / 3_600_000);
    format!("{h:02}:{m:02}:{s:02}{point}{:03}", ms % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Speaks every word of `text`, which stands at byte 100 of the caller's, for half a second.
    fn spoken(text: &str) -> Spoken {
        let mut words = Vec::new();
        let mut at = 0;
        for word in text.split_inclusive(' ') {
            let letters = word.trim_matches(|c: char| !c.is_alphanumeric());
            let start = 100 + at + word.find(letters).unwrap_or(0);
            at += word.len();
            let n = words.len() as u64 * 12_000;
            words.push(TimedWord { span: start..start + letters.len(), samples: n..n + 9000 });
        }
        Spoken { span: 100..100 + text.len(), text: text.to_owned(), audible: 0..1, words }
    }

    fn written(form: Form, texts: &[&str]) -> String {
        let (mut timings, mut out) = (Timings::new(form), String::new());
        timings.start(&mut out);
        for text in texts {
            timings.push(&spoken(text), &mut out);
        }
        timings.finish(36_000, &mut out);
        out
    }

    #[test]
    fn json_has_every_word_with_its_times_and_place() {
        let json = written(Form::Json, &["Say \"hi\", Zoë.", "Bye"]);
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        let words = value["words"].as_array().unwrap();
        let texts: Vec<&str> = words.iter().map(|word| word["word"].as_str().unwrap()).collect();
        assert_eq!(texts, ["Say", "hi", "Zoë", "Bye"]);
        assert_eq!((&words[1]["start_time"], &words[1]["end_time"]), (&0.5.into(), &0.875.into()));
        assert_eq!((&words[1]["text_start"], &words[1]["text_end"]), (&105.into(), &107.into()));
        assert_eq!(value["duration"], 1.5);
    }

    #[test]
    fn json_without_a_word_is_still_json() {
        let json = written(Form::Json, &[]);
        assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok(), "{json}");
    }

    #[test]
    fn srt_numbers_its_cues_and_keeps_punctuation() {
        let srt = written(Form::Srt, &["“Hello,” she said.", "Bye!"]);
        assert_eq!(
            srt,
            "1\n00:00:00,000 --> 00:00:01,375\n“Hello,” she said.\n\n\
             2\n00:00:00,000 --> 00:00:00,375\nBye!\n\n"
        );
    }

    #[test]
    fn vtt_escapes_its_markup() {
        let vtt = written(Form::Vtt, &["Q<A & more"]);
        assert!(vtt.starts_with("WEBVTT\n\n00:00:00.000 --> "), "{vtt}");
        assert!(vtt.contains("Q&lt;A &amp; more"), "{vtt}");
    }

    #[test]
    fn a_long_chunk_becomes_cues_of_two_lines_and_no_word_is_lost() {
        let text = "The quick brown fox jumps over the lazy dog, and then it rests. ".repeat(8);
        let spoken = spoken(text.trim());
        let cues = cues(&spoken);
        assert!(cues.len() >= 7);
        let all: Vec<String> = cues.iter().map(|cue| cue.text.replace('\n', " ")).collect();
        assert_eq!(all.join(" "), text.trim());
        for pair in cues.windows(2) {
            assert!(pair[0].end <= pair[1].start);
        }
        for cue in &cues {
            assert!(cue.text.lines().count() <= 2);
            assert!(cue.text.lines().all(|line| line.chars().count() <= 60), "{}", cue.text);
        }
    }

    #[test]
    fn clocks_run_past_a_day() {
        assert_eq!(clock(24_000 * (100 * 3600 + 61) + 12, Form::Srt), "100:01:01,000");
        assert_eq!(clock(23_999, Form::Vtt), "00:00:00.999");
    }
}
