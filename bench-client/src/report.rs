//! What a run is told as: progress lines while it lasts, a summary that can be read in ten
//! seconds at its end.

use std::{
    fmt::{self, Display},
    io::{IsTerminal, Write},
    time::Duration,
};

use crate::{
    cli::Arguments,
    compression::Compression,
    payload::{Content, is_named},
    stats::{Bound, Failure, Interval, Stats, Times},
    verdict::Evidence,
};

/// The results of a run.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) arguments: Arguments,
    pub(crate) url: String,
    /// Who ran on which processors.
    pub(crate) placement: String,
    pub(crate) stats: Stats,
    /// The length of the measurement.
    pub(crate) measured: Duration,
    pub(crate) was_interrupted: bool,
    /// How long the load went on until the last connection had failed, if all have.
    pub(crate) failed_after: Option<Duration>,
    pub(crate) server: Option<ServerCost>,
    /// The share of the machine's time that its host gave to others.
    pub(crate) stolen: Option<f64>,
    /// What went wrong with the run itself.
    pub(crate) complaint: Option<String>,
}

/// What the run cost the server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerCost {
    /// CPU time within the measurement.
    pub(crate) cpu: Duration,
    /// The system's part of it.
    pub(crate) system: Duration,
    /// Resident memory per open, idle connection.
    pub(crate) bytes_per_connection: f64,
    /// Resident memory at the end of the load.
    pub(crate) resident_bytes: u64,
}

impl Report {
    /// Whether all went well.
    pub(crate) fn is_good(&self) -> bool {
        self.stats.failures.total() == 0
            && self.complaint.is_none()
            && self.failed_after.is_none()
            && self.stats.echoes > 0
            && self.stats.opened == self.arguments.connections.get() as u64
    }

    /// By what the figures are judged.
    pub(crate) fn evidence(&self) -> Evidence {
        Evidence::new(&self.stats, self.arguments.rate, self.measured, self.stolen)
    }

    fn write_load(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Arguments { connections, threads, size, depth, .. } = &self.arguments;
        let kind = match self.arguments.content() {
            Content::Bytes => "binary",
            Content::Text => "text",
            Content::Json => "JSON-like text",
        };
        writeln!(f, "wireloop-bench: {}", self.url)?;
        write!(f, "  {}, {size} B {kind}, ", plural(connections.get(), "connection"))?;
        match self.arguments.rate {
            Some(rate) => write!(f, "open loop at {} msg/s", count(rate))?,
            None => write!(f, "closed loop, {depth} in flight each")?,
        }
        writeln!(f, ", {}", plural(threads.get(), "thread"))?;
        if self.arguments.compression != Compression::Off {
            let compressed = plural(self.stats.compressed as usize, "connection");
            writeln!(f, "  permessage-deflate on {compressed}")?;
        }
        writeln!(f, "  {}", self.placement)
    }

    /// Whether there is anything to tell but errors.
    fn has_results(&self) -> bool {
        self.stats.opened > 0
    }

    fn write_throughput(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.measured.as_secs_f64().max(1e-9);
        let rate = self.stats.echoes as f64 / seconds;
        let bytes = rate * self.arguments.size as f64 / f64::from(1 << 20);
        writeln!(
            f,
            "  {} echoes in {seconds:.2} s, every byte compared",
            count(self.stats.echoes as f64)
        )?;
        writeln!(f, "  {:>14} msg/s   {bytes:.2} MiB/s each way", count(rate))?;
        self.write_verification(f)
    }

    /// What was wrong with the echoes, and what was not.
    fn write_verification(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |failure| count(self.stats.failures.of(failure) as f64);
        if !is_named(self.arguments.size) {
            let corrupt = of(Failure::WrongContent);
            return writeln!(f, "  {corrupt} corrupt; too short to tell lost or reordered\n");
        }
        writeln!(
            f,
            "  {} lost, {} repeated, {} reordered, {} corrupt, {} with the wrong opcode\n",
            of(Failure::Lost),
            of(Failure::Duplicate),
            of(Failure::Reordered),
            of(Failure::WrongContent),
            of(Failure::WrongKind),
        )
    }

    fn write_latency(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {:<10}", "latency")?;
        for name in ["p50", "p90", "p95", "p99", "p99.9", "p99.99", "max", "mean"] {
            write!(f, "{name:>10}")?;
        }
        writeln!(f)?;
        if self.arguments.rate.is_some() {
            write_times(f, "response", &self.stats.response)?;
            write_times(f, "service", &self.stats.service)?;
            write_times(f, "send lag", &self.stats.lag)?;
        } else {
            write_times(f, "echo", &self.stats.service)?;
        }
        write_times(f, "opening", &self.stats.handshake)?;
        writeln!(
            f,
            "  {}",
            match self.arguments.rate {
                Some(_) => "response: from the intended send; service: from the write",
                None => "echo: from the write, which in a closed loop is the intended send",
            }
        )?;
        if let Some(ages) = self.stats.response.unanswered() {
            let messages = plural(ages.count as usize, "message");
            let oldest = time(ages.most);
            write!(f, "  {messages} without an answer, {oldest} the oldest, ")?;
            writeln!(f, "count with their age; >: at least")?;
        }
        Ok(())
    }

