//! One worker: one thread, one driver, one loop.

mod shedding;
mod sweeping;
mod turns;

use std::{
    collections::VecDeque,
    io,
    sync::Arc,
    time::{Duration, SystemTime},
};

mod coming;
mod parting;
mod stopping;

use self::{parting::Parting, stopping::Stopping};
use super::{
    accepting::{Accepting, Repeated},
    addresses::Addresses,
    balance::Seat,
    budget,
    deadlines::Deadlines,
    held::Held,
    limits::Limits,
    refusing::Room,
};
use crate::{
    Config,
    conn::{
        Application, Command, Connection, Connections, Context, Counters, Desk, Inbox, Incoming,
        Memory, Shared, Step, Tick, Turn,
    },
    io::{Completion, Driver, Token},
    session::Routes,
};

/// One event loop and its connections. [`Server`](crate::Server) runs one per processor; a worker
/// may also be driven by hand, pass by pass.
#[derive(Debug)]
pub struct Worker<D: Driver> {
    driver: D,
    cx: Context,
    connections: Connections,
    accepting: Accepting<D::Stream>,
    limits: Limits,
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
    /// WebSockets whose last frames are sent.
    parting: Parting,
    /// Connections that are to be ended for want of memory, the largest first.
    shedding: VecDeque<Token>,
    /// Passes in which memory was short.
    shortage: Repeated,
    /// Connections that are not received from for want of memory, to be looked at.
    looking: Vec<Token>,
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

/// A worker's part of its server.
pub(super) struct Part<S> {
    pub(super) application: Arc<dyn Application>,
    pub(super) config: Arc<Config>,
    pub(super) inbox: Arc<Inbox>,
    /// The limit on connections, which all workers share.
    pub(super) room: Room,
    pub(super) memory: Memory,
    pub(super) limits: Limits,
    /// Where it deals what it accepts, if there are other workers.
    pub(super) seat: Option<Seat<S>>,
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
        let (memory_bytes, inbox_bytes) = budget::divide(budget::of_server(&config));
        let addresses = config.connections_per_address.map(Addresses::new);
        let part = Part {
            application: routes,
            inbox: Arc::new(Inbox::new(driver.waker(), inbox_bytes)),
            memory: Memory::new(memory_bytes, Counters::default()),
            limits: Limits::new(&config, 1, addresses),
            room: Room::new(&config),
            seat: None,
            config,
        };
        let mut worker = Self::of_server(driver, part, listeners)?;
        worker.accept();
        Ok(worker)
    }

