//! `--find-max`: the highest rate that holds an objective. It is doubled until it does not hold any
//! more, then the range between is halved, and what was found is tried again at full length. If it
//! is not confirmed, less is tried, and at last what lies between.
//!
//! One trial says little on a machine that has other things to do: a rate has failed when two of
//! three trials have, and is confirmed when most of several longer ones hold it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    measure::{
        results::{Group, Summary},
        stats::Tally,
        threshold::{Measured, Threshold},
        verdict::{Evidence, Verdict},
    },
    plan::{Plan, Trial},
    series::Sink,
    trials::{Trials, Trying},
};

/// The first rate that is tried, unless another one is given.
const FIRST_RATE: f64 = 1000.0;

/// Rates that nobody asks for: the search ends here.
const RATE_MIN: f64 = 10.0;
const RATE_MAX: f64 = 1e9;

/// The search ends when it knows the rate so well: to a twentieth.
const PRECISION: f64 = 1.05;

/// How much of the offered messages must be answered, whatever else is asked for.
const ACHIEVED: f64 = 0.99;

/// How long a rate is kept before it is measured, so that what the one before has left is gone.
const SETTLE_TIME: Duration = Duration::from_millis(300);

/// How long a trial is at most, however few messages there are for a percentile.
const LENGTH_MAX: Duration = Duration::from_secs(30);

/// What the search has found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Search {
    /// What was to be held.
    pub(crate) objectives: Vec<String>,
    /// Messages per second: the highest rate that was confirmed, if any was.
    pub(crate) highest: Option<f64>,
    /// The lowest rate that did not hold, if the search has met one.
    pub(crate) failed: Option<f64>,
    /// The client was not able to send more, or not on time: the server may be.
    pub(crate) is_client_limit: bool,
    pub(crate) steps: Vec<Step>,
}

/// A trial of the search.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Step {
    /// Messages per second, offered and answered.
    pub(crate) rate: f64,
    pub(crate) achieved: f64,
    pub(crate) response: Option<Summary>,
    pub(crate) is_held: bool,
    /// Why not, in words.
    pub(crate) reason: String,
    pub(crate) verdict: Verdict,
    /// Whether it was to confirm what had been found.
    pub(crate) confirms: bool,
}

/// Searches on connections that are open.
pub(crate) fn find<S: Sink>(trials: &mut Trials<'_, S>) -> Result<Search, String> {
    let plan = trials.plan();
    let mut search = Search {
        objectives: plan.run.find_max.iter().map(ToString::to_string).collect(),
        highest: None,
        failed: None,
        is_client_limit: false,
        steps: Vec::new(),
    };
    let first = plan.groups.first().and_then(|group| group.arguments.load.rate);
    let mut good: Option<f64> = None;
    let mut rate = first.unwrap_or(FIRST_RATE);
    while !plan.is_over() && rate < RATE_MAX {
        match search.holds(trials, rate)? {
            true => good = Some(rate),
            false => search.failed = Some(rate),
        }
        rate = match (good, search.failed) {
            (Some(good), Some(bad)) if is_known(good, bad) => break,
            (Some(good), Some(bad)) => (good * bad).sqrt(),
            (Some(good), None) => good * 2.0,
            (None, Some(bad)) if bad <= RATE_MIN => break,
            (None, _) => rate / 4.0,
        };
    }
    if let Some(good) = good {
        let known = Bounds { highest: None, failed: search.failed };
        let known = narrow(good, known, |rate| search.is_confirmed(trials, rate))?;
        (search.highest, search.failed) = (known.highest, known.failed);
    }
    let last_failed = search.steps.iter().rev().find(|step| !step.is_held);
    search.is_client_limit = last_failed.is_some_and(|step| step.verdict == Verdict::Invalid);
    Ok(search)
}

impl Search {
    /// Whether a rate holds in two of three trials.
    fn holds<S: Sink>(&mut self, trials: &mut Trials<'_, S>, rate: f64) -> Result<bool, String> {
        let (mut held, mut failed) = (0, 0);
        while held <= failed && failed < 2 {
            let (is_held, _) = self.attempt(trials, rate, trials.plan().run.probe, false)?;
            held += usize::from(is_held);
            failed += usize::from(!is_held);
            if trials.plan().is_over() {
                break;
            }
        }
        Ok(held > failed)
    }

    /// Whether most of several trials at full length hold a rate; `None` if the run is over. The
    /// results are those of the last one that held.
    fn is_confirmed<S: Sink>(
        &mut self,
        trials: &mut Trials<'_, S>,
        rate: f64,
    ) -> Result<Option<bool>, String> {
        let (repeats, duration) = (trials.plan().run.repeats.get(), trials.plan().duration);
        let mut held = Vec::new();
        for tried in 0..repeats {
            if trials.plan().is_over() {
                return Ok(None);
            }
            // Most have failed already.
            if 2 * (tried - held.len()) >= repeats {
                break;
            }
            let (is_held, trying) = self.attempt(trials, rate, duration, true)?;
            held.extend(is_held.then_some(trying));
        }
        let is_confirmed = 2 * held.len() > repeats;
        if let Some(trying) = held.pop().filter(|_| is_confirmed) {
            trials.keep(trying);
        }
        Ok(Some(is_confirmed))
    }

