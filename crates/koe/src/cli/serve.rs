//! `koe serve`: reads what was asked for, opens the model and the socket, and waits for a signal.

use std::io::IsTerminal;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use clap::Args;
use koe_engine::{Isa, MAX_THREADS};
use koe_priming::keep_alive;
use koe_priming::memory::Threshold;
use tokio::net::TcpListener;
use tokio::runtime::{Handle, Runtime};
use tokio_util::task::TaskTracker;

use super::flags::Flags;
use super::{Failure, systemd};
use crate::config::{Config, Server};
use crate::http::{self, Door, Keys, Options, server};
use crate::service::{self, Library, Patience, Plan, Service, Setup, State};
use crate::voices::Mix;
#[cfg(unix)]
use crate::{config::LocalSocket, local};
use crate::{machine, tuning};

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    pub(super) flags: Flags,
    /// Print the OpenAPI document and do nothing else
    #[arg(long)]
    openapi: bool,
}

pub(super) fn run(args: ServeArgs, config: &Config) -> Result<(), Failure> {
    if args.openapi {
        return super::output::print(&http::document());
    }
    log();
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let server = &config.server;
    let keys = keys(server)?;
    guard(server.host, &keys, server)?;
    let tls = match &server.tls {
        Some((chain, key)) => Some(server::tls(chain, key).map_err(Failure::usage)?),
        None => None,
    };
    let listener = listener(server)?;
    // A socket that systemd holds may be open to others, whatever the setting says.
    let reached = listener.local_addr().map_or(server.host, |address| address.ip());
    guard(reached, &keys, server)?;
    let runtime = runtime()?;
    let served = runtime.block_on(serve(config, keys, tls, listener));
    // What still goes on in the background, packing or warming, is nobody's any more.
    runtime.shutdown_background();
    served
}

/// Refuses to listen where others may ask, unless they need a key or that is wanted.
fn guard(host: IpAddr, keys: &Keys, server: &Server) -> Result<(), Failure> {
    if host.is_loopback() || !keys.is_empty() || server.allow_anonymous {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "{host} can be reached by others: give --api-key-file, or --allow-anonymous if everyone may speak"
    )))
}

/// Few threads: they carry bytes, and others compute.
pub(super) fn runtime() -> Result<Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("http")
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start: {error}")))
}

/// The socket that systemd holds for this service, or else one of its own.
fn listener(server: &Server) -> Result<std::net::TcpListener, Failure> {
    let cannot = |error| Failure::failed(format!("cannot listen: {error}"));
    let listener = match systemd::listener().map_err(cannot)? {
        Some(listener) => listener,
        None => {
            let address = SocketAddr::new(server.host, server.port);
            std::net::TcpListener::bind(address).map_err(|error| {
                Failure::failed(format!(
                    "cannot listen on {address}: {error}; another --port may be free"
                ))
            })?
        }
    };
    listener.set_nonblocking(true).map_err(cannot)?;
    Ok(listener)
}

