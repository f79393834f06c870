//! Every limit and every deadline, with its default.

use std::time::Duration;

use crate::{http, io::SocketBuffers, ws};

/// What a server grants its peers. The defaults are safe to face the Internet with.
///
/// ```
/// use std::time::Duration;
/// let mut config = wireloop::Config::default();
/// config.ping_interval = Some(Duration::from_secs(60));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Limits on a request head: 16 KiB, 100 headers. Beyond: 431, or 414 for the target.
    pub head: http::Limits,
    /// Limits on frames and messages: 16 MiB each, 131,072 fragments. Beyond: close code 1009.
    pub frames: ws::Limits,
    /// How many bytes one receive may bring: 128 KiB. A worker has one buffer of this size. With
    /// one byte, everything that can be cut is cut; for tests.
    pub receive_bytes: usize,
    /// How much a connection may do before others have their turn, in units of about the cost of a
    /// small message, or of 4 KiB that are inflated, deflated or copied: 1,024. What is left comes
    /// in its next turn. With one, each turn is cut that can be; for tests.
    pub turn_work: u32,
    /// How many bytes of output may wait for a peer that does not take them: 1 MiB. Whoever
    /// sends when more than this waits has the connection closed with 1008, so the most that is
    /// kept is this and one message.
    pub send_queue_bytes: usize,
    /// How much the peers of all connections may make the server hold, in bytes: incomplete requests
    /// and messages, input that waits for its turn, output that waits for its peer, and 128 bytes
    /// for each connection. `None`: a quarter of what the machine, the process's control groups and
    /// its limit on address space grant. It is divided among the workers. Five eighths are the
    /// connections', an eighth is the inbox's, and a quarter is left for what the allocator cannot
    /// use.
    ///
    /// When three quarters of the connections' part are in use, upgrades are refused with 503 and
    /// nothing is received from connections that hold more than the average; beyond all of it, those
    /// that hold most are ended, WebSockets with close code 1013, requests with 503. What a session, a
    /// handler or the source of a response keeps is not counted.
    pub memory_bytes: Option<usize>,
    /// How much the kernel keeps for a connection, beside what [`memory_bytes`](Self::memory_bytes)
    /// counts.
    pub socket_buffers: SocketBuffers,
    /// How messages are compressed for clients that offer it; `None`: not at all.
    pub compression: Option<Compression>,
    /// How many connections the server has at a time: 1,000,000, or as many as the process's limit
    /// on open files allows ([`Server::run`](crate::Server::run)); at least one.
    pub connections: usize,
    /// What becomes of connections beyond that: they wait.
    pub when_full: WhenFull,
    /// How many connections a peer's address may have: no limit. Those beyond it are closed at once.
    /// An IPv6 address stands for its network (/64).
    pub connections_per_address: Option<usize>,
    /// How many connections may have sent no request yet: 65,536. Beyond, the oldest of them is
    /// closed. It is divided among the workers.
    pub handshakes: usize,
    /// How many bytes per second a connection may send on average: no limit. One that has sent more
    /// than it may in a second is not received from until it may send again.
    pub byte_rate: Option<u32>,
    /// How many messages per second, control frames included; as [`byte_rate`](Self::byte_rate).
    pub message_rate: Option<u32>,
    /// How long a peer may take for a request head: 10 s from its first byte, and for the first
    /// head from the beginning of the connection. Then it is disconnected.
    pub handshake_timeout: Duration,
    /// How long an HTTP connection may wait for its next request: 75 s. Then it is closed.
    pub keep_alive_timeout: Duration,
    /// After how long a silence a ping is sent: 30 s, or up to a quarter less, so that connections
    /// that were opened together do not ping together. `None`: never.
    pub ping_interval: Option<Duration>,
    /// How long after such a ping the peer may stay silent: 20 s. Then it is disconnected, unless
    /// it is still taking what it was sent before, at [`min_rate`](Self::min_rate).
    pub pong_timeout: Duration,
    /// The least that a peer must move, in bytes per second: 1 KiB. It concerns whoever takes a
    /// response, or output for which a deadline has come, and whoever sends a message of which a
    /// part has arrived: below it the peer is disconnected, for a message with close code 1008. A
    /// peer that moves more is not, however long it takes. Zero: there is no such limit.
    pub min_rate: u32,
    /// Over how long the rate is measured: 30 s. TCP moves bytes in steps.
    pub min_rate_time: Duration,
    /// How long the peer may take to answer a Close frame, or the end of our direction, when it
    /// has taken what was sent before: 5 s. Then the connection is reset.
    pub close_timeout: Duration,
    /// How long a server that is stopped waits for its connections to close: 10 s.
    pub shutdown_grace: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            head: http::Limits::default(),
            frames: ws::Limits::default(),
            receive_bytes: 128 << 10,
            turn_work: 1024,
            send_queue_bytes: 1 << 20,
            memory_bytes: None,
            socket_buffers: SocketBuffers::default(),
            compression: Some(Compression::default()),
            connections: 1_000_000,
            when_full: WhenFull::default(),
            connections_per_address: None,
            handshakes: 65_536,
            byte_rate: None,
            message_rate: None,
            handshake_timeout: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(75),
            ping_interval: Some(Duration::from_secs(30)),
            pong_timeout: Duration::from_secs(20),
            min_rate: 1 << 10,
            min_rate_time: Duration::from_secs(30),
            close_timeout: Duration::from_secs(5),
            shutdown_grace: Duration::from_secs(10),
        }
    }
}

