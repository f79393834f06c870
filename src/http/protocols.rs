//! Subprotocols (RFC 6455 section 1.9) and the producer's answer to an upgrade: [`Accept`] or
//! [`Refusal`]. An `Accept` can only be had from the client's offer, so it never names a
//! subprotocol the client did not ask for, on which browsers would fail the connection.

use ::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::{
    error::InvalidHeader,
    headers::Headers,
    response::{Body, Response, parse_header},
    syntax,
};

/// The subprotocols a client offers, in its order of preference.
#[derive(Clone, Debug)]
pub struct Protocols<'a> {
    offered: Vec<&'a str>,
}

/// The offer has an element that is no token, or has one twice (RFC 6455 4.1 (10)).
#[derive(Debug)]
pub(super) struct InvalidProtocols;

impl<'a> Protocols<'a> {
    /// Reads all lines of the header: they are one list (RFC 6455 11.3.4).
    pub(super) fn parse(headers: &Headers<'a>) -> Result<Self, InvalidProtocols> {
        let offered = headers
            .elements("sec-websocket-protocol")
            .map(|element| syntax::token(element).ok_or(InvalidProtocols))
            .collect::<Result<Vec<_>, _>>()?;
        if has_duplicates(&offered) { Err(InvalidProtocols) } else { Ok(Self { offered }) }
    }

    /// The offer in the client's order.
    pub fn iter(&self) -> impl Iterator<Item = &'a str> {
        self.offered.iter().copied()
    }

    /// Whether the client offers this one; names have case.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.offered.contains(&name)
    }

    /// Whether the client offers none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.offered.is_empty()
    }

    /// Chooses `name` if it is offered. A client that offers none is accepted without one, as
    /// the header is optional; a client that offers only others is refused with 400.
    pub fn choose(self, name: &str) -> Result<Accept, Refusal> {
        self.choose_any(&[name])
    }

    /// Like [`choose`](Self::choose), for the first of `names` that is offered: the order is
    /// the server's preference.
    pub fn choose_any(self, names: &[&str]) -> Result<Accept, Refusal> {
        if self.is_empty() {
            Ok(self.none())
        } else {
            self.find(names).ok_or_else(|| Refusal::offer_instead(names))
        }
    }

    /// Like [`choose`](Self::choose), but refuses a client that offers none as well.
    pub fn require(self, name: &str) -> Result<Accept, Refusal> {
        self.find(&[name]).ok_or_else(|| Refusal::offer_instead(&[name]))
    }

    /// Accepts without a subprotocol. A client that offered some may then close the connection.
    #[must_use]
    pub fn none(self) -> Accept {
        Accept::new(None)
    }

    fn find(&self, names: &[&str]) -> Option<Accept> {
        let chosen = names.iter().find(|name| self.contains(name))?;
        Some(Accept::new(Some((*chosen).into())))
    }
}

/// Sorting keeps a list of thousands of one-byte names from costing their square.
fn has_duplicates(offered: &[&str]) -> bool {
    if offered.len() < 2 {
        return false;
    }
    let mut sorted = offered.to_vec();
    sorted.sort_unstable();
    sorted.windows(2).any(|pair| pair[0] == pair[1])
}

/// A positive answer to an upgrade.
#[derive(Clone, Debug)]
pub struct Accept {
    protocol: Option<Box<str>>,
    headers: HeaderMap,
    is_compressible: bool,
}

impl Accept {
    fn new(protocol: Option<Box<str>>) -> Self {
        Self { protocol, headers: HeaderMap::new(), is_compressible: true }
    }

    /// The subprotocol chosen, one of those offered.
    #[must_use]
    pub fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    /// The headers added to the 101.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Adds a header to the 101, such as a cookie; not one that belongs to the handshake.
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, InvalidHeader> {
        let (name, value) = parse_header(name, value)?;
        if is_owned_by_handshake(&name) {
            return Err(InvalidHeader::Reserved);
        }
        self.headers.append(name, value);
        Ok(self)
    }

    /// Declines compression for this connection: for messages that are compressed already, or
    /// that hold both a secret and what an attacker chose (RFC 7692 section 8).
    #[must_use]
    pub fn uncompressed(self) -> Self {
        Self { is_compressible: false, ..self }
    }

    /// Whether messages may be compressed.
    #[must_use]
    pub fn is_compressible(&self) -> bool {
        self.is_compressible
    }

    /// Accepts with the session that will serve the connection.
    #[must_use]
    pub fn session<S>(self, session: S) -> Accepted<S> {
        Accepted { accept: self, session }
    }
}

/// Whether only the handshake itself may say this, on either side.
pub(super) fn is_owned_by_handshake(name: &HeaderName) -> bool {
    let owned = [
        header::HOST,
        header::UPGRADE,
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
    ];
    owned.contains(name) || name.as_str().starts_with("sec-websocket-")
}

/// An accepted upgrade and the session that serves it.
#[derive(Clone, Debug)]
pub struct Accepted<S> {
    /// What the 101 says.
    pub accept: Accept,
    /// What the connection will own.
    pub session: S,
}

/// A negative answer to an upgrade: an ordinary response. It is boxed because it is the rare
/// variant of every producer's result.
#[derive(Debug)]
pub struct Refusal(Box<Response>);

impl Refusal {
    /// A refusal with this status and no body. A status below 300 would tell the client that
    /// the request succeeded, so it becomes 403: understood, but refused.
    #[must_use]
    pub fn new(status: StatusCode) -> Self {
        let refuses = status.as_u16() >= 300;
        Self(Box::new(Response::new(if refuses { status } else { StatusCode::FORBIDDEN })))
    }

    /// A refusal that tells the reader of the log what to do.
    fn offer_instead(names: &[&str]) -> Self {
        let names = names.join(" or ");
        let text = format!("offer the subprotocol {names} in Sec-WebSocket-Protocol\n");
        Self(Box::new(Response::text(StatusCode::BAD_REQUEST, text)))
    }

    /// RFC 6455 4.2.2 (4). It does not say which origins are allowed: whoever may know does.
    pub(super) fn origin() -> Self {
        let text = "WebSockets are not opened to pages of this origin\n";
        Self(Box::new(Response::text(StatusCode::FORBIDDEN, text)))
    }

    /// Adds a header.
    #[must_use]
    pub fn header(self, name: HeaderName, value: HeaderValue) -> Self {
        Self(Box::new(self.0.header(name, value)))
    }

    /// Replaces the body.
    #[must_use]
    pub fn body(self, body: Body) -> Self {
        Self(Box::new(self.0.body(body)))
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status()
    }

    /// The response to send.
    #[must_use]
    pub fn into_response(self) -> Response {
        *self.0
    }
}

impl From<StatusCode> for Refusal {
    fn from(status: StatusCode) -> Self {
        Self::new(status)
    }
}

#[cfg(test)]
mod tests;
