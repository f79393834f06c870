//! Connections: which operations each has in flight, and what follows from their completions.
//!
//! A connection that receives has a multishot receive armed. After a while without traffic that is
//! exchanged for a poll, which takes 256 bytes of kernel memory instead of 864. An operation's last
//! completion is awaited before a connection's place is given free, so nothing that comes late can
//! concern the next connection there.

use std::{
    collections::VecDeque,
    io,
    ops::Range,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use rustix::net::Shutdown;

use super::{
    Event, READABLE, Ring, Span, WRITABLE,
    socket::{Flow, Operation, Socket, Wants},
    tag::{self, Kind},
};
use crate::io::{OutputProgress, Token, Unsent, long_sends::LongSends, rest::Rest, sys};

/// How many connections a pass closes: the kernel takes 5 to 8 us for each.
const CLOSED_PER_PASS: usize = 128;

/// How many connections in bulk a pass receives from: each may take one of the 16 buffers.
const BULK_PER_PASS: usize = 8;

/// The connections of a driver.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    places: Vec<Option<Socket>>,
    /// Connections whose receive ended because there was no buffer. They are the first to be
    /// received from in the next pass.
    starved: Vec<Token>,
    /// Connections in [bulk](Flow::Bulk), which take turns after those.
    bulk: VecDeque<Token>,
    /// Connections that are closed when their operations have ended.
    closing: Vec<Token>,
    /// Connections with an armed receive.
    pub(super) busy: Vec<Token>,
    /// When those that are quiet are looked for.
    pub(super) look: Option<Duration>,
    /// Those that were found, and are yet to be polled.
    pub(super) quiet: Vec<Token>,
    pub(super) done: VecDeque<Done>,
    /// What the next wait reports.
    pub(super) unsent: Vec<Unsent>,
    long_sends: LongSends,
}

/// What has completed and was not yet returned.
#[derive(Debug)]
pub(super) enum Done {
    Connected(Token, io::Result<()>),
    Received(Token, Span),
    Readable(Token),
    Ended(Token, io::Result<()>),
    Sent(Token, io::Result<()>, Rest),
    Closed(Token),
    Woken,
}

impl Sockets {
    pub(super) fn add(&mut self, token: Token, fd: OwnedFd) {
        let index = token.index as usize;
        if index >= self.places.len() {
            self.places.resize_with(index + 1, || None);
        }
        self.places[index] = Some(Socket {
            fd,
            generation: token.generation,
            wants: Wants::Nothing,
            operation: Operation::Nothing,
            flow: Flow::Steady,
            is_busy: false,
        });
    }

    /// The connection, if there is one with this token.
    fn find(places: &[Option<Socket>], token: Token) -> Option<&Socket> {
        let socket = places.get(token.index as usize)?.as_ref()?;
        (socket.generation == token.generation).then_some(socket)
    }

    /// The connection, unless it is being closed.
    pub(super) fn open(&mut self, token: Token) -> Option<&mut Socket> {
        let socket = self.places.get_mut(token.index as usize)?.as_mut()?;
        let is_open = socket.generation == token.generation && socket.wants != Wants::Close;
        is_open.then_some(socket)
    }

    pub(super) fn is_open(&mut self, token: Token) -> bool {
        self.open(token).is_some()
    }

    /// The connection that an operation belongs to.
    fn of(&mut self, user_data: u64) -> Option<(Token, &mut Socket)> {
        let index = tag::index(user_data);
        let socket = self.places.get_mut(index)?.as_mut()?;
        let token = Token { index: index as u32, generation: socket.generation };
        tag::is_of(user_data, socket.generation).then_some((token, socket))
    }

    /// Waits for a connection that is being opened.
    pub(super) fn connect(&mut self, token: Token, ring: &mut Ring) -> io::Result<()> {
        let Some(socket) = self.open(token) else { return Ok(()) };
        socket.operation = Operation::Connect;
        ring.poll(socket.fd.as_fd(), WRITABLE, false, Kind::Connect.tag(token))
    }

    pub(super) fn receive(&mut self, token: Token, ring: &mut Ring) -> io::Result<()> {
        let Some(socket) = self.open(token) else { return Ok(()) };
        if matches!(socket.wants, Wants::Nothing | Wants::Readiness) {
            socket.wants = Wants::Bytes;
        }
        if socket.flow == Flow::Quiet {
            socket.flow = Flow::Steady;
        }
        self.arm(token, ring)
    }

