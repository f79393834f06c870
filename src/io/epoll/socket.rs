//! What the driver knows of a socket.

use std::os::fd::OwnedFd;

use super::Epoll;
use crate::io::{Token, Unsent, rest::Rest};

/// Twelve bytes.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) fd: OwnedFd,
    pub(super) generation: u32,
    pub(super) wants: Wants,
    /// An edge came and the socket has not been emptied since.
    pub(super) is_readable: bool,
    /// A short receive does not mean that the socket is empty: the peer has ended its direction,
    /// the socket has failed, or there is urgent data.
    pub(super) until_empty: bool,
    /// Whether the socket stands in `ready`.
    pub(super) is_queued: bool,
}

/// What the owner of a socket wants to have of what arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wants {
    Nothing,
    Bytes,
    /// To receive them itself.
    Readiness,
}

/// What a socket does when it becomes writable.
#[derive(Debug)]
pub(super) enum Waiting {
    Connect,
    Send(Rest),
}

impl Epoll {
    /// The socket of a connection, if there is one with this token.
    pub(super) fn find(sockets: &[Option<Socket>], token: Token) -> Option<&Socket> {
        let socket = sockets.get(token.index as usize)?.as_ref()?;
        (socket.generation == token.generation).then_some(socket)
    }

    /// The same, to be changed.
    pub(super) fn find_mut(sockets: &mut [Option<Socket>], token: Token) -> Option<&mut Socket> {
        let socket = sockets.get_mut(token.index as usize)?.as_mut()?;
        (socket.generation == token.generation).then_some(socket)
    }

    /// Sends `head` and `bytes`, and keeps what the kernel does not take.
    pub(super) fn send_with_head(
        &mut self,
        token: Token,
        head: &[u8],
        bytes: Vec<u8>,
    ) -> Option<Vec<u8>> {
        let fd = |token| Some(&Self::find(&self.sockets, token)?.fd);
        let result = match self.long_sends.send(token, head, bytes, fd) {
            Ok(rest) if rest.left().is_empty() => return Some(rest.into_memory()),
            Ok(rest) => {
                let left = rest.left().len();
                self.waiting.insert(token.index, Waiting::Send(rest));
                Ok(left)
            }
            Err(error) => Err(error),
        };
        self.unsent.push(Unsent { token, result });
        None
    }
}
