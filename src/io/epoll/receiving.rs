//! Receiving from sockets in turn.

use std::io;

use rustix::io::Errno;

use super::Epoll;
use crate::io::{Token, sys};

/// What came of a socket's turn.
pub(super) enum Received {
    Bytes(Token, usize),
    Ended(Token, io::Result<()>),
}

impl Epoll {
    /// Puts the socket in line if it has something and is to receive.
    pub(super) fn queue_if_readable(&mut self, token: Token) {
        if let Some(socket) = self.socket(token)
            && socket.is_receiving
            && socket.is_readable
            && !socket.is_queued
        {
            socket.is_queued = true;
            self.ready.push(token);
        }
    }

    /// Receives once from the socket that is next in line.
    pub(super) fn receive_next(&mut self) -> Option<Received> {
        while let Some(token) = self.ready.next() {
            let socket = self.sockets.get_mut(token.index as usize).and_then(Option::as_mut);
            let Some(socket) = socket.filter(|s| s.generation == token.generation) else {
                continue;
            };
            socket.is_queued = false;
            if !socket.is_receiving {
                continue;
            }
            match sys::receive(&socket.fd, &mut self.buffer) {
                Ok(0) => {
                    socket.is_receiving = false;
                    return Some(Received::Ended(token, Ok(())));
                }
                Ok(bytes) => {
                    let is_full = bytes == self.buffer.len();
                    socket.is_readable = is_full || socket.until_empty;
                    self.ready.received(bytes);
                    if is_full {
                        socket.is_queued = true;
                        self.ready.push_bulk(token);
                    } else {
                        self.queue_if_readable(token);
                    }
                    return Some(Received::Bytes(token, bytes));
                }
                Err(Errno::AGAIN) => {
                    socket.is_readable = false;
                    socket.until_empty = false;
                }
                Err(error) => {
                    socket.is_receiving = false;
                    return Some(Received::Ended(token, Err(error.into())));
                }
            }
        }
        None
    }
}
