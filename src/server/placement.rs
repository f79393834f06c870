//! How many workers a server has.

use crate::io::{cgroup, sys};

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

/// One worker for each processor that the process can keep busy.
pub(super) fn default_workers() -> usize {
    let host = Host::look();
    let workers = host.parallelism();
    if let Some(quota) = host.quota.filter(|_| workers < host.processors.len()) {
        let processors = host.processors.len();
        tracing::info!(workers, quota, processors, "the CPU quota decides the number of workers");
    }
    workers
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
}
