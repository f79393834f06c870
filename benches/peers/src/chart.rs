//! The report as a picture: CPU per message, a panel for each case and a bar for each server.
//!
//! A bar is as long as the server's ratio to the baseline, which has a line through the panel; its
//! dark part is time in user space, the other one the kernel's, `ksoftirqd` included. Bars that are
//! too long for the panel are cut, visibly.

use std::fmt::Display;

use plotters::{
    prelude::{
        DrawingArea, FontFamily, FontStyle, IntoDrawingArea, IntoFont, PathElement, Polygon,
        RGBColor, Rectangle, SVGBackend, ShapeStyle, Text,
    },
    style::{
        Color, TextStyle,
        text_anchor::{HPos, Pos, VPos},
    },
};

use crate::report::{CaseReport, Report, Row};

const MARGIN: i32 = 40;
const HEADER: i32 = 112;
const FOOTER: i32 = 64;
const GAP: i32 = 56;
const PANEL_TITLE: i32 = 36;
const ROW: i32 = 27;
const BAR: i32 = 17;

/// The widths of a panel and its columns: names to the left of the bars, figures to their right.
const PANEL: i32 = 600;
const NAMES_MAX: i32 = 250;
const FIGURES: i32 = 142;

/// What a letter of a name takes at most, and the space around a name.
const LETTER: i32 = 10;
const NAME_GAP: i32 = 28;

/// Bars of a higher ratio are cut.
const RATIO_MAX: f64 = 2.2;

const FONT: &str = "DejaVu Sans, Verdana, Helvetica, Arial, sans-serif";
const INK: RGBColor = RGBColor(33, 37, 41);
const MUTED: RGBColor = RGBColor(108, 117, 125);
const FAINT: RGBColor = RGBColor(233, 236, 239);
const PAPER: RGBColor = RGBColor(255, 255, 255);
const ALARM: RGBColor = RGBColor(201, 42, 42);

/// User space and kernel, of this project's servers and of all others.
const OWN: Shades = (RGBColor(9, 92, 125), RGBColor(59, 165, 201));
const OTHERS: Shades = (RGBColor(73, 80, 87), RGBColor(173, 181, 189));

/// What a control is paled by.
const PALE: f64 = 0.55;

type Shades = (RGBColor, RGBColor);
type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// Draws on an area; what fails is kept and told at the end.
struct Canvas<'a> {
    area: Area<'a>,
    error: Option<String>,
}

/// How a text looks and which of its points is at its place.
#[derive(Clone, Copy)]
struct Look {
    size: i32,
    color: RGBColor,
    is_bold: bool,
    anchor: HPos,
}

const TEXT: Look = Look { size: 16, color: INK, is_bold: false, anchor: HPos::Left };

/// The picture as SVG.
pub(crate) fn svg(report: &Report) -> Result<String, String> {
    let columns = if report.cases.len() > 1 { 2 } else { 1 };
    let width = 2 * MARGIN + columns * PANEL + (columns - 1) * GAP;
    let rows: Vec<&[CaseReport]> = report.cases.chunks(columns as usize).collect();
    let height = HEADER + FOOTER + rows.iter().map(|row| panel_height(row)).sum::<i32>();
    let mut text = String::new();
    let area = SVGBackend::with_string(&mut text, (width as u32, height as u32));
    let mut canvas = Canvas { area: area.into_drawing_area(), error: None };
    canvas.rectangle((0, 0), (width, height), &PAPER);
    header(&mut canvas, report);
    let mut top = HEADER;
    for row in rows {
        for (column, case) in row.iter().enumerate() {
            panel(&mut canvas, case, (MARGIN + column as i32 * (PANEL + GAP), top));
        }
        top += panel_height(row);
    }
    footer(&mut canvas, report, top);
    canvas.finish()?;
    Ok(text)
}

