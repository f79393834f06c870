//! The frame header (RFC 6455 section 5.2): its fields, its parser and its encoder.

use super::{ProtocolError, Role, Rules};

/// The longest frame header: two bytes, a 64-bit length and a masking key.
pub const HEADER_BYTES_MAX: usize = 14;

/// The longest payload of a control frame (RFC 6455 section 5.5).
pub const CONTROL_PAYLOAD_MAX: usize = 125;

/// What a frame is (RFC 6455 section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum OpCode {
    /// Continues a fragmented message.
    Continuation = 0x0,
    /// Text, or the first fragment of it.
    Text = 0x1,
    /// Bytes, or the first fragment of them.
    Binary = 0x2,
    /// Starts or answers the closing handshake.
    Close = 0x8,
    /// Asks for a pong.
    Ping = 0x9,
    /// Answers a ping, or tells that the sender is alive.
    Pong = 0xa,
}

impl OpCode {
    /// Whether this is a control frame: whole, short and allowed between fragments (section 5.5).
    pub const fn is_control(self) -> bool {
        self as u8 >= 0x8
    }

    const fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xa => Self::Pong,
            _ => return None,
        })
    }
}

/// A frame without its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// FIN: the last frame of its message.
    pub is_final: bool,
    /// RSV1: the message that begins with this frame is compressed (RFC 7692 section 6).
    pub is_compressed: bool,
    /// What the frame is.
    pub opcode: OpCode,
    /// The masking key, if the payload is masked.
    pub mask: Option<[u8; 4]>,
    /// The length of the payload in bytes; at most 2^63 - 1.
    pub payload_bytes: u64,
}

/// The frame that nearly every message is: see [`parse_common`].
#[derive(Clone, Copy, Debug)]
pub(super) struct CommonFrame {
    pub(super) opcode: OpCode,
    /// Zeros if there is no mask.
    pub(super) mask: [u8; 4],
    pub(super) header_bytes: usize,
    /// The length of header and payload.
    pub(super) bytes: usize,
}

/// Reads a final, uncompressed data frame of less than 64 KiB that lies in `input` as a whole, and
/// that breaks no rule. Anything else is left to [`FrameHeader::parse`], which also knows what is
/// wrong.
#[inline]
pub(super) fn parse_common(input: &[u8], rules: &Rules) -> Option<CommonFrame> {
    let (&[first, second], rest) = input.split_first_chunk()?;
    let opcode = match first {
        0x81 => OpCode::Text,
        0x82 => OpCode::Binary,
        _ => return None,
    };
    let (payload_bytes, length_bytes) = match second & 0x7f {
        short @ 0..=125 => (usize::from(short), 0),
        126 => (usize::from(u16::from_be_bytes(*rest.first_chunk()?)), 2),
        _ => return None,
    };
    let (mask, mask_bytes) = match rules.role {
        Role::Server => (*rest.get(length_bytes..)?.first_chunk()?, 4),
        Role::Client => ([0; 4], 0),
    };
    let header_bytes = 2 + length_bytes + mask_bytes;
    let bytes = header_bytes + payload_bytes;
    let is_masked = second & 0x80 != 0;
    let is_right = is_masked == (rules.role == Role::Server)
        && (length_bytes == 0 || payload_bytes > 125)
        && payload_bytes as u64 <= rules.limits.whole_frame_bytes()
        && bytes <= input.len();
    is_right.then_some(CommonFrame { opcode, mask, header_bytes, bytes })
}

impl FrameHeader {
    /// Reads a header from the start of `input` and returns it with its own length in bytes, or
    /// `None` if more input is needed. A violation is reported with the first byte that shows it.
    ///
    /// # Errors
    ///
    /// Every rule of section 5.2 that the header alone can violate: a server demands the mask, a
    /// client refuses it; RSV1 is refused unless permessage-deflate was agreed.
    pub fn parse(input: &[u8], rules: &Rules) -> Result<Option<(Self, usize)>, ProtocolError> {
        let Some((&first, rest)) = input.split_first() else { return Ok(None) };
        let (is_final, is_compressed, opcode) = Self::parse_first_byte(first, rules)?;
        let Some((&second, rest)) = rest.split_first() else { return Ok(None) };
        let is_masked = second & 0x80 != 0;
        match (rules.role, is_masked) {
            (Role::Server, false) => return Err(ProtocolError::UnmaskedFrame),
            (Role::Client, true) => return Err(ProtocolError::MaskedFrame),
            _ => {}
        }
        let short = second & 0x7f;
        if opcode.is_control() && usize::from(short) > CONTROL_PAYLOAD_MAX {
            return Err(ProtocolError::ControlFrameTooLong);
        }
        let Some((payload_bytes, rest)) = Self::parse_length(short, rest)? else {
            return Ok(None);
        };
        let (mask, rest) = if is_masked {
            let Some((key, rest)) = rest.split_first_chunk() else { return Ok(None) };
            (Some(*key), rest)
        } else {
            (None, rest)
        };
        let header = Self { is_final, is_compressed, opcode, mask, payload_bytes };
        Ok(Some((header, input.len() - rest.len())))
    }

