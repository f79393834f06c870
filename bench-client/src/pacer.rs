//! The open loop's schedule: the n-th message is due at n / rate, whatever happened before.

use std::time::Duration;

/// A constant rate, computed from the number of the message and not from the one before, so that
/// nothing drifts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pacer {
    per_second: f64,
    next: u64,
}

impl Pacer {
    pub(crate) fn new(per_second: f64) -> Self {
        Self { per_second, next: 0 }
    }

    /// When the next message is due, from the start.
    pub(crate) fn due(&self) -> Duration {
        Duration::from_secs_f64(self.next as f64 / self.per_second)
    }

    /// The next message, if it is due at `now`: its number and its intended time.
    pub(crate) fn take(&mut self, now: Duration) -> Option<(u64, Duration)> {
        let due = self.due();
        (due <= now).then(|| {
            self.next += 1;
            (self.next - 1, due)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_is_that_of_arithmetic_after_a_million_messages() {
        let mut pacer = Pacer::new(3000.0);
        let mut sent = 0;
        for millisecond in 0..=333_334 {
            while let Some((number, due)) = pacer.take(Duration::from_millis(millisecond)) {
                assert_eq!(number, sent);
                let exact = number as f64 / 3000.0;
                assert!((due.as_secs_f64() - exact).abs() < 1e-8);
                sent += 1;
            }
        }
        assert_eq!(sent, 1_000_003);
    }

    #[test]
    fn what_is_late_keeps_its_intended_time() {
        let mut pacer = Pacer::new(10.0);
        let now = Duration::from_millis(250);
        let due: Vec<_> = std::iter::from_fn(|| pacer.take(now)).map(|(_, due)| due).collect();
        assert_eq!(due, [0, 100, 200].map(Duration::from_millis));
        assert_eq!(pacer.due(), Duration::from_millis(300));
    }
}
