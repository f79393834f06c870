//! `wireloop-bench` measures the echo latency and the throughput of WebSocket servers.
//!
//! A run is led by `session.rs`; `load.rs` is what its threads do.

mod autobahn;
mod cli;
mod compression;
mod connection;
mod crew;
mod handshake;
mod hold;
mod load;
mod measure;
mod output;
mod pacer;
mod payload;
mod plan;
mod protocol;
mod run;
mod series;
mod server;
mod session;
mod source;
mod squad;
mod target;
mod tls;
mod units;
mod window;

use std::process::ExitCode;

use clap::Parser;

use crate::{
    cli::Arguments,
    measure::{results::Results, verdict::Verdict},
    output::{progress::Progress, text::Summary},
    session::Session,
};

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
    let mut progress = Progress::new(arguments.run.quiet);
    let results = Session::prepare(arguments)?.run(&mut progress)?;
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