/// What becomes of connections for which a server has no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenFull {
    /// They wait in the kernel's queue until others end.
    #[default]
    Wait,
    /// Their first request gets 503 and they are closed, after a second at most. For that the server
    /// has up to 16 connections more than it serves; the next ones wait.
    Refuse,
}

/// permessage-deflate (RFC 7692). The defaults suit very many connections: a message is compressed
/// by itself, so that a connection keeps nothing, and fast. docs/BENCHMARKING.md has the costs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Compression {
    /// zlib's level, from 1 to 9: 1, which takes a third of the time of 6 and leaves 20 to 60 %
    /// more to send.
    pub level: u32,
    /// Messages shorter than this are sent as they are: 256 bytes, which save 100.
    pub threshold_bytes: usize,
    /// Whether the server's messages may refer to earlier ones: no. Each such connection has a
    /// compressor of its own from its first compressed message on, 190 to 320 KiB.
    pub server_context_takeover: bool,
    /// Whether the client's messages may refer to earlier ones: no. For each such connection the
    /// end of what it has sent is kept, up to 32 KiB.
    pub client_context_takeover: bool,
    /// The binary logarithm of the server's window, from 9 to 15: 15.
    pub server_window_bits: u8,
}

impl Compression {
    pub(crate) fn policy(&self) -> http::DeflatePolicy {
        http::DeflatePolicy {
            server_context_takeover: self.server_context_takeover,
            client_context_takeover: self.client_context_takeover,
            server_window_bits: self.server_window_bits.clamp(9, 15),
        }
    }
}

impl Default for Compression {
    fn default() -> Self {
        Self {
            level: 1,
            threshold_bytes: 256,
            server_context_takeover: false,
            client_context_takeover: false,
            server_window_bits: 15,
        }
    }
}

/// While a peer has not taken this many bytes of output, the completions of its sends wait and
/// nothing is received from it.
pub(crate) const HIGH_WATER_BYTES: usize = 64 << 10;

/// While this much data waits for a session that does not read, nothing is received.
pub(crate) const READ_AHEAD_BYTES: usize = 64 << 10;

// A peer that is disconnected for not taking its output must first have been pushed back.
const _: () = assert!(HIGH_WATER_BYTES < 1 << 20);
