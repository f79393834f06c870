//! What the server costs in each second of a run.

use std::{collections::BTreeMap, time::Duration};

use super::{
    cost::{Times, Usage},
    probe::Probe,
};

/// Less time than this is too short to say how busy a server was.
const LENGTH_MIN: Duration = Duration::from_millis(50);

/// The cost of a second, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct SecondCost {
    /// What part of a processor the server used.
    pub(crate) busy: Option<f64>,
    /// Its resident memory at the end.
    pub(crate) resident_bytes: Option<u64>,
}

/// Asks the server at the end of each second.
#[derive(Debug)]
pub(crate) struct Course {
    server: Probe,
    asked: Duration,
    /// What it had used when it was asked last.
    times: Option<Times>,
    seconds: BTreeMap<u64, SecondCost>,
}

impl Course {
    /// Of a run in which it is `now`.
    pub(crate) fn new(server: Probe, now: Duration) -> Self {
        Self { asked: now, times: server.times(), server, seconds: BTreeMap::new() }
    }

    pub(crate) fn server(&self) -> &Probe {
        &self.server
    }

    /// Asks the server, if a second has ended since it was asked.
    pub(crate) fn tick(&mut self, now: Duration) {
        if now.as_secs() > self.asked.as_secs() {
            self.note(now.as_secs() - 1, now, self.server.usage());
        }
    }

    /// Asks the server at the end of the run, in the middle of a second.
    pub(crate) fn finish(&mut self, now: Duration) {
        self.tick(now);
        if now.saturating_sub(self.asked) >= LENGTH_MIN {
            self.note(now.as_secs(), now, self.server.usage());
        }
    }

    /// Gives away the cost of a second.
    pub(crate) fn take(&mut self, second: u64) -> SecondCost {
        self.seconds.remove(&second).unwrap_or_default()
    }

    /// What the server has used until `now` is that of a second, from when it was asked last.
    fn note(&mut self, second: u64, now: Duration, usage: Option<Usage>) {
        let time = now.saturating_sub(self.asked).as_secs_f64();
        let resident_bytes = usage.as_ref().and_then(|usage| usage.resident_bytes);
        let times = usage.map(|usage| usage.times);
        let both = times.as_ref().zip(self.times.as_ref());
        let busy = both.map(|(now, then)| now.since(then).total().as_secs_f64() / time);
        self.seconds.insert(second, SecondCost { busy, resident_bytes });
        (self.asked, self.times) = (now, times);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::{
        super::{cost::CpuTime, ksoftirqd::Uncounted},
        *,
    };

    #[test]
    fn each_second_has_its_own_cost() {
        let millis = Duration::from_millis;
        let usage = |cpu| {
            let cpu = CpuTime { total: millis(cpu), system: None };
            let ksoftirqd = Err(Uncounted::Metrics);
            let times = Times { cpu, threads: HashMap::new(), ksoftirqd };
            Some(Usage { times, resident_bytes: Some(7) })
        };
        let mut course = Course::new(Probe::nobody(), Duration::ZERO);
        course.times = usage(100).map(|usage| usage.times);
        course.note(0, millis(1000), usage(600));
        course.note(1, millis(2250), usage(1850));
        course.note(2, millis(2500), None);
        let cost = |busy| SecondCost { busy: Some(busy), resident_bytes: Some(7) };
        assert_eq!([course.take(0), course.take(1)], [cost(0.5), cost(1.0)]);
        assert_eq!([course.take(2), course.take(3)], [SecondCost::default(); 2]);
    }

    #[test]
    fn the_server_is_asked_once_a_second() {
        let seconds = Duration::from_secs_f64;
        let mut course = Course::new(Probe::nobody(), Duration::ZERO);
        for (now, asked) in [(0.9, 0.0), (1.01, 1.01), (1.99, 1.01), (2.0, 2.0), (5.5, 5.5)] {
            course.tick(seconds(now));
            assert_eq!(course.asked, seconds(asked));
        }
        course.finish(seconds(5.52));
        assert_eq!(course.asked, seconds(5.5));
        course.finish(seconds(5.6));
        assert_eq!(course.seconds.keys().copied().collect::<Vec<_>>(), [0, 1, 4, 5]);
    }
}
