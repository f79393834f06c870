//! Where the server is: a URL, the addresses that its name has, and from where they are reached.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs, UdpSocket},
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::Args;
use http::Uri;
use wireloop::io::Address;

use crate::source::{self, Sources};

/// How many connections one source address makes to a destination: fewer than there are ports.
const CONNECTIONS_PER_SOURCE: usize = 20_000;

/// What a URL looks like.
const FORMS: &str = "give ws://HOST[:PORT]/PATH, wss:// or ws+unix:/SOCKET:/PATH";

/// How the server is reached.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Target")]
pub(crate) struct TargetArguments {
    /// Only IPv4 addresses of the server
    #[arg(short = '4', long)]
    pub(crate) ipv4: bool,

    /// Only IPv6 addresses of the server
    #[arg(short = '6', long, conflicts_with = "ipv4")]
    pub(crate) ipv6: bool,

    /// Addresses from which connections come, in turn: a list of ADDR, FIRST-LAST and ADDR/BITS
    #[arg(long, value_name = "LIST", value_parser = source::read)]
    pub(crate) source: Option<Sources>,
}

/// A server to measure.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// As it was given, for the report.
    pub(crate) url: String,
    /// Those of its name, used in turn: at least one.
    addresses: Vec<Address>,
    sources: Option<Sources>,
    /// The Host header.
    pub(crate) host: String,
    /// The name that a certificate has to be for, if the connections are to be secured.
    pub(crate) secured: Option<String>,
    /// Path and query.
    pub(crate) path: String,
    /// How long the name took to resolve, if there is one.
    pub(crate) resolving: Option<Duration>,
}

/// The parts of a URL.
struct Parts<'u> {
    is_secured: bool,
    place: Place<'u>,
    path: String,
}

enum Place<'u> {
    Unix(&'u str),
    Host { authority: String, name: String, port: u16 },
}

impl Target {
    /// Reads a URL and resolves its host.
    pub(crate) fn resolve(url: &str, arguments: &TargetArguments) -> Result<Self, String> {
        let Parts { is_secured, place, path } = split(url)?;
        let (addresses, host, name, resolving) = match place {
            Place::Unix(path) => {
                if arguments.source.is_some() {
                    return Err("a Unix socket has no --source: leave it out".into());
                }
                let addresses = vec![Address::Unix(PathBuf::from(path))];
                (addresses, "localhost".into(), "localhost".into(), None)
            }
            Place::Host { authority, name, port } => {
                let (addresses, resolving) = lookup(&name, port, arguments)?;
                for address in &addresses {
                    check_reachable(*address, arguments.source.as_ref())?;
                }
                let addresses = addresses.into_iter().map(Address::from).collect();
                (addresses, authority, name, resolving)
            }
        };
        let sources = arguments.source.clone();
        let secured = is_secured.then_some(name);
        Ok(Self { url: url.into(), addresses, sources, host, secured, path, resolving })
    }

    /// The addresses of the server, unless it is a Unix socket.
    pub(crate) fn internet(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.addresses.iter().filter_map(|address| match address {
            Address::Internet(address) => Some(*address),
            Address::Unix(_) => None,
        })
    }

    /// Where a connection leads.
    pub(crate) fn address(&self, connection: usize) -> &Address {
        &self.addresses[connection % self.addresses.len()]
    }

    /// The source address of a connection. One address has too few ports for very many
    /// connections; on the loopback there are others.
    pub(crate) fn source(&self, connection: usize) -> Option<SocketAddr> {
        let Address::Internet(address) = self.address(connection) else { return None };
        if let Some(sources) = &self.sources {
            let number = connection / self.addresses.len();
            return sources.of(number, address.is_ipv4()).map(|source| SocketAddr::new(source, 0));
        }
        let IpAddr::V4(address) = address.ip() else { return None };
        let block = connection / CONNECTIONS_PER_SOURCE;
        if !address.is_loopback() || block == 0 {
            return None;
        }
        let first = u32::from(Ipv4Addr::LOCALHOST);
        let source = Ipv4Addr::from(first + u32::try_from(block).ok()?);
        Some(SocketAddr::new(source.into(), 0))
    }
}

