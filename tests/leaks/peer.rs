//! One connection of the load: what it sends, how it reads, how it ends, and whether every byte it
//! gets is its own.

use std::{
    collections::VecDeque,
    fmt,
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr},
    ops::ControlFlow,
    time::Duration,
};

use fastrand::Rng;
use mio::net::TcpStream;
use socket2::{Domain, SockRef, Socket, Type};

use super::{
    content::Content,
    support::{BINARY, CLOSE, frame, handshake},
};

/// What a peer that reads late reads in one turn.
const LATE_READ_BYTES: usize = 16 << 10;

/// How many messages it sends before that: more than the kernel keeps for both ends.
const LATE_WINDOW: u32 = 300;

/// How a connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// By the closing handshake.
    Closed,
    /// The peer has ended its direction, all or in the middle of something, and has read the rest.
    HalfClosed,
    /// With an RST.
    Reset,
}

/// What a turn has come to.
pub(crate) enum Turn {
    /// An event has to come.
    Waits,
    /// There is more to do at once.
    GoesOn,
    Ended(End),
}

/// Where in its streams a connection ends otherwise than in order.
#[derive(Clone, Copy, Debug)]
enum Cut {
    Never,
    Written(u64, End),
    Read(u64),
}

/// A connection.
pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    number: u32,
    /// How many messages it sends, and how many of them may be unanswered.
    messages: u32,
    window: u32,
    /// Reads only when it can write nothing more, and slowly.
    reads_late: bool,
    cut: Cut,
    /// Nothing more is sent: a Close frame was the last, or our direction has ended.
    closing: Option<End>,
    /// The response to the handshake, as far as it has come.
    head: Vec<u8>,
    is_upgraded: bool,
    out: Vec<u8>,
    written: u64,
    read: u64,
    /// How many messages were begun, and how many came back.
    asked: u32,
    pub(crate) answered: u32,
    /// Where in what is written those end that are not answered.
    ends: VecDeque<u64>,
    /// The message that is due next and its header, of which so much has arrived.
    due: Content,
    due_header: Vec<u8>,
    arrived: usize,
    pub(crate) is_readable: bool,
    pub(crate) is_writable: bool,
    /// How often the server did not take what it was sent.
    pub(crate) blocked: u32,
}

