//! `wireloop::ws` and tungstenite read the same bytes: frames valid and broken, at both ends, cut
//! anywhere. They must tell the same story, but for the differences that [`Difference`] lists.
//!
//! `WIRELOOP_DIFF_SEED=n` replays one sequence; `WIRELOOP_DIFF_SEEDS=n` makes another number.

mod support;

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
};

use fastrand::Rng;
use support::{BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT};
use tungstenite::{
    Message, WebSocket,
    error::{CapacityError, Error, ProtocolError as TheirError},
    protocol::{self, WebSocketConfig, frame::coding::CloseCode},
};
use wireloop::ws::{
    CloseFrame, Event, Input, Kind, Limits, ProtocolError, ReadMode, Receiver, Role, Rules, Sender,
    Workspace,
};

/// How many sequences a test reads.
const SEEDS: u64 = 4000;

const FRAME_BYTES: usize = 2000;
const MESSAGE_BYTES: usize = 5000;

/// What both tell about a connection, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

/// How it went on after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Closed,
    /// The input is over, but not the connection.
    Cut,
    /// 1002, 1007 or 1009.
    Failed(u16),
}

/// Where the two may differ: [`explain`] finds out which it is, and docs/CONFORMANCE.md says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Difference {
    /// A length that is not minimal: ours refuses it (section 5.2), theirs reads on.
    NonMinimalLength,
    /// The top bit of a 64-bit length: ours says 1002, theirs finds the frame too large.
    LengthOverflow,
    /// Ours fails with the first byte that shows the violation, theirs at the frame's end.
    Sooner,
    /// A frame with a bad header that is too large as well: ours says the first, theirs the second.
    TwoFaultsInAHeader,
    /// A Close frame with a bad code and a bad reason: ours says the first, theirs the second.
    TwoFaultsInAClose,
    /// 1014 was registered after the RFC: ours takes it, theirs does not.
    BadGateway,
}

#[test]
fn a_server_reads_what_tungstenite_reads() {
    for_each_seed(Role::Server);
}

#[test]
fn a_client_reads_what_tungstenite_reads() {
    for_each_seed(Role::Client);
}

fn for_each_seed(role: Role) {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (seeds, is_all) = match number("WIRELOOP_DIFF_SEED") {
        Some(seed) => (seed..seed + 1, false),
        None => (0..number("WIRELOOP_DIFF_SEEDS").unwrap_or(SEEDS), true),
    };
    let (mut ends, mut differences) = (BTreeMap::new(), BTreeMap::new());
    for seed in seeds {
        match catch_unwind(AssertUnwindSafe(|| compare(role, seed))) {
            Ok((end, difference)) => {
                *ends.entry(end).or_insert(0) += 1;
                *differences.entry(difference).or_insert(0) += 1;
            }
            Err(panic) => {
                eprintln!("failed with WIRELOOP_DIFF_SEED={seed}");
                resume_unwind(panic);
            }
        }
    }
    // A comparison of nothing would succeed as well.
    let seen = format!("{ends:?}, {differences:?}");
    assert!(!is_all || ends.len() == 5, "{seen}");
    assert!(!is_all || differences.len() == 7, "{seen}");
    assert!(!is_all || differences[&None] > differences.values().sum::<i32>() / 2, "{seen}");
}

/// One sequence, read by both.
fn compare(role: Role, seed: u64) -> (End, Option<Difference>) {
    let mut rng = Rng::with_seed(seed);
    let wire = sequence(&mut rng, role);
    let chunk = *rng.choice([1, 2, 7, 100, 100_000].iter()).expect("there are some");
    let (ours, end, error) = read_ours(&wire, role, chunk, &mut rng);
    let (theirs, their_end) = read_theirs(&wire, role, chunk, &mut rng);
    if ours == theirs && end == their_end {
        return (end, None);
    }
    let difference = explain(&ours, error, &theirs, their_end, || {
        // What theirs says when the frame is all there.
        let padded = [&wire[..], &[0; FRAME_BYTES + 14]].concat();
        read_theirs(&padded, role, 100_000, &mut Rng::with_seed(seed)).1
    });
    let difference = difference.unwrap_or_else(|| {
        panic!("{ours:?}\n{end:?} {error:?}, but theirs\n{theirs:?}\n{their_end:?}")
    });
    (end, Some(difference))
}

