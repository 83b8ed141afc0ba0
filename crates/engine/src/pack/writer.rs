//! Writes the sections of a pack, to a temporary file or to memory, one after the other.

use std::fs::{File, OpenOptions};
use std::hash::Hasher;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use twox_hash::XxHash3_64;

use super::format::{self, ALIGN, CHUNK_BYTES, Entry, HEADER_BYTES, Kind, Table};
use super::{Pack, Packed, Store};
use crate::Error;
use crate::buffer::Buffer;

/// Takes sections in any order; a name may be given once.
pub(crate) struct PackWriter {
    entries: Vec<Entry>,
    sink: Sink,
}

enum Sink {
    Memory(Vec<Buffer>),
    File(Box<FileSink>),
}

/// A file on its way; what it wrote is removed with it unless it was given its final name.
struct FileSink {
    path: PathBuf,
    file: BufWriter<File>,
    at: usize,
    /// Of the chunk that is being written.
    hasher: XxHash3_64,
    chunk_hashes: Vec<u64>,
    /// The disk refused, so memory should be tried.
    refused: bool,
    renamed: bool,
}

impl PackWriter {
    /// To memory.
    pub(super) fn memory() -> Self {
        Self { entries: Vec::new(), sink: Sink::Memory(Vec::new()) }
    }

    /// To a new file of this name, which must not exist.
    pub(super) fn file(path: &Path) -> Result<Self, Error> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path).map_err(Error::io("write", path))?;
        let mut sink = FileSink {
            path: path.to_owned(),
            file: BufWriter::with_capacity(CHUNK_BYTES, file),
            at: HEADER_BYTES,
            hasher: XxHash3_64::new(),
            chunk_hashes: Vec::new(),
            refused: false,
            renamed: false,
        };
        // The true header comes last, when all that it tells is known.
        let wrote = sink.file.write_all(&[0; HEADER_BYTES]);
        sink.note(wrote)?;
        Ok(Self { entries: Vec::new(), sink: Sink::File(Box::new(sink)) })
    }

    /// A section of numbers, in the layout the kernels want.
    pub(crate) fn numbers<T: Packed>(&mut self, name: &str, values: &[T]) -> Result<(), Error> {
        self.section(name, T::KIND, bytemuck::cast_slice(values))
    }

    /// A section of floats.
    #[cfg(test)]
    pub(crate) fn f32(&mut self, name: &str, values: &[f32]) -> Result<(), Error> {
        self.numbers(name, values)
    }

    /// A section of 16 bit words, such as bf16.
    #[cfg(test)]
    pub(crate) fn u16(&mut self, name: &str, values: &[u16]) -> Result<(), Error> {
        self.numbers(name, values)
    }

    /// A section of bytes.
    #[cfg_attr(not(test), expect(dead_code, reason = "for what is not numbers"))]
    pub(crate) fn bytes(&mut self, name: &str, values: &[u8]) -> Result<(), Error> {
        self.section(name, Kind::Bytes, values)
    }

    fn section(&mut self, name: &str, kind: Kind, bytes: &[u8]) -> Result<(), Error> {
        if self.entries.iter().any(|entry| entry.name == name) {
            let problem = format!("section {name} is given twice");
            return Err(Error::Malformed { file: "the pack".to_owned(), problem });
        }
        let start = match &mut self.sink {
            Sink::Memory(buffers) => {
                let mut buffer = Buffer::default();
                let floats = buffer.take(bytes.len().div_ceil(4));
                bytemuck::cast_slice_mut(floats)[..bytes.len()].copy_from_slice(bytes);
                buffers.push(buffer);
                0
            }
            Sink::File(sink) => {
                let gap = sink.at.next_multiple_of(ALIGN) - sink.at;
                sink.write(&[0; ALIGN][..gap])?;
                let start = sink.at;
                sink.write(bytes)?;
                start
            }
        };
        self.entries.push(Entry { name: name.to_owned(), kind, range: start..start + bytes.len() });
        Ok(())
    }

    /// From now on the disk is full.
    #[cfg(all(test, target_os = "linux"))]
    pub(super) fn fill_the_disk(&mut self) {
        if let Sink::File(sink) = &mut self.sink {
            let full = File::options().write(true).open("/dev/full").expect("a device of Linux");
            sink.file = BufWriter::with_capacity(CHUNK_BYTES, full);
        }
    }

    /// Whether the disk, rather than the one who gives sections, was the trouble.
    pub(super) fn disk_refused(&self) -> bool {
        matches!(&self.sink, Sink::File(sink) if sink.refused)
    }

    /// The pack in memory; only of a writer to memory.
    pub(super) fn into_memory(self) -> Option<Pack> {
        match self.sink {
            Sink::Memory(buffers) => Some(Pack::new(Store::Memory(buffers), self.entries)),
            Sink::File(_) => None,
        }
    }

    /// Completes the file and gives it its name; only of a writer to a file.
    pub(super) fn publish(&mut self, key: &str, path: &Path) -> Result<(), Error> {
        let Sink::File(sink) = &mut self.sink else { return Ok(()) };
        let gap = sink.at.next_multiple_of(ALIGN) - sink.at;
        sink.write(&[0; ALIGN][..gap])?;
        if !(sink.at - HEADER_BYTES).is_multiple_of(CHUNK_BYTES) {
            sink.chunk_hashes.push(sink.hasher.finish());
        }
        let table = Table {
            key: key.to_owned(),
            entries: std::mem::take(&mut self.entries),
            chunk_hashes: std::mem::take(&mut sink.chunk_hashes),
        };
        let published = sink.publish(&table.encode(), path);
        sink.note(published)
    }
}

impl FileSink {
    fn write(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        let wrote = self.file.write_all(bytes);
        self.note(wrote)?;
        while !bytes.is_empty() {
            let room = CHUNK_BYTES - (self.at - HEADER_BYTES) % CHUNK_BYTES;
            let (piece, rest) = bytes.split_at(room.min(bytes.len()));
            self.hasher.write(piece);
            self.at += piece.len();
            if piece.len() == room {
                self.chunk_hashes.push(self.hasher.finish());
                self.hasher = XxHash3_64::new();
            }
            bytes = rest;
        }
        Ok(())
    }

    fn publish(&mut self, table: &[u8], path: &Path) -> io::Result<()> {
        self.file.write_all(table)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&format::header(self.at, table))?;
        self.file.flush()?;
        // A full disk may be noticed only here; and a name must never stand for less than a pack.
        self.file.get_ref().sync_all()?;
        std::fs::rename(&self.path, path)?;
        self.renamed = true;
        Ok(())
    }

    fn note(&mut self, result: io::Result<()>) -> Result<(), Error> {
        self.refused |= result.is_err();
        result.map_err(Error::io("write", &self.path))
    }
}

impl Drop for FileSink {
    fn drop(&mut self) {
        if !self.renamed {
            // What cannot be removed now is removed by the next one who packs.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
