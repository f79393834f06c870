//! What goes wrong in a run, by kind.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use wireloop::{http::HandshakeError, ws::ProtocolError};

use super::tls_fault::TlsFault;

/// What went wrong, by kind. The order is that of a connection's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Failure {
    ConnectRefused,
    ConnectTimeout,
    Connect(i32),
    Tls(TlsFault),
    Status(u16),
    Handshake(HandshakeFault),
    HandshakeEnded,
    Reset,
    Ended,
    Network(i32),
    Protocol(ProtocolFault),
    ClosedByServer(u16),
    WrongContent,
    WrongKind,
    Lost,
    Duplicate,
    Reordered,
    Foreign,
    Unexpected,
    Unanswered,
    Missed,
    Unsent,
    NoSession,
    Undelivered,
}

/// What is wrong with the answer to a handshake (RFC 6455 section 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum HandshakeFault {
    WrongAccept,
    NoUpgrade,
    NoConnection,
    Extension,
    Subprotocol,
    HeadTooLarge,
    NotHttp,
}

impl fmt::Display for HandshakeFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WrongAccept => "wrong Sec-WebSocket-Accept",
            Self::NoUpgrade => "no Upgrade",
            Self::NoConnection => "no Connection: upgrade",
            Self::Extension => "extension not offered, or not so",
            Self::Subprotocol => "subprotocol not offered",
            Self::HeadTooLarge => "head too large",
            Self::NotHttp => "not HTTP/1.1",
        })
    }
}

/// What is wrong with a frame or a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ProtocolFault {
    MaskedFrame,
    ReservedBits,
    ReservedOpcode,
    NotUtf8,
    TooLarge,
    LengthNotMinimal,
    FragmentsOutOfOrder,
    NotDeflate,
    CloseCode,
    CloseReason,
    ControlFrame,
    TooManyFragments,
    Malformed,
}

impl fmt::Display for ProtocolFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MaskedFrame => "masked frame",
            Self::ReservedBits => "reserved bits",
            Self::ReservedOpcode => "reserved opcode",
            Self::NotUtf8 => "text is not UTF-8",
            Self::TooLarge => "too large",
            Self::LengthNotMinimal => "length not minimal",
            Self::FragmentsOutOfOrder => "fragments out of order",
            Self::NotDeflate => "compressed message is not DEFLATE",
            Self::CloseCode => "invalid close code",
            Self::CloseReason => "close reason is not UTF-8",
            Self::ControlFrame => "control frame too long or in fragments",
            Self::TooManyFragments => "too many fragments",
            Self::Malformed => "malformed frame",
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConnectRefused => f.write_str("connection refused"),
            Self::ConnectTimeout => f.write_str("connection not open in time"),
            Self::Connect(code) => {
                write!(f, "connecting failed: {}", std::io::Error::from_raw_os_error(*code))
            }
            Self::Tls(fault) => write!(f, "TLS failed: {fault}"),
            Self::Status(status) => {
                write!(f, "upgrade refused with status {status}")?;
                let status = http::StatusCode::from_u16(*status).ok();
                let name = status.and_then(|status| status.canonical_reason());
                name.map_or(Ok(()), |name| write!(f, " {name}"))
            }
            Self::Handshake(error) => write!(f, "invalid handshake: {error}"),
            Self::HandshakeEnded => f.write_str("connection ended within the handshake"),
            Self::Reset => f.write_str("connection reset"),
            Self::Ended => f.write_str("connection ended without a Close"),
            Self::Network(code) => {
                write!(f, "connection failed: {}", std::io::Error::from_raw_os_error(*code))
            }
            Self::Protocol(error) => write!(f, "protocol error: {error}"),
            Self::ClosedByServer(code) => write!(f, "closed by the server with {code}"),
            Self::WrongContent => f.write_str("echo with wrong content"),
            Self::WrongKind => f.write_str("echo with the wrong opcode"),
            Self::Lost => f.write_str("message lost: later ones were answered"),
            Self::Duplicate => f.write_str("echo that had come before"),
            Self::Reordered => f.write_str("echo that came after a later one"),
            Self::Foreign => f.write_str("echo of another connection"),
            Self::Unexpected => f.write_str("message that nobody asked for"),
            Self::Unanswered => f.write_str("message without an answer"),
            Self::Missed => f.write_str("message not sent: too many in flight"),
            Self::Unsent => f.write_str("message not sent: its connection was not open"),
            Self::Undelivered => f.write_str("message not delivered to one that awaits it"),
            Self::NoSession => f.write_str("session not begun: all connections were in use"),
        }
    }
}

