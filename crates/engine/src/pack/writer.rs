//! How a pack comes to be in memory: planned, then filled on all cores.
//!
//! The sections of a network are known before any number of them is. So the walk over the layers
//! is made once for names and sizes and thereby where everything lies in the file; then on every
//! thread at once, each computing the sections that no other has taken yet. What comes out are the
//! bytes of the file, in memory; `keeper.rs` writes them.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::Packed;
use super::format::{self, ALIGN, CHUNK_BYTES, Entry, HEADER_BYTES, Kind, Table};
use crate::Error;
use crate::mapping::Mapping;

/// Takes sections in any order, the same in every walk; a name may be given once.
pub(crate) struct PackWriter<'a>(Phase<'a>);

enum Phase<'a> {
    Planning(&'a mut Plan),
    Filling { rooms: &'a dyn Rooms, at: usize },
}

/// The sections in the order of the walk, each with its length alone, and whether it is apart.
#[derive(Default)]
struct Plan {
    sections: Vec<(Entry, bool)>,
    names: HashSet<String>,
    is_apart: bool,
}

/// Where the bytes of every section go. A trait, because a walk knows nothing of how long the memory
/// behind it lives.
trait Rooms: Sync {
    /// Whether whoever asks is the first to.
    fn take(&self, index: usize) -> bool;

    /// Fills the room that was taken.
    fn put(&self, index: usize, bytes: &[u8]);
}

/// Rooms in memory.
struct Shared<'a> {
    /// In the order of their places.
    rooms: Vec<Mutex<&'a mut [u8]>>,
    /// The room of each section of the walk.
    ranks: &'a [usize],
    /// The first that nobody has taken.
    next: AtomicUsize,
}

impl PackWriter<'_> {
    /// A section of `len` numbers in the layout that the kernels want, which `make` computes if it
    /// is this walk's turn to.
    pub(crate) fn numbers<T: Packed>(
        &mut self,
        name: &str,
        len: usize,
        make: impl FnOnce() -> Result<Vec<T>, Error>,
    ) -> Result<(), Error> {
        match &mut self.0 {
            Phase::Planning(plan) => plan.place(name, T::KIND, len * size_of::<T>()),
            Phase::Filling { rooms, at } => {
                let index = *at;
                *at += 1;
                if !rooms.take(index) {
                    return Ok(());
                }
                let numbers = make()?;
                assert_eq!(numbers.len(), len, "section {name}");
                rooms.put(index, bytemuck::cast_slice(&numbers));
                Ok(())
            }
        }
    }

    /// Whether the sections that follow shall lie together, apart from the others: what is used at
    /// once, though layers have it one by one.
    pub(crate) fn set_apart(&mut self, is_apart: bool) {
        if let Phase::Planning(plan) = &mut self.0 {
            plan.is_apart = is_apart;
        }
    }
}

impl Plan {
    fn place(&mut self, name: &str, kind: Kind, n_bytes: usize) -> Result<(), Error> {
        if !self.names.insert(name.to_owned()) {
            let problem = format!("section {name} is given twice");
            return Err(Error::Malformed { file: "the pack".to_owned(), problem });
        }
        let entry = Entry { name: name.to_owned(), kind, range: 0..n_bytes };
        self.sections.push((entry, self.is_apart));
        Ok(())
    }

    /// The sections in the order of their places, those apart first, and for each of the walk which
    /// one of these it is.
    fn lay_out(self) -> (Vec<Entry>, Vec<usize>) {
        let mut order: Vec<usize> = (0..self.sections.len()).collect();
        order.sort_by_key(|&i| !self.sections[i].1);
        let (mut entries, mut ranks) = (Vec::new(), vec![0; order.len()]);
        let mut end = HEADER_BYTES;
        for (rank, i) in order.into_iter().enumerate() {
            let mut entry = self.sections[i].0.clone();
            let start = end.next_multiple_of(ALIGN);
            end = start + entry.range.len();
            entry.range = start..end;
            entries.push(entry);
            ranks[i] = rank;
        }
        (entries, ranks)
    }
}

impl Rooms for Shared<'_> {
    /// Every walk asks for one section after the other, so those before the next are taken.
    fn take(&self, index: usize) -> bool {
        self.next.compare_exchange(index, index + 1, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    fn put(&self, index: usize, bytes: &[u8]) {
        let mut room = self.rooms[self.ranks[index]].lock().unwrap_or_else(PoisonError::into_inner);
        room.copy_from_slice(bytes);
    }
}

/// All of a pack's file, in memory, with its sections in the order of their places.
pub(super) fn build<W>(key: &str, walk: &W) -> Result<(Mapping, Vec<Entry>), Error>
where
    W: Fn(PackWriter<'_>) -> Result<(), Error> + Sync,
{
    let mut plan = Plan::default();
    walk(PackWriter(Phase::Planning(&mut plan)))?;
    let (entries, ranks) = plan.lay_out();
    let end = entries.last().map_or(HEADER_BYTES, |entry| entry.range.end);
    let table_start = end.next_multiple_of(ALIGN);
    let n_chunks = (table_start - HEADER_BYTES).div_ceil(CHUNK_BYTES);
    let mut table = Table { key: key.to_owned(), entries, chunk_hashes: vec![0; n_chunks] };
    let n_bytes = table_start + table.encode().len();
    let mapping = Mapping::in_memory(n_bytes, |file| {
        fill(&mut file[..table_start], &table.entries, &ranks, walk)?;
        table.chunk_hashes = format::hashes(&file[HEADER_BYTES..table_start]);
        let table = table.encode();
        file[..HEADER_BYTES].copy_from_slice(&format::header(table_start, &table));
        file[table_start..].copy_from_slice(&table);
        Ok(())
    })?;
    Ok((mapping, table.entries))
}

/// Has the walk made by as many threads as are worth it.
fn fill<W>(file: &mut [u8], entries: &[Entry], ranks: &[usize], walk: &W) -> Result<(), Error>
where
    W: Fn(PackWriter<'_>) -> Result<(), Error> + Sync,
{
    let (mut rest, mut end) = (file, 0);
    let rooms = entries.iter().map(|Entry { range: place, .. }| {
        let from_here = std::mem::take(&mut rest).split_at_mut(place.start - end).1;
        let (room, after) = from_here.split_at_mut(place.len());
        (rest, end) = (after, place.end);
        Mutex::new(room)
    });
    let rooms = Shared { rooms: rooms.collect(), ranks, next: AtomicUsize::new(0) };
    let work = || {
        let walked = walk(PackWriter(Phase::Filling { rooms: &rooms, at: 0 }));
        if walked.is_err() {
            // The others need not go on.
            rooms.next.store(usize::MAX, Ordering::Relaxed);
        }
        walked
    };
    let n_threads = format::threads_for(rooms.rooms.len());
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..n_threads)
            .filter_map(|_| std::thread::Builder::new().spawn_scoped(scope, work).ok())
            .collect();
        let mut all = work();
        for other in others {
            all = all.and(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        all
    })
}
