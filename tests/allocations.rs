//! An echo allocates nothing: once a connection is warm, its messages go through buffers that are
//! there already. Only what the end of a receive cuts has to be put together elsewhere. The worker
//! runs in the test's thread, whose allocations are counted; its client has another one.

mod support;

use std::{
    io,
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use support::{BINARY, Client, config, drivers, frame, on_driver};
use wireloop::{
    DriverKind, Echo, Routes,
    io::{Driver, Waker, sys},
    server::Worker,
};

/// How many messages are echoed before it counts, and how many while it does.
const WARM_UP: usize = 2000;
const COUNTED: usize = 10_000;

/// What one receive brings at most.
const BUFFER_BYTES: usize = 64 << 10;

/// How often a message that was cut allocates at most: it is put together in memory of
/// its own.
const CUT_ALLOCATIONS: usize = 6;

/// A pass that the machine interrupts for longer than it may take leaves something for the next
/// one, in memory of its own. That may happen now and then.
const INTERRUPTED: u64 = 8;

/// What a client sends: messages of this length, so many of them at a time.
#[derive(Clone, Copy, Debug)]
struct Load {
    length: usize,
    in_flight: usize,
}

/// Loads of which a receive brings all that is there, unless its buffer ends.
const LOADS: [Load; 5] = [
    Load { length: 20, in_flight: 1 },
    Load { length: 20, in_flight: 16 },
    Load { length: 512, in_flight: 1 },
    Load { length: 512, in_flight: 16 },
    Load { length: 16 << 10, in_flight: 1 },
];

impl Load {
    /// How many messages the end of a buffer cuts: none on epoll, where each receive has all of
    /// it; io_uring fills buffers of 64 KiB one after the other.
    fn cuts(self, driver: DriverKind) -> usize {
        match driver {
            DriverKind::IoUring => (self.length + 8) * COUNTED / BUFFER_BYTES + 1,
            _ => 0,
        }
    }
}

#[test]
fn an_echo_allocates_nothing_unless_its_message_is_cut() {
    for (load, driver) in LOADS.iter().flat_map(|load| drivers().map(move |d| (*load, d))) {
        let allocations = on_driver!(driver, allocations, load);
        let most = (load.cuts(driver) * CUT_ALLOCATIONS) as u64 + INTERRUPTED;
        assert!(allocations <= most, "{allocations}: {driver}: {load:?}");
    }
}

/// How often a worker allocates while it echoes [`COUNTED`] messages.
fn allocations<D>(driver: impl Fn() -> io::Result<D>, load: Load) -> u64
where
    D: Driver<Listener = TcpListener>,
{
    let listener = sys::listen(([127, 0, 0, 1], 0).into()).expect("there is a free port");
    let address = listener.local_addr().expect("it is bound");
    let routes = Routes::new().websocket("/", |_, protocols| Ok(protocols.none().session(Echo)));
    let driver = driver().expect("there is a descriptor left");
    let waker = driver.waker();
    let config = config(|config| config.ping_interval = None);
    let mut worker = Worker::new(driver, Arc::new(routes), Arc::new(config), vec![listener])
        .expect("the listener can be watched");
    let control = Control { waker, barrier: Barrier::new(2), is_done: AtomicBool::new(false) };
    thread::scope(|scope| {
        let client = scope.spawn(|| echo(address, load, &control));
        let mut work = || {
            while !control.is_done.swap(false, Ordering::Relaxed) {
                worker.pass().expect("the driver works");
            }
        };
        work();
        control.barrier.wait();
        let counted = allocation_counter::measure(work);
        // Only now the connection may end.
        drop(client.join().expect("all messages come back"));
        counted.count_total
    })
}

/// What the worker's thread and the client's share.
struct Control {
    waker: Waker,
    barrier: Barrier,
    /// The client is warm, or has had everything that is counted.
    is_done: AtomicBool,
}

impl Control {
    fn done(&self) {
        self.is_done.store(true, Ordering::Relaxed);
        self.waker.wake();
    }
}

/// The client: echoes until it is warm, and again when the worker counts.
fn echo(address: SocketAddr, load: Load, control: &Control) -> Client {
    let mut client = Client::connect(address);
    client.upgrade("/");
    // The first time it makes room for what a wake leads to.
    control.waker.wake();
    let mut socket = client.socket();
    let payload = vec![7; load.length];
    let messages = frame(true, BINARY, [1, 2, 3, 4], &payload).repeat(load.in_flight);
    // A header without a mask: four bytes less.
    let mut echoes = vec![0; messages.len() - 4 * load.in_flight];
    let mut echo = |count: usize| {
        for _ in 0..count.div_ceil(load.in_flight) {
            socket.write_all(&messages).expect("the server goes on reading");
            socket.read_exact(&mut echoes).expect("all of them come back");
        }
    };
    echo(WARM_UP);
    control.done();
    control.barrier.wait();
    echo(COUNTED);
    control.done();
    client
}
