//! What a run has found: histograms, counts, and errors by kind.

use std::{collections::BTreeMap, fmt, time::Duration};

use hdrhistogram::Histogram;
use wireloop::{http::HandshakeError, ws::ProtocolError};

use crate::health::Health;

/// Latencies, in nanoseconds, to three digits; those above are counted as this.
const LATENCY_MAX: u64 = 120_000_000_000;

/// Times with their distribution.
///
/// A message that was not answered counts with its age when it was given up, in the response times
/// as in the service times: without it a server that answers no slow message would look fast. As
/// its time would have been longer, all that is not below the least of these ages is a lower bound,
/// and what is below is exact.
#[derive(Clone, Debug)]
pub(crate) struct Times {
    times: Histogram<u64>,
    unanswered: Option<Ages>,
}

/// The ages of messages that were not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ages {
    pub(crate) count: u64,
    pub(crate) least: Duration,
    pub(crate) most: Duration,
}

/// A time, or what it is at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    pub(crate) time: Duration,
    pub(crate) is_exact: bool,
}

impl Times {
    pub(crate) fn new() -> Self {
        let times = Histogram::new_with_bounds(1, LATENCY_MAX, 3);
        Self { times: times.expect("the bounds are constants"), unanswered: None }
    }

    pub(crate) fn record(&mut self, time: Duration) {
        self.times.saturating_record((time.as_nanos() as u64).max(1));
    }

    /// Records the age of a message that was not answered.
    pub(crate) fn record_unanswered(&mut self, age: Duration) {
        self.record(age);
        self.add_ages(Ages { count: 1, least: age, most: age });
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.times.add(&other.times).expect("the bounds are the same");
        if let Some(ages) = other.unanswered {
            self.add_ages(ages);
        }
    }

    fn add_ages(&mut self, more: Ages) {
        let ages = self.unanswered.get_or_insert(Ages { count: 0, ..more });
        ages.count += more.count;
        ages.least = ages.least.min(more.least);
        ages.most = ages.most.max(more.most);
    }

    /// The ages of the messages that were not answered, if there are any.
    pub(crate) fn unanswered(&self) -> Option<Ages> {
        self.unanswered
    }

    pub(crate) fn count(&self) -> u64 {
        self.times.len()
    }

    pub(crate) fn clear(&mut self) {
        self.times.reset();
        self.unanswered = None;
    }

    /// The time that this share of all is not above; `None` if fewer than ten are above it, which
    /// would say more about luck than about the server.
    pub(crate) fn quantile(&self, share: f64) -> Option<Bound> {
        let above = self.times.len() as f64 * (1.0 - share);
        (above >= 10.0).then(|| self.at(share))
    }

    /// The time that half of all are not above.
    pub(crate) fn median(&self) -> Option<Bound> {
        (self.count() > 0).then(|| self.at(0.5))
    }

    /// The time that this share of all is not above, however few there are.
    pub(crate) fn at(&self, share: f64) -> Bound {
        let time = Duration::from_nanos(self.times.value_at_quantile(share));
        Bound { time, is_exact: self.unanswered.is_none_or(|ages| time < ages.least) }
    }

    pub(crate) fn max(&self) -> Bound {
        let time = Duration::from_nanos(self.times.max());
        Bound { time, is_exact: self.unanswered.is_none() }
    }

    pub(crate) fn mean(&self) -> Bound {
        let time = Duration::from_nanos(self.times.mean() as u64);
        Bound { time, is_exact: self.unanswered.is_none() }
    }

    /// The times in nanoseconds, to the histogram's precision, and how often each came.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.times.iter_recorded().map(|time| (time.value_iterated_to(), time.count_at_value()))
    }
}

/// What went wrong, by kind. The order is that of a connection's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Failure {
    ConnectRefused,
    ConnectTimeout,
    Connect(i32),
    Status(u16),
    Handshake(&'static str),
    HandshakeEnded,
    Reset,
    Ended,
    Network(i32),
    Protocol(&'static str),
    ClosedByServer(u16),
    WrongContent,
    WrongKind,
    Lost,
    Duplicate,
    Reordered,
    Foreign,
    Unexpected,
    Unanswered,
    Missed,
    Unsent,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConnectRefused => f.write_str("connection refused"),
            Self::ConnectTimeout => f.write_str("connection not open in time"),
            Self::Connect(code) => {
                write!(f, "connecting failed: {}", std::io::Error::from_raw_os_error(*code))
            }
            Self::Status(status) => write!(f, "upgrade refused with status {status}"),
            Self::Handshake(error) => write!(f, "invalid handshake: {error}"),
            Self::HandshakeEnded => f.write_str("connection ended within the handshake"),
            Self::Reset => f.write_str("connection reset"),
            Self::Ended => f.write_str("connection ended without a Close"),
            Self::Network(code) => {
                write!(f, "connection failed: {}", std::io::Error::from_raw_os_error(*code))
            }
            Self::Protocol(error) => write!(f, "protocol error: {error}"),
            Self::ClosedByServer(code) => write!(f, "closed by the server with {code}"),
            Self::WrongContent => f.write_str("echo with wrong content"),
            Self::WrongKind => f.write_str("echo with the wrong opcode"),
            Self::Lost => f.write_str("message lost: later ones were answered"),
            Self::Duplicate => f.write_str("echo that had come before"),
            Self::Reordered => f.write_str("echo that came after a later one"),
            Self::Foreign => f.write_str("echo of another connection"),
            Self::Unexpected => f.write_str("message that nobody asked for"),
            Self::Unanswered => f.write_str("message without an answer"),
            Self::Missed => f.write_str("message not sent: too many in flight"),
            Self::Unsent => f.write_str("message not sent: its connection had failed"),
        }
    }
}

