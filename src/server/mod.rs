//! From a configuration to running workers.

use std::{
    fmt, io,
    net::{SocketAddr, ToSocketAddrs},
    sync::Arc,
};

mod accepting;
mod addresses;
mod balance;
mod budget;
mod deadlines;
mod driver_kind;
mod files;
mod gate;
mod handshakes;
mod held;
mod limits;
mod listeners;
mod placement;
mod plan;
mod rates;
mod refusing;
mod restarting;
mod stopper;
mod worker;

pub use driver_kind::DriverKind;
pub use placement::Pin;
pub use stopper::Stopper;
pub use worker::Worker;

use self::{
    addresses::Addresses, balance::Balance, gate::Gate, listeners::Listeners, placement::Placement,
    plan::Plan, refusing::Room,
};
use crate::{
    Config,
    conn::Counters,
    io::{Epoll, Uring},
    session::{Routes, RoutesError},
};

/// A server: routes, limits, addresses.
///
/// ```no_run
/// use wireloop::{Echo, Routes, Server};
/// let routes = Routes::new().websocket("/echo", |_request, protocols| {
///     protocols.choose("echo").map(|accept| accept.session(Echo))
/// });
/// Server::new(routes).listen("[::]:8181")?.run()?;
/// # Ok::<(), wireloop::ServerError>(())
/// ```
#[derive(Debug)]
pub struct Server {
    routes: Routes,
    config: Config,
    /// How many; `None`: as many as the machine suggests.
    workers: Option<usize>,
    pin: Pin,
    driver: DriverKind,
    shares_address: bool,
    listeners: Listeners,
    stopper: Stopper,
    counters: Counters,
}

impl Server {
    /// A server that listens nowhere yet.
    pub fn new(routes: Routes) -> Self {
        Self {
            routes,
            config: Config::default(),
            workers: None,
            pin: Pin::default(),
            driver: DriverKind::default(),
            shares_address: false,
            listeners: Listeners::default(),
            stopper: Stopper::default(),
            counters: Counters::default(),
        }
    }

    /// Sets the limits and deadlines.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Sets the number of workers; at least one. By default there is one for each processor that
    /// the process may use; fewer if its control groups have a CPU quota below that, rounded up.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers.max(1));
        self
    }

    /// Whether each worker is kept on one processor.
    pub fn pin(mut self, pin: Pin) -> Self {
        self.pin = pin;
        self
    }

    /// Chooses the driver.
    pub fn driver(mut self, driver: DriverKind) -> Self {
        self.driver = driver;
        self
    }

    /// Whether other processes may listen on the same addresses, to share the connections
    /// (`SO_REUSEPORT`). Otherwise an address that is in use is an error.
    pub fn share_address(mut self, shares: bool) -> Self {
        self.shares_address = shares;
        self
    }

    /// Listens on an address; port 0 lets the kernel choose. May be called several times. From
    /// now on connections are queued.
    ///
    /// `[::]` stands for all addresses of the machine, those of IPv4 included; on a machine without
    /// IPv6, for those of IPv4 alone. A name that has several addresses stands for all of them, on
    /// one port. An address that the server listens on already adds nothing. One that is in use is
    /// tried again for a quarter of a second: a server that was killed may still be ending.
    ///
    /// # Errors
    ///
    /// [`ServerError::Routes`]; [`ServerError::Listen`] if the address is not one, is in use by
    /// another process, or may not be used; [`ServerError::Overlap`] if the server listens on part
    /// of it already.
    pub fn listen(
        mut self,
        address: impl ToSocketAddrs + fmt::Display,
    ) -> Result<Self, ServerError> {
        self.routes = self.routes.checked().map_err(ServerError::Routes)?;
        let resolved = address.to_socket_addrs();
        let addresses: Vec<_> = resolved
            .map_err(|error| ServerError::Listen { address: address.to_string(), error })?
            .collect();
        self.listeners.add(&addresses, self.shares_address)?;
        Ok(self)
    }

    /// The addresses that the server listens on; `[::]` stands for both families.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.listeners.addresses()
    }

    /// What stops the server, from any thread.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// How often memory was short.
    pub fn counters(&self) -> Counters {
        self.counters.clone()
    }

    /// Serves until it is [stopped](Stopper::stop), and all connections have ended.
    ///
    /// If the process may not open as many files as [`Config::connections`] takes, there are fewer
    /// connections, and a line of the log says so. The soft limit decides, which the server leaves
    /// as it is: [`sys::raise_file_limit`](crate::io::sys::raise_file_limit) raises it.
    ///
    /// # Errors
    ///
    /// [`ServerError::Worker`] if a worker could not start, and then no connection was accepted; or
    /// if it failed again and again, and then the others have been stopped. A worker that fails
    /// loses its connections and starts again, with epoll in the end.
    pub fn run(self) -> Result<(), ServerError> {
        let Self { routes, config, workers, pin, driver, listeners, stopper, counters, .. } = self;
        let routes = routes.checked().map_err(ServerError::Routes)?;
        let routes = routes.listening_on(listeners.addresses());
        let placement = Placement::new(workers, pin);
        let workers = placement.workers;
        let sockets = listeners.sockets();
        let listeners = listeners.per_worker(workers)?;
        let (driver, why) = driver.choose().map_err(ServerError::Driver)?;
        let config = files::fit(config, workers, sockets);
        for listener in listeners.iter().flatten() {
            config.socket_buffers.set(listener).map_err(ServerError::Worker)?;
        }
        let memory_bytes = budget::of_server(&config);
        tracing::info!(
            workers, connections = config.connections, memory = %budget::text(memory_bytes),
            %driver, why, "serving"
        );
        let plan = Plan {
            worker_memory_bytes: memory_bytes / workers,
            counters,
            addresses: config.connections_per_address.map(Addresses::new),
            routes: Arc::new(routes),
            room: Room::new(&config),
            config: Arc::new(config),
            balance: Arc::new(Balance::new(workers)),
            gate: Gate::new(workers),
            stopper,
            placement,
        };
        let serve = |driver, start| match driver {
            DriverKind::IoUring => {
                plan.serve(start, |bytes| Ok(Uring::new()?.receive_bytes(bytes)))
            }
            _ => plan.serve(start, |bytes| Ok(Epoll::new()?.receive_bytes(bytes))),
        };
        let work = |number, listeners| plan.work(number, listeners, driver, serve);
        plan.run(listeners, work).map_err(ServerError::Worker)
    }
}

/// Why a server does not serve.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServerError {
    /// A route is wrong, or what it serves is not there.
    Routes(RoutesError),
    /// An address cannot be listened on.
    Listen {
        /// The address; what was given, if that is none.
        address: String,
        /// What the kernel says.
        error: io::Error,
    },
    /// Two addresses of this server of which one is part of the other, such as `0.0.0.0:80` and
    /// `127.0.0.1:80`.
    Overlap {
        /// The address that was to be listened on.
        address: SocketAddr,
        /// The one that the server listens on already.
        other: SocketAddr,
    },
    /// io_uring was asked for, and is not available here.
    Driver(io::Error),
    /// A worker could not start, or failed.
    Worker(io::Error),
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Routes(error) => error.fmt(f),
            Self::Listen { address, error } => write!(f, "cannot listen on {address}: {error}"),
            Self::Overlap { address, other } => {
                write!(f, "cannot listen on both {address} and {other}: one is part of the other")
            }
            Self::Driver(error) => {
                write!(f, "io_uring is not available ({error}): choose the driver epoll, or auto")
            }
            Self::Worker(error) => write!(f, "a worker failed: {error}"),
        }
    }
}

impl std::error::Error for ServerError {}
