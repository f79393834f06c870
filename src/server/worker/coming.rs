//! Connections that come: those that this worker has accepted, and those that others hand to it.

use std::net::SocketAddr;

use super::Worker;
use crate::{
    conn::{Connection, Turn},
    io::{Driver, Token},
    server::accepting::Dealt,
};

impl<D: Driver> Worker<D> {
    pub(super) fn accepted(&mut self, stream: D::Stream, peer: Option<SocketAddr>) {
        let tick = self.tick();
        match self.accepting.deal((stream, peer), tick) {
            Dealt::Kept((stream, peer)) => self.attach(stream, peer),
            Dealt::Handed => {}
            Dealt::Refused((stream, peer)) => self.refuse(stream, peer),
        }
    }

    /// Begins with a connection, which counts already.
    pub(super) fn attach(&mut self, stream: D::Stream, peer: Option<SocketAddr>) {
        let tick = self.tick();
        let Ok(admission) = self.limits.admit(peer, tick) else {
            return self.accepting.dropped(&mut self.driver, tick);
        };
        let token = self.insert(peer);
        self.begin(token, stream, |_, _| {});
        if let Some(oldest) = self.limits.begun(token, admission, &mut self.connections) {
            self.with(oldest, Connection::abort);
        }
    }

    /// Begins with a connection whose first request is refused.
    fn refuse(&mut self, stream: D::Stream, peer: Option<SocketAddr>) {
        let (token, tick) = (self.insert(peer), self.tick());
        self.accepting.refuse(token, tick);
        self.begin(token, stream, |connection, _| connection.refuse());
    }

    /// Ends the connections that are refused and whose time is over.
    pub(super) fn end_refusals(&mut self) {
        let tick = self.tick();
        while let Some(token) = self.accepting.overdue(tick) {
            self.with(token, Connection::abort);
        }
    }

    fn insert(&mut self, peer: Option<SocketAddr>) -> Token {
        let tick = self.tick();
        self.cx.desk.memory.opened();
        self.connections.insert(|generation| Connection::new(generation, peer, tick))
    }

    fn begin(
        &mut self,
        token: Token,
        stream: D::Stream,
        action: impl FnOnce(&mut Connection, Turn<'_>),
    ) {
        if let Err(error) = self.driver.attach(token, stream) {
            tracing::warn!(%error, "a connection cannot be watched and is closed");
            self.connections.remove(token);
            self.cx.desk.memory.closed(token);
            let tick = self.tick();
            return self.accepting.ended(&mut self.driver, token, tick);
        }
        self.with(token, action);
    }
}