impl From<HandshakeError> for Failure {
    fn from(error: HandshakeError) -> Self {
        match error {
            HandshakeError::UnexpectedStatus(status) => Self::Status(status),
            HandshakeError::WrongAccept => Self::Handshake("wrong Sec-WebSocket-Accept"),
            HandshakeError::Upgrade => Self::Handshake("no Upgrade"),
            HandshakeError::Connection => Self::Handshake("no Connection: upgrade"),
            HandshakeError::Extensions => Self::Handshake("extension not offered, or not so"),
            HandshakeError::Protocol => Self::Handshake("subprotocol not offered"),
            HandshakeError::HeadTooLarge => Self::Handshake("head too large"),
            _ => Self::Handshake("not HTTP/1.1"),
        }
    }
}

impl From<ProtocolError> for Failure {
    fn from(error: ProtocolError) -> Self {
        Self::Protocol(match error {
            ProtocolError::MaskedFrame => "masked frame",
            ProtocolError::ReservedBits => "reserved bits",
            ProtocolError::ReservedOpCode(_) => "reserved opcode",
            ProtocolError::InvalidUtf8 => "text is not UTF-8",
            ProtocolError::FrameTooLarge | ProtocolError::MessageTooLarge => "too large",
            ProtocolError::NonMinimalLength => "length not minimal",
            ProtocolError::UnexpectedContinuation | ProtocolError::ExpectedContinuation => {
                "fragments out of order"
            }
            ProtocolError::InvalidDeflate => "compressed message is not DEFLATE",
            ProtocolError::InvalidCloseCode(_) => "invalid close code",
            _ => "malformed frame",
        })
    }
}

/// Failures, counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Failures(BTreeMap<Failure, u64>);

impl Failures {
    pub(crate) fn add(&mut self, failure: Failure) {
        self.add_many(failure, 1);
    }

    pub(crate) fn add_many(&mut self, failure: Failure, count: u64) {
        if count > 0 {
            *self.0.entry(failure).or_default() += count;
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (failure, count) in other.iter() {
            self.add_many(failure, count);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Failure, u64)> + '_ {
        self.0.iter().map(|(failure, count)| (*failure, *count))
    }

    pub(crate) fn of(&self, failure: Failure) -> u64 {
        self.0.get(&failure).copied().unwrap_or(0)
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.values().sum()
    }
}

/// The results of a thread, or of all.
#[derive(Clone, Debug)]
pub(crate) struct Stats {
    /// From the intended moment of sending to the echo.
    pub(crate) response: Times,
    /// From the write to the echo.
    pub(crate) service: Times,
    /// From the intended moment to the write.
    pub(crate) lag: Times,
    /// From the start of a connection until it was open.
    pub(crate) handshake: Times,
    /// Echoes that arrived within the measurement.
    pub(crate) echoes: u64,
    pub(crate) opened: u64,
    /// Connections whose messages may be compressed.
    pub(crate) compressed: u64,
    pub(crate) failures: Failures,
    /// CPU time of the thread within the measurement.
    pub(crate) cpu: Duration,
    pub(crate) health: Health,
}

impl Stats {
    pub(crate) fn new() -> Self {
        Self {
            response: Times::new(),
            service: Times::new(),
            lag: Times::new(),
            handshake: Times::new(),
            echoes: 0,
            opened: 0,
            compressed: 0,
            failures: Failures::default(),
            cpu: Duration::ZERO,
            health: Health::default(),
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.response.add(&other.response);
        self.service.add(&other.service);
        self.lag.add(&other.lag);
        self.handshake.add(&other.handshake);
        self.echoes += other.echoes;
        self.opened += other.opened;
        self.compressed += other.compressed;
        self.failures.merge(&other.failures);
        self.cpu += other.cpu;
        self.health.merge(&other.health);
    }
}

/// What happened since the last progress line.
#[derive(Debug)]
pub(crate) struct Interval {
    pub(crate) response: Times,
    pub(crate) open: u64,
    pub(crate) failures: u64,
}

impl Interval {
    pub(crate) fn new() -> Self {
        Self { response: Times::new(), open: 0, failures: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_needs_ten_samples_beyond_it() {
        let mut times = Times::new();
        for millis in 1..=1000 {
            times.record(Duration::from_millis(millis));
        }
        let p99 = times.quantile(0.99).unwrap().time.as_secs_f64();
        assert!((p99 - 0.990).abs() < 0.001, "{p99}");
        assert_eq!(times.quantile(0.999), None);
    }

    #[test]
    fn what_unanswered_messages_may_change_is_a_bound() {
        let mut times = Times::new();
        for millis in 1..=900 {
            times.record(Duration::from_millis(millis));
        }
        let mut others = Times::new();
        for millis in 601..=700 {
            others.record_unanswered(Duration::from_millis(millis));
        }
        times.add(&others);
        let is_exact = |share| times.quantile(share).map(|bound| bound.is_exact);
        assert_eq!(is_exact(0.5), Some(true));
        assert_eq!(is_exact(0.59), Some(true));
        assert_eq!(is_exact(0.61), Some(false));
        assert!(!times.max().is_exact);
        let (least, most) = (Duration::from_millis(601), Duration::from_millis(700));
        assert_eq!(times.unanswered(), Some(Ages { count: 100, least, most }));
    }

    #[test]
    fn failures_are_counted_by_kind() {
        let mut failures = Failures::default();
        failures.add(Failure::Status(404));
        failures.add(Failure::Status(404));
        failures.add(Failure::Status(503));
        assert_eq!(failures.iter().count(), 2);
        assert_eq!(failures.total(), 3);
    }
}
