//! Joins the chunks of a text into one sound: no click, no dead air, nothing audible cut off.
//!
//! Every call of the model begins and ends with padding that it fills with near-silence, 0.2 to
//! 0.4 s a side; laid end to end the chunks would leave holes that the text does not ask for. The
//! joiner cuts that near-silence down so that between the last audible sample of one chunk and the
//! first of the next lies exactly the rest that the caller names. It knows samples only: which
//! rest belongs to which punctuation, and how far the padding reaches, the pipeline tells it.
//!
//! What may be cut has two guards, and both must agree: the caller's upper bound, which is the
//! length of the padding (and punctuation) tokens, and loudness, since the model lets a word begin
//! or fade within the padding. What is kept is kept bit for bit but for a fade of up to 5 ms at
//! each side of a join, which lies in the near-silence wherever there is any.
//!
//! Nothing is estimated: [`Placed::origin`] is where a chunk's first sample lies in the output, so
//! that times made from token durations stay exact to the sample however long the sound becomes.

use std::ops::Range;

/// Samples are judged in windows of 5 ms, about the length of one period of a low voice.
const WINDOW: usize = 120;

/// Near-silence is what peaks 50 dB below the peak of its chunk: the weakest fricatives lie 10 dB
/// above that, the padding of the models known to us 10 dB below and more.
const QUIET: f32 = 0.003_162_3;

/// A chunk that peaks below -80 dB of full scale holds nothing audible at all.
const SILENT: f32 = 1e-4;

/// The near-silence left before a chunk's first and after its last audible window (20 ms), so that
/// what is too quiet to be measured is kept around what is not.
const EDGE: usize = 480;

/// The fade at a cut within near-silence: 5 ms.
const FADE: usize = 120;

/// The fade where sound reaches the very edge of a chunk and a step would click: 1 ms.
const SHORT_FADE: usize = 24;

/// What one call of the model made.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// All of its samples.
    pub samples: &'a [f32],
    /// How many of them, from the start, belong to padding: no more is ever cut there.
    pub lead: usize,
    /// How many of them, at the end, belong to padding.
    pub tail: usize,
}

/// Where a piece went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Where its sample 0 lies in the output; negative if it was cut off at the very start.
    pub origin: i64,
    /// How many of its first samples were cut off.
    pub lead_cut: usize,
    /// Its audible part, in samples of the output.
    pub audible: Range<u64>,
}

/// The join in progress: appends to the caller's buffer and holds back only the near-silence at
/// the end of the last piece.
#[derive(Clone, Debug)]
pub struct Joiner {
    /// The most near-silence before the first piece, and after the last.
    start: usize,
    end: usize,
    /// Samples handed out so far.
    position: u64,
    /// Whether anything was joined yet.
    begun: bool,
    /// The end of the last piece, not handed out yet; the last `held_quiet` of it are near-silence.
    held: Vec<f32>,
    held_quiet: usize,
    /// How much of the rest after the last piece is still to come.
    owed: u64,
}

impl Joiner {
    /// A join whose near-silence before the first piece is at most `start` samples long and after
    /// the last at most `end`.
    pub fn new(start: usize, end: usize) -> Self {
        Self { start, end, position: 0, begun: false, held: Vec::new(), held_quiet: 0, owed: 0 }
    }

    /// Samples handed out so far, what is held back not counted.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Joins `piece`, after which a rest of `rest` samples is due before the next one.
    pub fn speech(&mut self, piece: &Piece<'_>, rest: u64, out: &mut Vec<f32>) -> Placed {
        let samples = piece.samples;
        let quiet = quiet_edges(piece);
        let room = match (self.begun, self.held.is_empty()) {
            (false, _) => self.start,
            (true, false) => EDGE.min(usize::try_from(self.owed).unwrap_or(EDGE)),
            (true, true) => EDGE,
        };
        let lead = quiet.start.min(room);
        let lead_cut = quiet.start - lead;

        self.release(self.owed.saturating_sub(lead as u64), out);
        self.silence(self.owed.saturating_sub(lead as u64), out);

        let first = self.position;
        let origin = first as i64 - lead_cut as i64;
        let mut kept = samples[lead_cut..].to_vec();
        let fade = lead.clamp(SHORT_FADE, FADE).min(kept.len());
        for (i, sample) in kept[..fade].iter_mut().enumerate() {
            *sample *= rise(i, fade);
        }
        let held = quiet.end.max(SHORT_FADE).min(kept.len());
        self.held = kept.split_off(kept.len() - held);
        self.held_quiet = quiet.end.min(held);
        self.hand_out(&kept, out);
        self.owed = rest;
        self.begun = true;
        let audible_end = first + (samples.len() - lead_cut - self.held_quiet) as u64;
        Placed { origin, lead_cut, audible: first + lead as u64..audible_end }
    }

