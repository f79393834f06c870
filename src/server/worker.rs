//! One worker: one thread, one driver, one loop.

use std::{
    collections::VecDeque,
    io,
    sync::Arc,
    time::{Duration, SystemTime},
};

mod coming;
mod stopping;

use self::stopping::Stopping;
use super::{
    accepting::Accepting,
    balance::Seat,
    deadlines::Deadlines,
    held::{Held, LITTLE_BYTES},
    refusing::Room,
};
use crate::{
    Config,
    conn::{
        Application, Command, Connection, Connections, Context, Inbox, Output, Shared, Step, Tick,
        Turn,
    },
    io::{Completion, Driver, Token},
    session::Routes,
};

/// How much of each kind of work is done in a pass whose time is over.
const AT_LEAST: usize = 16;

/// One event loop and its connections. [`Server`](crate::Server) runs one per processor; a worker
/// may also be driven by hand, pass by pass.
#[derive(Debug)]
pub struct Worker<D: Driver> {
    driver: D,
    cx: Context,
    connections: Connections,
    accepting: Accepting<D::Stream>,
    deadlines: Deadlines,
    /// Places whose deadline has come and which have yet to be looked at.
    due: Vec<u32>,
    /// Input that connections have yet to be given.
    held: Held,
    /// Sends that have completed, which the connections have yet to learn.
    sent: VecDeque<(Token, io::Result<()>)>,
    /// What other threads ask for and has yet to be done.
    commands: VecDeque<Command>,
    /// Whether the inbox has commands that have not been taken.
    has_commands: bool,
    /// Connections that have yet to be ended, and how.
    ending: Vec<Token>,
    end: fn(&mut Connection, Turn<'_>),
    /// Whether a pass has left something over, so that the next one is not to wait.
    leaves_over: bool,
    /// When the round of the driver began that a sweep waits for.
    round: Option<Duration>,
    /// When the second of the wall clock changes.
    next_date: Duration,
    /// How far its end has come, if it is stopped.
    stopping: Option<Stopping>,
}

impl<D: Driver> Worker<D> {
    /// A worker by itself.
    ///
    /// # Errors
    ///
    /// The driver's, if a listener cannot be watched.
    pub fn new(
        driver: D,
        routes: Arc<Routes>,
        config: Arc<Config>,
        listeners: Vec<D::Listener>,
    ) -> io::Result<Self> {
        let inbox = Arc::new(Inbox::new(driver.waker()));
        let room = Room::new(&config);
        let mut worker = Self::with_others(driver, routes, config, inbox, room, None, listeners)?;
        worker.accept();
        Ok(worker)
    }

    /// A worker that shares the limit on connections with others, and deals what it accepts. It
    /// accepts nothing before [`accept`](Self::accept).
    pub(super) fn with_others(
        mut driver: D,
        application: Arc<dyn Application>,
        config: Arc<Config>,
        inbox: Arc<Inbox>,
        room: Room,
        seat: Option<Seat<D::Stream>>,
        listeners: Vec<D::Listener>,
    ) -> io::Result<Self> {
        let count = listeners.len();
        for listener in listeners {
            driver.listen(listener)?;
        }
        let start = driver.now();
        let accepting = Accepting::new(&mut driver, room, seat, count);
        let cx = Context::new(Shared::new(config, application, inbox), driver.clock().clone());
        Ok(Self {
            driver,
            cx,
            connections: Connections::default(),
            accepting,
            deadlines: Deadlines::new(Tick::at(start)),
            due: Vec::new(),
            held: Held::default(),
            sent: VecDeque::new(),
            commands: VecDeque::new(),
            has_commands: false,
            ending: Vec::new(),
            end: Connection::stop,
            leaves_over: false,
            round: None,
            next_date: Duration::ZERO,
            stopping: None,
        })
    }

    /// Begins to accept.
    pub(super) fn accept(&mut self) {
        self.accepting.begin(&mut self.driver);
    }

    /// Works until the server is stopped and all connections have ended.
    ///
    /// # Errors
    ///
    /// The driver's, when it is of no more use.
    pub fn run(&mut self) -> io::Result<()> {
        while self.pass()? {}
        Ok(())
    }

