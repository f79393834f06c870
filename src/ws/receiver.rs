//! Bytes in, events out: frames that may be cut anywhere become messages, or fragments of them.
//!
//! A frame that is whole in the input is unmasked there and lent out; nothing is copied and
//! nothing is kept. Whatever cannot be handed over yet (the start of a header, part of a frame,
//! data that nobody asked for) moves to a [`Partial`], which is freed as soon as it is empty: a
//! connection that is idle between messages owns eight bytes of this module.
//!
//! A compressed message stays compressed until it is read, so what waits is bounded by what came.

use std::ops::Range;

use super::{
    CloseFrame, Context, FrameHeader, Kind, OpCode, ProtocolError, Role, Workspace, apply_mask,
    frame::parse_common,
    inflate::Inflation,
    partial::{Delivery, Partial},
};

/// What a peer may send, in bytes of payload and in frames. Checked against the frame header,
/// before anything is allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest frame.
    pub frame_bytes: usize,
    /// The longest message, before and after inflating; with [`ReadMode::Frame`], the most that
    /// may wait to be read.
    pub message_bytes: usize,
    /// The most frames of one message that may wait to be read.
    pub fragments: u32,
}

impl Limits {
    /// 16 MiB in a frame and in a message, 131,072 fragments: 16 MiB may come in pieces of 128
    /// bytes. Fragments cost time to parse, but no memory of their own.
    pub const DEFAULT: Self =
        Self { frame_bytes: 16 << 20, message_bytes: 16 << 20, fragments: 131_072 };
}

impl Default for Limits {
    /// [`Limits::DEFAULT`].
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What a [`Receiver`] enforces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The end that receives.
    pub role: Role,
    /// The limits on what arrives.
    pub limits: Limits,
    /// The context of compressed messages, if permessage-deflate was agreed.
    pub compression: Option<Context>,
}

impl Rules {
    /// Rules without compression.
    pub const fn new(role: Role, limits: Limits) -> Self {
        Self { role, limits, compression: None }
    }
}

/// In which portions the reader wants data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadMode {
    /// Whole messages.
    Message,
    /// Every frame of a message by itself.
    Frame,
}

