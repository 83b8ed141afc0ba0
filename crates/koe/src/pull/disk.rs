//! Files on their way to a model's folder, written so that dying at any moment harms nothing.
//!
//! A download grows under the name of its checksum in `.partial`, where the next pull finds and
//! continues it. When all of them are there, proven and on the disk, they get their final names by
//! renaming, and after that the manifest is written. Should a file be replaced that an older
//! manifest vouches for, that manifest goes first.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{Error, Item};
use crate::models::{self, Installed, hex};

/// A model's folder, locked against other processes.
pub(super) struct Folder {
    path: PathBuf,
    /// The system drops the lock when the process dies.
    _lock: File,
}

impl Folder {
    /// Creates and locks the folder; `wait` is called if another process holds the lock.
    pub(super) fn lock(data: &Path, name: &str, wait: &mut dyn FnMut()) -> Result<Self, Error> {
        let path = models::folder(data, name);
        std::fs::create_dir_all(&path).map_err(Error::disk(&path))?;
        let lock_path = path.with_extension("lock");
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true);
        let lock = options.open(&lock_path).map_err(Error::disk(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => {
                wait();
                lock.lock().map_err(Error::disk(&lock_path))?;
            }
            // Some network file systems have no locks; two pulls at once then waste work, and at
            // worst one of them finds a wrong checksum.
            Err(std::fs::TryLockError::Error(error))
                if error.kind() == io::ErrorKind::Unsupported => {}
            Err(std::fs::TryLockError::Error(error)) => return Err(Error::disk(&lock_path)(error)),
        }
        // Only under the lock: who held it before removed this folder at its end.
        let partial = path.join(".partial");
        std::fs::create_dir_all(&partial).map_err(Error::disk(&partial))?;
        Ok(Self { path, _lock: lock })
    }

    /// Removes what a pull left that died after it had installed all. Where another pull is at
    /// work, or nothing can be written, it stays: it is harmless.
    pub(super) fn tidy(path: &Path) {
        let partial = path.join(".partial");
        if !partial.exists() {
            return;
        }
        if let Ok(lock) = OpenOptions::new().write(true).open(path.with_extension("lock"))
            && lock.try_lock().is_ok()
        {
            let _ = std::fs::remove_dir_all(&partial);
        }
    }

    /// Whether the item is there under its final name with the right content.
    pub(super) fn has(&self, item: &Item, read: &mut dyn FnMut(u64)) -> Option<u64> {
        let path = self.path.join(&item.path);
        let meta = path.metadata().ok()?;
        if !meta.is_file() || !item.size.allows(meta.len()) {
            return None;
        }
        let (n_bytes, sha256) = models::hash_file(&path, read).ok()?;
        (sha256 == item.sha256).then_some(n_bytes)
    }

    /// The item on its way, with as much of it as an earlier pull got.
    pub(super) fn partial(&self, item: &Item) -> Result<Partial, Error> {
        let path = self.path.join(".partial").join(&item.sha256);
        Partial::open(path, item)
    }

    /// Gives files that were fetched their final names and proves the installation.
    pub(super) fn commit(&self, model: &Installed, fetched: &[&Item]) -> Result<(), Error> {
        let manifest = models::manifest_path(&self.path);
        let old = models::vouched_for(&self.path);
        if fetched.iter().any(|item| old.iter().any(|file| file.path == item.path)) {
            std::fs::remove_file(&manifest).map_err(Error::disk(&manifest))?;
            sync_folder(&self.path)?;
        }
        let partial = self.path.join(".partial");
        let mut folders = BTreeSet::from([self.path.clone()]);
        for item in fetched {
            let path = self.path.join(&item.path);
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent).map_err(Error::disk(parent))?;
                folders.insert(parent.to_owned());
            }
            std::fs::rename(partial.join(&item.sha256), &path).map_err(Error::disk(&path))?;
        }
        folders.iter().try_for_each(|folder| sync_folder(folder))?;

        let temporary = partial.join("manifest");
        let write = || {
            let mut file = File::create(&temporary)?;
            file.write_all(models::manifest(model).as_bytes())?;
            file.sync_all()
        };
        write().map_err(Error::disk(&temporary))?;
        std::fs::rename(&temporary, &manifest).map_err(Error::disk(&manifest))?;
        sync_folder(&self.path)?;
        // What is left there are tags and parts of other revisions; harmless if they stay.
        let _ = std::fs::remove_dir_all(&partial);
        Ok(())
    }
}

