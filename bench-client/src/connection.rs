//! One connection of the load: from connecting to closed, with the messages that are on their way.

use std::{io, mem, time::Duration};

use wireloop::{
    http::Established,
    io::{SendState, SendStates, Token},
    ws::{
        CloseFrame, Deflation, Event, Input, Kind, Limits, ReadMode, Receiver, Role, Rules, Sender,
    },
};

mod control;
mod sending;

use crate::{
    compression,
    handshake::Opening,
    measure::failure::Failure,
    run::Run,
    timers::Timer,
    tls::Tls,
    window::{Echo, Message, Window},
};

/// What a server may send that is asked for echoes of a certain size: more than that, but nothing
/// that costs a lot of memory, whatever it announces.
fn rules(size: usize) -> Rules {
    let most = size.saturating_mul(2).max(1 << 20);
    Rules::new(Role::Client, Limits { frame_bytes: most, message_bytes: most, fragments: 1 << 20 })
}

/// How much may wait for a server that does not read before it is sent no more than echoes allow.
const PENDING_MAX: usize = 16 << 20;

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) token: Token,
    /// The place of its group in the plan.
    group: u16,
    /// Its number among all connections of all threads.
    number: u32,
    pub(crate) state: State,
    pub(crate) output: SendState,
    receiver: Receiver,
    sender: Sender,
    /// If the connection is secured.
    tls: Option<Box<Tls>>,
    /// permessage-deflate, if the server agreed to it.
    deflation: Option<Box<Deflation>>,
    /// The messages that are on their way.
    window: Window,
    /// When it was to begin.
    pub(crate) begun: Duration,
    /// How many messages it has yet to send. It leaves when the last one is answered.
    pub(crate) left: u32,
    pub(crate) was_open: bool,
    /// It is closing because it has done what it had to.
    pub(crate) has_left: bool,
}

/// The life of a connection. The times are when connecting began.
#[derive(Debug)]
pub(crate) enum State {
    Connecting(Duration),
    Opening(Duration, Box<Opening>),
    Open,
    /// A Close frame has been sent.
    Closing,
    Closed,
}

/// The connections of a thread, for the outbox.
pub(crate) struct States<'c>(pub(crate) &'c mut [Connection]);

impl SendStates for States<'_> {
    fn send_state(&mut self, token: Token) -> Option<&mut SendState> {
        let connection = self.0.get_mut(token.index as usize)?;
        (connection.token == token).then_some(&mut connection.output)
    }
}

impl Connection {
    /// A connection that is being made since now.
    pub(crate) fn new(token: Token, group: usize, number: u32, now: Duration) -> Self {
        Self {
            token,
            group: group as u16,
            number,
            state: State::Connecting(now),
            output: SendState::default(),
            receiver: Receiver::default(),
            sender: Sender::default(),
            tls: None,
            deflation: None,
            window: Window::default(),
            begun: now,
            left: u32::MAX,
            was_open: false,
            has_left: false,
        }
    }

    /// The place of a connection that has not begun.
    pub(crate) fn vacant(index: u32, group: usize, number: u32) -> Self {
        let token = Token { index, generation: 0 };
        let state = State::Closed;
        Self { state, ..Self::new(token, group, number, Duration::ZERO) }
    }

    pub(crate) fn group(&self) -> usize {
        self.group.into()
    }

