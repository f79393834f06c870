//! The loop of a thread: it opens its connections, loads them, waits for what is late, and closes.

mod due;
mod life;
mod pass;

use std::{collections::HashMap, io, mem, ops::Range, sync::mpsc, time::Duration};

use wireloop::io::{Driver, Token};

use self::due::{Due, WRITES_PER_PASS};
use crate::{
    connection::Connection,
    crew::{Command, Event, Link},
    measure::{failure::Failure, health::Watch, stats::Interval},
    plan::{Plan, Trial},
    run::Run,
    squad::Squad,
};

/// How long a thread waits at most before it looks around.
const LOOK_AROUND: Duration = Duration::from_millis(100);

/// How long a full queue is left alone.
const POSTPONED: Duration = Duration::from_millis(1);

/// How long the closing handshakes may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// When nobody has received anything for so long, nothing more is on its way from publishers.
const SILENCE: Duration = Duration::from_millis(500);

/// How often is told what was seen of messages that many await.
const TELL_TIME: Duration = Duration::from_millis(50);

/// A thread's share of the load.
#[derive(Debug)]
pub(crate) struct Loader<'p, D> {
    driver: D,
    run: Run<'p>,
    /// One for each group, in the order of the plan.
    squads: Vec<Squad>,
    connections: Vec<Connection>,
    /// How many are neither open nor closed, and how many have a socket.
    opening: usize,
    live: usize,
    /// How many may be opening at a time.
    opening_max: usize,
    /// No connection comes in the place of another one any more.
    is_finishing: bool,
    /// When those that read slowly may read again, by their places.
    resting: HashMap<u32, Duration>,
    /// When the next second of the run begins.
    next_second: Duration,
    /// When late messages are looked for.
    next_check: Duration,
    /// When connections that take too long to open are looked for.
    next_late: Duration,
    /// When it is told what was seen of messages that many await.
    next_tell: Duration,
    /// Within the measurement.
    watch: Option<Watch>,
    failed: Vec<(Token, Failure)>,
    /// Connections that are still to be made: the server's queue was full.
    postponed: Vec<Token>,
    /// Messages of an open loop that are due.
    due: Vec<Due>,
}

impl<'p, D: Driver> Loader<'p, D> {
    /// The share of the `workers`, of `all`.
    pub(crate) fn new(driver: D, plan: &'p Plan, workers: Range<usize>, all: usize) -> Self {
        let mut squads: Vec<Squad> = Vec::new();
        let mut connections = Vec::new();
        for (group, plan) in plan.groups.iter().enumerate() {
            let squad = Squad::new(group, plan, &workers, all, connections.len());
            connections.extend(squad.slots.clone().map(|slot| {
                let number = squad.first + slot - squad.slots.start;
                Connection::vacant(slot as u32, group, number as u32)
            }));
            squads.push(squad);
        }
        Self {
            driver,
            run: Run::new(plan),
            squads,
            connections,
            opening: 0,
            live: 0,
            opening_max: plan.run.connecting.get().div_ceil(plan.workers()),
            is_finishing: false,
            resting: HashMap::new(),
            next_second: Duration::from_secs(plan.now().as_secs() + 1),
            next_check: Duration::ZERO,
            next_late: Duration::ZERO,
            next_tell: Duration::ZERO,
            watch: None,
            failed: Vec::new(),
            postponed: Vec::new(),
            due: Vec::new(),
        }
    }

    /// Opens all connections, then obeys until told to finish.
    pub(crate) fn work(mut self, link: &Link) {
        if let Err(error) = self.obey(link) {
            link.tell(Event::Broken(error.to_string()));
        }
    }

    fn obey(&mut self, link: &Link) -> io::Result<()> {
        self.open(link)?;
        let open = self.connections.iter().filter(|connection| connection.is_open()).count();
        link.tell(Event::Ready { open, tally: self.run.take_tally() });
        loop {
            match link.commands.try_recv() {
                Ok(Command::Trial(trial)) => {
                    self.attempt(trial, link)?;
                    link.tell(Event::Tried(self.run.take_tally()));
                }
                Ok(Command::Finish) | Err(mpsc::TryRecvError::Disconnected) => break,
                // The plan says so too.
                Ok(Command::End(_)) => {}
                Err(mpsc::TryRecvError::Empty) => self.pass(LOOK_AROUND, link)?,
            }
        }
        self.close(link)?;
        self.publish(link);
        link.tell(Event::Finished(self.run.take_tally()));
        Ok(())
    }

    /// Opens all connections, but those that come with sessions.
    fn open(&mut self, link: &Link) -> io::Result<()> {
        let now = self.now();
        for squad in &mut self.squads {
            squad.begin_opening(self.run.group(squad.group), now);
        }
        while (self.squads.iter().any(Squad::is_waiting) || self.opening > 0)
            && !self.run.plan.is_over()
        {
            self.pass(LOOK_AROUND, link)?;
            self.fail_late();
        }
        Ok(())
    }

    /// Loads the server from the trial's start to its end, and waits for what is late.
    fn attempt(&mut self, trial: Trial, link: &Link) -> io::Result<()> {
        while self.now() < trial.start && !self.run.plan.is_over() {
            self.pass(trial.start.saturating_sub(self.now()), link)?;
        }
        self.run.trial = Some(trial);
        for squad in &mut self.squads {
            let is_active = self.run.is_active(squad.group);
            squad.begin(self.run.group(squad.group), is_active.then_some(&trial));
        }
        self.load(&trial, link)?;
        self.drain(link)?;
        self.run.trial = None;
        Ok(())
    }

