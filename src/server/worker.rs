//! One worker: one thread, one driver, one loop.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use super::{balance::Seat, deadlines::Deadlines};
use crate::{
    Config,
    conn::{
        Application, Command, Connection, Connections, Context, Inbox, Shared, Step, Tick, Turn,
    },
    io::{Completion, Driver, Token},
    session::Routes,
};

/// How long accepting pauses when there is no room for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// One event loop and its connections. [`Server`](crate::Server) runs one per processor; a worker
/// may also be driven by hand, pass by pass.
#[derive(Debug)]
pub struct Worker<D: Driver> {
    driver: D,
    cx: Context,
    connections: Connections,
    /// How many connections all workers have.
    open: Arc<AtomicUsize>,
    /// What it deals connections by, if there are others.
    seat: Option<Seat<D::Stream>>,
    deadlines: Deadlines,
    due: Vec<u32>,
    listeners: usize,
    /// When accepting is tried again.
    accept_again: Option<Tick>,
    /// Whether accepting failed last, which was said then.
    accept_fails: bool,
    /// When the last connection is to have ended.
    stopping: Option<Tick>,
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
        Self::with_others(driver, routes, config, inbox, Arc::default(), None, listeners)
    }

    /// A worker that shares the limit on connections with others, and deals what it accepts.
    pub(super) fn with_others(
        mut driver: D,
        application: Arc<dyn Application>,
        config: Arc<Config>,
        inbox: Arc<Inbox>,
        open: Arc<AtomicUsize>,
        seat: Option<Seat<D::Stream>>,
        listeners: Vec<D::Listener>,
    ) -> io::Result<Self> {
        let count = listeners.len();
        for listener in listeners {
            let number = driver.listen(listener)?;
            driver.accept(number);
        }
        let now = Tick::at(driver.now());
        Ok(Self {
            driver,
            cx: Context::new(Shared { config, application, inbox }),
            connections: Connections::default(),
            open,
            seat,
            deadlines: Deadlines::new(now),
            due: Vec::new(),
            listeners: count,
            accept_again: None,
            accept_fails: false,
            stopping: None,
        })
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

    /// One pass: receive from everything that is ready, look at the time, then send.
    /// Returns whether there will be another one.
    ///
    /// # Errors
    ///
    /// The driver's, when it is of no more use.
    pub fn pass(&mut self) -> io::Result<bool> {
        let timeout = self.timeout();
        self.cx.desk.outbox.wait(&mut self.driver, timeout, &mut self.connections)?;
        self.cx.desk.now = self.driver.now();
        self.cx.desk.date.set(SystemTime::now());
        while let Some((token, result)) = self.cx.desk.outbox.next_result() {
            self.sent(token, result);
        }
        self.take_completions();
        self.sweep();
        self.cx.desk.outbox.flush(&mut self.driver, |_| {});
        Ok(self.stopping.is_none() || self.connections.len() > 0)
    }

    /// Begins to end: closes the listeners, says 1001 to all peers, and gives them
    /// [`Config::shutdown_grace`].
    pub fn stop(&mut self) {
        if self.stopping.is_some() {
            return;
        }
        self.cx.desk.now = self.driver.now();
        self.stopping = Some(self.tick().after(self.config().shutdown_grace));
        self.driver.close_listeners();
        let queued = self.seat.as_ref().map_or(0, Seat::close);
        self.open.fetch_sub(queued, Ordering::Relaxed);
        self.listeners = 0;
        self.accept_again = None;
        for token in self.connections.tokens() {
            self.with(token, Connection::stop);
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
        let has_ended = self.stopping.is_some() && self.connections.len() == 0;
        if has_ended {
            return Some(Duration::ZERO);
        }
        let now = Tick::at(self.driver.now());
        let sweep = (self.connections.len() > 0).then(|| self.deadlines.next_sweep());
        let times = [sweep, self.accept_again, self.stopping];
        let next = times.into_iter().flatten().reduce(Tick::min)?;
        Some(next.until(now))
    }

    fn take_completions(&mut self) {
        while let Some(completion) = self.driver.next() {
            match completion {
                Completion::Received { token, bytes } => {
                    if let Some(connection) = self.connections.get(token) {
                        let turn = self.cx.turn_to(token, connection);
                        if let Some(echo) = connection.received(bytes, turn) {
                            self.driver.send_back(token, echo);
                        }
                        self.settle(token);
                    }
                }
                Completion::ReceiveEnded { token, result } => {
                    self.with(token, |connection, turn| connection.receive_ended(result, turn));
                }
                Completion::Sent { token, result } => self.sent(token, result),
                Completion::Accepted { stream, peer, .. } => self.accepted(stream, peer),
                Completion::AcceptFailed { error, .. } => self.accept_failed(&error),
                Completion::Closed { token } => self.closed(token),
                Completion::Woken => {
                    self.take_handed();
                    self.take_commands();
                }
                // A server opens no connections.
                Completion::Connected { .. } => {}
            }
        }
    }

    /// Looks at the connections whose deadline has come, and at the worker's own.
    fn sweep(&mut self) {
        let tick = self.tick();
        if self.accept_again.is_some_and(|again| again.has_come(tick)) {
            self.accept_again();
        }
        if self.stopping.is_some_and(|deadline| deadline.has_come(tick)) {
            self.stopping = Some(tick.far());
            for token in self.connections.tokens() {
                self.with(token, Connection::abort);
            }
        }
        if !self.deadlines.next_sweep().has_come(tick) {
            return;
        }
        let mut due = std::mem::take(&mut self.due);
        self.deadlines.sweep(tick, &mut due);
        for index in due.drain(..) {
            self.deadlines.set(index, tick.far());
            if let Some(token) = self.connections.at(index) {
                self.with(token, Connection::check_deadlines);
            }
        }
        self.due = due;
    }

    fn accepted(&mut self, stream: D::Stream, peer: Option<SocketAddr>) {
        if self.stopping.is_some() {
            return;
        }
        self.accept_fails = false;
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        if open >= self.connections_max() {
            self.pause_accept();
        }
        let kept = match &self.seat {
            Some(seat) => seat.deal((stream, peer)),
            None => Some((stream, peer)),
        };
        if let Some((stream, peer)) = kept {
            self.attach(stream, peer);
        }
    }

    /// Takes what other workers have accepted and this one is to have.
    fn take_handed(&mut self) {
        for (stream, peer) in self.seat.as_ref().map(Seat::take).unwrap_or_default() {
            self.attach(stream, peer);
        }
    }

    /// Begins with a connection, which counts already.
    fn attach(&mut self, stream: D::Stream, peer: Option<SocketAddr>) {
        let tick = self.tick();
        let token = self.connections.insert(|generation| Connection::new(generation, peer, tick));
        if let Err(error) = self.driver.attach(token, stream) {
            tracing::warn!(%error, "a connection cannot be watched and is closed");
            self.connections.remove(token);
            self.uncount();
            return;
        }
        self.with(token, |_, _| {});
    }

    /// The time of this pass.
    fn tick(&self) -> Tick {
        Tick::at(self.cx.desk.now)
    }

    fn config(&self) -> &Config {
        &self.cx.desk.shared.config
    }

    fn uncount(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(seat) = &self.seat {
            seat.ended();
        }
    }

    /// None at all would be a server that accepts one and then waits for ever.
    fn connections_max(&self) -> usize {
        self.config().connections.max(1)
    }

    /// Without descriptors or memory accepting pauses; it goes on when a connection has ended, or
    /// after a moment. Those that exist are not concerned.
    fn accept_failed(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.accept_fails, true) {
            tracing::warn!(%error, "cannot accept: connections wait until this is over");
        }
        self.pause_accept();
    }

    fn pause_accept(&mut self) {
        for listener in 0..self.listeners {
            self.driver.pause_accept(listener);
        }
        self.accept_again = Some(self.tick().after(ACCEPT_PAUSE));
    }

    fn accept_again(&mut self) {
        if self.open.load(Ordering::Relaxed) >= self.connections_max() {
            self.accept_again = Some(self.tick().after(ACCEPT_PAUSE));
            return;
        }
        self.accept_again = None;
        for listener in 0..self.listeners {
            self.driver.accept(listener);
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
        self.deadlines.set(token.index, self.tick().far());
        self.uncount();
        if self.accept_again.is_some() {
            self.accept_again();
        }
    }

    fn take_commands(&mut self) {
        for command in self.cx.desk.shared.inbox.take() {
            match command {
                Command::Stop => self.stop(),
                Command::Send { token, .. } | Command::Close { token, .. } => {
                    self.with(token, |connection, turn| connection.command(command, turn));
                }
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
        match connection.next_step(tick) {
            Some(Step::Shutdown) => self.driver.shutdown(token),
            Some(Step::Close) => {
                outbox.give_up(token, connection.output());
                self.driver.close(token);
            }
            None => {}
        }
        match connection.change_receiving(pending) {
            Some(true) => self.driver.receive(token),
            Some(false) => self.driver.pause_receive(token),
            None => {}
        }
        self.deadlines.lower(token.index, connection.deadline(&self.cx.desk.shared));
    }
}

impl<D: Driver> Drop for Worker<D> {
    fn drop(&mut self) {
        self.cx.desk.shared.inbox.close();
    }
}
