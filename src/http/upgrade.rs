//! The server's side of the opening handshake (RFC 6455 section 4.2): every rule about the
//! request, and one response for each that is violated. What the application decides, subprotocol
//! and origin, is not decided here.

use std::fmt;

use ::http::{
    HeaderValue, Method, StatusCode, Version,
    header::{ALLOW, SEC_WEBSOCKET_VERSION, UPGRADE},
};
use tungstenite::handshake::derive_accept_key;

use super::{
    deflate::DeflateParams,
    extensions::Extensions,
    headers::Headers,
    protocols::{Accept, Protocols},
    request::Request,
    response::{Response, write_switching_protocols},
};

/// A valid opening handshake that waits for an answer.
#[derive(Clone, Debug)]
pub struct Upgrade<'a> {
    accept_key: String,
    protocols: Protocols<'a>,
    extensions: Extensions<'a>,
}

impl<'a> Upgrade<'a> {
    /// RFC 6455 4.2.1. The order decides what a request with several faults is told: first what
    /// makes it no opening handshake at all, then what is wrong with it.
    pub fn validate(request: &Request<'a>) -> Result<Self, UpgradeError> {
        let headers = request.headers();
        check_http(request)?;
        check_hop(&headers)?;
        check_version(&headers)?;
        let accept_key = derive_accept_key(parse_key(&headers)?);
        // 4.3 gives both lists at least one element. Some clients send the header without a value
        // to offer nothing, which is unambiguous and is taken for that.
        let protocols = Protocols::parse(&headers).map_err(|_| UpgradeError::Protocols)?;
        let extensions = Extensions::validate(headers).map_err(|_| UpgradeError::Extensions)?;
        Ok(Self { accept_key, protocols, extensions })
    }

    /// The value of Sec-WebSocket-Accept (4.2.2 (5)).
    #[must_use]
    pub fn accept_key(&self) -> &str {
        &self.accept_key
    }

    /// The subprotocols the client offers.
    #[must_use]
    pub fn protocols(&self) -> Protocols<'a> {
        self.protocols.clone()
    }

    /// The extensions the client offers.
    #[must_use]
    pub fn extensions(&self) -> Extensions<'a> {
        self.extensions
    }

    /// Appends the 101 that accepts this handshake, with permessage-deflate if that was
    /// [negotiated](DeflateParams::negotiate).
    pub fn write_accept(
        &self,
        accept: &Accept,
        deflate: Option<&DeflateParams>,
        out: &mut Vec<u8>,
    ) {
        let (protocol, headers) = (accept.protocol(), accept.headers());
        write_switching_protocols(out, &self.accept_key, protocol, deflate, headers);
    }
}

/// 4.2.1 (1) and (2). Host was checked when the request was parsed.
fn check_http(request: &Request<'_>) -> Result<(), UpgradeError> {
    if *request.method() != Method::GET {
        return Err(UpgradeError::Method);
    }
    if request.version() < Version::HTTP_11 {
        return Err(UpgradeError::HttpVersion);
    }
    // A body would have to be told from frames, and a proxy may have another opinion on it.
    if request.framing().has_body() { Err(UpgradeError::RequestBody) } else { Ok(()) }
}

/// 4.2.1 (3) and (4).
fn check_hop(headers: &Headers<'_>) -> Result<(), UpgradeError> {
    if headers.first("upgrade").is_none() {
        return Err(UpgradeError::NoUpgrade);
    }
    if !headers.lists("upgrade", "websocket") {
        return Err(UpgradeError::OtherProtocol);
    }
    if headers.lists("connection", "upgrade") { Ok(()) } else { Err(UpgradeError::Connection) }
}

/// 4.2.1 (6), and the drafts before version 4, which had another kind of key.
fn check_version(headers: &Headers<'_>) -> Result<(), UpgradeError> {
    let is_hixie = |name| headers.first(name).is_some();
    if is_hixie("sec-websocket-key1") || is_hixie("sec-websocket-key2") {
        return Err(UpgradeError::Hixie);
    }
    match headers.single("sec-websocket-version") {
        Ok(Some(b"13")) => Ok(()),
        Ok(_) | Err(_) => Err(UpgradeError::Version),
    }
}

