//! The server that is measured when no other is named: wireloop itself, as a process of its own,
//! so that its file limit, CPU time and memory are counted apart.

use std::{
    collections::HashMap,
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use wireloop::{Config, Echo, Handle, Pin, Received, Routes, Server, Session, Socket, io::sys};

use crate::cli::RunArguments;

/// How long the server may take to answer at first.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the server may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// A running server, of one process or several. It ends with its owner, however that ends: it holds
/// the other end of a pipe.
#[derive(Debug)]
pub(crate) struct LocalServer {
    processes: Vec<Child>,
    pub(crate) address: String,
}

impl LocalServer {
    /// Starts a server of so many processes on a free port.
    pub(crate) fn start(processes: usize, run: &RunArguments) -> Result<Self, String> {
        let mut server = Self { processes: Vec::new(), address: String::new() };
        for _ in 0..processes {
            server.add(run)?;
        }
        Ok(server)
    }

    /// Starts one more process that listens on the same port.
    fn add(&mut self, run: &RunArguments) -> Result<(), String> {
        let port = self.address.rsplit(':').next().filter(|port| !port.is_empty()).unwrap_or("0");
        let program = std::env::current_exe().map_err(|e| format!("cannot find myself: {e}"))?;
        let mut child = Command::new(program)
            .args(["--serve", port, "--server-workers", &run.server_workers.to_string()])
            .args(["--server-driver", &run.server_driver.to_string()])
            // A Ctrl-C at the terminal is its owner's affair.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start a server: {error}"))?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            // An end without a line is seen in the line.
            let _ = BufReader::new(stdout).read_line(&mut line);
        }
        self.processes.push(child);
        let address = line.trim();
        if address.is_empty() {
            return Err("the server did not start; see the line above".into());
        }
        self.address = address.into();
        // What it takes by itself is taken now, before its memory is read.
        ask(address).map_err(|error| format!("the server does not answer: {error}"))
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        self.processes.iter().map(Child::id).collect()
    }

    /// Stops the server in good order.
    pub(crate) fn stop(mut self) -> Result<(), String> {
        for pid in self.pids() {
            if let Some(pid) = Pid::from_raw(pid.cast_signed()) {
                // It may have ended by itself, which the exit status tells.
                let _ = kill_process(pid, Signal::TERM);
            }
        }
        let deadline = Instant::now() + STOP_TIMEOUT;
        self.processes.iter_mut().try_for_each(|child| end(child, deadline))
    }
}

/// Waits for the end of a process.
fn end(child: &mut Child, deadline: Instant) -> Result<(), String> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(format!("the server ended with {status}")),
            Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(10)),
            Ok(None) => return Err("the server did not stop in time".into()),
            Err(error) => return Err(format!("the server is lost: {error}")),
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
        for child in &mut self.processes {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The life of the server process.
pub(crate) fn serve(port: u16, run: &RunArguments) -> Result<(), String> {
    sys::raise_file_limit();
    let room = Arc::default();
    let routes = Routes::new().websocket("/broadcast", move |_request, protocols| {
        Ok(protocols.none().session(Member { room: Arc::clone(&room), number: 0 }))
    });
    let routes = match run.server_spin {
        None => routes.websocket("/echo", |_, protocols| Ok(protocols.none().session(Echo))),
        Some(time) => routes
            .websocket("/echo", move |_, protocols| Ok(protocols.none().session(Spinner { time }))),
    };
    let mut config = Config::default();
    config.frames.frame_bytes = 1 << 30;
    config.frames.message_bytes = 1 << 30;
    let server = Server::new(routes)
        .config(config)
        .workers(run.server_workers.get())
        // The client keeps to the other processors.
        .pin(Pin::On)
        .driver(run.server_driver)
        .share_address(port != 0)
        .listen(format!("127.0.0.1:{port}"))
        .map_err(|error| error.to_string())?;
    stop_with(server.stopper()).map_err(|error| error.to_string())?;
    for address in server.addresses() {
        println!("{address}");
    }
    server.run().map_err(|error| error.to_string())
}

/// An echo that costs more: what the tests of comparisons compare with.
#[derive(Debug)]
struct Spinner {
    time: Duration,
}

impl Session for Spinner {
    fn start(&mut self, socket: &mut Socket<'_, Self>) {
        socket.read_message(Self::received);
    }
}

impl Spinner {
    fn received(&mut self, socket: &mut Socket<'_, Self>, received: Received<'_>) {
        let begun = Instant::now();
        while begun.elapsed() < self.time {
            std::hint::spin_loop();
        }
        match received {
            Received::Text(text) => socket.send_text(text, |_, _, _| {}),
            Received::Binary(bytes) => socket.send_binary(bytes, |_, _, _| {}),
            _ => return,
        }
        socket.read_message(Self::received);
    }
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
