//! What a run counts: in all for each group of connections, and in each interval of time.

use std::{collections::BTreeMap, mem, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    failure::Failures,
    health::Health,
    times::{Times, nanos},
};

/// What a thread has found, or all of them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Tally {
    /// For each group of connections, in the order of the scenario.
    pub(crate) groups: Vec<Stats>,
    /// CPU time of the threads within the measurement.
    #[serde(rename = "cpu_ns", with = "nanos")]
    pub(crate) cpu: Duration,
    pub(crate) health: Health,
}

/// What the connections of a group have found.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Stats {
    /// From the intended moment of sending to the echo.
    pub(crate) response: Times,
    /// From the write to the echo.
    pub(crate) service: Times,
    /// From the intended moment to the write.
    pub(crate) lag: Times,
    pub(crate) phases: Phases,
    /// From a ping to its pong.
    pub(crate) ping: Times,
    /// From the moment when a connection was due until its last answer, of those that have left.
    pub(crate) sessions: Times,
    /// Messages that were due within the measurement, in an open loop.
    pub(crate) due: u64,
    /// Echoes that arrived in a trial, within the measurement or not.
    pub(crate) all: u64,
    /// Messages sent within the measurement, and echoes that arrived in it.
    pub(crate) sent: u64,
    pub(crate) echoes: u64,
    /// The bytes of their payloads.
    pub(crate) sent_bytes: u64,
    pub(crate) echoed_bytes: u64,
    /// In the whole run.
    pub(crate) opened: u64,
    /// Connections whose messages may be compressed.
    pub(crate) compressed: u64,
    /// The bytes of these connections: those of payloads, and of the frames that carried them.
    pub(crate) sent_compressed: Volume,
    pub(crate) received_compressed: Volume,
    /// What the server chose of the subprotocols that it was offered; "" is none.
    pub(crate) subprotocols: BTreeMap<String, u64>,
    /// Connections that ended in good order, by the code that the server gave.
    pub(crate) closes: BTreeMap<u16, u64>,
    pub(crate) failures: Failures,
    /// Of a group with publishers.
    pub(crate) fan_out: Option<Box<FanOutStats>>,
}

/// What became of the messages of publishers: the times from the intended moment of sending until
/// the first, the middle and the last of those that await a message had it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct FanOutStats {
    pub(crate) messages: u64,
    /// Messages that all have received.
    pub(crate) complete: u64,
    pub(crate) deliveries: u64,
    pub(crate) missing: u64,
    pub(crate) first: Times,
    pub(crate) median: Times,
    pub(crate) last: Times,
}

/// Bytes before and after compression.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Volume {
    pub(crate) plain: u64,
    pub(crate) compressed: u64,
}

/// What opening a connection took, from its start to its end and in parts. What a connection does
/// not have, such as TLS, is not counted.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Phases {
    /// From the start until the upgrade was accepted: all but the first message.
    pub(crate) opening: Times,
    /// Resolving the name, once for all connections.
    pub(crate) dns: Times,
    /// The connection of TCP or of a Unix socket.
    pub(crate) connect: Times,
    /// The handshake of TLS.
    pub(crate) tls: Times,
    /// From the request to the answer that accepts it.
    pub(crate) upgrade: Times,
    /// From the write of the first message to its echo.
    pub(crate) first_message: Times,
}

/// What the connections of a group have done in a part of a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Interval {
    pub(crate) response: Times,
    pub(crate) service: Times,
    pub(crate) sent: u64,
    pub(crate) echoes: u64,
    pub(crate) opened: u64,
    pub(crate) closed: u64,
    pub(crate) failures: Failures,
}

impl Tally {
    /// Adds what another thread has found about the same groups.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.groups.resize_with(self.groups.len().max(other.groups.len()), Stats::default);
        for (stats, more) in self.groups.iter_mut().zip(&other.groups) {
            stats.merge(more);
        }
        self.cpu += other.cpu;
        self.health.merge(&other.health);
    }

    /// Takes out what is about connections, and not about messages.
    pub(crate) fn take_connections(&mut self) -> Self {
        let take = |stats: &mut Stats| Stats {
            phases: mem::take(&mut stats.phases),
            opened: mem::take(&mut stats.opened),
            compressed: mem::take(&mut stats.compressed),
            closes: mem::take(&mut stats.closes),
            ..Stats::default()
        };
        Self { groups: self.groups.iter_mut().map(take).collect(), ..Self::default() }
    }

    /// All groups as one.
    pub(crate) fn total(&self) -> Stats {
        let mut total = Stats::default();
        self.groups.iter().for_each(|stats| total.merge(stats));
        total
    }
}

impl Stats {
    pub(crate) fn merge(&mut self, other: &Self) {
        self.response.add(&other.response);
        self.service.add(&other.service);
        self.lag.add(&other.lag);
        self.phases.merge(&other.phases);
        self.ping.add(&other.ping);
        self.sessions.add(&other.sessions);
        self.due += other.due;
        self.all += other.all;
        self.sent += other.sent;
        self.echoes += other.echoes;
        self.sent_bytes += other.sent_bytes;
        self.echoed_bytes += other.echoed_bytes;
        self.opened += other.opened;
        self.compressed += other.compressed;
        self.sent_compressed.add(&other.sent_compressed);
        self.received_compressed.add(&other.received_compressed);
        for (name, count) in &other.subprotocols {
            *self.subprotocols.entry(name.clone()).or_default() += count;
        }
        for (code, count) in &other.closes {
            *self.closes.entry(*code).or_default() += count;
        }
        self.failures.merge(&other.failures);
        if let Some(more) = &other.fan_out {
            self.fan_out.get_or_insert_default().merge(more);
        }
    }
}

impl FanOutStats {
    fn merge(&mut self, other: &Self) {
        self.messages += other.messages;
        self.complete += other.complete;
        self.deliveries += other.deliveries;
        self.missing += other.missing;
        self.first.add(&other.first);
        self.median.add(&other.median);
        self.last.add(&other.last);
    }
}

impl Volume {
    pub(crate) fn add(&mut self, other: &Self) {
        self.plain += other.plain;
        self.compressed += other.compressed;
    }
}

impl Phases {
    fn merge(&mut self, other: &Self) {
        self.opening.add(&other.opening);
        self.dns.add(&other.dns);
        self.connect.add(&other.connect);
        self.tls.add(&other.tls);
        self.upgrade.add(&other.upgrade);
        self.first_message.add(&other.first_message);
    }
}

impl Interval {
    pub(crate) fn merge(&mut self, other: &Self) {
        self.response.add(&other.response);
        self.service.add(&other.service);
        self.sent += other.sent;
        self.echoes += other.echoes;
        self.opened += other.opened;
        self.closed += other.closed;
        self.failures.merge(&other.failures);
    }
}