/// What has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'e> {
    /// A text message ([`ReadMode::Message`]).
    Text(&'e str),
    /// A binary message ([`ReadMode::Message`]).
    Binary(&'e [u8]),
    /// One frame of a message ([`ReadMode::Frame`]). Text is valid up to here, but a character
    /// may be cut by the end of the frame.
    Frame {
        /// `Text` or `Binary` for the first frame of a message, then `Continuation`.
        opcode: OpCode,
        /// Whether the message ends with this frame.
        is_final: bool,
        /// The payload, unmasked.
        payload: &'e [u8],
    },
    /// A ping, which is to be answered with a pong of the same payload (section 5.5.2).
    Ping(&'e [u8]),
    /// A pong (section 5.5.3).
    Pong(&'e [u8]),
    /// A Close frame. Nothing that follows it is to be read (section 5.5.1).
    Close(Option<CloseFrame<'e>>),
}

impl<'e> Event<'e> {
    /// The payload; that of a Close frame is not counted.
    pub fn payload(&self) -> &'e [u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) | Self::Ping(bytes) | Self::Pong(bytes) => bytes,
            Self::Frame { payload, .. } => payload,
            Self::Close(_) => &[],
        }
    }
}

/// Bytes that were received, and how many of them have been taken.
#[derive(Debug)]
pub struct Input<'i> {
    bytes: &'i mut [u8],
    taken: usize,
}

impl<'i> Input<'i> {
    /// Input to be taken from its start. The bytes are unmasked in place.
    pub fn new(bytes: &'i mut [u8]) -> Self {
        Self { bytes, taken: 0 }
    }

    /// What has not been taken.
    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    /// Whether everything has been taken.
    pub fn is_empty(&self) -> bool {
        self.taken == self.bytes.len()
    }

    /// The addresses of all bytes.
    pub(crate) fn addresses(&self) -> Range<usize> {
        addresses(self.bytes)
    }

    /// Takes at most `bytes` bytes.
    pub fn take(&mut self, bytes: usize) -> &mut [u8] {
        let end = self.bytes.len().min(self.taken.saturating_add(bytes));
        let start = std::mem::replace(&mut self.taken, end);
        &mut self.bytes[start..end]
    }
}

/// The addresses of bytes.
pub(crate) fn addresses(bytes: &[u8]) -> Range<usize> {
    let Range { start, end } = bytes.as_ptr_range();
    start.addr()..end.addr()
}

/// Where the next event's payload lies.
pub(super) enum Found {
    /// In the input: the whole frame, of which the first `header_bytes` are its header.
    Input { header: FrameHeader, header_bytes: usize },
    /// A control frame at the start of [`Partial::head`].
    Head { header: FrameHeader, header_bytes: usize },
    /// At the front of the backlog.
    Backlog(Delivery),
}

/// The receiving half of a connection's protocol.
///
/// After an error or a Close nothing more is to be fed to it (section 7.1.7): drop it.
#[derive(Debug, Default)]
pub struct Receiver {
    partial: Option<Box<Partial>>,
}

impl Receiver {
    /// The next message, if it is of the usual kind: one frame of less than 64 KiB, not compressed,
    /// all of it in the input, and nothing before it that waits. A short cut for a reader of
    /// [whole messages](ReadMode::Message); `None` says nothing about what is there: ask for the
    /// [next event](Self::next_event) then.
    ///
    /// # Errors
    ///
    /// Text that is not UTF-8.
    #[inline]
    pub fn next_message<'i>(
        &self,
        input: &'i mut Input<'_>,
        rules: &Rules,
    ) -> Option<Result<Event<'i>, ProtocolError>> {
        if self.partial.is_some() {
            return None;
        }
        let common = parse_common(input.rest(), rules)?;
        let payload = &mut input.take(common.bytes)[common.header_bytes..];
        if rules.role == Role::Server {
            apply_mask(payload, common.mask, 0);
        }
        if common.opcode == OpCode::Binary {
            return Some(Ok(Event::Binary(payload)));
        }
        Some(text(payload).map(Event::Text))
    }

    /// The next event, or `None` when all input has been taken. `wanted` is what the reader asked
    /// for: without a reader, data is kept ([`backlog_bytes`](Self::backlog_bytes)), while control
    /// frames behind it are still returned. The `workspace` may serve many receivers.
    ///
    /// # Errors
    ///
    /// The peer's violation; the connection is then to be failed with its close code.
    pub fn next_event<'e>(
        &'e mut self,
        input: &'e mut Input<'_>,
        wanted: Option<ReadMode>,
        rules: &Rules,
        workspace: &'e mut Workspace,
    ) -> Result<Option<Event<'e>>, ProtocolError> {
        match self.advance(input, wanted, rules, workspace)? {
            None => Ok(None),
            Some(Found::Input { header, header_bytes }) => {
                let frame = input.take(header_bytes + header.payload_bytes as usize);
                let payload = unmask(&mut frame[header_bytes..], &header);
                let payload = match rules.compression {
                    Some(context) if header.is_compressed => {
                        self.inflate(payload, context, rules, workspace)?
                    }
                    _ => payload,
                };
                event(header.opcode, header.is_final, payload, wanted).map(Some)
            }
            Some(found) => match &mut self.partial {
                None => Ok(None),
                Some(partial) => partial.event(&found, wanted, rules, workspace).map(Some),
            },
        }
    }

    /// Whether the rest of a long message that has begun is better received to where it is put
    /// together: see [`fill`](Self::fill).
    pub fn is_fillable(&self) -> bool {
        self.partial.as_ref().is_some_and(|partial| partial.is_fillable())
    }

    /// Has input received to where the message is put together: `receive` appends up to so many bytes
    /// to the memory that it is given, and returns how many, as this does. To be called only while
    /// the receiver is [fillable](Self::is_fillable); the event that may follow is the
    /// [next](Self::next_event) one.
    ///
    /// # Errors
    ///
    /// The peer's violation; the connection is then to be failed with its close code.
    pub fn fill(
        &mut self,
        workspace: &mut Workspace,
        receive: impl FnOnce(&mut Vec<u8>, usize) -> usize,
    ) -> Result<usize, ProtocolError> {
        match &mut self.partial {
            Some(partial) => partial.fill(&mut workspace.blocks, receive),
            None => Ok(0),
        }
    }

    /// Inflates a whole message.
    fn inflate<'e>(
        &mut self,
        payload: &[u8],
        context: Context,
        rules: &Rules,
        workspace: &'e mut Workspace,
    ) -> Result<&'e [u8], ProtocolError> {
        let mut fresh = Inflation::default();
        let inflation = match context {
            Context::Fresh => &mut fresh,
            Context::Kept => self.partial_mut().inflation(),
        };
        workspace.inflater.inflate(inflation, payload, true, context, rules.limits.message_bytes)
    }

    /// Whether a part of a message or of a frame is kept until the rest of it has arrived.
    pub fn is_incomplete(&self) -> bool {
        self.partial.as_ref().is_some_and(|partial| partial.is_incomplete())
    }

    /// How much data waits for a reader, in bytes of memory.
    pub fn backlog_bytes(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| partial.backlog_bytes())
    }

    /// How many frames wait for a reader, of which some may be one message.
    pub fn backlog_frames(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| partial.backlog_frames())
    }

    /// Takes the payload that the last event has lent from where it was put together, if it did.
    pub fn take_lent(&mut self) -> Vec<u8> {
        self.partial.as_mut().map_or_else(Vec::new, |partial| partial.take_lent())
    }

    /// Whether any memory is taken by what is incomplete or waits.
    #[inline]
    pub fn has_memory(&self) -> bool {
        self.partial.is_some()
    }

    /// How much memory is taken by what is incomplete or waits, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| partial.memory_bytes())
    }

    /// Whether the next data continues a message of which a part was returned as
    /// [`Event::Frame`].
    pub fn is_mid_message(&self) -> bool {
        self.partial.as_ref().is_some_and(|partial| partial.is_mid_message())
    }

    fn advance(
        &mut self,
        input: &mut Input<'_>,
        wanted: Option<ReadMode>,
        rules: &Rules,
        workspace: &mut Workspace,
    ) -> Result<Option<Found>, ProtocolError> {
        loop {
            if let Some(partial) = &mut self.partial {
                if let Some(found) = partial.resume(input, wanted, rules, workspace)? {
                    return Ok(Some(found));
                }
                if partial.is_empty() {
                    self.partial = None;
                }
            }
            if input.is_empty() {
                return Ok(None);
            }
            if let Some(found) = self.start_frame(input, wanted, rules)? {
                return Ok(Some(found));
            }
        }
    }

    /// Takes a frame, or the part of it that has arrived, from its first byte on.
    fn start_frame(
        &mut self,
        input: &mut Input<'_>,
        wanted: Option<ReadMode>,
        rules: &Rules,
    ) -> Result<Option<Found>, ProtocolError> {
        let Some((header, header_bytes)) = FrameHeader::parse(input.rest(), rules)? else {
            self.partial_mut().start_head(input, input.rest().len());
            return Ok(None);
        };
        let frame_bytes = header.payload_bytes.saturating_add(header_bytes as u64);
        let is_whole = input.rest().len() as u64 >= frame_bytes;
        if header.opcode.is_control() {
            if is_whole {
                return Ok(Some(Found::Input { header, header_bytes }));
            }
            self.partial_mut().start_head(input, input.rest().len());
            return Ok(None);
        }
        // A message of one frame, all of it here, for a reader who waits for nothing else.
        if is_whole
            && header.is_final
            && wanted.is_some()
            && header.opcode != OpCode::Continuation
            && self.partial.as_ref().is_none_or(|partial| partial.lets_pass())
            && frame_bytes - header_bytes as u64 <= rules.limits.whole_frame_bytes()
        {
            return Ok(Some(Found::Input { header, header_bytes }));
        }
        self.partial_mut().start_data(header, wanted, rules)?;
        input.take(header_bytes);
        Ok(None)
    }

    fn partial_mut(&mut self) -> &mut Partial {
        self.partial.get_or_insert_default()
    }
}

