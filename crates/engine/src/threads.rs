//! A few threads that work on one layer at a time.
//!
//! [`Threads::run`] calls one closure on every thread at once and waits for all. The closure
//! takes pieces of work from a [`Queue`], so which thread does which piece is left to chance, and
//! no result may depend on it. A thread with nothing to do spins for a
//! fraction of a millisecond, because the next layer mostly follows at once, and then sleeps.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::buffer::Buffer;

/// How long a thread spins before it lets others go first: about what a wake-up costs.
const SPIN: Duration = Duration::from_micros(20);
/// How long it stays awake before it sleeps: longer than what one thread does alone between two
/// layers, so that it is there for the next, and short beside any synthesis.
const AWAKE: Duration = Duration::from_micros(200);

/// Waits awake until `done`, or until it has taken long enough. On a CPU that nobody else wants,
/// giving way costs nothing; on one that is wanted, it may be another of these threads that waits
/// for it.
fn spin(done: impl Fn() -> bool) {
    let mut started = None;
    while !done() {
        // The clock costs as much as some spins.
        for _ in 0..16 {
            std::hint::spin_loop();
        }
        match started.get_or_insert_with(Instant::now).elapsed() {
            waited if waited > AWAKE => break,
            waited if waited > SPIN => std::thread::yield_now(),
            _ => {}
        }
    }
}

/// Pieces of work that threads take from, each once and in order.
pub(crate) struct Queue<I>(Mutex<I>);

impl<I: Iterator> Queue<I> {
    pub(crate) fn new(pieces: I) -> Self {
        Self(Mutex::new(pieces))
    }

    /// The next piece; waits only while another thread takes one.
    pub(crate) fn next(&self) -> Option<I::Item> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).next()
    }
}

/// A thread's own memory, for the block it works on.
#[derive(Default)]
pub(crate) struct Stage {
    /// Rows of input as the product wants them.
    pub(crate) rows: Buffer,
    /// Rows of output before they are placed, or products of a convolution's transform.
    pub(crate) out: Buffer,
    /// Weights packed or split on the fly, or transformed input.
    pub(crate) packed: Buffer,
}

type Work = dyn Fn(&mut Stage) + Sync;

/// The caller's closure, its lifetime erased; valid while the caller waits in `run`.
#[derive(Clone, Copy)]
struct Job(*const Work);

// SAFETY: the pointee is `Sync`, and `Threads::run` keeps it alive until every thread is done.
#[expect(unsafe_code, reason = "hands a borrowed closure to threads that outlive the borrow")]
unsafe impl Send for Job {}

struct Shared {
    state: Mutex<State>,
    /// Counts jobs; changes when there is a new one, or on shutdown.
    epoch: AtomicU64,
    /// Threads that have not finished the present job.
    busy: AtomicUsize,
    start: Condvar,
    done: Condvar,
}

struct State {
    job: Option<Job>,
    panic: Option<Box<dyn std::any::Any + Send>>,
    stop: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The lock is never held while a closure runs, so a poisoned one still holds sane state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `n` threads, the caller's included.
pub(crate) struct Threads {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    stage: Stage,
    /// Rows of input that all threads read.
    pub(crate) rows: Buffer,
    /// The same, split.
    pub(crate) terms: Buffer,
    /// Products by columns, before they are set side by side.
    pub(crate) columns: Buffer,
}

impl Threads {
    /// Starts `n_threads - 1` threads; fewer if the system refuses them.
    pub(crate) fn new(n_threads: usize) -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::new(State { job: None, panic: None, stop: false }),
            epoch: AtomicU64::new(0),
            busy: AtomicUsize::new(0),
            start: Condvar::new(),
            done: Condvar::new(),
        });
        let spawn = |i: usize| {
            let shared = Arc::clone(&shared);
            let name = format!("koe-compute-{i}");
            std::thread::Builder::new().name(name).spawn(move || work(&shared)).ok()
        };
        let workers = (1..n_threads).map_while(spawn).collect();
        Self {
            shared,
            workers,
            stage: Stage::default(),
            rows: Buffer::default(),
            terms: Buffer::default(),
            columns: Buffer::default(),
        }
    }

    /// How many threads there are.
    pub(crate) fn count(&self) -> usize {
        self.workers.len() + 1
    }

    /// Which of `sizes` to cut `n` into, so that threads that take such pieces in turns are done
    /// soonest; of equal ones the first.
    pub(crate) fn fairest(&self, n: usize, sizes: impl Iterator<Item = usize>) -> usize {
        let longest = |&size: &usize| {
            let (n_whole, rest) = (n / size, n % size);
            let (n_turns, n_left) = (n_whole / self.count(), n_whole % self.count());
            n_turns * size + if n_left > 0 { size } else { rest }
        };
        sizes.min_by_key(longest).unwrap_or(n)
    }

    /// Calls `f` once on every thread at the same time and returns when all calls have. A panic
    /// in any of them goes on in the caller.
    pub(crate) fn run(&mut self, f: impl Fn(&mut Stage) + Sync) {
        if self.workers.is_empty() {
            return f(&mut self.stage);
        }
        let work: *const (dyn Fn(&mut Stage) + Sync + '_) = &f;
        // SAFETY: only the lifetime changes. The pointer is used by threads that count `busy`
        // down after their last use, and `Wait` below returns, or unwinds, only at zero.
        #[expect(unsafe_code, reason = "erases the lifetime of a closure that outlives its use")]
        let job = Job(unsafe {
            std::mem::transmute::<*const (dyn Fn(&mut Stage) + Sync + '_), *const Work>(work)
        });
        {
            let mut state = self.shared.lock();
            state.job = Some(job);
            // A panic of the caller's own part may have left one of a thread behind.
            state.panic = None;
            self.shared.busy.store(self.workers.len(), Ordering::Relaxed);
            self.shared.epoch.fetch_add(1, Ordering::Release);
        }
        self.shared.start.notify_all();
        let wait = Wait(&self.shared);
        f(&mut self.stage);
        drop(wait);
        let panic = self.shared.lock().panic.take();
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }

    /// Gives the threads' memory back.
    pub(crate) fn release(&mut self) {
        self.run(|stage| *stage = Stage::default());
        self.rows = Buffer::default();
        self.terms = Buffer::default();
        self.columns = Buffer::default();
    }
}

/// Waits, when dropped, until no thread uses the job any more, also if the caller panics.
struct Wait<'a>(&'a Shared);

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        spin(|| self.0.busy.load(Ordering::Acquire) == 0);
        let mut state = self.0.lock();
        while self.0.busy.load(Ordering::Acquire) != 0 {
            state = self.0.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.job = None;
    }
}

