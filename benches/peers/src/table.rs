//! The report as text.

use crate::{
    cli::Plan,
    figures::Figures,
    report::{CaseReport, Row},
    stats::Estimate,
};

/// Prints the tables of one case.
pub(crate) fn print(case: &CaseReport, plan: &Plan) {
    let baseline = &plan.servers[plan.baseline].name;
    let slices = plan.slices;
    println!("\n{}: closed loop, {} slices of {} each", case.title, slices.rounds, slices.text());
    print!("{}", aligned(&closed_loop(&case.servers, baseline)));
    if let Some(open) = case.open_loop {
        println!(
            "\n{}: open loop, {} messages per second, which is {} % of what {baseline} can do, \
             {} slices of {} each",
            case.title,
            count(open.rate as f64),
            open.percent,
            open.slices.rounds,
            open.slices.text()
        );
        print!("{}", aligned(&open_loop(&case.servers, baseline)));
    }
    if !case.ksoftirqd_is_counted {
        println!(
            "ksoftirqd is not counted: its time on processor {} cannot be read, so servers that \
             send large batches cost more than is shown",
            plan.server_core
        );
    }
}

fn closed_loop(rows: &[Row], baseline: &str) -> Vec<Vec<String>> {
    let titles = [
        "server",
        "msg/s",
        "us/msg",
        "user",
        "system",
        "ksoftirqd",
        "CPU to",
        "95 %",
        "msg/s to",
        "95 %",
        "p50",
        "p99",
        "p99.9",
        "busy",
        "client",
        "B/conn",
    ];
    let lines = rows.iter().map(|row| {
        let figures = &row.closed_loop;
        let mut line = vec![row.name.clone(), count(figures.messages_per_second)];
        line.extend(costs(figures));
        line.extend(ratio(&figures.cpu_ratio));
        line.extend(ratio(&figures.rate_ratio));
        line.extend(latencies(figures));
        line.extend([percent(figures.server_busy), percent(figures.client_busy)]);
        line.push(row.resident_bytes_per_connection.map_or_else(|| "-".into(), count));
        line
    });
    with_titles(&titles, baseline, lines)
}

fn open_loop(rows: &[Row], baseline: &str) -> Vec<Vec<String>> {
    let titles = [
        "server",
        "msg/s",
        "us/msg",
        "user",
        "system",
        "ksoftirqd",
        "CPU to",
        "95 %",
        "p50",
        "p99",
        "p99.9",
        "busy",
        "client",
    ];
    let lines = rows.iter().filter_map(|row| {
        let figures = row.open_loop.as_ref()?;
        let mut line = vec![row.name.clone(), count(figures.messages_per_second)];
        line.extend(costs(figures));
        line.extend(ratio(&figures.cpu_ratio));
        line.extend(latencies(figures));
        line.extend([percent(figures.server_busy), percent(figures.client_busy)]);
        Some(line)
    });
    with_titles(&titles, baseline, lines)
}

/// Two lines of titles, of which the second says what ratios are to, and all others.
fn with_titles(
    titles: &[&str],
    baseline: &str,
    lines: impl Iterator<Item = Vec<String>>,
) -> Vec<Vec<String>> {
    let first = titles.iter().map(|title| (*title).to_owned()).collect();
    let second = titles.iter().map(|title| match title.ends_with(" to") {
        true => baseline.to_owned(),
        false => String::new(),
    });
    [first, second.collect()].into_iter().chain(lines).collect()
}

fn costs(figures: &Figures) -> [String; 4] {
    [figures.cpu_ns, figures.user_ns, figures.system_ns, figures.ksoftirqd_ns]
        .map(|nanos| format!("{:.2}", nanos / 1e3))
}

fn ratio(ratio: &Estimate) -> [String; 2] {
    [format!("{:.3}", ratio.median), format!("[{:.3}, {:.3}]", ratio.low, ratio.high)]
}

fn latencies(figures: &Figures) -> [String; 3] {
    let latency = figures.latency;
    [latency.p50, latency.p99, latency.p999].map(|nanos| nanos.map_or_else(|| "-".into(), time))
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// Columns as wide as they have to be: the first to the left, all others to the right.
fn aligned(lines: &[Vec<String>]) -> String {
    let columns = lines.first().map_or(0, Vec::len);
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for line in lines {
        let cells = line.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

/// Three digits and a unit.
fn time(nanos: u64) -> String {
    let nanos = nanos as f64;
    let (value, unit) = match nanos {
        _ if nanos < 1e6 => (nanos / 1e3, "us"),
        _ if nanos < 1e9 => (nanos / 1e6, "ms"),
        _ => (nanos / 1e9, "s"),
    };
    let digits = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.digits$} {unit}")
}

/// A number with its thousands apart.
pub(crate) fn count(number: f64) -> String {
    let digits = format!("{:.0}", number.abs());
    let mut text = String::from(if number <= -0.5 { "-" } else { "" });
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_have_units() {
        assert_eq!(time(1_234), "1.23 us");
        assert_eq!(time(56_789_000), "56.8 ms");
        assert_eq!(time(2_000_000_000), "2.00 s");
        assert_eq!(count(1_234_567.4), "1,234,567");
        assert_eq!(count(-1234.0), "-1,234");
        assert_eq!(count(12.0), "12");
    }

    #[test]
    fn columns_stand_below_one_another() {
        let cells = |line: [&str; 2]| line.map(str::to_owned).to_vec();
        let text = aligned(&[cells(["server", "x"]), cells(["a", "1.25"]), cells(["b", ""])]);
        assert_eq!(text, "server     x\na       1.25\nb\n");
    }
}
