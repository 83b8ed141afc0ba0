//! Who computes next: a few lanes, each with the sessions of one synthesis, lent chunk by chunk.
//!
//! Every chunk of every request asks for a lane and says when its sound is due: the first chunk at
//! the moment the request came, a later one when the listener will have heard all that came before.
//! The most urgent asker is served first. So first sounds go before sounds that are only being made
//! ahead, two streams take turns, and none can starve, because whoever waits becomes the most urgent
//! in the end. Nothing is locked while a lane computes.
//!
//! A lane has native sessions. Where there is an accelerator too, [`Lease::speak`] lets a router
//! choose between the two.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use koe_engine::{Cancel, Error, Isa, Model, Request, Session};
use koe_onnx::{Router, Sound};

use super::library::MAIN;

/// The lanes of this process; clones are handles to the same.
#[derive(Clone)]
pub struct Lanes(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    /// A lane came free, or someone's wish to wait ended.
    changed: Condvar,
    /// Sessions that were made and live.
    n_sessions: AtomicUsize,
    /// Chooses between the main model's native sessions and the accelerator, if there is one.
    router: OnceLock<Router>,
    make: Make,
    n_lanes: usize,
}

/// How sessions are made.
#[derive(Clone, Copy, Debug)]
struct Make {
    threads: usize,
    isa: Isa,
}

#[derive(Default)]
struct State {
    free: Vec<Lane>,
    /// When each lane that is not free was lent, by ticket.
    lent: BTreeMap<u64, Instant>,
    /// Who waits, the most urgent first: when due, then who came first.
    waiting: BTreeSet<(Instant, u64)>,
    next_ticket: u64,
}

/// The sessions that compute in turn on one share of the processor, one for every model in use.
#[derive(Default)]
struct Lane {
    sessions: Vec<(usize, Session)>,
}

/// Why no lane was lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The asker was cancelled.
    Cancelled,
    /// None came free in time.
    TooLate,
}

impl Lanes {
    /// So many lanes, whose sessions work with `threads` threads each.
    pub fn new(n_lanes: usize, threads: usize, isa: Isa) -> Self {
        let n_lanes = n_lanes.max(1);
        let free = (0..n_lanes).map(|_| Lane::default()).collect();
        let state = Mutex::new(State { free, ..State::default() });
        let make = Make { threads, isa };
        let (changed, n_sessions) = (Condvar::new(), AtomicUsize::new(0));
        let router = OnceLock::new();
        Self(Arc::new(Inner { state, changed, n_sessions, router, make, n_lanes }))
    }

    /// Lets `router` choose who speaks with the main model from now on; the first one stays.
    pub fn accelerate(&self, router: Router) {
        let _ = self.0.router.set(router);
    }

    /// What chooses between native sessions and the accelerator, if there is one.
    pub fn router(&self) -> Option<&Router> {
        self.0.router.get()
    }

