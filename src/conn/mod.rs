//! One connection: its state, its deadlines, its output and its end.
//!
//! A [`Connection`] does no I/O and reads no clock. The worker tells it what the driver completed,
//! lends it a buffer for output, and asks afterwards what it wants: to receive or not, to shut
//! down, to be closed, to be woken at a time. All of that is computed from the state.

use std::{
    net::SocketAddr,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
};

mod active;
mod channel;
mod context;
mod deadlines;
mod echo;
mod filling;
mod inbox;
mod memory;
mod opening;
mod pace;
mod ping;
mod progress;
mod session;
mod slab;
mod termination;
mod tick;

pub use inbox::{Handle, HandleError};
pub use memory::Counters;
pub use session::{Frame, Received};

pub(crate) use channel::Channel;
pub(crate) use context::{Answer, Application, Context, Desk, Shared, Turn};
pub(crate) use inbox::{Command, INBOX_BYTES_MAX, Inbox};
pub(crate) use memory::Memory;
pub(crate) use progress::Output;
pub(crate) use session::AnySession;
pub(crate) use slab::Connections;
pub(crate) use termination::Step;
pub(crate) use tick::Tick;

use self::{
    active::{Active, Progress},
    channel::End,
    opening::{Opened, Opening, Phase},
    progress::{Measured, Meter, MinRate},
    termination::Termination,
};
use crate::{
    Error,
    config::{HIGH_WATER_BYTES, READ_AHEAD_BYTES},
    http::DeflateParams,
    io::SendState,
    ws::{CloseCode, CloseFrame, Input},
};

/// Input up to this is little.
const LITTLE_BYTES: usize = 4 << 10;

/// The same where it may be compressed: up to 1,000 times as much comes of it.
const LITTLE_COMPRESSED_BYTES: usize = 512;

/// A connection, from the moment it was accepted until its socket is closed: one cache line.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Connection {
    /// That of its token.
    generation: u32,
    /// From when the present deadline counts: since something arrived last, or a ping was sent
    /// (Active); since a request or its response began or ended (Accepting); since the end began
    /// (Terminating); or since the peer was found to be taking its output.
    since: Tick,
    meter: Meter,
    measured: Measured,
    incoming: Incoming,
    /// Whether the memory budget has an entry for it.
    is_holder: bool,
    /// Whether it counts among the handshakes in progress.
    is_handshake: bool,
    output: SendState,
    state: State,
}

/// The peer's direction of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// The driver does not receive.
    #[default]
    Paused,
    /// The same, because the worker is short of memory.
    Short,
    /// The same, because the peer sends faster than it may.
    Limited,
    /// The driver has been told to receive.
    Receiving,
    /// The driver has been told to watch: what arrives is received to where a message is put together.
    Filling,
    /// The peer has ended its direction.
    Ended,
    /// Nothing can be sent or received any more.
    Broken,
}

/// The life of a connection's slot. A free one is a vacant entry of the slab.
///
/// ```text
/// Free ──accept──► Accepting ──101──► Active ──end──► Terminating ──closed──► Free
///                      └───────last response──────────────┘
/// ```
#[derive(Debug)]
enum State {
    /// HTTP: the opening handshake has not been made.
    Accepting(Box<Opening>),
    /// WebSocket: Open or, once a Close frame was sent, Closing (RFC 6455 section 7).
    Active(Active),
    /// Nobody is to be told anything any more: output is flushed, then the socket is closed.
    Terminating(Termination),
}

impl Connection {
    pub(crate) fn new(generation: u32, peer: Option<SocketAddr>, now: Tick) -> Self {
        Self {
            generation,
            since: now,
            meter: Meter { since: now, bytes: 0 },
            measured: Measured::default(),
            incoming: Incoming::default(),
            is_holder: false,
            is_handshake: false,
            output: SendState::default(),
            state: State::Accepting(Box::new(Opening::new(peer))),
        }
    }

    /// That of its token.
    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    pub(crate) fn output(&mut self) -> &mut SendState {
        &mut self.output
    }

