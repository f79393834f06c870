//! How a connection fails, as its session is told.

use std::{fmt, io};

use crate::ws::{Misuse, ProtocolError};

/// Why a read or a send did not succeed, sorted by whose fault it is.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The peer violated the protocol or a limit; the connection is closed with the error's code.
    Protocol(ProtocolError),
    /// The session asked for something that is not allowed; nothing else has changed.
    Misuse(Misuse),
    /// The network or the kernel failed.
    Io(io::Error),
    /// The peer did not answer a ping in time.
    PongTimeout,
    /// The peer did not complete the closing handshake in time.
    CloseTimeout,
    /// The peer sent a message more slowly than [`Config::min_rate`](crate::Config::min_rate).
    MessageTooSlow,
    /// The peer does not take its output: more than
    /// [`Config::send_queue_bytes`](crate::Config::send_queue_bytes) wait.
    SendQueueFull,
    /// The server was short of memory, and the connection held more than others; it is closed with
    /// 1013. See [`Config::memory_bytes`](crate::Config::memory_bytes).
    MemoryShort,
    /// The connection ended before the message could be sent.
    Closed,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protocol(error) => write!(f, "protocol error: {error}"),
            Self::Misuse(error) => write!(f, "misuse: {error}"),
            Self::Io(error) => write!(f, "connection failed: {error}"),
            Self::PongTimeout => f.write_str("the peer did not answer a ping in time"),
            Self::CloseTimeout => f.write_str("the peer did not answer the close in time"),
            Self::MessageTooSlow => f.write_str("the message arrives too slowly"),
            Self::SendQueueFull => f.write_str("the peer does not take its output"),
            Self::MemoryShort => f.write_str("the server is short of memory"),
            Self::Closed => f.write_str("the connection has ended"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Protocol(error) => Some(error),
            Self::Misuse(error) => Some(error),
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<Misuse> for Error {
    fn from(misuse: Misuse) -> Self {
        Self::Misuse(misuse)
    }
}
