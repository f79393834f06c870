//! Thresholds: what a run must keep to be good, such as `p99<2ms`. What was not measured, or only
//! from below, is not taken for kept.

use std::{fmt, time::Duration};

use super::{
    failure::{Failure, Failures},
    results::{Judged, Results, ServerCost},
    stats::Stats,
    times::{Bound, Times},
};
use crate::units;

/// What is said to who writes a threshold that is none.
const ADVICE: &str = "write [GROUP:]METRIC, then < <= > >= == or !=, then a value, as p99<2ms, \
    errors==0, rate>=10k; metrics: pN mean min max, these of service. lag. opening. dns. connect. \
    tls. upgrade. first_message. ping., rate sent echoes connections errors lost repeated reordered \
    corrupt wrong_opcode missed cpu client_cpu memory";

/// A bound that a run is to keep.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Threshold {
    /// As it was given.
    text: String,
    /// The group that it is about; without one, all together.
    group: Option<String>,
    metric: Metric,
    comparison: Comparison,
    /// In seconds, bytes, or whatever is counted.
    limit: f64,
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Metric {
    Time(Kind, Figure),
    Count(Count),
    /// Echoes per second.
    Rate,
    /// CPU time of the server for each echo.
    Cpu,
    /// CPU time of the client for each echo.
    ClientCpu,
    /// The server's resident memory for each connection.
    Memory,
}

/// Which times.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Response,
    Service,
    Lag,
    Opening,
    Dns,
    Connect,
    Tls,
    Upgrade,
    FirstMessage,
    Ping,
}

/// Which figure of them.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Figure {
    Quantile(f64),
    Mean,
    Min,
    Max,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Count {
    Sent,
    Echoes,
    Connections,
    Errors,
    Lost,
    Failure(Failure),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    NotEqual,
}

/// What thresholds are compared with: a whole run, or one so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured<'m> {
    pub(crate) names: &'m [String],
    pub(crate) groups: &'m [Stats],
    /// All groups as one.
    pub(crate) total: &'m Stats,
    pub(crate) time: Duration,
    pub(crate) server: Option<ServerCost>,
    pub(crate) client_cpu: Option<Duration>,
}

/// Whether a threshold was kept, and what was measured.
#[derive(Clone, Debug, PartialEq)]
enum Finding {
    Kept(String),
    Broken(String),
    /// Why it cannot be said.
    Unknown(String),
}

impl Threshold {
    /// Reads a threshold.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        Self::read(text).ok_or_else(|| ADVICE.into())
    }

    fn read(text: &str) -> Option<Self> {
        let at = text.find(['<', '>', '=', '!'])?;
        let (left, right) = text.split_at(at);
        let (comparison, value) = Comparison::split(right)?;
        let (group, name) = match left.trim().rsplit_once(':') {
            Some((group, name)) => (Some(group.trim().to_owned()), name.trim()),
            None => (None, left.trim()),
        };
        let metric = Metric::named(name)?;
        let limit = metric.read(value.trim())?;
        Some(Self { text: text.trim().into(), group, metric, comparison, limit })
    }

    /// How many times must be measured before anything can be said: ten above a percentile.
    pub(crate) fn times_needed(&self) -> f64 {
        match self.metric {
            Metric::Time(_, Figure::Quantile(share)) => 10.0 / (1.0 - share),
            _ => 0.0,
        }
    }

    /// Compares it with what a whole run has measured.
    pub(crate) fn judge(&self, measured: &Measured<'_>) -> Judged {
        let (is_held, words) = match self.find(measured) {
            Finding::Kept(words) => (true, words),
            Finding::Broken(words) | Finding::Unknown(words) => (false, words),
        };
        Judged { threshold: self.text.clone(), measured: words, is_held }
    }

    /// Whether it is broken by what was measured so far, so that it will not do to go on. A number
    /// that only grows may still reach what it is to reach.
    pub(crate) fn is_broken_early(&self, measured: &Measured<'_>) -> bool {
        let comparison = match (self.metric, self.comparison) {
            (Metric::Count(_), Comparison::Equal) => Comparison::LessOrEqual,
            (Metric::Count(_), Comparison::Less | Comparison::LessOrEqual) => self.comparison,
            (Metric::Count(_), _) => return false,
            (_, comparison) => comparison,
        };
        let threshold = Self { comparison, ..self.clone() };
        matches!(threshold.find(measured), Finding::Broken(_))
    }

    fn find(&self, measured: &Measured<'_>) -> Finding {
        let stats = match &self.group {
            None => measured.total,
            Some(group) => match measured.names.iter().position(|name| name == group) {
                Some(place) => &measured.groups[place],
                None => return Finding::Unknown(format!("there is no group {group}")),
            },
        };
        let (value, is_exact) = match self.metric.of(stats, measured) {
            Ok(found) => found,
            Err(why) => return Finding::Unknown(why),
        };
        let mark = if is_exact { "" } else { ">" };
        let words = format!("{mark}{}", self.metric.write(value));
        let grows = matches!(self.comparison, Comparison::Greater | Comparison::GreaterOrEqual);
        match self.comparison.holds(value, self.limit) {
            // The true value is not below this one, but may be anywhere above.
            true if is_exact || (grows && value >= self.limit) => Finding::Kept(words),
            false if is_exact || value > self.limit => Finding::Broken(words),
            _ => Finding::Unknown(words),
        }
    }
}

