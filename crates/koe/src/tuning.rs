//! How fast this machine speaks with a model: measured once and remembered.
//!
//! The command line and the server cut texts by the same measured speed, so that the same text
//! sounds the same through both, at the first time and ever after. So the measurement is always of
//! the threads that a server would use by itself, whatever its user asked for.

use std::path::Path;
use std::time::{Duration, Instant};

use koe_engine::{Cancel, Error, Isa, MAX_THREADS, Model, Request, Session, Voice};
use koe_priming::tuning::{Machine, Measured, Recalled, Tuning};

use crate::config::Config;
use crate::machine;
use crate::pipeline::Ramp;

/// What is spoken to measure, long enough to measure by.
pub const SENTENCE: &str = "Ready to speak, and never cold.";
const PHONEMES: &str = "ɹˈɛdi tə spˈik, ænd nˈɛvəɹ kˈOld.";

/// How often that is measured, and how long at least.
const LEAST_RUNS: usize = 3;
const ENOUGH: Duration = Duration::from_millis(100);

/// How this machine's speed is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tuned {
    /// What was measured.
    pub measured: Measured,
    /// Whether at an earlier start.
    pub recalled: bool,
    /// Whether there was a memory of another machine, which was not used.
    pub was_stale: bool,
}

impl Tuned {
    /// How texts are cut at that speed.
    pub fn ramp(&self) -> Ramp {
        Ramp::for_speed(self.measured.real_time_factor)
    }
}

/// How many syntheses at once share so many threads, unless somebody says otherwise.
pub fn lanes(threads: usize) -> usize {
    (threads / 8).max(1)
}

/// The memory of this machine, unless it is not wanted.
pub fn memory(config: &Config, isa: Isa) -> Option<Tuning> {
    let machine = Machine {
        processor: machine::processor(Path::new("/")).unwrap_or_default(),
        threads: machine::threads(),
        isa: isa.name().to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    config.tuning.then(|| Tuning::new(&config.cache, machine))
}

/// What is remembered of the model of that identity, if it is of this machine.
pub fn recall(memory: Option<&Tuning>, identity: &str) -> Option<Tuned> {
    match memory?.recall(identity) {
        Recalled::Known(measured) => Some(Tuned { measured, recalled: true, was_stale: false }),
        Recalled::Stale | Recalled::Unknown => None,
    }
}

/// The number of threads that was measured to be best for one synthesis, if that was tried.
pub fn threads(memory: Option<&Tuning>, identity: &str) -> Option<usize> {
    // Somebody may have edited the file.
    Some(recall(memory, identity)?.measured.threads?.min(machine::threads()))
}

/// Measures and remembers. That it cannot be remembered costs the next start a measurement; it is
/// logged and no error.
pub fn measure(
    memory: Option<&Tuning>,
    model: &Model,
    voice: &Voice,
    isa: Isa,
) -> Result<Tuned, Error> {
    let all = machine::threads();
    let threads = (all / lanes(all)).min(MAX_THREADS);
    let (took, seconds) = time(model, voice, threads, isa, &Cancel::new())?;
    let real_time_factor = took.as_secs_f64() / seconds;
    let measured = Measured { threads: None, real_time_factor };
    let mut was_stale = false;
    if let Some(memory) = memory {
        was_stale = memory.recall(model.identity()) == Recalled::Stale;
        if was_stale {
            tracing::info!(
                "this machine's speed was measured on another one; it was measured anew"
            );
        }
        if let Err(error) = memory.remember(model.identity(), measured) {
            tracing::warn!(%error, "cannot remember this machine's speed; each start measures it");
        }
    }
    Ok(Tuned { measured, recalled: false, was_stale })
}

/// How long a sentence takes with so many threads where nothing else runs, the fastest of some,
/// because neighbours on the machine only ever slow one down; and how many seconds it sounds.
pub fn time(
    model: &Model,
    voice: &Voice,
    threads: usize,
    isa: Isa,
    cancel: &Cancel,
) -> Result<(Duration, f64), Error> {
    let (tokens, _) = model.tokens(PHONEMES);
    let style = voice.style(tokens.len());
    let request = Request { tokens: &tokens, style, speed: 1.0, seed: 0 };
    let mut session = Session::with_isa(model, threads, isa);
    // What the first run takes, memory, is not speed.
    session.synthesize(&request, cancel)?;
    // A quota is no neighbour: it will hold as long as the process does.
    let quota = machine::cpu_quota(Path::new("/")).unwrap_or(f64::INFINITY);
    let processors = quota.min(threads as f64);
    let (mut fastest, mut n_samples, mut n_runs) = (Duration::MAX, 0, 0);
    let begun = Instant::now();
    while n_runs < LEAST_RUNS || begun.elapsed() < ENOUGH {
        let (before, worked_before) = (Instant::now(), machine::processor_time());
        n_samples = session.synthesize(&request, cancel)?.samples.len();
        let took = before.elapsed();
        fastest = fastest.min(took);
        if let (Some(after), Some(before)) = (machine::processor_time(), worked_before) {
            fastest = fastest.min(alone(after.saturating_sub(before), processors));
        }
        n_runs += 1;
    }
    Ok((fastest, koe_audio::seconds(n_samples as u64)))
}

/// How long so much work takes on so many processors where nothing else runs on them. A tenth is for
/// what threads wait for one another.
fn alone(worked: Duration, processors: f64) -> Duration {
    worked.div_f64(processors / 1.1)
}
