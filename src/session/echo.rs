//! The echo service, as the seed has it: read a message, send it back, read the next.

use super::{Session, Socket};
use crate::Received;

/// Sends every message back as it came, text as text and bytes as bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Echo;

impl Session for Echo {
    fn start(&mut self, socket: &mut Socket<'_, Self>) {
        socket.read_message(Self::received);
    }
}

impl Echo {
    fn received(&mut self, socket: &mut Socket<'_, Self>, received: Received<'_>) {
        match received {
            Received::Text(text) => {
                socket.send_text(text, |_, socket, _sent| socket.read_message(Self::received));
            }
            Received::Binary(bytes) => {
                socket.send_binary(bytes, |_, socket, _sent| socket.read_message(Self::received));
            }
            // Closed or failed; no read timeout is set, so none ends here.
            _ => {}
        }
    }
}
