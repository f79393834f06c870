//! One pass of a thread: it receives from everything that is ready, then sends.

use std::{io, mem, time::Duration};

use wireloop::io::{Completion, Driver, SendBatch, Token};

use super::{Loader, POSTPONED};
use crate::{
    connection::{Connection, State, ended, not_connected},
    crew::Link,
    measure::failure::Failure,
    run::Run,
};

impl<'p, D: Driver> Loader<'p, D> {
    /// One pass: receives from everything that is ready, then sends.
    pub(super) fn pass(&mut self, timeout: Duration, link: &Link) -> io::Result<()> {
        self.run_timers();
        self.open_waiting();
        let now = self.now();
        let due = self.run.timers.due().min(self.opening_due());
        let mut timeout = match self.run.batch.is_empty() && self.flushed.is_empty() {
            true => timeout.min(due.saturating_sub(now)),
            false => Duration::ZERO,
        };
        if !self.postponed.is_empty() {
            self.begin_postponed();
            timeout = timeout.min(POSTPONED);
        }
        // What does not wait is work: io_uring sends in it.
        let waits_from = (!timeout.is_zero()).then_some(now);
        self.driver.wait(Some(timeout))?;
        let now = self.now();
        if let Some(watch) = &mut self.watch {
            watch.waited(waits_from.unwrap_or(now), now);
        }
        self.take_results();
        if now >= self.next_second {
            self.publish(link);
        }
        if now >= self.next_tell {
            self.tell_fan_out(link);
        }
        while let Some(completion) = self.driver.next() {
            match completion {
                Completion::Received { token, bytes } => {
                    let now = self.run.plan.now();
                    let connection = &mut self.connections[token.index as usize];
                    let start = self.run.batch.bytes.len();
                    let was_opening = connection.opening_since().is_some();
                    let (group, length) = (connection.group(), bytes.len());
                    let result = connection.received(bytes, now, &mut self.run);
                    submit(connection, start, &mut self.run.batch, &mut self.awaiting);
                    self.opening -= usize::from(was_opening && connection.is_open());
                    self.failed.extend(result.err().map(|failure| (token, failure)));
                    if connection.is_closed() {
                        self.driver.close(token);
                    }
                    self.rest(group, token, length, now);
                }
                Completion::Connected { token, result } => self.connected(token, result),
                Completion::ReceiveEnded { token, result } => {
                    let connection = &self.connections[token.index as usize];
                    self.failed.push((token, ended(result, connection.is_open())));
                }
                Completion::Sent { token, result } => self.sent(token, result),
                Completion::Closed { token } => self.closed(token),
                // Woken to look around; a client accepts nothing.
                _ => {}
            }
        }
        self.flush();
        Ok(())
    }

    /// Learns what became of the last batch.
    fn take_results(&mut self) {
        while let Some((token, result)) = self.driver.unsent() {
            let connection = &mut self.connections[token.index as usize];
            match result {
                Ok(left) => connection.queue.blocked(token, left, &mut self.run.batch),
                Err(error) => self.failed.push((token, ended(Err(error), connection.is_open()))),
            }
        }
        let mut flushed = mem::take(&mut self.flushed);
        for token in flushed.drain(..) {
            let connection = &self.connections[token.index as usize];
            if connection.token == token && !connection.queue.is_blocked() {
                self.sent(token, Ok(()));
            }
        }
        self.flushed = flushed;
    }

    fn connected(&mut self, token: Token, result: io::Result<()>) {
        if let Err(error) = result {
            self.fail(token, not_connected(&error));
            return;
        }
        let start = self.run.batch.bytes.len();
        let connection = &mut self.connections[token.index as usize];
        let now = self.run.plan.now();
        let started = connection.connected(now, &mut self.run);
        submit(connection, start, &mut self.run.batch, &mut self.awaiting);
        match started {
            Ok(()) => self.driver.receive(token),
            Err(failure) => self.fail(token, failure),
        }
    }

    fn sent(&mut self, token: Token, result: io::Result<()>) {
        let connection = &mut self.connections[token.index as usize];
        let now = self.run.plan.now();
        connection.stamp(now, &mut self.run);
        match (result, connection.queue.sent()) {
            (Ok(()), Some(next)) => self.driver.send(token, next),
            (Ok(()), None) => {}
            (Err(error), _) => {
                let was_open = connection.is_open();
                self.fail(token, ended(Err(error), was_open));
            }
        }
    }

    /// Sends the output of the pass. Each message is stamped with the moment before its write.
    fn flush(&mut self) {
        let Self { driver, run, connections, .. } = self;
        let mut batch = mem::take(&mut run.batch);
        let mut before_write = run.plan.now();
        driver.flush(&mut batch, |token| {
            connections[token.index as usize].stamp(before_write, run);
            before_write = run.plan.now();
        });
        run.batch = batch;
        mem::swap(&mut self.awaiting, &mut self.flushed);
        for (token, failure) in mem::take(&mut self.failed) {
            self.fail(token, failure);
        }
    }

    /// The connection has failed; an end while closing is none.
    pub(super) fn fail(&mut self, token: Token, failure: Failure) {
        let connection = &mut self.connections[token.index as usize];
        self.opening -= usize::from(connection.opening_since().is_some());
        match mem::replace(&mut connection.state, State::Closed) {
            State::Closed => return,
            State::Closing => {}
            _ => {
                let group = connection.group();
                connection.abandon(self.run.plan.now(), &mut self.run);
                self.run.fails(group, failure);
            }
        }
        self.driver.close(token);
    }

    /// Does something to an open connection, and submits what it sends.
    pub(super) fn with(
        &mut self,
        index: usize,
        action: impl FnOnce(&mut Connection, Duration, &mut Run<'p>),
    ) {
        let connection = &mut self.connections[index];
        if connection.is_open() {
            let start = self.run.batch.bytes.len();
            action(connection, self.run.plan.now(), &mut self.run);
            submit(connection, start, &mut self.run.batch, &mut self.awaiting);
        }
    }

    pub(super) fn now(&self) -> Duration {
        self.run.plan.now()
    }
}

/// Sends what the connection has appended to the batch since `start`.
fn submit(
    connection: &mut Connection,
    start: usize,
    batch: &mut SendBatch,
    awaiting: &mut Vec<Token>,
) {
    connection.seal(batch, start);
    let queue = &mut connection.queue;
    queue.submit(connection.token, batch, start);
    if queue.is_in(batch) && queue.has_waiting() {
        queue.await_result();
        awaiting.push(connection.token);
    }
}
