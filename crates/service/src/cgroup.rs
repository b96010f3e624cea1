//! The limits of the process's cgroup, which are those of its container: memory, and the number of processes and
//! threads. The kernel kills what goes beyond the first, and nothing in a log speaks of memory then.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// Where the hierarchies of cgroups are mounted (cgroups(7)).
const MOUNT: &str = "/sys/fs/cgroup";
/// Which cgroups the process is in.
const OWN: &str = "/proc/self/cgroup";
/// A limit above this is none: v1 says "unlimited" as the largest multiple of a page.
const UNLIMITED: u64 = 1 << 60;

/// A limit, by the names of both versions.
#[derive(Clone, Copy)]
struct Named {
    controller: &'static str,
    v1: &'static str,
    v2: &'static str,
}

const MEMORY: Named = Named { controller: "memory", v1: "memory.limit_in_bytes", v2: "memory.max" };
const PROCESSES: Named = Named { controller: "pids", v1: "pids.max", v2: "pids.max" };

/// Returns the limit of memory in bytes; `None` when there is none, or none that can be read.
pub fn memory() -> Option<u64> {
    limit(MEMORY)
}

/// Returns the limit of processes and threads, likewise.
pub(crate) fn processes() -> Option<u64> {
    limit(PROCESSES)
}

fn limit(named: Named) -> Option<u64> {
    limit_of(named, &fs::read_to_string(OWN).ok()?, Path::new(MOUNT))
}

/// Returns the lowest limit of the cgroups that `own` lists and of those above them. A container mostly sees its own
/// cgroup as the root, whatever the path says.
fn limit_of(limit: Named, own: &str, mount: &Path) -> Option<u64> {
    let limits = own.lines().flat_map(|line| {
        // `0::/path` of v2, `9:memory:/path` of v1.
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let (root, file) = match controllers {
            "" => (mount.to_owned(), limit.v2),
            named if named.split(',').any(|name| name == limit.controller) => (mount.join(limit.controller), limit.v1),
            _ => return Vec::new(),
        };
        let found = |folder: PathBuf| fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok();
        let normal = Path::new(path).components().filter(|part| matches!(part, Component::Normal(_)));
        let below: PathBuf = normal.collect();
        below.ancestors().filter_map(|folder| found(root.join(folder))).collect::<Vec<u64>>()
    });
    limits.filter(|limit| *limit < UNLIMITED).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(files: &[(&str, &str)]) -> tempfile::TempDir {
        let mount = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = mount.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        mount
    }

    #[test]
    fn the_lowest_limit_on_the_way_to_the_root_counts() {
        for (own, files, limit) in [
            ("0::/\n", &[("memory.max", "134217728\n")][..], Some(134_217_728)),
            ("0::/a/b\n", &[("a/memory.max", "1000\n"), ("a/b/memory.max", "max\n")], Some(1000)),
            ("0::/a/b\n", &[("a/memory.max", "1000\n"), ("a/b/memory.max", "10\n")], Some(10)),
            ("0::/../outside\n", &[("memory.max", "7\n")], Some(7)),
            ("0::/a\n", &[("a/memory.max", "max\n")], None),
            ("0::/a\n", &[], None),
            (
                "9:name=systemd:/x\n5:cpu,memory:/docker/c\n",
                &[
                    ("memory/docker/c/memory.limit_in_bytes", "2000\n"),
                    ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
                ],
                Some(2000),
            ),
            // The path is that of the host, and the mount that of the container.
            ("5:memory:/docker/c\n", &[("memory/memory.limit_in_bytes", "3000\n")], Some(3000)),
            ("", &[("memory.max", "1\n")], None),
            ("5:pids:/docker/c\n", &[("memory.max", "1\n")], None),
        ] {
            assert_eq!(limit_of(MEMORY, own, written(files).path()), limit, "{own}");
        }
    }
}
