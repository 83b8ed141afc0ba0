//! `koe serve`: reads what was asked for, opens the model and the socket, and waits for a signal.

use std::io::IsTerminal;
use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueHint};
use koe_engine::{Isa, MAX_THREADS};
use tokio::net::TcpListener;

use super::Failure;
use crate::config::Config;
use crate::http::{self, Keys, Options, server};
use crate::machine;
use crate::service::{Library, Patience, Service, Setup, State};
use crate::voices::Mix;

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// The address to listen on; others than this machine's own need --api-key-file or --allow-anonymous
    #[arg(long, default_value = "127.0.0.1")]
    host: IpAddr,
    /// The port; 0 takes a free one
    #[arg(short, long, default_value_t = 8880)]
    port: u16,
    /// kokoro-82m, builtin, or a folder with a Kokoro checkpoint
    #[arg(short, long, value_hint = ValueHint::DirPath)]
    model: Option<String>,
    /// The voice of requests that name none
    #[arg(short, long)]
    voice: Option<String>,
    /// How many threads compute [default: as many as the machine runs at once]
    #[arg(short, long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Syntheses at once, which share the threads [default: one for every eight threads]
    #[arg(long, value_name = "N")]
    lanes: Option<NonZeroUsize>,
    /// Speech requests at once, waiting ones included; more are refused
    #[arg(long, value_name = "N", default_value = "64")]
    max_requests: NonZeroUsize,
    /// Connections at once
    #[arg(long, value_name = "N", default_value = "1024")]
    max_connections: NonZeroUsize,
    /// The most characters of one text
    #[arg(long, value_name = "N", default_value = "200000")]
    max_chars: NonZeroUsize,
    /// How long a request may wait to be spoken before it is refused
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    queue_timeout: u32,
    /// How long a listener may read nothing before it is cut off
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    stall_timeout: u32,
    /// How long running requests may go on after the signal to stop
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    drain_timeout: u32,
    /// A file with API keys, one a line; KOKORO_API_KEYS has more, with commas between
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    api_key_file: Option<PathBuf>,
    /// Listen on a public address although everyone may ask
    #[arg(long)]
    allow_anonymous: bool,
    /// Requests a minute for each key
    #[arg(long, value_name = "N")]
    rate_limit: Option<NonZeroU32>,
    /// A site whose pages may ask, as `https://example.org`, or `*`; can be given again
    #[arg(long, value_name = "ORIGIN")]
    cors_origin: Vec<String>,
    /// A certificate chain in PEM, for https
    #[arg(long, value_name = "FILE", requires = "tls_key", value_hint = ValueHint::FilePath)]
    tls_cert: Option<PathBuf>,
    /// Its private key in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert", value_hint = ValueHint::FilePath)]
    tls_key: Option<PathBuf>,
    /// Print the OpenAPI document and do nothing else
    #[arg(long)]
    openapi: bool,
}

pub(super) fn run(args: ServeArgs, config: &Config) -> Result<(), Failure> {
    if args.openapi {
        return super::output::print(&http::document());
    }
    log();
    let keys = keys(&args, config)?;
    if !args.host.is_loopback() && keys.is_empty() && !args.allow_anonymous {
        return Err(Failure::usage(format!(
            "{} can be reached by others: give --api-key-file, or --allow-anonymous if everyone may speak",
            args.host
        )));
    }
    for origin in &args.cors_origin {
        if origin != "*" && !origin.starts_with("http://") && !origin.starts_with("https://") {
            let message =
                format!("--cors-origin {origin:?} is not like https://example.org, nor *");
            return Err(Failure::usage(message));
        }
    }
    let tls = match (&args.tls_cert, &args.tls_key) {
        (Some(chain), Some(key)) => Some(server::tls(chain, key).map_err(Failure::usage)?),
        _ => None,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("http")
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
    runtime.block_on(serve(args, config, keys, tls))
}

async fn serve(
    args: ServeArgs,
    config: &Config,
    keys: Keys,
    tls: Option<tokio_rustls::TlsAcceptor>,
) -> Result<(), Failure> {
    let address = SocketAddr::new(args.host, args.port);
    let listener = TcpListener::bind(address).await.map_err(|error| {
        Failure::failed(format!("cannot listen on {address}: {error}; another --port may be free"))
    })?;
    let address = listener.local_addr().unwrap_or(address);
    let mut stop = Stop::install()?;

    let voice = args.voice.as_deref().or(config.voice.as_deref());
    let voice = voice.map(Mix::parse).transpose().map_err(Failure::usage)?;
    let model = args.model.clone().or_else(|| config.model.clone());
    let library = Library::open(config, model, voice)?;
    let threads = args.threads.or(config.threads).map_or_else(machine::threads, usize::from);
    let lanes = args.lanes.map_or((threads / 8).max(1), usize::from);
    if threads / lanes > MAX_THREADS && (args.threads.is_some() || args.lanes.is_some()) {
        return Err(Failure::usage(format!(
            "{threads} threads for {lanes} syntheses at once: one can use {MAX_THREADS} at most; give more --lanes"
        )));
    }
    let seconds = |seconds: u32| Duration::from_secs(u64::from(seconds));
    let stall = seconds(args.stall_timeout);
    let setup = Setup {
        lanes,
        threads: (threads / lanes).max(1),
        isa: config.isa.unwrap_or_else(Isa::detect),
        max_jobs: args.max_requests.into(),
        patience: Patience { queue: seconds(args.queue_timeout), stall },
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
        rate_limit: args.rate_limit.map(u32::from),
        cors_origins: args.cors_origins(),
        max_chars: args.max_chars.into(),
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
        max_connections: args.max_connections.into(),
        stall,
        drain: seconds(args.drain_timeout),
    };
    let finished = server::serve(sockets, router, websockets, &service, stop.wait()).await;
    match finished {
        true => tracing::info!("stopped"),
        false => tracing::warn!("stopped; what still ran was cut off"),
    }
    Ok(())
}

impl ServeArgs {
    fn cors_origins(&self) -> Vec<String> {
        self.cors_origin.iter().map(|origin| origin.trim_end_matches('/').to_owned()).collect()
    }
}

fn keys(args: &ServeArgs, config: &Config) -> Result<Keys, Failure> {
    let from_env = config.api_keys.as_deref().map(Keys::parse).unwrap_or_default();
    let Some(path) = &args.api_key_file else { return Ok(from_env) };
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))?;
    let keys = Keys::parse(&text);
    if keys.is_empty() {
        return Err(Failure::usage(format!("{} has no key in it", path.display())));
    }
    Ok(from_env.and(keys))
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
