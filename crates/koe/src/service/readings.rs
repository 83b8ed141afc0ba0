//! What the service measures of itself: Prometheus metrics, and the last few hundred first sounds
//! for percentiles that are exact.
//!
//! Every number is a reading. Nothing here knows of HTTP but the name of the format it is shown in.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::job::Failure;
use crate::pipeline::{Error, Summary};

/// The bounds of the first-sound histogram, in seconds: those of OpenTelemetry's time to first
/// token, and one more where speech is won or lost.
pub const FIRST_AUDIO_BOUNDS: [f64; 17] = [
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5,
    10.0,
];
const RTF_BOUNDS: [f64; 13] =
    [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0];

/// How many first sounds are remembered exactly.
const RECENT: usize = 512;

type FloatCounter = Counter<f64, AtomicU64>;

/// The label of requests.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
    status: u16,
}

/// The label of jobs.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
    isa: String,
}

/// Counters, gauges and histograms of one service.
pub struct Readings {
    registry: Registry,
    started: Instant,
    first_audio: Histogram,
    rtf: Histogram,
    queue_wait: Histogram,
    audio_seconds: FloatCounter,
    compute_seconds: FloatCounter,
    input_tokens: Counter,
    jobs: Family<Outcome, Counter>,
    requests: Family<Route, Counter>,
    inflight: Gauge,
    queued: Gauge,
    resident: Gauge,
    /// Samples of sound, for the sum above.
    samples: AtomicU64,
    recent: Mutex<VecDeque<f64>>,
    /// Answers by status, for people.
    statuses: Mutex<std::collections::BTreeMap<u16, u64>>,
    cancelled: AtomicU64,
    local_chunks: Counter,
}

/// What people are shown of the first sounds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FirstAudio {
    /// How many are counted here: the last ones.
    pub count: usize,
    /// Half came within so many seconds.
    pub p50: Option<f64>,
    /// And nineteen of twenty within so many.
    pub p95: Option<f64>,
    /// For every bound in seconds, how many came within it.
    pub buckets: Vec<(f64, usize)>,
}

impl Readings {
    /// All at zero.
    pub fn new(isa: &str) -> Self {
        let mut registry = Registry::with_prefix("koe");
        let first_audio = Histogram::new(FIRST_AUDIO_BOUNDS);
        let rtf = Histogram::new(RTF_BOUNDS);
        let queue_wait = Histogram::new(FIRST_AUDIO_BOUNDS);
        let (audio_seconds, compute_seconds) = (FloatCounter::default(), FloatCounter::default());
        let (input_tokens, jobs, requests) =
            (Counter::default(), Family::default(), Family::default());
        let (inflight, queued, resident) = (Gauge::default(), Gauge::default(), Gauge::default());
        let build: Family<Build, Gauge> = Family::default();
        build.get_or_create(&Build { version: env!("CARGO_PKG_VERSION"), isa: isa.into() }).set(1);
        registry.register_with_unit(
            "time_to_first_audio",
            "From a request's arrival to its first bytes of sound",
            Unit::Seconds,
            first_audio.clone(),
        );
        registry.register(
            "real_time_factor",
            "Time to compute a chunk over the time it sounds",
            rtf.clone(),
        );
        registry.register_with_unit(
            "queue_wait",
            "Time that a chunk waited for a lane",
            Unit::Seconds,
            queue_wait.clone(),
        );
        registry.register_with_unit("audio", "Sound made", Unit::Seconds, audio_seconds.clone());
        registry.register_with_unit(
            "compute",
            "Time that lanes computed",
            Unit::Seconds,
            compute_seconds.clone(),
        );
        registry.register("input_tokens", "Tokens given to the model", input_tokens.clone());
        registry.register("jobs", "Speech jobs that ended, by outcome", jobs.clone());
        registry.register("requests", "Answers, by route and status", requests.clone());
        registry.register("inflight", "Speech jobs now", inflight.clone());
        registry.register("queue_depth", "Chunks that wait for a lane now", queued.clone());
        registry.register_with_unit(
            "resident_memory",
            "Memory of this process",
            Unit::Bytes,
            resident.clone(),
        );
        let local_chunks = Counter::default();
        registry.register(
            "local_chunks",
            "Chunks computed for commands on this machine",
            local_chunks.clone(),
        );
        registry.register("build", "Always 1; the labels tell the build", build);
        Self {
            registry,
            started: Instant::now(),
            first_audio,
            rtf,
            queue_wait,
            audio_seconds,
            compute_seconds,
            input_tokens,
            jobs,
            requests,
            inflight,
            queued,
            resident,
            samples: AtomicU64::new(0),
            recent: Mutex::default(),
            statuses: Mutex::default(),
            cancelled: AtomicU64::new(0),
            local_chunks,
        }
    }

    /// Since when this counts.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// A request's first sound came after so long.
    pub(super) fn first_audio(&self, after: Duration) {
        let seconds = after.as_secs_f64();
        self.first_audio.observe(seconds);
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() == RECENT {
            recent.pop_front();
        }
        recent.push_back(seconds);
    }