    /// Sends until the end of the measurement: what echoes release, or what is due.
    fn load(&mut self, trial: &Trial, link: &Link) -> io::Result<()> {
        self.run.is_loading = true;
        loop {
            let (from, until) = self.run.plan.window(trial);
            let now = self.now();
            if now >= until {
                break;
            }
            if self.has_failed() {
                link.tell(Event::Failed);
                break;
            }
            if now >= from && self.watch.is_none() {
                self.watch = Some(Watch::new(now));
            }
            let end = if self.watch.is_none() { from } else { until };
            let mut wait = end.saturating_sub(now).min(LOOK_AROUND);
            self.release_first();
            self.send_due(trial.start);
            self.begin_sessions(trial.start);
            self.ping_due(trial.start);
            self.replace_late();
            let due = self.squads.iter().map(Squad::due).min().unwrap_or(Duration::MAX);
            let due = trial.start.saturating_add(due);
            wait = wait.min(due.min(self.next_check).saturating_sub(self.now()));
            self.pass(wait, link)?;
        }
        self.run.is_loading = false;
        let (_, until) = self.run.plan.window(trial);
        for Squad { group, pacer, .. } in &mut self.squads {
            let left = pacer.as_ref().map_or(0, |pacer| pacer.due_until(until - trial.start));
            self.run.stats(*group).due += left;
        }
        if let Some(watch) = self.watch.take() {
            let (cpu, health) = watch.end(self.now());
            self.run.tally.cpu += cpu;
            self.run.tally.health.merge(&health);
        }
        Ok(())
    }

    /// The first messages of closed loops, as many as may be in flight, on some connections in each
    /// pass: answers to the first ones would wait behind the sending of thousands, the kernel would
    /// acknowledge each of them apart (after 40 ms), and that, once begun, does not end.
    fn release_first(&mut self) {
        let mut left = WRITES_PER_PASS;
        for place in 0..self.squads.len() {
            while left > 0 && self.run.releases(self.squads[place].group) {
                let Some(index) = self.squads[place].unreleased.next() else { break };
                self.with(index, |connection, now, run| {
                    // One that has just come has sent its own.
                    if connection.in_flight() == 0 {
                        connection.send_first(now, run);
                    }
                });
                left -= 1;
            }
        }
    }

    /// Sends others in the place of the messages of closed loops that are late. Not in each pass:
    /// with very many connections it would become late itself.
    fn replace_late(&mut self) {
        let now = self.now();
        if now < self.next_check {
            return;
        }
        self.next_check = now + LOOK_AROUND;
        self.fail_late();
        for place in 0..self.squads.len() {
            let Squad { group, ref slots, .. } = self.squads[place];
            if self.run.releases(group) {
                let timeout = self.run.group(group).arguments.load.answer_timeout;
                let soon = now + (timeout / 8).max(Duration::from_millis(10));
                self.next_check = self.next_check.min(soon);
                for index in slots.clone() {
                    self.with(index, |connection, now, run| connection.replace_late(now, run));
                }
            }
        }
    }

    /// Waits for the echoes that are late, then counts those that never came.
    fn drain(&mut self, link: &Link) -> io::Result<()> {
        let begun = self.now();
        let deadline = begun + self.run.plan.run.drain;
        // A run that ended before is drained as any other; one that ends now waits for no more.
        let plan = self.run.plan;
        let goes_on = || plan.end.get().is_none_or(|(end, _)| *end < begun);
        let publishes =
            self.run.plan.groups.iter().any(|group| group.arguments.load.publishers.is_some());
        self.run.fan_out.last = self.now();
        while self.now() < deadline
            && goes_on()
            && (self.connections.iter().any(|c| c.is_open() && c.in_flight() > 0)
                || publishes && self.now() < self.run.fan_out.last + SILENCE)
        {
            self.pass(LOOK_AROUND, link)?;
        }
        self.tell_fan_out(link);
        for index in 0..self.connections.len() {
            self.with(index, |connection, now, run| connection.abandon(now, run));
        }
        Ok(())
    }

    /// Closes all connections, and waits a while for the server to agree.
    fn close(&mut self, link: &Link) -> io::Result<()> {
        self.is_finishing = true;
        for index in 0..self.connections.len() {
            self.with(index, |connection, _, run| connection.close(run));
        }
        let deadline = self.now() + CLOSE_TIMEOUT;
        while self.live > 0 && self.now() < deadline {
            self.pass(LOOK_AROUND, link)?;
        }
        Ok(())
    }

    /// Tells what was seen of messages that many await.
    fn tell_fan_out(&mut self, link: &Link) {
        self.next_tell = self.now() + TELL_TIME;
        if let Some(seen) = self.run.fan_out.take() {
            link.tell(Event::FanOut(seen));
        }
    }

    /// Tells what has happened in the second that has just ended.
    fn publish(&mut self, link: &Link) {
        let second = self.next_second.as_secs() - 1;
        self.next_second = Duration::from_secs(self.now().as_secs() + 1);
        let fresh = vec![Interval::default(); self.run.intervals.len()];
        let groups = mem::replace(&mut self.run.intervals, fresh);
        link.tell(Event::Interval { second, groups });
    }
}