    pub(super) fn pause(&mut self, token: Token, ring: &mut Ring) -> io::Result<()> {
        let Some(socket) = self.open(token) else { return Ok(()) };
        if matches!(socket.wants, Wants::Bytes | Wants::Readiness) {
            socket.wants = Wants::Nothing;
        }
        // What it sent meanwhile waits in the socket.
        socket.flow = Flow::Bulk;
        socket.disarm(token, ring)
    }

    /// Arms what waits for bytes, if they are wanted and nothing is armed.
    pub(super) fn arm(&mut self, token: Token, ring: &mut Ring) -> io::Result<()> {
        let Some(socket) = self.open(token) else { return Ok(()) };
        if socket.operation != Operation::Nothing {
            return Ok(());
        }
        match (socket.wants, socket.flow) {
            (Wants::Bytes, Flow::Quiet) | (Wants::Readiness, _) => {
                socket.operation = Operation::Poll;
                return ring.poll(socket.fd.as_fd(), READABLE, false, Kind::Poll.tag(token));
            }
            (Wants::Bytes, Flow::Bulk) => {
                socket.operation = Operation::Queued;
                self.bulk.push_back(token);
                return Ok(());
            }
            (Wants::Bytes, Flow::Steady) => {
                ring.receive(socket.fd.as_fd(), Kind::Receive.tag(token))?;
            }
            (Wants::Nothing | Wants::Ended | Wants::Close, _) => return Ok(()),
        }
        socket.operation = Operation::Receive;
        self.note_busy(token);
        Ok(())
    }

    /// Arms the receives that have waited for their turn, now that all buffers have been given
    /// back: first those that found no buffer, then some of those in bulk, which get no more than
    /// half of the buffers. Returns how many had found none.
    pub(super) fn arm_waiting(&mut self, ring: &mut Ring) -> io::Result<usize> {
        if self.starved.is_empty() && self.bulk.is_empty() {
            return Ok(0);
        }
        let starved = std::mem::take(&mut self.starved);
        let bulk: Vec<Token> = self.bulk.drain(..self.bulk.len().min(BULK_PER_PASS)).collect();
        for &token in starved.iter().chain(&bulk) {
            let Some(socket) = self.open(token) else { continue };
            if socket.operation == Operation::Queued {
                socket.operation = Operation::Receive;
                ring.receive_once(socket.fd.as_fd(), Kind::Receive.tag(token))?;
                self.note_busy(token);
            }
        }
        Ok(starved.len())
    }

    pub(super) fn note_busy(&mut self, token: Token) {
        if let Some(socket) = self.open(token)
            && !std::mem::replace(&mut socket.is_busy, true)
        {
            self.busy.push(token);
        }
    }

    /// How many connections found no buffer in the last wait.
    pub(super) fn starved(&self) -> usize {
        self.starved.len()
    }

    /// Whether connections stand in line for a receive.
    pub(super) fn has_waiting(&self) -> bool {
        !self.starved.is_empty() || !self.bulk.is_empty()
    }

    /// At most how many connections there are.
    pub(super) fn places(&self) -> usize {
        self.places.len()
    }

    /// How many connections are being received from: at least those that have said something in the
    /// last second.
    pub(super) fn active(&self) -> usize {
        self.busy.len()
    }

    /// Does what follows from a completion.
    pub(super) fn completed(&mut self, event: Event, ring: &mut Ring) -> io::Result<()> {
        match Kind::of(event.user_data) {
            Kind::Receive => self.received(event, ring),
            Kind::Part => self.part_left(event, ring),
            Kind::Send => self.sent(event, ring),
            Kind::Poll => self.polled(event, ring),
            Kind::Connect => {
                self.connected(event);
                Ok(())
            }
            Kind::Cancel => {
                self.not_cancelled(event);
                Ok(())
            }
            Kind::Wake | Kind::Accept => Ok(()),
        }
    }

