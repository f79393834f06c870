//! The results of a run, in the form in which they are shown, written, read again and compared.
//!
//! Written as JSON this is the schema that docs/LOADTESTING.md describes. [`SCHEMA`] changes when a
//! field changes its meaning or goes away; new ones may be added.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{search::Search, versus::Versus};

use super::{
    ksoftirqd::Uncounted,
    stats::{Stats, Tally},
    times::{Times, nanos},
    verdict::{Reason, Verdict},
};

/// The name and the version of the JSON schema.
pub(crate) const SCHEMA: &str = "wireloop-bench/1";

/// So many connections of a process tell what one of them takes.
const TELLING_CONNECTIONS: usize = 1000;

/// The results of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) schema: String,
    /// The version of this program.
    pub(crate) version: String,
    /// When the run began, in seconds since 1970.
    pub(crate) begun_s: f64,
    /// What was asked for: the arguments, without the program's name and without secrets.
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Environment,
    /// The length of the measurement.
    #[serde(rename = "measured_ns", with = "nanos")]
    pub(crate) measured: Duration,
    pub(crate) threads: usize,
    /// What they run on.
    #[serde(default)]
    pub(crate) driver: String,
    /// Processes, if there are several.
    pub(crate) processes: usize,
    pub(crate) groups: Vec<Group>,
    /// All groups together, and the threads.
    pub(crate) tally: Tally,
    /// One for each second, from the moment when the first connection was begun.
    pub(crate) series: Vec<Moment>,
    pub(crate) server: Option<ServerCost>,
    /// The share of the machine's time that its host gave to others, if the kernel tells.
    pub(crate) stolen: Option<f64>,
    pub(crate) verdict: Verdict,
    pub(crate) reasons: Vec<Reason>,
    pub(crate) thresholds: Vec<Judged>,
    /// Of the search for the highest rate, and of the comparison of two servers.
    pub(crate) search: Option<Search>,
    pub(crate) versus: Option<Versus>,
    pub(crate) outcome: Outcome,
}

/// Where and against what the run was made.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Environment {
    /// The kernel's name and release.
    pub(crate) kernel: String,
    /// The processor's name, and how many of them this process may use.
    pub(crate) processor: String,
    pub(crate) processors: usize,
    /// How many processors' time its control group grants this process, if it is limited.
    pub(crate) quota: Option<f64>,
    /// What sets the processors' frequency, if the kernel tells.
    pub(crate) governor: Option<String>,
    /// How many files this process may have open; `None` is any number.
    pub(crate) file_limit: Option<u64>,
    /// Who ran on which processors.
    pub(crate) placement: String,
    /// Whether client and server share a machine.
    pub(crate) same_host: bool,
    /// What the checks before the run had to say.
    pub(crate) warnings: Vec<String>,
}

/// A group of connections: what it was to do. What it found is in [`Tally::groups`] at the same
/// place.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Group {
    /// Empty if there is only one.
    pub(crate) name: String,
    pub(crate) url: String,
    /// What it does, in words.
    pub(crate) load: String,
    pub(crate) connections: usize,
    /// How many have to open for the run to be good: not all, if they come when they are due.
    pub(crate) must_open: usize,
    pub(crate) is_idle: bool,
    /// Messages per second that were due on average in the measurement, in an open loop.
    pub(crate) offered: Option<f64>,
    /// Payloads have no number that tells lost messages from reordered ones.
    pub(crate) is_nameless: bool,
}

/// What happened in a second of the run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Moment {
    /// When it began, since the run did.
    #[serde(rename = "at_ns", with = "nanos")]
    pub(crate) at: Duration,
    #[serde(rename = "length_ns", with = "nanos")]
    pub(crate) length: Duration,
    pub(crate) phase: Phase,
    /// Connections that were open at its end.
    pub(crate) open: u64,
    /// Messages that open loops were to send, if there are any.
    pub(crate) due: Option<f64>,
    pub(crate) sent: u64,
    pub(crate) echoes: u64,
    pub(crate) opened: u64,
    pub(crate) failures: u64,
    pub(crate) response: Option<Summary>,
    pub(crate) service: Option<Summary>,
    /// What the server used of a processor, and its resident memory in bytes.
    pub(crate) server_busy: Option<f64>,
    pub(crate) server_bytes: Option<u64>,
}

