//! What a search for the highest rate and a comparison of two servers have come to: the answer, all
//! that it is from, and a drawing.

use std::{
    fmt::{self, Display},
    time::Duration,
};

use super::{
    super::trials::{answer, values},
    chart::{Axis, Band, Chart, Line, Point, Style},
    charts::{RED, short, times_axis},
    escape, micros, time,
};
use crate::{
    search::{Search, Step},
    units::count,
    versus::{Row, Versus},
};

/// From which factor between the highest and the lowest on rates are on a logarithmic scale.
const LOGARITHMIC_FROM: f64 = 8.0;

/// How far the plot of intervals reaches at least, to both sides of no difference.
const REACH_MIN: f64 = 0.01;

/// Writes what a search has found: the answer, its trials, and those as a chart.
pub(super) fn write_search(f: &mut fmt::Formatter<'_>, search: &Search) -> fmt::Result {
    let answer = answer(search);
    writeln!(
        f,
        "<section class=\"card\" id=\"search\"><h2>Search for the highest rate</h2>\n\
         <p class=\"answer\">{}</p>",
        escape(&answer[0])
    )?;
    for line in &answer[1..] {
        writeln!(f, "<p class=\"muted\">{}</p>", escape(line))?;
    }
    writeln!(
        f,
        "<div class=\"scroll\" tabindex=\"0\"><table><thead><tr><th>offered/s</th>\
         <th>answered/s</th><th>p50</th><th>p99</th><th>max</th>\
         <th class=\"words\"></th></tr></thead><tbody>"
    )?;
    search.steps.iter().try_for_each(|step| write_step(f, step))?;
    writeln!(f, "</tbody></table></div></section>")?;
    match chart(search) {
        Some(chart) => writeln!(f, "<section class=\"charts\">{chart}</section>"),
        None => Ok(()),
    }
}

fn write_step(f: &mut fmt::Formatter<'_>, step: &Step) -> fmt::Result {
    write!(f, "<tr><td>{}</td><td>{}</td>", count(step.rate), count(step.achieved))?;
    match &step.response {
        Some(times) => {
            for nanos in [times.p50_ns, times.p99_ns, times.max_ns] {
                write!(f, "<td>{}</td>", time(Duration::from_nanos(nanos)))?;
            }
        }
        None => f.write_str("<td>–</td><td>–</td><td>–</td>")?,
    }
    let (class, text) = match (step.is_held, step.confirms) {
        (true, true) => ("good", "✓ confirmed".into()),
        (true, false) => ("good", "✓ held".into()),
        (false, _) => ("bad", format!("✗ {}", micros(&step.reason))),
    };
    writeln!(f, "<td class=\"words {class}\">{}</td></tr>", escape(&text))
}

/// The trials by their rates.
fn chart(search: &Search) -> Option<Chart> {
    let all = [
        ("confirmed", 0, (true, true)),
        ("held", 2, (true, false)),
        ("not held", RED, (false, false)),
    ];
    let is_like = |step: &Step, kind: (bool, bool)| match kind {
        (false, _) => !step.is_held,
        kind => (step.is_held, step.confirms) == kind,
    };
    let lines = all.into_iter().map(|(name, color, kind)| {
        let steps = search.steps.iter().filter(|step| is_like(step, kind));
        let points = steps.filter_map(|step| {
            let p99 = Duration::from_nanos(step.response?.p99_ns);
            Some(Point {
                x: step.rate,
                y: Some(p99.as_secs_f64()),
                at: format!("{}/s", count(step.rate)),
                value: time(p99),
            })
        });
        Line { name: name.into(), color, style: Style::Dots, points: points.collect() }
    });
    let lines: Vec<_> = lines.filter(|line| !line.points.is_empty()).collect();
    let points = || lines.iter().flat_map(|line| &line.points);
    let y = times_axis(points().filter_map(|point| point.y))?;
    let most = points().map(|point| point.x).fold(0.0, f64::max);
    let least = points().map(|point| point.x).fold(f64::INFINITY, f64::min);
    let x = match most / least >= LOGARITHMIC_FROM {
        true => Axis::logarithmic(least, most, short),
        false => Axis::linear(most, short),
    };
    let failed = search.failed.map(|failed| Band { from: failed, to: x.end(), name: "too much" });
    Some(Chart {
        title: "p99 by rate",
        note:
            "Each dot is a trial: its rate, and the response time that 99 of 100 messages did not \
               exceed."
                .into(),
        x,
        x_label: "messages offered per second",
        y,
        lines,
        bands: failed.into_iter().collect(),
    })
}

