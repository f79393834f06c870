//! Progress: bytes that arrived, or bytes that the peer has taken. A deadline is missed only by a
//! peer that moves less than a minimum rate, measured over a time that evens out how TCP moves it.

use std::time::Duration;

use super::Tick;
use crate::{Config, io::OutputProgress};

/// What the kernel may still have to send of a connection that is otherwise idle: a ping. A peer
/// that has not taken that is not slow; it is silent.
const PING_BYTES: usize = 16;

/// What is measured of a connection, if anything is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Measured {
    #[default]
    Nothing,
    /// What arrives, while a message is incomplete.
    Received,
    /// What the peer takes, while output is outstanding at a deadline.
    Taken,
}

/// A count since a moment, in bytes modulo 2^32.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meter {
    pub(super) since: Tick,
    /// How many have been received since then; or how many the peer had taken then.
    pub(super) bytes: u32,
}

/// Output that its peer has not taken, as it is judged at a deadline.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Output {
    /// What waits in user space, in bytes.
    pub(crate) queued_bytes: usize,
    /// What the kernel reports, if it does.
    pub(crate) kernel: Option<OutputProgress>,
}

impl Output {
    fn is_outstanding(&self) -> bool {
        let in_kernel = self.kernel.map_or(0, |kernel| kernel.outstanding_bytes);
        self.queued_bytes > 0 || in_kernel > PING_BYTES
    }
}

/// The least that a peer must move: [`Config::min_rate`] over [`Config::min_rate_time`].
#[derive(Clone, Copy, Debug)]
pub(super) struct MinRate {
    bytes_per_second: u32,
    time: Duration,
}

impl MinRate {
    pub(super) fn of(config: &Config) -> Option<Self> {
        let (bytes_per_second, time) = (config.min_rate, config.min_rate_time);
        (bytes_per_second > 0).then_some(Self { bytes_per_second, time })
    }

    fn is_kept(self, bytes: u32, elapsed: Duration) -> bool {
        let least = f64::from(self.bytes_per_second) * elapsed.as_secs_f64();
        f64::from(bytes) >= least.max(1.0)
    }
}

impl Meter {
    /// When what is received is judged.
    pub(super) fn received_deadline(self, rate: MinRate) -> Tick {
        self.since.after(rate.time)
    }

    /// Whether enough has been received; then it is measured anew.
    pub(super) fn receives_enough(&mut self, rate: MinRate, now: Tick) -> bool {
        let is_enough = rate.is_kept(self.bytes, self.since.elapsed(now));
        *self = Self { since: now, bytes: 0 };
        is_enough
    }

    /// Whether a peer whose deadline has come is taking its output. Without an earlier measurement
    /// to compare with, and until the time of the rate is over, it is thought to be as long as some
    /// is outstanding. When its kernel has everything, it must have read some since the last look:
    /// then it has not come to our ping or Close yet.
    pub(super) fn takes(
        &mut self,
        measured: &mut Measured,
        output: &Output,
        rate: Option<MinRate>,
        now: Tick,
    ) -> bool {
        let Some(kernel) = output.kernel else { return false };
        let was_measured = *measured == Measured::Taken;
        let moved = (kernel.taken_bytes as u32).wrapping_sub(self.bytes);
        let elapsed = self.since.elapsed(now);
        let (is_enough, may_wait) = match rate {
            _ if !output.is_outstanding() => (was_measured && moved > 0, false),
            None => (true, true),
            Some(rate) => (!was_measured || rate.is_kept(moved, elapsed), elapsed < rate.time),
        };
        if is_enough {
            self.measure_taken(measured, output, now);
        }
        is_enough || may_wait
    }

    /// Begins to measure what the peer takes.
    pub(super) fn measure_taken(&mut self, measured: &mut Measured, output: &Output, now: Tick) {
        if let Some(kernel) = output.kernel {
            *measured = Measured::Taken;
            *self = Self { since: now, bytes: kernel.taken_bytes as u32 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: MinRate = MinRate { bytes_per_second: 1024, time: Duration::from_secs(30) };

    fn output(taken_bytes: u64, outstanding_bytes: usize) -> Output {
        let kernel = OutputProgress { taken_bytes, outstanding_bytes };
        Output { queued_bytes: 0, kernel: Some(kernel) }
    }

    fn at(seconds: u64) -> Tick {
        Tick::at(Duration::from_secs(seconds))
    }

    fn meter() -> (Meter, Measured) {
        (Meter { since: at(0), bytes: 0 }, Measured::Nothing)
    }

    #[test]
    fn a_peer_that_takes_its_output_at_the_minimum_rate_goes_on_for_ever() {
        let (mut meter, mut measured) = meter();
        // TCP opens its window in steps: nothing for 25 seconds, then what the rate asks for.
        let mut taken = 0;
        for second in (5..1000).step_by(5) {
            taken = if second % 25 == 0 { second * 1024 } else { taken };
            let output = output(taken, 1 << 20);
            assert!(meter.takes(&mut measured, &output, Some(RATE), at(second)), "{second}");
        }
    }

    #[test]
    fn a_peer_that_takes_less_does_not_outlast_the_time_of_the_rate() {
        let (mut meter, mut measured) = meter();
        let mut takes = |second, taken| {
            meter.takes(&mut measured, &output(taken, 1 << 20), Some(RATE), at(second))
        };
        assert!(takes(10, 5), "there is nothing to compare with");
        assert!(takes(39, 5));
        assert!(!takes(40, 5 + 30 * 1024 - 1));
    }

    #[test]
    fn a_peer_whose_kernel_has_everything_must_go_on_reading() {
        let (mut meter, mut measured) = meter();
        let mut takes = |second, taken, outstanding| {
            meter.takes(&mut measured, &output(taken, outstanding), Some(RATE), at(second))
        };
        assert!(!takes(10, 9, 0), "there is nothing to compare with");
        assert!(!takes(10, 9, PING_BYTES));
        assert!(takes(10, 9, 5000));
        assert!(takes(15, 10, 0), "it reads");
        assert!(!takes(20, 10, 0));
    }

    #[test]
    fn without_a_rate_a_peer_may_be_as_slow_as_it_likes() {
        let (mut meter, mut measured) = meter();
        for second in [10, 100, 1000] {
            assert!(meter.takes(&mut measured, &output(0, 5000), None, at(second)));
        }
        assert!(!meter.takes(&mut measured, &Output::default(), None, at(2000)));
    }

    #[test]
    fn the_count_of_bytes_may_wrap() {
        let (mut meter, mut measured) = meter();
        let near_end = u64::from(u32::MAX) - 10;
        assert!(meter.takes(&mut measured, &output(near_end, 5000), Some(RATE), at(10)));
        let later = near_end + 31 * 1024;
        assert!(meter.takes(&mut measured, &output(later, 5000), Some(RATE), at(40)));
        assert_eq!(meter.since, at(40));
    }
}
