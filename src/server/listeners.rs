//! The listening sockets of a server.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use crate::io::sys;

/// The listening sockets of a server, each with the address that it is bound to.
#[derive(Debug, Default)]
pub(super) struct Listeners(Vec<(SocketAddr, TcpListener)>);

impl Listeners {
    /// Listens on an address. If it is not shared with other processes, one of them that listens
    /// there is an error.
    pub(super) fn add(&mut self, address: SocketAddr, is_shared: bool) -> io::Result<()> {
        if !is_shared {
            sys::check_address_is_free(address)?;
        }
        let listener = sys::listen(address)?;
        self.0.push((listener.local_addr()?, listener));
        Ok(())
    }

    /// The addresses, with the ports that the kernel has chosen.
    pub(super) fn addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.0.iter().map(|(address, _)| *address)
    }

    /// The sockets of each worker: every address once for each. On failure, the address as well.
    pub(super) fn per_worker(
        self,
        workers: usize,
    ) -> Result<Vec<Vec<TcpListener>>, (SocketAddr, io::Error)> {
        let again = |address| sys::listen(address).map_err(|error| (address, error));
        let others = (1..workers).map(|_| self.addresses().map(again));
        let mut all: Vec<Vec<_>> = others.map(Iterator::collect).collect::<Result<_, _>>()?;
        all.push(self.0.into_iter().map(|(_, listener)| listener).collect());
        Ok(all)
    }
}
