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
pub(crate) type Name = (u32, u32);

/// How many messages are remembered. When there are more, those that all have received are
/// forgotten; if that is not enough, the others are given up.
const MESSAGES_MAX: usize = 100_000;

/// Who has received a message, by the number of its connection, and when, in nanoseconds.
type Receipt = (u32, u64);

/// What a thread has seen since it told the last time.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Seen {
    published: Vec<Published>,
    received: Vec<(Name, Vec<Receipt>)>,
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
    received: HashMap<Name, Vec<Receipt>>,
    /// When it received something last.
    pub(crate) last: Duration,
}

impl Watcher {
    pub(crate) fn publish(&mut self, owner: u32, sequence: u64, intended: Duration, counts: bool) {
        self.published.push(Published { name: (owner, sequence as u32), intended, counts });
    }

    pub(crate) fn receive(&mut self, name: Name, receiver: u32, now: Duration) {
        self.last = now;
        self.received.entry(name).or_default().push((receiver, now.as_nanos() as u64));
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

/// A message that is on its way, or all have received.
#[derive(Debug, Default)]
struct Message {
    published: Option<(Duration, bool)>,
    receipts: Vec<Receipt>,
    /// How many more receipts there were by those who had received it before.
    repeated: u64,
    is_complete: bool,
}

impl Message {
    /// Gives the message away if `all` have received it, and remembers only that. Looks closer
    /// only if there are as many receipts.
    fn take_if_complete(&mut self, all: usize) -> Option<Self> {
        if self.published.is_none() || self.is_complete || self.receipts.len() < all {
            return None;
        }
        self.count_repeated();
        let is_complete = self.receipts.len() >= all;
        is_complete.then(|| mem::replace(self, Self { is_complete, ..Self::default() }))
    }

    /// Leaves the first receipt of each receiver.
    fn count_repeated(&mut self) {
        let before = self.receipts.len();
        self.receipts.sort_unstable();
        self.receipts.dedup_by_key(|(receiver, _)| *receiver);
        self.repeated += (before - self.receipts.len()) as u64;
    }
}

/// Puts together what the threads have seen.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    messages: HashMap<Name, Message>,
    /// What each group has found in the trial.
    groups: Vec<Stats>,
    /// What each group has found since the last call of `take_intervals`.
    intervals: Vec<Interval>,
}

impl Collector {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            messages: HashMap::new(),
            groups: vec![Stats::default(); plan.groups.len()],
            intervals: vec![Interval::default(); plan.groups.len()],
        }
    }

    /// Takes what a thread has seen.
    pub(crate) fn add(&mut self, seen: Seen, plan: &Plan) {
        for Published { name, intended, counts } in seen.published {
            self.messages.entry(name).or_default().published = Some((intended, counts));
            self.settle_if_complete(name, plan);
        }
        for (name, mut receipts) in seen.received {
            let message = self.messages.entry(name).or_default();
            if !message.is_complete {
                message.receipts.append(&mut receipts);
                self.settle_if_complete(name, plan);
            } else if let Some(group) = group_of(plan, name) {
                let failures = &mut self.groups[group].failures;
                failures.add_many(Failure::Duplicate, receipts.len() as u64);
            }
        }
        if self.messages.len() > MESSAGES_MAX {
            self.messages.retain(|_, message| !message.is_complete);
        }
        if self.messages.len() > MESSAGES_MAX {
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
        for (name, mut message) in mem::take(&mut self.messages) {
            if !message.is_complete {
                message.count_repeated();
                self.settle(name, message, plan, plan.now());
            }
        }
    }

    fn settle_if_complete(&mut self, name: Name, plan: &Plan) {
        let message = self.messages.get_mut(&name);
        let complete = message.and_then(|message| message.take_if_complete(receivers(plan, name)));
        if let Some(message) = complete {
            // Nobody is missing, so the age of the message does not matter.
            self.settle(name, message, plan, Duration::ZERO);
        }
    }

    /// All that a message will be received is known, at `now`.
    fn settle(&mut self, name: Name, message: Message, plan: &Plan, now: Duration) {
        let Some(group) = group_of(plan, name) else { return };
        let stats = &mut self.groups[group];
        stats.failures.add_many(Failure::Duplicate, message.repeated);
        // Nobody has published what was received: an echo of something else.
        let Some((intended, counts)) = message.published else {
            return stats.failures.add_many(Failure::Unexpected, message.receipts.len() as u64);
        };
        let mut times: Vec<u64> = message.receipts.into_iter().map(|(_, time)| time).collect();
        times.sort_unstable();
        let missing = receivers(plan, name).saturating_sub(times.len());
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
