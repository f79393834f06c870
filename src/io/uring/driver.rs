//! The driver on io_uring: one system call in a pass.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    ops::Range,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    time::Duration,
};

use rustix::event::EventfdFlags;

use super::{
    Event, READABLE, Ring, Span, UringFeatures,
    batching::{Batching, RUN_AT_ONCE},
    proof::prove,
    sockets::{Done, Sockets},
    tag::{self, Kind},
};
use crate::io::{
    Address, Clock, Completion, Driver, OutputProgress, Permits, SendBatch, Token, Unsent, Waker,
    listeners::Listeners, round::Round, sys,
};

/// The io_uring driver. It belongs to the thread that makes it:
///
/// ```compile_fail,E0277
/// # use wireloop::io::Uring;
/// let driver = Uring::new().unwrap();
/// std::thread::spawn(move || drop(driver));
/// ```
#[derive(Debug)]
pub struct Uring {
    pub(super) ring: Ring,
    clock: Clock,
    /// When the last wait ended.
    woke: Duration,
    /// What wakes the driver, and is polled.
    wake: Arc<OwnedFd>,
    sockets: Sockets,
    batching: Batching,
    listeners: Listeners,
    round: Round,
    events: Vec<Event>,
    /// What `next` has lent.
    lent: Option<Span>,
    /// The most that is lent at once.
    receive_bytes: usize,
    /// Whether sends of a batch have been queued since the last wait.
    has_flushed: bool,
    /// Whether there may be connections that can be closed in the next wait.
    has_more_to_close: bool,
    /// Why the ring is of no more use.
    error: Option<io::Error>,
}

impl Uring {
    /// A driver with nothing to do.
    ///
    /// # Errors
    ///
    /// `ENOSYS`, `EPERM`, `EACCES` or `EINVAL` where io_uring is not to be had, or not with what
    /// this driver needs (Linux 6.0); `Unsupported` where it does not do what it should; others
    /// as with every descriptor and all memory.
    pub fn new() -> io::Result<Self> {
        Self::with_features(UringFeatures::ALL)
    }

    /// The same with only some of the optional features of the kernel.
    ///
    /// # Errors
    ///
    /// As those of [`new`](Self::new).
    #[doc(hidden)]
    pub fn with_features(features: UringFeatures) -> io::Result<Self> {
        let flags = EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC;
        let mut driver = Self {
            ring: Ring::new(features)?,
            clock: Clock::start(),
            woke: Duration::ZERO,
            wake: Arc::new(rustix::event::eventfd(0, flags)?),
            sockets: Sockets::default(),
            batching: Batching::default(),
            listeners: Listeners::default(),
            round: Round::default(),
            events: Vec::new(),
            lent: None,
            receive_bytes: usize::MAX,
            has_flushed: false,
            has_more_to_close: false,
            error: None,
        };
        driver.arm_wake()?;
        prove(&mut driver)?;
        driver.sockets = Sockets::default();
        Ok(driver)
    }

    /// Lends at most this many bytes at once, at least one.
    pub fn receive_bytes(self, bytes: usize) -> Self {
        Self { receive_bytes: bytes.max(1), ..self }
    }

    /// Keeps an error for the next wait: the ring is of no more use.
    fn note(&mut self, result: io::Result<()>) {
        if let Err(error) = result {
            self.error.get_or_insert(error);
        }
    }

    fn arm_wake(&mut self) -> io::Result<()> {
        self.ring.poll(self.wake.as_fd(), READABLE, true, Kind::Wake.number(0))
    }

    /// Has the kernel report when connections are waiting.
    fn watch_listener(&mut self, number: usize) -> io::Result<()> {
        match self.listeners.fd(number) {
            Some(fd) => self.ring.poll(fd, READABLE, true, Kind::Accept.number(number)),
            None => Ok(()),
        }
    }

