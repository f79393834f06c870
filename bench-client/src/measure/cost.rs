//! What a process costs, as the kernel tells it.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    ops::Add,
    path::Path,
    sync::LazyLock,
    time::Duration,
};

use super::ksoftirqd::{self, ByProcessor, Ksoftirqd, Uncounted};

/// Where the kernel tells about processes.
const PROC: &str = "/proc";

/// The length of a clock tick in `/proc/PID/stat` (`USER_HZ`), which Linux fixes at 100.
const TICK: Duration = Duration::from_millis(10);

/// A thread that used less than this share of the server's CPU time says nothing about where the
/// server runs.
const TELLING_SHARE: u32 = 100;

/// What a process, or several, have used so far.
#[derive(Clone, Debug)]
pub(crate) struct Usage {
    pub(crate) times: Times,
    /// The memory that is resident now, if anybody tells.
    pub(crate) resident_bytes: Option<u64>,
}

/// What the scheduler tells of a process, or several.
#[derive(Clone, Debug)]
pub(crate) struct Times {
    pub(crate) cpu: CpuTime,
    /// The threads by their ids; empty if nobody tells.
    pub(crate) threads: HashMap<u32, Thread>,
    /// The CPU time of the machine's `ksoftirqd`.
    pub(crate) ksoftirqd: Result<ByProcessor, Uncounted>,
}

/// A thread.
#[derive(Clone, Debug, Default)]
pub(crate) struct Thread {
    pub(crate) ran: Duration,
    /// For how long it could have run and had no processor.
    pub(crate) delayed: Duration,
    /// The processors on which it may run, if the kernel tells.
    pub(crate) processors: Option<BTreeSet<usize>>,
}

/// The CPU time of a server between two moments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spent {
    /// Of its own threads.
    own: Duration,
    /// The system's part of that, if it is told.
    system: Option<Duration>,
    /// Of `ksoftirqd` for it, or why that is not counted.
    pub(crate) ksoftirqd: Result<Duration, Uncounted>,
}

impl Spent {
    /// All that is counted.
    pub(crate) fn total(self) -> Duration {
        self.own + self.ksoftirqd.unwrap_or_default()
    }

    /// The system's part of what its threads used, if it is told.
    pub(crate) fn system(self) -> Option<Duration> {
        // It is told in ticks, and may come out longer than the whole.
        Some(self.system?.min(self.own))
    }
}

impl Times {
    /// Those of these processes so far; `None` if there are no such processes.
    pub(crate) fn of(pids: &[u32]) -> Option<Self> {
        static KSOFTIRQD: LazyLock<Ksoftirqd> = LazyLock::new(|| Ksoftirqd::find(PROC.as_ref()));
        Self::read(PROC.as_ref(), pids, &KSOFTIRQD)
    }

    fn read(proc: &Path, pids: &[u32], ksoftirqd: &Ksoftirqd) -> Option<Self> {
        let mut threads = HashMap::new();
        let processes = pids.iter().filter_map(|pid| {
            let process = proc.join(pid.to_string());
            let own = read_threads(&process)?;
            let total = own.values().map(|thread| thread.ran).sum();
            threads.extend(own);
            Some(CpuTime { total, system: Some(read_system(&process)?) })
        });
        let cpu = processes.reduce(Add::add)?;
        Some(Self { cpu, threads, ksoftirqd: ksoftirqd.read().ok_or(Uncounted::Unreadable) })
    }

    /// What has been used since.
    pub(crate) fn since(&self, earlier: &Self) -> Spent {
        let cpu = self.cpu.since(earlier.cpu);
        Spent { own: cpu.total, system: cpu.system, ksoftirqd: self.ksoftirqd_since(earlier) }
    }

    fn ksoftirqd_since(&self, earlier: &Self) -> Result<Duration, Uncounted> {
        let (now, then) = (self.ksoftirqd.as_ref(), earlier.ksoftirqd.as_ref());
        let (now, then) = (now.map_err(|why| *why)?, then.map_err(|why| *why)?);
        let processors = self.processors_since(earlier).ok_or(Uncounted::Unreadable)?;
        ksoftirqd::spent(now, then, &processors)
    }

    /// Where the threads that have run since may run, if the kernel tells.
    fn processors_since(&self, earlier: &Self) -> Option<BTreeSet<usize>> {
        let total = self.cpu.since(earlier.cpu).total;
        let mut processors = BTreeSet::new();
        for (id, thread) in &self.threads {
            let before = earlier.threads.get(id).map(|thread| thread.ran).unwrap_or_default();
            let ran = thread.ran.saturating_sub(before);
            if !ran.is_zero() && ran * TELLING_SHARE >= total {
                processors.extend(thread.processors.as_ref()?);
            }
        }
        Some(processors)
    }
}

