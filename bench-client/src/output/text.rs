//! The summary at the end of a run, for people: it can be read in ten seconds.

use std::{
    fmt::{self, Display},
    time::Duration,
};

use super::{
    details::details,
    trials::{write_search, write_versus},
};
use crate::{
    measure::{
        failure::Failure,
        results::{Group, Judged, Results, ServerCost},
        stats::{Phases, Stats},
        times::{Bound, Times},
    },
    units::{count, plural, time},
};

/// The code with which a connection ends that has nothing to complain of (RFC 6455 section 7.4.1).
const NORMAL_CLOSE: u16 = 1000;

/// Writes the summary.
#[derive(Debug)]
pub(crate) struct Summary<'r>(pub(crate) &'r Results);

impl Summary<'_> {
    fn write_load(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Results { groups, environment, .. } = self.0;
        for group in groups {
            let Group { name, url, load, .. } = group;
            let separator = if name.is_empty() { "" } else { ": " };
            writeln!(f, "wireloop-bench: {name}{separator}{url}")?;
            writeln!(f, "  {load}")?;
        }
        write!(f, "  {}", plural(self.0.threads, "thread"))?;
        if self.0.processes > 1 {
            write!(f, " in {}", plural(self.0.processes, "process"))?;
        }
        writeln!(f, " on {}, {}", self.0.driver, environment.placement)
    }

    /// What was to be kept, and whether it was.
    fn write_thresholds(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.thresholds.iter().map(|judged| judged.threshold.chars().count()).max();
        for Judged { threshold, measured, is_held } in &self.0.thresholds {
            let mark = if *is_held { '✓' } else { '✗' };
            writeln!(f, "  {mark} {threshold:<0$}  {measured}", width.unwrap_or(0))?;
        }
        if self.0.thresholds.is_empty() { Ok(()) } else { writeln!(f) }
    }

    fn seconds(&self) -> f64 {
        self.0.measured.as_secs_f64().max(1e-9)
    }

    fn write_throughput(&self, f: &mut fmt::Formatter<'_>, stats: &Stats) -> fmt::Result {
        let seconds = self.seconds();
        let rate = stats.echoes as f64 / seconds;
        let bytes = stats.echoed_bytes as f64 / seconds / f64::from(1 << 20);
        let echoes = count(stats.echoes as f64);
        if let Some(fan_out) = &stats.fan_out {
            let messages = plural(fan_out.messages as usize, "message");
            let (complete, missing) = (count(fan_out.complete as f64), fan_out.missing as usize);
            writeln!(f, "  {messages} published, {complete} received by all")?;
            let deliveries = plural(fan_out.deliveries as usize, "delivery");
            writeln!(f, "  {deliveries} in {seconds:.2} s, {} missing", count(missing as f64))?;
            return writeln!(f, "  {:>14} msg/s   {bytes:.2} MiB/s to the receivers", count(rate));
        }
        writeln!(f, "  {echoes} echoes in {seconds:.2} s, every byte compared")?;
        writeln!(f, "  {:>14} msg/s   {bytes:.2} MiB/s each way", count(rate))
    }

    /// All groups as one.
    fn all_groups(&self) -> Group {
        let groups = &self.0.groups;
        let offered: Vec<_> = groups.iter().filter_map(|group| group.offered).collect();
        Group {
            offered: (!offered.is_empty()).then(|| offered.iter().sum()),
            is_nameless: groups.iter().any(|group| group.is_nameless),
            is_idle: groups.iter().all(|group| group.is_idle),
            ..Group::default()
        }
    }

    /// The groups beside each other, if there are several.
    fn write_groups(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups = &self.0.groups;
        if groups.len() < 2 {
            return Ok(());
        }
        let names = groups.iter().map(|group| group.name.chars().count());
        let width = names.max().unwrap_or(0).max(10);
        write!(f, "  {:<width$}", "group")?;
        for name in ["msg/s", "p50", "p99", "p99.9", "max", "opened", "errors"] {
            write!(f, "{name:>10}")?;
        }
        writeln!(f)?;
        for (group, stats) in groups.iter().zip(&self.0.tally.groups) {
            let times = &stats.response;
            let rate = count(stats.echoes as f64 / self.seconds());
            write!(f, "  {:<width$}{rate:>10}", group.name)?;
            for share in [0.5, 0.99, 0.999] {
                let quantile = times.quantile(share).map_or_else(|| "-".into(), bound);
                write!(f, "{quantile:>10}")?;
            }
            let max = if times.count() == 0 { "-".into() } else { bound(times.max()) };
            let (opened, errors) = (stats.opened as f64, stats.failures.total() as f64);
            writeln!(f, "{max:>10}{:>10}{:>10}", count(opened), count(errors))?;
        }
        writeln!(f)
    }

    /// What was wrong with the echoes, and what was not.
    fn write_verification(f: &mut fmt::Formatter<'_>, group: &Group, stats: &Stats) -> fmt::Result {
        let of = |failure| count(stats.failures.of(failure) as f64);
        if stats.fan_out.is_some() {
            return writeln!(
                f,
                "  {} repeated, {} corrupt, {} with the wrong opcode\n",
                of(Failure::Duplicate),
                of(Failure::WrongContent),
                of(Failure::WrongKind),
            );
        }
        if group.is_nameless {
            let corrupt = of(Failure::WrongContent);
            return writeln!(
                f,
                "  {corrupt} corrupt; without a number to tell lost or reordered\n"
            );
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

    fn write_latency(&self, f: &mut fmt::Formatter<'_>, stats: &Stats) -> fmt::Result {
        let group = &self.all_groups();
        write!(f, "  {:<10}", "latency")?;
        for name in ["p50", "p90", "p95", "p99", "p99.9", "p99.99", "max", "mean"] {
            write!(f, "{name:>10}")?;
        }
        writeln!(f)?;
        if let Some(fan_out) = &stats.fan_out {
            write_times(f, "first", &fan_out.first)?;
            write_times(f, "median", &fan_out.median)?;
            write_times(f, "last", &fan_out.last)?;
            write_times(f, "each", &stats.response)?;
            write_times(f, "send lag", &stats.lag)?;
        } else if group.offered.is_some() {
            write_times(f, "response", &stats.response)?;
            write_times(f, "service", &stats.service)?;
            write_times(f, "send lag", &stats.lag)?;
        } else if !group.is_idle {
            write_times(f, "echo", &stats.service)?;
        }
        for (name, times) in [("session", &stats.sessions), ("ping", &stats.ping)] {
            if times.count() > 0 {
                write_times(f, name, times)?;
            }
        }
        write_times(f, "opening", &stats.phases.opening)?;
        write_phases(f, &stats.phases)?;
        self.write_definitions(f, group, stats)?;
        if let Some(ages) = stats.response.unanswered() {
            let messages = plural(ages.count as usize, "message");
            let oldest = time(ages.most);
            write!(f, "  {messages} without an answer, {oldest} the oldest, ")?;
            writeln!(f, "count with their age; >: at least")?;
        }
        Ok(())
    }

    /// From when until when the times are.
    fn write_definitions(
        &self,
        f: &mut fmt::Formatter<'_>,
        group: &Group,
        stats: &Stats,
    ) -> fmt::Result {
        let is_closed = |group: &Group| group.offered.is_none() && !group.is_idle;
        let definition = match group.offered {
            Some(_) if stats.fan_out.is_some() => {
                "from the intended send until the first, the middle, the last, and each \
                 of those who await a message had it"
            }
            Some(_) if self.0.groups.iter().any(is_closed) => {
                "response: from the intended send, which in a closed loop is the write; service: \
                 from the write"
            }
            Some(_) => "response: from the intended send; service: from the write",
            None if group.is_idle => "opening: from the start to the accepted upgrade",
            None => "echo: from the write, which in a closed loop is the intended send",
        };
        writeln!(f, "  {definition}")?;
        if stats.sessions.count() > 0 {
            writeln!(f, "  session: from when a connection was due until its last answer")?;
        }
        for (name, text) in details(stats) {
            writeln!(f, "  {name}: {text}")?;
        }
        Ok(())
    }

    fn write_cost(&self, f: &mut fmt::Formatter<'_>, echoes: u64) -> fmt::Result {
        let is_idle = echoes == 0;
        let echoes = echoes.max(1) as f64;
        let per_echo = |time: Duration| time.as_secs_f64() * 1e6 / echoes;
        let of_core = |cpu: Duration| 100.0 * cpu.as_secs_f64() / self.seconds();
        if let Some(ServerCost { cpu, .. }) = self.0.server.filter(|_| is_idle) {
            writeln!(f, "  server   {:.2} % of a core", of_core(cpu))?;
        } else if let Some(server) = self.0.server {
            write!(f, "  server   {:.2} us CPU per echo", per_echo(server.cpu))?;
            let parts = server.parts().map(|(name, time)| format!("{:.2} {name}", per_echo(time)));
            let parts: Vec<_> = parts.collect();
            if !parts.is_empty() {
                write!(f, " ({})", parts.join(", "))?;
            }
            writeln!(f, ", {:.0} % of a core", of_core(server.cpu))?;
        }
        if let Some(why) = self.0.server.and_then(|server| server.ksoftirqd_uncounted) {
            writeln!(f, "           ksoftirqd is not counted: {}", why.words())?;
        }
        if let Some(server) = self.0.server {
            let resident = server.resident_bytes as f64 / f64::from(1 << 20);
            write!(f, "           ")?;
            if let Some(bytes) = server.idle_bytes(self.0.connections()) {
                write!(f, "{bytes:.0} B resident per idle connection, ")?;
            }
            writeln!(f, "{resident:.1} MiB resident under load")?;
        }
        let cpu = self.0.tally.cpu;
        let share = of_core(cpu) / self.0.threads as f64;
        match is_idle {
            true => writeln!(f, "  client   {share:.2} % of each thread's core"),
            false => writeln!(
                f,
                "  client   {:.2} us CPU per echo, {share:.0} % of each thread's core",
                per_echo(cpu),
            ),
        }
    }

    /// Whether the figures are the server's, and why not.
    fn write_verdict(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.reasons.is_empty() {
            return writeln!(f, "  {}: the client was not in the way\n", self.0.verdict);
        }
        for (verdict, reason) in &self.0.reasons {
            writeln!(f, "  {verdict}: {reason}")?;
        }
        writeln!(f)
    }

    fn write_outcome(&self, f: &mut fmt::Formatter<'_>, total: &Stats) -> fmt::Result {
        let unusual = total.closes.iter().filter(|(code, _)| **code != NORMAL_CLOSE);
        for (code, times) in unusual {
            writeln!(f, "  {:>10} x closed with {code}", count(*times as f64))?;
        }
        for (failure, times) in total.failures.iter() {
            writeln!(f, "  {:>10} x {failure}", count(times as f64))?;
        }
        let outcome = &self.0.outcome;
        if let Some(complaint) = &outcome.complaint {
            writeln!(f, "  {complaint}")?;
        }
        if let Some(nanos) = outcome.failed_after_ns {
            let load = time(Duration::from_nanos(nanos));
            writeln!(f, "  all connections had failed after {load}: the run has ended early")?;
        }
        if outcome.was_aborted {
            writeln!(f, "  a threshold was broken: the run has ended early")?;
        }
        if outcome.was_interrupted {
            writeln!(f, "  interrupted: these are the results until then")?;
        }
        let (open, wanted) = (total.opened, self.0.connections());
        match self.0.is_good() {
            true => write!(f, "  ok: {open} of {wanted} connections, no errors"),
            false => write!(f, "  FAILED: {open} of {wanted} connections were opened"),
        }
    }
}

impl Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.0.total();
        self.write_thresholds(f)?;
        self.write_load(f)?;
        writeln!(f)?;
        if let Some(search) = &self.0.search {
            write_search(f, search)?;
        }
        if let Some(versus) = &self.0.versus {
            write_versus(f, versus)?;
            return self.write_outcome(f, &total);
        }
        if total.opened > 0 {
            let all = self.all_groups();
            if all.is_idle && total.echoes == 0 {
                writeln!(f, "  nothing was sent in {:.2} s\n", self.seconds())?;
            } else {
                self.write_throughput(f, &total)?;
                Self::write_verification(f, &all, &total)?;
            }
            self.write_latency(f, &total)?;
            writeln!(f)?;
            self.write_groups(f)?;
            self.write_cost(f, total.echoes)?;
            self.write_verdict(f)?;
        }
        self.write_outcome(f, &total)
    }
}