    /// Does what follows from all completions that are there.
    fn take_events(&mut self) -> io::Result<usize> {
        let mut events = std::mem::take(&mut self.events);
        // What did not fit may be about the batch, which is known only until the next one.
        while self.ring.take_events(&mut events) {
            self.ring.enter(0, None)?;
        }
        let count = events.len();
        for event in events.drain(..) {
            match Kind::of(event.user_data) {
                Kind::Accept => {
                    let number = tag::index(event.user_data);
                    self.listeners.ready(number);
                    if !event.more() {
                        self.watch_listener(number)?;
                    }
                }
                Kind::Wake => {
                    // Fails only if there is nothing to be read.
                    let _ = rustix::io::read(&self.wake, &mut [0; 8]);
                    self.sockets.done.push_back(Done::Woken);
                    if !event.more() {
                        self.arm_wake()?;
                    }
                }
                _ => self.sockets.completed(event, &mut self.ring)?,
            }
        }
        self.events = events;
        Ok(count)
    }

    /// Queues the sends of a batch.
    fn queue_sends(
        &mut self,
        batch: &mut SendBatch,
        mut made: impl FnMut(Token),
    ) -> io::Result<()> {
        while !self.ring.take_batch(batch)? {
            self.take_events()?;
        }
        self.has_flushed = true;
        let sends = self.ring.batch().sends().len();
        for place in 0..sends {
            if let Some(token) = self.sockets.send_part(place, &mut self.ring)? {
                made(token);
            }
        }
        Ok(())
    }

    /// How long a wait may take that is asked for `timeout`.
    fn wait_time(&self, timeout: Option<Duration>) -> Option<Duration> {
        if !self.sockets.done.is_empty()
            || self.listeners.has_next()
            || self.sockets.has_waiting()
            || self.has_more_to_close
            || (self.has_flushed && self.sockets.has_closing())
        {
            return Some(Duration::ZERO);
        }
        let look = self.sockets.next_look().map(|look| look.saturating_sub(self.woke));
        [timeout, look].into_iter().flatten().min()
    }

    fn wait_or_fail(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.give_back();
        let armed = self.sockets.arm_waiting(&mut self.ring)?;
        let timeout = self.wait_time(timeout);
        let (want, timeout) = match (timeout, self.batching.more(self.sockets.active())) {
            (Some(Duration::ZERO), _) => (self.batching.at_once(), timeout),
            (_, None) => (1, timeout),
            (_, Some((want, patience))) => {
                (want, Some(timeout.map_or(patience, |timeout| timeout.min(patience))))
            }
        };
        self.ring.enter(want, timeout)?;
        if self.ring.has_queued_parts() {
            // What becomes of the batch is to be known when the wait ends.
            self.ring.submit()?;
        }
        self.has_flushed = false;
        let before = self.sockets.done.len();
        let events = self.take_events()?;
        self.batching.passed(self.sockets.done.len() - before, want);
        self.note_round(events, want, timeout, armed);
        self.listeners.begin_pass();
        self.ring.release_batch();
        self.has_more_to_close = self.sockets.finish_closing(&self.ring);
        self.woke = self.now();
        self.batching.look(self.woke, sys::processor_time);
        self.sockets.look_for_quiet(self.woke, &mut self.ring)
    }

    /// Notes how far a wait has got. Receives that were armed in one wait are made in the next.
    fn note_round(&mut self, events: usize, want: u32, timeout: Option<Duration>, armed: usize) {
        let starved = self.sockets.starved();
        if self.round.is_serving() {
            (0..=armed.saturating_sub(starved)).for_each(|_| self.round.served());
        } else if timeout == Some(Duration::ZERO) {
            // One that sleeps runs only as many of the kernel's tasks as it waits for.
            let most = RUN_AT_ONCE.max(want as usize);
            self.round.waited(events, most, self.sockets.places(), 1 + starved);
        }
    }

    fn give_back(&mut self) {
        if let Some(span) = self.lent.take() {
            self.ring.give_back(span);
        }
    }

