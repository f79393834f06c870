//! The request line: method, target and version (RFC 9112 section 3), and the syntax of a host.

use ::http::{Method, Version};

use super::{error::RequestError, head::Limits, methods::METHODS, syntax::is_token};

/// A request line taken apart.
#[derive(Debug)]
pub(super) struct RequestLine<'a> {
    pub(super) method: Method,
    pub(super) target: Target<'a>,
    pub(super) version: Version,
}

impl<'a> RequestLine<'a> {
    /// The order of the checks is the order of the answers: what is no HTTP at all gets 400,
    /// another version 505 whatever its method is called, then the method, then the target.
    pub(super) fn parse(line: &'a [u8], limits: &Limits) -> Result<Self, RequestError> {
        let mut parts = line.split(|&byte| byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(RequestError::RequestLine);
        };
        if !is_token(method) || target.is_empty() {
            return Err(RequestError::RequestLine);
        }
        let version = parse_version(version)?;
        let method = METHODS
            .into_iter()
            .find(|known| known.as_str().as_bytes() == method)
            .ok_or(RequestError::UnsupportedMethod)?;
        if target.len() > limits.target_bytes {
            return Err(RequestError::TargetTooLong);
        }
        let target = Target::parse(target, &method).ok_or(RequestError::Target)?;
        Ok(Self { method, target, version })
    }
}

/// RFC 9112 2.3: `HTTP/` digit `.` digit, in capitals.
fn parse_version(version: &[u8]) -> Result<Version, RequestError> {
    match version {
        b"HTTP/1.0" => Ok(Version::HTTP_10),
        // RFC 9110 2.5: a higher minor version is served as the highest that is known.
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1'..=b'9'] => Ok(Version::HTTP_11),
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
            Err(RequestError::UnsupportedVersion)
        }
        _ => Err(RequestError::RequestLine),
    }
}

/// RFC 9112 3.2: a request target in origin-form, absolute-form or, for OPTIONS, `*`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'a> {
    pub(super) text: &'a str,
    /// The host of the absolute-form, which takes precedence over the Host header (3.2.2).
    pub(super) authority: Option<&'a str>,
    pub(super) path: &'a str,
    pub(super) query: Option<&'a str>,
}

impl<'a> Target<'a> {
    fn parse(target: &'a [u8], method: &Method) -> Option<Self> {
        // RFC 3986 has neither control characters nor spaces nor non-ASCII; a fragment is never
        // sent (RFC 9110 7.1).
        if !target.iter().all(|&byte| byte.is_ascii_graphic() && byte != b'#') {
            return None;
        }
        let text = str::from_utf8(target).ok()?;
        if text == "*" {
            let asterisk = Self { text, authority: None, path: text, query: None };
            return (*method == Method::OPTIONS).then_some(asterisk);
        }
        let (authority, rest) = if text.starts_with('/') {
            (None, text)
        } else {
            split_absolute(text).map(|(authority, rest)| (Some(authority), rest))?
        };
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (rest, None),
        };
        let path = match path {
            // 3.2.4: OPTIONS on an absolute target without path and query is for the server.
            "" if *method == Method::OPTIONS && query.is_none() => "*",
            "" => "/",
            _ => path,
        };
        Some(Self { text, authority, path, query })
    }
}

/// Splits `http://host:port/path?query` before the path.
fn split_absolute(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    if !["http", "https", "ws", "wss"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return None;
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    is_host(authority.as_bytes()).then_some((authority, rest))
}

/// RFC 9110 7.2: `uri-host [":" port]`, not empty, and without user information.
pub(super) fn is_host(value: &[u8]) -> bool {
    let (host, port) = value.split_at(port_start(value));
    let is_port = match port {
        [] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    is_port && (is_ip_literal(host) || is_registered_name(host))
}

/// Where the colon of the port stands in `uri-host [":" port]`; the length if there is none. The
/// colons of an IPv6 address stand before its bracket.
pub(super) fn port_start(value: &[u8]) -> usize {
    let literal_end = value.iter().position(|&byte| byte == b']');
    match (value.first(), literal_end) {
        (Some(b'['), Some(end)) => end + 1,
        _ => value.iter().position(|&byte| byte == b':').unwrap_or(value.len()),
    }
}

/// RFC 3986 3.2.2: an IPv6 address, or one of a later version, in brackets. Whether the address
/// makes sense is not this server's concern, as it is never connected to.
pub(super) fn is_ip_literal(host: &[u8]) -> bool {
    let Some(address) = host.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")) else {
        return false;
    };
    let is_address_byte = |byte: &u8| byte.is_ascii_alphanumeric() || b":.-_~%".contains(byte);
    !address.is_empty() && address.iter().all(is_address_byte)
}

/// RFC 3986 3.2.2: `reg-name`, of which an IPv4 address is a special case.
fn is_registered_name(host: &[u8]) -> bool {
    let is_name_byte =
        |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(byte);
    !host.is_empty() && host.iter().all(is_name_byte)
}
