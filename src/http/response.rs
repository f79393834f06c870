//! Responses and how their heads are written. The writer owns the headers that delimit the
//! message and steer the connection, so that no application can contradict them; header values
//! are typed, so that CR, LF and NUL never reach the wire.

use std::{borrow::Cow, fmt};

use ::http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{ALLOW, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, DATE, TRANSFER_ENCODING, UPGRADE},
};

use super::{
    deflate::DeflateParams,
    error::{InvalidHeader, RequestError},
    methods::Methods,
};

/// The headers [`Response::write_head`] writes itself.
const OWNED: [HeaderName; 4] = [CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING];

/// A response, apart from what depends on the connection it is sent on.
#[derive(Debug)]
pub struct Response {
    status: StatusCode,
    headers: HeaderMap,
    body: Body,
}

/// What follows the head of a response.
pub enum Body {
    /// Nothing.
    Empty,
    /// Bytes in memory.
    Bytes(Cow<'static, [u8]>),
    /// Bytes that are produced while they are sent.
    Stream {
        /// How many bytes `source` will produce; the head promises them to the client.
        length: u64,
        /// Where they come from.
        source: Box<dyn Source>,
    },
}

/// Produces the bytes of a body. This is the seam between HTTP, which does no I/O, and files.
pub trait Source: Send {
    /// Writes the next bytes to the front of `buffer` and says how many; never 0 for a buffer
    /// that is not empty, as long as fewer than the promised bytes were produced.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, SourceError>;
}

/// Why a body ended early. The only honest answer is to close the connection: the length is
/// already promised (RFC 9112 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SourceError {
    /// Fewer bytes exist than were promised: a file was truncated while it was sent.
    Truncated,
    /// Reading failed.
    Failed,
}

/// What a response head says about the connection and the time.
#[derive(Clone, Copy, Debug)]
pub struct HeadOptions<'a> {
    /// Whether the connection goes on after this response.
    pub keep_alive: bool,
    /// Whether the request was HTTP/1.0, whose clients must be told when it goes on.
    pub http10: bool,
    /// The current time as an IMF-fixdate (RFC 9110 5.6.7), formatted once a second by whoever
    /// has a clock; an empty one is left out.
    pub date: &'a str,
}

impl Response {
    /// A response without headers and body. A 1xx is no answer (RFC 9110 15.2), and a 101 would
    /// make a proxy believe in a tunnel that is not there, so such a status becomes 500.
    #[must_use]
    pub fn new(status: StatusCode) -> Self {
        let answers = !status.is_informational();
        let status = if answers { status } else { StatusCode::INTERNAL_SERVER_ERROR };
        Self { status, headers: HeaderMap::new(), body: Body::Empty }
    }

    /// A response with plain text.
    #[must_use]
    pub fn text(status: StatusCode, text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(status)
            .header(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"))
            .body(text_body(text.into()))
    }

    /// A page.
    #[must_use]
    pub fn html(html: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::OK)
            .header(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"))
            .body(text_body(html.into()))
    }

    /// The answer to a malformed request head; the connection is closed after it.
    #[must_use]
    pub fn rejected(error: RequestError) -> Self {
        Self::text(error.status(), format!("{error}\n"))
    }

    /// RFC 9110 15.5.6: the path exists, but not for this method.
    #[must_use]
    pub fn method_not_allowed(allow: Methods) -> Self {
        Self::text(StatusCode::METHOD_NOT_ALLOWED, format!("allowed methods: {allow}\n"))
            .header(ALLOW, allow.header_value())
    }

    /// RFC 9110 9.3.7: what an OPTIONS request gets that no route answers.
    #[must_use]
    pub fn options(allow: Methods) -> Self {
        Self::new(StatusCode::NO_CONTENT).header(ALLOW, allow.header_value())
    }

    /// Adds a header. `Connection`, `Content-Length`, `Date` and `Transfer-Encoding` are the
    /// writer's and have no effect here.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// Adds a header made of strings that may come from anywhere.
    pub fn try_header(self, name: &str, value: &str) -> Result<Self, InvalidHeader> {
        let (name, value) = parse_header(name, value)?;
        if OWNED.contains(&name) {
            Err(InvalidHeader::Reserved)
        } else {
            Ok(self.header(name, value))
        }
    }

    /// Replaces the body.
    #[must_use]
    pub fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The headers, without those the writer adds.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The body, to be sent after the head unless the request was HEAD or the status has none.
    #[must_use]
    pub fn into_body(self) -> Body {
        if self.has_body() { self.body } else { Body::Empty }
    }

    /// RFC 9112 6.3: 204 and 304 end with their head, whatever it says. RFC 9110 15.3.6: 205 has
    /// no content, and says so as other responses do.
    fn has_body(&self) -> bool {
        let without = [StatusCode::NO_CONTENT, StatusCode::RESET_CONTENT, StatusCode::NOT_MODIFIED];
        !without.contains(&self.status)
    }

    /// Appends the status line, the headers and the empty line. For HEAD this is the whole
    /// response, and it is the same as for GET (RFC 9110 9.3.2).
    pub fn write_head(&self, out: &mut Vec<u8>, options: HeadOptions<'_>) {
        // RFC 9110 2.5: the version is the server's own, also to an HTTP/1.0 client.
        write_parts(out, &["HTTP/1.1 ", self.status.as_str(), " "]);
        write_parts(out, &[self.status.canonical_reason().unwrap_or(""), "\r\n"]);
        if !options.date.is_empty() {
            write_parts(out, &["Date: ", options.date, "\r\n"]);
        }
        if self.status == StatusCode::RESET_CONTENT {
            write_parts(out, &["Content-Length: 0\r\n"]);
        } else if self.has_body() {
            write_parts(out, &["Content-Length: ", &self.body.len().to_string(), "\r\n"]);
        }
        self.write_connection(out, options);
        let headers = self.headers.iter().filter(|(name, _)| !OWNED.contains(name));
        headers.for_each(|(name, value)| write_header(out, name, value));
        out.extend_from_slice(b"\r\n");
    }

    /// RFC 9110 7.6.1. 7.8: who sends Upgrade must also name it in Connection.
    fn write_connection(&self, out: &mut Vec<u8>, options: HeadOptions<'_>) {
        let line = match (self.headers.contains_key(UPGRADE), options) {
            (true, HeadOptions { keep_alive: false, .. }) => "Connection: upgrade, close\r\n",
            (true, _) => "Connection: upgrade\r\n",
            (false, HeadOptions { keep_alive: false, .. }) => "Connection: close\r\n",
            (false, HeadOptions { http10: true, .. }) => "Connection: keep-alive\r\n",
            (false, _) => "",
        };
        write_parts(out, &[line]);
    }
}

impl Body {
    /// How many bytes there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Stream { length, .. } => *length,
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Bytes(bytes) => f.debug_tuple("Bytes").field(&bytes.len()).finish(),
            Self::Stream { length, .. } => {
                f.debug_struct("Stream").field("length", length).finish()
            }
        }
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "the body ended before its promised length",
            Self::Failed => "the body could not be read",
        })
    }
}