impl From<HandshakeError> for Failure {
    fn from(error: HandshakeError) -> Self {
        match error {
            HandshakeError::UnexpectedStatus(status) => Self::Status(status),
            HandshakeError::WrongAccept => Self::Handshake(HandshakeFault::WrongAccept),
            HandshakeError::Upgrade => Self::Handshake(HandshakeFault::NoUpgrade),
            HandshakeError::Connection => Self::Handshake(HandshakeFault::NoConnection),
            HandshakeError::Extensions => Self::Handshake(HandshakeFault::Extension),
            HandshakeError::Protocol => Self::Handshake(HandshakeFault::Subprotocol),
            HandshakeError::HeadTooLarge => Self::Handshake(HandshakeFault::HeadTooLarge),
            _ => Self::Handshake(HandshakeFault::NotHttp),
        }
    }
}

impl From<rustls::Error> for Failure {
    fn from(error: rustls::Error) -> Self {
        Self::Tls(error.into())
    }
}

impl From<ProtocolError> for Failure {
    fn from(error: ProtocolError) -> Self {
        Self::Protocol(match error {
            ProtocolError::MaskedFrame => ProtocolFault::MaskedFrame,
            ProtocolError::ReservedBits => ProtocolFault::ReservedBits,
            ProtocolError::ReservedOpCode(_) => ProtocolFault::ReservedOpcode,
            ProtocolError::InvalidUtf8 => ProtocolFault::NotUtf8,
            ProtocolError::FrameTooLarge | ProtocolError::MessageTooLarge => {
                ProtocolFault::TooLarge
            }
            ProtocolError::NonMinimalLength => ProtocolFault::LengthNotMinimal,
            ProtocolError::UnexpectedContinuation | ProtocolError::ExpectedContinuation => {
                ProtocolFault::FragmentsOutOfOrder
            }
            ProtocolError::InvalidDeflate => ProtocolFault::NotDeflate,
            ProtocolError::InvalidCloseCode(_) | ProtocolError::TruncatedCloseCode => {
                ProtocolFault::CloseCode
            }
            ProtocolError::InvalidCloseReason => ProtocolFault::CloseReason,
            ProtocolError::ControlFrameTooLong | ProtocolError::FragmentedControlFrame => {
                ProtocolFault::ControlFrame
            }
            ProtocolError::TooManyFragments => ProtocolFault::TooManyFragments,
            _ => ProtocolFault::Malformed,
        })
    }
}

/// Failures, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Failures(BTreeMap<Failure, u64>);

impl Failures {
    pub(crate) fn add(&mut self, failure: Failure) {
        self.add_many(failure, 1);
    }

    pub(crate) fn add_many(&mut self, failure: Failure, count: u64) {
        if count > 0 {
            *self.0.entry(failure).or_default() += count;
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (failure, count) in other.iter() {
            self.add_many(failure, count);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Failure, u64)> + '_ {
        self.0.iter().map(|(failure, count)| (*failure, *count))
    }

    pub(crate) fn of(&self, failure: Failure) -> u64 {
        self.0.get(&failure).copied().unwrap_or(0)
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.values().sum()
    }
}

/// A failure as it is written: with the words for it, which are for people.
#[derive(Serialize, Deserialize)]
struct Written {
    failure: Failure,
    text: String,
    count: u64,
}

impl Serialize for Failures {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.iter().map(|(failure, count)| Written {
            failure,
            text: failure.to_string(),
            count,
        }))
    }
}

impl<'de> Deserialize<'de> for Failures {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut failures = Self::default();
        for Written { failure, count, .. } in Vec::deserialize(from)? {
            failures.add_many(failure, count);
        }
        Ok(failures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_by_kind() {
        let mut failures = Failures::default();
        failures.add(Failure::Status(404));
        failures.add(Failure::Status(404));
        failures.add(Failure::Status(503));
        assert_eq!(failures.iter().count(), 2);
        assert_eq!(failures.total(), 3);
    }

    #[test]
    fn failures_are_read_as_they_were_written() {
        let mut failures = Failures::default();
        failures.add_many(Failure::Status(404), 2);
        failures.add(Failure::Handshake(HandshakeFault::WrongAccept));
        failures.add(Failure::Lost);
        let text = serde_json::to_string(&failures).unwrap();
        assert!(
            text.contains(
                r#"{"failure":{"status":404},"text":"upgrade refused with status 404 Not Found","count":2}"#
            ),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<Failures>(&text).unwrap(), failures);
    }
}
