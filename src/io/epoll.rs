//! The driver on epoll, through mio: readiness presented as completions.
//!
//! A socket is registered once, for both directions and edge-triggered, and never again: no
//! `epoll_ctl` per message. A receive that returns less than the buffer holds has emptied the
//! socket (epoll(7)), so there is no second one to be told `EAGAIN`, but for urgent data, at which
//! a receive stops; a receive that fills the buffer leaves the socket in line for the next pass.

use std::{
    collections::{HashMap, VecDeque},
    io,
    net::{SocketAddr, TcpListener},
    ops::Range,
    os::fd::{AsRawFd, OwnedFd},
    sync::Arc,
    time::Duration,
};

use mio::{Interest, unix::SourceFd};
use rustix::net::Shutdown;

mod ready;
mod receiving;
mod socket;

use self::{
    ready::Ready,
    receiving::Received,
    socket::{Socket, Waiting, Wants},
};
use super::{
    Address, Clock, Completion, Driver, OutputProgress, Permits, SendBatch, Token, Unsent, Waker,
    listeners::Listeners, long_sends::LongSends, rest::Rest, sys, timer::Timer,
};

/// What one receive may bring. Small enough to stay in the second-level cache together with what
/// is sent in reply, and twice what a message of 64 KiB needs to come in one piece.
const RECEIVE_BYTES: usize = 128 << 10;

/// How many events one wait may bring.
const EVENTS: usize = 1024;

/// Timeouts below this are kept to the microsecond with a timer of their own: epoll counts in
/// milliseconds, and mio rounds up.
const FINE_TIMEOUT: Duration = Duration::from_millis(20);

/// A timer that goes off so near to the time is not set again: waits that end with something else
/// are followed by another one until the same moment, and setting it costs a system call.
const TIMER_SLACK: Duration = Duration::from_micros(10);

const WAKE: mio::Token = mio::Token(usize::MAX);
const TIMER: mio::Token = mio::Token(usize::MAX - 1);
/// The generation of the tokens that stand for listeners.
const LISTENERS: u32 = u32::MAX;

/// The epoll driver.
#[derive(Debug)]
pub struct Epoll {
    poll: mio::Poll,
    events: mio::Events,
    waker: Arc<mio::Waker>,
    timer: Option<Timer>,
    /// When it goes off, if it has been set and has not.
    timer_due: Duration,
    clock: Clock,
    sockets: Vec<Option<Socket>>,
    /// What some sockets do when they become writable, by their index.
    waiting: HashMap<u32, Waiting>,
    listeners: Listeners,
    ready: Ready,
    done: VecDeque<Done>,
    /// What the next wait reports.
    unsent: Vec<Unsent>,
    long_sends: LongSends,
    buffer: Box<[u8]>,
}

/// An operation that has completed and was not yet returned.
#[derive(Debug)]
enum Done {
    Connected(Token, io::Result<()>),
    Sent(Token, io::Result<()>, Rest),
    Ended(Token, io::Result<()>),
    Closed(Token),
    Woken,
}

impl Epoll {
    /// A driver with nothing to do.
    ///
    /// # Errors
    ///
    /// The kernel's, such as `EMFILE`.
    pub fn new() -> io::Result<Self> {
        let poll = mio::Poll::new()?;
        let waker = Arc::new(mio::Waker::new(poll.registry(), WAKE)?);
        Ok(Self {
            poll,
            events: mio::Events::with_capacity(EVENTS),
            waker,
            timer: None,
            timer_due: Duration::ZERO,
            clock: Clock::start(),
            sockets: Vec::new(),
            waiting: HashMap::new(),
            listeners: Listeners::default(),
            ready: Ready::default(),
            done: VecDeque::new(),
            unsent: Vec::new(),
            long_sends: LongSends::default(),
            buffer: vec![0; RECEIVE_BYTES].into_boxed_slice(),
        })
    }

    /// Lets one receive bring at most this many bytes, at least one. Their memory is taken now.
    pub fn receive_bytes(self, bytes: usize) -> Self {
        Self { buffer: vec![1; bytes.max(1)].into_boxed_slice(), ..self }
    }

    fn socket(&mut self, token: Token) -> Option<&mut Socket> {
        Self::find_mut(&mut self.sockets, token)
    }

