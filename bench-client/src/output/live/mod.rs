//! What is seen of a run on a terminal while it lasts: all figures that count, drawn once a second
//! by the thread that leads the run. The threads that make the load know nothing of it.

mod draw;
pub(crate) mod screen;

use std::time::Duration;

use ratatui::{Terminal, TerminalOptions, Viewport, backend::CrosstermBackend};

use self::{
    draw::{Colors, draw},
    screen::Pen,
};
use crate::{
    measure::{
        failure::Failures,
        results::{Moment, Phase},
        stats::Interval,
        times::Times,
    },
    plan::Outline,
    series::Sink,
};

/// A shorter part of a second says nothing about rates.
const LENGTH_MIN: Duration = Duration::from_millis(200);

/// The live view of a run. The terminal is as it was before when this is dropped.
#[derive(Debug)]
pub(super) struct View {
    terminal: Terminal<CrosstermBackend<Pen>>,
    colors: Colors,
    figures: Figures,
}

/// What the view shows.
#[derive(Debug)]
struct Figures {
    outline: Outline,
    /// How long the run lasts by now.
    now: Duration,
    /// When the last complete second was in which the phase began.
    phase_since: Duration,
    last: Option<Moment>,
    /// The last second, and all of the measurement.
    recent: Times,
    measured: Times,
    failures: Failures,
    bars: Vec<Bar>,
    /// CPU time of this process so far, and what part of each thread's processor it has last used.
    cpu: Duration,
    client_busy: Option<f64>,
}

/// A second of the charts.
#[derive(Clone, Copy, Debug)]
struct Bar {
    phase: Phase,
    rate: f64,
    p99_ns: u64,
}

impl View {
    /// Takes the terminal, if there is one that somebody looks at.
    pub(super) fn begin(outline: &Outline) -> Option<Self> {
        if !screen::is_usable() {
            return None;
        }
        let backend = CrosstermBackend::new(Pen::default());
        let options = TerminalOptions { viewport: Viewport::Fixed(screen::area()) };
        let terminal = Terminal::with_options(backend, options).ok()?;
        screen::enter().ok()?;
        let colors = Colors::of_environment();
        let mut view = Self { terminal, colors, figures: Figures::new(outline.clone()) };
        view.draw();
        Some(view)
    }

    fn draw(&mut self) {
        let area = screen::area();
        // Nobody may be looking any more: a run goes on without its view.
        if self.terminal.get_frame().area() != area {
            let _ = self.terminal.resize(area);
        }
        let _ = self.terminal.draw(|frame| draw(frame, &self.figures, self.colors));
    }
}

impl Drop for View {
    fn drop(&mut self) {
        screen::leave();
    }
}

impl Sink for View {
    fn moment(&mut self, moment: &Moment, groups: &[Interval]) {
        self.figures.add(moment, groups);
        self.draw();
    }
}

impl Figures {
    fn new(outline: Outline) -> Self {
        Self {
            now: outline.epoch.elapsed(),
            outline,
            phase_since: Duration::ZERO,
            last: None,
            recent: Times::new(),
            measured: Times::new(),
            failures: Failures::default(),
            bars: Vec::new(),
            cpu: process_cpu(),
            client_busy: None,
        }
    }

    fn add(&mut self, moment: &Moment, groups: &[Interval]) {
        if self.phase() != moment.phase {
            self.phase_since = moment.at;
        }
        self.recent = Times::new();
        for interval in groups {
            self.recent.add(&interval.response);
            self.failures.merge(&interval.failures);
        }
        if moment.phase == Phase::Measuring {
            self.measured.add(&self.recent);
        }
        if moment.length >= LENGTH_MIN {
            let rate = moment.echoes as f64 / moment.length.as_secs_f64();
            let p99_ns = moment.response.map_or(0, |times| times.p99_ns);
            self.bars.push(Bar { phase: moment.phase, rate, p99_ns });
        }
        let (now, cpu) = (self.outline.epoch.elapsed(), process_cpu());
        let since = now.saturating_sub(self.now).as_secs_f64();
        if since > LENGTH_MIN.as_secs_f64() {
            let used = cpu.saturating_sub(self.cpu).as_secs_f64();
            self.client_busy = Some(used / since / self.outline.threads.max(1) as f64);
            (self.now, self.cpu) = (now, cpu);
        }
        self.last = Some(moment.clone());
    }

    fn phase(&self) -> Phase {
        self.last.as_ref().map_or(Phase::Connecting, |moment| moment.phase)
    }

    /// How far the phase has come, of how much: nobody knows how long a search takes.
    fn progress(&self) -> (Duration, Option<Duration>) {
        if self.outline.is_search {
            return (self.now, None);
        }
        let since = self.now.saturating_sub(self.phase_since);
        let planned = match self.phase() {
            Phase::Connecting => return (since, None),
            Phase::WarmUp => self.outline.warm_up,
            Phase::Measuring => self.outline.duration,
            Phase::Draining => self.outline.drain,
        };
        (since.min(planned), Some(planned))
    }
}

/// The CPU time of all threads of this process.
fn process_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use ratatui::backend::TestBackend;

    use super::*;
    use crate::measure::{failure::Failure, results::Results, results::Summary};

    fn figures(seconds: u64) -> Figures {
        let example = Results::example();
        let outline = Outline {
            groups: example.groups,
            warm_up: Duration::from_secs(1),
            duration: Duration::from_secs(10),
            drain: Duration::from_secs(2),
            threads: 1,
            processes: 1,
            is_search: false,
            epoch: Instant::now(),
        };
        let mut figures = Figures::new(outline);
        for second in 0..seconds {
            let mut interval = Interval { echoes: 100 * second, ..Interval::default() };
            for place in 0..2000 {
                interval.response.record(Duration::from_micros(50 + place * second));
            }
            interval.failures.add_many(Failure::Lost, 3);
            let moment = Moment {
                at: Duration::from_secs(second),
                length: Duration::from_secs(1),
                echoes: interval.echoes,
                sent: interval.echoes,
                open: 4,
                due: Some(500.0),
                response: Summary::of(&interval.response),
                server_busy: Some(0.42),
                server_bytes: Some(3 << 20),
                ..Moment::new(if second == 0 { Phase::WarmUp } else { Phase::Measuring })
            };
            figures.add(&moment, &[interval]);
        }
        figures
    }

    fn drawn(figures: &Figures, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, figures, Colors::None)).unwrap();
        if width == 0 { String::new() } else { terminal.backend().to_string() }
    }

    #[test]
    fn all_figures_are_seen_where_there_is_room() {
        for (width, height) in [(80, 24), (100, 30), (120, 40)] {
            let text = drawn(&figures(6), width, height);
            for part in [
                "chat: ws://[::1]/",
                "measuring",
                "500 msg/s",
                "offered",
                "last second",
                "measured",
                "p99.9",
                "4 of 4",
                "18 message lost",
                "42 %",
                "3.0 MiB",
            ] {
                assert!(text.contains(part), "{part} at {width}x{height}:\n{text}");
            }
        }
    }

    #[test]
    fn no_terminal_is_too_small() {
        let figures = [figures(0), figures(1), figures(30)];
        for figures in &figures {
            for width in [0, 1, 2, 5, 12, 20, 39, 40, 59, 60, 79, 200] {
                for height in [0, 1, 2, 3, 5, 10, 17, 18, 24, 60] {
                    drawn(figures, width, height);
                }
            }
        }
        let text = drawn(&figures[2], 20, 5);
        assert!(text.contains("2,900 msg/s") && text.contains("p99"), "{text}");
    }
}
