//! How a thread of the client fared while it measured: what it did not do in time is no fault of
//! the server's.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{cost, times::nanos};

/// A thread that was busy for so long without looking at its sockets has stalled: what arrived
/// meanwhile has its time from afterwards.
const STALL: Duration = Duration::from_millis(20);

/// How a thread fared, or the worst of all in each respect. Shares are of the measurement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Health {
    /// The share in which it ran.
    pub(crate) busy: f64,
    /// The share in which it would have run, had it had a processor.
    pub(crate) delayed: f64,
    /// The share in which it had stalled.
    pub(crate) stalled: f64,
    /// The longest time for which it did not look at its sockets.
    #[serde(rename = "longest_ns", with = "nanos")]
    pub(crate) longest: Duration,
}

impl Health {
    /// The worse of both in each respect.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.busy = self.busy.max(other.busy);
        self.delayed = self.delayed.max(other.delayed);
        self.stalled = self.stalled.max(other.stalled);
        self.longest = self.longest.max(other.longest);
    }
}

/// Watches the thread that it was made in.
#[derive(Debug)]
pub(crate) struct Watch {
    since: Duration,
    cpu: Duration,
    delay: Duration,
    /// When the thread began to be busy.
    woken: Duration,
    stalled: Duration,
    longest: Duration,
}

impl Watch {
    pub(crate) fn new(now: Duration) -> Self {
        Self {
            since: now,
            cpu: cost::thread_cpu(),
            delay: cost::thread_delay(),
            woken: now,
            stalled: Duration::ZERO,
            longest: Duration::ZERO,
        }
    }

    /// The thread begins to be busy.
    pub(crate) fn woke(&mut self, now: Duration) {
        self.woken = now;
    }

    /// The thread looks at its sockets again.
    pub(crate) fn waits(&mut self, now: Duration) {
        let busy = now.saturating_sub(self.woken);
        self.longest = self.longest.max(busy);
        if busy >= STALL {
            self.stalled += busy;
        }
    }

    /// The CPU time since the beginning, and how the thread fared.
    pub(crate) fn end(&self, now: Duration) -> (Duration, Health) {
        let cpu = cost::thread_cpu().saturating_sub(self.cpu);
        let delay = cost::thread_delay().saturating_sub(self.delay);
        let all = now.saturating_sub(self.since).as_secs_f64().max(1e-9);
        let share = |time: Duration| time.as_secs_f64() / all;
        let health = Health {
            busy: share(cpu),
            delayed: share(delay),
            stalled: share(self.stalled),
            longest: self.longest,
        };
        (cpu, health)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_long_absences_are_stalls() {
        let millis = Duration::from_millis;
        let mut watch = Watch::new(millis(100));
        for (woken, waits) in [(110, 129), (200, 250), (300, 330)] {
            watch.woke(millis(woken));
            watch.waits(millis(waits));
        }
        let (_, health) = watch.end(millis(500));
        assert!((health.stalled - 0.2).abs() < 1e-9, "{health:?}");
        assert_eq!(health.longest, millis(50));
    }
}
