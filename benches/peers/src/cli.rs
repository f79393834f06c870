//! The command line, and the plan of a run that it stands for.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Serialize;

use crate::servers::{self, Spec};

/// Compares WebSocket echo servers: CPU per message, throughput, latency and memory.
///
/// All servers run at once on one core, and the load comes from another. One server is driven at a
/// time, in short slices and random order; compared are the ratios within a round. The baseline is
/// entered twice: how far its second entry, the control, is off from 1 is how far all may be.
#[derive(Debug, Parser)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Times take ms, s or m. A wrong argument exits with 2, a run that fails with 1, \
        and one whose control is off by more than 0.02, so that it counts for nothing, with 3."
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) internal: Option<Internal>,

    /// Servers, in the order of the table: wireloop, wireloop-uring, fastwebsockets, tungstenite,
    /// bun, ws, picows, websockets. Default: those that are built or installed
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    servers: Option<Vec<String>>,

    /// One more server; may be given several times. {port} in the command, of one program and its
    /// arguments, becomes the port on 127.0.0.1 to listen on; PATH is that of the URL
    #[arg(long, value_name = "NAME[@PATH]=COMMAND", value_parser = servers::parse)]
    server: Vec<Spec>,

    /// What the others are divided by. Default: the first server
    #[arg(long, value_name = "NAME")]
    baseline: Option<String>,

    /// Built-in case; may be given several times
    #[arg(long, value_enum, value_name = "NAME", conflicts_with_all = ["connections", "depth", "size"])]
    case: Vec<CaseName>,

    /// Connections to each server
    #[arg(short, long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=19_000))]
    connections: u32,

    /// Messages in flight on each connection
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    depth: u32,

    /// Bytes of a message
    #[arg(short, long, value_name = "BYTES", default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=1 << 20))]
    size: u32,

    /// Slices of each server
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// Length of a slice
    #[arg(long, value_name = "TIME", default_value = "120ms", value_parser = humantime::parse_duration)]
    slice: Duration,

    /// Load on each server before the first round
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = humantime::parse_duration)]
    warmup: Duration,

    /// Then drive all of them at this share of what the baseline can do, and measure how late
    /// echoes are against a fixed schedule
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(1..=200))]
    open_loop: Option<u32>,

    /// Slices of each server in the open loop
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    open_rounds: u32,

    /// Length of a slice in the open loop
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = humantime::parse_duration)]
    open_slice: Duration,

    /// Processor of the servers
    #[arg(long, value_name = "N", default_value_t = 0)]
    server_core: usize,

    /// Processor of the load
    #[arg(long, value_name = "N", default_value_t = 1)]
    client_core: usize,

    /// Writes all figures here
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Draws CPU per message here
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
}

/// What this program starts of itself.
#[derive(Debug, Subcommand)]
pub(crate) enum Internal {
    /// The load on one server, by lines on stdin
    #[command(hide = true)]
    Client(ClientOptions),
    /// A server, on one processor
    #[command(hide = true)]
    Launch {
        /// Its processor
        core: usize,
        /// Program and arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<String>,
    },
}

/// What a client process needs to know at its start.
#[derive(Args, Debug)]
pub(crate) struct ClientOptions {
    /// Port on 127.0.0.1
    #[arg(long)]
    pub(crate) port: u16,
    /// Path of the URL
    #[arg(long)]
    pub(crate) path: String,
    /// Processor
    #[arg(long)]
    pub(crate) core: usize,
    /// Bytes of a message
    #[arg(long)]
    pub(crate) size: usize,
    /// Messages in flight on each connection
    #[arg(long)]
    pub(crate) depth: usize,
}

/// The cases that have names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum CaseName {
    /// 200 connections, 20 B
    #[value(name = "200")]
    Few,
    /// 1,000 connections, 20 B
    #[value(name = "1000")]
    Many,
    /// 4,000 connections, 20 B
    #[value(name = "4000")]
    VeryMany,
    /// 200 connections, 20 B, 16 in flight on each
    Pipelined,
    /// 500 connections, 512 B
    #[value(name = "512B")]
    Medium,
    /// 100 connections, 16 KiB
    #[value(name = "16KiB")]
    Large,
    /// All of them
    All,
}

