//! Which hosts a request may name. An attacker can point a name of their own at an address that
//! only its user can reach, such as 127.0.0.1, and the browser then takes the server there for the
//! attacker's site: DNS rebinding. The Host header still has the attacker's name.

use std::{fmt, str::FromStr};

use super::{
    request::Request,
    syntax::decimal,
    target::{is_host, is_ip_literal, port_start},
};

/// A host as a request names it, without its port: a name such as `example.org`, an IPv4 address,
/// or an IPv6 address in brackets. It has no case. `example.org.` is another name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Host(Box<str>);

/// The text is not one host without a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InvalidHost;

/// The hosts that a request may name, on any port.
///
/// What counts is the host of an absolute request target, else that of the Host header (RFC 9112
/// section 3.2.2). A request that names another is answered with 403 Forbidden, as Vite, webpack
/// and Rails do. 421 Misdirected Request (RFC 9110 section 15.5.20) would invite the client to try
/// again on another connection, on which nothing would be different.
///
/// This protects users of browsers; any other client can name any host.
#[derive(Clone, Debug)]
pub struct Hosts(Allowed);

#[derive(Clone, Debug)]
enum Allowed {
    Any,
    Local,
    Listed(Vec<Host>),
}

impl FromStr for Host {
    type Err = InvalidHost;

    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        let has_port = port_start(text.as_bytes()) < text.len();
        // A pattern such as `*.example.org` would be a host that nobody has.
        if has_port || !is_host(text.as_bytes()) || text.contains('*') {
            return Err(InvalidHost);
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }
}

impl Hosts {
    /// All hosts.
    #[must_use]
    pub fn any() -> Self {
        Self(Allowed::Any)
    }

    /// `localhost`, names that end in `.localhost` (RFC 6761 section 6.3), IP addresses, and names
    /// without a dot, such as that of the machine: hosts that no attacker can point elsewhere,
    /// since whoever has a public name has it within a top-level domain. A request of HTTP/1.0 that names no host is admitted:
    /// browsers always name one.
    ///
    /// A server that listens on loopback addresses only has this by default.
    #[must_use]
    pub fn local() -> Self {
        Self(Allowed::Local)
    }

    /// These hosts and no other, not even `localhost` or an address. A request of HTTP/1.0 that
    /// names no host is refused.
    ///
    /// # Errors
    ///
    /// [`InvalidHost`] for the first that is not one.
    pub fn only<'h>(hosts: impl IntoIterator<Item = &'h str>) -> Result<Self, InvalidHost> {
        hosts.into_iter().map(str::parse).collect::<Result<Vec<_>, _>>().map(Self::from)
    }

    /// Whether a request names one of these hosts.
    #[must_use]
    pub fn admits(&self, request: &Request<'_>) -> bool {
        let host = request.host().map(|authority| &authority[..port_start(authority.as_bytes())]);
        match (&self.0, host) {
            (Allowed::Any, _) | (Allowed::Local, None) => true,
            (Allowed::Local, Some(host)) => is_local(host),
            (Allowed::Listed(_), None) => false,
            (Allowed::Listed(listed), Some(host)) => {
                listed.iter().any(|Host(listed)| listed.eq_ignore_ascii_case(host))
            }
        }
    }
}

impl From<Vec<Host>> for Hosts {
    fn from(hosts: Vec<Host>) -> Self {
        Self(Allowed::Listed(hosts))
    }
}

/// Whether nobody can have this host resolve to an address of their choice.
fn is_local(host: &str) -> bool {
    const NAME: &str = "localhost";
    let (parent, name) =
        host.split_at_checked(host.len().saturating_sub(NAME.len())).unwrap_or_default();
    let is_localhost =
        name.eq_ignore_ascii_case(NAME) && (parent.is_empty() || parent.ends_with('.'));
    is_localhost || is_label(host) || is_ipv4(host) || is_ip_literal(host.as_bytes())
}

