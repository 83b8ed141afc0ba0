//! What identifies the content of a checkpoint, cheaply at every start.
//!
//! The fingerprint is a hash of all bytes of the file, so a checkpoint that is moved, copied into
//! a container or put back keeps its pack, and one that changes by a single bit loses it. Reading
//! 327 MB at each start would be too slow, so the hash is remembered in the cache together
//! with what the system says of the file (its length, times to the nanosecond, inode, device);
//! while all of that stays the same, the remembered hash holds.
//!
//! What can go wrong: a file system that changes content without changing any of these (a block
//! device restored underneath, say). A change within the clock's grain of the last one is covered,
//! as hashes of files younger than [`SETTLED`] are not remembered.

use std::fs::{File, Metadata};
use std::hash::Hasher;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use twox_hash::XxHash3_64;

use super::format::{CHUNK_BYTES, threads_for};
use crate::Error;
use crate::checkpoint::open_regular;

/// Coarser than the time stamps of any usual file system (FAT: 2 seconds).
const SETTLED: Duration = Duration::from_secs(3);

/// Identifies the content of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint(u64);

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Fingerprint {
    /// Of the file at `path`; `cache` is where hashes are remembered, if it can be written.
    pub(crate) fn of(path: &Path, cache: &Path) -> Result<Self, Error> {
        let path = path.canonicalize().map_err(Error::io("read", path))?;
        let stamp = stamp(&path.metadata().map_err(Error::io("read", &path))?);
        let record = record_path(&path, cache);
        let earlier = recall(&record);
        if let Some((known, fingerprint)) = &earlier
            && *known == stamp
        {
            return Ok(*fingerprint);
        }
        let found = Self::of_content(&path)?;
        let meta = path.metadata().map_err(Error::io("read", &path))?;
        let age = meta.modified().ok().and_then(|time| SystemTime::now().duration_since(time).ok());
        if stamp == self::stamp(&meta) && age.is_some_and(|age| age > SETTLED) {
            // Without it the next start is slower, nothing else.
            let _ = remember(&record, &stamp, found);
        }
        if let Some((_, earlier)) = earlier.filter(|(_, earlier)| *earlier != found) {
            super::remove_packs(cache, |name| name.starts_with(&format!("{earlier}-")));
        }
        Ok(found)
    }

    /// Reads the whole file, on a few threads.
    fn of_content(path: &Path) -> Result<Self, Error> {
        let (_, n_bytes) = open_regular(path)?;
        let n_chunks = n_bytes.div_ceil(CHUNK_BYTES as u64);
        let n_chunks = usize::try_from(n_chunks).unwrap_or(usize::MAX);
        let next = AtomicUsize::new(0);
        let work = || -> std::io::Result<Vec<(usize, u64)>> {
            let mut file = File::open(path)?;
            let mut hashes = Vec::new();
            let mut chunk = Vec::new();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                if at >= n_chunks {
                    return Ok(hashes);
                }
                chunk.clear();
                file.seek(SeekFrom::Start(at as u64 * CHUNK_BYTES as u64))?;
                file.by_ref().take(CHUNK_BYTES as u64).read_to_end(&mut chunk)?;
                hashes.push((at, XxHash3_64::oneshot(&chunk)));
            }
        };
        let n_threads = threads_for(n_chunks);
        let hashes = std::thread::scope(|scope| {
            let others: Vec<_> = (1..n_threads)
                .filter_map(|_| std::thread::Builder::new().spawn_scoped(scope, work).ok())
                .collect();
            let mut hashes = work()?;
            for other in others {
                // A thread that panicked would lose its chunks: the file is then read in vain.
                hashes.extend(other.join().map_err(|_| std::io::Error::other("a thread died"))??);
            }
            Ok(hashes)
        });
        let mut hashes = hashes.map_err(Error::io("read", path))?;
        hashes.sort_unstable();
        let mut all = XxHash3_64::new();
        all.write_u64(n_bytes);
        for (_, hash) in hashes {
            all.write_u64(hash);
        }
        Ok(Self(all.finish()))
    }
}

/// One small file for each path, so that they do not heap up.
fn record_path(path: &Path, cache: &Path) -> PathBuf {
    let hash = XxHash3_64::oneshot(path.as_os_str().as_encoded_bytes());
    cache.join("fingerprints").join(format!("{hash:016x}"))
}

/// What changes when a file changes. The time of the last change of status (`ctime`) cannot be
/// set back by tools that preserve the time of the last change of content.
fn stamp(meta: &Metadata) -> String {
    let modified = meta.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let modified = modified.map_or(0, |time| time.as_nanos());
    #[cfg(unix)]
    let more = {
        use std::os::unix::fs::MetadataExt;
        format!("{}.{} {} {}", meta.ctime(), meta.ctime_nsec(), meta.ino(), meta.dev())
    };
    #[cfg(not(unix))]
    let more = "";
    format!("koe 1 {} {modified} {more}", meta.len())
}

/// What was remembered: the file's stamp at that time, and its fingerprint.
fn recall(record: &Path) -> Option<(String, Fingerprint)> {
    let text = std::fs::read_to_string(record).ok()?;
    let (stamp, hash) = text.strip_suffix('\n')?.split_once('\n')?;
    let hash = Some(hash).filter(|hash| hash.len() == 16)?;
    Some((stamp.to_owned(), Fingerprint(u64::from_str_radix(hash, 16).ok()?)))
}

fn remember(record: &Path, stamp: &str, found: Fingerprint) -> std::io::Result<()> {
    if let Some(folder) = record.parent() {
        super::create_folder(folder)?;
    }
    let temporary = record.with_extension(format!("tmp.{}", std::process::id()));
    std::fs::write(&temporary, format!("{stamp}\n{found}\n"))?;
    std::fs::rename(&temporary, record)
}
