//! The seam between the server and the kernel, shaped as completions.
//!
//! A [`Driver`] takes operations and returns [`Completion`]s. A readiness interface presents
//! itself this way easily (try now, wait for the edge if the kernel says no); a completion
//! interface cannot present itself as readiness. The choice of driver is made once, at the start:
//! what stands above is generic over it.
//!
//! # The contract
//!
//! - One pass is: [`wait`](Driver::wait), [`next`](Driver::next) until it returns `None`,
//!   [`flush`](Driver::flush). A pass may flush several batches, each with sends to connections
//!   that the others have none for. A pass is bounded in bytes and in accepted connections; what is
//!   left over comes in the next one, whose `wait` then does not block.
//! - One send per connection is in flight at a time. A send of a batch is taken for granted unless
//!   the next [`wait`](Driver::wait) reports it as [`Unsent`]: nearly all sends succeed at once,
//!   and need not be looked at again. An [`Outbox`] keeps these rules for its user.
//! - Every other operation that was accepted completes exactly once, or many times where it says
//!   so. Nothing completes within the call that starts it.
//! - What the kernel did not take at once is the driver's affair; it completes when everything was
//!   taken or nothing more will be.
//! - After [`close`](Driver::close) the only completion with that token is
//!   [`Completion::Closed`], and only after it the token's index may be used again.
//! - A pass is fair: connections take turns, those that always have more to receive than one turn
//!   takes come after the others, and no connection can take what others need to be received from.
//! - Time is the driver's: [`clock`](Driver::clock).

use std::{fmt, io, mem, net::SocketAddr, ops::Range, path::PathBuf, sync::Arc, time::Duration};

mod buffers;
pub(crate) mod cgroup;
mod clock;
mod epoll;
mod listeners;
mod long_sends;
mod outbox;
mod permits;
mod rest;
mod round;
pub mod sim;
pub mod sys;
mod timer;
mod uring;

pub use buffers::SocketBuffers;
pub use clock::Clock;
pub use epoll::Epoll;
pub use outbox::{Outbox, SendState, SendStates};
pub use permits::Permits;
pub use uring::Uring;
#[doc(hidden)]
pub use uring::UringFeatures;

/// Names a connection to the driver: a place in a table, and the number of its present use, so
/// that what belongs to an earlier use is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token {
    /// The place in the table; below 2^32 - 1.
    pub index: u32,
    /// Different for each use of the place; below 2^32 - 1.
    pub generation: u32,
}

/// Where a connection leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A port of a host.
    Internet(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Internet(address)
    }
}

/// What has been done. See the [contract](self#the-contract).
#[derive(Debug)]
pub enum Completion<'a, S> {
    /// A connection was accepted. To be [attached](Driver::attach) or dropped.
    Accepted {
        /// The listener's number, from [`Driver::listen`].
        listener: usize,
        /// The connection.
        stream: S,
        /// The peer's address, if it has one.
        peer: Option<SocketAddr>,
    },
    /// There was no [permit](Driver::limit_accepts) left; accepting has stopped until
    /// [`Driver::accept`] is called again.
    Full {
        /// The listener's number.
        listener: usize,
    },
    /// Accepting failed, and has stopped until [`Driver::accept`] is called again.
    AcceptFailed {
        /// The listener's number.
        listener: usize,
        /// Such as `EMFILE`.
        error: io::Error,
    },
    /// A connection that was [opened](Driver::connect) is established, or is not.
    Connected {
        /// The connection.
        token: Token,
        /// Whether it is established.
        result: io::Result<()>,
    },
    /// Bytes have arrived. They are the receiver's to change, until the next call.
    Received {
        /// The connection.
        token: Token,
        /// At least one byte.
        bytes: &'a mut [u8],
    },
    /// Something can be [received](Driver::receive_to) from a connection that is
    /// [watched](Driver::watch).
    Readable {
        /// The connection.
        token: Token,
    },
    /// Nothing more will arrive: the peer ended its direction (`Ok`), or the connection failed.
    ReceiveEnded {
        /// The connection.
        token: Token,
        /// How it ended.
        result: io::Result<()>,
    },
    /// The kernel took all that was left [`Unsent`] or was [sent](Driver::send) by itself, or
    /// will not.
    Sent {
        /// The connection.
        token: Token,
        /// Whether it did.
        result: io::Result<()>,
        /// The memory that was sent, for other bytes.
        memory: Vec<u8>,
    },
    /// The connection is gone; its index may be used again.
    Closed {
        /// The connection.
        token: Token,
    },
    /// Another thread used the [`Waker`].
    Woken,
}

