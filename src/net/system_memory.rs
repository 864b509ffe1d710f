//! How much memory the process may use, as the system tells it.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

/// What is taken where the system does not tell.
const UNKNOWN: u64 = 1 << 30;

/// Where cgroups are: of version 2, and of version 1.
const CGROUPS: &str = "/sys/fs/cgroup";

/// The share of the system's memory that connections may hold by default, in
/// octets: half of what the process may use.
pub(super) fn share() -> usize {
    static SHARE: OnceLock<usize> = OnceLock::new();
    *SHARE.get_or_init(|| usize::try_from(allowed() / 2).unwrap_or(usize::MAX))
}

/// The least of physical memory, the limits of cgroups, and half of the address
/// space: more of it is taken than used, for stacks and by the allocator.
fn allowed() -> u64 {
    let file = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let address_space = of_limits(&file("/proc/self/limits")).map(of_address_space);
    let cgroups = limit_files(&file("/proc/self/cgroup"));
    let cgroups = cgroups.iter().filter_map(|path| of_cgroup(&file(path)));
    let physical = of_meminfo(&file("/proc/meminfo"));
    let limits = physical.into_iter().chain(address_space).chain(cgroups);
    limits.min().unwrap_or(UNKNOWN)
}

/// What of an address space may be used: the allocator takes 64 MiB for a thread
/// at once, so half of it, and less of a small one.
fn of_address_space(limit: u64) -> u64 {
    let behind_two_threads = limit.saturating_sub(128 << 20).max(limit / 8);
    behind_two_threads.min(limit / 2)
}

/// Physical memory, from `/proc/meminfo`.
fn of_meminfo(text: &str) -> Option<u64> {
    let rest = text.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
    let kib: u64 = rest.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The soft limit of the address space, from `/proc/self/limits`; `None` where
/// there is none.
fn of_limits(text: &str) -> Option<u64> {
    let mut lines = text.lines();
    let rest = lines.find_map(|l| l.strip_prefix("Max address space"))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// The limit of one cgroup: `max` where there is none. Version 1 has a number
/// that no memory reaches then.
fn of_cgroup(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// The files with the limits of the process's cgroups, from `/proc/self/cgroup`:
/// those of its own and of all above it. In a container the path may be that of
/// the host, and its own cgroup is at the top.
fn limit_files(text: &str) -> Vec<String> {
    let mut files = Vec::new();
    for line in text.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let (root, name) = match controllers {
            "" => (CGROUPS.to_owned(), "memory.max"),
            some if some.split(',').any(|controller| controller == "memory") => {
                (format!("{CGROUPS}/memory"), "memory.limit_in_bytes")
            }
            _ => continue,
        };
        for folder in Path::new(path).ancestors() {
            let folder = folder.to_string_lossy();
            let folder = folder.trim_end_matches('/');
            files.push(format!("{root}{folder}/{name}"));
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn physical_memory_is_read() {
        let text = "MemTotal:        8032100 kB\nMemFree:          123 kB\n";
        assert_eq!(of_meminfo(text), Some(8_032_100 * 1024));
        assert_eq!(of_meminfo(""), None);
        assert_eq!(of_meminfo("MemTotal: many kB\n"), None);
    }

    #[test]
    fn the_limit_of_the_address_space_is_read() {
        let head = "Limit                     Soft Limit           Hard Limit           Units\n";
        let line = |soft| format!("{head}Max address space         {soft} unlimited bytes\n");
        assert_eq!(of_limits(&line("268435456")), Some(256 << 20));
        assert_eq!(of_limits(&line("unlimited")), None);
        assert_eq!(of_limits(head), None);
    }

    #[test]
    fn the_limits_of_a_cgroup_and_of_those_above_it_are_found() {
        let unified = limit_files("0::/system.slice/heirloom.service\n");
        assert_eq!(
            unified,
            [
                "/sys/fs/cgroup/system.slice/heirloom.service/memory.max",
                "/sys/fs/cgroup/system.slice/memory.max",
                "/sys/fs/cgroup/memory.max",
            ]
        );
        let old = limit_files("7:cpu,cpuacct:/a\n4:memory:/docker/0:1\n1:name=systemd:/a\n");
        assert_eq!(
            old,
            [
                "/sys/fs/cgroup/memory/docker/0:1/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/docker/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            ]
        );
        assert!(limit_files("nonsense\n").is_empty());
        assert_eq!(of_cgroup("536870912\n"), Some(512 << 20));
        assert_eq!(of_cgroup("max\n"), None);
    }
}
