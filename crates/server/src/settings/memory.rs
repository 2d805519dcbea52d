//! How much memory there is for this process: that of the machine, or what its cgroup or one above it allows.

use std::fs;
use std::path::{Path, PathBuf};

/// What is assumed of a system that tells neither.
const UNKNOWN: u64 = 1 << 30;
/// A cgroup of version 1 without a limit has a number about as large as there can be.
const NO_LIMIT: u64 = 1 << 60;

/// Bytes of memory that the machine, or the cgroup of this process, has.
pub(crate) fn available() -> u64 {
    available_below(Path::new("/"))
}

fn available_below(root: &Path) -> u64 {
    let read = |path: &Path| fs::read_to_string(root.join(path)).unwrap_or_default();
    let machine = total(&read(Path::new("proc/meminfo")));
    let groups = files(&read(Path::new("proc/self/cgroup"))).into_iter();
    let allowed = groups.filter_map(|path| limit(&read(&path)));
    machine.into_iter().chain(allowed).min().unwrap_or(UNKNOWN)
}

/// `MemTotal` of `/proc/meminfo`.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Bytes of a `memory.max` or `memory.limit_in_bytes`; `None` when it has no limit.
fn limit(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|bytes| *bytes < NO_LIMIT)
}

/// The files with the limits of the cgroups that `/proc/self/cgroup` names, and of those above them. In a container the
/// name is often that of the host, and only the root of the tree is there.
fn files(cgroup: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in cgroup.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let (tree, file) = match controllers {
            "" => ("sys/fs/cgroup", "memory.max"),
            names if names.split(',').any(|name| name == "memory") => {
                ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let path = Path::new(path.trim_start_matches('/'));
        files.extend(path.ancestors().map(|group| Path::new(tree).join(group).join(file)));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> u64 {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        available_below(root.path())
    }

    #[test]
    fn the_smallest_limit_counts() {
        let meminfo = ("proc/meminfo", "MemTotal:        8000000 kB\nMemFree: 1 kB\n");
        let all = 8_000_000 * 1024;
        let v2 = ("proc/self/cgroup", "0::/system.slice/dyad.service\n");
        let v1 = ("proc/self/cgroup", "5:cpu:/a\n4:memory:/docker/abc\n0::/\n");
        let (own, above) =
            ("sys/fs/cgroup/system.slice/dyad.service/memory.max", "sys/fs/cgroup/system.slice/memory.max");
        let v1_root = "sys/fs/cgroup/memory/memory.limit_in_bytes";
        for (files, want) in [
            (vec![], UNKNOWN),
            (vec![meminfo], all),
            (vec![meminfo, v2], all),
            (vec![meminfo, v2, (own, "max\n")], all),
            (vec![meminfo, v2, (own, "536870912\n")], 512 << 20),
            (vec![meminfo, v2, (own, "536870912\n"), (above, "134217728\n")], 128 << 20),
            (vec![meminfo, v2, ("sys/fs/cgroup/memory.max", "268435456\n")], 256 << 20),
            (vec![meminfo, v1, (v1_root, "9223372036854771712\n")], all),
            (vec![meminfo, v1, (v1_root, "536870912\n")], 512 << 20),
        ] {
            assert_eq!(machine(&files), want, "{files:?}");
        }
        assert!(available() > 0);
    }
}