    /// One pass: receive from everything that is ready, look at the time, then send. What does not
    /// fit the time of a pass goes on in the next one, but some of each kind of work is done in
    /// every pass. Returns whether there will be another one.
    ///
    /// # Errors
    ///
    /// The driver's, when it is of no more use.
    pub fn pass(&mut self) -> io::Result<bool> {
        let timeout = self.timeout();
        self.cx.desk.outbox.wait(&mut self.driver, timeout, &mut self.connections)?;
        self.cx.desk.now = self.driver.now();
        self.set_date();
        self.cx.desk.pace.begin_pass(self.cx.desk.now);
        while let Some((token, result)) = self.cx.desk.outbox.next_result() {
            self.sent(token, result);
        }
        let others = if self.leaves_over { self.take_left_over() } else { 0 };
        self.take_completions();
        self.take_held(others);
        if self.has_commands || self.leaves_over {
            self.repeat(|worker| worker.next_command().map(|command| worker.obey(command)));
            self.repeat(|worker| worker.ending.pop().map(|token| worker.with(token, worker.end)));
        }
        self.sweep();
        self.cx.desk.outbox.flush(&mut self.driver, |_| {});
        if self.leaves_over || self.cx.desk.pace.leaves_over() {
            self.leaves_over = self.has_work();
        }
        let is_ending = self.stopping.is_some_and(|stopping| stopping.is_ending());
        Ok(!is_ending || self.connections.len() > 0)
    }

    /// How many connections the worker has.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// The driver, to be told what a simulation is to do.
    pub fn driver(&mut self) -> &mut D {
        &mut self.driver
    }

    fn timeout(&self) -> Option<Duration> {
        let stopping = self.stopping.map(|stopping| stopping.next());
        let has_ended = stopping.is_some() && self.connections.len() == 0;
        if has_ended || stopping == Some(None) || self.leaves_over || self.round.is_some() {
            return Some(Duration::ZERO);
        }
        let now = Tick::at(self.driver.now());
        let sweep = (self.connections.len() > 0).then(|| self.deadlines.next_sweep());
        let times = [sweep, self.accepting.next(), stopping.flatten()];
        let next = times.into_iter().flatten().reduce(Tick::min)?;
        Some(next.until(now))
    }

    /// Sets the date for HTTP, which has whole seconds, when it has changed.
    fn set_date(&mut self) {
        let now = self.cx.desk.now;
        if now >= self.next_date {
            let date = SystemTime::now();
            self.cx.desk.date.set(date);
            let since = date.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let elapsed = Duration::from_nanos(since.subsec_nanos().into());
            self.next_date = now + Duration::from_secs(1).saturating_sub(elapsed);
        }
    }

    /// Whether a pass has left something over.
    fn has_work(&self) -> bool {
        self.held.has_turns()
            || !self.sent.is_empty()
            || self.has_commands
            || !self.commands.is_empty()
            || !self.ending.is_empty()
            || !self.due.is_empty()
    }

    /// Takes what earlier passes have left over and comes first. Returns how many connections wait
    /// for a turn that have had one.
    fn take_left_over(&mut self) -> usize {
        self.repeat(|worker| {
            let (token, result) = worker.sent.pop_front()?;
            worker.sent(token, result);
            Some(())
        });
        self.repeat(|worker| worker.held.next_first().map(|token| worker.resume(token)));
        self.held.others()
    }

