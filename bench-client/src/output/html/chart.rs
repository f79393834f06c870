//! Charts of lines as inline SVG. The drawing stretches with the page; the words around it are text
//! of the page, which keeps its size.

use std::fmt::{self, Display};

use serde_json::{Value, json};

use super::escape;

/// The drawing's width and height, in its own units.
const SIZE: f64 = 1000.0;

/// The part of the axis that a band's name needs.
const NAMED_BAND_MIN: f64 = 0.14;

/// A chart of lines.
#[derive(Debug)]
pub(super) struct Chart {
    pub(super) title: &'static str,
    /// What is shown, in a sentence.
    pub(super) note: String,
    pub(super) x: Axis,
    pub(super) x_label: &'static str,
    pub(super) y: Axis,
    pub(super) lines: Vec<Line>,
    /// Parts of the x axis that have a name.
    pub(super) bands: Vec<Band>,
}

/// A line of a chart.
#[derive(Debug, Default)]
pub(super) struct Line {
    pub(super) name: String,
    /// The number of its color.
    pub(super) color: usize,
    pub(super) style: Style,
    pub(super) points: Vec<Point>,
}

/// How a line is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Style {
    #[default]
    Solid,
    Dashed,
    /// What is not certain: the rest of the line before, which has its name.
    Dotted,
    /// The points by themselves.
    Dots,
}

/// A point of a line, and what is said about it. Without a `y` the line is interrupted.
#[derive(Debug)]
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) y: Option<f64>,
    pub(super) at: String,
    pub(super) value: String,
}

#[derive(Debug)]
pub(super) struct Band {
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) name: &'static str,
}

/// An axis with its ticks.
#[derive(Debug)]
pub(super) struct Axis {
    from: f64,
    to: f64,
    is_logarithmic: bool,
    ticks: Vec<(f64, String)>,
}

impl Axis {
    /// From zero to a round number that is not below `to`.
    pub(super) fn linear(to: f64, label: impl Fn(f64) -> String) -> Self {
        let axis = Self::exact(to, &label);
        let step = axis.ticks.get(1).map_or(1.0, |(tick, _)| *tick);
        // Lines do not touch the upper edge.
        let to = (1.02 * to / step).ceil().max(1.0) * step;
        let steps = (to / step).round() as usize;
        let ticks = (0..=steps).map(|i| i as f64 * step).map(|tick| (tick, label(tick)));
        Self { to, ticks: ticks.collect(), ..axis }
    }

    /// From zero to exactly `to`.
    pub(super) fn exact(to: f64, label: impl Fn(f64) -> String) -> Self {
        let to = if to > 0.0 { to } else { 1.0 };
        let step = round_step(to / 5.0);
        let steps = (to / step + 1e-9).floor() as usize;
        let ticks = (0..=steps).map(|i| i as f64 * step).map(|tick| (tick, label(tick)));
        Self { from: 0.0, to, is_logarithmic: false, ticks: ticks.collect() }
    }

    /// The powers of ten around what is shown, and what is between them if those are few.
    pub(super) fn logarithmic(from: f64, to: f64, label: impl Fn(f64) -> String) -> Self {
        let (low, high) = (from.log10().floor() as i32, to.log10().ceil() as i32);
        let high = high.max(low + 1);
        let between: &[f64] = if high - low <= 2 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let all = (low..=high)
            .flat_map(|power| between.iter().map(move |part| part * 10_f64.powi(power)))
            .collect::<Vec<_>>();
        let start = all.iter().copied().rfind(|tick| *tick <= from * 1.001).unwrap_or(from);
        let end = all.iter().copied().find(|tick| *tick >= to * 0.999).unwrap_or(to);
        let ticks = all.into_iter().filter(|tick| (start..=end).contains(tick));
        let ticks = ticks.map(|tick| (tick, label(tick))).collect();
        Self { from: start, to: end, is_logarithmic: true, ticks }
    }

    /// From 1 to `to` on a logarithmic scale, with these ticks.
    pub(super) fn with_ticks(to: f64, ticks: Vec<(f64, String)>) -> Self {
        Self { from: 1.0, to: to.max(1.1), is_logarithmic: true, ticks }
    }

    /// The value at its end.
    pub(super) fn end(&self) -> f64 {
        self.to
    }

    /// Where a value is, from 0 to 1.
    fn place(&self, value: f64) -> f64 {
        let place = if self.is_logarithmic {
            (value.max(1e-300) / self.from).ln() / (self.to / self.from).ln()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        place.clamp(0.0, 1.0)
    }
}

/// 1, 2 or 5 times a power of ten, and not below `least`.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    let all = [1.0, 2.0, 5.0, 10.0].map(|part| part * power);
    all.into_iter().find(|step| *step >= least * 0.999).unwrap_or(10.0 * power)
}

impl Chart {
    fn path(&self, line: &Line) -> String {
        let mut path = String::new();
        let mut is_open = false;
        for (place, point) in line.points.iter().enumerate() {
            let Some(y) = point.y else {
                is_open = false;
                continue;
            };
            let (x, y) = (SIZE * self.x.place(point.x), SIZE * (1.0 - self.y.place(y)));
            let next = line.points.get(place + 1).and_then(|next| next.y);
            path += &match is_open {
                true if line.style != Style::Dots => format!("L{x:.1} {y:.1}"),
                // A point by itself is a dot.
                _ if next.is_none() || line.style == Style::Dots => {
                    format!("M{x:.1} {y:.1}h.1")
                }
                _ => format!("M{x:.1} {y:.1}"),
            };
            is_open = true;
        }
        path
    }

