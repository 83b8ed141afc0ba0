//! How a pack comes to be: planned, filled on all cores, and kept in a file while it is used.
//!
//! The sections of a network are known before any number of them is. So the walk over the layers
//! is made twice: the first tells names and sizes and thereby where everything lies in the file;
//! the second, on every thread at once, computes the sections that no other thread has taken yet.
//! What comes out are the bytes of the file, in memory.

use std::collections::HashSet;
use std::ops::Range;
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

/// Where sections will lie.
#[derive(Default)]
struct Plan {
    entries: Vec<Entry>,
    names: HashSet<String>,
}

/// Where the bytes of every section go.
trait Rooms: Sync {
    /// Whether whoever asks is the first to.
    fn take(&self, index: usize) -> bool;

    /// Fills the room that was taken.
    fn put(&self, index: usize, bytes: &[u8]);
}

/// Rooms in memory.
struct Shared<'a> {
    rooms: Vec<Mutex<&'a mut [u8]>>,
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
}

impl Plan {
    fn place(&mut self, name: &str, kind: Kind, n_bytes: usize) -> Result<(), Error> {
        if !self.names.insert(name.to_owned()) {
            let problem = format!("section {name} is given twice");
            return Err(Error::Malformed { file: "the pack".to_owned(), problem });
        }
        let start = self.end().next_multiple_of(ALIGN);
        self.entries.push(Entry { name: name.to_owned(), kind, range: start..start + n_bytes });
        Ok(())
    }

    fn end(&self) -> usize {
        self.entries.last().map_or(HEADER_BYTES, |entry| entry.range.end)
    }
}

impl Rooms for Shared<'_> {
    /// Every walk asks for one section after the other, so those before the next are taken.
    fn take(&self, index: usize) -> bool {
        self.next.compare_exchange(index, index + 1, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    fn put(&self, index: usize, bytes: &[u8]) {
        let mut room = self.rooms[index].lock().unwrap_or_else(PoisonError::into_inner);
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
    let table_start = plan.end().next_multiple_of(ALIGN);
    let n_chunks = (table_start - HEADER_BYTES).div_ceil(CHUNK_BYTES);
    let mut table =
        Table { key: key.to_owned(), entries: plan.entries, chunk_hashes: vec![0; n_chunks] };
    let n_bytes = table_start + table.encode().len();
    let mapping = Mapping::in_memory(n_bytes, |file| {
        fill(
            &mut file[..table_start],
            table.entries.iter().map(|entry| entry.range.clone()),
            walk,
        )?;
        table.chunk_hashes = format::hashes(&file[HEADER_BYTES..table_start]);
        let table = table.encode();
        file[..HEADER_BYTES].copy_from_slice(&format::header(table_start, &table));
        file[table_start..].copy_from_slice(&table);
        Ok(())
    })?;
    Ok((mapping, table.entries))
}

/// Has the walk made by as many threads as are worth it.
fn fill<W>(
    file: &mut [u8],
    places: impl Iterator<Item = Range<usize>>,
    walk: &W,
) -> Result<(), Error>
where
    W: Fn(PackWriter<'_>) -> Result<(), Error> + Sync,
{
    let (mut rest, mut end) = (file, 0);
    let rooms = places.map(|place| {
        let from_here = std::mem::take(&mut rest).split_at_mut(place.start - end).1;
        let (room, after) = from_here.split_at_mut(place.len());
        (rest, end) = (after, place.end);
        Mutex::new(room)
    });
    let rooms = Shared { rooms: rooms.collect(), next: AtomicUsize::new(0) };
    let work = || walk(PackWriter(Phase::Filling { rooms: &rooms, at: 0 }));
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
