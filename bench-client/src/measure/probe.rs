//! Where the server's cost is read from.

use super::{
    cost::{Times, Usage, resident_bytes},
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
                Some(Usage { times: self.times()?, resident_bytes: self.resident_bytes() })
            }
            Self::Metrics(metrics) => metrics.read().ok(),
        }
    }

    /// What the scheduler tells, sooner than the memory is read; `None` if nobody tells.
    pub(crate) fn times(&self) -> Option<Times> {
        match self {
            Self::Processes(pids) => Times::of(pids),
            Self::Metrics(metrics) => Some(metrics.read().ok()?.times),
        }
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
