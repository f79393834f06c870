//! The output of one connection: at most one send in flight, and what waits behind it.

use crate::io::{SendBatch, Token};

/// What a connection has to send. Owns memory only while a peer takes less than it is sent.
#[derive(Debug, Default)]
pub(crate) struct Output {
    /// The length of the send that the driver has. Zero if it has none.
    in_flight_bytes: usize,
    /// What waits for that send to complete.
    queue: Option<Box<Queue>>,
}

#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
}

impl Output {
    /// How many bytes the kernel has not taken yet.
    pub(crate) fn pending_bytes(&self) -> usize {
        self.in_flight_bytes + self.queue.as_ref().map_or(0, |queue| queue.bytes.len())
    }

    /// Whether the kernel has taken everything.
    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight_bytes == 0
    }

    /// Whether output waits behind the send in flight.
    pub(crate) fn has_queue(&self) -> bool {
        self.queue.is_some()
    }

    /// Sends what the connection has appended to the batch since `start`: with the batch, or
    /// behind the send that is in flight.
    pub(crate) fn submit(&mut self, token: Token, batch: &mut SendBatch, start: usize) {
        let bytes = &batch.bytes[start..];
        if bytes.is_empty() {
            return;
        }
        if self.is_idle() {
            self.in_flight_bytes = bytes.len();
            batch.push(token, start);
        } else {
            self.queue.get_or_insert_default().bytes.extend_from_slice(bytes);
            batch.bytes.truncate(start);
        }
    }

    /// The send in flight has completed; what is to be sent next.
    pub(crate) fn sent(&mut self) -> Option<Vec<u8>> {
        let next = self.queue.take().map(|queue| queue.bytes);
        self.in_flight_bytes = next.as_ref().map_or(0, Vec::len);
        next
    }

    /// Nothing more can be sent.
    pub(crate) fn give_up(&mut self) {
        self.in_flight_bytes = 0;
        self.queue = None;
    }
}
