//! Ready at once, never cold: what the service does to be warm before it is asked, and to stay so.
//!
//! The parts are [`koe_priming`]'s; here they are given something to work on. The first synthesis
//! goes through the path that requests take and is the proof of "ready". What was measured once on
//! this machine is remembered. Afterwards at most two patterns are spoken in the background, a
//! keep-alive tick brings back what left memory, and above a threshold memory is given back. None
//! of it changes a byte of what listeners hear, and all of it gives way to them.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use koe_engine::{Cancel, Model, Request};
use koe_onnx::State;
use koe_priming::keep_alive::{self, Activity, Interrupt, Synthesis};
use koe_priming::memory::Threshold;
use koe_priming::tuning::{Measured, Tuning};
use koe_priming::warmup::{Pattern, Stage};
use koe_priming::{Coordinator, KeepAlive, MemoryGuard, Warmth};
use tokio::sync::watch;

use super::job::{Order, Part, Purpose, Stopper, Turn};
use super::lanes::Lanes;
use super::library::Cast;
use super::{Proof, Service};
use crate::pipeline::Settings;
use crate::tuning::{self, Tuned};

/// What to do to be warm and to stay so; each part has its switch.
#[derive(Debug)]
pub struct Plan {
    /// When to tick.
    pub keep_alive: keep_alive::Settings,
    /// Above which memory is given back.
    pub threshold: Threshold,
    /// Whether to speak some more in the background once it is ready.
    pub extended: bool,
    /// Where measurements of this machine are remembered; none: each start measures.
    pub tuning: Option<Tuning>,
    /// Whether the number of threads is to be measured too: nobody said how many, and fewer could be
    /// faster.
    pub choose_threads: bool,
    /// Whether to lock the weights in memory.
    pub lock_weights: bool,
}

/// The name of the kind of session that computes here.
pub const NATIVE: &str = koe_engine::NATIVE;

/// What is said in the background: the path with an encoder that listeners use most, and a
/// sentence as long as most are.
const EXTENDED: [(Stage, &str, koe_audio::Format); 2] = [
    (Stage::Pipeline, "Hello, world.", koe_audio::Format::Mp3),
    (
        Stage::Extended,
        "A sentence of the usual length makes room for all that follow.",
        koe_audio::Format::Pcm,
    ),
];
/// The shortest proof.
const PROOF: &str = "Hi.";
/// How often a pattern that listeners interrupt is begun anew.
const TRIES: usize = 5;

/// Priming of one service, and what came of it.
pub struct Priming {
    plan: Plan,
    coordinator: Arc<Coordinator>,
    guard: MemoryGuard,
    keep_alive: OnceLock<KeepAlive>,
    background: Mutex<Background>,
    measured: OnceLock<Tuned>,
    locked: Result<bool, String>,
    /// How many listeners are there.
    quiet: watch::Sender<usize>,
    /// When the last one went.
    last_listener: Mutex<Instant>,
}

/// The state of background warming.
#[derive(Default)]
struct Background {
    stop: Option<Box<dyn FnOnce() + Send>>,
    interrupted: u64,
    took: Option<Duration>,
}

/// What background warming did.
#[derive(Clone, Debug, PartialEq)]
pub struct Extended {
    /// Whether it is wanted.
    pub enabled: bool,
    /// The time from its begin to its end, once it has ended.
    pub took: Option<Duration>,
    /// How often it gave way to a listener.
    pub interrupted: u64,
}

/// A listener is there while this lives.
pub(crate) struct Presence {
    activity: Option<Activity>,
    service: Service,
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.activity = None;
        let priming = self.service.priming();
        *priming.last_listener.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        priming.quiet.send_modify(|listeners| *listeners -= 1);
        self.service.check_memory();
    }
}

impl Priming {
    pub(super) fn new(plan: Plan, model: &Model) -> Self {
        let locked = match plan.lock_weights {
            true => model.lock_in_memory().map(|()| true).map_err(|error| error.to_string()),
            false => Ok(false),
        };
        Self {
            guard: MemoryGuard::new(plan.threshold),
            plan,
            coordinator: Arc::new(Coordinator::new()),
            keep_alive: OnceLock::new(),
            background: Mutex::default(),
            measured: OnceLock::new(),
            locked,
            quiet: watch::Sender::new(0),
            last_listener: Mutex::new(Instant::now()),
        }
    }

    /// The only door to warm-ups.
    pub fn coordinator(&self) -> &Coordinator {
        &self.coordinator
    }

    /// What bounds memory.
    pub fn guard(&self) -> &MemoryGuard {
        &self.guard
    }

