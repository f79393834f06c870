//! How the figures are laid out: boxes where there is room for them, lines where there is not.

use std::time::Duration;

use ratatui::{
    Frame,
    layout::{Alignment, Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Block, BorderType, Paragraph, Sparkline, SparklineBar, Wrap},
};

use super::{Bar, Figures};
use crate::{
    measure::{results::Phase, times::Times},
    output::text::bound,
    units::{count, time},
};

/// From which size on there are boxes.
const BOXES_FROM: (u16, u16) = (72, 18);

/// From which width on there are two charts beside each other.
const TWO_CHARTS_FROM: u16 = 100;

/// The width of the facts beside the histogram.
const FACTS_WIDTH: u16 = 36;

/// The columns of the table of times.
const SHARES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

/// The seconds that a chart shows if nobody knows how many there will be.
const SECONDS_SHOWN: usize = 60;

/// Whether there are colors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colors {
    Usual,
    None,
}

impl Colors {
    /// None where people ask for none (no-color.org).
    pub(super) fn of_environment() -> Self {
        let is_refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if is_refused { Self::None } else { Self::Usual }
    }

    fn of(self, color: Color) -> Style {
        match self {
            Self::Usual => Style::new().fg(color),
            Self::None => Style::new(),
        }
    }

    /// What is not looked for.
    fn quiet(self) -> Style {
        match self {
            Self::Usual => Style::new().fg(Color::DarkGray),
            Self::None => Style::new().add_modifier(Modifier::DIM),
        }
    }

    fn accent(self) -> Style {
        self.of(Color::Cyan)
    }

    fn phase(self, phase: Phase) -> Style {
        match phase {
            Phase::Measuring => self.accent(),
            Phase::Connecting | Phase::WarmUp | Phase::Draining => self.quiet(),
        }
    }
}

/// Draws all.
pub(super) fn draw(frame: &mut Frame<'_>, figures: &Figures, colors: Colors) {
    let area = frame.area();
    let view = Drawing { figures, colors };
    match area.width >= BOXES_FROM.0 && area.height >= BOXES_FROM.1 {
        true => view.boxes(frame, area),
        false => view.lines(frame, area),
    }
}

struct Drawing<'f> {
    figures: &'f Figures,
    colors: Colors,
}

impl<'f> Drawing<'f> {
    fn boxes(&self, frame: &mut Frame<'_>, area: Rect) {
        let groups = self.figures.outline.groups.len() as u16;
        // A scenario may have more groups than there is room to name.
        let header = (2 * groups).min(if area.height >= 30 { 8 } else { 2 });
        let chart = if area.height >= 30 { 9 } else { 6 };
        let [header, gauge, charts, times, rest] = Layout::vertical([
            Constraint::Length(header),
            Constraint::Length(2),
            Constraint::Length(chart),
            Constraint::Length(5),
            Constraint::Min(0),
        ])
        .areas(area);
        self.header(frame, header);
        self.gauge(frame, Rect { height: 1, ..gauge });
        if area.width >= TWO_CHARTS_FROM {
            let [rate, p99] =
                Layout::horizontal([Constraint::Fill(3), Constraint::Fill(2)]).areas(charts);
            self.rate(frame, rate);
            self.p99(frame, p99);
        } else {
            self.rate(frame, charts);
        }
        self.times(frame, times);
        let [histogram, facts] =
            Layout::horizontal([Constraint::Min(0), Constraint::Length(FACTS_WIDTH)]).areas(rest);
        self.histogram(frame, histogram);
        self.facts(frame, facts);
    }

    /// What fits of the figures, the most important ones first.
    fn lines(&self, frame: &mut Frame<'_>, area: Rect) {
        let facts = vec![self.rate_line(), self.short_times(), self.connections(), self.errors()];
        let room = area.height.saturating_sub(1);
        let shown = room.min(facts.len() as u16);
        let has_target = room > shown;
        let [target, gauge, text, chart] = Layout::vertical([
            Constraint::Length(u16::from(has_target)),
            Constraint::Length(1),
            Constraint::Length(shown),
            Constraint::Min(0),
        ])
        .areas(area);
        let url = self.figures.outline.groups.first().map_or("", |group| group.url.as_str());
        frame.render_widget(Line::styled(url, Modifier::BOLD), target);
        self.gauge(frame, gauge);
        frame.render_widget(Paragraph::new(facts), text);
        self.chart(frame, chart, |bar| bar.rate);
    }

