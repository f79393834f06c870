//! A driver that fails when it is told to, and what becomes of its worker.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::*;
use crate::{
    io::{
        Address, Clock, Completion, Epoll, OutputProgress, Permits, SendBatch, Token, Unsent,
        Uring, Waker,
    },
    server::listeners::Listeners,
};

/// What tells drivers to fail, once each time.
#[derive(Clone, Debug, Default)]
struct Fault(Arc<AtomicUsize>);

const ERROR: usize = 1;
const PANIC: usize = 2;

impl Fault {
    fn occur(&self, kind: usize) {
        self.0.store(kind, Ordering::Relaxed);
    }
}

/// A driver whose wait fails when it is told to.
struct Faulty<D>(D, Fault);

impl<D: Driver> Driver for Faulty<D> {
    type Listener = D::Listener;
    type Stream = D::Stream;

    fn wait(&mut self, timeout: Option<Duration>, unsent: &mut Vec<Unsent>) -> io::Result<()> {
        self.0.wait(timeout, unsent)?;
        match self.1.0.swap(0, Ordering::Relaxed) {
            ERROR => Err(io::ErrorKind::OutOfMemory.into()),
            PANIC => panic!("a panic for the test"),
            _ => Ok(()),
        }
    }

    fn clock(&self) -> &Clock {
        self.0.clock()
    }
    fn begin_round(&mut self) {
        self.0.begin_round();
    }
    fn is_in_round(&self) -> bool {
        self.0.is_in_round()
    }
    fn listen(&mut self, listener: D::Listener) -> io::Result<usize> {
        self.0.listen(listener)
    }
    fn accept(&mut self, listener: usize) {
        self.0.accept(listener);
    }
    fn limit_accepts(&mut self, permits: Permits) {
        self.0.limit_accepts(permits);
    }
    fn pause_accept(&mut self, listener: usize) {
        self.0.pause_accept(listener);
    }
    fn may_accept(&self) -> bool {
        self.0.may_accept()
    }
    fn close_listeners(&mut self) {
        self.0.close_listeners();
    }
    fn take_listeners(&mut self) -> Vec<D::Listener> {
        self.0.take_listeners()
    }
    fn attach(&mut self, token: Token, stream: D::Stream) -> io::Result<()> {
        self.0.attach(token, stream)
    }
    fn connect(
        &mut self,
        token: Token,
        address: &Address,
        source: Option<SocketAddr>,
    ) -> io::Result<()> {
        self.0.connect(token, address, source)
    }
    fn receive(&mut self, token: Token) {
        self.0.receive(token);
    }
    fn watch(&mut self, token: Token) {
        self.0.watch(token);
    }
    fn receive_to(&mut self, token: Token, memory: &mut Vec<u8>, most: usize) -> usize {
        self.0.receive_to(token, memory, most)
    }
    fn pause_receive(&mut self, token: Token) {
        self.0.pause_receive(token);
    }
    fn send_back(&mut self, token: Token, range: Range<usize>) {
        self.0.send_back(token, range);
    }
    fn send_at_once(&mut self, token: Token, head: &[u8], bytes: Vec<u8>) -> Option<Vec<u8>> {
        self.0.send_at_once(token, head, bytes)
    }
    fn flush(&mut self, batch: &mut SendBatch, made: impl FnMut(Token)) {
        self.0.flush(batch, made);
    }
    fn send(&mut self, token: Token, bytes: Vec<u8>) {
        self.0.send(token, bytes);
    }
    fn output_progress(&self, token: Token) -> Option<OutputProgress> {
        self.0.output_progress(token)
    }
    fn shutdown(&mut self, token: Token) {
        self.0.shutdown(token);
    }
    fn close(&mut self, token: Token) {
        self.0.close(token);
    }
    fn next(&mut self) -> Option<Completion<'_, D::Stream>> {
        self.0.next()
    }
    fn waker(&self) -> Waker {
        self.0.waker()
    }
}

/// A server of two workers, of which the first one fails when it is told to.
struct Server {
    address: SocketAddr,
    stopper: Stopper,
    fault: Fault,
    /// With which drivers the first worker was started.
    starts: Arc<Mutex<Vec<DriverKind>>>,
    thread: thread::JoinHandle<io::Result<()>>,
}

const CONNECTIONS: usize = 10;

