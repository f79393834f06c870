//! Medians, and how sure they are.

use serde::Serialize;

/// Samples of the bootstrap, and the seed that makes it the same each time.
const RESAMPLES: usize = 4000;
const SEED: u64 = 0x5eed;

/// A median with the interval that holds it with 95 %.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Estimate {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// The median of the ratios of two servers' figures, round by round.
///
/// The speed of the machine drifts from round to round, and so do both figures of a round; their
/// ratio does not.
pub(crate) fn ratio(figures: &[f64], baseline: &[f64]) -> Estimate {
    let ratios: Vec<f64> = figures.iter().zip(baseline).map(|(one, other)| one / other).collect();
    estimate(&ratios)
}

/// The median of all, and its interval by resampling: what other rounds might have given.
pub(crate) fn estimate(values: &[f64]) -> Estimate {
    let mut random = fastrand::Rng::with_seed(SEED);
    let mut medians: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let mut sample: Vec<f64> =
                values.iter().map(|_| values[random.usize(..values.len())]).collect();
            median_of(&mut sample)
        })
        .collect();
    medians.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let index = (share * (RESAMPLES - 1) as f64).round() as usize;
        medians.get(index).copied().unwrap_or(f64::NAN)
    };
    Estimate { median: median(values), low: at(0.025), high: at(0.975) }
}

/// The value that half of all are not above; not a number if there is none.
pub(crate) fn median(values: &[f64]) -> f64 {
    median_of(&mut values.to_vec())
}

fn median_of(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        length if length.is_multiple_of(2) => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&[7.0]), 7.0);
        assert!(median(&[]).is_nan());
        assert!(estimate(&[]).median.is_nan());
    }

    #[test]
    fn a_drift_that_both_share_is_not_seen() {
        let drift = [1.0, 1.3, 0.8, 1.1, 0.9, 1.2, 1.0];
        let baseline: Vec<f64> = drift.iter().map(|speed| 5.0 * speed).collect();
        let other: Vec<f64> = drift.iter().map(|speed| 4.0 * speed).collect();
        let Estimate { median, low, high } = ratio(&other, &baseline);
        for value in [median, low, high] {
            assert!((value - 0.8).abs() < 1e-12, "{value}");
        }
    }

    #[test]
    fn the_median_of_ratios_is_not_the_ratio_of_medians() {
        let estimate = ratio(&[1.0, 20.0, 9.0], &[1.0, 10.0, 3.0]);
        assert_eq!(estimate.median, 2.0);
        assert_eq!((estimate.low, estimate.high), (1.0, 3.0));
    }

    #[test]
    fn the_interval_narrows_with_more_rounds_and_is_the_same_each_time() {
        let mut random = fastrand::Rng::with_seed(1);
        let noise: Vec<f64> = (0..400).map(|_| 0.9 + 0.2 * random.f64()).collect();
        let (few, many) = (estimate(&noise[..20]), estimate(&noise));
        assert!(many.high - many.low < few.high - few.low);
        assert!(many.low <= many.median && many.median <= many.high);
        assert!((many.low..=many.high).contains(&1.0), "{many:?}");
        assert_eq!(many, estimate(&noise));
    }
}
