//! What a connection sends: messages when they are due or released, until they are with the kernel.

use std::{mem, time::Duration};

use wireloop::io::Outbox;

use super::{Connection, PENDING_MAX};
use crate::{
    measure::{failure::Failure, stats::Volume},
    run::Run,
    timers::Timer,
    window::{Message, OVERTAKEN_MAX, Settled},
};

impl Connection {
    /// Nothing is awaited any more: counts the messages without an echo.
    pub(crate) fn abandon(&mut self, now: Duration, run: &mut Run<'_>) {
        while let Some(Settled { message, was_overtaken, .. }) = self.window.take_first() {
            let failure = if was_overtaken { Failure::Lost } else { Failure::Unanswered };
            run.fails(self.group(), failure);
            run.record_unanswered(self.group(), message.intended, message.sent, now);
        }
    }

    /// In a closed loop, sends another message in the place of one that is settled.
    pub(super) fn release(&mut self, settled: &Settled, now: Duration, run: &mut Run<'_>) {
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

    /// Sends the next message.
    pub(crate) fn send(&mut self, intended: Duration, now: Duration, run: &mut Run<'_>) {
        let sequence = self.window.next();
        let group = self.group();
        let plan = run.group(group);
        plan.payloads.write(self.number, sequence as u32, &mut run.scratch);
        let key = run.mask(group);
        let out = run.outbox.buffer();
        let start = out.len();
        let sent = match (&mut self.deflation, plan.arguments.protocol.fragment) {
            (Some(deflation), _) => {
                let deflater = &mut run.deflater;
                self.sender.deflated_message(out, plan.kind, &run.scratch, key, deflation, deflater)
            }
            (None, Some(size)) if run.scratch.len() > size => {
                return self.send_fragments(intended, now, size, run);
            }
            (None, _) => self.sender.message(out, plan.kind, &run.scratch, key),
        };
        if self.deflation.is_some() {
            let compressed = (out.len() - start) as u64;
            let plain = run.scratch.len() as u64;
            run.stats(group).sent_compressed.add(&Volume { plain, compressed });
        }
        // Refused only after a Close, and then the connection is not open.
        if sent.is_ok() {
            self.left = self.left.saturating_sub(u32::from(self.left != u32::MAX));
            self.window.push(Message { intended, sent: now });
        }
    }

    pub(super) fn send_fragments(
        &mut self,
        intended: Duration,
        now: Duration,
        size: usize,
        run: &mut Run<'_>,
    ) {
        let group = self.group();
        let kind = run.group(group).kind;
        let payload = mem::take(&mut run.scratch);
        let mut fragments = payload.chunks(size).peekable();
        let mut sent = Ok(());
        while let Some(fragment) = fragments.next() {
            let key = run.mask(group);
            let is_final = fragments.peek().is_none();
            let out = run.outbox.buffer();
            sent = self.sender.fragment(out, kind, is_final, fragment, key);
        }
        run.scratch = payload;
        if sent.is_ok() {
            self.left = self.left.saturating_sub(u32::from(self.left != u32::MAX));
            self.window.push(Message { intended, sent: now });
        }
    }

    /// Whether a message of an open loop may be sent: there is a limit to those without an answer,
    /// and another to what the server does not read.
    pub(crate) fn has_room(&self, most: usize, outbox: &Outbox) -> bool {
        let pending_bytes = outbox.queued_bytes() + outbox.scope_bytes();
        self.in_flight() < most && pending_bytes <= PENDING_MAX
    }

    /// Submits what the connection has appended to the outbox, as TLS records where it is secured.
    pub(crate) fn submit(&mut self, outbox: &mut Outbox) {
        if let Some(tls) = &mut self.tls {
            let start = outbox.scope_start();
            tls.seal(outbox.buffer(), start);
        }
        outbox.submit(&mut self.output);
    }

    /// The kernel was given what was sent since the last call, at `time`.
    pub(crate) fn stamp(&mut self, time: Duration, run: &mut Run<'_>) {
        let group = self.group();
        let payloads = &run.group(group).payloads;
        let is_open_loop = run.is_open_loop(group);
        for (sequence, message) in self.window.stamp() {
            let bytes = payloads.size(self.number, sequence as u32);
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
