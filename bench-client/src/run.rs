//! What a thread of a run has to itself.

use std::time::Duration;

use rand::{Rng, RngExt, rngs::StdRng};
use wireloop::{
    io::Outbox,
    ws::{Deflater, Workspace},
};

use crate::{
    compression,
    fan_out::Watcher,
    measure::{
        failure::Failure,
        stats::{Interval, Stats, Tally},
    },
    plan::{GroupPlan, Plan, Trial},
    timers::Timers,
};

/// What a thread needs to handle something. Groups are named by their place in the plan.
#[derive(Debug)]
pub(crate) struct Run<'p> {
    pub(crate) plan: &'p Plan,
    pub(crate) outbox: Outbox,
    /// Since the last trial ended.
    pub(crate) tally: Tally,
    /// Since the current second began.
    pub(crate) intervals: Vec<Interval>,
    pub(crate) keys: Keys,
    pub(crate) workspace: Workspace,
    pub(crate) deflater: Deflater,
    pub(crate) scratch: Vec<u8>,
    pub(crate) timers: Timers,
    pub(crate) fan_out: Watcher,
    /// What TLS has decrypted.
    pub(crate) plain: Vec<u8>,
    /// What is under way, from its start until all answers have come.
    pub(crate) trial: Option<Trial>,
    /// Whether messages are being sent.
    pub(crate) is_loading: bool,
}

impl<'p> Run<'p> {
    pub(crate) fn new(plan: &'p Plan) -> Self {
        let mut run = Self {
            plan,
            outbox: Outbox::default(),
            tally: Tally::default(),
            intervals: vec![Interval::default(); plan.groups.len()],
            keys: Keys::new(),
            workspace: Workspace::new(),
            deflater: Deflater::new(compression::LEVEL, compression::THRESHOLD_BYTES),
            scratch: Vec::new(),
            timers: Timers::default(),
            fan_out: Watcher::default(),
            plain: Vec::new(),
            trial: None,
            is_loading: false,
        };
        run.take_tally();
        run
    }

    /// Gives away what was found since the last call.
    pub(crate) fn take_tally(&mut self) -> Tally {
        let groups = vec![Stats::default(); self.plan.groups.len()];
        std::mem::replace(&mut self.tally, Tally { groups, ..Tally::default() })
    }

    pub(crate) fn group(&self, group: usize) -> &'p GroupPlan {
        &self.plan.groups[group]
    }

    /// The masking key of a frame.
    pub(crate) fn mask(&mut self, group: usize) -> Option<[u8; 4]> {
        let fixed = self.group(group).arguments.protocol.mask();
        fixed.or_else(|| Some(self.keys.mask()))
    }

    pub(crate) fn stats(&mut self, group: usize) -> &mut Stats {
        &mut self.tally.groups[group]
    }

    /// Whether the group's load is an open loop.
    pub(crate) fn is_open_loop(&self, group: usize) -> bool {
        self.trial.is_some_and(|trial| trial.rate.is_some()) || self.group(group).is_open_loop()
    }

    /// Whether an echo releases the next message.
    pub(crate) fn releases(&self, group: usize) -> bool {
        self.is_loading
            && !self.is_open_loop(group)
            && !self.group(group).arguments.load.idle
            && self.is_active(group)
    }

    /// Whether the group takes part in the trial.
    pub(crate) fn is_active(&self, group: usize) -> bool {
        self.trial.is_some_and(|trial| trial.includes(group))
    }

    /// Whether what happens at this time counts.
    pub(crate) fn measures(&self, time: Duration) -> bool {
        self.trial.is_some_and(|trial| {
            let (from, until) = self.plan.window(&trial);
            from <= time && time < until
        })
    }

    /// An echo of so many bytes has arrived.
    pub(crate) fn record(
        &mut self,
        group: usize,
        bytes: usize,
        intended: Duration,
        sent: Duration,
        now: Duration,
    ) {
        let response = now.saturating_sub(intended);
        let service = now.saturating_sub(sent);
        let interval = &mut self.intervals[group];
        interval.echoes += 1;
        interval.response.record(response);
        interval.service.record(service);
        self.stats(group).all += 1;
        if self.measures(now) {
            let stats = self.stats(group);
            stats.echoes += 1;
            stats.echoed_bytes += bytes as u64;
        }
        if self.measures(intended) {
            let stats = self.stats(group);
            stats.response.record(response);
            stats.service.record(service);
        }
    }

    /// A message has been given up.
    pub(crate) fn record_unanswered(
        &mut self,
        group: usize,
        intended: Duration,
        sent: Duration,
        now: Duration,
    ) {
        if self.measures(intended) {
            let stats = self.stats(group);
            stats.response.record_unanswered(now.saturating_sub(intended));
            stats.service.record_unanswered(now.saturating_sub(sent));
        }
    }

    /// A message of an open loop is due, whether it can be sent or not.
    pub(crate) fn record_due(&mut self, group: usize, intended: Duration) {
        let counts = self.measures(intended);
        self.stats(group).due += u64::from(counts);
    }

    /// A message has been written.
    pub(crate) fn record_sent(
        &mut self,
        group: usize,
        bytes: usize,
        intended: Duration,
        sent: Duration,
    ) {
        self.intervals[group].sent += 1;
        if self.measures(intended) {
            let is_open_loop = self.is_open_loop(group);
            let stats = self.stats(group);
            stats.sent += 1;
            stats.sent_bytes += bytes as u64;
            if is_open_loop {
                stats.lag.record(sent.saturating_sub(intended));
            }
        }
    }

    pub(crate) fn fails(&mut self, group: usize, failure: Failure) {
        self.stats(group).failures.add(failure);
        self.intervals[group].failures.add(failure);
    }
}

/// Masking keys and handshake keys. RFC 6455 sections 5.3 and 10.3 want them unpredictable, so
/// they come from ChaCha with a seed of the system's: a nanosecond each.
#[derive(Debug)]
pub(crate) struct Keys(StdRng);

impl Keys {
    pub(crate) fn new() -> Self {
        Self(rand::make_rng())
    }

    pub(crate) fn mask(&mut self) -> [u8; 4] {
        self.0.next_u32().to_ne_bytes()
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number in (0, 1].
    pub(crate) fn share(&mut self) -> f64 {
        1.0 - self.0.random::<f64>()
    }

    pub(crate) fn handshake(&mut self) -> [u8; 16] {
        let mut key = [0; 16];
        self.0.fill_bytes(&mut key);
        key
    }
}
