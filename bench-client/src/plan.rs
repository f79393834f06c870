//! What a run is to do: the same for all of its threads.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};
use wireloop::ws::Kind;

use crate::{
    cli::{GroupArguments, RunArguments},
    measure::results::Group,
    pacer::Shape,
    payload::Payloads,
    target::Target,
    tls::TlsPlan,
    units::plural,
};

/// The plan of a run. Times count from `epoch`.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) run: RunArguments,
    pub(crate) groups: Vec<GroupPlan>,
    /// Load before the measurement, and the length of that.
    pub(crate) warm_up: Duration,
    pub(crate) duration: Duration,
    /// How many processes there are to be.
    pub(crate) processes: usize,
    /// From which payloads follow, in all processes.
    pub(crate) seed: u64,
    /// The server of groups that name none.
    pub(crate) default_url: Option<String>,
    pub(crate) epoch: Instant,
    /// When the run came to its end before it was due, and why.
    pub(crate) end: OnceLock<(Duration, End)>,
}

/// What makes a run end early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum End {
    Interrupted,
    /// A threshold was broken.
    Aborted,
    /// All connections have failed.
    Failed,
}

/// What a group of connections is to do.
#[derive(Debug)]
pub(crate) struct GroupPlan {
    pub(crate) name: String,
    pub(crate) arguments: GroupArguments,
    pub(crate) target: Target,
    /// If the connections are secured.
    pub(crate) tls: Option<TlsPlan>,
    /// The handshake's further headers.
    pub(crate) headers: http::HeaderMap,
    pub(crate) payloads: Payloads,
    pub(crate) kind: Kind,
    /// The number of its first connection among those of all groups.
    pub(crate) first: usize,
}

/// A time under load. A run is one of them or a sequence, on connections that stay open.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Trial {
    pub(crate) start: Duration,
    pub(crate) measure_from: Duration,
    pub(crate) measure_until: Duration,
    /// Messages per second, in the place of the groups' own.
    pub(crate) rate: Option<f64>,
    /// The only group that is active.
    pub(crate) only: Option<usize>,
}

impl Trial {
    /// Whether the group takes part.
    pub(crate) fn includes(&self, group: usize) -> bool {
        self.only.is_none_or(|only| only == group)
    }
}

/// The messages of an open loop in a trial.
#[derive(Debug)]
pub(crate) struct Schedule {
    pub(crate) start: Duration,
    pub(crate) end: Duration,
    pub(crate) shape: Shape,
}

impl Schedule {
    /// How many are due between two moments.
    pub(crate) fn due(&self, from: Duration, until: Duration) -> f64 {
        let due =
            |moment: Duration| self.shape.due(moment.min(self.end).saturating_sub(self.start));
        due(until) - due(from)
    }
}

/// What is known of a run before it begins, for those who show it.
#[derive(Clone, Debug)]
pub(crate) struct Outline {
    pub(crate) groups: Vec<Group>,
    pub(crate) warm_up: Duration,
    pub(crate) duration: Duration,
    pub(crate) drain: Duration,
    pub(crate) threads: usize,
    pub(crate) processes: usize,
    /// It consists of many trials: nobody knows how many.
    pub(crate) is_search: bool,
    pub(crate) epoch: Instant,
}

impl Outline {
    /// The names of the groups.
    pub(crate) fn names(&self) -> Vec<String> {
        self.groups.iter().map(|group| group.name.clone()).collect()
    }
}

impl Plan {
    /// What is known before the run.
    pub(crate) fn outline(&self) -> Outline {
        let trial = self.trial(Duration::ZERO);
        Outline {
            groups: self.groups.iter().map(|group| group.describe(&trial)).collect(),
            warm_up: self.warm_up,
            duration: self.duration,
            drain: self.run.drain,
            threads: self.workers(),
            processes: self.processes,
            is_search: !self.run.find_max.is_empty() || self.run.versus.is_some(),
            epoch: self.epoch,
        }
    }

    /// The plan of a run whose times begin now, or when those of the leading process did.
    pub(crate) fn new(run: RunArguments, groups: Vec<GroupPlan>, processes: usize) -> Self {
        let now = Instant::now();
        let epoch = run.epoch.and_then(|nanos| {
            now.checked_sub(since_boot().saturating_sub(Duration::from_nanos(nanos)))
        });
        let stages = groups.iter().filter_map(|group| group.arguments.load.stages_length()).max();
        let warm_up = if stages.is_some() { Duration::ZERO } else { Duration::from_secs(1) };
        Self {
            warm_up: run.warm_up.unwrap_or(warm_up),
            duration: run.duration.or(stages).unwrap_or(Duration::from_secs(10)),
            run,
            groups,
            processes,
            seed: 0,
            default_url: None,
            epoch: epoch.unwrap_or(now),
            end: OnceLock::new(),
        }
    }