/// The threads of a process in this directory; `None` if there is no such process.
fn read_threads(process: &Path) -> Option<HashMap<u32, Thread>> {
    let tasks = fs::read_dir(process.join("task")).ok()?;
    // A thread may end while we look.
    let threads = tasks.filter_map(|task| {
        let task = task.ok()?;
        Some((task.file_name().to_str()?.parse().ok()?, Thread::read(&task.path())?))
    });
    Some(threads.collect())
}

/// The system time of a process.
fn read_system(process: &Path) -> Option<Duration> {
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    // The name in parentheses may hold anything; the system time is the 13th field after it.
    let ticks: u32 = stat.rsplit_once(") ")?.1.split(' ').nth(12)?.parse().ok()?;
    Some(TICK * ticks)
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

impl Thread {
    /// What the scheduler tells of it (schedstat), and where it may run.
    fn read(directory: &Path) -> Option<Self> {
        let text = fs::read_to_string(directory.join("schedstat")).ok()?;
        let mut nanos = text.split(' ').map(|field| field.parse().map(Duration::from_nanos));
        let mut next = || nanos.next()?.ok();
        let (ran, delayed) = (next()?, next()?);
        Some(Self { ran, delayed, processors: read_processors(directory) })
    }
}

fn read_processors(directory: &Path) -> Option<BTreeSet<usize>> {
    let status = fs::read_to_string(directory.join("status")).ok()?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    ksoftirqd::parse_list(list)
}

/// The CPU time of the calling thread.
pub(crate) fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The time for which the calling thread could have run and had no processor; zero if the kernel
/// does not tell.
pub(crate) fn thread_delay() -> Duration {
    Thread::read(Path::new("/proc/thread-self")).unwrap_or_default().delayed
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
        let cpu = || Times::of(&[pid]).unwrap().cpu;
        let before = cpu();
        let block = std::hint::black_box(vec![1u8; 1 << 22]);
        while cpu().since(before).total.is_zero() {}
        assert!(resident_bytes(pid).unwrap() >= 1 << 22);
        drop(block);
    }

    /// A server of two threads: one works on a processor, one sleeps and may run anywhere.
    fn write_server(proc: &Path, ran: u64, system_ticks: u32, ksoftirqd: u64) {
        for (thread, ran, list) in [("70", 5, "0-3"), ("71", ran, "1")] {
            let task = proc.join("70/task").join(thread);
            fs::create_dir_all(&task).unwrap();
            fs::write(task.join("schedstat"), format!("{ran} 8 9\n")).unwrap();
            fs::write(task.join("status"), format!("Name:\tx\nCpus_allowed_list:\t{list}\n"))
                .unwrap();
        }
        let stat = format!("70 (a) b) S 1 2 3 4 5 6 7 8 9 10 11 {system_ticks} 0");
        fs::write(proc.join("70/stat"), stat).unwrap();
        for (pid, processor, nanos) in [("14", 0, 7), ("22", 1, ksoftirqd)] {
            fs::create_dir_all(proc.join(pid)).unwrap();
            fs::write(proc.join(pid).join("comm"), format!("ksoftirqd/{processor}\n")).unwrap();
            fs::write(proc.join(pid).join("schedstat"), format!("{nanos} 0 0\n")).unwrap();
        }
    }

    #[test]
    fn ksoftirqd_counts_where_the_threads_that_work_are_pinned() {
        let proc = tempfile::tempdir().unwrap();
        let proc = proc.path();
        write_server(proc, 1000, 3, 50);
        let threads = Ksoftirqd::find(proc);
        let read = || Times::read(proc, &[70], &threads).unwrap();
        let earlier = read();
        write_server(proc, 5000, 5, 350);
        let spent = read().since(&earlier);
        assert_eq!(spent.ksoftirqd, Ok(Duration::from_nanos(300)));
        assert_eq!(spent.total(), Duration::from_nanos(4300));
        assert_eq!(spent.system, Some(2 * TICK));
        assert!(Times::read(proc, &[71], &threads).is_none());

        fs::write(proc.join("70/task/71/status"), "Cpus_allowed_list:\t0-1\n").unwrap();
        let spent = read().since(&earlier);
        assert_eq!(spent.ksoftirqd, Err(Uncounted::NotPinned));
        assert_eq!(spent.total(), Duration::from_nanos(4000));
        fs::write(proc.join("70/task/71/status"), "Name:\tx\n").unwrap();
        assert_eq!(read().since(&earlier).ksoftirqd, Err(Uncounted::Unreadable));
    }
}
