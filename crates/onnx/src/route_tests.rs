//! The router with sessions that do as they are told: fail, hang, panic and come back. No test waits
//! for a time to pass; where one needs something slow, it blocks until the test lets it go.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use koe_engine::Speech;

use super::*;
use crate::Error as OpenError;
use crate::event::Event;

const MS: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);
/// Every sample of the native fake, and of the accelerator.
const NATIVELY: f32 = 0.25;
const ACCELERATED: f32 = 0.75;

/// What a fake does with one request, other than speak.
enum Act {
    Fail,
    CannotDoThis,
    Panic,
    /// Blocks until something is sent, whatever the caller wants, and then speaks.
    Hang(mpsc::Receiver<()>),
    TellAndHang(mpsc::Sender<()>, mpsc::Receiver<()>),
}

type Script = Arc<Mutex<VecDeque<Act>>>;

struct Fake {
    kind: &'static str,
    sample: f32,
    script: Script,
    samples: Vec<f32>,
    frames: Vec<u32>,
}

impl Fake {
    fn native() -> Self {
        Self::new(NATIVE, NATIVELY, Script::default())
    }

    fn new(kind: &'static str, sample: f32, script: Script) -> Self {
        Self { kind, sample, script, samples: Vec::new(), frames: Vec::new() }
    }
}

impl Synthesizer for Fake {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn synthesize(&mut self, request: &Request<'_>, cancel: &Cancel) -> Result<Speech<'_>, Error> {
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let act = self.script.lock().unwrap().pop_front();
        match act {
            Some(Act::Fail) => {
                return Err(Error::Runtime { kind: self.kind, problem: "as told".to_owned() });
            }
            Some(Act::CannotDoThis) => return Err(Error::Unsupported("as told".to_owned())),
            Some(Act::Panic) => panic!("as the test wants"),
            Some(Act::Hang(gate)) => _ = gate.recv(),
            Some(Act::TellAndHang(begun, gate)) => {
                begun.send(()).unwrap();
                let _ = gate.recv();
            }
            None => {}
        }
        self.frames = vec![1; request.tokens.len() + 2];
        self.samples = vec![self.sample; self.frames.len() * koe_engine::FRAME_SAMPLES];
        Ok(Speech { samples: &self.samples, frames: &self.frames })
    }

    fn release_memory(&mut self) {}
}

/// A router with an accelerator that follows a script.
struct Stage {
    router: Router,
    script: Script,
    opened: Arc<AtomicUsize>,
    events: Arc<Mutex<Vec<Event>>>,
}

fn limits() -> Limits {
    // Nothing is stuck and nothing comes back by the clock, unless a test wants it.
    Limits {
        least_deadline: HOUR,
        trial_deadline: HOUR,
        back_off: HOUR,
        most_back_off: HOUR,
        ..Limits::default()
    }
}

fn events() -> (Arc<Mutex<Vec<Event>>>, Listener) {
    let events = Arc::new(Mutex::new(Vec::new()));
    let heard = events.clone();
    (events, Box::new(move |event| heard.lock().unwrap().push(event)))
}

fn stage(limits: Limits) -> Stage {
    let (script, opened) = (Script::default(), Arc::new(AtomicUsize::new(0)));
    let (events, listener) = events();
    let (of_fake, counted) = (script.clone(), opened.clone());
    let open = move || -> Result<Box<dyn Synthesizer>, OpenError> {
        counted.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(Fake::new("fake", ACCELERATED, of_fake.clone())))
    };
    let router = Router::new("auto", limits, Box::new(open), listener);
    Stage { router, script, opened, events }
}

/// One that is open and was measured: a token takes `native` and `accelerated`, at every length.
fn measured_stage(limits: Limits, native: Duration, accelerated: Duration) -> Stage {
    let stage = stage(limits);
    stage.wait(State::Ready);
    for n_tokens in crate::BUCKETS {
        stage.measured(n_tokens, native, accelerated);
    }
    stage
}

impl Stage {
    fn wait(&self, state: State) -> crate::Kind {
        self.router.accelerator().wait_until(|kind| kind.state == state)
    }

    /// Fills the window, so that a few real runs do not move the median.
    fn measured(&self, n_tokens: usize, native: Duration, accelerated: Duration) {
        for _ in 0..9 {
            self.router.measured_natively(n_tokens, native * n_tokens as u32);
            self.router.accelerator().measured(n_tokens, accelerated * n_tokens as u32);
        }
    }

