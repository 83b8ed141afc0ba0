//! Bounded memory: while little is used, everything stays warm; above a threshold, what can be made
//! again is dropped and given back to the system.
//!
//! The threshold depends on how much memory the process may use. What is held against it is the
//! process's own memory: caches, buffers, stacks. Mapped weights are not counted, because the
//! system can drop their pages by itself and read them again.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::heap;
use crate::lock::lock;
use crate::machine::{self, ProcessMemory};

const MB: u64 = 1_000_000;
const GIB: u64 = 1 << 30;

/// Readings remembered for the trend.
const RECENT: usize = 128;
/// So much more than when freed memory was last given back may be in use before it is again: more
/// than short requests leave, so that they never wait for it.
const SLACK_BYTES: u64 = 64 * MB;
/// After a clean-up that did not help enough, the next one waits so long.
const REST: Duration = Duration::from_secs(60);

/// How much may be in use before anything is dropped, and why so much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threshold {
    /// Bytes of the process's own memory.
    pub bytes: u64,
    /// Whether the user said so.
    pub is_override: bool,
    /// What the process may use, if the system tells.
    pub usable_bytes: Option<u64>,
}

impl Threshold {
    /// As asked for (in megabytes), else by what the process may use: 2000 MB of more than 32 GiB,
    /// 1000 MB of more than 16 GiB, else 200 MB.
    pub fn new(asked_mb: Option<u64>, usable_bytes: Option<u64>) -> Self {
        let by_tier = match usable_bytes.unwrap_or(0) {
            bytes if bytes > 32 * GIB => 2000,
            bytes if bytes > 16 * GIB => 1000,
            _ => 200,
        };
        Self {
            bytes: asked_mb.unwrap_or(by_tier).saturating_mul(MB),
            is_override: asked_mb.is_some(),
            usable_bytes,
        }
    }
}

/// What the guard saw and did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    /// How often it looked.
    pub checks: u64,
    /// How often it dropped something.
    pub cleanups: u64,
    /// How often it gave back what was freed already, without dropping anything.
    pub trims: u64,
    /// What the system got back by both.
    pub returned_bytes: u64,
    /// How long the last clean-up took.
    pub last_cleanup_took: Option<Duration>,
    /// How long ago that was.
    pub last_cleanup_ago: Option<Duration>,
    /// The process's memory when it last looked.
    pub last: Option<ProcessMemory>,
    /// The process's own memory when it first looked.
    pub baseline_bytes: Option<u64>,
    /// The most own memory it saw.
    pub peak_bytes: u64,
    /// The slope of own memory over the last readings.
    pub trend_bytes_per_minute: Option<f64>,
}

/// Looks at the memory now and then, and has it cleaned up above the threshold.
pub struct MemoryGuard {
    threshold: Threshold,
    read: Box<dyn Fn() -> Option<ProcessMemory> + Send + Sync>,
    /// Gives the allocator's reserve back.
    trim: fn(),
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    stats: Stats,
    recent: VecDeque<(Instant, u64)>,
    last_cleanup: Option<Instant>,
    /// Own memory after the last clean-up.
    floor: u64,
    /// Own memory after freed memory was given back, or at the first look.
    settled: Option<u64>,
}

impl MemoryGuard {
    /// A guard of this process.
    pub fn new(threshold: Threshold) -> Self {
        Self::reading(threshold, || machine::process_memory(Path::new("/")), heap::trim)
    }

    fn reading(
        threshold: Threshold,
        read: impl Fn() -> Option<ProcessMemory> + Send + Sync + 'static,
        trim: fn(),
    ) -> Self {
        Self { threshold, read: Box::new(read), trim, state: Mutex::default() }
    }

    /// What it holds memory against.
    pub fn threshold(&self) -> Threshold {
        self.threshold
    }

    /// Looks, and if there is too much in use has `drop_caches` drop what it can. The bytes that the
    /// system got back, if there was a clean-up. One that achieves little is not repeated at once.
    ///
    /// Below the threshold nothing is dropped; but if it `is_quiet`, what requests have freed and the
    /// allocator kept goes back to the system too, once it may be much.
    pub fn check(&self, is_quiet: bool, drop_caches: impl FnOnce()) -> Option<u64> {
        let now = Instant::now();
        let memory = (self.read)()?;
        let own = memory.own_bytes;
        {
            let mut state = lock(&self.state);
            state.note(now, memory);
            let is_new_growth = own > state.floor + state.floor / 8;
            let rested = state.last_cleanup.is_none_or(|last| now - last >= REST);
            if own <= self.threshold.bytes || !(rested || is_new_growth) {
                let settled = *state.settled.get_or_insert(own);
                drop(state);
                if is_quiet && own > settled + SLACK_BYTES {
                    self.settle(own);
                }
                return None;
            }
            // Claimed before it is done: another check meanwhile does not do it again.
            state.last_cleanup = Some(now);
            state.floor = own;
        }
        drop_caches();
        (self.trim)();
        let after = (self.read)().map_or(own, |memory| memory.own_bytes);
        let returned = own.saturating_sub(after);
        let mut state = lock(&self.state);
        state.floor = after;
        state.stats.cleanups += 1;
        state.stats.returned_bytes += returned;
        state.stats.last_cleanup_took = Some(now.elapsed());
        Some(returned)
    }

    /// Gives back what was freed.
    fn settle(&self, own: u64) {
        (self.trim)();
        let after = (self.read)().map_or(own, |memory| memory.own_bytes);
        let mut state = lock(&self.state);
        state.settled = Some(after);
        state.stats.trims += 1;
        state.stats.returned_bytes += own.saturating_sub(after);
    }