    fn header(&self, frame: &mut Frame<'_>, area: Rect) {
        let groups = &self.figures.outline.groups;
        let mut lines = Vec::new();
        for group in groups {
            let separator = if group.name.is_empty() { "" } else { ": " };
            let brand = if lines.is_empty() { "wireloop-bench  " } else { "                " };
            lines.push(Line::from(vec![
                Span::styled(brand, self.colors.accent().add_modifier(Modifier::BOLD)),
                Span::styled(format!("{}{separator}{}", group.name, group.url), Modifier::BOLD),
            ]));
            lines.push(Line::styled(format!("  {}", group.load), self.colors.quiet()));
        }
        let left_out = lines.len().saturating_sub(usize::from(area.height)).div_ceil(2);
        if left_out > 0 && area.height > 0 {
            lines.truncate(usize::from(area.height) - 1);
            let text = format!("  and {}", crate::units::plural(left_out, "more group"));
            lines.push(Line::styled(text, self.colors.quiet()));
        }
        frame.render_widget(Paragraph::new(lines), area);
    }

    /// The phase, a bar, and the time.
    fn gauge(&self, frame: &mut Frame<'_>, area: Rect) {
        let phase = self.figures.phase();
        let name = match phase {
            _ if self.figures.outline.is_search => "searching",
            Phase::Connecting => "connecting",
            Phase::WarmUp => "warm-up",
            Phase::Measuring => "measuring",
            Phase::Draining => "draining",
        };
        let (elapsed, planned) = self.figures.progress();
        let so_far = time_of_day(elapsed);
        let numbers = match planned {
            Some(planned) => format!(" {so_far} of {}", time_of_day(planned)),
            None => format!(" {so_far}"),
        };
        let room = usize::from(area.width).saturating_sub(10 + 1 + numbers.chars().count());
        let share = planned.map_or(0.0, |planned| {
            (elapsed.as_secs_f64() / planned.as_secs_f64().max(1e-9)).clamp(0.0, 1.0)
        });
        let full = (share * room as f64).round() as usize;
        let line = Line::from(vec![
            Span::styled(
                format!("{name:<10} "),
                self.colors.phase(phase).add_modifier(Modifier::BOLD),
            ),
            Span::styled("━".repeat(full), self.colors.phase(phase)),
            Span::styled(
                if planned.is_some() { "─" } else { " " }.repeat(room - full),
                self.colors.quiet(),
            ),
            Span::raw(numbers),
        ]);
        frame.render_widget(line, area);
    }

    /// A box, and what is inside.
    fn frame(&self, frame: &mut Frame<'_>, area: Rect, title: &str, right: &str) -> Rect {
        let mut block = Block::bordered()
            .border_type(BorderType::Rounded)
            .border_style(self.colors.quiet())
            .title(Line::styled(format!(" {title} "), Modifier::BOLD));
        if !right.is_empty() {
            let right = Line::styled(format!(" {right} "), self.colors.quiet());
            block = block.title(right.alignment(Alignment::Right));
        }
        let inner = block.inner(area);
        frame.render_widget(block, area);
        Rect { x: inner.x + 1, width: inner.width.saturating_sub(2), ..inner }.intersection(inner)
    }

    fn rate(&self, frame: &mut Frame<'_>, area: Rect) {
        let peak = self.figures.bars.iter().map(|bar| bar.rate).fold(0.0, f64::max);
        let inner = self.frame(frame, area, "rate", &format!("peak {}", count(peak)));
        let [text, chart] =
            Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(inner);
        frame.render_widget(self.rate_line(), text);
        self.chart(frame, chart, |bar| bar.rate);
    }

    fn p99(&self, frame: &mut Frame<'_>, area: Rect) {
        let peak = self.figures.bars.iter().map(|bar| bar.p99_ns).max().unwrap_or(0);
        let peak = format!("peak {}", time(Duration::from_nanos(peak)));
        let inner = self.frame(frame, area, "p99 of each second", &peak);
        self.chart(frame, inner, |bar| bar.p99_ns as f64);
    }