/// How far a peer has got with what it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputProgress {
    /// How many bytes it has made room for since the connection began: those that its kernel has
    /// acknowledged, and the window that it offers beyond them. This grows as the peer reads, and
    /// not when its kernel takes what it does not read.
    pub taken_bytes: u64,
    /// How many bytes our kernel has that were not acknowledged.
    pub outstanding_bytes: usize,
}

/// A send of a batch that the kernel did not take as a whole.
#[derive(Debug)]
pub struct Unsent {
    /// The connection.
    pub token: Token,
    /// How many bytes are left, for which [`Completion::Sent`] follows; or why none will be
    /// taken, and then nothing follows.
    pub result: io::Result<usize>,
}

/// An I/O interface of the kernel, or a simulation of it. See the [contract](self#the-contract).
pub trait Driver: Sized {
    /// A socket that listens.
    type Listener;

    /// A connection that has been accepted and not attached.
    type Stream;

    /// The driver's clock.
    fn clock(&self) -> &Clock;

    /// Time since the driver was made. Never goes back.
    fn now(&self) -> Duration {
        self.clock().now()
    }

    /// Begins a round with the next wait. It ends when every connection that had something to
    /// receive then has had a turn: what had arrived has then been received, at least in part.
    fn begin_round(&mut self);

    /// Whether a round has begun and not ended.
    fn is_in_round(&self) -> bool;

    /// Takes a listening socket and returns its number; accepting starts with
    /// [`accept`](Self::accept).
    ///
    /// # Errors
    ///
    /// The kernel's, if the socket cannot be watched.
    fn listen(&mut self, listener: Self::Listener) -> io::Result<usize>;

    /// Accepts connections until told otherwise: [`Completion::Accepted`], many times.
    fn accept(&mut self, listener: usize);

    /// Accepts only with these permits: each connection that is accepted takes one, which its owner
    /// gives back when it is closed.
    fn limit_accepts(&mut self, permits: Permits);

    /// Stops accepting; connections wait in the kernel's queue.
    fn pause_accept(&mut self, listener: usize);

    /// Whether connections may be waiting that would be accepted: a listener accepts, and has not
    /// found its queue empty since the kernel reported some or it began to.
    fn may_accept(&self) -> bool;

    /// Closes all listening sockets.
    fn close_listeners(&mut self);

    /// Gives the listening sockets up as they are, for another driver.
    fn take_listeners(&mut self) -> Vec<Self::Listener>;

    /// Gives a connection its token. Nothing is received before [`receive`](Self::receive).
    ///
    /// # Errors
    ///
    /// The kernel's, if the socket cannot be watched; the connection is then closed.
    fn attach(&mut self, token: Token, stream: Self::Stream) -> io::Result<()>;

    /// Opens a connection, from the address `source` if there is one: [`Completion::Connected`].
    ///
    /// # Errors
    ///
    /// The kernel's, if no socket could be made; there is then no completion. `WouldBlock` says
    /// that the queue of a Unix socket is full: the same call may succeed later.
    fn connect(
        &mut self,
        token: Token,
        address: &Address,
        source: Option<SocketAddr>,
    ) -> io::Result<()>;

    /// Receives until paused: [`Completion::Received`], many times, then at most one
    /// [`Completion::ReceiveEnded`].
    fn receive(&mut self, token: Token);

    /// The same, but what arrives is only reported: [`Completion::Readable`], many times, each
    /// answered by [`receive_to`](Self::receive_to). Completions of a receive before may follow.
    fn watch(&mut self, token: Token);

    /// Receives up to `most` bytes from a connection that is [`Readable`](Completion::Readable), and
    /// appends them to `memory`, which has room for them. Returns how many; if there are none,
    /// [`Completion::ReceiveEnded`] may follow.
    fn receive_to(&mut self, token: Token, memory: &mut Vec<u8>, most: usize) -> usize;

    /// Stops receiving or watching; what arrives fills the kernel's window. One more
    /// [`Completion::Received`] may follow.
    fn pause_receive(&mut self, token: Token);

    /// Sends part of what was [received](Completion::Received) last, from where it lies: now, but
    /// for everything else it is part of the next batch, which has nothing for this connection.
    fn send_back(&mut self, token: Token, range: Range<usize>);

    /// Sends `head` and behind it `bytes`: now, but for everything else it is part of the next batch,
    /// which has nothing for this connection. Keeps the bytes until [`Completion::Sent`] if the kernel
    /// takes only a part of them, or else gives them back.
    fn send_at_once(&mut self, token: Token, head: &[u8], bytes: Vec<u8>) -> Option<Vec<u8>>;

