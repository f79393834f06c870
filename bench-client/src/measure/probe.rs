//! Where the server's cost is read from.

use super::{
    cost::{CpuTime, Delays, Usage, delays, resident_bytes},
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
    /// What the server has used so far; `None` if nobody tells.
    pub(crate) fn usage(&self) -> Option<Usage> {
        match self {
            Self::Processes(pids) => {
                let bytes = pids.iter().filter_map(|pid| resident_bytes(*pid));
                let resident_bytes = bytes.reduce(|one, other| one + other);
                Some(Usage { cpu: self.cpu()?, resident_bytes })
            }
            Self::Metrics(metrics) => metrics.read().ok(),
        }
    }

    /// Its CPU time alone, which the kernel tells sooner.
    pub(crate) fn cpu(&self) -> Option<CpuTime> {
        match self {
            Self::Processes(pids) => {
                let times = pids.iter().filter_map(|pid| CpuTime::of(*pid));
                times.reduce(|one, other| one + other)
            }
            Self::Metrics(_) => Some(self.usage()?.cpu),
        }
    }

    /// How long its threads have waited for a processor; empty if nobody tells.
    pub(crate) fn delays(&self) -> Delays {
        match self {
            Self::Processes(pids) => pids.iter().flat_map(|pid| delays(*pid)).collect(),
            Self::Metrics(_) => Delays::new(),
        }
    }

    /// Its resident memory alone.
    pub(crate) fn resident_bytes(&self) -> Option<u64> {
        self.usage()?.resident_bytes
    }

    /// How many processes there are, as far as they are known.
    pub(crate) fn processes(&self) -> usize {
        match self {
            Self::Processes(pids) => pids.len(),
            Self::Metrics(_) => 1,
        }
    }
}
