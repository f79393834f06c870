//! The command line of the `wireloop` binary.

mod access;
mod page;

use std::{
    io::{self, ErrorKind, IsTerminal},
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
    time::Duration,
};

use clap::{Parser, ValueEnum};
use rustix::io::Errno;
use tracing_subscriber::filter::LevelFilter;
use wireloop::{
    Compression, Config, DriverKind, Echo, Pin, Routes, RoutesError, ServerError, StaticFiles,
    WhenFull, http::Origins, io::sys,
};

/// A WebSocket echo server for very many connections, with a page to try it: the page is at /,
/// the echo service at /echo, for clients that offer the subprotocol `echo` or none.
#[derive(Debug, Parser)]
#[command(
    version,
    long_about = None,
    after_help = "Sizes take k, m or g (1024); times take ms, s, m or h.\n\
        SIGINT, SIGTERM, SIGQUIT or SIGHUP closes all connections with 1001 and exits with 0; a \
        second one, except SIGHUP, exits at once with 130. SIGUSR1 and SIGUSR2 do nothing. An error at the start exits with 1, a wrong argument with 2."
)]
pub(crate) struct Arguments {
    /// Only `serve`, which may be left out
    #[arg(value_enum, hide_possible_values = true, default_value = "serve", hide = true)]
    pub(crate) command: Command,

    /// Address to listen on; may be given several times. [::] is IPv4 and IPv6. Port 0: the kernel
    /// chooses
    #[arg(short, long, value_name = "ADDR", default_value = "[::]:8181")]
    pub(crate) listen: Vec<String>,

    /// Threads with an event loop each. Default: one per processor that the process may use, fewer
    /// under a CPU quota
    #[arg(short, long, value_name = "N")]
    pub(crate) workers: Option<NonZeroUsize>,

