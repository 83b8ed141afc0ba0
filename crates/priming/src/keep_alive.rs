//! Keeps the engine warm while nobody asks for anything.
//!
//! What goes cold is memory: under pressure the system drops the pages of mapped weights, and the
//! next request would wait for the disk. A tick brings back what left and computes one tiny
//! synthesis on each kind of session that is idle, so that all that a request touches is near. A
//! request that comes meanwhile ends the tick at once, and requests that keep the engine busy make
//! ticks needless.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::lock::lock;

/// When to tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whether to tick at all.
    pub enabled: bool,
    /// How often to look whether a tick is due.
    pub interval: Duration,
    /// How long nothing must have been asked for.
    pub idle_threshold: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { enabled: true, interval: seconds(300), idle_threshold: seconds(120) }
    }
}

/// What a tick works on.
pub trait Warmth: Send + Sync + 'static {
    /// Bytes of the weights that are in memory and that there are; none if the system does not tell.
    fn residency(&self) -> Option<(usize, usize)>;

    /// Reads back what left memory, until `stop` says so. Blocks.
    fn bring_back(&self, stop: &dyn Fn() -> bool);

    /// The kinds of session that exist.
    fn kinds(&self) -> Vec<String>;

    /// One tiny synthesis on that kind, ended early when `interrupt` is told to.
    fn synthesize(&self, kind: &str, interrupt: &Interrupt) -> Synthesis;
}

/// How a tick's synthesis ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Synthesis {
    /// It was computed.
    Done,
    /// The kind is at work already, which keeps it warm.
    Busy,
    /// A request came.
    Interrupted,
    /// It failed.
    Failed(String),
}

/// Ends a tick's synthesis early: what was registered is called once, when a request comes.
#[derive(Clone, Default)]
pub struct Interrupt(Arc<Mutex<Bell>>);

#[derive(Default)]
struct Bell {
    rung: bool,
    on_ring: Option<Box<dyn FnOnce() + Send>>,
}

impl Interrupt {
    /// Calls `f` when a request comes, or now if one came.
    pub fn on_ring(&self, f: impl FnOnce() + Send + 'static) {
        let mut bell = lock(&self.0);
        match bell.rung {
            true => {
                drop(bell);
                f();
            }
            false => bell.on_ring = Some(Box::new(f)),
        }
    }

    /// Whether a request came.
    pub fn rang(&self) -> bool {
        lock(&self.0).rung
    }

    /// A request came.
    pub fn ring(&self) {
        let mut bell = lock(&self.0);
        bell.rung = true;
        let on_ring = bell.on_ring.take();
        drop(bell);
        if let Some(f) = on_ring {
            f();
        }
    }
}

/// What ticks did so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    /// Ticks that went to their end.
    pub ticks: u64,
    /// Looks at which requests had kept the engine warm.
    pub skipped_active: u64,
    /// Ticks that a request ended.
    pub interrupted: u64,
    /// Syntheses that failed.
    pub failures: u64,
    /// The last failure.
    pub last_error: Option<String>,
    /// Bytes of weights that were out of memory at a tick and in it afterwards.
    pub brought_back_bytes: u64,
    /// How long the last whole tick took.
    pub last_took: Option<Duration>,
    /// How long ago it ended.
    pub last_ago: Option<Duration>,
    /// How long the last synthesis on each kind took.
    pub synthesis_took: BTreeMap<String, Duration>,
    /// Residency of the weights, before the last tick.
    pub residency_before: Option<(usize, usize)>,
    /// How long nobody has asked for anything.
    pub idle_for: Duration,
    /// When the next look comes; none if it is off or stopped.
    pub next_in: Option<Duration>,
}

/// The thread that ticks; dropping it ends the thread.
pub struct KeepAlive {
    shared: Arc<Shared>,
    thread: Option<std::thread::JoinHandle<()>>,
}

struct Shared {
    settings: Settings,
    state: Mutex<State>,
    /// It is to stop.
    changed: Condvar,
}

struct State {
    stats: Stats,
    /// When somebody last asked, or was last served.
    last_active: Instant,
    /// Requests now.
    active: usize,
    tick: Option<Interrupt>,
    last_end: Option<Instant>,
    next: Option<Instant>,
    stopped: bool,
}

/// Something is being asked for while this lives.
pub struct Activity(Arc<Shared>);