fn explain(
    ours: &[Told],
    error: Option<ProtocolError>,
    theirs: &[Told],
    their_end: End,
    their_end_if_whole: impl Fn() -> End,
) -> Option<Difference> {
    use ProtocolError as P;
    if let Some((Told::Close(Some((1014, _))), before)) = ours.split_last() {
        let is_refused = before == theirs && their_end == End::Failed(1002);
        return is_refused.then_some(Difference::BadGateway);
    }
    let error = error?;
    // A control frame of 126 bytes is too long, but 126 also announces a length that may be less.
    let is_less = error == P::ControlFrameTooLong && theirs.len() > ours.len();
    if error == P::NonMinimalLength || is_less {
        return theirs.starts_with(ours).then_some(Difference::NonMinimalLength);
    }
    if ours != theirs {
        return None;
    }
    let is_header = matches!(
        error,
        P::ReservedBits
            | P::UnmaskedFrame
            | P::MaskedFrame
            | P::ReservedOpCode(_)
            | P::ControlFrameTooLong
            | P::FragmentedControlFrame
    );
    match (error, their_end) {
        (P::LengthOverflow, End::Failed(1009)) => Some(Difference::LengthOverflow),
        (P::InvalidCloseCode(_), End::Failed(1007)) => Some(Difference::TwoFaultsInAClose),
        (_, End::Failed(1009)) if is_header => Some(Difference::TwoFaultsInAHeader),
        (_, End::Cut) => {
            let whole = their_end_if_whole();
            let is_same = whole == End::Failed(error.close_code().0);
            let is_larger = whole == End::Failed(1009) && (is_header || error == P::LengthOverflow);
            (is_same || is_larger).then_some(Difference::Sooner)
        }
        _ => None,
    }
}

fn read_ours(
    wire: &[u8],
    role: Role,
    chunk: usize,
    rng: &mut Rng,
) -> (Vec<Told>, End, Option<ProtocolError>) {
    let limits =
        Limits { frame_bytes: FRAME_BYTES, message_bytes: MESSAGE_BYTES, fragments: u32::MAX };
    let rules = Rules::new(role, limits);
    let mut workspace = Workspace::new();
    let mut receiver = Receiver::default();
    let mut told = Vec::new();
    let mut rest = wire.to_vec();
    while !rest.is_empty() {
        let after = rest.split_off(rng.usize(1..=chunk).min(rest.len()));
        let mut input = Input::new(&mut rest);
        loop {
            match receiver.next_event(&mut input, Some(ReadMode::Message), &rules, &mut workspace) {
                Ok(Some(event)) => told.push(told_by(event)),
                Ok(None) => break,
                Err(error) => return (told, End::Failed(error.close_code().0), Some(error)),
            }
            if let Some(Told::Close(_)) = told.last() {
                return (told, End::Closed, None);
            }
        }
        rest = after;
    }
    (told, End::Cut, None)
}

fn told_by(event: Event<'_>) -> Told {
    match event {
        Event::Text(text) => Told::Text(text.into()),
        Event::Binary(bytes) => Told::Binary(bytes.into()),
        Event::Ping(payload) => Told::Ping(payload.into()),
        Event::Pong(payload) => Told::Pong(payload.into()),
        Event::Close(frame) => Told::Close(frame.map(|f| (f.code.0, f.reason.into()))),
        Event::Frame { .. } => panic!("messages are read"),
    }
}

/// Input in pieces, and output that nobody looks at.
struct Stream<'w> {
    rest: &'w [u8],
    chunk: usize,
    rng: Rng,
}

impl Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.rng.usize(1..=self.chunk).min(buffer.len());
        self.rest.read(&mut buffer[..length])
    }
}

impl Write for Stream<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn socket(wire: &[u8], role: Role, chunk: usize, rng: Rng) -> WebSocket<Stream<'_>> {
    let config = WebSocketConfig::default()
        .read_buffer_size(4096)
        .max_frame_size(Some(FRAME_BYTES))
        .max_message_size(Some(MESSAGE_BYTES));
    let role = match role {
        Role::Server => protocol::Role::Server,
        Role::Client => protocol::Role::Client,
    };
    WebSocket::from_raw_socket(Stream { rest: wire, chunk, rng }, role, Some(config))
}