/// As high as the case with the most servers needs it.
fn panel_height(cases: &[CaseReport]) -> i32 {
    let servers = cases.iter().map(|case| case.servers.len()).max().unwrap_or(0);
    PANEL_TITLE + servers as i32 * ROW + GAP / 2
}

fn header(canvas: &mut Canvas<'_>, report: &Report) {
    let title = Look { size: 30, is_bold: true, ..TEXT };
    canvas.text("Server CPU per echo", (MARGIN, 40), title);
    let relative = format!("relative to {}; shorter is better", report.baseline);
    canvas.text(&relative, (MARGIN, 70), Look { color: MUTED, size: 18, ..TEXT });
    let right = MARGIN + PANEL + if report.cases.len() > 1 { PANEL + GAP } else { 0 };
    let legend = Look { color: MUTED, ..TEXT };
    let mut left = right - 236;
    for (name, color, width) in [("user", OTHERS.0, 66), ("kernel", OTHERS.1, 0)] {
        canvas.rectangle((left, 34), (left + 13, 47), &color);
        canvas.text(name, (left + 20, 40), legend);
        left += width;
    }
    canvas.whisker((right - 76, right - 52), 40);
    canvas.text("95 %", (right, 40), Look { anchor: HPos::Right, ..legend });
}

fn footer(canvas: &mut Canvas<'_>, report: &Report, top: i32) {
    let (rounds, length) = (report.slices.rounds, report.slices.text());
    let (processor, kernel) = (&report.processor, &report.kernel);
    let small = Look { color: MUTED, size: 14, ..TEXT };
    let lines = [
        format!(
            "All servers at once on one core, driven one at a time, {rounds} slices of {length}."
        ),
        format!("{processor}, Linux {kernel}."),
    ];
    for (line, y) in lines.iter().zip([top + 10, top + 30]) {
        canvas.text(line, (MARGIN, y), small);
    }
}

fn panel(canvas: &mut Canvas<'_>, case: &CaseReport, (left, top): (i32, i32)) {
    canvas.text(&case.title, (left, top + 10), Look { size: 18, is_bold: true, ..TEXT });
    let right = left + PANEL;
    let is_bad = !case.complaints().is_empty();
    let (title, color) =
        if is_bad { ("the control is off: void", ALARM) } else { ("µs per echo", MUTED) };
    let look = Look { color, anchor: HPos::Right, size: 14, is_bold: is_bad };
    canvas.text(title, (right, top + 10), look);

    let highest = case.servers.iter().map(|row| row.closed_loop.cpu_ratio.high);
    let scale = highest.fold(1.1, f64::max).min(RATIO_MAX);
    let start = left + names_width(&case.servers);
    let at =
        |ratio: f64| start + (ratio / scale * f64::from(right - FIGURES - start)).round() as i32;
    let (first, last) =
        (top + PANEL_TITLE - 4, top + PANEL_TITLE + case.servers.len() as i32 * ROW);
    for half in 1..=(scale * 2.0) as i32 {
        canvas.line((at(f64::from(half) / 2.0), first), (at(f64::from(half) / 2.0), last), &FAINT);
    }
    for (index, row) in case.servers.iter().enumerate() {
        let middle = top + PANEL_TITLE + index as i32 * ROW + ROW / 2;
        names_and_figures(canvas, row, start, right, middle);
        bar(canvas, row, scale, &at, middle);
    }
    canvas.line((start, first), (start, last), &MUTED);
    for dash in (first..last).step_by(6) {
        canvas.line((at(1.0), dash), (at(1.0), last.min(dash + 3)), &INK);
    }
}

fn names_width(rows: &[Row]) -> i32 {
    let longest = rows.iter().filter(|row| !row.is_control).map(|row| row.name.chars().count());
    NAMES_MAX.min(longest.max().unwrap_or(0) as i32 * LETTER + NAME_GAP)
}