    /// FIN, RSV1 and the opcode.
    fn parse_first_byte(byte: u8, rules: &Rules) -> Result<(bool, bool, OpCode), ProtocolError> {
        let is_compressed = byte & 0x40 != 0;
        if byte & 0x30 != 0 || (is_compressed && rules.compression.is_none()) {
            return Err(ProtocolError::ReservedBits);
        }
        let opcode =
            OpCode::from_bits(byte & 0x0f).ok_or(ProtocolError::ReservedOpCode(byte & 0x0f))?;
        // RFC 7692 section 6: only the first frame of a message says that it is compressed.
        if is_compressed && !matches!(opcode, OpCode::Text | OpCode::Binary) {
            return Err(ProtocolError::ReservedBits);
        }
        let is_final = byte & 0x80 != 0;
        if opcode.is_control() && !is_final {
            return Err(ProtocolError::FragmentedControlFrame);
        }
        Ok((is_final, is_compressed, opcode))
    }

    /// The extended length: 16 bits after 126, 64 bits after 127, and never a longer form than
    /// the length needs.
    fn parse_length(short: u8, rest: &[u8]) -> Result<Option<(u64, &[u8])>, ProtocolError> {
        match short {
            126 => {
                let Some((bytes, rest)) = rest.split_first_chunk() else { return Ok(None) };
                let length = u64::from(u16::from_be_bytes(*bytes));
                if length < 126 {
                    return Err(ProtocolError::NonMinimalLength);
                }
                Ok(Some((length, rest)))
            }
            127 => {
                if rest.first().is_some_and(|byte| byte & 0x80 != 0) {
                    return Err(ProtocolError::LengthOverflow);
                }
                let Some((bytes, rest)) = rest.split_first_chunk() else { return Ok(None) };
                let length = u64::from_be_bytes(*bytes);
                if length <= u64::from(u16::MAX) {
                    return Err(ProtocolError::NonMinimalLength);
                }
                Ok(Some((length, rest)))
            }
            _ => Ok(Some((u64::from(short), rest))),
        }
    }

