//! The machine that a run is made on, as far as it shows in the figures.

use std::{
    fs,
    net::{IpAddr, UdpSocket},
    path::Path,
};

use rustix::process::{Resource, getrlimit};
use wireloop::io::sys;

use super::results::Environment;

impl Environment {
    /// The machine of this process.
    pub(crate) fn observe() -> Self {
        let kernel =
            ["ostype", "osrelease"].map(|name| text_in(&format!("/proc/sys/kernel/{name}")));
        let kernel: Vec<_> = kernel.into_iter().flatten().collect();
        Self {
            kernel: kernel.join(" "),
            processor: processor(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default()),
            processors: sys::allowed_processors().len(),
            quota: quota(),
            governor: text_in("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            file_limit: getrlimit(Resource::Nofile).current,
            ..Self::default()
        }
    }
}

/// Whether an address is this machine's: one can be bound to it.
pub(crate) fn is_here(address: IpAddr) -> bool {
    address.is_loopback() || UdpSocket::bind((address, 0)).is_ok()
}

/// The text of a file of the kernel's, if there is one.
pub(crate) fn text_in(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned())
}

/// The number in such a file.
pub(crate) fn number_in(path: &str) -> Option<usize> {
    text_in(path)?.parse().ok()
}

/// The name in /proc/cpuinfo, or that of the architecture where there is none.
fn processor(cpuinfo: &str) -> String {
    let name = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or(std::env::consts::ARCH, |(_, name)| name.trim()).to_owned()
}

/// How many processors' time the control groups of this process grant it, if they are limited.
fn quota() -> Option<f64> {
    let root = Path::new("/sys/fs/cgroup");
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    if let Some(own) = groups.lines().find_map(|line| line.strip_prefix("0::/")) {
        let directory = root.join(own);
        let above = directory.ancestors().take_while(|path| path.starts_with(root));
        let quotas =
            above.filter_map(|path| read_max(&fs::read_to_string(path.join("cpu.max")).ok()?));
        if let Some(least) = quotas.min_by(f64::total_cmp) {
            return Some(least);
        }
    }
    let number = |name| text_in(&format!("/sys/fs/cgroup/cpu/{name}"))?.parse::<f64>().ok();
    let quota = number("cpu.cfs_quota_us").filter(|quota| *quota > 0.0)?;
    Some(quota / number("cpu.cfs_period_us")?)
}

/// Reads `cpu.max`: the quota, or `max`, and the period.
fn read_max(text: &str) -> Option<f64> {
    let (quota, period) = text.trim().split_once(' ')?;
    Some(quota.parse::<f64>().ok()? / period.parse::<f64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_known() {
        let environment = Environment::observe();
        assert!(environment.kernel.starts_with("Linux "), "{environment:?}");
        assert!(!environment.processor.is_empty());
        assert!(environment.processors > 0);
        assert!(environment.file_limit.is_some_and(|limit| limit > 0));
    }

    #[test]
    fn files_of_the_kernel_are_read() {
        assert_eq!(processor("processor\t: 0\nmodel name\t: A: B \n"), "A: B");
        assert_eq!(processor("processor : 0\n"), std::env::consts::ARCH);
        assert_eq!(read_max("150000 100000\n"), Some(1.5));
        assert_eq!(read_max("max 100000\n"), None);
    }

    #[test]
    fn own_addresses_are_here_and_others_are_not() {
        assert!(is_here("127.0.0.9".parse().unwrap()));
        assert!(!is_here("192.0.2.1".parse().unwrap()));
    }
}
