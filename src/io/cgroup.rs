//! The CPU quota and the memory limit of the control groups that this process is in (cgroups(7)), as
//! containers have them.
//!
//! `std::thread::available_parallelism` knows quotas, but rounds them down, so that a container with
//! 1.9 processors would be left with one; and it does not say whether it was a quota that decided.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// How many processors the quota allows this process, such as 0.5, if it has one. The smallest of
/// its group and of all groups around it that can be seen.
pub(crate) fn processor_quota() -> Option<f64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    quota(&groups, &mounts, |path| fs::read_to_string(path).ok())
}

/// How many bytes of memory this process may have with the others of its groups, if that is limited.
/// The smallest limit of its group and of all groups around it that can be seen.
pub(crate) fn memory_limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    limit(&groups, &mounts, |path| fs::read_to_string(path).ok())
}

fn quota(groups: &str, mounts: &str, read: impl Fn(&Path) -> Option<String>) -> Option<f64> {
    let hierarchies = groups.lines().filter_map(|line| Hierarchy::find(line, mounts, "cpu"));
    let quotas = hierarchies.filter_map(|hierarchy| hierarchy.quota(&read));
    quotas.reduce(f64::min)
}

fn limit(groups: &str, mounts: &str, read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let hierarchies = groups.lines().filter_map(|line| Hierarchy::find(line, mounts, "memory"));
    hierarchies.filter_map(|hierarchy| hierarchy.memory_limit(&read)).min()
}

/// A tree of groups that may limit the CPU, and the place of this process in it.
#[derive(Debug)]
struct Hierarchy {
    /// Whether it is the one of version 2.
    is_unified: bool,
    /// The directory of the outermost group that can be seen.
    root: PathBuf,
    /// The directory of this process's group.
    group: PathBuf,
}

impl Hierarchy {
    /// The hierarchy that a line of /proc/self/cgroup, `ID:CONTROLLERS:PATH`, is about, if it is that
    /// of version 2 or has this controller, and is mounted.
    fn find(line: &str, mounts: &str, controller: &str) -> Option<Self> {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let is_unified = controllers.is_empty();
        if !is_unified && !controllers.split(',').any(|name| name == controller) {
            return None;
        }
        let mounts = mounts
            .lines()
            .filter_map(|line| mount(line, if is_unified { None } else { Some(controller) }));
        let mut places = mounts.filter_map(|(top, root)| {
            // A container may see its own group as the top, but be told its path from outside.
            let inside = Path::new(path).strip_prefix(top).ok()?;
            Some(Self { is_unified, root: root.into(), group: root.join(inside) })
        });
        places.next()
    }

    /// The groups on the way from that of this process to the top.
    fn groups(&self) -> impl Iterator<Item = &Path> {
        self.group.ancestors().take_while(|group| group.starts_with(&self.root))
    }

    /// The smallest limit on memory on the way to the top.
    fn memory_limit(&self, read: &impl Fn(&Path) -> Option<String>) -> Option<u64> {
        let files: &[&str] = if self.is_unified {
            &["memory.max", "memory.high"]
        } else {
            &["memory.limit_in_bytes"]
        };
        let files = self.groups().flat_map(|group| files.iter().map(|file| group.join(file)));
        // Without a limit it is `max`, or more than any machine has.
        files.filter_map(|file| read(&file)?.trim().parse().ok()).min()
    }

    /// The smallest quota on the way to the top.
    fn quota(&self, read: &impl Fn(&Path) -> Option<String>) -> Option<f64> {
        let quotas = self.groups().filter_map(|group| {
            let [quota, period] = if self.is_unified {
                let text = read(&group.join("cpu.max"))?;
                let mut words = text.split_whitespace().map(str::to_owned);
                [words.next()?, words.next()?]
            } else {
                [read(&group.join("cpu.cfs_quota_us"))?, read(&group.join("cpu.cfs_period_us"))?]
            };
            // Without a quota it is `max`, or -1.
            let quota: u64 = quota.trim().parse().ok()?;
            let period: u64 = period.trim().parse().ok().filter(|period| *period > 0)?;
            Some(quota as f64 / period as f64)
        });
        quotas.reduce(f64::min)
    }
}

