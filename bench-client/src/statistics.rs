//! What samples say about the figures behind them: medians, and intervals from the bootstrap (Efron
//! and Tibshirani, An Introduction to the Bootstrap, chapters 6, 8 and 13).

use std::f64::consts::{FRAC_PI_2, PI};

use rand::{RngExt, rngs::StdRng};
use serde::{Deserialize, Serialize};

/// How many resamples an interval is from.
pub(crate) const RESAMPLES: usize = 4000;

/// How sure intervals are, all figures together: Bonferroni's correction shares it out.
pub(crate) const CONFIDENCE: f64 = 0.95;

/// The share of resamples that may lie outside the interval of each of so many figures.
pub(crate) fn error(figures: usize) -> f64 {
    (1.0 - CONFIDENCE) / figures.max(1) as f64
}

/// The interval in which a figure lies but for a share of `error`, from what it is in resamples.
pub(crate) fn interval(
    error: f64,
    rng: &mut StdRng,
    mut resample: impl FnMut(&mut StdRng) -> f64,
) -> (f64, f64) {
    let mut figures: Vec<f64> = (0..RESAMPLES).map(|_| resample(rng)).collect();
    figures.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| figures[((RESAMPLES - 1) as f64 * share).round() as usize];
    (at(error / 2.0), at(1.0 - error / 2.0))
}

/// The middle of at least one value.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    let (middle, is_even) = (values.len() / 2, values.len().is_multiple_of(2));
    let (below, middle, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    let middle = *middle;
    match below.iter().copied().max_by(f64::total_cmp) {
        Some(last) if is_even => f64::midpoint(last, middle),
        _ => middle,
    }
}

/// How far off a time may be: histograms keep three digits.
const ROUNDING: f64 = 5e-4;

/// Which mean of its samples a figure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mean {
    /// Of what adds up, such as echoes.
    Arithmetic,
    /// Of times: one bad second is not all that counts, and none is lost as in a median.
    Geometric,
}

/// The mean of the samples of one or several runs, and how sure it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Centre {
    /// Its logarithm, and the variance of that.
    log: f64,
    variance: f64,
    /// By how many independent samples that variance is known, but for one.
    freedom: f64,
    /// How much of it may be the rounding of each sample.
    rounding: f64,
}

/// A figure by another, and the interval in which that lies.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ratio {
    pub(crate) ratio: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Centre {
    /// The mean of positive samples: for each run, those of its seconds in their order. `None` if
    /// there are too few to tell how sure it is.
    ///
    /// Seconds that follow one another are alike, and so are those of a run: what is drawn again are
    /// runs, and in them blocks of seconds. The bootstrap takes the variance of few units too small
    /// by one of them.
    pub(crate) fn of(runs: &[Vec<f64>], mean: Mean, rng: &mut StdRng) -> Option<Self> {
        let mut runs: Vec<Vec<f64>> = runs.iter().filter(|run| !run.is_empty()).cloned().collect();
        let units = match &runs[..] {
            [] => 0.0,
            [run] => run.len() as f64 / block_length(run.len()) as f64,
            runs => runs.len() as f64,
        };
        if units < 2.0 || runs.iter().flatten().any(|value| *value <= 0.0) {
            return None;
        }
        if mean == Mean::Geometric {
            runs.iter_mut().flatten().for_each(|value| *value = value.ln());
        }
        let log = |(sum, count): (f64, usize)| match mean {
            Mean::Arithmetic => (sum / count as f64).ln(),
            Mean::Geometric => sum / count as f64,
        };
        let whole = (runs.iter().flatten().sum(), runs.iter().map(Vec::len).sum());
        let logs: Vec<f64> = (0..RESAMPLES).map(|_| log(resample(&runs, rng))).collect();
        let middle = logs.iter().sum::<f64>() / RESAMPLES as f64;
        let squares: f64 = logs.iter().map(|log| (log - middle).powi(2)).sum();
        let variance = squares / RESAMPLES as f64 * units / (units - 1.0);
        let rounding = if mean == Mean::Geometric { ROUNDING } else { 0.0 };
        Some(Self { log: log(whole), variance, freedom: units - 1.0, rounding })
    }

    /// The other by this one, in an interval that leaves out a share of `error`. The degrees of
    /// freedom are Welch's.
    pub(crate) fn compare(&self, other: &Self, error: f64) -> Ratio {
        let variance = self.variance + other.variance;
        let share = |side: &Self| side.variance.powi(2) / side.freedom;
        let shares = share(self) + share(other);
        let freedom = if shares > 0.0 { variance.powi(2) / shares } else { 1.0 };
        let chance = student(1.0 - error / 2.0, freedom) * variance.sqrt();
        let width = chance + self.rounding + other.rounding;
        let log = other.log - self.log;
        Ratio { ratio: log.exp(), low: (log - width).exp(), high: (log + width).exp() }
    }
}

impl Ratio {
    /// Whether the interval leaves 1 out.
    pub(crate) fn is_real(&self) -> bool {
        self.low > 1.0 || self.high < 1.0
    }
}