    fn rate_line(&self) -> Line<'f> {
        let last = self.figures.last.as_ref();
        let seconds = last.map_or(1.0, |moment| moment.length.as_secs_f64().max(1e-9));
        let rate = |number: u64| count(number as f64 / seconds);
        let echoes = rate(last.map_or(0, |moment| moment.echoes));
        let mut spans = vec![Span::styled(format!("{echoes} msg/s"), Modifier::BOLD)];
        if let Some(due) = last.and_then(|moment| moment.due) {
            let (sent, due) = (last.map_or(0, |moment| moment.sent), due.round() as u64);
            spans.push(Span::raw(format!("   {} sent", rate(sent))));
            spans.push(Span::styled(format!("   {} offered", rate(due)), self.colors.quiet()));
        }
        spans.into()
    }

    /// The course of a figure: as wide as the whole run, if it is known how long that is.
    fn chart(&self, frame: &mut Frame<'_>, area: Rect, of: impl Fn(&Bar) -> f64) {
        let bars = &self.figures.bars;
        let outline = &self.figures.outline;
        let connecting = bars.iter().take_while(|bar| bar.phase == Phase::Connecting).count();
        let planned = match outline.is_search {
            true => SECONDS_SHOWN,
            false => {
                connecting + (outline.warm_up + outline.duration).as_secs_f64().ceil() as usize + 1
            }
        };
        let seconds = planned.max(bars.len()).max(1);
        let width = usize::from(area.width);
        let most = bars.iter().map(&of).fold(0.0, f64::max).max(1e-9);
        let columns = (0..width).map_while(|column| {
            let from = column * seconds / width;
            let to = ((column + 1) * seconds / width).max(from + 1);
            let part = bars.get(from..to.min(bars.len())).filter(|part| !part.is_empty())?;
            let mean = part.iter().map(&of).sum::<f64>() / part.len() as f64;
            let style = self.colors.phase(part[0].phase);
            Some(SparklineBar::from((1e6 * mean / most) as u64).style(style))
        });
        let chart = Sparkline::default().data(columns.collect::<Vec<_>>()).max(1_000_000);
        frame.render_widget(chart, area);
    }

    fn times(&self, frame: &mut Frame<'_>, area: Rect) {
        let is_open = self.figures.outline.groups.iter().any(|group| group.offered.is_some());
        let from = if is_open { "from the intended send" } else { "from the write" };
        let inner = self.frame(frame, area, "latency", from);
        let first = usize::from(inner.width).saturating_sub(5 * 11).min(20);
        let mut header = " ".repeat(first);
        for (name, _) in SHARES {
            header += &format!("{name:>11}");
        }
        header += &format!("{:>11}", "max");
        let lines = vec![
            Line::styled(header, self.colors.quiet()),
            self.time_row("last second", first, &self.figures.recent),
            self.time_row("measured", first, &self.figures.measured),
        ];
        frame.render_widget(Paragraph::new(lines), inner);
    }

    fn time_row(&self, name: &str, width: usize, times: &Times) -> Line<'f> {
        let mut row = vec![Span::raw(format!("{name:<width$}"))];
        for (_, share) in SHARES {
            let text = times.quantile(share).map_or_else(|| "-".into(), bound);
            let style = if share == 0.99 { Modifier::BOLD } else { Modifier::empty() };
            row.push(Span::styled(format!("{text:>11}"), style));
        }
        let max = if times.count() == 0 { "-".into() } else { bound(times.max()) };
        row.push(Span::raw(format!("{max:>11}")));
        row.into()
    }

    fn short_times(&self) -> Line<'f> {
        let times = match self.figures.measured.count() {
            0 => &self.figures.recent,
            _ => &self.figures.measured,
        };
        let of = |share| times.quantile(share).map_or_else(|| "-".into(), bound);
        let max = if times.count() == 0 { "-".into() } else { bound(times.max()) };
        Line::from(format!("p99 {}  p50 {}  max {max}", of(0.99), of(0.5)))
    }

    /// How many messages took how long, in rows whose bounds grow by the same factor.
    fn histogram(&self, frame: &mut Frame<'_>, area: Rect) {
        let times = match self.figures.measured.count() {
            0 => &self.figures.recent,
            _ => &self.figures.measured,
        };
        let inner = self.frame(frame, area, "how long messages took", "");
        let rows = rows(times, usize::from(inner.height));
        let most = rows.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1) as f64;
        let all = times.count().max(1) as f64;
        let room = usize::from(inner.width).saturating_sub(13 + 8);
        let lines = rows.into_iter().map(|(to, count)| {
            let eighths = (8.0 * room as f64 * count as f64 / most).round() as usize;
            let share = 100.0 * count as f64 / all;
            let share = match () {
                () if count == 0 => String::new(),
                () if share < 0.01 => "<0.01 %".into(),
                () => format!("{share:.*} %", if share < 9.995 { 2 } else { 1 }),
            };
            let bar = bar_of(eighths.max(usize::from(count > 0)));
            Line::from(vec![
                Span::styled(format!("≤ {:>9}  ", time(to)), self.colors.quiet()),
                Span::styled(format!("{bar:<room$}"), self.colors.of(Color::Blue)),
                Span::raw(format!("{share:>8}")),
            ])
        });
        frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()), inner);
    }

    fn facts(&self, frame: &mut Frame<'_>, area: Rect) {
        let inner = self.frame(frame, area, "state", "");
        let mut lines = vec![self.connections()];
        let last = self.figures.last.as_ref();
        let percent = |share: f64| format!("{:.0} %", 100.0 * share);
        if let Some(moment) = last.filter(|moment| moment.server_bytes.is_some()) {
            let busy = moment.server_busy.map_or_else(|| "-".into(), percent);
            let bytes = moment.server_bytes.unwrap_or(0) as f64 / f64::from(1 << 20);
            lines.push(fact("server", format!("{busy} of a core, {bytes:.1} MiB")));
        }
        if let Some(busy) = self.figures.client_busy.filter(|_| self.figures.outline.processes < 2)
        {
            let of = if self.figures.outline.threads > 1 { "each thread's" } else { "a" };
            lines.push(fact("client", format!("{} of {of} core", percent(busy))));
        }
        lines.push(Line::default());
        let room = usize::from(inner.height).saturating_sub(lines.len());
        let kinds: Vec<_> = self.figures.failures.iter().collect();
        if kinds.is_empty() || room < 2 {
            lines.truncate(usize::from(inner.height).saturating_sub(1));
            lines.push(self.errors());
        }
        for (failure, times) in kinds.iter().take(if room < 2 { 0 } else { room }) {
            let text = format!("{} {failure}", count(*times as f64));
            lines.push(Line::styled(text, self.colors.of(Color::Red)));
        }
        frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: true }), inner);
    }

    fn connections(&self) -> Line<'f> {
        let open = self.figures.last.as_ref().map_or(0, |moment| moment.open);
        let groups = &self.figures.outline.groups;
        let wanted: usize = groups.iter().map(|group| group.connections).sum();
        fact("open", format!("{} of {}", count(open as f64), count(wanted as f64)))
    }

    fn errors(&self) -> Line<'f> {
        match self.figures.failures.total() {
            0 => fact("errors", "none".into()),
            errors => {
                let text = format!("{:<8}{}", "errors", count(errors as f64));
                Line::styled(text, self.colors.of(Color::Red))
            }
        }
    }
}