    /// Keep each worker on one processor: on, off, or auto, where there are as many workers as
    /// processors and no CPU quota below that
    #[arg(
        long,
        value_enum,
        value_name = "MODE",
        default_value = "auto",
        hide_possible_values = true
    )]
    pub(crate) pin: PinMode,

    /// Interface of the kernel: auto takes the best there is
    #[arg(short, long, value_enum, default_value = "auto")]
    pub(crate) driver: Driver,

    /// Directory to serve at / in place of the built-in page
    #[arg(long, value_name = "DIR")]
    webroot: Option<PathBuf>,

    /// Also serve files of DIR in whose path a name begins with a dot, as .git/config and .env;
    /// .well-known is always served
    #[arg(long, requires = "webroot")]
    dotfiles: bool,

    /// Host that requests may name, without its port; may be given several times; * for all. Others
    /// get 403. Default: localhost, *.localhost and IP addresses if all addresses to listen on are
    /// loopback addresses, else all
    #[arg(long, value_name = "NAME")]
    host: Vec<access::AllowedHost>,

    /// Origin whose pages may open WebSockets, such as https://example.org, or `same` for the host
    /// that the request names; may be given several times. Others get 403. Default: all
    #[arg(long, value_name = "ORIGIN")]
    origin: Vec<access::AllowedOrigin>,

    /// Also refuse WebSockets to clients without an Origin header (clients other than browsers)
    #[arg(long)]
    require_origin: bool,

    /// Let other processes listen on the same address and share its connections
    #[arg(long)]
    pub(crate) share_address: bool,

    /// Compression for clients that offer it: off, fresh (each message by itself, nothing is kept
    /// per connection) or kept (smaller messages, up to 350 KiB per connection)
    #[arg(
        long,
        value_enum,
        value_name = "MODE",
        default_value = "fresh",
        help_heading = "Compression",
        hide_possible_values = true
    )]
    compression: CompressionMode,

    /// Effort, from 1 (fast) to 9 (small)
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=9), help_heading = "Compression")]
    compression_level: u32,

    /// Shortest message that is compressed
    #[arg(long, value_name = "SIZE", default_value = "256", value_parser = size, help_heading = "Compression")]
    compression_threshold: usize,

    /// Connections at a time. Default: what the file limit allows, up to a million
    #[arg(long, value_name = "N", help_heading = "Limits")]
    max_connections: Option<NonZeroUsize>,

    /// What becomes of more connections: wait, in the kernel's queue, or refuse, with status 503
    #[arg(
        long,
        value_enum,
        value_name = "MODE",
        default_value = "wait",
        help_heading = "Limits",
        hide_possible_values = true
    )]
    when_full: Full,

    /// Connections of one address, or of one /64 network of IPv6; others are closed at once.
    /// Default: no limit
    #[arg(long, value_name = "N", help_heading = "Limits")]
    max_per_address: Option<NonZeroUsize>,

    /// Connections that have sent no request yet; beyond it, the oldest of them is closed
    #[arg(long, value_name = "N", default_value = "65536", help_heading = "Limits")]
    max_handshakes: NonZeroUsize,

    /// Bytes per second of a connection on average; beyond it, nothing is received from it for a
    /// while. Default: no limit
    #[arg(long, value_name = "SIZE", value_parser = small_size, help_heading = "Limits")]
    max_byte_rate: Option<u32>,

    /// Messages and control frames per second of a connection, likewise
    #[arg(long, value_name = "N", help_heading = "Limits")]
    max_message_rate: Option<NonZeroU32>,

    /// Longest message; beyond it, close code 1009
    #[arg(long, value_name = "SIZE", default_value = "16m", value_parser = size, help_heading = "Limits")]
    max_message: usize,

    /// Longest frame; beyond it, close code 1009
    #[arg(long, value_name = "SIZE", default_value = "16m", value_parser = size, help_heading = "Limits")]
    max_frame: usize,

    /// Most frames of a message; beyond it, close code 1009
    #[arg(long, value_name = "N", default_value_t = 131_072, help_heading = "Limits")]
    max_fragments: u32,

    /// Longest request head; beyond it, status 431
    #[arg(long, value_name = "SIZE", default_value = "16k", value_parser = size, help_heading = "Limits")]
    max_head: usize,

    /// Most output that may wait for a peer that does not take it; beyond it, close code 1008
    #[arg(long, value_name = "SIZE", default_value = "1m", value_parser = size, help_heading = "Limits")]
    send_queue: usize,

    /// Memory that all peers together may make the server hold; near it, upgrades get 503, beyond
    /// it, the connections that hold most are closed with 1013. Default: a quarter of what the
    /// machine or the control group grants
    #[arg(long, value_name = "SIZE", value_parser = size, help_heading = "Limits")]
    memory: Option<usize>,

    /// What the kernel keeps of output that its peer does not take, per connection; 0: as much as
    /// it is able to
    #[arg(long, value_name = "SIZE", default_value = "128k", value_parser = small_size, help_heading = "Limits")]
    socket_unsent: u32,

    /// The kernel's send buffer of a connection, which it doubles. Default: the kernel chooses
    #[arg(long, value_name = "SIZE", value_parser = size, help_heading = "Limits")]
    socket_send: Option<usize>,

    /// The kernel's receive buffer of a connection, which it doubles. Default: the kernel chooses
    #[arg(long, value_name = "SIZE", value_parser = size, help_heading = "Limits")]
    socket_receive: Option<usize>,

    /// Time to send a request head
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time, help_heading = "Deadlines")]
    handshake_timeout: Duration,

    /// Time that an HTTP connection may wait for its next request
    #[arg(long, value_name = "TIME", default_value = "75s", value_parser = time, help_heading = "Deadlines")]
    keep_alive_timeout: Duration,

    /// Silence after which a peer is pinged (up to a quarter less, by chance); 0: never
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time, help_heading = "Deadlines")]
    ping_interval: Duration,

    /// Time to answer a ping, for a peer that takes nothing either
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = time, help_heading = "Deadlines")]
    pong_timeout: Duration,

    /// Time to answer a Close, once everything sent before was taken
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = time, help_heading = "Deadlines")]
    close_timeout: Duration,

    /// Bytes per second that a peer must take of a response or of output that is late, and send of a
    /// message that has begun; 0: any
    #[arg(long, value_name = "SIZE", default_value = "1k", value_parser = small_size, help_heading = "Deadlines")]
    min_rate: u32,

    /// Time over which that rate is measured
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time, help_heading = "Deadlines")]
    min_rate_time: Duration,

    /// Time that connections have to close when the server stops
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time, help_heading = "Deadlines")]
    grace: Duration,

    /// Most bytes of one receive; 1 cuts everything that can be cut
    #[arg(long, value_name = "SIZE", default_value = "128k", value_parser = size, hide = true)]
    receive_bytes: usize,

    /// Say only what is wrong
    #[arg(short, long)]
    quiet: bool,
}

