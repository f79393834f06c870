//! What of a connection's input cannot be handed over yet.
//!
//! Three things may be incomplete: the start of a frame (kept in `head` until the header, or a
//! whole control frame, is there), the frame whose payload is arriving (`open`), and the message
//! whose frames are arriving (`message`). Payload that has arrived waits in `bytes`, in order and
//! unmasked; `frames` says where frames end. Since control frames never enter, the payload of a
//! fragmented message is contiguous and is lent out in one piece.
//!
//! The payload of a compressed message stays compressed until it is delivered, so that what a peer
//! has the server keep is bounded by what it has sent.

use std::collections::VecDeque;

use super::{
    Blocks, FrameHeader, Kind, OpCode, ProtocolError, ReadMode, Rules, Utf8Stream, Workspace,
    append_bytes, apply_mask,
    inflate::Inflation,
    receiver::{Event, Found, Input, event, unmask},
};

/// Up to this length a message is moved once or twice while it arrives, if at all.
const MODERATE_BYTES: usize = 1 << 20;

/// Payload is received to where it is kept if there is so much of it, and still to come.
const FILL_BYTES_LEAST: u64 = 64 << 10;

/// The most that is received at once to where it is kept.
const FILL_BYTES_MOST: u64 = 256 << 10;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Partial {
    /// A frame up to the end of its header, or a control frame up to its own end.
    head: Vec<u8>,
    /// The data frame of which payload is still to come.
    open: Option<OpenFrame>,
    /// The message of which frames or payload are still to come.
    message: Option<OpenMessage>,
    /// Payload: `bytes[..lent]` has been delivered, the rest waits.
    bytes: Vec<u8>,
    /// The frames in `bytes[lent..]`. Invariant: their lengths add up to its length.
    frames: VecDeque<Frame>,
    /// How many of `frames` end a message and are complete.
    final_frames: usize,
    lent: usize,
    /// Whether `head` was lent by the last event.
    head_lent: bool,
    /// Whether the frame in front continues a message of which frames were delivered.
    is_mid_message: bool,
    /// Of compressed messages: the part that was inflated, and what later ones may refer to.
    inflation: Option<Box<Inflation>>,
}

#[derive(Debug)]
struct OpenFrame {
    remaining: u64,
    mask: Option<[u8; 4]>,
    /// Bytes of the payload that have arrived, modulo four.
    phase: usize,
    is_final: bool,
}

#[derive(Debug)]
struct OpenMessage {
    kind: Kind,
    is_compressed: bool,
    utf8: Utf8Stream,
    /// Payload announced and not yet delivered, in bytes.
    waiting_bytes: usize,
    /// Frames begun and not yet delivered.
    waiting_frames: u32,
}

/// A frame in the backlog, or several of one message that are to be read as one.
#[derive(Debug)]
struct Frame {
    opcode: OpCode,
    is_final: bool,
    /// What its message carries, if that is compressed.
    compressed: Option<Kind>,
    payload_bytes: usize,
}

/// What lies at the front of the backlog for the reader to have.
#[derive(Debug)]
pub(super) struct Delivery {
    frame: Frame,
}

impl Partial {
    /// Goes on with what was begun: an event if one can be delivered, `None` if the input is used
    /// up or stands at the start of a frame.
    pub(super) fn resume(
        &mut self,
        input: &mut Input<'_>,
        wanted: Option<ReadMode>,
        rules: &Rules,
        workspace: &mut Workspace,
    ) -> Result<Option<Found>, ProtocolError> {
        self.release_lent(&mut workspace.blocks);
        loop {
            if let Some(delivery) = self.deliver(wanted) {
                return Ok(Some(Found::Backlog(delivery)));
            }
            if self.open.is_some() && (self.open_is_complete() || !input.is_empty()) {
                self.take_payload(input, &mut workspace.blocks)?;
            } else if !self.head.is_empty() && !input.is_empty() {
                if let Some(found) = self.take_head(input, wanted, rules)? {
                    return Ok(Some(found));
                }
            } else {
                return Ok(None);
            }
        }
    }

