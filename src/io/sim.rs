//! A driver without a kernel: peers in memory, a clock of its own, and a seed that decides what
//! goes wrong.
//!
//! Bytes arrive in pieces of any size, sends complete at once, late or in parts, accepting fails,
//! connections are reset. Everything follows from the seed, so that what failed can be replayed.
//! The driver also watches its caller: whoever breaks the [contract](super#the-contract), with a
//! second send in flight, say, or a token after its close, is stopped by a panic.
//!
//! Peers are the test's: it connects them, writes and reads their bytes, and ends them.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use fastrand::Rng;

mod peers;

pub use self::peers::Peer;
use self::peers::Pipe;
use super::{
    Address, Clock, Completion, Driver, OutputProgress, Permits, SendBatch, Token, Unsent, Waker,
};

/// How likely each fault is, in thousandths of the occasions it has.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// A receive brings a single byte.
    pub dribble: u32,
    /// A receive, a send or an accept waits for another pass.
    pub delay: u32,
    /// A pass resets a connection.
    pub reset: u32,
    /// An accept fails with `EMFILE`.
    pub accept: u32,
    /// What is done with a completion takes up to five milliseconds.
    pub slow: u32,
}

/// The simulated driver.
#[derive(Debug)]
pub struct Sim {
    rng: Rng,
    faults: Faults,
    clock: Clock,
    /// Places that have not had a turn since the round began.
    unserved: Vec<u32>,
    pipes: Vec<Pipe>,
    sockets: Vec<Option<Socket>>,
    /// Peers that have connected and were not accepted.
    backlog: VecDeque<usize>,
    is_accepting: bool,
    is_listening: bool,
    permits: Option<Permits>,
    done: VecDeque<Done>,
    unsent: Vec<Unsent>,
    /// The places that may have something to receive in this pass.
    turns: Vec<u32>,
    buffer: Vec<u8>,
    /// What is sent back with the next batch.
    echoes: Vec<(Token, Vec<u8>)>,
    is_woken: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Socket {
    token: Token,
    pipe: usize,
    is_receiving: bool,
    /// Whether the owner receives itself.
    is_watched: bool,
    /// Whether the end, or the failure, has been reported.
    receive_has_ended: bool,
    /// What is being sent, and whether that has to be reported as a completion.
    sending: Option<VecDeque<u8>>,
    shutdown_follows: bool,
}

/// What has arrived at a connection.
enum Arrived {
    /// Bytes, which are in the buffer.
    Bytes,
    /// Bytes, which its owner is to receive.
    Something,
    End(io::Result<()>),
}

#[derive(Debug)]
enum Done {
    Accepted(usize),
    AcceptFailed,
    Full,
    Sent(Token, io::Result<()>),
    Closed(Token),
    Woken,
}

impl Sim {
    /// A simulation in which everything follows from `seed`.
    pub fn new(seed: u64, faults: Faults) -> Self {
        Self {
            rng: Rng::with_seed(seed),
            faults,
            clock: Clock::simulated(),
            unserved: Vec::new(),
            pipes: Vec::new(),
            sockets: Vec::new(),
            backlog: VecDeque::new(),
            is_accepting: false,
            is_listening: false,
            permits: None,
            done: VecDeque::new(),
            unsent: Vec::new(),
            turns: Vec::new(),
            buffer: Vec::new(),
            echoes: Vec::new(),
            is_woken: Arc::default(),
        }
    }

    fn happens(&mut self, per_mille: u32) -> bool {
        self.rng.u32(..1000) < per_mille
    }

    fn socket(&mut self, token: Token) -> &mut Socket {
        let socket = self.sockets.get_mut(token.index as usize).and_then(Option::as_mut);
        let socket = socket.unwrap_or_else(|| panic!("{token:?} is not attached"));
        assert_eq!(socket.token, token, "a stale token");
        socket
    }

    /// Starts a send; whether it was done at once, and how.
    fn start_send(&mut self, token: Token, bytes: &[u8]) -> Option<io::Result<()>> {
        assert!(!bytes.is_empty(), "{token:?}: nothing to send");
        let socket = self.socket(token);
        assert!(socket.sending.is_none(), "{token:?}: a second send in flight");
        assert!(!socket.shutdown_follows, "{token:?}: a send after the shutdown");
        socket.sending = Some(bytes.iter().copied().collect());
        let index = token.index;
        if self.happens(self.faults.delay) { None } else { self.go_on_sending(index) }
    }

