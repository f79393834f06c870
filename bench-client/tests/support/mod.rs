//! What the tests of the load generator share: how it is run, and servers made by hand.

#![allow(dead_code, reason = "each test is a crate of its own and uses a part of this")]

use std::{
    io::{BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Command, Output},
    thread,
    time::Duration,
};

use serde_json::Value;
use wireloop::http::HeaderSlots;

/// Runs for half a second, unless told otherwise.
pub(crate) fn bench(arguments: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wireloop-bench"))
        .arg("--quiet")
        .args(if arguments.contains("--warm-up ") { &[][..] } else { &["--warm-up", "100ms"] })
        .args(if arguments.contains("-d ") || arguments.contains("--stage ") {
            &[][..]
        } else {
            &["-d", "500ms"]
        })
        .args(arguments.split_whitespace())
        .output()
        .unwrap()
}

/// The exit code, then the report and what is on stderr.
pub(crate) fn said(output: Output) -> (Option<i32>, String) {
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code(), text)
}

/// Runs, expects that nothing went wrong with connections and echoes, and returns the report and
/// what is on stderr.
#[track_caller]
pub(crate) fn success(arguments: &str) -> String {
    let (_, text) = said(bench(arguments));
    assert!(text.contains("no errors"), "{text}");
    text
}

/// Runs, expects failure, and returns the report and what is on stderr.
pub(crate) fn failure(arguments: &str) -> String {
    let (code, text) = said(bench(arguments));
    assert_eq!(code, Some(1));
    text
}

/// Runs what cannot be done, expects that nothing but a line on stderr says so, and returns it.
#[track_caller]
pub(crate) fn refusal(arguments: &str) -> String {
    let output = bench(arguments);
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), line.lines().count()), (Some(1), 1), "{line}");
    assert!(output.stdout.is_empty(), "{line}");
    line
}

/// Runs, and returns the results as JSON.
#[track_caller]
pub(crate) fn results(arguments: &str) -> Value {
    let output = bench(&format!("{arguments} --format json"));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

/// The numbers of what was wrong with the echoes, as the report has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    pub(crate) lost: u64,
    pub(crate) repeated: u64,
    pub(crate) reordered: u64,
    pub(crate) corrupt: u64,
    pub(crate) wrong_opcode: u64,
}

impl Faults {
    /// Reads them from a report, in which what was lost last may be called unanswered.
    pub(crate) fn of(report: &str) -> Self {
        let line = report.lines().find(|line| line.contains(" lost, ")).unwrap();
        let mut numbers = line.trim().split(", ").map(|part| number(part.split(' ').next()));
        let mut next = || numbers.next().unwrap();
        let unanswered = report.lines().find(|line| line.ends_with("x message without an answer"));
        Self {
            lost: next() + unanswered.map_or(0, |line| number(line.split_whitespace().next())),
            repeated: next(),
            reordered: next(),
            corrupt: next(),
            wrong_opcode: next(),
        }
    }
}

fn number(text: Option<&str>) -> u64 {
    text.unwrap().replace(',', "").parse().unwrap()
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

/// Serves connections at the same time, each in a thread.
pub(crate) fn serve_all(
    connections: usize,
    each: impl Fn(TcpStream) + Clone + Send + 'static,
) -> String {
    serve(connections, move |stream| {
        let each = each.clone();
        thread::spawn(move || each(stream));
    })
}

/// The bytes of a request head.
pub(crate) fn read_request(stream: &mut impl Read) -> Vec<u8> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        request.push(byte[0]);
    }
    request
}

/// Accepts the handshake, with more header lines, each ended by CRLF; the request's head.
pub(crate) fn accept(stream: &mut (impl Read + Write), lines: &str) -> Vec<u8> {
    let head = read_request(stream);
    let mut slots = HeaderSlots::new();
    let limits = wireloop::http::Limits::default();
    let (request, _) = wireloop::http::parse(&head, &limits, &mut slots).unwrap().unwrap();
    let key = request.header("sec-websocket-key").unwrap();
    let accept = tungstenite::handshake::derive_accept_key(key);
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{lines}\r\n"
    );
    stream.write_all(response.as_bytes()).unwrap();
    head
}

