//! The listening sockets of a server: one for each address, and for `[::]` one for each family.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    thread,
    time::{Duration, Instant},
};

use super::ServerError;
use crate::io::sys;

/// How long an address that is in use is tried again. The kernel takes an io_uring apart after its
/// process has ended, and keeps the listeners of its accepts until then: 25 ms were seen.
const IN_USE_TIME: Duration = Duration::from_millis(250);

/// How long it waits before the next try.
const IN_USE_PAUSE: Duration = Duration::from_millis(5);

/// The listening sockets of a server.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    /// The addresses that were asked for, with the ports that the kernel has chosen.
    addresses: Vec<SocketAddr>,
    /// The sockets, each with what it is bound to.
    sockets: Vec<(SocketAddr, TcpListener)>,
}

impl Listeners {
    /// Listens on all of the addresses. Those with port 0 get the same port, which the kernel
    /// chooses. If they are not shared, another process that listens there is an error; it has a
    /// moment to end.
    pub(super) fn add(
        &mut self,
        addresses: &[SocketAddr],
        shared: bool,
    ) -> Result<(), ServerError> {
        let deadline = Instant::now() + IN_USE_TIME;
        let bound = (self.addresses.len(), self.sockets.len());
        loop {
            match self.try_add(addresses, shared) {
                Err(ServerError::Listen { error, .. })
                    if is_in_use(&error) && Instant::now() < deadline => {}
                result => return result,
            }
            // The kernel may choose another port for all of them the next time.
            self.addresses.truncate(bound.0);
            self.sockets.truncate(bound.1);
            thread::sleep(IN_USE_PAUSE);
        }
    }

    fn try_add(&mut self, addresses: &[SocketAddr], shared: bool) -> Result<(), ServerError> {
        let mut port = 0;
        for &address in addresses {
            let mut address = address;
            if address.port() == 0 {
                address.set_port(port);
            }
            let bound = match address {
                SocketAddr::V6(any) if any.ip().is_unspecified() => {
                    self.bind_any(address, shared)?
                }
                _ => self.bind(address, shared)?,
            };
            port = bound.port();
            if !self.addresses.contains(&bound) {
                self.addresses.push(bound);
            }
        }
        Ok(())
    }

    /// Binds the unspecified address of both families to one port; on a machine without IPv6, that
    /// of IPv4 alone. Returns the address that stands for what was bound.
    fn bind_any(&mut self, any: SocketAddr, shared: bool) -> Result<SocketAddr, ServerError> {
        let ipv4 = |port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        match self.bind(any, shared) {
            Ok(bound) => self.bind(ipv4(bound.port()), shared).map(|_| bound),
            Err(ServerError::Listen { error, .. }) if sys::lacks_family(&error) => {
                let bound = self.bind(ipv4(any.port()), shared)?;
                tracing::info!(%error, "no IPv6 on this machine: listening on IPv4 alone");
                Ok(bound)
            }
            Err(failure) => Err(failure),
        }
    }

    /// Binds one address, if this server has not bound it already.
    fn bind(&mut self, address: SocketAddr, shared: bool) -> Result<SocketAddr, ServerError> {
        if self.sockets.iter().any(|(bound, _)| *bound == address) {
            return Ok(address);
        }
        let listen = || {
            if !shared {
                sys::check_address_is_free(address)?;
            }
            let listener = sys::listen(address)?;
            Ok((listener.local_addr()?, listener))
        };
        let (bound, listener) = listen().map_err(|error| self.why(address, error))?;
        self.sockets.push((bound, listener));
        Ok(bound)
    }

    /// Why an address cannot be bound: the kernel's error, or another address of this server.
    fn why(&self, address: SocketAddr, error: io::Error) -> ServerError {
        let mut own = self.sockets.iter().map(|(bound, _)| *bound);
        match own.find(|&other| is_in_use(&error) && overlap(address, other)) {
            Some(other) => ServerError::Overlap { address, other },
            None => ServerError::Listen { address: address.to_string(), error },
        }
    }

    /// The addresses, with the ports that the kernel has chosen; `[::]` stands for both families.
    pub(super) fn addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.addresses.iter().copied()
    }

    /// How many sockets each worker has.
    pub(super) fn sockets(&self) -> usize {
        self.sockets.len()
    }

    /// The sockets of each worker: every address once for each.
    pub(super) fn per_worker(self, workers: usize) -> Result<Vec<Vec<TcpListener>>, ServerError> {
        let again = |address| sys::listen(address).map_err(|error| self.why(address, error));
        let bound = || self.sockets.iter().map(|(address, _)| *address);
        let others = (1..workers).map(|_| bound().map(again));
        let mut all: Vec<Vec<_>> = others.map(Iterator::collect).collect::<Result<_, _>>()?;
        all.push(self.sockets.into_iter().map(|(_, listener)| listener).collect());
        Ok(all)
    }
}

fn is_in_use(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrInUse
}

/// Whether one of the addresses is part of the other: its port on all addresses of its family.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let is_any = one.ip().is_unspecified() || other.ip().is_unspecified();
    is_any && one.port() == other.port() && one.is_ipv4() == other.is_ipv4()
}
