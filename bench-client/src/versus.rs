//! `--versus`: two servers driven in turn, in short slices over connections that stay open, so that
//! whatever else happens to the machine happens to both.
//!
//! A slice begins when the one before has been answered. In each round both have one, in random
//! order, and the round gives one ratio of each figure. Their median has an interval from
//! `statistics.rs`.

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};

use crate::{
    measure::{probe::Probe, stats::Tally},
    plan::{Plan, Trial},
    series::Sink,
    statistics::{self, median},
    trials::{Trials, Trying},
    units::percent,
};

/// Differences that are not larger than this are not told: two processes of the same program have as
/// much, for their memory lies elsewhere.
const IRRELEVANT: f64 = 0.005;

/// With fewer rounds nothing is said.
const ROUNDS_MIN: usize = 10;

/// Load before a slice counts.
const SETTLE_TIME: Duration = Duration::from_millis(5);

/// How two servers compare.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Versus {
    pub(crate) urls: [String; 2],
    pub(crate) rounds: usize,
    pub(crate) rows: Vec<Row>,
    /// What it comes to, in words.
    pub(crate) conclusion: String,
}

/// A figure of both servers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) unit: String,
    /// The medians over all slices.
    pub(crate) values: [f64; 2],
    /// The second by the first: the median of all rounds, and its interval.
    pub(crate) ratio: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// Whether the interval leaves out 1, and what is near to it.
    pub(crate) is_real: bool,
}

/// What a server has done in a slice.
#[derive(Clone, Debug, Default)]
struct Slice {
    rate: f64,
    p50: f64,
    p90: f64,
    p99: Option<f64>,
    cpu: Option<f64>,
}

/// Drives both groups in turn, for as long as a run is to last.
pub(crate) fn compare<S: Sink>(
    trials: &mut Trials<'_, S>,
    servers: &[Probe; 2],
) -> Result<Versus, String> {
    let plan = trials.plan();
    let mut rng = StdRng::seed_from_u64(plan.seed);
    for group in [0, 1, 0, 1] {
        // The first messages of a connection cost more than the others.
        slice(trials, group, servers, plan.warm_up / 4)?;
    }
    let mut rounds: Vec<[Slice; 2]> = Vec::new();
    let mut all: Option<Trying> = None;
    let until = plan.now() + plan.duration;
    while plan.now() < until && !plan.is_over() {
        let mut round = [Slice::default(), Slice::default()];
        let first = usize::from(rng.random::<bool>());
        for group in [first, 1 - first] {
            let (found, trying) = slice(trials, group, servers, plan.run.slice)?;
            round[group] = found;
            match &mut all {
                None => all = Some(trying),
                Some(all) => all.join(&trying),
            }
        }
        if !plan.is_over() {
            rounds.push(round);
        }
    }
    all.into_iter().for_each(|all| trials.keep(all));
    let urls = [0, 1].map(|group| plan.groups[group].target.url.clone());
    Ok(Versus::of(urls, &rounds, &mut rng))
}

/// A slice of one group, until all is answered.
fn slice<S: Sink>(
    trials: &mut Trials<'_, S>,
    group: usize,
    servers: &[Probe; 2],
    length: Duration,
) -> Result<(Slice, Trying), String> {
    let plan: &Plan = trials.plan();
    let before = servers[group].times();
    let start = plan.now();
    let measure_from = start + SETTLE_TIME;
    let measure_until = measure_from + length;
    let trial = Trial { start, measure_from, measure_until, rate: None, only: Some(group) };
    let trying = trials.attempt(trial)?;
    let both = servers[group].times().zip(before);
    let used = both.map(|(after, before)| after.since(&before).total());
    Ok((Slice::of(&trying.tally, group, length, used), trying))
}

impl Slice {
    fn of(tally: &Tally, group: usize, length: Duration, cpu: Option<Duration>) -> Self {
        let Some(stats) = tally.groups.get(group) else { return Self::default() };
        let seconds = |time: Duration| time.as_secs_f64();
        let p99 = stats.response.quantile(0.99).map(|bound| seconds(bound.time));
        Self {
            rate: stats.echoes as f64 / seconds(length).max(1e-9),
            p50: seconds(stats.response.at(0.5).time),
            p90: seconds(stats.response.at(0.9).time),
            p99,
            cpu: cpu.filter(|_| stats.all > 0).map(|cpu| seconds(cpu) / stats.all as f64),
        }
    }
}

/// A figure's name, its unit, what makes seconds that, and its value in a slice.
type Figure = (&'static str, &'static str, f64, fn(&Slice) -> Option<f64>);

