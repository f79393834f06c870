//! The charts of a run: what is drawn of its results.

use std::time::Duration;

use super::{
    chart::{Axis, Band, Chart, Line, Point, Style},
    time,
};
use crate::{
    measure::{
        results::{Moment, Phase, Results, Summary},
        stats::Stats,
        times::Times,
    },
    units::count,
};

/// Points of a percentile line in each factor of ten.
const POINTS_PER_DECADE: f64 = 60.0;

/// Rates of a shorter part of a second would be noise.
const LENGTH_MIN: Duration = Duration::from_millis(200);

/// From which factor between the greatest and the least on a scale is logarithmic.
const LOGARITHMIC_FROM: f64 = 20.0;

/// The number of the color of errors.
pub(super) const RED: usize = 9;

/// The charts of a run, those that have something to show.
pub(super) fn all(results: &Results) -> Vec<Chart> {
    let total = results.total();
    let all = [
        latency(results),
        latency_over_time(results),
        rates(results),
        opening(&total),
        connections(results),
        server_cpu(results),
        server_memory(results),
    ];
    // A moment by itself shows no course.
    all.into_iter()
        .flatten()
        .filter(|chart| chart.bands.is_empty() || results.series.len() > 1)
        .collect()
}

fn latency(results: &Results) -> Option<Chart> {
    let mut lines = Vec::new();
    for (place, (group, stats)) in results.groups.iter().zip(&results.tally.groups).enumerate() {
        let separator = if group.name.is_empty() { "" } else { ": " };
        let name = |kind| format!("{}{separator}{kind}", group.name);
        if group.offered.is_some() {
            lines.extend(percentiles(name("response"), place, Style::Solid, &stats.response));
            lines.extend(percentiles(name("service"), place, Style::Dashed, &stats.service));
        } else {
            lines.extend(percentiles(name("echo"), place, Style::Solid, &stats.service));
        }
    }
    let note = "How long so many of all messages took at most. Dotted: fewer than ten messages were \
                slower, or only a lower bound is known.";
    by_percentile("Latency by percentile", note, lines)
}

fn opening(total: &Stats) -> Option<Chart> {
    let phases = &total.phases;
    let all = [
        ("opening", &phases.opening),
        ("TCP", &phases.connect),
        ("TLS", &phases.tls),
        ("upgrade", &phases.upgrade),
        ("first message", &phases.first_message),
    ];
    let lines = all
        .into_iter()
        .enumerate()
        .flat_map(|(place, (name, times))| percentiles(name.into(), place, Style::Solid, times));
    let note = "How long so many of all connections took at most until they were open, and in \
                which part of that.";
    by_percentile("Opening by percentile", note, lines.collect())
}

fn by_percentile(title: &'static str, note: &str, lines: Vec<Line>) -> Option<Chart> {
    let points = || lines.iter().flat_map(|line| &line.points);
    let to = points().map(|point| point.x).max_by(f64::total_cmp)?;
    let nines = to.log10().floor().max(1.0) as usize;
    let mut ticks = vec![(1.0, "0".into()), (2.0, "50".into())];
    ticks.extend((1..=nines).map(|nines| {
        let digits = nines.saturating_sub(2);
        let power = 10_f64.powi(nines as i32);
        (power, format!("{:.digits$}", 100.0 * (1.0 - 1.0 / power)))
    }));
    ticks.retain(|(tick, _)| *tick <= to.max(2.0));
    Some(Chart {
        title,
        note: note.into(),
        x: Axis::with_ticks(to, ticks),
        x_label: "percentile, by 1 / (1 - p)",
        y: times_axis(points().filter_map(|point| point.y))?,
        lines,
        bands: Vec::new(),
    })
}

/// The line of a distribution: as far as it is certain, and from there on.
fn percentiles(name: String, color: usize, style: Style, times: &Times) -> Vec<Line> {
    let count = times.count() as f64;
    // One time has no distribution.
    if times.count() < 2 {
        return Vec::new();
    }
    let steps = (count.log10() * POINTS_PER_DECADE).ceil() as usize;
    let (mut certain, mut rest) = (Vec::new(), Vec::new());
    for step in 0..=steps {
        let x = 10_f64.powf(step as f64 / POINTS_PER_DECADE).min(count);
        let share = 1.0 - 1.0 / x;
        let bound = if step == steps { times.max() } else { times.at(share) };
        let point = || Point {
            x,
            y: Some(bound.time.as_secs_f64()),
            at: match step == steps {
                true => "maximum".into(),
                false => format!("p{}", percentile(share)),
            },
            value: format!("{}{}", if bound.is_exact { "" } else { "> " }, time(bound.time)),
        };
        if rest.is_empty() && bound.is_exact && (count / x >= 10.0 || step == 0) {
            certain.push(point());
        } else {
            if rest.is_empty() {
                // The lines meet. What is told about the point is told once.
                rest.extend(certain.last().map(|last: &Point| Point {
                    x: last.x,
                    y: last.y,
                    at: last.at.clone(),
                    value: last.value.clone(),
                }));
            }
            rest.push(point());
        }
    }
    let dotted = Line { name: name.clone(), color, style: Style::Dotted, points: rest };
    vec![Line { name, color, style, points: certain }, dotted]
}

