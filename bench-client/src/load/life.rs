//! The lives of a thread's connections: how they come, leave and make room for others.

use std::{io, mem, time::Duration};

use wireloop::io::{Driver, Token};

use super::{CLOSE_TIMEOUT, Loader};
use crate::{
    connection::{Connection, not_connected},
    measure::failure::Failure,
    squad::Squad,
    timers::Timer,
};

/// How long the place of a connection that has failed stays empty, where others come.
const REPLACE_TIME: Duration = Duration::from_millis(200);

impl<D: Driver> Loader<'_, D> {
    /// Opens connections that wait for it, as many as may be opening at a time.
    pub(super) fn open_waiting(&mut self) {
        for group in 0..self.squads.len() {
            while self.may_open() {
                let now = self.now();
                let Some(slot) = self.squads[group].take_waiting(now) else { break };
                self.connect(slot, now);
            }
        }
    }

    /// Whether a connection that waits may be opened, if it is time for it.
    fn may_open(&self) -> bool {
        self.opening < self.opening_max && !self.is_finishing && !self.run.plan.is_over()
    }

    /// When a connection that waits may be opened. One that waits for others to be open is not
    /// waited for: their completions end the wait.
    pub(super) fn opening_due(&self) -> Duration {
        match self.may_open() {
            true => self.squads.iter().map(Squad::opening_due).min().unwrap_or(Duration::MAX),
            false => Duration::MAX,
        }
    }

    /// Begins a connection, which was to begin at `due`.
    fn connect(&mut self, slot: usize, due: Duration) {
        let before = &self.connections[slot];
        let (group, number) = (before.group(), before.number());
        let Token { index, generation } = before.token;
        // The number of uses is far from its end: ports would run out before.
        let token = Token { index, generation: generation % (1 << 30) + 1 };
        self.connections[slot] = Connection::new(token, group, number as u32, due);
        if let Some(messages) = self.run.group(group).arguments.load.messages {
            self.connections[slot].left = u32::try_from(messages.get()).unwrap_or(u32::MAX);
        }
        self.opening += 1;
        self.live += 1;
        self.begin(token);
    }

    /// Has the driver connect; later, if the queue of a Unix socket is full.
    fn begin(&mut self, token: Token) {
        let connection = &self.connections[token.index as usize];
        let target = &self.run.group(connection.group()).target;
        let number = connection.number();
        match self.driver.connect(token, target.address(number), target.source(number)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.postponed.push(token),
            Err(error) => {
                self.fail(token, not_connected(&error));
                // Of what the driver has never had it tells no end.
                self.closed(token);
            }
        }
    }

    /// Tries again to connect what could not be.
    pub(super) fn begin_postponed(&mut self) {
        for token in mem::take(&mut self.postponed) {
            if self.connections[token.index as usize].is_closed() {
                self.closed(token);
            } else {
                self.begin(token);
            }
        }
    }

    /// Gives up the connections that have taken too long to open.
    pub(super) fn fail_late(&mut self) {
        let now = self.now();
        if self.opening == 0 || now < self.next_late {
            return;
        }
        self.next_late = now + super::LOOK_AROUND;
        let timeout = self.run.plan.run.connect_timeout;
        for index in 0..self.connections.len() {
            let connection = &self.connections[index];
            let since = connection.opening_since();
            if since.is_some_and(|since| now.saturating_sub(since) > timeout) {
                self.fail(connection.token, Failure::ConnectTimeout);
            }
        }
    }

    /// Begins the sessions that are due.
    pub(super) fn begin_sessions(&mut self, start: Duration) {
        for place in 0..self.squads.len() {
            loop {
                let now = self.now();
                let Squad { group, free, sessions, .. } = &mut self.squads[place];
                let due = sessions.as_mut().and_then(|pacer| pacer.take(now.saturating_sub(start)));
                let Some((_, due)) = due else { break };
                let group = *group;
                match free.pop() {
                    Some(slot) => self.connect(slot as usize, start + due),
                    None if self.run.measures(start + due) => {
                        self.run.fails(group, Failure::NoSession);
                    }
                    None => {}
                }
            }
        }
    }

    /// A connection is gone. In some groups its place is taken again.
    pub(super) fn closed(&mut self, token: Token) {
        self.live -= 1;
        let slot = token.index as usize;
        let connection = &self.connections[slot];
        let group = connection.group();
        self.run.intervals[group].closed += u64::from(connection.was_open);
        let has_left = connection.has_left;
        let squad = &mut self.squads[group];
        let load = &self.run.group(group).arguments.load;
        if load.sessions.is_some() {
            squad.free.push(token.index);
        } else if has_left && !self.is_finishing {
            squad.wait(slot);
        } else if load.replaces() && self.run.trial.is_some() {
            let now = self.now();
            self.run.timers.push(now + REPLACE_TIME, token, Timer::Replace);
        }
    }

    /// Where a message of an open loop goes: to one connection after the other, or to any if the
    /// times are random too. Where connections leave, to the next one that is there.
    pub(super) fn pick(&mut self, place: usize, number: u64) -> usize {
        let Squad { group, ref slots, .. } = self.squads[place];
        let load = &self.run.group(group).arguments.load;
        let size = self.squads[place].publishers();
        let number = if load.poisson { self.run.keys.number() } else { number };
        let first = (number % size as u64) as usize;
        if !load.replaces() {
            return slots.start + first;
        }
        let all = (first..size).chain(0..first).map(|place| slots.start + place);
        let mut present = all.filter(|slot| {
            let connection = &self.connections[*slot];
            connection.is_open() && connection.left > 0
        });
        present.next().unwrap_or(slots.start + first)
    }

    /// Whether no connection is left, and none will come.
    pub(super) fn has_failed(&self) -> bool {
        let comes = |squad: &Squad| {
            let load = &self.run.group(squad.group).arguments.load;
            squad.is_waiting() || squad.sessions.is_some() || load.replaces()
        };
        self.live == 0 && !self.squads.iter().any(comes)
    }

    /// Does what is due on single connections.
    pub(super) fn run_timers(&mut self) {
        let now = self.now();
        while let Some((token, timer)) = self.run.timers.take(now) {
            let index = token.index as usize;
            if self.connections[index].token != token {
                continue;
            }
            match timer {
                Timer::Send => self.with(index, |connection, now, run| connection.go_on(now, run)),
                Timer::Leave => self.with(index, |connection, now, run| {
                    connection.left = 0;
                    connection.leave_if_done(now, run);
                }),
                Timer::Receive => self.read_again(token, now),
                Timer::GiveUp => self.close_socket(token),
                Timer::Replace => {
                    self.squads[self.connections[index].group()].wait(index);
                }
            }
        }
    }

    /// Has a connection that reads slowly wait, for having received so many bytes.
    pub(super) fn rest(&mut self, group: usize, token: Token, bytes: usize, now: Duration) {
        let Some(rate) = self.run.group(group).arguments.load.read_rate else { return };
        let until = self.resting.entry(token.index).or_default();
        *until = now.max(*until) + Duration::from_secs_f64(bytes as f64 / rate);
        self.run.timers.push(*until, token, Timer::Receive);
        self.driver.pause_receive(token);
    }

    fn read_again(&mut self, token: Token, now: Duration) {
        // What came after the pause has put it off.
        if self.resting.get(&token.index).is_none_or(|until| *until <= now) {
            self.resting.remove(&token.index);
            self.driver.receive(token);
        }
    }
}

impl Connection {
    /// It has sent and received all that it had to: it leaves.
    pub(crate) fn leave_if_done(&mut self, now: Duration, run: &mut crate::run::Run<'_>) {
        if self.left == 0 && self.in_flight() == 0 && self.is_open() {
            self.has_left = true;
            run.stats(self.group()).sessions.record(now.saturating_sub(self.begun));
            run.timers.push(now + CLOSE_TIMEOUT, self.token, Timer::GiveUp);
            self.close(run);
        }
    }
}
