//! The trials of a search and the figures of a comparison, as tables for people.

use std::fmt;

use crate::{
    search::{Search, Step},
    units::{count, time},
    versus::{Row, Versus},
};

/// Writes what a search has found: the answer first.
pub(super) fn write_search(f: &mut fmt::Formatter<'_>, search: &Search) -> fmt::Result {
    let objectives = search.objectives.join(", ");
    match search.highest {
        Some(rate) => writeln!(f, "  {} msg/s is the most at which {objectives}", count(rate))?,
        None => writeln!(f, "  no rate was found at which {objectives}")?,
    }
    if let Some(failed) = search.failed {
        write!(f, "  {} msg/s was too much", count(failed))?;
        let limit =
            if search.is_client_limit { " for the client: the server may do more" } else { "" };
        writeln!(f, "{limit}")?;
    }
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

/// Writes how two servers compare: the sentence first.
pub(super) fn write_versus(f: &mut fmt::Formatter<'_>, versus: &Versus) -> fmt::Result {
    writeln!(f, "  {}\n", versus.conclusion)?;
    writeln!(f, "  {:<12}{:>14}{:>14}{:>10}  95 %, all together", "", "first", "second", "change")?;
    for Row { name, unit, values, ratio, low, high, is_real } in &versus.rows {
        let values = values.map(|value| match unit.as_str() {
            "/s" => format!("{}/s", count(value)),
            _ => format!("{value:.2} {unit}"),
        });
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