/// Takes a URL apart.
fn split(url: &str) -> Result<Parts<'_>, String> {
    if url.contains('#') {
        return Err(format!("{url} has a fragment, which a WebSocket URL may not: leave out #"));
    }
    for (scheme, is_secured) in [("ws+unix:", false), ("wss+unix:", true)] {
        if let Some(rest) = url.strip_prefix(scheme) {
            return split_unix(url, rest, is_secured);
        }
    }
    let uri: Uri = url.parse().map_err(|_| format!("{url} is not a URL: {FORMS}"))?;
    let is_secured = match uri.scheme_str() {
        Some("ws") => false,
        Some("wss") => true,
        Some(scheme @ ("http" | "https")) => {
            let (own, rest) = (scheme.replace("http", "ws"), &url[scheme.len()..]);
            return Err(format!("{url} is not a WebSocket URL: give {own}{rest}"));
        }
        _ => return Err(format!("{url} is not a WebSocket URL: {FORMS}")),
    };
    let authority = uri.authority().ok_or_else(|| format!("{url} names no host: {FORMS}"))?;
    if authority.as_str().contains('@') {
        return Err("a URL with a password is shown to everybody: give --user NAME:PASSWORD".into());
    }
    let name = authority.host().trim_matches(['[', ']']).to_owned();
    let port = authority.port_u16().unwrap_or(if is_secured { 443 } else { 80 });
    let is_complete = authority.port().is_none() && authority.as_str().ends_with(authority.host());
    if name.is_empty() || port == 0 || (authority.port_u16().is_none() && !is_complete) {
        return Err(format!("{url} names no host or no port: {FORMS}"));
    }
    let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    // A query may follow the host at once.
    let path = if path.starts_with('/') { path } else { format!("/{path}") };
    Ok(Parts {
        is_secured,
        place: Place::Host { authority: authority.to_string(), name, port },
        path,
    })
}

/// `/SOCKET:/PATH`, as the ws package of npm has it.
fn split_unix<'u>(url: &str, rest: &'u str, is_secured: bool) -> Result<Parts<'u>, String> {
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let (socket, path) = rest.split_once(':').unwrap_or((rest, "/"));
    if socket.is_empty() || !(path.is_empty() || path.starts_with('/')) {
        return Err(format!("{url} names no socket: give ws+unix:/SOCKET:/PATH"));
    }
    let path = if path.is_empty() { "/" } else { path };
    Ok(Parts { is_secured, place: Place::Unix(socket), path: path.into() })
}

