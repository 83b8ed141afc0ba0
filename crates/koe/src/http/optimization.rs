//! What keeps the server ready and bounded, in numbers: each is a reading, taken when asked for.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use koe_priming::warmup::Record;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::sessions::{self, SessionUtilization};
use crate::machine;
use crate::service::Service;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(summary))
        .routes(routes!(warmup_stats))
        .routes(routes!(cache_performance))
        .routes(routes!(keep_alive_status))
        .routes(routes!(memory_management))
}

fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e5).round() / 100.0
}

fn mb(bytes: u64) -> f64 {
    (bytes as f64 / 1e4).round() / 100.0
}

/// Warm-ups: each pattern runs once, whoever asks.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct WarmupStats {
    /// Patterns that were run with success.
    completed_patterns: usize,
    /// Stages with at least one of them: `cold_start`, `minimal`, `dual_session`, `pipeline`,
    /// `extended`.
    completed_stages: Vec<&'static str>,
    /// Runs that were not made because another asker's was shared.
    spared_runs: u64,
    /// Each pattern, by stage and text.
    stage_results: BTreeMap<&'static str, BTreeMap<String, PatternResult>>,
    /// Warming in the background after the start.
    extended_warming: ExtendedWarming,
    /// The speed of this machine with this model.
    tuning: Option<TuningStatus>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct PatternResult {
    voice: String,
    speed: f64,
    language: String,
    /// The kind of session that computed it.
    session: String,
    runs: u64,
    failures: u64,
    spared_runs: u64,
    /// Since the start; none while it runs for the first time.
    completed_at_ms: Option<f64>,
    duration_ms: Option<f64>,
    error: Option<String>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct ExtendedWarming {
    enabled: bool,
    /// From its begin to its end, once it has ended.
    duration_ms: Option<f64>,
    /// How often it gave way to a request.
    interrupted: u64,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct TuningStatus {
    threads: usize,
    real_time_factor: f64,
    /// Whether it was measured at an earlier start.
    recalled: bool,
    /// Whether there was a memory of another machine, which was not used.
    was_stale: bool,
    /// The wished length of a first chunk, in phonemes, that follows from it.
    first_chunk_symbols: usize,
}

fn warmups(service: &Service) -> WarmupStats {
    let priming = service.priming();
    let stats = priming.coordinator().stats();
    let mut stage_results: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for record in &stats.records {
        let results = stage_results.entry(record.stage.name()).or_default();
        results.insert(record.pattern.text.clone(), pattern(record));
    }
    let extended = priming.extended();
    WarmupStats {
        completed_patterns: stats.completed(),
        completed_stages: stats.completed_stages().iter().map(|stage| stage.name()).collect(),
        spared_runs: stats.spared(),
        stage_results,
        extended_warming: ExtendedWarming {
            enabled: extended.enabled,
            duration_ms: extended.took.map(ms),
            interrupted: extended.interrupted,
        },
        tuning: priming.tuned().map(|tuned| TuningStatus {
            threads: service.lanes().threads(),
            real_time_factor: tuned.measured.real_time_factor,
            recalled: tuned.recalled,
            was_stale: tuned.was_stale,
            first_chunk_symbols: service.settings().ramp.first,
        }),
    }
}

fn pattern(record: &Record) -> PatternResult {
    let outcome = record.outcome.as_ref();
    PatternResult {
        voice: record.pattern.voice.clone(),
        speed: f64::from(record.pattern.speed_milli) / 1000.0,
        language: record.pattern.language.clone(),
        session: record.pattern.session.clone(),
        runs: record.runs,
        failures: record.failures,
        spared_runs: record.spared,
        completed_at_ms: outcome.map(|outcome| ms(outcome.at)),
        duration_ms: outcome.map(|outcome| ms(outcome.took)),
        error: outcome.and_then(|outcome| outcome.error.clone()),
    }
}

/// What is kept instead of being made anew: weights, sessions, mixed voices.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct CachePerformance {
    /// The models that are open; every session of one shares its weights.
    models: Vec<ModelCache>,
    /// Sessions that hold the memory of past syntheses ready.
    sessions: usize,
    /// Which kind of session spoke how much.
    session_kinds: SessionUtilization,
    voices: VoiceCache,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct ModelCache {
    id: String,
    /// Names the checkpoint and the precision.
    identity: String,
    /// `f32`, `bf16` or `bf16-tiles`.
    precision: &'static str,
    /// How often its files were opened since the start.
    loads: u64,
    weights_mb: f64,
    /// Whether they are mapped from a packed file.
    mapped: bool,
    /// Whether this start had to pack them first.
    packed_now: bool,
    /// How much of the mapped weights is in memory; none if the system does not tell.
    resident_mb: Option<f64>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct VoiceCache {
    entries: usize,
    hits: u64,
    misses: u64,
    hit_rate: Option<f64>,
}

fn caches(service: &Service) -> CachePerformance {
    let library = service.library();
    let models = library.open_models().into_iter().map(|(id, model, loads)| {
        let (bytes, mapped) = model.packed_bytes();
        ModelCache {
            id,
            identity: model.identity().to_owned(),
            precision: model.precision().name(),
            loads,
            weights_mb: mb(bytes as u64),
            mapped,
            packed_now: model.was_packed_now(),
            resident_mb: model.residency().map(|(resident, _)| mb(resident as u64)),
        }
    });
    let (hits, misses) = library.cast_lookups();
    CachePerformance {
        models: models.collect(),
        sessions: service.lanes().sessions(),
        session_kinds: sessions::utilization(service),
        voices: VoiceCache {
            entries: library.casts_kept(),
            hits,
            misses,
            hit_rate: (hits + misses > 0).then(|| hits as f64 / (hits + misses) as f64),
        },
    }
}

/// What keeps the server warm between requests.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct KeepAliveStatus {
    enabled: bool,
    /// Whether it ticks now: from when the server is ready on, if it is enabled.
    running: bool,
    interval_seconds: f64,
    idle_threshold_seconds: f64,
    /// How long nobody has asked for anything.
    idle_seconds: Option<f64>,
    next_tick_in_seconds: Option<f64>,
    /// Ticks that went to their end.
    ticks: u64,
    /// Times when none was needed, because requests kept it warm.
    skipped_active: u64,
    /// Ticks that a request ended.
    interrupted: u64,
    failures: u64,
    last_error: Option<String>,
    last_tick_ms: Option<f64>,
    last_tick_seconds_ago: Option<f64>,
    /// How long the last synthesis took, for each kind of session.
    synthesis_ms: BTreeMap<String, f64>,
    /// Weights that had left memory and were brought back, over all ticks.
    brought_back_mb: f64,
    /// How much of the weights was in memory at the beginning of the last tick, from 0 to 1.
    residency_before_last_tick: Option<f64>,
}

fn keep_alive(service: &Service) -> KeepAliveStatus {
    let priming = service.priming();
    let settings = priming.keep_alive_settings();
    let running = priming.keep_alive();
    let stats = running.map(|keep_alive| keep_alive.stats());
    let idle = stats.as_ref().map(|stats| stats.idle_for.as_secs_f64());
    let stats = stats.unwrap_or_default();
    let residency = stats.residency_before;
    KeepAliveStatus {
        enabled: settings.enabled,
        running: stats.next_in.is_some(),
        interval_seconds: settings.interval.as_secs_f64(),
        idle_threshold_seconds: settings.idle_threshold.as_secs_f64(),
        idle_seconds: idle,
        next_tick_in_seconds: stats.next_in.map(|left| left.as_secs_f64()),
        ticks: stats.ticks,
        skipped_active: stats.skipped_active,
        interrupted: stats.interrupted,
        failures: stats.failures,
        last_error: stats.last_error,
        last_tick_ms: stats.last_took.map(ms),
        last_tick_seconds_ago: stats.last_ago.map(|ago| ago.as_secs_f64()),
        synthesis_ms: stats
            .synthesis_took
            .into_iter()
            .map(|(kind, took)| (kind, ms(took)))
            .collect(),
        brought_back_mb: mb(stats.brought_back_bytes),
        residency_before_last_tick: residency
            .map(|(resident, all)| resident as f64 / all.max(1) as f64),
    }
}

/// What bounds the server's memory.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct MemoryManagement {
    /// In use, mapped weights included.
    resident_mb: Option<f64>,
    /// In use by this process alone; this is held against the threshold.
    current_memory_mb: Option<f64>,
    /// When it was first looked at.
    baseline_memory_mb: Option<f64>,
    peak_memory_mb: f64,
    /// Above it, caches are dropped and memory goes back to the system.
    cleanup_threshold_mb: f64,
    /// `KOKORO_MEMORY_THRESHOLD_MB` or `tier`, by what the process may use.
    threshold_from: &'static str,
    /// What the process may use, control groups counted.
    usable_memory_mb: Option<f64>,
    checks: u64,
    cleanups: u64,
    /// How often memory that requests had freed went back to the system while nobody listened.
    trims: u64,
    /// By clean-ups and trims.
    returned_mb: f64,
    last_cleanup_ms: Option<f64>,
    last_cleanup_seconds_ago: Option<f64>,
    /// The slope over the last readings; none before the second.
    trend_mb_per_minute: Option<f64>,
    /// Whether the weights are locked in memory.
    weights_locked: bool,
    /// Why they are not, though it was asked for.
    lock_error: Option<String>,
}

fn memory(service: &Service) -> MemoryManagement {
    let priming = service.priming();
    let (threshold, stats) = (priming.guard().threshold(), priming.guard().stats());
    let now = machine::process_memory(Path::new("/"));
    let own = now.map(|memory| memory.own_bytes);
    let locked = priming.locked();
    MemoryManagement {
        resident_mb: now.map(|memory| mb(memory.resident_bytes)),
        current_memory_mb: own.map(mb),
        baseline_memory_mb: stats.baseline_bytes.map(mb),
        peak_memory_mb: mb(stats.peak_bytes.max(own.unwrap_or(0))),
        cleanup_threshold_mb: mb(threshold.bytes),
        threshold_from: match threshold.is_override {
            true => "KOKORO_MEMORY_THRESHOLD_MB",
            false => "tier",
        },
        usable_memory_mb: threshold.usable_bytes.map(mb),
        checks: stats.checks,
        cleanups: stats.cleanups,
        trims: stats.trims,
        returned_mb: mb(stats.returned_bytes),
        last_cleanup_ms: stats.last_cleanup_took.map(ms),
        last_cleanup_seconds_ago: stats.last_cleanup_ago.map(|ago| ago.as_secs_f64()),
        trend_mb_per_minute: stats
            .trend_bytes_per_minute
            .map(|slope| (slope / 1e4).round() / 100.0),
        weights_locked: locked == Ok(true),
        lock_error: locked.err().map(str::to_owned),
    }
}

/// All of it at once.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct OptimizationSummary {
    /// From the start of the process until the first sentence was spoken.
    ready_after_ms: Option<f64>,
    warmup: WarmupStats,
    cache: CachePerformance,
    keep_alive: KeepAliveStatus,
    memory: MemoryManagement,
}