    /// Takes bytes that have arrived. Returns which of them, as they are then, are to be sent.
    pub(crate) fn received(&mut self, bytes: &mut [u8], mut cx: Turn<'_>) -> Option<Range<usize>> {
        let cx = &mut *cx;
        self.arrived(bytes.len(), cx.tick());
        cx.desk.echo.begin(bytes);
        cx.desk.pace.charge(bytes.len());
        self.advance(&mut Input::new(bytes), cx);
        self.measure_message(cx);
        if cx.desk.echo.end() { self.send_back(bytes, cx) } else { None }
    }

    /// Goes on with input that was held back, or with what was to be done in an earlier turn.
    pub(crate) fn resume(&mut self, held: &mut [u8], mut cx: Turn<'_>) {
        self.advance(&mut Input::new(held), &mut cx);
        self.measure_message(&cx);
    }

    /// Whether the connection takes input.
    pub(crate) fn is_receiving(&self) -> bool {
        matches!(self.incoming, Incoming::Receiving | Incoming::Filling)
    }

    /// Whether so many bytes of input are handled in no time.
    pub(crate) fn takes_little(&self, bytes: usize) -> bool {
        let inflates = match &self.state {
            State::Active(active) => active.link.receives_compressed().is_some(),
            State::Accepting(_) | State::Terminating(_) => false,
        };
        bytes <= if inflates { LITTLE_COMPRESSED_BYTES } else { LITTLE_BYTES }
    }

    /// Decides whether the echo can be sent from where it is; or else copies it.
    #[inline(never)]
    fn send_back(&mut self, bytes: &mut [u8], cx: &mut Context) -> Option<Range<usize>> {
        let Desk { echo, outbox, .. } = &mut cx.desk;
        let is_free = outbox.is_free(&self.output);
        let start = outbox.scope_start();
        let echo = echo.place(bytes, outbox.buffer(), start, is_free)?;
        outbox.claim(&mut self.output);
        Some(echo)
    }

    /// Nothing more will arrive.
    pub(crate) fn receive_ended(&mut self, result: std::io::Result<()>, mut cx: Turn<'_>) {
        if self.incoming != Incoming::Broken {
            self.incoming = Incoming::Ended;
        }
        match result {
            Ok(()) => match &mut self.state {
                State::Accepting(opening) => opening.end_after_response(),
                State::Active(active) => {
                    let end = End::Closed { code: CloseCode::ABNORMAL, reason: String::new() };
                    active.link.end(end, cx.tick());
                }
                State::Terminating(_) => {}
            },
            Err(error) => self.break_off(Error::Io(error), &mut cx),
        }
        self.advance(&mut Input::new(&mut []), &mut cx);
    }

    /// The kernel took what was sent, or will not.
    pub(crate) fn sent(&mut self, result: std::io::Result<()>, mut cx: Turn<'_>) {
        match result {
            Ok(()) => {
                if matches!(self.state, State::Accepting(_)) {
                    self.since = cx.tick();
                    self.measured = Measured::Nothing;
                }
            }
            Err(error) => self.break_off(Error::Io(error), &mut cx),
        }
        self.advance(&mut Input::new(&mut []), &mut cx);
    }

    /// Whether the connection needs to know when its output has been taken, of which
    /// `pending_bytes` wait.
    pub(crate) fn awaits_sent(&self, pending_bytes: usize) -> bool {
        match &self.state {
            State::Accepting(opening) => opening.awaits_sent(),
            State::Active(active) => {
                active.link.completions_wait || !self.wants_receive(pending_bytes)
            }
            State::Terminating(_) => true,
        }
    }

    /// Does what another thread asked for.
    pub(crate) fn command(&mut self, command: Command, mut cx: Turn<'_>) {
        let State::Active(active) = &mut self.state else { return };
        let mut channel = Channel { link: &mut active.link, desk: &mut cx.desk };
        match command {
            Command::Send { kind, payload, .. } => channel.send_from_handle(kind, payload),
            Command::Close { code, reason, .. } => {
                let frame = CloseFrame { code, reason: &reason };
                let fallback = CloseFrame { code: CloseCode::INTERNAL_ERROR, reason: "" };
                // The caller is not there to be told; a Close that was sent before stands.
                let _ = channel.close(Some(frame)).or_else(|_| channel.close(Some(fallback)));
            }
            Command::Stop => {}
        }
        self.advance(&mut Input::new(&mut []), &mut cx);
    }

