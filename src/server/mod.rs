//! From a configuration to running workers.

use std::{
    fmt, io,
    net::{SocketAddr, TcpListener, ToSocketAddrs},
    os::fd::OwnedFd,
    sync::{Arc, PoisonError},
    thread,
};

mod accepting;
mod addresses;
mod balance;
mod budget;
mod deadlines;
mod driver_kind;
mod gate;
mod handshakes;
mod held;
mod limits;
mod listeners;
mod placement;
mod rates;
mod worker;

pub use driver_kind::DriverKind;
pub use placement::Pin;
pub use worker::Worker;

use self::{
    addresses::Addresses, balance::Balance, gate::Gate, limits::Limits, listeners::Listeners,
    placement::Placement,
};
use crate::{
    Config,
    conn::{Command, Counters, Inbox, Memory},
    io::{Driver, Epoll, Permits, Uring, sys},
    session::{Routes, RoutesError},
    sync::{Mutex, MutexGuard},
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
    /// # Errors
    ///
    /// [`ServerError::Worker`] if a worker could not start, and then no connection was accepted; or
    /// if its driver failed, and then the others have been stopped.
    pub fn run(self) -> Result<(), ServerError> {
        let Self { routes, config, workers, pin, driver, listeners, stopper, counters, .. } = self;
        let routes = routes.checked().map_err(ServerError::Routes)?;
        let routes = routes.listening_on(listeners.addresses());
        let placement = Placement::new(workers, pin);
        let workers = placement.workers;
        // None at all would be a server that waits for ever.
        let permits = Permits::new(config.connections.max(1));
        let memory_bytes = budget::of_server(&config);
        let plan = Plan {
            worker_memory_bytes: memory_bytes / workers,
            counters,
            addresses: config.connections_per_address.map(Addresses::new),
            routes: Arc::new(routes),
            config: Arc::new(config),
            permits,
            balance: Arc::new(Balance::new(workers)),
            gate: Gate::new(workers),
            stopper,
            placement,
        };
        let listeners = listeners.per_worker(workers)?;
        for listener in listeners.iter().flatten() {
            plan.config.socket_buffers.set(listener).map_err(ServerError::Worker)?;
        }
        let (driver, why) = driver.choose().map_err(ServerError::Driver)?;
        tracing::info!(workers, %driver, why, memory = %budget::text(memory_bytes), "serving");
        let work = |number, listeners| match driver {
            DriverKind::IoUring => {
                plan.work(number, listeners, |bytes| Ok(Uring::new()?.receive_bytes(bytes)))
            }
            _ => plan.work(number, listeners, |bytes| Ok(Epoll::new()?.receive_bytes(bytes))),
        };
        plan.run(listeners, work).map_err(ServerError::Worker)
    }
}

/// What the workers have in common.
struct Plan {
    /// How much the connections of one worker may hold.
    worker_memory_bytes: usize,
    counters: Counters,
    addresses: Option<Addresses>,
    routes: Arc<Routes>,
    config: Arc<Config>,
    permits: Permits,
    balance: Arc<Balance<OwnedFd>>,
    gate: Gate,
    stopper: Stopper,
    placement: Placement,
}

impl Plan {
    /// Runs a worker for each set of listeners, until all have ended.
    fn run(
        &self,
        listeners: Vec<Vec<TcpListener>>,
        work: impl Fn(usize, Vec<TcpListener>) -> io::Result<()> + Sync,
    ) -> io::Result<()> {
        let work = &work;
        thread::scope(|scope| {
            let spawn = |(number, listeners)| {
                thread::Builder::new()
                    .name(format!("worker {number}"))
                    .spawn_scoped(scope, move || work(number, listeners))
                    .inspect_err(|_| drop(EndsOthers(self)))
            };
            let threads: Vec<_> = listeners.into_iter().enumerate().map(spawn).collect();
            threads.into_iter().try_for_each(|thread| {
                thread?.join().unwrap_or_else(|_| Err(io::Error::other("a worker panicked")))
            })
        })
    }

