//! The file to read first: text becomes sound here, and nowhere else.
//!
//! ```text
//! feed ─segments─► text ─pieces─► speaker ─samples─► joiner ─blocks─► listener
//! ```
//!
//! [`speak`] is that loop, on the calling thread, one chunk after the other: the text front end
//! cuts a small chunk first so that sound starts soon. What comes out are [`Block`]s of joined
//! sound whose words point into the caller's own text, counted in samples, so that they stay exact
//! however long the text is. [`crate::stream`] runs the loop on a thread of its own.
//!
//! Nothing is dropped in silence. What cannot be spoken as written is a [`Event::Note`]; a symbol
//! that the model does not know, sound that is not a number, or a text in which nothing can be
//! spoken is an error.

use std::ops::{ControlFlow, Range, RangeInclusive};
use std::sync::Arc;
use std::time::{Duration, Instant};

use koe_audio::{Joiner, join};
use koe_engine::{Cancel, FRAME_SAMPLES};
use koe_text::{Boundary, Chunk, Dialect, Limits, Note, Piece, UserLexicon};

use crate::feed::{self, Segment};
use crate::phonemes;
use crate::playback::Playback;
use crate::speaker::Speaker;

/// The paces that can be asked for.
pub const SPEEDS: RangeInclusive<f32> = 0.25..=4.0;

/// The wish to which chunks grow, in symbols: about ten seconds. Kokoro speaks best with 100 to 200.
pub(crate) const TARGET: usize = 160;

/// About as many are heard in a second, at the voice's own pace.
const SYMBOLS_A_SECOND: f64 = 15.0;

/// How to speak.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which English the text is.
    pub dialect: Dialect,
    /// The caller's own words.
    pub lexicon: Arc<UserLexicon>,
    /// Whether the text is phonemes already.
    pub phonemes: bool,
    /// 1.0 is the voice's own pace; from 0.25 to 4.
    pub speed: f32,
    /// Chooses the noise of unvoiced sounds: the same seed makes the same samples.
    pub seed: u64,
    /// The rests between chunks.
    pub rests: Rests,
    /// Whether text comes while it is heard: a segment that comes when all before it was heard is to
    /// sound soon, as otherwise only the first is. Where it is cut then depends on the clock.
    pub live: bool,
    /// How the chunks grow from the first on.
    pub ramp: Ramp,
    /// Symbols that were spoken before this text in the same sound, from which the ramp goes on.
    pub given: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            dialect: Dialect::default(),
            lexicon: Arc::default(),
            phonemes: false,
            speed: 1.0,
            seed: 0,
            rests: Rests::default(),
            live: false,
            ramp: Ramp::default(),
            given: 0,
        }
    }
}

/// The pace to cut for: the smaller the first chunk is, the sooner sound starts, and every other has
/// to be made while those before it are heard.
///
/// An engine that needs `x` seconds for a second of sound could have chunks of almost `1 / x - 1`
/// times what came before, if it had one listener. With `n` who come together their chunks are made
/// one after the other, as on a machine `n` times slower.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ramp {
    /// The wished length of the first chunk, in symbols; about fifteen are a second of sound.
    pub first: usize,
    /// The wish of every later chunk, times all before it, until the wish is what the model speaks
    /// best.
    pub growth: f32,
}

impl Ramp {
    /// For a machine that needs so long for a second of sound. The first chunk is as short as
    /// the voices speak well, and longer only where it is made within a twentieth of a second all the
    /// same. Later ones double what was said: with prose, a machine that needs a ninth of a second
    /// can do that for four listeners at once, one that needs a third for a single one. Slower
    /// machines have shorter chunks, and where a dozen listeners would have sound they are longer. In
    /// few steps, so that the same machine measures itself into the same step.
    pub fn for_speed(real_time_factor: f64) -> Self {
        match real_time_factor {
            ..0.0125 => Self { first: 60, growth: 3.5 },
            ..0.02 => Self { first: 40, growth: 3.5 },
            ..0.04 => Self { first: 24, growth: 3.5 },
            ..0.33 => Self { first: 24, growth: 1.0 },
            _ => Self { first: 24, growth: 0.4 },
        }
    }
}

impl Default for Ramp {
    /// Where no speed was measured: four seconds, then at once the length that the model speaks best.
    fn default() -> Self {
        Self { first: Limits::default().first, growth: f32::INFINITY }
    }
}

/// How long nothing is heard around a chunk, at the voice's own pace; speed shortens or stretches
/// the inner ones as it does the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rests {
    /// Before the first word, at most.
    pub start: Duration,
    /// Where a clause was cut because it was too long.
    pub word: Duration,
    /// After a comma, semicolon, colon or dash.
    pub clause: Duration,
    /// Between sentences.
    pub sentence: Duration,
    /// Between paragraphs.
    pub paragraph: Duration,
    /// After the last word, at most.
    pub end: Duration,
}