/// 4.2.1 (5).
fn parse_key<'a>(headers: &Headers<'a>) -> Result<&'a [u8], UpgradeError> {
    match headers.single("sec-websocket-key") {
        Ok(Some(key)) if is_key(key) => Ok(key),
        Ok(_) | Err(_) => Err(UpgradeError::Key),
    }
}

/// RFC 4648 4: 16 bytes are 22 digits and `==`. The low four bits of the last digit carry no data;
/// they need not be zero, since the example of RFC 6455 4.1 (7) itself, `AQIDBAUGBwgJCgsMDQ4PEC==`,
/// has one set. RFC 4648 3.5 leaves it to the decoder.
fn is_key(key: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/".contains(byte);
    key.strip_suffix(b"==").is_some_and(|digits| digits.len() == 22 && digits.iter().all(is_digit))
}

/// The rule of RFC 6455 4.2.1 that a request violates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UpgradeError {
    /// (1): the method is not GET.
    Method,
    /// (1): HTTP/1.0 has no Upgrade.
    HttpVersion,
    /// The request has a body.
    RequestBody,
    /// (3): there is no Upgrade header: an ordinary request for a WebSocket resource.
    NoUpgrade,
    /// (3): Upgrade names only other protocols, such as `h2c`.
    OtherProtocol,
    /// (4): Connection does not name `upgrade`.
    Connection,
    /// The key headers of hixie-76, a draft of 2010.
    Hixie,
    /// (6): not exactly one Sec-WebSocket-Version, or not 13.
    Version,
    /// (5): not exactly one Sec-WebSocket-Key, or not 16 bytes in base64.
    Key,
    /// (8): an offered subprotocol is no token, or is offered twice.
    Protocols,
    /// (9): the offered extensions violate the grammar of 9.1.
    Extensions,
}

impl UpgradeError {
    /// The status of the answer.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::NoUpgrade | Self::OtherProtocol | Self::Version => StatusCode::UPGRADE_REQUIRED,
            Self::HttpVersion
            | Self::RequestBody
            | Self::Connection
            | Self::Hixie
            | Self::Key
            | Self::Protocols
            | Self::Extensions => StatusCode::BAD_REQUEST,
        }
    }

    /// The answer, with the headers its status requires. The connection should be closed after
    /// it: a proxy may believe that the tunnel is open (RFC 9931 discusses who may keep it).
    #[must_use]
    pub fn response(self) -> Response {
        let response = Response::text(self.status(), format!("{self}\n"));
        let value = HeaderValue::from_static;
        match self.status() {
            StatusCode::METHOD_NOT_ALLOWED => response.header(ALLOW, value("GET")),
            // RFC 9110 15.5.22 asks for Upgrade, RFC 6455 4.4 for the version.
            StatusCode::UPGRADE_REQUIRED => response
                .header(UPGRADE, value("websocket"))
                .header(SEC_WEBSOCKET_VERSION, value("13")),
            _ => response,
        }
    }
}

impl fmt::Display for UpgradeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Method => "a WebSocket opening handshake is a GET request",
            Self::HttpVersion => "a WebSocket opening handshake needs HTTP/1.1",
            Self::RequestBody => "a WebSocket opening handshake has no body",
            Self::NoUpgrade | Self::OtherProtocol => {
                "this resource speaks WebSocket: upgrade to it"
            }
            Self::Connection => "the Connection header does not name upgrade",
            Self::Hixie => "drafts of the WebSocket protocol are not spoken: use RFC 6455",
            Self::Version => "the WebSocket protocol version is 13",
            Self::Key => "Sec-WebSocket-Key is not 16 bytes in base64, once",
            Self::Protocols => "Sec-WebSocket-Protocol is not a list of different tokens",
            Self::Extensions => "Sec-WebSocket-Extensions is malformed",
        })
    }
}

impl std::error::Error for UpgradeError {}

#[cfg(test)]
mod tests;
