//! Where the bytes of a checkpoint are: a file, or memory.
//!
//! A file is read in pieces and never mapped: it is the user's, anyone may cut it short while it is
//! read, and a mapped file that shrinks kills the process. Every length is checked against the
//! size of the file before memory is taken for it.

use std::borrow::Cow;
use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::Problem;
use crate::Error;

/// Opens a regular file; its length in bytes comes with it. Anything else is refused: a pipe or a
/// device has no length to check against, and may never end, or never even open.
pub(crate) fn open_regular(path: &Path) -> Result<(File, u64), Error> {
    let regular = |meta: Metadata| match meta.is_file() {
        true => Ok(meta.len()),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")),
    };
    path.metadata().and_then(regular).map_err(Error::io("read", path))?;
    let file = File::open(path).map_err(Error::io("open", path))?;
    // It may be another one by now.
    let len = file.metadata().and_then(regular).map_err(Error::io("read", path))?;
    Ok((file, len))
}

pub(super) struct Source {
    bytes: Bytes,
    len: u64,
}

enum Bytes {
    Memory(Cow<'static, [u8]>),
    File(Mutex<File>),
}

impl Source {
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let (file, len) = open_regular(path)?;
        Ok(Self { len, bytes: Bytes::File(Mutex::new(file)) })
    }

    pub(super) fn memory(bytes: impl Into<Cow<'static, [u8]>>) -> Self {
        let bytes = bytes.into();
        Self { len: bytes.len() as u64, bytes: Bytes::Memory(bytes) }
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// The `n_bytes` from `offset` on; an error, and no allocation, if the source ends before.
    pub(super) fn read(&self, offset: u64, n_bytes: u64) -> Result<Cow<'_, [u8]>, Problem> {
        let cut = || Problem::malformed("cut short, or its table points past its end");
        let end = offset.checked_add(n_bytes).filter(|&end| end <= self.len).ok_or_else(cut)?;
        match &self.bytes {
            Bytes::Memory(bytes) => {
                let range = usize::try_from(offset).ok().zip(usize::try_from(end).ok());
                let piece = range.and_then(|(start, end)| bytes.get(start..end));
                piece.map(Cow::Borrowed).ok_or_else(cut)
            }
            Bytes::File(file) => {
                let mut piece = vec![0; usize::try_from(n_bytes).map_err(|_| cut())?];
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                file.seek(SeekFrom::Start(offset))?;
                file.read_exact(&mut piece)?;
                Ok(Cow::Owned(piece))
            }
        }
    }
}