    /// What ticks, once the service is ready.
    pub fn keep_alive(&self) -> Option<&KeepAlive> {
        self.keep_alive.get()
    }

    /// When it ticks.
    pub fn keep_alive_settings(&self) -> keep_alive::Settings {
        self.plan.keep_alive
    }

    /// What background warming did.
    pub fn extended(&self) -> Extended {
        let background = self.background();
        Extended {
            enabled: self.plan.extended,
            took: background.took,
            interrupted: background.interrupted,
        }
    }

    /// What is known of this machine's speed.
    pub fn tuned(&self) -> Option<Tuned> {
        self.measured.get().copied()
    }

    /// Whether the weights are locked in memory, or why they are not though it was asked for.
    pub fn locked(&self) -> Result<bool, &str> {
        self.locked.as_ref().copied().map_err(|error| error.as_str())
    }

    /// Has `stop` called when a listener comes, or now if one is there.
    fn give_way(&self, stop: impl FnOnce() + Send + 'static) {
        self.background().stop = Some(Box::new(stop));
        // One who came before that did not see it.
        if *self.quiet.borrow() > 0 {
            self.interrupt_background();
        }
    }

    fn interrupt_background(&self) {
        let mut background = self.background();
        let stop = background.stop.take();
        background.interrupted += u64::from(stop.is_some());
        drop(background);
        if let Some(stop) = stop {
            stop();
        }
    }

