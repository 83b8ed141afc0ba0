//! Keeps a new pack in a file, in the background, while it is used from memory.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::{Key, remove_packs};
use crate::mapping::Mapping;

/// A file that is to be written. Whoever drops this has it written and waits for it, so that a
/// command that speaks one sentence leaves its pack behind too.
pub(super) struct Keeper {
    /// Until it has begun.
    job: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    outcome: Arc<Outcome>,
}

type Outcome = OnceLock<Result<(), String>>;

/// Tells the outcome however the thread ends.
struct Teller(Arc<Outcome>);

impl Drop for Teller {
    fn drop(&mut self) {
        // Does nothing where it was told.
        let _ = self.0.set(Err("the packed weights are not kept: no thread wrote them".to_owned()));
    }
}

impl Keeper {
    /// `lock` is held until the file has its name or cannot have it.
    pub(super) fn new(mapping: &Arc<Mapping>, path: PathBuf, key: Key, lock: File) -> Self {
        let outcome = Arc::new(Outcome::new());
        let (mapping, teller) = (Arc::clone(mapping), Teller(Arc::clone(&outcome)));
        let job = move || {
            let kept = keep(&mapping, &path, &key);
            drop(lock);
            let cache = path.parent().unwrap_or(&path);
            let _ = teller.0.set(kept.map_err(|refused| not_kept(cache, &refused)));
        };
        Self { job: Mutex::new(Some(Box::new(job))), outcome }
    }

    /// Begins to write, on a thread of its own.
    pub(super) fn start(&self) {
        let job = self.job.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(job) = job {
            // Where there is no thread to be had, the job is dropped and tells that.
            let _ = std::thread::Builder::new().name("koe-pack".to_owned()).spawn(job);
        }
    }

    /// Waits until the file has its name; otherwise why it has not.
    pub(super) fn wait(&self) -> Result<(), &str> {
        self.start();
        self.outcome.wait().as_ref().copied().map_err(String::as_str)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_no_thread_does_is_told_and_not_waited_for() {
        let outcome = Arc::new(Outcome::new());
        let teller = Teller(Arc::clone(&outcome));
        let job = move || drop(teller.0.set(Ok(())));
        let keeper = Keeper { job: Mutex::new(Some(Box::new(job))), outcome };
        drop(keeper.job.lock().unwrap().take());
        assert!(keeper.wait().unwrap_err().contains("no thread wrote them"));
    }
}