    /// What the page tells about the point that is pointed at.
    fn data(&self) -> Value {
        let lines = self.lines.iter().filter(|line| !line.points.is_empty()).map(|line| {
            let points = line.points.iter().filter_map(|Point { x, y, at, value }| {
                let round = |place: f64| (place * 1e4).round() / 1e4;
                Some(json!([round(self.x.place(*x)), round(self.y.place((*y)?)), at, value]))
            });
            json!({ "name": line.name, "color": line.color, "points": points.collect::<Value>() })
        });
        lines.collect()
    }

    /// The bands that are wide enough for their names.
    fn named_bands(&self) -> impl Iterator<Item = &Band> {
        self.bands
            .iter()
            .filter(|band| self.x.place(band.to) - self.x.place(band.from) >= NAMED_BAND_MIN)
    }

    fn write_drawing(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<svg viewBox=\"0 0 {SIZE} {SIZE}\" preserveAspectRatio=\"none\" role=\"img\" ")?;
        write!(f, "aria-label=\"{}\">", escape(self.title))?;
        for Band { from, to, .. } in &self.bands {
            let (from, to) = (SIZE * self.x.place(*from), SIZE * self.x.place(*to));
            write!(f, "<rect class=\"band\" x=\"{from:.1}\" width=\"{:.1}\" ", to - from)?;
            write!(f, "y=\"0\" height=\"{SIZE}\"/>")?;
        }
        for (tick, _) in &self.y.ticks {
            let y = SIZE * (1.0 - self.y.place(*tick));
            write!(f, "<path class=\"grid\" d=\"M0 {y:.1}H{SIZE}\"/>")?;
        }
        for (tick, _) in &self.x.ticks {
            let x = SIZE * self.x.place(*tick);
            write!(f, "<path class=\"grid\" d=\"M{x:.1} 0V{SIZE}\"/>")?;
        }
        // The first line is the one that counts, and is drawn over the others.
        for line in self.lines.iter().rev() {
            let Line { color, style, .. } = line;
            let class = format!("mark c{color} {style}");
            write!(f, "<path class=\"{class}\" d=\"{}\"/>", self.path(line))?;
        }
        write!(f, "</svg>")
    }
}

impl Display for Chart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let data = escape(&self.data().to_string());
        write!(f, "<figure class=\"card chart\" data-lines=\"{data}\"><figcaption>")?;
        write!(
            f,
            "<h3>{}</h3><p>{}</p><ul class=\"legend\">",
            escape(self.title),
            escape(&self.note)
        )?;
        for Line { name, color, style, .. } in
            self.lines.iter().filter(|line| line.style != Style::Dotted)
        {
            write!(f, "<li class=\"c{color} {style}\">{}</li>", escape(name))?;
        }
        write!(f, "</ul></figcaption><div class=\"plot\">")?;
        self.write_drawing(f)?;
        for (tick, label) in &self.y.ticks {
            let place = 100.0 * self.y.place(*tick);
            write!(f, "<span class=\"y\" style=\"bottom:{place:.2}%\">{}</span>", escape(label))?;
        }
        for (tick, label) in &self.x.ticks {
            let place = 100.0 * self.x.place(*tick);
            write!(f, "<span class=\"x\" style=\"left:{place:.2}%\">{}</span>", escape(label))?;
        }
        for Band { from, to, name } in self.named_bands() {
            let (from, to) = (100.0 * self.x.place(*from), 100.0 * self.x.place(*to));
            let width = to - from;
            write!(
                f,
                "<span class=\"name\" style=\"left:{from:.2}%;width:{width:.2}%\">{name}</span>"
            )?;
        }
        write!(f, "<div class=\"cursor\" hidden></div><div class=\"tip\" hidden></div></div>")?;
        writeln!(f, "<p class=\"axis\">{}</p></figure>", escape(self.x_label))
    }
}

impl Display for Style {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Solid => "solid",
            Self::Dashed => "dashed",
            Self::Dotted => "dotted",
            Self::Dots => "dots",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn ticks_are_round() {
        let text = |value: f64| value.to_string();
        assert_eq!(labels(&Axis::linear(23.0, text)), ["0", "5", "10", "15", "20", "25"]);
        assert_eq!(labels(&Axis::exact(23.0, text)), ["0", "5", "10", "15", "20"]);
        assert_eq!(labels(&Axis::linear(0.0, text)).first(), Some(&"0"));
        assert_eq!(labels(&Axis::logarithmic(3.0, 40.0, text)), ["2", "5", "10", "20", "50"]);
        let powers = ["1", "10", "100", "1000", "10000"];
        assert_eq!(labels(&Axis::logarithmic(1.0, 9999.0, text)), powers);
    }

    #[test]
    fn a_line_has_gaps_where_nothing_is_known() {
        let point = |x, y| Point { x, y, at: String::new(), value: String::new() };
        let points = vec![
            point(0.0, Some(0.0)),
            point(1.0, Some(1.0)),
            point(2.0, None),
            point(3.0, Some(2.0)),
        ];
        let chart = Chart {
            title: "a<b",
            note: String::new(),
            x: Axis::exact(4.0, |_| String::new()),
            x_label: "",
            y: Axis::exact(2.0, |_| String::new()),
            lines: vec![Line { points, ..Line::default() }],
            bands: Vec::new(),
        };
        assert_eq!(chart.path(&chart.lines[0]), "M0.0 1000.0L250.0 500.0M750.0 0.0h.1");
        assert!(chart.to_string().contains("<h3>a&lt;b</h3>"));
    }
}
