//! Those who do the work of a run, seen from the one who leads it: threads, of this process or of
//! others, that are told when to load the server, and tell what they have found.

use std::{
    io,
    panic::{self, AssertUnwindSafe},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use wireloop::{
    DriverKind,
    io::{Driver, Epoll, Uring, Waker, sys},
};

use crate::{
    child::{Process, Share},
    fan_out::{Collector, Seen},
    load::Loader,
    measure::stats::{Interval, Tally},
    plan::{End, Plan, Trial},
};

/// What a worker is told.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Command {
    /// To load the server, when the connections are open.
    Trial(Trial),
    /// To close its connections and end.
    Finish,
    /// That the run ends before it was due.
    End(End),
}

/// What a worker tells.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Event {
    /// It has tried to open its connections: so many are open, and this is what happened.
    Ready { open: usize, tally: Tally },
    /// What its groups have done since the second `second` of the run began.
    Interval { second: u64, groups: Vec<Interval> },
    /// What it has seen of messages that many await.
    FanOut(Seen),
    /// All its connections have failed.
    Failed,
    /// A trial is over, and all that was awaited after it has come or not.
    Tried(Tally),
    /// It has ended; this is what happened since the last trial.
    Finished(Tally),
    /// It cannot go on.
    Broken(String),
}

/// The worker's end of what connects it with its leader.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<(usize, Event)>,
    worker: usize,
}

impl Link {
    pub(crate) fn tell(&self, event: Event) {
        // Without a leader there is nobody to complain to.
        let _ = self.events.send((self.worker, event));
    }
}

/// The threads of this process.
#[derive(Debug)]
pub(crate) struct Team(Vec<Thread>);

/// The leader's end of what connects it with a thread.
#[derive(Debug)]
struct Thread {
    commands: mpsc::Sender<Command>,
    waker: Waker,
}

impl Team {
    /// Starts the threads, each of which begins to open its share of the connections. Those for
    /// which there is a processor are pinned to it.
    pub(crate) fn start(
        plan: &Arc<Plan>,
        share: &Share,
        processors: &[usize],
        events: &mpsc::Sender<(usize, Event)>,
    ) -> io::Result<Self> {
        let Share { workers, all } = share.clone();
        let threads = workers.enumerate().map(|(place, worker)| {
            let (commands, receiver) = mpsc::channel();
            let (ready, driver) = mpsc::channel();
            let link = Link { commands: receiver, events: events.clone(), worker };
            let (plan, processor) = (Arc::clone(plan), processors.get(place).copied());
            let thread = thread::Builder::new().name(format!("load {worker}"));
            thread.spawn(move || {
                if let Some(processor) = processor {
                    // Not vital: the report says what was intended.
                    let _ = sys::pin_thread(processor);
                }
                let work = || match plan.run.driver {
                    DriverKind::IoUring => work(Uring::new, &ready, &plan, all, &link),
                    _ => work(Epoll::new, &ready, &plan, all, &link),
                };
                if panic::catch_unwind(AssertUnwindSafe(work)).is_err() {
                    link.tell(Event::Broken("a thread panicked".into()));
                }
            })?;
            let waker = driver.recv().unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))?;
            Ok(Thread { commands, waker })
        });
        threads.collect::<io::Result<_>>().map(Self)
    }

    pub(crate) fn tell(&self, command: Command) {
        for thread in &self.0 {
            // Who is gone has said so or will be missed.
            let _ = thread.commands.send(command);
        }
        self.wake();
    }

    pub(crate) fn wake(&self) {
        self.0.iter().for_each(|thread| thread.waker.wake());
    }
}

/// The life of a thread. Its driver is made where it is used, which io_uring wants, and whether
/// that was possible is told first.
fn work<D: Driver>(
    make: fn() -> io::Result<D>,
    ready: &mpsc::Sender<io::Result<Waker>>,
    plan: &Plan,
    all: usize,
    link: &Link,
) {
    // Whoever does not listen has given up.
    let _ = match make() {
        Ok(driver) => {
            let told = ready.send(Ok(driver.waker()));
            Loader::new(driver, plan, link.worker..link.worker + 1, all).work(link);
            told
        }
        Err(error) => ready.send(Err(error)),
    };
}

/// All workers of a run.
#[derive(Debug)]
pub(crate) struct Crew {
    plan: Arc<Plan>,
    team: Team,
    processes: Vec<Process>,
    /// How many threads there are in all processes.
    workers: usize,
    /// Whether other processes know that the run is over.
    has_told_end: bool,
    events: mpsc::Receiver<(usize, Event)>,
    /// How many have no connection left.
    failed: usize,
    open: usize,
    tally: Tally,
    collector: Collector,
}

