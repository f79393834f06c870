//! The figures of a run so far, for Prometheus: wireloop's own server serves them while the run
//! lasts.

use std::{
    fmt::Write,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

use http::{HeaderValue, StatusCode, header::CONTENT_TYPE};
use wireloop::{
    Routes, Server, Stopper,
    http::{Body, Response},
};

use crate::measure::{
    results::{Moment, Phase},
    stats::{Interval, Stats},
    times::Times,
};

/// The text format, as its description names it.
const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The upper bounds of the buckets of times, in seconds.
const BOUNDS: [f64; 20] = [
    10e-6, 25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 0.1,
    0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// A server of figures.
#[derive(Debug)]
pub(crate) struct Exporter {
    figures: Arc<Mutex<Figures>>,
    stopper: Stopper,
    thread: Option<JoinHandle<()>>,
}

/// What a run has done so far, warm-up included: counters may not begin again.
#[derive(Debug, Default)]
struct Figures {
    names: Vec<String>,
    groups: Vec<Stats>,
    phase: Option<Phase>,
    open: u64,
    server_busy: Option<f64>,
    server_bytes: Option<u64>,
}

impl Exporter {
    /// Begins to serve, and says where.
    pub(crate) fn start(address: SocketAddr) -> Result<Self, String> {
        let figures = Arc::new(Mutex::new(Figures::default()));
        let served = Arc::clone(&figures);
        let routes = Routes::new().get("/metrics", move |_: &wireloop::Request<'_>| {
            let text = lock(&served).to_text();
            Response::new(StatusCode::OK)
                .header(CONTENT_TYPE, HeaderValue::from_static(FORMAT))
                .body(Body::Bytes(text.into_bytes().into()))
        });
        let server = Server::new(routes).workers(1).listen(address);
        let server = server.map_err(|error| format!("cannot serve Prometheus: {error}"))?;
        for address in server.addresses() {
            eprintln!("serving Prometheus at http://{address}/metrics");
        }
        let stopper = server.stopper();
        let thread = thread::spawn(|| {
            if let Err(error) = server.run() {
                eprintln!("wireloop-bench: Prometheus is not served any more: {error}");
            }
        });
        Ok(Self { figures, stopper, thread: Some(thread) })
    }

    /// Names the groups, before the first second.
    pub(crate) fn name(&self, names: &[String]) {
        let mut figures = lock(&self.figures);
        figures.names = names.to_vec();
        figures.groups = vec![Stats::default(); names.len()];
    }

    /// Takes a second into account.
    pub(crate) fn add(&self, moment: &Moment, groups: &[Interval]) {
        let mut figures = lock(&self.figures);
        figures.phase = Some(moment.phase);
        figures.open = moment.open;
        figures.server_busy = moment.server_busy;
        figures.server_bytes = moment.server_bytes;
        for (stats, interval) in figures.groups.iter_mut().zip(groups) {
            stats.response.add(&interval.response);
            stats.service.add(&interval.service);
            stats.sent += interval.sent;
            stats.echoes += interval.echoes;
            stats.opened += interval.opened;
            stats.failures.merge(&interval.failures);
        }
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.stopper.stop();
        if let Some(thread) = self.thread.take() {
            // It has said what went wrong.
            let _ = thread.join();
        }
    }
}

fn lock(figures: &Mutex<Figures>) -> MutexGuard<'_, Figures> {
    figures.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Figures {
    fn to_text(&self) -> String {
        let mut text = String::new();
        self.write_counter(&mut text, "messages_sent", "Messages written.", |stats| stats.sent);
        self.write_counter(&mut text, "echoes", "Echoes that arrived.", |stats| stats.echoes);
        self.write_counter(
            &mut text,
            "connections_opened",
            "Connections that were opened.",
            |stats| stats.opened,
        );
        self.write_failures(&mut text);
        let help = "From the moment at which a message was due to its echo.";
        self.write_times(&mut text, "response_seconds", help, |stats| &stats.response);
        let help = "From the write of a message to its echo.";
        self.write_times(&mut text, "service_seconds", help, |stats| &stats.service);
        head(&mut text, "connections_open", "gauge", "Connections that are open.");
        let _ = writeln!(text, "wireloop_bench_connections_open {}", self.open);
        self.write_phase(&mut text);
        if let Some(busy) = self.server_busy {
            head(&mut text, "server_cpu_ratio", "gauge", "CPU time of the server, by the time.");
            let _ = writeln!(text, "wireloop_bench_server_cpu_ratio {busy}");
        }
        if let Some(bytes) = self.server_bytes {
            head(&mut text, "server_resident_bytes", "gauge", "Resident memory of the server.");
            let _ = writeln!(text, "wireloop_bench_server_resident_bytes {bytes}");
        }
        text
    }

    fn groups(&self) -> impl Iterator<Item = (Labels<'_>, &Stats)> {
        let labels = self.names.iter().map(|name| match name.as_str() {
            "" => Labels(Vec::new()),
            name => Labels(vec![("group", name.to_owned())]),
        });
        labels.zip(&self.groups)
    }

    fn write_counter(&self, text: &mut String, name: &str, help: &str, of: fn(&Stats) -> u64) {
        let name = format!("{name}_total");
        head(text, &name, "counter", help);
        for (labels, stats) in self.groups() {
            let _ = writeln!(text, "wireloop_bench_{name}{} {}", labels.text(), of(stats));
        }
    }

    fn write_failures(&self, text: &mut String) {
        head(text, "failures_total", "counter", "What went wrong, by kind.");
        for (labels, stats) in self.groups() {
            for (failure, count) in stats.failures.iter() {
                let labels = labels.with("kind", failure.to_string()).text();
                let _ = writeln!(text, "wireloop_bench_failures_total{labels} {count}");
            }
        }
    }

    fn write_times(&self, text: &mut String, name: &str, help: &str, of: fn(&Stats) -> &Times) {
        head(text, name, "histogram", help);
        for (labels, stats) in self.groups() {
            let times = of(stats);
            let (mut sum, mut counts) = (0.0, [0; BOUNDS.len()]);
            for (nanos, count) in times.counts() {
                let seconds = nanos as f64 / 1e9;
                sum += seconds * count as f64;
                let within = BOUNDS.iter().position(|bound| seconds <= *bound);
                counts[within.unwrap_or(BOUNDS.len())..].iter_mut().for_each(|all| *all += count);
            }
            for (bound, count) in BOUNDS.iter().zip(counts) {
                let labels = labels.with("le", bound.to_string()).text();
                let _ = writeln!(text, "wireloop_bench_{name}_bucket{labels} {count}");
            }
            let all = times.count();
            let infinite = labels.with("le", "+Inf".into()).text();
            let labels = labels.text();
            let _ = writeln!(text, "wireloop_bench_{name}_bucket{infinite} {all}");
            let _ = writeln!(text, "wireloop_bench_{name}_sum{labels} {sum}");
            let _ = writeln!(text, "wireloop_bench_{name}_count{labels} {all}");
        }
    }

    fn write_phase(&self, text: &mut String) {
        head(text, "phase", "gauge", "1 for the part of the run that is under way.");
        let all = [
            (Phase::Connecting, "connecting"),
            (Phase::WarmUp, "warm-up"),
            (Phase::Measuring, "measuring"),
            (Phase::Draining, "draining"),
        ];
        for (phase, name) in all {
            let is = u8::from(self.phase == Some(phase));
            let _ = writeln!(text, "wireloop_bench_phase{{phase=\"{name}\"}} {is}");
        }
    }
}

/// The labels of a figure.
struct Labels<'n>(Vec<(&'n str, String)>);

