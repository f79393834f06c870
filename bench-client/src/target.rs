//! Where the server is, and from where it is reached.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};

use http::Uri;

/// How many connections one source address makes to a destination: fewer than there are ports.
const CONNECTIONS_PER_SOURCE: usize = 20_000;

/// A server to measure.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// As it was given, for the report.
    pub(crate) url: String,
    pub(crate) address: SocketAddr,
    /// The Host header.
    pub(crate) host: String,
    /// Path and query.
    pub(crate) path: String,
}

impl Target {
    /// Reads a URL and resolves its host.
    pub(crate) fn resolve(url: &str) -> Result<Self, String> {
        let uri: Uri =
            url.parse().map_err(|_| format!("{url} is not a URL: give ws://HOST/PATH"))?;
        match uri.scheme_str() {
            Some("ws") => {}
            Some("wss") => return Err("wss:// is not supported yet: give a ws:// URL".into()),
            _ => return Err(format!("{url} is not a WebSocket URL: give ws://HOST[:PORT]/PATH")),
        }
        let authority = uri.authority().ok_or_else(|| format!("{url} names no host"))?;
        let port = authority.port_u16().unwrap_or(80);
        let name = authority.host().trim_matches(['[', ']']);
        let address = (name, port)
            .to_socket_addrs()
            .map_err(|error| format!("{name} cannot be resolved: {error}"))?
            .next()
            .ok_or_else(|| format!("{name} has no address"))?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self { url: url.into(), address, host: authority.as_str().into(), path: path.into() })
    }

    /// The source address of a connection. One address has too few ports for very many
    /// connections; on the loopback there are others.
    pub(crate) fn source(&self, connection: usize) -> Option<SocketAddr> {
        let IpAddr::V4(address) = self.address.ip() else { return None };
        let block = connection / CONNECTIONS_PER_SOURCE;
        if !address.is_loopback() || block == 0 {
            return None;
        }
        let first = u32::from(Ipv4Addr::LOCALHOST);
        let source = Ipv4Addr::from(first + u32::try_from(block).ok()?);
        Some(SocketAddr::new(source.into(), 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_becomes_an_address_a_host_and_a_path() {
        let target = Target::resolve("ws://127.0.0.1:8181/echo?x=1").unwrap();
        assert_eq!(target.address, "127.0.0.1:8181".parse().unwrap());
        assert_eq!((target.host.as_str(), target.path.as_str()), ("127.0.0.1:8181", "/echo?x=1"));
        assert_eq!(Target::resolve("ws://[::1]").unwrap().address, "[::1]:80".parse().unwrap());
    }

    #[test]
    fn what_is_no_websocket_url_is_refused_with_advice() {
        for url in ["", "127.0.0.1:80", "http://127.0.0.1/", "wss://127.0.0.1/", "ws:///x"] {
            assert!(Target::resolve(url).is_err(), "{url}");
        }
    }

    #[test]
    fn very_many_connections_come_from_several_loopback_addresses() {
        let target = Target::resolve("ws://127.0.0.1:1/").unwrap();
        assert_eq!(target.source(19_999), None);
        assert_eq!(target.source(20_000), Some("127.0.0.2:0".parse().unwrap()));
        assert_eq!(target.source(60_000), Some("127.0.0.4:0".parse().unwrap()));
    }
}
