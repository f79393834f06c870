//! Close codes and the payload of a Close frame (RFC 6455 sections 5.5.1 and 7.4).

use std::fmt;

use super::{Misuse, ProtocolError, frame::CONTROL_PAYLOAD_MAX};

/// Why a connection was closed (RFC 6455 section 7.4 and the registry it opened).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// 1000: the purpose of the connection has been fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// 1001: the endpoint goes away: a server shuts down, a page is left.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: a protocol error.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1003: data of a type that the endpoint cannot accept.
    pub const UNSUPPORTED_DATA: Self = Self(1003);
    /// 1005: no code was in the Close frame. Never sent.
    pub const NO_STATUS: Self = Self(1005);
    /// 1006: the connection ended without a Close frame. Never sent.
    pub const ABNORMAL: Self = Self(1006);
    /// 1007: the payload does not fit the type of the message, such as text that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// 1008: a message violates a policy of the endpoint.
    pub const POLICY_VIOLATION: Self = Self(1008);
    /// 1009: a message is too big to process.
    pub const MESSAGE_TOO_BIG: Self = Self(1009);
    /// 1010: the client expected an extension that the server did not negotiate.
    pub const MANDATORY_EXTENSION: Self = Self(1010);
    /// 1011: the server met an unexpected condition.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// 1012: the service restarts.
    pub const SERVICE_RESTART: Self = Self(1012);
    /// 1013: the service is overloaded; try again later.
    pub const TRY_AGAIN_LATER: Self = Self(1013);
    /// 1014: a gateway got an invalid response from upstream.
    pub const BAD_GATEWAY: Self = Self(1014);

    /// Whether this code may stand in a Close frame: registered for the protocol and not reserved
    /// for local use (1000 to 1003, 1007 to 1014), or left to libraries and applications
    /// (3000 to 4999). RFC 6455 section 7.4.2.
    pub const fn may_be_sent(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

impl fmt::Debug for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The payload of a Close frame: a code and a reason. A Close frame may have neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseFrame<'a> {
    /// Why the connection is closed.
    pub code: CloseCode,
    /// An explanation for people; at most 123 bytes.
    pub reason: &'a str,
}

impl<'a> CloseFrame<'a> {
    /// Reads the payload of a Close frame that has arrived.
    ///
    /// # Errors
    ///
    /// A payload of one byte, a code that must not be sent, a reason that is not UTF-8.
    pub(super) fn parse(payload: &'a [u8]) -> Result<Option<Self>, ProtocolError> {
        let (code, reason) = match payload {
            [] => return Ok(None),
            [_] => return Err(ProtocolError::TruncatedCloseCode),
            [high, low, reason @ ..] => (CloseCode(u16::from_be_bytes([*high, *low])), reason),
        };
        if !code.may_be_sent() {
            return Err(ProtocolError::InvalidCloseCode(code.0));
        }
        let reason =
            simdutf8::basic::from_utf8(reason).map_err(|_| ProtocolError::InvalidCloseReason)?;
        Ok(Some(Self { code, reason }))
    }

    /// The payload of a Close frame to send, and its length.
    pub(super) fn encode(self) -> Result<([u8; CONTROL_PAYLOAD_MAX], usize), Misuse> {
        if !self.code.may_be_sent() {
            return Err(Misuse::InvalidCloseCode(self.code.0));
        }
        let length = 2 + self.reason.len();
        let mut payload = [0; CONTROL_PAYLOAD_MAX];
        if length > payload.len() {
            return Err(Misuse::CloseReasonTooLong);
        }
        payload[..2].copy_from_slice(&self.code.0.to_be_bytes());
        payload[2..length].copy_from_slice(self.reason.as_bytes());
        Ok((payload, length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_may_be_sent_are_those_of_section_7_4() {
        let allowed: Vec<u16> = (0..=u16::MAX).filter(|&c| CloseCode(c).may_be_sent()).collect();
        let expected: Vec<u16> = (1000..=1003).chain(1007..=1014).chain(3000..=4999).collect();
        assert_eq!(allowed, expected);
    }

    #[test]
    fn close_payload_round_trips_with_every_reason_length() {
        for length in 0..=123 {
            let reason = "x".repeat(length);
            let frame = CloseFrame { code: CloseCode::NORMAL, reason: &reason };
            let (payload, used) = frame.encode().unwrap();
            assert_eq!(CloseFrame::parse(&payload[..used]), Ok(Some(frame)));
        }
        let reason = "x".repeat(124);
        let frame = CloseFrame { code: CloseCode::NORMAL, reason: &reason };
        assert_eq!(frame.encode(), Err(Misuse::CloseReasonTooLong));
    }

    #[test]
    fn close_payload_of_one_byte_is_truncated() {
        assert_eq!(CloseFrame::parse(&[3]), Err(ProtocolError::TruncatedCloseCode));
    }

    #[test]
    fn close_reason_must_be_utf8() {
        assert_eq!(CloseFrame::parse(&[3, 232, 0xff]), Err(ProtocolError::InvalidCloseReason));
    }
}