    /// Moves what the peer's window takes; the result, when nothing is left.
    fn go_on_sending(&mut self, index: u32) -> Option<io::Result<()>> {
        let part = if self.happens(self.faults.dribble) { 1 } else { usize::MAX };
        let socket = self.sockets[index as usize].as_mut()?;
        let pipe = &mut self.pipes[socket.pipe];
        let sending = socket.sending.as_mut()?;
        if pipe.is_reset {
            socket.sending = None;
            return Some(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let room = pipe.window.saturating_sub(pipe.to_peer.len());
        let taken = sending.len().min(room).min(part);
        pipe.to_peer.extend(sending.drain(..taken));
        if !sending.is_empty() {
            return None;
        }
        socket.sending = None;
        Some(Ok(()))
    }

    /// Lets sends go on and connections fail, and chooses who may receive in this pass.
    fn begin_pass(&mut self) {
        self.turns.clear();
        for index in 0..self.sockets.len() as u32 {
            let Some(socket) = &self.sockets[index as usize] else { continue };
            let (token, pipe) = (socket.token, socket.pipe);
            if self.happens(self.faults.reset) {
                self.pipes[pipe].is_reset = true;
            }
            if !self.happens(self.faults.delay)
                && let Some(result) = self.go_on_sending(index)
            {
                self.done.push_back(Done::Sent(token, result));
            }
            if !self.happens(self.faults.delay) {
                self.turns.push(index);
            }
        }
        self.unserved.retain(|index| {
            let is_there = self.sockets.get(*index as usize).is_some_and(Option::is_some);
            is_there && !self.turns.contains(index)
        });
        self.rng.shuffle(&mut self.turns);
        if self.is_accepting && !self.backlog.is_empty() && !self.happens(self.faults.delay) {
            if self.happens(self.faults.accept) {
                self.is_accepting = false;
                self.done.push_back(Done::AcceptFailed);
            } else if self.permits.as_ref().is_some_and(|permits| !permits.take()) {
                self.is_accepting = false;
                self.done.push_back(Done::Full);
            } else if let Some(pipe) = self.backlog.pop_front() {
                self.done.push_back(Done::Accepted(pipe));
            }
        }
        if self.is_woken.swap(false, Ordering::Relaxed) {
            self.done.push_back(Done::Woken);
        }
    }

    /// What the connection at `index` receives: bytes in the buffer, nothing yet, or an end.
    fn receive_at(&mut self, index: u32) -> Option<(Token, Arrived)> {
        let dribbles = self.happens(self.faults.dribble);
        let socket = self.sockets[index as usize].as_mut()?;
        if !socket.is_receiving || socket.receive_has_ended {
            return None;
        }
        let pipe = &mut self.pipes[socket.pipe];
        if pipe.is_reset {
            socket.receive_has_ended = true;
            let error = io::ErrorKind::ConnectionReset.into();
            return Some((socket.token, Arrived::End(Err(error))));
        }
        let available = pipe.to_server.len();
        if available > 0 && socket.is_watched {
            return Some((socket.token, Arrived::Something));
        }
        if available > 0 {
            let most = if dribbles { 1 } else { self.rng.usize(1..=available) };
            self.buffer.clear();
            self.buffer.extend(pipe.to_server.drain(..most));
            return Some((socket.token, Arrived::Bytes));
        }
        if pipe.peer_has_ended {
            socket.receive_has_ended = true;
            return Some((socket.token, Arrived::End(Ok(()))));
        }
        None
    }
}

impl Driver for Sim {
    type Listener = ();
    /// The number of the peer's pipe.
    type Stream = usize;

    fn clock(&self) -> &Clock {
        &self.clock
    }

    fn begin_round(&mut self) {
        self.unserved = (0..self.sockets.len() as u32).collect();
    }

    fn is_in_round(&self) -> bool {
        !self.unserved.is_empty()
    }

    fn listen(&mut self, (): ()) -> io::Result<usize> {
        self.is_listening = true;
        Ok(0)
    }

    fn accept(&mut self, _listener: usize) {
        self.is_accepting = self.is_listening;
    }

    fn limit_accepts(&mut self, permits: Permits) {
        self.permits = Some(permits);
    }

    fn pause_accept(&mut self, _listener: usize) {
        self.is_accepting = false;
    }

    fn may_accept(&self) -> bool {
        self.is_accepting && !self.backlog.is_empty()
    }

    fn close_listeners(&mut self) {
        self.is_listening = false;
        self.is_accepting = false;
        for pipe in self.backlog.drain(..) {
            self.pipes[pipe].is_reset = true;
        }
    }

    fn take_listeners(&mut self) -> Vec<()> {
        self.is_accepting = false;
        if std::mem::take(&mut self.is_listening) { vec![()] } else { vec![] }
    }

    fn attach(&mut self, token: Token, pipe: usize) -> io::Result<()> {
        let index = token.index as usize;
        if index >= self.sockets.len() {
            self.sockets.resize_with(index + 1, || None);
        }
        assert!(self.sockets[index].is_none(), "{token:?}: the place is in use");
        self.sockets[index] = Some(Socket {
            token,
            pipe,
            is_receiving: false,
            is_watched: false,
            receive_has_ended: false,
            sending: None,
            shutdown_follows: false,
        });
        Ok(())
    }

    fn connect(
        &mut self,
        _token: Token,
        _address: &Address,
        _source: Option<SocketAddr>,
    ) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn receive(&mut self, token: Token) {
        let socket = self.socket(token);
        socket.is_receiving = true;
        socket.is_watched = false;
    }

    fn watch(&mut self, token: Token) {
        let socket = self.socket(token);
        socket.is_receiving = true;
        socket.is_watched = true;
    }

    fn receive_to(&mut self, token: Token, memory: &mut Vec<u8>, most: usize) -> usize {
        let pipe = self.socket(token).pipe;
        let available = self.pipes[pipe].to_server.len().min(most);
        assert!(memory.capacity() - memory.len() >= most, "{token:?}: no room");
        assert!(available > 0, "{token:?}: not readable");
        let part =
            if self.happens(self.faults.dribble) { 1 } else { self.rng.usize(1..=available) };
        memory.extend(self.pipes[pipe].to_server.drain(..part));
        part
    }

    fn pause_receive(&mut self, token: Token) {
        self.socket(token).is_receiving = false;
    }

    fn send_back(&mut self, token: Token, range: Range<usize>) {
        self.echoes.push((token, self.buffer[range].to_vec()));
    }

    fn send_at_once(&mut self, token: Token, head: &[u8], bytes: Vec<u8>) -> Option<Vec<u8>> {
        self.echoes.push((token, [head, &bytes].concat()));
        Some(bytes)
    }

    fn flush(&mut self, batch: &mut SendBatch, mut made: impl FnMut(Token)) {
        let echoes = std::mem::take(&mut self.echoes);
        let echoes = echoes.iter().map(|(token, bytes)| (*token, &bytes[..]));
        for (token, bytes) in echoes.chain(batch.sends()) {
            let socket = self.sockets.get(token.index as usize).and_then(Option::as_ref);
            if socket.is_none_or(|socket| socket.token != token) {
                continue;
            }
            made(token);
            let result = self.start_send(token, bytes);
            let left = self.socket(token).sending.as_ref().map_or(0, VecDeque::len);
            match result {
                Some(Ok(())) => {}
                Some(Err(error)) => self.unsent.push(Unsent { token, result: Err(error) }),
                None => self.unsent.push(Unsent { token, result: Ok(left) }),
            }
        }
        batch.clear();
    }

    fn send(&mut self, token: Token, bytes: Vec<u8>) {
        if let Some(result) = self.start_send(token, &bytes) {
            self.done.push_back(Done::Sent(token, result));
        }
    }

    fn output_progress(&self, token: Token) -> Option<OutputProgress> {
        let socket = self.sockets.get(token.index as usize)?.as_ref()?;
        let pipe = &self.pipes[socket.pipe];
        (socket.token == token).then_some(OutputProgress {
            taken_bytes: pipe.read_bytes + pipe.window as u64,
            outstanding_bytes: pipe.to_peer.len(),
        })
    }

    fn shutdown(&mut self, token: Token) {
        let socket = self.socket(token);
        assert!(socket.sending.is_none(), "{token:?}: a shutdown with a send in flight");
        assert!(!socket.shutdown_follows, "{token:?}: a second shutdown");
        socket.shutdown_follows = true;
        let pipe = socket.pipe;
        self.pipes[pipe].server_has_ended = true;
    }

    fn close(&mut self, token: Token) {
        let pipe = self.socket(token).pipe;
        assert!(!self.pipes[pipe].is_closed, "{token:?}: closed twice");
        self.pipes[pipe].is_closed = true;
        self.sockets[token.index as usize] = None;
        self.unsent.retain(|unsent| unsent.token != token);
        self.done.retain(|done| match done {
            Done::Sent(other, _) => *other != token,
            _ => true,
        });
        self.done.push_back(Done::Closed(token));
    }

    fn wait(&mut self, _timeout: Option<Duration>, unsent: &mut Vec<Unsent>) -> io::Result<()> {
        unsent.append(&mut self.unsent);
        self.begin_pass();
        self.clock.advance(Duration::from_micros(self.rng.u64(1..500)));
        Ok(())
    }

    fn next(&mut self) -> Option<Completion<'_, usize>> {
        if self.happens(self.faults.slow) {
            self.clock.advance(Duration::from_micros(self.rng.u64(1..5000)));
        }
        if let Some(done) = self.done.pop_front() {
            return Some(match done {
                Done::Accepted(stream) => Completion::Accepted { listener: 0, stream, peer: None },
                Done::Full => Completion::Full { listener: 0 },
                Done::AcceptFailed => {
                    let error = io::Error::from_raw_os_error(libc::EMFILE);
                    Completion::AcceptFailed { listener: 0, error }
                }
                Done::Sent(token, result) => Completion::Sent { token, result, memory: Vec::new() },
                Done::Closed(token) => Completion::Closed { token },
                Done::Woken => Completion::Woken,
            });
        }
        while let Some(index) = self.turns.pop() {
            match self.receive_at(index) {
                None => {}
                Some((token, Arrived::Bytes)) => {
                    return Some(Completion::Received { token, bytes: &mut self.buffer });
                }
                Some((token, Arrived::Something)) => return Some(Completion::Readable { token }),
                Some((token, Arrived::End(result))) => {
                    return Some(Completion::ReceiveEnded { token, result });
                }
            }
        }
        None
    }

    fn waker(&self) -> Waker {
        let is_woken = Arc::clone(&self.is_woken);
        Waker::new(move || is_woken.store(true, Ordering::Relaxed))
    }
}