    /// Adds a pause that the caller asked for: exactly so many samples of exact silence. Pauses in
    /// a row add up. A rest that is due does not come on top; it is only made up if it is longer.
    pub fn pause(&mut self, samples: u64, out: &mut Vec<f32>) {
        self.release(EDGE as u64, out);
        self.silence(samples, out);
        self.begun = true;
    }

    /// Makes the rest that is due before the next piece at least so long, as at the end of a
    /// paragraph.
    pub fn rest_at_least(&mut self, rest: u64) {
        if !self.held.is_empty() {
            self.owed = self.owed.max(rest);
        }
    }

    /// Hands out what was held back, at most the end's share of it, and returns the length of the
    /// whole.
    pub fn finish(mut self, out: &mut Vec<f32>) -> u64 {
        self.release(self.end as u64, out);
        self.position
    }

    /// Hands out the held end of the last piece with at most `room` samples of near-silence.
    fn release(&mut self, room: u64, out: &mut Vec<f32>) {
        let mut held = std::mem::take(&mut self.held);
        if held.is_empty() {
            return;
        }
        let sound = held.len() - self.held_quiet;
        let quiet = self.held_quiet.min(usize::try_from(room).unwrap_or(usize::MAX));
        held.truncate((sound + quiet).max(SHORT_FADE));
        let fade = quiet.clamp(SHORT_FADE, FADE).min(held.len());
        for (i, sample) in held.iter_mut().rev().take(fade).enumerate() {
            *sample *= rise(i, fade);
        }
        self.hand_out(&held, out);
        self.owed = self.owed.saturating_sub(quiet as u64);
    }

    fn silence(&mut self, samples: u64, out: &mut Vec<f32>) {
        // A length that does not fit memory cannot be appended to a buffer in any case.
        let n = usize::try_from(samples).unwrap_or(usize::MAX);
        out.resize(out.len().saturating_add(n), 0.0);
        self.position += samples;
        self.owed = self.owed.saturating_sub(samples);
    }

    fn hand_out(&mut self, samples: &[f32], out: &mut Vec<f32>) {
        out.extend_from_slice(samples);
        self.position += samples.len() as u64;
    }
}

/// A raised cosine from just above 0 to just below 1: step `i` of `n`.
fn rise(i: usize, n: usize) -> f32 {
    let phase = (i as f32 + 0.5) / n as f32;
    0.5 - 0.5 * (std::f32::consts::PI * phase).cos()
}

/// How many samples at the start (`start`) and at the end (`end`) are near-silence and may be cut.
/// The two never overlap.
fn quiet_edges(piece: &Piece<'_>) -> Range<usize> {
    let samples = piece.samples;
    let lead = piece.lead.min(samples.len());
    let tail = piece.tail.min(samples.len() - lead);
    let peak = peak(samples);
    if peak < SILENT {
        return lead..tail;
    }
    let threshold = peak * QUIET;
    let start = samples[..lead]
        .chunks(WINDOW)
        .position(|window| self::peak(window) >= threshold)
        .map_or(lead, |windows| windows * WINDOW);
    let end = samples[samples.len() - tail..]
        .rchunks(WINDOW)
        .position(|window| self::peak(window) >= threshold)
        .map_or(tail, |windows| windows * WINDOW);
    start..end
}

fn peak(samples: &[f32]) -> f32 {
    samples.iter().fold(0.0, |peak, sample| peak.max(sample.abs()))
}

#[cfg(test)]
mod tests;
