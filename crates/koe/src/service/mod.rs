//! The service behind the server: who may speak, with which voice, when, and how it went.
//!
//! Knows neither JSON nor status codes; [`crate::http`] is its user. A request is admitted or
//! refused at once, its job runs on a thread of its own (`job`), and computes on a borrowed lane
//! (`lanes`). No thread that serves connections ever computes, and no lane ever waits for a
//! connection.

mod job;
mod lanes;
mod library;
mod readings;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use koe_engine::Isa;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

pub use job::{Failure, Feed, Order, Part, Patience, Running, Said, Stopper, Turn};
pub use lanes::{Lanes, Lease, Refused};
pub use library::{Cast, Library, Listed};
pub use readings::{FIRST_AUDIO_BOUNDS, FirstAudio, Readings};

use crate::pipeline::{Ramp, Settings};

/// How a service is set up.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Syntheses at once.
    pub lanes: usize,
    /// Threads of each.
    pub threads: usize,
    /// Instructions to compute with.
    pub isa: Isa,
    /// Jobs at once, waiting ones included.
    pub max_jobs: usize,
    /// How long things may take.
    pub patience: Patience,
}

/// Why a request was not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Busy {
    /// As many jobs run as may.
    #[error("too many requests at once; try again in a moment")]
    Full,
    /// The service is about to stop.
    #[error("the server is shutting down")]
    Draining,
}

/// Where the service is in its life.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// The first synthesis has not succeeded yet; with its last failure, if it had one.
    Starting(Option<String>),
    /// It has spoken.
    Ready(Proof),
}

/// The first synthesis, made through the path that requests take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Proof {
    /// From the start of the service to its end.
    pub ready_after: Duration,
    /// To its first sound, with everything warm.
    pub first_audio: Duration,
    /// How long a second of sound took to compute.
    pub real_time_factor: f64,
}

/// One text-to-speech service; clones are handles to the same.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    library: Library,
    shop: job::Shop,
    jobs: Arc<Semaphore>,
    max_jobs: usize,
    draining: AtomicBool,
    state: watch::Sender<State>,
    ramp: OnceLock<Ramp>,
    isa: Isa,
    started: Instant,
}

/// The right to run one job.
#[derive(Debug)]
pub struct Admission {
    _permit: OwnedSemaphorePermit,
    readings: Arc<Readings>,
}

impl std::fmt::Debug for Readings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Readings").finish_non_exhaustive()
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.readings.job_gone();
    }
}

impl Service {
    /// A service that is not primed yet; jobs wait on `runtime` for their listeners.
    pub fn new(library: Library, setup: Setup, runtime: Handle) -> Self {
        let shop = job::Shop {
            lanes: Lanes::new(setup.lanes, setup.threads, setup.isa),
            readings: Arc::new(Readings::new(setup.isa.name())),
            patience: setup.patience,
            runtime,
        };
        Self(Arc::new(Inner {
            library,
            shop,
            jobs: Arc::new(Semaphore::new(setup.max_jobs)),
            max_jobs: setup.max_jobs,
            draining: AtomicBool::new(false),
            state: watch::Sender::new(State::Starting(None)),
            ramp: OnceLock::new(),
            isa: setup.isa,
            started: Instant::now(),
        }))
    }

    /// Models and voices.
    pub fn library(&self) -> &Library {
        &self.0.library
    }

    /// Measurements.
    pub fn readings(&self) -> &Readings {
        &self.0.shop.readings
    }

    /// Who computes.
    pub fn lanes(&self) -> &Lanes {
        &self.0.shop.lanes
    }

    /// Instructions it computes with.
    pub fn isa(&self) -> Isa {
        self.0.isa
    }

    /// Jobs that may run at once.
    pub fn max_jobs(&self) -> usize {
        self.0.max_jobs
    }

    /// Where it is in its life.
    pub fn state(&self) -> State {
        self.0.state.borrow().clone()
    }

