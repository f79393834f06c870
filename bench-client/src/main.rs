//! `wireloop-bench` measures the echo latency and the throughput of WebSocket servers.
//!
//! A run is led by `session.rs`; `load.rs` is what its threads do.

mod autobahn;
mod cli;
mod compression;
mod connection;
mod crew;
mod decisions;
mod hold;
mod load;
mod measure;
mod output;
mod pacer;
mod payload;
mod plan;
mod run;
mod series;
mod server;
mod session;
mod squad;
mod target;
mod units;
mod window;

use std::process::ExitCode;

use clap::Parser;

use crate::{
    cli::Arguments,
    measure::{results::Results, threshold, verdict::Verdict},
    output::Outputs,
    session::Session,
};

/// The exit code when a threshold was not kept, as that of k6.
const BROKEN_THRESHOLD: u8 = 99;

/// The exit code when all went well but the figures are not the server's.
const INVALID: u8 = 3;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let run = &arguments.run;
    let url = arguments.group.url.as_deref().unwrap_or_default();
    let result = if run.serve {
        server::serve(run.server_workers.get(), run.server_driver).map(|()| ExitCode::SUCCESS)
    } else if run.autobahn {
        autobahn::run(url).map(|()| ExitCode::SUCCESS)
    } else if run.hold {
        hold::run(&arguments).map(|()| ExitCode::SUCCESS)
    } else {
        measure(arguments)
    };
    result.unwrap_or_else(|error| {
        eprintln!("wireloop-bench: {error}");
        ExitCode::FAILURE
    })
}

/// Makes a run and tells its results.
fn measure(arguments: Arguments) -> Result<ExitCode, String> {
    let run = arguments.run.clone();
    let mut outputs = Outputs::prepare(&run.output)?;
    let session = Session::prepare(arguments)?;
    let mut live = outputs.begin(&run, session.names())?;
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