    /// The event that [`resume`](Self::resume) found here.
    pub(super) fn event<'e>(
        &'e mut self,
        found: &Found,
        wanted: Option<ReadMode>,
        rules: &Rules,
        workspace: &'e mut Workspace,
    ) -> Result<Event<'e>, ProtocolError> {
        match found {
            Found::Backlog(Delivery { frame }) => {
                self.lent = frame.payload_bytes;
                let payload = &self.bytes[..self.lent];
                let Frame { opcode, is_final, compressed, .. } = *frame;
                let payload = match (compressed, rules.compression) {
                    (Some(kind), Some(context)) => {
                        let inflation = self.inflation.get_or_insert_default();
                        let limit = rules.limits.message_bytes;
                        let part = workspace
                            .inflater
                            .inflate(inflation, payload, is_final, context, limit)?;
                        if wanted == Some(ReadMode::Frame) && kind == Kind::Text {
                            inflation.check_text(part, is_final)?;
                        }
                        part
                    }
                    _ => payload,
                };
                if wanted == Some(ReadMode::Frame) {
                    // The text was validated as it arrived, or was inflated.
                    return Ok(Event::Frame { opcode, is_final, payload });
                }
                event(opcode, is_final, payload, wanted)
            }
            Found::Head { header, header_bytes } | Found::Input { header, header_bytes } => {
                self.head_lent = true;
                let payload = unmask(&mut self.head[*header_bytes..], header);
                event(header.opcode, header.is_final, payload, wanted)
            }
        }
    }

    /// What is kept of compressed messages.
    pub(super) fn inflation(&mut self) -> &mut Inflation {
        self.inflation.get_or_insert_default()
    }

    /// Keeps the next `bytes` bytes as the start of a frame.
    pub(super) fn start_head(&mut self, input: &mut Input<'_>, bytes: usize) {
        self.head.extend_from_slice(input.take(bytes));
    }

    /// Begins a data frame, after checking its place in the message and the limits.
    pub(super) fn start_data(
        &mut self,
        header: FrameHeader,
        wanted: Option<ReadMode>,
        rules: &Rules,
    ) -> Result<(), ProtocolError> {
        let limits = &rules.limits;
        if header.payload_bytes > limits.frame_bytes as u64 {
            return Err(ProtocolError::FrameTooLarge);
        }
        let payload_bytes = header.payload_bytes as usize;
        let message = match (Kind::try_from(header.opcode), &mut self.message) {
            (Ok(kind), message @ None) => {
                message.insert(OpenMessage::new(kind, header.is_compressed))
            }
            (Ok(_), Some(_)) => return Err(ProtocolError::ExpectedContinuation),
            (Err(()), Some(message)) => message,
            (Err(()), None) => return Err(ProtocolError::UnexpectedContinuation),
        };
        message.waiting_bytes = message.waiting_bytes.saturating_add(payload_bytes);
        message.waiting_frames += 1;
        if message.waiting_bytes > limits.message_bytes {
            return Err(ProtocolError::MessageTooLarge);
        }
        if message.waiting_frames > limits.fragments {
            return Err(ProtocolError::TooManyFragments);
        }
        self.open = Some(OpenFrame {
            remaining: header.payload_bytes,
            mask: header.mask,
            phase: 0,
            is_final: header.is_final,
        });
        // A reader of whole messages needs no frame boundaries: the fragment joins the one before.
        let compressed = message.is_compressed.then_some(message.kind);
        let joins = wanted == Some(ReadMode::Message)
            && header.opcode == OpCode::Continuation
            && !self.frames.is_empty();
        if !joins {
            let opcode = header.opcode;
            self.frames.push_back(Frame { opcode, is_final: false, compressed, payload_bytes: 0 });
        }
        Ok(())
    }

    /// Whether a whole message may be delivered past this: nothing waits before it, and it does
    /// not stand within another message.
    pub(super) fn lets_pass(&self) -> bool {
        self.frames.is_empty() && self.message.is_none()
    }

    pub(super) fn backlog_bytes(&self) -> usize {
        self.bytes.len() - self.lent + self.frames.len() * size_of::<Frame>()
    }

    pub(super) fn backlog_frames(&self) -> usize {
        self.frames.len()
    }

    /// Whether the end of what is kept has yet to arrive. Frames that have been delivered are kept
    /// no more.
    pub(super) fn is_incomplete(&self) -> bool {
        !self.head.is_empty() || (self.message.is_some() && !self.frames.is_empty())
    }

    /// Takes the payload that the last event has lent.
    pub(super) fn take_lent(&mut self) -> Vec<u8> {
        if self.lent < self.bytes.len() {
            return self.bytes[..self.lent].to_vec();
        }
        self.lent = 0;
        std::mem::take(&mut self.bytes)
    }

    /// How much memory this takes, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + self.head.capacity()
            + self.bytes.capacity()
            + self.frames.capacity() * size_of::<Frame>()
            + self.inflation.as_ref().map_or(0, |inflation| inflation.memory_bytes())
    }

    pub(super) fn is_mid_message(&self) -> bool {
        self.is_mid_message
    }

    pub(super) fn is_empty(&self) -> bool {
        self.head.is_empty()
            && self.open.is_none()
            && self.lets_pass()
            && self.inflation.as_ref().is_none_or(|inflation| inflation.is_empty())
    }

    /// Takes back what the last event lent.
    fn release_lent(&mut self, blocks: &mut Blocks) {
        if std::mem::take(&mut self.head_lent) {
            self.head.clear();
        }
        let lent = std::mem::take(&mut self.lent);
        if lent > 0 && lent == self.bytes.len() {
            blocks.give(std::mem::take(&mut self.bytes));
        } else if lent > 0 {
            self.bytes.drain(..lent);
            // A large message must not leave its memory behind with the rest of a small one.
            if self.bytes.capacity() > 4 * self.bytes.len().max(16 << 10) {
                self.bytes.shrink_to(self.bytes.len().max(4 << 10));
            }
        }
    }

    /// Takes the frame or message at the front out of `frames`, if it is all there.
    fn deliver(&mut self, wanted: Option<ReadMode>) -> Option<Delivery> {
        if wanted? == ReadMode::Message {
            self.join_front();
        }
        let front_is_open = self.frames.len() == 1 && self.open.is_some();
        let front = self.frames.front()?;
        if front_is_open || (wanted == Some(ReadMode::Message) && !front.is_final) {
            return None;
        }
        let frame = self.frames.pop_front()?;
        if frame.is_final {
            self.final_frames -= 1;
        } else if self.final_frames == 0
            && let Some(message) = &mut self.message
        {
            // No end of a message is in the backlog, so the frame is of the one that arrives.
            message.waiting_bytes -= frame.payload_bytes;
            message.waiting_frames = message.waiting_frames.saturating_sub(1);
        }
        self.is_mid_message = !frame.is_final;
        Some(Delivery { frame })
    }

    /// Joins the frames of the message at the front, as far as they are there, into one.
    fn join_front(&mut self) {
        while self.frames.len() > 1 && !self.frames[0].is_final {
            let Some(first) = self.frames.pop_front() else { return };
            let next = &mut self.frames[0];
            next.opcode = first.opcode;
            next.payload_bytes += first.payload_bytes;
        }
    }

    /// Moves payload of the open frame to the backlog, and closes the frame at its end.
    fn take_payload(
        &mut self,
        input: &mut Input<'_>,
        blocks: &mut Blocks,
    ) -> Result<(), ProtocolError> {
        let Some(open) = &self.open else { return Ok(()) };
        let payload = input.take(usize::try_from(open.remaining).unwrap_or(usize::MAX));
        make_room(&mut self.bytes, payload.len(), open.remaining, blocks);
        append_bytes(&mut self.bytes, payload);
        self.took_payload(payload.len())
    }

    /// Whether so much of a frame is still to come, after enough of it, that it is better received
    /// to where it is kept.
    pub(super) fn is_fillable(&self) -> bool {
        let remaining = self.open.as_ref().map_or(0, |open| open.remaining);
        remaining >= FILL_BYTES_LEAST && self.bytes.len() as u64 >= FILL_BYTES_LEAST
    }

    /// Has payload of the open frame received to the backlog: `receive` appends up to so many bytes,
    /// and returns how many.
    pub(super) fn fill(
        &mut self,
        blocks: &mut Blocks,
        receive: impl FnOnce(&mut Vec<u8>, usize) -> usize,
    ) -> Result<usize, ProtocolError> {
        self.release_lent(blocks);
        let Some(open) = &self.open else { return Ok(0) };
        let least = open.remaining.min(FILL_BYTES_LEAST) as usize;
        make_room(&mut self.bytes, least, open.remaining, blocks);
        let room = (self.bytes.capacity() - self.bytes.len()) as u64;
        let most = room.min(open.remaining).min(FILL_BYTES_MOST) as usize;
        let received = receive(&mut self.bytes, most);
        self.took_payload(received)?;
        Ok(received)
    }

    /// The last `count` bytes of the backlog are new payload of the open frame, as they came.
    fn took_payload(&mut self, count: usize) -> Result<(), ProtocolError> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let start = self.bytes.len() - count;
        let payload = &mut self.bytes[start..];
        if let Some(key) = open.mask {
            apply_mask(payload, key, open.phase);
        }
        open.remaining -= count as u64;
        open.phase = (open.phase + count) % 4;
        if let Some(message) = &mut self.message
            && message.kind == Kind::Text
            && !message.is_compressed
        {
            message.utf8.push(payload).map_err(|_| ProtocolError::InvalidUtf8)?;
        }
        if let Some(frame) = self.frames.back_mut() {
            frame.payload_bytes += count;
        }
        if self.open_is_complete() { self.end_frame() } else { Ok(()) }
    }

    fn open_is_complete(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.remaining == 0)
    }

    fn end_frame(&mut self) -> Result<(), ProtocolError> {
        let is_final = self.open.take().is_some_and(|open| open.is_final);
        if is_final && let Some(message) = self.message.take() {
            // Nothing was pushed of a compressed message.
            if !message.utf8.is_complete() {
                return Err(ProtocolError::InvalidUtf8);
            }
            self.final_frames += 1;
            if let Some(frame) = self.frames.back_mut() {
                frame.is_final = true;
            }
        }
        Ok(())
    }

    /// Adds to `head` what completes the header, or the control frame.
    fn take_head(
        &mut self,
        input: &mut Input<'_>,
        wanted: Option<ReadMode>,
        rules: &Rules,
    ) -> Result<Option<Found>, ProtocolError> {
        let Some((header, header_bytes)) = FrameHeader::parse(&self.head, rules)? else {
            self.start_head(input, 1);
            // The byte may have completed the header of an empty control frame, or shown an error.
            return match FrameHeader::parse(&self.head, rules)? {
                Some((header, bytes)) if header.opcode.is_control() => {
                    Ok(self.whole_control(header, bytes))
                }
                Some((header, _)) => {
                    self.head.clear();
                    self.start_data(header, wanted, rules)?;
                    Ok(None)
                }
                None => Ok(None),
            };
        };
        let missing = header_bytes + header.payload_bytes as usize - self.head.len();
        self.start_head(input, missing);
        Ok(self.whole_control(header, header_bytes))
    }

    fn whole_control(&self, header: FrameHeader, header_bytes: usize) -> Option<Found> {
        let frame_bytes = header_bytes + header.payload_bytes as usize;
        (self.head.len() == frame_bytes).then_some(Found::Head { header, header_bytes })
    }
}