/// How a server is loaded.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Case {
    pub(crate) connections: u32,
    /// Messages in flight on each connection.
    pub(crate) depth: u32,
    /// Bytes of a message.
    pub(crate) size: u32,
}

/// Slices: how many and how long.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Slices {
    pub(crate) rounds: u32,
    pub(crate) length: Duration,
}

/// Open loop: at which share of the baseline's capacity.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OpenLoop {
    pub(crate) percent: u32,
    pub(crate) slices: Slices,
}

/// What is to be done.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) servers: Vec<Spec>,
    /// Index of the baseline in `servers`.
    pub(crate) baseline: usize,
    pub(crate) cases: Vec<Case>,
    pub(crate) slices: Slices,
    pub(crate) warmup: Duration,
    pub(crate) open_loop: Option<OpenLoop>,
    pub(crate) server_core: usize,
    pub(crate) client_core: usize,
}

impl Case {
    /// As a title: `200 connections, 20 B, 16 in flight`.
    pub(crate) fn title(&self) -> String {
        let connections = crate::table::count(f64::from(self.connections));
        let size = match self.size {
            size if size >= 1024 && size.is_multiple_of(1024) => format!("{} KiB", size / 1024),
            size => format!("{size} B"),
        };
        let depth = if self.depth > 1 { format!(", {} in flight", self.depth) } else { "".into() };
        format!("{connections} connections, {size}{depth}")
    }
}

impl Slices {
    /// Their length, for people.
    pub(crate) fn text(&self) -> String {
        humantime::format_duration(self.length).to_string()
    }
}

impl CaseName {
    fn cases(self) -> Vec<Case> {
        let (connections, depth, size) = match self {
            Self::Few => (200, 1, 20),
            Self::Many => (1000, 1, 20),
            Self::VeryMany => (4000, 1, 20),
            Self::Pipelined => (200, 16, 20),
            Self::Medium => (500, 1, 512),
            Self::Large => (100, 1, 16_384),
            Self::All => {
                let named = Self::value_variants().iter().filter(|name| **name != Self::All);
                return named.flat_map(|name| name.cases()).collect();
            }
        };
        vec![Case { connections, depth, size }]
    }
}

impl Arguments {
    /// What the arguments stand for.
    pub(crate) fn plan(&self) -> Result<Plan, String> {
        let mut servers = match &self.servers {
            Some(names) => {
                let specs = names.iter().map(|name| servers::known(name));
                specs.collect::<Result<Vec<_>, _>>()?
            }
            None => servers::available(),
        };
        servers.extend(self.server.iter().cloned());
        for (index, spec) in servers.iter().enumerate() {
            if servers[..index].iter().any(|other| other.name == spec.name) {
                return Err(format!("{} is given twice: give it another name", spec.name));
            }
        }
        let named = |name: &String| {
            let found = servers.iter().position(|spec| spec.name == *name);
            found.ok_or_else(|| format!("--baseline {name} is not among the servers"))
        };
        let baseline = self.baseline.as_ref().map_or(Ok(0), named)?;
        if servers.is_empty() {
            return Err("there is no server: build some with benches/peers/run.sh".into());
        }
        let Self { connections, depth, size, .. } = *self;
        let explicit = vec![Case { connections, depth, size }];
        let cases = self.case.iter().flat_map(|name| name.cases()).collect();
        let slices = Slices { rounds: self.open_rounds, length: self.open_slice };
        Ok(Plan {
            servers,
            baseline,
            cases: if self.case.is_empty() { explicit } else { cases },
            slices: Slices { rounds: self.rounds, length: self.slice },
            warmup: self.warmup,
            open_loop: self.open_loop.map(|percent| OpenLoop { percent, slices }),
            server_core: self.server_core,
            client_core: self.client_core,
        })
    }
}