/// The parts of the opening in one line, those that there are.
fn write_phases(f: &mut fmt::Formatter<'_>, phases: &Phases) -> fmt::Result {
    let all = [
        ("name", &phases.dns),
        ("TCP", &phases.connect),
        ("TLS", &phases.tls),
        ("upgrade", &phases.upgrade),
        ("first message", &phases.first_message),
    ];
    let text = |times: Option<Bound>| times.map_or_else(|| "-".into(), bound);
    let parts = all.iter().filter(|(_, times)| times.count() > 0).map(|(name, times)| match times
        .quantile(0.99)
    {
        Some(p99) => format!("{name} {} / {}", text(times.median()), bound(p99)),
        None => format!("{name} {}", text(times.median())),
    });
    let parts: Vec<_> = parts.collect();
    match parts.as_slice() {
        [] => Ok(()),
        parts => writeln!(f, "    of which (p50 / p99): {}", parts.join(", ")),
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
pub(crate) fn bound(bound: Bound) -> String {
    let mark = if bound.is_exact { "" } else { ">" };
    format!("{mark}{}", time(bound.time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_come_first_and_groups_beside_each_other() {
        let text = Summary(&Results::example()).to_string();
        assert!(text.starts_with("  ✓ errors<10  4\n  ✗ p99<1ms    >20.0 ms\n\n"), "{text}");
        let of = |start: &str| {
            text.lines()
                .find(|line| line.starts_with(start))
                .unwrap_or_else(|| panic!("{start}: {text}"))
        };
        let columns = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(columns(of("  group ")).len(), 8);
        let chat = "chat 100 1.00 ms - - >20.0 ms 2 4";
        assert_eq!(columns(of("  chat ")).join(" "), chat);
        assert!(of("    of which").ends_with("TCP 200 us, upgrade 300 us"), "{text}");
        of("           1 x closed with 1001");
        of("  SUSPECT: <noise>");
        of("  interrupted: ");
    }
}
