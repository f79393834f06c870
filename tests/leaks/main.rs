//! What may not leak: bytes from one connection to another, buffers, descriptors, memory. Very many
//! messages, each with its connection's mark, on connections that are reset at any point, so that
//! places and descriptors are used again and again while operations are in flight.
//!
//! `WIRELOOP_LEAK_MESSAGES=n` makes another number of them, `WIRELOOP_LEAK_SEED=n` other ones.

#[path = "../support/mod.rs"]
mod support;

mod content;
mod load;
mod peer;

use std::{
    fs, io,
    io::Write,
    net::{SocketAddr, TcpListener},
    os::{fd::OwnedFd, unix::net::UnixStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use support::{BINARY, Client, config, drivers, frame, on_driver};
use wireloop::{
    DriverKind, Echo, Routes,
    io::{Completion, Driver, Token, Waker, sys},
    server::Worker,
};

/// How many messages come back, unless told otherwise.
const MESSAGES: u64 = 50_000;

/// How many connections there are at a time.
const CONNECTIONS: usize = 100;

/// How much more memory the second half of a run may need than the first.
const GROWTH_BYTES: usize = 16 << 20;

#[test]
fn no_byte_no_buffer_and_no_descriptor_is_lost_or_mistaken() {
    drivers().for_each(|kind| on_driver!(kind, check, kind));
}

/// A number from the environment.
fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

/// What the test and the worker's thread share.
#[derive(Default)]
struct Control {
    /// Who has it keeps the worker from its next pass.
    gate: Mutex<()>,
    is_over: AtomicBool,
}

/// Lets the worker's thread end when all connections have, also if the test fails.
struct Over<'a> {
    control: &'a Control,
    waker: Waker,
}

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.control.is_over.store(true, Ordering::Relaxed);
        self.waker.wake();
    }
}

fn check<D>(driver: fn() -> io::Result<D>, kind: DriverKind)
where
    D: Driver<Listener = TcpListener, Stream = OwnedFd>,
{
    let messages = setting("WIRELOOP_LEAK_MESSAGES").unwrap_or(MESSAGES);
    let seed = setting("WIRELOOP_LEAK_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("{kind}: WIRELOOP_LEAK_SEED={seed}");
    let listener = sys::listen(([127, 0, 0, 1], 0).into()).expect("there is a free port");
    let address = listener.local_addr().expect("it is bound");
    let control = Control::default();
    thread::scope(|scope| {
        let (sender, waker) = mpsc::channel();
        let worker = scope.spawn(|| serve(driver, listener, &control, sender));
        let waker = waker.recv().expect("the worker starts");
        let over = Over { control: &control, waker };

        let begun = Instant::now();
        let first = load::run(address, seed, messages / 2, CONNECTIONS);
        let resident = resident_bytes();
        let second = load::run(address, seed ^ 1, messages / 2, CONNECTIONS);
        let grown = resident_bytes().saturating_sub(resident);
        let resets = first.resets + second.resets;
        println!("{kind}: {first:?}, {second:?}, {:?}, {grown} bytes more", begun.elapsed());
        assert!(resets > 10 && first.blocked > 0, "it was a load");
        assert!(grown < GROWTH_BYTES, "{grown} bytes more than after the first half");
        all_at_once(address, &control);

        drop(over);
        worker.join().expect("nothing is lost");
    });
}

/// Many connections send at the same time, more than there is room for in one pass: all of them
/// get their turn.
fn all_at_once(address: SocketAddr, control: &Control) {
    let mut clients: Vec<Client> = (0..400).map(|_| Client::connect(address)).collect();
    clients.iter_mut().for_each(|client| client.upgrade("/"));
    let payload = |number: usize| number.to_be_bytes().repeat(10 << 7);
    let closed = control.gate.lock().expect("the worker is well");
    for (number, client) in clients.iter_mut().enumerate() {
        client.send_raw(&frame(true, BINARY, [0; 4], &payload(number)));
    }
    drop(closed);
    for (number, client) in clients.iter_mut().enumerate() {
        client.expect_frame(true, BINARY, &payload(number));
    }
}

/// The worker's thread: works until it is told that it is over and all connections have ended.
/// Then everything must be as it was.
fn serve<D>(
    driver: fn() -> io::Result<D>,
    listener: TcpListener,
    control: &Control,
    sender: mpsc::Sender<Waker>,
) where
    D: Driver<Listener = TcpListener, Stream = OwnedFd>,
{
    let room = room(&mut driver().expect("there are descriptors left"));
    let driver = driver().expect("there are descriptors left");
    let waker = driver.waker();
    // A ping would be one more frame.
    let config = config(|config| config.ping_interval = None);
    let routes = Routes::new().websocket("/", |_, protocols| Ok(protocols.none().session(Echo)));
    let mut worker = Worker::new(driver, Arc::new(routes), Arc::new(config), vec![listener])
        .expect("the listener can be watched");
    // Epoll's first wait that is shorter than it counts makes a timer, which stays; before that it
    // has the listener to look at. Nobody connects yet.
    for _ in 0..2 {
        let wait = worker.driver().wait(Some(Duration::from_millis(1)), &mut Vec::new());
        wait.expect("the driver works");
        while worker.driver().next().is_some() {}
    }
    let files = open_files();
    sender.send(waker).expect("the test waits");
    while !control.is_over.load(Ordering::Relaxed) || worker.connections() > 0 {
        drop(control.gate.lock());
        assert!(worker.pass().expect("the driver works"), "nobody stops it");
    }
    assert_eq!(open_files(), files, "descriptors, now and at the beginning");
    assert_eq!(self::room(worker.driver()), room, "what one pass receives, now and at first");
}

/// The most that a driver without connections receives in one pass.
fn room(driver: &mut impl Driver<Stream = OwnedFd>) -> usize {
    let mut peers = Vec::new();
    for index in 0..32 {
        let (near, mut far) = UnixStream::pair().expect("there are descriptors left");
        for socket in [&near, &far] {
            socket.set_nonblocking(true).expect("it is open");
        }
        // Filled until it takes nothing more.
        while far.write(&[1; 4096]).is_ok() {}
        let token = Token { index, generation: u32::MAX >> 8 };
        driver.attach(token, near.into()).expect("it can be watched");
        driver.receive(token);
        peers.push(far);
    }
    let (mut most, mut empty) = (0, 0);
    // A pass may bring nothing but the news that there is something.
    while empty < 5 {
        driver.wait(Some(Duration::ZERO), &mut Vec::new()).expect("the driver works");
        let mut received = 0;
        while let Some(completion) = driver.next() {
            if let Completion::Received { bytes, .. } = completion {
                received += bytes.len();
            }
        }
        empty = if received == 0 { empty + 1 } else { 0 };
        most = most.max(received);
    }
    most
}

/// What this process has open, sorted: numbers are those of sockets and change.
fn open_files() -> Vec<String> {
    let entries = fs::read_dir("/proc/self/fd").expect("proc(5)");
    let targets = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let mut kinds: Vec<String> = targets
        .map(|target| target.to_string_lossy().replace(|digit: char| digit.is_numeric(), ""))
        .collect();
    kinds.sort();
    kinds
}

/// How much memory this process uses.
fn resident_bytes() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").expect("proc(5)");
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.expect("a number") * rustix::param::page_size()
}
