//! The memory that the process may use: the limit of its cgroup, which is that of its container. The kernel kills what
//! goes beyond it, and nothing in a log speaks of memory then.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// Where the hierarchies of cgroups are mounted (cgroups(7)).
const MOUNT: &str = "/sys/fs/cgroup";
/// Which cgroups the process is in.
const OWN: &str = "/proc/self/cgroup";
/// A limit above this is none: v1 says "unlimited" as the largest multiple of a page.
const UNLIMITED: u64 = 1 << 60;

/// Returns the limit in bytes; `None` when there is none, or none that can be read.
pub fn limit() -> Option<u64> {
    limit_of(&fs::read_to_string(OWN).ok()?, Path::new(MOUNT))
}

/// Returns the lowest limit of the cgroups that `own` lists and of those above them. A container mostly sees its own
/// cgroup as the root, whatever the path says.
fn limit_of(own: &str, mount: &Path) -> Option<u64> {
    let limits = own.lines().flat_map(|line| {
        // `0::/path` of v2, `9:memory:/path` of v1.
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let (root, file) = match controllers {
            "" => (mount.to_owned(), "memory.max"),
            named if named.split(',').any(|name| name == "memory") => (mount.join("memory"), "memory.limit_in_bytes"),
            _ => return Vec::new(),
        };
        let limit = |folder: PathBuf| fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok();
        let normal = Path::new(path).components().filter(|part| matches!(part, Component::Normal(_)));
        let below: PathBuf = normal.collect();
        below.ancestors().filter_map(|folder| limit(root.join(folder))).collect::<Vec<u64>>()
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
        ] {
            assert_eq!(limit_of(own, written(files).path()), limit, "{own}");
        }
    }
}