    /// Lends the next bytes of a connection, or all if they are few.
    fn lend(&mut self, token: Token, mut span: Span) -> Completion<'_, OwnedFd> {
        self.batching.received(span.bytes());
        let first = match span.split(self.receive_bytes) {
            Some(first) => {
                self.sockets.done.push_front(Done::Received(token, span));
                first
            }
            None => span,
        };
        self.lent = Some(first);
        Completion::Received { token, bytes: self.ring.bytes(first) }
    }
}

impl Driver for Uring {
    type Listener = TcpListener;
    type Stream = OwnedFd;

    fn clock(&self) -> &Clock {
        &self.clock
    }

    fn begin_round(&mut self) {
        self.round = Round::Begins;
    }

    fn is_in_round(&self) -> bool {
        self.round.goes_on()
    }

    fn listen(&mut self, listener: TcpListener) -> io::Result<usize> {
        let number = self.listeners.add(listener);
        self.watch_listener(number)?;
        Ok(number)
    }

    fn accept(&mut self, listener: usize) {
        self.listeners.accept(listener);
    }

    fn limit_accepts(&mut self, permits: Permits) {
        self.listeners.limit(permits);
    }

    fn pause_accept(&mut self, listener: usize) {
        self.listeners.pause(listener);
    }

    fn may_accept(&self) -> bool {
        self.listeners.has_next()
    }

    fn close_listeners(&mut self) {
        for number in 0..self.listeners.len() {
            let poll = Kind::Accept.number(number);
            let result = self.ring.cancel(poll, Kind::Cancel.number(usize::MAX));
            self.note(result);
        }
        // The polls keep the sockets until they have been cancelled, which is done now.
        let result = self.ring.submit();
        self.note(result);
        self.listeners = Listeners::default();
    }

    fn take_listeners(&mut self) -> Vec<TcpListener> {
        self.listeners.take()
    }

    fn attach(&mut self, token: Token, stream: OwnedFd) -> io::Result<()> {
        self.sockets.add(token, stream);
        Ok(())
    }

    fn connect(
        &mut self,
        token: Token,
        address: &Address,
        source: Option<SocketAddr>,
    ) -> io::Result<()> {
        self.sockets.add(token, sys::connect(address, source)?);
        self.sockets.connect(token, &mut self.ring)
    }

    fn receive(&mut self, token: Token) {
        let result = self.sockets.receive(token, &mut self.ring);
        self.note(result);
    }

    fn watch(&mut self, token: Token) {
        let result = self.sockets.watch(token, &mut self.ring);
        self.note(result);
    }

    fn receive_to(&mut self, token: Token, memory: &mut Vec<u8>, most: usize) -> usize {
        let result =
            self.sockets.receive_to(token, memory, most.min(self.receive_bytes), &mut self.ring);
        result.unwrap_or_else(|error| {
            self.note(Err(error));
            0
        })
    }

    fn pause_receive(&mut self, token: Token) {
        let result = self.sockets.pause(token, &mut self.ring);
        self.note(result);
    }

    fn send_back(&mut self, token: Token, range: Range<usize>) {
        if let Some(span) = self.lent {
            let result = self.sockets.send_back(token, span, range, &mut self.ring);
            self.note(result);
        }
    }

    fn send_at_once(&mut self, token: Token, head: &[u8], bytes: Vec<u8>) -> Option<Vec<u8>> {
        let result = self.sockets.send_at_once(token, head, bytes, &mut self.ring);
        result.unwrap_or_else(|error| {
            self.note(Err(error));
            None
        })
    }

    fn flush(&mut self, batch: &mut SendBatch, made: impl FnMut(Token)) {
        if !batch.is_empty() {
            let result = self.queue_sends(batch, made);
            self.note(result);
        }
        batch.clear();
    }

    fn send(&mut self, token: Token, bytes: Vec<u8>) {
        let result = self.sockets.send(token, bytes.into(), &mut self.ring);
        self.note(result);
    }

    fn output_progress(&self, token: Token) -> Option<OutputProgress> {
        self.sockets.output_progress(token)
    }