impl Peer {
    /// Connects.
    pub(crate) fn new(number: u32, rng: &mut Rng, server: SocketAddr) -> Self {
        let reads_late = rng.u32(0..100) < 6;
        let messages = match rng.u32(0..100) {
            0..40 => rng.u32(1..20),
            40..90 => rng.u32(20..300),
            _ => rng.u32(300..1500),
        };
        let messages = if reads_late { LATE_WINDOW } else { messages };
        let request = handshake("/", "");
        let opened = request.len() as u64;
        // Early rather than late: most connections do not send much.
        let most = 256 << rng.u32(0..9);
        let place = rng.u64(0..most);
        let cut = match rng.u32(0..100) {
            // Not even the request is complete.
            0..3 => Cut::Written(rng.u64(0..opened), End::Reset),
            3..30 => Cut::Written(opened + place, End::Reset),
            30..60 => Cut::Read(place),
            60..80 => Cut::Written(opened + place, End::HalfClosed),
            _ => Cut::Never,
        };
        let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None).expect("a socket");
        socket.set_tcp_nodelay(true).expect("the socket is open");
        if reads_late {
            socket.set_recv_buffer_size(32 << 10).expect("a small buffer is allowed");
            socket.set_send_buffer_size(32 << 10).expect("a small buffer is allowed");
        }
        // It is in progress, which the standard library has no name for.
        let _ = socket.connect(&server.into());
        Self {
            stream: TcpStream::from_std(socket.into()),
            number,
            messages,
            window: if reads_late { LATE_WINDOW } else { [1, 1, 4, 16, 64][rng.usize(0..5)] },
            reads_late,
            cut,
            closing: None,
            head: Vec::new(),
            is_upgraded: false,
            out: request.into_bytes(),
            written: 0,
            read: 0,
            asked: 0,
            answered: 0,
            ends: VecDeque::new(),
            due: Content::new(number, 0, reads_late),
            due_header: Content::new(number, 0, reads_late).header(),
            arrived: 0,
            is_readable: false,
            is_writable: false,
            blocked: 0,
        }
    }

    /// Sends no further messages.
    pub(crate) fn finish(&mut self) {
        self.messages = self.asked;
    }

    /// Writes and reads as much as it wants to.
    pub(crate) fn turn(&mut self, buffer: &mut [u8]) -> Turn {
        if let ControlFlow::Break(end) = self.write() {
            return Turn::Ended(end);
        }
        if let ControlFlow::Break(end) = self.read(buffer) {
            return Turn::Ended(end);
        }
        let wants_to_write = self.is_writable && self.has_output();
        if self.is_readable || wants_to_write { Turn::GoesOn } else { Turn::Waits }
    }

    fn has_output(&self) -> bool {
        !self.out.is_empty()
            || (self.may_ask() && (self.answered == self.messages || self.may_ask_more()))
    }

    fn may_ask(&self) -> bool {
        self.is_upgraded && self.closing.is_none()
    }

    fn may_ask_more(&self) -> bool {
        self.asked < self.messages && self.asked - self.answered < self.window
    }

    /// Makes the next output when there is none left.
    fn ask(&mut self) {
        if !self.may_ask() || !self.out.is_empty() {
            return;
        }
        while self.may_ask_more() && self.out.len() < 64 << 10 {
            let content = Content::new(self.number, self.asked, self.reads_late);
            let key = self.asked.wrapping_mul(0x9e37_79b9).to_be_bytes();
            self.out.extend(frame(true, BINARY, key, &content.bytes()));
            self.ends.push_back(self.written + self.out.len() as u64);
            self.asked += 1;
        }
        // What a Close frame overtakes is not answered any more.
        if self.answered == self.messages && self.out.is_empty() {
            self.out = frame(true, CLOSE, [0; 4], &1000u16.to_be_bytes());
            self.closing = Some(End::Closed);
        }
    }

    fn write(&mut self) -> ControlFlow<End> {
        while self.is_writable {
            self.ask();
            let mut length = self.out.len();
            if let Cut::Written(at, end) = self.cut {
                length = length.min((at - self.written) as usize);
                if length == 0 && self.written == at {
                    return self.end_writing(end);
                }
            }
            if length == 0 {
                break;
            }
            match self.stream.write(&self.out[..length]) {
                Ok(count) => {
                    self.out.drain(..count);
                    self.written += count as u64;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.is_writable = false;
                    self.blocked += 1;
                }
                Err(error) => panic!("connection {} cannot send: {error}", self.number),
            }
        }
        ControlFlow::Continue(())
    }

    fn end_writing(&mut self, end: End) -> ControlFlow<End> {
        if end == End::Reset {
            return self.reset();
        }
        self.cut = Cut::Never;
        // The Close frame may be complete, which is then what the server answers.
        if self.closing.is_none() || !self.out.is_empty() {
            self.closing = Some(end);
        }
        self.out.clear();
        // What is not complete is not answered.
        self.ends.retain(|end| *end <= self.written);
        self.asked = self.answered + self.ends.len() as u32;
        self.stream.shutdown(Shutdown::Write).expect("it is connected");
        ControlFlow::Continue(())
    }

    fn reset(&self) -> ControlFlow<End> {
        // What is sent when it is dropped is then an RST.
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("the socket is open");
        ControlFlow::Break(End::Reset)
    }

    fn read(&mut self, buffer: &mut [u8]) -> ControlFlow<End> {
        let is_held_back = self.reads_late && self.is_writable && self.has_output();
        if !self.is_readable || is_held_back {
            return ControlFlow::Continue(());
        }
        let mut length = if self.reads_late { LATE_READ_BYTES } else { buffer.len() };
        if let Cut::Read(at) = self.cut {
            length = length.min((at - self.read) as usize);
            if length == 0 {
                return self.reset();
            }
        }
        match self.stream.read(&mut buffer[..length]) {
            Ok(0) => ControlFlow::Break(self.ended()),
            Ok(count) => {
                self.read += count as u64;
                self.check(&buffer[..count]);
                ControlFlow::Continue(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.is_readable = false;
                ControlFlow::Continue(())
            }
            Err(error) => panic!("connection {} cannot receive: {error}: {self:?}", self.number),
        }
    }

    /// Asserts that these are the bytes that are due.
    fn check(&mut self, bytes: &[u8]) {
        let mut bytes = if self.is_upgraded { bytes } else { self.check_head(bytes) };
        while let [first, ..] = bytes {
            let place = self.arrived;
            let taken = if self.answered == self.asked {
                assert_eq!(Some(first), self.due_close().get(place), "nothing is due: {self:?}");
                1
            } else if let Some(due) = self.due_header.get(place) {
                assert_eq!(first, due, "byte {place} of a header: {self:?}");
                1
            } else {
                self.check_message(place - self.due_header.len(), bytes)
            };
            self.arrived += taken;
            bytes = &bytes[taken..];
            if self.answered < self.asked && self.arrived == self.due_header.len() + self.due.length
            {
                self.message_arrived();
            }
        }
    }

    /// Asserts that what comes next is the message that is due, from `place` on; how much of it
    /// is there.
    fn check_message(&self, place: usize, bytes: &[u8]) -> usize {
        let here = bytes.len().min(self.due.length - place);
        if let Some(wrong) = self.due.difference(place, &bytes[..here]) {
            let foreign = &bytes[wrong..here.min(wrong + 40)];
            panic!("foreign from byte {} on: {foreign:x?}: {self:?}", place + wrong);
        }
        here
    }

    fn message_arrived(&mut self) {
        let end = self.ends.pop_front().expect("each message has an end");
        assert!(end <= self.written, "answered before it was sent: {self:?}");
        self.answered += 1;
        self.due = Content::new(self.number, self.answered, self.reads_late);
        self.due_header = self.due.header();
        self.arrived = 0;
    }

    /// Takes the response to the handshake; what comes behind it.
    fn check_head<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        for (place, byte) in bytes.iter().enumerate() {
            self.head.push(*byte);
            if self.head.ends_with(b"\r\n\r\n") {
                let is_accepted = self.head.starts_with(b"HTTP/1.1 101 ");
                assert!(is_accepted, "{}: {self:?}", self.head.escape_ascii());
                self.is_upgraded = true;
                return &bytes[place + 1..];
            }
        }
        &[]
    }

    /// The Close frame with which the server answers what was done last.
    fn due_close(&self) -> &'static [u8] {
        match self.closing {
            Some(End::Closed) => &[0x88, 2, 3, 232],
            _ => &[],
        }
    }

    /// The server has ended the connection: only when it should.
    fn ended(&self) -> End {
        let Some(end) = self.closing else {
            panic!("the server has ended a connection: {self:?}");
        };
        let is_complete = self.answered == self.asked && self.arrived == self.due_close().len();
        assert!(is_complete && self.is_upgraded, "the server has not said everything: {self:?}");
        end
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("number", &self.number)
            .field("messages", &self.messages)
            .field("reads_late", &self.reads_late)
            .field("cut", &self.cut)
            .field("closing", &self.closing)
            .field("is_upgraded", &self.is_upgraded)
            .field("written", &self.written)
            .field("read", &self.read)
            .field("asked", &self.asked)
            .field("answered", &self.answered)
            .field("arrived", &self.arrived)
            .finish_non_exhaustive()
    }
}