impl Comparison {
    /// The comparison that a text begins with, and what follows it.
    fn split(text: &str) -> Option<(Self, &str)> {
        let all = [
            ("<=", Self::LessOrEqual),
            (">=", Self::GreaterOrEqual),
            ("==", Self::Equal),
            ("!=", Self::NotEqual),
            ("<", Self::Less),
            (">", Self::Greater),
        ];
        all.into_iter().find_map(|(sign, one)| Some((one, text.strip_prefix(sign)?)))
    }

    #[expect(clippy::float_cmp, reason = "counts are whole, and who asks for == has asked for it")]
    fn holds(self, value: f64, limit: f64) -> bool {
        match self {
            Self::Less => value < limit,
            Self::LessOrEqual => value <= limit,
            Self::Greater => value > limit,
            Self::GreaterOrEqual => value >= limit,
            Self::Equal => value == limit,
            Self::NotEqual => value != limit,
        }
    }
}

impl Metric {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "rate" => Self::Rate,
            "cpu" => Self::Cpu,
            "client_cpu" => Self::ClientCpu,
            "memory" => Self::Memory,
            "sent" => Self::Count(Count::Sent),
            "echoes" => Self::Count(Count::Echoes),
            "connections" => Self::Count(Count::Connections),
            "errors" => Self::Count(Count::Errors),
            "lost" => Self::Count(Count::Lost),
            "repeated" => Self::Count(Count::Failure(Failure::Duplicate)),
            "reordered" => Self::Count(Count::Failure(Failure::Reordered)),
            "corrupt" => Self::Count(Count::Failure(Failure::WrongContent)),
            "wrong_opcode" => Self::Count(Count::Failure(Failure::WrongKind)),
            "missed" => Self::Count(Count::Failure(Failure::Missed)),
            _ => {
                let (kind, figure) = name.split_once('.').unzip();
                match kind.and_then(Kind::named) {
                    Some(kind) => Self::Time(kind, Figure::named(figure?)?),
                    None => Self::Time(Kind::Response, Figure::named(name)?),
                }
            }
        })
    }

    /// Reads a value of this metric.
    fn read(self, text: &str) -> Option<f64> {
        match self {
            Self::Time(..) | Self::Cpu | Self::ClientCpu => {
                units::read_time(text).ok().map(|time| time.as_secs_f64())
            }
            Self::Memory => units::size(text).ok().map(|bytes| bytes as f64),
            Self::Rate | Self::Count(_) => units::number(text).ok(),
        }
    }

    fn write(self, value: f64) -> String {
        match self {
            Self::Time(..) | Self::Cpu | Self::ClientCpu => {
                units::time(Duration::from_secs_f64(value))
            }
            Self::Memory => format!("{value:.0} B"),
            Self::Rate => format!("{}/s", units::count(value)),
            Self::Count(_) => units::count(value),
        }
    }

    /// Its value, and whether that is exact and not what it is at least.
    fn of(self, stats: &Stats, measured: &Measured<'_>) -> Result<(f64, bool), String> {
        let per_echo = |cpu: Option<Duration>| match cpu {
            Some(cpu) if measured.total.echoes > 0 => {
                Ok((cpu.as_secs_f64() / measured.total.echoes as f64, true))
            }
            _ => Err("not known".into()),
        };
        match self {
            Self::Time(kind, figure) => figure.of(kind.of(stats)),
            Self::Count(count) => Ok((count.of(stats) as f64, true)),
            Self::Rate if measured.time.is_zero() => Err("nothing was measured".into()),
            Self::Rate => Ok((stats.echoes as f64 / measured.time.as_secs_f64(), true)),
            Self::Cpu => per_echo(measured.server.map(|server| server.cpu)),
            Self::ClientCpu => per_echo(measured.client_cpu),
            Self::Memory => measured
                .server
                .and_then(|server| server.idle_bytes(stats.opened as usize))
                .map(|bytes| (bytes, true))
                .ok_or_else(|| "not known, or too few connections to tell".into()),
        }
    }
}

