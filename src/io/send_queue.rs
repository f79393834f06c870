//! The output of one connection, as the driver's contract wants it: at most one send in flight,
//! and what waits behind it.

use super::{SendBatch, Token};

/// What a connection has to send. Owns memory only while a peer takes less than it is sent.
#[derive(Debug, Default)]
pub struct SendQueue {
    /// The length of the send that the driver has. Zero if it has none.
    in_flight_bytes: usize,
    /// What waits for that send to complete.
    waiting: Option<Box<Waiting>>,
}

#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
}

impl SendQueue {
    /// How many bytes the kernel has not taken yet.
    pub fn pending_bytes(&self) -> usize {
        self.in_flight_bytes + self.waiting.as_ref().map_or(0, |waiting| waiting.bytes.len())
    }

    /// Whether the kernel has taken everything.
    pub fn is_idle(&self) -> bool {
        self.in_flight_bytes == 0
    }

    /// Whether output waits behind the send in flight.
    pub fn has_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Sends what the connection has appended to the batch since `start`: with the batch, or
    /// behind the send that is in flight.
    pub fn submit(&mut self, token: Token, batch: &mut SendBatch, start: usize) {
        let bytes = &batch.bytes[start..];
        if bytes.is_empty() {
            return;
        }
        if self.is_idle() {
            self.in_flight_bytes = bytes.len();
            batch.push(token, start);
        } else {
            self.waiting.get_or_insert_default().bytes.extend_from_slice(bytes);
            batch.bytes.truncate(start);
        }
    }

    /// The send in flight has completed. Returns what is to be sent next, if anything is.
    pub fn sent(&mut self) -> Option<Vec<u8>> {
        let next = self.waiting.take().map(|waiting| waiting.bytes);
        self.in_flight_bytes = next.as_ref().map_or(0, Vec::len);
        next
    }

    /// Nothing more can be sent.
    pub fn give_up(&mut self) {
        self.in_flight_bytes = 0;
        self.waiting = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: Token = Token { index: 0, generation: 1 };

    fn submit(queue: &mut SendQueue, batch: &mut SendBatch, bytes: &[u8]) {
        let start = batch.bytes.len();
        batch.bytes.extend_from_slice(bytes);
        queue.submit(TOKEN, batch, start);
    }

    #[test]
    fn one_send_is_in_flight_and_the_rest_follows_in_order() {
        let (mut queue, mut batch) = (SendQueue::default(), SendBatch::default());
        for bytes in [&b"one"[..], b"two", b"three"] {
            submit(&mut queue, &mut batch, bytes);
        }
        assert_eq!(batch.sends().collect::<Vec<_>>(), [(TOKEN, &b"one"[..])]);
        assert_eq!(queue.pending_bytes(), 11);
        assert_eq!(queue.sent(), Some(b"twothree".to_vec()));
        assert_eq!(queue.pending_bytes(), 8);
        assert_eq!(queue.sent(), None);
        assert!(queue.is_idle());
    }

    #[test]
    fn nothing_is_not_sent() {
        let (mut queue, mut batch) = (SendQueue::default(), SendBatch::default());
        submit(&mut queue, &mut batch, b"");
        assert!(batch.is_empty() && queue.is_idle());
    }
}
