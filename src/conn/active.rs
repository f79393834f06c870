//! A connection after its upgrade: the protocol on one side, the session on the other.

use super::{
    AnySession, Channel, Frame, Received,
    channel::{End, Link},
};
use crate::{
    Error,
    http::DeflateParams,
    ws::{
        CloseCode, CloseFrame, Event, Input, Misuse, ProtocolError, ReadMode, Receiver, Role,
        Rules, Workspace,
    },
};

/// How many completions of a session are called once a Close frame has been sent, when every send
/// is refused, before the peer is listened to. After the end, a session that goes on regardless is
/// dropped when it has been called so many times more than is due.
const CLOSING_CALLS_MAX: usize = 1000;

/// A WebSocket connection.
pub(super) struct Active {
    pub(super) session: Box<dyn AnySession>,
    pub(super) receiver: Receiver,
    pub(super) link: Link,
}

impl std::fmt::Debug for Active {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Active").field("link", &self.link).finish_non_exhaustive()
    }
}

/// Whether a connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Going,
    /// The session has been told of the end and waits for nothing.
    Finished,
}

impl Active {
    pub(super) fn new(session: Box<dyn AnySession>, deflate: Option<DeflateParams>) -> Self {
        Self { session, receiver: Receiver::default(), link: Link::new(deflate) }
    }

    /// Takes the input and does what is due, as far as the connection's share of the pass reaches.
    /// The session's continuations run here, one after the other, whatever they ask for: this is
    /// the loop that keeps the stack flat.
    pub(super) fn run(
        session: &mut dyn AnySession,
        receiver: &mut Receiver,
        channel: &mut Channel<'_>,
        input: &mut Input<'_>,
        workspace: &mut Workspace,
    ) -> Progress {
        let rules = Rules {
            role: Role::Server,
            limits: channel.desk.shared.config.frames,
            compression: channel.link.receives_compressed(),
        };
        let mut calls = 0;
        loop {
            while channel.link.awaits_only_messages()
                && let Some(message) = receiver.next_message(input, &rules)
            {
                channel.desk.pace.count_message();
                match message {
                    Ok(Event::Binary(bytes)) => session.binary(channel, bytes),
                    Ok(event) => take_event(session, channel, event, true),
                    Err(error) => channel.fail(Error::Protocol(error)),
                }
                if !channel.desk.pace.spend() {
                    return Progress::Going;
                }
            }
            if input.is_empty() && channel.link.awaits_only_messages() && !receiver.has_memory() {
                return Progress::Going;
            }
            if channel.link.has_overflowed() {
                channel.fail(Error::SendQueueFull);
            }
            if channel.link.has_ended() {
                return wind_up(session, receiver, channel, &rules, workspace);
            }
            let is_closing = channel.link.sender.is_closed();
            let may_call = !is_closing || calls < CLOSING_CALLS_MAX;
            if channel.link.completions_wait && may_call && session.run_next(channel) {
                calls += 1;
                if !channel.desk.pace.spend() {
                    return Progress::Going;
                }
                continue;
            }
            if channel.link.take_time_out() {
                session.received(channel, Received::TimedOut);
                continue;
            }
            if refuses_read(session, receiver, channel) {
                continue;
            }
            let wanted = channel.link.wanted;
            // While closing, what the session does not read is dropped, so that the peer's Close
            // is reached.
            let discards = wanted.is_none() && is_closing;
            let mode = if discards { Some(ReadMode::Frame) } else { wanted };
            let received = input.addresses();
            match receiver.next_event(input, mode, &rules, workspace) {
                Ok(None) => return Progress::Going,
                Ok(Some(event)) => {
                    if rules.compression.is_none()
                        && !received.contains(&event.payload().as_ptr().addr())
                    {
                        channel.desk.echo.begin_kept(event.payload());
                    }
                    if !deliver(session, channel, event, !discards) {
                        return Progress::Going;
                    }
                }
                Err(error) if mode.is_some() => Self::fail(receiver, channel, error),
                // What arrived before the fault waits for a reader.
                Err(error) => channel.fail(Error::Protocol(error)),
            }
        }
    }

    /// Fails the connection of a session that reads (7.1.7): nothing behind the fault is read, and
    /// nothing that came before it waits.
    pub(super) fn fail(receiver: &mut Receiver, channel: &mut Channel<'_>, error: ProtocolError) {
        *receiver = Receiver::default();
        channel.fail(Error::Protocol(error));
    }
}