/// The part of a run that a moment belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    Connecting,
    WarmUp,
    Measuring,
    Draining,
}

/// A few figures of a distribution of times, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) mean_ns: u64,
    pub(crate) p50_ns: u64,
    pub(crate) p90_ns: u64,
    pub(crate) p99_ns: u64,
    pub(crate) p99_9_ns: u64,
    pub(crate) max_ns: u64,
}

impl Summary {
    /// `None` if there are no times.
    pub(crate) fn of(times: &Times) -> Option<Self> {
        let nanos = |time: Duration| time.as_nanos() as u64;
        let at = |share| nanos(times.at(share).time);
        (times.count() > 0).then(|| Self {
            mean_ns: nanos(times.mean().time),
            p50_ns: at(0.5),
            p90_ns: at(0.9),
            p99_ns: at(0.99),
            p99_9_ns: at(0.999),
            max_ns: nanos(times.max().time),
        })
    }
}

/// What the run cost the server.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct ServerCost {
    /// CPU time within the measurement, with that of `ksoftirqd` where it is counted.
    #[serde(rename = "cpu_ns", with = "nanos")]
    pub(crate) cpu: Duration,
    /// The system's part of it, if it is told.
    pub(crate) system_ns: Option<u64>,
    /// The part of `ksoftirqd`, if it is counted.
    #[serde(default)]
    pub(crate) ksoftirqd_ns: Option<u64>,
    /// Why it is not, unless the results are of a version that did not ask.
    #[serde(default)]
    pub(crate) ksoftirqd_uncounted: Option<Uncounted>,
    /// The share of the measurement in which one of its threads, the worst, waited for a processor.
    pub(crate) delayed: Option<f64>,
    /// Resident memory per open, idle connection.
    pub(crate) bytes_per_connection: f64,
    /// Resident memory at the end of the load.
    pub(crate) resident_bytes: u64,
    /// Processes of the server.
    #[serde(default)]
    pub(crate) processes: usize,
}

impl ServerCost {
    /// The parts of the CPU time with their names, if they are told apart.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (&'static str, Duration)> {
        let system = self.system_ns.map(Duration::from_nanos);
        let ksoftirqd = self.ksoftirqd_ns.map(Duration::from_nanos);
        let others = system.unwrap_or_default() + ksoftirqd.unwrap_or_default();
        let user = system.map(|_| self.cpu.saturating_sub(others));
        let parts = [("user", user), ("system", system), ("ksoftirqd", ksoftirqd)];
        parts.into_iter().filter_map(|(name, time)| Some((name, time?)))
    }

    /// Resident memory per idle connection, unless there are so few connections that it says more
    /// about what the allocators had left over.
    pub(crate) fn idle_bytes(&self, connections: usize) -> Option<f64> {
        let is_enough = connections >= TELLING_CONNECTIONS * self.processes.max(1);
        (is_enough && self.bytes_per_connection > 0.0).then_some(self.bytes_per_connection)
    }
}

/// A threshold and whether it was held.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Judged {
    /// As it was given.
    pub(crate) threshold: String,
    /// What was measured, in words.
    pub(crate) measured: String,
    pub(crate) is_held: bool,
}

/// How the run ended.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// The run was interrupted: these are the results until then.
    pub(crate) was_interrupted: bool,
    /// A threshold was broken, and the run was to end at that.
    pub(crate) was_aborted: bool,
    /// How long the load went on until the last connection had failed, in nanoseconds, if all have.
    pub(crate) failed_after_ns: Option<u64>,
    /// What went wrong with the run itself.
    pub(crate) complaint: Option<String>,
}

impl Outcome {
    /// Whether the run was ended before it was due.
    pub(crate) fn is_partial(&self) -> bool {
        self.was_interrupted || self.was_aborted || self.failed_after_ns.is_some()
    }
}

#[cfg(test)]
impl Moment {
    /// A moment in which nothing happened.
    pub(crate) fn new(phase: Phase) -> Self {
        Self {
            at: Duration::ZERO,
            length: Duration::ZERO,
            phase,
            open: 0,
            due: None,
            sent: 0,
            echoes: 0,
            opened: 0,
            failures: 0,
            response: None,
            service: None,
            server_busy: None,
            server_bytes: None,
        }
    }
}

