//! What a process costs, as the kernel tells it.

use std::{collections::HashMap, fs, ops::Add, path::Path, time::Duration};

/// The length of a clock tick in `/proc/PID/stat` (`USER_HZ`), which Linux fixes at 100.
const TICK: Duration = Duration::from_millis(10);

/// What a process, or several, have used so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) cpu: CpuTime,
    /// The memory that is resident now, if anybody tells.
    pub(crate) resident_bytes: Option<u64>,
}

/// What the scheduler tells of a process, or several.
#[derive(Clone, Debug)]
pub(crate) struct Times {
    pub(crate) cpu: CpuTime,
    /// For how long each thread could have run and had no processor, by the thread's id; empty if
    /// nobody tells.
    pub(crate) delays: HashMap<u32, Duration>,
}

impl Times {
    /// Those of a process so far; `None` if there is no such process.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let mut total = Duration::ZERO;
        let mut delays = HashMap::new();
        for task in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
            // A thread may end while we look.
            let Ok(task) = task else { continue };
            let Some(thread) = Scheduled::read(&task.path()) else { continue };
            total += thread.ran;
            let id = task.file_name().to_str().and_then(|name| name.parse().ok());
            delays.extend(id.map(|id: u32| (id, thread.delayed)));
        }
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold anything; the system time is the 13th field after it.
        let ticks: u32 = stat.rsplit_once(") ")?.1.split(' ').nth(12)?.parse().ok()?;
        Some(Self { cpu: CpuTime { total, system: Some(TICK * ticks) }, delays })
    }
}

impl Add for Times {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self.delays.extend(other.delays);
        Self { cpu: self.cpu + other.cpu, delays: self.delays }
    }
}

/// CPU time of a process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CpuTime {
    /// To the nanosecond, user and system together.
    pub(crate) total: Duration,
    /// The part of the system, in ticks of 10 ms; not everybody tells.
    pub(crate) system: Option<Duration>,
}

impl CpuTime {
    /// What has been used since.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            total: self.total.saturating_sub(earlier.total),
            system: self.system.zip(earlier.system).map(|(now, then)| now.saturating_sub(then)),
        }
    }
}

impl Add for CpuTime {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let system = self.system.zip(other.system).map(|(one, other)| one + other);
        Self { total: self.total + other.total, system }
    }
}

/// What the scheduler tells of a thread (schedstat).
#[derive(Clone, Copy, Debug, Default)]
struct Scheduled {
    ran: Duration,
    /// For how long it could have run and had no processor.
    delayed: Duration,
}

impl Scheduled {
    fn read(directory: &Path) -> Option<Self> {
        let text = fs::read_to_string(directory.join("schedstat")).ok()?;
        let mut nanos = text.split(' ').map(|field| field.parse().map(Duration::from_nanos));
        let mut next = || nanos.next()?.ok();
        Some(Self { ran: next()?, delayed: next()? })
    }
}

/// The CPU time of the calling thread.
pub(crate) fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The time for which the calling thread could have run and had no processor; zero if the kernel
/// does not tell.
pub(crate) fn thread_delay() -> Duration {
    Scheduled::read(Path::new("/proc/thread-self")).unwrap_or_default().delayed
}

/// What all processors of the machine have done, in ticks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MachineTime {
    total: u64,
    /// The part in which the host ran something else.
    stolen: u64,
}

impl MachineTime {
    /// What has been done so far; `None` if the kernel does not tell.
    pub(crate) fn now() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/stat").ok()?)
    }

    /// proc_stat(5): user, nice, system, idle, iowait, irq, softirq, steal; what follows is part
    /// of the first two.
    fn parse(text: &str) -> Option<Self> {
        let line = text.lines().next()?.strip_prefix("cpu ")?;
        let ticks: Vec<u64> =
            line.split_whitespace().map_while(|field| field.parse().ok()).collect();
        let ticks = ticks.get(..8)?;
        Some(Self { total: ticks.iter().sum(), stolen: ticks[7] })
    }

    /// The share that was stolen since then.
    pub(crate) fn stolen_since(self, earlier: Self) -> f64 {
        let total = self.total.saturating_sub(earlier.total).max(1);
        self.stolen.saturating_sub(earlier.stolen) as f64 / total as f64
    }
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
    fn what_the_host_takes_is_a_share() {
        let earlier = MachineTime::parse("cpu  10 0 10 80 0 0 0 5 3 0\ncpu0 1").unwrap();
        let later = MachineTime::parse("cpu  40 0 20 100 5 0 5 15 9 0\n").unwrap();
        assert!((later.stolen_since(earlier) - 0.125).abs() < 1e-9);
        assert!(MachineTime::parse("cpu 1 2 3").is_none());
        assert!(MachineTime::now().is_some());
    }

    #[test]
    fn this_process_has_a_cost() {
        let pid = std::process::id();
        let cpu = || Times::of(pid).unwrap().cpu;
        let before = cpu();
        let block = std::hint::black_box(vec![1u8; 1 << 22]);
        while cpu().since(before).total.is_zero() {}
        assert!(resident_bytes(pid).unwrap() >= 1 << 22);
        drop(block);
    }
}
