//! The trials of a run, on connections that stay open: what each of them has found, and what it has
//! cost the server.

use std::{sync::Arc, thread, time::Duration};

use crate::{
    crew::{Crew, Observer},
    measure::{
        probe::Probe,
        reading::{Meanwhile, Reading},
        results::{Moment, ServerCost},
        stats::{Interval, Tally},
    },
    plan::{End, GroupPlan, Plan, Trial},
    series::{Series, Sink},
};

/// How long the server is left alone before its memory is read, for each connection and at most.
const SETTLE_TIME: Duration = Duration::from_micros(200);
const SETTLE_TIME_MAX: Duration = Duration::from_millis(200);

/// Open connections, on which trials are made.
#[derive(Debug)]
pub(crate) struct Trials<'t, S> {
    crew: Crew,
    view: View<'t, S>,
    open: usize,
    /// What was found while connecting, and about connections since.
    tally: Tally,
    /// The trial whose results are those of the run.
    kept: Option<Trying>,
    resident: Resident,
}

/// A trial with what it has found and what it has cost.
#[derive(Clone, Debug)]
pub(crate) struct Trying {
    pub(crate) trial: Trial,
    pub(crate) tally: Tally,
    /// How long it was measured.
    pub(crate) measured: Duration,
    meter: Meter,
}

/// What is left of the trials at the end.
#[derive(Debug)]
pub(crate) struct Tried {
    /// The one whose results are those of the run.
    pub(crate) trial: Option<Trial>,
    pub(crate) measured: Duration,
    pub(crate) tally: Tally,
    pub(crate) server: Option<ServerCost>,
    pub(crate) meanwhile: Meanwhile,
    pub(crate) series: Vec<Moment>,
}

/// What is seen of a run while it lasts.
#[derive(Debug)]
struct View<'t, S> {
    plan: &'t Plan,
    series: Series,
    sink: &'t mut S,
    meter: Option<Meter>,
}

/// What the server and the machine have done until both ends of a trial's measurement.
#[derive(Clone, Debug)]
struct Meter {
    trial: Trial,
    before: Option<Reading>,
    after: Option<Reading>,
}

/// The server's resident memory at three moments.
#[derive(Clone, Copy, Debug, Default)]
struct Resident {
    before: Option<u64>,
    open: Option<u64>,
    loaded: Option<u64>,
}

impl<'t, S: Sink> Trials<'t, S> {
    /// Opens the connections, and reads meanwhile what the server costs.
    pub(crate) fn open(
        plan: &'t Arc<Plan>,
        processors: &[usize],
        server: Probe,
        sink: &'t mut S,
    ) -> Result<Self, String> {
        let before = server.resident_bytes();
        let mut crew = Crew::start(plan, processors).map_err(|e| format!("cannot run: {e}"))?;
        let series = Series::new(plan.groups.len(), server, plan.now());
        let mut view = View { plan, series, sink, meter: None };
        let (open, tally) = crew.open(&mut view)?;
        thread::sleep(SETTLE_TIME_MAX.min(SETTLE_TIME * open as u32));
        let resident =
            Resident { before, open: view.series.server().resident_bytes(), loaded: None };
        Ok(Self { crew, view, open, tally, kept: None, resident })
    }

    pub(crate) fn plan(&self) -> &'t Plan {
        self.view.plan
    }

    /// Whether there is a connection, or one may come, and the run is not over.
    pub(crate) fn are_possible(&self) -> bool {
        let comes = |group: &GroupPlan| group.arguments.load.sessions.is_some();
        let groups = &self.plan().groups;
        (self.open > 0 || groups.iter().any(comes)) && !self.plan().is_over()
    }

    /// Makes a trial.
    pub(crate) fn attempt(&mut self, trial: Trial) -> Result<Trying, String> {
        let groups = self.plan().groups.iter().enumerate();
        let active = groups.filter(|(place, _)| trial.includes(*place));
        let open_loops = active.filter_map(|(_, group)| group.schedule(&trial));
        self.view.series.begin(trial, open_loops);
        self.view.meter = Some(Meter { trial, before: None, after: None });
        let mut tally = self.crew.attempt(trial, &mut self.view)?;
        self.tally.merge(&tally.take_connections());
        self.resident.loaded = self.view.series.server().resident_bytes();
        let meter = self.view.meter.take().ok_or("a trial has lost its meter")?;
        let (from, until) = self.plan().window(&trial);
        Ok(Trying { trial, tally, measured: until - from, meter })
    }

    /// The results of this trial are those of the run.
    pub(crate) fn keep(&mut self, trying: Trying) {
        self.kept = Some(trying);
    }

    /// Closes the connections.
    pub(crate) fn finish(self) -> Result<Tried, String> {
        let Self { crew, mut view, mut tally, kept, resident, .. } = self;
        tally.merge(&crew.finish(&mut view)?);
        let View { plan, series, sink, .. } = view;
        if let Some(kept) = &kept {
            tally.merge(&kept.tally);
        }
        let meanwhile = kept.as_ref().map(Trying::meanwhile).unwrap_or_default();
        let connections: usize = plan.groups.iter().map(GroupPlan::connections).sum();
        let server = meanwhile.cpu.zip(resident.open.zip(resident.before));
        let server = server.map(|(cpu, (open, before))| ServerCost {
            cpu: cpu.total(),
            system_ns: cpu.system().map(|system| system.as_nanos() as u64),
            ksoftirqd_ns: cpu.ksoftirqd.ok().map(|time| time.as_nanos() as u64),
            ksoftirqd_uncounted: cpu.ksoftirqd.err(),
            delayed: meanwhile.delayed,
            bytes_per_connection: open.saturating_sub(before) as f64 / connections as f64,
            resident_bytes: resident.loaded.unwrap_or(open),
            processes: series.server().processes(),
        });
        let measured = kept.as_ref().map_or(Duration::ZERO, |kept| kept.measured);
        let trial = kept.map(|kept| kept.trial);
        Ok(Tried {
            trial,
            measured,
            tally,
            server,
            meanwhile,
            series: series.finish(plan.now(), sink),
        })
    }
}

impl<S: Sink> Observer for View<'_, S> {
    fn interval(&mut self, second: u64, groups: &[Interval]) {
        self.series.add(second, groups);
    }

    fn tick(&mut self) {
        let now = self.plan.now();
        self.series.show(now, self.sink);
        if self.sink.has_seen_enough() && !self.plan.is_over() {
            self.plan.end(End::Aborted);
        }
        if let Some(meter) = &mut self.meter {
            let (from, until) = self.plan.window(&meter.trial);
            if now >= from && meter.before.is_none() {
                meter.before = Some(Reading::take(self.series.server(), now));
            }
            if now >= until && meter.after.is_none() {
                meter.after = Some(Reading::take(self.series.server(), now));
            }
        }
    }
}

impl Trying {
    /// Takes another trial as a part of this one.
    pub(crate) fn join(&mut self, other: &Self) {
        self.tally.merge(&other.tally);
        self.measured += other.measured;
        self.trial = other.trial;
    }

    /// What the server and the machine did in its measurement.
    pub(crate) fn meanwhile(&self) -> Meanwhile {
        let Meter { before, after, .. } = &self.meter;
        let both = before.as_ref().zip(after.as_ref());
        both.map(|(before, after)| after.since(before)).unwrap_or_default()
    }
}
