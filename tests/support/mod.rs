//! What the integration tests share: a server in a thread, and clients that speak the wire format
//! by hand. Nothing here may use `wireloop::ws` or `wireloop::http` to make or read bytes: a
//! mistake that both ends make alike would hide.

#![allow(dead_code, reason = "each test is a crate of its own and uses a part of this")]
#![allow(unused_imports, unused_macros, reason = "as above")]

mod binary;
mod client;
mod events;
mod filter;

use std::{
    net::SocketAddr,
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use wireloop::{Config, Counters, DriverKind, Routes, Server, ServerError, Stopper, http::Hosts};

pub(crate) use binary::Binary;
pub(crate) use client::{
    BINARY, CLOSE, CONTINUATION, Client, Frame, PING, PONG, Response, TEXT, frame, handshake,
};
pub(crate) use events::{Events, Log, Script, script};
pub(crate) use filter::without;

/// How long a test waits for what must happen. Only a failing test ever waits this long.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// The drivers. Every suite runs once on each, or on the one that WIRELOOP_DRIVER names.
pub(crate) fn drivers() -> impl Iterator<Item = DriverKind> {
    let chosen = std::env::var("WIRELOOP_DRIVER").ok();
    let is_chosen = move |driver: &DriverKind| {
        chosen.as_ref().is_none_or(|chosen| *chosen == driver.to_string())
    };
    [DriverKind::Epoll, DriverKind::IoUring].into_iter().filter(is_chosen)
}

/// Calls a function with what makes a driver of this kind, and other arguments.
macro_rules! on_driver {
    ($kind:expr, $function:path $(, $argument:expr)*) => {
        match $kind {
            wireloop::DriverKind::IoUring => $function(wireloop::io::Uring::new $(, $argument)*),
            _ => $function(wireloop::io::Epoll::new $(, $argument)*),
        }
    };
}
pub(crate) use on_driver;

/// The default configuration with some changes.
pub(crate) fn config(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    change(&mut config);
    config
}

/// Runs a test once per driver, against a server of its own with the default configuration.
pub(crate) fn serve(routes: impl Fn() -> Routes, test: impl Fn(&TestServer)) {
    serve_with(Config::default(), routes, test);
}

/// Runs a test once per driver, against a server of its own.
pub(crate) fn serve_with(config: Config, routes: impl Fn() -> Routes, test: impl Fn(&TestServer)) {
    drivers().for_each(|driver| run(driver, &config, &routes, &test));
}

/// The same on all drivers at once, for a test that waits more than it works.
pub(crate) fn serve_at_once(
    config: Config,
    routes: impl Fn() -> Routes + Sync,
    test: impl Fn(&TestServer) + Sync,
) {
    at_once(|driver| run(driver, &config, &routes, &test));
}

/// Calls a function for all drivers at once.
pub(crate) fn at_once(test: impl Fn(DriverKind) + Sync) {
    let test = &test;
    thread::scope(|scope| {
        for driver in drivers() {
            scope.spawn(move || test(driver));
        }
    });
}

fn run(
    driver: DriverKind,
    config: &Config,
    routes: &dyn Fn() -> Routes,
    test: &dyn Fn(&TestServer),
) {
    let server = TestServer::start(driver, routes(), config.clone());
    test(&server);
    drop(server);
    events::forget();
}

/// A server in a thread, with one worker unless told otherwise. Dropping it stops it and asserts that it ends well.
pub(crate) struct TestServer {
    address: SocketAddr,
    stopper: Stopper,
    counters: Counters,
    ended: Receiver<Result<(), ServerError>>,
}

impl TestServer {
    pub(crate) fn start(driver: DriverKind, routes: Routes, config: Config) -> Self {
        Self::start_with_workers(driver, routes, config, 1)
    }

    /// The same with another number of workers.
    pub(crate) fn start_with_workers(
        driver: DriverKind,
        routes: Routes,
        config: Config,
        workers: usize,
    ) -> Self {
        // Requests of the tests name any host.
        let server = Server::new(routes.hosts(Hosts::any()));
        let server = server.config(config).workers(workers).driver(driver);
        Self::run(server.listen("127.0.0.1:0").expect("port 0 can always be listened on"))
    }

    /// Runs a server that listens already.
    pub(crate) fn run(server: Server) -> Self {
        let address = server.addresses().next().expect("it listens on an address");
        let stopper = server.stopper();
        let counters = server.counters();
        let (end, ended) = mpsc::channel();
        thread::spawn(move || end.send(server.run()));
        Self { address, stopper, counters, ended }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How often memory was short.
    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// A connection on which nothing has been sent.
    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// A WebSocket connection to `path`, without a subprotocol.
    pub(crate) fn upgrade(&self, path: &str) -> Client {
        let mut client = self.connect();
        client.upgrade(path);
        client
    }

    /// Begins to stop the server; `drop` waits for its end.
    pub(crate) fn stop(&self) {
        self.stopper.stop();
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.stopper.stop();
        // A test that has failed already would abort the process if this failed as well.
        if !thread::panicking() {
            let result = self.ended.recv_timeout(DEADLINE).expect("the server ends in time");
            result.expect("the server ends in good order");
        }
    }
}
