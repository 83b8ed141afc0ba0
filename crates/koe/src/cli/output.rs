//! Files that appear only when they are complete, and standard output.
//!
//! A regular file is written beside its place under a name of its own and renamed at the end, so
//! that a failure leaves nothing half made and never harms what was there before. What is no
//! regular file (a device, a named pipe) is written to directly.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};

use koe_audio::{Encoder, Format, SAMPLE_RATE_HZ};

use super::Failure;

/// A file being made.
pub(super) struct OutFile {
    /// As the caller named it.
    name: PathBuf,
    file: File,
    /// Where it is until it is complete, and where it goes then; none if written directly.
    moves: Option<(PathBuf, PathBuf)>,
}

impl OutFile {
    /// Begins a file that will be at `path`.
    pub(super) fn create(path: &Path) -> Result<Self, Failure> {
        let cannot = |error| cannot_write(path, error);
        let existing = fs::metadata(path).ok();
        if existing.as_ref().is_some_and(fs::Metadata::is_dir) {
            return Err(Failure::failed(format!(
                "cannot write {}: it is a folder",
                path.display()
            )));
        }
        if existing.as_ref().is_some_and(|meta| !meta.is_file()) {
            let file = OpenOptions::new().write(true).open(path).map_err(cannot)?;
            return Ok(Self { name: path.to_owned(), file, moves: None });
        }
        // Through a link to the file itself, which stays where it is.
        let target = match &existing {
            Some(_) => fs::canonicalize(path).map_err(cannot)?,
            None => path.to_owned(),
        };
        if existing.as_ref().is_some_and(|meta| meta.permissions().readonly()) {
            return Err(cannot_write(path, "it is read-only"));
        }
        let (temporary, file) = temporary_beside(&target).map_err(cannot)?;
        let out = Self { name: path.to_owned(), file, moves: Some((temporary, target)) };
        if let Some(existing) = existing {
            out.file.set_permissions(existing.permissions()).map_err(cannot)?;
        }
        Ok(out)
    }

    /// Puts the complete file into its place.
    pub(super) fn commit(mut self) -> Result<(), Failure> {
        let Some((temporary, target)) = self.moves.take() else { return Ok(()) };
        let moved = self.file.sync_all().and_then(|()| fs::rename(&temporary, &target));
        moved.map_err(|error| {
            let _ = fs::remove_file(&temporary);
            cannot_write(&self.name, error)
        })
    }

    /// The file itself, for what writes to one.
    pub(super) fn writer(&mut self) -> &mut File {
        &mut self.file
    }

    fn is_regular(&self) -> bool {
        self.moves.is_some()
    }

    /// Writes all of it.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.file.write_all(bytes).map_err(|error| cannot_write(&self.name, error))
    }
}

impl Drop for OutFile {
    fn drop(&mut self) {
        if let Some((temporary, _)) = &self.moves {
            let _ = fs::remove_file(temporary);
        }
    }
}

fn cannot_write(path: &Path, error: impl std::fmt::Display) -> Failure {
    Failure::failed(format!("cannot write {}: {error}", path.display()))
}

/// A new file in the same folder, hence on the same disk, with a name that nobody uses.
fn temporary_beside(target: &Path) -> io::Result<(PathBuf, File)> {
    let name = target.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    for n in 0..100 {
        let mut temporary = std::ffi::OsString::from(".");
        temporary.push(name);
        temporary.push(format!(".{}-{n}.part", std::process::id()));
        let path = target.with_file_name(temporary);
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// A sound file being made.
pub(super) struct SoundFile {
    out: OutFile,
    encoder: Box<dyn Encoder>,
    bytes: Vec<u8>,
}

impl SoundFile {
    pub(super) fn create(path: &Path, format: Format) -> Result<Self, Failure> {
        let out = OutFile::create(path)?;
        let encoder = match out.is_regular() {
            true => format.file_encoder(SAMPLE_RATE_HZ),
            false => format.encoder(SAMPLE_RATE_HZ),
        };
        let encoder = encoder.map_err(|error| Failure::usage(error.to_string()))?;
        Ok(Self { out, encoder, bytes: Vec::new() })
    }

    pub(super) fn write(&mut self, samples: &[f32]) -> Result<(), Failure> {
        self.bytes.clear();
        self.encoder.encode(samples, &mut self.bytes);
        self.out.write(&self.bytes)
    }

    /// Completes the file; it is in its place once [`OutFile::commit`] is called.
    pub(super) fn finish(mut self) -> Result<OutFile, Failure> {
        self.bytes.clear();
        self.encoder.finish(&mut self.bytes);
        self.out.write(&self.bytes)?;
        if let Some(opening) = self.encoder.opening()
            && self.out.is_regular()
        {
            let file = &mut self.out.file;
            let written = file.rewind().and_then(|()| file.write_all(&opening));
            written.map_err(|error| cannot_write(&self.out.name, error))?;
        }
        Ok(self.out)
    }
}

/// Sound to standard output.
pub(super) struct Stdout {
    out: io::StdoutLock<'static>,
    encoder: Box<dyn Encoder>,
    bytes: Vec<u8>,
}

impl Stdout {
    pub(super) fn new(format: Format) -> Result<Self, Failure> {
        let encoder = format.encoder(SAMPLE_RATE_HZ);
        let encoder = encoder.map_err(|error| Failure::usage(error.to_string()))?;
        Ok(Self { out: io::stdout().lock(), encoder, bytes: Vec::new() })
    }

    pub(super) fn write(&mut self, samples: &[f32]) -> Result<(), Failure> {
        self.bytes.clear();
        self.encoder.encode(samples, &mut self.bytes);
        self.send()
    }

    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        self.bytes.clear();
        self.encoder.finish(&mut self.bytes);
        self.send()
    }

    fn send(&mut self) -> Result<(), Failure> {
        stdout_result(self.out.write_all(&self.bytes).and_then(|()| self.out.flush()))
    }
}

/// Text to standard output.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    stdout_result(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

fn stdout_result(result: io::Result<()>) -> Result<(), Failure> {
    result.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::reader_gone(),
        _ => Failure::failed(format!("cannot write to standard output: {error}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_appears_when_it_is_complete_and_not_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        fs::write(&path, "old").unwrap();
        let mut out = OutFile::create(&path).unwrap();
        out.write(b"new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        out.commit().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(names(folder.path()), ["a.txt"]);
    }

    #[test]
    fn a_file_given_up_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut out = OutFile::create(&folder.path().join("a.txt")).unwrap();
        out.write(b"new").unwrap();
        drop(out);
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    #[cfg(unix)]
    fn a_link_stays_a_link_and_permissions_stay_as_they_were() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        fs::write(&real, "old").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        symlink("real", &link).unwrap();
        let mut out = OutFile::create(&link).unwrap();
        out.write(b"new").unwrap();
        out.commit().unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&real).unwrap(), "new");
        assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);
    }
}