    fn register(&mut self, token: Token, fd: OwnedFd) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY;
        self.poll.registry().register(&mut SourceFd(&fd.as_raw_fd()), pack(token), interest)?;
        let index = token.index as usize;
        if index >= self.sockets.len() {
            self.sockets.resize_with(index + 1, || None);
        }
        self.sockets[index] = Some(Socket {
            fd,
            generation: token.generation,
            wants: Wants::Nothing,
            is_readable: false,
            until_empty: false,
            is_queued: false,
        });
        Ok(())
    }

    fn has_work(&self) -> bool {
        !self.done.is_empty() || !self.ready.is_empty() || self.listeners.has_next()
    }

    /// Marks what the events of a wait report; how many there were.
    fn take_events(&mut self) -> usize {
        let mut count = 0;
        let events = std::mem::replace(&mut self.events, mio::Events::with_capacity(0));
        for event in &events {
            count += 1;
            match event.token() {
                WAKE => self.done.push_back(Done::Woken),
                TIMER => self.timer_due = Duration::ZERO,
                token => match unpack(token) {
                    Token { index, generation: LISTENERS } => {
                        self.listeners.ready(index as usize);
                    }
                    token => self.take_event(token, event),
                },
            }
        }
        self.events = events;
        count
    }

    fn take_event(&mut self, token: Token, event: &mio::event::Event) {
        let Some(socket) = self.socket(token) else { return };
        let until_empty = event.is_read_closed() || event.is_error() || event.is_priority();
        if event.is_readable() || until_empty {
            socket.is_readable = true;
            socket.until_empty |= until_empty;
        }
        if event.is_writable() || event.is_error() {
            self.go_on_writing(token);
        }
        self.queue_if_readable(token);
    }

    /// Continues what waited for the socket to become writable.
    fn go_on_writing(&mut self, token: Token) {
        if self.waiting.is_empty() {
            return;
        }
        let Some(Some(socket)) = self.sockets.get(token.index as usize) else { return };
        let done = match self.waiting.get_mut(&token.index) {
            None => return,
            Some(Waiting::Connect) => {
                let result = rustix::net::sockopt::socket_error(&socket.fd).unwrap_or_else(Err);
                Done::Connected(token, result.map_err(Into::into))
            }
            Some(Waiting::Send(rest)) => {
                let result = sys::send(&socket.fd, rest.left());
                rest.take(*result.as_ref().unwrap_or(&0));
                if result.is_ok() && !rest.left().is_empty() {
                    return;
                }
                Done::Sent(token, result.map(drop).map_err(Into::into), std::mem::take(rest))
            }
        };
        self.waiting.remove(&token.index);
        self.done.push_back(done);
    }

    /// Sends what the kernel takes at once, and sees to the rest. Whether the connection is there.
    ///
    /// As a function of its own it cost 5 to 9 % of all CPU (docs/ARCHITECTURE.md).
    #[inline(always)]
    fn send_now(&mut self, token: Token, bytes: &[u8]) -> bool {
        let Some(socket) = self.socket(token) else { return false };
        match sys::send(&socket.fd, bytes) {
            Ok(taken) if taken == bytes.len() => {}
            Ok(taken) => {
                let bytes = bytes[taken..].to_vec();
                self.unsent.push(Unsent { token, result: Ok(bytes.len()) });
                self.waiting.insert(token.index, Waiting::Send(bytes.into()));
            }
            Err(error) => self.unsent.push(Unsent { token, result: Err(error.into()) }),
        }
        true
    }

    /// Arms the timer that counts finer than epoll does.
    fn set_fine_timer(&mut self, timeout: Duration) -> io::Result<()> {
        let due = self.now() + timeout;
        if self.timer_due.abs_diff(due) <= TIMER_SLACK {
            return Ok(());
        }
        let timer = match &self.timer {
            Some(timer) => timer,
            None => {
                let timer = Timer::new()?;
                let mut source = SourceFd(&timer.as_raw_fd());
                self.poll.registry().register(&mut source, TIMER, Interest::READABLE)?;
                self.timer.insert(timer)
            }
        };
        timer.set(timeout)?;
        self.timer_due = due;
        Ok(())
    }
}

impl Driver for Epoll {
    type Listener = TcpListener;
    type Stream = OwnedFd;

    fn clock(&self) -> &Clock {
        &self.clock
    }

    fn begin_round(&mut self) {
        self.ready.begin_round();
    }

    fn is_in_round(&self) -> bool {
        self.ready.is_in_round()
    }

    fn listen(&mut self, listener: TcpListener) -> io::Result<usize> {
        let index = self.listeners.len() as u32;
        let token = pack(Token { index, generation: LISTENERS });
        let mut source = SourceFd(&listener.as_raw_fd());
        self.poll.registry().register(&mut source, token, Interest::READABLE)?;
        Ok(self.listeners.add(listener))
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
        self.listeners = Listeners::default();
    }

    fn take_listeners(&mut self) -> Vec<TcpListener> {
        self.listeners.take()
    }

    fn attach(&mut self, token: Token, stream: OwnedFd) -> io::Result<()> {
        self.register(token, stream)
    }

    fn connect(
        &mut self,
        token: Token,
        address: &Address,
        source: Option<SocketAddr>,
    ) -> io::Result<()> {
        let fd = sys::connect(address, source)?;
        self.register(token, fd)?;
        self.waiting.insert(token.index, Waiting::Connect);
        Ok(())
    }

    fn receive(&mut self, token: Token) {
        self.want(token, Wants::Bytes);
    }

    fn watch(&mut self, token: Token) {
        self.want(token, Wants::Readiness);
    }

    fn receive_to(&mut self, token: Token, memory: &mut Vec<u8>, most: usize) -> usize {
        self.receive_to_now(token, memory, most)
    }

    fn pause_receive(&mut self, token: Token) {
        self.want(token, Wants::Nothing);
    }