impl Default for Rests {
    /// About what the model itself leaves within a chunk for the same punctuation.
    fn default() -> Self {
        let ms = Duration::from_millis;
        Self {
            start: ms(50),
            word: ms(80),
            clause: ms(220),
            sentence: ms(400),
            paragraph: ms(750),
            end: ms(200),
        }
    }
}

impl Rests {
    /// The rest after `boundary` at that pace, in samples.
    fn after(&self, boundary: Boundary, speed: f32) -> u64 {
        let rest = match boundary {
            Boundary::Word => self.word,
            Boundary::Clause => self.clause,
            Boundary::Sentence => self.sentence,
            Boundary::Paragraph => self.paragraph,
        };
        koe_audio::samples_in(rest.div_f32(speed))
    }
}

/// What the listener gets, in the order of the text.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Sound.
    Sound(Block),
    /// Something worth telling the caller about a part of the text.
    Note(Note),
}

/// A stretch of joined sound; each begins where the one before ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Block {
    /// Where it begins, in samples from the start.
    pub start: u64,
    /// Mono, at [`koe_audio::SAMPLE_RATE_HZ`].
    pub samples: Vec<f32>,
    /// The chunk of text that was spoken, if this is not a pause or the last rest.
    pub spoken: Option<Spoken>,
}

/// What was spoken and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spoken {
    /// The bytes of the caller's text that the chunk covers.
    pub span: Range<usize>,
    /// The text at `span`.
    pub text: String,
    /// When its audible part sounds, in samples from the start.
    pub audible: Range<u64>,
    /// Its words, in the order they are spoken.
    pub words: Vec<TimedWord>,
}

impl Spoken {
    /// The caller's text at `span`, as far as it is within the chunk.
    pub fn text_of(&self, span: &Range<usize>) -> &str {
        let within = |at: usize| at.saturating_sub(self.span.start);
        self.text.get(within(span.start)..within(span.end)).unwrap_or_default()
    }
}

/// When a word sounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimedWord {
    /// The word in the caller's text, in bytes.
    pub span: Range<usize>,
    /// From the start of its first sound to the end of its last, in samples from the start.
    pub samples: Range<u64>,
}

/// What was done, once all is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Samples of sound.
    pub samples: u64,
    /// Calls of the model.
    pub chunks: u64,
    /// Tokens given to the model, padding not counted.
    pub tokens: u64,
    /// Bytes of text read.
    pub text_bytes: u64,
}

/// Why a text could not be spoken, or not to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The caller cancelled, or went away.
    #[error("cancelled")]
    Cancelled,
    /// There is no text.
    #[error("the text is empty")]
    Empty,
    /// There is text, but no part of it makes a sound.
    #[error("nothing in the text can be spoken")]
    Unspeakable,
    /// [`Settings::speed`] is none that the model can speak at.
    #[error("the speed must be from 0.25 to 4, not {0}")]
    Speed(f32),
    /// The text could not be read.
    #[error(transparent)]
    Feed(#[from] feed::Error),
    /// Symbols that the model's vocabulary lacks: speaking the rest would hide that.
    #[error("{}", unknown_symbols(symbols, span))]
    UnknownSymbols {
        /// The symbols.
        symbols: Vec<char>,
        /// The part of the text that they stand for.
        span: Range<usize>,
    },
    /// The engine failed.
    #[error(transparent)]
    Engine(koe_engine::Error),
    /// The model's sound or its durations are not what a model makes.
    #[error("the model made broken sound ({0}); its files may be damaged")]
    BrokenSound(&'static str),
    /// A bug.
    #[error("internal error: {0}; please report it with the text that caused it")]
    Panicked(String),
}

fn unknown_symbols(symbols: &[char], span: &Range<usize>) -> String {
    let list: Vec<String> = symbols.iter().map(|c| format!("{c:?}")).collect();
    let hint = match symbols {
        ['g', ..] => "; the voiced velar is 'ɡ' (U+0261)",
        ['\'', ..] => "; primary stress is 'ˈ' (U+02C8)",
        _ => "; see them all with: koe phonemize --alphabet",
    };
    let Range { start, end } = span;
    format!("the model has no phoneme {} (bytes {start} to {end}){hint}", list.join(" or "))
}

impl From<koe_engine::Error> for Error {
    fn from(error: koe_engine::Error) -> Self {
        match error {
            koe_engine::Error::Cancelled => Self::Cancelled,
            error => Self::Engine(error),
        }
    }
}

/// Speaks a whole text, handing every block to `listener` as soon as it is joined. Stops with
/// [`Error::Cancelled`] when the listener breaks or `cancel` is set.
pub fn speak(
    feed: impl IntoIterator<Item = Result<Segment, feed::Error>>,
    settings: &Settings,
    speaker: &mut dyn Speaker,
    cancel: &Cancel,
    listener: &mut dyn FnMut(Event) -> ControlFlow<()>,
) -> Result<Summary, Error> {
    if !SPEEDS.contains(&settings.speed) {
        return Err(Error::Speed(settings.speed));
    }
    let mut line = Line {
        settings,
        speaker,
        cancel,
        listener,
        joiner: Joiner::new(
            koe_audio::samples_in(settings.rests.start) as usize,
            koe_audio::samples_in(settings.rests.end) as usize,
        ),
        summary: Summary::default(),
        given: settings.given,
        playback: Playback::default(),
        line_ends: 0,
    };
    let mut anything = false;
    let mut any_sound = false;
    for segment in feed {
        let segment = segment?;
        line.summary.text_bytes += segment.text.len() as u64;
        if segment.text.trim().is_empty() {
            line.space(&segment.text);
            continue;
        }
        anything = true;
        any_sound |= line.segment(&segment)?;
    }
    match (anything, any_sound) {
        (false, _) => Err(Error::Empty),
        (true, false) => Err(Error::Unspeakable),
        (true, true) => line.finish(),
    }
}

/// The assembly line: what the steps of [`speak`] share.
struct Line<'a> {
    settings: &'a Settings,
    speaker: &'a mut dyn Speaker,
    cancel: &'a Cancel,
    listener: &'a mut dyn FnMut(Event) -> ControlFlow<()>,
    joiner: Joiner,
    summary: Summary,
    /// The symbols that the text so far was cut into, and those before it.
    given: usize,
    playback: Playback,
    /// Ends of lines since the last word.
    line_ends: usize,
}

