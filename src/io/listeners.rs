//! Sockets that listen: connections are accepted while they are wanted and the kernel has reported
//! that there are any. Both drivers accept one by one: a multishot accept of io_uring would take
//! the whole queue, however many connections the server is to have.

use std::{
    net::TcpListener,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{io::Errno, net::SocketFlags};

use super::{Completion, Permits, sys};

/// How many connections one pass may accept.
const PASS_ACCEPTS: usize = 64;

/// The listeners of a driver, by number.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    all: Vec<Listener>,
    /// Which one accepts next: they take turns, so that none that always has connections waiting
    /// keeps the others from accepting.
    turn: usize,
    /// How many connections this pass may still accept.
    accepts_left: usize,
    /// What limits the connections of all workers, if anything does.
    permits: Option<Permits>,
}

#[derive(Debug)]
struct Listener {
    socket: TcpListener,
    is_accepting: bool,
    /// Whether connections may be waiting: the kernel reported some and `EAGAIN` has not come yet.
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

    /// Gives the sockets up.
    pub(super) fn take(&mut self) -> Vec<TcpListener> {
        self.all.drain(..).map(|listener| listener.socket).collect()
    }

    /// Accepts only with these permits.
    pub(super) fn limit(&mut self, permits: Permits) {
        self.permits = Some(permits);
    }

    pub(super) fn accept(&mut self, number: usize) {
        if let Some(listener) = self.all.get_mut(number) {
            listener.is_accepting = true;
            // The report may have come while nobody was accepting.
            listener.is_ready = true;
        }
    }

    pub(super) fn pause(&mut self, number: usize) {
        if let Some(listener) = self.all.get_mut(number) {
            listener.is_accepting = false;
        }
    }

    /// The socket of a listener.
    pub(super) fn fd(&self, number: usize) -> Option<BorrowedFd<'_>> {
        self.all.get(number).map(|listener| listener.socket.as_fd())
    }

    /// The kernel has reported that connections are waiting.
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
    #[inline]
    pub(super) fn next(&mut self) -> Option<Completion<'static, OwnedFd>> {
        if self.has_next() { self.accept_next() } else { None }
    }

    #[inline(never)]
    fn accept_next(&mut self) -> Option<Completion<'static, OwnedFd>> {
        for _ in 0..self.all.len() {
            let number = if self.turn < self.all.len() { self.turn } else { 0 };
            self.turn = number + 1;
            let listener = &mut self.all[number];
            while listener.is_accepting && listener.is_ready && self.accepts_left > 0 {
                self.accepts_left -= 1;
                if self.permits.as_ref().is_some_and(|permits| !permits.take()) {
                    listener.is_accepting = false;
                    return Some(Completion::Full { listener: number });
                }
                let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
                let accepted = rustix::net::acceptfrom_with(&listener.socket, flags);
                if let Ok((stream, peer)) = accepted {
                    let peer = peer.and_then(sys::socket_address);
                    return Some(Completion::Accepted { listener: number, stream, peer });
                }
                if let Some(permits) = &self.permits {
                    permits.give_back(1);
                }
                match accepted.map(drop) {
                    Ok(()) => {}
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
