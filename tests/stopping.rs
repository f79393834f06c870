//! What had arrived when a server was stopped is served before it ends, though it had not been
//! accepted yet; what comes later does not delay the end.

mod support;

use std::{
    net::TcpStream,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use http::StatusCode;
use support::{Client, TestServer, config, drivers, handshake};
use wireloop::{Config, Echo, Request, Routes, http::Response};

const GET: &str = "GET /page HTTP/1.1\r\nHost: test\r\n\r\n";

/// A server whose worker can be kept busy.
struct Busy {
    server: TestServer,
    entered: Receiver<()>,
    leave: Sender<()>,
}

impl Busy {
    fn start(driver: wireloop::DriverKind, config: Config) -> Self {
        let (enter, entered) = mpsc::channel();
        let (leave, may_leave) = mpsc::channel();
        let may_leave = Mutex::new(may_leave);
        let page = || Response::text(StatusCode::OK, "a page");
        let routes = Routes::new()
            .get("/page", move |_: &Request<'_>| page())
            .get("/busy", move |_: &Request<'_>| {
                enter.send(()).expect("the test waits");
                may_leave.lock().expect("nobody panics").recv().expect("the test says when");
                page()
            })
            .websocket("/echo", |_request, protocols| Ok(protocols.none().session(Echo)));
        Self { server: TestServer::start(driver, routes, config), entered, leave }
    }

    /// A request that keeps the worker busy until it may leave.
    fn occupy(&self) -> Client {
        let mut client = self.server.connect();
        client.send_raw(b"GET /busy HTTP/1.1\r\nHost: test\r\n\r\n");
        self.entered.recv().expect("it is handled");
        client
    }

    /// Stops the server, and lets its worker go on.
    fn stop(&self) {
        self.server.stop();
        self.leave.send(()).expect("it waits");
    }
}

/// They used to be reset: those that waited in the queue, and those that had just been accepted.
#[test]
fn what_had_arrived_before_the_stop_is_answered() {
    for driver in drivers() {
        let busy = Busy::start(driver, Config::default());
        let mut known: Vec<Client> = (0..20).map(|_| busy.server.connect()).collect();
        let mut session = busy.server.upgrade("/echo");
        let mut first = busy.occupy();
        let mut new: Vec<Client> = (0..150).map(|_| busy.server.connect()).collect();
        known.iter_mut().chain(&mut new[..100]).for_each(|client| client.send_raw(GET.as_bytes()));
        for client in &mut new[100..130] {
            client.send_raw(handshake("/echo", "").as_bytes());
        }
        session.send_text("arrived");
        busy.stop();
        for client in [&mut first].into_iter().chain(&mut known).chain(&mut new[..100]) {
            assert_eq!(client.read_response().text(), "a page", "{driver}");
            client.expect_eof();
        }
        for client in &mut new[100..130] {
            assert_eq!(client.read_response().status, 101, "{driver}");
            client.expect_closing(1001);
        }
        new[130..].iter_mut().for_each(Client::expect_eof);
        session.expect_text("arrived");
        session.expect_closing(1001);
    }
}

/// Whoever has just connected is about to ask; what it sends a moment later used to be lost.
#[test]
fn a_new_connection_may_still_send_its_request() {
    for driver in drivers() {
        let busy = Busy::start(driver, Config::default());
        let mut first = busy.occupy();
        let mut session = busy.server.connect();
        let mut slow = busy.server.connect();
        let (begin, end) = GET.split_at(9);
        slow.send_raw(begin.as_bytes());
        busy.stop();
        assert_eq!(first.read_response().status, 200);
        // The listeners are closed by now, since nothing else had to be accepted.
        first.expect_eof();
        slow.send_raw(end.as_bytes());
        session.upgrade("/echo");
        assert_eq!(slow.read_response().text(), "a page", "{driver}");
        slow.expect_eof();
        session.expect_closing(1001);
    }
}

#[test]
fn a_server_that_is_stopped_keeps_to_its_limit() {
    for driver in drivers() {
        let busy = Busy::start(driver, config(|config| config.connections = 10));
        let mut first = busy.occupy();
        let mut others: Vec<Client> = (0..30).map(|_| busy.server.connect()).collect();
        others.iter_mut().for_each(|client| client.send_raw(GET.as_bytes()));
        busy.stop();
        assert_eq!(first.read_response().status, 200);
        for client in &mut others[..9] {
            assert_eq!(client.read_response().text(), "a page", "{driver}");
            client.expect_eof();
        }
        others[9..].iter_mut().for_each(Client::expect_gone);
    }
}

#[test]
fn connections_that_go_on_coming_do_not_delay_the_end() {
    for driver in drivers() {
        let busy = Busy::start(driver, Config::default());
        let (address, is_over) = (busy.server.address(), AtomicBool::new(false));
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    // They fail when nobody listens any more.
                    while !is_over.load(Ordering::Relaxed) {
                        let _ = TcpStream::connect(address);
                    }
                });
            }
            let mut first = busy.occupy();
            let begun = Instant::now();
            busy.stop();
            assert_eq!(first.read_response().status, 200);
            drop(first);
            drop(busy);
            let took = begun.elapsed();
            is_over.store(true, Ordering::Relaxed);
            assert!(took < Duration::from_secs(3), "{driver}: {took:?}");
        });
    }
}
