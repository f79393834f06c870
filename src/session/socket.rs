//! What a session does: read, send, close; each with what is to happen afterwards.

use std::{fmt, time::Duration};

use super::cell::Continuations;
use crate::{
    Error, Handle, Received,
    conn::Channel,
    ws::{CloseCode, CloseFrame, Kind, Misuse, ReadMode},
};

/// A WebSocket session: a value that the connection owns, with the connection's state for fields.
///
/// Its methods and continuations run on the worker that owns the connection, one at a time. A
/// panic in one closes this connection with code 1011 and touches no other. When the connection
/// has ended, and every continuation was called, the session is dropped.
pub trait Session: Sized + 'static {
    /// Called once, when the connection is open. A session that asks for nothing here, neither to
    /// read nor to send, still has its pings answered and its close handshake completed.
    fn start(&mut self, socket: &mut Socket<'_, Self>);

    /// Called for each pong that does not answer one of the server's own pings.
    fn pong(&mut self, socket: &mut Socket<'_, Self>, payload: &[u8]) {
        let _ = (socket, payload);
    }
}

/// The connection of a session of type `S`, lent for the length of a call.
///
/// Nothing here calls back at once: a continuation runs after the function that named it has
/// returned, exactly once, and those of sends in the order of the sends. So a session that reads,
/// sends and reads again from its continuations runs for ever in constant stack.
pub struct Socket<'a, S> {
    channel: Channel<'a>,
    continuations: Continuations<'a, S>,
}

impl<'a, S> Socket<'a, S> {
    pub(super) fn new(channel: Channel<'a>, continuations: Continuations<'a, S>) -> Self {
        Self { channel, continuations }
    }

    /// Reads the next whole message. `then` gets [`Received::Text`] or [`Received::Binary`], or
    /// how the reading ended.
    ///
    /// A second read while one is outstanding gets [`Misuse::ReadOutstanding`]; the first one
    /// stands. A session that does not read stops, after 64 KiB, what its peer sends.
    pub fn read_message(
        &mut self,
        then: impl for<'s, 'r> FnOnce(&mut S, &mut Socket<'s, S>, Received<'r>) + 'static,
    ) {
        if self.continuations.read(Box::new(then)) {
            self.channel.read_begins(ReadMode::Message);
        }
    }

    /// Reads the next frame of a message, with its opcode and whether it is the last: for
    /// messages that are too long to be kept. `then` gets [`Received::Frame`].
    pub fn read_frame(
        &mut self,
        then: impl for<'s, 'r> FnOnce(&mut S, &mut Socket<'s, S>, Received<'r>) + 'static,
    ) {
        if self.continuations.read(Box::new(then)) {
            self.channel.read_begins(ReadMode::Frame);
        }
    }

    /// Sends a text message. `then` gets `Ok` when the message is on its way and more can be
    /// sent: at once, or when the peer has taken what it was sent before.
    ///
    /// `Ok` does not say that the peer has the message: only an answer from the peer can.
    pub fn send_text(
        &mut self,
        text: &str,
        then: impl for<'s> FnOnce(&mut S, &mut Socket<'s, S>, Result<(), Error>) + 'static,
    ) {
        let result = self.channel.send_message(Kind::Text, text.as_bytes());
        self.continuations.sent(result, Box::new(then));
    }

    /// Sends a binary message; otherwise as [`send_text`](Self::send_text).
    pub fn send_binary(
        &mut self,
        bytes: &[u8],
        then: impl for<'s> FnOnce(&mut S, &mut Socket<'s, S>, Result<(), Error>) + 'static,
    ) {
        let result = self.channel.send_message(Kind::Binary, bytes);
        self.continuations.sent(result, Box::new(then));
    }

    /// Sends a fragment of a text message, the last one with `is_final`. Only fragments of the
    /// same message, pings and pongs may be sent until then; what [`Handle`]s send waits.
    pub fn send_text_fragment(
        &mut self,
        text: &str,
        is_final: bool,
        then: impl for<'s> FnOnce(&mut S, &mut Socket<'s, S>, Result<(), Error>) + 'static,
    ) {
        let result = self.channel.send_fragment(Kind::Text, is_final, text.as_bytes());
        self.continuations.sent(result, Box::new(then));
    }

    /// Sends a fragment of a binary message; otherwise as
    /// [`send_text_fragment`](Self::send_text_fragment).
    pub fn send_binary_fragment(
        &mut self,
        bytes: &[u8],
        is_final: bool,
        then: impl for<'s> FnOnce(&mut S, &mut Socket<'s, S>, Result<(), Error>) + 'static,
    ) {
        let result = self.channel.send_fragment(Kind::Binary, is_final, bytes);
        self.continuations.sent(result, Box::new(then));
    }

    /// Sends a ping with a payload of at most 125 bytes. The pong comes to [`Session::pong`].
    /// Pings that find out whether the peer is alive are sent by the server itself.
    pub fn send_ping(
        &mut self,
        payload: &[u8],
        then: impl for<'s> FnOnce(&mut S, &mut Socket<'s, S>, Result<(), Error>) + 'static,
    ) {
        let result = self.channel.send_ping(payload);
        self.continuations.sent(result, Box::new(then));
    }

    /// Sends a pong that nobody asked for, with a payload of at most 125 bytes. The peer's pings
    /// are answered by the server itself.
    pub fn send_pong(
        &mut self,
        payload: &[u8],
        then: impl for<'s> FnOnce(&mut S, &mut Socket<'s, S>, Result<(), Error>) + 'static,
    ) {
        let result = self.channel.send_pong(payload);
        self.continuations.sent(result, Box::new(then));
    }

    /// Starts the closing handshake, after everything that was sent. What the peer sends until
    /// its own Close can still be read; then a read gets [`Received::Closed`].
    ///
    /// # Errors
    ///
    /// A code that must not be sent, a reason over 123 bytes, or a Close that was sent before.
    pub fn close(&mut self, code: CloseCode, reason: &str) -> Result<(), Misuse> {
        self.channel.close(Some(CloseFrame { code, reason }))
    }

    /// How long a read may wait from now on, `None` for ever, as it is at first. A read that
    /// waits longer, by at most 50 ms, gets [`Received::TimedOut`]; the connection goes on.
    pub fn set_read_timeout(&mut self, timeout: Option<Duration>) {
        self.channel.set_read_timeout(timeout);
    }

    /// The time between the server's last ping and its pong; `None` before the first pong and while
    /// a ping is on its way.
    pub fn round_trip(&self) -> Option<Duration> {
        self.channel.round_trip()
    }

    /// A handle that other threads may send with.
    pub fn handle(&self) -> Handle {
        self.channel.handle()
    }
}

impl<S> fmt::Debug for Socket<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("token", &self.channel.token()).finish_non_exhaustive()
    }
}
