//! The open loop's schedule: when each message is due, whatever happened before.
//!
//! The n-th message is due when the rate, added up over time, has come to n. That is computed from
//! the number of the message and not from the one before, so that nothing drifts. Poisson arrivals
//! take the sum of exponential gaps for n (time change of an inhomogeneous Poisson process).

use std::time::Duration;

use rand::{RngExt, rngs::StdRng};

/// A rate that changes with time: linearly within a stage, and constant after the last one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shape {
    stages: Vec<Stage>,
    /// After the last stage.
    rate: f64,
}

/// A part of a shape. Times are in seconds, rates in messages per second.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Stage {
    length: f64,
    from: f64,
    to: f64,
}

impl Stage {
    /// The messages that are due in the first `time` seconds.
    fn due(&self, time: f64) -> f64 {
        let slope = (self.to - self.from) / self.length;
        self.from * time + slope * time * time / 2.0
    }

    /// When so many messages are due.
    fn time_of(&self, messages: f64) -> f64 {
        let slope = (self.to - self.from) / self.length;
        // The root of due(time) = messages, in a form without cancellation.
        let root = (self.from * self.from + 2.0 * slope * messages).max(0.0).sqrt();
        2.0 * messages / (self.from + root).max(f64::MIN_POSITIVE)
    }
}

impl Shape {
    /// The same rate for ever.
    pub(crate) fn constant(rate: f64) -> Self {
        Self { stages: Vec::new(), rate }
    }

    /// Goes on with a stage that ends at `rate`, and stays there.
    pub(crate) fn then(mut self, length: Duration, rate: f64) -> Self {
        if !length.is_zero() {
            self.stages.push(Stage { length: length.as_secs_f64(), from: self.rate, to: rate });
        }
        self.rate = rate;
        self
    }

    /// The messages that are due until `time` has passed.
    pub(crate) fn due(&self, time: Duration) -> f64 {
        let mut left = time.as_secs_f64();
        let mut due = 0.0;
        for stage in &self.stages {
            due += stage.due(left.min(stage.length));
            left = (left - stage.length).max(0.0);
        }
        due + self.rate * left
    }

