//! A peer with a script: it upgrades, sends messages in all shapes, checks what comes back, and
//! ends in one of several ways. It speaks the wire format by hand, so that an error that the
//! server's two halves share cannot hide.

use std::{collections::VecDeque, fmt};

use fastrand::Rng;
use wireloop::io::sim::{Peer, Sim};

use crate::sessions::Ledger;

/// How a client ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// The closing handshake, when everything has come back.
    Close,
    /// The closing handshake at once: what the server has not sent by then may be missing.
    CloseEarly,
    /// The end of its direction without a Close, when everything has been sent.
    End,
    /// A reset, at any time.
    Reset,
    /// No end: it waits for the server's.
    Wait,
}

/// See the module's documentation.
pub(crate) struct Client {
    number: usize,
    peer: Peer,
    ending: Ending,
    /// Frames that have not been begun.
    to_write: VecDeque<Vec<u8>>,
    /// The rest of the frame that has been begun.
    begun: VecDeque<u8>,
    /// What must come back: opcode and payload of each message.
    expected: VecDeque<(u8, Vec<u8>)>,
    pongs_expected: VecDeque<Vec<u8>>,
    pushes_expected: VecDeque<Vec<u8>>,
    pushed: u32,
    read: Vec<u8>,
    bytes_read: usize,
    /// The message of which fragments have come back.
    message: Option<(u8, Vec<u8>)>,
    is_open: bool,
    has_ended: bool,
    close_received: Option<Vec<u8>>,
    /// Whether it will write nothing beyond what is in line.
    has_closed: bool,
}

impl Client {
    /// Connects with a script.
    pub(crate) fn connect(sim: &mut Sim, number: usize, rng: &mut Rng) -> Self {
        let endings = [Ending::Close, Ending::CloseEarly, Ending::End, Ending::Reset, Ending::Wait];
        let peer = sim.connect_peer();
        if rng.u8(..3) == 0 {
            sim.set_window(peer, rng.usize(200..2000));
        }
        let mut client = Self {
            number,
            peer,
            ending: endings[rng.usize(..endings.len())],
            to_write: VecDeque::new(),
            begun: VecDeque::new(),
            expected: VecDeque::new(),
            pongs_expected: VecDeque::new(),
            pushes_expected: VecDeque::new(),
            pushed: 0,
            read: Vec::new(),
            bytes_read: 0,
            message: None,
            is_open: false,
            has_ended: false,
            close_received: None,
            has_closed: false,
        };
        client.write_script(rng);
        client
    }

    /// Whether the script has been played to its end, as far as the client can.
    pub(crate) fn is_finished(&self) -> bool {
        self.has_ended || (self.ending == Ending::Wait && self.has_everything())
    }

    /// What changes when something happens.
    pub(crate) fn progress(&self) -> (usize, usize, usize, bool) {
        (self.to_write.len(), self.begun.len(), self.bytes_read, self.has_ended)
    }

    /// Writes a part of what is to be written, and reads and checks what has arrived.
    pub(crate) fn step(&mut self, sim: &mut Sim, ledger: &Ledger, rng: &mut Rng) {
        if self.has_ended {
            return;
        }
        if self.ending == Ending::Reset && rng.u8(..50) == 0 {
            sim.reset(self.peer);
        }
        if sim.is_reset(self.peer) {
            self.has_ended = true;
            return;
        }
        self.write_part(sim, rng);
        if self.is_open && self.close_received.is_none() && rng.u8(..20) == 0 && self.pushed < 5 {
            self.push(ledger);
        }
        if rng.bool() {
            self.take_read(sim);
        }
        self.end_if_due(sim);
    }

    /// Checks, after the server has stopped, that all came back that had to.
    pub(crate) fn check_end(&self, sim: &Sim) {
        let was_accepted = self.is_open || sim.is_closed(self.peer);
        assert!(!was_accepted || sim.is_closed(self.peer), "left open: {self:?}");
        if sim.is_reset(self.peer) {
            return;
        }
        if matches!(self.ending, Ending::Close | Ending::End | Ending::Wait) {
            assert!(self.has_everything(), "incomplete: {self:?}");
        }
    }

