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
    units::{count, plural},
};

/// The plan of a run. Times count from `epoch`.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) run: RunArguments,
    pub(crate) groups: Vec<GroupPlan>,
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

impl Plan {
    /// As many as asked for, but none without a connection.
    pub(crate) fn threads(&self) -> usize {
        let connections =
            self.groups.iter().map(|group| group.arguments.load.connections.get()).max();
        self.run.threads.get().min(connections.unwrap_or(1))
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

impl Trial {
    /// The load that was asked for, from `start` on.
    pub(crate) fn new(start: Duration, run: &RunArguments) -> Self {
        let measure_from = start + run.warm_up;
        let measure_until = measure_from + run.duration;
        Self { start, measure_from, measure_until, rate: None, only: None }
    }
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

    /// The rate of an open loop.
    pub(crate) fn shape(&self, trial: &Trial) -> Option<Shape> {
        trial.rate.or(self.arguments.load.rate).map(Shape::constant)
    }

    /// What the report says about the group.
    pub(crate) fn describe(&self, trial: &Trial) -> Group {
        let GroupArguments { load, protocol, tls, .. } = &self.arguments;
        let offered = self.shape(trial).map(|shape| {
            let due = |moment: Duration| shape.due(moment.saturating_sub(trial.start));
            let messages = due(trial.measure_until) - due(trial.measure_from);
            messages / trial.measure_until.saturating_sub(trial.measure_from).as_secs_f64()
        });
        let pattern = match offered {
            Some(rate) => format!("open loop at {} msg/s", count(rate)),
            None => format!("closed loop, {} in flight each", load.depth),
        };
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
            offered,
            is_nameless: !self.payloads.are_named(),
        }
    }
}