async fn serve(
    config: &Config,
    keys: Keys,
    tls: Option<tokio_rustls::TlsAcceptor>,
    listener: std::net::TcpListener,
) -> Result<(), Failure> {
    let listener = TcpListener::from_std(listener)
        .map_err(|error| Failure::failed(format!("cannot listen: {error}")))?;
    let mut stop = Stop::install()?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    match listener.local_addr() {
        Ok(address) => tracing::info!(keys = keys.len(), "listening on {scheme}://{address}"),
        Err(error) => tracing::warn!(%error, "listening, the system does not tell where"),
    }
    let sockets = server::Sockets {
        listener,
        tls,
        max_connections: config.server.max_connections.into(),
        stall: config.server.stall_timeout,
        drain: config.server.drain_timeout,
    };
    let options = Options {
        keys,
        rate_limit: config.server.rate_limit.map(u32::from),
        cors_origins: config.server.cors_origins.clone(),
        max_chars: config.server.max_chars.into(),
        stall: config.server.stall_timeout,
    };

    // Probes are answered while the model is opened.
    let (door, running) = (Door::new(), Arc::new(OnceLock::<Running>::new()));
    let router = door.router();
    let (config, to_drain) = (config.clone(), running.clone());
    let starting = async {
        let service = open(config.clone()).await?;
        let (router, websockets) = http::router(service.clone(), options);
        let _ = running.set(Running { service: service.clone(), websockets });
        door.open(router);
        #[cfg(unix)]
        let _listening = listen_locally(&config, &service, None).await?;
        prime(&service).await;
        systemd::tell_ready(&service);
        // What is local listens for as long as this waits.
        std::future::pending::<Result<(), Failure>>().await
    };
    let drain_now = move || -> server::Quiet {
        let told = systemd::tell_stopping();
        match to_drain.get().cloned() {
            None => Box::pin(told),
            Some(Running { service, websockets }) => {
                service.drain();
                websockets.close();
                Box::pin(async move { _ = tokio::join!(told, service.idle(), websockets.wait()) })
            }
        }
    };
    tokio::select! {
        finished = server::serve(sockets, router, drain_now, stop.wait()) => match finished {
            true => tracing::info!("stopped"),
            false => tracing::warn!("stopped; what still ran was cut off"),
        },
        failed = starting => return failed,
    }
    if let Some(Running { service, .. }) = running.get() {
        service.lanes().stop_accelerator();
    }
    Ok(())
}

/// The service, once there is one.
#[derive(Clone)]
struct Running {
    service: Service,
    websockets: TaskTracker,
}

/// Opens the model and makes the service, on a thread that may take its time.
pub(super) async fn open(config: Config) -> Result<Service, Failure> {
    let runtime = Handle::current();
    let service = tokio::task::spawn_blocking(move || service(&config, runtime)).await;
    service.map_err(|error| Failure::failed(format!("cannot start: {error}")))?
}

fn service(config: &Config, runtime: Handle) -> Result<Service, Failure> {
    let voice = config.voice.as_deref().map(Mix::parse).transpose().map_err(Failure::usage)?;
    let library = Library::open(config, config.model.clone(), voice)?;
    for warning in library.model().warnings() {
        tracing::warn!("{warning}");
    }
    if let Some(notice) = library.notice() {
        tracing::warn!("{notice}");
    }
    let isa = config.isa.unwrap_or_else(Isa::detect);
    let tuning = tuning::memory(config, isa);
    // Where no two threads share a core, a measurement by which half of them are faster was most
    // likely made beside another process. And what was measured holds for one synthesis at a time.
    let may_choose = config.threads.is_none()
        && config.server.lanes.is_none()
        && machine::shares_cores(Path::new("/")) != Some(false);
    let memory = tuning.as_ref().filter(|_| may_choose);
    let measured = tuning::threads(memory, library.model().identity());
    let asked = config.threads.map(usize::from);
    let threads = asked.or(measured).unwrap_or_else(machine::threads);
    let lanes = config.server.lanes.map_or(tuning::lanes(threads), usize::from);
    if threads / lanes > MAX_THREADS && (asked.is_some() || config.server.lanes.is_some()) {
        return Err(Failure::usage(format!(
            "{threads} threads for {lanes} syntheses at once: one can use {MAX_THREADS} at most; give more --lanes"
        )));
    }
    let setup = Setup {
        lanes,
        threads: (threads / lanes).max(1),
        isa,
        max_jobs: config.server.max_requests.into(),
        patience: Patience {
            queue: config.server.queue_timeout,
            stall: config.server.stall_timeout,
        },
        started: super::started(),
    };
    let usable = machine::usable_memory_bytes(Path::new("/"));
    let plan = Plan {
        keep_alive: keep_alive::Settings {
            enabled: config.keep_alive_enabled,
            interval: config.keep_alive_interval,
            idle_threshold: config.keep_alive_idle_threshold,
        },
        threshold: Threshold::new(config.memory_threshold_mb, usable),
        extended: !config.skip_extended_warming,
        tuning,
        choose_threads: may_choose && lanes == 1,
        lock_weights: config.lock_weights,
    };
    tracing::info!(model = library.model_name(), threads, lanes, isa = isa.name(), "model open");
    let service = Service::new(library, setup, plan, runtime);
    let per_lane = setup.threads;
    if let Some(router) = service::accelerator::router(config, service.library(), per_lane) {
        service.lanes().accelerate(router);
    }
    if let Err(problem) = service.priming().locked() {
        tracing::warn!(problem, "the weights cannot be locked in memory; see ulimit -l");
    }
    Ok(service)
}