/// An item that is being written.
pub(super) struct Partial {
    path: PathBuf,
    file: File,
    hasher: Sha256,
    n_bytes: u64,
    most_bytes: u64,
    /// Bytes that an earlier pull left, whose origin is unknown.
    n_inherited: u64,
}

impl Partial {
    fn open(path: PathBuf, item: &Item) -> Result<Self, Error> {
        let mut options = OpenOptions::new();
        options.create(true).append(true);
        let file = options.open(&path).map_err(Error::disk(&path))?;
        let mut partial = Self {
            hasher: Sha256::new(),
            n_bytes: 0,
            n_inherited: 0,
            most_bytes: item.size.most(),
            path,
            file,
        };
        let found = partial.file.metadata().map_err(Error::disk(&partial.path))?.len();
        if found > partial.most_bytes {
            partial.restart()?;
        } else if found > 0 {
            let read = models::hash_into(&partial.path, &mut partial.hasher, &mut |_| {});
            partial.n_bytes = read.map_err(Error::disk(&partial.path))?;
            partial.n_inherited = partial.n_bytes;
        }
        Ok(partial)
    }

    /// How much of the item is there.
    pub(super) fn n_bytes(&self) -> u64 {
        self.n_bytes
    }

    /// Whether some of it was there before this pull.
    pub(super) fn has_inherited(&self) -> bool {
        self.n_inherited > 0
    }

    /// Whether what is there is the item, to the bit.
    pub(super) fn is_whole(&self, item: &Item) -> bool {
        self.sha256() == item.sha256 && item.size.allows(self.n_bytes)
    }

    /// Makes what is there survive a loss of power; an error unless it is the item.
    pub(super) fn settle(&self, item: &Item) -> Result<u64, Error> {
        if !self.is_whole(item) {
            return Err(Error::WrongContent {
                path: item.path.clone(),
                needed: item.sha256.clone(),
                found: self.sha256(),
                bytes: self.n_bytes,
            });
        }
        self.file.sync_all().map_err(Error::disk(&self.path))?;
        Ok(self.n_bytes)
    }

    fn sha256(&self) -> String {
        hex(&self.hasher.clone().finalize())
    }

    /// Forgets what is there.
    pub(super) fn restart(&mut self) -> Result<(), Error> {
        self.file.set_len(0).map_err(Error::disk(&self.path))?;
        self.forget_etag();
        self.hasher = Sha256::new();
        (self.n_bytes, self.n_inherited) = (0, 0);
        Ok(())
    }

    /// Adds a piece; one beyond what the item may have is an error.
    pub(super) fn write(&mut self, piece: &[u8]) -> Result<(), Error> {
        let n_bytes = self.n_bytes + piece.len() as u64;
        if n_bytes > self.most_bytes {
            return Err(Error::TooLong { limit: self.most_bytes });
        }
        self.file.write_all(piece).map_err(Error::disk(&self.path))?;
        self.hasher.update(piece);
        self.n_bytes = n_bytes;
        Ok(())
    }

    /// The entity tag under which the server sent what is there.
    pub(super) fn etag(&self) -> Option<String> {
        let text = std::fs::read_to_string(self.path.with_extension("etag")).ok()?;
        is_strong_etag(&text).then_some(text)
    }

    /// Remembers the entity tag of what is being received. Losing it costs a question more.
    pub(super) fn set_etag(&self, etag: Option<&str>) {
        match etag.filter(|etag| is_strong_etag(etag)) {
            Some(etag) => drop(std::fs::write(self.path.with_extension("etag"), etag)),
            None => self.forget_etag(),
        }
    }

    fn forget_etag(&self) {
        let _ = std::fs::remove_file(self.path.with_extension("etag"));
    }

    /// Removes it.
    pub(super) fn discard(self) {
        self.forget_etag();
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Weak tags do not promise equal bytes, and may not be used to continue (RFC 9110, 13.1.5).
fn is_strong_etag(etag: &str) -> bool {
    etag.len() > 2
        && etag.len() < 200
        && etag.starts_with('"')
        && etag.ends_with('"')
        && etag.bytes().all(|byte| (0x21..0x7f).contains(&byte))
}

/// Makes renames in the folder survive a loss of power.
fn sync_folder(folder: &Path) -> Result<(), Error> {
    // Elsewhere folders cannot be opened, nor need they be.
    if cfg!(unix) {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::disk(folder))?;
    }
    Ok(())
}