impl Results {
    /// All groups as one.
    pub(crate) fn total(&self) -> Stats {
        self.tally.total()
    }

    /// How many connections there were to be.
    pub(crate) fn connections(&self) -> usize {
        self.groups.iter().map(|group| group.connections).sum()
    }

    /// Whether the run itself has come to nothing.
    pub(crate) fn has_failed(&self) -> bool {
        self.outcome.complaint.is_some() || !self.has_echoes()
    }

    /// Whether anybody was answered, or asked.
    fn has_echoes(&self) -> bool {
        let is_idle = self.groups.iter().all(|group| group.is_idle);
        is_idle || self.tally.groups.iter().any(|stats| stats.echoes > 0)
    }

    /// Whether all went well, thresholds and verdict aside.
    pub(crate) fn is_good(&self) -> bool {
        let total = self.total();
        total.failures.total() == 0
            && self.outcome.complaint.is_none()
            && self.outcome.failed_after_ns.is_none()
            && self.has_echoes()
            && total.opened >= self.groups.iter().map(|group| group.must_open as u64).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::failure::Failure, *};

    impl Results {
        /// The results of a run of two groups that has been through a lot.
        pub(crate) fn example() -> Self {
            let group = |name: &str, offered| Group {
                name: name.into(),
                url: "ws://[::1]/<\"chat\">".into(),
                load: "2 connections".into(),
                must_open: 0,
                is_idle: false,
                connections: 2,
                offered,
                ..Group::default()
            };
            let mut stats = Stats { opened: 2, sent: 104, echoes: 100, ..Stats::default() };
            let micros = Duration::from_micros;
            for _ in 0..100 {
                stats.response.record(micros(1000));
                stats.service.record(micros(700));
            }
            for _ in 0..4 {
                stats.response.record_unanswered(micros(20_000));
            }
            stats.failures.add_many(Failure::Unanswered, 4);
            stats.phases.opening.record(micros(500));
            stats.phases.connect.record(micros(200));
            stats.phases.upgrade.record(micros(300));
            let calm =
                Stats { opened: 2, closes: [(1000, 1), (1001, 1)].into(), ..Stats::default() };
            let second = |at, phase| Moment {
                at: Duration::from_secs(at),
                length: Duration::from_secs(1),
                echoes: 50,
                open: 4,
                response: Summary::of(&stats.response),
                server_busy: Some(0.5),
                ..Moment::new(phase)
            };
            let series = vec![second(0, Phase::WarmUp), second(1, Phase::Measuring)];
            let judged = |threshold: &str, measured: &str, is_held| Judged {
                threshold: threshold.into(),
                measured: measured.into(),
                is_held,
            };
            Self {
                schema: SCHEMA.into(),
                version: "0".into(),
                begun_s: 1.5,
                arguments: vec!["--threshold".into(), "p99<1ms".into()],
                environment: Environment { quota: Some(1.5), ..Environment::observe() },
                measured: Duration::from_secs(1),
                threads: 1,
                driver: "epoll".into(),
                processes: 1,
                groups: vec![group("chat", Some(104.0)), group("others", None)],
                tally: Tally { groups: vec![stats, calm], ..Tally::default() },
                series,
                search: None,
                versus: None,
                server: None,
                stolen: Some(0.25),
                verdict: Verdict::Suspect,
                reasons: vec![(Verdict::Suspect, "<noise>".into())],
                thresholds: vec![
                    judged("errors<10", "4", true),
                    judged("p99<1ms", ">20.0 ms", false),
                ],
                outcome: Outcome { was_interrupted: true, ..Outcome::default() },
            }
        }
    }

    #[test]
    fn results_are_read_as_they_were_written() {
        let example = Results::example();
        let written = serde_json::to_string_pretty(&example).unwrap();
        let read: Results = serde_json::from_str(&written).unwrap();
        let again = serde_json::to_string_pretty(&read).unwrap();
        // The same histogram is written in another way when it has room for other times.
        let lines = |text: &str| {
            let lines = text.lines().filter(|line| !line.contains("\"histogram\""));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(lines(&again), lines(&written));
        let times = |results: &Results| results.total().response;
        assert_eq!(times(&read).histogram(), times(&example).histogram());
        assert_eq!(times(&read).unanswered(), times(&example).unanswered());
    }
}
