//! [`Cancel`]: how a running synthesis is told to stop.
//!
//! The native engine looks at it between layers. Other runtimes cannot look, and are told: they
//! register what stops them with [`Cancel::watch`].

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type Call = Arc<dyn Fn() + Send + Sync>;

/// Tells a running synthesis to stop; looked at between layers. A clone is another handle to the
/// same.
#[derive(Clone, Default)]
pub struct Cancel(Arc<Inner>);

#[derive(Default)]
struct Inner {
    is_set: AtomicBool,
    calls: Mutex<Calls>,
}

#[derive(Default)]
struct Calls {
    next: u64,
    known: Vec<(u64, Call)>,
}

impl Inner {
    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cancel {
    /// Not yet cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks every synthesis that holds a clone of this to stop.
    pub fn cancel(&self) {
        self.0.is_set.store(true, Ordering::SeqCst);
        let calls: Vec<Call> =
            self.0.calls().known.iter().map(|(_, call)| Arc::clone(call)).collect();
        // Not under the lock: a call may drop a watch.
        calls.iter().for_each(|call| call());
    }

    /// Whether [`Cancel::cancel`] was called.
    pub fn is_cancelled(&self) -> bool {
        self.0.is_set.load(Ordering::Relaxed)
    }

    /// Calls `call` when this is cancelled, or at once if it is already; perhaps more than once,
    /// on any thread, until the watch is dropped, and at most a moment longer.
    pub fn watch(&self, call: impl Fn() + Send + Sync + 'static) -> Watch {
        let call: Call = Arc::new(call);
        let number = {
            let mut calls = self.0.calls();
            calls.next += 1;
            let number = calls.next;
            calls.known.push((number, Arc::clone(&call)));
            number
        };
        // Whoever cancelled before the lock was taken did not see the new call.
        if self.is_cancelled() {
            call();
        }
        Watch { cancel: self.clone(), number }
    }
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cancel").field(&self.is_cancelled()).finish()
    }
}

/// A call that is made on cancellation; dropping it takes the call back.
#[derive(Debug)]
#[must_use = "dropping it takes the call back"]
pub struct Watch {
    cancel: Cancel,
    number: u64,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.cancel.0.calls().known.retain(|(number, _)| *number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    fn counter() -> (Arc<AtomicUsize>, impl Fn() + Send + Sync + 'static) {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        (count, move || _ = counted.fetch_add(1, Ordering::SeqCst))
    }

    #[test]
    fn whoever_watches_is_called_and_whoever_stopped_watching_is_not() {
        let cancel = Cancel::new();
        let ((watching, call), (gone, call_gone)) = (counter(), counter());
        let _watch = cancel.clone().watch(call);
        drop(cancel.watch(call_gone));
        assert_eq!(watching.load(Ordering::SeqCst), 0);
        cancel.cancel();
        assert!(cancel.is_cancelled());
        assert_eq!((watching.load(Ordering::SeqCst), gone.load(Ordering::SeqCst)), (1, 0));
    }

    #[test]
    fn a_watch_of_what_is_cancelled_already_is_called_at_once() {
        let cancel = Cancel::new();
        cancel.cancel();
        let (count, call) = counter();
        let _watch = cancel.watch(call);
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn no_cancellation_is_missed_in_a_race() {
        for _ in 0..200 {
            let cancel = Cancel::new();
            let (count, call) = counter();
            std::thread::scope(|scope| {
                scope.spawn(|| cancel.cancel());
                let watch = cancel.watch(call);
                while !cancel.is_cancelled() {
                    std::thread::yield_now();
                }
                std::mem::forget(watch);
            });
            assert!(count.load(Ordering::SeqCst) > 0);
        }
    }
}