impl KeepAlive {
    /// Starts to tick, unless that is off. After every look `after` is called, on the same thread.
    /// The error is the system's, which had no thread to give.
    pub fn start(
        settings: Settings,
        warmth: impl Warmth,
        after: impl Fn() + Send + 'static,
    ) -> std::io::Result<Self> {
        let next = settings.enabled.then(|| Instant::now() + settings.interval);
        let state = State {
            stats: Stats::default(),
            last_active: Instant::now(),
            active: 0,
            tick: None,
            last_end: None,
            next,
            stopped: false,
        };
        let shared =
            Arc::new(Shared { settings, state: Mutex::new(state), changed: Condvar::new() });
        let mut thread = None;
        if settings.enabled {
            let shared = shared.clone();
            let work = move || {
                while shared.wait_for_next() {
                    shared.look(&warmth);
                    after();
                }
            };
            thread = Some(std::thread::Builder::new().name("keep-alive".into()).spawn(work)?);
        }
        Ok(Self { shared, thread })
    }

    /// Somebody asks for something: ends a running tick. Idle time counts from when the returned
    /// value is dropped.
    pub fn active(&self) -> Activity {
        let mut state = lock(&self.shared.state);
        state.active += 1;
        let tick = state.tick.clone();
        drop(state);
        if let Some(tick) = tick {
            tick.ring();
        }
        Activity(self.shared.clone())
    }

    /// When it ticks.
    pub fn settings(&self) -> Settings {
        self.shared.settings
    }

    /// What it did so far.
    pub fn stats(&self) -> Stats {
        let state = lock(&self.shared.state);
        let now = Instant::now();
        Stats {
            last_ago: state.last_end.map(|end| now - end),
            idle_for: state.idle_for(now),
            next_in: state.next.map(|next| next.saturating_duration_since(now)),
            ..state.stats.clone()
        }
    }
}

impl Drop for KeepAlive {
    fn drop(&mut self) {
        let mut state = lock(&self.shared.state);
        state.stopped = true;
        state.next = None;
        let tick = state.tick.clone();
        drop(state);
        if let Some(tick) = tick {
            tick.ring();
        }
        self.shared.changed.notify_all();
        // The last one to let go may be what the thread itself calls after a look.
        let others = |thread: &std::thread::JoinHandle<()>| {
            thread.thread().id() != std::thread::current().id()
        };
        if let Some(thread) = self.thread.take().filter(others) {
            let _ = thread.join();
        }
    }
}

impl Drop for Activity {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.active -= 1;
        state.last_active = Instant::now();
    }
}

impl State {
    fn idle_for(&self, now: Instant) -> Duration {
        if self.active > 0 {
            Duration::ZERO
        } else {
            now.saturating_duration_since(self.last_active)
        }
    }
}

