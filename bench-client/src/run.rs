//! What the threads of a run share, and what each of them has to itself.

use std::{
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use rand::{Rng, rngs::StdRng};
use wireloop::{
    io::SendBatch,
    ws::{Deflater, Kind, Workspace},
};

use crate::{
    cli::Arguments,
    compression,
    payload::Payloads,
    stats::{Failure, Interval, Stats},
    target::Target,
};

/// The plan of a run: the same for all threads. Times count from `epoch`.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) arguments: Arguments,
    pub(crate) target: Target,
    pub(crate) payloads: Payloads,
    pub(crate) kind: Kind,
    /// Messages per second over all connections, in an open loop.
    pub(crate) rate: Option<f64>,
    pub(crate) epoch: Instant,
    /// Known when all connections are open.
    pub(crate) schedule: OnceLock<Schedule>,
    /// When the run was interrupted.
    pub(crate) interrupted: OnceLock<Duration>,
    /// How many threads have a connection left.
    pub(crate) threads_left: AtomicUsize,
    /// When the last connection of all had failed.
    pub(crate) failed: OnceLock<Duration>,
    /// What has happened since the last progress line.
    pub(crate) interval: Mutex<Interval>,
}

/// When the load runs, and when it is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    pub(crate) start: Duration,
    pub(crate) measure_from: Duration,
    pub(crate) measure_until: Duration,
}

impl Schedule {
    /// The load that was asked for, from `start` on.
    pub(crate) fn new(start: Duration, arguments: &Arguments) -> Self {
        let measure_from = start + arguments.warm_up;
        Self { start, measure_from, measure_until: measure_from + arguments.duration }
    }
}

impl Plan {
    pub(crate) fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    /// When the load began, or now.
    pub(crate) fn start(&self) -> Duration {
        self.schedule.get().map_or_else(|| self.now(), |schedule| schedule.start)
    }

    /// All connections of a thread have failed. When the last thread says so the run is over.
    pub(crate) fn fail_thread(&self) {
        if self.threads_left.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.failed.get_or_init(|| self.now());
        }
    }

    /// The measurement, as far as it has got if the run was interrupted or has failed.
    pub(crate) fn window(&self) -> Option<(Duration, Duration)> {
        let Schedule { measure_from, measure_until, .. } = *self.schedule.get()?;
        let ends = [self.interrupted.get(), self.failed.get()].into_iter().flatten();
        let end = ends.copied().fold(measure_until, Duration::min);
        Some((measure_from.min(end), end))
    }
}

/// What a thread needs to handle something.
#[derive(Debug)]
pub(crate) struct Run<'p> {
    pub(crate) plan: &'p Plan,
    pub(crate) batch: SendBatch,
    pub(crate) stats: Stats,
    pub(crate) interval: Interval,
    pub(crate) keys: Keys,
    pub(crate) workspace: Workspace,
    pub(crate) deflater: Deflater,
    pub(crate) scratch: Vec<u8>,
    /// Whether messages are being sent.
    pub(crate) is_loading: bool,
}

impl<'p> Run<'p> {
    pub(crate) fn new(plan: &'p Plan) -> Self {
        Self {
            plan,
            batch: SendBatch::default(),
            stats: Stats::new(),
            interval: Interval::new(),
            keys: Keys::new(),
            workspace: Workspace::new(),
            deflater: Deflater::new(compression::LEVEL, compression::THRESHOLD_BYTES),
            scratch: Vec::new(),
            is_loading: false,
        }
    }

    /// Whether an echo releases the next message.
    pub(crate) fn releases(&self) -> bool {
        self.is_loading && self.plan.rate.is_none()
    }

    /// Whether what happens at this time counts.
    pub(crate) fn measures(&self, time: Duration) -> bool {
        self.plan.window().is_some_and(|(from, until)| from <= time && time < until)
    }

    /// An echo has arrived.
    pub(crate) fn record(&mut self, intended: Duration, sent: Duration, now: Duration) {
        let response = now.saturating_sub(intended);
        self.interval.response.record(response);
        if self.measures(now) {
            self.stats.echoes += 1;
        }
        if self.measures(intended) {
            self.stats.response.record(response);
            self.stats.service.record(now.saturating_sub(sent));
        }
    }

    /// A message has been given up.
    pub(crate) fn record_unanswered(&mut self, intended: Duration, sent: Duration, now: Duration) {
        if self.measures(intended) {
            self.stats.response.record_unanswered(now.saturating_sub(intended));
            self.stats.service.record_unanswered(now.saturating_sub(sent));
        }
    }

    /// A message has been written.
    pub(crate) fn record_lag(&mut self, intended: Duration, sent: Duration) {
        if self.plan.rate.is_some() && self.measures(intended) {
            self.stats.lag.record(sent.saturating_sub(intended));
        }
    }

    pub(crate) fn fails(&mut self, failure: Failure) {
        self.stats.failures.add(failure);
        self.interval.failures += 1;
    }

    /// Adds what has happened to the next progress line.
    pub(crate) fn publish(&mut self) {
        if let Ok(mut shared) = self.plan.interval.lock() {
            shared.response.add(&self.interval.response);
            shared.open += std::mem::take(&mut self.interval.open);
            shared.failures += std::mem::take(&mut self.interval.failures);
            self.interval.response.clear();
        }
    }
}

/// Masking keys and handshake keys. RFC 6455 sections 5.3 and 10.3 want them unpredictable, so
/// they come from ChaCha with a seed of the system's: a nanosecond each.
#[derive(Debug)]
pub(crate) struct Keys(StdRng);

impl Keys {
    pub(crate) fn new() -> Self {
        Self(rand::make_rng())
    }

    pub(crate) fn mask(&mut self) -> [u8; 4] {
        self.0.next_u32().to_ne_bytes()
    }

    pub(crate) fn handshake(&mut self) -> [u8; 16] {
        let mut key = [0; 16];
        self.0.fill_bytes(&mut key);
        key
    }
}
