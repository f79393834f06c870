//! The server that is measured when no other is named: wireloop itself, as a process of its own,
//! so that its file limit, CPU time and memory are counted apart.

use std::{
    collections::HashMap,
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use wireloop::{
    Config, DriverKind, Echo, Handle, Received, Routes, Server, Session, Socket, io::sys,
};

/// How long the server may take to answer at first.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the server may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// A running server. It ends with its owner, however that ends: it holds the other end of a pipe.
#[derive(Debug)]
pub(crate) struct LocalServer {
    child: Child,
    pub(crate) url: String,
}

impl LocalServer {
    /// Starts a server on a free port.
    pub(crate) fn start(workers: usize, driver: DriverKind, path: &str) -> Result<Self, String> {
        let program = std::env::current_exe().map_err(|e| format!("cannot find myself: {e}"))?;
        let mut child = Command::new(program)
            .args(["--serve", "--server-workers", &workers.to_string()])
            .args(["--server-driver", &driver.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start a server: {error}"))?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            // An end without a line is seen in the line.
            let _ = BufReader::new(stdout).read_line(&mut line);
        }
        let address = line.trim();
        if address.is_empty() {
            let _ = child.wait();
            return Err("the server did not start; see the line above".into());
        }
        let server = Self { child, url: format!("ws://{address}{path}") };
        // What it takes by itself is taken now, before its memory is read.
        ask(address).map_err(|error| format!("the server does not answer: {error}"))?;
        Ok(server)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Stops the server in good order.
    pub(crate) fn stop(mut self) -> Result<(), String> {
        if let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) {
            // It may have ended by itself, which the exit status tells.
            let _ = kill_process(pid, Signal::TERM);
        }
        let deadline = Instant::now() + STOP_TIMEOUT;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(format!("the server ended with {status}")),
                Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(10)),
                Ok(None) => return Err("the server did not stop in time".into()),
                Err(error) => return Err(format!("the server is lost: {error}")),
            }
        }
    }
}

/// Makes a request and waits for the end of the answer, whatever it says.
fn ask(address: &str) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(START_TIMEOUT))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    stream.read_to_end(&mut Vec::new())?;
    Ok(())
}

impl Drop for LocalServer {
    fn drop(&mut self) {
        // Only what was not stopped is still there to be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The life of the server process.
pub(crate) fn serve(workers: usize, driver: DriverKind) -> Result<(), String> {
    sys::raise_file_limit();
    let room = Arc::default();
    let routes = Routes::new()
        .websocket("/echo", |_request, protocols| Ok(protocols.none().session(Echo)))
        .websocket("/broadcast", move |_request, protocols| {
            Ok(protocols.none().session(Member { room: Arc::clone(&room), number: 0 }))
        });
    let mut config = Config::default();
    config.frames.frame_bytes = 1 << 30;
    config.frames.message_bytes = 1 << 30;
    let server = Server::new(routes).config(config).workers(workers).driver(driver);
    let server = server.listen("127.0.0.1:0").map_err(|error| error.to_string())?;
    stop_with(server.stopper()).map_err(|error| error.to_string())?;
    for address in server.addresses() {
        println!("{address}");
    }
    server.run().map_err(|error| error.to_string())
}

/// Those among whom messages are passed on, by number.
#[derive(Debug, Default)]
struct Room {
    members: HashMap<u64, Handle>,
    next: u64,
}

/// A session that passes its messages on to all others.
#[derive(Debug)]
struct Member {
    room: Arc<Mutex<Room>>,
    number: u64,
}

impl Session for Member {
    fn start(&mut self, socket: &mut Socket<'_, Self>) {
        let handle = socket.handle();
        self.with_room(|room, number| {
            room.next += 1;
            *number = room.next;
            room.members.insert(room.next, handle);
        });
        socket.read_message(Self::received);
    }
}

impl Member {
    fn received(&mut self, socket: &mut Socket<'_, Self>, received: Received<'_>) {
        self.with_room(|room, number| {
            let others = room.members.iter().filter(|(other, _)| *other != number);
            for (_, handle) in others {
                // One that does not keep up misses it, which the client counts.
                let _ = match received {
                    Received::Text(text) => handle.send_text(text),
                    Received::Binary(bytes) => handle.send_binary(bytes),
                    _ => return,
                };
            }
        });
        if matches!(received, Received::Text(_) | Received::Binary(_)) {
            socket.read_message(Self::received);
        }
    }

    fn with_room(&mut self, action: impl FnOnce(&mut Room, &mut u64)) {
        // One that panicked has left the map whole.
        let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        action(&mut room, &mut self.number);
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.with_room(|room, number| drop(room.members.remove(number)));
    }
}

/// Stops in good order on SIGTERM, and at once when the process that started this one has ended.
/// A Ctrl-C at the terminal is that process's affair.
fn stop_with(stopper: wireloop::Stopper) -> io::Result<()> {
    use signal_hook::{consts, iterator::Signals};
    let mut signals = Signals::new([consts::SIGTERM, consts::SIGINT])?;
    thread::spawn(move || {
        for signal in signals.forever() {
            if signal == consts::SIGTERM {
                stopper.stop();
            }
        }
    });
    thread::spawn(|| {
        let mut nothing = [0];
        while !matches!(io::stdin().read(&mut nothing), Ok(0) | Err(_)) {}
        std::process::exit(1);
    });
    Ok(())
}