    pub(crate) fn number(&self) -> usize {
        self.number as usize
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Since when the connection is not open yet.
    pub(crate) fn opening_since(&self) -> Option<Duration> {
        match self.state {
            State::Connecting(since) | State::Opening(since, _) => Some(since),
            _ => None,
        }
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.window.waiting()
    }

    /// The connection is established: begins the handshake of TLS or that of RFC 6455.
    pub(crate) fn connected(&mut self, now: Duration, run: &mut Run<'_>) -> Result<(), Failure> {
        let State::Connecting(since) = self.state else { return Ok(()) };
        let group = self.group();
        run.stats(group).phases.connect.record(now.saturating_sub(since));
        let plan = run.group(group);
        let mut opening = Opening::new(now);
        match &plan.tls {
            Some(tls) => self.tls = Some(Box::new(tls.connect()?)),
            None => opening.ask(plan, run)?,
        }
        self.state = State::Opening(since, opening);
        Ok(())
    }

    /// Takes what has arrived.
    pub(crate) fn received(
        &mut self,
        bytes: &mut [u8],
        now: Duration,
        run: &mut Run<'_>,
    ) -> Result<(), Failure> {
        let Some(tls) = &mut self.tls else { return self.take(bytes, now, run) };
        let mut plain = mem::take(&mut run.plain);
        plain.clear();
        let result = tls.read(bytes, &mut plain);
        let taken = self.take(&mut plain, now, run);
        run.plain = plain;
        taken?;
        if result? { Err(ended(Ok(()), self.is_open())) } else { Ok(()) }
    }

    /// Takes what has arrived, without TLS.
    fn take(&mut self, bytes: &mut [u8], now: Duration, run: &mut Run<'_>) -> Result<(), Failure> {
        let group = self.group();
        let State::Opening(since, opening) = &mut self.state else {
            return self.take_frames(bytes, now, run);
        };
        if !opening.has_asked() && self.tls.as_ref().is_some_and(|tls| !tls.is_handshaking()) {
            run.stats(group).phases.tls.record(opening.step(now));
            opening.ask(run.group(group), run)?;
        }
        let Some((established, mut rest)) = opening.read(bytes)? else { return Ok(()) };
        let phases = &mut run.stats(group).phases;
        phases.upgrade.record(opening.step(now));
        phases.opening.record(now.saturating_sub(*since));
        self.opened(established, run);
        self.begin(now, run);
        self.take_frames(&mut rest, now, run)
    }

    fn opened(&mut self, established: Established, run: &mut Run<'_>) {
        let group = self.group();
        run.intervals[group].opened += 1;
        let has_offered = !run.group(group).arguments.protocol.subprotocols.is_empty();
        let stats = run.stats(group);
        stats.opened += 1;
        if has_offered {
            let chosen = established.protocol.unwrap_or_default();
            *stats.subprotocols.entry(chosen).or_default() += 1;
        }
        if let Some(agreed) = established.deflate {
            stats.compressed += 1;
            self.deflation = Some(Box::new(compression::client_side(agreed)));
        }
        self.state = State::Open;
        self.was_open = true;
    }

    /// The connection is open. One that comes in the place of another begins to send.
    fn begin(&mut self, now: Duration, run: &mut Run<'_>) {
        if let Some(lifetime) = run.group(self.group()).arguments.load.lifetime {
            // The first ones end one after the other, as if they had begun so.
            let share = if self.token.generation == 1 { run.keys.share() } else { 1.0 };
            run.timers.push(now + lifetime.mul_f64(share), self.token, Timer::Leave);
        }
        if run.releases(self.group()) {
            self.send_first(now, run);
        }
    }

    /// Sends the next message of a closed loop, if there is one.
    pub(crate) fn go_on(&mut self, now: Duration, run: &mut Run<'_>) {
        if run.releases(self.group()) && self.left > 0 {
            self.send(now, now, run);
        }
    }

    fn take_frames(
        &mut self,
        bytes: &mut [u8],
        now: Duration,
        run: &mut Run<'_>,
    ) -> Result<(), Failure> {
        let compression = self.deflation.as_ref().map(|deflation| deflation.receives());
        let plan = run.group(self.group());
        let rules = Rules { compression, ..rules(plan.payloads.largest()) };
        if compression.is_some() {
            run.stats(self.group()).received_compressed.compressed += bytes.len() as u64;
        }
        let mut receiver = mem::take(&mut self.receiver);
        let mut workspace = mem::take(&mut run.workspace);
        let mut input = Input::new(bytes);
        let result = loop {
            let wanted = Some(ReadMode::Message);
            match receiver.next_event(&mut input, wanted, &rules, &mut workspace) {
                Ok(None) => break Ok(()),
                Ok(Some(Event::Text(text))) => {
                    self.take_echo(Kind::Text, text.as_bytes(), now, run);
                }
                Ok(Some(Event::Binary(bytes))) => self.take_echo(Kind::Binary, bytes, now, run),
                Ok(Some(Event::Ping(payload))) => self.answer(payload, run),
                Ok(Some(Event::Pong(payload))) => self.take_pong(payload, now, run),
                Ok(Some(Event::Close(frame))) => break self.take_close(frame, run),
                Ok(Some(Event::Frame { .. })) => {}
                Err(error) => {
                    // 7.1.7: the server is told why; the connection is given up after that.
                    let reason = error.to_string();
                    let frame = CloseFrame { code: error.close_code(), reason: &reason };
                    let key = run.mask(self.group());
                    let _ = self.sender.close(run.outbox.buffer(), Some(frame), key);
                    break Err(error.into());
                }
            }
        };
        workspace.trim();
        run.workspace = workspace;
        self.receiver = receiver;
        result
    }

    /// Compares an echo with what was sent, to the byte, and releases the next message.
    fn take_echo(&mut self, kind: Kind, payload: &[u8], now: Duration, run: &mut Run<'_>) {
        if matches!(self.state, State::Closing) {
            // Its message has been counted as unanswered.
            return;
        }
        let (group, plan) = (self.group(), run.group(self.group()));
        if plan.arguments.load.publishers.is_some() {
            return self.take_delivery(kind, payload, now, run);
        }
        let echo = self.window.identify(payload, &plan.payloads, self.number);
        let sequence = match echo {
            Echo::Whole(sequence) | Echo::Corrupt(sequence) => sequence,
            Echo::Foreign => return run.fails(group, Failure::Foreign),
            Echo::Unknown => return run.fails(group, Failure::Unexpected),
        };
        let settled = self.window.take(sequence);
        match echo {
            Echo::Corrupt(_) => run.fails(group, Failure::WrongContent),
            _ if settled.is_none() => run.fails(group, Failure::Duplicate),
            _ if kind != plan.kind => run.fails(group, Failure::WrongKind),
            _ => {}
        }
        let Some(settled) = settled else { return };
        if settled.was_overtaken {
            run.fails(group, Failure::Reordered);
        }
        let Message { intended, sent } = settled.message;
        if sequence == 0 {
            run.stats(group).phases.first_message.record(now.saturating_sub(sent));
        }
        if self.deflation.is_some() {
            run.stats(group).received_compressed.plain += payload.len() as u64;
        }
        run.record(group, payload.len(), intended, sent, now);
        self.release(&settled, now, run);
        while let Some(lost) = self.window.take_lost() {
            run.fails(group, Failure::Lost);
            run.record_unanswered(group, lost.message.intended, lost.message.sent, now);
            self.release(&lost, now, run);
        }
    }

    /// Compares a message of a publisher with what that has sent, to the byte.
    fn take_delivery(&self, kind: Kind, payload: &[u8], now: Duration, run: &mut Run<'_>) {
        let (group, plan) = (self.group(), run.group(self.group()));
        let Some((owner, sequence)) = plan.payloads.named(payload, u32::MAX) else {
            return run.fails(group, Failure::Unexpected);
        };
        if owner == self.number {
            // Some servers pass a message on to its sender too.
            return;
        }
        if !plan.is_publisher(owner) {
            run.fails(group, Failure::Foreign);
        } else if !plan.payloads.is(payload, owner, sequence) {
            run.fails(group, Failure::WrongContent);
        } else {
            run.fan_out.receive((owner, sequence), self.number, now);
            if kind != plan.kind {
                run.fails(group, Failure::WrongKind);
            }
        }
    }
}

/// What a connection's end, as the kernel tells it, is called.
pub(crate) fn ended(result: io::Result<()>, was_open: bool) -> Failure {
    match result {
        Ok(()) if was_open => Failure::Ended,
        Ok(()) => Failure::HandshakeEnded,
        // A send after a reset that nothing has received yet fails with a broken pipe.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
            ) =>
        {
            Failure::Reset
        }
        Err(error) => Failure::Network(error.raw_os_error().unwrap_or(0)),
    }
}

/// Why a connection could not be made.
pub(crate) fn not_connected(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Failure::ConnectRefused,
        io::ErrorKind::TimedOut => Failure::ConnectTimeout,
        // By a server that has accepted it before.
        io::ErrorKind::ConnectionReset => Failure::Reset,
        _ => Failure::Connect(error.raw_os_error().unwrap_or(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The goal is 400 bytes, with what the driver has.
    #[test]
    fn a_connection_with_a_message_in_flight_is_small() {
        let mut window = Window::default();
        window.reserve(1);
        let bytes = size_of::<Connection>() + window.bytes();
        assert!(bytes <= 200, "{bytes}");
    }
}