    fn send_back(&mut self, token: Token, range: Range<usize>) {
        let buffer = std::mem::take(&mut self.buffer);
        self.send_now(token, &buffer[range]);
        self.buffer = buffer;
    }

    fn send_at_once(&mut self, token: Token, head: &[u8], bytes: Vec<u8>) -> Option<Vec<u8>> {
        self.send_with_head(token, head, bytes)
    }

    fn flush(&mut self, batch: &mut SendBatch, mut made: impl FnMut(Token)) {
        for (token, bytes) in batch.sends() {
            if self.send_now(token, bytes) {
                made(token);
            }
        }
        batch.clear();
    }

    fn send(&mut self, token: Token, bytes: Vec<u8>) {
        if self.socket(token).is_some() {
            self.waiting.insert(token.index, Waiting::Send(bytes.into()));
            self.go_on_writing(token);
        }
    }

    fn output_progress(&self, token: Token) -> Option<OutputProgress> {
        sys::output_progress(&Self::find(&self.sockets, token)?.fd)
    }

    fn shutdown(&mut self, token: Token) {
        if let Some(socket) = self.socket(token) {
            // Fails only if the connection is gone, which receiving tells.
            let _ = rustix::net::shutdown(&socket.fd, Shutdown::Write);
        }
    }

    fn close(&mut self, token: Token) {
        if self.socket(token).is_some() {
            // Closing the descriptor takes it out of epoll.
            self.sockets[token.index as usize] = None;
            self.waiting.remove(&token.index);
            self.done.push_back(Done::Closed(token));
        }
    }

    fn wait(&mut self, timeout: Option<Duration>, unsent: &mut Vec<Unsent>) -> io::Result<()> {
        let timeout = if self.has_work() { Some(Duration::ZERO) } else { timeout };
        let timeout = match timeout {
            // Without a descriptor left for the timer, the wait is as coarse as epoll's own.
            Some(fine)
                if !fine.is_zero() && fine < FINE_TIMEOUT && self.set_fine_timer(fine).is_ok() =>
            {
                Some(FINE_TIMEOUT)
            }
            other => other,
        };
        match self.poll.poll(&mut self.events, timeout) {
            Ok(()) => {
                let events = self.take_events();
                self.ready.waited(events, EVENTS, self.sockets.len());
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        while let Some(one) = self.unsent.pop() {
            if self.socket(one.token).is_some() {
                unsent.push(one);
            }
        }
        self.ready.begin_pass();
        self.listeners.begin_pass();
        Ok(())
    }

    fn next(&mut self) -> Option<Completion<'_, OwnedFd>> {
        while let Some(done) = self.done.pop_front() {
            return Some(match done {
                // What completed before the connection was closed is of no interest any more.
                Done::Connected(token, _) | Done::Sent(token, ..) | Done::Ended(token, _)
                    if self.socket(token).is_none() =>
                {
                    continue;
                }
                Done::Connected(token, result) => Completion::Connected { token, result },
                Done::Sent(token, result, rest) => {
                    Completion::Sent { token, result, memory: rest.into_memory() }
                }
                Done::Ended(token, result) => Completion::ReceiveEnded { token, result },
                Done::Closed(token) => Completion::Closed { token },
                Done::Woken => Completion::Woken,
            });
        }
        match self.receive_next() {
            Some(Received::Bytes(token, bytes)) => {
                Some(Completion::Received { token, bytes: &mut self.buffer[..bytes] })
            }
            Some(Received::Ended(token, result)) => {
                Some(Completion::ReceiveEnded { token, result })
            }
            Some(Received::Nothing(token)) => Some(Completion::Readable { token }),
            None => self.listeners.next(),
        }
    }

    fn waker(&self) -> Waker {
        let waker = Arc::clone(&self.waker);
        // An eventfd that cannot be written to is full, and so will wake.
        Waker::new(move || drop(waker.wake()))
    }
}

fn pack(token: Token) -> mio::Token {
    mio::Token((token.generation as usize) << 32 | token.index as usize)
}

fn unpack(token: mio::Token) -> Token {
    Token { index: token.0 as u32, generation: (token.0 >> 32) as u32 }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// A timer that is not set again for each wait still goes off in time.
    #[test]
    fn waits_that_others_end_are_as_fine_as_one() {
        let mut driver = Epoll::new().unwrap();
        let due = driver.now() + Duration::from_micros(7500);
        let waker = driver.waker();
        let waking = thread::spawn(move || {
            for _ in 0..20 {
                waker.wake();
                thread::sleep(Duration::from_micros(200));
            }
        });
        let mut waits = 0;
        while driver.now() + TIMER_SLACK < due {
            driver.wait(Some(due.saturating_sub(driver.now())), &mut Vec::new()).unwrap();
            while driver.next().is_some() {}
            waits += 1;
        }
        let late = driver.now().saturating_sub(due);
        waking.join().unwrap();
        // Without a timer the last wait ends with a whole millisecond, or at FINE_TIMEOUT.
        assert!(waits <= 24 && late < Duration::from_millis(10), "{waits} waits, {late:?} late");
    }
}
