//! Servers to measure: this very program as a process of its own, with a model that was chosen.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use koe_engine::{Isa, Model};

use super::Error;
use crate::choice::{self, Choice, Wish};
use crate::config::Config;
use crate::machine;

/// What is measured: a model with the settings of this program.
#[derive(Clone)]
pub struct Target {
    /// The settings.
    pub config: Config,
    /// The model.
    pub choice: Choice,
}

impl Target {
    /// The model that `koe say` would choose.
    pub fn new(config: &Config) -> Result<Self, Error> {
        let wish = Wish { model: config.model.clone(), voice: None };
        let choice = choice::choose(&wish, choice::installed(config)?.as_deref())?;
        Ok(Self { config: config.clone(), choice })
    }

    /// Opens the model in this process.
    pub fn open(&self) -> Result<Model, Error> {
        Ok(choice::open_model(&self.choice.model, &self.config)?)
    }

    /// Makes sure that the pack is there, and as it is when it was read rather than just written:
    /// Linux keeps what was just written in pieces that it does not let go of one by one.
    pub fn settle(&self) -> Result<(), Error> {
        if self.open()?.kept().is_ok() {
            #[cfg(target_os = "linux")]
            if let Ok(file) = std::fs::File::open(self.config.cache.join(self.identity()?)) {
                let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
            }
        }
        Ok(())
    }

    /// The model's identity, which is its pack's name in the cache.
    pub fn identity(&self) -> Result<String, Error> {
        let precision = choice::precision(&self.config);
        Ok(match &self.choice.model {
            choice::Which::Builtin => Model::identify_builtin(precision),
            choice::Which::Kokoro(folder) | choice::Which::Folder(folder) => {
                Model::identify(precision, folder, &self.config.cache)?
            }
        })
    }

    /// The instructions that are computed with.
    pub fn isa(&self) -> Isa {
        self.config.isa.unwrap_or_else(Isa::detect)
    }

    /// How many threads compute.
    pub fn threads(&self) -> usize {
        self.config.threads.map_or_else(machine::threads, usize::from)
    }

    /// The model and its precision.
    pub fn model_name(&self) -> String {
        let precision = choice::precision(&self.config).name();
        match &self.choice.model {
            choice::Which::Builtin => format!("builtin, {precision}"),
            choice::Which::Kokoro(folder) | choice::Which::Folder(folder) => {
                let name = folder.file_name().unwrap_or_default().to_string_lossy();
                format!("{name}, {precision}")
            }
        }
    }

    fn model_argument(&self) -> OsString {
        match &self.choice.model {
            choice::Which::Builtin => "builtin".into(),
            choice::Which::Kokoro(folder) | choice::Which::Folder(folder) => {
                folder.clone().into_os_string()
            }
        }
    }
}

/// The servers that run.
static RUNNING: Mutex<Vec<Arc<Mutex<Child>>>> = Mutex::new(Vec::new());
/// Folders to be removed.
static FOLDERS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Ends whatever servers run and removes their folders: for signals, after which nothing is dropped
/// and the process must end.
pub fn clean_up() {
    let running = lock(&RUNNING);
    for child in &*running {
        let mut child = lock(child);
        // One that is gone writes no more.
        let _ = child.kill().and_then(|()| child.wait());
    }
    for folder in &*lock(&FOLDERS) {
        let _ = std::fs::remove_dir_all(folder);
    }
    // No other is started any more.
    std::mem::forget(running);
}

/// A new folder that is removed when it is dropped or by [`clean_up`].
pub(super) fn folder() -> Result<tempfile::TempDir, Error> {
    let folder = tempfile::tempdir()?;
    lock(&FOLDERS).push(folder.path().to_owned());
    Ok(folder)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A server as a process, ended when it is dropped.
pub(super) struct Server {
    child: Arc<Mutex<Child>>,
    /// Where it listens, as `127.0.0.1:1234`.
    pub(super) address: String,
    /// From the start of the process until it listened.
    pub(super) listening_after: Duration,
    /// And until it was ready.
    pub(super) ready_after: Duration,
}

impl Server {
    /// Starts one and waits until it is ready. `cache` is where its packs are, if not as usual.
    pub(super) fn start(
        target: &Target,
        cache: Option<&Path>,
        arguments: &[&str],
    ) -> Result<Self, Error> {
        let program: PathBuf = std::env::current_exe()?;
        let cache = cache.unwrap_or(&target.config.cache);
        let begun = Instant::now();
        let mut command = Command::new(program);
        command
            .args(["serve", "--host", "127.0.0.1", "--port", "0"])
            .arg("--model")
            .arg(target.model_argument())
            .args(["--threads", &target.threads().to_string()])
            .args(arguments)
            .env("KOKORO_CACHE_DIR", cache)
            .env("KOKORO_SOCKET", "off")
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let child = {
            let mut running = lock(&RUNNING);
            let child = Arc::new(Mutex::new(command.spawn()?));
            running.push(child.clone());
            child
        };
        let (listening_after, ready_after) = (Duration::ZERO, Duration::ZERO);
        // From here on whatever goes wrong ends the process.
        let mut server = Self { child, address: String::new(), listening_after, ready_after };
        let log = lock(&server.child).stderr.take();
        let mut log = BufReader::new(log.ok_or("no log")?);
        let mut all = String::new();
        loop {
            let mut line = String::new();
            if log.read_line(&mut line)? == 0 {
                return Err(format!("the server did not start:\n{all}").into());
            }
            if let Some((_, found)) = line.split_once("listening on http://") {
                server.listening_after = begun.elapsed();
                server.address = found.split(['"', ' ', '\n']).next().unwrap_or("").to_owned();
            }
            if line.contains("\"message\":\"ready\"") {
                break;
            }
            all.push_str(&line);
        }
        server.ready_after = begun.elapsed();
        // The log must not fill its pipe.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        if server.address.is_empty() {
            return Err("the server does not say where it listens for http".into());
        }
        Ok(server)
    }

    /// What the system says of its memory.
    pub(super) fn memory(&self) -> Option<machine::ProcessMemory> {
        machine::memory_of(Path::new("/"), lock(&self.child).id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        lock(&RUNNING).retain(|running| !Arc::ptr_eq(running, &self.child));
        let mut child = lock(&self.child);
        let _ = child.kill();
        let _ = child.wait();
    }
}
