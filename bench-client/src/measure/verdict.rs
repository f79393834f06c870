//! Whether the figures of a run are the server's: what the client, or the machine below it, has
//! added to them.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{health::Health, reading::Meanwhile, results::Group, stats::Tally};
use crate::units::time;

/// What the figures are worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Verdict {
    Valid,
    /// To be read with the reasons in mind.
    Suspect,
    /// They tell more about the client than about the server.
    Invalid,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Valid => "VALID",
            Self::Suspect => "SUSPECT",
            Self::Invalid => "INVALID",
        })
    }
}

/// A reason not to believe the figures, and how bad it is.
pub(crate) type Reason = (Verdict, String);

/// From where on something is suspect, and from where on it is invalid.
type Limits = (f64, f64);

/// p99 of the send lag by p99 of the response time: so much of that is the client's own, and about as
/// much again, for what has arrived waits as long as what is to be sent.
const LAG: Limits = (0.1, 0.25);

/// The same of any lag in seconds: less is the noise of any wake-up.
const LAG_SECONDS: Limits = (200e-6, 1e-3);

/// The share of the offered messages that were not sent.
const UNSENT: Limits = (0.01, 0.05);

/// The share of the time in which a thread had stalled. From a hundredth on p99 is that of the
/// stalls.
const STALLED: Limits = (0.001, 0.01);

/// The share of the time in which a thread waited for a processor.
const DELAYED: Limits = (0.02, 0.1);

/// The same of the server: others ran where it was to run. Or it has more threads than processors,
/// which is its own affair, so that this is suspect at most.
const SERVER_DELAYED: Limits = (0.1, f64::INFINITY);

/// The share of the time in which a thread of an open loop ran, if its receive lag is beyond
/// `LAG_SECONDS`, too: a thread may be busy and in time, does little at once then, and could do
/// more. In a closed loop a busy client is the limit of the throughput, which is suspect at most.
const BUSY: Limits = (0.8, 0.95);

/// The share of the machine's time that its host gave to others.
const STOLEN: Limits = (0.01, 0.05);

/// A closed loop has no schedule to miss: what holds the client up is in its latencies, as its own
/// work is. With a quarter of the time they are no more the server's (docs/BENCHMARKING.md).
const CLOSED_INVALID: f64 = 0.25;

/// What is known of a run.
#[derive(Clone, Debug)]
pub(crate) struct Evidence {
    pub(crate) health: Health,
    /// Of the groups with an open loop.
    pub(crate) schedules: Vec<Punctuality>,
    pub(crate) meanwhile: Meanwhile,
}

/// How an open loop kept its schedule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Punctuality {
    pub(crate) offered: f64,
    pub(crate) sent: u64,
    /// The 99th percentiles.
    pub(crate) lag: Duration,
    pub(crate) response: Duration,
}

impl Evidence {
    /// What a run of these groups has left.
    pub(crate) fn new(groups: &[Group], tally: &Tally, meanwhile: Meanwhile) -> Self {
        let schedules = groups.iter().zip(&tally.groups).filter_map(|(group, stats)| {
            group.offered?;
            Some(Punctuality {
                offered: stats.due as f64,
                sent: stats.lag.count(),
                lag: stats.lag.at(0.99).time,
                response: stats.response.at(0.99).time,
            })
        });
        Self { health: tally.health, schedules: schedules.collect(), meanwhile }
    }

    /// All reasons not to believe the figures, and the verdict: the worst of them.
    pub(crate) fn judge(&self) -> (Verdict, Vec<Reason>) {
        let percent = |share: f64| format!("{:.1} % of the time", 100.0 * share);
        let Health { busy, delayed, stalled, longest, receive_lag } = self.health;
        let mut reasons = Vec::new();
        let is_open = !self.schedules.is_empty();
        let of_loop = |limits: Limits| if is_open { limits } else { (limits.0, CLOSED_INVALID) };
        self.schedules.iter().for_each(|schedule| schedule.judge(&mut reasons));
        let text =
            || format!("a thread had stalled for {}, {} at once", percent(stalled), time(longest));
        reasons.extend(beyond(of_loop(STALLED), stalled, text));
        let text = || format!("a thread waited for a processor for {}", percent(delayed));
        reasons.extend(beyond(of_loop(DELAYED), delayed, text));
        if is_open {
            let text = || {
                let (busy, lag) = (percent(busy), time(receive_lag));
                format!("a thread was busy for {busy}, and p99 of its receive lag was {lag}")
            };
            let by_share = beyond(BUSY, busy, text);
            let by_time = beyond(LAG_SECONDS, receive_lag.as_secs_f64(), text);
            reasons.extend(least(by_share, by_time));
        } else {
            let text = || format!("the client is the limit, busy for {}", percent(busy));
            reasons.extend(beyond((BUSY.1, f64::INFINITY), busy, text));
        }
        let Meanwhile { delayed, stolen, .. } = self.meanwhile;
        if let Some(delayed) = delayed {
            let text = || {
                format!("a thread of the server waited for a processor for {}", percent(delayed))
            };
            reasons.extend(beyond(SERVER_DELAYED, delayed, text));
        }
        if let Some(stolen) = stolen {
            let text = || format!("the host ran others for {}", percent(stolen));
            reasons.extend(beyond(of_loop(STOLEN), stolen, text));
        }
        let worst = reasons.iter().map(|(verdict, _)| *verdict).max();
        (worst.unwrap_or(Verdict::Valid), reasons)
    }
}