    fn received(&mut self, event: Event, ring: &mut Ring) -> io::Result<()> {
        let span = ring.received(event);
        let Some((token, socket)) = self.of(event.user_data) else {
            debug_assert!(false, "a place is given free when its operations have ended");
            return Ok(());
        };
        if !event.more() {
            socket.operation = Operation::Nothing;
        }
        let ended = match event.result {
            1.. if span.is_none() => Some(Err(io::ErrorKind::InvalidData.into())),
            1.. => {
                let is_bulk = !event.more() && event.has_more_bytes();
                socket.flow = if is_bulk { Flow::Bulk } else { Flow::Steady };
                None
            }
            0 => Some(Ok(())),
            error => match -error {
                libc::ECANCELED => None,
                libc::ENOBUFS => {
                    socket.flow = Flow::Bulk;
                    if socket.wants == Wants::Bytes {
                        socket.operation = Operation::Queued;
                        self.starved.push(token);
                        return Ok(());
                    }
                    None
                }
                error => Some(Err(io::Error::from_raw_os_error(error))),
            },
        };
        if let Some(end) = ended {
            self.receive_ended(token, end);
        }
        // A receive of nothing may have taken a buffer all the same.
        if let Some(span) = span {
            let is_added = match self.done.back_mut() {
                Some(Done::Received(last, bytes)) => *last == token && bytes.extend(span),
                _ => false,
            };
            if !is_added {
                self.done.push_back(Done::Received(token, span));
            }
        }
        self.arm(token, ring)
    }

    /// Something has come for a connection that was quiet or is watched, or its poll was cancelled.
    fn polled(&mut self, event: Event, ring: &mut Ring) -> io::Result<()> {
        let Some((token, socket)) = self.of(event.user_data) else { return Ok(()) };
        socket.operation = Operation::Nothing;
        if socket.wants == Wants::Readiness && event.result >= 0 {
            // Polled again when its owner has received.
            self.done.push_back(Done::Readable(token));
            return Ok(());
        }
        socket.flow = Flow::Steady;
        self.arm(token, ring)
    }

    /// What was to be cancelled is not to be found. If its connection is to be closed, the end of
    /// the socket ends what still waits for it.
    fn not_cancelled(&mut self, event: Event) {
        if let Some((_, socket)) = self.of(event.user_data)
            && socket.wants == Wants::Close
        {
            // Fails if the connection has ended, which is as good.
            let _ = rustix::net::shutdown(&socket.fd, Shutdown::Both);
        }
    }

    /// A part of the batch was not taken as a whole: the rest is sent by itself.
    fn part_left(&mut self, event: Event, ring: &mut Ring) -> io::Result<()> {
        let part = ring.batch().get(tag::index(event.user_data));
        let Some((token, bytes)) = part else { return Ok(()) };
        let taken = match event.result {
            taken @ 0.. => Ok(taken as usize),
            error if matches!(-error, libc::EAGAIN | libc::EINTR) => Ok(0),
            error => Err(io::Error::from_raw_os_error(-error)),
        };
        let rest = taken.map(|taken| bytes.get(taken..).unwrap_or_default().to_vec().into());
        self.cut_short(token, rest, ring)
    }

    /// Sends part of what was received. Not with the ring: while the bytes are in the first-level
    /// cache that saves more than a system call costs.
    #[inline(always)]
    pub(super) fn send_back(
        &mut self,
        token: Token,
        span: Span,
        range: Range<usize>,
        ring: &mut Ring,
    ) -> io::Result<()> {
        let Some(socket) = self.open(token) else { return Ok(()) };
        let bytes = &ring.bytes(span)[range];
        let rest = match sys::send(&socket.fd, bytes) {
            Ok(taken) => Ok(bytes[taken..].to_vec().into()),
            Err(error) => Err(error.into()),
        };
        self.cut_short(token, rest, ring)
    }

    pub(super) fn send_at_once(
        &mut self,
        token: Token,
        head: &[u8],
        bytes: Vec<u8>,
        ring: &mut Ring,
    ) -> io::Result<Option<Vec<u8>>> {
        let Self { places, long_sends, .. } = self;
        let open = |token| Self::find(places, token).filter(|socket| socket.wants != Wants::Close);
        match long_sends.send(token, head, bytes, |token| Some(&open(token)?.fd)) {
            Ok(rest) if rest.left().is_empty() => Ok(Some(rest.into_memory())),
            rest => self.cut_short(token, rest, ring).map(|()| None),
        }
    }

