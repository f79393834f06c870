//! What connections are given: by their worker to work with, and by the application as answers.

use std::{
    fmt,
    net::SocketAddr,
    ops::{Deref, DerefMut},
    sync::Arc,
    time::Duration,
};

use super::{AnySession, Connection, Inbox, Memory, Tick, echo::Echo, pace::Pace, tick::Millis};
use crate::{
    Config,
    config::Compression,
    http::{Date, DeflateParams, Request, Response},
    io::{Clock, Outbox, Token, sys},
    ws::{Deflater, Workspace},
};

/// What the connections of a worker share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) config: Arc<Config>,
    pub(crate) application: Arc<dyn Application>,
    pub(crate) inbox: Arc<Inbox>,
    /// [`Config::ping_interval`], as it is needed after each message.
    pub(super) ping_interval: Option<Millis>,
}

impl Shared {
    pub(crate) fn new(
        config: Arc<Config>,
        application: Arc<dyn Application>,
        inbox: Arc<Inbox>,
    ) -> Self {
        let ping_interval = config.ping_interval.map(Millis::from);
        Self { config, application, inbox, ping_interval }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }
}

/// What answers requests.
pub(crate) trait Application: Send + Sync {
    /// Answers a request. If it is to be upgraded, the 101 has been appended to `out`; what it
    /// says of compression is within `compression`.
    fn answer<'a>(
        &'a self,
        request: Request<'a>,
        peer: Option<SocketAddr>,
        compression: Option<&Compression>,
        out: &mut Vec<u8>,
    ) -> Answer;
}

/// An answer to a request.
pub(crate) enum Answer {
    Respond(Response),
    Upgraded(Box<dyn AnySession>, Option<DeflateParams>),
}

/// What a worker lends to the connection that it handles.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) desk: Desk,
    pub(super) workspace: Workspace,
}

/// A context that has begun with the output of one connection. Whatever a connection does takes
/// one, so what it sends cannot be taken for the output of another.
#[derive(Debug)]
pub(crate) struct Turn<'c>(&'c mut Context);

impl Deref for Turn<'_> {
    type Target = Context;

    fn deref(&self) -> &Context {
        self.0
    }
}

impl DerefMut for Turn<'_> {
    fn deref_mut(&mut self) -> &mut Context {
        self.0
    }
}

/// The part of it that a session's calls reach.
#[derive(Debug)]
pub(crate) struct Desk {
    /// The time of this pass.
    pub(crate) now: Duration,
    /// The date for HTTP.
    pub(crate) date: Date,
    /// What had arrived by then has been received: deadlines that had not passed then are kept.
    pub(crate) seen: Duration,
    /// The time of the pass, and the connection's share of it.
    pub(crate) pace: Pace,
    /// If the connection's turn was cut: how much of the end of its input it has not taken.
    pub(crate) left_bytes: usize,
    /// The same: input that the connection had kept and has not taken, which comes before that.
    pub(crate) left_kept: Vec<u8>,
    /// What the connections hold.
    pub(crate) memory: Memory,
    /// Where output is appended.
    pub(crate) outbox: Outbox,
    pub(super) deflater: Deflater,
    /// A message that is sent back from where it was received.
    pub(super) echo: Echo,
    pub(crate) shared: Shared,
}

impl Context {
    /// The context of a worker. What inflating takes apart from the message is taken now, so that
    /// no peer makes the process grow by more than its message.
    pub(crate) fn new(shared: Shared, clock: Clock, memory: Memory) -> Self {
        let config = &shared.config;
        let compression = config.compression.clone().unwrap_or_default();
        let mut workspace = Workspace::new();
        workspace.limit_kept(memory.budget() / 16);
        if config.compression.is_some() {
            workspace.warm_up();
        }
        let desk = Desk {
            now: Duration::ZERO,
            seen: Duration::ZERO,
            pace: Pace::new(clock, config.turn_work),
            left_bytes: 0,
            left_kept: Vec::new(),
            date: Date::default(),
            memory,
            outbox: Outbox::default(),
            deflater: Deflater::new(compression.level, compression.threshold_bytes),
            echo: Echo::default(),
            shared,
        };
        Self { desk, workspace }
    }

    /// Begins with a connection: what is appended from now on is its output.
    #[inline]
    pub(crate) fn turn_to(&mut self, token: Token, connection: &Connection) -> Turn<'_> {
        self.desk.outbox.begin(token, &connection.output);
        self.desk.pace.begin_turn();
        Turn(self)
    }

    pub(super) fn tick(&self) -> Tick {
        self.desk.tick()
    }

    /// Keeps memory for long messages that are to come.
    pub(crate) fn keep(&mut self, memory: Vec<u8>) {
        self.workspace.keep(memory);
    }

    /// Gives memory that is only kept for later back to the kernel.
    pub(crate) fn free_kept(&mut self) {
        self.workspace.free_kept();
        sys::trim_heap();
    }
}

impl Desk {
    pub(super) fn tick(&self) -> Tick {
        Tick::at(self.now)
    }

    /// See [`seen`](Self::seen).
    pub(super) fn seen(&self) -> Tick {
        Tick::at(self.seen)
    }

    /// Where output is appended.
    #[inline]
    pub(super) fn out(&mut self) -> &mut Vec<u8> {
        self.outbox.buffer()
    }

    /// Whether a payload can be sent from where it was received.
    #[inline]
    pub(super) fn can_send_back(&self, payload: &[u8]) -> bool {
        self.echo.takes(payload) && self.out_bytes() == 0
    }

    /// How much output the connection has made since it was turned to.
    #[inline]
    pub(super) fn out_bytes(&self) -> usize {
        self.outbox.scope_bytes() + self.echo.bytes()
    }
}