    /// Whether it is about to stop.
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::SeqCst)
    }

    /// Admits nothing any more; what runs goes on.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::SeqCst);
    }

    /// Waits until the first synthesis is done.
    pub async fn ready(&self) {
        let mut state = self.0.state.subscribe();
        // The sender lives as long as this handle.
        let _ = state.wait_for(|state| matches!(state, State::Ready(_))).await;
    }

    /// Waits until no job runs.
    pub async fn idle(&self) {
        let all = u32::try_from(self.0.max_jobs).unwrap_or(u32::MAX);
        let _ = self.0.jobs.acquire_many(all).await;
    }

    /// Admits a job or refuses it, at once.
    pub fn admit(&self) -> Result<Admission, Busy> {
        if self.is_draining() {
            return Err(Busy::Draining);
        }
        self.admit_any()
    }

    fn admit_any(&self) -> Result<Admission, Busy> {
        let permit = self.0.jobs.clone().try_acquire_owned().map_err(|_| Busy::Full)?;
        self.0.shop.readings.job_began();
        Ok(Admission { _permit: permit, readings: self.0.shop.readings.clone() })
    }

    /// Begins to fill an order. The error is the system's, which had no thread to give.
    pub fn start(&self, admission: Admission, order: Order) -> std::io::Result<Running> {
        job::start(self.0.shop.clone(), order, admission)
    }

    /// Settings whose chunks are cut for the speed of this machine. The same for every request, so
    /// that the same request always sounds the same.
    pub fn settings(&self) -> Settings {
        Settings { ramp: self.0.ramp.get().copied().unwrap_or_default(), ..Settings::default() }
    }

    /// Speaks a sentence, through the path that requests take, twice: cold, and to measure. Tries
    /// again until it succeeds, then the service is ready.
    pub async fn prime(&self) {
        loop {
            match self.prove().await {
                Ok(proof) => {
                    let _ = self.0.ramp.set(ramp_for(proof.real_time_factor));
                    self.0.state.send_replace(State::Ready(proof));
                    return;
                }
                Err(problem) => {
                    tracing::error!(problem, "the first synthesis failed");
                    self.0.state.send_replace(State::Starting(Some(problem)));
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }

    async fn prove(&self) -> Result<Proof, String> {
        self.speak_once("Ready.").await?;
        let (audio_before, compute_before) = self.readings().totals();
        let begun = Instant::now();
        let first_audio = self.speak_once("Ready to speak, and never cold.").await?;
        let (audio, compute) = self.readings().totals();
        tracing::debug!(ms = begun.elapsed().as_millis(), "primed");
        Ok(Proof {
            ready_after: self.0.started.elapsed(),
            first_audio,
            real_time_factor: (compute - compute_before) / (audio - audio_before),
        })
    }

    /// How long the first sound of `text` took.
    async fn speak_once(&self, text: &str) -> Result<Duration, String> {
        let admission = self.admit_any().map_err(|busy| busy.to_string())?;
        let cast = self.library().cast(None, None).map_err(|error| error.to_string())?;
        let settings =
            Settings { dialect: cast.dialect.unwrap_or_default(), ..Settings::default() };
        let feed = Box::new(crate::feed::from_text(text.to_owned()));
        let arrived = Instant::now();
        let order = Order {
            turns: vec![Turn { feed, cast, settings }],
            between: Duration::ZERO,
            encoder: koe_audio::Format::Pcm
                .encoder(koe_audio::SAMPLE_RATE_HZ)
                .map_err(|error| error.to_string())?,
            lead: Duration::ZERO,
            trail: Duration::ZERO,
            volume: 1.0,
            arrived,
        };
        let mut running = self.start(admission, order).map_err(|error| error.to_string())?;
        let mut first = None;
        loop {
            match running.next().await {
                Part::Bytes(_) => _ = first.get_or_insert_with(|| arrived.elapsed()),
                Part::Done(Ok(_)) => return first.ok_or_else(|| "no sound".to_owned()),
                Part::Done(Err(failure)) => return Err(failure.to_string()),
                _ => {}
            }
        }
    }
}

/// How chunks are cut on a machine that needs so long for a second of sound. In few steps, so that
/// the same machine gets the same ramp at every start, with a third to spare: a chunk must be made
/// while the one before it is heard.
fn ramp_for(real_time_factor: f64) -> Ramp {
    match real_time_factor {
        ..0.08 => Ramp { first: 60, growth: 8.0 },
        ..0.16 => Ramp { first: 40, growth: 4.0 },
        ..0.33 => Ramp { first: 30, growth: 2.0 },
        _ => Ramp { first: 24, growth: 1.4 },
    }
}
