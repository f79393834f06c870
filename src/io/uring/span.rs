//! A piece of the memory that receives are made into, lent to the receiver of the bytes.

use super::setup::BUFFER_BYTES;

/// Bytes that were received, within the storage of the buffers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// Where they begin.
    pub(super) start: u32,
    /// How many there are.
    pub(super) bytes: u32,
    /// How many buffers, from the first on, are given back with these bytes.
    pub(super) ended: u16,
    /// The first of those buffers.
    pub(super) first: u16,
}

impl Span {
    pub(super) fn bytes(self) -> usize {
        self.bytes as usize
    }

    /// Cuts off the first `bytes`, if there are more.
    pub(super) fn split(&mut self, bytes: usize) -> Option<Self> {
        let bytes = u32::try_from(bytes).ok().filter(|bytes| *bytes < self.bytes)?;
        let first = Self { bytes, ended: 0, ..*self };
        self.start += bytes;
        self.bytes -= bytes;
        Some(first)
    }

    /// Adds bytes that were received next, if they lie behind these and all are not too many for
    /// one piece: a message that fills one buffer and goes on in the next is still whole.
    pub(super) fn extend(&mut self, next: Self) -> bool {
        let follows = self.start + self.bytes == next.start
            && self.bytes() + next.bytes() <= 2 * BUFFER_BYTES;
        if follows {
            self.first = if self.ended == 0 { next.first } else { self.first };
            self.ended += next.ended;
            self.bytes += next.bytes;
        }
        follows
    }
}