impl Kind {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "response" => Self::Response,
            "service" => Self::Service,
            "lag" => Self::Lag,
            "opening" => Self::Opening,
            "dns" => Self::Dns,
            "connect" => Self::Connect,
            "tls" => Self::Tls,
            "upgrade" => Self::Upgrade,
            "first_message" => Self::FirstMessage,
            "ping" => Self::Ping,
            _ => return None,
        })
    }

    fn of(self, stats: &Stats) -> &Times {
        match self {
            Self::Response => &stats.response,
            Self::Service => &stats.service,
            Self::Lag => &stats.lag,
            Self::Opening => &stats.phases.opening,
            Self::Dns => &stats.phases.dns,
            Self::Connect => &stats.phases.connect,
            Self::Tls => &stats.phases.tls,
            Self::Upgrade => &stats.phases.upgrade,
            Self::FirstMessage => &stats.phases.first_message,
            Self::Ping => &stats.ping,
        }
    }
}

impl Figure {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "mean" => Self::Mean,
            "min" => Self::Min,
            "max" => Self::Max,
            _ => {
                let percent: f64 = name.strip_prefix('p')?.parse().ok()?;
                // The nearest number: 99.9 / 100.0 is a little more than 0.999.
                let share = (percent * 1e10).round() / 1e12;
                (share > 0.0 && share < 1.0).then_some(Self::Quantile(share))?
            }
        })
    }

    fn of(self, times: &Times) -> Result<(f64, bool), String> {
        let count = times.count();
        if count == 0 {
            return Err("no times were measured".into());
        }
        let bound = match self {
            Self::Quantile(share) => times.quantile(share).ok_or_else(|| {
                format!(
                    "too few times to tell: fewer than ten of {} lie above",
                    units::count(count as f64)
                )
            })?,
            Self::Mean => times.mean(),
            Self::Min => times.min(),
            Self::Max => times.max(),
        };
        let Bound { time, is_exact } = bound;
        Ok((time.as_secs_f64(), is_exact))
    }
}

impl Count {
    fn of(self, stats: &Stats) -> u64 {
        let failures: &Failures = &stats.failures;
        match self {
            Self::Sent => stats.sent,
            Self::Echoes => stats.echoes,
            Self::Connections => stats.opened,
            Self::Errors => failures.total(),
            // Whether others came after it or not.
            Self::Lost => failures.of(Failure::Lost) + failures.of(Failure::Unanswered),
            Self::Failure(failure) => failures.of(failure),
        }
    }
}

