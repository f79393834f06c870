//! What can go wrong in the protocol, sorted by whose fault it is.
//!
//! [`ProtocolError`] is the peer's: each violation has one name and one close code.
//! [`Misuse`] is the caller's: a call that the protocol does not allow, refused with no effect.

use std::fmt;

use super::{CloseCode, frame::CONTROL_PAYLOAD_MAX};

/// A violation of RFC 6455, or of a limit of ours, by the peer.
///
/// After one of these the connection is failed (section 7.1.7): nothing more is read from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProtocolError {
    /// RSV1, RSV2 or RSV3 is set and no extension defines it (section 5.2).
    ReservedBits,
    /// An opcode that is reserved: 3 to 7 or 11 to 15 (section 5.2).
    ReservedOpCode(u8),
    /// A client sent a frame that is not masked (section 5.1).
    UnmaskedFrame,
    /// A server sent a frame that is masked (section 5.1).
    MaskedFrame,
    /// The length is not encoded in the fewest bytes possible (section 5.2).
    NonMinimalLength,
    /// The most significant bit of a 64-bit length is set (section 5.2).
    LengthOverflow,
    /// A control frame with a payload of more than 125 bytes (section 5.5).
    ControlFrameTooLong,
    /// A control frame without FIN (section 5.5).
    FragmentedControlFrame,
    /// A continuation frame with no message to continue (section 5.4).
    UnexpectedContinuation,
    /// A text or binary frame within a fragmented message (section 5.4).
    ExpectedContinuation,
    /// Text that is not UTF-8 (section 8.1).
    InvalidUtf8,
    /// A compressed message that is not DEFLATE, or ends within a block (RFC 7692 section 7.2.2).
    InvalidDeflate,
    /// A Close frame with a payload of one byte (section 5.5.1).
    TruncatedCloseCode,
    /// A close code that must not be sent, or is not registered (section 7.4).
    InvalidCloseCode(u16),
    /// The reason in a Close frame is not UTF-8 (section 5.5.1).
    InvalidCloseReason,
    /// The frame is longer than [`Limits::frame_bytes`](super::Limits::frame_bytes).
    FrameTooLarge,
    /// The message is longer than [`Limits::message_bytes`](super::Limits::message_bytes).
    MessageTooLarge,
    /// The message has more frames than [`Limits::fragments`](super::Limits::fragments).
    TooManyFragments,
}

impl ProtocolError {
    /// The code with which the connection is failed (section 7.4.1). The only such mapping.
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::InvalidUtf8 | Self::InvalidDeflate | Self::InvalidCloseReason => {
                CloseCode::INVALID_PAYLOAD
            }
            Self::FrameTooLarge | Self::MessageTooLarge | Self::TooManyFragments => {
                CloseCode::MESSAGE_TOO_BIG
            }
            Self::ReservedBits
            | Self::ReservedOpCode(_)
            | Self::UnmaskedFrame
            | Self::MaskedFrame
            | Self::NonMinimalLength
            | Self::LengthOverflow
            | Self::ControlFrameTooLong
            | Self::FragmentedControlFrame
            | Self::UnexpectedContinuation
            | Self::ExpectedContinuation
            | Self::TruncatedCloseCode
            | Self::InvalidCloseCode(_) => CloseCode::PROTOCOL_ERROR,
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReservedBits => f.write_str("reserved bits are set"),
            Self::ReservedOpCode(opcode) => write!(f, "reserved opcode {opcode}"),
            Self::UnmaskedFrame => f.write_str("client frame is not masked"),
            Self::MaskedFrame => f.write_str("server frame is masked"),
            Self::NonMinimalLength => f.write_str("length is not minimally encoded"),
            Self::LengthOverflow => f.write_str("length exceeds 63 bits"),
            Self::ControlFrameTooLong => f.write_str("control frame exceeds 125 bytes"),
            Self::FragmentedControlFrame => f.write_str("control frame is fragmented"),
            Self::UnexpectedContinuation => f.write_str("continuation without a message"),
            Self::ExpectedContinuation => f.write_str("new message within a message"),
            Self::InvalidUtf8 => f.write_str("text is not UTF-8"),
            Self::InvalidDeflate => f.write_str("compressed message is not DEFLATE"),
            Self::TruncatedCloseCode => f.write_str("close code is truncated"),
            Self::InvalidCloseCode(code) => write!(f, "invalid close code {code}"),
            Self::InvalidCloseReason => f.write_str("close reason is not UTF-8"),
            Self::FrameTooLarge => f.write_str("frame is too large"),
            Self::MessageTooLarge => f.write_str("message is too large"),
            Self::TooManyFragments => f.write_str("message has too many fragments"),
        }
    }
}

impl std::error::Error for ProtocolError {}

/// A call that the protocol or the programming model does not allow. It had no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Misuse {
    /// A read was asked for while another one is outstanding.
    ReadOutstanding,
    /// A whole message was sent, or one of the other kind continued, within a fragmented message;
    /// or a whole message was asked for when part of it has been read as frames.
    MessageInProgress,
    /// The payload of a ping or pong is longer than 125 bytes (RFC 6455 section 5.5).
    ControlPayloadTooLong,
    /// The close code must not be sent (RFC 6455 section 7.4).
    InvalidCloseCode(u16),
    /// The close reason is longer than 123 bytes (RFC 6455 section 5.5.1).
    CloseReasonTooLong,
    /// The connection is closing: a Close frame has been sent (RFC 6455 section 5.5.1).
    Closing,
    /// The end of the connection has already been reported to this session.
    Ended,
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReadOutstanding => f.write_str("a read is already outstanding"),
            Self::MessageInProgress => f.write_str("a fragmented message is in progress"),
            Self::ControlPayloadTooLong => {
                write!(f, "control payload exceeds {CONTROL_PAYLOAD_MAX} bytes")
            }
            Self::InvalidCloseCode(code) => write!(f, "close code {code} must not be sent"),
            Self::CloseReasonTooLong => f.write_str("close reason exceeds 123 bytes"),
            Self::Closing => f.write_str("the connection is closing"),
            Self::Ended => f.write_str("the connection has ended"),
        }
    }
}

impl std::error::Error for Misuse {}
