//! What a session can do to its connection while one of its continuations runs.

use std::{sync::Arc, time::Duration};

use super::{Desk, Handle, Tick, ping::Ping};
use crate::{
    Error,
    config::HIGH_WATER_BYTES,
    http::DeflateParams,
    io::Token,
    ws::{
        CloseCode, CloseFrame, Context, Deflation, Kind, Misuse, ProtocolError, ReadMode, Sender,
    },
};

/// The part of a WebSocket connection that its session can reach.
#[derive(Debug, Default)]
pub(crate) struct Link {
    pub(super) sender: Sender,
    /// What the outstanding read wants, if there is one.
    pub(super) wanted: Option<ReadMode>,
    /// Completions wait with the session.
    pub(super) completions_wait: bool,
    /// A ping of ours is unanswered, and nothing else has arrived since.
    pub(super) awaits_pong: bool,
    pub(super) ping: Ping,
    rare: Option<Box<Rare>>,
}

/// What few connections have.
#[derive(Debug, Default)]
struct Rare {
    read_timeout: Option<Duration>,
    /// When the outstanding read, or its timeout, was asked for.
    read_begun: Option<Tick>,
    /// The outstanding read has waited for too long.
    has_timed_out: bool,
    /// The session sent more than the peer takes.
    has_overflowed: bool,
    /// Nothing more can be sent or received.
    is_broken: bool,
    /// Messages from other threads that wait for the end of a fragmented message.
    held: Vec<(Kind, Vec<u8>)>,
    held_bytes: usize,
    close_begun: Option<Tick>,
    end: Option<End>,
    /// How often the session was told of the end.
    told: u8,
    /// permessage-deflate, if it was agreed.
    deflation: Option<Deflation>,
}

/// How a connection ended.
#[derive(Debug)]
pub(super) enum End {
    Closed { code: CloseCode, reason: String },
    Failed(Error),
}

impl Link {
    /// A link whose messages are compressed if that was agreed.
    pub(super) fn new(deflate: Option<DeflateParams>) -> Self {
        let mut link = Self::default();
        if let Some(params) = deflate {
            let context = |is_fresh| if is_fresh { Context::Fresh } else { Context::Kept };
            link.rare_mut().deflation = Some(Deflation::new(
                context(params.client_no_context_takeover),
                context(params.server_no_context_takeover),
                params.server_max_window_bits.unwrap_or(15),
            ));
        }
        link
    }

    /// Whether a message is all that the session waits for, and nothing else is to be looked at.
    #[inline]
    pub(super) fn awaits_only_messages(&self) -> bool {
        self.wanted == Some(ReadMode::Message) && !self.completions_wait && self.rare.is_none()
    }

    /// The context of the compressed messages that may arrive.
    #[inline]
    pub(super) fn receives_compressed(&self) -> Option<Context> {
        Some(self.rare.as_ref()?.deflation.as_ref()?.receives())
    }

    /// Whether messages are sent as they are.
    fn sends_plain(&self) -> bool {
        self.rare.as_ref().is_none_or(|rare| rare.deflation.is_none())
    }

    /// Appends a whole message.
    fn append_message(
        &mut self,
        kind: Kind,
        payload: &[u8],
        desk: &mut Desk,
    ) -> Result<(), Misuse> {
        let Desk { outbox, deflater, pace, .. } = desk;
        let out = outbox.buffer();
        pace.charge(payload.len());
        match self.rare.as_mut().and_then(|rare| rare.deflation.as_mut()) {
            None => self.sender.message(out, kind, payload, None),
            Some(deflation) => {
                self.sender.deflated_message(out, kind, payload, None, deflation, deflater)
            }
        }
    }