fn work(shared: &Shared) {
    let mut stage = Stage::default();
    let mut seen = 0;
    loop {
        spin(|| shared.epoch.load(Ordering::Acquire) != seen);
        let job = {
            let mut state = shared.lock();
            while shared.epoch.load(Ordering::Acquire) == seen {
                state = shared.start.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            seen = shared.epoch.load(Ordering::Acquire);
            if state.stop {
                return;
            }
            state.job
        };
        if let Some(job) = job {
            let call = || {
                // SAFETY: `Threads::run` keeps the closure alive until `busy` is zero, which
                // waits for this thread's count below.
                #[expect(unsafe_code, reason = "the closure's lifetime was erased in `run`")]
                let f = unsafe { &*job.0 };
                f(&mut stage);
            };
            let result = catch_unwind(AssertUnwindSafe(call));
            let mut state = shared.lock();
            if let Err(panic) = result {
                state.panic = Some(panic);
            }
            if shared.busy.fetch_sub(1, Ordering::AcqRel) == 1 {
                shared.done.notify_all();
            }
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        {
            let mut state = self.shared.lock();
            state.stop = true;
            self.shared.epoch.fetch_add(1, Ordering::Release);
        }
        self.shared.start.notify_all();
        for worker in self.workers.drain(..) {
            // A worker catches the panics of its jobs, so joining cannot fail.
            let _ = worker.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When the last thread is done, where each takes the next piece as soon as it is free.
    fn end(n_threads: usize, n: usize, size: usize) -> usize {
        let mut ends = vec![0; n_threads];
        for start in (0..n).step_by(size) {
            *ends.iter_mut().min().unwrap() += size.min(n - start);
        }
        ends.into_iter().max().unwrap()
    }

    #[test]
    fn pieces_are_cut_so_that_threads_end_together() {
        for n_threads in 1..=5 {
            let threads = Threads::new(n_threads);
            for n in 1..100 {
                let size = threads.fairest(n, 1..=n);
                let soonest = (1..=n).map(|size| end(n_threads, n, size)).min().unwrap();
                assert_eq!(end(n_threads, n, size), soonest, "{n} on {n_threads} threads");
            }
        }
        let threads = Threads::new(2);
        assert_eq!(threads.fairest(72, 18..=36), 18);
        assert_eq!(threads.fairest(72, (18..=36).rev()), 36);
        assert_eq!(threads.fairest(26, (4..=8).rev()), 7);
    }

    #[test]
    fn every_piece_is_done_once() {
        let mut threads = Threads::new(3);
        for n in [0, 1, 2, 1000] {
            let mut out = vec![0u32; n];
            let pieces = Queue::new(out.iter_mut());
            threads.run(|_| {
                while let Some(piece) = pieces.next() {
                    *piece += 1;
                }
            });
            assert!(out.iter().all(|&x| x == 1));
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_threads_live_on() {
        let mut threads = Threads::new(2);
        let calls = AtomicUsize::new(0);
        let result = catch_unwind(AssertUnwindSafe(|| {
            threads.run(|_| {
                calls.fetch_add(1, Ordering::Relaxed);
                panic!("on purpose");
            });
        }));
        assert!(result.is_err());
        assert_eq!(calls.load(Ordering::Relaxed), 2);
        let after = AtomicUsize::new(0);
        threads.run(|_| {
            after.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(after.load(Ordering::Relaxed), 2);
    }
}