impl Line<'_> {
    /// Speaks one segment. Whether it made any sound, asked-for silence included.
    fn segment(&mut self, segment: &Segment) -> Result<bool, Error> {
        let before = self.joiner.position();
        let text = &*segment.text;
        self.space(&text[..text.len() - text.trim_start().len()]);
        let limits = self.limits();
        if self.settings.phonemes {
            for chunk in phonemes::chunks(&segment.text, limits.max) {
                self.chunk(segment, &chunk)?;
            }
        } else {
            let Settings { dialect, lexicon, .. } = self.settings;
            let options = koe_text::Options { dialect: *dialect, lexicon, limits };
            for piece in koe_text::pieces(&segment.text, &options) {
                if let Piece::Speech(chunk) = &piece {
                    self.given = self.given.saturating_add(chunk.spans.len());
                }
                self.piece(segment, piece)?;
            }
        }
        let rest = self.settings.rests.after(segment.end, self.settings.speed);
        self.joiner.rest_at_least(rest);
        self.line_ends = 0;
        self.space(&text[text.trim_end().len()..]);
        Ok(self.joiner.position() > before)
    }

    /// White space between segments: a blank line, however it came, parts paragraphs.
    fn space(&mut self, space: &str) {
        self.line_ends += space.matches('\n').count();
        if self.line_ends >= 2 {
            let rest = self.settings.rests.after(Boundary::Paragraph, self.settings.speed);
            self.joiner.rest_at_least(rest);
        }
    }

    /// How much to give the model at once. The first chunk is small, so that sound starts soon;
    /// after it there is time, and the ramp goes on through all segments. Slow speech makes long
    /// sound, so that chunks shrink with the pace: none makes more sound, or takes more memory, than
    /// the longest at the voice's own.
    fn limits(&self) -> Limits {
        let Settings { speed, live, ramp, .. } = *self.settings;
        let max = (self.speaker.max_tokens() as f32 * speed.min(1.0)).max(1.0) as usize;
        let given =
            if live { symbols_in(self.playback.left(Instant::now()), speed) } else { self.given };
        Limits { first: ramp.first, growth: ramp.growth, target: TARGET, max, given }
    }

    fn piece(&mut self, segment: &Segment, piece: Piece) -> Result<(), Error> {
        match piece {
            Piece::Speech(chunk) => self.chunk(segment, &chunk),
            Piece::Pause { length, .. } => self.pause(koe_audio::samples_in(length)),
            Piece::Note(mut note) => {
                note.span = from_start(segment, &note.span);
                self.send(Event::Note(note))
            }
        }
    }

    fn chunk(&mut self, segment: &Segment, chunk: &Chunk) -> Result<(), Error> {
        let starts = chunk.spans.iter().map(|span| span.start).min();
        let ends = chunk.spans.iter().map(|span| span.end).max();
        let (Some(start), Some(end)) = (starts, ends) else { return Ok(()) };
        let span = start..end;
        let (tokens, unknown) = self.speaker.tokens(&chunk.symbols);
        if !unknown.is_empty() {
            let span = from_start(segment, &span);
            return Err(Error::UnknownSymbols { symbols: unknown, span });
        }
        // Punctuation alone makes no word, and the model would hum.
        if chunk.symbols.chars().all(phonemes::is_mark) {
            return Ok(());
        }
        let Settings { speed, seed, rests, .. } = *self.settings;
        let speech = self.speaker.synthesize(&tokens, speed, seed, self.cancel)?;
        let clock = Clock::new(speech.frames, tokens.len())?;
        if clock.total != speech.samples.len() {
            return Err(Error::BrokenSound("its durations do not add up to its length"));
        }
        if !speech.samples.iter().all(|sample| sample.is_finite()) {
            return Err(Error::BrokenSound("samples that are not numbers"));
        }
        let marks = |symbols: &mut dyn Iterator<Item = char>| {
            symbols.take_while(|&symbol| phonemes::is_mark(symbol)).count()
        };
        let lead_marks = marks(&mut chunk.symbols.chars());
        let tail_marks = marks(&mut chunk.symbols.chars().rev());
        let piece = join::Piece {
            samples: speech.samples,
            lead: clock.start_of(lead_marks),
            tail: clock.total - clock.start_of(tokens.len() - tail_marks),
        };
        let start = self.joiner.position();
        let mut samples = Vec::with_capacity(speech.samples.len());
        let placed = self.joiner.speech(&piece, rests.after(chunk.end, speed), &mut samples);
        self.summary.chunks += 1;
        self.summary.tokens += tokens.len() as u64;

        let at = |symbol: usize| (placed.origin + clock.start_of(symbol) as i64).max(0) as u64;
        let words = chunk
            .words
            .iter()
            .map(|word| TimedWord {
                span: from_start(segment, &word.span),
                samples: at(word.symbols.start)..at(word.symbols.end),
            })
            .collect();
        let spoken = Spoken {
            text: segment.text.get(span.clone()).unwrap_or_default().to_owned(),
            span: from_start(segment, &span),
            audible: placed.audible,
            words,
        };
        self.send(Event::Sound(Block { start, samples, spoken: Some(spoken) }))
    }

    /// A pause, in blocks of a second, so that a long one takes no more memory than a short one.
    fn pause(&mut self, samples: u64) -> Result<(), Error> {
        let mut left = samples;
        while left > 0 {
            let part = left.min(u64::from(koe_audio::SAMPLE_RATE_HZ));
            let start = self.joiner.position();
            let mut samples = Vec::new();
            self.joiner.pause(part, &mut samples);
            self.send(Event::Sound(Block { start, samples, spoken: None }))?;
            left -= part;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Summary, Error> {
        let start = self.joiner.position();
        let mut samples = Vec::new();
        let joiner = std::mem::replace(&mut self.joiner, Joiner::new(0, 0));
        self.summary.samples = joiner.finish(&mut samples);
        if !samples.is_empty() {
            self.send(Event::Sound(Block { start, samples, spoken: None }))?;
        }
        Ok(self.summary)
    }

    fn send(&mut self, mut event: Event) -> Result<(), Error> {
        let gain = self.speaker.gain();
        if let Event::Sound(block) = &mut event
            && gain != 1.0
        {
            block.samples.iter_mut().for_each(|sample| *sample *= gain);
        }
        if let Event::Sound(block) = &event {
            self.playback.add(block.samples.len() as u64, Instant::now());
        }
        if self.cancel.is_cancelled() || (self.listener)(event).is_break() {
            return Err(Error::Cancelled);
        }
        Ok(())
    }
}

/// About how many symbols sound so long at that pace.
fn symbols_in(time: Duration, speed: f32) -> usize {
    (time.as_secs_f64() * SYMBOLS_A_SECOND * f64::from(speed)) as usize
}

fn from_start(segment: &Segment, span: &Range<usize>) -> Range<usize> {
    segment.start + span.start..segment.start + span.end
}

/// When every symbol of a chunk begins, in samples of the chunk.
struct Clock {
    /// Of every symbol, then of the padding at the end.
    starts: Vec<usize>,
    /// Samples in all.
    total: usize,
}

impl Clock {
    /// From the frames of every token, the padding at both ends included.
    fn new(frames: &[u32], n_symbols: usize) -> Result<Self, Error> {
        if frames.len() != n_symbols + 2 {
            return Err(Error::BrokenSound("not one duration for every token"));
        }
        let mut total = 0;
        let mut ends = frames.iter().map(|&frames| {
            total += frames as usize * FRAME_SAMPLES;
            total
        });
        let starts: Vec<usize> = ends.by_ref().take(n_symbols + 1).collect();
        let total = ends.next().unwrap_or_default();
        Ok(Self { starts, total })
    }

    fn start_of(&self, symbol: usize) -> usize {
        self.starts.get(symbol).copied().unwrap_or(self.total)
    }
}

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;
