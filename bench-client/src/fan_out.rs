//! Fan-out: each message of a publisher is awaited by all other connections of its group. Threads
//! tell who sent and who received what; here it is put together.

use std::{collections::HashMap, mem, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    measure::{
        failure::Failure,
        stats::{FanOutStats, Interval, Stats},
        times::nanos,
    },
    plan::Plan,
};

/// A message: the number of its publisher, and its place among the messages of that.
type Name = (u32, u32);

/// How many messages may be on their way. The oldest ones are given up then.
const OPEN_MAX: usize = 100_000;

/// What a thread has seen since it told the last time.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Seen {
    published: Vec<Published>,
    received: Vec<(Name, Vec<u64>)>,
}

/// A message that was sent.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Published {
    name: Name,
    #[serde(with = "nanos")]
    intended: Duration,
    /// Whether it counts.
    counts: bool,
}

/// What a thread sees.
#[derive(Debug, Default)]
pub(crate) struct Watcher {
    published: Vec<Published>,
    received: HashMap<Name, Vec<u64>>,
    /// When it received something last.
    pub(crate) last: Duration,
}

impl Watcher {
    pub(crate) fn publish(&mut self, owner: u32, sequence: u64, intended: Duration, counts: bool) {
        self.published.push(Published { name: (owner, sequence as u32), intended, counts });
    }

    pub(crate) fn receive(&mut self, owner: u32, sequence: u32, now: Duration) {
        self.last = now;
        self.received.entry((owner, sequence)).or_default().push(now.as_nanos() as u64);
    }

    /// Gives away what was seen, if anything was.
    pub(crate) fn take(&mut self) -> Option<Seen> {
        if self.published.is_empty() && self.received.is_empty() {
            return None;
        }
        let published = mem::take(&mut self.published);
        Some(Seen { published, received: self.received.drain().collect() })
    }
}

/// A message that is on its way, with the times at which it was received.
#[derive(Debug, Default)]
struct Message {
    published: Option<(Duration, bool)>,
    times: Vec<u64>,
}

/// Puts together what the threads have seen.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    open: HashMap<Name, Message>,
    /// What each group has found in the trial.
    groups: Vec<Stats>,
    /// What each group has found since the last call of `take_intervals`.
    intervals: Vec<Interval>,
}

impl Collector {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            open: HashMap::new(),
            groups: vec![Stats::default(); plan.groups.len()],
            intervals: vec![Interval::default(); plan.groups.len()],
        }
    }

    /// Takes what a thread has seen.
    pub(crate) fn add(&mut self, seen: Seen, plan: &Plan) {
        for Published { name, intended, counts } in seen.published {
            let message = self.open.entry(name).or_default();
            message.published = Some((intended, counts));
            if message.times.len() >= receivers(plan, name) {
                self.settle(name, plan, intended);
            }
        }
        for (name, mut times) in seen.received {
            let message = self.open.entry(name).or_default();
            message.times.append(&mut times);
            if message.published.is_some() && message.times.len() >= receivers(plan, name) {
                self.settle(name, plan, Duration::ZERO);
            }
        }
        if self.open.len() > OPEN_MAX {
            self.give_up(plan);
        }
    }

    /// The trial is over: what was not received will not be. What each group has found.
    pub(crate) fn finish(&mut self, plan: &Plan) -> Vec<Stats> {
        self.give_up(plan);
        mem::replace(&mut self.groups, vec![Stats::default(); plan.groups.len()])
    }

    /// What each group has found since the last call, if there is fan-out at all.
    pub(crate) fn take_intervals(&mut self) -> Option<Vec<Interval>> {
        let fresh = vec![Interval::default(); self.intervals.len()];
        let any = self.intervals.iter().any(|interval| interval.echoes > 0);
        any.then(|| mem::replace(&mut self.intervals, fresh))
    }

    fn give_up(&mut self, plan: &Plan) {
        let names: Vec<Name> = self.open.keys().copied().collect();
        names.into_iter().for_each(|name| self.settle(name, plan, plan.now()));
    }

    /// All that a message will be received is known, at `now`.
    fn settle(&mut self, name: Name, plan: &Plan, now: Duration) {
        let Some(Message { published, mut times }) = self.open.remove(&name) else { return };
        let Some(group) = group_of(plan, name) else { return };
        let stats = &mut self.groups[group];
        // Nobody has published what was received: an echo of something else.
        let Some((intended, counts)) = published else {
            return stats.failures.add_many(Failure::Unexpected, times.len() as u64);
        };
        times.sort_unstable();
        let expected = receivers(plan, name);
        stats.failures.add_many(Failure::Duplicate, times.len().saturating_sub(expected) as u64);
        times.truncate(expected);
        let missing = expected - times.len();
        stats.failures.add_many(Failure::Undelivered, missing as u64);
        let after = |time: &u64| Duration::from_nanos(*time).saturating_sub(intended);
        let interval = &mut self.intervals[group];
        interval.echoes += times.len() as u64;
        times.iter().for_each(|time| interval.response.record(after(time)));
        if !counts {
            return;
        }
        stats.echoes += times.len() as u64;
        let bytes = plan.groups[group].payloads.size(name.0, name.1);
        stats.echoed_bytes += (bytes * times.len()) as u64;
        times.iter().for_each(|time| stats.response.record(after(time)));
        let age = now.saturating_sub(intended);
        (0..missing).for_each(|_| stats.response.record_unanswered(age));
        let fan_out = stats.fan_out.get_or_insert_default();
        fan_out.record(times.iter().map(after).collect(), missing, age);
    }
}

impl FanOutStats {
    /// A message was received after these times, in their order, and `missing` others not within
    /// `age`.
    fn record(&mut self, after: Vec<Duration>, missing: usize, age: Duration) {
        let all = after.len() + missing;
        self.messages += 1;
        self.complete += u64::from(missing == 0);
        self.deliveries += after.len() as u64;
        self.missing += missing as u64;
        let mut record =
            |place: usize, times: fn(&mut Self) -> &mut crate::measure::times::Times| match after
                .get(place)
            {
                Some(time) => times(self).record(*time),
                None => times(self).record_unanswered(age),
            };
        record(0, |stats| &mut stats.first);
        record((all - 1) / 2, |stats| &mut stats.median);
        record(all - 1, |stats| &mut stats.last);
    }
}

/// How many connections are to receive a message: all but its publisher.
fn receivers(plan: &Plan, name: Name) -> usize {
    let group = group_of(plan, name).map(|group| &plan.groups[group]);
    group.map_or(1, |group| group.arguments.load.connections.get() - 1)
}

fn group_of(plan: &Plan, (owner, _): Name) -> Option<usize> {
    plan.groups.iter().rposition(|group| group.first <= owner as usize)
}
