//! RFC 6455 without I/O: bytes in, events out; messages in, bytes out.
//!
//! [`Receiver`] turns bytes, however they were split, into [`Event`]s; [`Sender`] appends frames
//! to a buffer. Both serve both ends of a connection: [`Role`] says which one. Nothing here knows
//! a socket, a clock or a random number; what a rule needs from outside is an argument. So is what
//! many connections share: a [`Workspace`] and the [`Deflater`] of compressed messages.

mod close;
mod deflate;
mod error;
mod frame;
mod inflate;
mod mask;
mod partial;
mod receiver;
mod sender;
mod utf8;
mod workspace;

pub use close::{CloseCode, CloseFrame};
pub use deflate::{Context, Deflater, Deflation};
pub use error::{Misuse, ProtocolError};
pub use frame::{CONTROL_PAYLOAD_MAX, FrameHeader, HEADER_BYTES_MAX, OpCode};
pub use mask::apply_mask;
pub use receiver::{Event, Input, Limits, ReadMode, Receiver, Rules};
pub use sender::{Sender, append_frame};
pub use utf8::{InvalidUtf8, Utf8Stream};
pub use workspace::Workspace;

pub(crate) use receiver::addresses;

use self::{inflate::Inflater, sender::append_bytes, workspace::Blocks};

/// Which end of the connection this is (RFC 6455 section 5.1: a client masks, a server must not).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The end that accepted the connection: receives masked frames, sends unmasked ones.
    Server,
    /// The end that opened the connection: sends masked frames, receives unmasked ones.
    Client,
}

/// What a message carries (RFC 6455 section 5.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8 text.
    Text,
    /// Arbitrary bytes.
    Binary,
}

impl Kind {
    /// The opcode of the first frame of a message of this kind.
    pub const fn opcode(self) -> OpCode {
        match self {
            Self::Text => OpCode::Text,
            Self::Binary => OpCode::Binary,
        }
    }
}

#[cfg(test)]
mod tests;
