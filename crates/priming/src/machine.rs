//! What this machine has and what of it this process may use: processors, memory, devices.
//!
//! Read from the system when asked, below `root`, which tests set up and all others give as `/`;
//! a fact that the system does not tell is none, never a guess.

use std::path::{Path, PathBuf};

/// The processor's own name, or on ARM, which has numbers instead, those of its maker and design.
pub fn processor(root: &Path) -> Option<String> {
    let info = std::fs::read_to_string(root.join("proc/cpuinfo")).ok()?;
    let field = |name: &str| {
        let line = info.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim())
    };
    field("model name")
        .map(str::to_owned)
        .or_else(|| Some(format!("ARM {} {}", field("CPU implementer")?, field("CPU part")?)))
}

/// Threads that this process may run at once: affinity and cgroup quotas counted.
pub fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Whether any two threads of this machine share a core.
pub fn shares_cores(root: &Path) -> Option<bool> {
    let processors = std::fs::read_dir(root.join("sys/devices/system/cpu")).ok()?.flatten();
    let lists = processors
        .filter_map(|entry| read(&entry.path().join("topology/thread_siblings_list")))
        // `0` alone, `0,64` or `0-1`.
        .map(|list| list.trim().contains([',', '-']));
    lists.reduce(|any, shared| any | shared)
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
    /// Of what is in use, what belongs to this process alone and cannot be had again from a file:
    /// heap and stacks, but not mapped weights.
    pub own_bytes: u64,
}

/// What the system says of this process's memory.
pub fn process_memory(root: &Path) -> Option<ProcessMemory> {
    memory_in(&root.join("proc/self/status"))
}

/// The same of another process.
pub fn memory_of(root: &Path, process: u32) -> Option<ProcessMemory> {
    memory_in(&root.join(format!("proc/{process}/status")))
}

fn memory_in(path: &Path) -> Option<ProcessMemory> {
    let status = read(path)?;
    let field = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: u64 = line.trim_start_matches(':').split_whitespace().next()?.parse().ok()?;
        Some(kib * 1024)
    };
    Some(ProcessMemory {
        resident_bytes: field("VmRSS")?,
        peak_bytes: field("VmHWM")?,
        own_bytes: field("RssAnon")? + field("RssShmem").unwrap_or(0),
    })
}

/// The tightest memory limit of the cgroups that this process is in; none where there is none.
pub fn memory_limit_bytes(root: &Path) -> Option<u64> {
    let files = group_files(root, "memory", ("memory.max", "memory.limit_in_bytes"));
    let limits = files.into_iter().filter_map(|(_, limit)| limit.trim().parse::<u64>().ok());
    // Version 1 writes a number close to 2^63 for "no limit".
    limits.filter(|&limit| limit < 1 << 60).min()
}

/// The processors that the cgroups of this process may use at once, as a fraction; none where
/// there is no quota.
pub fn cpu_quota(root: &Path) -> Option<f64> {
    let quotas = group_files(root, "cpu", ("cpu.max", "cpu.cfs_quota_us")).into_iter();
    let quotas = quotas.filter_map(|(path, text)| {
        let mut numbers = text.split_whitespace();
        let quota: f64 = numbers.next()?.parse().ok()?;
        let period: f64 = match numbers.next() {
            Some(period) => period.parse().ok()?,
            None => read(&path.with_file_name("cpu.cfs_period_us"))?.trim().parse().ok()?,
        };
        (quota > 0.0 && period > 0.0).then(|| quota / period)
    });
    quotas.min_by(f64::total_cmp)
}

/// How many memory nodes the machine has: with more than one, memory is not equally near to all
/// processors.
pub fn numa_nodes(root: &Path) -> Option<usize> {
    let entries = std::fs::read_dir(root.join("sys/devices/system/node")).ok()?;
    let is_node = |name: &str| name.strip_prefix("node").is_some_and(|n| n.parse::<u32>().is_ok());
    let names = entries.flatten().map(|entry| entry.file_name());
    Some(names.filter(|name| name.to_str().is_some_and(is_node)).count())
}

/// Devices that could compute, by the names of their drivers' files; empty where there are none.
pub fn accelerators(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let folders = [("proc/driver/nvidia/gpus", ""), ("dev/dri", "renderD"), ("dev/accel", "accel")];
    for (folder, prefix) in folders {
        for entry in std::fs::read_dir(root.join(folder)).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(prefix) {
                found.push(format!("/{folder}/{}", entry.file_name().to_string_lossy()));
            }
        }
    }
    found.sort();
    found
}

