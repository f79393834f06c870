//! The run as a series of seconds: what the workers tell of each is put together, and shown when
//! the second is complete.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    measure::{
        course::Course,
        probe::Probe,
        results::{Moment, Phase, Summary},
        stats::Interval,
    },
    plan::{Schedule, Trial},
};

/// How many seconds behind a worker may be. What it tells after that counts for a later second.
const LATE_SECONDS: u64 = 1;

/// Who is shown each second of a run when it is complete.
pub(crate) trait Sink {
    /// A second, with all its times, for each group.
    fn moment(&mut self, moment: &Moment, groups: &[Interval]);

    /// Whether the run may as well end.
    fn has_seen_enough(&self) -> bool {
        false
    }
}

/// The seconds of a run.
#[derive(Debug)]
pub(crate) struct Series {
    groups: usize,
    /// The seconds that are not complete.
    recent: BTreeMap<u64, Vec<Interval>>,
    /// All before this one are complete.
    complete: u64,
    moments: Vec<Moment>,
    open: u64,
    trial: Option<Trial>,
    /// The open loops of trials, as far as they are in seconds that are not complete.
    schedules: Vec<Schedule>,
    /// When the first trial began: from then on nobody is connecting.
    loaded_from: Option<Duration>,
    course: Course,
}

impl Series {
    /// The seconds of a run with so many groups, in which it is `now`.
    pub(crate) fn new(groups: usize, server: Probe, now: Duration) -> Self {
        Self {
            groups,
            recent: BTreeMap::new(),
            complete: 0,
            moments: Vec::new(),
            open: 0,
            trial: None,
            schedules: Vec::new(),
            loaded_from: None,
            course: Course::new(server, now),
        }
    }

    /// What tells the server's cost.
    pub(crate) fn server(&self) -> &Probe {
        self.course.server()
    }

    /// A trial begins, with these open loops.
    pub(crate) fn begin(&mut self, trial: Trial, open_loops: impl Iterator<Item = Schedule>) {
        self.schedules.extend(open_loops);
        self.loaded_from.get_or_insert(trial.start);
        self.trial = Some(trial);
    }

    /// Takes what a worker tells of a second.
    pub(crate) fn add(&mut self, second: u64, groups: &[Interval]) {
        let second = second.max(self.complete);
        let all =
            self.recent.entry(second).or_insert_with(|| vec![Interval::default(); self.groups]);
        all.iter_mut().zip(groups).for_each(|(interval, more)| interval.merge(more));
    }

    /// Shows the seconds that are complete `now`, to the whole second.
    pub(crate) fn show(&mut self, now: Duration, sink: &mut impl Sink) {
        self.course.tick(now);
        while self.complete + LATE_SECONDS < now.as_secs() {
            self.show_next(Duration::from_secs(1), sink);
        }
    }

    /// Shows what is left, and gives away all seconds.
    pub(crate) fn finish(mut self, now: Duration, sink: &mut impl Sink) -> Vec<Moment> {
        self.course.finish(now);
        while self.complete <= now.as_secs() {
            let length = now.saturating_sub(Duration::from_secs(self.complete));
            self.show_next(length.min(Duration::from_secs(1)), sink);
        }
        self.moments
    }

    fn show_next(&mut self, length: Duration, sink: &mut impl Sink) {
        let at = Duration::from_secs(self.complete);
        let cost = self.course.take(self.complete);
        let groups = self.recent.remove(&self.complete);
        self.complete += 1;
        let groups = groups.unwrap_or_else(|| vec![Interval::default(); self.groups]);
        let mut total = Interval::default();
        groups.iter().for_each(|interval| total.merge(interval));
        self.open = (self.open + total.opened).saturating_sub(total.closed);
        let moment = Moment {
            at,
            length,
            phase: self.phase(at + length / 2),
            open: self.open,
            due: self.due(at, at + length),
            sent: total.sent,
            echoes: total.echoes,
            opened: total.opened,
            failures: total.failures.total(),
            response: Summary::of(&total.response),
            service: Summary::of(&total.service),
            server_busy: cost.busy,
            server_bytes: cost.resident_bytes,
        };
        sink.moment(&moment, &groups);
        self.moments.push(moment);
    }

    /// The messages that were due between two moments; what was due before is forgotten.
    fn due(&mut self, from: Duration, until: Duration) -> Option<f64> {
        self.schedules.retain(|schedule| schedule.end > from);
        let due = self.schedules.iter().map(|schedule| schedule.due(from, until));
        (!self.schedules.is_empty()).then(|| due.sum())
    }

    fn phase(&self, moment: Duration) -> Phase {
        match self.trial {
            None => Phase::Connecting,
            Some(_) if self.loaded_from.is_none_or(|from| moment < from) => Phase::Connecting,
            Some(trial) if moment < trial.measure_from => Phase::WarmUp,
            Some(trial) if moment < trial.measure_until => Phase::Measuring,
            Some(_) => Phase::Draining,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pacer::Shape;

    struct Seen(Vec<(u64, u64)>);

    impl Sink for Seen {
        fn moment(&mut self, moment: &Moment, _: &[Interval]) {
            self.0.push((moment.at.as_secs(), moment.echoes));
        }
    }

    fn interval(echoes: u64) -> [Interval; 1] {
        [Interval { echoes, ..Interval::default() }]
    }

    #[test]
    fn a_second_knows_what_was_due_in_it() {
        let mut series = Series::new(1, Probe::nobody(), Duration::ZERO);
        let seconds = Duration::from_secs_f64;
        for start in [1.0, 2.5] {
            let (start, measure_until) = (seconds(start), seconds(start + 1.5));
            let trial = Trial { start, measure_from: start, measure_until, rate: None, only: None };
            let shape = Shape::constant(100.0);
            series.begin(trial, [Schedule { start, end: measure_until, shape }].into_iter());
        }
        let mut seen = Seen(Vec::new());
        let moments = series.finish(seconds(5.0), &mut seen);
        let due: Vec<_> = moments.iter().map(|moment| moment.due).collect();
        assert_eq!(due[..5], [Some(0.0), Some(100.0), Some(100.0), Some(100.0), None]);
    }

    #[test]
    fn a_second_is_shown_when_all_have_told_of_it() {
        let (mut series, mut seen) =
            (Series::new(1, Probe::nobody(), Duration::ZERO), Seen(Vec::new()));
        series.add(0, &interval(1));
        series.add(1, &interval(10));
        series.show(Duration::from_millis(1900), &mut seen);
        assert_eq!(seen.0, []);
        series.add(0, &interval(2));
        series.show(Duration::from_millis(2000), &mut seen);
        // Too late for its second.
        series.add(0, &interval(20));
        let moments = series.finish(Duration::from_millis(2100), &mut seen);
        assert_eq!(seen.0, [(0, 3), (1, 30), (2, 0)]);
        assert_eq!(moments[2].length, Duration::from_millis(100));
    }
}