impl Limits {
    /// The longest payload of a message that is a single frame.
    #[inline]
    pub(super) fn whole_frame_bytes(&self) -> u64 {
        self.frame_bytes.min(self.message_bytes) as u64
    }
}

/// Unmasks a whole payload.
pub(super) fn unmask<'a>(payload: &'a mut [u8], header: &FrameHeader) -> &'a mut [u8] {
    if let Some(key) = header.mask {
        apply_mask(payload, key, 0);
    }
    payload
}

/// Interprets a whole frame, or a whole message that stands under its first frame's opcode.
pub(super) fn event(
    opcode: OpCode,
    is_final: bool,
    payload: &[u8],
    wanted: Option<ReadMode>,
) -> Result<Event<'_>, ProtocolError> {
    Ok(match opcode {
        OpCode::Ping => Event::Ping(payload),
        OpCode::Pong => Event::Pong(payload),
        OpCode::Close => Event::Close(CloseFrame::parse(payload)?),
        OpCode::Text if is_final => {
            let text = text(payload)?;
            match wanted {
                Some(ReadMode::Frame) => Event::Frame { opcode, is_final, payload },
                _ => Event::Text(text),
            }
        }
        OpCode::Binary if wanted != Some(ReadMode::Frame) => Event::Binary(payload),
        _ => Event::Frame { opcode, is_final, payload },
    })
}

/// The payload of a text message, which is valid UTF-8 (section 8.1).
fn text(payload: &[u8]) -> Result<&str, ProtocolError> {
    simdutf8::basic::from_utf8(payload).map_err(|_| ProtocolError::InvalidUtf8)
}

impl TryFrom<OpCode> for Kind {
    type Error = ();

    fn try_from(opcode: OpCode) -> Result<Self, ()> {
        match opcode {
            OpCode::Text => Ok(Self::Text),
            OpCode::Binary => Ok(Self::Binary),
            _ => Err(()),
        }
    }
}

#[cfg(test)]
mod tests;
