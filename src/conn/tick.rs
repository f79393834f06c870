//! Coarse time for deadlines: milliseconds in 32 bits, compared so that wrapping does not matter.

use std::time::Duration;

/// A moment, in milliseconds since the driver was made, modulo 2^32. Two of them may be compared
/// if they are less than 24 days apart, to which every timeout is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tick(pub(crate) u32);

/// The longest timeout: 12 days. What should be later is looked at again then.
const FAR: u32 = 1 << 30;

/// A timeout in milliseconds, rounded up so that nothing happens early, and at most 12 days.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Millis(u32);

impl From<Duration> for Millis {
    fn from(timeout: Duration) -> Self {
        let millis = u64::from(timeout.subsec_nanos().div_ceil(1_000_000));
        let millis = timeout.as_secs().saturating_mul(1000).saturating_add(millis);
        Self(millis.min(u64::from(FAR)) as u32)
    }
}

impl Tick {
    /// The moment `time` after the driver's start, rounded down.
    pub(crate) fn at(time: Duration) -> Self {
        Self((time.as_secs() as u32).wrapping_mul(1000).wrapping_add(time.subsec_millis()))
    }

    /// `timeout` later, rounded up so that nothing happens early.
    pub(crate) fn after(self, timeout: Duration) -> Self {
        Self(self.0.wrapping_add(Millis::from(timeout).0))
    }

    /// `interval` later, or up to a quarter of it less: different numbers spread evenly over that.
    #[inline]
    pub(crate) fn after_up_to(self, interval: Millis, number: u32) -> Self {
        // Knuth's multiplicative hash.
        let hash = u64::from(number.wrapping_mul(0x9e37_79b9));
        let less = (hash * u64::from(interval.0)) >> 34;
        Self(self.0.wrapping_add(interval.0).wrapping_sub(less as u32))
    }

    /// How long it is since this moment, at most 24 days; zero before it.
    pub(crate) fn elapsed(self, now: Self) -> Duration {
        now.until(self)
    }

    /// As late as can be told.
    pub(crate) fn far(self) -> Self {
        Self(self.0.wrapping_add(FAR))
    }

    /// Whether this moment has come at `now`.
    pub(crate) fn has_come(self, now: Self) -> bool {
        now.0.wrapping_sub(self.0) as i32 >= 0
    }

    /// The earlier of the two.
    pub(crate) fn min(self, other: Self) -> Self {
        if self.has_come(other) { self } else { other }
    }

    /// How long from `now` until this moment; zero if it has come.
    pub(crate) fn until(self, now: Self) -> Duration {
        Duration::from_millis((self.0.wrapping_sub(now.0) as i32).max(0) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_hold_across_the_wrap_of_the_counter() {
        let now = Tick(u32::MAX - 10);
        let deadline = now.after(Duration::from_millis(100));
        assert!(!deadline.has_come(now));
        assert!(!deadline.has_come(Tick(50)));
        assert!(deadline.has_come(Tick(89)));
        assert_eq!(deadline.until(now), Duration::from_millis(100));
        assert_eq!(deadline.min(now), now);
    }

    #[test]
    fn times_that_begin_together_are_spread_over_a_quarter() {
        let interval = Duration::from_secs(30);
        let start = Tick(u32::MAX - 100);
        let mut quarters = [0; 5];
        for number in 0..1000 {
            let time = start.after_up_to(interval.into(), number).until(start);
            assert!(time <= interval && time > interval * 3 / 4, "{time:?}");
            quarters[((interval - time).as_millis() / 1500) as usize] += 1;
        }
        assert!(quarters.iter().all(|count| (180..=220).contains(count)), "{quarters:?}");
    }

    #[test]
    fn a_timeout_is_rounded_up_and_cut_to_what_can_be_told() {
        let now = Tick(0);
        assert_eq!(now.after(Duration::from_nanos(1)), Tick(1));
        assert_eq!(now.after(Duration::MAX), now.far());
    }
}
