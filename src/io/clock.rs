//! The time of a driver.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Reads the time of a driver, wherever that is needed: what stands above the drivers has no clock
/// of its own, so that a simulation decides what time it is.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    /// The kernel's monotonic clock, since this moment.
    Kernel(Instant),
    /// Nanoseconds that a simulation sets.
    Simulated(Arc<AtomicU64>),
}

impl Clock {
    /// The kernel's monotonic clock, from zero.
    pub(super) fn start() -> Self {
        Self(Source::Kernel(Instant::now()))
    }

    /// A clock that stands at zero until it is [advanced](Self::advance).
    pub(super) fn simulated() -> Self {
        Self(Source::Simulated(Arc::default()))
    }

    /// Time since the driver was made. Never goes back.
    pub fn now(&self) -> Duration {
        match &self.0 {
            Source::Kernel(start) => start.elapsed(),
            Source::Simulated(nanos) => Duration::from_nanos(nanos.load(Ordering::Relaxed)),
        }
    }

    /// Lets time pass, if the clock is a simulated one.
    pub(super) fn advance(&self, time: Duration) {
        if let Source::Simulated(nanos) = &self.0 {
            nanos.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
        }
    }
}