    fn speak(&self, n_tokens: usize) -> Result<f32, Error> {
        self.speak_with(&mut Fake::native(), n_tokens, &Cancel::new())
    }

    /// The sample that tells who spoke.
    fn speak_with(
        &self,
        native: &mut Fake,
        n_tokens: usize,
        cancel: &Cancel,
    ) -> Result<f32, Error> {
        let tokens = vec![1; n_tokens];
        let request = Request { tokens: &tokens, style: &[0.0; 256], speed: 1.0, seed: 1 };
        let mut sound = Sound::default();
        self.router.synthesize(native, &request, cancel, &mut sound)?;
        assert_eq!(sound.frames.len(), n_tokens + 2);
        Ok(sound.samples[0])
    }

    /// The fake native engine takes no time, so what was measured is restored.
    fn speak_until_accelerated(&self, n_tokens: usize) {
        while self.speak(n_tokens).unwrap() != ACCELERATED {
            self.measured(n_tokens, MS, MS / 1000);
            std::thread::yield_now();
        }
    }

    /// The first events, as soon as there are so many.
    fn first_events(&self, n: usize) -> Vec<Event> {
        loop {
            let events = self.events.lock().unwrap().clone();
            if events.len() >= n {
                return events;
            }
            std::thread::yield_now();
        }
    }

    fn act(&self, act: Act) {
        self.script.lock().unwrap().push_back(act);
    }

    fn fake(&self) -> crate::Kind {
        self.router.kinds().get("fake").unwrap().clone()
    }
}

#[test]
fn listeners_get_the_native_engine_until_trials_have_shown_the_other_to_be_faster() {
    let stage = stage(limits());
    stage.wait(State::Ready);
    for n_trials in 1..=2 {
        assert_eq!(stage.speak(20).unwrap(), NATIVELY);
        let kind = stage.router.accelerator().wait_until(|kind| kind.tokens == 20 * n_trials);
        assert_eq!((kind.requests, kind.trials), (0, n_trials));
    }
    // Now it is known, and was as fast as nothing; the native engine shall have been slower.
    stage.measured(20, MS, MS / 1000);
    assert_eq!(stage.speak(20).unwrap(), ACCELERATED);
    assert_eq!(stage.speak(200).unwrap(), NATIVELY, "this length was never tried");
    assert_eq!((stage.fake().requests, stage.fake().fallbacks), (1, 0));
}

#[test]
fn each_length_gets_the_kind_that_is_faster_there() {
    let stage = stage(limits());
    stage.wait(State::Ready);
    stage.measured(10, MS, 2 * MS);
    stage.measured(200, MS, MS / 2);
    assert_eq!(stage.speak(10).unwrap(), NATIVELY);
    assert_eq!(stage.speak(200).unwrap(), ACCELERATED);
    let kinds = stage.router.kinds();
    let median = |kind: &str| kinds.get(kind).unwrap().lengths[4].median_seconds_per_token;
    assert_eq!((median(NATIVE), median("fake")), (Some(0.001), Some(0.0005)));
}

#[test]
fn a_slower_accelerator_is_tried_again_now_and_then() {
    let stage = measured_stage(Limits { trial_every: 4, ..limits() }, MS, 2 * MS);
    // Nine measurements are counted already.
    for expected in [0, 0, 1] {
        stage.wait(State::Ready);
        assert_eq!(stage.speak(100).unwrap(), NATIVELY);
        assert_eq!(stage.fake().trials, expected);
    }
}

#[test]
fn fifty_racing_requests_cost_one_load() {
    let stage = stage(limits());
    std::thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| assert!(stage.speak(30).is_ok()));
        }
    });
    let kind = stage.wait(State::Ready);
    assert_eq!((stage.opened.load(Ordering::SeqCst), kind.loads), (1, 1));
    let native = stage.router.kinds().get(NATIVE).unwrap().requests;
    // What fell back was a request of both.
    assert_eq!(native + kind.requests - kind.fallbacks, 50, "{kind:?}");
}

#[test]
fn a_failure_falls_back_within_the_request_and_a_trial_brings_the_accelerator_back() {
    let limits = Limits { back_off: Duration::ZERO, ..limits() };
    let stage = measured_stage(limits, MS, MS / 1000);
    stage.act(Act::Fail);
    assert_eq!(stage.speak(50).unwrap(), NATIVELY);
    let kind = stage.fake();
    assert_eq!((kind.errors["runtime"], kind.fallbacks), (1, 1));
    assert!(kind.problem.as_deref().unwrap().contains("as told"));
    assert_eq!((kind.state, kind.trials), (State::Closed, 0));
    // The next request is tried on it too, for nobody.
    assert_eq!(stage.speak(50).unwrap(), NATIVELY);
    let kind = stage.wait(State::Ready);
    assert_eq!((kind.trials, kind.problem), (1, None));
    assert_eq!(stage.speak(50).unwrap(), ACCELERATED);
    assert_eq!(stage.opened.load(Ordering::SeqCst), 1);
}

