//! Sessions on connections with permessage-deflate that do not read when messages arrive, change
//! how they read in the middle of one, or end there.

mod support;

use std::time::Duration;

use flate2::{Compress, Compression, FlushCompress};
use support::{
    BINARY, CONTINUATION, Client, Events, Log, PONG, TEXT, TestServer, config, frame, handshake,
    serve, serve_with,
};
use wireloop::{Received, Routes, Session, Socket};

const RSV1: u8 = 0x40;
const FIN: u8 = 0x80;

/// RFC 7692 section 7.2.3.1.
const HELLO: [u8; 7] = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
/// Another "Hello", which refers to the one before (section 7.2.3.2).
const HELLO_AGAIN: [u8; 5] = [0xf2, 0x00, 0x11, 0x00, 0x00];
/// A block of a type that there is not.
const BROKEN: [u8; 2] = [0x06, 0x00];

/// The bytes of a masked frame with any first byte.
fn any_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = frame(true, 0, [1, 2, 3, 4], payload);
    bytes[0] = first;
    bytes
}

fn compressed(server: &TestServer) -> Client {
    let mut client = server.connect();
    let offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    let response = client.request(&handshake("/", offer));
    assert!(response.header("Sec-WebSocket-Extensions").is_some());
    client
}

fn deflated(message: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(2 * message.len() + 1000);
    let mut compress = Compress::new(Compression::fast(), false);
    compress.compress_vec(message, &mut bytes, FlushCompress::Sync).expect("it does not end");
    bytes.strip_suffix(&[0, 0, 0xff, 0xff]).expect("it is flushed").to_vec()
}

/// Bytes that do not compress.
fn noise(bytes: usize) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(7);
    std::iter::repeat_with(|| rng.u8(..)).take(bytes).collect()
}

/// Does what it is told by pongs.
struct Told {
    log: Log,
    /// How many reads end it.
    reads: usize,
}

impl Session for Told {
    fn start(&mut self, _socket: &mut Socket<'_, Self>) {}

    fn pong(&mut self, socket: &mut Socket<'_, Self>, payload: &[u8]) {
        match payload {
            b"messages" => socket.read_message(Self::message),
            b"frames" => {
                socket.set_read_timeout(None);
                socket.read_frame(Self::frame);
            }
            b"message in time" => {
                socket.set_read_timeout(Some(Duration::from_millis(50)));
                socket.read_message(Self::message);
            }
            b"send, then read" => {
                let much = noise(8_000_000);
                socket.send_binary(&much, |_, socket, _| socket.read_message(Self::message));
            }
            b"panic" => panic!("as it was told"),
            other => panic!("{other:?}"),
        }
    }
}

impl Told {
    fn message(&mut self, socket: &mut Socket<'_, Self>, received: Received<'_>) {
        if self.goes_on(received) {
            socket.read_message(Self::message);
        }
    }

    fn frame(&mut self, socket: &mut Socket<'_, Self>, received: Received<'_>) {
        if self.goes_on(received) {
            socket.read_frame(Self::frame);
        }
    }

