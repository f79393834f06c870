//! Where the server's cost is read from.

use std::collections::HashMap;

use super::{
    cost::{CpuTime, Times, Usage, resident_bytes},
    metrics::Metrics,
};

/// What tells the server's cost.
#[derive(Clone, Debug)]
pub(crate) enum Probe {
    /// The kernel, of processes that are on this machine.
    Processes(Vec<u32>),
    /// The server.
    Metrics(Metrics),
}

impl Probe {
    /// Nobody tells.
    pub(crate) fn nobody() -> Self {
        Self::Processes(Vec::new())
    }

    /// What the server has used so far; `None` if nobody tells.
    pub(crate) fn usage(&self) -> Option<Usage> {
        match self {
            Self::Processes(_) => {
                Some(Usage { cpu: self.cpu()?, resident_bytes: self.resident_bytes() })
            }
            Self::Metrics(metrics) => metrics.read().ok(),
        }
    }

    /// What the scheduler tells, sooner than the memory is read; `None` if nobody tells.
    pub(crate) fn times(&self) -> Option<Times> {
        match self {
            Self::Processes(pids) => {
                let times = pids.iter().filter_map(|pid| Times::of(*pid));
                times.reduce(|one, other| one + other)
            }
            Self::Metrics(metrics) => {
                Some(Times { cpu: metrics.read().ok()?.cpu, delays: HashMap::new() })
            }
        }
    }

    /// The CPU time of that alone.
    pub(crate) fn cpu(&self) -> Option<CpuTime> {
        Some(self.times()?.cpu)
    }

    /// Its resident memory alone.
    pub(crate) fn resident_bytes(&self) -> Option<u64> {
        match self {
            Self::Processes(pids) => {
                let bytes = pids.iter().filter_map(|pid| resident_bytes(*pid));
                bytes.reduce(|one, other| one + other)
            }
            Self::Metrics(metrics) => metrics.read().ok()?.resident_bytes,
        }
    }

    /// How many processes there are, as far as they are known.
    pub(crate) fn processes(&self) -> usize {
        match self {
            Self::Processes(pids) => pids.len(),
            Self::Metrics(_) => 1,
        }
    }
}
