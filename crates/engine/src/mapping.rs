//! A file mapped into memory, read-only: the one place where the engine trusts the file system.
//! Or memory with what will be in the file, whose place the file takes once it is written.
//!
//! Only packs are mapped, which koe itself wrote and replaces by renaming a new file over the old
//! one, never in place; a mapping of the old file stays whole. The user's own files (checkpoints,
//! voices) are read, not mapped. Should somebody else cut a mapped pack short in place, the
//! system ends the process with SIGBUS: packs have mode 0600 in a folder of mode 0700, so that only
//! the user can.

#![expect(unsafe_code, reason = "mapping a file and what is asked of its pages are unsafe")]

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};

use memmap2::{Mmap, MmapMut};

use crate::Error;

/// The whole of a file as bytes, at a page boundary.
#[derive(Debug)]
pub(crate) struct Mapping {
    map: Mmap,
    /// Not so for memory, as long as no file took its place.
    is_of_file: AtomicBool,
}

impl Mapping {
    /// Maps a file that koe wrote and that nobody writes any more. Its pages become accessible as
    /// its checksums are compared, on several threads: to have the system do it here first takes
    /// as much work, on one.
    pub(crate) fn new(file: &File) -> io::Result<Self> {
        // SAFETY: The bytes must not change while they are borrowed. The callers map packs only,
        // which are complete when they get their name and are never written to afterwards.
        let map = unsafe { Mmap::map(file)? };
        Ok(Self { map, is_of_file: AtomicBool::new(true) })
    }

    /// Memory of so many zeros, which `fill` fills.
    pub(crate) fn in_memory(
        n_bytes: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        let no_memory = |problem: io::Error| Error::Malformed {
            file: "the pack".to_owned(),
            problem: format!(
                "there is no memory for its {n_bytes} bytes ({problem}); if those are too many, \
                 config.json does not belong to the weights"
            ),
        };
        let mut map = MmapMut::map_anon(n_bytes).map_err(no_memory)?;
        fill(&mut map)?;
        let map = map.make_read_only().map_err(no_memory)?;
        Ok(Self { map, is_of_file: AtomicBool::new(false) })
    }

    /// Puts the pages of a file in the place of memory, which the system then has back. The file
    /// must have the very bytes, and is trusted as one that is mapped is. Where that cannot be,
    /// memory stays.
    #[cfg(target_os = "linux")]
    pub(crate) fn back_by(&self, file: &File) -> io::Result<()> {
        // Mapped elsewhere first: a file system that refuses would leave a hole here.
        let elsewhere = Self::new(file)?.map;
        if elsewhere.len() != self.map.len() {
            return Err(io::Error::other("the file changed while it was written"));
        }
        // SAFETY: Both ranges are whole mappings that this owns, of one length. The range here stays
        // mapped, to be unmapped as it would have been; the other one is gone, and so is not to be
        // unmapped. The system changes the pages of a range at once, so whoever reads meanwhile
        // finds the same bytes before and after.
        let moved = unsafe {
            libc::mremap(
                elsewhere.as_ptr().cast_mut().cast(),
                elsewhere.len(),
                self.map.len(),
                libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED,
                self.map.as_ptr().cast_mut().cast::<libc::c_void>(),
            )
        };
        if moved == libc::MAP_FAILED {
            let error = io::Error::last_os_error();
            if self.resident_bytes().is_none() {
                // Nothing is left at this place that others read from; nor can it be mended.
                std::process::abort();
            }
            return Err(error);
        }
        std::mem::forget(elsewhere);
        self.is_of_file.store(true, Ordering::Release);
        Ok(())
    }

    /// Not known how without a moment in which nothing is there; memory stays.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn back_by(&self, _file: &File) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Whether its pages are those of a file, which the system may drop and bring back.
    pub(crate) fn is_of_file(&self) -> bool {
        self.is_of_file.load(Ordering::Acquire)
    }

    /// How many bytes of the mapping are in memory, if the system tells.
    #[cfg(target_os = "linux")]
    pub(crate) fn resident_bytes(&self) -> Option<usize> {
        // SAFETY: Asks for a number; no memory is involved.
        let page_bytes = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).ok()?;
        let mut pages = vec![0u8; self.map.len().div_ceil(page_bytes)];
        // SAFETY: The address is that of a mapping, thus at a page boundary; its length is as
        // mapped; `pages` has one byte for each page, which is what mincore writes.
        let failed = unsafe {
            libc::mincore(self.map.as_ptr().cast_mut().cast(), self.map.len(), pages.as_mut_ptr())
        };
        let n_pages = pages.iter().filter(|&page| page & 1 == 1).count();
        (failed == 0).then_some((n_pages * page_bytes).min(self.map.len()))
    }

    /// How many bytes of the mapping are in memory, if the system tells.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn resident_bytes(&self) -> Option<usize> {
        None
    }

    /// Takes all pages of a file out of this process; each comes back when it is used, from the
    /// system's cache of the file unless memory is so short that the system dropped it there too.
    pub(crate) fn let_go(&self) {
        if !self.is_of_file() {
            return;
        }
        // SAFETY: The range is the whole of a read-only mapping of a file. Its pages are never
        // written to, so what comes back is what was there, also for those who read meanwhile.
        #[cfg(unix)]
        unsafe {
            libc::madvise(self.map.as_ptr().cast_mut().cast(), self.map.len(), libc::MADV_DONTNEED);
        }
    }

    /// Has the system drop all pages, from its own cache of the file too, as it does when memory is
    /// short: for measuring what that costs. Whether it could.
    pub(crate) fn page_out(&self) -> bool {
        #[cfg(target_os = "linux")]
        // SAFETY: As in `let_go`: only where the bytes are kept changes, not what they are.
        return unsafe {
            libc::madvise(self.map.as_ptr().cast_mut().cast(), self.map.len(), libc::MADV_PAGEOUT)
                == 0
        };
        #[cfg(not(target_os = "linux"))]
        false
    }

    /// Has the system read what left memory and gives this process its pages, a few MiB at a time
    /// until `stop` says so.
    pub(crate) fn bring_back(&self, stop: &dyn Fn() -> bool) {
        const SLICE_BYTES: usize = 4 << 20;
        for start in (0..self.map.len()).step_by(SLICE_BYTES) {
            if stop() {
                return;
            }
            self.populate(start, SLICE_BYTES.min(self.map.len() - start));
        }
    }

    fn populate(&self, start: usize, n_bytes: usize) {
        // Only a hint: where both are refused, pages come when they are used.
        #[cfg(target_os = "linux")]
        if self.map.advise_range(memmap2::Advice::PopulateRead, start, n_bytes).is_ok() {
            return;
        }
        #[cfg(unix)]
        let _ = self.map.advise_range(memmap2::Advice::WillNeed, start, n_bytes);
        #[cfg(not(unix))]
        let _ = (start, n_bytes);
    }

    /// Has the system keep all pages in memory for as long as this lives.
    pub(crate) fn lock(&self) -> io::Result<()> {
        #[cfg(unix)]
        return self.map.lock();
        #[cfg(not(unix))]
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}