/// Everything that keeps the server ready and bounded.
#[utoipa::path(get, path = "/optimization/summary", tag = "optimization",
    responses((status = 200, description = "All readings", body = OptimizationSummary)))]
async fn summary(State(app): State<Arc<App>>) -> Json<OptimizationSummary> {
    let service = &app.service;
    Json(OptimizationSummary {
        ready_after_ms: super::health::ready_after_ms(service),
        warmup: warmups(service),
        cache: caches(service),
        keep_alive: keep_alive(service),
        memory: memory(service),
    })
}

/// Warm-ups and what they took.
#[utoipa::path(get, path = "/optimization/warmup-stats", tag = "optimization",
    responses((status = 200, description = "Warm-ups", body = WarmupStats)))]
async fn warmup_stats(State(app): State<Arc<App>>) -> Json<WarmupStats> {
    Json(warmups(&app.service))
}

/// Open models, sessions and voices.
#[utoipa::path(get, path = "/optimization/cache-performance", tag = "optimization",
    responses((status = 200, description = "Caches", body = CachePerformance)))]
async fn cache_performance(State(app): State<Arc<App>>) -> Json<CachePerformance> {
    Json(caches(&app.service))
}

/// The keep-alive and its ticks.
#[utoipa::path(get, path = "/optimization/keep-alive-status", tag = "optimization",
    responses((status = 200, description = "The keep-alive", body = KeepAliveStatus)))]
async fn keep_alive_status(State(app): State<Arc<App>>) -> Json<KeepAliveStatus> {
    Json(keep_alive(&app.service))
}

/// Memory, its threshold, and what was given back.
#[utoipa::path(get, path = "/optimization/memory-management", tag = "optimization",
    responses((status = 200, description = "Memory", body = MemoryManagement)))]
async fn memory_management(State(app): State<Arc<App>>) -> Json<MemoryManagement> {
    Json(memory(&app.service))
}