fn fact<'f>(name: &str, text: String) -> Line<'f> {
    Line::from(format!("{name:<8}{text}"))
}

/// A bar of so many eighths of a character.
fn bar_of(eighths: usize) -> String {
    let part = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8];
    "█".repeat(eighths / 8) + part
}

/// So many ranges of time by their upper ends, with how many times are in each; the last one takes
/// all that is slower than most.
fn rows(times: &Times, rows: usize) -> Vec<(Duration, u64)> {
    if times.count() == 0 || rows < 2 {
        return Vec::new();
    }
    let nanos = |time: Duration| time.as_nanos().max(1) as f64;
    let (low, high) = (nanos(times.min().time), nanos(times.at(0.999).time));
    let high = high.max(low * 1.1);
    let factor = (high / low).powf(1.0 / (rows - 1) as f64);
    let mut found: Vec<_> = (1..rows)
        .map(|row| (Duration::from_nanos((low * factor.powi(row as i32)) as u64), 0))
        .collect();
    found.push((times.max().time, 0));
    for (time, count) in times.counts() {
        let row = ((time.max(1) as f64 / low).ln() / factor.ln()).ceil() as usize;
        found[row.saturating_sub(1).min(rows - 1)].1 += count;
    }
    found
}

/// A time to the whole second.
fn time_of_day(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{}:{:02}", seconds / 60, seconds % 60),
        _ => format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_is_in_a_row() {
        let mut times = Times::new();
        (1..=10_000).for_each(|micros| times.record(Duration::from_micros(micros)));
        let rows = rows(&times, 8);
        assert_eq!(rows.len(), 8);
        assert_eq!(rows.iter().map(|(_, count)| count).sum::<u64>(), 10_000);
        assert!(rows.is_sorted_by_key(|(to, _)| *to), "{rows:?}");
        assert!((1..=20).contains(&rows[7].1), "{rows:?}");
    }

    #[test]
    fn bars_and_times_are_short() {
        assert_eq!(bar_of(17), "██▏");
        assert_eq!(
            [7, 75, 3700].map(|s| time_of_day(Duration::from_secs(s))),
            ["7 s", "1:15", "1:01:40"]
        );
    }
}
