//! What happens to an accelerator, told to whoever keeps the log.

use std::time::Duration;

/// What happened to an accelerator, for the log: one line each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Event {
    /// It is there.
    #[error("accelerator {kind} opened in {} ms", after.as_millis())]
    Opened {
        /// Which.
        kind: String,
        /// How long it took.
        after: Duration,
    },
    /// It failed.
    #[error("accelerator {kind}: {problem}; the native engine speaks, {}", again(*retry))]
    Failed {
        /// Which.
        kind: String,
        /// What it said.
        problem: String,
        /// After what time it is tried again, if it is.
        retry: Option<Duration>,
    },
    /// It did not answer.
    #[error("accelerator {kind} did not answer within {} ms; the native engine speaks", after.as_millis())]
    TimedOut {
        /// Which.
        kind: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// It answered in the end.
    #[error("accelerator {kind} came back after {} ms", after.as_millis())]
    CameBack {
        /// Which.
        kind: String,
        /// After what time.
        after: Duration,
    },
}

fn again(retry: Option<Duration>) -> String {
    match retry {
        Some(retry) => format!("and it is tried again in {} ms", retry.as_millis()),
        None => "and it is not tried again".to_owned(),
    }
}

/// Hears of events, on whichever thread they happen.
pub type Listener = Box<dyn Fn(Event) + Send + Sync>;