/// How many seconds make a block: longer ones keep more of what binds seconds together, and are
/// fewer.
fn block_length(seconds: usize) -> usize {
    (seconds as f64).cbrt().round().max(1.0) as usize
}

/// The sum of what is drawn again, and of how many. A block that begins at the end of a run goes on
/// at its start, so that each second is drawn as often as the others.
fn resample(runs: &[Vec<f64>], rng: &mut StdRng) -> (f64, usize) {
    let (mut sum, mut count) = (0.0, 0);
    for _ in runs {
        let run = &runs[rng.random_range(0..runs.len())];
        let length = block_length(run.len());
        for place in 0..run.len() {
            if place % length == 0 {
                let start = rng.random_range(0..run.len());
                let block = length.min(run.len() - place);
                sum += (start..start + block).map(|second| run[second % run.len()]).sum::<f64>();
            }
        }
        count += run.len();
    }
    (sum, count)
}

/// What a variable with Student's distribution is not above, with that probability above one half.
///
/// As `sqrt(freedom) * tan(angle)` it has the density `cos(angle)^(freedom - 1)`, which is added up
/// from the middle.
fn student(probability: f64, freedom: f64) -> f64 {
    const STEPS: usize = 100_000;
    let angle = |step: usize| (step as f64 + 0.5) / STEPS as f64 * FRAC_PI_2;
    let density = |step: usize| angle(step).cos().powf(freedom - 1.0);
    let half: f64 = (0..STEPS).map(density).sum();
    let mut left = (2.0 * probability - 1.0) * half;
    let reached = (0..STEPS).find(|step| {
        left -= density(*step);
        left <= 0.0
    });
    let reached = reached.map_or(FRAC_PI_2, angle).min(FRAC_PI_2 - PI / STEPS as f64);
    freedom.sqrt() * reached.tan()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_two() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(vec![7.0]), 7.0);
    }

    /// Seconds of which each is a little like the one before, and of a run that is a little like
    /// no other.
    fn run(rng: &mut StdRng, factor: f64, between: f64) -> Vec<f64> {
        let mut noise = |width: f64| width * (rng.random::<f64>() - 0.5);
        let base = factor * (1.0 + noise(between));
        let mut drift = 0.0;
        let mut second = |_| {
            drift = 0.4 * drift + noise(0.1);
            base * (1.0 + drift)
        };
        (0..20).map(&mut second).collect()
    }

    /// How often of a hundred times a difference is seen.
    fn seen(runs: usize, factor: f64, between: f64) -> usize {
        let mut rng = StdRng::seed_from_u64(5);
        let mut side = |factor| {
            let runs: Vec<_> = (0..runs).map(|_| run(&mut rng, factor, between)).collect();
            Centre::of(&runs, Mean::Geometric, &mut rng).unwrap()
        };
        (0..100).filter(|_| side(1.0).compare(&side(factor), 0.05).is_real()).count()
    }

    #[test]
    fn a_difference_is_seen_and_none_is_not() {
        assert!(seen(1, 1.0, 0.0) <= 10);
        assert!(seen(1, 1.1, 0.0) >= 95);
        // One run on each side takes what changes from run to run for a difference; four do not.
        assert!(seen(1, 1.0, 0.2) >= 30);
        assert!(seen(4, 1.0, 0.2) <= 10);
        assert!(seen(4, 1.3, 0.2) >= 95);
    }

    #[test]
    fn too_few_samples_say_nothing() {
        let mut rng = StdRng::seed_from_u64(6);
        for runs in [vec![], vec![vec![]], vec![vec![1.0]], vec![vec![1.0; 3], vec![0.0]]] {
            assert_eq!(Centre::of(&runs, Mean::Arithmetic, &mut rng), None, "{runs:?}");
        }
        let same = Centre::of(&[vec![2.0; 10]], Mean::Arithmetic, &mut rng).unwrap();
        assert!(!same.compare(&same, 0.05).is_real());
    }

    #[test]
    fn times_that_are_rounded_differently_are_not_different() {
        let mut rng = StdRng::seed_from_u64(7);
        let mut always = |time| Centre::of(&[vec![time; 10]], Mean::Geometric, &mut rng).unwrap();
        let (one, next, other) = (always(2000.0), always(2001.0), always(2010.0));
        assert!(!one.compare(&next, 0.05).is_real());
        assert!(one.compare(&other, 0.05).is_real());
    }

    #[test]
    fn students_distribution_has_the_values_of_the_tables() {
        for (probability, freedom, expected) in
            [(0.975, 1.0, 12.706), (0.975, 4.0, 2.776), (0.995, 9.0, 3.250), (0.975, 1e4, 1.960)]
        {
            let found = student(probability, freedom);
            assert!((found / expected - 1.0).abs() < 0.003, "{probability} {freedom}: {found}");
        }
    }

    #[test]
    fn an_interval_leaves_its_error_out() {
        let mut rng = StdRng::seed_from_u64(1);
        let (low, high) = interval(0.1, &mut rng, |rng| rng.random::<f64>());
        assert!((0.03..0.07).contains(&low) && (0.93..0.97).contains(&high), "{low} {high}");
    }
}
