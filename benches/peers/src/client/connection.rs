//! One connection of a client: what it has to send, and what is on its way.

use std::{
    collections::VecDeque,
    io::{ErrorKind, Read, Write},
    net::TcpStream,
};

use super::{echoes::Echoes, message::Message};

/// An open WebSocket.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    /// Index of the message it sends.
    pub(super) message: usize,
    echoes: Echoes,
    /// When the messages in flight had to be sent, the oldest first.
    sent: VecDeque<u64>,
    /// Messages that are not written whole, and how many bytes of the first one are.
    unwritten: usize,
    written_bytes: usize,
    /// True exactly when the event queue is asked for room to write.
    pub(super) waits_to_write: bool,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, message: usize) -> Self {
        Self {
            stream,
            message,
            echoes: Echoes::default(),
            sent: VecDeque::new(),
            unwritten: 0,
            written_bytes: 0,
            waits_to_write: false,
        }
    }

    /// Adds messages that have to be sent at this time.
    pub(super) fn queue(&mut self, count: usize, time: u64) {
        self.unwritten += count;
        self.sent.extend(std::iter::repeat_n(time, count));
    }

    /// Writes what it can; whether that was all.
    pub(super) fn write(&mut self, message: &Message) -> Result<bool, String> {
        while self.unwritten > 0 {
            let bytes = message.unsent(self.unwritten, self.written_bytes);
            let written = match self.stream.write(bytes) {
                Ok(written) => written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(format!("cannot send: {error}")),
            };
            let is_full = written < bytes.len();
            self.written_bytes += written;
            self.unwritten -= self.written_bytes / message.frame_bytes();
            self.written_bytes %= message.frame_bytes();
            if is_full {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads once; how many echoes have become whole. What is left brings another event.
    pub(super) fn read(&mut self, message: &Message, buffer: &mut [u8]) -> Result<usize, String> {
        match self.stream.read(buffer) {
            Ok(0) => Err("the server has ended a connection".into()),
            Ok(length) => {
                let count = self.echoes.receive(&buffer[..length], message.payload())?;
                if count > self.sent.len() {
                    return Err("the server sends echoes of nothing".into());
                }
                Ok(count)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(format!("cannot receive: {error}")),
        }
    }

    /// When the oldest messages in flight had to be sent, which are so no longer.
    pub(super) fn came_home(&mut self, count: usize) -> impl Iterator<Item = u64> + '_ {
        self.sent.drain(..count)
    }
}