/// Who is told what happens meanwhile.
pub(crate) trait Observer {
    /// What all groups have done in a second of the run, as far as a worker has told.
    fn interval(&mut self, second: u64, groups: &[Interval]);

    /// Time has passed.
    fn tick(&mut self) {}
}

/// How long the leader waits at most before it looks around.
const LOOK_AROUND: Duration = Duration::from_millis(20);

impl Crew {
    /// Starts all workers: in this process, or in others if there are to be several.
    pub(crate) fn start(plan: &Arc<Plan>, processors: &[usize]) -> io::Result<Self> {
        let (all, count) = (plan.workers(), plan.processes);
        let (sender, events) = mpsc::channel();
        let own = if count == 1 { 0..all } else { 0..0 };
        let team = Team::start(plan, &Share { workers: own, all }, processors, &sender)?;
        let bound = |process| all * process / count;
        let others = if count == 1 { 0..0 } else { 0..count };
        let processes = others.map(|process| {
            let share = Share { workers: bound(process)..bound(process + 1), all };
            Process::start(plan, &share, sender.clone())
        });
        Ok(Self {
            processes: processes.collect::<io::Result<_>>()?,
            collector: Collector::new(plan),
            plan: Arc::clone(plan),
            team,
            workers: all,
            has_told_end: false,
            events,
            failed: 0,
            open: 0,
            tally: Tally::default(),
        })
    }

    /// Waits until all workers have opened their connections, or have failed to: how many are open,
    /// and what happened.
    pub(crate) fn open(&mut self, observer: &mut impl Observer) -> Result<(usize, Tally), String> {
        self.await_all(observer, |event| matches!(event, Event::Ready { .. }))?;
        Ok((self.open, std::mem::take(&mut self.tally)))
    }

    /// Has all workers do a trial. What they have found is what they tell when it is over.
    pub(crate) fn attempt(
        &mut self,
        trial: Trial,
        observer: &mut impl Observer,
    ) -> Result<Tally, String> {
        self.tell(Command::Trial(trial));
        self.await_all(observer, |event| matches!(event, Event::Tried(_)))?;
        let groups = self.collector.finish(&self.plan);
        self.tally.merge(&Tally { groups, ..Tally::default() });
        Ok(std::mem::take(&mut self.tally))
    }

    /// Ends all workers. What happened since the last trial is what they tell at last.
    pub(crate) fn finish(mut self, observer: &mut impl Observer) -> Result<Tally, String> {
        self.tell(Command::Finish);
        self.await_all(observer, |event| matches!(event, Event::Finished(_)))?;
        Ok(std::mem::take(&mut self.tally))
    }

    fn tell(&mut self, command: Command) {
        self.team.tell(command);
        self.processes.iter_mut().for_each(|process| process.tell(command));
    }

    /// Tells everybody that the run is over, if it is.
    fn tell_end(&mut self) {
        if let Some((_, why)) = self.plan.end.get()
            && !self.has_told_end
        {
            self.has_told_end = true;
            self.tell(Command::End(*why));
        }
    }

    /// Waits until each worker has told what `is_awaited`.
    fn await_all(
        &mut self,
        observer: &mut impl Observer,
        is_awaited: impl Fn(&Event) -> bool,
    ) -> Result<(), String> {
        let mut awaited = self.workers;
        while awaited > 0 {
            match self.events.recv_timeout(LOOK_AROUND) {
                Ok((_, event)) => {
                    awaited -= usize::from(is_awaited(&event));
                    self.take(event, observer)?;
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return Err("a thread is lost".into()),
            }
            observer.tick();
            self.tell_end();
        }
        Ok(())
    }

    fn take(&mut self, event: Event, observer: &mut impl Observer) -> Result<(), String> {
        match event {
            Event::Ready { open, tally } => {
                self.open += open;
                self.tally.merge(&tally);
            }
            Event::Interval { second, groups } => observer.interval(second, &groups),
            Event::FanOut(seen) => {
                self.collector.add(seen, &self.plan);
                if let Some(groups) = self.collector.take_intervals() {
                    observer.interval(self.plan.now().as_secs(), &groups);
                }
            }
            Event::Failed => {
                self.failed += 1;
                if self.failed == self.workers {
                    self.plan.end(End::Failed);
                }
            }
            Event::Tried(tally) | Event::Finished(tally) => self.tally.merge(&tally),
            Event::Broken(error) => return Err(format!("cannot run: {error}")),
        }
        Ok(())
    }
}
