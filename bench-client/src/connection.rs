//! One connection of the load: from connecting to closed, with the messages that are on their way.

use std::{io, time::Duration};

use wireloop::{
    http::{ClientHandshake, ClientRequest},
    io::{SendQueue, Token},
    ws::{
        CloseCode, CloseFrame, Deflation, Event, Input, Kind, Limits, ReadMode, Receiver, Role,
        Rules, Sender,
    },
};

use crate::{
    compression,
    measure::failure::Failure,
    run::Run,
    timers::Timer,
    window::{Echo, Message, OVERTAKEN_MAX, Settled, Window},
};

/// What a server may send that is asked for echoes of a certain size: more than that, but nothing
/// that costs a lot of memory, whatever it announces.
fn rules(size: usize) -> Rules {
    let most = size.saturating_mul(2).max(1 << 20);
    Rules::new(Role::Client, Limits { frame_bytes: most, message_bytes: most, fragments: 1 << 20 })
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) token: Token,
    /// The place of its group in the plan.
    group: u16,
    /// Its number among all connections of all threads.
    number: u32,
    pub(crate) state: State,
    pub(crate) queue: SendQueue,
    receiver: Receiver,
    sender: Sender,
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
    Handshaking(Duration, Box<Handshaking>),
    Open,
    /// A Close frame has been sent.
    Closing,
    Closed,
}

#[derive(Debug)]
pub(crate) struct Handshaking {
    handshake: ClientHandshake,
    /// What has arrived of the response.
    input: Vec<u8>,
}