    fn take_completions(&mut self) {
        while let Some(completion) = self.driver.next() {
            match completion {
                Completion::Received { token, bytes } => {
                    let Some(connection) = self.connections.get(token) else { continue };
                    let pace = &self.cx.desk.pace;
                    let waits = pace.is_over() && (bytes.len() > LITTLE_BYTES || pace.is_late());
                    if waits || self.held.has(token) {
                        connection.arrived(bytes.len(), Tick::at(self.cx.desk.now));
                        self.held.add(token, bytes);
                        self.driver.pause_receive(token);
                        continue;
                    }
                    let turn = self.cx.turn_to(token, connection);
                    let echo = connection.received(bytes, turn);
                    if self.cx.desk.pace.is_cut() {
                        let left = bytes.len() - self.cx.desk.left_bytes;
                        self.held.append(token, &bytes[left..]);
                    }
                    if let Some(echo) = echo {
                        self.driver.send_back(token, echo);
                    }
                    self.settle(token);
                }
                Completion::ReceiveEnded { token, result } => self.receive_ended(token, result),
                Completion::Sent { token, result } if self.cx.desk.pace.is_over() => {
                    self.sent.push_back((token, result));
                }
                Completion::Sent { token, result } => self.sent(token, result),
                Completion::Accepted { stream, peer, .. } => self.accepted(stream, peer),
                Completion::Full { .. } => {
                    let tick = Tick::at(self.cx.desk.now);
                    self.accepting.pause(&mut self.driver, tick);
                }
                Completion::AcceptFailed { error, .. } => {
                    let tick = Tick::at(self.cx.desk.now);
                    self.accepting.failed(&mut self.driver, &error, tick);
                }
                Completion::Closed { token } => self.closed(token),
                Completion::Woken => {
                    for (stream, peer) in self.accepting.take_handed() {
                        self.attach(stream, peer);
                    }
                    self.has_commands = true;
                }
                // A server opens no connections.
                Completion::Connected { .. } => {}
            }
        }
    }

    /// Gives so many connections a turn that have more input than one turn takes, or at least one
    /// of them.
    fn take_held(&mut self, turns: usize) {
        for _ in 0..turns {
            if let Some(token) = self.held.next_other() {
                self.resume(token);
            }
            if self.cx.desk.pace.is_over() {
                break;
            }
        }
    }

    /// Gives a connection the input that is held for it.
    fn resume(&mut self, token: Token) {
        let Some(mut entry) = self.held.take(token) else { return };
        let Some(connection) = self.connections.get(token) else { return };
        if entry.is_empty() {
            // It has sent nothing more since its last turn.
            if connection.is_receiving() {
                self.driver.receive(token);
            }
            return;
        }
        let takes_input = connection.is_receiving();
        let turn = self.cx.turn_to(token, connection);
        connection.resume(if takes_input { entry.bytes() } else { &mut [] }, turn);
        let desk = &mut self.cx.desk;
        let left = if desk.pace.is_cut() { desk.left_bytes } else { 0 };
        let left = if takes_input { left } else { entry.bytes().len() };
        entry.keep(left);
        let end = entry.end.take_if(|_| takes_input && !desk.pace.is_cut());
        self.held.put(token, entry);
        self.settle(token);
        if let Some(end) = end {
            self.held.remove(token);
            self.receive_ended(token, end);
        } else if !self.cx.desk.pace.is_cut()
            && self.connections.get(token).is_some_and(|connection| connection.is_receiving())
        {
            self.driver.receive(token);
            self.held.queue(token, false);
        }
    }

    fn receive_ended(&mut self, token: Token, result: io::Result<()>) {
        if let Some(result) = self.held.end(token, result) {
            self.with(token, |connection, turn| connection.receive_ended(result, turn));
        }
    }

    /// Does one thing after the other until there is none left, or the time of the pass is over;
    /// but then a few of them all the same.
    fn repeat(&mut self, mut next: impl FnMut(&mut Self) -> Option<()>) {
        for count in 0.. {
            let may_go_on = count < AT_LEAST || !self.cx.desk.pace.is_over();
            if !may_go_on || next(self).is_none() {
                break;
            }
        }
    }

