//! Whether a worker accepts: while there is room for connections, and accepting does not fail.

use std::{io, net::SocketAddr, time::Duration};

use super::balance::Seat;
use crate::{
    conn::Tick,
    io::{Driver, Permits},
};

/// How far apart two lines in the log about the same trouble are at least.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// How long accepting pauses when there is no room for a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// The accepting of a worker, whose driver is an argument of what uses it.
#[derive(Debug)]
pub(super) struct Accepting<S> {
    /// What bounds the connections of all workers.
    permits: Permits,
    /// What the worker deals connections by, if there are others.
    seat: Option<Seat<S>>,
    listeners: usize,
    /// When accepting is tried again, if it pauses.
    again: Option<Tick>,
    failures: Failures,
}

/// Failures to accept. Under overload there is one for each connection that ends, which would be a
/// line in the log each time.
#[derive(Debug, Default)]
pub(super) struct Failures {
    count: usize,
    logged: Option<Tick>,
}

impl Failures {
    /// Counts a failure. Returns how many there have been since the last line in the log, if it is
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
    /// Accepting on so many listeners of a driver, which it limits to these permits.
    pub(super) fn new(
        driver: &mut impl Driver,
        permits: Permits,
        seat: Option<Seat<S>>,
        listeners: usize,
    ) -> Self {
        driver.limit_accepts(permits.clone());
        Self { permits, seat, listeners, again: None, failures: Failures::default() }
    }

    /// Begins to accept.
    pub(super) fn begin(&self, driver: &mut impl Driver) {
        (0..self.listeners).for_each(|listener| driver.accept(listener));
    }

    /// When accepting is tried again, if it pauses.
    pub(super) fn again(&self) -> Option<Tick> {
        self.again
    }

    /// A connection was accepted. Returns it if this worker is to have it.
    pub(super) fn deal(
        &self,
        accepted: (S, Option<SocketAddr>),
    ) -> Option<(S, Option<SocketAddr>)> {
        match &self.seat {
            Some(seat) => seat.deal(accepted),
            None => Some(accepted),
        }
    }

    /// Takes what other workers have accepted and this one is to have, which counts already.
    pub(super) fn take_handed(&self) -> Vec<(S, Option<SocketAddr>)> {
        self.seat.as_ref().map(Seat::take).unwrap_or_default()
    }

    /// Without descriptors or memory accepting pauses; it goes on when a connection has ended, or
    /// after a moment. Those that exist are not concerned.
    pub(super) fn failed(&mut self, driver: &mut impl Driver, error: &io::Error, now: Tick) {
        if let Some(times) = self.failures.count(now) {
            tracing::warn!(%error, times, "cannot accept: connections wait until this is over");
        }
        self.pause(driver, now);
    }

    /// So many connections were accepted and are not served.
    pub(super) fn release(&self, connections: usize) {
        self.permits.give_back(connections);
    }

    /// A connection has ended.
    pub(super) fn ended(&mut self, driver: &mut impl Driver, now: Tick) {
        self.permits.give_back(1);
        if let Some(seat) = &self.seat {
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

    /// Accepts nothing more, neither from the kernel nor from other workers.
    pub(super) fn close(&mut self, driver: &mut impl Driver) {
        driver.close_listeners();
        let queued = self.seat.as_ref().map_or(0, Seat::close);
        self.permits.give_back(queued);
        self.listeners = 0;
        self.again = None;
    }

    /// Accepting pauses until a connection has ended, or for a moment: other workers' may end too.
    pub(super) fn pause(&mut self, driver: &mut impl Driver, now: Tick) {
        (0..self.listeners).for_each(|listener| driver.pause_accept(listener));
        self.again = Some(now.after(PAUSE));
    }

    fn try_again(&mut self, driver: &mut impl Driver, now: Tick) {
        if !self.permits.has_any() {
            self.again = Some(now.after(PAUSE));
            return;
        }
        self.again = None;
        self.begin(driver);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_to_accept_are_logged_once_a_minute_with_their_number() {
        let mut failures = Failures::default();
        let mut lines = Vec::new();
        for tenth in 0..1300 {
            let now = Tick::at(Duration::from_millis(100 * tenth));
            lines.extend(failures.count(now).map(|times| (tenth, times)));
        }
        assert_eq!(lines, [(0, 1), (600, 600), (1200, 600)]);
    }
}
