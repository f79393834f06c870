//! Messages that are sent back as they came, from where they were received.
//!
//! The payload of a message lies in the driver's memory, unmasked, with more room before it than
//! the header of the answer takes: a server's header has no masking key. So the answer need not be
//! copied to where the output is. That is done for a payload that is long enough to be worth it,
//! is all that the connection has to send, and ends what was received.
//!
//! A long message that came in several parts lies where they were put together, and is sent from there
//! as well, behind a header of its own.

use std::ops::Range;

use super::{Connection, Desk, State};
use crate::ws::{FrameHeader, addresses, append_frame};

/// Shorter payloads are copied in less time than this takes.
const ECHO_BYTES: usize = 2 << 10;

/// Shorter messages that were put together are copied.
const KEPT_BYTES: usize = 64 << 10;

/// What of the input is to be sent back, if anything is.
#[derive(Debug, Default)]
pub(crate) struct Echo {
    /// The addresses of the bytes that are being received.
    input: Range<usize>,
    /// The header of a frame whose payload is the end of the input.
    header: Option<FrameHeader>,
    /// The addresses of a message that was put together, while the session has it.
    kept: Range<usize>,
    /// The header of a frame whose payload that message is.
    kept_header: Option<FrameHeader>,
    /// How long the payload of either frame is.
    bytes: usize,
}

impl Echo {
    /// Begins with bytes that have arrived.
    pub(super) fn begin(&mut self, bytes: &[u8]) {
        self.input = addresses(bytes);
    }

    /// Whether a payload can be sent from where it is.
    #[inline]
    pub(super) fn takes(&self, payload: &[u8]) -> bool {
        payload.len() >= ECHO_BYTES && (self.is_at_end(payload) || self.is_kept(payload))
    }

    /// A session is about to have this message, which was put together.
    #[inline]
    pub(super) fn begin_kept(&mut self, payload: &[u8]) {
        if payload.len() >= KEPT_BYTES {
            self.kept = addresses(payload);
        }
    }

    fn is_kept(&self, payload: &[u8]) -> bool {
        !self.has_kept() && self.kept == addresses(payload)
    }

    /// The session has had the message. Whether it is to be [sent](Connection::place_kept) from where it is,
    /// and so has to stay there.
    #[inline]
    pub(super) fn end_kept(&mut self) -> bool {
        self.kept = 0..0;
        self.has_kept()
    }

    /// Whether a message is to be sent from where it was put together.
    #[inline]
    fn has_kept(&self) -> bool {
        self.kept_header.is_some()
    }

    /// Nothing is to be sent from where it was put together.
    pub(super) fn forget_kept(&mut self) {
        if self.kept_header.take().is_some() {
            self.bytes = 0;
        }
        self.kept = 0..0;
    }

    fn is_at_end(&self, payload: &[u8]) -> bool {
        let Range { start, end } = addresses(payload);
        self.header.is_none() && self.input.contains(&start) && end == self.input.end
    }

    /// Sends a payload that it [`takes`](Self::takes) behind this header.
    pub(super) fn put(&mut self, header: FrameHeader) {
        self.bytes = header.payload_bytes as usize;
        if self.kept.is_empty() {
            self.header = Some(header);
        } else {
            self.kept_header = Some(header);
        }
    }

    /// How many bytes are sent back.
    #[inline]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
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
        self.bytes = 0;
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
                insert_frame(out, start, header, &input[payload]);
                None
            }
        }
    }
}

impl Connection {
    /// Returns the message that the session had last, if it is to be sent from where it was put
    /// together, and its header; but if there is other output, or some is in flight, it is put before
    /// that.
    pub(crate) fn place_kept(&mut self, desk: &mut Desk) -> Option<(Vec<u8>, Vec<u8>)> {
        let Desk { echo, outbox, .. } = desk;
        let header = echo.kept_header.take()?;
        echo.bytes = 0;
        let State::Active(active) = &mut self.state else { return None };
        let message = active.receiver.take_lent();
        let is_free = outbox.is_free(&self.output) && outbox.scope_bytes() == 0;
        if is_free {
            outbox.claim(&mut self.output);
            let mut bytes = Vec::new();
            header.encode(&mut bytes);
            return Some((bytes, message));
        }
        let start = outbox.scope_start();
        insert_frame(outbox.buffer(), start, header, &message);
        None
    }
}

/// Puts a frame before the output that lies behind `start`.
fn insert_frame(out: &mut Vec<u8>, start: usize, header: FrameHeader, payload: &[u8]) {
    let behind = out.split_off(start);
    append_frame(out, header, payload);
    out.extend_from_slice(&behind);
}