    fn goes_on(&mut self, received: Received<'_>) -> bool {
        let waits = matches!(received, Received::TimedOut);
        match received {
            Received::Binary(bytes) => self.log.note(format!("{} bytes", bytes.len())),
            Received::Frame(frame) => {
                self.log.note(format!("{:?} {}", frame.opcode, frame.payload.len()));
            }
            other => self.log.say(other),
        }
        self.reads = self.reads.saturating_sub(1);
        !waits && self.reads > 0
    }
}

fn told(log: &Log, reads: usize) -> Routes {
    let log = log.clone();
    Routes::new().websocket("/", move |_, protocols| {
        Ok(protocols.none().session(Told { log: log.clone(), reads }))
    })
}

fn kept() -> wireloop::Config {
    config(|config| {
        let compression = config.compression.as_mut().expect("it is the default");
        compression.server_context_takeover = true;
        compression.client_context_takeover = true;
    })
}

#[test]
fn what_waits_behind_a_broken_message_is_not_read() {
    let (log, events) = Events::new();
    for config in [wireloop::Config::default(), kept()] {
        serve_with(
            config,
            || told(&log, 5),
            |server| {
                let mut client = compressed(server);
                let parts = [
                    any_frame(FIN | RSV1 | TEXT, &HELLO),
                    any_frame(FIN | RSV1 | TEXT, &BROKEN),
                    any_frame(FIN | RSV1 | TEXT, &HELLO),
                    any_frame(FIN | TEXT, b"plain"),
                    any_frame(FIN | PONG, b"messages"),
                ];
                client.send_raw(&parts.concat());
                client.expect_closing(1007);
                events.expect("Text(\"Hello\")");
                events.expect("Failed(Protocol(InvalidDeflate))");
                events.expect("Failed(Misuse(Ended))");
            },
        );
        events.expect_none();
    }
}

#[test]
fn a_broken_message_before_the_peers_close_is_no_end_in_order() {
    let (log, events) = Events::new();
    serve(
        || told(&log, 5),
        |server| {
            for (opcode, payload) in [(BINARY, BROKEN.to_vec()), (TEXT, deflated(b"\xff"))] {
                let mut client = compressed(server);
                let parts = [
                    any_frame(FIN | PONG, b"send, then read"),
                    any_frame(FIN | RSV1 | TEXT, &HELLO),
                    any_frame(FIN | RSV1 | opcode, &payload),
                    any_frame(FIN | RSV1 | TEXT, &HELLO),
                    any_frame(0x88, &[0x03, 0xe8]),
                ];
                client.send_raw(&parts.concat());
                // The large message, and the Close that had been sent before the fault was seen;
                // if the machine is slow, the connection's turn has ended before that.
                client.read_any_frame();
                client.expect_close_of(&[1000, 1007]);
                client.expect_eof();
                events.expect("Text(\"Hello\")");
                let error = if opcode == TEXT { "InvalidUtf8" } else { "InvalidDeflate" };
                events.expect(&format!("Failed(Protocol({error}))"));
                events.expect("Failed(Misuse(Ended))");
            }
        },
    );
    events.expect_none();
}

#[test]
fn messages_wait_compressed_and_their_context_with_them() {
    let (log, events) = Events::new();
    serve_with(
        kept(),
        || told(&log, 5),
        |server| {
            let mut client = compressed(server);
            let parts = [
                any_frame(FIN | RSV1 | TEXT, &HELLO),
                any_frame(FIN | TEXT, b"between"),
                any_frame(RSV1 | TEXT, &HELLO_AGAIN[..2]),
                any_frame(FIN | CONTINUATION, &HELLO_AGAIN[2..]),
                any_frame(FIN | PONG, b"messages"),
                any_frame(FIN | RSV1 | TEXT, &HELLO_AGAIN),
            ];
            client.send_raw(&parts.concat());
            for message in ["Hello", "between", "Hello", "Hello"] {
                events.expect(&format!("Text({message:?})"));
            }
            client.close();
            events.expect("Closed { code: 1000, reason: \"\" }");
        },
    );
}

/// A read of a whole message times out when part of it has been inflated; the session goes on by
/// frames. What it has read then must not count as what waits.
#[test]
fn a_long_message_can_be_read_on_by_frames_after_a_timeout() {
    const PART: usize = 60_000;
    let (log, events) = Events::new();
    let mut config = kept();
    config.frames.message_bytes = 2 * PART;
    serve_with(
        config,
        || told(&log, 6),
        |server| {
            // With the end of its empty block, because other blocks follow.
            let payload = [&deflated(&noise(PART))[..], &[0x00, 0x00, 0xff, 0xff]].concat();
            let half = payload.len() / 2;
            let mut client = compressed(server);
            client.send_any_frame(FIN | PONG, b"message in time");
            client.send_any_frame(RSV1 | BINARY, &payload[..half]);
            client.send_any_frame(CONTINUATION, &payload[half..]);
            events.expect("TimedOut");
            client.send_any_frame(FIN | PONG, b"frames");
            events.expect(&format!("Binary {PART}"));
            // As much again as may wait, and once more.
            for _ in 0..2 {
                let stored = [&[0x00, 0x60, 0xea, 0x9f, 0x15][..], &noise(PART)].concat();
                client.send_any_frame(CONTINUATION, &stored);
                events.expect(&format!("Continuation {PART}"));
            }
            client.send_any_frame(FIN | CONTINUATION, &[0]);
            events.expect("Continuation 0");
            client.close();
            events.expect("Closed { code: 1000, reason: \"\" }");
        },
    );
}

#[test]
fn a_panic_in_the_middle_of_a_compressed_message_harms_nobody_else() {
    let (log, events) = Events::new();
    serve_with(
        kept(),
        || told(&log, 5),
        |server| {
            let payload = deflated(&noise(60_000));
            let mut other = compressed(server);
            other.send_any_frame(FIN | PONG, b"messages");
            other.send_any_frame(RSV1 | BINARY, &payload[..30_000]);
            other.ping_and_wait(b"");
            let mut client = compressed(server);
            client.send_any_frame(FIN | PONG, b"messages");
            client.send_any_frame(RSV1 | BINARY, &payload[..30_000]);
            client.send_any_frame(FIN | PONG, b"panic");
            client.expect_closing(1011);
            other.send_any_frame(FIN | CONTINUATION, &payload[30_000..]);
            events.expect("60000 bytes");
            other.close();
            events.expect("Closed { code: 1000, reason: \"\" }");
        },
    );
}
