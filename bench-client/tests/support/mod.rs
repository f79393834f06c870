//! What the tests of the load generator share: how it is run, and servers made by hand.

#![allow(dead_code, reason = "each test is a crate of its own and uses a part of this")]

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::{Command, Output},
    thread,
};

use wireloop::http::HeaderSlots;

/// Runs for half a second.
pub(crate) fn bench(arguments: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wireloop-bench"))
        .args(["--warm-up", "100ms", "-d", "500ms", "--quiet"])
        .args(arguments.split_whitespace())
        .output()
        .unwrap()
}

/// Runs, expects failure, and returns the report and what is on stderr.
pub(crate) fn failure(arguments: &str) -> String {
    let output = bench(arguments);
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

/// Serves connections one after the other, in a thread.
pub(crate) fn serve(connections: usize, serve: impl Fn(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().take(connections) {
            serve(stream.unwrap());
        }
    });
    url
}

/// The bytes of a request head.
pub(crate) fn read_request(stream: &mut TcpStream) -> Vec<u8> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        request.push(byte[0]);
    }
    request
}

/// Accepts the handshake, with more header lines, each ended by CRLF.
pub(crate) fn accept(stream: &mut TcpStream, lines: &str) {
    let request = read_request(stream);
    let mut slots = HeaderSlots::new();
    let limits = wireloop::http::Limits::default();
    let (request, _) = wireloop::http::parse(&request, &limits, &mut slots).unwrap().unwrap();
    let key = request.header("sec-websocket-key").unwrap();
    let accept = tungstenite::handshake::derive_accept_key(key);
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{lines}\r\n"
    );
    stream.write_all(response.as_bytes()).unwrap();
}

/// An echo of short frames, by hand, that changes payloads as it likes.
pub(crate) fn echo(mut stream: TcpStream, change: impl Fn(u32, &mut [u8])) {
    accept(&mut stream, "");
    for number in 0.. {
        let mut header = [0; 6];
        if stream.read_exact(&mut header).is_err() {
            return;
        }
        let mut payload = vec![0; usize::from(header[1] & 0x7f)];
        stream.read_exact(&mut payload).unwrap();
        for (place, byte) in payload.iter_mut().enumerate() {
            *byte ^= header[2 + place % 4];
        }
        if header[0] == 0x82 {
            change(number, &mut payload);
        }
        let mut answer = vec![header[0], header[1] & 0x7f];
        answer.extend(payload);
        if stream.write_all(&answer).is_err() || header[0] == 0x88 {
            return;
        }
    }
}
