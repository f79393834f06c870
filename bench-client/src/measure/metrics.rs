//! What a server tells of itself: metrics in the text format of Prometheus (version 0.0.4), by the
//! names that its client libraries have agreed on
//! (<https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>).

use std::{collections::HashMap, time::Duration};

use ureq::Agent;

use super::{
    cost::{CpuTime, Times, Usage},
    ksoftirqd::Uncounted,
};

/// How long a server may take to answer.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The longest answer.
const BYTES_MAX: u64 = 8 << 20;

/// CPU time in seconds; and of that the system's, where it is told apart.
const CPU: &str = "process_cpu_seconds_total";
const SYSTEM: &str = "process_cpu_system_seconds_total";
const RESIDENT: &str = "process_resident_memory_bytes";

/// A server's metrics.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    url: String,
    agent: Agent,
}

impl Metrics {
    /// Metrics at an `http` URL. Reads them, to see that they are there.
    pub(crate) fn find(url: &str) -> Result<Self, String> {
        let agent = Agent::config_builder().timeout_global(Some(TIMEOUT)).build().new_agent();
        let metrics = Self { url: url.into(), agent };
        metrics.read().map_err(|error| format!("--server-metrics {url}: {error}"))?;
        Ok(metrics)
    }

    /// Reads them.
    pub(crate) fn read(&self) -> Result<Usage, String> {
        let answer = self.agent.get(&self.url).call();
        let text = answer.and_then(|mut answer| {
            answer.body_mut().with_config().limit(BYTES_MAX).lossy_utf8(true).read_to_string()
        });
        let text = text.map_err(|error| error.to_string())?;
        parse(&text).ok_or_else(|| format!("there is no {CPU}"))
    }
}

fn parse(text: &str) -> Option<Usage> {
    let time = |name| Duration::try_from_secs_f64(sum(text, name)?).ok();
    let cpu = CpuTime { total: time(CPU)?, system: time(SYSTEM) };
    Some(Usage {
        times: Times { cpu, threads: HashMap::new(), ksoftirqd: Err(Uncounted::Metrics) },
        resident_bytes: sum(text, RESIDENT).map(|bytes| bytes as u64),
    })
}

/// The sum of a metric over all its labels, such as one for each process.
fn sum(text: &str, name: &str) -> Option<f64> {
    let values = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let rest = match rest.strip_prefix('{') {
            Some(labels) => labels.rsplit_once('}')?.1,
            None => rest,
        };
        let value = rest.strip_prefix([' ', '\t'])?.split_whitespace().next()?;
        value.parse().ok()
    });
    values.reduce(|one: f64, other| one + other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_added_up_over_their_labels() {
        let usage = parse(
            "# TYPE process_cpu_seconds_total counter\n\
             process_cpu_seconds_total{worker=\"1 }\"} 1.5 1700000000000\n\
             process_cpu_seconds_total{worker=\"2\"}\t2\n\
             process_cpu_seconds_total_created 9\n\
             process_resident_memory_bytes 1.5e+06\n",
        )
        .unwrap();
        assert_eq!(usage.times.cpu.total, Duration::from_millis(3500));
        assert_eq!(usage.times.cpu.system, None);
        assert_eq!(usage.resident_bytes, Some(1_500_000));
    }

    #[test]
    fn nonsense_tells_nothing() {
        for text in ["", "process_cpu_seconds_total", "process_cpu_seconds_total{ 1", "<html>"] {
            assert!(parse(text).is_none(), "{text}");
        }
        assert!(parse("process_cpu_seconds_total -1").is_none());
        assert!(parse("process_cpu_seconds_total NaN").is_none());
    }
}
