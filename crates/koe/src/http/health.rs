//! Probes, the state for people, and metrics for machines.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::sessions::{self, SessionUtilization};
use crate::machine;
use crate::service;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(health))
        .routes(routes!(live))
        .routes(routes!(ready))
        .routes(routes!(startup))
        .routes(routes!(startup_progress))
        .routes(routes!(status))
        .routes(routes!(metrics))
}

/// Whether the server can speak.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct HealthReply {
    /// `ready`, `starting` or `draining`.
    status: &'static str,
    /// Whether the first synthesis has succeeded.
    model_ready: bool,
    /// How far the start is, in percent.
    progress: u8,
    /// One sentence.
    message: String,
    /// From the start to the end of the first synthesis.
    ready_after_ms: Option<f64>,
    /// To the first sound of the sentence that proved it.
    first_audio_ms: Option<f64>,
}

impl HealthReply {
    /// Before there is a service.
    pub(super) fn opening() -> Self {
        Self {
            status: "starting",
            model_ready: false,
            progress: 10,
            message: "the model is being opened; a first start packs its weights".into(),
            ready_after_ms: None,
            first_audio_ms: None,
        }
    }
}

/// From the start of the process until the first sentence was spoken.
pub(super) fn ready_after_ms(service: &service::Service) -> Option<f64> {
    match service.state() {
        service::State::Ready(proof) => Some(ms(proof.ready_after)),
        service::State::Starting(_) => None,
    }
}

fn ms(duration: std::time::Duration) -> f64 {
    (duration.as_secs_f64() * 1e5).round() / 100.0
}

fn reply(app: &App) -> (StatusCode, HealthReply) {
    let state = app.service.state();
    let (mut status, mut code) = ("starting", StatusCode::SERVICE_UNAVAILABLE);
    let (model_ready, progress, message, proof) = match state {
        service::State::Ready(proof) => {
            (status, code) = ("ready", StatusCode::OK);
            (
                true,
                100,
                "ready: a sentence was spoken through the path that requests take".into(),
                Some(proof),
            )
        }
        service::State::Starting(None) => {
            (false, 80, "the first sentence is being spoken".into(), None)
        }
        service::State::Starting(Some(problem)) => {
            (false, 80, format!("the first sentence failed and is tried again: {problem}"), None)
        }
    };
    if app.service.is_draining() {
        (status, code) = ("draining", StatusCode::SERVICE_UNAVAILABLE);
    }
    let reply = HealthReply {
        status,
        model_ready,
        progress,
        message,
        ready_after_ms: proof.map(|proof| ms(proof.ready_after)),
        first_audio_ms: proof.map(|proof| ms(proof.first_audio)),
    };
    (code, reply)
}

fn answer(app: &App) -> Response {
    let (code, reply) = reply(app);
    (code, axum::Json(reply)).into_response()
}

/// Whether the server can speak: 200 once it has spoken, else 503.
#[utoipa::path(get, path = "/health", tag = "state", responses(
    (status = 200, description = "It can", body = HealthReply),
    (status = 503, description = "Not yet, or no longer", body = HealthReply)))]
async fn health(app: State<Arc<App>>) -> Response {
    answer(&app)
}

/// Whether the process answers; says nothing about the model.
#[utoipa::path(get, path = "/health/live", tag = "state",
    responses((status = 200, description = "It does")))]
async fn live() -> &'static str {
    "live\n"
}

/// The same as `/health`, for readiness probes.
#[utoipa::path(get, path = "/health/ready", tag = "state", responses(
    (status = 200, description = "It can", body = HealthReply),
    (status = 503, description = "Not yet, or no longer", body = HealthReply)))]
async fn ready(app: State<Arc<App>>) -> Response {
    answer(&app)
}

/// Whether the start is over; stays 200 while the server drains.
#[utoipa::path(get, path = "/health/startup", tag = "state", responses(
    (status = 200, description = "It is", body = HealthReply),
    (status = 503, description = "Not yet", body = HealthReply)))]
async fn startup(app: State<Arc<App>>) -> Response {
    let (_, reply) = reply(&app);
    let code = if reply.model_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, axum::Json(reply)).into_response()
}

/// How far the start is; always 200.
#[utoipa::path(get, path = "/startup-progress", tag = "state",
    responses((status = 200, description = "Progress", body = HealthReply)))]
async fn startup_progress(app: State<Arc<App>>) -> axum::Json<HealthReply> {
    axum::Json(reply(&app).1)
}