    /// Sends what the batch holds, for each connection what is its own, and empties the batch.
    /// What was meant for a connection that has been closed since is dropped. `made` is called
    /// after each send, which may be made only in the next wait.
    fn flush(&mut self, batch: &mut SendBatch, made: impl FnMut(Token));

    /// Sends bytes that have a buffer of their own: [`Completion::Sent`].
    fn send(&mut self, token: Token, bytes: Vec<u8>);

    /// How far the peer has got with what it was sent; `None` for a connection that is not TCP, or
    /// is gone.
    fn output_progress(&self, token: Token) -> Option<OutputProgress>;

    /// Ends our direction of the connection, after everything that was sent.
    fn shutdown(&mut self, token: Token);

    /// Closes the connection and gives up what is in flight: [`Completion::Closed`].
    fn close(&mut self, token: Token);

    /// Waits until there is a completion, or for `timeout` (`None`: for ever). Appends to
    /// `unsent` which sends of the last batch were cut short; connections that have been closed
    /// since are left out.
    ///
    /// # Errors
    ///
    /// The kernel's; the driver is then of no more use.
    fn wait(&mut self, timeout: Option<Duration>, unsent: &mut Vec<Unsent>) -> io::Result<()>;

    /// The next completion of this pass.
    fn next(&mut self) -> Option<Completion<'_, Self::Stream>>;

    /// What lets other threads end a [`wait`](Self::wait).
    fn waker(&self) -> Waker;
}

/// Ends a driver's wait from any thread: [`Completion::Woken`].
#[derive(Clone)]
pub struct Waker(Arc<dyn Fn() + Send + Sync>);

impl Waker {
    /// A waker that does `wake`.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(wake))
    }

    /// Wakes the driver; more than one call before it wakes counts as one.
    pub fn wake(&self) {
        (self.0)();
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waker")
    }
}

/// How much room a batch keeps, in bytes.
const BATCH_BYTES_KEPT: usize = 1 << 20;

/// The output of a pass: one buffer, and which part of it goes to which connection.
///
/// ```
/// # use wireloop::io::{SendBatch, Token};
/// let mut batch = SendBatch::default();
/// let start = batch.bytes.len();
/// batch.bytes.extend_from_slice(b"hello");
/// batch.push(Token { index: 0, generation: 7 }, start);
/// ```
#[derive(Debug, Default)]
pub struct SendBatch {
    /// Bytes to send, those of one connection together.
    pub bytes: Vec<u8>,
    sends: Vec<(Token, Range<usize>)>,
    /// How often it has been emptied, modulo 2^16.
    emptied: u16,
}

impl SendBatch {
    /// Sends the bytes from `start` to the end of the buffer to the connection.
    pub fn push(&mut self, token: Token, start: usize) {
        self.sends.push((token, start..self.bytes.len()));
    }

    /// Different from those of the batches before, modulo 2^16.
    pub fn number(&self) -> u16 {
        self.emptied.wrapping_add(1)
    }

    /// Takes back what was to be sent to the connection.
    pub fn withdraw(&mut self, token: Token) -> Option<Vec<u8>> {
        let place = self.sends.iter().rposition(|(other, _)| *other == token)?;
        let (_, range) = self.sends.remove(place);
        Some(self.bytes[range].to_vec())
    }

    /// Whether nothing is to be sent.
    pub fn is_empty(&self) -> bool {
        self.sends.is_empty()
    }

    /// What goes to which connection.
    pub fn sends(&self) -> impl ExactSizeIterator<Item = (Token, &[u8])> {
        self.sends.iter().map(|(token, range)| (*token, &self.bytes[range.clone()]))
    }

    /// What is sent at a place in the order of [`push`](Self::push).
    pub fn get(&self, place: usize) -> Option<(Token, &[u8])> {
        let (token, range) = self.sends.get(place)?;
        Some((*token, &self.bytes[range.clone()]))
    }

    /// Changes places with another batch, but each keeps its number.
    fn swap(&mut self, other: &mut Self) {
        mem::swap(&mut self.bytes, &mut other.bytes);
        mem::swap(&mut self.sends, &mut other.sends);
    }

    /// Empties the batch; a buffer that a large message has grown is given back.
    pub fn clear(&mut self) {
        self.sends.clear();
        self.bytes.clear();
        self.bytes.shrink_to(BATCH_BYTES_KEPT);
        self.emptied = self.emptied.wrapping_add(1);
    }
}