/// Has the session take an event. Whether the connection may go on in this pass: not with its share
/// done, and not before a message is sent from where it was put together.
fn deliver(
    session: &mut dyn AnySession,
    channel: &mut Channel<'_>,
    event: Event<'_>,
    delivers: bool,
) -> bool {
    channel.desk.pace.count_message();
    channel.desk.pace.charge(event.payload().len());
    take_event(session, channel, event, delivers);
    if channel.desk.echo.end_kept() {
        channel.desk.pace.cut();
        return false;
    }
    channel.desk.pace.spend()
}

/// Refuses a read of a whole message of which a part has been read as frames.
fn refuses_read(
    session: &mut dyn AnySession,
    receiver: &Receiver,
    channel: &mut Channel<'_>,
) -> bool {
    let refuses = channel.link.wanted == Some(ReadMode::Message) && receiver.is_mid_message();
    if refuses {
        session.refuse_read(channel, Misuse::MessageInProgress);
    }
    refuses
}

fn take_event(
    session: &mut dyn AnySession,
    channel: &mut Channel<'_>,
    event: Event<'_>,
    delivers: bool,
) {
    match event {
        Event::Ping(payload) => {
            // 5.5.2: a pong, unless a Close has been sent. The peer's pings cannot pile up, since
            // nothing is received while its output waits.
            let _ = channel.link.sender.pong(channel.desk.out(), payload, None);
        }
        Event::Pong(payload) => take_pong(session, channel, payload),
        Event::Close(frame) => take_close(channel, frame),
        _ if !delivers => {}
        Event::Text(text) => session.text(channel, text),
        Event::Binary(bytes) => session.binary(channel, bytes),
        Event::Frame { opcode, is_final, payload } => {
            let frame = Frame { opcode, is_final, payload };
            session.received(channel, Received::Frame(frame));
        }
    }
}

fn take_pong(session: &mut dyn AnySession, channel: &mut Channel<'_>, payload: &[u8]) {
    if !channel.link.ping.answered(payload, channel.desk.now) {
        session.pong(channel, payload);
    }
}

/// 5.5.1: the Close is answered with the same one, and is the end.
fn take_close(channel: &mut Channel<'_>, frame: Option<CloseFrame<'_>>) {
    // Refused if a Close has been sent already: then this is the answer to it.
    let _ = channel.close(frame);
    let (code, reason) =
        frame.map_or((CloseCode::NO_STATUS, ""), |frame| (frame.code, frame.reason));
    let now = channel.tick();
    channel.link.end(End::Closed { code, reason: reason.into() }, now);
}

/// After the end: the session reads what it has not read, then is told; sends complete as the
/// peer takes them, or fail when it cannot any more.
fn wind_up(
    session: &mut dyn AnySession,
    receiver: &mut Receiver,
    channel: &mut Channel<'_>,
    rules: &Rules,
    workspace: &mut Workspace,
) -> Progress {
    if channel.link.is_broken() {
        session.fail_sends();
    }
    let due = session.completions() + 2 * receiver.backlog_frames();
    for _ in 0..due + CLOSING_CALLS_MAX {
        if session.run_next(channel) || refuses_read(session, receiver, channel) {
            continue;
        }
        match channel.link.wanted {
            Some(_) if channel.link.times_told() > 1 => return Progress::Finished,
            Some(mode) => {
                let nothing = &mut Input::new(&mut []);
                match receiver.next_event(nothing, Some(mode), rules, workspace) {
                    Ok(Some(event)) => take_event(session, channel, event, true),
                    Ok(None) => tell_end(session, channel),
                    Err(error) => {
                        // A compressed message that waited turns out to be none.
                        *receiver = Receiver::default();
                        channel.link.replace_end(End::Failed(Error::Protocol(error)));
                    }
                }
            }
            None if channel.link.completions_wait => return Progress::Going,
            None => return Progress::Finished,
        }
    }
    tracing::error!("a session goes on after the end of its connection: dropped");
    Progress::Finished
}

fn tell_end(session: &mut dyn AnySession, channel: &mut Channel<'_>) {
    match channel.link.tell_end() {
        End::Closed { code, reason } => {
            session.received(channel, Received::Closed { code, reason: &reason });
        }
        End::Failed(error) => session.received(channel, Received::Failed(error)),
    }
}