/// What the binary does.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Command {
    /// Serve.
    Serve,
}

/// What compressed messages may refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum CompressionMode {
    Off,
    Fresh,
    Kept,
}

/// Whether workers are pinned, as it is called on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum PinMode {
    Auto,
    On,
    Off,
}

impl From<PinMode> for Pin {
    fn from(mode: PinMode) -> Self {
        match mode {
            PinMode::Auto => Self::Auto,
            PinMode::On => Self::On,
            PinMode::Off => Self::Off,
        }
    }
}

/// What becomes of connections beyond the limit, as it is called on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Full {
    Wait,
    Refuse,
}

impl From<Full> for WhenFull {
    fn from(full: Full) -> Self {
        match full {
            Full::Wait => Self::Wait,
            Full::Refuse => Self::Refuse,
        }
    }
}

/// An interface of the kernel, as it is called on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Driver {
    Auto,
    Epoll,
    IoUring,
}

impl From<Driver> for DriverKind {
    fn from(driver: Driver) -> Self {
        match driver {
            Driver::Auto => Self::Auto,
            Driver::Epoll => Self::Epoll,
            Driver::IoUring => Self::IoUring,
        }
    }
}

impl Arguments {
    /// The limits and deadlines that were asked for.
    pub(crate) fn config(&self) -> Config {
        let mut config = Config::default();
        if let Some(connections) = self.max_connections {
            config.connections = connections.get();
        }
        config.when_full = self.when_full.into();
        config.head.head_bytes = self.max_head;
        config.frames.frame_bytes = self.max_frame;
        config.frames.message_bytes = self.max_message;
        config.frames.fragments = self.max_fragments;
        config.receive_bytes = self.receive_bytes;
        config.send_queue_bytes = self.send_queue;
        config.connections_per_address = self.max_per_address.map(NonZeroUsize::get);
        config.handshakes = self.max_handshakes.get();
        config.byte_rate = self.max_byte_rate;
        config.message_rate = self.max_message_rate.map(NonZeroU32::get);
        config.memory_bytes = self.memory;
        config.socket_buffers.unsent_bytes = Some(self.socket_unsent).filter(|bytes| *bytes > 0);
        config.socket_buffers.send_bytes = self.socket_send;
        config.socket_buffers.receive_bytes = self.socket_receive;
        config.compression = self.compression();
        config.handshake_timeout = self.handshake_timeout;
        config.keep_alive_timeout = self.keep_alive_timeout;
        config.min_rate = self.min_rate;
        config.min_rate_time = self.min_rate_time;
        config.ping_interval = Some(self.ping_interval).filter(|interval| !interval.is_zero());
        config.pong_timeout = self.pong_timeout;
        config.close_timeout = self.close_timeout;
        config.shutdown_grace = self.grace;
        config
    }

    fn compression(&self) -> Option<Compression> {
        let keeps = self.compression == CompressionMode::Kept;
        let mut compression = Compression::default();
        compression.level = self.compression_level;
        compression.threshold_bytes = self.compression_threshold;
        compression.server_context_takeover = keeps;
        compression.client_context_takeover = keeps;
        (self.compression != CompressionMode::Off).then_some(compression)
    }
}

/// The page or the directory at `/`, and the echo service.
pub(crate) fn routes(arguments: &Arguments) -> Routes {
    let routes =
        Routes::new().websocket_from("/echo", origins(arguments), |_request, protocols| {
            protocols.choose("echo").map(|accept| accept.session(Echo))
        });
    let routes = match access::hosts(&arguments.host) {
        Some(hosts) => routes.hosts(hosts),
        None => routes,
    };
    match &arguments.webroot {
        Some(directory) => {
            routes.get("/**", StaticFiles::new(directory).dotfiles(arguments.dotfiles))
        }
        None => page::add(routes),
    }
}

fn origins(arguments: &Arguments) -> Origins {
    let origins = access::origins(&arguments.origin);
    if arguments.require_origin { origins.required() } else { origins }
}

