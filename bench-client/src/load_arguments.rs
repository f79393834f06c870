//! The options that say when connections are made and when they send: the shape of the load.

use std::{num::NonZeroUsize, str::FromStr, time::Duration};

use clap::Args;

use crate::{
    pacer::Shape,
    units::{self, count, plural, time},
};

/// When connections are made, and when messages are sent.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Load")]
pub(crate) struct LoadArguments {
    /// Connections
    #[arg(short, long, value_name = "N", default_value = "100", value_parser = units::quantity)]
    pub(crate) connections: NonZeroUsize,

    /// Open loop: messages per second over all connections, sent on schedule whether or not the
    /// server answers. Without it, closed loop: an answer releases the next message
    #[arg(short = 'R', long, value_name = "RATE", value_parser = units::rate)]
    pub(crate) rate: Option<f64>,

    /// Open loop: reach RATE after TIME, in a straight line from the rate before (0 at first, or
    /// that of -R); may be given several times
    #[arg(long = "stage", value_name = "TIME:RATE")]
    pub(crate) stages: Vec<Stage>,

    /// Open loop: random times with this rate, as those of independent users (Poisson); otherwise
    /// all gaps are the same
    #[arg(long)]
    pub(crate) poisson: bool,

    /// Closed loop: messages in flight on each connection
    #[arg(
        long,
        value_name = "N",
        default_value = "1",
        value_parser = units::quantity,
        conflicts_with_all = ["rate", "stages"]
    )]
    pub(crate) depth: NonZeroUsize,

    /// Closed loop: time between an answer and the next message
    #[arg(
        long,
        value_name = "TIME",
        default_value = "0",
        value_parser = units::read_time,
        conflicts_with_all = ["rate", "stages"]
    )]
    pub(crate) think: Duration,

    /// Send nothing
    #[arg(long, conflicts_with_all = ["rate", "stages", "depth", "think", "messages"])]
    pub(crate) idle: bool,

    /// Connections that are begun in a second, at most
    #[arg(long, value_name = "RATE", value_parser = units::rate)]
    pub(crate) connect_rate: Option<f64>,

    /// Messages of a connection, after which it leaves and another one comes in its place
    #[arg(long, value_name = "N", value_parser = units::quantity)]
    pub(crate) messages: Option<NonZeroUsize>,

    /// Time after which a connection leaves and another one comes in its place
    #[arg(long, value_name = "TIME", value_parser = units::length)]
    pub(crate) lifetime: Option<Duration>,

    /// Connections that come in a second, send their --messages and leave, whether or not others
    /// are slow to; -c is how many there may be at a time
    #[arg(
        long,
        value_name = "RATE",
        value_parser = units::rate,
        requires = "messages",
        conflicts_with_all = ["rate", "stages", "lifetime", "connect_rate"]
    )]
    pub(crate) sessions: Option<f64>,

    /// Read no more than SIZE in a second from each connection
    #[arg(long, value_name = "SIZE", value_parser = units::bytes_per_second)]
    pub(crate) read_rate: Option<f64>,

    /// Fan-out: the first N connections send, and each message is awaited by all others. The server
    /// has to pass it on
    #[arg(
        long,
        value_name = "N",
        value_parser = units::quantity,
        conflicts_with_all = ["messages", "lifetime"]
    )]
    pub(crate) publishers: Option<NonZeroUsize>,

    /// Closed loop: time after which another message is sent in the place of one without answer
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = units::read_time)]
    pub(crate) answer_timeout: Duration,

    /// Open loop: messages in flight on a connection beyond which a message is counted as missed
    #[arg(long, value_name = "N", default_value = "1024", value_parser = units::quantity)]
    pub(crate) max_in_flight: NonZeroUsize,
}

/// A part of an open loop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stage {
    pub(crate) length: Duration,
    /// Messages per second at its end.
    pub(crate) rate: f64,
}

impl FromStr for Stage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (length, rate) = text.split_once(':').ok_or("give TIME:RATE, such as 30s:10k")?;
        // A ramp may begin or end with nothing, and a step takes no time.
        let rate = if rate == "0" { 0.0 } else { units::rate(rate)? };
        Ok(Self { length: units::read_time(length)?, rate })
    }
}

impl LoadArguments {
    /// The messages of an open loop over time, which has this rate in `before`.
    pub(crate) fn shape(&self, before: Duration) -> Option<Shape> {
        let Some(first) = self.stages.first() else { return self.rate.map(Shape::constant) };
        // A first stage of no length says where to begin.
        let start = if first.length.is_zero() { first.rate } else { 0.0 };
        let start = self.rate.unwrap_or(start);
        let shape = Shape::constant(start).then(before, start);
        let stages = self.stages.iter();
        Some(stages.fold(shape, |shape, stage| shape.then(stage.length, stage.rate)))
    }

    /// Whether another connection comes in the place of one that is gone.
    pub(crate) fn replaces(&self) -> bool {
        self.messages.is_some() || self.lifetime.is_some()
    }

    /// How long the stages last, if there are any.
    pub(crate) fn stages_length(&self) -> Option<Duration> {
        (!self.stages.is_empty()).then(|| self.stages.iter().map(|stage| stage.length).sum())
    }

    /// What cannot be, in words that say what to do.
    pub(crate) fn check(&self) -> Result<(), String> {
        let connections = self.connections.get();
        if let Some(publishers) = self.publishers {
            if publishers.get() >= connections {
                return Err(format!(
                    "{} leave nobody to listen: give fewer --publishers than {connections} (-c)",
                    plural(publishers.get(), "publisher")
                ));
            }
            if self.rate.is_none() && self.stages.is_empty() {
                return Err("publishers need a rate: give one with -R or --stage".into());
            }
        }
        if self.poisson && self.rate.is_none() && self.stages.is_empty() && self.sessions.is_none()
        {
            return Err("--poisson needs a rate: give -R, --stage or --sessions".into());
        }
        if self.stages_length().is_some_and(|length| length.is_zero()) {
            return Err("the stages take no time: give at least one a TIME above 0".into());
        }
        Ok(())
    }

    /// The load in words; `average` is the rate of an open loop in the measurement.
    pub(crate) fn describe(&self, average: Option<f64>) -> String {
        let arrivals = if self.poisson { "Poisson" } else { "uniform" };
        let mut text = match (self.sessions, average) {
            (Some(sessions), _) => format!("{arrivals} sessions, {} /s", count(sessions)),
            (None, Some(rate)) if self.stages.is_empty() => {
                format!("open loop at {} msg/s, {arrivals}", count(rate))
            }
            (None, Some(rate)) => format!(
                "open loop of {}, {} msg/s on average, {arrivals}",
                plural(self.stages.len(), "stage"),
                count(rate)
            ),
            (None, None) if self.idle => "idle".into(),
            (None, None) => format!("closed loop, {} in flight each", self.depth),
        };
        if let Some(messages) = self.messages {
            text += &format!(", {} a connection", plural(messages.get(), "message"));
        }
        if !self.think.is_zero() {
            text += &format!(", {} between them", time(self.think));
        }
        if let Some(lifetime) = self.lifetime {
            text += &format!(", each for {}", time(lifetime));
        }
        if let Some(rate) = self.read_rate {
            text += &format!(", reading {} B/s", count(rate));
        }
        if let Some(publishers) = self.publishers {
            text += &format!(", from {}", plural(publishers.get(), "publisher"));
        }
        text
    }
}
