//! `wireloop-bench` measures the echo latency and the throughput of WebSocket servers.
//!
//! A run is led by `session.rs`; `load.rs` is what its threads do.

mod autobahn;
mod child;
mod cli;
mod compression;
mod connection;
mod crew;
mod fan_out;
mod hold;
mod load;
mod load_arguments;
mod measure;
mod output;
mod pacer;
mod payload;
mod plan;
mod run;
mod scenario;
mod series;
mod server;
mod session;
mod squad;
mod target;
mod timers;
mod units;
mod window;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use crate::{
    cli::Arguments,
    measure::{results::Results, verdict::Verdict},
    output::{progress::Progress, text::Summary},
    scenario::Scenario,
    session::Session,
};

/// The exit code when all went well but the figures are not the server's.
const INVALID: u8 = 3;

fn main() -> ExitCode {
    let matches = Arguments::command().args_override_self(true).get_matches();
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let run = &arguments.run;
    let url = arguments.group.url.as_deref().unwrap_or_default();
    let result = if let Some(port) = run.serve {
        server::serve(port, run).map(|()| ExitCode::SUCCESS)
    } else if run.autobahn {
        autobahn::run(url).map(|()| ExitCode::SUCCESS)
    } else if run.hold {
        hold::run(&arguments).map(|()| ExitCode::SUCCESS)
    } else {
        Scenario::read(&matches, arguments).and_then(measure)
    };
    result.unwrap_or_else(|error| {
        eprintln!("wireloop-bench: {error}");
        ExitCode::FAILURE
    })
}

/// Makes a run and tells its results, or does a share of the run of another process.
fn measure(scenario: Scenario) -> Result<ExitCode, String> {
    let share = scenario.run.child.clone();
    let mut progress = Progress::new(scenario.run.quiet);
    let session = Session::prepare(scenario)?;
    if let Some(share) = share {
        return session.work(&share).map(|()| ExitCode::SUCCESS);
    }
    let results = session.run(&mut progress)?;
    progress.finish();
    println!("{}", Summary(&results));
    Ok(exit_code(&results))
}

fn exit_code(results: &Results) -> ExitCode {
    match results.verdict {
        _ if !results.is_good() => ExitCode::FAILURE,
        Verdict::Invalid => ExitCode::from(INVALID),
        Verdict::Valid | Verdict::Suspect => ExitCode::SUCCESS,
    }
}
