//! Inflating messages (RFC 7692 section 7.2.2), with a limit that is checked while they grow.
//!
//! All connections of a worker share one [`Inflater`]. A connection has a decompressor of its own
//! only within a message that it reads frame by frame; what later messages may refer to, where
//! context takeover was agreed, is kept as bytes, and only as many as there have been.

use flate2::{Decompress, FlushDecompress, Status};

use super::{Context, Deflater, Deflation, ProtocolError, Utf8Stream};

/// What is put after a message's payload: the end of the empty block which the sender took away,
/// and an empty final block. Unless the stream then ends, the payload ended within a block.
const TAIL: [u8; 6] = [0x00, 0x00, 0xff, 0xff, 0x03, 0x00];

/// How far back a block may refer (RFC 1951 section 2).
const WINDOW_BYTES: usize = 32 << 10;

/// What a decompressor takes, about.
const STREAM_BYTES: usize = 45 << 10;

/// The least room for what is inflated.
const OUTPUT_BYTES_MIN: usize = 4 << 10;

/// A larger buffer than this is not kept.
const OUTPUT_BYTES_KEPT: usize = 256 << 10;

/// Inflates the messages of many connections, one after the other.
///
/// Takes about 45 KiB once it has been used, and the length of the longest message while that is
/// being read.
#[derive(Debug, Default)]
pub(super) struct Inflater {
    /// A decompressor that no message needs now.
    idle: Option<Stream>,
    /// What was inflated last.
    output: Vec<u8>,
}

/// What a connection keeps between the parts of a message, or between messages.
#[derive(Debug, Default)]
pub(super) struct Inflation {
    stream: Option<Stream>,
    history: History,
    utf8: Utf8Stream,
}

impl Inflater {
    /// Takes the memory that every message needs, by inflating one of zeros.
    pub(super) fn warm_up(&mut self) {
        let mut deflater = Deflater::new(1, 0);
        let mut deflation = Deflation::new(Context::Fresh, Context::Fresh, 15);
        let zeros = vec![0; 2 * WINDOW_BYTES];
        if let Some(payload) = deflater.deflate(&zeros, &mut deflation) {
            let inflation = &mut Inflation::default();
            let inflated = self.inflate(inflation, payload, true, Context::Fresh, zeros.len());
            debug_assert_eq!(inflated.map(<[u8]>::len), Ok(zeros.len()));
        }
        self.output = Vec::new();
    }

    /// Gives back what only a long message needed.
    #[inline]
    pub(super) fn trim(&mut self) {
        if self.output.capacity() > OUTPUT_BYTES_KEPT {
            self.output = Vec::new();
        }
    }

    /// The memory for what is inflated.
    #[cfg(test)]
    pub(super) fn output_capacity(&self) -> usize {
        self.output.capacity()
    }

    /// Inflates the next part of a message, and lends it.
    pub(super) fn inflate(
        &mut self,
        inflation: &mut Inflation,
        part: &[u8],
        is_final: bool,
        context: Context,
        limit: usize,
    ) -> Result<&[u8], ProtocolError> {
        self.output.clear();
        let mut stream = inflation.stream.take().unwrap_or_else(|| self.start(&inflation.history));
        stream.inflate(part, &mut self.output, limit)?;
        if is_final {
            stream.finish(&mut self.output, limit)?;
            self.idle = Some(stream);
        } else {
            inflation.stream = Some(stream);
        }
        if context == Context::Kept {
            inflation.history.push(&self.output);
        }
        Ok(&self.output)
    }

    fn start(&mut self, history: &History) -> Stream {
        let mut stream = self.idle.take().unwrap_or_else(Stream::new);
        stream.restart(&history.0);
        stream
    }
}

impl Inflation {
    /// Whether there is nothing to be kept.
    pub(super) fn is_empty(&self) -> bool {
        self.stream.is_none() && self.history.0.is_empty()
    }

    /// How much memory this takes, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        let stream = if self.stream.is_some() { STREAM_BYTES } else { 0 };
        size_of::<Self>() + stream + self.history.0.capacity()
    }

    /// Checks a part of a text message that is read in parts.
    pub(super) fn check_text(&mut self, part: &[u8], is_final: bool) -> Result<(), ProtocolError> {
        self.utf8.push(part).map_err(|_| ProtocolError::InvalidUtf8)?;
        if !is_final || std::mem::take(&mut self.utf8).is_complete() {
            Ok(())
        } else {
            Err(ProtocolError::InvalidUtf8)
        }
    }
}

