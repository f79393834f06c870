//! How a thread of the client fared while it measured: what it did not do in time is no fault of
//! the server's.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::{cost, times::nanos};

/// A thread that was busy for so long without looking at its sockets has stalled: what arrived
/// meanwhile has its time from afterwards.
const STALL: Duration = Duration::from_millis(20);

/// How long a thread is away from its sockets: up to a minute, to a hundredth.
const AWAY_MAX_NANOS: u64 = 60_000_000_000;
const AWAY_DIGITS: u8 = 2;

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
    /// How long one of 100 echoes waited, or more, from its arrival to the next look, if they
    /// arrived at any time.
    #[serde(rename = "receive_lag_p99_ns", with = "nanos", default)]
    pub(crate) receive_lag: Duration,
}

impl Health {
    /// The worse of both in each respect.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.busy = self.busy.max(other.busy);
        self.delayed = self.delayed.max(other.delayed);
        self.stalled = self.stalled.max(other.stalled);
        self.longest = self.longest.max(other.longest);
        self.receive_lag = self.receive_lag.max(other.receive_lag);
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
    /// How long it was away from its sockets each time, in nanoseconds.
    away: Histogram<u64>,
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
            away: Histogram::new_with_max(AWAY_MAX_NANOS, AWAY_DIGITS).expect("both are in range"),
        }
    }

    /// The thread has looked at its sockets again, from a moment on, and begins to be busy `now`.
    pub(crate) fn waited(&mut self, from: Duration, now: Duration) {
        let busy = from.saturating_sub(self.woken);
        self.longest = self.longest.max(busy);
        self.away.saturating_record(busy.as_nanos() as u64);
        if busy >= STALL {
            self.stalled += busy;
        }
        self.woken = now;
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
            receive_lag: exceeded_for(&self.away, 0.01 * all),
        };
        (cpu, health)
    }
}

/// The least lag so that what arrived in all but `seconds` waited no longer. In an absence of `n`
/// nanoseconds that is what arrived in all but the first `n` - lag.
fn exceeded_for(away: &Histogram<u64>, seconds: f64) -> Duration {
    let (mut count, mut sum) = (0.0, 0.0);
    let mut lag = 0.0;
    let recorded: Vec<_> = away.iter_recorded().collect();
    for value in recorded.iter().rev() {
        // Between this length and the one before, which was longer.
        let length = value.value_iterated_to() as f64;
        if count > 0.0 && lag >= length {
            break;
        }
        count += value.count_since_last_iteration() as f64;
        sum += length * value.count_since_last_iteration() as f64;
        lag = (sum - 1e9 * seconds) / count;
    }
    Duration::from_nanos(lag.max(0.0) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_arrives_in_an_absence_waits_for_its_end() {
        let mut away = Histogram::new_with_max(AWAY_MAX_NANOS, AWAY_DIGITS).unwrap();
        let expect = |away: &Histogram<u64>, seconds, millis: f64| {
            let lag = exceeded_for(away, seconds).as_secs_f64() * 1e3;
            assert!((lag - millis).abs() <= 0.02 * millis, "{lag} is not {millis}");
        };
        expect(&away, 0.01, 0.0);
        // In one second: what arrived in the first 10 of 100 ms waited for 90 ms or more.
        away.record(100_000_000).unwrap();
        expect(&away, 0.01, 90.0);
        // In five of 20 ms nothing waits so long.
        away.record_n(20_000_000, 5).unwrap();
        expect(&away, 0.01, 90.0);
        // What arrived in 90 ms of the first and 10 ms of each of the others.
        expect(&away, 0.14, 10.0);
        expect(&away, 0.3, 0.0);
    }

    #[test]
    fn only_long_absences_are_stalls() {
        let millis = Duration::from_millis;
        let mut watch = Watch::new(millis(100));
        for (from, until) in [(110, 110), (129, 200), (250, 300), (330, 330)] {
            watch.waited(millis(from), millis(until));
        }
        let (_, health) = watch.end(millis(500));
        assert!((health.stalled - 0.2).abs() < 1e-9, "{health:?}");
        assert_eq!(health.longest, millis(50));
    }
}