    fn shutdown(&mut self, token: Token) {
        if self.has_flushed {
            // What was sent before is to be on its way.
            let result = self.ring.submit();
            self.note(result);
        }
        self.sockets.shutdown(token);
    }

    fn close(&mut self, token: Token) {
        let result = self.sockets.close(token, &mut self.ring);
        self.note(result);
        self.has_more_to_close = true;
    }

    fn wait(&mut self, timeout: Option<Duration>, unsent: &mut Vec<Unsent>) -> io::Result<()> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        self.wait_or_fail(timeout)?;
        while let Some(one) = self.sockets.unsent.pop() {
            if self.sockets.is_open(one.token) {
                unsent.push(one);
            }
        }
        Ok(())
    }

    fn next(&mut self) -> Option<Completion<'_, OwnedFd>> {
        self.give_back();
        while let Some(done) = self.sockets.done.pop_front() {
            return Some(match done {
                Done::Closed(token) => Completion::Closed { token },
                Done::Woken => Completion::Woken,
                Done::Received(token, span) if span.bytes() > 0 && self.sockets.is_open(token) => {
                    return Some(self.lend(token, span));
                }
                Done::Received(_, span) => {
                    self.ring.give_back(span);
                    continue;
                }
                // What completed before the connection was closed is of no interest any more.
                Done::Connected(token, _)
                | Done::Readable(token)
                | Done::Sent(token, ..)
                | Done::Ended(token, _)
                    if !self.sockets.is_open(token) =>
                {
                    continue;
                }
                Done::Connected(token, result) => Completion::Connected { token, result },
                Done::Readable(token) => Completion::Readable { token },
                Done::Ended(token, result) => Completion::ReceiveEnded { token, result },
                Done::Sent(token, result, rest) => {
                    Completion::Sent { token, result, memory: rest.into_memory() }
                }
            });
        }
        self.listeners.next()
    }

    fn waker(&self) -> Waker {
        let wake = Arc::clone(&self.wake);
        // A counter that cannot be raised is high, and so will wake.
        Waker::new(move || {
            let _ = rustix::io::write(&wake, &1u64.to_ne_bytes());
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Read, os::unix::net::UnixStream};

    use super::*;

    /// The kernel reads the bytes of a send until its completion, which must not be taken for that
    /// of the next connection in the same place.
    #[test]
    fn a_connection_is_not_closed_before_its_send_has_ended() {
        const TOKEN: Token = Token { index: 0, generation: 1 };
        let mut driver = Uring::new().expect("the tests need io_uring");
        let (near, _far) = UnixStream::pair().unwrap();
        driver.attach(TOKEN, near.into()).unwrap();
        // More than a pair of sockets takes.
        driver.send(TOKEN, vec![0; 8 << 20]);
        driver.wait(Some(Duration::ZERO), &mut Vec::new()).unwrap();
        assert!(driver.ring.has_send(Kind::Send.tag(TOKEN)), "it waits for the peer");
        driver.close(TOKEN);
        loop {
            let is_closed = matches!(driver.next(), Some(Completion::Closed { token: TOKEN }));
            if is_closed {
                break;
            }
            driver.wait(Some(Duration::from_secs(20)), &mut Vec::new()).unwrap();
        }
        assert!(!driver.ring.has_send(Kind::Send.tag(TOKEN)), "it is closed too early");
    }

    /// The ring used to be there as long as its thread, and kept the sockets of its operations.
    #[test]
    fn connections_are_closed_with_the_driver_though_its_thread_goes_on() {
        const TOKEN: Token = Token { index: 0, generation: 1 };
        let mut driver = Uring::new().expect("the tests need io_uring");
        let (near, mut far) = UnixStream::pair().unwrap();
        driver.attach(TOKEN, near.into()).unwrap();
        driver.receive(TOKEN);
        driver.wait(Some(Duration::ZERO), &mut Vec::new()).unwrap();
        drop(driver);
        far.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        assert_eq!(far.read(&mut [0]).unwrap(), 0);
    }
}