    pub(super) fn waited(&self, wait: Duration) {
        self.queue_wait.observe(wait.as_secs_f64());
    }

    pub(super) fn synthesis(&self, tokens: usize, samples: u64, took: Duration) {
        self.input_tokens.inc_by(tokens as u64);
        self.compute_seconds.inc_by(took.as_secs_f64());
        if samples > 0 {
            self.rtf.observe(took.as_secs_f64() / koe_audio::seconds(samples));
        }
    }

    pub(super) fn sound(&self, samples: u64) {
        self.samples.fetch_add(samples, Ordering::Relaxed);
        self.audio_seconds.inc_by(koe_audio::seconds(samples));
    }

    pub(super) fn job_began(&self) {
        self.inflight.inc();
    }

    pub(super) fn job_ended(&self, outcome: &Result<Summary, Failure>) {
        let outcome = match outcome {
            Ok(_) => "done",
            Err(Failure::Speech(Error::Cancelled)) => {
                self.cancelled.fetch_add(1, Ordering::Relaxed);
                "cancelled"
            }
            Err(Failure::Overloaded) => "overloaded",
            Err(Failure::Stalled) => "stalled",
            Err(Failure::Speech(Error::Panicked(_)) | Failure::Lost) => "panicked",
            Err(Failure::Speech(_)) => "failed",
        };
        self.jobs.get_or_create(&Outcome { outcome }).inc();
    }

    pub(super) fn job_gone(&self) {
        self.inflight.dec();
    }

    /// A request was answered.
    pub fn answered(&self, route: &str, status: u16) {
        self.requests.get_or_create(&Route { route: route.to_owned(), status }).inc();
        let mut statuses = self.statuses.lock().unwrap_or_else(PoisonError::into_inner);
        *statuses.entry(status).or_default() += 1;
    }

    /// Answers by status.
    pub fn statuses(&self) -> std::collections::BTreeMap<u16, u64> {
        self.statuses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Speech jobs now.
    pub fn inflight(&self) -> u64 {
        self.inflight.get().max(0).unsigned_abs()
    }

    /// Jobs whose listener left.
    pub fn cancelled(&self) -> u64 {
        self.cancelled.load(Ordering::Relaxed)
    }

    pub(crate) fn local_chunk(&self) {
        self.local_chunks.inc();
    }

    /// Chunks computed for commands on this machine.
    pub fn local_chunks(&self) -> u64 {
        self.local_chunks.get()
    }

    /// Seconds of sound, and seconds of computing it.
    pub fn totals(&self) -> (f64, f64) {
        (self.audio_seconds.get(), self.compute_seconds.get())
    }

    /// The first sounds of the last requests.
    pub fn recent_first_audio(&self) -> FirstAudio {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sorted: Vec<f64> = recent.iter().copied().collect();
        drop(recent);
        sorted.sort_by(f64::total_cmp);
        let quantile = |q: f64| {
            let at = (sorted.len() as f64 * q).ceil() as usize;
            sorted.get(at.max(1) - 1).copied()
        };
        let within = |bound| sorted.iter().filter(|&&seconds| seconds <= bound).count();
        FirstAudio {
            count: sorted.len(),
            p50: quantile(0.5),
            p95: quantile(0.95),
            buckets: FIRST_AUDIO_BOUNDS.iter().map(|&bound| (bound, within(bound))).collect(),
        }
    }

    /// Everything in the text format of OpenMetrics, which Prometheus reads.
    pub fn expose(&self, queued: usize, resident_bytes: Option<u64>) -> String {
        self.queued.set(queued.try_into().unwrap_or(i64::MAX));
        self.resident.set(resident_bytes.and_then(|bytes| bytes.try_into().ok()).unwrap_or(0));
        let mut out = String::new();
        // Writing to a string does not fail.
        let _ = text::encode(&mut out, &self.registry);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_last_first_sounds() {
        let readings = Readings::new("test");
        assert_eq!(readings.recent_first_audio().p50, None);
        for ms in 1..=1000 {
            readings.first_audio(Duration::from_millis(ms));
        }
        let shown = readings.recent_first_audio();
        assert_eq!(shown.count, RECENT);
        assert_eq!((shown.p50, shown.p95), (Some(0.744), Some(0.975)));
        assert_eq!(shown.buckets.last(), Some(&(10.0, RECENT)));
        assert_eq!(shown.buckets[0], (0.001, 0));
    }

    #[test]
    fn the_exposition_has_every_metric_by_its_name() {
        let readings = Readings::new("avx512");
        readings.first_audio(Duration::from_millis(42));
        readings.answered("/v1/audio/speech", 200);
        readings.job_ended(&Err(Failure::Overloaded));
        let text = readings.expose(3, Some(1 << 20));
        for line in [
            "koe_time_to_first_audio_seconds_bucket{le=\"0.06\"} 1",
            "koe_requests_total{route=\"/v1/audio/speech\",status=\"200\"} 1",
            "koe_jobs_total{outcome=\"overloaded\"} 1",
            "koe_queue_depth 3",
            "koe_resident_memory_bytes 1048576",
            "# EOF",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