    /// A worker of a server. It accepts nothing before [`accept`](Self::accept).
    pub(super) fn of_server(
        mut driver: D,
        part: Part<D::Stream>,
        listeners: Vec<D::Listener>,
    ) -> io::Result<Self> {
        let Part { application, config, inbox, room, memory, limits, seat } = part;
        let count = listeners.len();
        for listener in listeners {
            driver.listen(listener)?;
        }
        let start = driver.now();
        let accepting = Accepting::new(&mut driver, room, seat, count);
        let shared = Shared::new(config, application, inbox);
        let cx = Context::new(shared, driver.clock().clone(), memory);
        Ok(Self {
            driver,
            cx,
            connections: Connections::default(),
            accepting,
            limits,
            deadlines: Deadlines::new(Tick::at(start)),
            due: Vec::new(),
            held: Held::default(),
            sent: VecDeque::new(),
            commands: VecDeque::new(),
            has_commands: false,
            ending: Vec::new(),
            parting: Parting::default(),
            shedding: VecDeque::new(),
            shortage: Repeated::default(),
            looking: Vec::new(),
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
        self.parting.begin_pass();
        if !self.cx.desk.outbox.blocked().is_empty() {
            self.count_blocked();
        }
        while let Some((token, result)) = self.cx.desk.outbox.next_result() {
            self.sent_in_time(token, result);
        }
        let others = if self.leaves_over { self.take_left_over() } else { 0 };
        let has_received = self.take_completions();
        if self.cx.desk.pace.catches_up() && !has_received {
            self.cx.desk.pace.caught_up();
        }
        if !self.cx.desk.pace.catches_up() {
            self.take_held(others);
            self.do_other_work();
            if !self.parting.is_empty() {
                self.send_last(has_received);
            }
        }
        self.cx.desk.outbox.flush(&mut self.driver, |_| {});
        self.cx.desk.pace.end_pass();
        if self.leaves_over || self.cx.desk.pace.leaves_over() || !self.parting.is_empty() {
            self.leaves_over = self.has_work();
        }
        let is_ending = self.stopping.is_some_and(|stopping| stopping.is_ending());
        Ok(!is_ending || self.connections.len() > 0)
    }

    /// Does what nobody's input asks for.
    fn do_other_work(&mut self) {
        if self.has_commands || self.leaves_over {
            self.repeat(|worker| worker.next_command().map(|command| worker.obey(command)));
            self.repeat(|worker| worker.ending.pop().map(|token| worker.with(token, worker.end)));
        }
        self.sweep();
        if self.cx.desk.memory.needs_care() || self.leaves_over {
            self.keep_budget();
        }
        if self.limits.has_rates() {
            self.release_limited();
        }
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
        let now = Tick::at(self.cx.desk.pace.now());
        let sweep = (self.connections.len() > 0).then(|| self.deadlines.next_sweep());
        let times = [sweep, self.accepting.next(), self.limited_until(), stopping.flatten()];
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
            || !self.parting.is_empty()
            || !self.due.is_empty()
            || !self.shedding.is_empty()
            || !self.looking.is_empty()
    }

    /// Takes what the driver has done. Whether it has received anything.
    fn take_completions(&mut self) -> bool {
        let mut has_received = false;
        while let Some(completion) = self.driver.next() {
            match completion {
                Completion::Received { token, bytes } => {
                    has_received = true;
                    let Some(connection) = self.connections.get(token) else { continue };
                    let pace = &self.cx.desk.pace;
                    let waits =
                        pace.is_over() && (pace.is_late() || !connection.takes_little(bytes.len()));
                    if waits || self.held.has(token) || self.limits.pauses(token) {
                        connection.arrived(bytes.len(), Tick::at(self.cx.desk.now));
                        self.limits.count(token, bytes.len(), 0, self.cx.desk.now);
                        self.held.add(token, bytes, connection.takes_little(bytes.len()));
                        self.driver.pause_receive(token);
                        self.count_memory(token);
                        continue;
                    }
                    let turn = self.cx.turn_to(token, connection);
                    let echo = connection.received(bytes, turn);
                    let Desk { pace, now, .. } = &self.cx.desk;
                    self.limits.count(token, bytes.len(), pace.messages(), *now);
                    if self.cx.desk.pace.is_cut() {
                        let left = bytes.len() - self.cx.desk.left_bytes;
                        self.held.append(token, &bytes[left..]);
                    }
                    if let Some(echo) = echo {
                        self.driver.send_back(token, echo);
                    }
                    self.settle(token);
                }
                Completion::Readable { token } => {
                    has_received = true;
                    self.fill(token);
                }
                Completion::ReceiveEnded { token, result } => self.receive_ended(token, result),
                Completion::Sent { token, result, memory } => {
                    self.cx.keep(memory);
                    self.sent_in_time(token, result);
                }
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
        has_received
    }

    /// The time of this pass.
    fn tick(&self) -> Tick {
        Tick::at(self.cx.desk.now)
    }

    /// A send has completed, of which the connection learns in a later pass if this one is over.
    fn sent_in_time(&mut self, token: Token, result: io::Result<()>) {
        if self.cx.desk.pace.is_over() {
            self.sent.push_back((token, result));
            self.leaves_over = true;
        } else {
            self.sent(token, result);
        }
    }

    fn sent(&mut self, token: Token, result: io::Result<()>) {
        let Some(connection) = self.connections.get(token) else { return };
        let outbox = &mut self.cx.desk.outbox;
        outbox.sent(&mut self.driver, token, connection.output(), &result);
        self.with(token, |connection, turn| connection.sent(result, turn));
    }

    fn closed(&mut self, token: Token) {
        self.connections.remove(token);
        self.cx.desk.memory.closed(token);
        self.limits.closed(token);
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
        debug_assert_eq!(token, self.cx.desk.outbox.token());
        let tick = self.tick();
        if self.cx.desk.pace.is_cut() {
            self.cut(token);
        }
        let Some(connection) = self.connections.get(token) else { return };
        let Desk { outbox, pace, .. } = &mut self.cx.desk;
        if connection.is_parting() {
            self.parting.submit(outbox, connection.output(), pace.is_over());
        } else {
            outbox.submit(connection.output());
        }
        let pending = outbox.pending_bytes(token, connection.output());
        if outbox.is_unawaited(connection.output()) && connection.awaits_sent(pending) {
            outbox.await_result(connection.output());
        }
        match connection.next_step(tick) {
            Some(Step::Shutdown) => self.driver.shutdown(token),
            Some(Step::Close) => {
                outbox.give_up(token, connection.output());
                self.driver.close(token);
            }
            None => {}
        }
        self.deadlines.lower(token.index, connection.deadline(tick, &self.cx.desk.shared));
        self.limits.handled(connection);
        let mut fills = false;
        if connection.may_hold_memory() || self.held.is_in_use() {
            fills = connection.is_fillable();
            let input = self.held.memory_bytes(token);
            self.cx.desk.count_memory(token, connection, input);
        }
        let is_short = !self.cx.desk.memory.may_receive(token);
        let is_limited = self.limits.pauses(token);
        if let Some(change) = connection.change_receiving(pending, is_short, is_limited, fills) {
            self.change_receiving(token, change);
        }
    }

    /// Begins to receive from a connection, or stops.
    #[inline(never)]
    fn change_receiving(&mut self, token: Token, change: Incoming) {
        let memory = &mut self.cx.desk.memory;
        match change {
            Incoming::Short => memory.pause(token, Tick::at(self.cx.desk.now)),
            _ => memory.resume(token),
        }
        match change {
            // What is held comes first.
            Incoming::Receiving | Incoming::Filling if self.held.has(token) => {
                self.held.queue(token, false);
                self.leaves_over = true;
            }
            Incoming::Receiving => self.driver.receive(token),
            Incoming::Filling => self.driver.watch(token),
            _ => self.driver.pause_receive(token),
        }
    }
}

impl<D: Driver> Drop for Worker<D> {
    fn drop(&mut self) {
        self.cx.desk.shared.inbox.close();
    }
}
