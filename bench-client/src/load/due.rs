//! What is due at a certain time: messages of open loops, and pings.

use std::{mem, time::Duration};

use wireloop::io::Driver;

use super::Loader;
use crate::{measure::failure::Failure, squad::Squad};

/// How many connections are written to before the answers to earlier messages are received.
pub(super) const WRITES_PER_PASS: usize = 256;

/// How many messages that are, if there are not so many connections.
const MESSAGES_PER_PASS: usize = 4096;

/// A message of an open loop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    connection: usize,
    intended: Duration,
}

impl<D: Driver> Loader<'_, D> {
    /// Sends what is due in open loops, to one connection after the other. Each is written to once,
    /// however much is due on it.
    pub(super) fn send_due(&mut self, start: Duration) {
        for place in 0..self.squads.len() {
            let squad = &self.squads[place];
            let (times, most) = match squad.publishers() {
                // Who may be sent another one is known when this one is sent.
                _ if self.run.group(squad.group).arguments.load.replaces() => (WRITES_PER_PASS, 1),
                publishers if publishers < WRITES_PER_PASS => (1, MESSAGES_PER_PASS),
                _ => (1, WRITES_PER_PASS),
            };
            for _ in 0..times {
                self.find_due(place, start, most);
                if self.due.is_empty() {
                    break;
                }
                let mut due = mem::take(&mut self.due);
                for messages in due.chunk_by(|one, other| one.connection == other.connection) {
                    self.send_to(messages);
                }
                due.clear();
                self.due = due;
            }
        }
    }

    /// Finds so much of what is due, the messages of each connection together, otherwise in their
    /// order.
    fn find_due(&mut self, place: usize, start: Duration, most: usize) {
        let Squad { group, ref slots, .. } = self.squads[place];
        let (first, connections) = (slots.start, slots.len());
        while self.due.len() < most {
            let since_start = self.now().saturating_sub(start);
            let pacer = self.squads[place].pacer.as_mut();
            let Some((number, due)) = pacer.and_then(|pacer| pacer.take(since_start)) else {
                break;
            };
            let intended = start + due;
            self.run.record_due(group, intended);
            let connection = self.pick(place, number);
            self.due.push(Due { connection, intended });
        }
        if let Some(Due { connection, .. }) = self.due.first() {
            // They go round, from that one on.
            let before = connection - first;
            let turn = |due: &Due| (due.connection - first + connections - before) % connections;
            self.due.sort_by_key(turn);
        }
    }

    /// Sends messages to their connection, as far as that is possible.
    fn send_to(&mut self, messages: &[Due]) {
        let Some(Due { connection: index, .. }) = messages.first() else { return };
        let group = self.connections[*index].group();
        let most = self.run.group(group).arguments.load.max_in_flight.get();
        let mut left = messages.iter();
        self.with(*index, |connection, now, run| {
            while connection.left > 0 && connection.has_room(most, &run.outbox) {
                let Some(message) = left.next() else { break };
                connection.send(message.intended, now, run);
            }
        });
        // One that has sent all its messages is about to leave.
        let connection = &self.connections[*index];
        let is_there = connection.is_open() && connection.left > 0;
        for message in left {
            if self.run.measures(message.intended) {
                self.run.fails(group, if is_there { Failure::Missed } else { Failure::Unsent });
            }
        }
    }

    /// Pings the connections whose turn it is.
    pub(super) fn ping_due(&mut self, start: Duration) {
        for place in 0..self.squads.len() {
            for _ in 0..WRITES_PER_PASS {
                let since_start = self.now().saturating_sub(start);
                let Squad { slots, pings, .. } = &mut self.squads[place];
                let Some((number, _)) = pings.as_mut().and_then(|pings| pings.take(since_start))
                else {
                    break;
                };
                let index = slots.start + (number % slots.len() as u64) as usize;
                self.with(index, |connection, now, run| connection.ping(now, run));
            }
        }
    }
}
