//! The kinds of session that speak, in numbers: the native engine, and the accelerator if there is
//! one. Shown in `/status` and `/optimization/cache-performance`.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::service::{NATIVE, Service};

/// Which kind of session spoke how much.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct SessionUtilization {
    /// Whether requests may go to an accelerator now.
    accelerator_available: bool,
    /// Of all kinds, fallbacks counted twice; none where no accelerator is wanted.
    total_requests: Option<u64>,
    /// The native engine, then the accelerator; none where no accelerator is wanted.
    kinds: Vec<SessionKind>,
}

/// What one kind of session has done since the start.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct SessionKind {
    /// `native`, `cuda` and so on; what the setting says while an accelerator has not opened.
    name: String,
    /// `opening`, `ready`, `busy`, `closed` (it failed and is tried again), `stuck` (it did not
    /// answer) or `unavailable`.
    state: &'static str,
    /// Why it cannot speak, or what was wrong last.
    problem: Option<String>,
    /// How often a model was loaded for it.
    loads: u64,
    load_ms: Option<f64>,
    /// For listeners.
    requests: u64,
    /// For nobody: to see how fast it is, or whether it works again.
    trials: u64,
    /// Failures by reason.
    errors: BTreeMap<&'static str, u64>,
    /// Requests that began here and ended with the other kind.
    fallbacks: u64,
    timeouts: u64,
    /// Requests that it was too busy for.
    too_busy: u64,
    compute_seconds: f64,
    tokens: u64,
    /// Since it spoke last.
    idle_seconds: Option<f64>,
    /// Its speed by length of the text.
    lengths: Vec<LengthSpeed>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct LengthSpeed {
    up_to_tokens: usize,
    runs: u64,
    /// Of the last nine runs.
    median_ms_per_token: Option<f64>,
}

pub(super) fn utilization(service: &Service) -> SessionUtilization {
    let kinds = service.lanes().router().map(|router| router.kinds().0).unwrap_or_default();
    let native_loads = || service.library().open_models().iter().map(|(_, _, loads)| loads).sum();
    let thousandth = |seconds: f64| (seconds * 1e6).round() / 1e3;
    SessionUtilization {
        accelerator_available: kinds.iter().skip(1).any(koe_onnx::Kind::is_available),
        total_requests: (!kinds.is_empty()).then(|| kinds.iter().map(|kind| kind.requests).sum()),
        kinds: kinds
            .into_iter()
            .map(|kind| SessionKind {
                loads: if kind.name == NATIVE { native_loads() } else { kind.loads },
                load_ms: (kind.loads > 0).then(|| thousandth(kind.load_seconds)),
                name: kind.name,
                state: kind.state.name(),
                problem: kind.problem,
                requests: kind.requests,
                trials: kind.trials,
                errors: kind.errors,
                fallbacks: kind.fallbacks,
                timeouts: kind.timeouts,
                too_busy: kind.too_busy,
                compute_seconds: kind.seconds,
                tokens: kind.tokens,
                idle_seconds: kind.since_last_use.map(|since| since.as_secs_f64()),
                lengths: kind
                    .lengths
                    .iter()
                    .map(|length| LengthSpeed {
                        up_to_tokens: length.up_to_tokens,
                        runs: length.runs,
                        median_ms_per_token: length.median_seconds_per_token.map(thousandth),
                    })
                    .collect(),
            })
            .collect(),
    }
}