/// Judges a whole run by these thresholds.
pub(crate) fn judge(thresholds: &[Threshold], results: &Results) -> Vec<Judged> {
    let names: Vec<_> = results.groups.iter().map(|group| group.name.clone()).collect();
    let total = results.total();
    let measured = Measured {
        names: &names,
        groups: &results.tally.groups,
        total: &total,
        time: results.measured,
        server: results.server,
        client_cpu: Some(results.tally.cpu),
    };
    thresholds.iter().map(|threshold| threshold.judge(&measured)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(stats: &Stats) -> Measured<'_> {
        Measured {
            names: &[],
            groups: &[],
            total: stats,
            time: Duration::from_secs(2),
            server: None,
            client_cpu: None,
        }
    }

    #[track_caller]
    fn expect(stats: &Stats, threshold: &str, is_held: bool, words: &str) {
        let judged = Threshold::parse(threshold).unwrap().judge(&measured(stats));
        assert_eq!((judged.is_held, judged.measured.as_str()), (is_held, words), "{threshold}");
    }

    fn stats() -> Stats {
        let mut stats = Stats { echoes: 30_000, opened: 10, ..Stats::default() };
        for micros in 1..=1000 {
            stats.response.record(Duration::from_micros(micros));
        }
        stats
    }

    #[test]
    fn times_rates_and_counts_are_compared() {
        let stats = stats();
        expect(&stats, "p50<1ms", true, "500 us");
        expect(&stats, "p99 <= 900us", false, "990 us");
        expect(&stats, "max<1s", true, "1.00 ms");
        expect(&stats, "mean>=1ms", false, "501 us");
        expect(&stats, "rate>=15k", true, "15,000/s");
        expect(&stats, "rate>15k", false, "15,000/s");
        expect(&stats, "errors==0", true, "0");
        expect(&stats, "connections!=10", false, "10");
    }

    #[test]
    fn what_was_not_measured_is_not_kept() {
        let stats = stats();
        expect(
            &stats,
            "p99.9<1s",
            false,
            "too few times to tell: fewer than ten of 1,000 lie above",
        );
        expect(&stats, "service.p50<1s", false, "no times were measured");
        expect(&stats, "cpu<1s", false, "not known");
        expect(&stats, "others:errors==0", false, "there is no group others");
    }

    #[test]
    fn what_is_only_known_from_below_keeps_lower_bounds_alone() {
        let mut stats = stats();
        for _ in 0..100 {
            stats.response.record_unanswered(Duration::from_millis(1));
        }
        stats.failures.add_many(Failure::Unanswered, 100);
        expect(&stats, "p99<2ms", false, ">1.00 ms");
        expect(&stats, "p99>900us", true, ">1.00 ms");
        expect(&stats, "p50<1ms", true, "550 us");
        expect(&stats, "p99!=2ms", false, ">1.00 ms");
        expect(&stats, "lost==0", false, "100");
    }

    #[test]
    fn a_run_ends_early_only_for_what_cannot_become_good() {
        let stats = stats();
        let broken = |text| Threshold::parse(text).unwrap().is_broken_early(&measured(&stats));
        assert!(broken("p50<100us") && broken("rate>=20k") && broken("connections==9"));
        assert!(!broken("connections==11") && !broken("echoes>=1m") && !broken("p99.9<1us"));
    }

    #[test]
    fn what_is_no_threshold_is_refused() {
        for wrong in [
            "",
            "p99",
            "p99<",
            "p99<2",
            "p100<1s",
            "p0<1s",
            "x<1",
            "errors<1s",
            "p99=1s",
            "a.b.p99<1s",
        ] {
            assert!(Threshold::parse(wrong).is_err(), "{wrong}");
        }
        assert!(!ADVICE.contains('\n'));
    }
}