/// A name of one label, which is no number: only a local resolver knows it.
fn is_label(host: &str) -> bool {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    host.as_bytes().first().is_some_and(u8::is_ascii_alphabetic)
        && host.as_bytes().iter().all(is_name)
}

/// RFC 3986 3.2.2: four decimal numbers up to 255. Browsers send addresses of other forms so.
fn is_ipv4(host: &str) -> bool {
    let is_octet = |part: &str| decimal(part.as_bytes()).is_some_and(|octet| octet <= 255);
    host.split('.').count() == 4 && host.split('.').all(is_octet)
}

impl fmt::Display for InvalidHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a host is a name or an address, without scheme and port, an IPv6 address in brackets",
        )
    }
}

impl std::error::Error for InvalidHost {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{HeaderSlots, Limits, parse};

    fn admits(hosts: &Hosts, host: &str) -> bool {
        admits_request(hosts, &format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"))
    }

    fn admits_request(hosts: &Hosts, input: &str) -> bool {
        let mut slots = HeaderSlots::new();
        let parsed = parse(input.as_bytes(), &Limits::default(), &mut slots);
        let (request, _) = parsed.expect("valid").expect("complete");
        hosts.admits(&request)
    }

    #[test]
    fn local_hosts_are_localhost_and_addresses() {
        for host in [
            "localhost",
            "LOCALHOST:8181",
            "app.localhost",
            "a.b.LocalHost:1",
            "127.0.0.1",
            "127.0.0.1:8181",
            "192.168.0.1",
            "0.0.0.0:80",
            "[::1]",
            "[::1]:8181",
            "[2001:db8::1]",
            "x",
            "my-machine:8181",
        ] {
            assert!(admits(&Hosts::local(), host), "{host}");
        }
        for host in [
            "evil.com",
            "evil.com:8181",
            "localhost.evil.com",
            "localhost.",
            "127.0.0.1.evil.com",
            "127.0.0.1.",
            "127.0.0",
            "127.0.0.256",
            "127.0.0.+1",
            "127.0.0.",
            "1.2.3.4.5",
            "2130706433",
            "0x7f.1",
            "local%68ost",
        ] {
            assert!(!admits(&Hosts::local(), host), "{host}");
        }
    }

    #[test]
    fn a_list_admits_its_members_on_any_port() {
        let hosts = Hosts::only(["Example.org", "[::1]", "10.0.0.1"]).expect("valid");
        for host in ["example.org", "EXAMPLE.org:8181", "[::1]:80", "10.0.0.1"] {
            assert!(admits(&hosts, host), "{host}");
        }
        for host in ["localhost", "127.0.0.1", "www.example.org", "example.org.", "[::2]"] {
            assert!(!admits(&hosts, host), "{host}");
        }
        assert!(!admits(&Hosts::from(Vec::new()), "example.org"));
        assert!(admits(&Hosts::any(), "evil.com"));
    }

    #[test]
    fn the_target_precedes_the_header() {
        let hosts = Hosts::only(["good.com"]).expect("valid");
        let request = |target, host| format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert!(admits_request(&hosts, &request("http://good.com:80/", "evil.com")));
        assert!(!admits_request(&hosts, &request("http://evil.com/", "good.com")));
    }

    #[test]
    fn a_request_without_a_host_is_on_no_list() {
        let request = "GET / HTTP/1.0\r\n\r\n";
        assert!(admits_request(&Hosts::any(), request));
        assert!(admits_request(&Hosts::local(), request));
        assert!(!admits_request(&Hosts::only(["a"]).expect("valid"), request));
    }

    #[test]
    fn a_host_has_neither_scheme_nor_port_nor_pattern() {
        for text in [
            "", "*", "*.a", "a:80", "a:", "[::1]:80", "::1", "http://a", "a/", "a b", "u@a",
            "\u{e9}",
        ] {
            assert_eq!(text.parse::<Host>(), Err(InvalidHost), "{text:?}");
        }
    }
}
