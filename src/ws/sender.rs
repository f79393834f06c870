//! Messages in, bytes out: frames in an order that the protocol allows.

use super::{
    CONTROL_PAYLOAD_MAX, CloseFrame, Deflater, Deflation, FrameHeader, Kind, Misuse, OpCode,
    apply_mask,
};

/// Payload is copied in parts of this size. For more than 2 KiB the C library copies with
/// `rep movsb`, which on AMD Zen takes 30 times as long when the target lies a few bytes after the
/// source, modulo 4096 (glibc bug 30994); and a frame and its echo lie that way.
const COPY_BYTES: usize = 1024;

/// The sending half of a connection's protocol: appends frames to a buffer of the caller's.
///
/// Every method takes the masking key of its frame: `None` at a server, a fresh unpredictable one
/// at a client (RFC 6455 section 5.3). A call that fails appends nothing.
#[derive(Debug, Default)]
pub struct Sender(State);

/// What may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Anything, or what goes on with the fragmented message of this kind.
    Open(Option<Kind>),
    /// Nothing: a Close frame has been sent.
    Closed,
}

impl Default for State {
    fn default() -> Self {
        Self::Open(None)
    }
}

impl Sender {
    /// Appends a whole message.
    ///
    /// # Errors
    ///
    /// [`Misuse::Closing`] after a Close; [`Misuse::MessageInProgress`] within a fragmented message.
    #[inline]
    pub fn message(
        &mut self,
        out: &mut Vec<u8>,
        kind: Kind,
        payload: &[u8],
        mask: Option<[u8; 4]>,
    ) -> Result<(), Misuse> {
        self.check_between_messages()?;
        append(out, true, kind.opcode(), payload, mask);
        Ok(())
    }

    /// The header of a whole message, for a caller that has the payload where it can be sent from.
    ///
    /// # Errors
    ///
    /// As [`message`](Self::message).
    pub fn message_header(&self, kind: Kind, payload_bytes: usize) -> Result<FrameHeader, Misuse> {
        self.check_between_messages()?;
        Ok(FrameHeader {
            is_final: true,
            is_compressed: false,
            opcode: kind.opcode(),
            mask: None,
            payload_bytes: payload_bytes as u64,
        })
    }

    /// Appends a whole message, compressed if that makes it shorter (RFC 7692 section 7.2.1).
    ///
    /// # Errors
    ///
    /// As [`message`](Self::message).
    pub fn deflated_message(
        &mut self,
        out: &mut Vec<u8>,
        kind: Kind,
        payload: &[u8],
        mask: Option<[u8; 4]>,
        deflation: &mut Deflation,
        deflater: &mut Deflater,
    ) -> Result<(), Misuse> {
        // First, because what has been deflated has to be sent.
        self.check_between_messages()?;
        match deflater.deflate(payload, deflation) {
            None => append(out, true, kind.opcode(), payload, mask),
            Some(deflated) => {
                let payload_bytes = deflated.len() as u64;
                let opcode = kind.opcode();
                let header = FrameHeader {
                    is_final: true,
                    is_compressed: true,
                    opcode,
                    mask,
                    payload_bytes,
                };
                append_frame(out, header, deflated);
            }
        }
        Ok(())
    }

    /// Appends a fragment of a message; `is_final` ends the message. Fragments are sent as they
    /// are, whether or not compression was agreed.
    ///
    /// # Errors
    ///
    /// [`Misuse::Closing`] after a Close; [`Misuse::MessageInProgress`] if the message that was
    /// begun is of the other kind.
    pub fn fragment(
        &mut self,
        out: &mut Vec<u8>,
        kind: Kind,
        is_final: bool,
        payload: &[u8],
        mask: Option<[u8; 4]>,
    ) -> Result<(), Misuse> {
        let opcode = match self.0 {
            State::Open(None) => kind.opcode(),
            State::Open(Some(begun)) if begun == kind => OpCode::Continuation,
            State::Open(Some(_)) => return Err(Misuse::MessageInProgress),
            State::Closed => return Err(Misuse::Closing),
        };
        self.0 = State::Open((!is_final).then_some(kind));
        append(out, is_final, opcode, payload, mask);
        Ok(())
    }

    /// Appends a ping; allowed between fragments.
    ///
    /// # Errors
    ///
    /// [`Misuse::Closing`] after a Close; [`Misuse::ControlPayloadTooLong`] over 125 bytes.
    pub fn ping(
        &self,
        out: &mut Vec<u8>,
        payload: &[u8],
        mask: Option<[u8; 4]>,
    ) -> Result<(), Misuse> {
        self.control(out, OpCode::Ping, payload, mask)
    }

    /// Appends a pong; allowed between fragments.
    ///
    /// # Errors
    ///
    /// As [`ping`](Self::ping).
    pub fn pong(
        &self,
        out: &mut Vec<u8>,
        payload: &[u8],
        mask: Option<[u8; 4]>,
    ) -> Result<(), Misuse> {
        self.control(out, OpCode::Pong, payload, mask)
    }

    /// Appends a Close frame, after which nothing more can be sent (section 5.5.1).
    ///
    /// # Errors
    ///
    /// [`Misuse::Closing`] after a Close; [`Misuse::InvalidCloseCode`] and
    /// [`Misuse::CloseReasonTooLong`].
    pub fn close(
        &mut self,
        out: &mut Vec<u8>,
        frame: Option<CloseFrame<'_>>,
        mask: Option<[u8; 4]>,
    ) -> Result<(), Misuse> {
        self.check_open()?;
        match frame {
            None => append(out, true, OpCode::Close, &[], mask),
            Some(frame) => {
                let (payload, length) = frame.encode()?;
                append(out, true, OpCode::Close, &payload[..length], mask);
            }
        }
        self.0 = State::Closed;
        Ok(())
    }