    fn has_everything(&self) -> bool {
        self.has_written() && self.expected.is_empty() && self.pongs_expected.is_empty()
    }

    fn has_written(&self) -> bool {
        self.to_write.is_empty() && self.begun.is_empty()
    }

    /// Writes some of what is in line, cut anywhere.
    fn write_part(&mut self, sim: &mut Sim, rng: &mut Rng) {
        let mut part = rng.usize(..5000);
        while part > 0 {
            if self.begun.is_empty() {
                let Some(frame) = self.to_write.pop_front() else { return };
                self.begun.extend(frame);
            }
            let bytes: Vec<u8> = self.begun.drain(..part.min(self.begun.len())).collect();
            sim.write(self.peer, &bytes);
            part -= bytes.len();
        }
    }

    fn write_script(&mut self, rng: &mut Rng) {
        let by_frame = rng.bool();
        let path = if by_frame { "frames" } else { "messages" };
        let request = format!(
            "GET /{path}/{} HTTP/1.1\r\nHost: sim\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
            self.number
        );
        self.to_write.push_back(request.into_bytes());
        for sequence in 0..rng.usize(..15) {
            self.write_message(sequence, rng);
        }
        if self.ending == Ending::CloseEarly {
            self.to_write.push_back(frame(true, 8, &[0x03, 0xe8], rng));
            self.has_closed = true;
        }
    }

    /// A message that names its sender and its place, in one frame or several.
    fn write_message(&mut self, sequence: usize, rng: &mut Rng) {
        let opcode = rng.u8(1..=2);
        let mut payload = format!("client {} message {sequence}: ", self.number).into_bytes();
        let length = match rng.u8(..60) {
            // Received to where it is put together.
            0 => rng.usize(..400_000),
            1..=10 => rng.usize(..80_000),
            _ => rng.usize(..300),
        };
        while payload.len() < length {
            match opcode {
                1 => payload.extend_from_slice("aß€😀".as_bytes()),
                _ => payload.push(rng.u8(..)),
            }
        }
        let fragments = rng.usize(1..5);
        let mut start = 0;
        for fragment in 1..=fragments {
            let is_final = fragment == fragments;
            let end = if is_final { payload.len() } else { rng.usize(start..=payload.len()) };
            let opcode = if fragment == 1 { opcode } else { 0 };
            self.to_write.push_back(frame(is_final, opcode, &payload[start..end], rng));
            start = end;
            if rng.u8(..4) == 0 {
                let ping: Vec<u8> = (0..rng.usize(..20)).map(|_| rng.u8(..)).collect();
                self.to_write.push_back(frame(true, 9, &ping, rng));
                self.pongs_expected.push_back(ping);
            }
        }
        self.expected.push_back((opcode, payload));
    }

    /// Has another message sent to this client, from outside its session.
    fn push(&mut self, ledger: &Ledger) {
        if let Some(handle) = ledger.handle(self.number) {
            let payload = format!("push {} {}", self.number, self.pushed).into_bytes();
            handle.send_binary(payload.clone()).unwrap();
            self.pushes_expected.push_back(payload);
            self.pushed += 1;
        }
    }

    fn take_read(&mut self, sim: &mut Sim) {
        let bytes = sim.read(self.peer);
        self.bytes_read += bytes.len();
        self.read.extend(bytes);
        if !self.is_open {
            let Some(end) = self.read.windows(4).position(|window| window == b"\r\n\r\n") else {
                return;
            };
            assert!(self.read.starts_with(b"HTTP/1.1 101 "));
            self.read.drain(..end + 4);
            self.is_open = true;
        }
        while let Some((first, payload)) = self.take_frame() {
            self.take(first, payload);
        }
    }