    /// Of what was to be sent at once, this is left; or no more will be taken.
    fn cut_short(
        &mut self,
        token: Token,
        rest: io::Result<Rest>,
        ring: &mut Ring,
    ) -> io::Result<()> {
        match rest {
            Ok(rest) if rest.left().is_empty() => Ok(()),
            Ok(rest) => {
                self.unsent.push(Unsent { token, result: Ok(rest.left().len()) });
                self.send(token, rest, ring)
            }
            Err(error) => {
                self.unsent.push(Unsent { token, result: Err(error) });
                Ok(())
            }
        }
    }

    /// Sends the part of the batch at `place`.
    pub(super) fn send_part(&mut self, place: usize, ring: &mut Ring) -> io::Result<Option<Token>> {
        let part = ring.batch().get(place);
        let Some((token, socket)) = part.and_then(|(token, _)| Some((token, self.open(token)?)))
        else {
            return Ok(None);
        };
        ring.send_part(socket.fd.as_fd(), place, Kind::Part.number(place))?;
        Ok(Some(token))
    }

    /// Sends bytes, however long that takes.
    pub(super) fn send(&mut self, token: Token, rest: Rest, ring: &mut Ring) -> io::Result<()> {
        let Some(socket) = self.open(token) else { return Ok(()) };
        ring.send(socket.fd.as_fd(), rest, Kind::Send.tag(token))
    }

    fn sent(&mut self, event: Event, ring: &mut Ring) -> io::Result<()> {
        let mut rest = ring.finish(event).unwrap_or_default();
        let Some((token, _)) = self.of(event.user_data) else { return Ok(()) };
        let result = match event.result {
            taken @ 0.. => {
                rest.take(taken as usize);
                if !rest.left().is_empty() {
                    return self.send(token, rest, ring);
                }
                Ok(())
            }
            error => Err(io::Error::from_raw_os_error(-error)),
        };
        self.done.push_back(Done::Sent(token, result, rest));
        Ok(())
    }

    fn connected(&mut self, event: Event) {
        let Some((token, socket)) = self.of(event.user_data) else { return };
        socket.operation = Operation::Nothing;
        let result = rustix::net::sockopt::socket_error(&socket.fd).unwrap_or_else(Err);
        self.done.push_back(Done::Connected(token, result.map_err(Into::into)));
    }

    pub(super) fn output_progress(&self, token: Token) -> Option<OutputProgress> {
        sys::output_progress(&Self::find(&self.places, token)?.fd)
    }

    pub(super) fn shutdown(&mut self, token: Token) {
        if let Some(socket) = self.open(token) {
            // Fails only if the connection is gone, which receiving tells.
            let _ = rustix::net::shutdown(&socket.fd, Shutdown::Write);
        }
    }

    /// Gives up what is in flight; closed when that has ended.
    pub(super) fn close(&mut self, token: Token, ring: &mut Ring) -> io::Result<()> {
        let Some(socket) = self.open(token) else { return Ok(()) };
        socket.disarm(token, ring)?;
        socket.wants = Wants::Close;
        self.closing.push(token);
        let send = Kind::Send.tag(token);
        if ring.has_send(send) { ring.cancel(send, Kind::Cancel.tag(token)) } else { Ok(()) }
    }

    /// Whether a connection is being closed.
    pub(super) fn has_closing(&self) -> bool {
        !self.closing.is_empty()
    }

    /// Closes connections whose operations have ended, not too many at a time. Whether there are more.
    pub(super) fn finish_closing(&mut self, ring: &Ring) -> bool {
        let Self { places, closing, done, .. } = self;
        let mut left = CLOSED_PER_PASS;
        closing.retain(|&token| {
            if left == 0 {
                return true;
            }
            let place = &mut places[token.index as usize];
            let operation = place.as_ref().map_or(Operation::Nothing, |socket| socket.operation);
            let is_in_use = operation != Operation::Nothing || ring.has_send(Kind::Send.tag(token));
            if !is_in_use {
                *place = None;
                done.push_back(Done::Closed(token));
                left -= 1;
            }
            is_in_use
        });
        left == 0
    }
}