/// A percentile with as many digits as tell it from 100.
fn percentile(share: f64) -> String {
    let digits = (-(1.0 - share).log10() - 2.0 - 1e-6).ceil().max(0.0) as usize;
    format!("{:.digits$}", 100.0 * share)
}

fn latency_over_time(results: &Results) -> Option<Chart> {
    let figure = |name: &str, color, of: fn(&Summary) -> u64| Line {
        name: name.into(),
        color,
        points: points(&results.series, time_seconds, |moment| {
            moment.response.as_ref().map(|summary| of(summary) as f64 / 1e9)
        }),
        ..Line::default()
    };
    let lines = vec![
        figure("p50", 0, |summary| summary.p50_ns),
        figure("p99", 1, |summary| summary.p99_ns),
        figure("max", 2, |summary| summary.max_ns),
    ];
    let y = times_axis(lines.iter().flat_map(|line| &line.points).filter_map(|point| point.y))?;
    let note = "The response times of all messages that were answered in a second.";
    Some(over_time(results, "Latency over time", note, y, lines))
}

fn rates(results: &Results) -> Option<Chart> {
    let rate = |name: &str, color, of: fn(&Moment) -> Option<f64>| Line {
        name: name.into(),
        color,
        points: points(
            &results.series,
            |rate| format!("{}/s", count(rate)),
            |moment| {
                let seconds = moment.length.as_secs_f64();
                of(moment).filter(|_| moment.length >= LENGTH_MIN).map(|number| number / seconds)
            },
        ),
        ..Line::default()
    };
    // What was sent is dashed and over what came back: as long as both are equal, both are seen.
    let sent = Line { style: Style::Dashed, ..rate("sent", 1, |moment| Some(moment.sent as f64)) };
    let mut lines = vec![sent, rate("echoes", 0, |moment| Some(moment.echoes as f64))];
    if results.series.iter().any(|moment| moment.due.is_some()) {
        lines.push(rate("offered", 3, |moment| moment.due));
    }
    if results.series.iter().any(|moment| moment.failures > 0) {
        lines.push(rate("errors", RED, |moment| Some(moment.failures as f64)));
    }
    let y = linear_axis(&lines, short)?;
    let note = "What was to be sent, what was, what came back and what went wrong, per second.";
    Some(over_time(results, "Rate over time", note, y, lines))
}

fn connections(results: &Results) -> Option<Chart> {
    let open = Line {
        name: "open".into(),
        color: 2,
        points: points(&results.series, count, |moment| Some(moment.open as f64)),
        ..Line::default()
    };
    let lines = vec![open];
    let y = linear_axis(&lines, short)?;
    let note = "Connections that were open at the end of each second.";
    Some(over_time(results, "Connections over time", note, y, lines))
}

fn server_cpu(results: &Results) -> Option<Chart> {
    let percent = |share: f64| format!("{:.0} %", 100.0 * share);
    let busy = Line {
        name: "server".into(),
        color: 3,
        points: points(&results.series, percent, |moment| {
            moment.server_busy.filter(|_| moment.length >= LENGTH_MIN)
        }),
        ..Line::default()
    };
    let lines = vec![busy];
    let y = linear_axis(&lines, percent)?;
    let note = "CPU time of the server's process, and of ksoftirqd where it is counted; 100 % is one \
                processor.";
    Some(over_time(results, "Server: processor", note, y, lines))
}

fn server_memory(results: &Results) -> Option<Chart> {
    let mebibytes = |size: f64| format!("{} MiB", (size * 100.0).round() / 100.0);
    let resident = Line {
        name: "resident".into(),
        color: 4,
        points: points(&results.series, mebibytes, |moment| {
            moment.server_bytes.map(|bytes| bytes as f64 / f64::from(1 << 20))
        }),
        ..Line::default()
    };
    let lines = vec![resident];
    let y = linear_axis(&lines, mebibytes)?;
    let note = "Resident memory of the server's process, without the files it maps.";
    Some(over_time(results, "Server: memory", note, y, lines))
}