    /// Appends the header to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let fin = if self.is_final { 0x80 } else { 0 };
        let masked = if self.mask.is_some() { 0x80 } else { 0 };
        let rsv1 = if self.is_compressed { 0x40 } else { 0 };
        let first = fin | rsv1 | self.opcode as u8;
        match self.payload_bytes {
            0..=125 => out.extend_from_slice(&[first, masked | self.payload_bytes as u8]),
            126..=0xffff => {
                let [high, low] = (self.payload_bytes as u16).to_be_bytes();
                out.extend_from_slice(&[first, masked | 126, high, low]);
            }
            _ => {
                out.extend_from_slice(&[first, masked | 127]);
                out.extend_from_slice(&self.payload_bytes.to_be_bytes());
            }
        }
        if let Some(key) = self.mask {
            out.extend_from_slice(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ws::{Context, Limits};

    const KEY: [u8; 4] = [1, 2, 3, 4];

    const SERVER: Rules = Rules::new(Role::Server, Limits::DEFAULT);
    const CLIENT: Rules = Rules::new(Role::Client, Limits::DEFAULT);

    fn header(opcode: OpCode, payload_bytes: u64) -> FrameHeader {
        FrameHeader { is_final: true, is_compressed: false, opcode, mask: Some(KEY), payload_bytes }
    }

    #[test]
    fn a_header_round_trips_at_every_length_boundary_and_needs_each_of_its_bytes() {
        let lengths = [0, 1, 125, 126, 127, 0xffff, 0x1_0000, u64::from(u32::MAX), u64::MAX >> 1];
        for length in lengths {
            for is_final in [false, true] {
                for (mask, rules) in [(Some(KEY), SERVER), (None, CLIENT)] {
                    let header = FrameHeader {
                        is_final,
                        is_compressed: false,
                        opcode: OpCode::Binary,
                        mask,
                        payload_bytes: length,
                    };
                    let mut bytes = Vec::new();
                    header.encode(&mut bytes);
                    let size = bytes.len();
                    assert_eq!(FrameHeader::parse(&bytes, &rules), Ok(Some((header, size))));
                    for cut in 0..size {
                        assert_eq!(FrameHeader::parse(&bytes[..cut], &rules), Ok(None));
                    }
                }
            }
        }
    }

    /// On everything that the short cut takes, the long way has the same opinion; and it takes
    /// what it is for.
    #[test]
    fn the_short_cut_agrees_with_the_long_way() {
        let small = Limits { frame_bytes: 300, ..Limits::DEFAULT };
        let roles = [Role::Server, Role::Client];
        let mut taken = 0;
        for rules in roles.map(|role| Rules::new(role, small)) {
            for (first, second) in (0..=255).flat_map(|a| (0..=255).map(move |b| (a, b))) {
                // 125 would fit the short form, which is the only one that is allowed for it.
                for (length, bytes) in [
                    ([0, 9], 40),
                    ([0, 125], 133),
                    ([0, 126], 134),
                    ([0, 200], 208),
                    ([1, 44], 308),
                    ([1, 45], 309),
                ] {
                    let mut input = vec![7; bytes];
                    input[..4].copy_from_slice(&[first, second, length[0], length[1]]);
                    let Some(common) = parse_common(&input, &rules) else { continue };
                    taken += 1;
                    let (header, header_bytes) = FrameHeader::parse(&input, &rules)
                        .expect("it is valid")
                        .expect("it is whole");
                    assert!(header.is_final && !header.is_compressed);
                    assert_eq!(header.opcode, common.opcode);
                    assert_eq!(header.mask.unwrap_or_default(), common.mask);
                    assert_eq!(header_bytes, common.header_bytes);
                    assert_eq!(header_bytes as u64 + header.payload_bytes, common.bytes as u64);
                    assert!(header.payload_bytes <= 300);
                }
            }
        }
        assert!(taken > 1000, "{taken}");
    }

    #[test]
    fn lengths_that_are_not_minimal_are_refused() {
        for bytes in [&[0x82, 0xfe, 0, 125][..], &[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff]] {
            assert_eq!(FrameHeader::parse(bytes, &SERVER), Err(ProtocolError::NonMinimalLength));
        }
    }

    #[test]
    fn the_top_bit_of_a_64_bit_length_is_refused_at_once() {
        assert_eq!(
            FrameHeader::parse(&[0x82, 0xff, 0x80], &SERVER),
            Err(ProtocolError::LengthOverflow)
        );
    }

    #[test]
    fn each_reserved_bit_and_each_reserved_opcode_is_refused_with_the_first_byte() {
        for bit in [0x40, 0x20, 0x10] {
            assert_eq!(
                FrameHeader::parse(&[0x81 | bit], &SERVER),
                Err(ProtocolError::ReservedBits)
            );
        }
        for opcode in (3..=7).chain(11..=15) {
            assert_eq!(
                FrameHeader::parse(&[0x80 | opcode], &SERVER),
                Err(ProtocolError::ReservedOpCode(opcode))
            );
        }
    }

    #[test]
    fn rsv1_marks_the_first_frame_of_a_message_where_compression_was_agreed() {
        let rules = Rules { compression: Some(Context::Fresh), ..SERVER };
        let parse = |byte| FrameHeader::parse(&[byte, 0x80, 1, 2, 3, 4], &rules);
        for opcode in [0x1, 0x2] {
            for fin in [0, 0x80] {
                assert!(parse(fin | 0x40 | opcode).unwrap().unwrap().0.is_compressed);
                assert!(!parse(fin | opcode).unwrap().unwrap().0.is_compressed);
            }
        }
        for first in [0x40, 0xc0, 0xc8, 0xc9, 0xca, 0xe1, 0xd1, 0xa1, 0x91] {
            assert_eq!(parse(first), Err(ProtocolError::ReservedBits), "{first:x}");
        }
    }

    #[test]
    fn the_mask_bit_must_fit_the_role() {
        assert_eq!(FrameHeader::parse(&[0x81, 0x01], &SERVER), Err(ProtocolError::UnmaskedFrame));
        assert_eq!(FrameHeader::parse(&[0x81, 0x81], &CLIENT), Err(ProtocolError::MaskedFrame));
    }

    #[test]
    fn control_frames_are_short_and_whole() {
        let mut bytes = Vec::new();
        header(OpCode::Ping, 126).encode(&mut bytes);
        assert_eq!(FrameHeader::parse(&bytes, &SERVER), Err(ProtocolError::ControlFrameTooLong));
        assert_eq!(
            FrameHeader::parse(&[0x09], &SERVER),
            Err(ProtocolError::FragmentedControlFrame)
        );
    }
}