    /// The life of one worker. However it ends, the others end too: a server that listens and
    /// does not serve would be worse than none. None accepts before all have what they need.
    fn work<D: Driver<Listener = TcpListener, Stream = OwnedFd>>(
        &self,
        number: usize,
        listeners: Vec<TcpListener>,
        driver: impl FnOnce(usize) -> io::Result<D>,
    ) -> io::Result<()> {
        let _ends_others = EndsOthers(self);
        if let Some(processor) = self.placement.processor(number)
            && let Err(error) = sys::pin_thread(processor)
        {
            tracing::warn!(%error, processor, "a worker is not pinned");
        }
        let driver = driver(self.config.receive_bytes)?;
        let (memory_bytes, inbox_bytes) = budget::divide(self.worker_memory_bytes);
        let inbox = Arc::new(Inbox::new(driver.waker(), inbox_bytes));
        let seat = self.balance.seat(number, driver.waker());
        let mut worker = Worker::with_others(
            driver,
            Arc::clone(&self.routes) as _,
            Arc::clone(&self.config),
            Arc::clone(&inbox),
            self.permits.clone(),
            Memory::new(memory_bytes, self.counters.clone()),
            Limits::new(&self.config, self.placement.workers, self.addresses.clone()),
            Some(seat),
            listeners,
        )?;
        self.stopper.register(inbox);
        if !self.gate.arrive() {
            // The one that failed returns why.
            return Ok(());
        }
        worker.accept();
        worker.run()
    }
}

/// Ends the other workers when it is dropped, those that wait at the gate as well.
struct EndsOthers<'a>(&'a Plan);

impl Drop for EndsOthers<'_> {
    fn drop(&mut self) {
        self.0.gate.fail();
        self.0.stopper.stop();
    }
}

/// Stops a server in good order: no more connections are accepted, every peer gets a Close frame
/// with 1001, and what has not ended after [`Config::shutdown_grace`] is reset.
#[derive(Clone, Debug, Default)]
pub struct Stopper(Arc<Mutex<Stopping>>);

#[derive(Debug, Default)]
struct Stopping {
    is_stopped: bool,
    inboxes: Vec<Arc<Inbox>>,
}

impl Stopper {
    /// Begins to stop the server; it has stopped when [`Server::run`] returns.
    pub fn stop(&self) {
        let mut stopping = self.lock();
        stopping.is_stopped = true;
        for inbox in stopping.inboxes.drain(..) {
            // Fails only if the worker has ended.
            let _ = inbox.push(Command::Stop);
        }
    }

    fn register(&self, inbox: Arc<Inbox>) {
        let mut stopping = self.lock();
        if stopping.is_stopped {
            let _ = inbox.push(Command::Stop);
        } else {
            stopping.inboxes.push(inbox);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Stopping> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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

#[cfg(test)]
mod tests {
    use std::{io::Write, net::TcpStream, time::Duration};

    use super::*;

    /// The first workers used to accept while the last one found no descriptor and ended the server.
    #[test]
    fn no_worker_accepts_before_the_last_one_has_its_driver() {
        let plan = Plan {
            worker_memory_bytes: 1 << 20,
            counters: Counters::default(),
            addresses: None,
            routes: Arc::default(),
            config: Arc::default(),
            permits: Permits::new(2),
            balance: Arc::new(Balance::new(2)),
            gate: Gate::new(2),
            stopper: Stopper::default(),
            placement: Placement::new(Some(2), Pin::Off),
        };
        let mut listeners = Listeners::default();
        listeners.add(&[([127, 0, 0, 1], 0).into()], false).unwrap();
        let address = listeners.addresses().next().unwrap();
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
        client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        // Worker 1 could serve the client.
        let mut listeners = listeners.per_worker(1).unwrap();
        listeners.insert(0, Vec::new());
        let client = &client;
        let result = plan.run(listeners, |number, listeners| {
            plan.work(number, listeners, |_| match number {
                1 => Epoll::new(),
                _ => {
                    // That nothing comes takes time to see.
                    let mut byte = [0];
                    let error = client.peek(&mut byte).unwrap_err();
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                    Err(io::ErrorKind::OutOfMemory.into())
                }
            })
        });
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::OutOfMemory);
    }
}

/// Tests that Shuttle runs: a worker that is not stopped is reported.
#[cfg(all(test, shuttle))]
mod interleavings {
    use shuttle::{check_random, thread};

    use super::*;
    use crate::{
        io::Waker,
        sync::{ORDERS, Signal},
    };

    #[test]
    fn every_worker_is_stopped_once_whether_it_starts_before_or_after() {
        check_random(
            || {
                let stopper = Stopper::default();
                let workers = [(); 2].map(|()| {
                    let stopper = stopper.clone();
                    thread::spawn(move || {
                        let signal = Arc::new(Signal::default());
                        let wakes = Arc::clone(&signal);
                        let inbox =
                            Arc::new(Inbox::new(Waker::new(move || wakes.raise()), 1 << 20));
                        stopper.register(Arc::clone(&inbox));
                        signal.wait();
                        inbox.take().len()
                    })
                });
                stopper.stop();
                stopper.stop();
                let commands = workers.map(|worker| worker.join().unwrap());
                assert_eq!(commands, [1, 1]);
            },
            ORDERS,
        );
    }
}
