//! Sockets that listen: connections are accepted while they are wanted and edges say there are any.

use std::{net::TcpListener, os::fd::OwnedFd};

use rustix::{io::Errno, net::SocketFlags};

use crate::io::{Completion, sys};

/// How many connections one pass may accept.
const PASS_ACCEPTS: usize = 64;

/// The listeners of a driver, by number.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    all: Vec<Listener>,
    /// How many connections this pass may still accept.
    accepts_left: usize,
}

#[derive(Debug)]
struct Listener {
    socket: TcpListener,
    is_accepting: bool,
    /// Whether connections may be waiting: an edge came and `EAGAIN` has not yet.
    is_ready: bool,
}

impl Listeners {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn add(&mut self, socket: TcpListener) -> usize {
        self.all.push(Listener { socket, is_accepting: false, is_ready: false });
        self.all.len() - 1
    }

    pub(super) fn accept(&mut self, number: usize) {
        if let Some(listener) = self.all.get_mut(number) {
            listener.is_accepting = true;
            // The edge may have come and gone while nobody was accepting.
            listener.is_ready = true;
        }
    }

    pub(super) fn pause(&mut self, number: usize) {
        if let Some(listener) = self.all.get_mut(number) {
            listener.is_accepting = false;
        }
    }

    /// An edge has come.
    pub(super) fn ready(&mut self, number: usize) {
        if let Some(listener) = self.all.get_mut(number) {
            listener.is_ready = true;
        }
    }

    /// Whether there may be a connection to accept.
    pub(super) fn has_next(&self) -> bool {
        self.all.iter().any(|listener| listener.is_accepting && listener.is_ready)
    }

    pub(super) fn begin_pass(&mut self) {
        self.accepts_left = PASS_ACCEPTS;
    }

    /// Accepts the next connection.
    pub(super) fn next(&mut self) -> Option<Completion<'static, OwnedFd>> {
        for (number, listener) in self.all.iter_mut().enumerate() {
            while listener.is_accepting && listener.is_ready && self.accepts_left > 0 {
                self.accepts_left -= 1;
                let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
                match rustix::net::acceptfrom_with(&listener.socket, flags) {
                    Ok((stream, peer)) => {
                        let peer = peer.and_then(sys::socket_address);
                        return Some(Completion::Accepted { listener: number, stream, peer });
                    }
                    Err(Errno::AGAIN) => listener.is_ready = false,
                    // The connection failed before it was accepted: not the listener's trouble.
                    Err(Errno::INTR | Errno::CONNABORTED | Errno::PROTO) => {}
                    Err(error) => {
                        listener.is_accepting = false;
                        return Some(Completion::AcceptFailed {
                            listener: number,
                            error: error.into(),
                        });
                    }
                }
            }
        }
        None
    }
}
