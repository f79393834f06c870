//! Compares WebSocket echo servers side by side; docs/BENCHMARKING.md has the method.
//!
//! This process starts the servers and one client process for each, which is this program again,
//! drives one of them at a time, and reports.

mod chart;
mod cli;
mod client;
mod cost;
mod figures;
mod ksoftirqd;
mod launch;
mod measure;
mod remote;
mod report;
mod servers;
mod stats;
mod table;

use std::{fs, path::Path, process::ExitCode};

use clap::Parser;

use cli::{Arguments, Internal};
use report::Report;

/// The exit code of a run whose control is off, so that its figures count for nothing.
const CONTROL_IS_OFF: u8 = 3;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments.internal {
        Some(Internal::Client(options)) => client::run(options).map(|()| ExitCode::SUCCESS),
        Some(Internal::Launch { core, command }) => Err(launch::run(*core, command)),
        None => compare(&arguments),
    };
    result.unwrap_or_else(|error| {
        eprintln!("peers: {error}");
        ExitCode::FAILURE
    })
}

fn compare(arguments: &Arguments) -> Result<ExitCode, String> {
    let plan = arguments.plan()?;
    launch::pin(plan.client_core)?;
    let mut report = Report::new(&plan);
    for case in &plan.cases {
        let measured = measure::case(&plan, *case)?;
        table::print(&measured, &plan);
        report.cases.push(measured);
        // After each case, so that an interruption loses one case and not all.
        write(arguments, &report)?;
    }
    for complaint in report.complaints() {
        eprintln!("peers: {complaint}");
    }
    let is_good = report.complaints().is_empty();
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::from(CONTROL_IS_OFF) })
}

fn write(arguments: &Arguments, report: &Report) -> Result<(), String> {
    let save = |path: &Path, text: String| {
        fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
    };
    if let Some(path) = &arguments.json {
        let text = serde_json::to_string_pretty(report);
        save(path, text.map_err(|error| format!("cannot write JSON: {error}"))? + "\n")?;
    }
    if let Some(path) = &arguments.svg {
        save(path, chart::svg(report)?)?;
    }
    Ok(())
}
