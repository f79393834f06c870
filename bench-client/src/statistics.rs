//! What samples say about the figures behind them: medians, and intervals from the bootstrap (Efron
//! and Tibshirani, An Introduction to the Bootstrap, chapter 13).

use rand::rngs::StdRng;

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

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};

    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_two() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(vec![7.0]), 7.0);
    }

    #[test]
    fn an_interval_leaves_its_error_out() {
        let mut rng = StdRng::seed_from_u64(1);
        let (low, high) = interval(0.1, &mut rng, |rng| rng.random::<f64>());
        assert!((0.03..0.07).contains(&low) && (0.93..0.97).contains(&high), "{low} {high}");
    }
}