fn over_time(
    results: &Results,
    title: &'static str,
    note: &str,
    y: Axis,
    lines: Vec<Line>,
) -> Chart {
    let end = results.series.last().map_or(1.0, |last| (last.at + last.length).as_secs_f64());
    Chart {
        title,
        note: note.into(),
        x: Axis::exact(end, |seconds| format!("{}", (seconds * 100.0).round() / 100.0)),
        x_label: "seconds since the run began",
        y,
        lines,
        bands: bands(&results.series),
    }
}

/// The parts of the run that are not the measurement.
fn bands(series: &[Moment]) -> Vec<Band> {
    let mut bands: Vec<Band> = Vec::new();
    for moment in series {
        let name = match moment.phase {
            Phase::Connecting => "connecting",
            Phase::WarmUp => "warm-up",
            Phase::Draining => "draining",
            Phase::Measuring => continue,
        };
        let (from, to) = (moment.at.as_secs_f64(), (moment.at + moment.length).as_secs_f64());
        match bands.last_mut() {
            Some(band) if band.name == name => band.to = to,
            _ => bands.push(Band { from, to, name }),
        }
    }
    bands
}

fn points(
    series: &[Moment],
    text: impl Fn(f64) -> String,
    of: impl Fn(&Moment) -> Option<f64>,
) -> Vec<Point> {
    let point = |moment: &Moment| {
        let (at, end) = (moment.at.as_secs_f64(), (moment.at + moment.length).as_secs_f64());
        let y = of(moment);
        let value = y.map(&text).unwrap_or_default();
        Point { x: (at + end) / 2.0, y, at: format!("{at:.0} to {end:.1} s"), value }
    };
    series.iter().map(point).collect()
}

/// The axis of times: logarithmic if one scale cannot show both ends.
pub(super) fn times_axis(values: impl Iterator<Item = f64>) -> Option<Axis> {
    let (mut least, mut most) = (f64::INFINITY, 0.0_f64);
    for value in values {
        (least, most) = (least.min(value), most.max(value));
    }
    let label = |seconds: f64| tick(seconds);
    match () {
        () if most <= 0.0 => None,
        () if most / least.max(1e-9) >= LOGARITHMIC_FROM => {
            Some(Axis::logarithmic(least.max(1e-9), most, label))
        }
        () => Some(Axis::linear(most, label)),
    }
}

fn linear_axis(lines: &[Line], label: impl Fn(f64) -> String) -> Option<Axis> {
    let values = lines.iter().flat_map(|line| &line.points).filter_map(|point| point.y);
    values.max_by(f64::total_cmp).map(|most| Axis::linear(most, label))
}

fn time_seconds(seconds: f64) -> String {
    time(Duration::from_secs_f64(seconds))
}

/// A time with as many digits as it needs.
fn tick(seconds: f64) -> String {
    let (value, unit) = match seconds {
        _ if seconds <= 0.0 => return "0".into(),
        _ if seconds < 0.999e-6 => (seconds * 1e9, "ns"),
        _ if seconds < 0.999e-3 => (seconds * 1e6, "µs"),
        _ if seconds < 0.999 => (seconds * 1e3, "ms"),
        _ => (seconds, "s"),
    };
    format!("{} {unit}", (value * 100.0).round() / 100.0)
}

/// A number in five characters.
pub(super) fn short(number: f64) -> String {
    let (value, unit) = match number {
        _ if number >= 1e6 => (number / 1e6, "M"),
        _ if number >= 1e3 => (number / 1e3, "k"),
        _ => (number, ""),
    };
    format!("{}{unit}", (value * 100.0).round() / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_short() {
        assert_eq!(tick(0.0005), "500 µs");
        assert_eq!(tick(0.001), "1 ms");
        assert_eq!(tick(2.5), "2.5 s");
        assert_eq!(short(1500.0), "1.5k");
        assert_eq!([0.5, 0.99, 0.999].map(percentile), ["50", "99", "99.9"]);
    }

    #[test]
    fn what_is_not_certain_is_dotted() {
        let mut times = Times::new();
        for millis in 1..=1000 {
            times.record(Duration::from_millis(millis));
        }
        let lines = percentiles("a".into(), 0, Style::Solid, &times);
        let end = |line: &Line| line.points.last().unwrap().x;
        assert!((99.0..=100.0).contains(&end(&lines[0])), "{}", end(&lines[0]));
        assert!(end(&lines[1]) > 999.0);
        assert_eq!(lines[1].style, Style::Dotted);
        assert!(percentiles("a".into(), 0, Style::Solid, &Times::new()).is_empty());
    }
}
