//! The frame header (RFC 6455 section 5.2): its fields, its parser and its encoder.

use super::{ProtocolError, Role};

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
    /// What the frame is.
    pub opcode: OpCode,
    /// The masking key, if the payload is masked.
    pub mask: Option<[u8; 4]>,
    /// The length of the payload in bytes; at most 2^63 - 1.
    pub payload_bytes: u64,
}

impl FrameHeader {
    /// Reads a header from the start of `input` and returns it with its own length in bytes, or
    /// `None` if more input is needed. A violation is reported with the first byte that shows it.
    ///
    /// # Errors
    ///
    /// Every rule of section 5.2 that the header alone can violate. `receiver` is the end that
    /// reads: a server demands the mask, a client refuses it.
    pub fn parse(input: &[u8], receiver: Role) -> Result<Option<(Self, usize)>, ProtocolError> {
        let Some((&first, rest)) = input.split_first() else { return Ok(None) };
        let (is_final, opcode) = Self::parse_first_byte(first)?;
        let Some((&second, rest)) = rest.split_first() else { return Ok(None) };
        let is_masked = second & 0x80 != 0;
        match (receiver, is_masked) {
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
        let header = Self { is_final, opcode, mask, payload_bytes };
        Ok(Some((header, input.len() - rest.len())))
    }

    fn parse_first_byte(byte: u8) -> Result<(bool, OpCode), ProtocolError> {
        if byte & 0x70 != 0 {
            return Err(ProtocolError::ReservedBits);
        }
        let opcode =
            OpCode::from_bits(byte & 0x0f).ok_or(ProtocolError::ReservedOpCode(byte & 0x0f))?;
        let is_final = byte & 0x80 != 0;
        if opcode.is_control() && !is_final {
            return Err(ProtocolError::FragmentedControlFrame);
        }
        Ok((is_final, opcode))
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
        let first = fin | self.opcode as u8;
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

    const KEY: [u8; 4] = [1, 2, 3, 4];

    fn header(opcode: OpCode, payload_bytes: u64) -> FrameHeader {
        FrameHeader { is_final: true, opcode, mask: Some(KEY), payload_bytes }
    }

    #[test]
    fn a_header_round_trips_at_every_length_boundary_and_needs_each_of_its_bytes() {
        let lengths = [0, 1, 125, 126, 127, 0xffff, 0x1_0000, u64::from(u32::MAX), u64::MAX >> 1];
        for length in lengths {
            for is_final in [false, true] {
                for (mask, receiver) in [(Some(KEY), Role::Server), (None, Role::Client)] {
                    let header = FrameHeader {
                        is_final,
                        opcode: OpCode::Binary,
                        mask,
                        payload_bytes: length,
                    };
                    let mut bytes = Vec::new();
                    header.encode(&mut bytes);
                    let size = bytes.len();
                    assert_eq!(FrameHeader::parse(&bytes, receiver), Ok(Some((header, size))));
                    for cut in 0..size {
                        assert_eq!(FrameHeader::parse(&bytes[..cut], receiver), Ok(None));
                    }
                }
            }
        }
    }

    #[test]
    fn lengths_that_are_not_minimal_are_refused() {
        for bytes in [&[0x82, 0xfe, 0, 125][..], &[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff]] {
            assert_eq!(
                FrameHeader::parse(bytes, Role::Server),
                Err(ProtocolError::NonMinimalLength)
            );
        }
    }

    #[test]
    fn the_top_bit_of_a_64_bit_length_is_refused_at_once() {
        assert_eq!(
            FrameHeader::parse(&[0x82, 0xff, 0x80], Role::Server),
            Err(ProtocolError::LengthOverflow)
        );
    }

    #[test]
    fn each_reserved_bit_and_each_reserved_opcode_is_refused_with_the_first_byte() {
        for bit in [0x40, 0x20, 0x10] {
            assert_eq!(
                FrameHeader::parse(&[0x81 | bit], Role::Server),
                Err(ProtocolError::ReservedBits)
            );
        }
        for opcode in (3..=7).chain(11..=15) {
            assert_eq!(
                FrameHeader::parse(&[0x80 | opcode], Role::Server),
                Err(ProtocolError::ReservedOpCode(opcode))
            );
        }
    }

    #[test]
    fn the_mask_bit_must_fit_the_role() {
        assert_eq!(
            FrameHeader::parse(&[0x81, 0x01], Role::Server),
            Err(ProtocolError::UnmaskedFrame)
        );
        assert_eq!(
            FrameHeader::parse(&[0x81, 0x81], Role::Client),
            Err(ProtocolError::MaskedFrame)
        );
    }

    #[test]
    fn control_frames_are_short_and_whole() {
        let mut bytes = Vec::new();
        header(OpCode::Ping, 126).encode(&mut bytes);
        assert_eq!(
            FrameHeader::parse(&bytes, Role::Server),
            Err(ProtocolError::ControlFrameTooLong)
        );
        assert_eq!(
            FrameHeader::parse(&[0x09], Role::Server),
            Err(ProtocolError::FragmentedControlFrame)
        );
    }
}
