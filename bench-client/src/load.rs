//! The loop of a thread: it opens its connections, loads them, waits for what is late, and closes.

use std::{io, mem, ops::Range, sync::mpsc, time::Duration};

use wireloop::io::{Completion, Driver, SendBatch, Token};

use crate::{
    connection::{Connection, State, ended, not_connected},
    crew::{Command, Event, Link},
    measure::{failure::Failure, health::Watch, stats::Interval},
    plan::{Plan, Trial},
    run::Run,
    squad::Squad,
};

/// How long a thread waits at most before it looks around.
const LOOK_AROUND: Duration = Duration::from_millis(100);

/// How long a full queue is left alone.
const POSTPONED: Duration = Duration::from_millis(1);

/// How long the closing handshakes may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// How many messages that are due are sent before the answers to earlier ones are received.
const SENDS_PER_PASS: usize = 256;

/// A thread's share of the load.
#[derive(Debug)]
pub(crate) struct Loader<'p, D> {
    driver: D,
    run: Run<'p>,
    squads: Vec<Squad>,
    connections: Vec<Connection>,
    /// How many are neither open nor closed.
    opening: usize,
    closed: usize,
    /// When the next second of the run begins.
    next_second: Duration,
    /// When late messages are looked for.
    next_check: Duration,
    /// Within the measurement.
    watch: Option<Watch>,
    failed: Vec<(Token, Failure)>,
    /// Connections that are still to be made: the server's queue was full.
    postponed: Vec<Token>,
    /// Connections that have more to send than what is in the batch.
    following: Vec<Token>,
}

impl<'p, D: Driver> Loader<'p, D> {
    /// The share of the `workers`, of `all`.
    pub(crate) fn new(driver: D, plan: &'p Plan, workers: Range<usize>, all: usize) -> Self {
        let mut squads: Vec<Squad> = Vec::new();
        for (group, plan) in plan.groups.iter().enumerate() {
            let start = squads.last().map_or(0, |squad| squad.slots.end);
            squads.push(Squad::new(group, plan, &workers, all, start));
        }
        Self {
            driver,
            run: Run::new(plan),
            squads,
            connections: Vec::new(),
            opening: 0,
            closed: 0,
            next_second: Duration::from_secs(plan.now().as_secs() + 1),
            next_check: Duration::ZERO,
            watch: None,
            failed: Vec::new(),
            postponed: Vec::new(),
            following: Vec::new(),
        }
    }

    /// Opens all connections, then obeys until told to finish.
    pub(crate) fn work(mut self, link: &Link) {
        if let Err(error) = self.obey(link) {
            link.tell(Event::Broken(error.to_string()));
        }
    }

    fn obey(&mut self, link: &Link) -> io::Result<()> {
        self.open(link)?;
        let open = self.connections.iter().filter(|connection| connection.is_open()).count();
        link.tell(Event::Ready { open });
        loop {
            match link.commands.try_recv() {
                Ok(Command::Trial(trial)) => {
                    self.attempt(trial, link)?;
                    link.tell(Event::Tried(self.run.take_tally()));
                }
                Ok(Command::Finish) | Err(mpsc::TryRecvError::Disconnected) => break,
                Err(mpsc::TryRecvError::Empty) => self.pass(LOOK_AROUND, link)?,
            }
        }
        self.close(link)?;
        self.publish(link);
        link.tell(Event::Finished(self.run.take_tally()));
        Ok(())
    }

