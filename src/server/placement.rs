//! How many workers a server has, and on which processors they run.

use std::fmt;

use crate::io::{cgroup, sys};

/// Whether each worker is kept on one processor.
///
/// That spares a worker the caches of another processor, but no process knows of the others: where
/// workers are fewer than processors, two servers would share one of them while others are idle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pin {
    /// Where there are as many workers as processors that the process may use, and no CPU quota
    /// below that.
    #[default]
    Auto,
    /// Always: worker *n* on the *n*-th processor that the process may use, from the first one again
    /// where there are more workers.
    On,
    /// Never.
    Off,
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::On => "on",
            Self::Off => "off",
        })
    }
}

/// What this process may use of the machine.
#[derive(Debug)]
struct Host {
    /// In ascending order.
    processors: Vec<usize>,
    /// How many of them it may keep busy, if a control group limits it.
    quota: Option<f64>,
}

impl Host {
    fn look() -> Self {
        Self { processors: sys::allowed_processors(), quota: cgroup::processor_quota() }
    }

    /// How many processors the process can keep busy, rounded up: half a processor still needs a
    /// worker, and one and a half would be left idle in part by one.
    fn parallelism(&self) -> usize {
        let quota = self.quota.map_or(usize::MAX, |quota| quota.ceil() as usize);
        self.processors.len().min(quota).max(1)
    }
}

/// The number of workers, and the processor of each.
#[derive(Debug)]
pub(super) struct Placement {
    pub(super) workers: usize,
    /// None if workers run where the kernel puts them.
    processors: Vec<usize>,
}

impl Placement {
    /// Places so many workers, or one for each processor that the process can keep busy.
    pub(super) fn new(asked: Option<usize>, pin: Pin) -> Self {
        let host = Host::look();
        let placement = Self::on(&host, asked, pin);
        let (workers, processors) = (placement.workers, host.processors.len());
        if let Some(quota) = host.quota.filter(|_| asked.is_none() && workers < processors) {
            tracing::info!(workers, quota, processors, "the CPU quota decides how many workers");
        }
        placement
    }

    fn on(host: &Host, workers: Option<usize>, pin: Pin) -> Self {
        let workers = workers.unwrap_or_else(|| host.parallelism());
        let fills = workers == host.processors.len() && workers == host.parallelism();
        let is_pinned = pin == Pin::On || pin == Pin::Auto && fills;
        Self { workers, processors: if is_pinned { host.processors.clone() } else { vec![] } }
    }

    /// The processor on which a worker is kept.
    pub(super) fn processor(&self, worker: usize) -> Option<usize> {
        let place = worker.checked_rem(self.processors.len())?;
        Some(self.processors[place])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_worker_for_each_processor_that_the_quota_leaves() {
        let workers = |count, quota| Host { processors: (0..count).collect(), quota }.parallelism();
        assert_eq!(workers(8, None), 8);
        assert_eq!(workers(8, Some(16.0)), 8);
        assert_eq!(workers(8, Some(2.0)), 2);
        assert_eq!(workers(8, Some(1.5)), 2);
        assert_eq!(workers(8, Some(0.5)), 1);
        assert_eq!(workers(0, None), 1, "where they cannot be counted");
    }

    /// The processors of so many workers on a machine that lets a process use 2, 3 and 5.
    fn processors(workers: usize, quota: Option<f64>, pin: Pin) -> Vec<Option<usize>> {
        let host = Host { processors: vec![2, 3, 5], quota };
        let placement = Placement::on(&host, Some(workers), pin);
        (0..workers).map(|worker| placement.processor(worker)).collect()
    }

    #[test]
    fn workers_are_pinned_where_they_fill_the_processors() {
        let all = [Some(2), Some(3), Some(5)];
        assert_eq!(processors(3, None, Pin::Auto), all);
        assert_eq!(processors(3, Some(3.0), Pin::Auto), all);
        assert_eq!(processors(3, Some(1.5), Pin::Auto), [None; 3], "they stand still in part");
        assert_eq!(processors(2, None, Pin::Auto), [None; 2], "others may have the same");
        assert_eq!(processors(4, None, Pin::Auto), [None; 4]);
    }

    #[test]
    fn whether_workers_are_pinned_can_be_chosen() {
        assert_eq!(processors(1, None, Pin::On), [Some(2)]);
        assert_eq!(processors(4, Some(0.5), Pin::On), [Some(2), Some(3), Some(5), Some(2)]);
        assert_eq!(processors(3, None, Pin::Off), [None; 3]);
        let nowhere = Host { processors: vec![], quota: None };
        assert_eq!(Placement::on(&nowhere, None, Pin::On).processor(0), None);
    }
}
