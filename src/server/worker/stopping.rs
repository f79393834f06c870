//! The end of a worker in good order: what had arrived when it was stopped is served first.

use std::time::Duration;

use super::Worker;
use crate::{
    conn::{Connection, Tick, Turn},
    io::Driver,
};

/// How long a worker that is stopped goes on serving what had arrived, at most.
const SERVING_TIME: Duration = Duration::from_millis(250);

/// How far the end of a worker has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stopping {
    phase: Phase,
    /// When connections are ended, though there may be more to accept or to receive.
    patience: Tick,
    /// When the last connection is to have ended.
    deadline: Tick,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// What waits in the queues of the listeners is accepted.
    Accepting,
    /// The listeners are closed. What the connections had sent is received and answered.
    Receiving,
    /// The connections are ended, but for those that have yet to send a request: whoever has just
    /// connected is about to.
    Lingering,
    /// All connections are ended.
    Ending,
}

impl Stopping {
    /// When there is something to be done about it; `None`: in every pass.
    pub(super) fn next(&self) -> Option<Tick> {
        match self.phase {
            Phase::Accepting | Phase::Receiving => None,
            Phase::Lingering => Some(self.patience),
            Phase::Ending => Some(self.deadline),
        }
    }

    /// Whether the worker ends with its last connection.
    pub(super) fn is_ending(&self) -> bool {
        self.phase == Phase::Ending
    }
}

impl<D: Driver> Worker<D> {
    /// Begins to end. Connections that had come are accepted, and what they and others had sent is
    /// answered; then all peers get 1001, and [`Config::shutdown_grace`](crate::Config) to end.
    /// Those that come meanwhile do not delay that.
    pub fn stop(&mut self) {
        if self.stopping.is_some() {
            return;
        }
        self.cx.desk.now = self.driver.now();
        let grace = self.cx.desk.shared.config.shutdown_grace;
        self.stopping = Some(Stopping {
            phase: Phase::Accepting,
            patience: self.tick().after(SERVING_TIME.min(grace)),
            deadline: self.tick().after(grace),
        });
        // So that each listener is asked once more whether its queue is empty.
        self.accepting.begin(&mut self.driver);
    }

    /// Goes on with the end, as far as it gets in this pass.
    pub(super) fn go_on_stopping(&mut self) {
        let Some(mut stopping) = self.stopping else { return };
        let tick = self.tick();
        let is_late = stopping.patience.has_come(tick);
        if stopping.phase == Phase::Accepting && (is_late || !self.driver.may_accept()) {
            for (stream, peer) in self.accepting.close(&mut self.driver) {
                self.attach(stream, peer);
            }
            self.driver.begin_round();
            stopping.phase = Phase::Receiving;
        }
        let is_receiving = self.driver.is_in_round() || self.held.has_turns();
        let is_over = is_late || self.connections.len() == 0;
        match stopping.phase {
            Phase::Receiving if is_over || !is_receiving && !self.is_request_due() => {
                self.end_all(Connection::stop);
                stopping.phase = Phase::Ending;
            }
            Phase::Receiving if !is_receiving => {
                self.end_all(Connection::stop_unless_due);
                stopping.phase = Phase::Lingering;
            }
            Phase::Lingering if is_over => {
                self.end_all(Connection::stop);
                stopping.phase = Phase::Ending;
            }
            Phase::Ending if stopping.deadline.has_come(tick) => {
                self.end_all(Connection::abort);
                stopping.deadline = tick.far();
            }
            _ => {}
        }
        self.stopping = Some(stopping);
    }

    /// Whether any connection has yet to send a request.
    fn is_request_due(&mut self) -> bool {
        let connections = &mut self.connections;
        let tokens = connections.tokens();
        tokens.iter().any(|token| connections.get(*token).is_some_and(|it| it.awaits_head()))
    }

    /// Ends all connections this way, in this pass and the next ones.
    fn end_all(&mut self, end: fn(&mut Connection, Turn<'_>)) {
        self.ending = self.connections.tokens();
        self.leaves_over = true;
        self.end = end;
    }
}
