//! [`Worker`]: one accelerator on a thread of its own.
//!
//! Drivers load for seconds, fail, and hang. So nothing else ever waits for one without a bound: the
//! thread opens the session and speaks one job at a time, and whoever handed a job over leaves when
//! its time is over. The state below says whether a job may be handed over:
//!
//! ```text
//! Opening ──► Ready ◄──► Busy ──(deadline)──► Stuck
//!    │          ▲          │ failed             │ came back
//!    │ failed   └──trial───▼                    │
//!    ├───────────────► Closed until … ◄─────────┘
//!    └─(cannot help)─► Gone
//! ```

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use koe_engine::{Cancel, Error as Failure, Request, Synthesizer};

use crate::Error;
use crate::event::{Event, Listener};
use crate::kinds::{self, Kind, Tally};

/// What was spoken, owned.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sound {
    /// Mono samples at [`koe_engine::SAMPLE_RATE_HZ`].
    pub samples: Vec<f32>,
    /// Frames of every token, padding included.
    pub frames: Vec<u32>,
}

/// Opens a session, on the worker's thread; called again after failures.
pub type Open = Box<dyn FnMut() -> Result<Box<dyn Synthesizer>, Error> + Send>;

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// An accelerator that has not answered a request after so many times what the native engine
    /// would have taken is stuck…
    pub times_native: u32,
    /// …but it always has so long.
    pub least_deadline: Duration,
    /// A trial, which nobody waits for, is stuck after this. TensorRT builds engines for minutes.
    pub trial_deadline: Duration,
    /// After the first failure the accelerator is closed for so long, and twice as long after each
    /// that follows…
    pub back_off: Duration,
    /// …but never longer than this.
    pub most_back_off: Duration,
    /// Trials of a length before listeners get it.
    pub trials: u64,
    /// One of so many requests that the native engine spoke is tried on a slower accelerator.
    pub trial_every: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            times_native: 4,
            least_deadline: Duration::from_secs(1),
            trial_deadline: Duration::from_secs(600),
            back_off: Duration::from_secs(5),
            most_back_off: Duration::from_secs(600),
            trials: 2,
            trial_every: 50,
        }
    }
}

/// A job as it is handed over.
pub(crate) struct Job {
    tokens: Vec<u16>,
    style: Vec<f32>,
    speed: f32,
    seed: u64,
    is_trial: bool,
    cancel: Cancel,
}

impl Job {
    pub(crate) fn new(request: &Request<'_>, is_trial: bool) -> Self {
        let Request { tokens, style, speed, seed } = *request;
        let (tokens, style) = (tokens.to_vec(), style.to_vec());
        Self { tokens, style, speed, seed, is_trial, cancel: Cancel::new() }
    }
}

/// How a handed-over job ended for whoever waited.
pub(crate) enum Answer {
    Sound(Sound),
    Failed(Failure),
    TimedOut,
    Cancelled,
    /// It was never begun: the accelerator is not open, or busy for too long.
    Refused,
}

enum Phase {
    Opening,
    Ready,
    Busy(Busy),
    Stuck(Busy),
    Closed { until: Instant },
    Gone,
}

#[derive(Clone)]
struct Busy {
    since: Instant,
    /// How long it will take, by what was measured.
    expected: Duration,
    deadline: Duration,
    cancel: Cancel,
}

struct State {
    phase: Phase,
    kind: String,
    problem: Option<String>,
    /// Failures since the last success.
    failures: u32,
    has_session: bool,
    /// Counts jobs.
    ticket: u64,
    job: Option<Job>,
    done: Option<(u64, Result<Sound, Failure>)>,
    release: bool,
    stop: bool,
    has_ended: bool,
    tally: Tally,
}

struct Shared {
    state: Mutex<State>,
    /// The phase changed, a job was handed over or done, or a waiter was cancelled.
    changed: Condvar,
    limits: Limits,
    listener: Listener,
}

/// An accelerator, its thread, and what is known of it. Dropping it stops the thread, or leaves it
/// behind if it hangs.
pub(crate) struct Worker(Arc<Shared>);

impl Worker {
    /// Starts the thread, which opens the session at once. `name` stands for the kind until then.
    pub(crate) fn start(name: &str, limits: Limits, open: Open, listener: Listener) -> Self {
        let state = State {
            phase: Phase::Opening,
            kind: name.to_owned(),
            problem: None,
            failures: 0,
            has_session: false,
            ticket: 0,
            job: None,
            done: None,
            release: false,
            stop: false,
            has_ended: false,
            tally: Tally::default(),
        };
        let (state, changed) = (Mutex::new(state), Condvar::new());
        let shared = Arc::new(Shared { state, changed, limits, listener });
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("accelerator".into());
        if let Err(error) = thread.spawn(move || of_thread.run(open)) {
            let mut state = shared.lock();
            state.phase = Phase::Gone;
            state.has_ended = true;
            state.problem = Some(format!("cannot start a thread: {error}"));
        }
        Self(shared)
    }

