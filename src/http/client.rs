//! The client's side of the opening handshake (RFC 6455 section 4.1), for the load generator
//! and for tests. Randomness is an argument, as everything that is not computed is.

use std::fmt;

use ::http::HeaderMap;
use tungstenite::handshake::derive_accept_key;

use super::{
    deflate::DeflateParams,
    error::RequestError,
    extensions::Extensions,
    head::{Head, HeadScanner, Limits},
    headers::{HeaderSlots, Headers, MAX_HEADERS},
    protocols::is_owned_by_handshake,
    response::{write_extensions, write_header, write_parts},
    syntax::is_token,
    target::is_host,
};

/// The most bytes of response heads, interim ones included.
const HEAD_BYTES_MAX: usize = 16_384;

/// What a client asks for.
#[derive(Clone, Copy, Debug)]
pub struct ClientRequest<'a> {
    /// The Host header: `host` or `host:port`.
    pub host: &'a str,
    /// The path and query, starting with `/`.
    pub target: &'a str,
    /// 16 random bytes, fresh for each connection.
    pub key: [u8; 16],
    /// The subprotocols to offer, in order of preference.
    pub protocols: &'a [&'a str],
    /// The offer of permessage-deflate.
    pub deflate: Option<DeflateParams>,
    /// Further headers, such as Origin or a cookie; none of the handshake's own.
    pub headers: &'a HeaderMap,
}

/// A handshake that waits for the server's response.
#[derive(Clone, Debug)]
pub struct ClientHandshake {
    accept_key: String,
    protocols: Vec<Box<str>>,
    deflate: Option<DeflateParams>,
    scanner: HeadScanner,
    /// The bytes of the interim responses that were skipped.
    skipped: usize,
}

/// What the server agreed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Established {
    /// The bytes of the response; those after it are frames already.
    pub consumed: usize,
    /// The subprotocol, one of those offered.
    pub protocol: Option<String>,
    /// permessage-deflate, within what was offered.
    pub deflate: Option<DeflateParams>,
}

impl ClientHandshake {
    /// Appends the request to `out`. An error leaves `out` alone.
    pub fn start(request: &ClientRequest<'_>, out: &mut Vec<u8>) -> Result<Self, HandshakeError> {
        check_request(request)?;
        let key = encode_key(request.key);
        write_parts(out, &["GET ", request.target, " HTTP/1.1\r\nHost: ", request.host]);
        write_parts(out, &["\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"]);
        write_parts(out, &["Sec-WebSocket-Key: ", &key, "\r\nSec-WebSocket-Version: 13\r\n"]);
        if !request.protocols.is_empty() {
            let protocols = request.protocols.join(", ");
            write_parts(out, &["Sec-WebSocket-Protocol: ", &protocols, "\r\n"]);
        }
        if let Some(deflate) = request.deflate {
            write_extensions(out, &deflate);
        }
        request.headers.iter().for_each(|(name, value)| write_header(out, name, value));
        out.extend_from_slice(b"\r\n");
        Ok(Self {
            accept_key: derive_accept_key(key.as_bytes()),
            protocols: request.protocols.iter().map(|&name| name.into()).collect(),
            deflate: request.deflate,
            scanner: HeadScanner::default(),
            skipped: 0,
        })
    }

    /// Reads the response in `input`, which is everything received so far; `None` asks for
    /// more. Interim responses are skipped (RFC 9110 15.2).
    pub fn read(&mut self, input: &[u8]) -> Result<Option<Established>, HandshakeError> {
        loop {
            let limits = Limits {
                head_bytes: HEAD_BYTES_MAX.saturating_sub(self.skipped),
                headers: MAX_HEADERS,
                target_bytes: HEAD_BYTES_MAX,
            };
            let rest = input.get(self.skipped..).unwrap_or_default();
            let Some(head) = self.scanner.scan(rest, &limits)? else {
                return Ok(None);
            };
            let consumed = self.skipped + head.len();
            match parse_status(head)? {
                101 => return self.verify(head, consumed).map(Some),
                100..=199 => {
                    self.scanner = HeadScanner::default();
                    self.skipped = consumed;
                }
                status => return Err(HandshakeError::UnexpectedStatus(status)),
            }
        }
    }

    /// RFC 6455 4.1, the numbered list for the response.
    fn verify(&self, head: Head<'_>, consumed: usize) -> Result<Established, HandshakeError> {
        let mut slots = HeaderSlots::new();
        let headers = slots.parse(head.fields(), MAX_HEADERS)?;
        if !headers.lists("upgrade", "websocket") {
            return Err(HandshakeError::Upgrade);
        }
        if !headers.lists("connection", "upgrade") {
            return Err(HandshakeError::Connection);
        }
        match headers.single("sec-websocket-accept") {
            Ok(Some(accept)) if accept == self.accept_key.as_bytes() => {}
            Ok(_) | Err(_) => return Err(HandshakeError::WrongAccept),
        }
        let deflate = self.agreed_extensions(headers)?;
        let protocol = self.agreed_protocol(&headers)?;
        Ok(Established { consumed, protocol, deflate })
    }