/// Which group a line of /proc/self/mountinfo (proc(5)) makes visible, and in which directory, if it
/// is a mount of version 2, or of version 1 with a controller.
fn mount<'a>(line: &'a str, controller: Option<&str>) -> Option<(&'a Path, &'a Path)> {
    let (place, kind) = line.split_once(" - ")?;
    let mut kind = kind.split(' ');
    let (name, options) = (kind.next()?, kind.next_back()?);
    let is_it = match name {
        "cgroup2" => controller.is_none(),
        "cgroup" => options.split(',').any(|option| Some(option) == controller),
        _ => false,
    };
    let mut place = place.split(' ').skip(3);
    let (top, root) = (place.next()?, place.next()?);
    is_it.then(|| (Path::new(top), Path::new(root)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIFIED: &str = "23 1 0:28 / /sys rw - sysfs sysfs rw\n\
                           31 23 0:30 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate";

    const HYBRID: &str = "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                          33 31 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                          41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw";

    /// The quota for a process in these groups, with these files below /sys/fs/cgroup.
    fn quota_of(groups: &str, mounts: &str, files: &[(&str, &str)]) -> Option<f64> {
        quota(groups, mounts, |path| text(files, path))
    }

    /// What one of these files contains, which are below /sys/fs/cgroup.
    fn text(files: &[(&str, &str)], path: &Path) -> Option<String> {
        let name = path.to_str()?.strip_prefix("/sys/fs/cgroup/")?;
        files.iter().find(|(file, _)| *file == name).map(|(_, text)| (*text).to_owned())
    }

    #[test]
    fn without_a_quota_there_is_none() {
        assert_eq!(quota_of("", "", &[]), None);
        assert_eq!(quota_of("0::/", UNIFIED, &[]), None);
        assert_eq!(quota_of("0::/a", UNIFIED, &[("a/cpu.max", "max 100000\n")]), None);
        let files = [
            ("cpu,cpuacct/a/cpu.cfs_quota_us", "-1\n"),
            ("cpu,cpuacct/a/cpu.cfs_period_us", "100000\n"),
        ];
        assert_eq!(quota_of("4:cpu,cpuacct:/a", HYBRID, &files), None);
    }

    #[test]
    fn the_quota_of_version_2_is_the_smallest_up_to_the_top() {
        let files = [
            ("a/b/cpu.max", "max 100000\n"),
            ("a/cpu.max", "50000 100000\n"),
            ("cpu.max", "300000 100000\n"),
            ("other/cpu.max", "1000 100000\n"),
        ];
        assert_eq!(quota_of("0::/a/b", UNIFIED, &files), Some(0.5));
        assert_eq!(quota_of("0::/", UNIFIED, &files), Some(3.0), "that of a container's own group");
    }

    #[test]
    fn the_quota_of_version_1_is_the_smallest_up_to_the_top() {
        let groups = "5:memory:/m\n4:cpu,cpuacct:/a/b\n3:cpuset:/c\n0::/u";
        let files = [
            ("cpu,cpuacct/a/b/cpu.cfs_quota_us", "150000\n"),
            ("cpu,cpuacct/a/b/cpu.cfs_period_us", "100000\n"),
            ("cpu,cpuacct/a/cpu.cfs_quota_us", "400000\n"),
            ("cpu,cpuacct/a/cpu.cfs_period_us", "100000\n"),
            ("memory/m/cpu.cfs_quota_us", "1000\n"),
            ("memory/m/cpu.cfs_period_us", "100000\n"),
        ];
        assert_eq!(quota_of(groups, HYBRID, &files), Some(1.5));
    }

    /// As in a container without a namespace for its groups: the path is that outside.
    #[test]
    fn a_group_that_is_mounted_as_the_top_is_found() {
        let mounts = "32 31 0:29 /box/7 /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu";
        let files = [("cpu/cpu.cfs_quota_us", "20000"), ("cpu/cpu.cfs_period_us", "10000")];
        assert_eq!(quota_of("4:cpu:/box/7", mounts, &files), Some(2.0));
        assert_eq!(quota_of("4:cpu:/box/8", mounts, &files), None, "that of another");
    }

    /// The limit for a process in these groups, with these files below /sys/fs/cgroup.
    fn limit_of(groups: &str, mounts: &str, files: &[(&str, &str)]) -> Option<u64> {
        limit(groups, mounts, |path| text(files, path))
    }

    #[test]
    fn the_limit_on_memory_is_the_smallest_up_to_the_top() {
        assert_eq!(limit_of("0::/a", UNIFIED, &[("a/memory.max", "max\n")]), None);
        let files = [
            ("a/b/memory.max", "max\n"),
            ("a/b/memory.high", "3000\n"),
            ("a/memory.max", "2000\n"),
            ("memory.high", "4000\n"),
        ];
        assert_eq!(limit_of("0::/a/b", UNIFIED, &files), Some(2000));
        let groups = "5:memory:/m\n4:cpu,cpuacct:/a";
        let files = [
            ("memory/m/memory.limit_in_bytes", "536870912\n"),
            ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("cpu,cpuacct/a/memory.limit_in_bytes", "1\n"),
        ];
        assert_eq!(limit_of(groups, HYBRID, &files), Some(512 << 20));
    }

    #[test]
    fn what_the_kernel_does_not_write_is_no_quota() {
        for text in ["", "1000", "0x10 100000", "1000 0", "-5 100000"] {
            assert_eq!(quota_of("0::/", UNIFIED, &[("cpu.max", text)]), None, "{text:?}");
        }
    }
}
