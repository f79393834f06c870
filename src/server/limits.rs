//! What limits each peer of a worker: connections of its address, handshakes, rates.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use super::{
    accepting::Repeated,
    addresses::{Addresses, Admission},
    handshakes::Handshakes,
    rates::Rates,
};
use crate::{
    Config,
    conn::{Connection, Connections, Tick},
    io::Token,
};

/// The limits of a worker.
#[derive(Debug)]
pub(super) struct Limits {
    addresses: Option<Addresses>,
    /// Of the connections that count for their address.
    admissions: HashMap<Token, Admission>,
    refused: Repeated,
    handshakes: Handshakes,
    rates: Option<Rates>,
}

impl Limits {
    /// The limits of one of so many workers; the counts of addresses are those of all of them.
    pub(super) fn new(config: &Config, workers: usize, addresses: Option<Addresses>) -> Self {
        Self {
            addresses,
            admissions: HashMap::new(),
            refused: Repeated::default(),
            handshakes: Handshakes::new(config.handshakes.div_ceil(workers)),
            rates: Rates::new(config),
        }
    }

    /// Whether a connection may begin as far as its address is concerned; it then counts until it is
    /// [closed](Self::closed), or until the admission is dropped.
    pub(super) fn admit(
        &mut self,
        peer: Option<SocketAddr>,
        now: Tick,
    ) -> Result<Option<Admission>, Refused> {
        let (Some(addresses), Some(peer)) = (&self.addresses, peer) else { return Ok(None) };
        let admission = addresses.admit(peer);
        if admission.is_none()
            && let Some(times) = self.refused.count(now)
        {
            tracing::warn!(%peer, times, "connections closed: their address has as many as it may");
        }
        admission.map(Some).ok_or(Refused)
    }

    /// A connection has begun. Returns one that is to be ended instead of it, if there are too many
    /// handshakes.
    pub(super) fn begun(
        &mut self,
        token: Token,
        admission: Option<Admission>,
        connections: &mut Connections,
    ) -> Option<Token> {
        let connection = connections.get(token)?;
        if let Some(admission) = admission {
            self.admissions.insert(token, admission);
        }
        if !connection.begins_handshake() {
            return None;
        }
        self.handshakes.add(token, |token| {
            connections.get(token).is_some_and(|connection| connection.is_handshake())
        })
    }

    /// A connection has been handled: its handshake may have ended.
    #[inline]
    pub(super) fn handled(&mut self, connection: &mut Connection) {
        if connection.ends_handshake() {
            self.handshakes.done();
        }
    }

    /// A connection has sent so much.
    #[inline]
    pub(super) fn count(&mut self, token: Token, bytes: usize, messages: u32, now: Duration) {
        if let Some(rates) = &mut self.rates {
            rates.count(token, bytes, messages, now);
        }
    }

    /// Whether nothing is to be received from a connection, because it sent too fast.
    #[inline]
    pub(super) fn pauses(&self, token: Token) -> bool {
        self.rates.as_ref().is_some_and(|rates| rates.is_waiting(token))
    }

    /// Whether there are limits on how fast connections send.
    #[inline]
    pub(super) fn has_rates(&self) -> bool {
        self.rates.is_some()
    }

    /// When a connection may be received from again.
    pub(super) fn next(&self) -> Option<Tick> {
        Some(Tick::at(self.rates.as_ref()?.next()? + Duration::from_millis(1)))
    }

    /// A connection that may be received from again.
    pub(super) fn take(&mut self, now: Duration) -> Option<Token> {
        self.rates.as_mut()?.take(now)
    }

    /// A connection is closed.
    pub(super) fn closed(&mut self, token: Token) {
        if !self.admissions.is_empty() {
            self.admissions.remove(&token);
        }
        if let Some(rates) = &mut self.rates {
            rates.remove(token);
        }
    }
}

/// The address of a peer has as many connections as it may.
#[derive(Debug)]
pub(super) struct Refused;
