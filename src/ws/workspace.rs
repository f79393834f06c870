//! What the receivers of one thread share, so that a connection that is idle owns next to nothing.

use super::Inflater;

/// The most that is kept of blocks, in bytes: sixteen messages of 1 MiB that arrive at once.
const KEPT_BYTES: usize = 16 << 20;

/// What is worth keeping, in bytes.
const BLOCK_BYTES: usize = 16 << 10;

/// Lent to a [`Receiver`](super::Receiver) while it looks for the next event; may serve any number
/// of them, one after the other.
#[derive(Debug, Default)]
pub struct Workspace {
    pub(super) inflater: Inflater,
    pub(super) blocks: Blocks,
}

impl Workspace {
    /// A workspace that has no memory yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the memory that every compressed message needs: about 45 KiB.
    pub fn warm_up(&mut self) {
        self.inflater.warm_up();
    }

    /// Keeps at most so many bytes of the memory in which long messages were put together; 16 MiB, if
    /// that is less.
    pub fn limit_kept(&mut self, bytes: usize) {
        self.blocks.limit = KEPT_BYTES.min(bytes);
    }

    /// Keeps memory for long messages, if it is worth it and there is not enough.
    pub fn keep(&mut self, memory: Vec<u8>) {
        self.blocks.give(memory);
    }

    /// Frees the memory in which long messages were put together, as far as none is there now.
    pub fn free_kept(&mut self) {
        self.blocks.free();
    }

    /// Gives back what only a long compressed message needed.
    #[inline]
    pub fn trim(&mut self) {
        self.inflater.trim();
    }
}

/// Memory in which messages are put together that come in several receives. Taken from the
/// allocator for each message, and given back, it would be taken from the kernel each time, which
/// fills it with zeros page by page.
#[derive(Debug)]
pub(super) struct Blocks {
    free: Vec<Vec<u8>>,
    bytes: usize,
    /// The most that is kept.
    limit: usize,
}

impl Default for Blocks {
    fn default() -> Self {
        Self { free: Vec::new(), bytes: 0, limit: KEPT_BYTES }
    }
}

impl Blocks {
    fn free(&mut self) {
        self.free = Vec::new();
        self.bytes = 0;
    }

    /// Memory for a message that is to have so many bytes: a kept block, or nothing yet.
    pub(super) fn take(&mut self, bytes: u64) -> Vec<u8> {
        if bytes < BLOCK_BYTES as u64 {
            return Vec::new();
        }
        let block = self.free.pop().unwrap_or_default();
        self.bytes -= block.capacity();
        block
    }

    /// Takes back a block that nobody needs. It is kept, unless it is small or there are enough.
    pub(super) fn give(&mut self, mut block: Vec<u8>) {
        let bytes = block.capacity();
        if bytes >= BLOCK_BYTES && self.bytes + bytes <= self.limit {
            block.clear();
            self.bytes += bytes;
            self.free.push(block);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_used_again_up_to_a_limit() {
        let mut blocks = Blocks { limit: 1 << 20, ..Blocks::default() };
        let length = 100 << 10;
        for _ in 0..100 {
            blocks.give(Vec::with_capacity(length));
            blocks.give(Vec::with_capacity(BLOCK_BYTES - 1));
        }
        assert_eq!(blocks.bytes, (1 << 20) / length * length);
        assert_eq!(blocks.take(100).capacity(), 0, "a short message needs none");
        while blocks.take(length as u64).capacity() > 0 {}
        assert_eq!(blocks.bytes, 0);
        blocks.give(Vec::with_capacity(length));
        blocks.free();
        assert_eq!((blocks.bytes, blocks.take(length as u64).capacity()), (0, 0));
    }
}