    /// A trial of so many seconds, and whether it holds the objectives.
    fn attempt<S: Sink>(
        &mut self,
        trials: &mut Trials<'_, S>,
        rate: f64,
        duration: Duration,
        confirms: bool,
    ) -> Result<(bool, Trying), String> {
        let plan = trials.plan();
        let needed = plan.run.find_max.iter().map(Threshold::times_needed).fold(0.0, f64::max);
        let duration = duration.max(LENGTH_MAX.min(Duration::from_secs_f64(1.1 * needed / rate)));
        let start = plan.now();
        let measure_from = start + SETTLE_TIME;
        let trial = Trial {
            start,
            measure_from,
            measure_until: measure_from + duration,
            rate: Some(rate),
            only: None,
        };
        let trying = trials.attempt(trial)?;
        let step = judge(plan, &trying, rate, confirms);
        let is_held = step.is_held;
        self.steps.push(step);
        Ok((is_held, trying))
    }
}

/// What is known of the rate that is searched for.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Bounds {
    /// The highest rate that was confirmed.
    highest: Option<f64>,
    /// The lowest that was not.
    failed: Option<f64>,
}

/// Whether the rate between these is known well enough.
fn is_known(good: f64, bad: f64) -> bool {
    // A step of this width is one after rounding, too.
    bad / good < 1.0001 * PRECISION
}

/// Tries a rate that was found; as long as none is confirmed, in larger and larger steps lower ones;
/// then those between. `is_confirmed` says `None` to end that.
fn narrow(
    found: f64,
    mut known: Bounds,
    mut is_confirmed: impl FnMut(f64) -> Result<Option<bool>, String>,
) -> Result<Bounds, String> {
    let (mut rate, mut step) = (found, PRECISION);
    while let Some(is_confirmed) = is_confirmed(rate)? {
        match is_confirmed {
            true => known.highest = Some(rate),
            false => known.failed = Some(rate),
        }
        rate = match (known.highest, known.failed) {
            (_, None) => break,
            (Some(good), Some(bad)) if is_known(good, bad) => break,
            (Some(good), Some(bad)) => (good * bad).sqrt(),
            (None, Some(bad)) if bad <= RATE_MIN => break,
            (None, Some(bad)) => bad / step,
        };
        step *= step;
    }
    Ok(known)
}

/// What a trial at a rate was worth.
fn judge(plan: &Plan, trying: &Trying, rate: f64, confirms: bool) -> Step {
    let Trying { trial, tally, .. } = trying;
    let (from, until) = plan.window(trial);
    let groups: Vec<Group> = plan.groups.iter().map(|group| group.describe(trial)).collect();
    let (verdict, reasons) = Evidence::new(&groups, tally, trying.meanwhile()).judge();
    let total = tally.total();
    let achieved = total.response.count() as f64 / (until - from).as_secs_f64().max(1e-9);
    let mut reason = match verdict {
        Verdict::Invalid => {
            let worst = reasons.iter().find(|(verdict, _)| *verdict == Verdict::Invalid);
            worst.map_or_else(String::new, |(_, text)| text.clone())
        }
        _ if total.echoes == 0 => "nothing was answered".into(),
        _ if (total.echoes as f64) < ACHIEVED * total.due as f64 => {
            format!("{} of {} messages were answered in time", total.echoes, total.due)
        }
        _ => String::new(),
    };
    if reason.is_empty() {
        reason = broken(plan, tally, until - from).unwrap_or_default();
    }
    Step {
        rate,
        achieved,
        response: Summary::of(&total.response),
        is_held: reason.is_empty(),
        reason,
        verdict,
        confirms,
    }
}

/// The first objective that is not held, with what was measured.
fn broken(plan: &Plan, tally: &Tally, time: Duration) -> Option<String> {
    let names: Vec<String> = plan.groups.iter().map(|group| group.name.clone()).collect();
    let total = tally.total();
    let measured = Measured {
        names: &names,
        groups: &tally.groups,
        total: &total,
        time,
        server: None,
        client_cpu: Some(tally.cpu),
    };
    let judged = plan.run.find_max.iter().map(|objective: &Threshold| objective.judge(&measured));
    let broken = judged.into_iter().find(|judged| !judged.is_held)?;
    Some(format!("{}: {}", broken.threshold, broken.measured))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is known when all rates up to one hold, and in how many tries.
    fn narrowed(found: f64, holds: f64) -> (Bounds, usize) {
        let mut tries = 0;
        let known = Bounds { highest: None, failed: Some(1.04 * found) };
        let known = narrow(found, known, |rate| {
            tries += 1;
            Ok(Some(rate <= holds))
        });
        (known.unwrap(), tries)
    }

    #[test]
    fn what_is_confirmed_at_once_is_not_tried_again() {
        let known = Bounds { highest: Some(1000.0), failed: Some(1040.0) };
        assert_eq!(narrowed(1000.0, 1000.0), (known, 1));
    }

    #[test]
    fn what_was_found_by_luck_is_lowered_until_it_holds() {
        for holds in [990.0, 950.0, 800.0, 500.0, 100.0, 30.0] {
            let (Bounds { highest, failed }, tries) = narrowed(1000.0, holds);
            let (highest, failed) = (highest.unwrap(), failed.unwrap());
            assert!(highest <= holds && holds < failed && is_known(highest, failed), "{holds}");
            assert!(tries <= 14, "{holds}: {tries}");
        }
    }

    #[test]
    fn the_search_ends_when_nothing_holds_and_when_the_run_is_over() {
        let (known, tries) = narrowed(1000.0, 0.0);
        assert!(known.highest.is_none() && tries < 12, "{known:?} {tries}");
        let known = Bounds { highest: None, failed: Some(7.0) };
        assert_eq!(narrow(5.0, known, |_| Ok(None)), Ok(known));
    }
}
