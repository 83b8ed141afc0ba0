//! What this machine has: processor, memory that the process may use, players in the path.
//!
//! Read from the system when asked, for `koe doctor`; a fact that the system does not tell is
//! none, never a guess.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The processor's own name.
pub fn processor(root: &Path) -> Option<String> {
    let info = std::fs::read_to_string(root.join("proc/cpuinfo")).ok()?;
    let line = info.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Threads that this process may run at once: affinity and cgroup quotas counted.
pub fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Bytes of memory in the machine.
pub fn memory_bytes(root: &Path) -> Option<u64> {
    let info = std::fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let line = info.lines().find(|line| line.starts_with("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

/// The memory of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessMemory {
    /// In use now.
    pub resident_bytes: u64,
    /// The most that ever was.
    pub peak_bytes: u64,
}

/// What the system says of this process's memory.
pub fn process_memory(root: &Path) -> Option<ProcessMemory> {
    let status = std::fs::read_to_string(root.join("proc/self/status")).ok()?;
    let field = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: u64 = line.trim_start_matches(':').split_whitespace().next()?.parse().ok()?;
        Some(kib * 1024)
    };
    Some(ProcessMemory { resident_bytes: field("VmRSS")?, peak_bytes: field("VmHWM")? })
}

/// The tightest memory limit of the cgroups that this process is in; none where there is none.
pub fn memory_limit_bytes(root: &Path) -> Option<u64> {
    let groups = std::fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let limits = groups.lines().flat_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (_, controllers, group) = (fields.next(), fields.next(), fields.next());
        let (base, file) = match controllers {
            Some("") => ("sys/fs/cgroup", "memory.max"),
            Some("memory") => ("sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            _ => return Vec::new(),
        };
        // In a container the group's own path is often not mounted, but the root is its limit.
        let group = Path::new(group.unwrap_or("/").trim_start_matches('/'));
        let folders = group.ancestors().map(|group| root.join(base).join(group));
        folders.filter_map(|folder| std::fs::read_to_string(folder.join(file)).ok()).collect()
    });
    let limits = limits.filter_map(|limit: String| limit.trim().parse::<u64>().ok());
    // Version 1 writes a number close to 2^63 for "no limit".
    limits.filter(|&limit| limit < 1 << 60).min()
}

/// The first of `names` that is a program in `path`, with where it is.
pub fn program<'a>(path: &OsStr, names: &[&'a str]) -> Option<(&'a str, PathBuf)> {
    let folders: Vec<PathBuf> = std::env::split_paths(path).collect();
    names.iter().find_map(|&name| {
        let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
        let found = folders.iter().map(|folder| folder.join(&file)).find(|path| is_program(path));
        found.map(|path| (name, path))
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        root
    }

    #[test]
    fn the_tightest_limit_of_all_groups_above_counts() {
        let root = root(&[
            ("proc/self/cgroup", "0::/a/b\n"),
            ("sys/fs/cgroup/memory.max", "max\n"),
            ("sys/fs/cgroup/a/memory.max", "1000\n"),
            ("sys/fs/cgroup/a/b/memory.max", "2000\n"),
        ]);
        assert_eq!(memory_limit_bytes(root.path()), Some(1000));
    }

    #[test]
    fn version_one_groups_are_read_too() {
        let root = root(&[
            ("proc/self/cgroup", "5:cpu:/x\n4:memory:/docker/abc\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ]);
        assert_eq!(memory_limit_bytes(root.path()), None);
        std::fs::write(
            root.path().join("sys/fs/cgroup/memory/memory.limit_in_bytes"),
            "536870912\n",
        )
        .unwrap();
        assert_eq!(memory_limit_bytes(root.path()), Some(536_870_912));
    }

    #[test]
    fn the_memory_of_a_process_is_read_in_bytes() {
        let status = "Name:\tkoe\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        let root = root(&[("proc/self/status", status)]);
        let expected = ProcessMemory { resident_bytes: 1 << 20, peak_bytes: 2 << 20 };
        assert_eq!(process_memory(root.path()), Some(expected));
    }

    #[test]
    fn what_the_system_does_not_tell_is_none() {
        let empty = root(&[]);
        assert_eq!(processor(empty.path()), None);
        assert_eq!(memory_bytes(empty.path()), None);
        assert_eq!(process_memory(empty.path()), None);
        assert_eq!(memory_limit_bytes(empty.path()), None);
    }
}
