//! What a process costs, as the kernel tells it.

use std::{fs, time::Duration};

/// The length of a clock tick in `/proc/PID/stat` (`USER_HZ`), which Linux fixes at 100.
const TICK: Duration = Duration::from_millis(10);

/// CPU time of a process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CpuTime {
    /// To the nanosecond, user and system together.
    pub(crate) total: Duration,
    /// The part of the system, in ticks of 10 ms.
    pub(crate) system: Duration,
}

impl CpuTime {
    /// What the process has used so far; `None` if there is no such process.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let mut total = 0;
        for task in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
            // A thread may end while we look.
            let Ok(task) = task else { continue };
            let Ok(text) = fs::read_to_string(task.path().join("schedstat")) else { continue };
            total += text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0);
        }
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold anything; the system time is the 13th field after it.
        let ticks: u32 = stat.rsplit_once(") ")?.1.split(' ').nth(12)?.parse().ok()?;
        Some(Self { total: Duration::from_nanos(total), system: TICK * ticks })
    }

    /// What has been used since.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            total: self.total.saturating_sub(earlier.total),
            system: self.system.saturating_sub(earlier.system),
        }
    }
}

/// The CPU time of the calling thread.
pub(crate) fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The resident memory of a process in bytes, without the files it maps.
pub(crate) fn resident_bytes(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Anonymous:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_a_cost() {
        let pid = std::process::id();
        let before = CpuTime::of(pid).unwrap();
        let block = std::hint::black_box(vec![1u8; 1 << 22]);
        while CpuTime::of(pid).unwrap().since(before).total.is_zero() {}
        assert!(resident_bytes(pid).unwrap() >= 1 << 22);
        drop(block);
    }
}
