//! The output of a worker, from the bytes that connections append to what their peers have taken.
//!
//! A driver makes the sends of a pass together, at its end, and reports in the next pass which of
//! them the kernel did not take as a whole. What lies in between is here: the batch that is being
//! filled, which connections need the result of their send, the results, and what waits behind a
//! send that is not complete. A connection itself keeps four bytes ([`SendState`]).
//!
//! The order of calls in a pass is that of the driver's contract:
//!
//! 1. [`wait`](Outbox::wait), then [`next_result`](Outbox::next_result) until it returns `None`;
//! 2. for each connection that has something to send: [`begin`](Outbox::begin), append to the
//!    [`buffer`](Outbox::buffer), [`submit`](Outbox::submit); and [`sent`](Outbox::sent) for each
//!    result and each [`Completion::Sent`](super::Completion::Sent);
//! 3. [`flush`](Outbox::flush).

use std::{collections::HashMap, io, time::Duration};

use super::{Driver, SendBatch, Token, Unsent};

/// The output of a worker's connections. The order of calls in a pass is that of the driver's
/// [contract](super#the-contract): [`wait`](Self::wait), [`next_result`](Self::next_result) until it
/// returns `None`, then [`begin`](Self::begin) and [`submit`](Self::submit) for each connection that
/// sends, [`sent`](Self::sent) for each send that has completed, and [`flush`](Self::flush).
#[derive(Debug, Default)]
pub struct Outbox {
    batch: SendBatch,
    /// The connection whose output is being made.
    scope: Scope,
    /// Connections that need the result of their send in the batch.
    awaiting: Vec<Token>,
    /// The same for the batch that was flushed last.
    flushed: Vec<Token>,
    /// What the driver reports of the batch that was flushed last; empty between waits.
    unsent: Vec<Unsent>,
    results: Vec<(Token, io::Result<()>)>,
    /// The connections whose send of the last batch was cut short.
    blocked: Vec<Token>,
    /// What waits for peers. Invariant: a connection that is [idle](SendState::is_idle) has no
    /// entry.
    queues: HashMap<Token, Queue>,
}

/// A connection whose output is being made.
#[derive(Debug)]
struct Scope {
    token: Token,
    /// Where its output begins in the batch.
    start: usize,
    /// How much waited for its peer when the scope was begun, in bytes.
    queued_bytes: usize,
}

impl Default for Scope {
    fn default() -> Self {
        Self { token: Token { index: 0, generation: 0 }, start: 0, queued_bytes: 0 }
    }
}

/// What waits for a peer, in bytes.
#[derive(Debug, Default)]
struct Queue {
    /// How much of the send in flight the driver still has.
    in_flight_bytes: usize,
    /// What is sent after it.
    waiting: Vec<u8>,
}

impl Queue {
    fn memory_bytes(&self) -> usize {
        size_of::<(Token, Self)>() + self.in_flight_bytes + self.waiting.capacity()
    }
}

/// How far the last output of a connection has got.
#[derive(Debug, Default)]
pub struct SendState {
    /// The number of the batch that it went to.
    batch: u16,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// No result is expected: the kernel has taken it, or it is in the batch and nothing depends
    /// on its result.
    #[default]
    Idle,
    /// It is in a batch whose result is awaited.
    Batched,
    /// The driver sends the rest as the peer takes it.
    Blocked,
}

impl SendState {
    /// Whether the kernel has taken everything, as far as anything depends on it.
    pub fn is_idle(&self) -> bool {
        self.stage == Stage::Idle
    }
}

/// The send states of a worker's connections, by token.
pub trait SendStates {
    /// The state of the connection, if there is one with this token.
    fn send_state(&mut self, token: Token) -> Option<&mut SendState>;
}

impl Outbox {
    /// Waits as [`Driver::wait`] does, and settles what became of the last batch. Does not block
    /// while the outbox [is busy](Self::is_busy).
    ///
    /// # Errors
    ///
    /// The driver's.
    pub fn wait<D: Driver>(
        &mut self,
        driver: &mut D,
        timeout: Option<Duration>,
        states: &mut impl SendStates,
    ) -> io::Result<()> {
        let timeout = if self.is_busy() { Some(Duration::ZERO) } else { timeout };
        self.blocked.clear();
        driver.wait(timeout, &mut self.unsent)?;
        if !self.unsent.is_empty() || !self.flushed.is_empty() {
            self.settle(states);
        }
        Ok(())
    }

