//! What the driver knows of a socket.

use std::os::fd::OwnedFd;

use super::Epoll;
use crate::io::{Token, Unsent, rest_of, sys};

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
    Send { bytes: Vec<u8>, sent: usize },
}

impl Epoll {
    /// The socket of a connection, if there is one with this token.
    pub(super) fn find(sockets: &[Option<Socket>], token: Token) -> Option<&Socket> {
        let socket = sockets.get(token.index as usize)?.as_ref()?;
        (socket.generation == token.generation).then_some(socket)
    }

    /// Sends two parts; what the kernel does not take of them waits.
    pub(super) fn send_parts_now(&mut self, token: Token, parts: [&[u8]; 2]) {
        let Some(socket) = Self::find(&self.sockets, token) else { return };
        let bytes = parts.map(<[u8]>::len).iter().sum();
        self.long_sends.begin(token, bytes, |token| Some(&Self::find(&self.sockets, token)?.fd));
        match sys::send_parts(&socket.fd, parts) {
            Ok(taken) => {
                let bytes = rest_of(parts, taken);
                if !bytes.is_empty() {
                    self.unsent.push(Unsent { token, result: Ok(bytes.len()) });
                    self.waiting.insert(token.index, Waiting::Send { bytes, sent: 0 });
                }
            }
            Err(error) => self.unsent.push(Unsent { token, result: Err(error.into()) }),
        }
    }
}
