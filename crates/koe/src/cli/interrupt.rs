//! Ctrl-C, and the signals that mean the same: the first stops the work cleanly, which removes
//! what is half made, the second at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Exit, Failure};

/// What is called on the first signal.
type Stop = Box<dyn Fn() + Send>;

/// The process's handler of signals.
#[derive(Clone, Default)]
pub(super) struct Interrupt {
    stop: Arc<Mutex<Option<Stop>>>,
    happened: Arc<AtomicBool>,
}

impl Interrupt {
    /// Takes over the signals. Until [`Interrupt::on_signal`] says what to do, the first is only
    /// remembered; that must not be for long.
    pub(super) fn install() -> Result<Self, Failure> {
        let interrupt = Self::default();
        let handler = interrupt.clone();
        ctrlc::set_handler(move || {
            let first = !handler.happened.swap(true, Ordering::SeqCst);
            if !first {
                std::process::exit(Exit::Interrupted as i32);
            }
            if let Some(stop) = &*handler.stop.lock().unwrap_or_else(PoisonError::into_inner) {
                stop();
            }
        })
        .map_err(|error| Failure::failed(format!("cannot handle signals: {error}")))?;
        Ok(interrupt)
    }

    /// Ends the process on the first signal, at once if that has come already, after calling
    /// `clean`. For the time in which nothing looks whether there was a signal, as while a model is
    /// opened.
    pub(super) fn exit_on_signal(&self, clean: impl Fn() + Send + 'static) {
        self.on_signal(move || {
            clean();
            std::process::exit(Exit::Interrupted as i32);
        });
    }

    /// Calls `stop` on the first signal, at once if that has come already, instead of what was
    /// called for before; the caller then ends by itself.
    pub(super) fn on_signal(&self, stop: impl Fn() + Send + 'static) {
        let mut place = self.stop.lock().unwrap_or_else(PoisonError::into_inner);
        if self.happened() {
            stop();
        }
        *place = Some(Box::new(stop));
    }

    /// Whether there was one.
    pub(super) fn happened(&self) -> bool {
        self.happened.load(Ordering::SeqCst)
    }
}
