//! The report of a run, as JSON has it, and what is wrong with it.

use serde::Serialize;

use crate::{
    cli::{Case, Plan, Slices},
    figures::Figures,
    stats::Estimate,
};

/// How far the control may be off from 1.
const CONTROL_MAX: f64 = 0.02;

/// All that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) baseline: String,
    pub(crate) slices: Slices,
    pub(crate) server_core: usize,
    pub(crate) client_core: usize,
    pub(crate) processor: String,
    pub(crate) kernel: String,
    pub(crate) cases: Vec<CaseReport>,
}

/// One kind of load.
#[derive(Debug, Serialize)]
pub(crate) struct CaseReport {
    pub(crate) title: String,
    #[serde(flatten)]
    pub(crate) case: Case,
    pub(crate) open_loop: Option<OpenLoopReport>,
    /// Whether the CPU time of `ksoftirqd` on the servers' processor is part of theirs.
    pub(crate) ksoftirqd_is_counted: bool,
    pub(crate) servers: Vec<Row>,
}

/// How the open loop was driven.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct OpenLoopReport {
    /// Of what the baseline does in closed loop.
    pub(crate) percent: u32,
    /// Messages per second.
    pub(crate) rate: u64,
    pub(crate) slices: Slices,
}

/// One server.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) command: String,
    pub(crate) is_baseline: bool,
    pub(crate) is_control: bool,
    pub(crate) resident_bytes_per_connection: Option<f64>,
    pub(crate) closed_loop: Figures,
    pub(crate) open_loop: Option<Figures>,
}

impl Report {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            baseline: plan.servers[plan.baseline].name.clone(),
            slices: plan.slices,
            server_core: plan.server_core,
            client_core: plan.client_core,
            processor: processor(),
            kernel: kernel(),
            cases: Vec::new(),
        }
    }

    /// Why figures of this run count for nothing; none if they count.
    pub(crate) fn complaints(&self) -> Vec<String> {
        self.cases.iter().flat_map(CaseReport::complaints).collect()
    }
}

impl CaseReport {
    /// Why figures of this case count for nothing.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let Some(control) = self.servers.iter().find(|row| row.is_control) else {
            return vec![format!("{}: there is no control", self.title)];
        };
        let loops = [
            ("closed", Some(control.closed_loop.cpu_ratio)),
            ("open", control.open_loop.as_ref().map(|figures| figures.cpu_ratio)),
        ];
        let loops = loops.iter().filter_map(|(name, ratio)| Some((name, ratio.as_ref()?)));
        let off = loops.filter(|(_, ratio)| !is_good(ratio)).map(|(name, ratio)| {
            format!(
                "THIS RUN COUNTS FOR NOTHING: {}, {name} loop: the control is at {:.3}, more than \
                 {CONTROL_MAX} off from 1; run it again on a quieter machine or with more --rounds",
                self.title, ratio.median
            )
        });
        off.collect()
    }
}

fn is_good(control: &Estimate) -> bool {
    // Not a number is not good.
    (control.median - 1.0).abs() <= CONTROL_MAX
}

/// The kernel's version, without what its builder has appended.
fn kernel() -> String {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    release.split('-').next().unwrap_or_default().to_owned()
}

/// The name that the kernel has for the processor.
fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("model name"));
    let name = line.map(|rest| rest.trim_start_matches([' ', '\t', ':']));
    name.unwrap_or("unknown processor").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_may_be_a_little_off() {
        let at = |median| is_good(&Estimate { median, low: 0.0, high: 2.0 });
        assert!(at(1.0) && at(0.981) && at(1.019));
        assert!(!at(0.979) && !at(1.021) && !at(f64::NAN));
    }
}
