//! What is counted and measured of each kind of session, and how it is shown.
//!
//! Speed is kept by length, because a device that wins on long texts may lose on short ones. What
//! counts is the median of the last few runs: one run that a busy machine made slow says nothing.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use koe_engine::{Error, MAX_TOKENS};

/// The most tokens of each bucket of lengths.
pub const BUCKETS: [usize; 6] = [16, 32, 64, 128, 256, MAX_TOKENS];

/// Runs that the median is of: enough that two outliers do not show, few enough to follow a machine
/// that becomes busy.
const WINDOW: usize = 9;

/// Seconds a token, by length.
#[derive(Clone, Debug, Default)]
pub(crate) struct Speeds([Bucket; BUCKETS.len()]);

#[derive(Clone, Debug, Default)]
struct Bucket {
    recent: VecDeque<f64>,
    runs: u64,
}

fn bucket_of(n_tokens: usize) -> usize {
    BUCKETS.iter().position(|&most| n_tokens <= most).unwrap_or(BUCKETS.len() - 1)
}

impl Speeds {
    pub(crate) fn record(&mut self, n_tokens: usize, took: Duration) {
        let bucket = &mut self.0[bucket_of(n_tokens)];
        bucket.runs += 1;
        if bucket.recent.len() == WINDOW {
            bucket.recent.pop_front();
        }
        bucket.recent.push_back(took.as_secs_f64() / n_tokens.max(1) as f64);
    }

    /// How many runs were measured of this length.
    pub(crate) fn runs(&self, n_tokens: usize) -> u64 {
        self.0[bucket_of(n_tokens)].runs
    }

    /// How long so many tokens will take, if any of about this length were measured.
    pub(crate) fn expect(&self, n_tokens: usize) -> Option<Duration> {
        let per_token = self.0[bucket_of(n_tokens)].median()?;
        Some(Duration::from_secs_f64(per_token * n_tokens as f64))
    }
}

impl Bucket {
    fn median(&self) -> Option<f64> {
        let mut sorted: Vec<f64> = self.recent.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied()
    }
}

/// The counters of one kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) loads: u64,
    pub(crate) loading: Duration,
    pub(crate) requests: u64,
    pub(crate) trials: u64,
    pub(crate) errors: BTreeMap<&'static str, u64>,
    pub(crate) fallbacks: u64,
    pub(crate) timeouts: u64,
    pub(crate) too_busy: u64,
    pub(crate) speaking: Duration,
    pub(crate) tokens: u64,
    pub(crate) speeds: Speeds,
    pub(crate) last_used: Option<Instant>,
}

impl Tally {
    pub(crate) fn error(&mut self, reason: &'static str) {
        *self.errors.entry(reason).or_default() += 1;
    }

    pub(crate) fn spoke(&mut self, n_tokens: usize, took: Duration) {
        self.speaking += took;
        self.tokens += n_tokens as u64;
        self.last_used = Some(Instant::now());
        self.speeds.record(n_tokens, took);
    }

    pub(crate) fn show(self, name: &str, state: State, problem: Option<String>) -> Kind {
        let lengths = BUCKETS.iter().zip(&self.speeds.0).map(|(&up_to_tokens, bucket)| Length {
            up_to_tokens,
            runs: bucket.runs,
            median_seconds_per_token: bucket.median(),
        });
        Kind {
            name: name.to_owned(),
            state,
            problem,
            lengths: lengths.collect(),
            loads: self.loads,
            load_seconds: self.loading.as_secs_f64(),
            requests: self.requests,
            trials: self.trials,
            errors: self.errors,
            fallbacks: self.fallbacks,
            timeouts: self.timeouts,
            too_busy: self.too_busy,
            seconds: self.speaking.as_secs_f64(),
            tokens: self.tokens,
            since_last_use: self.last_used.map(|last_used| last_used.elapsed()),
        }
    }
}