/// Logs to stderr.
pub(crate) fn start_log(arguments: &Arguments) {
    let level = if arguments.quiet { LevelFilter::WARN } else { LevelFilter::INFO };
    let has_colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(has_colour)
        .with_target(false)
        .with_max_level(level)
        .log_internal_errors(false)
        .init();
}

/// One line that names what is wrong, and the option that can change it.
pub(crate) fn explain(error: &ServerError) -> String {
    let advice = match error {
        ServerError::Listen { error, .. } if is_out_of_files(error) => OUT_OF_FILES,
        ServerError::Listen { error, .. } => match error.kind() {
            ErrorKind::AddrInUse => {
                "stop the program that listens there, or choose another --listen"
            }
            ErrorKind::PermissionDenied => "give --listen a port from 1024 on, or run as root",
            _ if sys::lacks_family(error) => "give --listen an address of this machine",
            _ => "give --listen as HOST:PORT, such as 127.0.0.1:8181",
        },
        ServerError::Overlap { .. } => "leave out one --listen; [::] includes 0.0.0.0",
        ServerError::Routes(RoutesError::Open(_, error)) => match error.kind() {
            ErrorKind::Unsupported => "--webroot needs openat2 (Linux 5.6)",
            _ => "give --webroot a directory that can be read",
        },
        ServerError::Driver(error) => {
            return format!("io_uring is not available ({error}): choose --driver epoll or auto");
        }
        ServerError::Worker(error) if is_out_of_files(error) => OUT_OF_FILES,
        ServerError::Worker(error) if error.kind() == ErrorKind::WouldBlock => {
            "allow more threads (ulimit -u, TasksMax) or choose fewer --workers"
        }
        _ => return error.to_string(),
    };
    format!("{error}: {advice}")
}

/// What to do where the limit on open files is too low for the listeners and workers.
const OUT_OF_FILES: &str =
    "raise the limit on open files (ulimit -Hn, LimitNOFILE) or choose fewer --workers";

fn is_out_of_files(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

fn size(text: &str) -> Result<usize, String> {
    let (digits, unit) = match text.strip_suffix(['k', 'K', 'm', 'M', 'g', 'G']) {
        None => (text, 1),
        Some(digits) => match text.as_bytes()[digits.len()] | 0x20 {
            b'k' => (digits, 1 << 10),
            b'm' => (digits, 1 << 20),
            _ => (digits, 1 << 30),
        },
    };
    let number: usize = digits.parse().map_err(|_| "not a size such as 65536, 64k or 16m")?;
    number.checked_mul(unit).ok_or_else(|| "too large".into())
}

fn small_size(text: &str) -> Result<u32, String> {
    u32::try_from(size(text)?).map_err(|_| "too large".into())
}

fn time(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    humantime::parse_duration(text).map_err(|_| "not a time such as 500ms, 10s or 2m".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is explained of an error that the kernel has given this number.
    fn explained(error: impl Fn(io::Error) -> ServerError, number: Errno) -> String {
        explain(&error(number.into()))
    }

    #[test]
    fn an_explanation_names_what_is_wrong_and_the_option_that_changes_it() {
        let listen = |error| ServerError::Listen { address: "10.0.0.1:80".into(), error };
        for (number, option) in [
            (Errno::ADDRINUSE, "--listen"),
            (Errno::ADDRNOTAVAIL, "--listen"),
            (Errno::ACCESS, "--listen"),
            (Errno::MFILE, "--workers"),
        ] {
            let text = explained(listen, number);
            assert!(text.contains("10.0.0.1:80") && text.contains(option), "{text}");
        }
        for number in [Errno::MFILE, Errno::NFILE, Errno::AGAIN] {
            let text = explained(ServerError::Worker, number);
            assert!(text.contains("--workers") && text.contains("worker failed"), "{text}");
        }
        assert!(explained(ServerError::Driver, Errno::PERM).contains("--driver"));
        let open = |error| ServerError::Routes(RoutesError::Open("/**".into(), error));
        for number in [Errno::NOENT, Errno::ACCESS, Errno::NOSYS] {
            assert!(explained(open, number).contains("--webroot"), "{number}");
        }
    }
}
