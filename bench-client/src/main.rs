//! `wireloop-bench` measures the echo latency and the throughput of WebSocket servers.
//!
//! A run is led by `session.rs`; `load.rs` is what its threads do.

mod autobahn;
mod child;
mod cli;
mod compare;
mod compression;
mod connection;
mod crew;
mod decisions;
mod fan_out;
mod handshake;
mod hold;
mod load;
mod load_arguments;
mod manual;
mod measure;
mod output;
mod pacer;
mod payload;
mod plan;
mod preflight;
mod protocol;
mod run;
mod scenario;
mod search;
mod secrets;
mod series;
mod server;
mod session;
mod source;
mod squad;
mod statistics;
mod target;
mod timers;
mod tls;
mod trials;
mod units;
mod versus;
mod window;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use crate::{
    cli::{Arguments, Command},
    measure::{results::Results, threshold, verdict::Verdict},
    output::Outputs,
    scenario::Scenario,
    session::Session,
};

/// The exit code when the run was not possible.
const FAILURE: u8 = 1;

/// The exit code for a wrong argument, as clap's.
const WRONG_ARGUMENT: u8 = 2;

/// The exit code when a threshold was not kept, as that of k6.
pub(crate) const BROKEN_THRESHOLD: u8 = 99;

/// The exit code when all went well but the figures are not the server's.
const INVALID: u8 = 3;

fn main() -> ExitCode {
    if let Some(said) = manual::asked(std::env::args().skip(1)).and_then(|asked| asked.say()) {
        return said.map_or_else(|error| complain(&error, WRONG_ARGUMENT), |()| ExitCode::SUCCESS);
    }
    let matches = Arguments::command().args_override_self(true).get_matches();
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    if let Some(said) = arguments.manual.say() {
        return said.map_or_else(|error| complain(&error, WRONG_ARGUMENT), |()| ExitCode::SUCCESS);
    }
    let run = &arguments.run;
    let url = arguments.group.url.as_deref().unwrap_or_default();
    let result = if let Some(Command::Compare(arguments)) = &arguments.command {
        compare::run(arguments)
    } else if let Some(port) = run.serve {
        server::serve(port, run).map(|()| ExitCode::SUCCESS)
    } else if run.autobahn {
        autobahn::run(url).map(|()| ExitCode::SUCCESS)
    } else if run.hold {
        hold::run(&arguments).map(|()| ExitCode::SUCCESS)
    } else {
        Scenario::read(&matches, arguments).and_then(measure)
    };
    result.unwrap_or_else(|error| complain(&error, FAILURE))
}

fn complain(error: &str, code: u8) -> ExitCode {
    eprintln!("wireloop-bench: {error}");
    ExitCode::from(code)
}

/// Makes a run and tells its results, or does a share of the run of another process.
fn measure(scenario: Scenario) -> Result<ExitCode, String> {
    let run = scenario.run.clone();
    if let Some(share) = &run.child {
        return Session::prepare(scenario)?.work(share).map(|()| ExitCode::SUCCESS);
    }
    let mut outputs = Outputs::prepare(&run.output)?;
    let session = Session::prepare(scenario)?;
    let mut live = outputs.begin(&run, &session.outline())?;
    let mut results = session.run(&mut live)?;
    results.thresholds = threshold::judge(&run.decisions.thresholds, &results);
    let logged = live.finish(&results);
    outputs.write(&results).and(logged)?;
    Ok(exit_code(&results))
}

/// A threshold says more than an error, which it may have been about; but a run that has measured
/// nothing has not broken it.
fn exit_code(results: &Results) -> ExitCode {
    let is_broken = results.thresholds.iter().any(|judged| !judged.is_held);
    match results.verdict {
        _ if results.has_failed() => ExitCode::FAILURE,
        _ if is_broken => ExitCode::from(BROKEN_THRESHOLD),
        _ if !results.is_good() => ExitCode::FAILURE,
        Verdict::Invalid => ExitCode::from(INVALID),
        Verdict::Valid | Verdict::Suspect => ExitCode::SUCCESS,
    }
}
