//! The progress lines of a run, over one another on a terminal.

use std::io::{IsTerminal, Write};

use crate::{
    measure::{
        results::{Moment, Phase},
        stats::Interval,
        times::Times,
    },
    output::text::bound,
    series::Sink,
    units::count,
};

/// Writes the progress lines.
#[derive(Debug)]
pub(crate) struct Progress {
    is_quiet: bool,
    is_terminal: bool,
    failures: u64,
}

impl Progress {
    pub(crate) fn new(is_quiet: bool) -> Self {
        Self { is_quiet, is_terminal: std::io::stderr().is_terminal(), failures: 0 }
    }

    /// Makes room for the summary.
    pub(crate) fn finish(&self) {
        if self.is_terminal && !self.is_quiet {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

impl Sink for Progress {
    fn moment(&mut self, moment: &Moment, groups: &[Interval]) {
        self.failures += moment.failures;
        if self.is_quiet {
            return;
        }
        let phase = match moment.phase {
            Phase::Connecting => "connecting",
            Phase::WarmUp => "warm-up",
            Phase::Measuring => "measuring",
            Phase::Draining => "draining",
        };
        let mut line = format!("{phase:<10} {:>9} open", count(moment.open as f64));
        let mut response = Times::default();
        groups.iter().for_each(|interval| response.add(&interval.response));
        if response.count() > 0 {
            let rate = moment.echoes as f64 / moment.length.as_secs_f64().max(1e-9);
            let p99 = response.quantile(0.99).map_or_else(|| "-".into(), bound);
            line += &format!(
                "  {:>10} msg/s  p50 {:>8}  p99 {p99:>8}",
                count(rate),
                response.median().map_or_else(|| "-".into(), bound),
            );
        }
        if self.failures > 0 {
            line += &format!("  {} errors", count(self.failures as f64));
        }
        // Nobody may be reading any more.
        let _ = match self.is_terminal {
            true => write!(std::io::stderr(), "\r\x1b[K{line}"),
            false => writeln!(std::io::stderr(), "{line}"),
        };
    }
}