    /// Looks at the connections whose deadline has come, and at the worker's own.
    fn sweep(&mut self) {
        let tick = self.tick();
        self.accepting.check(&mut self.driver, tick);
        if self.accepting.is_refusing() {
            self.end_refusals();
        }
        if self.stopping.is_some() {
            self.go_on_stopping();
        }
        match self.round {
            None if self.due.is_empty() && self.deadlines.next_sweep().has_come(tick) => {
                // A deadline is judged when everything has been received that came before it.
                self.driver.begin_round();
                self.round = Some(self.cx.desk.now);
            }
            Some(start) if !self.driver.is_in_round() => {
                self.round = None;
                self.cx.desk.seen = start;
                self.deadlines.sweep(Tick::at(start), &mut self.due);
            }
            _ => {}
        }
        if !self.due.is_empty() {
            self.repeat(|worker| worker.due.pop().map(|index| worker.check_deadlines(index)));
        }
    }

    fn check_deadlines(&mut self, index: u32) {
        self.deadlines.set(index, self.tick().far());
        let Some(token) = self.connections.at(index) else { return };
        let Some(connection) = self.connections.get(token) else { return };
        let mut output = Output::default();
        if connection.judges_output(&self.cx.desk) {
            let pending = self.cx.desk.outbox.pending_bytes(token, connection.output());
            output = Output { queued_bytes: pending, kernel: self.driver.output_progress(token) };
        }
        self.with(token, |connection, turn| connection.check_deadlines(&output, turn));
    }

    /// The time of this pass.
    fn tick(&self) -> Tick {
        Tick::at(self.cx.desk.now)
    }

    fn sent(&mut self, token: Token, result: io::Result<()>) {
        let Some(connection) = self.connections.get(token) else { return };
        let outbox = &mut self.cx.desk.outbox;
        outbox.sent(&mut self.driver, token, connection.output(), &result);
        self.with(token, |connection, turn| connection.sent(result, turn));
    }

    fn closed(&mut self, token: Token) {
        self.connections.remove(token);
        self.held.remove(token);
        self.deadlines.set(token.index, self.tick().far());
        let tick = self.tick();
        self.accepting.ended(&mut self.driver, token, tick);
    }

    /// The next command; others are taken from the inbox, which is bounded, when all have been done.
    fn next_command(&mut self) -> Option<Command> {
        if self.commands.is_empty() && std::mem::take(&mut self.has_commands) {
            self.commands = self.cx.desk.shared.inbox.take().into();
        }
        self.commands.pop_front()
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Stop => self.stop(),
            Command::Send { token, .. } | Command::Close { token, .. } => {
                self.with(token, |connection, turn| connection.command(command, turn));
            }
        }
    }

    /// Does something to a connection, and what follows from it.
    fn with(&mut self, token: Token, action: impl FnOnce(&mut Connection, Turn<'_>)) {
        if let Some(connection) = self.connections.get(token) {
            let turn = self.cx.turn_to(token, connection);
            action(connection, turn);
            self.settle(token);
        }
    }

    /// Gives the driver what the connection that was turned to wants now.
    fn settle(&mut self, token: Token) {
        let tick = self.tick();
        let Some(connection) = self.connections.get(token) else { return };
        let outbox = &mut self.cx.desk.outbox;
        outbox.submit(connection.output());
        let pending = outbox.pending_bytes(token, connection.output());
        if outbox.is_unawaited(connection.output()) && connection.awaits_sent(pending) {
            outbox.await_result(connection.output());
        }
        if self.cx.desk.pace.is_cut() {
            self.held.cut(token, &self.cx.desk.left_kept);
            self.cx.desk.left_kept.clear();
            self.driver.pause_receive(token);
        }
        match connection.next_step(tick) {
            Some(Step::Shutdown) => self.driver.shutdown(token),
            Some(Step::Close) => {
                outbox.give_up(token, connection.output());
                self.driver.close(token);
            }
            None => {}
        }
        match connection.change_receiving(pending) {
            // What is held comes first.
            Some(true) if self.held.has(token) => {
                self.held.queue(token, false);
                self.leaves_over = true;
            }
            Some(true) => self.driver.receive(token),
            Some(false) => self.driver.pause_receive(token),
            None => {}
        }
        self.deadlines.lower(token.index, connection.deadline(tick, &self.cx.desk.shared));
    }
}

impl<D: Driver> Drop for Worker<D> {
    fn drop(&mut self) {
        self.cx.desk.shared.inbox.close();
    }
}
