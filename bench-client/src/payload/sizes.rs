//! How long payloads are: all the same, or spread in one of several ways.

use std::fmt;

use crate::units::{count, size};

/// An exponential distribution is cut at so many times its mean, beyond which one in nine million
/// would lie.
const MEANS_MAX: usize = 16;

/// The sizes of payloads, in bytes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Sizes {
    Constant(usize),
    /// Any from the first to the second.
    Uniform(usize, usize),
    /// With this mean.
    Exponential(usize),
    /// Each with the share of the messages that have it or one before it.
    Weighted(Vec<(usize, f64)>),
}

impl Sizes {
    /// Reads `20`, `16-4k`, `exp:1k` or `64:80,16k:20`.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        if let Some(mean) = text.strip_prefix("exp:") {
            return Ok(Self::Exponential(size(mean)?));
        }
        if text.contains(':') {
            return Self::read_weighted(text);
        }
        match text.split_once('-') {
            None => Ok(Self::Constant(size(text)?)),
            Some((least, most)) => {
                let (least, most) = (size(least)?, size(most)?);
                let is_range = least <= most;
                is_range
                    .then_some(Self::Uniform(least, most))
                    .ok_or_else(|| "not a range: give the smaller size first".into())
            }
        }
    }

    fn read_weighted(text: &str) -> Result<Self, String> {
        let mut sizes = Vec::new();
        let mut sum = 0.0;
        for part in text.split(',') {
            let wrong = || format!("{part} is not SIZE:WEIGHT");
            let (bytes, weight) = part.split_once(':').ok_or_else(wrong)?;
            let weight = weight.parse().ok().filter(|weight: &f64| *weight > 0.0);
            sum += weight.filter(|weight| weight.is_finite()).ok_or_else(wrong)?;
            sizes.push((size(bytes)?, sum));
        }
        sizes.iter_mut().for_each(|(_, share)| *share /= sum);
        Ok(Self::Weighted(sizes))
    }

    /// The size that belongs to a random number.
    pub(crate) fn of(&self, random: u64) -> usize {
        // In [0, 1).
        let part = || (random >> 11) as f64 / (1u64 << 53) as f64;
        match self {
            Self::Constant(bytes) => *bytes,
            Self::Uniform(least, most) => {
                let sizes = (most - least) as u128 + 1;
                least + ((u128::from(random) * sizes) >> 64) as usize
            }
            Self::Exponential(mean) => {
                let bytes = -(1.0 - part()).ln() * *mean as f64;
                (bytes.round() as usize).min(self.largest())
            }
            Self::Weighted(sizes) => {
                let part = part();
                let found = sizes.iter().find(|(_, share)| part < *share).or_else(|| sizes.last());
                found.map_or(0, |(bytes, _)| *bytes)
            }
        }
    }

    pub(crate) fn smallest(&self) -> usize {
        match self {
            Self::Constant(bytes) | Self::Uniform(bytes, _) => *bytes,
            Self::Exponential(_) => 0,
            Self::Weighted(sizes) => sizes.iter().map(|(bytes, _)| *bytes).min().unwrap_or(0),
        }
    }

    pub(crate) fn largest(&self) -> usize {
        match self {
            Self::Constant(bytes) | Self::Uniform(_, bytes) => *bytes,
            Self::Exponential(mean) => mean.saturating_mul(MEANS_MAX),
            Self::Weighted(sizes) => sizes.iter().map(|(bytes, _)| *bytes).max().unwrap_or(0),
        }
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant(bytes) => write!(f, "{bytes} B"),
            Self::Uniform(least, most) => write!(f, "{least} to {most} B"),
            Self::Exponential(mean) => write!(f, "exponential {mean} B"),
            Self::Weighted(sizes) => {
                let mut before = 0.0;
                for (place, (bytes, share)) in sizes.iter().enumerate() {
                    let separator = if place > 0 { " or " } else { "" };
                    let percent = count((share - before) * 100.0);
                    write!(f, "{separator}{bytes} B ({percent} %)")?;
                    before = *share;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    fn drawn(text: &str) -> (Sizes, Vec<usize>) {
        let sizes = Sizes::read(text).unwrap();
        let mut rng = StdRng::seed_from_u64(7);
        let drawn = (0..100_000).map(|_| sizes.of(rng.next_u64())).collect();
        (sizes, drawn)
    }

    #[test]
    fn sizes_are_spread_as_they_are_written() {
        let mean = |sizes: &[usize]| sizes.iter().sum::<usize>() as f64 / sizes.len() as f64;
        for (text, expected, words) in [
            ("20", 20.0, "20 B"),
            ("16-4k", 2056.0, "16 to 4096 B"),
            ("exp:1k", 1024.0, "exponential 1024 B"),
            ("64:80,16k:20", 3328.0, "64 B (80 %) or 16384 B (20 %)"),
        ] {
            let (sizes, drawn) = drawn(text);
            assert_eq!(sizes.to_string(), words);
            assert!((mean(&drawn) / expected - 1.0).abs() < 0.02, "{text}: {}", mean(&drawn));
            assert!(drawn.iter().min() >= Some(&sizes.smallest()));
            assert!(drawn.iter().max() <= Some(&sizes.largest()));
        }
        let (_, drawn) = drawn("1-2");
        assert_eq!((drawn.iter().min(), drawn.iter().max()), (Some(&1), Some(&2)));
    }

    #[test]
    fn both_ends_of_the_random_numbers_have_a_size() {
        for text in ["0", "3-9", "exp:5", "exp:0", "1:1,2:1"] {
            let sizes = Sizes::read(text).unwrap();
            for random in [0, u64::MAX] {
                let range = sizes.smallest()..=sizes.largest();
                assert!(range.contains(&sizes.of(random)), "{text}");
            }
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "-", "9-3", "exp:", "exp:x", "64", "64:,1:1", "64:0", "64:-1", "1:1,2"] {
            let is_size = text == "64";
            assert_eq!(Sizes::read(text).is_ok(), is_size, "{text}");
        }
    }
}
