//! From slices to figures: what is said of one server under one kind of load.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::{
    cost::Cpu,
    stats::{self, Estimate},
};

/// Latencies of more than this are counted as this.
const LATENCY_MAX: u64 = 120_000_000_000;

/// Samples above a quantile without which it says more about luck than about the server.
const SAMPLES_MIN: f64 = 10.0;

/// Nanoseconds, to three digits.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MAX, 3).expect("the bounds are constants")
}

/// One slice of one server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slice {
    pub(crate) messages: u64,
    pub(crate) elapsed: Duration,
    pub(crate) server_cpu: Cpu,
    pub(crate) client_cpu: Duration,
}

/// What was measured of one server: a slice for each round, and what only counts as a whole.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) slices: Vec<Slice>,
    /// Of what the processes used.
    pub(crate) user_share: f64,
    pub(crate) latencies: Histogram<u64>,
}

/// What is reported of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figures {
    /// Median over the slices.
    pub(crate) messages_per_second: f64,
    /// Server CPU per message, `ksoftirqd` included: median over the slices.
    pub(crate) cpu_ns: f64,
    /// Its parts, by the share that each has of the whole run.
    pub(crate) user_ns: f64,
    pub(crate) system_ns: f64,
    /// Zero where it is not counted, which the report tells.
    pub(crate) ksoftirqd_ns: f64,
    /// Median of the ratios to the baseline in the same round.
    pub(crate) cpu_ratio: Estimate,
    pub(crate) rate_ratio: Estimate,
    pub(crate) latency: Latency,
    /// Shares of a core.
    pub(crate) server_busy: f64,
    pub(crate) client_busy: f64,
    pub(crate) messages: u64,
    /// Server CPU per message in each round, for who wants to calculate again.
    pub(crate) cpu_ns_by_round: Vec<f64>,
}

/// Round-trip times in nanoseconds, over all slices.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50: Option<u64>,
    pub(crate) p99: Option<u64>,
    pub(crate) p999: Option<u64>,
}

impl Slice {
    fn cpu_ns(&self) -> f64 {
        self.server_cpu.total().as_nanos() as f64 / self.messages as f64
    }

    fn rate(&self) -> f64 {
        self.messages as f64 / self.elapsed.as_secs_f64()
    }

    fn busy(&self, cpu: Duration) -> f64 {
        cpu.as_secs_f64() / self.elapsed.as_secs_f64()
    }
}

impl Measured {
    pub(crate) fn new() -> Self {
        Self { slices: Vec::new(), user_share: 0.0, latencies: histogram() }
    }

    /// Messages per second: the median over the slices.
    pub(crate) fn rate(&self) -> f64 {
        stats::median(&self.each(Slice::rate))
    }

    /// The figures, beside those of the baseline in the same rounds.
    pub(crate) fn figures(&self, baseline: &Self) -> Figures {
        let costs = self.each(Slice::cpu_ns);
        let cpu_ns = stats::median(&costs);
        let ksoftirqd_ns = cpu_ns * self.ksoftirqd_share();
        let own_ns = cpu_ns - ksoftirqd_ns;
        Figures {
            messages_per_second: self.rate(),
            cpu_ns,
            user_ns: own_ns * self.user_share,
            system_ns: own_ns * (1.0 - self.user_share),
            ksoftirqd_ns,
            cpu_ratio: stats::ratio(&costs, &baseline.each(Slice::cpu_ns)),
            rate_ratio: stats::ratio(&self.each(Slice::rate), &baseline.each(Slice::rate)),
            latency: Latency {
                p50: self.quantile(0.5),
                p99: self.quantile(0.99),
                p999: self.quantile(0.999),
            },
            server_busy: stats::median(&self.each(|slice| slice.busy(slice.server_cpu.total()))),
            client_busy: stats::median(&self.each(|slice| slice.busy(slice.client_cpu))),
            messages: self.slices.iter().map(|slice| slice.messages).sum(),
            cpu_ns_by_round: costs,
        }
    }

    fn each(&self, figure: impl Fn(&Slice) -> f64) -> Vec<f64> {
        self.slices.iter().map(figure).collect()
    }

    /// The share of `ksoftirqd` in all CPU time of the run.
    fn ksoftirqd_share(&self) -> f64 {
        let sum = |of: fn(Cpu) -> Duration| -> Duration {
            self.slices.iter().map(|slice| of(slice.server_cpu)).sum()
        };
        let total = sum(Cpu::total);
        if total.is_zero() { 0.0 } else { sum(|cpu| cpu.ksoftirqd).div_duration_f64(total) }
    }

    fn quantile(&self, share: f64) -> Option<u64> {
        let above = self.latencies.len() as f64 * (1.0 - share);
        (above >= SAMPLES_MIN).then(|| self.latencies.value_at_quantile(share))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(costs: &[u64]) -> Measured {
        let mut measured = Measured::new();
        measured.user_share = 0.25;
        measured.slices.extend(costs.iter().map(|cost| Slice {
            messages: 1000,
            elapsed: Duration::from_millis(10),
            server_cpu: Cpu {
                own: Duration::from_micros(*cost - 1000),
                ksoftirqd: Duration::from_micros(1000),
            },
            client_cpu: Duration::from_millis(2),
        }));
        measured
    }

    #[test]
    fn figures_are_medians_of_slices() {
        let (baseline, mut other) = (measured(&[5000, 6000, 4000]), measured(&[4000, 5600, 2400]));
        for latency in 1..=1000 {
            other.latencies.record(latency).unwrap();
        }
        let figures = other.figures(&baseline);
        assert_eq!(figures.cpu_ns, 4000.0);
        assert_eq!(
            (figures.user_ns, figures.system_ns, figures.ksoftirqd_ns),
            (750.0, 2250.0, 1000.0)
        );
        assert_eq!(figures.cpu_ratio.median, 0.8);
        assert_eq!(figures.messages_per_second, 100_000.0);
        assert_eq!(figures.rate_ratio.median, 1.0);
        assert_eq!((figures.server_busy, figures.client_busy), (0.4, 0.2));
        assert_eq!((figures.latency.p50, figures.latency.p99), (Some(500), Some(990)));
        assert_eq!(figures.latency.p999, None);
        assert_eq!(figures.messages, 3000);
    }
}
