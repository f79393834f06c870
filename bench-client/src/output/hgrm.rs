//! Times by percentile, as HdrHistogram's `outputPercentileDistribution` writes them and its plotter
//! reads them.

use std::fmt::Write;

use crate::measure::times::Times;

/// The plotter puts several files over one another by their lines, so that all have to have the
/// ticks that everybody has.
const TICKS_PER_HALF_DISTANCE: f64 = 5.0;

/// The numbers are in milliseconds.
const UNIT_NANOS: f64 = 1e6;

/// A line of the file.
struct Tick {
    value: u64,
    percentile: f64,
    /// How many times are not above the value.
    count: u64,
}

/// The distribution as text.
pub(crate) fn write(times: &Times, is_partial: bool) -> String {
    let histogram = times.histogram();
    let digits = usize::from(histogram.sigfig());
    let mut text = String::new();
    if is_partial {
        text += "# The run was ended early: these are the times until then.\n";
    }
    if let Some(ages) = times.unanswered() {
        let _ = writeln!(
            text,
            "# {} messages without an answer count with their age, {:.digits$} or more: times from \
             there on are lower bounds.",
            ages.count,
            ages.least.as_nanos() as f64 / UNIT_NANOS,
        );
    }
    let _ = writeln!(
        text,
        "{:>12} {:>14} {:>10} {:>14}\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    );
    for Tick { value, percentile, count } in ticks(times) {
        let (value, share) = (value as f64 / UNIT_NANOS, percentile / 100.0);
        let _ = write!(text, "{value:12.digits$} {share:.12} {count:>10}");
        if percentile < 100.0 {
            let _ = write!(text, " {:14.2}", 1.0 / (1.0 - share));
        }
        text.push('\n');
    }
    let (mean, deviation) = (histogram.mean() / UNIT_NANOS, histogram.stdev() / UNIT_NANOS);
    let max = histogram.max() as f64 / UNIT_NANOS;
    let sub_buckets = (2 * 10_u32.pow(histogram.sigfig().into())).next_power_of_two();
    let _ =
        writeln!(text, "#[Mean    = {mean:12.digits$}, StdDeviation   = {deviation:12.digits$}]");
    let _ =
        writeln!(text, "#[Max     = {max:12.digits$}, Total count    = {:>12}]", histogram.len());
    let _ = writeln!(
        text,
        "#[Buckets = {:>12}, SubBuckets     = {sub_buckets:>12}]",
        histogram.buckets()
    );
    text
}

/// The ticks, with HdrHistogram's own arithmetic: what lies on one must not fall on the next.
fn ticks(times: &Times) -> Vec<Tick> {
    let total = times.count();
    let mut ticks = Vec::new();
    let (mut percentile, mut count) = (0.0, 0);
    for (value, more) in times.counts() {
        count += more;
        while 100.0 * count as f64 / total as f64 >= percentile {
            ticks.push(Tick { value, percentile, count });
            if count == total {
                ticks.push(Tick { value, percentile: 100.0, count });
                break;
            }
            let halvings = ((100.0 / (100.0 - percentile)).ln() / 2_f64.ln()) as i32;
            percentile += 100.0 / (TICKS_PER_HALF_DISTANCE * 2_f64.powi(halvings + 1));
        }
    }
    ticks
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_layout_is_that_of_others() {
        let mut times = Times::new();
        for millis in [1, 2, 3, 4, 100] {
            times.record(Duration::from_millis(millis));
        }
        let text = write(&times, false);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "       Value     Percentile TotalCount 1/(1-Percentile)");
        assert_eq!(lines[2], "       1.000 0.000000000000          1           1.00");
        assert_eq!(lines[3], "       1.000 0.100000000000          1           1.11");
        let end = lines.len();
        assert_eq!(lines[end - 4], "     100.008 1.000000000000          5");
        assert!(lines[end - 3].starts_with("#[Mean    =       21.99"), "{text}");
        assert_eq!(lines[end - 2], "#[Max     =      100.008, Total count    =            5]");
        assert!(lines[end - 1].ends_with("SubBuckets     =         2048]"), "{text}");
        assert!(write(&times, true).starts_with("# The run was ended early"));
    }

    #[test]
    fn nothing_is_written_of_nothing() {
        assert_eq!(write(&Times::new(), false).lines().count(), 5);
    }
}