/// An echo of short frames, by hand, that changes payloads as it likes.
pub(crate) fn echo(stream: impl Read + Write, change: impl Fn(u32, &mut [u8])) {
    answer(stream, |number, mut frame, answers| {
        change(number, &mut frame.payload);
        answers.push(frame);
    });
}

/// A short frame, not masked.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    /// FIN and the opcode.
    pub(crate) first: u8,
    pub(crate) payload: Vec<u8>,
}

/// Answers each text or binary frame, numbered from 0, with the frames that are pushed; a Close
/// with itself, a ping with a pong.
pub(crate) fn answer(
    mut stream: impl Read + Write,
    respond: impl FnMut(u32, Frame, &mut Vec<Frame>),
) {
    accept(&mut stream, "");
    answer_frames(stream, respond);
}

/// The same behind a handshake.
pub(crate) fn answer_frames(
    stream: impl Read + Write,
    mut respond: impl FnMut(u32, Frame, &mut Vec<Frame>),
) {
    let mut input = BufReader::new(stream);
    let mut answers = Vec::new();
    let mut number = 0;
    while let Some(frame) = read_frame(&mut input) {
        let is_close = frame.first == 0x88;
        if is_close {
            answers.push(frame);
        } else if frame.first == 0x89 {
            answers.push(Frame { first: 0x8a, ..frame });
        } else {
            respond(number, frame, &mut answers);
            number += 1;
        }
        let mut bytes = Vec::new();
        for frame in answers.drain(..) {
            bytes.extend([frame.first, frame.payload.len() as u8]);
            bytes.extend(frame.payload);
        }
        if input.get_mut().write_all(&bytes).is_err() || is_close {
            return;
        }
    }
}

/// The next frame, unless the stream has ended.
fn read_frame(input: &mut impl Read) -> Option<Frame> {
    let mut header = [0; 6];
    input.read_exact(&mut header).ok()?;
    let mut payload = vec![0; usize::from(header[1] & 0x7f)];
    input.read_exact(&mut payload).ok()?;
    for (place, byte) in payload.iter_mut().enumerate() {
        *byte ^= header[2 + place % 4];
    }
    Some(Frame { first: header[0], payload })
}

/// A line of the table of times.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) p50: Time,
    pub(crate) p90: Time,
    pub(crate) p95: Time,
    pub(crate) p99: Time,
    pub(crate) max: Time,
}

/// A time of the table; none is one without an end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Time {
    pub(crate) time: Duration,
    pub(crate) is_exact: bool,
}

impl Row {
    /// Reads the line with this name.
    pub(crate) fn of(report: &str, name: &str) -> Self {
        let header = report.lines().find(|line| line.starts_with("  latency ")).unwrap();
        let line = report.lines().find(|line| line.starts_with(&format!("  {name} "))).unwrap();
        let cell = |column: &str| {
            // The columns end where their names do.
            let end = header.find(&format!(" {column} ")).unwrap() + 1 + column.len();
            Time::read(line[end - 9..end].trim())
        };
        Self {
            p50: cell("p50"),
            p90: cell("p90"),
            p95: cell("p95"),
            p99: cell("p99"),
            max: cell("max"),
        }
    }
}

impl Time {
    fn read(text: &str) -> Self {
        let is_exact = !text.starts_with('>');
        let Some((number, unit)) = text.trim_start_matches('>').split_once(' ') else {
            return Self { time: Duration::MAX, is_exact };
        };
        let seconds = match unit {
            "ns" => 1e-9,
            "us" => 1e-6,
            "ms" => 1e-3,
            _ => 1.0,
        };
        Self { time: Duration::from_secs_f64(number.parse::<f64>().unwrap() * seconds), is_exact }
    }
}