    /// The load that was asked for, from `start` on.
    pub(crate) fn trial(&self, start: Duration) -> Trial {
        let measure_from = start + self.warm_up;
        let measure_until = measure_from + self.duration;
        Trial { start, measure_from, measure_until, rate: None, only: None }
    }

    /// The threads of all processes: as many as asked for, but none without a connection, and no
    /// process without one.
    pub(crate) fn workers(&self) -> usize {
        let groups = self.groups.iter();
        let most = groups.map(|group| group.arguments.load.connections.get()).max().unwrap_or(1);
        self.run.threads.get().min(most).max(self.processes)
    }

    /// When the times of the run begin, since the machine did.
    pub(crate) fn epoch_nanos(&self) -> u64 {
        (since_boot() - self.epoch.elapsed()).as_nanos() as u64
    }

    pub(crate) fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    /// Ends the run, if it has not ended before.
    pub(crate) fn end(&self, why: End) {
        self.end.get_or_init(|| (self.now(), why));
    }

    pub(crate) fn is_over(&self) -> bool {
        self.end.get().is_some()
    }

    /// The measurement of a trial, as far as it gets if the run ends early.
    pub(crate) fn window(&self, trial: &Trial) -> (Duration, Duration) {
        let until = match self.end.get() {
            Some((end, _)) => trial.measure_until.min(*end),
            None => trial.measure_until,
        };
        (trial.measure_from.min(until), until)
    }
}

/// What [`Instant`] counts too, but does not tell.
fn since_boot() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

impl GroupPlan {
    /// The plan of a group whose connections are numbered from `first` on.
    pub(crate) fn new(
        name: String,
        arguments: GroupArguments,
        target: Target,
        first: usize,
        rng: &mut StdRng,
    ) -> Result<Self, String> {
        let payloads = Payloads::new(&arguments.payload, rng)?;
        Ok(Self {
            tls: arguments.tls.plan(&target)?,
            headers: arguments.protocol.header_map(),
            kind: payloads.kind(),
            payloads,
            name,
            arguments,
            target,
            first,
        })
    }

    /// The messages of an open loop over time.
    pub(crate) fn shape(&self, trial: &Trial) -> Option<Shape> {
        let before = trial.measure_from.saturating_sub(trial.start);
        trial.rate.map(Shape::constant).or_else(|| self.arguments.load.shape(before))
    }

    /// The same, by the clock of the run.
    pub(crate) fn schedule(&self, trial: &Trial) -> Option<Schedule> {
        let shape = self.shape(trial)?;
        Some(Schedule { start: trial.start, end: trial.measure_until, shape })
    }

    pub(crate) fn connections(&self) -> usize {
        self.arguments.load.connections.get()
    }

    /// Whether the connection with this number sends what others await.
    pub(crate) fn is_publisher(&self, number: u32) -> bool {
        let publishers = self.arguments.load.publishers.map_or(0, |publishers| publishers.get());
        (self.first..self.first + publishers).contains(&(number as usize))
    }

    /// Whether a message is due at a certain time, and not when another one is answered.
    pub(crate) fn is_open_loop(&self) -> bool {
        self.arguments.load.rate.is_some() || !self.arguments.load.stages.is_empty()
    }

    /// What the report says about the group.
    pub(crate) fn describe(&self, trial: &Trial) -> Group {
        let GroupArguments { load, protocol, tls, .. } = &self.arguments;
        let offered = self.schedule(trial).map(|schedule| {
            schedule.due(trial.measure_from, trial.measure_until)
                / trial.measure_until.saturating_sub(trial.measure_from).as_secs_f64()
        });
        let pattern = load.describe(offered);
        let connections = plural(load.connections.get(), "connection");
        Group {
            name: self.name.clone(),
            url: self.target.url.clone(),
            load: format!(
                "{connections}, {}, {pattern}{}{}",
                self.payloads.describe(),
                protocol.remarks(),
                tls.remarks()
            ),
            connections: load.connections.get(),
            must_open: if load.sessions.is_some() { 0 } else { load.connections.get() },
            is_idle: load.idle,
            offered,
            is_nameless: !self.payloads.are_named(),
        }
    }
}
