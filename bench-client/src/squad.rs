//! A group's share of the connections of one thread: which they are, which of them wait to be
//! opened, and what is due.

use std::{collections::VecDeque, num::NonZeroUsize, ops::Range, time::Duration};

use rand::rngs::StdRng;

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
    /// The places of the connections that are to be opened as soon as possible.
    waiting: VecDeque<u32>,
    /// When they may be: a schedule that began at a time.
    opener: Option<(Duration, Pacer)>,
    /// The places of the connections whose first messages of a closed loop are to be sent.
    pub(crate) unreleased: Range<usize>,
    /// The places that no session has, and when sessions come.
    pub(crate) free: Vec<u32>,
    pub(crate) sessions: Option<Pacer>,
    /// Messages of an open loop.
    pub(crate) pacer: Option<Pacer>,
    pub(crate) pings: Option<Pacer>,
    /// How many of the connections are publishers: they come first.
    publishers: usize,
    /// What part of the group this is, and which part of a gap its messages are late.
    share: f64,
    phase: f64,
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
        let load = &plan.arguments.load;
        let connections = load.connections.get();
        let numbers = share(connections, workers, all);
        let slots = start..start + numbers.len();
        let places = slots.clone().map(|slot| slot as u32);
        let (waiting, free) = match load.sessions {
            None => (places.collect(), Vec::new()),
            Some(_) => (VecDeque::new(), places.rev().collect()),
        };
        let sends = load.publishers.map_or(connections, NonZeroUsize::get);
        let publishers = numbers.start..numbers.end.min(sends);
        Self {
            group,
            slots,
            unreleased: 0..0,
            first: plan.first + numbers.start,
            waiting,
            opener: None,
            free,
            sessions: None,
            pacer: None,
            publishers: publishers.len(),
            share: publishers.len() as f64 / sends as f64,
            phase: workers.start as f64 / all as f64,
            pings: None,
        }
    }

    /// Opening begins.
    pub(crate) fn begin_opening(&mut self, plan: &GroupPlan, now: Duration) {
        let rate = plan.arguments.load.connect_rate;
        let share = self.slots.len() as f64 / plan.arguments.load.connections.get() as f64;
        self.opener =
            rate.map(|rate| (now, Pacer::shaped(Shape::constant(rate), share, self.phase, None)));
    }

    /// A trial begins, in which the group takes part or not.
    pub(crate) fn begin(&mut self, plan: &GroupPlan, trial: Option<&Trial>) {
        let every = plan.arguments.protocol.ping_every;
        let every = every.filter(|_| trial.is_some() && !self.slots.is_empty());
        self.pings = every.map(|every| {
            let rate = Shape::constant(self.slots.len() as f64 / every.as_secs_f64());
            Pacer::shaped(rate, 1.0, self.phase, None)
        });
        self.unreleased = self.slots.clone();
        let load = &plan.arguments.load;
        let gaps = || load.poisson.then(rand::make_rng::<StdRng>);
        let sessions = load.sessions.filter(|_| trial.is_some());
        self.sessions = sessions.map(|rate| self.pace(Shape::constant(rate), gaps()));
        let shape = trial.and_then(|trial| plan.shape(trial));
        let shape = shape.filter(|_| self.publishers > 0);
        self.pacer = shape.map(|shape| self.pace(shape, gaps()));
    }

    fn pace(&self, shape: Shape, gaps: Option<StdRng>) -> Pacer {
        Pacer::shaped(shape, self.share, self.phase, gaps)
    }

    /// How many of the connections send: the first ones.
    pub(crate) fn publishers(&self) -> usize {
        self.publishers
    }

    /// A connection is to be opened as soon as possible.
    pub(crate) fn wait(&mut self, slot: usize) {
        self.waiting.push_back(slot as u32);
    }

    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The next connection that may be opened now.
    pub(crate) fn take_waiting(&mut self, now: Duration) -> Option<usize> {
        if self.waiting.is_empty() {
            return None;
        }
        if let Some((start, opener)) = &mut self.opener {
            opener.take(now.saturating_sub(*start))?;
        }
        self.waiting.pop_front().map(|slot| slot as usize)
    }

    /// When a connection that waits may be opened.
    pub(crate) fn opening_due(&self) -> Duration {
        match &self.opener {
            _ if self.waiting.is_empty() => Duration::MAX,
            None => Duration::ZERO,
            Some((start, opener)) => start.saturating_add(opener.due()),
        }
    }

    /// When the next message, ping or session is due, after the trial's start.
    pub(crate) fn due(&self) -> Duration {
        let pacers = self.pacer.iter().chain(&self.pings).chain(&self.sessions);
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