    /// Hands a request over and waits for the answer. Waits at most `patience` for the accelerator
    /// to come free, and `deadline` for the answer.
    pub(crate) fn speak(
        &self,
        request: &Request<'_>,
        (expected, patience, deadline): (Duration, Duration, Duration),
        cancel: &Cancel,
    ) -> Answer {
        let shared = &self.0;
        let waker = Arc::downgrade(shared);
        let _watch = cancel.watch(move || {
            if let Some(shared) = waker.upgrade() {
                // Under the lock, so that nobody misses it between looking and waiting.
                let _state = shared.lock();
                shared.changed.notify_all();
            }
        });
        let give_up = Instant::now() + patience;
        let mut state = shared.lock();
        loop {
            if cancel.is_cancelled() {
                return Answer::Cancelled;
            }
            state = shared.look_at_the_clock(state);
            let left = match &state.phase {
                Phase::Ready if state.failures == 0 => break,
                Phase::Busy(busy) => busy.expected.saturating_sub(busy.since.elapsed()),
                _ => return Answer::Refused,
            };
            let patience = give_up.saturating_duration_since(Instant::now());
            if patience.is_zero() || left > patience {
                state.tally.too_busy += 1;
                return Answer::Refused;
            }
            let waited = shared.changed.wait_timeout(state, patience);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let job = Job::new(request, false);
        let job_cancel = job.cancel.clone();
        let ticket = shared.begin(&mut state, job, expected, deadline);
        loop {
            if state.done.as_ref().is_some_and(|(done, _)| *done == ticket)
                && let Some((_, outcome)) = state.done.take()
            {
                return match outcome {
                    Ok(sound) => Answer::Sound(sound),
                    Err(failure) => Answer::Failed(failure),
                };
            }
            if cancel.is_cancelled() {
                drop(state);
                job_cancel.cancel();
                return Answer::Cancelled;
            }
            state = shared.look_at_the_clock(state);
            let left = match &state.phase {
                Phase::Busy(busy) if state.ticket == ticket => {
                    busy.deadline.saturating_sub(busy.since.elapsed())
                }
                _ if state.done.as_ref().is_some_and(|(done, _)| *done == ticket) => continue,
                _ => return Answer::TimedOut,
            };
            let waited = shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Has a request spoken for nobody, if the accelerator has nothing to do and `is_wanted`, which
    /// is told what is known of it, or if that is how a closed one comes back.
    pub(crate) fn try_out(
        &self,
        request: &Request<'_>,
        is_wanted: impl FnOnce(&Tally) -> bool,
    ) -> bool {
        let shared = &self.0;
        let mut state = shared.look_at_the_clock(shared.lock());
        let wanted = match state.phase {
            Phase::Ready => is_wanted(&state.tally),
            Phase::Closed { until } => Instant::now() >= until,
            _ => false,
        };
        if wanted && !state.has_session {
            state.phase = Phase::Opening;
            shared.changed.notify_all();
            return false;
        }
        if wanted {
            let deadline = shared.limits.trial_deadline;
            let expected = state.tally.speeds.expect(request.tokens.len()).unwrap_or(deadline);
            shared.begin(&mut state, Job::new(request, true), expected, deadline);
        }
        wanted
    }

    /// How long so many tokens will take, if enough trials said so and the accelerator is open.
    pub(crate) fn expect(&self, n_tokens: usize) -> Option<Duration> {
        let state = self.0.look_at_the_clock(self.0.lock());
        let is_open = matches!(state.phase, Phase::Ready | Phase::Busy(_)) && state.failures == 0;
        let speeds = &state.tally.speeds;
        let is_known = speeds.runs(n_tokens) >= self.0.limits.trials;
        if is_open && is_known { speeds.expect(n_tokens) } else { None }
    }

    /// Notes that a request which began here ended with the other kind.
    pub(crate) fn fell_back(&self) {
        self.0.lock().tally.fallbacks += 1;
    }

    /// Gives back what past runs took, when the accelerator is next idle.
    pub(crate) fn release_memory(&self) {
        let mut state = self.0.lock();
        state.release = state.has_session;
        self.0.changed.notify_all();
    }

    /// What is known of it.
    pub(crate) fn kind(&self) -> Kind {
        let state = self.0.look_at_the_clock(self.0.lock());
        let shown = match state.phase {
            Phase::Opening => kinds::State::Opening,
            Phase::Ready => kinds::State::Ready,
            Phase::Busy(_) => kinds::State::Busy,
            Phase::Stuck(_) => kinds::State::Stuck,
            Phase::Closed { .. } => kinds::State::Closed,
            Phase::Gone => kinds::State::Unavailable,
        };
        state.tally.clone().show(&state.kind, shown, state.problem.clone())
    }

    /// Pretends that runs were measured.
    #[cfg(test)]
    pub(crate) fn measured(&self, n_tokens: usize, took: Duration) {
        let mut state = self.0.lock();
        (0..2).for_each(|_| state.tally.speeds.record(n_tokens, took));
    }

    /// Waits until the state of the accelerator is `wanted`.
    #[cfg(test)]
    pub(crate) fn wait_until(&self, wanted: impl Fn(&Kind) -> bool) -> Kind {
        loop {
            let kind = self.kind();
            if wanted(&kind) {
                return kind;
            }
            let state = self.0.lock();
            // Whoever changes something notifies; the bound is for what changes with the clock.
            let waited = self.0.changed.wait_timeout(state, Duration::from_millis(5));
            drop(waited);
        }
    }

    /// Stops the thread. Waits for it, but not for long: one that hangs is left behind.
    pub(crate) fn stop(&self) {
        const PATIENCE: Duration = Duration::from_secs(5);
        let mut state = self.0.lock();
        state.stop = true;
        self.0.changed.notify_all();
        if let Phase::Busy(busy) | Phase::Stuck(busy) = &state.phase {
            let cancel = busy.cancel.clone();
            drop(state);
            cancel.cancel();
            state = self.0.lock();
        }
        // What loads cannot be told to stop, and nothing is lost with it.
        let give_up = Instant::now() + PATIENCE;
        while !state.has_ended && !matches!(state.phase, Phase::Stuck(_)) {
            let left = give_up.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.0.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Declares a job stuck whose time is over, whoever notices.
    fn look_at_the_clock<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let Phase::Busy(busy) = &state.phase else { return state };
        if busy.since.elapsed() < busy.deadline {
            return state;
        }
        let busy = busy.clone();
        state.phase = Phase::Stuck(busy.clone());
        state.failures += 1;
        state.tally.timeouts += 1;
        let kind = state.kind.clone();
        state.problem = Some(format!("no answer within {} ms", busy.deadline.as_millis()));
        self.changed.notify_all();
        drop(state);
        // A runtime that still hears will stop.
        busy.cancel.cancel();
        (self.listener)(Event::TimedOut { kind, after: busy.deadline });
        self.lock()
    }

    /// Hands the job to the thread.
    fn begin(&self, state: &mut State, job: Job, expected: Duration, deadline: Duration) -> u64 {
        if job.is_trial {
            state.tally.trials += 1;
        } else {
            state.tally.requests += 1;
        }
        let cancel = job.cancel.clone();
        state.phase = Phase::Busy(Busy { since: Instant::now(), expected, deadline, cancel });
        state.ticket += 1;
        state.done = None;
        state.job = Some(job);
        self.changed.notify_all();
        state.ticket
    }

    /// The thread.
    fn run(&self, mut open: Open) {
        let mut session: Option<Box<dyn Synthesizer>> = None;
        let mut state = self.lock();
        loop {
            if state.stop {
                break;
            }
            if matches!(state.phase, Phase::Opening) {
                drop(state);
                self.open(&mut open, &mut session);
                state = self.lock();
            } else if let Some(job) = state.job.take() {
                drop(state);
                self.work(&job, &mut session);
                state = self.lock();
            } else if std::mem::take(&mut state.release) {
                drop(state);
                let released = catch_unwind(AssertUnwindSafe(|| {
                    session.iter_mut().for_each(|session| session.release_memory());
                }));
                if released.is_err() {
                    forget(&mut session);
                }
                state = self.lock();
                state.has_session = session.is_some();
            } else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
        drop(state);
        forget(&mut session);
        let mut state = self.lock();
        state.has_session = false;
        state.phase = Phase::Gone;
        state.has_ended = true;
        drop(state);
        self.changed.notify_all();
    }

    fn open(&self, open: &mut Open, session: &mut Option<Box<dyn Synthesizer>>) {
        let started = Instant::now();
        let opened = catch_unwind(AssertUnwindSafe(open));
        let after = started.elapsed();
        let mut state = self.lock();
        let event = match opened {
            Ok(Ok(opened)) => {
                state.kind = opened.kind().to_owned();
                state.tally.loads += 1;
                state.tally.loading += after;
                state.has_session = true;
                *session = Some(opened);
                // After a failure listeners get it when a trial has succeeded.
                state.phase = match state.failures {
                    0 => Phase::Ready,
                    _ => Phase::Closed { until: Instant::now() },
                };
                Event::Opened { kind: state.kind.clone(), after }
            }
            Ok(Err(error)) if error.is_final() => {
                state.tally.error("load");
                state.phase = Phase::Gone;
                state.problem = Some(error.to_string());
                let kind = state.kind.clone();
                Event::Failed { kind, problem: error.to_string(), retry: None }
            }
            Ok(Err(error)) => {
                state.tally.error("load");
                self.close(&mut state, error.to_string())
            }
            Err(_) => {
                state.tally.error("panic");
                self.close(&mut state, "it panicked while loading".to_owned())
            }
        };
        self.tell(state, event);
    }

    fn work(&self, job: &Job, session: &mut Option<Box<dyn Synthesizer>>) {
        let started = Instant::now();
        let Job { tokens, style, speed, seed, .. } = job;
        let request = Request { tokens, style, speed: *speed, seed: *seed };
        let outcome = catch_unwind(AssertUnwindSafe(|| match session {
            Some(session) => session.synthesize(&request, &job.cancel).map(|speech| Sound {
                samples: speech.samples.to_vec(),
                frames: speech.frames.to_vec(),
            }),
            None => Err(Failure::Cancelled),
        }));
        let took = started.elapsed();
        let has_panicked = outcome.is_err();
        let outcome = outcome.unwrap_or_else(|_| {
            let problem = "it panicked; please report it".to_owned();
            Err(Failure::Runtime { kind: "accelerator", problem })
        });
        if has_panicked {
            forget(session);
        }
        let mut state = self.lock();
        let mut event = None;
        if let Phase::Stuck(busy) = &state.phase {
            let after = busy.since.elapsed();
            let kind = state.kind.clone();
            let problem = state.problem.clone().unwrap_or_default();
            let failures = state.failures.saturating_sub(1);
            state.failures = failures;
            self.close(&mut state, problem);
            event = Some(Event::CameBack { kind, after });
        } else {
            match &outcome {
                Ok(_) => {
                    state.tally.spoke(tokens.len(), took);
                    state.failures = 0;
                    state.problem = None;
                    state.phase = Phase::Ready;
                }
                Err(failure) if kinds::is_of_the_request(failure) => self.end(&mut state),
                Err(failure @ Failure::Unsupported(_)) => {
                    state.tally.error(kinds::reason(failure));
                    self.end(&mut state);
                }
                Err(failure) => {
                    let reason = if has_panicked { "panic" } else { kinds::reason(failure) };
                    state.tally.error(reason);
                    event = Some(self.close(&mut state, failure.to_string()));
                }
            }
            if !job.is_trial {
                state.done = Some((state.ticket, outcome));
            }
        }
        // One failure may be of that text; two in a row may be of a device that was lost.
        if state.failures >= 2 {
            forget(session);
        }
        state.has_session = session.is_some();
        match event {
            Some(event) => self.tell(state, event),
            None => self.changed.notify_all(),
        }
    }

    /// A job ended that says nothing about the accelerator.
    fn end(&self, state: &mut State) {
        state.phase = match state.failures {
            0 => Phase::Ready,
            _ => Phase::Closed { until: Instant::now() },
        };
    }

    /// Closes it for a while that doubles with each failure.
    fn close(&self, state: &mut State, problem: String) -> Event {
        let Limits { back_off, most_back_off, .. } = self.limits;
        let doubled = back_off.saturating_mul(1 << state.failures.min(16));
        let retry = doubled.min(most_back_off);
        state.failures += 1;
        state.phase = Phase::Closed { until: Instant::now() + retry };
        state.problem = Some(problem.clone());
        Event::Failed { kind: state.kind.clone(), problem, retry: Some(retry) }
    }

    fn tell(&self, state: MutexGuard<'_, State>, event: Event) {
        self.changed.notify_all();
        drop(state);
        (self.listener)(event);
    }
}

/// Drops a session, whatever its destructor does.
fn forget(session: &mut Option<Box<dyn Synthesizer>>) {
    let session = session.take();
    // What was wrong with it has been told.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(session)));
}