/// The addresses of a host, and how long it took if it has a name.
fn lookup(
    name: &str,
    port: u16,
    arguments: &TargetArguments,
) -> Result<(Vec<SocketAddr>, Option<Duration>), String> {
    let begun = Instant::now();
    let found = (name, port)
        .to_socket_addrs()
        .map_err(|error| format!("{name} cannot be resolved: {error}; check the name"))?;
    let resolving = name.parse::<IpAddr>().is_err().then(|| begun.elapsed());
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in found {
        let is_wanted = if address.is_ipv4() { !arguments.ipv6 } else { !arguments.ipv4 };
        if is_wanted && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    match (addresses.is_empty(), arguments.ipv4, arguments.ipv6) {
        (false, ..) => Ok((addresses, resolving)),
        (true, true, _) => Err(format!("{name} has no IPv4 address: leave out --ipv4")),
        (true, _, true) => Err(format!("{name} has no IPv6 address: leave out --ipv6")),
        (true, ..) => Err(format!("{name} has no address: check the name")),
    }
}

/// Whether there is a way to the address, from where it is to be reached. Sends nothing.
fn check_reachable(address: SocketAddr, sources: Option<&Sources>) -> Result<(), String> {
    let is_ipv4 = address.is_ipv4();
    let source = match sources {
        Some(sources) => sources.of(0, is_ipv4).ok_or_else(|| {
            let (family, flag) = if is_ipv4 { ("IPv4", "-6") } else { ("IPv6", "-4") };
            format!("{address} needs an {family} address in --source: add one, or use {flag}")
        })?,
        None if is_ipv4 => Ipv4Addr::UNSPECIFIED.into(),
        None => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    UdpSocket::bind((source, 0))
        .and_then(|socket| socket.connect(address))
        .map_err(|error| format!("{address} cannot be reached: {error}; check the route"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(url: &str) -> Result<Target, String> {
        Target::resolve(url, &TargetArguments::default())
    }

    fn address(text: &str) -> Address {
        Address::Internet(text.parse().unwrap())
    }

    #[test]
    fn a_url_becomes_an_address_a_host_and_a_path() {
        let target = resolve("ws://127.0.0.1:8181/echo?x=1").unwrap();
        assert_eq!(target.addresses, [address("127.0.0.1:8181")]);
        assert_eq!((target.host.as_str(), target.path.as_str()), ("127.0.0.1:8181", "/echo?x=1"));
        assert_eq!((target.secured, target.resolving), (None, None));
        let target = resolve("wss://127.0.0.1?x=1").unwrap();
        assert_eq!(target.addresses, [address("127.0.0.1:443")]);
        assert_eq!((target.path.as_str(), target.secured.as_deref()), ("/?x=1", Some("127.0.0.1")));
    }

    #[test]
    fn ipv6_literals_keep_their_brackets_in_the_host() {
        let Parts { place: Place::Host { authority, name, port }, .. } =
            split("ws://[::1]").unwrap()
        else {
            panic!("it has a host");
        };
        assert_eq!((authority.as_str(), name.as_str(), port), ("[::1]", "::1", 80));
    }

    #[test]
    fn a_unix_socket_is_written_as_npm_has_it() {
        for (url, socket, path) in [
            ("ws+unix:/run/x.sock:/echo?a=b:c", "/run/x.sock", "/echo?a=b:c"),
            ("ws+unix:///run/x.sock:/", "/run/x.sock", "/"),
            ("wss+unix:./x.sock", "./x.sock", "/"),
        ] {
            let target = resolve(url).unwrap();
            assert_eq!(target.addresses, [Address::Unix(socket.into())]);
            assert_eq!((target.path.as_str(), target.host.as_str()), (path, "localhost"));
            assert_eq!(target.secured.is_some(), url.starts_with("wss"));
            assert_eq!(target.source(0), None);
        }
    }

    #[test]
    fn what_is_no_websocket_url_is_refused_with_advice() {
        for (url, advice) in [
            ("", "give ws://"),
            ("127.0.0.1:80", "give ws://"),
            ("http://127.0.0.1/x", "give ws://127.0.0.1/x"),
            ("https://127.0.0.1/", "give wss://127.0.0.1/"),
            ("ws:///x", "give ws://"),
            ("ws://127.0.0.1/#top", "leave out #"),
            ("ws://a:b@127.0.0.1/", "--user"),
            ("ws://127.0.0.1:99999/", "give ws://"),
            ("ws://127.0.0.1:0/", "give ws://"),
            ("ws+unix:", "give ws+unix:"),
            ("ws+unix:/x:y", "give ws+unix:"),
        ] {
            let error = resolve(url).map(|target| target.url).unwrap_err();
            assert!(error.contains(advice) && !error.contains('\n'), "{url}: {error}");
        }
    }

    #[test]
    fn a_family_that_is_missing_is_said() {
        let arguments = TargetArguments { ipv6: true, ..TargetArguments::default() };
        let error = Target::resolve("ws://127.0.0.1/", &arguments).map(|_| ()).unwrap_err();
        assert!(error.contains("leave out --ipv6"), "{error}");
        let source = Some(source::read("127.0.0.1").unwrap());
        let arguments = TargetArguments { source, ..TargetArguments::default() };
        let error = Target::resolve("ws://[::1]/", &arguments).map(|_| ()).unwrap_err();
        assert!(error.contains("needs an IPv6 address in --source"), "{error}");
    }

    #[test]
    fn very_many_connections_come_from_several_loopback_addresses() {
        let target = resolve("ws://127.0.0.1:1/").unwrap();
        assert_eq!(target.source(19_999), None);
        assert_eq!(target.source(20_000), Some("127.0.0.2:0".parse().unwrap()));
        assert_eq!(target.source(60_000), Some("127.0.0.4:0".parse().unwrap()));
    }

    #[test]
    fn addresses_and_sources_are_used_in_turn() {
        let mut target = resolve("ws://127.0.0.1:1/").unwrap();
        target.addresses.push(address("127.0.0.9:1"));
        target.sources = Some(source::read("127.0.0.2-127.0.0.3").unwrap());
        let used = |number| (target.address(number).clone(), target.source(number).unwrap());
        let expected = |to: &str, from: &str| (address(to), from.parse().unwrap());
        assert_eq!(used(0), expected("127.0.0.1:1", "127.0.0.2:0"));
        assert_eq!(used(1), expected("127.0.0.9:1", "127.0.0.2:0"));
        assert_eq!(used(2), expected("127.0.0.1:1", "127.0.0.3:0"));
        assert_eq!(used(4), expected("127.0.0.1:1", "127.0.0.2:0"));
    }
}
