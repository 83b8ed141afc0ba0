//! The only door to a warm-up: each pattern runs once, whoever asks and however many at once.
//!
//! A pattern is a text with all that decides how it is computed. Who asks for one that is running
//! waits for that run; who asks for one that is done is told its result; a failure is kept, and the
//! next who asks tries again. A run that panics is a failure, so that nobody waits for ever.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::lock::lock;

/// What a warm-up is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// The very first synthesis of the process; its success is what "ready" means.
    ColdStart,
    /// A short sentence with everything in place, which measures this machine.
    Minimal,
    /// One synthesis on each further kind of session that exists.
    DualSession,
    /// The whole path of a request: text, network, encoder.
    Pipeline,
    /// In the background after "ready".
    Extended,
}

impl Stage {
    /// All, in the order they happen.
    pub const ALL: [Self; 5] =
        [Self::ColdStart, Self::Minimal, Self::DualSession, Self::Pipeline, Self::Extended];

    /// As shown and logged.
    pub fn name(self) -> &'static str {
        match self {
            Self::ColdStart => "cold_start",
            Self::Minimal => "minimal",
            Self::DualSession => "dual_session",
            Self::Pipeline => "pipeline",
            Self::Extended => "extended",
        }
    }
}

/// What makes two warm-ups the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern {
    /// What is said.
    pub text: String,
    /// Who says it.
    pub voice: String,
    /// How fast, in thousandths of the voice's own pace.
    pub speed_milli: u32,
    /// The language it is read in.
    pub language: String,
    /// The kind of session that computes it.
    pub session: String,
}

/// A warm-up as far as it is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// What for.
    pub stage: Stage,
    /// What.
    pub pattern: Pattern,
    /// How often it was run: more than once only after failures.
    pub runs: u64,
    /// Of those, how many failed.
    pub failures: u64,
    /// How many were spared a run: they waited for one, or found it done.
    pub spared: u64,
    /// How the last run ended; none while the first one runs.
    pub outcome: Option<Outcome>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// How long the run took.
    pub took: Duration,
    /// When it ended, counted from the coordinator's start.
    pub at: Duration,
    /// What went wrong, if anything did.
    pub error: Option<String>,
}

/// What the coordinator did so far, oldest pattern first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    /// Each pattern that anyone asked for.
    pub records: Vec<Record>,
}

impl Stats {
    /// Patterns whose last run succeeded.
    pub fn completed(&self) -> usize {
        let done = |record: &&Record| record.outcome.as_ref().is_some_and(|o| o.error.is_none());
        self.records.iter().filter(done).count()
    }

    /// Runs that nobody had to make.
    pub fn spared(&self) -> u64 {
        self.records.iter().map(|record| record.spared).sum()
    }

    /// The stages with at least one success, in their order.
    pub fn completed_stages(&self) -> Vec<Stage> {
        let is_done = |stage: &Stage| {
            self.records.iter().any(|record| {
                record.stage == *stage && record.outcome.as_ref().is_some_and(|o| o.error.is_none())
            })
        };
        Stage::ALL.into_iter().filter(is_done).collect()
    }
}

/// Runs warm-ups, each pattern once.
pub struct Coordinator {
    started: Instant,
    state: Mutex<State>,
    /// A run ended.
    ended: Condvar,
}

#[derive(Default)]
struct State {
    records: Vec<Record>,
    places: HashMap<Pattern, usize>,
    running: Vec<usize>,
}

impl Default for Coordinator {
    fn default() -> Self {
        Self::new()
    }
}

impl Coordinator {
    /// Nothing was run yet.
    pub fn new() -> Self {
        Self { started: Instant::now(), state: Mutex::default(), ended: Condvar::new() }
    }