impl Versus {
    fn of(urls: [String; 2], rounds: &[[Slice; 2]], rng: &mut StdRng) -> Self {
        let figures: [Figure; 5] = [
            ("throughput", "/s", 1.0, |slice| Some(slice.rate)),
            ("p50", "us", 1e6, |slice| Some(slice.p50)),
            ("p90", "us", 1e6, |slice| Some(slice.p90)),
            ("p99", "us", 1e6, |slice| slice.p99),
            ("server CPU", "us", 1e6, |slice| slice.cpu),
        ];
        let samples = figures.map(|(name, unit, scale, figure)| {
            let pairs =
                rounds.iter().filter_map(|[one, other]| Some([figure(one)?, figure(other)?]));
            let pairs = pairs.filter(|pair| pair.iter().all(|value| *value > 0.0));
            (name, unit, scale, pairs.collect::<Vec<_>>())
        });
        let known = samples.iter().filter(|(.., pairs)| pairs.len() >= ROUNDS_MIN).count();
        let error = statistics::error(known);
        let rows = samples.into_iter().filter(|(.., pairs)| pairs.len() >= ROUNDS_MIN);
        let rows: Vec<Row> = rows
            .map(|(name, unit, scale, pairs)| Row::of(name, unit, scale, &pairs, error, rng))
            .collect();
        let conclusion = conclude(&rows, rounds.len());
        Self { urls, rounds: rounds.len(), rows, conclusion }
    }
}

impl Row {
    fn of(
        name: &str,
        unit: &str,
        scale: f64,
        pairs: &[[f64; 2]],
        error: f64,
        rng: &mut StdRng,
    ) -> Self {
        let ratios: Vec<f64> = pairs.iter().map(|[one, other]| other / one).collect();
        let (low, high) = statistics::interval(error, rng, |rng| {
            let pick = |_| ratios[rng.random_range(0..ratios.len())];
            median((0..ratios.len()).map(pick).collect())
        });
        let values =
            [0, 1].map(|server| scale * median(pairs.iter().map(|pair| pair[server]).collect()));
        Self {
            name: name.into(),
            unit: unit.into(),
            values,
            ratio: median(ratios),
            low,
            high,
            is_real: low > 1.0 + IRRELEVANT || high < 1.0 - IRRELEVANT,
        }
    }
}

/// Whether there is a difference, in a sentence.
fn conclude(rows: &[Row], rounds: usize) -> String {
    if rows.is_empty() {
        return format!("{rounds} rounds are too few to say anything: measure for longer (-d).");
    }
    let real: Vec<String> = rows.iter().filter(|row| row.is_real).map(Row::describe).collect();
    if real.is_empty() {
        let most: Vec<String> = rows.iter().map(Row::describe_most).collect();
        return format!("No difference was found. There may be one of up to {}.", most.join(", "));
    }
    format!("The difference is real: the second server has {}.", real.join(", "))
}

impl Row {
    fn describe(&self) -> String {
        let (change, word) = match self.ratio > 1.0 {
            true => (self.ratio - 1.0, "higher"),
            false => (1.0 - self.ratio, "lower"),
        };
        format!("{} {} {word}", self.name, percent(change))
    }

    /// How large a difference may be that was not found.
    fn describe_most(&self) -> String {
        let most = (self.high - 1.0).max(1.0 - self.low);
        format!("{} in {}", percent(most), self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noisy(rng: &mut StdRng, factor: f64) -> Vec<[Slice; 2]> {
        (0..100)
            .map(|_| {
                // The machine's speed changes by a third, for both of a round.
                let speed = 1.0 + rng.random::<f64>() / 3.0;
                let mut slice = |factor: f64| {
                    let value = speed * factor * (1.0 + 0.1 * (rng.random::<f64>() - 0.5));
                    Slice { rate: 1e5 / value, p50: value, p90: value, p99: None, cpu: Some(value) }
                };
                [slice(1.0), slice(factor)]
            })
            .collect()
    }

    #[test]
    fn a_difference_is_found_and_none_is_not() {
        let mut rng = StdRng::seed_from_u64(3);
        let urls = || ["ws://one".to_owned(), "ws://two".to_owned()];
        let (mut wrong, mut found) = (0, 0);
        for _ in 0..20 {
            let same = Versus::of(urls(), &noisy(&mut rng, 1.0), &mut rng);
            wrong += usize::from(same.rows.iter().any(|row| row.is_real));
            let slower = Versus::of(urls(), &noisy(&mut rng, 1.05), &mut rng);
            found += usize::from(slower.rows.iter().any(|row| row.is_real));
        }
        assert!(wrong <= 4 && found == 20, "{wrong} {found}");
    }

    #[test]
    fn what_it_comes_to_is_said_in_a_sentence() {
        let mut rng = StdRng::seed_from_u64(4);
        let urls = || ["ws://one".to_owned(), "ws://two".to_owned()];
        let slower = Versus::of(urls(), &noisy(&mut rng, 1.05), &mut rng);
        assert!(slower.conclusion.starts_with("The difference is real: "), "{}", slower.conclusion);
        let same = Versus::of(urls(), &noisy(&mut rng, 1.0), &mut rng);
        let start = "No difference was found. There may be one of up to ";
        assert!(same.conclusion.starts_with(start), "{}", same.conclusion);
        assert!(same.conclusion.ends_with(" % in server CPU."), "{}", same.conclusion);
        let few = Versus::of(urls(), &noisy(&mut rng, 1.0)[..5], &mut rng);
        assert!(few.conclusion.contains("too few"), "{}", few.conclusion);
    }
}
