//! A group's share of the connections of one thread: which they are, and what is due on them.

use std::{ops::Range, time::Duration};

use crate::{
    pacer::{Pacer, Shape},
    plan::{GroupPlan, Trial},
};

/// The connections of a group that a thread has.
#[derive(Debug)]
pub(crate) struct Squad {
    /// The group's place in the plan.
    pub(crate) group: usize,
    /// The places of the connections among those of the thread.
    pub(crate) slots: Range<usize>,
    /// The number of the first one among those of all groups and threads.
    pub(crate) first: usize,
    /// What part of the group this is, and which part of a gap its messages are late.
    share: f64,
    phase: f64,
    /// Messages of an open loop.
    pub(crate) pacer: Option<Pacer>,
    pub(crate) pings: Option<Pacer>,
}

impl Squad {
    /// The share of the `workers`, of `all`, in a group, behind `start` other connections.
    pub(crate) fn new(
        group: usize,
        plan: &GroupPlan,
        workers: &Range<usize>,
        all: usize,
        start: usize,
    ) -> Self {
        let connections = plan.arguments.load.connections.get();
        let numbers = share(connections, workers, all);
        Self {
            group,
            slots: start..start + numbers.len(),
            first: plan.first + numbers.start,
            share: numbers.len() as f64 / connections as f64,
            phase: workers.start as f64 / all as f64,
            pacer: None,
            pings: None,
        }
    }

    /// A trial begins.
    pub(crate) fn begin(&mut self, plan: &GroupPlan, trial: &Trial) {
        let every = plan.arguments.protocol.ping_every.filter(|_| !self.slots.is_empty());
        self.pings = every.map(|every| {
            let rate = Shape::constant(self.slots.len() as f64 / every.as_secs_f64());
            Pacer::shaped(rate, 1.0, self.phase, None)
        });
        let shape = plan.shape(trial).filter(|_| !self.slots.is_empty());
        self.pacer = shape.map(|shape| Pacer::shaped(shape, self.share, self.phase, None));
    }

    /// When the next message or ping is due, after the trial's start.
    pub(crate) fn due(&self) -> Duration {
        let pacers = self.pacer.iter().chain(&self.pings);
        pacers.map(Pacer::due).min().unwrap_or(Duration::MAX)
    }
}

/// The connections of some workers of `all`.
fn share(connections: usize, workers: &Range<usize>, all: usize) -> Range<usize> {
    let bound = |worker| connections * worker / all;
    bound(workers.start)..bound(workers.end)
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn every_connection_has_one_thread() {
        for (connections, threads) in [(1, 1), (10, 3), (2, 5), (10_000, 7)] {
            let all: Vec<_> = (0..threads)
                .flat_map(|number| share(connections, &(number..number + 1), threads))
                .collect();
            assert_eq!(all, (0..connections).collect::<Vec<_>>());
        }
    }
}
