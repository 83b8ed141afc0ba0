//! The bytes of a pack file: how its header and table are written, and checked before use.
//!
//! ```text
//! header      64 bytes, see `Header`
//! sections    each at a multiple of 64 bytes, zeros between them
//! table       key, names and places of the sections, checksums of everything between header
//!             and table in pieces of `CHUNK_BYTES`
//! ```
//!
//! Numbers of the header and the table are little-endian; those of the sections, and the format
//! version, are in the order of the machine, so that a pack from another kind of machine is
//! one of another version. The checksums are XXH3: they find damage, not malice.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use twox_hash::XxHash3_64;

use super::Unusable;

/// To be raised when this file's layout changes.
const FORMAT_VERSION: u32 = 1;
const MAGIC: [u8; 8] = *b"koe-pack";
pub(super) const HEADER_BYTES: usize = 64;
/// Sections start at multiples of a cache line, which is also the widest vector.
pub(super) const ALIGN: usize = 64;
/// Small enough to share the work among threads evenly.
pub(super) const CHUNK_BYTES: usize = 1 << 20;
/// More threads find memory busy.
const MAX_THREADS: usize = 8;

/// What the numbers of a section are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    F32 = 1,
    U16 = 2,
}

impl Kind {
    fn n_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::U16 => 2,
        }
    }
}

/// A section's name and its bytes in the file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) range: Range<usize>,
}

/// What follows the sections.
pub(super) struct Table {
    pub(super) key: String,
    pub(super) entries: Vec<Entry>,
    pub(super) chunk_hashes: Vec<u64>,
}

impl Table {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_text(&mut bytes, &self.key);
        bytes.extend((self.entries.len() as u64).to_le_bytes());
        for entry in &self.entries {
            put_text(&mut bytes, &entry.name);
            bytes.push(entry.kind as u8);
            bytes.extend((entry.range.start as u64).to_le_bytes());
            bytes.extend((entry.range.end as u64).to_le_bytes());
        }
        bytes.extend((self.chunk_hashes.len() as u64).to_le_bytes());
        bytes.extend(self.chunk_hashes.iter().flat_map(|hash| hash.to_le_bytes()));
        bytes
    }

    /// None if the bytes are not exactly what `encode` makes.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let rest = &mut rest;
        let key = take_text(rest)?;
        let mut entries = Vec::new();
        for _ in 0..take_u64(rest)? {
            let name = take_text(rest)?;
            let kind = match rest.split_off_first()? {
                1 => Kind::F32,
                2 => Kind::U16,
                _ => return None,
            };
            let start = usize::try_from(take_u64(rest)?).ok()?;
            let end = usize::try_from(take_u64(rest)?).ok()?;
            entries.push(Entry { name, kind, range: start..end });
        }
        let mut chunk_hashes = Vec::new();
        for _ in 0..take_u64(rest)? {
            chunk_hashes.push(take_u64(rest)?);
        }
        rest.is_empty().then_some(Self { key, entries, chunk_hashes })
    }
}

pub(super) fn header(table_start: usize, table: &[u8]) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&FORMAT_VERSION.to_ne_bytes());
    header[12..16].copy_from_slice(&(CHUNK_BYTES as u32).to_le_bytes());
    header[16..24].copy_from_slice(&(table_start as u64).to_le_bytes());
    header[24..32].copy_from_slice(&(table.len() as u64).to_le_bytes());
    header[32..40].copy_from_slice(&XxHash3_64::oneshot(table).to_le_bytes());
    let hash = XxHash3_64::oneshot(&header[..56]);
    header[56..].copy_from_slice(&hash.to_le_bytes());
    header
}

/// Checks a whole pack and returns its sections, in the order of their places.
pub(super) fn check(file: &[u8], key: &str) -> Result<Vec<Entry>, Unusable> {
    let damaged = |what: &str| Unusable::Corrupt(what.to_owned());
    let header: &[u8; HEADER_BYTES] =
        file.first_chunk().ok_or_else(|| damaged("it is shorter than its header"))?;
    if header[..8] != MAGIC {
        return Err(damaged("it is not a pack"));
    }
    if header[8..12] != FORMAT_VERSION.to_ne_bytes()
        || header[12..16] != (CHUNK_BYTES as u32).to_le_bytes()
    {
        return Err(Unusable::Stale("it has another format version".to_owned()));
    }
    let number = |at: usize| header[at..at + 8].iter().rev().fold(0, |n, &b| n << 8 | u64::from(b));
    if number(56) != XxHash3_64::oneshot(&header[..56]) {
        return Err(damaged("its header is damaged"));
    }
    let table_start = usize::try_from(number(16)).ok().filter(|&start| start >= HEADER_BYTES);
    let (table_start, table) = table_start
        .and_then(|start| Some((start, file.get(start..)?)))
        .filter(|(_, table)| table.len() as u64 == number(24))
        .ok_or_else(|| damaged("it is cut short or has grown"))?;
    if number(32) != XxHash3_64::oneshot(table) {
        return Err(damaged("its table is damaged"));
    }
    let table = Table::decode(table).ok_or_else(|| damaged("its table is damaged"))?;
    if table.key != key {
        return Err(Unusable::Stale(format!("it was made for {}", table.key)));
    }
    check_entries(&table.entries, table_start).map_err(|what| damaged(&what))?;
    if hashes(&file[HEADER_BYTES..table_start]) != table.chunk_hashes {
        return Err(damaged("its checksums do not fit"));
    }
    Ok(table.entries)
}

/// Sections lie one after the other, aligned, between header and table, under different names.
fn check_entries(entries: &[Entry], table_start: usize) -> Result<(), String> {
    let mut last_end = HEADER_BYTES;
    let mut names = std::collections::HashSet::new();
    for Entry { name, kind, range } in entries {
        let sound = range.start >= last_end
            && range.start.is_multiple_of(ALIGN)
            && range.start <= range.end
            && range.end <= table_start
            && range.len().is_multiple_of(kind.n_bytes());
        if !sound {
            return Err(format!("section {name} is misplaced"));
        }
        if !names.insert(name) {
            return Err(format!("section {name} is there twice"));
        }
        last_end = range.end;
    }
    Ok(())
}

/// The checksum of every chunk, found on a few threads.
pub(super) fn hashes(bytes: &[u8]) -> Vec<u64> {
    let chunks: Vec<&[u8]> = bytes.chunks(CHUNK_BYTES).collect();
    let hashes: Vec<AtomicU64> = chunks.iter().map(|_| AtomicU64::new(0)).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some((chunk, hash)) = chunks.get(at).zip(hashes.get(at)) else { return };
            hash.store(XxHash3_64::oneshot(chunk), Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads_for(chunks.len()) {
            // Where no thread can be had, this one does all the work.
            let _ = std::thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
    hashes.into_iter().map(AtomicU64::into_inner).collect()
}

/// How many threads to work on so many chunks, or sections, with; a thread is worth some 4.
pub(super) fn threads_for(n_pieces: usize) -> usize {
    let n_cpus = std::thread::available_parallelism().map_or(1, usize::from);
    n_cpus.min(MAX_THREADS).min(n_pieces.div_ceil(4)).max(1)
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}

fn take_text(rest: &mut &[u8]) -> Option<String> {
    let n_bytes = usize::try_from(take_u64(rest)?).ok()?;
    let text = rest.split_off(..n_bytes)?;
    Some(std::str::from_utf8(text).ok()?.to_owned())
}

fn take_u64(rest: &mut &[u8]) -> Option<u64> {
    let (bytes, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(u64::from_le_bytes(*bytes))
}