    fn background(&self) -> std::sync::MutexGuard<'_, Background> {
        self.background.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service {
    /// Notes that a listener is there: ticks and background work end at once.
    pub(crate) fn presence(&self) -> Presence {
        let priming = self.priming();
        priming.quiet.send_modify(|listeners| *listeners += 1);
        priming.interrupt_background();
        let activity = priming.keep_alive().map(KeepAlive::active);
        Presence { activity, service: self.clone() }
    }

    /// Waits until nobody has listened for so long.
    pub async fn idle_for(&self, length: Duration) {
        let mut quiet = self.priming().quiet.subscribe();
        loop {
            // The sender lives as long as the service.
            let _ = quiet.wait_for(|listeners| *listeners == 0).await;
            let last = self.priming().last_listener.lock();
            let deadline = *last.unwrap_or_else(PoisonError::into_inner) + length;
            if Instant::now() >= deadline {
                return;
            }
            tokio::time::sleep_until(deadline.into()).await;
        }
    }

    /// Gives memory back if there is too much in use.
    pub(super) fn check_memory(&self) {
        let is_quiet = *self.priming().quiet.borrow() == 0;
        let returned = self.priming().guard.check(is_quiet, || {
            self.library().forget_casts();
            self.lanes().release_memory();
        });
        if let Some(bytes) = returned {
            tracing::info!(bytes, "memory was above its threshold; caches were dropped");
        }
    }

    /// Speaks for the first time; the proof that the service is ready.
    pub(super) async fn prove(&self) -> Result<Proof, String> {
        let first_audio =
            self.warm_up(Stage::ColdStart, PROOF, koe_audio::Format::Pcm, Purpose::Proof);
        let first_audio = first_audio.await?;
        let tuned = self.tune().await?;
        let _ = self.priming().measured.set(tuned);
        Ok(Proof {
            ready_after: self.started().elapsed(),
            first_audio,
            real_time_factor: tuned.measured.real_time_factor,
        })
    }

    /// This machine's speed: remembered, or measured now.
    async fn tune(&self) -> Result<Tuned, String> {
        let service = self.clone();
        let tuning = move || {
            let cast = service.library().cast(None, None).map_err(|error| error.to_string())?;
            let memory = service.priming().plan.tuning.as_ref();
            if let Some(tuned) = tuning::recall(memory, cast.model.identity()) {
                return Ok(tuned);
            }
            let mut tuned = Err("it was measured already".to_owned());
            let pattern = service.pattern(tuning::SENTENCE, NATIVE);
            service.priming().coordinator.run(Stage::Minimal, &pattern, || {
                let measured = tuning::measure(memory, &cast.model, &cast.voice, service.isa());
                tuned = measured.map_err(|error| error.to_string());
                tuned.clone().map(drop)
            })?;
            tuned
        };
        self.runtime().spawn_blocking(tuning).await.map_err(|error| error.to_string())?
    }

    /// Stays warm from now on: ticks, and speaks some more in the background.
    pub(super) fn stay_warm(&self) -> Result<(), String> {
        let cast = self.library().cast(None, None).map_err(|error| error.to_string())?;
        let embers = Embers { lanes: self.lanes().clone(), cast };
        // Not the service itself, which would never end if its own thread held it.
        let service = Arc::downgrade(&self.0);
        let after = move || {
            if let Some(inner) = service.upgrade() {
                Service(inner).check_memory();
            }
        };
        let keep_alive = KeepAlive::start(self.priming().plan.keep_alive, embers, after)
            .map_err(|error| error.to_string())?;
        let _ = self.priming().keep_alive.set(keep_alive);
        if self.priming().plan.extended {
            let service = self.clone();
            self.runtime().spawn(async move { service.warm_in_background().await });
        }
        Ok(())
    }

    async fn warm_in_background(&self) {
        let begun = Instant::now();
        for (stage, text, format) in EXTENDED {
            for _ in 0..TRIES {
                let mut quiet = self.priming().quiet.subscribe();
                // The sender lives as long as the service.
                let _ = quiet.wait_for(|listeners| *listeners == 0).await;
                match self.warm_up(stage, text, format, Purpose::WarmUp).await {
                    Ok(_) => break,
                    Err(error) => {
                        tracing::debug!(error, stage = stage.name(), "a warm-up ended early");
                    }
                }
            }
        }
        let service = self.clone();
        let _ = self.runtime().spawn_blocking(move || service.warm_accelerator()).await;
        self.priming().background().took = Some(begun.elapsed());
        self.check_memory();
        let tuned = self.priming().tuned();
        let is_untried = tuned.is_some_and(|tuned| tuned.measured.threads.is_none());
        if is_untried && self.priming().plan.choose_threads {
            let service = self.clone();
            let _ = self.runtime().spawn_blocking(move || service.choose_threads()).await;
        }
    }

    /// One synthesis on the accelerator, if there is one and it is open.
    fn warm_accelerator(&self) {
        let Ok(cast) = self.library().cast(None, None) else { return };
        let embers = Embers { lanes: self.lanes().clone(), cast };
        for session in embers.kinds().into_iter().filter(|kind| kind != NATIVE) {
            let pattern = self.pattern("ə", &session);
            let warmed = self.priming().coordinator.run(Stage::DualSession, &pattern, || {
                let interrupt = Interrupt::default();
                let on_listener = interrupt.clone();
                self.priming().give_way(move || on_listener.ring());
                match embers.synthesize(&session, &interrupt) {
                    // At work for somebody, it is warm.
                    Synthesis::Done | Synthesis::Busy => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            });
            self.priming().background().stop = None;
            if let Err(error) = warmed {
                tracing::debug!(error, session, "the accelerator could not be warmed");
            }
        }
    }

    fn pattern(&self, text: &str, session: &str) -> Pattern {
        Pattern {
            text: text.to_owned(),
            voice: self.library().default_voice_name(),
            speed_milli: 1000,
            language: "en".to_owned(),
            session: session.to_owned(),
        }
    }

    /// Whether half the threads are faster: measured once, in the background, for the next start. The
    /// sound does not depend on it.
    fn choose_threads(&self) {
        let all = self.lanes().threads();
        let (Some(tuning), Some(tuned)) = (&self.priming().plan.tuning, self.priming().tuned())
        else {
            return;
        };
        let half = all.div_ceil(2);
        let times = (self.time_with(all), self.time_with(half));
        let (Some(with_all), Some(with_half)) = times else { return };
        // A difference that is noise is none.
        let threads = if half < all && with_half * 33 < with_all * 32 { half } else { all };
        tracing::debug!(?with_all, ?with_half, threads, "threads were measured");
        let measured = Measured { threads: Some(threads), ..tuned.measured };
        let _ = tuning.remember(self.library().model().identity(), measured);
    }

    /// How long a short sentence takes with so many threads; none if a listener came.
    fn time_with(&self, threads: usize) -> Option<Duration> {
        let cast = self.library().cast(None, None).ok()?;
        let cancel = Cancel::new();
        let on_listener = cancel.clone();
        self.priming().give_way(move || on_listener.cancel());
        let timed = tuning::time(&cast.model, &cast.voice, threads, self.isa(), &cancel);
        self.priming().background().stop = None;
        timed.ok().map(|(took, _)| took)
    }

    /// One pattern, unless it ran already. How long the first sound of its run took.
    async fn warm_up(
        &self,
        stage: Stage,
        text: &'static str,
        format: koe_audio::Format,
        purpose: Purpose,
    ) -> Result<Duration, String> {
        let pattern = self.pattern(text, NATIVE);
        let service = self.clone();
        // The coordinator blocks; connections must not wait for it.
        let work = move || {
            let mut first = Duration::ZERO;
            let spoken = service.priming().coordinator.run(stage, &pattern, || {
                let listen = |stopper: Stopper| {
                    if purpose == Purpose::WarmUp {
                        service.priming().give_way(move || stopper.stop());
                    }
                };
                let speaking = service.speak_once(text, format, purpose, listen);
                first = service.runtime().block_on(speaking)?;
                Ok(())
            });
            service.priming().background().stop = None;
            spoken.map(|whole| if first.is_zero() { whole } else { first })
        };
        self.runtime().spawn_blocking(work).await.map_err(|error| error.to_string())?
    }

    /// Has a text spoken as a request would. How long its first sound took.
    pub async fn say(&self, text: &str) -> Result<Duration, String> {
        let _admission = self.admit().map_err(|busy| busy.to_string())?;
        self.speak_once(text, koe_audio::Format::Pcm, Purpose::Request, |_| ()).await
    }

    /// What a keep-alive tick computes.
    pub fn tick_synthesis(&self) -> Result<(), String> {
        let cast = self.library().cast(None, None).map_err(|error| error.to_string())?;
        let embers = Embers { lanes: self.lanes().clone(), cast };
        match embers.synthesize(NATIVE, &Interrupt::default()) {
            Synthesis::Done => Ok(()),
            other => Err(format!("{other:?}")),
        }
    }

    /// Speaks through the path that requests take. How long its first sound took. `listen` is told
    /// what would stop it.
    async fn speak_once(
        &self,
        text: &str,
        format: koe_audio::Format,
        purpose: Purpose,
        listen: impl FnOnce(Stopper),
    ) -> Result<Duration, String> {
        let cast = self.library().cast(None, None).map_err(|error| error.to_string())?;
        let settings =
            Settings { dialect: cast.dialect.unwrap_or_default(), ..Settings::default() };
        let feed = Box::new(crate::feed::from_text(text.to_owned()));
        let arrived = Instant::now();
        let order = Order {
            turns: vec![Turn { feed, cast, settings }],
            between: Duration::ZERO,
            encoder: format
                .encoder(koe_audio::SAMPLE_RATE_HZ)
                .map_err(|error| error.to_string())?,
            lead: Duration::ZERO,
            trail: Duration::ZERO,
            volume: 1.0,
            arrived,
            purpose,
        };
        let mut running = self.start_unadmitted(order).map_err(|error| error.to_string())?;
        listen(running.stopper());
        let mut first_sound = None;
        loop {
            match running.next().await {
                Part::Bytes(_) => _ = first_sound.get_or_insert_with(|| arrived.elapsed()),
                Part::Done(Ok(_)) => return first_sound.ok_or_else(|| "no sound".to_owned()),
                Part::Done(Err(failure)) => return Err(failure.to_string()),
                _ => {}
            }
        }
    }
}

/// What is kept warm.
struct Embers {
    lanes: Lanes,
    cast: Arc<Cast>,
}

impl Warmth for Embers {
    fn residency(&self) -> Option<(usize, usize)> {
        self.cast.model.residency()
    }

    fn bring_back(&self, stop: &dyn Fn() -> bool) {
        self.cast.model.bring_back(stop);
    }

    fn kinds(&self) -> Vec<String> {
        let accelerator = self.lanes.router().map(|router| router.kinds().0);
        let open = accelerator
            .into_iter()
            .flatten()
            .filter(|kind| kind.name != NATIVE && matches!(kind.state, State::Ready | State::Busy));
        std::iter::once(NATIVE.to_owned()).chain(open.map(|kind| kind.name)).collect()
    }

    /// The shortest there is, which still reads all weights: one vowel at the fastest pace.
    fn synthesize(&self, kind: &str, interrupt: &Interrupt) -> Synthesis {
        let cancel = Cancel::new();
        let on_ring = cancel.clone();
        interrupt.on_ring(move || on_ring.cancel());
        let (tokens, _) = self.cast.model.tokens("ə");
        let style = self.cast.voice.style(tokens.len());
        let request = Request { tokens: &tokens, style, speed: 4.0, seed: 0 };
        let spoken = if kind == NATIVE {
            let Some(mut lease) = self.lanes.try_borrow() else { return Synthesis::Busy };
            let session = lease.session(self.cast.key, &self.cast.model);
            session.synthesize(&request, &cancel).map(drop)
        } else {
            let warmed = self.lanes.router().and_then(|router| router.warm(&request, &cancel));
            let Some(warmed) = warmed else { return Synthesis::Busy };
            warmed
        };
        match spoken {
            Ok(()) => Synthesis::Done,
            Err(koe_engine::Error::Cancelled) => Synthesis::Interrupted,
            Err(error) => Synthesis::Failed(error.to_string()),
        }
    }
}