    /// (5): no extension that was not offered, and none with other parameters.
    fn agreed_extensions(
        &self,
        headers: Headers<'_>,
    ) -> Result<Option<DeflateParams>, HandshakeError> {
        let answer = Extensions::validate(headers).map_err(|_| HandshakeError::Extensions)?;
        let Some(offer) = self.deflate else {
            let is_silent = answer.iter().next().is_none();
            return if is_silent { Ok(None) } else { Err(HandshakeError::Extensions) };
        };
        offer.agreed(&answer).map_err(|_| HandshakeError::Extensions)
    }

    /// (6): no subprotocol that was not offered.
    fn agreed_protocol(&self, headers: &Headers<'_>) -> Result<Option<String>, HandshakeError> {
        let agreed = headers.single("sec-websocket-protocol");
        let Some(agreed) = agreed.map_err(|_| HandshakeError::Protocol)? else {
            return Ok(None);
        };
        let mut offered = self.protocols.iter();
        let chosen = offered.find(|offered| offered.as_bytes() == agreed);
        chosen.map(|chosen| Some(chosen.to_string())).ok_or(HandshakeError::Protocol)
    }
}

/// Nothing that could end a line or a list gets into the request.
fn check_request(request: &ClientRequest<'_>) -> Result<(), HandshakeError> {
    if !is_host(request.host.as_bytes()) {
        return Err(HandshakeError::InvalidHost);
    }
    let is_target_byte = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
    if !request.target.starts_with('/') || !request.target.bytes().all(is_target_byte) {
        return Err(HandshakeError::InvalidTarget);
    }
    if request.headers.keys().any(is_owned_by_handshake) {
        return Err(HandshakeError::ReservedHeader);
    }
    if request.protocols.iter().all(|name| is_token(name.as_bytes())) {
        Ok(())
    } else {
        Err(HandshakeError::InvalidOffer)
    }
}

/// RFC 9112 4: `HTTP/1.1 SP 3DIGIT [ SP reason ]`; no control character but a tab is a reason's.
fn parse_status(head: Head<'_>) -> Result<u16, HandshakeError> {
    let line = head.request_line();
    if line.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
        return Err(HandshakeError::MalformedResponse);
    }
    let status = line.strip_prefix(b"HTTP/1.1 ");
    match status.ok_or(HandshakeError::MalformedResponse)? {
        [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9']
        | [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', b' ', ..] => {
            let digit = |byte: &u8| u16::from(byte - b'0');
            Ok(digit(a) * 100 + digit(b) * 10 + digit(c))
        }
        _ => Err(HandshakeError::MalformedResponse),
    }
}

/// RFC 4648 4 for 16 bytes: five groups of three, and one byte that becomes two digits.
fn encode_key(key: [u8; 16]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(24);
    for group in key.chunks(3) {
        let bits = group.iter().fold(0u32, |bits, &byte| bits << 8 | u32::from(byte));
        let bits = bits << (8 * (3 - group.len()));
        for position in 0..=group.len() {
            let digit = bits >> (18 - 6 * position) & 63;
            text.push(char::from(DIGITS[digit as usize]));
        }
    }
    text + "=="
}

/// Why a connection was not established.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The caller's host is not `host [":" port]`.
    InvalidHost,
    /// The caller's target does not start with `/` or has a forbidden byte.
    InvalidTarget,
    /// A subprotocol the caller offers is malformed.
    InvalidOffer,
    /// A header the caller adds is one the handshake writes itself.
    ReservedHeader,
    /// The response is not HTTP/1.1.
    MalformedResponse,
    /// The response heads exceed 16 KiB, or have too many headers.
    HeadTooLarge,
    /// The server refused, with this status.
    UnexpectedStatus(u16),
    /// (2): Upgrade is not `websocket`.
    Upgrade,
    /// (3): Connection does not name `upgrade`.
    Connection,
    /// (4): Sec-WebSocket-Accept does not prove that the server saw the key.
    WrongAccept,
    /// (5): the server uses an extension that was not offered, or not as it was offered.
    Extensions,
    /// (6): the server chose a subprotocol that was not offered.
    Protocol,
}

impl From<RequestError> for HandshakeError {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::HeadTooLarge
            | RequestError::TargetTooLong
            | RequestError::TooManyHeaders => Self::HeadTooLarge,
            _ => Self::MalformedResponse,
        }
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidHost => "the host is not a host name with an optional port",
            Self::InvalidTarget => "the target is not a path with an optional query",
            Self::InvalidOffer => "an offered subprotocol is malformed",
            Self::ReservedHeader => "the handshake writes this header itself",
            Self::MalformedResponse => "the response is not HTTP/1.1",
            Self::HeadTooLarge => "the response head is too large",
            Self::UnexpectedStatus(status) => {
                return write!(f, "the server refused with status {status}");
            }
            Self::Upgrade => "the response does not upgrade to websocket",
            Self::Connection => "the response does not name upgrade in Connection",
            Self::WrongAccept => "Sec-WebSocket-Accept does not fit the key",
            Self::Extensions => {
                "the server uses an extension that was not offered, or not as it was offered"
            }
            Self::Protocol => "the server chose a subprotocol that was not offered",
        })
    }
}

impl std::error::Error for HandshakeError {}

#[cfg(test)]
mod tests;