    /// The next whole frame: its first byte and its payload.
    fn take_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let (&first, &second) = (self.read.first()?, self.read.get(1)?);
        let (start, length) = match second {
            126 => (4, usize::from(u16::from_be_bytes(self.read.get(2..4)?.try_into().ok()?))),
            127 => (10, u64::from_be_bytes(self.read.get(2..10)?.try_into().ok()?) as usize),
            length => (2, usize::from(length)),
        };
        let payload = self.read.get(start..start + length)?.to_vec();
        self.read.drain(..start + length);
        Some((first, payload))
    }

    fn take(&mut self, first: u8, payload: Vec<u8>) {
        assert!(self.close_received.is_none(), "data after a Close: {self:?}");
        match first {
            0x88 => self.close_received = Some(payload),
            // The server's own ping. The answer goes before what has not been begun.
            0x89 => {
                if !self.has_closed || !self.to_write.is_empty() {
                    let mut rng = Rng::with_seed(1);
                    self.to_write.push_front(frame(true, 10, &payload, &mut rng));
                }
            }
            0x8a if payload == b"unasked" => {}
            0x8a => assert_eq!(Some(payload), self.pongs_expected.pop_front(), "a wrong pong"),
            _ => {
                let (opcode, mut message) = match (first & 0x0f, self.message.take()) {
                    (0, Some(begun)) => begun,
                    (opcode @ 1..=2, None) => (opcode, Vec::new()),
                    other => panic!("a fragment out of order: {other:?}"),
                };
                message.extend(payload);
                if first & 0x80 == 0 {
                    self.message = Some((opcode, message));
                } else if message.starts_with(b"push ") {
                    assert_eq!(Some(message), self.pushes_expected.pop_front(), "a wrong push");
                } else {
                    let expected = self.expected.pop_front();
                    assert!(Some((opcode, message)) == expected, "a wrong echo: {self:?}");
                }
            }
        }
    }

    /// Ends, when the script says so.
    fn end_if_due(&mut self, sim: &mut Sim) {
        if self.close_received.is_some() && !self.has_closed {
            self.to_write.clear();
            self.write_close();
        }
        if sim.has_ended(self.peer) {
            self.take_read(sim);
            sim.end(self.peer);
            self.has_ended = true;
            return;
        }
        match self.ending {
            Ending::Close if self.has_everything() && !self.has_closed => self.write_close(),
            Ending::End if self.has_written() && !self.has_closed => {
                sim.end(self.peer);
                self.has_closed = true;
            }
            _ => {}
        }
    }

    fn write_close(&mut self) {
        self.to_write.push_back(vec![0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8]);
        self.has_closed = true;
    }
}

impl fmt::Debug for Client {
    /// What matters for finding out why a run failed; not the payloads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = |payload: &[u8]| {
            String::from_utf8_lossy(&payload[..payload.len().min(22)]).into_owned()
        };
        f.debug_struct("Client")
            .field("number", &self.number)
            .field("ending", &self.ending)
            .field("to_write", &self.to_write.len())
            .field("begun", &self.begun.len())
            .field("expected", &self.expected.iter().map(|(_, p)| start(p)).collect::<Vec<_>>())
            .field("pongs_expected", &self.pongs_expected.len())
            .field("read", &self.read.len())
            .field("is_open", &self.is_open)
            .field("has_ended", &self.has_ended)
            .field("has_closed", &self.has_closed)
            .field("close_received", &self.close_received)
            .finish_non_exhaustive()
    }
}

/// A masked frame.
fn frame(is_final: bool, opcode: u8, payload: &[u8], rng: &mut Rng) -> Vec<u8> {
    let key = rng.u32(..).to_le_bytes();
    let mut frame = vec![u8::from(is_final) << 7 | opcode];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length @ 126..0x1_0000 => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(key);
    frame.extend(payload.iter().enumerate().map(|(i, byte)| byte ^ key[i % 4]));
    frame
}
