//! Which web origins may open a WebSocket (RFC 6455 section 10.2). A browser lets the page of
//! any site open one to any server and sends the user's cookies along; only the Origin header
//! tells the server whose page it is.

use std::{fmt, str::FromStr};

use super::{
    protocols::Refusal,
    request::Request,
    target::{is_host, port_start},
};

/// A web origin (RFC 6454): scheme, host and port.
///
/// It is written as browsers send it, such as `https://example.org` or `http://localhost:8181`.
/// Scheme and host have no case, and the default port of a scheme equals none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// In lower case.
    scheme: Box<str>,
    /// In lower case.
    host: Box<str>,
    /// `None` only for a scheme without a default port.
    port: Option<u16>,
}

/// The text is not one origin as RFC 6454 section 6.2 writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InvalidOrigin;

/// The origins from which a WebSocket may be opened.
///
/// A client that is no browser sends no Origin, and no cookies either that are not its own; it
/// is admitted unless [`required`](Self::required) says otherwise. Nothing here keeps such a
/// client from sending any Origin: this protects users of browsers, not the server.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    /// `None` for all.
    allowed: Option<Vec<Origin>>,
    allows_same_host: bool,
    is_required: bool,
}

impl FromStr for Origin {
    type Err = InvalidOrigin;

    /// RFC 6454 7.1: `scheme "://" host [ ":" port ]`, and neither `null` nor a list.
    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let (scheme, authority) = text.split_once("://").ok_or(InvalidOrigin)?;
        // A pattern such as `*.example.org` would be a host that nobody has.
        if !is_scheme(scheme) || !is_host(authority.as_bytes()) || authority.contains('*') {
            return Err(InvalidOrigin);
        }
        let scheme = scheme.to_ascii_lowercase();
        let (host, port) = split_port(authority)?;
        let port = port.or_else(|| default_port(&scheme));
        Ok(Self { scheme: scheme.into(), host: host.to_ascii_lowercase().into(), port })
    }
}

/// RFC 3986 3.1.
fn is_scheme(scheme: &str) -> bool {
    let is_scheme_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(is_scheme_byte)
}

/// Splits a valid authority. RFC 6454 6.2: a port is written without leading zeros.
fn split_port(authority: &str) -> Result<(&str, Option<u16>), InvalidOrigin> {
    let (host, port) = authority.split_at(port_start(authority.as_bytes()));
    let Some(port) = port.strip_prefix(':') else {
        return Ok((host, None));
    };
    let number = port.parse().map_err(|_| InvalidOrigin)?;
    if port.starts_with('0') && port != "0" {
        return Err(InvalidOrigin);
    }
    Ok((host, Some(number)))
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

impl Origins {
    /// All origins, also `null`.
    #[must_use]
    pub fn any() -> Self {
        Self::default()
    }

    /// These origins and no other, in particular not `null`, which is what a page of no origin
    /// sends: everybody can make one.
    pub fn only<'o>(origins: impl IntoIterator<Item = &'o str>) -> Result<Self, InvalidOrigin> {
        origins.into_iter().map(str::parse).collect::<Result<Vec<_>, _>>().map(Self::from)
    }

    /// Origins whose host and port are those that the request is made to, so that a site needs no
    /// list of its own names.
    ///
    /// The request is made to the host of its Host header, or of an absolute target. Without a port
    /// there, it is made to the default port of the Origin's scheme. This is less than the same
    /// origin of RFC 6454 section 5, as schemes are not compared: behind a proxy that ends TLS, the
    /// server cannot know that of the request. Such a proxy must pass on the Host that it got.
    ///
    /// A name that an attacker has pointed at this server (DNS rebinding) is the host of both the
    /// page and the request. [`Hosts`](super::Hosts) refuses such names.
    #[must_use]
    pub fn same_host() -> Self {
        Self::from(Vec::new()).or_same_host()
    }

    /// Admits the [same host](Self::same_host) as well.
    #[must_use]
    pub fn or_same_host(self) -> Self {
        Self { allows_same_host: true, ..self }
    }

    /// Refuses a client that sends no Origin as well.
    #[must_use]
    pub fn required(self) -> Self {
        Self { is_required: true, ..self }
    }

    /// RFC 6455 4.2.2 (4): refuses with 403 what does not come from one of these origins.
    pub fn check(&self, request: &Request<'_>) -> Result<(), Refusal> {
        let mut lines = request.header_all("origin");
        let admitted = match (lines.next(), lines.next()) {
            (None, _) => !self.is_required,
            (Some(origin), None) => self.admits(origin, request.host()),
            // Whose page it is cannot be told.
            (Some(_), Some(_)) => self.allowed.is_none(),
        };
        if admitted { Ok(()) } else { Err(Refusal::origin()) }
    }

    fn admits(&self, value: &[u8], host: Option<&str>) -> bool {
        let Some(allowed) = &self.allowed else { return true };
        let origin = str::from_utf8(value).ok().and_then(|text| text.parse().ok());
        origin.is_some_and(|origin| {
            allowed.contains(&origin)
                || (self.allows_same_host && host.is_some_and(|host| origin.is_of_host(host)))
        })
    }
}

impl Origin {
    /// Whether this is the host and port of a valid authority.
    fn is_of_host(&self, authority: &str) -> bool {
        split_port(authority).is_ok_and(|(host, port)| {
            self.host.eq_ignore_ascii_case(host)
                && self.port == port.or_else(|| default_port(&self.scheme))
        })
    }
}

impl From<Vec<Origin>> for Origins {
    fn from(origins: Vec<Origin>) -> Self {
        Self { allowed: Some(origins), ..Self::default() }
    }
}