    /// Refuses its first request, whatever it is, since the server has no room for it.
    pub(crate) fn refuse(&mut self) {
        if let State::Accepting(opening) = &mut self.state {
            opening.refuse();
        }
    }

    /// Whether a request is due: it is a new connection, or part of a request head has come.
    pub(crate) fn awaits_head(&self) -> bool {
        matches!(&self.state, State::Accepting(opening) if opening.phase() == Phase::Head)
    }

    /// Does the same as [`stop`](Self::stop), unless a request is due.
    pub(crate) fn stop_unless_due(&mut self, cx: Turn<'_>) {
        if !self.awaits_head() {
            self.stop(cx);
        }
    }

    /// Begins to end the connection because the server stops.
    pub(crate) fn stop(&mut self, mut cx: Turn<'_>) {
        match &mut self.state {
            State::Accepting(opening) if !opening.awaits_sent() => self.terminate(cx.tick()),
            State::Accepting(opening) => opening.end_after_response(),
            State::Active(active) => {
                let frame = CloseFrame { code: CloseCode::GOING_AWAY, reason: "" };
                let mut channel = Channel { link: &mut active.link, desk: &mut cx.desk };
                // Refused if the connection is closing already.
                let _ = channel.close(Some(frame));
            }
            State::Terminating(_) => {}
        }
    }

    /// Ends the connection at once.
    pub(crate) fn abort(&mut self, mut cx: Turn<'_>) {
        self.break_off(Error::Closed, &mut cx);
        self.advance(&mut Input::new(&mut []), &mut cx);
    }

    /// What the driver is to do now about receiving, if that changes: `pending_bytes` of output
    /// wait, the worker may be short of memory, the peer may have sent too fast, and the connection
    /// may be [fillable](Self::is_fillable).
    pub(crate) fn change_receiving(
        &mut self,
        pending_bytes: usize,
        is_short: bool,
        is_limited: bool,
        fills: bool,
    ) -> Option<Incoming> {
        if matches!(self.state, State::Terminating(Termination::Closing)) {
            // The driver knows the connection no more.
            return None;
        }
        let wanted = match self.wants_receive(pending_bytes) {
            false => Incoming::Paused,
            true if fills && !(is_short || is_limited) => Incoming::Filling,
            true if !(is_short || is_limited) || self.is_closing() => Incoming::Receiving,
            true if is_short => Incoming::Short,
            true => Incoming::Limited,
        };
        let has_ended = matches!(self.incoming, Incoming::Ended | Incoming::Broken);
        (!has_ended && wanted != self.incoming).then(|| {
            self.incoming = wanted;
            wanted
        })
    }

    /// Whether the connection has yet to send its first request.
    pub(crate) fn is_handshake(&self) -> bool {
        matches!(&self.state, State::Accepting(opening) if !opening.has_answered())
    }

    /// Whether it counts among the handshakes in progress from now on.
    pub(crate) fn begins_handshake(&mut self) -> bool {
        self.is_handshake = self.is_handshake();
        self.is_handshake
    }

    /// Whether it counts among them no more: it has sent its first request, or ended before; once.
    #[inline]
    pub(crate) fn ends_handshake(&mut self) -> bool {
        let ends = self.is_handshake && !self.is_handshake();
        self.is_handshake &= !ends;
        ends
    }

    /// Whether what arrives is not kept, since the connection ends.
    fn is_closing(&self) -> bool {
        match &self.state {
            State::Accepting(_) => false,
            State::Active(active) => active.link.sender.is_closed(),
            State::Terminating(_) => true,
        }
    }

