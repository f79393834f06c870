//! A client made of a socket and the numbers in RFC 6455: every byte is written and read by hand.

use std::{
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

use super::DEADLINE;

pub(crate) const CONTINUATION: u8 = 0x0;
pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xA;

/// The masking key of frames for which it does not matter.
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A frame as it was received: FIN, opcode, payload.
pub(crate) type Frame = (bool, u8, Vec<u8>);

/// The bytes of a masked frame, with the length in its shortest form.
pub(crate) fn frame(is_final: bool, opcode: u8, key: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![opcode | if is_final { 0x80 } else { 0 }];
    match payload.len() {
        length @ 0..=125 => bytes.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend(key);
    bytes.extend(payload.iter().enumerate().map(|(index, byte)| byte ^ key[index % 4]));
    bytes
}

/// The opening handshake of RFC 6455 section 1.2, with more header lines, each ended by CRLF.
pub(crate) fn handshake(path: &str, headers: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n"
    )
}

/// The response to a request.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Status line and header lines, as they came.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// The value of a header that must not be there twice.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1);
        let fields = lines.filter_map(|line| line.split_once(": "));
        let mut values = fields.filter(|(field, _)| field.eq_ignore_ascii_case(name));
        let value = values.next().map(|(_, value)| value);
        assert!(values.next().is_none(), "{name} is there twice:\n{}", self.head);
        value
    }

    pub(crate) fn text(&self) -> &str {
        str::from_utf8(&self.body).expect("the body is text")
    }
}

