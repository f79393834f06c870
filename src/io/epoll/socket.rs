//! What the driver knows of a socket.

use std::os::fd::OwnedFd;

/// Twelve bytes.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) fd: OwnedFd,
    pub(super) generation: u32,
    pub(super) is_receiving: bool,
    /// An edge came and the socket has not been emptied since.
    pub(super) is_readable: bool,
    /// A short receive does not mean that the socket is empty: the peer has ended its direction,
    /// the socket has failed, or there is urgent data.
    pub(super) until_empty: bool,
    /// Whether the socket stands in `ready`.
    pub(super) is_queued: bool,
}

/// What a socket does when it becomes writable.
#[derive(Debug)]
pub(super) enum Waiting {
    Connect,
    Send { bytes: Vec<u8>, sent: usize },
}