impl Connection {
    /// A connection that is being made since now.
    pub(crate) fn new(token: Token, group: usize, number: u32, now: Duration) -> Self {
        Self {
            token,
            group: group as u16,
            number,
            state: State::Connecting(now),
            queue: SendQueue::default(),
            receiver: Receiver::default(),
            sender: Sender::default(),
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

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Since when the connection is not open yet.
    pub(crate) fn opening_since(&self) -> Option<Duration> {
        match self.state {
            State::Connecting(since) | State::Handshaking(since, _) => Some(since),
            _ => None,
        }
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.window.waiting()
    }

    /// Nothing is awaited any more: counts the messages without an echo.
    pub(crate) fn abandon(&mut self, now: Duration, run: &mut Run<'_>) {
        while let Some(Settled { message, was_overtaken, .. }) = self.window.take_first() {
            let failure = if was_overtaken { Failure::Lost } else { Failure::Unanswered };
            run.fails(self.group(), failure);
            run.record_unanswered(self.group(), message.intended, message.sent, now);
        }
    }

    /// The connection is established: begins the opening handshake.
    pub(crate) fn connected(&mut self, run: &mut Run<'_>) -> Result<(), Failure> {
        let State::Connecting(since) = self.state else { return Ok(()) };
        let plan = run.group(self.group());
        let target = &plan.target;
        let request = ClientRequest {
            host: &target.host,
            target: &target.path,
            key: run.keys.handshake(),
            protocols: &[],
            deflate: plan.arguments.protocol.compression.offer(),
            headers: &http::HeaderMap::new(),
        };
        let handshake = ClientHandshake::start(&request, &mut run.batch.bytes)?;
        let handshaking = Handshaking { handshake, input: Vec::new() };
        self.state = State::Handshaking(since, Box::new(handshaking));
        Ok(())
    }

    /// Takes what has arrived.
    pub(crate) fn received(
        &mut self,
        bytes: &mut [u8],
        now: Duration,
        run: &mut Run<'_>,
    ) -> Result<(), Failure> {
        let State::Handshaking(since, handshaking) = &mut self.state else {
            return self.take_frames(bytes, now, run);
        };
        handshaking.input.extend_from_slice(bytes);
        let Some(established) = handshaking.handshake.read(&handshaking.input)? else {
            return Ok(());
        };
        let mut rest = handshaking.input.split_off(established.consumed);
        let group = usize::from(self.group);
        run.stats(group).phases.opening.record(now.saturating_sub(*since));
        run.stats(group).opened += 1;
        run.intervals[group].opened += 1;
        if let Some(agreed) = established.deflate {
            run.stats(group).compressed += 1;
            self.deflation = Some(Box::new(compression::client_side(agreed)));
        }
        self.state = State::Open;
        self.was_open = true;
        self.begin(now, run);
        self.take_frames(&mut rest, now, run)
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
        let rules = Rules { compression, ..rules(run.group(self.group()).arguments.payload.size) };
        let mut receiver = std::mem::take(&mut self.receiver);
        let mut workspace = std::mem::take(&mut run.workspace);
        let mut input = Input::new(bytes);
        let result = loop {
            let wanted = Some(ReadMode::Message);
            match receiver.next_event(&mut input, wanted, &rules, &mut workspace) {
                Ok(None) => break Ok(()),
                Ok(Some(Event::Text(text))) => {
                    self.take_echo(Kind::Text, text.as_bytes(), now, run);
                }
                Ok(Some(Event::Binary(bytes))) => self.take_echo(Kind::Binary, bytes, now, run),
                Ok(Some(Event::Ping(payload))) => {
                    let key = Some(run.keys.mask());
                    // Refused after a Close, when no answer is due.
                    let _ = self.sender.pong(&mut run.batch.bytes, payload, key);
                }
                Ok(Some(Event::Close(frame))) => break self.take_close(frame, run),
                Ok(Some(Event::Pong(_) | Event::Frame { .. })) => {}
                Err(error) => {
                    // 7.1.7: the server is told why; the connection is given up after that.
                    let reason = error.to_string();
                    let frame = CloseFrame { code: error.close_code(), reason: &reason };
                    let key = Some(run.keys.mask());
                    let _ = self.sender.close(&mut run.batch.bytes, Some(frame), key);
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
        let Some((owner, sequence)) = plan.payloads.named(payload) else {
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
            run.fan_out.receive(owner, sequence, now);
            if kind != plan.kind {
                run.fails(group, Failure::WrongKind);
            }
        }
    }

    /// In a closed loop, sends another message in the place of one that is settled.
    fn release(&mut self, settled: &Settled, now: Duration, run: &mut Run<'_>) {
        if settled.frees && run.releases(self.group()) && self.is_open() && self.left > 0 {
            let think = run.group(self.group()).arguments.load.think;
            match think.is_zero() {
                true => self.send(now, now, run),
                false => run.timers.push(now + think, self.token, Timer::Send),
            }
        }
        self.leave_if_done(now, run);
    }

    /// In a closed loop, sends others in the place of messages that have been on their way for
    /// too long. These are counted when a later one is answered, or at the end. A server that
    /// answers none of very many is given no more.
    pub(crate) fn replace_late(&mut self, now: Duration, run: &mut Run<'_>) {
        let load = &run.group(self.group()).arguments.load;
        if self.window.waiting() >= load.depth.get() + OVERTAKEN_MAX {
            return;
        }
        let moment = now.saturating_sub(load.answer_timeout);
        for _ in 0..self.window.give_up(moment) {
            self.send(now, now, run);
        }
    }

    /// In a closed loop, sends the first messages.
    pub(crate) fn send_first(&mut self, now: Duration, run: &mut Run<'_>) {
        let depth = run.group(self.group()).arguments.load.depth.get().min(self.left as usize);
        self.window.reserve(depth);
        for _ in 0..depth {
            self.send(now, now, run);
        }
    }

    fn take_close(
        &mut self,
        frame: Option<CloseFrame<'_>>,
        run: &mut Run<'_>,
    ) -> Result<(), Failure> {
        if matches!(self.state, State::Closing) {
            self.state = State::Closed;
            return Ok(());
        }
        let key = Some(run.keys.mask());
        // This end has sent no Close yet, and the peer's code has been checked.
        let _ = self.sender.close(&mut run.batch.bytes, frame, key);
        let code = frame.map_or(CloseCode::NO_STATUS, |frame| frame.code);
        Err(Failure::ClosedByServer(code.0))
    }

    /// Sends the next message.
    pub(crate) fn send(&mut self, intended: Duration, now: Duration, run: &mut Run<'_>) {
        let sequence = self.window.next();
        let plan = run.group(self.group());
        plan.payloads.write(self.number, sequence as u32, &mut run.scratch);
        let key = Some(run.keys.mask());
        let kind = plan.kind;
        let out = &mut run.batch.bytes;
        let sent = match &mut self.deflation {
            None => self.sender.message(out, kind, &run.scratch, key),
            Some(deflation) => {
                let deflater = &mut run.deflater;
                self.sender.deflated_message(out, kind, &run.scratch, key, deflation, deflater)
            }
        };
        // Refused only after a Close, and then the connection is not open.
        if sent.is_ok() {
            self.left = self.left.saturating_sub(u32::from(self.left != u32::MAX));
            self.window.push(Message { intended, sent: now });
        }
    }

    /// Starts the closing handshake.
    pub(crate) fn close(&mut self, run: &mut Run<'_>) {
        let frame = CloseFrame { code: CloseCode::NORMAL, reason: "" };
        let key = Some(run.keys.mask());
        if self.is_open() && self.sender.close(&mut run.batch.bytes, Some(frame), key).is_ok() {
            self.state = State::Closing;
        }
    }

    /// The kernel was given what was sent since the last call, at `time`.
    pub(crate) fn stamp(&mut self, time: Duration, run: &mut Run<'_>) {
        let group = self.group();
        let bytes = run.group(group).arguments.payload.size;
        let is_open_loop = run.is_open_loop(group);
        for message in self.window.stamp() {
            message.sent = time;
            if !is_open_loop {
                // In a closed loop a message is due when it is written.
                message.intended = time;
            }
            run.record_sent(group, bytes, message.intended, time);
        }
        if run.group(group).arguments.load.publishers.is_some() {
            for (sequence, message) in self.window.drain() {
                let counts = run.measures(message.intended);
                run.fan_out.publish(self.number, sequence, message.intended, counts);
            }
        }
    }
}

/// What a connection's end, as the kernel tells it, is called.
pub(crate) fn ended(result: io::Result<()>, was_open: bool) -> Failure {
    match result {
        Ok(()) if was_open => Failure::Ended,
        Ok(()) => Failure::HandshakeEnded,
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Failure::Reset,
        Err(error) => Failure::Network(error.raw_os_error().unwrap_or(0)),
    }
}

/// Why a connection could not be made.
pub(crate) fn not_connected(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Failure::ConnectRefused,
        io::ErrorKind::TimedOut => Failure::ConnectTimeout,
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
