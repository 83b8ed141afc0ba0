//! Keeps a new pack in a file, in the background, while it is used from memory.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;

use super::{Key, remove_packs};
use crate::mapping::Mapping;

/// A file that is to be written. Whoever drops this writes it or waits for it, so that a command
/// that speaks one sentence leaves its pack behind too.
pub(super) struct Keeper {
    state: Mutex<State>,
    outcome: Arc<OnceLock<Result<(), String>>>,
}

enum State {
    Waiting(Box<dyn FnOnce() + Send>),
    Writing(JoinHandle<()>),
    Over,
}

impl Keeper {
    /// `lock` is held until the file has its name or cannot have it.
    pub(super) fn new(mapping: &Arc<Mapping>, path: PathBuf, key: Key, lock: File) -> Self {
        let outcome = Arc::new(OnceLock::new());
        let (mapping, told) = (Arc::clone(mapping), Arc::clone(&outcome));
        let job = move || {
            let kept = keep(&mapping, &path, &key);
            drop(lock);
            let cache = path.parent().unwrap_or(&path);
            let _ = told.set(kept.map_err(|refused| not_kept(cache, &refused)));
        };
        Self { state: Mutex::new(State::Waiting(Box::new(job))), outcome }
    }

    /// Begins to write, on a thread of its own.
    pub(super) fn start(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = match std::mem::replace(&mut *state, State::Over) {
            State::Waiting(job) => {
                let thread = std::thread::Builder::new().name("koe-pack".to_owned()).spawn(job);
                match thread {
                    Ok(thread) => State::Writing(thread),
                    Err(error) => {
                        let why = format!("the packed weights are not kept: {error}");
                        let _ = self.outcome.set(Err(why));
                        State::Over
                    }
                }
            }
            begun => begun,
        };
    }

    /// Waits until the file has its name; otherwise why it has not.
    pub(super) fn wait(&self) -> Result<(), &str> {
        self.start();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::Writing(thread) = std::mem::replace(&mut *state, State::Over) {
            let _ = thread.join();
        }
        match self.outcome.get() {
            Some(outcome) => outcome.as_ref().copied().map_err(String::as_str),
            None => Err("the packed weights are not kept: the thread that writes them died"),
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let _ = self.wait();
    }
}

/// What the user is told when there is no file.
pub(super) fn not_kept(cache: &Path, refused: &io::Error) -> String {
    format!(
        "cannot keep the packed weights in {}: {refused}; they take memory now, and time at every \
         start",
        cache.display()
    )
}

/// Writes the file under another name, has the system take it to the disk, gives it its name and
/// puts it in the place of memory.
fn keep(mapping: &Mapping, path: &Path, key: &Key) -> io::Result<()> {
    remove_left_overs(path);
    let mut written = Unnamed::create(temporary(path))?;
    written.file.write_all(mapping)?;
    // A full disk may be noticed only here; and a name must never stand for less than a pack.
    written.file.sync_all()?;
    written.rename(path)?;
    if let Some(cache) = path.parent() {
        remove_packs(cache, |name| key.replaces(name));
    }
    // The file is there for the next start, whatever comes of this.
    if File::open(path).is_ok_and(|file| mapping.back_by(&file).is_ok()) {
        mapping.bring_back(&|| false);
    }
    Ok(())
}

/// A file that is removed unless it is given its name.
struct Unnamed {
    path: PathBuf,
    file: File,
    is_named: bool,
}

impl Unnamed {
    fn create(path: PathBuf) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        Ok(Self { file: options.open(&path)?, path, is_named: false })
    }

    fn rename(mut self, path: &Path) -> io::Result<()> {
        std::fs::rename(&self.path, path)?;
        self.is_named = true;
        Ok(())
    }
}

impl Drop for Unnamed {
    fn drop(&mut self) {
        if !self.is_named {
            // What cannot be removed now is removed by the next one who packs.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Different for every process, should the file system have no locks.
fn temporary(path: &Path) -> PathBuf {
    path.with_extension(format!("tmp.{}", std::process::id()))
}

/// Removes what processes left that died while they built this pack, called under its lock, or
/// another one that nobody builds.
fn remove_left_overs(path: &Path) {
    let Some((folder, name)) = path.parent().zip(path.file_stem().and_then(|name| name.to_str()))
    else {
        return;
    };
    for entry in folder.read_dir().into_iter().flatten().flatten() {
        let file = entry.file_name();
        let Some((of, _)) = file.to_str().and_then(|file| file.split_once(".tmp.")) else {
            continue;
        };
        let lock = OpenOptions::new().write(true).open(folder.join(of).with_extension("lock"));
        if of == name || lock.is_ok_and(|lock| lock.try_lock().is_ok()) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
