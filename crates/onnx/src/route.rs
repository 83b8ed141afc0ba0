//! [`Router`]: which kind of session speaks a request.
//!
//! The native session of the caller's lane is always there. The accelerator, if one is wanted, gets
//! a request when it was measured to be faster at that length, and is free, or will be soon enough.
//! Nobody who listens waits for an experiment: a length is tried out on the accelerator after the
//! native engine has spoken it, for nobody. What fails, or does not answer, falls back to the other
//! kind within the same request, and comes back through a trial after a while.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use koe_engine::{Cancel, Error, NATIVE, Request, Synthesizer};

use crate::event::Listener;
use crate::kinds::{self, Kinds, State, Tally};
use crate::worker::{Answer, Limits, Open, Sound, Worker};

/// Chooses between the native engine and one accelerator. Clones are handles to the same.
#[derive(Clone)]
pub struct Router(Arc<Inner>);

struct Inner {
    accelerator: Worker,
    native: Mutex<Tally>,
    limits: Limits,
}

impl Router {
    /// Starts the accelerator's thread, which opens it at once; until it is open the native engine
    /// speaks. `name` is what the setting calls it.
    pub fn new(name: &str, limits: Limits, open: Open, listener: Listener) -> Self {
        let accelerator = Worker::start(name, limits, open, listener);
        Self(Arc::new(Inner { accelerator, native: Mutex::default(), limits }))
    }

    /// Speaks into `sound`, with `native` or the accelerator.
    pub fn synthesize(
        &self,
        native: &mut dyn Synthesizer,
        request: &Request<'_>,
        cancel: &Cancel,
        sound: &mut Sound,
    ) -> Result<(), Error> {
        let accelerator = &self.0.accelerator;
        if let Some(times) = self.times(request.tokens.len()) {
            match accelerator.speak(request, times, cancel) {
                Answer::Sound(spoken) => {
                    *sound = spoken;
                    return Ok(());
                }
                Answer::Cancelled => return Err(Error::Cancelled),
                Answer::Failed(error)
                    if kinds::is_of_the_request(&error) && !cancel.is_cancelled() =>
                {
                    // The native engine says it in its own words, or can after all.
                    return self.natively(native, request, cancel, sound);
                }
                Answer::Failed(_) | Answer::TimedOut => {
                    accelerator.fell_back();
                    return self.natively(native, request, cancel, sound);
                }
                Answer::Refused => {}
            }
        }
        let Err(error) = self.natively(native, request, cancel, sound) else {
            let native_runs = self.native().speeds.runs(request.tokens.len());
            let Limits { trials, trial_every, .. } = self.0.limits;
            accelerator.try_out(request, |tally| {
                tally.speeds.runs(request.tokens.len()) < trials
                    || native_runs.is_multiple_of(trial_every)
            });
            return Ok(());
        };
        if kinds::is_of_the_request(&error) {
            return Err(error);
        }
        let Some(expected) = accelerator.expect(request.tokens.len()) else { return Err(error) };
        self.native().fallbacks += 1;
        let deadline = (expected * self.0.limits.times_native).max(self.0.limits.least_deadline);
        match accelerator.speak(request, (expected, expected, deadline), cancel) {
            Answer::Sound(spoken) => {
                *sound = spoken;
                Ok(())
            }
            Answer::Cancelled => Err(Error::Cancelled),
            _ => Err(error),
        }
    }

    /// If the accelerator is the faster one at this length: how long it will take, how long it may
    /// be waited for, and after what time it must have answered. Before the native engine has been
    /// measured there is nothing to compare with, and it goes first.
    fn times(&self, n_tokens: usize) -> Option<(Duration, Duration, Duration)> {
        let expected = self.0.accelerator.expect(n_tokens)?;
        let native = self.native().speeds.expect(n_tokens)?;
        let patience = native.checked_sub(expected).filter(|patience| !patience.is_zero())?;
        let Limits { times_native, least_deadline, .. } = self.0.limits;
        Some((expected, patience, (native * times_native).max(least_deadline)))
    }

    fn natively(
        &self,
        native: &mut dyn Synthesizer,
        request: &Request<'_>,
        cancel: &Cancel,
        sound: &mut Sound,
    ) -> Result<(), Error> {
        self.native().requests += 1;
        let started = Instant::now();
        let outcome = native.synthesize(request, cancel);
        let took = started.elapsed();
        match outcome {
            Ok(speech) => {
                sound.samples.clear();
                sound.samples.extend_from_slice(speech.samples);
                sound.frames.clear();
                sound.frames.extend_from_slice(speech.frames);
                self.native().spoke(request.tokens.len(), took);
                Ok(())
            }
            Err(error) => {
                if !kinds::is_of_the_request(&error) {
                    self.native().error(kinds::reason(&error));
                }
                Err(error)
            }
        }
    }

    /// Has the accelerator speak for nobody, so that it stays warm. None if it is not open, or at
    /// work, which keeps it warm too.
    pub fn warm(&self, request: &Request<'_>, cancel: &Cancel) -> Option<Result<(), Error>> {
        let accelerator = &self.0.accelerator;
        if accelerator.kind().state != State::Ready {
            return None;
        }
        let deadline = self.0.limits.least_deadline;
        match accelerator.speak(request, (deadline, Duration::ZERO, deadline), cancel) {
            Answer::Sound(_) => Some(Ok(())),
            Answer::Cancelled => Some(Err(Error::Cancelled)),
            Answer::Failed(error) => Some(Err(error)),
            Answer::TimedOut => {
                let problem = "it did not answer in time".to_owned();
                Some(Err(Error::Runtime { kind: "accelerator", problem }))
            }
            Answer::Refused => None,
        }
    }

    /// What was counted and measured of both kinds. Loads of native models are not counted here:
    /// they are the caller's.
    pub fn kinds(&self) -> Kinds {
        let native = self.native().clone().show(NATIVE, State::Ready, None);
        Kinds(vec![native, self.0.accelerator.kind()])
    }

    /// Has the accelerator give back the memory of past runs when it is next idle.
    pub fn release_memory(&self) {
        self.0.accelerator.release_memory();
    }

    /// Stops the accelerator's thread, before the process ends: drivers do not like to be at work
    /// then. One that hangs is left behind.
    pub fn stop(&self) {
        self.0.accelerator.stop();
    }

    fn native(&self) -> MutexGuard<'_, Tally> {
        self.0.native.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(crate) fn accelerator(&self) -> &Worker {
        &self.0.accelerator
    }

    #[cfg(test)]
    pub(crate) fn measured_natively(&self, n_tokens: usize, took: Duration) {
        self.native().speeds.record(n_tokens, took);
    }
}

impl std::fmt::Debug for Router {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Router").field(&self.kinds()).finish()
    }
}

#[cfg(test)]
#[path = "route_tests.rs"]
mod tests;