impl fmt::Display for InvalidOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an origin is SCHEME://HOST or SCHEME://HOST:PORT, without a slash at its end")
    }
}

impl std::error::Error for InvalidOrigin {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{HeaderSlots, Limits, parse};

    fn origin(text: &str) -> Result<Origin, InvalidOrigin> {
        text.parse()
    }

    fn status(origins: &Origins, lines: &str) -> Option<u16> {
        status_at("a", origins, lines)
    }

    fn status_at(host: &str, origins: &Origins, lines: &str) -> Option<u16> {
        let input = format!("GET / HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n");
        let mut slots = HeaderSlots::new();
        let parsed = parse(input.as_bytes(), &Limits::default(), &mut slots);
        let (request, _) = parsed.expect("valid").expect("complete");
        origins.check(&request).err().map(|refusal| refusal.status().as_u16())
    }

    #[test]
    fn scheme_and_host_have_no_case_and_the_default_port_equals_none() {
        for (one, other) in [
            ("https://Good.com", "HTTPS://good.COM:443"),
            ("http://good.com:80", "http://good.com"),
            ("ws://good.com:80", "ws://good.com"),
            ("http://[::1]:8181", "http://[::1]:8181"),
            ("HTTP://[2001:DB8::1]", "http://[2001:db8::1]:80"),
            ("app+x://host", "App+X://host"),
        ] {
            assert_eq!(origin(one), origin(other));
            assert!(origin(one).is_ok(), "{one}");
        }
        for (one, other) in [
            ("https://good.com", "http://good.com"),
            ("https://good.com", "https://good.com:80"),
            ("https://good.com", "https://good.com."),
            ("https://good.com", "https://good.com.evil"),
            ("https://good.com", "https://www.good.com"),
            ("app://host", "app://host:443"),
        ] {
            assert_ne!(origin(one), origin(other));
        }
    }

    #[test]
    fn only_one_serialised_origin_is_an_origin() {
        for text in [
            "",
            "null",
            "*",
            "good.com",
            "//good.com",
            "https:good.com",
            "https://",
            "https://:443",
            "https://good.com/",
            "https://good.com/path",
            "https://good.com?",
            "https://good.com#",
            "https://user@good.com",
            "https://good.com:",
            "https://good.com:0443",
            "https://good.com:65536",
            "https://good.com:+443",
            "https://good.com:443:443",
            "https://good.com https://good.com",
            " https://good.com",
            "https://good.com\0",
            "https://caf\u{e9}.com",
            "1https://good.com",
            "https://[::1",
            "https://[::1]x",
            "https://*.good.com",
        ] {
            assert_eq!(origin(text), Err(InvalidOrigin), "{text:?}");
        }
    }

    #[test]
    fn a_list_admits_its_members_and_a_client_without_origin() {
        let origins = Origins::only(["https://good.com", "http://localhost:8181"]).expect("valid");
        for line in ["", "Origin: https://good.com\r\n", "Origin:http://LOCALHOST:8181\r\n"] {
            assert_eq!(status(&origins, line), None, "{line}");
        }
        for value in ["null", "", "https://evil.com", "http://localhost", "\u{e9}"] {
            assert_eq!(status(&origins, &format!("Origin: {value}\r\n")), Some(403), "{value}");
        }
        let twice = "Origin: https://good.com\r\n".repeat(2);
        assert_eq!(status(&origins, &twice), Some(403));
        assert_eq!(status(&origins.required(), ""), Some(403));
    }

    #[test]
    fn the_same_host_is_the_same_name_and_port() {
        let of = |host, origin| {
            let line = format!("Origin: {origin}\r\n");
            status_at(host, &Origins::same_host(), &line)
        };
        for (host, origin) in [
            ("good.com", "http://good.com"),
            ("good.com", "https://good.com"),
            ("good.com:443", "https://good.com"),
            ("GOOD.com:80", "http://Good.Com:80"),
            ("localhost:8181", "http://localhost:8181"),
            ("[::1]:8181", "http://[::1]:8181"),
        ] {
            assert_eq!(of(host, origin), None, "{host} {origin}");
        }
        for (host, origin) in [
            ("good.com", "http://evil.com"),
            ("good.com", "https://sub.good.com"),
            ("good.com", "https://good.com:8443"),
            ("good.com:8443", "https://good.com"),
            ("good.com:80", "https://good.com"),
            ("good.com:", "https://good.com"),
            ("localhost:8181", "http://localhost:8182"),
            ("localhost:8181", "http://127.0.0.1:8181"),
            ("null", "null"),
        ] {
            assert_eq!(of(host, origin), Some(403), "{host} {origin}");
        }
        assert_eq!(of("good.com", ""), Some(403));
        assert_eq!(status(&Origins::same_host(), ""), None);
        assert_eq!(status(&Origins::same_host().required(), ""), Some(403));
        let both = Origins::only(["https://good.com"]).expect("valid").or_same_host();
        for origin in ["https://good.com", "http://a"] {
            assert_eq!(status(&both, &format!("Origin: {origin}\r\n")), None, "{origin}");
        }
        let any = Origins::any().or_same_host();
        assert_eq!(status(&any, "Origin: https://evil.com\r\n"), None);
    }

    #[test]
    fn all_origins_are_all_there_are() {
        for line in ["", "Origin: null\r\n", "Origin: https://evil.com\r\n"] {
            assert_eq!(status(&Origins::any(), line), None, "{line}");
        }
        assert_eq!(status(&Origins::any().required(), ""), Some(403));
        let none = Origins::only([]).expect("valid");
        assert_eq!(status(&none, "Origin: https://good.com\r\n"), Some(403));
    }
}