impl OpenMessage {
    fn new(kind: Kind, is_compressed: bool) -> Self {
        let utf8 = Utf8Stream::default();
        Self { kind, is_compressed, utf8, waiting_bytes: 0, waiting_frames: 0 }
    }
}

/// Makes room for `more` bytes of the `remaining` ones of a frame, in a kept block if there is none.
fn make_room(bytes: &mut Vec<u8>, more: usize, remaining: u64, blocks: &mut Blocks) {
    if bytes.capacity() == 0 {
        *bytes = blocks.take(remaining);
    }
    grow(bytes, more, remaining - more as u64);
}

/// Makes room for `more` bytes. What is only announced costs the peer nothing: the room grows up to
/// the end of the frame, but by half, or to four times what has arrived if that is a moderate length.
/// At the end of a frame it still grows by a part of itself, because a message in a hundred thousand
/// fragments must not be moved as often.
fn grow(bytes: &mut Vec<u8>, more: usize, announced: u64) {
    let needed = bytes.len() + more;
    if needed > bytes.capacity() {
        let frame_end = needed.saturating_add(usize::try_from(announced).unwrap_or(usize::MAX));
        let most = (4 * needed).min(MODERATE_BYTES).max(needed + needed / 2);
        let target = frame_end.clamp(needed + needed / 16, most);
        bytes.reserve_exact(target - bytes.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_fragments_neither_move_the_message_each_time_nor_waste_memory() {
        for (fragment, count) in [(1, 131_072), (128, 131_072)] {
            let (mut bytes, mut moves) = (Vec::new(), 0);
            for _ in 0..count {
                let before = bytes.capacity();
                grow(&mut bytes, fragment, 0);
                bytes.resize(bytes.len() + fragment, 0);
                moves += usize::from(bytes.capacity() != before);
                assert!(bytes.capacity() * 10 <= bytes.len() * 11);
            }
            assert!(moves < 400, "{moves} moves of {fragment} bytes a time");
        }
    }

    #[test]
    fn what_is_announced_is_taken_as_it_arrives() {
        let (mut bytes, mut moves) = (Vec::new(), 0);
        for arrived in 1..16_000 {
            let before = bytes.capacity();
            grow(&mut bytes, 1000, (16 << 20) - 1000 * arrived);
            bytes.resize(bytes.len() + 1000, 0);
            moves += usize::from(bytes.capacity() != before);
            assert!(bytes.capacity() <= (bytes.len() / 2 * 3).max(1 << 20));
            assert!(bytes.capacity() <= bytes.len() * 4);
        }
        assert!(moves <= 13, "{moves} moves");
    }
}
