//! The service behind the server: who may speak, with which voice, when, and how it went.
//!
//! Knows neither JSON nor status codes; [`crate::http`] is its user. A request is admitted or
//! refused at once, its job runs on a thread of its own (`job`), and computes on a borrowed lane
//! (`lanes`). No thread that serves connections ever computes, and no lane ever waits for a
//! connection.

pub mod accelerator;
mod exposed;
mod job;
mod lanes;
mod library;
mod priming;
mod readings;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use koe_engine::Isa;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

pub use job::{Failure, Feed, Order, Part, Patience, Purpose, Running, Said, Stopper, Turn};
pub use lanes::{Lanes, Lease, Refused};
pub use library::{Cast, Library, Listed};
pub use priming::{Extended, NATIVE, Plan, Priming};
pub use readings::{FIRST_AUDIO_BOUNDS, FirstAudio, Readings};

use crate::pipeline::Settings;

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
    /// When the process began to start.
    pub started: Instant,
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
    /// To its first sound.
    pub first_audio: Duration,
    /// How long a second of sound takes to compute, now or when it was measured.
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
    priming: Priming,
    isa: Isa,
    started: Instant,
    model_open_after: Duration,
}

/// The right to run one job.
pub struct Admission {
    _permit: OwnedSemaphorePermit,
    _presence: priming::Presence,
    readings: Arc<Readings>,
}

impl std::fmt::Debug for Admission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Admission")
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.readings.job_gone();
    }
}

impl Service {
    /// A service that is not primed yet; jobs wait on `runtime` for their listeners.
    pub fn new(library: Library, setup: Setup, plan: Plan, runtime: Handle) -> Self {
        let shop = job::Shop {
            lanes: Lanes::new(setup.lanes, setup.threads, setup.isa),
            readings: Arc::new(Readings::new(setup.isa.name())),
            patience: setup.patience,
            runtime,
        };
        Self(Arc::new(Inner {
            priming: Priming::new(plan, library.model()),
            library,
            shop,
            jobs: Arc::new(Semaphore::new(setup.max_jobs)),
            max_jobs: setup.max_jobs,
            draining: AtomicBool::new(false),
            state: watch::Sender::new(State::Starting(None)),
            isa: setup.isa,
            started: setup.started,
            model_open_after: setup.started.elapsed(),
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
        let permit = self.0.jobs.clone().try_acquire_owned().map_err(|_| Busy::Full)?;
        self.0.shop.readings.job_began();
        let readings = self.0.shop.readings.clone();
        Ok(Admission { _permit: permit, _presence: self.presence(), readings })
    }

    /// Begins to fill an order. The error is the system's, which had no thread to give.
    pub fn start(&self, admission: Admission, order: Order) -> std::io::Result<Running> {
        job::start(self.0.shop.clone(), order, admission)
    }

    fn start_unadmitted(&self, order: Order) -> std::io::Result<Running> {
        job::start(self.0.shop.clone(), order, ())
    }

    /// Settings whose chunks are cut for the speed of this machine. The same for every request, so
    /// that the same request always sounds the same.
    pub fn settings(&self) -> Settings {
        let ramp = self.0.priming.tuned().map(|tuned| tuned.ramp()).unwrap_or_default();
        Settings { ramp, ..Settings::default() }
    }

    /// What keeps it ready.
    pub fn priming(&self) -> &Priming {
        &self.0.priming
    }

    fn runtime(&self) -> &Handle {
        &self.0.shop.runtime
    }

    /// How long after its start the process had its model open.
    pub fn model_open_after(&self) -> Duration {
        self.0.model_open_after
    }

    fn started(&self) -> Instant {
        self.0.started
    }

    /// Has weights that were packed now written to the cache. Not before the service is ready, which
    /// it would only delay; nor ever later, as other processes may wait for them.
    fn keep_pack(&self) {
        let model = self.library().model().clone();
        drop(self.runtime().spawn_blocking(move || {
            if let Err(warning) = model.kept() {
                tracing::warn!("{warning}");
            }
        }));
    }

    /// Speaks through the path that requests take, until that succeeds; then the service is ready,
    /// and stays warm.
    pub async fn prime(&self) {
        loop {
            match self.prove().await {
                Ok(proof) => {
                    self.0.state.send_replace(State::Ready(proof));
                    break;
                }
                Err(problem) => {
                    tracing::error!(problem, "the first synthesis failed");
                    self.library().model().keep();
                    self.0.state.send_replace(State::Starting(Some(problem)));
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
        self.keep_pack();
        if let Err(problem) = self.stay_warm() {
            tracing::warn!(problem, "it may grow cold");
        }
    }
}