#[test]
fn after_a_failure_it_is_left_alone_for_a_while() {
    let stage = measured_stage(limits(), MS, MS / 1000);
    stage.act(Act::Fail);
    for _ in 0..5 {
        assert_eq!(stage.speak(50).unwrap(), NATIVELY);
    }
    let kind = stage.fake();
    assert_eq!((kind.state, kind.requests, kind.trials), (State::Closed, 1, 0));
    let events = stage.first_events(2);
    assert!(matches!(events[0], Event::Opened { .. }));
    let event = &events[1];
    assert!(event.to_string().contains("tried again in 3600000 ms"), "{event}");
}

#[test]
fn a_device_that_fails_twice_in_a_row_is_opened_anew() {
    let limits = Limits { back_off: Duration::ZERO, ..limits() };
    let stage = measured_stage(limits, MS, MS / 1000);
    stage.act(Act::Fail);
    stage.act(Act::Fail);
    assert_eq!(stage.speak(50).unwrap(), NATIVELY);
    assert_eq!(stage.speak(50).unwrap(), NATIVELY);
    stage.router.accelerator().wait_until(|kind| kind.errors["runtime"] == 2);
    stage.speak_until_accelerated(50);
    assert_eq!((stage.opened.load(Ordering::SeqCst), stage.fake().loads), (2, 2));
}

#[test]
fn one_that_hangs_is_timed_out_and_closed_until_its_thread_comes_back() {
    let limits = Limits { least_deadline: 20 * MS, back_off: Duration::ZERO, ..limits() };
    let stage = measured_stage(limits, MS / 1000, MS / 100_000);
    let (release, gate) = mpsc::channel();
    stage.act(Act::Hang(gate));
    for _ in 0..5 {
        assert_eq!(stage.speak(50).unwrap(), NATIVELY);
    }
    let kind = stage.fake();
    assert_eq!((kind.state, kind.timeouts, kind.fallbacks), (State::Stuck, 1, 1));
    assert_eq!((kind.requests, kind.trials), (1, 0), "nothing else was handed over");
    release.send(()).unwrap();
    stage.wait(State::Closed);
    assert_eq!(stage.speak(50).unwrap(), NATIVELY);
    stage.wait(State::Ready);
    stage.measured(50, HOUR, MS / 1000);
    assert_eq!(stage.speak(50).unwrap(), ACCELERATED);
    let events = stage.first_events(3);
    assert!(matches!(events[1], Event::TimedOut { .. }), "{events:?}");
    assert!(matches!(events[2], Event::CameBack { .. }), "{events:?}");
}

#[test]
fn a_listener_waits_for_a_busy_accelerator_no_longer_than_the_native_engine_would_take() {
    let stage = measured_stage(limits(), MS, MS / 10);
    let (release, gate) = mpsc::channel();
    stage.act(Act::Hang(gate));
    std::thread::scope(|scope| {
        let first = scope.spawn(|| stage.speak(50).unwrap());
        stage.wait(State::Busy);
        // The accelerator never comes free, so this returns at all because it stops waiting.
        assert_eq!(stage.speak(50).unwrap(), NATIVELY);
        assert_eq!(stage.fake().too_busy, 1);
        release.send(()).unwrap();
        assert_eq!(first.join().unwrap(), ACCELERATED);
    });
    assert_eq!((stage.fake().requests, stage.fake().fallbacks), (1, 0));
}

#[test]
fn a_cancelled_listener_leaves_at_once_even_a_hanging_accelerator() {
    let stage = measured_stage(limits(), MS, MS / 10);
    let (release, gate) = mpsc::channel();
    let (begun, has_begun) = mpsc::channel();
    stage.act(Act::TellAndHang(begun, gate));
    let cancel = Cancel::new();
    std::thread::scope(|scope| {
        let of_first = cancel.clone();
        let stage = &stage;
        let first = scope.spawn(move || stage.speak_with(&mut Fake::native(), 50, &of_first));
        has_begun.recv().unwrap();
        cancel.cancel();
        assert!(matches!(first.join().unwrap(), Err(Error::Cancelled)));
        assert_eq!(stage.fake().state, State::Busy);
        release.send(()).unwrap();
    });
    let kind = stage.wait(State::Ready);
    assert_eq!((kind.errors.len(), kind.fallbacks, kind.timeouts), (0, 0, 0));
}