fn names_and_figures(canvas: &mut Canvas<'_>, row: &Row, start: i32, right: i32, middle: i32) {
    let color = if row.is_control { MUTED } else { INK };
    let to_right = Look { anchor: HPos::Right, color, ..TEXT };
    let name = if row.is_control { "control" } else { &row.name };
    let is_strong = row.is_baseline || is_own(row) && !row.is_control;
    canvas.text(name, (start - 10, middle), Look { is_bold: is_strong, ..to_right });
    let ratio = format!("{:.2}×", row.closed_loop.cpu_ratio.median);
    canvas.text(&ratio, (right - 66, middle), Look { is_bold: !row.is_control, ..to_right });
    let cost = format!("{:.2}", row.closed_loop.cpu_ns / 1e3);
    canvas.text(&cost, (right, middle), Look { color: MUTED, ..to_right });
}

fn bar(canvas: &mut Canvas<'_>, row: &Row, scale: f64, at: &impl Fn(f64) -> i32, middle: i32) {
    let figures = &row.closed_loop;
    let ratio = figures.cpu_ratio;
    let (user, kernel) = if is_own(row) { OWN } else { OTHERS };
    let opacity = if row.is_control { PALE } else { 1.0 };
    let (top, bottom) = (middle - BAR / 2, middle + BAR / 2 + 1);
    let end = at(ratio.median.min(scale));
    let border = at((ratio.median * figures.user_ns / figures.cpu_ns).min(scale));
    canvas.rectangle((at(0.0), top), (border, bottom), &user.mix(opacity));
    canvas.rectangle((border, top), (end, bottom), &kernel.mix(opacity));
    if ratio.median > scale {
        // A cut through the bar: it goes on.
        for from in [end - 20, end - 12] {
            let corners = [(from, bottom), (from + 6, top), (from + 9, top), (from + 3, bottom)];
            canvas.polygon(&corners, PAPER);
        }
    } else if !row.is_baseline {
        canvas.whisker((at(ratio.low), at(ratio.high.min(scale))), middle);
    }
}

fn is_own(row: &Row) -> bool {
    row.name.starts_with("wireloop")
}

impl Canvas<'_> {
    fn rectangle(&mut self, from: (i32, i32), to: (i32, i32), color: &impl Color) {
        let drawn = self.area.draw(&Rectangle::new([from, to], color.filled()));
        self.keep(drawn);
    }

    fn polygon(&mut self, corners: &[(i32, i32)], color: RGBColor) {
        let drawn = self.area.draw(&Polygon::new(corners, color.filled()));
        self.keep(drawn);
    }

    fn line(&mut self, from: (i32, i32), to: (i32, i32), color: &RGBColor) {
        let drawn = self.area.draw(&PathElement::new([from, to], ShapeStyle::from(color)));
        self.keep(drawn);
    }

    /// An interval: a line with ends.
    fn whisker(&mut self, (low, high): (i32, i32), middle: i32) {
        self.line((low, middle), (high, middle), &INK);
        for end in [low, high] {
            self.line((end, middle - 3), (end, middle + 3), &INK);
        }
    }

    fn text(&mut self, text: &str, place: (i32, i32), look: Look) {
        let style = if look.is_bold { FontStyle::Bold } else { FontStyle::Normal };
        let font = (FontFamily::Name(FONT), look.size, style).into_font();
        let anchor = Pos::new(look.anchor, VPos::Center);
        let style = TextStyle::from(font).color(&look.color).pos(anchor);
        let drawn = self.area.draw(&Text::new(text, place, style));
        self.keep(drawn);
    }

    fn keep(&mut self, drawn: Result<(), impl Display>) {
        if let Err(error) = drawn {
            self.error.get_or_insert_with(|| error.to_string());
        }
    }

    fn finish(mut self) -> Result<(), String> {
        let presented = self.area.present();
        self.keep(presented);
        self.error.map_or(Ok(()), |error| Err(format!("cannot draw the chart: {error}")))
    }
}