impl Server {
    /// One with room for [`CONNECTIONS`].
    fn start(driver: DriverKind) -> Self {
        let config = Config { connections: CONNECTIONS, ..Config::default() };
        let plan = Plan::sample(config, 2);
        let mut listeners = Listeners::default();
        listeners.add(&[([127, 0, 0, 1], 0).into()], false).expect("a free port");
        let address = listeners.addresses().next().expect("it listens");
        let listeners = listeners.per_worker(2).expect("it listens already");
        let (stopper, fault) = (plan.stopper.clone(), Fault::default());
        let starts = Arc::new(Mutex::new(Vec::new()));
        let (told, log) = (fault.clone(), Arc::clone(&starts));
        let thread = thread::spawn(move || {
            let serve = |driver, start: Start| {
                if start.number == 0 {
                    log.lock().expect("nobody panics").push(driver);
                }
                let fault = if start.number == 0 { told.clone() } else { Fault::default() };
                match driver {
                    DriverKind::IoUring => plan.serve(start, |_| Ok(Faulty(Uring::new()?, fault))),
                    _ => plan.serve(start, |_| Ok(Faulty(Epoll::new()?, fault))),
                }
            };
            plan.run(listeners, |number, listeners| plan.work(number, listeners, driver, serve))
        });
        Self { address, stopper, fault, starts, thread }
    }

    fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(self.address).expect("it listens");
        client.set_read_timeout(Some(Duration::from_secs(20))).expect("not zero");
        client
    }

    /// As many connections as there is room for, on which a request was answered.
    fn fill(&self) -> Vec<TcpStream> {
        let clients: Vec<TcpStream> = (0..CONNECTIONS).map(|_| self.connect()).collect();
        assert!(clients.iter().all(is_served), "there is room for all of them");
        clients
    }

    fn starts(&self) -> Vec<DriverKind> {
        self.starts.lock().expect("nobody panics").clone()
    }

    /// Lets the first worker fail, and waits until it has been started so many times.
    fn fail(&self, kind: usize, starts: usize) {
        self.fault.occur(kind);
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.starts().len() < starts {
            assert!(Instant::now() < deadline, "it does not start again");
            // It may be waiting for something to do.
            drop(self.connect());
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Whether a request is answered on a connection.
fn is_served(mut client: &TcpStream) -> bool {
    let mut answer = [0; 512];
    client.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").is_ok()
        && client.read(&mut answer).is_ok_and(|bytes| answer[..bytes].starts_with(b"HTTP/1.1 404"))
}

#[test]
fn a_worker_that_fails_is_replaced_and_the_others_go_on() {
    for driver in [DriverKind::Epoll, DriverKind::IoUring] {
        for kind in [ERROR, PANIC] {
            let server = Server::start(driver);
            let clients = server.fill();
            server.fail(kind, 2);
            assert_eq!(server.starts(), [driver; 2]);
            let (alive, lost): (Vec<_>, Vec<_>) = clients.into_iter().partition(is_served);
            assert!(alive.len() > 1 && lost.len() > 1, "{} are alive", alive.len());
            // The places of those that are lost are free again, on both workers.
            let more: Vec<TcpStream> = lost.iter().map(|_| server.connect()).collect();
            assert!(more.iter().all(is_served), "{driver}");
            server.stopper.stop();
            // The stop waits for peers to end.
            drop((alive, more));
            server.thread.join().expect("it does not panic").expect("it ends in good order");
        }
    }
}

#[test]
fn a_worker_that_fails_again_takes_epoll_and_then_ends_the_server() {
    let server = Server::start(DriverKind::IoUring);
    server.fail(ERROR, 2);
    server.fail(ERROR, 3);
    assert_eq!(server.starts(), [DriverKind::IoUring, DriverKind::IoUring, DriverKind::Epoll]);
    let clients = server.fill();
    drop(clients);
    server.fault.occur(ERROR);
    while !server.thread.is_finished() {
        // Nobody listens any more in the end.
        let _ = TcpStream::connect(server.address);
        thread::sleep(Duration::from_millis(5));
    }
    let error = server.thread.join().expect("it does not panic").expect_err("it has failed");
    assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
}

#[test]
fn a_worker_without_a_new_io_uring_takes_epoll() {
    let plan = Plan::sample(Config::default(), 1);
    let mut listeners = Listeners::default();
    listeners.add(&[([127, 0, 0, 1], 0).into()], false).expect("a free port");
    let address = listeners.addresses().next().expect("it listens");
    let listeners: Vec<Vec<TcpListener>> = listeners.per_worker(1).expect("it listens already");
    let client = TcpStream::connect(address).expect("it listens");
    let fault = Fault::default();
    fault.occur(ERROR);
    let serve = |driver, start: Start| match driver {
        DriverKind::IoUring if start.is_first => {
            plan.serve(start, |_| Ok(Faulty(Uring::new()?, fault.clone())))
        }
        DriverKind::IoUring => {
            plan.serve(start, |_| -> io::Result<Uring> { Err(io::ErrorKind::OutOfMemory.into()) })
        }
        _ => plan.serve(start, |_| Epoll::new()),
    };
    thread::scope(|scope| {
        let (plan, serve) = (&plan, &serve);
        let work =
            move |number, listeners| plan.work(number, listeners, DriverKind::IoUring, serve);
        let thread = scope.spawn(move || plan.run(listeners, work));
        assert!(is_served(&client), "the listener is the same, and so its queue");
        drop(client);
        plan.stopper.stop();
        thread.join().expect("it does not panic").expect("it ends in good order");
    });
}
