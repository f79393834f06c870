//! The loop of a thread: it opens its connections, loads them, waits for what is late, and closes.

use std::{io, ops::Range, time::Duration};

use wireloop::io::{Completion, Driver, SendBatch, Token};

use crate::{
    connection::{Connection, State, ended, not_connected},
    health::Watch,
    pacer::Pacer,
    run::{Plan, Run},
    stats::{Failure, Stats},
};

/// How long a thread waits at most before it looks around.
const LOOK_AROUND: Duration = Duration::from_millis(100);

/// How long the closing handshakes may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// How many messages that are due are sent before the answers to earlier ones are received.
const SENDS_PER_PASS: usize = 256;

/// A thread's share of the load.
#[derive(Debug)]
pub(crate) struct Loader<'p, D> {
    driver: D,
    run: Run<'p>,
    /// The numbers of this thread's connections.
    numbers: Range<usize>,
    connections: Vec<Connection>,
    /// How many are neither open nor closed.
    opening: usize,
    closed: usize,
    /// When the next progress line is told what has happened. Adding histograms takes longer than
    /// a pass.
    next_publish: Duration,
    /// When late messages are looked for.
    next_check: Duration,
    /// Within the measurement.
    watch: Option<Watch>,
    failed: Vec<(Token, Failure)>,
    /// Connections that have more to send than what is in the batch.
    following: Vec<Token>,
}

impl<'p, D: Driver> Loader<'p, D> {
    pub(crate) fn new(driver: D, plan: &'p Plan, numbers: Range<usize>) -> Self {
        Self {
            driver,
            run: Run::new(plan),
            numbers,
            connections: Vec::new(),
            opening: 0,
            closed: 0,
            next_publish: Duration::ZERO,
            next_check: Duration::ZERO,
            watch: None,
            failed: Vec::new(),
            following: Vec::new(),
        }
    }

    /// Opens all connections, says how many through `opened`, and goes on when there is a schedule.
    pub(crate) fn run(mut self, opened: impl FnOnce(usize)) -> io::Result<Stats> {
        self.open()?;
        opened(self.connections.iter().filter(|connection| connection.is_open()).count());
        while self.run.plan.schedule.get().is_none() && !self.is_interrupted() {
            self.pass(LOOK_AROUND)?;
        }
        if let Some(schedule) = self.run.plan.schedule.get() {
            while self.now() < schedule.start && !self.is_interrupted() {
                self.pass(schedule.start.saturating_sub(self.now()))?;
            }
            self.load(schedule.start)?;
            self.drain()?;
        }
        self.close()?;
        self.run.publish();
        Ok(self.run.stats)
    }

    fn open(&mut self) -> io::Result<()> {
        let arguments = &self.run.plan.arguments;
        let most = arguments.connecting.get().div_ceil(arguments.threads.get());
        let timeout = arguments.connect_timeout;
        while (self.connections.len() < self.numbers.len() || self.opening > 0)
            && !self.is_interrupted()
        {
            while self.opening < most && self.connections.len() < self.numbers.len() {
                self.connect();
            }
            self.pass(LOOK_AROUND)?;
            if self.now() >= self.next_check {
                self.next_check = self.now() + LOOK_AROUND;
                self.fail_late(timeout);
            }
        }
        Ok(())
    }

    /// Gives up the connections that have taken too long to open.
    fn fail_late(&mut self, timeout: Duration) {
        let now = self.now();
        for index in 0..self.connections.len() {
            let connection = &self.connections[index];
            let since = connection.opening_since();
            if since.is_some_and(|since| now.saturating_sub(since) > timeout) {
                self.fail(connection.token, Failure::ConnectTimeout);
            }
        }
    }

    fn connect(&mut self) {
        let index = self.connections.len();
        let number = self.numbers.start + index;
        let token = Token { index: index as u32, generation: 1 };
        let target = &self.run.plan.target;
        let result = self.driver.connect(token, target.address, target.source(number));
        self.connections.push(Connection::new(token, number as u32, self.run.plan.now()));
        self.opening += 1;
        if let Err(error) = result {
            self.fail(token, not_connected(&error));
        }
    }