    fn write_cost(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let echoes = self.stats.echoes.max(1) as f64;
        let seconds = self.measured.as_secs_f64().max(1e-9);
        let per_echo = |time: Duration| time.as_secs_f64() * 1e6 / echoes;
        if let Some(server) = &self.server {
            let user = server.cpu.saturating_sub(server.system);
            writeln!(
                f,
                "  server   {:.2} us CPU per echo ({:.2} user, {:.2} system), {:.0} % of a core",
                per_echo(server.cpu),
                per_echo(user),
                per_echo(server.system),
                100.0 * server.cpu.as_secs_f64() / seconds,
            )?;
            writeln!(
                f,
                "           {:.0} B resident per idle connection, {:.1} MiB in all under load",
                server.bytes_per_connection,
                server.resident_bytes as f64 / f64::from(1 << 20),
            )?;
        }
        let threads = self.arguments.threads.get() as f64;
        writeln!(
            f,
            "  client   {:.2} us CPU per echo, {:.0} % of each thread's core",
            per_echo(self.stats.cpu),
            100.0 * self.stats.cpu.as_secs_f64() / seconds / threads,
        )
    }

    /// Whether the figures are the server's, and why not.
    fn write_verdict(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verdict, reasons) = self.evidence().judge();
        if reasons.is_empty() {
            return writeln!(f, "  {verdict}: the client was not in the way\n");
        }
        for (verdict, reason) in &reasons {
            writeln!(f, "  {verdict}: {reason}")?;
        }
        writeln!(f)
    }

    fn write_outcome(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (failure, times) in self.stats.failures.iter() {
            writeln!(f, "  {:>10} x {failure}", count(times as f64))?;
        }
        if let Some(complaint) = &self.complaint {
            writeln!(f, "  {complaint}")?;
        }
        if let Some(load) = self.failed_after {
            let load = time(load);
            writeln!(f, "  all connections had failed after {load}: the run has ended early")?;
        }
        if self.was_interrupted {
            writeln!(f, "  interrupted: these are the results until then")?;
        }
        let open = self.stats.opened;
        let wanted = self.arguments.connections.get();
        match self.is_good() {
            true => write!(f, "  ok: {open} of {wanted} connections, no errors"),
            false => write!(f, "  FAILED: {open} of {wanted} connections were opened"),
        }
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_load(f)?;
        writeln!(f)?;
        if self.has_results() {
            self.write_throughput(f)?;
            self.write_latency(f)?;
            writeln!(f)?;
            self.write_cost(f)?;
            self.write_verdict(f)?;
        }
        self.write_outcome(f)
    }
}

fn write_times(f: &mut fmt::Formatter<'_>, name: &str, times: &Times) -> fmt::Result {
    write!(f, "  {name:<10}")?;
    for share in [0.5, 0.9, 0.95, 0.99, 0.999, 0.9999] {
        let quantile = times.quantile(share).map_or_else(|| "-".into(), bound);
        write!(f, "{quantile:>10}")?;
    }
    match times.count() {
        0 => writeln!(f, "{:>10}{:>10}", "-", "-"),
        _ => writeln!(f, "{:>10}{:>10}", bound(times.max()), bound(times.mean())),
    }
}

/// A time, marked if it is only what the time is at least.
fn bound(bound: Bound) -> String {
    let mark = if bound.is_exact { "" } else { ">" };
    format!("{mark}{}", time(bound.time))
}

/// Three digits and a unit.
pub(crate) fn time(time: Duration) -> String {
    let nanos = time.as_nanos() as f64;
    let (value, unit) = match nanos {
        _ if nanos < 1e3 => (nanos, "ns"),
        _ if nanos < 1e6 => (nanos / 1e3, "us"),
        _ if nanos < 1e9 => (nanos / 1e6, "ms"),
        _ => (nanos / 1e9, "s"),
    };
    let digits = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.digits$} {unit}")
}

/// A number with its thousands apart.
fn count(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn plural(number: usize, noun: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{} {noun}{ending}", count(number as f64))
}

/// Writes the progress lines, over one another on a terminal.
#[derive(Debug)]
pub(crate) struct Progress {
    is_quiet: bool,
    is_terminal: bool,
    open: u64,
    failures: u64,
}

impl Progress {
    pub(crate) fn new(is_quiet: bool) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        Self { is_quiet, is_terminal, open: 0, failures: 0 }
    }

    /// Writes a line on what happened in the last second.
    pub(crate) fn write(&mut self, phase: &str, interval: &Interval) {
        self.open += interval.open;
        self.failures += interval.failures;
        if self.is_quiet {
            return;
        }
        let mut line = format!("{phase:<10} {:>9} open", count(self.open as f64));
        if interval.response.count() > 0 {
            let p99 = interval.response.quantile(0.99).map_or_else(|| "-".into(), bound);
            line += &format!(
                "  {:>10} msg/s  p50 {:>8}  p99 {p99:>8}",
                count(interval.response.count() as f64),
                interval.response.median().map_or_else(|| "-".into(), bound),
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

    /// Makes room for the summary.
    pub(crate) fn finish(&self) {
        if self.is_terminal && !self.is_quiet {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_have_units() {
        let shown = |nanos| time(Duration::from_nanos(nanos));
        assert_eq!(shown(999), "999 ns");
        assert_eq!(shown(1_234), "1.23 us");
        assert_eq!(shown(56_789_000), "56.8 ms");
        assert_eq!(shown(2_000_000_000), "2.00 s");
        assert_eq!(count(1_234_567.0), "1,234,567");
        assert_eq!(count(12.0), "12");
        assert_eq!(plural(1, "thread"), "1 thread");
    }
}
