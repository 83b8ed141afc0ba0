//! What this machine has: what [`koe_priming::machine`] reads of it, and players in the path.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use koe_priming::machine::*;

/// The first of `names` that is a program in `path`, with where it is.
pub fn program<'a>(path: &OsStr, names: &[&'a str]) -> Option<(&'a str, PathBuf)> {
    let folders: Vec<PathBuf> = std::env::split_paths(path).collect();
    names.iter().find_map(|&name| {
        let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
        let found = folders.iter().map(|folder| folder.join(&file)).find(|path| is_program(path));
        found.map(|path| (name, path))
    })
}

/// Processor time of all threads of this process so far, also of those that are gone; none where the
/// system does not tell.
#[cfg(unix)]
pub fn processor_time() -> Option<Duration> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).ok()
}

#[cfg(not(unix))]
pub fn processor_time() -> Option<Duration> {
    None
}

#[cfg(unix)]
fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_program(path: &Path) -> bool {
    path.is_file()
}
