//! Deflating messages (RFC 7692 section 7.2.1).
//!
//! All connections of a worker share one [`Deflater`]: a compressor takes 200 to 330 KiB. Only a
//! connection that has agreed to keep its context has one of its own.

use flate2::{Compress, Compression, FlushCompress};

/// The end of an empty block, which is not sent.
const EMPTY_BLOCK_END: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// An empty block without its end: an empty message (section 7.2.3.6).
const EMPTY_MESSAGE: [u8; 1] = [0x00];

/// What a compressor takes at most, about.
const COMPRESSOR_BYTES: usize = 320 << 10;

/// The windows that a compressor can have, as their binary logarithms. RFC 7692 also knows 8, with
/// which zlib's format without a header cannot be written.
const WINDOW_BITS: std::ops::RangeInclusive<u8> = 9..=15;

/// A larger buffer than this is not kept.
const OUTPUT_BYTES_KEPT: usize = 256 << 10;

/// Whether messages may refer to earlier ones of their connection (RFC 7692 section 7.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// Each message stands by itself (`no_context_takeover`).
    Fresh,
    /// The window is kept from message to message.
    Kept,
}

/// permessage-deflate as it was agreed for a connection, seen from one of its ends.
#[derive(Debug)]
pub struct Deflation {
    receives: Context,
    sends: Context,
    window_bits: u8,
    /// The compressor of a connection that keeps its context.
    own: Option<Box<Compress>>,
}

impl Deflation {
    /// What was agreed: the contexts of the messages that this end receives and sends, and the
    /// largest window it may send with, as its binary logarithm from 8 to 15. With 8, nothing is
    /// compressed.
    pub fn new(receives: Context, sends: Context, window_bits: u8) -> Self {
        Self { receives, sends, window_bits, own: None }
    }

    /// The context of the messages that this end receives.
    pub fn receives(&self) -> Context {
        self.receives
    }

    /// How much memory the connection has for this, in bytes.
    pub fn memory_bytes(&self) -> usize {
        if self.own.is_some() { COMPRESSOR_BYTES } else { 0 }
    }
}

/// Deflates the messages of many connections, one after the other.
///
/// Takes 200 to 330 KiB for each window size that is in use, and the length of the longest
/// message while that is being sent.
#[derive(Debug)]
pub struct Deflater {
    level: Compression,
    threshold_bytes: usize,
    /// A compressor for each window, made when it is needed.
    shared: [Option<Compress>; 7],
    output: Vec<u8>,
}

impl Deflater {
    /// A deflater that has no memory yet. `level` is zlib's, from 1 (fast) to 9; messages of less
    /// than `threshold_bytes` are sent as they are.
    pub fn new(level: u32, threshold_bytes: usize) -> Self {
        let level = Compression::new(level.clamp(1, 9));
        Self { level, threshold_bytes, shared: Default::default(), output: Vec::new() }
    }

    /// Gives back what only a long message needed.
    #[inline]
    pub fn trim(&mut self) {
        if self.output.capacity() > OUTPUT_BYTES_KEPT {
            self.output = Vec::new();
        }
    }

    /// The payload of a compressed message; `None` if it is to be sent as it is, because it is
    /// short or because it would become longer.
    pub(super) fn deflate(&mut self, payload: &[u8], deflation: &mut Deflation) -> Option<&[u8]> {
        let window_bits = deflation.window_bits;
        if payload.len() < self.threshold_bytes || !WINDOW_BITS.contains(&window_bits) {
            return None;
        }
        let new = || Compress::new_with_window_bits(self.level, false, window_bits);
        self.output.clear();
        match deflation.sends {
            Context::Kept => {
                let compress = deflation.own.get_or_insert_with(|| Box::new(new()));
                deflate(compress, payload, &mut self.output);
                // What was deflated is part of the context: it has to be sent.
                Some(&self.output)
            }
            Context::Fresh => {
                let index = usize::from(window_bits - WINDOW_BITS.start());
                let compress = self.shared[index].get_or_insert_with(new);
                compress.reset();
                deflate(compress, payload, &mut self.output);
                (self.output.len() < payload.len() || payload.is_empty()).then_some(&self.output)
            }
        }
    }
}

/// Section 7.2.1: blocks up to an empty one, without the end of that.
fn deflate(compress: &mut Compress, mut payload: &[u8], output: &mut Vec<u8>) {
    output.reserve(payload.len() / 2 + 64);
    loop {
        let taken = compress.total_in();
        // It fails only when it is called after its end, which is never reached.
        let done = compress.compress_vec(payload, output, FlushCompress::Sync);
        debug_assert!(done.is_ok());
        payload = &payload[(compress.total_in() - taken) as usize..];
        if output.len() < output.capacity() {
            break;
        }
        output.reserve(output.len() / 2 + 64);
    }
    if output.ends_with(&EMPTY_BLOCK_END) {
        output.truncate(output.len() - EMPTY_BLOCK_END.len());
    } else {
        // A compressor does not follow one empty block with another.
        output.extend_from_slice(&EMPTY_MESSAGE);
    }
}
