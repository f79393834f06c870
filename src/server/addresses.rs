//! How many connections each address has.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::{IpAddr, SocketAddr},
    sync::{Arc, PoisonError},
};

use crate::sync::{Mutex, MutexGuard};

/// The connections of each peer's address, of all workers, with a limit. Clones share the counts.
#[derive(Clone, Debug)]
pub(super) struct Addresses {
    limit: usize,
    counts: Arc<Mutex<HashMap<Network, usize>>>,
}

/// What counts as one address: that of IPv4, or the 64 bits of one of IPv6 that a network has. A
/// host chooses the other 64 as it likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Network {
    V4([u8; 4]),
    V6([u16; 4]),
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::V4(address.octets()),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self::V6([a, b, c, d])
            }
        }
    }
}

/// A connection that counts, until it is dropped.
#[derive(Debug)]
pub(super) struct Admission {
    network: Network,
    counts: Arc<Mutex<HashMap<Network, usize>>>,
}

impl Addresses {
    /// At most `limit` connections for each address.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, counts: Arc::default() }
    }

    /// Admits a connection, unless its address has as many as it may.
    pub(super) fn admit(&self, peer: SocketAddr) -> Option<Admission> {
        let network = Network::from(peer.ip());
        let mut counts = lock(&self.counts);
        let count = counts.entry(network).or_default();
        if *count >= self.limit {
            return None;
        }
        *count += 1;
        drop(counts);
        Some(Admission { network, counts: Arc::clone(&self.counts) })
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = lock(&self.counts).entry(self.network) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

fn lock(counts: &Mutex<HashMap<Network, usize>>) -> MutexGuard<'_, HashMap<Network, usize>> {
    // Nothing that holds the lock can panic half way.
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(addresses: &Addresses, address: &str) -> Option<Admission> {
        addresses.admit(SocketAddr::new(address.parse().unwrap(), 1234))
    }

    #[test]
    fn an_address_has_so_many_connections_and_no_more_until_one_has_gone() {
        let addresses = Addresses::new(2);
        let first = admit(&addresses, "192.0.2.1").unwrap();
        let _second = admit(&addresses, "192.0.2.1").unwrap();
        assert!(admit(&addresses, "192.0.2.1").is_none());
        let other = admit(&addresses, "192.0.2.2").unwrap();
        drop(first);
        let _third = admit(&addresses, "192.0.2.1").unwrap();
        assert!(admit(&addresses, "192.0.2.1").is_none());
        drop(other);
        assert_eq!(lock(&addresses.counts).len(), 1, "what is zero is not kept");
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_address() {
        let addresses = Addresses::new(1);
        let _first = admit(&addresses, "2001:db8:1:2::1").unwrap();
        assert!(admit(&addresses, "2001:db8:1:2:ffff::2").is_none());
        assert!(admit(&addresses, "2001:db8:1:3::1").is_some());
    }
}
