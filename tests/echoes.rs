//! Long messages that are sent back from where they were received: whatever else a session sends,
//! and however slowly its peer reads, each stands in its place and is whole.

mod support;

use std::{io::Write, thread};

use support::{BINARY, TEXT, frame, serve};
use wireloop::{Echo, Received, Routes, Session, Socket};

/// Shorter and longer than what is sent back in place, and than one receive.
const LENGTHS: [usize; 8] = [1, 2047, 2048, 4096, 16 << 10, 65_000, 66_000, 300_000];

/// What a session does with a message.
type Answer = fn(&mut Socket<'_, Answering>, &[u8]);

/// Sends something for each message, and reads the next one.
struct Answering(Answer);

impl Session for Answering {
    fn start(&mut self, socket: &mut Socket<'_, Self>) {
        socket.read_message(Self::received);
    }
}

impl Answering {
    fn received(&mut self, socket: &mut Socket<'_, Self>, received: Received<'_>) {
        if let Received::Binary(bytes) = received {
            (self.0)(socket, bytes);
            socket.read_message(Self::received);
        }
    }
}

fn send(socket: &mut Socket<'_, Answering>, bytes: &[u8]) {
    socket.send_binary(bytes, |_, _, sent| assert!(sent.is_ok()));
}

/// What its peer gets for it.
type Expected = fn(&[u8]) -> Vec<&[u8]>;

const ANSWERS: [(Answer, Expected); 6] = [
    (send, |m| vec![m]),
    (
        |socket, m| {
            send(socket, m);
            send(socket, b"behind");
        },
        |m| vec![m, b"behind"],
    ),
    (
        |socket, m| {
            send(socket, b"before");
            send(socket, m);
        },
        |m| vec![b"before", m],
    ),
    (
        |socket, m| {
            send(socket, m);
            send(socket, m);
        },
        |m| vec![m, m],
    ),
    (|socket, m| send(socket, &m[..m.len() / 2]), |m| vec![&m[..m.len() / 2]]),
    (
        |socket, m| {
            send(socket, &m[m.len() / 2..]);
            send(socket, &m[m.len() / 3..]);
        },
        |m| vec![&m[m.len() / 2..], &m[m.len() / 3..]],
    ),
];

/// Bytes that differ from one message to the next and from one place to another.
fn message(number: usize, length: usize) -> Vec<u8> {
    (0..length).map(|place| (place * 7 + place / 251 + number * 13) as u8).collect()
}

fn routes() -> Routes {
    let routes = Routes::new().websocket("/", |_, protocols| Ok(protocols.none().session(Echo)));
    ANSWERS.iter().enumerate().fold(routes, |routes, (number, (answer, _))| {
        routes.websocket(&format!("/{number}"), move |_, protocols| {
            Ok(protocols.none().session(Answering(*answer)))
        })
    })
}

#[test]
fn an_echo_keeps_its_place_among_what_else_is_sent() {
    serve(routes, |server| {
        for (number, (_, expected)) in ANSWERS.iter().enumerate() {
            let mut client = server.upgrade(&format!("/{number}"));
            for length in LENGTHS {
                let message = message(number, length);
                client.send_frame(true, BINARY, &message);
                for answer in expected(&message) {
                    client.expect_frame(true, BINARY, answer);
                }
            }
            client.close();
        }
    });
}

#[test]
fn several_long_messages_of_one_write_come_back_in_order() {
    serve(routes, |server| {
        let mut client = server.upgrade("/");
        let messages: Vec<Vec<u8>> = (0..12).map(|number| message(number, 5000)).collect();
        for opcode in [TEXT, BINARY] {
            let messages = messages.iter().map(|message| match opcode {
                TEXT => message.iter().map(|byte| byte % 127).collect(),
                _ => message.clone(),
            });
            let messages: Vec<Vec<u8>> = messages.collect();
            let frames = messages.iter().flat_map(|m| frame(true, opcode, [1, 2, 3, 4], m));
            client.send_raw(&frames.collect::<Vec<u8>>());
            for message in &messages {
                client.expect_frame(true, opcode, message);
            }
        }
        client.close();
    });
}

#[test]
fn what_a_peer_reads_late_comes_whole_and_in_order() {
    const MESSAGES: usize = 1500;
    serve(routes, |server| {
        let mut client = server.upgrade("/");
        let mut socket = client.socket();
        let writer = thread::spawn(move || {
            for number in 0..MESSAGES {
                let length = LENGTHS[number % LENGTHS.len()].min(20_000);
                let key = (number as u32).to_be_bytes();
                let bytes = frame(true, BINARY, key, &message(number, length));
                socket.write_all(&bytes).expect("the server goes on reading");
            }
        });
        for number in 0..MESSAGES {
            let length = LENGTHS[number % LENGTHS.len()].min(20_000);
            client.expect_frame(true, BINARY, &message(number, length));
        }
        writer.join().expect("everything is written");
        client.close();
    });
}

/// Long messages are received to where they are put together; whatever comes between them is not.
#[test]
fn messages_of_all_lengths_come_back_whole_and_in_order() {
    const MESSAGES: usize = 60;
    serve(routes, |server| {
        for seed in 0..4 {
            let mut client = server.upgrade("/");
            let mut rng = fastrand::Rng::with_seed(seed);
            let messages: Vec<Vec<u8>> = (0..MESSAGES)
                .map(|number| {
                    let most = [200, 20_000, 200_000, 1 << 20][rng.usize(..4)];
                    message(number, rng.usize(..most))
                })
                .collect();
            let mut socket = client.socket();
            let written = messages.clone();
            let writer = thread::spawn(move || {
                for message in &written {
                    let bytes = frame(true, BINARY, rng.u32(..).to_be_bytes(), message);
                    for part in bytes.chunks(rng.usize(1000..300_000)) {
                        socket.write_all(part).expect("the server goes on reading");
                    }
                }
            });
            for message in &messages {
                client.expect_frame(true, BINARY, message);
            }
            writer.join().expect("everything is written");
            client.close();
        }
    });
}

/// A message that was put together is sent from where it lies, which a panic drops.
#[test]
fn a_panic_behind_a_long_echo_ends_its_connection_and_sends_no_wrong_byte() {
    let routes = || {
        Routes::new().websocket("/", |_, protocols| {
            let answer: Answer = |socket, message| {
                send(socket, message);
                panic!("as it was told to");
            };
            Ok(protocols.none().session(Answering(answer)))
        })
    };
    serve(routes, |server| {
        for length in [66_000, 300_000] {
            let mut client = server.upgrade("/");
            client.send_raw(&frame(true, BINARY, [1, 2, 3, 4], &vec![7; length]));
            loop {
                let (first, payload) = client.read_any_frame();
                if first == 0x88 {
                    assert_eq!(payload[..2], 1011_u16.to_be_bytes());
                    break;
                }
                assert_eq!((first, payload), (0x80 | BINARY, vec![7; length]));
            }
        }
    });
}
