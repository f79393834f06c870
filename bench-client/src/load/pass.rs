//! One pass of a thread: it receives from everything that is ready, then sends.

use std::{io, mem, time::Duration};

use wireloop::io::{Completion, Driver, Token};

use super::{Loader, POSTPONED};
use crate::{
    connection::{Connection, State, States, ended, not_connected},
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
        let mut timeout = timeout.min(due.saturating_sub(now));
        if self.run.outbox.is_busy() {
            timeout = Duration::ZERO;
        }
        if !self.postponed.is_empty() {
            self.begin_postponed();
            timeout = timeout.min(POSTPONED);
        }
        // What does not wait is work: io_uring sends in it.
        let waits_from = (!timeout.is_zero()).then_some(now);
        let states = &mut States(&mut self.connections);
        self.run.outbox.wait(&mut self.driver, Some(timeout), states)?;
        let now = self.now();
        if let Some(watch) = &mut self.watch {
            watch.waited(waits_from.unwrap_or(now), now);
        }
        while let Some((token, result)) = self.run.outbox.next_result() {
            self.sent(token, result);
        }
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
                    self.run.outbox.begin(token, &connection.output);
                    let was_opening = connection.opening_since().is_some();
                    let (group, length) = (connection.group(), bytes.len());
                    let result = connection.received(bytes, now, &mut self.run);
                    connection.submit(&mut self.run.outbox);
                    self.opening -= usize::from(was_opening && connection.is_open());
                    self.failed.extend(result.err().map(|failure| (token, failure)));
                    if connection.is_closed() {
                        self.close_socket(token);
                    }
                    self.rest(group, token, length, now);
                }
                Completion::Connected { token, result } => self.connected(token, result),
                Completion::ReceiveEnded { token, result } => {
                    let connection = &self.connections[token.index as usize];
                    self.failed.push((token, ended(result, connection.is_open())));
                }
                Completion::Sent { token, result, .. } => self.sent(token, result),
                Completion::Closed { token } => self.closed(token),
                // Woken to look around; a client accepts nothing.
                _ => {}
            }
        }
        self.flush();
        Ok(())
    }

    fn connected(&mut self, token: Token, result: io::Result<()>) {
        if let Err(error) = result {
            self.fail(token, not_connected(&error));
            return;
        }
        let connection = &mut self.connections[token.index as usize];
        self.run.outbox.begin(token, &connection.output);
        let now = self.run.plan.now();
        let started = connection.connected(now, &mut self.run);
        connection.submit(&mut self.run.outbox);
        match started {
            Ok(()) => self.driver.receive(token),
            Err(failure) => self.fail(token, failure),
        }
    }

    fn sent(&mut self, token: Token, result: io::Result<()>) {
        let connection = &mut self.connections[token.index as usize];
        let now = self.run.plan.now();
        connection.stamp(now, &mut self.run);
        self.run.outbox.sent(&mut self.driver, token, &mut connection.output, &result);
        if let Err(error) = result {
            let was_open = connection.is_open();
            self.fail(token, ended(Err(error), was_open));
        }
    }

    /// Sends the output of the pass. Each message is stamped with the moment before its write.
    fn flush(&mut self) {
        let Self { driver, run, connections, .. } = self;
        let mut outbox = mem::take(&mut run.outbox);
        let mut before_write = run.plan.now();
        outbox.flush(driver, |token| {
            connections[token.index as usize].stamp(before_write, run);
            before_write = run.plan.now();
        });
        run.outbox = outbox;
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
        self.close_socket(token);
    }

    /// Closes the socket; what waits to be sent is dropped.
    pub(super) fn close_socket(&mut self, token: Token) {
        let connection = &mut self.connections[token.index as usize];
        self.run.outbox.give_up(token, &mut connection.output);
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
            self.run.outbox.begin(connection.token, &connection.output);
            action(connection, self.run.plan.now(), &mut self.run);
            connection.submit(&mut self.run.outbox);
        }
    }

    pub(super) fn now(&self) -> Duration {
        self.run.plan.now()
    }
}
