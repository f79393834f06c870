//! The server of `run.py`: one worker on the main thread and nothing else. It serves one connection
//! and ends with it, since nobody else could stop it: valgrind 3.19 lets no other thread run while
//! one waits in `io_uring_enter`.

use std::{io, net::TcpListener, process::ExitCode, sync::Arc};

use wireloop::{
    Config, Echo, Routes,
    io::{Driver, Epoll, Uring, sys},
    server::Worker,
};

fn main() -> ExitCode {
    let name = std::env::args().nth(1).unwrap_or_default();
    let result = match name.as_str() {
        "epoll" => Epoll::new().and_then(serve),
        "io-uring" => Uring::new().and_then(serve),
        _ => Err(io::Error::other("there is no such driver: add it to benches/instructions")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("instructions: {name}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve<D: Driver<Listener = TcpListener>>(driver: D) -> io::Result<()> {
    let listener = sys::listen(([127, 0, 0, 1], 0).into())?;
    println!("listening on {}", listener.local_addr()?);
    let routes =
        Routes::new().websocket("/echo", |_request, protocols| Ok(protocols.none().session(Echo)));
    let (routes, config) = (Arc::new(routes), Arc::new(Config::default()));
    let mut worker = Worker::new(driver, routes, config, vec![listener])?;
    while worker.connections() == 0 {
        worker.pass()?;
    }
    while worker.connections() > 0 {
        worker.pass()?;
    }
    Ok(())
}
