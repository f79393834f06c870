//! Receiving from sockets in turn.

use std::io;

use rustix::io::Errno;

use super::{
    Done, Epoll,
    ready::Ready,
    socket::{Socket, Wants},
};
use crate::io::{Token, sys};

/// What came of a socket's turn.
pub(super) enum Received {
    Bytes(Token, usize),
    /// Its owner is to receive.
    Nothing(Token),
    Ended(Token, io::Result<()>),
}

impl Epoll {
    /// Changes what the owner of a socket wants.
    #[inline]
    pub(super) fn want(&mut self, token: Token, wants: Wants) {
        if let Some(socket) = self.socket(token) {
            socket.wants = wants;
            self.queue_if_readable(token);
        }
    }

    /// Puts the socket in line if it has something that is wanted.
    pub(super) fn queue_if_readable(&mut self, token: Token) {
        if let Some(socket) = self.socket(token)
            && socket.wants != Wants::Nothing
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
            let Some(socket) = Self::find_mut(&mut self.sockets, token) else { continue };
            socket.is_queued = false;
            match socket.wants {
                Wants::Nothing => continue,
                Wants::Readiness => return Some(Received::Nothing(token)),
                Wants::Bytes => {}
            }
            let result = sys::receive(&socket.fd, &mut self.buffer);
            match received(socket, token, result, self.buffer.len(), &mut self.ready) {
                Ok(0) => {}
                Ok(bytes) => return Some(Received::Bytes(token, bytes)),
                Err(end) => return Some(Received::Ended(token, end)),
            }
        }
        None
    }

    /// Receives to the memory of the socket's owner.
    pub(super) fn receive_to_now(
        &mut self,
        token: Token,
        memory: &mut Vec<u8>,
        most: usize,
    ) -> usize {
        let Some(socket) = Self::find_mut(&mut self.sockets, token) else { return 0 };
        let most = most.min(self.buffer.len());
        let result = sys::receive_to(&socket.fd, memory, most);
        match received(socket, token, result, most, &mut self.ready) {
            Ok(bytes) => bytes,
            Err(end) => {
                self.done.push_back(Done::Ended(token, end));
                0
            }
        }
    }
}

/// Notes what a receive of up to `most` bytes brought: how many there were, or how receiving ended.
#[inline]
fn received(
    socket: &mut Socket,
    token: Token,
    result: Result<usize, Errno>,
    most: usize,
    ready: &mut Ready,
) -> Result<usize, io::Result<()>> {
    match result {
        Ok(0) => {
            socket.wants = Wants::Nothing;
            Err(Ok(()))
        }
        Ok(bytes) => {
            let is_full = bytes == most;
            socket.is_readable = is_full || socket.until_empty;
            ready.received(bytes);
            if is_full {
                socket.is_queued = true;
                ready.push_bulk(token);
            } else if socket.is_readable {
                socket.is_queued = true;
                ready.push(token);
            }
            Ok(bytes)
        }
        Err(Errno::AGAIN) => {
            socket.is_readable = false;
            socket.until_empty = false;
            Ok(0)
        }
        Err(error) => {
            socket.wants = Wants::Nothing;
            Err(Err(error.into()))
        }
    }
}
