//! The trials of a search and the figures of a comparison, as tables for people.

use std::fmt;

use crate::{
    search::{Search, Step},
    units::{count, time},
    versus::{Row, Versus},
};

/// What a search has found, in lines of which the first is the answer.
pub(super) fn answer(search: &Search) -> Vec<String> {
    let objectives = search.objectives.join(", ");
    let mut lines = vec![match search.highest {
        Some(rate) => format!("{} msg/s is the most at which {objectives}", count(rate)),
        None => format!("no rate was found at which {objectives}"),
    }];
    if let Some(failed) = search.failed {
        let limit =
            if search.is_client_limit { " for the client: the server may do more" } else { "" };
        lines.push(format!("{} msg/s was too much{limit}", count(failed)));
    }
    lines
}

/// Writes what a search has found: the answer first.
pub(super) fn write_search(f: &mut fmt::Formatter<'_>, search: &Search) -> fmt::Result {
    answer(search).iter().try_for_each(|line| writeln!(f, "  {line}"))?;
    writeln!(f)?;
    writeln!(
        f,
        "  {:>12}{:>12}{:>10}{:>10}{:>10}",
        "offered/s", "answered/s", "p50", "p99", "max"
    )?;
    for step in &search.steps {
        write_step(f, step)?;
    }
    writeln!(f)
}

fn write_step(f: &mut fmt::Formatter<'_>, step: &Step) -> fmt::Result {
    let Step { rate, achieved, response, is_held, reason, confirms, .. } = step;
    write!(f, "  {:>12}{:>12}", count(*rate), count(*achieved))?;
    match response {
        Some(times) => {
            let show = |nanos| time(std::time::Duration::from_nanos(nanos));
            let shown = [times.p50_ns, times.p99_ns, times.max_ns].map(show);
            write!(f, "{:>10}{:>10}{:>10}", shown[0], shown[1], shown[2])?;
        }
        None => write!(f, "{:>10}{:>10}{:>10}", "-", "-", "-")?,
    }
    match (is_held, confirms) {
        (true, false) => writeln!(f, "  held"),
        (true, true) => writeln!(f, "  confirmed"),
        (false, _) => writeln!(f, "  {reason}"),
    }
}

/// A figure of both servers, with its unit.
pub(super) fn values(row: &Row) -> [String; 2] {
    row.values.map(|value| match row.unit.as_str() {
        "/s" => format!("{}/s", count(value)),
        unit => format!("{value:.2} {unit}"),
    })
}

/// Writes how two servers compare: the sentence first.
pub(super) fn write_versus(f: &mut fmt::Formatter<'_>, versus: &Versus) -> fmt::Result {
    writeln!(f, "  {}\n", versus.conclusion)?;
    writeln!(f, "  {:<12}{:>14}{:>14}{:>10}  95 %, all together", "", "first", "second", "change")?;
    for row in &versus.rows {
        let Row { name, ratio, low, high, is_real, .. } = row;
        let values = values(row);
        let mark = if *is_real { "  *" } else { "" };
        writeln!(
            f,
            "  {name:<12}{:>14}{:>14}{:>+8.2} %  {:+.2} to {:+.2} %{mark}",
            values[0],
            values[1],
            100.0 * (ratio - 1.0),
            100.0 * (low - 1.0),
            100.0 * (high - 1.0),
        )?;
    }
    let rounds = count(versus.rounds as f64);
    writeln!(f, "  medians of {rounds} rounds; *: more than chance explains\n")
}