/// Writes how two servers compare: the sentence, the figures, and each interval as a drawing.
pub(super) fn write_versus(f: &mut fmt::Formatter<'_>, versus: &Versus) -> fmt::Result {
    let [first, second] = &versus.urls;
    let rounds = count(versus.rounds as f64);
    let edges = versus.rows.iter().flat_map(|row| [row.low, row.high, row.ratio]);
    let reach = edges.map(|ratio| (ratio - 1.0).abs()).fold(REACH_MIN, f64::max) * 1.05;
    writeln!(
        f,
        "<section class=\"card\" id=\"versus\"><h2>Comparison of two servers</h2>\n\
         <p class=\"answer\">{}</p>\n\
         <p class=\"muted\">first: {}, second: {}. Medians of {rounds} rounds, in each of which \
         both were driven in turn. The change is the second by the first; its intervals hold with \
         95 %, all together.</p>",
        escape(&micros(&versus.conclusion)),
        escape(first),
        escape(second),
    )?;
    writeln!(
        f,
        "<div class=\"scroll\" tabindex=\"0\"><table><thead><tr><th></th><th>first</th>\
         <th>second</th><th>change</th><th>interval</th><th class=\"forest\"><div>\
         <span style=\"left:0\">{:+.1} %</span><span style=\"left:50%\">0</span>\
         <span style=\"left:100%\">{:+.1} %</span></div></th></tr></thead><tbody>",
        -100.0 * reach,
        100.0 * reach
    )?;
    versus.rows.iter().try_for_each(|row| write_row(f, row, reach))?;
    writeln!(f, "</tbody></table></div></section>")
}

fn write_row(f: &mut fmt::Formatter<'_>, row: &Row, reach: f64) -> fmt::Result {
    let Row { name, ratio, low, high, is_real, .. } = row;
    let [first, second] = values(row).map(|value| escape(&micros(&value)));
    let change = |ratio: f64| Change(ratio - 1.0);
    let place = |ratio: f64| (50.0 + 50.0 * (ratio - 1.0) / reach).clamp(0.0, 100.0);
    let (from, to) = (place(*low), place(*high));
    let class = if *is_real { "real" } else { "open" };
    writeln!(
        f,
        "<tr class=\"{class}\"><th>{}</th><td>{first}</td><td>{second}</td><td><b>{}</b></td>\
         <td>{} to {}</td><td class=\"forest\"><div><i class=\"none\"></i>\
         <i class=\"span\" style=\"left:{from:.2}%;width:{:.2}%\"></i>\
         <i class=\"point\" style=\"left:{:.2}%\"></i></div></td></tr>",
        escape(name),
        change(*ratio),
        change(*low),
        change(*high),
        to - from,
        place(*ratio),
    )
}

/// A change in percent.
struct Change(f64);

impl Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:+.2} %", 100.0 * self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{results::Summary, times::Times, verdict::Verdict};

    fn step(rate: f64, is_held: bool, confirms: bool) -> Step {
        let mut times = Times::new();
        times.record(Duration::from_micros(rate as u64));
        Step {
            rate,
            achieved: rate,
            response: Summary::of(&times),
            is_held,
            reason: if is_held { String::new() } else { "p99<1us: 2 us".into() },
            verdict: Verdict::Valid,
            confirms,
        }
    }

    struct Page<F>(F);

    impl<F: Fn(&mut fmt::Formatter<'_>) -> fmt::Result> Display for Page<F> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0(f)
        }
    }

    #[test]
    fn a_search_has_its_answer_and_its_trials() {
        let mut search = Search {
            objectives: vec!["p99<1us".into()],
            highest: Some(2000.0),
            failed: Some(4000.0),
            is_client_limit: false,
            steps: vec![
                step(1000.0, true, false),
                step(4000.0, false, false),
                step(2000.0, true, true),
            ],
        };
        let text = Page(|f: &mut fmt::Formatter<'_>| write_search(f, &search)).to_string();
        for part in [
            "2,000 msg/s is the most at which p99&lt;1us",
            "✗ p99&lt;1us: 2 µs",
            "✓ confirmed",
            "dots",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        search.steps.clear();
        assert!(chart(&search).is_none());
    }

    #[test]
    fn a_comparison_has_its_intervals() {
        let row = |name: &str, low, high, is_real| Row {
            name: name.into(),
            unit: "us".into(),
            values: [1.0, 2.0],
            ratio: (low + high) / 2.0,
            low,
            high,
            is_real,
        };
        let versus = Versus {
            urls: ["ws://<one>".into(), "ws://two".into()],
            rounds: 20,
            rows: vec![row("p50", 1.02, 1.04, true), row("p99", 0.8, 1.2, false)],
            conclusion: "The difference is real".into(),
        };
        let text = Page(|f: &mut fmt::Formatter<'_>| write_versus(f, &versus)).to_string();
        assert!(text.contains("ws://&lt;one&gt;") && text.contains("+3.00 %"), "{text}");
        assert_eq!(text.matches("class=\"real\"").count(), 1);
        assert!(text.contains("left:2.38%;width:95.24%"), "{text}");
    }
}
