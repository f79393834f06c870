//! Where the server's cost is read from.

use super::cost::{CpuTime, resident_bytes};

/// The server's processes, as far as they are on this machine and known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Probe(pub(crate) Vec<u32>);

impl Probe {
    /// What they have used so far; `None` if there is none of them.
    pub(crate) fn cpu(&self) -> Option<CpuTime> {
        let times = self.0.iter().filter_map(|pid| CpuTime::of(*pid));
        times.reduce(|one, other| one + other)
    }

    /// Their resident memory; `None` if there is none of them.
    pub(crate) fn resident_bytes(&self) -> Option<u64> {
        self.0.iter().filter_map(|pid| resident_bytes(*pid)).reduce(|one, other| one + other)
    }

    /// How many there are.
    pub(crate) fn processes(&self) -> usize {
        self.0.len()
    }
}