/// A connection to the server. All reads have a deadline, so that a failing test ends.
#[derive(Debug)]
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    #[track_caller]
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::from_stream(TcpStream::connect(address).expect("the server listens"))
    }

    /// A client whose kernel keeps little for it, so that it soon takes nothing any more.
    #[track_caller]
    pub(crate) fn connect_narrow(address: SocketAddr) -> Self {
        let kind = socket2::Type::STREAM;
        let socket = socket2::Socket::new(socket2::Domain::IPV4, kind, None).expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a small buffer is allowed");
        socket.connect(&address.into()).expect("the server listens");
        Self::from_stream(socket.into())
    }

    fn from_stream(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("the socket is open");
        stream.set_read_timeout(Some(DEADLINE)).expect("not zero");
        stream.set_write_timeout(Some(DEADLINE)).expect("not zero");
        Self { stream: BufReader::new(stream) }
    }

    /// The socket, for another thread or for its options.
    #[track_caller]
    pub(crate) fn socket(&self) -> TcpStream {
        self.stream.get_ref().try_clone().expect("there is a descriptor left")
    }

    /// Makes the opening handshake and asserts that the server accepts it.
    #[track_caller]
    pub(crate) fn upgrade(&mut self, path: &str) {
        let response = self.request(&handshake(path, ""));
        assert_eq!(response.status, 101, "{}", response.head);
        // The answer that RFC 6455 section 1.3 gives to the key of section 1.2.
        assert_eq!(response.header("Sec-WebSocket-Accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert_eq!(response.header("Sec-WebSocket-Protocol"), None);
    }

    #[track_caller]
    pub(crate) fn request(&mut self, head: &str) -> Response {
        self.send_raw(head.as_bytes());
        self.read_response()
    }

    #[track_caller]
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).expect("the server takes what it is sent");
    }

    /// Sends what the server may refuse to take, because it has seen enough.
    pub(crate) fn try_send_raw(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    #[track_caller]
    pub(crate) fn send_frame(&mut self, is_final: bool, opcode: u8, payload: &[u8]) {
        self.send_raw(&frame(is_final, opcode, KEY, payload));
    }

    /// Sends a frame with any first byte.
    #[track_caller]
    pub(crate) fn send_any_frame(&mut self, first: u8, payload: &[u8]) {
        self.try_send_any_frame(first, payload).expect("the server takes what it is sent");
    }

    /// The same for a server that may have seen enough.
    pub(crate) fn try_send_any_frame(&mut self, first: u8, payload: &[u8]) -> std::io::Result<()> {
        let mut bytes = frame(true, 0, KEY, payload);
        bytes[0] = first;
        self.try_send_raw(&bytes)
    }

    #[track_caller]
    pub(crate) fn send_text(&mut self, text: &str) {
        self.send_frame(true, TEXT, text.as_bytes());
    }

    #[track_caller]
    pub(crate) fn send_close(&mut self, code: u16, reason: &str) {
        let payload = [&code.to_be_bytes()[..], reason.as_bytes()].concat();
        self.send_frame(true, CLOSE, &payload);
    }

    /// The head of a response, and as much body as it promises.
    #[track_caller]
    pub(crate) fn read_response(&mut self) -> Response {
        let mut response = self.read_head();
        let length = response.header("Content-Length").map(|length| length.parse());
        let length = length.transpose().expect("a length is a number").unwrap_or(0);
        response.body = self.read_bytes(length);
        response
    }

    /// The head of a response that has no body, whatever it promises.
    #[track_caller]
    pub(crate) fn read_head(&mut self) -> Response {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let read = self.stream.read_line(&mut head).expect("a line of the head is due");
            assert!(read > 0, "the connection ended within a response head: {head:?}");
        }
        let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest[..3].parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status line: {head}"));
        Response { status, head, body: Vec::new() }
    }

    #[track_caller]
    pub(crate) fn read_bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).expect("more bytes are due");
        bytes
    }

    /// The next frame of a connection without an extension: no reserved bit is set.
    #[track_caller]
    pub(crate) fn read_frame(&mut self) -> Frame {
        let (first, payload) = self.read_any_frame();
        assert_eq!(first & 0x70, 0, "reserved bits are set");
        (first & 0x80 != 0, first & 0x0f, payload)
    }

    /// The first byte and the payload of the next frame. A server's frames are not masked.
    #[track_caller]
    pub(crate) fn read_any_frame(&mut self) -> (u8, Vec<u8>) {
        let head = self.read_bytes(2);
        assert_eq!(head[1] & 0x80, 0, "a server must not mask");
        let length = match head[1] {
            126 => u64::from(u16::from_be_bytes(self.read_bytes(2).try_into().expect("2 bytes"))),
            127 => u64::from_be_bytes(self.read_bytes(8).try_into().expect("8 bytes")),
            length => length.into(),
        };
        let shortest = match length {
            0..=125 => length as u8,
            126..=0xffff => 126,
            _ => 127,
        };
        assert_eq!(head[1], shortest, "the length has not the shortest form");
        (head[0], self.read_bytes(length as usize))
    }

    /// The same of a short frame, or that there is none because the connection has ended.
    pub(crate) fn try_read_short_frame(&mut self) -> std::io::Result<(u8, Vec<u8>)> {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head)?;
        let mut payload = vec![0; usize::from(head[1])];
        self.stream.read_exact(&mut payload)?;
        Ok((head[0], payload))
    }

    #[track_caller]
    pub(crate) fn expect_frame(&mut self, is_final: bool, opcode: u8, payload: &[u8]) {
        let frame = self.read_frame();
        assert_eq!((frame.0, frame.1), (is_final, opcode), "{:?}", Preview(&frame.2));
        assert!(frame.2 == payload, "got {:?}, not {:?}", Preview(&frame.2), Preview(payload));
    }

    #[track_caller]
    pub(crate) fn expect_text(&mut self, text: &str) {
        self.expect_frame(true, TEXT, text.as_bytes());
    }

    /// A ping and its pong: all that was sent before has then been taken.
    #[track_caller]
    pub(crate) fn ping_and_wait(&mut self, payload: &[u8]) {
        self.send_frame(true, PING, payload);
        self.expect_frame(true, PONG, payload);
    }

    /// A Close frame with this code; its reason.
    #[track_caller]
    pub(crate) fn expect_close(&mut self, code: u16) -> String {
        self.expect_close_of(&[code])
    }

    /// A Close frame with one of these codes; its reason.
    #[track_caller]
    pub(crate) fn expect_close_of(&mut self, codes: &[u16]) -> String {
        let (is_final, opcode, payload) = self.read_frame();
        assert_eq!((is_final, opcode), (true, CLOSE), "{:?}", Preview(&payload));
        assert!(payload.len() >= 2, "the Close frame has no code: {payload:?}");
        let got = u16::from_be_bytes([payload[0], payload[1]]);
        let reason = String::from_utf8(payload[2..].to_vec()).expect("a reason is text");
        assert!(codes.contains(&got), "{got} is none of {codes:?}: {reason}");
        reason
    }

    /// A Close frame with this code, its answer, and the end of the connection, which the server
    /// makes first (RFC 6455 section 7.1.1).
    #[track_caller]
    pub(crate) fn expect_closing(&mut self, code: u16) {
        self.expect_close(code);
        self.send_close(code, "");
        self.expect_eof();
    }

    /// Starts the closing handshake and sees it completed.
    #[track_caller]
    pub(crate) fn close(&mut self) {
        self.send_close(1000, "");
        self.expect_close(1000);
        self.expect_eof();
    }

    /// The server has ended its direction, and sent nothing more.
    #[track_caller]
    pub(crate) fn expect_eof(&mut self) {
        let rest = self.stream.fill_buf().expect("the connection ends, but not with a reset");
        assert!(rest.is_empty(), "the connection goes on: {:?}", Preview(rest));
    }

    /// The connection is gone, in order or by a reset; what came before does not matter.
    #[track_caller]
    pub(crate) fn expect_gone(&mut self) {
        self.read_until_gone();
    }

    /// Reads until the connection is gone, in order or by a reset; how much came before.
    #[track_caller]
    pub(crate) fn read_until_gone(&mut self) -> usize {
        let mut buffer = [0; 65_536];
        let mut total = 0;
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return total,
                Ok(count) => total += count,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return total,
                Err(error) => panic!("the connection goes on: {error}"),
            }
        }
    }

    /// Everything until the server ends the connection, which it does without a reset.
    #[track_caller]
    pub(crate) fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.stream.read_to_end(&mut bytes).expect("the connection ends, but not with a reset");
        bytes
    }

    /// Nothing arrives for this long: for what must not happen there is nothing to wait for.
    #[track_caller]
    pub(crate) fn expect_silence(&mut self, time: Duration) {
        self.stream.get_ref().set_read_timeout(Some(time)).expect("not zero");
        match self.stream.fill_buf() {
            Ok(bytes) => panic!("something arrived: {:?}", Preview(bytes)),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
        }
        self.stream.get_ref().set_read_timeout(Some(DEADLINE)).expect("not zero");
    }

    /// Ends our direction.
    #[track_caller]
    pub(crate) fn shutdown(&self) {
        self.stream.get_ref().shutdown(Shutdown::Write).expect("the socket is connected");
    }

    /// Sends as much as the server and both kernels take, without reading; how much that was.
    #[track_caller]
    pub(crate) fn fill(&mut self, chunk: &[u8], at_most: usize) -> usize {
        let socket = self.stream.get_mut();
        // Longer than a server that is at work ever keeps its peer waiting.
        socket.set_write_timeout(Some(Duration::from_millis(500))).expect("not zero");
        let mut total = 0;
        while total < at_most {
            match socket.write(&chunk[total % chunk.len()..]) {
                Ok(written) => total += written,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
                    break;
                }
            }
        }
        socket.set_write_timeout(Some(DEADLINE)).expect("not zero");
        total
    }
}

/// The start of a payload, for messages about it.
struct Preview<'a>(&'a [u8]);

impl std::fmt::Debug for Preview<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let start = &self.0[..self.0.len().min(60)];
        write!(f, "{} bytes \"{}\"", self.0.len(), start.escape_ascii())
    }
}
