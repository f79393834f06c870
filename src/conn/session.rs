//! The connection's view of a session: the type is erased here, once, behind the protocol.

use super::Channel;
use crate::{
    Error,
    ws::{CloseCode, Misuse, OpCode},
};

/// What a read brought.
#[derive(Debug)]
#[non_exhaustive]
pub enum Received<'a> {
    /// A text message, from [`read_message`](crate::Socket::read_message).
    Text(&'a str),
    /// A binary message, from [`read_message`](crate::Socket::read_message).
    Binary(&'a [u8]),
    /// One frame of a message, from [`read_frame`](crate::Socket::read_frame).
    Frame(Frame<'a>),
    /// The connection has ended in order: the peer sent a Close frame, or ended without one
    /// (then the code is [`CloseCode::ABNORMAL`]).
    Closed {
        /// The peer's code; [`CloseCode::NO_STATUS`] if its Close frame had none.
        code: CloseCode,
        /// The peer's reason; often empty.
        reason: &'a str,
    },
    /// Nothing arrived within the read timeout. The connection goes on.
    TimedOut,
    /// The read failed. Except for [`Error::Misuse`], the connection has ended.
    Failed(Error),
}

/// A frame of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// `Text` or `Binary` for the first frame of a message, then `Continuation`.
    pub opcode: OpCode,
    /// Whether the message ends with this frame.
    pub is_final: bool,
    /// The payload, unmasked. Text has been validated up to here, but the frame may end within a
    /// character.
    pub payload: &'a [u8],
}

/// A session with its continuations. All methods that take a [`Channel`] call user code, and are
/// called by the worker only: never within a call by that user code.
pub(crate) trait AnySession {
    /// Begins the session.
    fn start(&mut self, channel: &mut Channel<'_>);

    /// Completes the outstanding read with a text message.
    fn text(&mut self, channel: &mut Channel<'_>, text: &str);

    /// Completes the outstanding read with a binary message.
    fn binary(&mut self, channel: &mut Channel<'_>, bytes: &[u8]);

    /// Completes the outstanding read with something else.
    fn received(&mut self, channel: &mut Channel<'_>, received: Received<'_>);

    /// Completes the outstanding read as a misuse, in its turn.
    fn refuse_read(&mut self, channel: &mut Channel<'_>, misuse: Misuse);

    /// Tells the session of a pong that answers none of our own pings.
    fn pong(&mut self, channel: &mut Channel<'_>, payload: &[u8]);

    /// Calls the oldest completion, if it is due. Whether it was.
    fn run_next(&mut self, channel: &mut Channel<'_>) -> bool;

    /// How many completions have not been called.
    fn completions(&self) -> usize;

    /// Makes all sends that have not completed fail with [`Error::Closed`].
    fn fail_sends(&mut self);
}