    /// Whether nothing more is to be received.
    pub(super) fn has_ended(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.end.is_some() || rare.told > 0)
    }

    /// Notes how the connection ended; only the first counts.
    pub(super) fn end(&mut self, end: End, now: Tick) {
        self.begin_close(now);
        if !self.has_ended() {
            self.rare_mut().end = Some(end);
        }
    }

    /// The connection has ended before the end that was noted, as is found only now.
    pub(super) fn replace_end(&mut self, end: End) {
        if self.times_told() == 0 {
            self.rare_mut().end = Some(end);
        }
    }

    /// What the session is told now of the end.
    pub(super) fn tell_end(&mut self) -> End {
        let rare = self.rare_mut();
        rare.told = rare.told.saturating_add(1);
        rare.end.take().unwrap_or(End::Failed(Error::Misuse(Misuse::Ended)))
    }

    /// How often the session was told of the end.
    pub(super) fn times_told(&self) -> u8 {
        self.rare.as_ref().map_or(0, |rare| rare.told)
    }

    /// From when the closing handshake's deadline counts.
    pub(super) fn begin_close(&mut self, now: Tick) {
        self.rare_mut().close_begun.get_or_insert(now);
    }

    /// The deadline of the closing handshake counts from now on.
    pub(super) fn extend_close(&mut self, now: Tick) {
        self.rare_mut().close_begun = Some(now);
    }

    pub(super) fn close_begun(&self) -> Option<Tick> {
        self.rare.as_ref()?.close_begun
    }

    /// When the outstanding read times out.
    pub(super) fn read_deadline(&self) -> Option<Tick> {
        let rare = self.rare.as_ref()?;
        let timeout = rare.read_timeout.filter(|_| self.wanted.is_some())?;
        Some(rare.read_begun?.after(timeout))
    }

    /// The outstanding read has timed out, and does so only once.
    pub(super) fn time_out(&mut self) {
        let rare = self.rare_mut();
        rare.has_timed_out = true;
        rare.read_begun = None;
    }

    /// Whether the outstanding read has timed out; says so once.
    pub(super) fn take_time_out(&mut self) -> bool {
        self.rare.as_mut().is_some_and(|rare| std::mem::take(&mut rare.has_timed_out))
            && self.wanted.is_some()
    }

    /// Whether the session sent more than the peer takes, and that has had no consequence yet.
    pub(super) fn has_overflowed(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.has_overflowed) && !self.has_ended()
    }

    /// Whether nothing more can be sent or received.
    pub(super) fn is_broken(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.is_broken)
    }

    /// Nothing more can be sent or received.
    pub(super) fn break_off(&mut self) {
        self.rare_mut().is_broken = true;
    }

    /// Whether this takes memory beyond what few connections have.
    #[inline]
    pub(super) fn has_memory(&self) -> bool {
        self.rare.is_some()
    }

    /// How much memory that is, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        let Some(rare) = &self.rare else { return 0 };
        let deflation = rare.deflation.as_ref().map_or(0, Deflation::memory_bytes);
        rare.held_bytes + deflation
    }

    fn held_bytes(&self) -> usize {
        self.rare.as_ref().map_or(0, |rare| rare.held_bytes)
    }

    fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }
}

/// A [`Link`] together with where its output goes, lent to a session for one call.
#[derive(Debug)]
pub(crate) struct Channel<'a> {
    pub(super) link: &'a mut Link,
    pub(super) desk: &'a mut Desk,
}