    /// Settles what became of the last batch.
    #[inline(never)]
    fn settle(&mut self, states: &mut impl SendStates) {
        let mut unsent = std::mem::take(&mut self.unsent);
        for Unsent { token, result } in unsent.drain(..) {
            let Some(state) = states.send_state(token) else { continue };
            match result {
                Ok(left) => {
                    self.block(token, left, state);
                    self.blocked.push(token);
                }
                Err(error) => {
                    self.give_up(token, state);
                    self.results.push((token, Err(error)));
                }
            }
        }
        self.unsent = unsent;
        for token in self.flushed.drain(..) {
            if states.send_state(token).is_some_and(|state| state.stage == Stage::Batched) {
                self.results.push((token, Ok(())));
            }
        }
    }

    /// Whether there is something to flush, a result that somebody awaits, or one that was not
    /// taken.
    pub fn is_busy(&self) -> bool {
        !self.batch.is_empty() || !self.flushed.is_empty() || !self.results.is_empty()
    }

    /// A send of the last batch whose result was [awaited](Self::await_result), or that failed.
    /// [`sent`](Self::sent) is to be called for it.
    pub fn next_result(&mut self) -> Option<(Token, io::Result<()>)> {
        self.results.pop()
    }

    /// The connections for whose peers something waits since the last [`wait`](Self::wait), because
    /// the kernel did not take it as a whole.
    pub fn blocked(&self) -> &[Token] {
        &self.blocked
    }

    /// Begins the output of a connection: what is appended to the [`buffer`](Self::buffer) is its
    /// own, until [`submit`](Self::submit).
    #[inline]
    pub fn begin(&mut self, token: Token, state: &SendState) {
        let queued_bytes = self.pending_bytes(token, state);
        self.scope = Scope { token, start: self.batch.bytes.len(), queued_bytes };
    }

    /// The connection whose output is being made.
    pub fn token(&self) -> Token {
        self.scope.token
    }