    fn open(&mut self, link: &Link) -> io::Result<()> {
        let arguments = &self.run.plan.run;
        let most = arguments.connecting.get().div_ceil(arguments.threads.get());
        let timeout = arguments.connect_timeout;
        let wanted = self.squads.last().map_or(0, |squad| squad.slots.end);
        while (self.connections.len() < wanted || self.opening > 0) && !self.run.plan.is_over() {
            while self.opening < most && self.connections.len() < wanted {
                self.connect();
            }
            self.pass(LOOK_AROUND, link)?;
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
        let Some(squad) = self.squads.iter().find(|squad| squad.slots.contains(&index)) else {
            return;
        };
        let number = squad.first + index - squad.slots.start;
        let token = Token { index: index as u32, generation: 1 };
        let now = self.run.plan.now();
        self.connections.push(Connection::new(token, squad.group, number as u32, now));
        self.opening += 1;
        self.begin(token);
    }

    /// Has the driver connect; later, if the queue of a Unix socket is full.
    fn begin(&mut self, token: Token) {
        let connection = &self.connections[token.index as usize];
        let target = &self.run.group(connection.group()).target;
        let number = connection.number();
        match self.driver.connect(token, target.address(number), target.source(number)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.postponed.push(token),
            Err(error) => {
                // Of what the driver has never had it tells no end.
                self.closed += 1;
                self.fail(token, not_connected(&error));
            }
        }
    }

    /// Tries again to connect what could not be.
    fn begin_postponed(&mut self) {
        for token in mem::take(&mut self.postponed) {
            if self.connections[token.index as usize].is_closed() {
                self.closed += 1;
            } else {
                self.begin(token);
            }
        }
    }

    /// Loads the server from the trial's start to its end, and waits for what is late.
    fn attempt(&mut self, trial: Trial, link: &Link) -> io::Result<()> {
        while self.now() < trial.start && !self.run.plan.is_over() {
            self.pass(trial.start.saturating_sub(self.now()), link)?;
        }
        self.run.trial = Some(trial);
        for squad in &mut self.squads {
            let plan = self.run.group(squad.group);
            (squad.pacer, squad.pings) = (None, None);
            if self.run.is_active(squad.group) {
                squad.begin(plan, &trial);
            }
        }
        self.load(&trial, link)?;
        self.drain(link)?;
        self.run.trial = None;
        Ok(())
    }

    /// Sends until the end of the measurement: what echoes release, or what is due.
    fn load(&mut self, trial: &Trial, link: &Link) -> io::Result<()> {
        self.run.is_loading = true;
        self.release_first();
        loop {
            let (from, until) = self.run.plan.window(trial);
            let now = self.now();
            if now >= until {
                break;
            }
            if self.closed == self.connections.len() {
                link.tell(Event::Failed);
                break;
            }
            if now >= from && self.watch.is_none() {
                self.watch = Some(Watch::new(now));
            }
            let end = if self.watch.is_none() { from } else { until };
            let mut wait = end.saturating_sub(now).min(LOOK_AROUND);
            self.send_due(trial.start);
            self.ping_due(trial.start);
            self.replace_late();
            let due = self.squads.iter().map(Squad::due).min().unwrap_or(Duration::MAX);
            let next = self.next_check.min(trial.start.saturating_add(due));
            wait = wait.min(next.saturating_sub(self.now()));
            self.pass(wait, link)?;
        }
        self.run.is_loading = false;
        if let Some(watch) = self.watch.take() {
            let (cpu, health) = watch.end(self.now());
            self.run.tally.cpu += cpu;
            self.run.tally.health.merge(&health);
        }
        Ok(())
    }

    /// The first messages of closed loops, as many as may be in flight.
    fn release_first(&mut self) {
        for place in 0..self.squads.len() {
            let Squad { group, ref slots, .. } = self.squads[place];
            if self.run.releases(group) {
                for index in slots.clone() {
                    self.with(index, |connection, now, run| connection.send_first(now, run));
                }
            }
        }
    }

    /// Sends others in the place of the messages of closed loops that are late. Not in each pass:
    /// with very many connections it would become late itself.
    fn replace_late(&mut self) {
        let now = self.now();
        if now < self.next_check {
            return;
        }
        self.next_check = now + LOOK_AROUND;
        for place in 0..self.squads.len() {
            let Squad { group, ref slots, .. } = self.squads[place];
            if self.run.releases(group) {
                let timeout = self.run.group(group).arguments.load.answer_timeout;
                let soon = now + (timeout / 8).max(Duration::from_millis(10));
                self.next_check = self.next_check.min(soon);
                for index in slots.clone() {
                    self.with(index, |connection, now, run| connection.replace_late(now, run));
                }
            }
        }
    }

    /// Sends what is due in open loops, to one connection after the other.
    fn send_due(&mut self, start: Duration) {
        for place in 0..self.squads.len() {
            for _ in 0..SENDS_PER_PASS {
                let since_start = self.now().saturating_sub(start);
                let Squad { group, slots, pacer, .. } = &mut self.squads[place];
                let Some((number, due)) = pacer.as_mut().and_then(|pacer| pacer.take(since_start))
                else {
                    break;
                };
                let index = slots.start + (number % slots.len() as u64) as usize;
                let group = *group;
                self.send_one(group, index, start + due);
            }
        }
    }

    /// Pings the connections whose turn it is.
    fn ping_due(&mut self, start: Duration) {
        for place in 0..self.squads.len() {
            for _ in 0..SENDS_PER_PASS {
                let since_start = self.now().saturating_sub(start);
                let Squad { slots, pings, .. } = &mut self.squads[place];
                let Some((number, _)) = pings.as_mut().and_then(|pings| pings.take(since_start))
                else {
                    break;
                };
                let index = slots.start + (number % slots.len() as u64) as usize;
                self.with(index, |connection, now, run| connection.ping(now, run));
            }
        }
    }

    /// Sends a message of an open loop, if that is possible.
    fn send_one(&mut self, group: usize, index: usize, intended: Duration) {
        let most = self.run.group(group).arguments.load.max_in_flight.get();
        let connection = &self.connections[index];
        if connection.is_open() && connection.has_room(most) {
            self.with(index, |connection, now, run| connection.send(intended, now, run));
        } else if self.run.measures(intended) {
            let is_open = connection.is_open();
            self.run.fails(group, if is_open { Failure::Missed } else { Failure::Unsent });
        }
    }

    /// Waits for the echoes that are late, then counts those that never came.
    fn drain(&mut self, link: &Link) -> io::Result<()> {
        let deadline = self.now() + self.run.plan.run.drain;
        while self.now() < deadline
            && self.connections.iter().any(|c| c.is_open() && c.in_flight() > 0)
        {
            self.pass(LOOK_AROUND, link)?;
        }
        for index in 0..self.connections.len() {
            self.with(index, |connection, now, run| connection.abandon(now, run));
        }
        Ok(())
    }

    fn close(&mut self, link: &Link) -> io::Result<()> {
        for index in 0..self.connections.len() {
            self.with(index, |connection, _, run| connection.close(run));
        }
        let deadline = self.now() + CLOSE_TIMEOUT;
        while self.closed < self.connections.len() && self.now() < deadline {
            self.pass(LOOK_AROUND, link)?;
        }
        Ok(())
    }

    /// Tells what has happened in the second that has just ended.
    fn publish(&mut self, link: &Link) {
        let second = self.next_second.as_secs() - 1;
        self.next_second = Duration::from_secs(self.now().as_secs() + 1);
        let fresh = vec![Interval::default(); self.run.intervals.len()];
        let groups = mem::replace(&mut self.run.intervals, fresh);
        link.tell(Event::Interval { second, groups });
    }

    /// One pass: receives from everything that is ready, then sends.
    fn pass(&mut self, timeout: Duration, link: &Link) -> io::Result<()> {
        let mut timeout = if self.run.batch.is_empty() { timeout } else { Duration::ZERO };
        if !self.postponed.is_empty() {
            self.begin_postponed();
            timeout = timeout.min(POSTPONED);
        }
        let now = self.now();
        self.watch.iter_mut().for_each(|watch| watch.waits(now));
        self.driver.wait(Some(timeout))?;
        let now = self.now();
        self.watch.iter_mut().for_each(|watch| watch.woke(now));
        if now >= self.next_second {
            self.publish(link);
        }
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
        Ok(())
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
        let mut batch = mem::take(&mut run.batch);
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
        for token in mem::take(&mut self.following) {
            if !self.connections[token.index as usize].queue.is_blocked() {
                self.sent(token, Ok(()));
            }
        }
        for (token, failure) in mem::take(&mut self.failed) {
            self.fail(token, failure);
        }
    }

    /// The connection has failed; an end while closing is none.
    fn fail(&mut self, token: Token, failure: Failure) {
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
}

/// Sends what the connection has appended to the batch since `start`.
fn submit(
    connection: &mut Connection,
    start: usize,
    batch: &mut SendBatch,
    following: &mut Vec<Token>,
) {
    connection.seal(batch, start);
    let queue = &mut connection.queue;
    queue.submit(connection.token, batch, start);
    if queue.is_in(batch) && queue.has_waiting() {
        queue.await_result();
        following.push(connection.token);
    }
}