    /// Has the pattern run, unless it ran already or runs now. Blocks until it is done; the result
    /// is that of the one run, with how long it took.
    pub fn run(
        &self,
        stage: Stage,
        pattern: &Pattern,
        work: impl FnOnce() -> Result<(), String>,
    ) -> Result<Duration, String> {
        let mut state = lock(&self.state);
        let at = state.place(stage, pattern);
        let mut waited = false;
        while state.running.contains(&at) {
            waited = true;
            state = self.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let record = &mut state.records[at];
        match &record.outcome {
            Some(Outcome { took, error: None, .. }) => {
                record.spared += 1;
                return Ok(*took);
            }
            // Whoever waited for a run shares its failure too; who comes later tries again.
            Some(Outcome { error: Some(error), .. }) if waited => {
                record.spared += 1;
                return Err(error.clone());
            }
            _ => {}
        }
        record.runs += 1;
        state.running.push(at);
        drop(state);

        let begun = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(work));
        let took = begun.elapsed();
        let error = match &result {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.clone()),
            Err(_) => Some("the warm-up panicked".to_owned()),
        };
        let mut state = lock(&self.state);
        state.running.retain(|&running| running != at);
        let record = &mut state.records[at];
        record.failures += u64::from(error.is_some());
        record.outcome = Some(Outcome { took, at: self.started.elapsed(), error });
        drop(state);
        self.ended.notify_all();
        match result {
            Ok(result) => result.map(|()| took),
            Err(panic) => resume_unwind(panic),
        }
    }

    /// What was done so far.
    pub fn stats(&self) -> Stats {
        Stats { records: lock(&self.state).records.clone() }
    }
}

impl State {
    fn place(&mut self, stage: Stage, pattern: &Pattern) -> usize {
        if let Some(&at) = self.places.get(pattern) {
            return at;
        }
        let at = self.records.len();
        self.places.insert(pattern.clone(), at);
        self.records.push(Record {
            stage,
            pattern: pattern.clone(),
            runs: 0,
            failures: 0,
            spared: 0,
            outcome: None,
        });
        at
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern {
            text: text.to_owned(),
            voice: "af_heart".to_owned(),
            speed_milli: 1000,
            language: "en-us".to_owned(),
            session: "native".to_owned(),
        }
    }

    #[test]
    fn of_fifty_who_race_one_runs_and_all_get_its_result() {
        let coordinator = Coordinator::new();
        let (runs, barrier) = (AtomicUsize::new(0), Barrier::new(50));
        std::thread::scope(|scope| {
            for _ in 0..50 {
                scope.spawn(|| {
                    barrier.wait();
                    let result = coordinator.run(Stage::Minimal, &pattern("Hi"), || {
                        runs.fetch_add(1, Ordering::SeqCst);
                        Ok(())
                    });
                    assert!(result.is_ok());
                });
            }
        });
        assert_eq!(runs.load(Ordering::SeqCst), 1);
        let stats = coordinator.stats();
        assert_eq!((stats.records[0].runs, stats.spared(), stats.completed()), (1, 49, 1));
        assert_eq!(stats.completed_stages(), [Stage::Minimal]);
    }

    #[test]
    fn another_session_kind_is_another_pattern() {
        let coordinator = Coordinator::new();
        let other = Pattern { session: "cuda".to_owned(), ..pattern("Hi") };
        coordinator.run(Stage::Minimal, &pattern("Hi"), || Ok(())).unwrap();
        coordinator.run(Stage::DualSession, &other, || Ok(())).unwrap();
        assert_eq!(coordinator.stats().completed_stages(), [Stage::Minimal, Stage::DualSession]);
    }

    #[test]
    fn a_failure_is_kept_and_the_next_asker_tries_again() {
        let coordinator = Coordinator::new();
        let fail = || Err("no voice".to_owned());
        assert_eq!(coordinator.run(Stage::Minimal, &pattern("Hi"), fail), Err("no voice".into()));
        assert_eq!(coordinator.stats().completed(), 0);
        coordinator.run(Stage::Minimal, &pattern("Hi"), || Ok(())).unwrap();
        let record = &coordinator.stats().records[0];
        assert_eq!((record.runs, record.failures, record.spared), (2, 1, 0));
    }

    #[test]
    fn those_who_wait_for_a_run_that_panics_are_told_and_do_not_hang() {
        let coordinator = Coordinator::new();
        let (inside, asked) = (Barrier::new(2), Barrier::new(2));
        std::thread::scope(|scope| {
            let first = scope.spawn(|| {
                coordinator.run(Stage::Minimal, &pattern("Hi"), || {
                    inside.wait();
                    asked.wait();
                    panic!("as the test wants");
                })
            });
            inside.wait();
            let second = scope.spawn(|| {
                asked.wait();
                coordinator.run(Stage::Minimal, &pattern("Hi"), || Ok(()))
            });
            assert!(first.join().is_err());
            // It waited and was told, or came after the end and ran anew.
            let _ = second.join().unwrap();
        });
        assert_eq!(coordinator.stats().records[0].failures, 1);
    }
}
