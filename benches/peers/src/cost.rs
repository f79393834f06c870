//! What a server costs, as the kernel tells it: CPU time and memory of its processes.

use std::{fs, thread, time::Duration};

use crate::ksoftirqd::Ksoftirqd;

/// How often CPU time is read until it stands still, and how long between two readings.
const READINGS_MAX: u32 = 20;
const READING_INTERVAL: Duration = Duration::from_micros(500);

/// A server's process, and those it has started.
#[derive(Clone, Debug)]
pub(crate) struct Processes(Vec<u32>);

/// CPU time to the nanosecond.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cpu {
    /// Of the server's processes.
    pub(crate) own: Duration,
    /// Of the kernel's thread on their processor.
    pub(crate) ksoftirqd: Duration,
}

impl Cpu {
    /// What was used since.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            own: self.own.saturating_sub(earlier.own),
            ksoftirqd: self.ksoftirqd.saturating_sub(earlier.ksoftirqd),
        }
    }

    /// All of it.
    pub(crate) fn total(self) -> Duration {
        self.own + self.ksoftirqd
    }
}

/// CPU time in ticks: coarse, but with the system's part apart from the user's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ticks {
    pub(crate) user: u64,
    pub(crate) system: u64,
}

impl Ticks {
    /// The user's share of what was used since.
    pub(crate) fn user_share_since(self, earlier: Self) -> f64 {
        let user = self.user.saturating_sub(earlier.user);
        let all = user + self.system.saturating_sub(earlier.system);
        if all == 0 { 0.0 } else { user as f64 / all as f64 }
    }
}

impl Processes {
    /// The process and all that descend from it now.
    pub(crate) fn below(root: u32) -> Self {
        let names = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = names.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let parents: Vec<(u32, u32)> =
            pids.filter_map(|pid| Some((pid, fields(pid)?.get(1)?.parse().ok()?))).collect();
        let mut found = vec![root];
        let mut next = 0;
        while let Some(&parent) = found.get(next) {
            found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
            next += 1;
        }
        Self(found)
    }

    /// Their numbers, the oldest first.
    pub(crate) fn pids(&self) -> &[u32] {
        &self.0
    }

    /// CPU time to the nanosecond, waiting not included. Exact while they sleep: the kernel counts
    /// when a thread stops running.
    pub(crate) fn cpu(&self) -> Duration {
        let tasks = self.0.iter().filter_map(|pid| fs::read_dir(format!("/proc/{pid}/task")).ok());
        let counts = tasks.flatten().flatten().filter_map(|task| {
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(counts.sum())
    }

    /// CPU time once it stands still, which is soon after the last message has come home.
    pub(crate) fn settled_cpu(&self, ksoftirqd: &Ksoftirqd) -> Cpu {
        let read = || Cpu { own: self.cpu(), ksoftirqd: ksoftirqd.cpu() };
        let mut last = read();
        for _ in 0..READINGS_MAX {
            thread::sleep(READING_INTERVAL);
            let now = read();
            if now == last {
                break;
            }
            last = now;
        }
        last
    }

    /// CPU time by who used it.
    pub(crate) fn ticks(&self) -> Ticks {
        self.0.iter().filter_map(|pid| ticks(&fields(*pid)?)).fold(Ticks::default(), |all, one| {
            Ticks { user: all.user + one.user, system: all.system + one.system }
        })
    }

    /// Resident bytes, without the files they map.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.0.iter().filter_map(|pid| resident_bytes(*pid)).sum()
    }
}

fn resident_bytes(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Anonymous:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes << 10)
}

fn ticks(fields: &[String]) -> Option<Ticks> {
    Some(Ticks { user: fields.get(11)?.parse().ok()?, system: fields.get(12)?.parse().ok()? })
}

/// The fields of `/proc/PID/stat` after the name, which may hold anything.
fn fields(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.rsplit_once(") ")?.1.split_whitespace().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use std::{
        hint::black_box,
        process::{Command, Stdio},
    };

    use super::*;

    #[test]
    fn a_process_has_a_cost_and_children() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let family = Processes::below(std::process::id());
        assert_eq!(family.pids()[0], std::process::id());
        assert!(family.pids().contains(&child.id()));
        let before = family.cpu();
        let block = black_box(vec![1u8; 1 << 22]);
        while family.cpu() == before {}
        assert!(family.resident_bytes() >= 1 << 22);
        drop(block);
        drop(child.stdin.take());
        child.wait().unwrap();
    }

    #[test]
    fn ticks_are_shared_out() {
        let (before, after) = (Ticks { user: 10, system: 20 }, Ticks { user: 13, system: 29 });
        assert_eq!(after.user_share_since(before), 0.25);
        assert_eq!(after.user_share_since(after), 0.0);
    }
}