impl Shared {
    /// Whether to go on.
    fn wait_for_next(&self) -> bool {
        let mut state = lock(&self.state);
        loop {
            if state.stopped {
                return false;
            }
            let now = Instant::now();
            let left =
                state.next.map_or(Duration::ZERO, |next| next.saturating_duration_since(now));
            if left.is_zero() {
                state.next = Some(now + self.settings.interval);
                return true;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn look(&self, warmth: &dyn Warmth) {
        let interrupt = Interrupt::default();
        {
            let mut state = lock(&self.state);
            let is_idle = state.idle_for(Instant::now()) >= self.settings.idle_threshold;
            // Whoever is there already would not end the tick.
            if state.active > 0 || !is_idle {
                state.stats.skipped_active += 1;
                return;
            }
            state.tick = Some(interrupt.clone());
        }
        let begun = Instant::now();
        let before = warmth.residency();
        let has_left = before.is_some_and(|(resident, all)| resident < all);
        if has_left {
            warmth.bring_back(&|| interrupt.rang());
        }
        let mut syntheses = Vec::new();
        for kind in warmth.kinds() {
            if interrupt.rang() {
                break;
            }
            let begun = Instant::now();
            syntheses.push((warmth.synthesize(&kind, &interrupt), kind, begun.elapsed()));
        }
        // To look costs a millisecond or two.
        let after = if has_left { warmth.residency() } else { before };

        let mut state = lock(&self.state);
        state.tick = None;
        let stats = &mut state.stats;
        stats.residency_before = before;
        if let (Some((before, _)), Some((after, _))) = (before, after) {
            stats.brought_back_bytes += after.saturating_sub(before) as u64;
        }
        let (mut interrupted, mut any_done) = (interrupt.rang(), false);
        for (synthesis, kind, took) in syntheses {
            match synthesis {
                Synthesis::Done => {
                    any_done = true;
                    stats.synthesis_took.insert(kind, took);
                }
                Synthesis::Busy => {}
                Synthesis::Interrupted => interrupted = true,
                Synthesis::Failed(error) => {
                    stats.failures += 1;
                    stats.last_error = Some(format!("{kind}: {error}"));
                }
            }
        }
        if interrupted {
            stats.interrupted += 1;
        } else if any_done {
            stats.ticks += 1;
            stats.last_took = Some(begun.elapsed());
            state.last_end = Some(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    /// Tells of every synthesis, and if it is a long one waits to be interrupted.
    struct Fake {
        told: mpsc::Sender<String>,
        is_long: bool,
        resident: AtomicUsize,
    }

    impl Warmth for Fake {
        fn residency(&self) -> Option<(usize, usize)> {
            Some((self.resident.load(Ordering::SeqCst), 100))
        }
        fn bring_back(&self, _stop: &dyn Fn() -> bool) {
            self.resident.store(100, Ordering::SeqCst);
        }
        fn kinds(&self) -> Vec<String> {
            vec!["native".to_owned(), "broken".to_owned()]
        }
        fn synthesize(&self, kind: &str, interrupt: &Interrupt) -> Synthesis {
            let (ring, rang) = mpsc::channel();
            interrupt.on_ring(move || _ = ring.send(()));
            let _ = self.told.send(kind.to_owned());
            if self.is_long {
                rang.recv().unwrap();
                return Synthesis::Interrupted;
            }
            match kind {
                "native" => Synthesis::Done,
                _ => Synthesis::Failed("no luck".to_owned()),
            }
        }
    }

    fn start(
        idle_threshold: Duration,
        is_long: bool,
    ) -> (KeepAlive, mpsc::Receiver<String>, mpsc::Receiver<()>) {
        let (told, hears) = mpsc::channel();
        let (looked, looks) = mpsc::channel();
        let settings =
            Settings { enabled: true, interval: Duration::from_millis(1), idle_threshold };
        let fake = Fake { told, is_long, resident: AtomicUsize::new(40) };
        let after = move || _ = looked.send(());
        (KeepAlive::start(settings, fake, after).unwrap(), hears, looks)
    }

    #[test]
    fn a_tick_brings_back_what_left_and_speaks_on_every_kind() {
        let (keep_alive, hears, looks) = start(Duration::ZERO, false);
        assert_eq!([hears.recv().unwrap(), hears.recv().unwrap()], ["native", "broken"]);
        looks.recv().unwrap();
        let stats = keep_alive.stats();
        assert_eq!(stats.brought_back_bytes, 60);
        assert!(stats.ticks >= 1 && stats.failures >= 1 && stats.last_took.is_some());
        assert_eq!(stats.last_error.as_deref(), Some("broken: no luck"));
        assert!(stats.synthesis_took.contains_key("native"));
    }

    #[test]
    fn nothing_is_done_while_requests_keep_it_warm() {
        let (keep_alive, hears, looks) = start(Duration::from_secs(3600), false);
        let _activity = keep_alive.active();
        for _ in 0..3 {
            looks.recv().unwrap();
        }
        assert!(hears.try_recv().is_err());
        assert!(keep_alive.stats().skipped_active >= 3);
        assert_eq!((keep_alive.stats().ticks, keep_alive.stats().idle_for), (0, Duration::ZERO));
    }

    #[test]
    fn a_request_ends_a_tick_at_once() {
        let (keep_alive, hears, looks) = start(Duration::ZERO, true);
        assert_eq!(hears.recv().unwrap(), "native");
        let activity = keep_alive.active();
        looks.recv().unwrap();
        let stats = keep_alive.stats();
        assert_eq!((stats.interrupted, stats.ticks), (1, 0));
        drop(activity);
    }

    #[test]
    fn one_that_is_off_never_ticks_and_one_that_is_dropped_stops() {
        let (told, hears) = mpsc::channel();
        let fake = Fake { told, is_long: false, resident: AtomicUsize::new(0) };
        let off = Settings { enabled: false, ..Settings::default() };
        let keep_alive = KeepAlive::start(off, fake, || ()).unwrap();
        assert_eq!(keep_alive.stats().next_in, None);
        // The thread would hold the sender.
        assert!(hears.recv().is_err());

        let (keep_alive, hears, _looks) = start(Duration::ZERO, true);
        hears.recv().unwrap();
        drop(keep_alive);
        assert!(hears.recv().is_err());
    }
}