    /// When so many messages are due: never, if the shape ends with a rate of zero before that.
    fn time_of(&self, messages: f64) -> Duration {
        let (mut left, mut passed) = (messages, 0.0);
        for stage in &self.stages {
            let due = stage.due(stage.length);
            if left <= due && due > 0.0 {
                return seconds(passed + stage.time_of(left));
            }
            left -= due;
            passed += stage.length;
        }
        seconds(passed + left / self.rate)
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

/// Messages or connections that are due at times given by a shape.
#[derive(Debug)]
pub(crate) struct Pacer {
    shape: Shape,
    /// The part of the shape that this pacer sends.
    share: f64,
    /// Exponential gaps, if they are not all the same.
    gaps: Option<StdRng>,
    /// How far the shape has got when the next one is due.
    position: f64,
    due: Duration,
    number: u64,
}

impl Pacer {
    pub(crate) fn new(per_second: f64) -> Self {
        Self::shaped(Shape::constant(per_second), 1.0, 0.0, None)
    }

    /// Sends a `share` of what the shape says, of which each is `phase` of a gap late, so that
    /// several pacers send one after the other. With `gaps` the gaps are random.
    pub(crate) fn shaped(shape: Shape, share: f64, phase: f64, gaps: Option<StdRng>) -> Self {
        let mut pacer =
            Self { shape, share, gaps, position: phase, due: Duration::ZERO, number: 0 };
        if pacer.gaps.is_some() {
            pacer.position = pacer.gap();
        }
        pacer.find_due();
        pacer
    }

    /// When the next message is due, from the start.
    pub(crate) fn due(&self) -> Duration {
        self.due
    }

    /// The next message, if it is due at `now`: its number and its intended time.
    pub(crate) fn take(&mut self, now: Duration) -> Option<(u64, Duration)> {
        (self.due <= now).then(|| {
            let taken = (self.number, self.due);
            self.number += 1;
            self.position += self.gap();
            self.find_due();
            taken
        })
    }

    /// How many more are due until a time, of random ones on average.
    pub(crate) fn due_until(&self, time: Duration) -> u64 {
        let due = self.share * self.shape.due(time) - self.position;
        if self.due < time { due.max(0.0).ceil() as u64 } else { 0 }
    }

    fn gap(&mut self) -> f64 {
        match &mut self.gaps {
            None => 1.0,
            // The inverse of the exponential distribution, at a number in (0, 1].
            Some(rng) => -(1.0 - rng.random::<f64>()).ln(),
        }
    }

    fn find_due(&mut self) {
        self.due = self.shape.time_of(self.position / self.share);
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn all_until(pacer: &mut Pacer, now: Duration) -> Vec<Duration> {
        std::iter::from_fn(|| pacer.take(now)).map(|(_, due)| due).collect()
    }

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
        let due = all_until(&mut pacer, Duration::from_millis(250));
        assert_eq!(due, [0, 100, 200].map(Duration::from_millis));
        assert_eq!(pacer.due(), Duration::from_millis(300));
        assert_eq!(pacer.due_until(Duration::from_millis(600)), 3);
        assert_eq!(pacer.due_until(Duration::from_millis(300)), 0);
    }

    #[test]
    fn a_ramp_sends_what_the_area_below_it_says() {
        let second = Duration::from_secs(1);
        let shape = Shape::constant(0.0).then(second * 10, 100.0).then(second * 10, 100.0);
        assert!((shape.due(second * 10) - 500.0).abs() < 1e-9);
        assert!((shape.due(second * 30) - 2500.0).abs() < 1e-9);
        let mut pacer = Pacer::shaped(shape, 1.0, 0.0, None);
        let due = all_until(&mut pacer, second * 20);
        assert_eq!(due.len(), 1501);
        for (number, due) in due.into_iter().enumerate() {
            let number = number as f64;
            let exact = if number <= 500.0 { (number / 5.0).sqrt() } else { number / 100.0 + 5.0 };
            assert!((due.as_secs_f64() - exact).abs() < 1e-6, "{number}");
        }
    }

    #[test]
    fn a_shape_that_ends_with_zero_ends() {
        let shape = Shape::constant(100.0).then(Duration::from_secs(2), 0.0);
        let mut pacer = Pacer::shaped(shape, 1.0, 0.5, None);
        assert_eq!(all_until(&mut pacer, Duration::from_secs(3600)).len(), 100);
        assert_eq!(pacer.due(), Duration::MAX);
    }

    #[test]
    fn shares_send_one_after_the_other() {
        let pacers = (0..4).map(|number| {
            Pacer::shaped(Shape::constant(100.0), 0.25, f64::from(number) / 4.0, None)
        });
        let mut due: Vec<_> =
            pacers.flat_map(|mut pacer| all_until(&mut pacer, Duration::from_secs(1))).collect();
        due.sort();
        assert!(due.is_sorted_by(|one, next| next.abs_diff(*one) >= Duration::from_millis(9)));
        assert_eq!(due.len(), 101);
    }

    /// Brady and Gunther (arXiv 1607.05356): whether arrivals really are those of Poisson is to be
    /// tested. The gaps' mean and deviation are equal, and their distribution is exponential by the
    /// test of Kolmogorov and Smirnov, here at its limit for one error in a thousand.
    #[test]
    fn poisson_arrivals_have_exponential_gaps() {
        let rng = StdRng::seed_from_u64(7);
        let mut pacer = Pacer::shaped(Shape::constant(1000.0), 1.0, 0.0, Some(rng));
        let due = all_until(&mut pacer, Duration::from_secs(100));
        assert!((99_000..101_000).contains(&due.len()), "{}", due.len());
        let mut gaps: Vec<_> =
            due.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64() * 1000.0).collect();
        gaps.sort_by(f64::total_cmp);
        let count = gaps.len() as f64;
        let distance = gaps.iter().enumerate().map(|(place, gap)| {
            let expected = 1.0 - (-gap).exp();
            (expected - place as f64 / count).abs()
        });
        let distance = distance.fold(0.0, f64::max);
        assert!(distance < 1.95 / count.sqrt(), "{distance}");
    }
}
