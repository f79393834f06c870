//! The `wireloop` binary: arguments in, a running server out.

mod cli;

use std::{io::Write, process::ExitCode, thread};

use clap::Parser;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};
use wireloop::{Server, Stopper};

use cli::Arguments;

/// The exit code after a second signal, as a shell gives it for SIGINT.
const INTERRUPTED: i32 = 130;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    cli::start_log(&arguments);
    match serve(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wireloop: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(arguments: &Arguments) -> Result<(), String> {
    let mut server = Server::new(cli::routes(arguments))
        .config(arguments.config())
        .pin(arguments.pin.into())
        .driver(arguments.driver.into())
        .share_address(arguments.share_address);
    if let Some(workers) = arguments.workers {
        server = server.workers(workers.get());
    }
    for address in &arguments.listen {
        server = server.listen(address.as_str()).map_err(|error| cli::explain(&error))?;
    }
    stop_on_signals(server.stopper()).map_err(|error| format!("cannot catch signals: {error}"))?;
    let mut stdout = std::io::stdout();
    for address in server.addresses() {
        // Whoever started the server may not be listening any more.
        let _ = writeln!(stdout, "listening on http://{address}");
    }
    server.run().map_err(|error| cli::explain(&error))
}

/// The first SIGINT or SIGTERM stops the server in good order, the second one at once.
fn stop_on_signals(stopper: Stopper) -> std::io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::Builder::new().name("signals".into()).spawn(move || {
        let mut signals = signals.forever();
        if signals.next().is_some() {
            tracing::info!("stopping; a second signal exits at once");
            stopper.stop();
        }
        if signals.next().is_some() {
            std::process::exit(INTERRUPTED);
        }
    })?;
    Ok(())
}