    /// What it saw and did so far.
    pub fn stats(&self) -> Stats {
        let state = lock(&self.state);
        Stats {
            last_cleanup_ago: state.last_cleanup.map(|at| at.elapsed()),
            trend_bytes_per_minute: state.trend(),
            ..state.stats.clone()
        }
    }
}

impl State {
    fn note(&mut self, now: Instant, memory: ProcessMemory) {
        let own = memory.own_bytes;
        self.stats.checks += 1;
        self.stats.last = Some(memory);
        self.stats.baseline_bytes.get_or_insert(own);
        self.stats.peak_bytes = self.stats.peak_bytes.max(own);
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back((now, own));
    }

    /// Least squares over the recent readings.
    fn trend(&self) -> Option<f64> {
        let first = self.recent.front()?.0;
        let points: Vec<(f64, f64)> = self
            .recent
            .iter()
            .map(|(at, bytes)| ((*at - first).as_secs_f64() / 60.0, *bytes as f64))
            .collect();
        let n = points.len() as f64;
        let mean = |f: &dyn Fn(&(f64, f64)) -> f64| points.iter().map(f).sum::<f64>() / n;
        let (x, y) = (mean(&|p| p.0), mean(&|p| p.1));
        let spread: f64 = points.iter().map(|p| (p.0 - x).powi(2)).sum();
        let shared: f64 = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
        (spread > 0.0).then(|| shared / spread)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn the_threshold_follows_the_tiers_unless_the_user_says_otherwise() {
        let tier = |gib: u64| Threshold::new(None, Some(gib * GIB)).bytes / MB;
        assert_eq!([tier(33), tier(32), tier(17), tier(16), tier(8)], [2000, 1000, 1000, 200, 200]);
        assert_eq!(Threshold::new(None, None).bytes, 200 * MB);
        let own = Threshold::new(Some(300), Some(64 * GIB));
        assert_eq!((own.bytes, own.is_override), (300 * MB, true));
    }

    fn guard(threshold_mb: u64) -> (Arc<AtomicU64>, MemoryGuard) {
        let used = Arc::new(AtomicU64::new(50 * MB));
        let seen = used.clone();
        let read = move || {
            let own_bytes = seen.load(Ordering::SeqCst);
            Some(ProcessMemory { resident_bytes: own_bytes, peak_bytes: own_bytes, own_bytes })
        };
        let threshold = Threshold::new(Some(threshold_mb), None);
        (used, MemoryGuard::reading(threshold, read, || ()))
    }

    #[test]
    fn below_the_threshold_everything_stays() {
        let (_, guard) = guard(100);
        assert_eq!(guard.check(true, || panic!("nothing to drop")), None);
        assert_eq!((guard.stats().checks, guard.stats().cleanups), (1, 0));
    }

    #[test]
    fn above_it_caches_go_and_what_came_back_is_counted() {
        let (used, guard) = guard(100);
        used.store(150 * MB, Ordering::SeqCst);
        let returned = guard.check(true, || used.store(60 * MB, Ordering::SeqCst));
        assert_eq!(returned, Some(90 * MB));
        let stats = guard.stats();
        assert_eq!((stats.cleanups, stats.returned_bytes), (1, 90 * MB));
        assert_eq!((stats.peak_bytes, stats.baseline_bytes), (150 * MB, Some(150 * MB)));
        assert!(stats.last_cleanup_ago.is_some());
    }

    #[test]
    fn a_clean_up_that_cannot_help_is_not_repeated_at_every_look() {
        let (used, guard) = guard(100);
        used.store(150 * MB, Ordering::SeqCst);
        assert_eq!(guard.check(true, || ()), Some(0));
        assert_eq!(guard.check(true, || panic!("too soon")), None);
        used.store(180 * MB, Ordering::SeqCst);
        assert_eq!(guard.check(true, || ()), Some(0));
    }

    #[test]
    fn what_requests_freed_goes_back_when_nobody_listens_and_nothing_is_dropped_for_it() {
        static FREED: AtomicU64 = AtomicU64::new(0);
        let own = || 50 * MB + FREED.load(Ordering::SeqCst);
        let read = move || {
            let own_bytes = own();
            Some(ProcessMemory { resident_bytes: own_bytes, peak_bytes: own_bytes, own_bytes })
        };
        let threshold = Threshold::new(Some(1000), None);
        let guard = MemoryGuard::reading(threshold, read, || FREED.store(0, Ordering::SeqCst));
        guard.check(true, || panic!("nothing to drop"));
        FREED.store(100 * MB, Ordering::SeqCst);
        guard.check(false, || panic!("nothing to drop"));
        assert_eq!(own(), 150 * MB);
        guard.check(true, || panic!("nothing to drop"));
        assert_eq!((own(), guard.stats().trims), (50 * MB, 1));
        assert_eq!((guard.stats().cleanups, guard.stats().returned_bytes), (0, 100 * MB));
    }

    #[test]
    fn the_trend_is_the_slope_of_the_readings() {
        let mut state = State::default();
        let start = Instant::now();
        for second in 0..60 {
            let own_bytes = 1000 * second;
            let memory = ProcessMemory { resident_bytes: 0, peak_bytes: 0, own_bytes };
            state.note(start + Duration::from_secs(second), memory);
        }
        let trend = state.trend().unwrap();
        assert!((trend - 60_000.0).abs() < 1.0, "{trend}");
    }
}
