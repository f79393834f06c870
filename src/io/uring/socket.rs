//! One connection of the io_uring driver: what its owner wants, and what waits for it.

use std::{io, os::fd::OwnedFd};

use super::{Ring, tag::Kind};
use crate::io::Token;

/// Twelve bytes.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) fd: OwnedFd,
    pub(super) generation: u32,
    pub(super) wants: Wants,
    pub(super) operation: Operation,
    pub(super) flow: Flow,
    /// Stands among the busy.
    pub(super) is_busy: bool,
}

/// What the owner of a connection wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wants {
    Nothing,
    Bytes,
    /// To receive them itself.
    Readiness,
    /// Nothing more will come.
    Ended,
    /// To be rid of it.
    Close,
}

/// How much comes from a connection, as far as it matters for how it is received from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// It has a multishot receive, which may take every buffer there is.
    Steady,
    /// Nothing has come since the last look.
    Quiet,
    /// It may have more than its share: receives are single, a buffer at most, and in turn.
    Bulk,
}

/// The operation that waits for something to happen to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Nothing,
    /// None yet: it stands in line for a receive.
    Queued,
    Connect,
    Receive,
    Poll,
    /// One of them, which is being cancelled.
    Cancelled,
}

impl Socket {
    /// Cancels what waits for something to happen.
    pub(super) fn disarm(&mut self, token: Token, ring: &mut Ring) -> io::Result<()> {
        let kind = match self.operation {
            Operation::Connect => Kind::Connect,
            Operation::Receive => Kind::Receive,
            Operation::Poll => Kind::Poll,
            Operation::Queued => {
                self.operation = Operation::Nothing;
                return Ok(());
            }
            Operation::Nothing | Operation::Cancelled => return Ok(()),
        };
        self.operation = Operation::Cancelled;
        ring.cancel(kind.tag(token), Kind::Cancel.tag(token))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_takes_twelve_bytes() {
        assert_eq!(size_of::<Option<Socket>>(), 12);
    }
}