/// Speaks for the first time and says so.
pub(super) async fn prime(service: &Service) {
    service.prime().await;
    // Not before: it would give back the room of each tensor of a checkpoint as it is read.
    koe_priming::heap::keep_little();
    if let State::Ready(proof) = service.state() {
        tracing::info!(
            after_ms = proof.ready_after.as_secs_f64() * 1e3,
            first_audio_ms = proof.first_audio.as_secs_f64() * 1e3,
            "ready"
        );
    }
}

/// Listens for commands on this machine, if that is wanted. A usual socket that cannot be had is no
/// failure: commands then compute by themselves.
#[cfg(unix)]
pub(super) async fn listen_locally(
    config: &Config,
    service: &Service,
    stop: Option<local::server::OnStop>,
) -> Result<Option<local::Listening>, Failure> {
    let Some(path) = config.local_socket.path() else { return Ok(None) };
    // On a thread that may wait: another server may be about to start or to stop there.
    let (place, service) = (path.to_owned(), service.clone());
    let listen = move || local::server::listen(&place, service, stop);
    match tokio::task::spawn_blocking(listen).await.map_err(std::io::Error::other).flatten() {
        Ok(listening) => {
            tracing::info!(path = %path.display(), "koe say is served here");
            Ok(Some(listening))
        }
        Err(error) if matches!(config.local_socket, LocalSocket::Auto(_)) => {
            tracing::info!(path = %path.display(), %error, "koe say computes by itself");
            Ok(None)
        }
        Err(error) => Err(Failure::failed(format!("cannot listen at {}: {error}", path.display()))),
    }
}

fn keys(server: &Server) -> Result<Keys, Failure> {
    let told = server.api_keys.as_ref().map(|keys| Keys::parse(&keys.0)).unwrap_or_default();
    let Some(path) = &server.api_key_file else { return Ok(told) };
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))?;
    let keys = Keys::parse(&text);
    if keys.is_empty() {
        return Err(Failure::usage(format!("{} has no key in it", path.display())));
    }
    Ok(told.and(keys))
}

/// Text for people at a terminal, JSON lines for machines; `RUST_LOG` chooses how much.
pub(super) fn log() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Another may be installed already, in tests.
    let _ = if std::io::stderr().is_terminal() {
        builder.with_target(false).compact().try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    };
}

/// The signals that stop the server.
pub(super) struct Stop {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Stop {
    pub(super) fn install() -> Result<Self, Failure> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let terminate = signal(SignalKind::terminate())
                .map_err(|error| Failure::failed(format!("cannot handle signals: {error}")))?;
            Ok(Self { terminate })
        }
        #[cfg(not(unix))]
        Ok(Self {})
    }

    /// Waits for the first signal; the second ends the process.
    pub(super) async fn wait(&mut self) {
        self.next().await;
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            if let Ok(mut again) = signal(SignalKind::terminate()) {
                tokio::spawn(async move {
                    tokio::select! {
                        _ = again.recv() => {}
                        _ = tokio::signal::ctrl_c() => {}
                    }
                    std::process::exit(super::Exit::Interrupted as i32);
                });
            }
        }
    }

    async fn next(&mut self) {
        #[cfg(unix)]
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        #[cfg(not(unix))]
        let _ = tokio::signal::ctrl_c().await;
    }
}
