//! Files that appear only when they are complete, and standard output.
//!
//! A regular file is written beside its place under a name of its own and renamed at the end, so
//! that a failure leaves nothing half made and never harms what was there before. What a process
//! leaves that is killed outright is removed by the next that writes the same file. What is no
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
        let named = path.file_name().unwrap_or_default().as_encoded_bytes();
        if named.is_empty() || !path.as_os_str().as_encoded_bytes().ends_with(named) {
            return Err(cannot_write(path, "that is the name of a folder"));
        }
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
        // Through a link to the file itself, even if that is yet to be; the link stays.
        let target = match &existing {
            Some(_) => fs::canonicalize(path).map_err(cannot)?,
            None => follow(path).map_err(cannot)?,
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

    /// Where it is until it is complete; none if it is written directly.
    pub(super) fn temporary(&self) -> Option<&Path> {
        self.moves.as_ref().map(|(temporary, _)| &**temporary)
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

/// The path that a link which leads nowhere yet means in the end.
fn follow(path: &Path) -> io::Result<PathBuf> {
    let mut at = path.to_owned();
    // As many as Linux follows.
    for _ in 0..40 {
        let Ok(next) = fs::read_link(&at) else { return Ok(at) };
        at = at.parent().unwrap_or(Path::new("")).join(next);
    }
    Err(io::Error::other("the links go in a circle"))
}

/// A new file in the same folder, hence on the same disk, with a name that nobody uses.
///
/// It is locked while it is written. The system drops the lock of a process that dies, so those
/// that can be locked belong to nobody and are removed.
fn temporary_beside(target: &Path) -> io::Result<(PathBuf, File)> {
    let mut start = std::ffi::OsString::from(".");
    start.push(target.file_name().ok_or(io::ErrorKind::InvalidFilename)?);
    start.push(".");
    remove_stale(target, &start);
    for n in 0..100 {
        let mut temporary = start.clone();
        temporary.push(format!("{}-{n}{TEMPORARY}", std::process::id()));
        let path = target.with_file_name(temporary);
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => {
                // A disk that knows no locks has its leftovers kept. One that does may have had
                // this file taken for one of them just before it was locked.
                if file.lock().is_err() || path.exists() {
                    return Ok((path, file));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// How the names of incomplete files end.
const TEMPORARY: &str = ".part";

/// Removes what processes left beside `target` that died while they wrote it. That this fails is no
/// reason not to write.
fn remove_stale(target: &Path, start: &std::ffi::OsStr) {
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty());
    let entries = fs::read_dir(folder.unwrap_or(Path::new("."))).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        let middle = name
            .as_encoded_bytes()
            .strip_prefix(start.as_encoded_bytes())
            .and_then(|rest| rest.strip_suffix(TEMPORARY.as_bytes()));
        let is_ours = middle.is_some_and(|middle| {
            !middle.is_empty() && middle.iter().all(|&b| b.is_ascii_digit() || b == b'-')
        });
        // A pipe of such a name would be waited for.
        if !is_ours || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        if let Ok(file) = OpenOptions::new().write(true).open(entry.path())
            && file.try_lock().is_ok()
        {
            let _ = fs::remove_file(entry.path());
        }
    }
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

    /// Where it is until it is complete.
    pub(super) fn half_made(&self) -> Option<&Path> {
        self.out.temporary()
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

/// What a failure to write to standard output means.
pub(super) fn stdout_result(result: io::Result<()>) -> Result<(), Failure> {
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
    fn what_a_dead_process_left_is_removed_and_what_is_being_written_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let kept = ["..a.txt.1-0.part", ".a.txt.1-0.par", ".a.txt.x.part", ".b.txt.1-0.part"];
        let stale = [".a.txt.1-0.part", ".a.txt.4194304-99.part"];
        for name in kept.iter().chain(&stale) {
            fs::write(path(name), "half").unwrap();
        }
        let other = OutFile::create(&path("a.txt")).unwrap();
        let being_written = other.temporary().unwrap().to_owned();
        let mut out = OutFile::create(&path("a.txt")).unwrap();
        assert!(stale.iter().all(|name| !path(name).exists()), "{:?}", names(folder.path()));
        assert!(being_written.exists());
        out.write(b"new").unwrap();
        out.commit().unwrap();
        other.commit().unwrap();
        let mut found = names(folder.path());
        found.sort();
        let mut expected = [&kept[..], &["a.txt"]].concat();
        expected.sort();
        assert_eq!(found, expected);
    }

    #[test]
    fn the_name_of_a_folder_is_refused_before_anything_is_made() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.wav/", "a.wav//", "a.wav/.", ".", ".."] {
            let Err(failure) = OutFile::create(&folder.path().join(name)) else {
                panic!("{name} is taken")
            };
            assert!(failure.message.unwrap().contains("folder"), "{name}");
        }
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    #[cfg(unix)]
    fn a_link_that_leads_nowhere_yet_is_written_through() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("there")).unwrap();
        let (link, second) = (folder.path().join("link"), folder.path().join("there/second"));
        symlink("there/second", &link).unwrap();
        symlink("real", &second).unwrap();
        let mut out = OutFile::create(&link).unwrap();
        out.write(b"new").unwrap();
        out.commit().unwrap();
        for link in [&link, &second] {
            assert!(fs::symlink_metadata(link).unwrap().is_symlink());
        }
        assert_eq!(fs::read_to_string(folder.path().join("there/real")).unwrap(), "new");
        let circle = folder.path().join("circle");
        symlink("circle", &circle).unwrap();
        assert!(OutFile::create(&circle).is_err());
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