    /// Sends until the end of the measurement: what echoes release, or what is due.
    fn load(&mut self, start: Duration) -> io::Result<()> {
        self.run.is_loading = true;
        let mut pacer = self.run.plan.rate.map(|rate| {
            let all = self.run.plan.arguments.connections.get();
            Pacer::new(rate * self.numbers.len() as f64 / all as f64)
        });
        if pacer.is_none() {
            self.release_first();
        }
        while let Some((from, until)) = self.run.plan.window() {
            let now = self.now();
            if now >= until {
                break;
            }
            if self.closed == self.connections.len() {
                self.run.plan.fail_thread();
                break;
            }
            if now >= from && self.watch.is_none() {
                self.watch = Some(Watch::new(now));
            }
            let end = if self.watch.is_none() { from } else { until };
            let mut wait = end.saturating_sub(now).min(LOOK_AROUND);
            if let Some(pacer) = &mut pacer {
                self.send_due(pacer, start);
                let due = start + pacer.due();
                wait = wait.min(due.saturating_sub(self.now()));
            } else {
                self.replace_late();
                wait = wait.min(self.next_check.saturating_sub(self.now()));
            }
            self.pass(wait)?;
        }
        self.run.is_loading = false;
        if let Some(watch) = self.watch.take() {
            (self.run.stats.cpu, self.run.stats.health) = watch.end(self.now());
        }
        Ok(())
    }

    /// The first messages of a closed loop, as many as may be in flight.
    fn release_first(&mut self) {
        for index in 0..self.connections.len() {
            self.with(index, |connection, now, run| connection.send_first(now, run));
        }
    }

    /// Sends others in the place of the messages of a closed loop that are late. Not in each pass:
    /// with very many connections it would become late itself.
    fn replace_late(&mut self) {
        let now = self.now();
        if now < self.next_check {
            return;
        }
        let timeout = self.run.plan.arguments.answer_timeout;
        self.next_check = now + (timeout / 8).max(Duration::from_millis(10));
        for index in 0..self.connections.len() {
            self.with(index, |connection, now, run| connection.replace_late(now, run));
        }
    }

    /// Sends what is due in the open loop, to one connection after the other.
    fn send_due(&mut self, pacer: &mut Pacer, start: Duration) {
        let most = self.run.plan.arguments.max_in_flight.get();
        for _ in 0..SENDS_PER_PASS {
            let since_start = self.now().saturating_sub(start);
            let Some((number, due)) = pacer.take(since_start) else { return };
            let index = (number % self.connections.len() as u64) as usize;
            let connection = &self.connections[index];
            if !connection.is_open() || connection.in_flight() >= most {
                if self.run.measures(start + due) {
                    let is_open = connection.is_open();
                    self.run.fails(if is_open { Failure::Missed } else { Failure::Unsent });
                }
                continue;
            }
            self.with(index, |connection, now, run| connection.send(start + due, now, run));
        }
    }

    /// Waits for the echoes that are late, then counts those that never came.
    fn drain(&mut self) -> io::Result<()> {
        let deadline = self.now() + self.run.plan.arguments.drain;
        while self.now() < deadline
            && self.connections.iter().any(|c| c.is_open() && c.in_flight() > 0)
        {
            self.pass(LOOK_AROUND)?;
        }
        for index in 0..self.connections.len() {
            self.with(index, |connection, now, run| connection.abandon(now, run));
        }
        Ok(())
    }

    fn close(&mut self) -> io::Result<()> {
        for index in 0..self.connections.len() {
            self.with(index, |connection, _, run| connection.close(run));
        }
        let deadline = self.now() + CLOSE_TIMEOUT;
        while self.closed < self.connections.len() && self.now() < deadline {
            self.pass(LOOK_AROUND)?;
        }
        Ok(())
    }