#[test]
fn a_panic_costs_the_session_and_nothing_else() {
    let limits = Limits { back_off: Duration::ZERO, ..limits() };
    let stage = measured_stage(limits, MS, MS / 1000);
    stage.act(Act::Panic);
    assert_eq!(stage.speak(50).unwrap(), NATIVELY);
    assert_eq!(stage.fake().errors["panic"], 1);
    stage.speak_until_accelerated(50);
    assert_eq!(stage.opened.load(Ordering::SeqCst), 2);
}

#[test]
fn what_an_accelerator_cannot_do_goes_to_the_native_engine_and_is_no_failure() {
    let stage = measured_stage(limits(), MS, MS / 1000);
    stage.act(Act::CannotDoThis);
    assert_eq!(stage.speak(50).unwrap(), NATIVELY);
    assert_eq!(stage.speak(50).unwrap(), ACCELERATED);
    let kind = stage.fake();
    assert_eq!((kind.errors["unsupported"], kind.fallbacks), (1, 1));
}

#[test]
fn where_the_native_engine_fails_the_accelerator_speaks() {
    let stage = measured_stage(limits(), MS, 2 * MS);
    let mut native = Fake::native();
    native.script.lock().unwrap().push_back(Act::Fail);
    let spoken = stage.speak_with(&mut native, 50, &Cancel::new()).unwrap();
    assert_eq!(spoken, ACCELERATED);
    let native = stage.router.kinds().get(NATIVE).unwrap().clone();
    assert_eq!((native.errors["runtime"], native.fallbacks), (1, 1));
}

#[test]
fn what_cannot_be_opened_is_told_once_and_asked_for_again_only_if_that_may_help() {
    for is_final in [true, false] {
        let (events, listener) = events();
        let opened = Arc::new(AtomicUsize::new(0));
        let counted = opened.clone();
        let open = move || -> Result<Box<dyn Synthesizer>, OpenError> {
            counted.fetch_add(1, Ordering::SeqCst);
            Err(OpenError::None { problems: "as told".to_owned(), is_final })
        };
        let limits = Limits { back_off: Duration::ZERO, ..limits() };
        let stage = Stage {
            router: Router::new("auto", limits, Box::new(open), listener),
            script: Script::default(),
            opened,
            events,
        };
        let state = if is_final { State::Unavailable } else { State::Closed };
        let kind = stage.wait(state);
        assert_eq!(kind.name, "auto");
        assert_eq!(kind.problem.unwrap(), "no accelerator can be used: as told");
        assert_eq!(stage.speak(50).unwrap(), NATIVELY);
        let n_loads = if is_final { 1 } else { 2 };
        stage.router.accelerator().wait_until(|kind| kind.errors["load"] == n_loads);
        assert_eq!(stage.opened.load(Ordering::SeqCst), n_loads as usize);
        let line = stage.first_events(1)[0].to_string();
        assert_eq!(line.contains("it is not tried again"), is_final, "{line}");
        assert!(!line.contains('\n'));
    }
}

#[test]
fn a_stopped_accelerator_costs_no_request_and_is_not_asked_again() {
    let stage = measured_stage(limits(), MS, MS / 1000);
    let (release, gate) = mpsc::channel();
    stage.act(Act::Hang(gate));
    std::thread::scope(|scope| {
        let first = scope.spawn(|| stage.speak(50).unwrap());
        stage.wait(State::Busy);
        let stopping = scope.spawn(|| stage.router.stop());
        release.send(()).unwrap();
        stopping.join().unwrap();
        // Who spoke depends on whether the accelerator had begun; somebody did.
        first.join().unwrap();
    });
    assert_eq!(stage.fake().state, State::Unavailable);
    assert_eq!(stage.speak(50).unwrap(), NATIVELY);
}

#[test]
fn a_router_that_is_dropped_leaves_a_hanging_accelerator_behind() {
    let limits = Limits { least_deadline: MS, ..limits() };
    let stage = measured_stage(limits, MS / 1000, MS / 100_000);
    let (_never, gate) = mpsc::channel();
    stage.act(Act::Hang(gate));
    assert_eq!(stage.speak(50).unwrap(), NATIVELY);
    assert_eq!(stage.fake().state, State::Stuck);
    drop(stage);
}