/// The memory that this process may use: the machine's, or less where a cgroup says so.
pub fn usable_memory_bytes(root: &Path) -> Option<u64> {
    memory_bytes(root).into_iter().chain(memory_limit_bytes(root)).min()
}

fn read(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// The files of that name in the cgroups of this process and above it, with what is in them:
/// `names` in version 2 and in version 1 of cgroups.
fn group_files(root: &Path, controller: &str, names: (&str, &str)) -> Vec<(PathBuf, String)> {
    let groups = read(&root.join("proc/self/cgroup")).unwrap_or_default();
    let files = groups.lines().flat_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (_, controllers, group) = (fields.next(), fields.next(), fields.next());
        let is_ours = |list: &str| list.split(',').any(|name| name == controller);
        let (base, file) = match controllers {
            Some("") => (PathBuf::from("sys/fs/cgroup"), names.0),
            Some(list) if is_ours(list) => (Path::new("sys/fs/cgroup").join(list), names.1),
            _ => return Vec::new(),
        };
        // In a container the group's own path is often not mounted, but the root is its limit.
        let group = Path::new(group.unwrap_or("/").trim_start_matches('/'));
        let paths = group.ancestors().map(|group| root.join(&base).join(group).join(file));
        paths.filter_map(|path| Some((path.clone(), read(&path)?))).collect()
    });
    files.collect()
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
        let status = "Name:\tkoe\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\nRssAnon:\t 512 kB\n";
        let root = root(&[("proc/self/status", status)]);
        let expected =
            ProcessMemory { resident_bytes: 1 << 20, peak_bytes: 2 << 20, own_bytes: 1 << 19 };
        assert_eq!(process_memory(root.path()), Some(expected));
    }

    #[test]
    fn a_processor_has_a_name_or_the_numbers_of_one() {
        let name = |info| processor(root(&[("proc/cpuinfo", info)]).path());
        let intel = "processor\t: 0\nmodel\t\t: 143\nmodel name\t: Xeon: the 4th\n";
        assert_eq!(name(intel).as_deref(), Some("Xeon: the 4th"));
        let arm = "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd49\nCPU revision\t: 0\n";
        assert_eq!(name(arm).as_deref(), Some("ARM 0x41 0xd49"));
        assert_eq!(name("processor\t: 0\n"), None);
    }

    #[test]
    fn threads_share_a_core_where_one_lists_two() {
        let shares = |lists: [&str; 2]| {
            let path = |n| format!("sys/devices/system/cpu/cpu{n}/topology/thread_siblings_list");
            let (first, second) = (path(0), path(1));
            shares_cores(root(&[(&first, lists[0]), (&second, lists[1])]).path())
        };
        assert_eq!(shares(["0\n", "1\n"]), Some(false));
        assert_eq!(shares(["0,64\n", "1,65\n"]), Some(true));
        assert_eq!(shares(["0-1\n", "0-1\n"]), Some(true));
        assert_eq!(shares_cores(root(&[]).path()), None);
    }

    #[test]
    fn processors_are_limited_by_quota_in_both_versions() {
        let two = root(&[
            ("proc/self/cgroup", "0::/a\n"),
            ("sys/fs/cgroup/cpu.max", "max 100000\n"),
            ("sys/fs/cgroup/a/cpu.max", "150000 100000\n"),
        ]);
        assert_eq!(cpu_quota(two.path()), Some(1.5));
        let one = root(&[
            ("proc/self/cgroup", "4:cpu,cpuacct:/x\n"),
            ("sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us", "50000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
        ]);
        assert_eq!(cpu_quota(one.path()), Some(0.5));
    }

    #[test]
    fn nodes_and_devices_are_counted_by_their_files() {
        let root = root(&[
            ("sys/devices/system/node/node0/cpulist", "0-1"),
            ("sys/devices/system/node/node1/cpulist", "2-3"),
            ("sys/devices/system/node/possible", "0-1"),
            ("dev/dri/renderD128", ""),
            ("dev/dri/card0", ""),
        ]);
        assert_eq!(numa_nodes(root.path()), Some(2));
        assert_eq!(accelerators(root.path()), ["/dev/dri/renderD128"]);
    }

    #[test]
    fn what_the_system_does_not_tell_is_none() {
        let empty = root(&[]);
        assert_eq!(processor(empty.path()), None);
        assert_eq!(memory_bytes(empty.path()), None);
        assert_eq!(process_memory(empty.path()), None);
        assert_eq!(memory_limit_bytes(empty.path()), None);
        assert_eq!(usable_memory_bytes(empty.path()), None);
        assert_eq!((cpu_quota(empty.path()), numa_nodes(empty.path())), (None, None));
    }
}
