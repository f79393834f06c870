//! The output of one connection, as the driver's contract wants it: at most one send in flight,
//! and what waits behind it.

use super::{SendBatch, Token};

/// What a connection has to send. Owns memory only while a peer takes less than it is sent.
///
/// One byte would be padding: `O` is the owner's.
#[derive(Debug, Default)]
pub struct SendQueue<O = ()> {
    /// What waits for the send in flight to complete.
    #[expect(clippy::box_collection, reason = "rarely there: eight bytes instead of 24")]
    waiting: Option<Box<Vec<u8>>>,
    /// What the driver has of a send that is blocked, as far as it can be told in 32 bits.
    blocked_bytes: u32,
    /// The batch that the last output went to.
    batch: u16,
    stage: Stage,
    /// The owner's.
    pub owner: O,
}

/// Where the last send is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// The kernel has taken it; or it stands in a batch, and nothing depends on its result.
    #[default]
    Idle,
    /// In a batch, of which the result is waited for.
    Batched,
    /// The driver sends the rest when the peer takes it.
    Blocked,
}

impl<O> SendQueue<O> {
    /// How many bytes wait for the peer, apart from those of the present batch.
    pub fn pending_bytes(&self) -> usize {
        self.blocked_bytes as usize + self.waiting.as_ref().map_or(0, |waiting| waiting.len())
    }

    /// Whether the kernel has taken everything, as far as anything depends on it.
    pub fn is_idle(&self) -> bool {
        self.stage == Stage::Idle
    }

    /// Whether the driver still has something and will say when it has not.
    pub fn is_blocked(&self) -> bool {
        self.stage == Stage::Blocked
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
        if self.is_free(batch) {
            self.claim(batch);
            batch.push(token, start);
        } else {
            // One send for each connection in a batch.
            self.waiting.get_or_insert_default().extend_from_slice(bytes);
            batch.bytes.truncate(start);
        }
    }

    /// Whether output can be sent with the batch: nothing is in flight, and nothing stands there.
    pub fn is_free(&self, batch: &SendBatch) -> bool {
        self.is_idle() && self.batch != batch.number()
    }

    /// Notes that the batch has output of the connection.
    pub fn claim(&mut self, batch: &SendBatch) {
        self.batch = batch.number();
    }

    /// Whether the batch may hold output of which the result was not waited for until now. If
    /// something follows from that result, [`await_result`](Self::await_result) is to be called.
    pub fn is_in(&self, batch: &SendBatch) -> bool {
        self.is_idle() && self.batch == batch.number()
    }

    /// The queue is idle no more until the batch was taken. Then, unless it is
    /// [blocked](Self::is_blocked), [`sent`](Self::sent) is to be called.
    pub fn await_result(&mut self) {
        self.stage = Stage::Batched;
    }

    /// The driver still has `bytes` of the last send. What the next batch already holds for the
    /// connection goes behind it.
    pub fn blocked(&mut self, token: Token, bytes: usize, batch: &mut SendBatch) {
        if self.batch == batch.number()
            && let Some(bytes) = batch.withdraw(token)
        {
            self.waiting.get_or_insert_default().splice(..0, bytes);
        }
        self.block(bytes);
    }

    fn block(&mut self, bytes: usize) {
        self.stage = Stage::Blocked;
        self.blocked_bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    }

    /// The send in flight has completed. Returns what is to be [sent](super::Driver::send) next,
    /// if anything is.
    pub fn sent(&mut self) -> Option<Vec<u8>> {
        let next = self.waiting.take().map(|waiting| *waiting);
        match &next {
            Some(bytes) => self.block(bytes.len()),
            None => self.give_up(),
        }
        next
    }

    /// Nothing more can be sent.
    pub fn give_up(&mut self) {
        self.stage = Stage::Idle;
        self.blocked_bytes = 0;
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
    fn a_batch_holds_one_send_of_a_connection_and_the_rest_follows_in_order() {
        let (mut queue, mut batch) = (SendQueue::<()>::default(), SendBatch::default());
        for bytes in [&b"one"[..], b"two", b"three"] {
            submit(&mut queue, &mut batch, bytes);
        }
        assert_eq!(batch.sends().collect::<Vec<_>>(), [(TOKEN, &b"one"[..])]);
        assert!(queue.is_in(&batch) && queue.has_waiting());
        queue.await_result();
        assert_eq!(queue.pending_bytes(), 8);
        assert_eq!(queue.sent(), Some(b"twothree".to_vec()));
        assert!(queue.is_blocked());
        assert_eq!(queue.sent(), None);
        assert!(queue.is_idle());
    }

    #[test]
    fn what_the_next_batch_holds_goes_behind_a_send_that_is_blocked() {
        let (mut queue, mut batch) = (SendQueue::<()>::default(), SendBatch::default());
        submit(&mut queue, &mut batch, b"one");
        batch.clear();
        submit(&mut queue, &mut batch, b"two");
        queue.blocked(TOKEN, 2, &mut batch);
        submit(&mut queue, &mut batch, b"three");
        assert!(queue.is_blocked());
        assert_eq!(batch.sends().count(), 0);
        assert_eq!(queue.pending_bytes(), 10);
        assert_eq!(queue.sent(), Some(b"twothree".to_vec()));
    }

    #[test]
    fn nothing_is_not_sent() {
        let (mut queue, mut batch) = (SendQueue::<()>::default(), SendBatch::default());
        submit(&mut queue, &mut batch, b"");
        assert!(batch.is_empty() && queue.is_idle());
    }
}
