//! Whether a worker accepts: while there is room for connections, and accepting does not fail.

use std::{io, net::SocketAddr, time::Duration};

use super::{
    balance::Seat,
    refusing::{Refused, Room},
};
use crate::{
    conn::Tick,
    io::{Driver, Token},
};

/// How far apart two lines in the log about the same trouble are at least.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// How long accepting pauses when there is no room for a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// The accepting of a worker, whose driver is an argument of what uses it.
#[derive(Debug)]
pub(super) struct Accepting<S> {
    /// What bounds the connections of all workers.
    room: Room,
    /// What the worker deals connections by, if there are others.
    seat: Option<Seat<S>>,
    listeners: usize,
    /// When accepting is tried again, if it pauses.
    again: Option<Tick>,
    /// How many connections the worker has, those included that it refuses.
    connections: usize,
    refused: Refused,
    failures: Repeated,
    refusals: Repeated,
}

/// A connection that was accepted, and its peer's address.
type Accepted<S> = (S, Option<SocketAddr>);

/// What is to become of a connection that was accepted.
pub(super) enum Dealt<S> {
    /// This worker has it.
    Kept(Accepted<S>),
    /// Another worker has it.
    Handed,
    /// This worker has it to refuse it.
    Refused(Accepted<S>),
}

/// What happens to one connection after the other under overload, and would be a line in the log
/// each time.
#[derive(Debug, Default)]
pub(super) struct Repeated {
    count: usize,
    logged: Option<Tick>,
}

impl Repeated {
    /// Counts once more. Returns how often it has happened since the last line in the log, if it is
    /// time for another one.
    pub(super) fn count(&mut self, now: Tick) -> Option<usize> {
        self.count += 1;
        let is_due = self.logged.is_none_or(|logged| logged.after(LOG_INTERVAL).has_come(now));
        is_due.then(|| {
            self.logged = Some(now);
            std::mem::take(&mut self.count)
        })
    }
}

impl<S> Accepting<S> {
    /// Accepting on so many listeners of a driver, as far as there is room.
    pub(super) fn new(
        driver: &mut impl Driver,
        room: Room,
        seat: Option<Seat<S>>,
        listeners: usize,
    ) -> Self {
        driver.limit_accepts(room.accepted.clone());
        Self {
            room,
            seat,
            listeners,
            again: None,
            connections: 0,
            refused: Refused::default(),
            failures: Repeated::default(),
            refusals: Repeated::default(),
        }
    }

    /// Begins to accept.
    pub(super) fn begin(&self, driver: &mut impl Driver) {
        (0..self.listeners).for_each(|listener| driver.accept(listener));
    }

    /// When accepting is tried again, if it pauses, or a connection that is refused is closed.
    pub(super) fn next(&self) -> Option<Tick> {
        match self.refused.next() {
            None => self.again,
            Some(end) => Some(self.again.map_or(end, |again| again.min(end))),
        }
    }

    /// A connection was accepted.
    pub(super) fn deal(&mut self, accepted: Accepted<S>, now: Tick) -> Dealt<S> {
        if !self.room.serves() {
            if let Some(times) = self.refusals.count(now) {
                tracing::warn!(times, "all connections are in use: others are refused with 503");
            }
            self.connections += 1;
            return Dealt::Refused(accepted);
        }
        let kept = match &self.seat {
            Some(seat) => seat.deal(accepted),
            None => Some(accepted),
        };
        self.connections += usize::from(kept.is_some());
        kept.map_or(Dealt::Handed, Dealt::Kept)
    }

    /// Begins to refuse a connection.
    pub(super) fn refuse(&mut self, token: Token, now: Tick) {
        self.refused.add(token, now);
    }

    /// Whether any connection is being refused.
    pub(super) fn is_refusing(&self) -> bool {
        self.refused.len() > 0
    }

    /// A connection that was refused and whose time is over.
    pub(super) fn overdue(&mut self, now: Tick) -> Option<Token> {
        self.refused.overdue(now)
    }

    /// Takes what other workers have accepted and this one is to have, which counts already.
    pub(super) fn take_handed(&mut self) -> Vec<Accepted<S>> {
        let handed = self.seat.as_ref().map(Seat::take).unwrap_or_default();
        self.connections += handed.len();
        handed
    }

    /// Without descriptors or memory accepting pauses; it goes on when a connection has ended, or
    /// after a moment. Those that exist are not concerned.
    pub(super) fn failed(&mut self, driver: &mut impl Driver, error: &io::Error, now: Tick) {
        if let Some(times) = self.failures.count(now) {
            tracing::warn!(%error, times, "cannot accept: connections wait until this is over");
        }
        self.pause(driver, now);
    }

    /// A connection has ended.
    pub(super) fn ended(&mut self, driver: &mut impl Driver, token: Token, now: Tick) {
        let was_served = !self.refused.remove(token);
        self.gone(driver, was_served, now);
    }

    /// A connection that was to be served has been closed before it began.
    pub(super) fn dropped(&mut self, driver: &mut impl Driver, now: Tick) {
        self.gone(driver, true, now);
    }

    fn gone(&mut self, driver: &mut impl Driver, was_served: bool, now: Tick) {
        self.connections -= 1;
        self.room.give_back(was_served);
        if let Some(seat) = self.seat.as_ref().filter(|_| was_served) {
            seat.ended();
        }
        if self.again.is_some() {
            self.try_again(driver, now);
        }
    }

    /// Tries again to accept, if it is time to.
    pub(super) fn check(&mut self, driver: &mut impl Driver, now: Tick) {
        if self.again.is_some_and(|again| again.has_come(now)) {
            self.try_again(driver, now);
        }
    }

    /// Accepts nothing more, neither from the kernel nor from other workers. Returns what those
    /// have accepted and this one is to have, which counts already.
    pub(super) fn close(&mut self, driver: &mut impl Driver) -> Vec<Accepted<S>> {
        driver.close_listeners();
        self.listeners = 0;
        self.again = None;
        let handed = self.seat.as_ref().map(Seat::close).unwrap_or_default();
        self.connections += handed.len();
        handed
    }

    /// Accepting pauses until a connection has ended, or for a moment: other workers' may end too.
    pub(super) fn pause(&mut self, driver: &mut impl Driver, now: Tick) {
        (0..self.listeners).for_each(|listener| driver.pause_accept(listener));
        self.again = Some(now.after(PAUSE));
    }

    fn try_again(&mut self, driver: &mut impl Driver, now: Tick) {
        if !self.room.accepted.has_any() {
            self.again = Some(now.after(PAUSE));
            return;
        }
        self.again = None;
        self.begin(driver);
    }
}

impl<S> Drop for Accepting<S> {
    /// The connections of a worker that has failed are gone, and with its driver their descriptors.
    fn drop(&mut self) {
        let refused = self.refused.len();
        (0..self.connections).for_each(|number| self.room.give_back(number >= refused));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_to_accept_are_logged_once_a_minute_with_their_number() {
        let mut failures = Repeated::default();
        let mut lines = Vec::new();
        for tenth in 0..1300 {
            let now = Tick::at(Duration::from_millis(100 * tenth));
            lines.extend(failures.count(now).map(|times| (tenth, times)));
        }
        assert_eq!(lines, [(0, 1), (600, 600), (1200, 600)]);
    }
}