    /// Stops the accelerator, if there is one: a driver must not be at work when the process ends.
    /// Waits for it, at most some seconds.
    pub fn stop_accelerator(&self) {
        if let Some(router) = self.router() {
            router.stop();
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.n_lanes
    }

    /// Threads of each.
    pub fn threads(&self) -> usize {
        self.0.make.threads
    }

    /// How many sessions there are: one for every model in use on every lane.
    pub fn sessions(&self) -> usize {
        self.0.n_sessions.load(Ordering::Relaxed)
    }

    /// How many chunks wait for a lane.
    pub fn waiting(&self) -> usize {
        self.state().waiting.len()
    }

    /// How many lanes compute now.
    pub fn busy(&self) -> usize {
        self.0.n_lanes - self.state().free.len()
    }

    /// For how long the lane that is lent longest has been.
    pub fn longest_loan(&self) -> Option<Duration> {
        self.state().lent.values().min().map(Instant::elapsed)
    }

    /// Waits for a lane until `give_up`, if there is such a time. `due` is when the sound is needed.
    pub fn borrow(
        &self,
        due: Instant,
        give_up: Option<Instant>,
        cancel: &Cancel,
    ) -> Result<Lease, Refused> {
        let mut state = self.state();
        let place = (due, state.next_ticket);
        state.next_ticket += 1;
        state.waiting.insert(place);
        let outcome = loop {
            if cancel.is_cancelled() {
                break Err(Refused::Cancelled);
            }
            if state.waiting.first() == Some(&place)
                && let Some(lane) = state.free.pop()
            {
                state.lent.insert(place.1, Instant::now());
                break Ok(Lease { lanes: self.clone(), lane: Some(lane), ticket: place.1 });
            }
            state = match give_up {
                None => self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(give_up) => {
                    let left = give_up.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        break Err(Refused::TooLate);
                    }
                    let waited = self.0.changed.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        };
        state.waiting.remove(&place);
        drop(state);
        // The next in line may have a free lane to take.
        self.0.changed.notify_all();
        outcome
    }

    /// A lane, if one is free and nobody waits for it.
    pub fn try_borrow(&self) -> Option<Lease> {
        let mut state = self.state();
        let lane = if state.waiting.is_empty() { state.free.pop() } else { None }?;
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        state.lent.insert(ticket, Instant::now());
        Some(Lease { lanes: self.clone(), lane: Some(lane), ticket })
    }

    /// Has the sessions of idle lanes give back the memory that past syntheses took.
    pub fn release_memory(&self) {
        if let Some(router) = self.router() {
            router.release_memory();
        }
        // One by one, so that nobody waits for more than one lane's worth of it.
        for _ in 0..self.count() {
            let mut state = self.state();
            let lane = if state.waiting.is_empty() { state.free.pop() } else { None };
            drop(state);
            let Some(mut lane) = lane else { return };
            lane.sessions.iter_mut().for_each(|(_, session)| session.release_memory());
            self.state().free.insert(0, lane);
            self.0.changed.notify_all();
        }
    }

    /// Has everyone who waits look again whether they were cancelled.
    pub fn wake(&self) {
        // Under the lock, so that nobody misses it between looking and waiting.
        let _state = self.state();
        self.0.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A lane on loan; dropping it gives it back.
pub struct Lease {
    lanes: Lanes,
    lane: Option<Lane>,
    ticket: u64,
}

impl Lease {
    /// The lane's session for the model that callers know under `key`.
    pub fn session(&mut self, key: usize, model: &Model) -> &mut Session {
        let Make { threads, isa } = self.lanes.0.make;
        let sessions = &mut self.lane.get_or_insert_default().sessions;
        let at = match sessions.iter().position(|(known, _)| *known == key) {
            Some(at) => at,
            None => {
                sessions.push((key, Session::with_isa(model, threads, isa)));
                self.lanes.0.n_sessions.fetch_add(1, Ordering::Relaxed);
                sessions.len() - 1
            }
        };
        &mut sessions[at].1
    }

    /// Speaks into `sound` with the lane's session for that model, or with the accelerator where it
    /// has the same model and is faster.
    pub fn speak(
        &mut self,
        key: usize,
        model: &Model,
        request: &Request<'_>,
        cancel: &Cancel,
        sound: &mut Sound,
    ) -> Result<(), Error> {
        let router = self.lanes.router().filter(|_| key == MAIN).cloned();
        let session = self.session(key, model);
        if let Some(router) = router {
            return router.synthesize(session, request, cancel, sound);
        }
        let speech = session.synthesize(request, cancel)?;
        sound.samples.clear();
        sound.samples.extend_from_slice(speech.samples);
        sound.frames.clear();
        sound.frames.extend_from_slice(speech.frames);
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut lane = self.lane.take().unwrap_or_default();
        if std::thread::panicking() {
            // Whatever state the panic left its sessions in, nobody shall compute with them.
            let lost = lane.sessions.drain(..).count();
            self.lanes.0.n_sessions.fetch_sub(lost, Ordering::Relaxed);
        }
        let mut state = self.lanes.state();
        state.lent.remove(&self.ticket);
        state.free.push(lane);
        drop(state);
        self.lanes.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn lanes(n: usize) -> Lanes {
        Lanes::new(n, 1, Isa::detect())
    }

    fn wait_until_waiting(lanes: &Lanes, n: usize) {
        while lanes.waiting() < n {
            std::thread::yield_now();
        }
    }

    #[test]
    fn the_most_urgent_goes_first_and_equals_in_the_order_they_came() {
        let lanes = lanes(1);
        let now = Instant::now();
        let held = lanes.borrow(now, None, &Cancel::new()).unwrap();
        let (sender, order) = mpsc::channel();
        std::thread::scope(|scope| {
            for (i, due) in [30, 10, 20, 10].into_iter().enumerate() {
                let (lanes, sender) = (lanes.clone(), sender.clone());
                scope.spawn(move || {
                    let due = now + Duration::from_secs(due);
                    let lease = lanes.borrow(due, None, &Cancel::new()).unwrap();
                    sender.send(i).unwrap();
                    drop(lease);
                });
                wait_until_waiting(&held.lanes, i + 1);
            }
            drop(held);
        });
        drop(sender);
        assert_eq!(order.iter().collect::<Vec<_>>(), [1, 3, 2, 0]);
    }

    #[test]
    fn the_cancelled_stop_waiting_and_the_patient_are_still_served() {
        let lanes = lanes(1);
        let held = lanes.borrow(Instant::now(), None, &Cancel::new()).unwrap();
        let cancel = Cancel::new();
        std::thread::scope(|scope| {
            let first = scope.spawn(|| lanes.borrow(Instant::now(), None, &cancel).err());
            wait_until_waiting(&lanes, 1);
            let second = scope.spawn(|| lanes.borrow(Instant::now(), None, &Cancel::new()).err());
            wait_until_waiting(&lanes, 2);
            cancel.cancel();
            lanes.wake();
            assert_eq!(first.join().unwrap(), Some(Refused::Cancelled));
            drop(held);
            assert_eq!(second.join().unwrap(), None);
        });
        assert_eq!((lanes.waiting(), lanes.busy()), (0, 0));
    }

    #[test]
    fn who_waits_too_long_is_told() {
        let lanes = lanes(1);
        let _held = lanes.borrow(Instant::now(), None, &Cancel::new()).unwrap();
        let late = lanes.borrow(Instant::now(), Some(Instant::now()), &Cancel::new());
        assert_eq!(late.err(), Some(Refused::TooLate));
        assert_eq!(lanes.waiting(), 0);
    }

    #[test]
    fn an_accelerator_that_cannot_be_had_changes_no_sample_and_only_the_main_model_asks_for_it() {
        let model = Model::builtin().unwrap();
        let voice = model.voice("am_rms").unwrap();
        let request = Request { tokens: &[43; 5], style: voice.style(5), speed: 1.0, seed: 1 };
        let speak = |lanes: &Lanes, key| {
            let mut lease = lanes.borrow(Instant::now(), None, &Cancel::new()).unwrap();
            let mut sound = Sound::default();
            lease.speak(key, &model, &request, &Cancel::new(), &mut sound).unwrap();
            sound
        };
        let expected = speak(&lanes(1), MAIN);
        let lanes = lanes(1);
        let settings =
            koe_onnx::Settings { accelerator: "auto".parse().unwrap(), ..Default::default() };
        lanes.accelerate(koe_onnx::router(settings, &model, Box::new(|_| {})).unwrap());
        assert_eq!(speak(&lanes, MAIN), expected);
        assert_eq!(speak(&lanes, MAIN + 1), expected);
        let kinds = lanes.router().unwrap().kinds();
        assert_eq!(kinds.get(koe_engine::NATIVE).unwrap().requests, 1);
    }

    #[test]
    fn a_panic_costs_the_sessions_but_not_the_lane() {
        let lanes = lanes(1);
        let model = Model::builtin().unwrap();
        let inner = lanes.clone();
        let panicked = std::thread::spawn(move || {
            let mut lease = inner.borrow(Instant::now(), None, &Cancel::new()).unwrap();
            lease.session(0, &model);
            panic!("as the test wants");
        });
        assert!(panicked.join().is_err());
        let lease = lanes.borrow(Instant::now(), None, &Cancel::new()).unwrap();
        assert!(lease.lane.as_ref().unwrap().sessions.is_empty());
    }
}
