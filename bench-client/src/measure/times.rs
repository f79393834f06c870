//! Times with their distribution: an HdrHistogram, and what messages without an answer do to it.

use std::{io::Cursor, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use hdrhistogram::{
    Histogram,
    serialization::{Deserializer as HistogramReader, Serializer as _, V2DeflateSerializer},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Times are kept to so many significant digits.
const DIGITS: u8 = 3;

/// The longest time, in nanoseconds; those above are counted as this.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ages {
    pub(crate) count: u64,
    #[serde(rename = "least_ns", with = "nanos")]
    pub(crate) least: Duration,
    #[serde(rename = "most_ns", with = "nanos")]
    pub(crate) most: Duration,
}

/// A time, or what it is at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    pub(crate) time: Duration,
    pub(crate) is_exact: bool,
}

impl Default for Times {
    fn default() -> Self {
        Self::new()
    }
}

impl Times {
    pub(crate) fn new() -> Self {
        // It grows with the largest time: most are never used.
        let times = Histogram::new(DIGITS);
        Self { times: times.expect("the precision is a constant"), unanswered: None }
    }

    pub(crate) fn record(&mut self, time: Duration) {
        let nanos = (time.as_nanos() as u64).clamp(1, LATENCY_MAX);
        self.times.record(nanos).expect("it grows");
    }

    /// Records the age of a message that was not answered.
    pub(crate) fn record_unanswered(&mut self, age: Duration) {
        self.record(age);
        self.add_ages(Ages { count: 1, least: age, most: age });
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.times.add(&other.times).expect("it grows");
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

    /// The shortest time.
    pub(crate) fn min(&self) -> Bound {
        let time = Duration::from_nanos(self.times.min());
        Bound { time, is_exact: self.unanswered.is_none_or(|ages| time < ages.least) }
    }

    pub(crate) fn mean(&self) -> Bound {
        let time = Duration::from_nanos(self.times.mean() as u64);
        Bound { time, is_exact: self.unanswered.is_none() }
    }

    /// The times in nanoseconds, to the histogram's precision, and how often each came.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.times.iter_recorded().map(|time| (time.value_iterated_to(), time.count_at_value()))
    }

    /// The histogram of all times, in nanoseconds, for writers of its own formats.
    pub(crate) fn histogram(&self) -> &Histogram<u64> {
        &self.times
    }

    /// The histogram as HdrHistogram's tools read it: V2, compressed, in base64.
    pub(crate) fn encode(&self) -> String {
        let mut bytes = Vec::new();
        V2DeflateSerializer::new().serialize(&self.times, &mut bytes).expect("a vector takes all");
        BASE64_STANDARD.encode(bytes)
    }
}

/// A duration as a number of nanoseconds.
pub(crate) mod nanos {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        (time.as_nanos() as u64).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_nanos)
    }
}

/// What is written of [`Times`]: the figures that people look for, and the histogram from which
/// all of it can be read again, as HdrHistogram's own tools encode it (V2, compressed, base64).
/// Times are in nanoseconds; those of which it is only known what they are at least are not among
/// the percentiles, and `None` is one with fewer than ten times above it.
#[derive(Serialize, Deserialize)]
struct Written {
    count: u64,
    min_ns: u64,
    mean_ns: f64,
    stdev_ns: f64,
    p50_ns: Option<u64>,
    p90_ns: Option<u64>,
    p95_ns: Option<u64>,
    p99_ns: Option<u64>,
    p99_9_ns: Option<u64>,
    p99_99_ns: Option<u64>,
    max_ns: u64,
    unanswered: Option<Ages>,
    histogram: String,
}

impl Serialize for Times {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let quantile = |share| self.quantile(share).map(|bound| bound.time.as_nanos() as u64);
        Written {
            count: self.count(),
            min_ns: if self.count() == 0 { 0 } else { self.times.min() },
            mean_ns: self.times.mean(),
            stdev_ns: self.times.stdev(),
            p50_ns: quantile(0.5),
            p90_ns: quantile(0.9),
            p95_ns: quantile(0.95),
            p99_ns: quantile(0.99),
            p99_9_ns: quantile(0.999),
            p99_99_ns: quantile(0.9999),
            max_ns: self.times.max(),
            unanswered: self.unanswered,
            histogram: self.encode(),
        }
        .serialize(to)
    }
}

impl<'de> Deserialize<'de> for Times {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let Written { unanswered, histogram, .. } = Written::deserialize(from)?;
        let bytes = BASE64_STANDARD.decode(histogram).map_err(de::Error::custom)?;
        let read: Histogram<u64> = HistogramReader::new()
            .deserialize(&mut Cursor::new(bytes))
            .map_err(de::Error::custom)?;
        // What another precision or a fixed maximum would make of later times is not ours to say.
        let mut times = Self::new();
        times.times.add(read).map_err(de::Error::custom)?;
        times.unanswered = unanswered;
        Ok(times)
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
    fn times_are_read_as_they_were_written() {
        let mut times = Times::new();
        times.record(Duration::from_micros(17));
        times.record_unanswered(Duration::from_secs(3));
        let text = serde_json::to_string(&times).unwrap();
        let read: Times = serde_json::from_str(&text).unwrap();
        assert_eq!(read.histogram(), times.histogram());
        assert_eq!(read.unanswered(), times.unanswered());
        let empty: Times =
            serde_json::from_str(&serde_json::to_string(&Times::new()).unwrap()).unwrap();
        assert_eq!(empty.count(), 0);
    }
}
