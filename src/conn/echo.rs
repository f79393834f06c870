//! Messages that are sent back as they came, from where they were received.
//!
//! The payload of a message lies in the driver's memory, unmasked, with more room before it than
//! the header of the answer takes: a server's header has no masking key. So the answer need not be
//! copied to where the output is. That is done for a payload that is long enough to be worth it,
//! is all that the connection has to send, and ends what was received.

use std::ops::Range;

use crate::ws::{FrameHeader, append_frame};

/// Shorter payloads are copied in less time than this takes.
const ECHO_BYTES: usize = 2 << 10;

/// What of the input is to be sent back, if anything is.
#[derive(Debug, Default)]
pub(crate) struct Echo {
    /// The addresses of the bytes that are being received.
    input: Range<usize>,
    /// The header of a frame whose payload is the end of the input.
    header: Option<FrameHeader>,
}

impl Echo {
    /// Begins with bytes that have arrived.
    pub(super) fn begin(&mut self, bytes: &[u8]) {
        let Range { start, end } = bytes.as_ptr_range();
        self.input = start.addr()..end.addr();
    }

    /// Whether a payload can be sent from where it is.
    #[inline]
    pub(super) fn takes(&self, payload: &[u8]) -> bool {
        payload.len() >= ECHO_BYTES && self.is_at_end(payload)
    }

    fn is_at_end(&self, payload: &[u8]) -> bool {
        let Range { start, end } = payload.as_ptr_range();
        self.header.is_none() && self.input.contains(&start.addr()) && end.addr() == self.input.end
    }

    /// Sends a payload that it [`takes`](Self::takes) behind this header.
    pub(super) fn put(&mut self, header: FrameHeader) {
        self.header = Some(header);
    }

    /// How many bytes are sent back.
    #[inline]
    pub(super) fn bytes(&self) -> usize {
        self.header.as_ref().map_or(0, |header| header.payload_bytes as usize)
    }

    /// Ends with the input. Whether part of it is to be [placed](Self::place).
    #[inline]
    pub(super) fn end(&mut self) -> bool {
        self.input = 0..0;
        self.header.is_some()
    }

    /// Returns where in the input the frame lies that is to be sent; but if there is
    /// other output, from `start` on, or `can_send_back` is false, it is put before that.
    pub(super) fn place(
        &mut self,
        input: &mut [u8],
        out: &mut Vec<u8>,
        start: usize,
        can_send_back: bool,
    ) -> Option<Range<usize>> {
        let header = self.header.take()?;
        let payload = input.len() - header.payload_bytes as usize..input.len();
        let end = out.len();
        header.encode(out);
        let frame = payload.start.checked_sub(out.len() - end);
        match frame.filter(|_| end == start && can_send_back) {
            Some(frame) => {
                input[frame..payload.start].copy_from_slice(&out[end..]);
                out.truncate(end);
                Some(frame..payload.end)
            }
            None => {
                out.truncate(end);
                let behind = out.split_off(start);
                append_frame(out, header, &input[payload]);
                out.extend_from_slice(&behind);
                None
            }
        }
    }
}
