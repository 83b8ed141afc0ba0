//! `koe serve`: reads what was asked for, opens the model and the socket, and waits for a signal.

use std::io::IsTerminal;
use std::net::SocketAddr;

use clap::Args;
use koe_engine::{Isa, MAX_THREADS};
use tokio::net::TcpListener;

use super::Failure;
use super::flags::Flags;
use crate::config::{Config, Server};
use crate::http::{self, Keys, Options, server};
use crate::machine;
use crate::service::{Library, Patience, Service, Setup, State};
use crate::voices::Mix;

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
    if !server.host.is_loopback() && keys.is_empty() && !server.allow_anonymous {
        return Err(Failure::usage(format!(
            "{} can be reached by others: give --api-key-file, or --allow-anonymous if everyone may speak",
            server.host
        )));
    }
    let tls = match &server.tls {
        Some((chain, key)) => Some(server::tls(chain, key).map_err(Failure::usage)?),
        None => None,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("http")
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
    runtime.block_on(serve(config, keys, tls))
}

async fn serve(
    config: &Config,
    keys: Keys,
    tls: Option<tokio_rustls::TlsAcceptor>,
) -> Result<(), Failure> {
    let address = SocketAddr::new(config.server.host, config.server.port);
    let listener = TcpListener::bind(address).await.map_err(|error| {
        Failure::failed(format!("cannot listen on {address}: {error}; another --port may be free"))
    })?;
    let address = listener.local_addr().unwrap_or(address);
    let mut stop = Stop::install()?;

    let voice = config.voice.as_deref().map(Mix::parse).transpose().map_err(Failure::usage)?;
    let library = Library::open(config, config.model.clone(), voice)?;
    let threads = config.threads.map_or_else(machine::threads, usize::from);
    let lanes = config.server.lanes.map_or((threads / 8).max(1), usize::from);
    if threads / lanes > MAX_THREADS && (config.threads.is_some() || config.server.lanes.is_some())
    {
        return Err(Failure::usage(format!(
            "{threads} threads for {lanes} syntheses at once: one can use {MAX_THREADS} at most; give more --lanes"
        )));
    }
    let stall = config.server.stall_timeout;
    let setup = Setup {
        lanes,
        threads: (threads / lanes).max(1),
        isa: config.isa.unwrap_or_else(Isa::detect),
        max_jobs: config.server.max_requests.into(),
        patience: Patience { queue: config.server.queue_timeout, stall },
    };
    for warning in library.model().warnings() {
        tracing::warn!("{warning}");
    }
    if let Some(notice) = library.notice() {
        tracing::warn!("{notice}");
    }
    let (model, with_keys) = (library.model_name(), keys.len());
    let service = Service::new(library, setup, tokio::runtime::Handle::current());
    let scheme = if tls.is_some() { "https" } else { "http" };
    tracing::info!(model, threads, lanes, keys = with_keys, "listening on {scheme}://{address}");

    let options = Options {
        keys,
        rate_limit: config.server.rate_limit.map(u32::from),
        cors_origins: config.server.cors_origins.clone(),
        max_chars: config.server.max_chars.into(),
        stall,
    };
    let (router, websockets) = http::router(service.clone(), options);
    let priming = service.clone();
    tokio::spawn(async move {
        priming.prime().await;
        if let State::Ready(proof) = priming.state() {
            tracing::info!(
                after_ms = proof.ready_after.as_millis(),
                first_audio_ms = proof.first_audio.as_millis(),
                "ready"
            );
        }
    });
    let sockets = server::Sockets {
        listener,
        tls,
        max_connections: config.server.max_connections.into(),
        stall,
        drain: config.server.drain_timeout,
    };
    let finished = server::serve(sockets, router, websockets, &service, stop.wait()).await;
    match finished {
        true => tracing::info!("stopped"),
        false => tracing::warn!("stopped; what still ran was cut off"),
    }
    Ok(())
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
fn log() {
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
struct Stop {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Stop {
    fn install() -> Result<Self, Failure> {
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
    async fn wait(&mut self) {
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