    /// One pass: receives from everything that is ready, then sends.
    fn pass(&mut self, timeout: Duration) -> io::Result<()> {
        let timeout = if self.run.batch.is_empty() { timeout } else { Duration::ZERO };
        let now = self.now();
        self.watch.iter_mut().for_each(|watch| watch.waits(now));
        self.driver.wait(Some(timeout))?;
        let now = self.now();
        self.watch.iter_mut().for_each(|watch| watch.woke(now));
        while let Some(completion) = self.driver.next() {
            match completion {
                Completion::Received { token, bytes } => {
                    let now = self.run.plan.now();
                    let connection = &mut self.connections[token.index as usize];
                    let start = self.run.batch.bytes.len();
                    let was_opening = connection.opening_since().is_some();
                    let result = connection.received(bytes, now, &mut self.run);
                    submit(connection, start, &mut self.run.batch, &mut self.following);
                    self.opening -= usize::from(was_opening && connection.is_open());
                    self.failed.extend(result.err().map(|failure| (token, failure)));
                    if connection.is_closed() {
                        self.driver.close(token);
                    }
                }
                Completion::Connected { token, result } => self.connected(token, result),
                Completion::ReceiveEnded { token, result } => {
                    let connection = &self.connections[token.index as usize];
                    self.failed.push((token, ended(result, connection.is_open())));
                }
                Completion::Sent { token, result } => self.sent(token, result),
                Completion::Closed { .. } => self.closed += 1,
                // Woken to look around; a client accepts nothing.
                _ => {}
            }
        }
        self.flush();
        if now >= self.next_publish {
            self.next_publish = now + LOOK_AROUND;
            self.run.publish();
        }
        Ok(())
    }

    fn connected(&mut self, token: Token, result: io::Result<()>) {
        if let Err(error) = result {
            self.fail(token, not_connected(&error));
            return;
        }
        let start = self.run.batch.bytes.len();
        let connection = &mut self.connections[token.index as usize];
        let started = connection.connected(&mut self.run);
        submit(connection, start, &mut self.run.batch, &mut self.following);
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
        let Self { driver, run, connections, failed, .. } = self;
        let mut batch = std::mem::take(&mut run.batch);
        let mut before_write = run.plan.now();
        driver.flush(&mut batch, |token| {
            connections[token.index as usize].stamp(before_write, run);
            before_write = run.plan.now();
        });
        while let Some((token, result)) = driver.unsent() {
            let connection = &mut connections[token.index as usize];
            match result {
                Ok(left) => connection.queue.blocked(token, left, &mut batch),
                Err(error) => failed.push((token, ended(Err(error), connection.is_open()))),
            }
        }
        run.batch = batch;
        for token in std::mem::take(&mut self.following) {
            if !self.connections[token.index as usize].queue.is_blocked() {
                self.sent(token, Ok(()));
            }
        }
        for (token, failure) in std::mem::take(&mut self.failed) {
            self.fail(token, failure);
        }
    }

    /// The connection has failed; an end while closing is none.
    fn fail(&mut self, token: Token, failure: Failure) {
        let connection = &mut self.connections[token.index as usize];
        self.opening -= usize::from(connection.opening_since().is_some());
        match std::mem::replace(&mut connection.state, State::Closed) {
            State::Closed => return,
            State::Closing => {}
            _ => {
                connection.abandon(self.run.plan.now(), &mut self.run);
                self.run.fails(failure);
            }
        }
        self.driver.close(token);
    }

    /// Does something to an open connection, and submits what it sends.
    fn with(&mut self, index: usize, action: impl FnOnce(&mut Connection, Duration, &mut Run<'p>)) {
        let connection = &mut self.connections[index];
        if connection.is_open() {
            let start = self.run.batch.bytes.len();
            action(connection, self.run.plan.now(), &mut self.run);
            submit(connection, start, &mut self.run.batch, &mut self.following);
        }
    }

    fn now(&self) -> Duration {
        self.run.plan.now()
    }

    fn is_interrupted(&self) -> bool {
        self.run.plan.interrupted.get().is_some()
    }
}

/// Sends what the connection has appended to the batch since `start`.
fn submit(
    connection: &mut Connection,
    start: usize,
    batch: &mut SendBatch,
    following: &mut Vec<Token>,
) {
    let queue = &mut connection.queue;
    queue.submit(connection.token, batch, start);
    if queue.is_in(batch) && queue.has_waiting() {
        queue.await_result();
        following.push(connection.token);
    }
}