impl Punctuality {
    fn judge(&self, reasons: &mut Vec<Reason>) {
        let unsent = (self.offered - self.sent as f64) / self.offered.max(1.0);
        let text = || {
            format!(
                "{} of {:.0} messages were sent, of those that were due",
                self.sent, self.offered
            )
        };
        reasons.extend(beyond(UNSENT, unsent, text));
        let lag = self.lag.as_secs_f64();
        let share = lag / self.response.as_secs_f64().max(1e-9);
        let text = || {
            let (lag, response) = (time(self.lag), time(self.response));
            format!("p99 of the send lag is {lag}, that of the response time {response}")
        };
        let by_share = beyond(LAG, share, text);
        let by_time = beyond(LAG_SECONDS, lag, text);
        reasons.extend(least(by_share, by_time));
    }
}

fn beyond(limits: Limits, value: f64, text: impl Fn() -> String) -> Option<Reason> {
    match value {
        _ if value >= limits.1 => Some((Verdict::Invalid, text())),
        _ if value >= limits.0 => Some((Verdict::Suspect, text())),
        _ => None,
    }
}

/// The lesser of two reasons that count only together.
fn least(one: Option<Reason>, other: Option<Reason>) -> Option<Reason> {
    one.zip(other).map(|(one, other)| one.min(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calm() -> Evidence {
        let health = Health { busy: 0.5, ..Health::default() };
        let millis = Duration::from_millis;
        let schedule = Punctuality { offered: 1.0, sent: 1, lag: millis(0), response: millis(4) };
        Evidence { health, schedules: vec![schedule], meanwhile: Meanwhile::default() }
    }

    fn calm_closed() -> Evidence {
        Evidence { schedules: Vec::new(), ..calm() }
    }

    #[track_caller]
    fn expect(evidence: Evidence, verdict: Verdict, reason: &str) {
        let (judged, reasons) = evidence.judge();
        assert_eq!(judged, verdict, "{reasons:?}");
        let texts: Vec<_> = reasons.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts.is_empty(), reason.is_empty(), "{texts:?}");
        assert!(texts.iter().all(|text| text.contains(reason)), "{texts:?}");
    }

    #[test]
    fn the_state_of_the_threads_and_of_the_machine_counts() {
        expect(calm(), Verdict::Valid, "");
        let with = |health| Evidence { health, ..calm() };
        let busy = |receive_lag| {
            let receive_lag = Duration::from_micros(receive_lag);
            with(Health { busy: 1.0, receive_lag, ..Health::default() })
        };
        expect(busy(2000), Verdict::Invalid, "a thread was busy");
        expect(busy(500), Verdict::Suspect, "p99 of its receive lag was 500 us");
        expect(busy(100), Verdict::Valid, "");
        let stalled = Health { stalled: 0.02, ..Health::default() };
        expect(with(stalled), Verdict::Invalid, "had stalled for 2.0 %");
        let delayed = Health { delayed: 0.03, ..Health::default() };
        expect(with(delayed), Verdict::Suspect, "for a processor");
        let with = |meanwhile| Evidence { meanwhile, ..calm() };
        let stolen = Meanwhile { stolen: Some(0.06), ..Meanwhile::default() };
        expect(with(stolen), Verdict::Invalid, "the host ran others for 6.0 %");
        let server = |delayed| Meanwhile { delayed: Some(delayed), ..Meanwhile::default() };
        expect(with(server(0.05)), Verdict::Valid, "");
        expect(
            with(server(0.3)),
            Verdict::Suspect,
            "a thread of the server waited for a processor",
        );
    }

    #[test]
    fn a_closed_loop_is_suspect_at_most() {
        expect(calm_closed(), Verdict::Valid, "");
        let with = |health| Evidence { health, ..calm_closed() };
        let busy = Health { busy: 1.0, ..Health::default() };
        expect(with(busy), Verdict::Suspect, "the client is the limit");
        let stalled = Health { stalled: 0.02, ..Health::default() };
        expect(with(stalled), Verdict::Suspect, "had stalled for 2.0 %");
        let delayed = Health { delayed: 0.2, ..Health::default() };
        expect(with(delayed), Verdict::Suspect, "waited for a processor for 20.0 %");
        let delayed = Health { delayed: 0.4, ..Health::default() };
        expect(with(delayed), Verdict::Invalid, "waited for a processor for 40.0 %");
    }

    #[test]
    fn an_open_loop_must_keep_its_schedule() {
        let expect = |sent, lag, verdict, reason| {
            let lag = Duration::from_micros(lag);
            let response = Duration::from_millis(4);
            let schedules = vec![Punctuality { offered: 1000.0, sent, lag, response }];
            expect(Evidence { schedules, ..calm() }, verdict, reason);
        };
        expect(999, 100, Verdict::Valid, "");
        expect(991, 100, Verdict::Valid, "");
        expect(980, 100, Verdict::Suspect, "980 of 1000 messages");
        expect(900, 100, Verdict::Invalid, "900 of 1000 messages");
        expect(1000, 399, Verdict::Valid, "");
        expect(1000, 401, Verdict::Suspect, "send lag is 401 us");
        expect(1000, 2000, Verdict::Invalid, "response time 4.00 ms");
        let receive_lag = Duration::from_millis(1);
        let busy = Health { busy: 0.96, receive_lag, ..Health::default() };
        let schedule =
            Punctuality { offered: 0.0, sent: 0, lag: Duration::ZERO, response: Duration::ZERO };
        let evidence = Evidence { health: busy, schedules: vec![schedule], ..calm() };
        assert_eq!(evidence.judge().0, Verdict::Invalid);
    }
}