fn read_theirs(wire: &[u8], role: Role, chunk: usize, rng: &mut Rng) -> (Vec<Told>, End) {
    let mut socket = socket(wire, role, chunk, rng.fork());
    let mut told = Vec::new();
    loop {
        told.push(match socket.read() {
            Ok(Message::Text(text)) => Told::Text(text.as_str().into()),
            Ok(Message::Binary(bytes)) => Told::Binary(bytes.to_vec()),
            Ok(Message::Ping(payload)) => Told::Ping(payload.to_vec()),
            Ok(Message::Pong(payload)) => Told::Pong(payload.to_vec()),
            // This is how it tells that the code must not be sent.
            Ok(Message::Close(Some(frame)))
                if frame.code == CloseCode::Protocol && frame.reason == "Protocol violation" =>
            {
                return (told, End::Failed(1002));
            }
            Ok(Message::Close(frame)) => {
                let frame = frame.map(|frame| (frame.code.into(), frame.reason.as_str().into()));
                told.push(Told::Close(frame));
                return (told, End::Closed);
            }
            Ok(Message::Frame(_)) => panic!("it is never read"),
            Err(Error::Protocol(TheirError::ResetWithoutClosingHandshake)) => {
                return (told, End::Cut);
            }
            Err(Error::Protocol(_)) => return (told, End::Failed(1002)),
            Err(Error::Utf8(_)) => return (told, End::Failed(1007)),
            Err(Error::Capacity(CapacityError::MessageTooLong { .. })) => {
                return (told, End::Failed(1009));
            }
            Err(error) => panic!("unexpected: {error}"),
        });
    }
}

/// The frames of a peer who nearly always keeps to the rules.
struct Peer<'r> {
    rng: &'r mut Rng,
    role: Role,
    wire: Vec<u8>,
    /// Whether the message that was begun is text.
    fragmented: Option<bool>,
    /// The start of a character that the next fragment has to go on with.
    carried: &'static [u8],
}

fn sequence(rng: &mut Rng, role: Role) -> Vec<u8> {
    let count = rng.usize(1..12);
    let faults = *rng.choice([0, 0, 15, 40].iter()).expect("there are some");
    let mut peer = Peer { rng, role, wire: Vec::new(), fragmented: None, carried: b"" };
    for _ in 0..count {
        if peer.rng.u32(0..100) < faults {
            peer.fault();
        } else {
            peer.valid();
        }
    }
    if peer.rng.u32(0..10) == 0 {
        let end = peer.rng.usize(0..=peer.wire.len());
        peer.wire.truncate(end);
    }
    peer.wire
}

impl Peer<'_> {
    fn valid(&mut self) {
        match self.rng.u32(0..20) {
            0..=2 => {
                let payload = self.bytes(125);
                let opcode = if self.rng.bool() { PING } else { PONG };
                self.frame(0x80 | opcode, &payload);
            }
            3 => {
                let codes =
                    [1000, 1001, 1002, 1003, 1007, 1011, 1012, 1013, 3000, 3999, 4000, 4999];
                let code = *self.rng.choice(codes.iter()).expect("there are some");
                self.close(code, "réson".as_bytes());
            }
            4 if self.rng.bool() => self.frame(0x80 | CLOSE, b""),
            _ => self.data(),
        }
    }

    fn data(&mut self) {
        let is_final = self.rng.u32(0..3) > 0;
        let is_text = self.fragmented.unwrap_or_else(|| self.rng.bool());
        let opcode = match (self.fragmented, is_text) {
            (Some(_), _) => CONTINUATION,
            (None, true) => TEXT,
            (None, false) => BINARY,
        };
        let mut payload = std::mem::take(&mut self.carried).to_vec();
        if is_text {
            let length = self.rng.usize(0..200);
            payload.extend("añ€😀".chars().cycle().take(length).collect::<String>().bytes());
            if !is_final && self.rng.bool() {
                let (start, rest) = "😀".as_bytes().split_at(self.rng.usize(1..4));
                payload.extend(start);
                self.carried = rest;
            }
        } else {
            payload.extend(self.bytes(600));
        }
        self.fragmented = (!is_final).then_some(is_text);
        self.frame(if is_final { 0x80 } else { 0 } | opcode, &payload);
    }

    fn fault(&mut self) {
        let pick = self.rng.usize(0..1000);
        match pick % 17 {
            0 => self.frame(0x80 | TEXT | 0x10 << (pick % 3), b"reserved bits"),
            1 => self.frame(0x80 | [3, 4, 5, 6, 7, 11, 12, 13, 14, 15][pick % 10], b"opcode"),
            2 => self.raw(&[0x81, if self.role == Role::Server { 1 } else { 0x81 }, 1, 2, 3, 4, 5]),
            3 => self.frame(0x80 | PING, &[1; 126]),
            4 => self.frame(PING, b"fragmented"),
            5 => self.frame(0x80, b"a continuation"),
            6 => self.frame(0x81, b"a new message"),
            7 => self.frame(0x81, [&b"\xff"[..], b"a\xf4\x90", b"\xed\xa0\x80", b"\xe2"][pick % 4]),
            8 => self.close([0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000][pick % 9], b""),
            9 => self.close(1014, b"registered later"),
            10 => self.close(1000, b"\xff"),
            11 => self.close(1005, b"\xff"),
            12 => self.frame(0x88, b"\x03"),
            13 => self.frame(0x82, &vec![7; FRAME_BYTES + pick % 2]),
            14 => (0..3).for_each(|_| self.frame(0, &[7; FRAME_BYTES - 100])),
            15 => self.length(pick),
            _ => {
                let place = self.rng.usize(0..=self.wire.len());
                match self.wire.get_mut(place) {
                    Some(byte) => *byte ^= 1 << (pick % 8),
                    None => {
                        let bytes = self.bytes(30);
                        self.raw(&bytes);
                    }
                }
            }
        }
    }

    /// Lengths in forms that no length needs, and lengths that nothing has.
    fn length(&mut self, pick: usize) {
        let masked = if self.role == Role::Server { 0x80 } else { 0 };
        let wide = |length: u64| [&[0x82, masked | 127][..], &length.to_be_bytes()].concat();
        let mut bytes = match pick % 5 {
            0 => vec![0x82, masked | 126, 0, 5],
            1 => wide(5),
            2 => wide(1 << 63),
            3 => wide(u64::MAX),
            _ => [wide(70_000), vec![0xff; 4]].concat(),
        };
        bytes[0] |= if pick.is_multiple_of(11) { 0x40 } else { 0 };
        bytes.extend([0; 4].iter().take(if masked > 0 { 4 } else { 0 }));
        bytes.extend(b"12345");
        self.raw(&bytes);
    }

    fn close(&mut self, code: u16, reason: &[u8]) {
        self.frame(0x80 | CLOSE, &[&code.to_be_bytes(), reason].concat());
    }

    /// A frame as this peer has to send it.
    fn frame(&mut self, first: u8, payload: &[u8]) {
        let key = self.rng.u32(..).to_be_bytes();
        let mut bytes = support::frame(true, 0, key, payload);
        bytes[0] = first;
        if self.role == Role::Client {
            let header = bytes.len() - payload.len();
            bytes[1] &= 0x7f;
            bytes.drain(header - 4..header);
            let start = header - 4;
            bytes[start..].copy_from_slice(payload);
        }
        self.raw(&bytes);
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.wire.extend_from_slice(bytes);
    }

    fn bytes(&mut self, longest: usize) -> Vec<u8> {
        let length = self.rng.usize(0..=longest);
        (0..length).map(|_| self.rng.u8(..)).collect()
    }
}