/// What an error is counted as.
pub(crate) fn reason(error: &Error) -> &'static str {
    match error {
        Error::Runtime { .. } => "runtime",
        Error::Malformed { .. } => "bad-output",
        Error::Unsupported(_) => "unsupported",
        Error::Cancelled => "cancelled",
        Error::Request(_) => "request",
        Error::TooLong { .. } => "too-long",
        _ => "engine",
    }
}

/// Whether the request itself is at fault, so that no other kind would fare better.
pub(crate) fn is_of_the_request(error: &Error) -> bool {
    matches!(error, Error::Cancelled | Error::Request(_) | Error::TooLong { .. })
}

/// Whether a kind can be asked now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It loads, and nothing waits for it.
    Opening,
    /// It can speak.
    Ready,
    /// It speaks.
    Busy,
    /// It failed, and is tried again after a while.
    Closed,
    /// It did not answer in time, and has not come back.
    Stuck,
    /// It cannot be used until something is installed or changed.
    Unavailable,
}

impl State {
    /// One lower-case word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Ready => "ready",
            Self::Busy => "busy",
            Self::Closed => "closed",
            Self::Stuck => "stuck",
            Self::Unavailable => "unavailable",
        }
    }
}

/// All kinds of session of a process: the native one, then the accelerator if one is wanted.
#[derive(Clone, Debug, Default)]
pub struct Kinds(pub Vec<Kind>);

impl Kinds {
    /// The kind of that name.
    pub fn get(&self, name: &str) -> Option<&Kind> {
        self.0.iter().find(|kind| kind.name == name)
    }
}

/// What one kind of session has done; every number is a count or a measurement.
#[derive(Clone, Debug)]
pub struct Kind {
    /// `native`, `cuda` and so on; while an accelerator has not opened, what the setting says.
    pub name: String,
    /// Whether it can be asked now.
    pub state: State,
    /// Why not, or what was wrong last.
    pub problem: Option<String>,
    /// How often a model was loaded for it.
    pub loads: u64,
    /// How long that took in all.
    pub load_seconds: f64,
    /// Requests that it was asked to speak for a listener.
    pub requests: u64,
    /// Requests that it was asked to speak again, for nobody, to see how fast it is or whether it
    /// works again.
    pub trials: u64,
    /// Failures of requests, trials and loads by reason.
    pub errors: BTreeMap<&'static str, u64>,
    /// Requests that began here and ended with the other kind.
    pub fallbacks: u64,
    /// Requests and trials that it did not answer in time.
    pub timeouts: u64,
    /// Requests that would have come here, had it not been busy for too long.
    pub too_busy: u64,
    /// Time that it spoke in all, trials included.
    pub seconds: f64,
    /// Tokens that it spoke in that time.
    pub tokens: u64,
    /// How long ago it spoke last.
    pub since_last_use: Option<Duration>,
    /// Its speed by length.
    pub lengths: Vec<Length>,
}

impl Kind {
    /// Whether requests may go to it now or soon.
    pub fn is_available(&self) -> bool {
        matches!(self.state, State::Ready | State::Busy)
    }
}

/// The measured speed of one kind at one length.
#[derive(Clone, Copy, Debug)]
pub struct Length {
    /// Texts of more tokens than the length before, and at most so many.
    pub up_to_tokens: usize,
    /// Runs in all.
    pub runs: u64,
    /// Of the last nine runs.
    pub median_seconds_per_token: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn speed_is_a_median_of_the_last_runs_of_that_length() {
        let mut speeds = Speeds::default();
        assert_eq!(speeds.expect(20), None);
        for took in [20, 20, 20, 2000, 20] {
            speeds.record(20, took * MS);
        }
        assert_eq!(speeds.expect(32), Some(32 * MS));
        assert_eq!((speeds.expect(16), speeds.expect(33)), (None, None));
        for _ in 0..WINDOW {
            speeds.record(20, 60 * MS);
        }
        assert_eq!(speeds.expect(20), Some(60 * MS));
        assert_eq!(speeds.runs(17), 14);
        speeds.record(100_000, MS);
        assert_eq!(speeds.runs(MAX_TOKENS), 1);
    }
}