impl Labels<'_> {
    fn with(&self, name: &'static str, value: String) -> Labels<'_> {
        let mut labels = self.0.clone();
        labels.push((name, value));
        Labels(labels)
    }

    fn text(&self) -> String {
        let escaped =
            |value: &str| value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
        let all: Vec<_> =
            self.0.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        if all.is_empty() { String::new() } else { format!("{{{}}}", all.join(",")) }
    }
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP wireloop_bench_{name} {help}");
    let _ = writeln!(text, "# TYPE wireloop_bench_{name} {kind}");
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::measure::failure::Failure;

    #[test]
    fn figures_are_in_the_text_format() {
        let mut stats = Stats { sent: 3, ..Stats::default() };
        for micros in [20, 90, 40_000_000] {
            stats.response.record(Duration::from_micros(micros));
        }
        stats.failures.add(Failure::Lost);
        let figures = Figures {
            names: vec!["a\"b".into()],
            groups: vec![stats],
            phase: Some(Phase::Measuring),
            ..Figures::default()
        };
        let text = figures.to_text();
        for line in [
            r#"wireloop_bench_messages_sent_total{group="a\"b"} 3"#,
            r#"wireloop_bench_failures_total{group="a\"b",kind="message lost: later ones were answered"} 1"#,
            r#"wireloop_bench_response_seconds_bucket{group="a\"b",le="0.00001"} 0"#,
            r#"wireloop_bench_response_seconds_bucket{group="a\"b",le="0.0001"} 2"#,
            r#"wireloop_bench_response_seconds_bucket{group="a\"b",le="30"} 2"#,
            r#"wireloop_bench_response_seconds_bucket{group="a\"b",le="+Inf"} 3"#,
            r#"wireloop_bench_phase{phase="measuring"} 1"#,
            "# TYPE wireloop_bench_response_seconds histogram",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