impl Channel<'_> {
    /// The same for a shorter time.
    #[inline]
    pub(crate) fn reborrow(&mut self) -> Channel<'_> {
        Channel { link: self.link, desk: self.desk }
    }

    pub(crate) fn token(&self) -> Token {
        self.desk.outbox.token()
    }

    /// Sends a whole message.
    #[inline]
    pub(crate) fn send_message(&mut self, kind: Kind, payload: &[u8]) -> Result<(), Error> {
        self.check_queue()?;
        if self.desk.can_send_back(payload) && self.link.sends_plain() {
            return self.send_back(kind, payload.len());
        }
        Ok(self.link.append_message(kind, payload, self.desk)?)
    }

    /// Sends a whole message from where it was received.
    #[inline(never)]
    fn send_back(&mut self, kind: Kind, payload_bytes: usize) -> Result<(), Error> {
        let header = self.link.sender.message_header(kind, payload_bytes)?;
        self.desk.echo.put(header);
        Ok(())
    }

    /// Sends a fragment; with the last one, what was held back for it follows.
    pub(crate) fn send_fragment(
        &mut self,
        kind: Kind,
        is_final: bool,
        payload: &[u8],
    ) -> Result<(), Error> {
        self.check_queue()?;
        self.link.sender.fragment(self.desk.out(), kind, is_final, payload, None)?;
        if is_final && let Some(rare) = &mut self.link.rare {
            rare.held_bytes = 0;
            for (kind, payload) in std::mem::take(&mut rare.held) {
                self.link.append_message(kind, &payload, self.desk)?;
            }
        }
        Ok(())
    }

    /// Sends a message that another thread gave; it waits for the end of a fragmented one.
    pub(crate) fn send_from_handle(&mut self, kind: Kind, payload: Vec<u8>) {
        if self.check_queue().is_err() || self.link.sender.is_closed() {
            return;
        }
        if self.link.sender.is_mid_message() {
            let rare = self.link.rare_mut();
            rare.held_bytes += payload.len() + size_of::<(Kind, Vec<u8>)>();
            rare.held.push((kind, payload));
        } else {
            // Neither closed nor within a message: there is nothing left to refuse.
            let _ = self.link.append_message(kind, &payload, self.desk);
        }
    }

    /// Sends a ping.
    pub(crate) fn send_ping(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.check_queue()?;
        Ok(self.link.sender.ping(self.desk.out(), payload, None)?)
    }

    /// Sends a pong.
    pub(crate) fn send_pong(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.check_queue()?;
        Ok(self.link.sender.pong(self.desk.out(), payload, None)?)
    }

    /// Starts the closing handshake.
    pub(crate) fn close(&mut self, frame: Option<CloseFrame<'_>>) -> Result<(), Misuse> {
        self.link.sender.close(self.desk.out(), frame, None)?;
        self.link.begin_close(self.tick());
        Ok(())
    }

    /// Fails the connection: a Close frame that says why, and nothing more is received.
    pub(super) fn fail(&mut self, error: Error) {
        let code = match &error {
            Error::Protocol(error) => ProtocolError::close_code(*error),
            Error::SendQueueFull | Error::MessageTooSlow => CloseCode::POLICY_VIOLATION,
            Error::MemoryShort => CloseCode::TRY_AGAIN_LATER,
            _ => CloseCode::INTERNAL_ERROR,
        };
        let reason = error.to_string();
        // Refused only after a Close of our own, which then stands.
        let _ = self.close(Some(CloseFrame { code, reason: &reason }));
        let now = self.tick();
        self.link.end(End::Failed(error), now);
    }

    /// How much output the peer has not taken.
    pub(crate) fn pending_bytes(&self) -> usize {
        self.desk.outbox.queued_bytes() + self.desk.out_bytes() + self.link.held_bytes()
    }

    /// Whether the completions of sends are due.
    pub(crate) fn is_writable(&self) -> bool {
        self.pending_bytes() <= HIGH_WATER_BYTES
    }

    /// Whether the connection has to look at something before the session goes on.
    pub(crate) fn is_disturbed(&self) -> bool {
        self.link.has_overflowed() || self.link.has_ended()
    }

    /// Notes whether completions wait with the session.
    pub(crate) fn set_completions_wait(&mut self, wait: bool) {
        self.link.completions_wait = wait;
    }

    pub(crate) fn set_read_timeout(&mut self, timeout: Option<Duration>) {
        let now = self.tick();
        if timeout.is_some() || self.link.rare.is_some() {
            let rare = self.link.rare_mut();
            rare.read_timeout = timeout;
            rare.read_begun = Some(now);
        }
    }

    /// Notes that a read has been asked for.
    pub(crate) fn read_begins(&mut self, mode: ReadMode) {
        self.link.wanted = Some(mode);
        if let Some(rare) = &mut self.link.rare {
            rare.read_begun = Some(self.desk.tick());
        }
    }

    /// Notes that the outstanding read has completed, or is about to.
    pub(crate) fn read_ends(&mut self) {
        self.link.wanted = None;
    }

    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.link.ping.round_trip()
    }

    pub(crate) fn handle(&self) -> Handle {
        Handle::new(self.token(), Arc::clone(&self.desk.shared.inbox))
    }

    pub(super) fn tick(&self) -> Tick {
        self.desk.tick()
    }

    /// Refuses to send more to a peer that has taken too little.
    fn check_queue(&mut self) -> Result<(), Error> {
        if self.link.is_broken() {
            return Err(Error::Closed);
        }
        if self.pending_bytes() > self.desk.shared.config.send_queue_bytes {
            self.link.rare_mut().has_overflowed = true;
            return Err(Error::SendQueueFull);
        }
        Ok(())
    }
}
