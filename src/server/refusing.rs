//! How many connections a server may have, and those beyond that are told so.
//!
//! With [`WhenFull::Refuse`] a few more are accepted than are served, all workers together. Each is
//! a connection like any other whose first request gets 503, but for a second at most.

use std::time::Duration;

use crate::{
    Config,
    config::WhenFull,
    conn::Tick,
    io::{Permits, Token},
};

/// How many connections are being refused at a time, by all workers together.
pub(super) const REFUSALS: usize = 16;

/// How long a connection that is refused may last.
const REFUSAL_TIME: Duration = Duration::from_secs(1);

/// The room for connections that all workers share.
#[derive(Clone, Debug)]
pub(super) struct Room {
    /// For all that are accepted, those included that are refused.
    pub(super) accepted: Permits,
    /// For those that are served, if others are refused.
    served: Option<Permits>,
}

impl Room {
    pub(super) fn new(config: &Config) -> Self {
        // None at all would be a server that waits for ever.
        let connections = config.connections.max(1);
        match config.when_full {
            WhenFull::Wait => Self { accepted: Permits::new(connections), served: None },
            WhenFull::Refuse => Self {
                accepted: Permits::new(connections.saturating_add(REFUSALS)),
                served: Some(Permits::new(connections)),
            },
        }
    }

    /// Whether a connection that was accepted can be served.
    pub(super) fn serves(&self) -> bool {
        self.served.as_ref().is_none_or(Permits::take)
    }

    /// A connection is no more; whether it was one that was served.
    pub(super) fn give_back(&self, was_served: bool) {
        if let Some(served) = self.served.as_ref().filter(|_| was_served) {
            served.give_back(1);
        }
        // Last, so that there are never more refusals than there may be.
        self.accepted.give_back(1);
    }
}

/// The connections that a worker refuses, and when they are closed, in order.
#[derive(Debug, Default)]
pub(super) struct Refused(Vec<(Token, Tick)>);

impl Refused {
    /// Begins to refuse a connection.
    pub(super) fn add(&mut self, token: Token, now: Tick) {
        self.0.push((token, now.after(REFUSAL_TIME)));
    }

    /// A connection has ended; whether it was refused.
    pub(super) fn remove(&mut self, token: Token) -> bool {
        let place = self.0.iter().position(|(other, _)| *other == token);
        place.map(|place| self.0.remove(place)).is_some()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// When one of them is closed next.
    pub(super) fn next(&self) -> Option<Tick> {
        self.0.iter().map(|(_, end)| *end).reduce(Tick::min)
    }

    /// One of them whose time is over; each is named once.
    pub(super) fn overdue(&mut self, now: Tick) -> Option<Token> {
        let (token, end) = self.0.iter_mut().find(|(_, end)| end.has_come(now))?;
        *end = now.far();
        Some(*token)
    }
}
