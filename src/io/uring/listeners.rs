//! Listeners: accepting until told otherwise.

use std::{
    collections::VecDeque,
    io,
    net::TcpListener,
    os::fd::{AsFd, OwnedFd},
};

use super::{
    Event, Ring,
    tag::{self, Kind},
};

/// The listeners of a driver.
#[derive(Debug, Default)]
pub(super) struct Listeners(Vec<Listener>);

#[derive(Debug)]
struct Listener {
    socket: TcpListener,
    is_accepting: bool,
    is_armed: bool,
    /// What was accepted and not returned: when accepting has been paused, it waits here.
    accepted: VecDeque<io::Result<OwnedFd>>,
}

impl Listeners {
    pub(super) fn add(&mut self, socket: TcpListener) -> usize {
        let accepted = VecDeque::new();
        self.0.push(Listener { socket, is_accepting: false, is_armed: false, accepted });
        self.0.len() - 1
    }

    pub(super) fn accept(&mut self, number: usize, ring: &mut Ring) -> io::Result<()> {
        let Some(listener) = self.0.get_mut(number) else { return Ok(()) };
        listener.is_accepting = true;
        listener.arm(number, ring)
    }

    pub(super) fn pause(&mut self, number: usize, ring: &mut Ring) -> io::Result<()> {
        let Some(listener) = self.0.get_mut(number) else { return Ok(()) };
        listener.is_accepting = false;
        listener.disarm(number, ring)
    }

    /// Closes all of them.
    pub(super) fn close(&mut self, ring: &mut Ring) -> io::Result<()> {
        for (number, listener) in self.0.iter().enumerate() {
            listener.disarm(number, ring)?;
        }
        // The operations keep the sockets until they have been cancelled, which is done now.
        ring.enter(0, None)?;
        self.0.clear();
        Ok(())
    }

    /// An accept has completed.
    pub(super) fn accepted(&mut self, event: Event, ring: &mut Ring) -> io::Result<()> {
        let number = tag::index(event.user_data);
        let result = match event.result {
            0.. => Some(Ok(ring.accepted(event))),
            error => match -error {
                libc::ECANCELED => None,
                // The connection failed before it was accepted: not the listener's trouble.
                libc::EINTR | libc::ECONNABORTED | libc::EPROTO => None,
                error => Some(Err(io::Error::from_raw_os_error(error))),
            },
        };
        let Some(listener) = self.0.get_mut(number) else { return Ok(()) };
        listener.is_armed = event.more();
        // What failed is tried again when somebody asks for it.
        let has_failed = matches!(result, Some(Err(_)));
        listener.accepted.extend(result);
        if has_failed { Ok(()) } else { listener.arm(number, ring) }
    }

    /// The next connection that was accepted, or why none was.
    pub(super) fn next(&mut self) -> Option<(usize, io::Result<OwnedFd>)> {
        let mut listeners = self.0.iter_mut().enumerate();
        let (number, listener) = listeners.find(|(_, listener)| listener.has_accepted())?;
        let result = listener.accepted.pop_front()?;
        listener.is_accepting &= result.is_ok();
        Some((number, result))
    }

    /// Whether there is a [`next`](Self::next).
    pub(super) fn has_next(&self) -> bool {
        self.0.iter().any(Listener::has_accepted)
    }
}

impl Listener {
    fn has_accepted(&self) -> bool {
        self.is_accepting && !self.accepted.is_empty()
    }

    fn arm(&mut self, number: usize, ring: &mut Ring) -> io::Result<()> {
        if !self.is_accepting || self.is_armed {
            return Ok(());
        }
        self.is_armed = true;
        ring.accept(self.socket.as_fd(), Kind::Accept.number(number))
    }

    fn disarm(&self, number: usize, ring: &mut Ring) -> io::Result<()> {
        if !self.is_armed {
            return Ok(());
        }
        ring.cancel(Kind::Accept.number(number), Kind::Cancel.number(usize::MAX))
    }
}