/// The end of what was inflated, to which what follows may refer.
#[derive(Debug, Default)]
struct History(Vec<u8>);

impl History {
    fn push(&mut self, output: &[u8]) {
        let new = &output[output.len().saturating_sub(WINDOW_BYTES)..];
        let excess = (self.0.len() + new.len()).saturating_sub(WINDOW_BYTES);
        self.0.drain(..excess);
        let needed = self.0.len() + new.len();
        if needed > self.0.capacity() {
            let room = needed.max(2 * self.0.capacity()).min(WINDOW_BYTES);
            self.0.reserve_exact(room - self.0.len());
        }
        self.0.extend_from_slice(new);
    }
}

/// A decompressor.
#[derive(Debug)]
struct Stream {
    decompress: Decompress,
    /// The last block of the stream has been read: it had BFINAL (RFC 7692 section 7.2.3.4).
    has_ended: bool,
}

impl Stream {
    fn new() -> Self {
        Self { decompress: Decompress::new(false), has_ended: false }
    }

    fn restart(&mut self, history: &[u8]) {
        self.has_ended = false;
        self.decompress.reset(false);
        if !history.is_empty() {
            // A raw stream takes a dictionary of at most its window at any time.
            let set = self.decompress.set_dictionary(history);
            debug_assert!(set.is_ok());
        }
    }

    /// Inflates `input` to the end of `output`.
    fn inflate(
        &mut self,
        mut input: &[u8],
        output: &mut Vec<u8>,
        limit: usize,
    ) -> Result<(), ProtocolError> {
        loop {
            if self.has_ended && !input.is_empty() {
                // What follows is another stream. It does not refer to this one: no compressor
                // keeps its window beyond the end.
                self.restart(&[]);
            }
            make_room(output, input.len(), limit);
            let (taken, status) = self.step(input, output)?;
            input = &input[taken..];
            if output.len() > limit {
                return Err(ProtocolError::MessageTooLarge);
            }
            self.has_ended = status == Status::StreamEnd;
            let is_full = output.len() == output.capacity();
            if input.is_empty() && (self.has_ended || !is_full) {
                return Ok(());
            }
            if taken == 0 && !self.has_ended && !is_full {
                return Err(ProtocolError::InvalidDeflate);
            }
        }
    }

    /// Ends a message, which must stand at the end of a block. One without any block is empty,
    /// although its sender should have sent an octet (RFC 7692 section 7.2.3.6).
    fn finish(&mut self, output: &mut Vec<u8>, limit: usize) -> Result<(), ProtocolError> {
        let length = output.len();
        if !self.has_ended && self.decompress.total_in() > 0 {
            make_room(output, TAIL.len(), limit);
            let end = self.step(&TAIL, output)?;
            if end != (TAIL.len(), Status::StreamEnd) || output.len() != length {
                return Err(ProtocolError::InvalidDeflate);
            }
        }
        Ok(())
    }

    /// Inflates as much of `input` as there is room for; returns how much that was.
    fn step(
        &mut self,
        input: &[u8],
        output: &mut Vec<u8>,
    ) -> Result<(usize, Status), ProtocolError> {
        let before = self.decompress.total_in();
        let status = self.decompress.decompress_vec(input, output, FlushDecompress::None);
        let status = status.map_err(|_| ProtocolError::InvalidDeflate)?;
        Ok(((self.decompress.total_in() - before) as usize, status))
    }
}

/// Makes room in a full buffer: twice as much, and one byte more than the limit at most, which
/// shows that there is more.
fn make_room(output: &mut Vec<u8>, input_bytes: usize, limit: usize) {
    if output.len() == output.capacity() {
        let wanted = (2 * output.capacity()).max(4 * input_bytes).max(OUTPUT_BYTES_MIN);
        let room = wanted.min(limit.saturating_add(1)).max(output.len() + 1);
        output.reserve_exact(room - output.len());
    }
}