/// The server's state; every number is a reading.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct StatusReply {
    version: &'static str,
    ready: bool,
    /// `ready`, `starting` or `draining`.
    state: &'static str,
    uptime_seconds: f64,
    startup: StartupStatus,
    hardware: HardwareStatus,
    model: ModelStatus,
    engine: EngineStatus,
    requests: RequestStatus,
    /// Of the last 512 requests at most.
    first_audio_ms: FirstAudioStatus,
    /// Time to compute over the time it sounds, over all since the start.
    real_time_factor: Option<f64>,
    audio_seconds: f64,
    compute_seconds: f64,
    /// Which kind of session spoke how much.
    session_utilization: SessionUtilization,
    memory: MemoryStatus,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct HardwareStatus {
    platform: &'static str,
    architecture: &'static str,
    processor: Option<String>,
    /// Threads that this process may run at once.
    threads: usize,
    /// Processors' worth of time that its control groups allow; none where there is no quota.
    cpu_quota: Option<f64>,
    /// Memory nodes.
    numa_nodes: Option<usize>,
    memory_bytes: Option<u64>,
    /// Device files of graphics cards and of other accelerators.
    accelerators: Vec<String>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct StartupStatus {
    /// From the start of the process until the model was open.
    model_open_after_ms: f64,
    /// Whether the weights had to be packed first.
    packed_now: bool,
    ready_after_ms: Option<f64>,
    first_audio_ms: Option<f64>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct ModelStatus {
    id: String,
    /// `f32`, `bf16` or `bf16-tiles`.
    precision: &'static str,
    voices: usize,
    /// What whoever listens should know, such as that this is the small built-in voice.
    notice: Option<String>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct EngineStatus {
    /// Instruction set of the kernels.
    isa: &'static str,
    /// Syntheses at once.
    lanes: usize,
    busy_lanes: usize,
    /// Threads of each.
    threads: usize,
    /// Of the mapped weights; none where they are not mapped from a file.
    residency: Option<ResidencyStatus>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct ResidencyStatus {
    resident_bytes: usize,
    total_bytes: usize,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct RequestStatus {
    /// Speech jobs now, waiting ones included.
    inflight: u64,
    /// The most there may be.
    limit: usize,
    /// Chunks that wait for a lane.
    queued: usize,
    /// Answers of every kind since the start.
    total: u64,
    by_status: BTreeMap<String, u64>,
    /// Jobs whose listener left.
    cancelled: u64,
    /// Chunks computed for `koe say` on this machine.
    local_chunks: u64,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct FirstAudioStatus {
    count: usize,
    p50: Option<f64>,
    p95: Option<f64>,
    /// How many came within each bound.
    buckets: Vec<BucketStatus>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct BucketStatus {
    /// In seconds.
    le: f64,
    count: usize,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct MemoryStatus {
    rss_bytes: Option<u64>,
    peak_bytes: Option<u64>,
    /// What this process may use: of the machine, or of its control group.
    limit_bytes: Option<u64>,
}

/// The server's state, for people and dashboards.
#[utoipa::path(get, path = "/status", tag = "state",
    responses((status = 200, description = "The state", body = StatusReply)))]
async fn status(State(app): State<Arc<App>>) -> axum::Json<StatusReply> {
    let (_, health) = reply(&app);
    let service = &app.service;
    let (readings, lanes, library) = (service.readings(), service.lanes(), service.library());
    let first = readings.recent_first_audio();
    let to_ms = |seconds: Option<f64>| seconds.map(|seconds| (seconds * 1e5).round() / 100.0);
    let statuses = readings.statuses();
    let (audio, compute) = readings.totals();
    let root = Path::new("/");
    let memory = machine::process_memory(root);
    axum::Json(StatusReply {
        version: env!("CARGO_PKG_VERSION"),
        ready: health.status == "ready",
        state: health.status,
        uptime_seconds: readings.uptime().as_secs_f64(),
        hardware: HardwareStatus {
            platform: std::env::consts::OS,
            architecture: std::env::consts::ARCH,
            processor: machine::processor(root),
            threads: machine::threads(),
            cpu_quota: machine::cpu_quota(root),
            numa_nodes: machine::numa_nodes(root),
            memory_bytes: machine::memory_bytes(root),
            accelerators: machine::accelerators(root),
        },
        startup: StartupStatus {
            model_open_after_ms: ms(service.model_open_after()),
            packed_now: library.model().was_packed_now(),
            ready_after_ms: health.ready_after_ms,
            first_audio_ms: health.first_audio_ms,
        },
        model: ModelStatus {
            id: library.model_name(),
            precision: library.model().precision().name(),
            voices: library.model().voices().len(),
            notice: library.notice().map(str::to_owned),
        },
        engine: EngineStatus {
            isa: service.isa().name(),
            lanes: lanes.count(),
            busy_lanes: lanes.busy(),
            threads: lanes.threads(),
            residency: library.model().residency().map(|(resident_bytes, total_bytes)| {
                ResidencyStatus { resident_bytes, total_bytes }
            }),
        },
        requests: RequestStatus {
            inflight: readings.inflight(),
            limit: service.max_jobs(),
            queued: lanes.waiting(),
            total: statuses.values().sum(),
            by_status: statuses.iter().map(|(code, n)| (code.to_string(), *n)).collect(),
            cancelled: readings.cancelled(),
            local_chunks: readings.local_chunks(),
        },
        first_audio_ms: FirstAudioStatus {
            count: first.count,
            p50: to_ms(first.p50),
            p95: to_ms(first.p95),
            buckets: first.buckets.iter().map(|&(le, count)| BucketStatus { le, count }).collect(),
        },
        real_time_factor: (audio > 0.0).then(|| compute / audio),
        audio_seconds: audio,
        compute_seconds: compute,
        session_utilization: sessions::utilization(service),
        memory: MemoryStatus {
            rss_bytes: memory.map(|memory| memory.resident_bytes),
            peak_bytes: memory.map(|memory| memory.peak_bytes),
            limit_bytes: machine::usable_memory_bytes(root),
        },
    })
}

/// Metrics in the text format of OpenMetrics.
#[utoipa::path(get, path = "/metrics", tag = "state",
    responses((status = 200, description = "Metrics", content_type = "application/openmetrics-text")))]
async fn metrics(State(app): State<Arc<App>>) -> Response {
    let text = app.service.expose();
    let media = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, media)], text).into_response()
}
