//! The deadlines of a connection: when it is to be looked at, and what is due then. All of them
//! count from progress; see [`progress`](super::progress).

use super::{
    Active, Channel, Connection, Context, Desk, Incoming, Measured, Meter, MinRate, Output, Phase,
    Shared, State, Termination, Tick, Turn,
};
use crate::{Error, ws::Input};

impl Connection {
    /// So many bytes have arrived: the peer is alive. They may be held back.
    #[inline]
    pub(crate) fn arrived(&mut self, bytes: usize, now: Tick) {
        match &mut self.state {
            State::Active(active) => {
                self.since = now;
                active.link.awaits_pong = false;
                if self.measured == Measured::Received {
                    self.meter.bytes = self.meter.bytes.saturating_add(bytes as u32);
                }
            }
            // The time of a request head counts from its first byte.
            State::Accepting(opening) if opening.phase() == Phase::Idle => self.since = now,
            State::Accepting(_) | State::Terminating(_) => {}
        }
    }

    /// Measures how fast a message arrives, from when a part of it is kept until it is complete.
    #[inline]
    pub(super) fn measure_message(&mut self, cx: &Context) {
        let State::Active(active) = &self.state else { return };
        if !active.receiver.is_incomplete() {
            self.measured = Measured::Nothing;
        } else if self.measured != Measured::Received {
            self.measured = Measured::Received;
            self.meter = Meter { since: cx.tick(), bytes: 0 };
        }
    }

    /// Whether a deadline has come that depends on whether the peer takes its output.
    pub(crate) fn judges_output(&self, desk: &Desk) -> bool {
        let depends = match &self.state {
            // A request head has a time of its own, whatever else goes on.
            State::Accepting(opening) => opening.phase() != Phase::Head,
            State::Active(_) | State::Terminating(_) => true,
        };
        depends && self.deadline(desk.tick(), &desk.shared).has_come(desk.seen())
    }

    /// Does what is due, if it is; `output` is what the peer has not taken, if that is
    /// [judged](Self::judges_output).
    pub(crate) fn check_deadlines(&mut self, output: &Output, mut cx: Turn<'_>) {
        let now = cx.tick();
        if !self.deadline(now, &cx.desk.shared).has_come(cx.desk.seen()) {
            return;
        }
        match &mut self.state {
            State::Active(active) if active.link.close_begun().is_none() => {
                self.check_active(output, &mut cx);
            }
            State::Active(active) => {
                let rate = MinRate::of(&cx.desk.shared.config);
                if self.meter.takes(&mut self.measured, output, rate, now) {
                    active.link.extend_close(now);
                } else {
                    self.break_off(Error::CloseTimeout, &mut cx);
                }
            }
            State::Accepting(_) | State::Terminating(_) => {
                let rate = MinRate::of(&cx.desk.shared.config);
                if self.meter.takes(&mut self.measured, output, rate, now) {
                    self.since = now;
                } else {
                    self.break_off(Error::CloseTimeout, &mut cx);
                }
            }
        }
        self.advance(&mut Input::new(&mut []), &mut cx);
    }

    /// When the next deadline is.
    pub(crate) fn deadline(&self, now: Tick, shared: &Shared) -> Tick {
        let config = &shared.config;
        match &self.state {
            State::Accepting(opening) => match opening.phase() {
                Phase::Head => self.since.after(config.handshake_timeout),
                Phase::Idle => self.since.after(config.keep_alive_timeout),
                Phase::Response => self.since.after(config.min_rate_time),
            },
            State::Terminating(Termination::Closing) => now.far(),
            State::Terminating(_) => self.since.after(config.close_timeout),
            State::Active(active) => {
                if let Some(begun) = active.link.close_begun() {
                    return begun.after(config.close_timeout);
                }
                let mut deadline = self.ping_deadline(active, now, shared);
                if let Some(read) = active.link.read_deadline() {
                    deadline = deadline.min(read);
                }
                if self.measured == Measured::Received
                    && let Some(rate) = MinRate::of(config)
                {
                    deadline = deadline.min(self.meter.received_deadline(rate));
                }
                deadline
            }
        }
    }

    /// Pings, misses a pong, ends a read that has waited for too long, or a message that arrives
    /// too slowly. What has not been received from for want of memory is ended.
    fn check_active(&mut self, output: &Output, cx: &mut Context) {
        let (now, seen) = (cx.tick(), cx.desk.seen());
        let rate = MinRate::of(&cx.desk.shared.config);
        let State::Active(active) = &mut self.state else { return };
        if active.link.read_deadline().is_some_and(|deadline| deadline.has_come(seen)) {
            active.link.time_out();
        }
        if let Some(rate) = rate.filter(|_| self.measured == Measured::Received)
            && self.meter.received_deadline(rate).has_come(seen)
            && !self.meter.receives_enough(rate, now)
            && matches!(self.incoming, Incoming::Receiving | Incoming::Short)
        {
            if self.incoming == Incoming::Short {
                self.begin_shedding(cx);
                return;
            }
            let mut channel = Channel { link: &mut active.link, desk: &mut cx.desk };
            channel.fail(Error::MessageTooSlow);
            return;
        }
        let State::Active(active) = &self.state else { return };
        if !self.ping_deadline(active, now, &cx.desk.shared).has_come(seen) {
            return;
        }
        if self.incoming == Incoming::Short {
            self.begin_shedding(cx);
        } else if self.incoming == Incoming::Limited {
            // Its pong would not be received.
            self.since = now;
        } else if active.link.awaits_pong || output.queued_bytes > 0 {
            if self.meter.takes(&mut self.measured, output, rate, now) {
                self.since = now;
            } else {
                self.break_off(Error::PongTimeout, cx);
            }
        } else if let State::Active(active) = &mut self.state {
            self.since = now;
            if self.measured != Measured::Received {
                self.meter.measure_taken(&mut self.measured, output, now);
            }
            active.link.awaits_pong = true;
            let payload = active.link.ping.start(cx.desk.now);
            // Refused only while closing, which has a deadline of its own.
            let _ = active.link.sender.ping(cx.desk.out(), &payload, None);
        }
    }

    /// When the peer has been silent for too long: then it is pinged, or has not answered the ping.
    #[inline]
    fn ping_deadline(&self, active: &Active, now: Tick, shared: &Shared) -> Tick {
        match shared.ping_interval {
            None => now.far(),
            Some(_) if active.link.awaits_pong => self.since.after(shared.config.pong_timeout),
            Some(interval) => self.since.after_up_to(interval, self.generation),
        }
    }
}
