//! The servers: which there are, how they are started, and how they end.

use std::{
    env,
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::cost::Processes;

const START_TIMEOUT: Duration = Duration::from_secs(20);
const STOP_TIMEOUT: Duration = Duration::from_secs(3);
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// The names of the servers that need no command line.
const KNOWN: [&str; 8] = [
    "wireloop",
    "wireloop-uring",
    "fastwebsockets",
    "tungstenite",
    "bun",
    "ws",
    "picows",
    "websockets",
];

/// A server that can be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spec {
    pub(crate) name: String,
    /// The path of its URL.
    pub(crate) path: String,
    /// One program with its arguments, as a shell reads them; `{port}` stands for the port.
    pub(crate) command: String,
    /// A server that was not asked for may be left out if it does not start.
    pub(crate) is_optional: bool,
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
}

/// Reads `NAME=COMMAND` or `NAME@PATH=COMMAND`.
pub(crate) fn parse(text: &str) -> Result<Spec, String> {
    let (name, command) = text.split_once('=').ok_or("there is no =")?;
    let (name, path) = name.split_once('@').unwrap_or((name, "/"));
    if name.is_empty() {
        return Err("there is no name before the =".into());
    }
    if !path.starts_with('/') {
        return Err("the path does not start with /".into());
    }
    if !command.contains("{port}") {
        return Err("there is no {port} in the command".into());
    }
    Ok(Spec { name: name.into(), path: path.into(), command: command.into(), is_optional: false })
}

/// The server of this name.
pub(crate) fn known(name: &str) -> Result<Spec, String> {
    let (path, files, arguments) = match name {
        "wireloop" => ("/echo", vec![beside("wireloop")], wireloop_arguments("epoll")),
        "wireloop-uring" => ("/echo", vec![beside("wireloop")], wireloop_arguments("io-uring")),
        "fastwebsockets" => ("/", vec![beside("peer-fastwebsockets")], "{port}".into()),
        "tungstenite" => ("/", vec![beside("peer-tungstenite")], "{port}".into()),
        "bun" => ("/", vec![cache("node_modules/.bin/bun"), script("bun.js")], "{port}".into()),
        "ws" => {
            let module = cache("node_modules/ws");
            // The script finds the module through the environment, not beside itself.
            let arguments = format!("{{port}} {}", quoted(&cache("node_modules")));
            (module.exists()).then_some(()).ok_or_else(|| not_installed(name, &module))?;
            ("/", vec![in_path("node"), script("node_ws.mjs")], arguments)
        }
        "picows" => {
            ("/", vec![cache("venv/bin/python"), script("picows_echo.py")], "{port}".into())
        }
        "websockets" => {
            ("/", vec![cache("venv/bin/python"), script("websockets_echo.py")], "{port}".into())
        }
        _ => return Err(format!("no server is called {name}: there are {}", KNOWN.join(", "))),
    };
    if let Some(missing) = files.iter().find(|file| !file.exists()) {
        return Err(not_installed(name, missing));
    }
    let files: Vec<String> = files.iter().map(|file| quoted(file)).collect();
    let command = format!("{} {arguments}", files.join(" "));
    Ok(Spec { name: name.into(), path: path.into(), command, is_optional: false })
}

/// Those that are built or installed.
pub(crate) fn available() -> Vec<Spec> {
    let found = KNOWN.iter().filter_map(|name| match known(name) {
        Ok(spec) => Some(Spec { is_optional: true, ..spec }),
        Err(error) => {
            eprintln!("peers: left out: {error}");
            None
        }
    });
    found.collect()
}

fn wireloop_arguments(driver: &str) -> String {
    // A client that is not its turn answers no Ping.
    let quiet = "--compression off --ping-interval 0 --quiet";
    format!("--listen 127.0.0.1:{{port}} --workers 1 --driver {driver} {quiet}")
}

fn not_installed(name: &str, file: &Path) -> String {
    format!("{name} is not here: {} is missing; benches/peers/run.sh installs it", file.display())
}

/// What the same build has made.
fn beside(name: &str) -> PathBuf {
    let program = env::current_exe().unwrap_or_default();
    program.parent().unwrap_or_else(|| Path::new("")).join(name)
}

/// What run.sh has installed.
fn cache(path: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache");
    env::var_os("WIRELOOP_CACHE").map_or(root, PathBuf::from).join("peers").join(path)
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("servers").join(name)
}

fn in_path(program: &str) -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).map(|directory| directory.join(program));
    found.into_iter().find(|file| file.exists()).unwrap_or_else(|| program.into())
}

/// The path as one word for the shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

impl Server {
    /// Starts the server on a free port and one processor, and waits until it accepts connections.
    pub(crate) fn start(spec: &Spec, core: usize) -> Result<Self, String> {
        let failed = |error| format!("{}: cannot start it: {error}", spec.name);
        let port = free_port().map_err(failed)?;
        let command = format!("exec {}", spec.command.replace("{port}", &port.to_string()));
        let child = Command::new(env::current_exe().map_err(failed)?)
            .args(["launch", &core.to_string(), "sh", "-c", &command])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(failed)?;
        let mut server = Self { child, port };
        let deadline = Instant::now() + START_TIMEOUT;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if let Ok(Some(status)) = server.child.try_wait() {
                return Err(format!("{} ended with {status}: {}", spec.name, spec.command));
            }
            if Instant::now() > deadline {
                return Err(format!("{} does not listen on 127.0.0.1:{port}", spec.name));
            }
            thread::sleep(POLL_INTERVAL);
        }
        Ok(server)
    }

    /// Its process and those that it has started by now.
    pub(crate) fn processes(&self) -> Processes {
        Processes::below(self.child.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let signal = |pid: u32, signal| {
            // One that has ended by itself needs no signal.
            let _ = Pid::from_raw(pid.cast_signed()).map(|pid| kill_process(pid, signal));
        };
        let family = self.processes();
        signal(self.child.id(), Signal::TERM);
        let deadline = Instant::now() + STOP_TIMEOUT;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(POLL_INTERVAL);
        }
        for pid in family.pids().iter().skip(1) {
            signal(*pid, Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody listens on. Another program might take it before the server does, which
/// would then say so.
fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_name_a_path_and_a_command() {
        let spec = parse("mine@/ws?a=b=prog --port={port}");
        // The first = ends the name, so that a path may not hold one.
        assert_eq!(spec.unwrap().path, "/ws?a");
        let spec = parse("mine=prog --port={port}").unwrap();
        assert_eq!((spec.name.as_str(), spec.path.as_str()), ("mine", "/"));
        assert_eq!(spec.command, "prog --port={port}");
        for bad in ["mine", "=x {port}", "mine=prog", "mine@ws=prog {port}"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn paths_are_words_for_the_shell() {
        assert_eq!(quoted(Path::new("/it's here")), r"'/it'\''s here'");
    }
}