    /// Whether a fragmented message has been begun and not ended.
    pub fn is_mid_message(&self) -> bool {
        matches!(self.0, State::Open(Some(_)))
    }

    /// Whether a Close frame has been sent.
    pub fn is_closed(&self) -> bool {
        self.0 == State::Closed
    }

    fn control(
        &self,
        out: &mut Vec<u8>,
        opcode: OpCode,
        payload: &[u8],
        mask: Option<[u8; 4]>,
    ) -> Result<(), Misuse> {
        self.check_open()?;
        if payload.len() > CONTROL_PAYLOAD_MAX {
            return Err(Misuse::ControlPayloadTooLong);
        }
        append(out, true, opcode, payload, mask);
        Ok(())
    }

    fn check_between_messages(&self) -> Result<(), Misuse> {
        match self.0 {
            State::Open(None) => Ok(()),
            State::Open(Some(_)) => Err(Misuse::MessageInProgress),
            State::Closed => Err(Misuse::Closing),
        }
    }

    fn check_open(&self) -> Result<(), Misuse> {
        if self.is_closed() { Err(Misuse::Closing) } else { Ok(()) }
    }
}

#[inline]
fn append(
    out: &mut Vec<u8>,
    is_final: bool,
    opcode: OpCode,
    payload: &[u8],
    mask: Option<[u8; 4]>,
) {
    if payload.len() <= CONTROL_PAYLOAD_MAX && mask.is_none() {
        return append_short(out, is_final, opcode, payload);
    }
    let payload_bytes = payload.len() as u64;
    let header = FrameHeader { is_final, is_compressed: false, opcode, mask, payload_bytes };
    append_frame(out, header, payload);
}

/// What a server sends most.
#[inline]
fn append_short(out: &mut Vec<u8>, is_final: bool, opcode: OpCode, payload: &[u8]) {
    out.reserve(2 + payload.len());
    out.extend_from_slice(&[u8::from(is_final) << 7 | opcode as u8, payload.len() as u8]);
    out.extend_from_slice(payload);
}

/// Appends a frame; the payload is masked if the header has a key.
pub fn append_frame(out: &mut Vec<u8>, header: FrameHeader, payload: &[u8]) {
    header.encode(out);
    let start = out.len();
    append_bytes(out, payload);
    if let Some(key) = header.mask {
        apply_mask(&mut out[start..], key, 0);
    }
}

/// Appends bytes that may have come from the same place, modulo 4096 (see [`COPY_BYTES`]).
pub(super) fn append_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.reserve(bytes.len());
    for part in bytes.chunks(COPY_BYTES) {
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragments_take_the_opcode_of_their_place_and_control_frames_go_between() {
        let mut sender = Sender::default();
        let mut out = Vec::new();
        sender.fragment(&mut out, Kind::Text, false, b"a", None).unwrap();
        sender.ping(&mut out, b"p", None).unwrap();
        sender.fragment(&mut out, Kind::Text, false, b"b", None).unwrap();
        sender.fragment(&mut out, Kind::Text, true, b"c", None).unwrap();
        sender.message(&mut out, Kind::Binary, b"d", None).unwrap();
        let expected: &[u8] =
            &[0x01, 1, b'a', 0x89, 1, b'p', 0x00, 1, b'b', 0x80, 1, b'c', 0x82, 1, b'd'];
        assert_eq!(out, expected);
    }

    #[test]
    fn a_message_within_a_message_is_refused_and_appends_nothing() {
        let mut sender = Sender::default();
        let mut out = Vec::new();
        sender.fragment(&mut out, Kind::Text, false, b"a", None).unwrap();
        let before = out.clone();
        assert_eq!(
            sender.message(&mut out, Kind::Text, b"b", None),
            Err(Misuse::MessageInProgress)
        );
        assert_eq!(
            sender.fragment(&mut out, Kind::Binary, true, b"b", None),
            Err(Misuse::MessageInProgress)
        );
        assert_eq!(out, before);
    }

    #[test]
    fn nothing_is_sent_after_a_close() {
        let mut sender = Sender::default();
        let mut out = Vec::new();
        sender.close(&mut out, None, None).unwrap();
        let before = out.clone();
        assert_eq!(sender.message(&mut out, Kind::Text, b"", None), Err(Misuse::Closing));
        assert_eq!(sender.ping(&mut out, b"", None), Err(Misuse::Closing));
        assert_eq!(sender.close(&mut out, None, None), Err(Misuse::Closing));
        assert_eq!(out, before);
    }

    #[test]
    fn control_payloads_end_at_125_bytes() {
        let sender = Sender::default();
        let mut out = Vec::new();
        sender.pong(&mut out, &[0; 125], None).unwrap();
        assert_eq!(sender.pong(&mut out, &[0; 126], None), Err(Misuse::ControlPayloadTooLong));
    }

    #[test]
    fn a_client_masks_with_the_key_it_is_given() {
        let mut sender = Sender::default();
        let mut out = Vec::new();
        sender.message(&mut out, Kind::Binary, &[0, 0, 0, 0, 0], Some([1, 2, 3, 4])).unwrap();
        assert_eq!(out, [0x82, 0x85, 1, 2, 3, 4, 1, 2, 3, 4, 1]);
    }
}
