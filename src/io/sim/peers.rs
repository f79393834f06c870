//! The peers of a simulation, which are the test's.

use std::{collections::VecDeque, time::Duration};

use super::Sim;

/// Names a peer of the simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(usize);

/// What lies between a peer and the driver.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    pub(super) to_server: VecDeque<u8>,
    /// The peer ends after what it has written.
    pub(super) peer_has_ended: bool,
    pub(super) to_peer: Vec<u8>,
    /// How much the peer has read.
    pub(super) read_bytes: u64,
    /// How much the peer lets lie unread.
    pub(super) window: usize,
    pub(super) server_has_ended: bool,
    pub(super) is_reset: bool,
    pub(super) is_closed: bool,
}

impl Sim {
    /// Connects a peer that lets 64 KiB lie unread.
    pub fn connect_peer(&mut self) -> Peer {
        self.pipes.push(Pipe { window: 64 << 10, ..Pipe::default() });
        self.backlog.push_back(self.pipes.len() - 1);
        Peer(self.pipes.len() - 1)
    }

    /// The peer writes.
    pub fn write(&mut self, peer: Peer, bytes: &[u8]) {
        let pipe = &mut self.pipes[peer.0];
        assert!(!pipe.peer_has_ended, "the peer has ended");
        pipe.to_server.extend(bytes);
    }

    /// The peer reads what has arrived.
    pub fn read(&mut self, peer: Peer) -> Vec<u8> {
        let pipe = &mut self.pipes[peer.0];
        pipe.read_bytes += pipe.to_peer.len() as u64;
        std::mem::take(&mut pipe.to_peer)
    }

    /// The peer lets at most this many bytes lie unread.
    pub fn set_window(&mut self, peer: Peer, bytes: usize) {
        self.pipes[peer.0].window = bytes;
    }

    /// The peer ends its direction after what it has written.
    pub fn end(&mut self, peer: Peer) {
        self.pipes[peer.0].peer_has_ended = true;
    }

    /// The peer resets the connection; what is on the way is lost.
    pub fn reset(&mut self, peer: Peer) {
        self.pipes[peer.0].is_reset = true;
    }

    /// Lets time pass; each wait takes less than a millisecond by itself.
    pub fn advance(&mut self, time: Duration) {
        self.clock.advance(time);
    }

    /// Whether the server has ended its direction, or the connection has failed.
    pub fn has_ended(&self, peer: Peer) -> bool {
        let pipe = &self.pipes[peer.0];
        pipe.server_has_ended || pipe.is_closed || pipe.is_reset
    }

    /// Whether the connection was reset, by the peer or by a fault.
    pub fn is_reset(&self, peer: Peer) -> bool {
        self.pipes[peer.0].is_reset
    }

    /// Whether the server has closed its socket.
    pub fn is_closed(&self, peer: Peer) -> bool {
        self.pipes[peer.0].is_closed
    }
}
