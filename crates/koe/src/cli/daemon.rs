//! `koe daemon`: a server for `koe say` on this machine alone, which stops when nobody asks for
//! anything.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use clap::Args;
use tokio::sync::Notify;

use super::{Failure, serve, tell};
use crate::config::Config;
use crate::local::client;

#[derive(Debug, Args)]
pub(super) struct DaemonArgs {
    /// Stop the one that runs
    #[arg(long)]
    stop: bool,
    /// Do not leave the terminal; the log goes to standard error
    #[arg(long, conflicts_with = "stop")]
    foreground: bool,
}

pub(super) fn run(args: &DaemonArgs, config: &Config) -> Result<(), Failure> {
    let path = config.local_socket.path().ok_or_else(|| {
        Failure::usage("a daemon needs its socket, which KOKORO_SOCKET turns off; unset it")
    })?;
    if args.stop {
        return match client::stop(path) {
            Ok(stopped) => {
                tell(if stopped { "koe: stopped" } else { "koe: none runs" });
                Ok(())
            }
            Err(error) => Err(Failure::failed(format!("cannot stop it: {error}"))),
        };
    }
    if UnixStream::connect(path).is_ok() {
        tell(format_args!("koe: one runs already"));
        return Ok(());
    }
    if args.foreground {
        serve::log();
        let runtime = serve::runtime()?;
        let stayed = runtime.block_on(stay(config, path));
        // What still goes on in the background, packing or warming, is nobody's any more.
        runtime.shutdown_background();
        return stayed;
    }
    start(path, &config.cache)
}

/// Starts this very command again, away from the terminal, and waits until it can be asked.
fn start(socket: &Path, cache: &Path) -> Result<(), Failure> {
    let cannot =
        |what: &str, error: std::io::Error| Failure::failed(format!("cannot {what}: {error}"));
    let program = std::env::current_exe().map_err(|error| cannot("find this program", error))?;
    let log = log_path(cache);
    // A cache that cannot be written costs the log, nothing else. Appended to: another that runs
    // may write there too.
    let opened = fs::create_dir_all(cache)
        .and_then(|()| File::options().create(true).append(true).open(&log));
    let log_file = opened
        .as_ref()
        .map_or_else(|_| Ok(Stdio::null()), |file| file.try_clone().map(Stdio::from));
    let log_file = log_file.map_err(|error| cannot("write the log", error))?;
    let mut child = Command::new(program)
        .args(std::env::args_os().skip(1))
        .arg("--foreground")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log_file)
        .process_group(0)
        .spawn()
        .map_err(|error| cannot("start", error))?;
    // It says so once it listens; an end without a word means that it died.
    let mut said = String::new();
    let heard = child.stdout.take().map(|out| BufReader::new(out).read_line(&mut said));
    if !matches!(heard, Some(Ok(_))) || said.is_empty() {
        let _ = child.wait();
        return Err(Failure::failed(format!("it did not start; see {}", log.display())));
    }
    tell(format_args!("koe: started; koe say is served at {}", socket.display()));
    Ok(())
}

fn log_path(cache: &Path) -> PathBuf {
    cache.join("daemon.log")
}

/// Serves until a signal, a command or idleness ends it.
async fn stay(config: &Config, path: &Path) -> Result<(), Failure> {
    let mut stop = serve::Stop::install()?;
    let asked = Arc::new(Notify::new());
    let on_stop = asked.clone();
    let service = tokio::select! {
        () = stop.wait() => return Ok(()),
        service = serve::open(config.clone()) => service?,
    };
    let on_stop: crate::local::server::OnStop = Box::new(move || on_stop.notify_one());
    let _listening = serve::listen_locally(config, &service, Some(on_stop))
        .await?
        .ok_or_else(|| Failure::failed("it cannot listen; another may run already"))?;
    let life = async {
        serve::prime(&service).await;
        // For whoever started it; in a terminal, for people.
        super::output::print(&format!("ready at {}\n", path.display()))?;
        service.idle_for(config.daemon_idle).await;
        tracing::info!("nobody asked for anything");
        Ok::<(), Failure>(())
    };
    let ended = tokio::select! {
        () = stop.wait() => Ok(()),
        () = asked.notified() => Ok(()),
        ended = life => ended,
    };
    service.drain();
    service.lanes().stop_accelerator();
    tracing::info!("stopped");
    ended
}
