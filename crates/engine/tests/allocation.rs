//! After warm-up a synthesis allocates nothing, in any thread.
//!
//! One test alone in its binary, so that nothing else allocates meanwhile.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use koe_engine::{Cancel, Model, Precision, Request, Session};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is handed on to the system's allocator as it is.
#[expect(unsafe_code, reason = "an allocator that counts is an unsafe trait")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's obligations are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's obligations are the same.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static GLOBAL: Counting = Counting;

#[test]
fn a_warm_session_allocates_nothing() {
    for precision in [Precision::F32, Precision::Bf16, Precision::Bf16Tiles] {
        let model = Model::builtin_in(precision).unwrap();
        for n_threads in [1, 2] {
            check(&model, n_threads);
        }
    }
}

fn check(model: &Model, n_threads: usize) {
    let voice = model.voice("am_rms").unwrap();
    let tokens: Vec<u16> = (0..60).map(|i| 43 + i % 20).collect();
    let mut session = Session::new(model, n_threads);
    let mut speak = |n: usize, seed| {
        let request = Request { tokens: &tokens[..n], style: voice.style(n), speed: 1.0, seed };
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        let n_samples = session.synthesize(&request, &Cancel::new()).unwrap().samples.len();
        (ALLOCATIONS.load(Ordering::Relaxed) - before, n_samples)
    };
    let (cold, _) = speak(60, 1);
    assert!(cold > 0, "the counter does not count");
    // `Cancel::new` above is the caller's own, and the one allocation.
    for (n, seed) in [(60, 2), (20, 3), (1, 4), (45, 5), (60, 6)] {
        assert_eq!(speak(n, seed).0, 1, "{n} tokens, {n_threads} threads");
    }
}
