//! Files of any size through WebSocket messages, in constant memory: `/download` sends a file as
//! one message of many fragments, `/upload` writes one to disk while it arrives.
//!
//!     cargo run --example streaming -- FILE-TO-SEND FILE-TO-WRITE

use std::{
    fs::File,
    hash::{DefaultHasher, Hasher},
    io::{self, Read, Write},
    path::PathBuf,
};

use http::StatusCode;
use wireloop::{
    Error, Frame, Received, Routes, Server, Session, Socket,
    http::Refusal,
    ws::{CloseCode, OpCode},
};

const FRAGMENT_BYTES: usize = 64 << 10;

pub(crate) fn routes(to_send: PathBuf, to_write: PathBuf) -> Routes {
    // A file that cannot be opened is a refusal in HTTP, before there is a WebSocket.
    let refuse = |_: io::Error| Refusal::new(StatusCode::NOT_FOUND);
    Routes::new()
        .websocket("/download", move |_request, protocols| {
            let file = File::open(&to_send).map_err(refuse)?;
            Ok(protocols.none().session(Download { file, buffer: vec![0; FRAGMENT_BYTES] }))
        })
        .websocket("/upload", move |_request, protocols| {
            let file = File::create(&to_write).map_err(refuse)?;
            let hasher = DefaultHasher::new();
            Ok(protocols.none().session(Upload { file, hasher, bytes: 0 }))
        })
}

/// Sends a file as one binary message and closes.
struct Download {
    file: File,
    buffer: Vec<u8>,
}

impl Session for Download {
    fn start(&mut self, socket: &mut Socket<'_, Self>) {
        self.send_next(socket, Ok(()));
    }
}

impl Download {
    /// Sends the next fragment when the client has taken the one before: the completion is the
    /// back-pressure, so a slow client costs one buffer and no more.
    fn send_next(&mut self, socket: &mut Socket<'_, Self>, sent: Result<(), Error>) {
        if sent.is_err() {
            // The client has gone. Nothing is asked for here, so the session is dropped.
            return;
        }
        // This holds up the worker's other connections while the disk works. A server whose
        // files are not in the page cache would read in another thread and send by a handle.
        match self.file.read(&mut self.buffer) {
            // The length of the message need not be known before: an empty fragment ends it.
            Ok(0) => socket.send_binary_fragment(&[], true, |_, socket, _sent| {
                // Refused only if the client has closed first.
                let _ = socket.close(CloseCode::NORMAL, "");
            }),
            Ok(read) => {
                socket.send_binary_fragment(&self.buffer[..read], false, Self::send_next);
            }
            Err(_) => {
                let _ = socket.close(CloseCode::INTERNAL_ERROR, "the file cannot be read");
            }
        }
    }
}

/// Writes a binary message to a file and answers with its length and its hash.
struct Upload {
    file: File,
    hasher: DefaultHasher,
    bytes: u64,
}

impl Session for Upload {
    fn start(&mut self, socket: &mut Socket<'_, Self>) {
        socket.read_frame(Self::received);
    }
}

impl Upload {
    /// Takes a fragment. The next one is only received when this one has been written: a client
    /// that is faster than the disk is slowed down by TCP.
    fn received(&mut self, socket: &mut Socket<'_, Self>, received: Received<'_>) {
        let Received::Frame(Frame { opcode, is_final, payload }) = received else {
            // Closed or failed before the end: what was written stays.
            return;
        };
        if opcode == OpCode::Text {
            let _ = socket.close(CloseCode::UNSUPPORTED_DATA, "a file is a binary message");
            return;
        }
        if self.file.write_all(payload).is_err() {
            let _ = socket.close(CloseCode::INTERNAL_ERROR, "the file cannot be written");
            return;
        }
        self.hasher.write(payload);
        self.bytes += payload.len() as u64;
        if is_final {
            let receipt = format!("{} bytes, hash {:016x}", self.bytes, self.hasher.finish());
            socket.send_text(&receipt, |_, socket, _sent| {
                let _ = socket.close(CloseCode::NORMAL, "");
            });
        } else {
            self.start(socket);
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(to_send), Some(to_write)) = (arguments.next(), arguments.next()) else {
        return Err("give a file to send and a file to write".into());
    };
    Server::new(routes(to_send, to_write)).listen("127.0.0.1:8181")?.run()?;
    Ok(())
}
