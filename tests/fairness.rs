//! What one peer does to the others of its worker: next to nothing. A neighbour sends a message now
//! and then, and waits for its echo, while others keep their sockets full of what costs most.
//!
//! The bounds are generous, since tests run beside others and without optimisation; what each case
//! really takes is in docs/BENCHMARKING.md. Before passes were fair the waits were seconds, or as
//! long as the flood.

mod support;

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use flate2::{Compress, Compression, FlushCompress};
use support::{
    BINARY, CONTINUATION, Client, PING, PONG, TestServer, frame, handshake, serve, serve_with,
};
use wireloop::{Config, Echo, Routes};

/// How long a flood lasts: twice as long as anybody may wait.
const FLOOD: Duration = Duration::from_millis(800);

/// The longest that a neighbour may wait.
const WAIT_MAX: Duration = Duration::from_millis(400);

/// More than two floods at a time would only take the processors from one another.
static TURNS: [Mutex<()>; 2] = [Mutex::new(()), Mutex::new(())];

fn turn() -> MutexGuard<'static, ()> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    TURNS[next % TURNS.len()].lock().unwrap_or_else(PoisonError::into_inner)
}

const DEFLATE: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";

fn echo() -> Routes {
    Routes::new().websocket("/", |_, protocols| Ok(protocols.none().session(Echo)))
}

/// A masked frame whose key is zero.
fn plain(is_final: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    frame(is_final, opcode, [0; 4], payload)
}

/// A compressed message of so many zeros.
fn bomb(bytes: usize) -> Vec<u8> {
    let mut compress = Compress::new(Compression::best(), false);
    let mut deflated = Vec::with_capacity(bytes / 500 + 64);
    let zeros = vec![0; bytes];
    compress
        .compress_vec(&zeros, &mut deflated, FlushCompress::Sync)
        .expect("zeros can be deflated");
    assert_eq!(compress.total_in(), bytes as u64);
    deflated.truncate(deflated.len() - 4);
    let mut frame = plain(true, BINARY, &deflated);
    frame[0] |= 0x40;
    frame
}

/// Keeps the sockets of `peers` full of copies of `unit`, and reads what comes back, until the
/// neighbour has sent messages for as long as a flood lasts. Returns the neighbour's longest wait.
fn longest_wait(server: &TestServer, peers: usize, headers: &str, unit: &[u8]) -> Duration {
    let is_over = AtomicBool::new(false);
    let mut neighbour = server.upgrade("/");
    thread::scope(|scope| {
        for _ in 0..peers {
            let mut peer = server.connect();
            assert_eq!(peer.request(&handshake("/", headers)).status, 101);
            let (reader, writer) = (peer.socket(), peer.socket());
            scope.spawn(|| drain(reader));
            scope.spawn(|| flood(writer, unit, &is_over));
        }
        let start = Instant::now();
        let mut longest = Duration::ZERO;
        while start.elapsed() < FLOOD {
            let sent = Instant::now();
            neighbour.send_text("are you there?");
            neighbour.expect_text("are you there?");
            longest = longest.max(sent.elapsed());
            thread::sleep(Duration::from_millis(2));
        }
        is_over.store(true, Ordering::Relaxed);
        longest
    })
}

fn drain(mut reader: TcpStream) {
    let mut buffer = vec![0; 256 << 10];
    while reader.read(&mut buffer).is_ok_and(|read| read > 0) {}
}

fn flood(mut writer: TcpStream, unit: &[u8], is_over: &AtomicBool) {
    while !is_over.load(Ordering::Relaxed) && writer.write_all(unit).is_ok() {}
    // Ends the reader as well.
    let _ = writer.shutdown(Shutdown::Both);
}

fn check(peers: usize, headers: &str, unit: &[u8]) {
    let _turn = turn();
    serve(echo, |server| {
        let wait = longest_wait(server, peers, headers, unit);
        assert!(wait < WAIT_MAX, "the neighbour waited for {wait:?}");
    });
}

#[test]
fn pongs_that_nobody_asked_for_do_not_keep_others_waiting() {
    check(1, "", &plain(true, PONG, b"").repeat(20_000));
}

#[test]
fn fragments_of_one_byte_do_not_keep_others_waiting() {
    let mut message = plain(false, BINARY, b"a");
    message.extend(plain(false, CONTINUATION, b"a").repeat(100_000));
    message.extend(plain(true, CONTINUATION, b"a"));
    check(5, "", &message);
}

#[test]
fn empty_messages_do_not_keep_others_waiting() {
    check(5, "", &plain(true, BINARY, b"").repeat(20_000));
}

#[test]
fn pings_do_not_keep_others_waiting() {
    check(5, "", &plain(true, PING, b"").repeat(20_000));
}

#[test]
fn small_messages_that_inflate_do_not_keep_others_waiting() {
    check(5, DEFLATE, &bomb(1 << 10).repeat(2000));
}

#[test]
fn large_messages_that_inflate_do_not_keep_others_waiting() {
    check(8, DEFLATE, &bomb(1 << 20));
}

#[test]
fn long_messages_of_honest_peers_do_not_keep_others_waiting() {
    check(3, "", &plain(true, BINARY, &vec![b'a'; 4 << 20]));
}

#[test]
fn pipelined_requests_do_not_keep_others_waiting() {
    let _turn = turn();
    serve(echo, |server| {
        let is_over = AtomicBool::new(false);
        let mut neighbour = server.upgrade("/");
        let unit = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(500);
        thread::scope(|scope| {
            for _ in 0..5 {
                let peer = server.connect();
                let (reader, writer) = (peer.socket(), peer.socket());
                scope.spawn(|| drain(reader));
                scope.spawn(|| flood(writer, &unit, &is_over));
            }
            let start = Instant::now();
            while start.elapsed() < FLOOD {
                let sent = Instant::now();
                neighbour.ping_and_wait(b"there?");
                assert!(sent.elapsed() < WAIT_MAX, "the neighbour waited for {:?}", sent.elapsed());
            }
            is_over.store(true, Ordering::Relaxed);
        });
    });
}

/// Healthy peers were disconnected because their pongs were never read.
#[test]
fn peers_that_answer_pings_stay_connected_beside_a_flood() {
    let _turn = turn();
    let mut config = Config::default();
    config.ping_interval = Some(Duration::from_millis(300));
    config.pong_timeout = Duration::from_millis(500);
    serve_with(config, echo, |server| {
        let is_over = AtomicBool::new(false);
        let unit = plain(true, PONG, b"").repeat(20_000);
        thread::scope(|scope| {
            let peer = server.upgrade("/");
            let (reader, writer) = (peer.socket(), peer.socket());
            scope.spawn(|| drain(reader));
            scope.spawn(|| flood(writer, &unit, &is_over));
            let mut healthy: Vec<Client> = (0..20).map(|_| server.upgrade("/")).collect();
            // Three times as long as a peer has to be answered for.
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(1500) {
                for client in &mut healthy {
                    let (first, payload) = client.read_any_frame();
                    assert_eq!(first, 0x80 | PING, "a ping each time");
                    client.send_frame(true, PONG, &payload);
                }
            }
            is_over.store(true, Ordering::Relaxed);
        });
    });
}