impl std::error::Error for SourceError {}

/// Appends the head that opens a WebSocket connection (RFC 6455 4.2.2). It has no
/// Content-Length (RFC 9110 8.6 forbids it) and no Date (6.6.1 does not ask for one in 1xx).
///
/// `protocol` must be one the client offered; [`Accept`](super::Accept) guarantees that, and
/// that `extra` holds no header of the handshake itself.
pub fn write_switching_protocols(
    out: &mut Vec<u8>,
    accept_key: &str,
    protocol: Option<&str>,
    deflate: Option<&DeflateParams>,
    extra: &HeaderMap,
) {
    const START: &str = "HTTP/1.1 101 Switching Protocols\r\n\
        Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ";
    write_parts(out, &[START, accept_key, "\r\n"]);
    if let Some(protocol) = protocol {
        write_parts(out, &["Sec-WebSocket-Protocol: ", protocol, "\r\n"]);
    }
    if let Some(deflate) = deflate {
        write_extensions(out, deflate);
    }
    extra.iter().for_each(|(name, value)| write_header(out, name, value));
    out.extend_from_slice(b"\r\n");
}

/// The only extension that there is.
pub(super) fn write_extensions(out: &mut Vec<u8>, deflate: &DeflateParams) {
    write_parts(out, &["Sec-WebSocket-Extensions: ", &deflate.to_string(), "\r\n"]);
}

/// Checks the syntax of a header given as strings.
pub(super) fn parse_header(
    name: &str,
    value: &str,
) -> Result<(HeaderName, HeaderValue), InvalidHeader> {
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| InvalidHeader::Name)?;
    let value = HeaderValue::from_str(value).map_err(|_| InvalidHeader::Value)?;
    Ok((name, value))
}

fn text_body(text: Cow<'static, str>) -> Body {
    Body::Bytes(match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    })
}

pub(super) fn write_parts(out: &mut Vec<u8>, parts: &[&str]) {
    parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
}

/// Names, or starts of names, in which not every word starts with a capital and goes on without.
const SPELLINGS: [(&str, &str); 3] = [
    ("sec-websocket-", "Sec-WebSocket-"),
    ("etag", "ETag"),
    ("www-authenticate", "WWW-Authenticate"),
];

/// `HeaderName` is kept in lower case. HTTP/1.1 does not mind, but people and scripts that read
/// heads expect `Content-Type`.
pub(super) fn write_header(out: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
    let spelt = SPELLINGS.iter().find(|(start, _)| name.as_str().starts_with(start));
    let (start, spelling) = spelt.copied().unwrap_or_default();
    write_parts(out, &[spelling]);
    let mut starts_word = true;
    out.extend(name.as_str()[start.len()..].bytes().map(|byte| {
        let starts = std::mem::replace(&mut starts_word, byte == b'-');
        if starts { byte.to_ascii_uppercase() } else { byte }
    }));
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests;