    /// Where the output of the connection is appended. What lies there already is not to be
    /// touched, but for what the connection has [appended](Self::scope_start) itself.
    #[inline]
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.batch.bytes
    }

    /// Where the output of the connection begins in the [`buffer`](Self::buffer).
    #[inline]
    pub fn scope_start(&self) -> usize {
        self.scope.start
    }

    /// How much output the connection has made since [`begin`](Self::begin), in bytes.
    #[inline]
    pub fn scope_bytes(&self) -> usize {
        self.batch.bytes.len() - self.scope.start
    }

    /// How much waited for the connection's peer at [`begin`](Self::begin), in bytes.
    #[inline]
    pub fn queued_bytes(&self) -> usize {
        self.scope.queued_bytes
    }

    /// Ends the output of the connection: it is sent with the batch, or after the send that is in
    /// flight.
    #[inline]
    pub fn submit(&mut self, state: &mut SendState) {
        if self.scope_bytes() == 0 {
            return;
        }
        if self.is_free(state) {
            self.claim(state);
            self.batch.push(self.scope.token, self.scope.start);
        } else {
            self.submit_later(state);
        }
    }

    /// Ends the output of the connection, which others need not wait for: it is sent by
    /// [`sent`](Self::sent). Returns whether that is still to be called; it is anyway for a connection
    /// of which something is in flight.
    pub fn postpone(&mut self, state: &mut SendState) -> bool {
        let Scope { token, start, .. } = self.scope;
        if self.scope_bytes() == 0 {
            return false;
        }
        self.queue(token, start);
        let is_first = state.is_idle();
        if is_first {
            state.stage = Stage::Batched;
        }
        is_first
    }

    /// A batch holds one send of each connection: what comes after it waits.
    #[inline(never)]
    fn submit_later(&mut self, state: &mut SendState) {
        let Scope { token, start, .. } = self.scope;
        self.queue(token, start);
        if state.is_idle() {
            self.await_result(state);
        }
    }

    /// Lets what the batch holds from `start` on wait for the connection's peer.
    fn queue(&mut self, token: Token, start: usize) {
        let queue = self.queues.entry(token).or_default();
        queue.waiting.extend_from_slice(&self.batch.bytes[start..]);
        self.batch.bytes.truncate(start);
    }

    /// Whether the connection can send with the batch: nothing is in flight, and the batch has
    /// nothing of it.
    #[inline]
    pub fn is_free(&self, state: &SendState) -> bool {
        state.is_idle() && state.batch != self.batch.number()
    }

    /// Notes that the connection has sent what belongs before the rest of the batch, at once.
    pub fn claim(&mut self, state: &mut SendState) {
        state.batch = self.batch.number();
    }

    /// Whether the batch may hold output of the connection whose result nobody awaits.
    #[inline]
    pub fn is_unawaited(&self, state: &SendState) -> bool {
        state.is_idle() && state.batch == self.batch.number()
    }

    /// Awaits the result of the output that was [submitted](Self::submit) last: the connection is
    /// idle no more until then.
    pub fn await_result(&mut self, state: &mut SendState) {
        state.stage = Stage::Batched;
        self.awaiting.push(self.scope.token);
    }

    /// How much waits for the peer, in bytes, apart from what is in the batch.
    #[inline]
    pub fn pending_bytes(&self, token: Token, state: &SendState) -> usize {
        if state.is_idle() { 0 } else { self.queue_bytes(token) }
    }

    #[inline(never)]
    fn queue_bytes(&self, token: Token) -> usize {
        self.queues.get(&token).map_or(0, |queue| queue.in_flight_bytes + queue.waiting.len())
    }

    /// How much memory is taken by what waits for the peer, in bytes.
    #[inline]
    pub fn memory_bytes(&self, token: Token, state: &SendState) -> usize {
        if state.is_idle() { 0 } else { self.queue_memory_bytes(token) }
    }

    #[inline(never)]
    fn queue_memory_bytes(&self, token: Token) -> usize {
        self.queues.get(&token).map_or(0, Queue::memory_bytes)
    }

    /// The driver still has `bytes` of the last send. What the batch holds already for the
    /// connection goes behind it.
    fn block(&mut self, token: Token, bytes: usize, state: &mut SendState) {
        let queue = self.queues.entry(token).or_default();
        if state.batch == self.batch.number()
            && let Some(bytes) = self.batch.withdraw(token)
        {
            queue.waiting.splice(..0, bytes);
        }
        queue.in_flight_bytes = bytes;
        state.stage = Stage::Blocked;
    }

    /// The send in flight has completed. Starts the next one, if something waits and there is a
    /// use in it.
    pub fn sent<D: Driver>(
        &mut self,
        driver: &mut D,
        token: Token,
        state: &mut SendState,
        result: &io::Result<()>,
    ) {
        let waiting = self.queues.get_mut(&token).filter(|queue| !queue.waiting.is_empty());
        match waiting.filter(|_| result.is_ok()) {
            None => self.give_up(token, state),
            Some(queue) => {
                let bytes = std::mem::take(&mut queue.waiting);
                queue.in_flight_bytes = bytes.len();
                state.stage = Stage::Blocked;
                driver.send(token, bytes);
            }
        }
    }

    /// Nothing more can be sent: what waits is dropped.
    pub fn give_up(&mut self, token: Token, state: &mut SendState) {
        if !state.is_idle() {
            state.stage = Stage::Idle;
            self.queues.remove(&token);
        }
        if self.scope.token == token {
            self.scope.queued_bytes = 0;
        }
    }

    /// Makes the sends of the batch; `made` is called after each, see [`Driver::flush`].
    pub fn flush<D: Driver>(&mut self, driver: &mut D, made: impl FnMut(Token)) {
        driver.flush(&mut self.batch, made);
        std::mem::swap(&mut self.awaiting, &mut self.flushed);
    }
}

#[cfg(test)]
mod tests;
