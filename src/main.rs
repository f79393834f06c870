//! The `wireloop` binary: arguments in, a running server out.

mod cli;
mod signals;

use std::{io::Write, process::ExitCode};

use clap::Parser;
use wireloop::Server;

use cli::Arguments;

fn main() -> ExitCode {
    wireloop::io::sys::bound_freed_memory();
    wireloop::io::sys::raise_file_limit();
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
    signals::handle(server.stopper()).map_err(|error| format!("cannot catch signals: {error}"))?;
    let mut stdout = std::io::stdout();
    for address in server.addresses() {
        // Whoever started the server may not be listening any more.
        let _ = writeln!(stdout, "listening on http://{address}");
    }
    server.run().map_err(|error| cli::explain(&error))
}
