//! A valid request head, borrowed from the bytes it arrived in. Whoever holds a [`Request`]
//! knows that its framing is unambiguous, its target well formed and its Host present.

use ::http::{Method, Version};

use super::{
    error::RequestError,
    framing::Framing,
    head::{Head, HeadScanner, Limits},
    headers::{HeaderSlots, Headers},
    route::Variables,
    target::{RequestLine, Target, is_host},
};

/// A request head (RFC 9112 sections 2 to 6). Parsing it allocates nothing.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    method: Method,
    target: Target<'a>,
    version: Version,
    host: Option<&'a str>,
    headers: Headers<'a>,
    framing: Framing,
    variables: Variables<'a>,
}

/// Scans and parses in one step, for a caller that has the whole head or expects to get it.
///
/// `None` asks for more input, the number is the length of the head. A caller that may see a
/// head in pieces keeps a [`HeadScanner`] instead, so that no byte is looked at twice.
pub fn parse<'a, 'b: 'a>(
    input: &'b [u8],
    limits: &Limits,
    slots: &'a mut HeaderSlots<'b>,
) -> Result<Option<(Request<'a>, usize)>, RequestError> {
    let Some(head) = HeadScanner::default().scan(input, limits)? else {
        return Ok(None);
    };
    Request::parse(head, limits, slots).map(|request| Some((request, head.len())))
}

impl<'a> Request<'a> {
    /// Parses a complete head.
    pub fn parse<'b: 'a>(
        head: Head<'b>,
        limits: &Limits,
        slots: &'a mut HeaderSlots<'b>,
    ) -> Result<Self, RequestError> {
        let RequestLine { method, target, version } =
            RequestLine::parse(head.request_line(), limits)?;
        let headers = slots.parse(head.fields(), limits.headers)?;
        let host = parse_host(&headers, version)?;
        let framing = Framing::parse(&headers, version)?;
        check_expectations(&headers, version)?;
        let host = target.authority.or(host);
        let variables = Variables::default();
        Ok(Self { method, target, version, host, headers, framing, variables })
    }

    /// The method; never CONNECT and never an unknown one.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The request target as it was sent (RFC 9112 3.2).
    #[must_use]
    pub fn target(&self) -> &'a str {
        self.target.text
    }

    /// The path as it was sent, still percent-encoded, without the query. It starts with `/`,
    /// or is `*` for an OPTIONS request about the server as a whole.
    #[must_use]
    pub fn path(&self) -> &'a str {
        self.target.path
    }

    /// What follows the first `?`, still percent-encoded.
    #[must_use]
    pub fn query(&self) -> Option<&'a str> {
        self.target.query
    }

    /// HTTP/1.0 or HTTP/1.1.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// The host the client meant: from an absolute target, else from the Host header. It is
    /// always there in HTTP/1.1.
    #[must_use]
    pub fn host(&self) -> Option<&'a str> {
        self.host
    }

    /// The value of the first header of this name, as bytes: RFC 9110 5.5 allows any but
    /// control characters in it.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers.first(name)
    }

    /// The value of the first header of this name, if it is text.
    #[must_use]
    pub fn header_text(&self, name: &str) -> Option<&'a str> {
        self.header(name).and_then(|value| str::from_utf8(value).ok())
    }

    /// The values of all headers of this name, in order.
    pub fn header_all<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.headers.all(name)
    }

    /// All headers.
    #[must_use]
    pub fn headers(&self) -> Headers<'a> {
        self.headers
    }

    /// How the body is delimited.
    #[must_use]
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// The part of the path a route's `{name}` stands for, percent-decoded, or what `**` stands
    /// for under [`TRAILING_WILDCARD`](super::TRAILING_WILDCARD).
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.value(name)
    }

    /// Keeps what [`Router::find`](super::Router::find) captured.
    pub fn set_variables(&mut self, variables: Variables<'a>) {
        self.variables = variables;
    }

    /// RFC 9112 9.3: whether the client wants the connection to go on after the response.
    #[must_use]
    pub fn keep_alive(&self) -> bool {
        !self.headers.lists("connection", "close")
            && (self.version == Version::HTTP_11 || self.headers.lists("connection", "keep-alive"))
    }

    /// Whether the request tries to change the protocol, well formed or not. One that does is
    /// for [`Upgrade::validate`](super::Upgrade::validate) to judge.
    #[must_use]
    pub fn is_upgrade(&self) -> bool {
        self.header("upgrade").is_some()
            || self.header("sec-websocket-key").is_some()
            || self.headers.lists("connection", "upgrade")
    }
}

/// RFC 9112 3.2: exactly one valid Host, which only HTTP/1.0 may leave out.
fn parse_host<'a>(
    headers: &Headers<'a>,
    version: Version,
) -> Result<Option<&'a str>, RequestError> {
    match headers.single("host").map_err(|_| RequestError::DuplicateHost)? {
        Some(host) if is_host(host) => {
            str::from_utf8(host).map(Some).map_err(|_| RequestError::InvalidHost)
        }
        Some(_) => Err(RequestError::InvalidHost),
        None if version == Version::HTTP_10 => Ok(None),
        None => Err(RequestError::MissingHost),
    }
}

/// RFC 9110 10.1.1: `100-continue` is answered with the final status at once, which a server that
/// needs no body to decide always may. HTTP/1.0 has no expectations.
fn check_expectations(headers: &Headers<'_>, version: Version) -> Result<(), RequestError> {
    let is_known = |found: &[u8]| found.eq_ignore_ascii_case(b"100-continue");
    if version == Version::HTTP_10 || headers.elements("expect").all(is_known) {
        Ok(())
    } else {
        Err(RequestError::Expectation)
    }
}

#[cfg(test)]
mod tests;
