//! What a run is good enough for: the options for it, and the look at a run that ends it early.

use std::time::Duration;

use clap::Args;

use crate::{
    measure::{
        results::{Moment, Phase},
        stats::{Interval, Stats},
        threshold::{Measured, Threshold},
    },
    units,
};

/// What is decided about a run.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Decisions")]
pub(crate) struct DecisionArguments {
    /// What the run has to keep, such as p99<2ms, errors==0, rate>=10k or cpu<10us; repeatable.
    /// Times: pN, mean, min and max of the response, or of service. lag. opening. dns. connect. tls.
    /// upgrade. first_message. ping. as in service.p99<1ms. Counts: rate (echoes per second), sent,
    /// echoes, connections, errors, lost (without an echo), repeated, reordered, corrupt,
    /// wrong_opcode, missed. Costs: cpu and client_cpu (for each echo), memory (for each
    /// connection). GROUP: before it is about one group. What cannot be told is not kept: a
    /// percentile with fewer than ten times above it, or of which only a lower bound is known
    #[arg(long = "threshold", value_name = "EXPR", value_parser = Threshold::parse)]
    pub(crate) thresholds: Vec<Threshold>,

    /// End the run as soon as a threshold is broken by all that was measured so far, and TIME of the
    /// measurement has passed
    #[arg(
        long,
        value_name = "TIME",
        value_parser = units::read_time,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "1s",
        requires = "thresholds"
    )]
    pub(crate) abort_on_threshold: Option<Duration>,
}

/// Looks at each second of a run, until a threshold is broken.
#[derive(Debug)]
pub(crate) struct Watch {
    thresholds: Vec<Threshold>,
    /// When to look at first; `None` is never.
    after: Option<Duration>,
    names: Vec<String>,
    groups: Vec<Stats>,
    time: Duration,
    is_broken: bool,
}

impl Watch {
    /// Looks at a run with groups of these names.
    pub(crate) fn new(arguments: &DecisionArguments, names: Vec<String>) -> Self {
        Self {
            thresholds: arguments.thresholds.clone(),
            after: arguments.abort_on_threshold,
            groups: vec![Stats::default(); names.len()],
            names,
            time: Duration::ZERO,
            is_broken: false,
        }
    }

    /// Takes a second into account. What goes wrong counts always, the rest in the measurement.
    pub(crate) fn add(&mut self, moment: &Moment, groups: &[Interval]) {
        let Some(after) = self.after else { return };
        let measures = moment.phase == Phase::Measuring;
        for (stats, interval) in self.groups.iter_mut().zip(groups) {
            stats.failures.merge(&interval.failures);
            stats.opened += interval.opened;
            if measures {
                stats.response.add(&interval.response);
                stats.service.add(&interval.service);
                stats.sent += interval.sent;
                stats.echoes += interval.echoes;
            }
        }
        if !measures {
            return;
        }
        self.time += moment.length;
        let mut total = Stats::default();
        self.groups.iter().for_each(|stats| total.merge(stats));
        let measured = Measured {
            names: &self.names,
            groups: &self.groups,
            total: &total,
            time: self.time,
            server: None,
            client_cpu: None,
        };
        self.is_broken |= self.time >= after
            && self.thresholds.iter().any(|threshold| threshold.is_broken_early(&measured));
    }

    /// Whether the run may as well end.
    pub(crate) fn is_broken(&self) -> bool {
        self.is_broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_threshold_ends_the_run_after_its_time() {
        let arguments = DecisionArguments {
            thresholds: vec![Threshold::parse("rate>=100").unwrap()],
            abort_on_threshold: Some(Duration::from_secs(2)),
        };
        let mut watch = Watch::new(&arguments, vec![String::new()]);
        let mut second = |phase, echoes| {
            let moment = Moment { length: Duration::from_secs(1), ..Moment::new(phase) };
            watch.add(&moment, &[Interval { echoes, ..Interval::default() }]);
            watch.is_broken()
        };
        assert!(!second(Phase::WarmUp, 1));
        assert!(!second(Phase::Measuring, 99));
        assert!(!second(Phase::Measuring, 101));
        assert!(second(Phase::Measuring, 99));
    }
}