    fn wants_receive(&self, pending_bytes: usize) -> bool {
        if matches!(self.incoming, Incoming::Ended | Incoming::Broken) {
            return false;
        }
        match &self.state {
            State::Accepting(opening) => {
                !opening.awaits_sent() && pending_bytes <= HIGH_WATER_BYTES
            }
            State::Active(active) => {
                let is_closing = active.link.sender.is_closed();
                let reads = active.link.wanted.is_some()
                    || is_closing
                    || active.receiver.backlog_bytes() <= READ_AHEAD_BYTES;
                reads
                    && !active.link.has_ended()
                    && (is_closing || pending_bytes <= HIGH_WATER_BYTES)
            }
            State::Terminating(termination) => *termination == Termination::Draining,
        }
    }

    /// Runs the connection as far as it gets. A panic in user code ends it, and nothing else.
    fn advance(&mut self, input: &mut Input<'_>, cx: &mut Context) {
        if catch_unwind(AssertUnwindSafe(|| self.run(input, cx))).is_err() {
            self.panicked(cx);
        }
        if cx.desk.pace.is_cut() {
            cx.desk.left_bytes = input.rest().len();
        }
    }

    fn run(&mut self, input: &mut Input<'_>, cx: &mut Context) {
        if let State::Accepting(opening) = &mut self.state {
            match opening.run(input, &mut cx.desk) {
                Opened::Waiting => {}
                Opened::Finished => self.terminate(cx.tick()),
                Opened::Broken => {
                    self.incoming = Incoming::Broken;
                    self.terminate(cx.tick());
                }
                Opened::Upgraded(session, deflate, mut rest) => {
                    self.upgrade(session, deflate, cx);
                    let mut rest = Input::new(&mut rest);
                    self.run_active(&mut rest, cx);
                    if cx.desk.pace.is_cut() {
                        cx.desk.left_kept.extend_from_slice(rest.rest());
                        return;
                    }
                }
            }
        }
        self.run_active(input, cx);
    }

    fn upgrade(
        &mut self,
        session: Box<dyn AnySession>,
        deflate: Option<DeflateParams>,
        cx: &mut Context,
    ) {
        self.since = cx.tick();
        self.state = State::Active(Active::new(session, deflate));
        if let State::Active(Active { session, link, .. }) = &mut self.state {
            session.start(&mut Channel { link, desk: &mut cx.desk });
        }
    }

    fn run_active(&mut self, input: &mut Input<'_>, cx: &mut Context) {
        if let State::Active(Active { session, receiver, link }) = &mut self.state {
            let Context { desk, workspace } = cx;
            let mut channel = Channel { link, desk };
            let progress = Active::run(&mut **session, receiver, &mut channel, input, workspace);
            cx.workspace.trim();
            cx.desk.deflater.trim();
            if progress == Progress::Finished {
                self.terminate(cx.tick());
            }
        }
    }

    /// The connection is of no more use; `error` is what its session is told.
    fn break_off(&mut self, error: Error, cx: &mut Context) {
        let now = cx.tick();
        self.incoming = Incoming::Broken;
        let token = cx.desk.outbox.token();
        cx.desk.outbox.give_up(token, &mut self.output);
        match &mut self.state {
            State::Accepting(_) => self.terminate(now),
            State::Active(active) => {
                active.link.break_off();
                active.link.end(End::Failed(error), now);
            }
            State::Terminating(_) => {}
        }
    }

    /// User code has panicked: what it left is not called again.
    fn panicked(&mut self, cx: &mut Context) {
        tracing::error!("a session or handler panicked; its connection is closed");
        // What it was given is dropped with it.
        cx.desk.echo.forget_kept();
        match &mut self.state {
            State::Accepting(opening) => opening.panicked(&mut cx.desk),
            State::Active(active) => {
                let frame = CloseFrame { code: CloseCode::INTERNAL_ERROR, reason: "" };
                let mut channel = Channel { link: &mut active.link, desk: &mut cx.desk };
                // Refused if a Close has been sent already.
                let _ = channel.close(Some(frame));
            }
            State::Terminating(_) => {}
        }
        self.terminate(cx.tick());
    }
}
