//! Which processes of this machine listen at an address, so that a local server's CPU time and memory
//! are known without being told who it is.

use std::{
    collections::HashSet,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

/// The state of a socket that listens, in /proc/net/tcp.
const LISTEN: &str = "0A";

/// The processes that listen at an address, as far as the kernel lets this one see: those of the
/// same user in the same network.
pub(crate) fn listeners(address: SocketAddr) -> Vec<u32> {
    let sockets = sockets(address);
    if sockets.is_empty() {
        return Vec::new();
    }
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| has_any(*pid, &sockets)).collect()
}

/// Whether a process has one of these sockets.
fn has_any(pid: u32, sockets: &HashSet<String>) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    files.filter_map(|file| fs::read_link(file.ok()?.path()).ok()).any(|target| {
        let target = target.to_string_lossy();
        let inode = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
        inode.is_some_and(|inode| sockets.contains(inode))
    })
}

/// The inodes of the sockets that listen there.
fn sockets(address: SocketAddr) -> HashSet<String> {
    let mut found = HashSet::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = fs::read_to_string(table).unwrap_or_default();
        found.extend(text.lines().skip(1).filter_map(|line| inode(line, address)));
    }
    found
}

/// The inode in a line, if it is of a socket that listens at the address.
fn inode(line: &str, address: SocketAddr) -> Option<String> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (own, port) = fields.get(1)?.split_once(':')?;
    let is_listening = *fields.get(3)? == LISTEN;
    let port = u16::from_str_radix(port, 16).ok()?;
    let own = read_ip(own)?;
    let fits = own == address.ip() || own.is_unspecified();
    (is_listening && port == address.port() && fits).then(|| fields.get(9).map(|i| (*i).into()))?
}

/// An address as the kernel writes it: words of 32 bits in the order of this machine.
fn read_ip(text: &str) -> Option<IpAddr> {
    let words = text.as_bytes().chunks(8).map(|word| {
        let word = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
        Some(word.to_ne_bytes())
    });
    let bytes = words.collect::<Option<Vec<_>>>()?.concat();
    match bytes.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
        16 => {
            let address = Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?);
            Some(match address.to_ipv4_mapped() {
                Some(mapped) => mapped.into(),
                None => address.into(),
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn who_listens_is_found() {
        let me = std::process::id();
        for address in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"] {
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let bound = listener.local_addr().unwrap();
            let asked = match bound {
                SocketAddr::V4(_) => (Ipv4Addr::LOCALHOST, bound.port()).into(),
                SocketAddr::V6(_) => (Ipv6Addr::LOCALHOST, bound.port()).into(),
            };
            assert_eq!(listeners(asked), [me], "{address}");
            drop(listener);
            assert!(listeners(asked).is_empty(), "{address}");
        }
    }
}