/// What our sender writes, they read.
#[test]
fn tungstenite_reads_what_is_sent() {
    for seed in 0..300 {
        let mut rng = Rng::with_seed(seed);
        for (reader, is_masked) in [(Role::Server, true), (Role::Client, false)] {
            let (wire, expected) = sent(&mut rng, is_masked);
            let (told, end) = read_theirs(&wire, reader, 1000, &mut rng);
            assert!(told == expected && end == End::Closed, "seed {seed}: {told:?}");
        }
    }
}

/// Messages whole and in fragments with pings between them, and a Close.
fn sent(rng: &mut Rng, is_masked: bool) -> (Vec<u8>, Vec<Told>) {
    let mut sender = Sender::default();
    let (mut wire, mut told) = (Vec::new(), Vec::new());
    for _ in 0..rng.usize(0..8) {
        let length = *rng.choice([0, 1, 125, 126, 127, 1500].iter()).expect("there are some");
        let text = "é".repeat(length / 2) + &"x".repeat(length % 2);
        let kind = if rng.bool() { Kind::Text } else { Kind::Binary };
        let mut key = || is_masked.then(|| rng.u32(..).to_be_bytes());
        if length == 1500 {
            let (start, end) = text.as_bytes().split_at(701);
            sender.fragment(&mut wire, kind, false, start, key()).expect("it is open");
            sender.ping(&mut wire, &start[..125], key()).expect("it is short");
            told.push(Told::Ping(start[..125].into()));
            sender.fragment(&mut wire, kind, true, end, key()).expect("it is open");
        } else {
            sender.message(&mut wire, kind, text.as_bytes(), key()).expect("it is open");
        }
        told.push(match kind {
            Kind::Text => Told::Text(text),
            Kind::Binary => Told::Binary(text.into()),
        });
    }
    let close = CloseFrame { code: wireloop::ws::CloseCode(3001), reason: "gone" };
    let key = is_masked.then_some([1, 2, 3, 4]);
    sender.close(&mut wire, Some(close), key).expect("it is open");
    told.push(Told::Close(Some((3001, "gone".into()))));
    (wire, told)
}
