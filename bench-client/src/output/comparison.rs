//! How the runs of two sides compare, as a table for people.

use std::{fmt, time::Duration};

use crate::{
    compare::{Comparison, Row, Unit},
    units::{count, time},
};

/// Shows a comparison: the sentence first.
#[derive(Debug)]
pub(crate) struct Table<'c>(pub(crate) &'c Comparison);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Comparison { files, seconds, rows, conclusion, notes, .. } = self.0;
        writeln!(f, "{conclusion}\n")?;
        for (name, (files, seconds)) in ["first", "second"].iter().zip(files.iter().zip(seconds)) {
            writeln!(f, "  {name:<8}{}, {seconds} s", files.join(" "))?;
        }
        writeln!(
            f,
            "\n  {:<12}{:>14}{:>14}{:>11}  95 %, all together",
            "", "first", "second", "change"
        )?;
        rows.iter().try_for_each(|row| write_row(f, row))?;
        writeln!(
            f,
            "  values: of all; change: of the mean second; *: more than chance explains\n"
        )?;
        notes.iter().try_for_each(|note| writeln!(f, "  note: {note}"))
    }
}

fn write_row(f: &mut fmt::Formatter<'_>, row: &Row) -> fmt::Result {
    let show = |side: usize| {
        let Some(value) = row.values[side] else { return "-".into() };
        let mark = if row.at_least[side] { ">" } else { "" };
        let value = match row.unit {
            Unit::PerSecond => format!("{}/s", count(value)),
            Unit::Nanoseconds => time(Duration::from_nanos(value as u64)),
            Unit::Bytes => format!("{} B", count(value)),
            Unit::Percent => format!("{value:.3} %"),
            Unit::Number => count(value),
        };
        format!("{mark}{value}")
    };
    write!(f, "  {:<12}{:>14}{:>14}", row.name, show(0), show(1))?;
    let Some(change) = row.change else { return writeln!(f, "{:>11}", "-") };
    let percent = |ratio: f64| 100.0 * (ratio - 1.0);
    let mark = if row.is_real { "  *" } else { "" };
    writeln!(
        f,
        "{:>+9.2} %  {:+.2} to {:+.2} %{mark}",
        percent(change.ratio),
        percent(change.low),
        percent(change.high)
    )
}
