//! The command line: what is measured, by which groups of connections, for how long, and what is
//! told about it. Each area has its own options; `scenario.rs` reads the same from a file.

use std::{net::Ipv4Addr, num::NonZeroUsize, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};
use wireloop::DriverKind;

use crate::{
    child::Share,
    compare::CompareArguments,
    decisions::DecisionArguments,
    load_arguments::LoadArguments,
    manual::{self, ManualArguments},
    measure::threshold::Threshold,
    output::arguments::OutputArguments,
    payload::arguments::PayloadArguments,
    protocol::ProtocolArguments,
    target::TargetArguments,
    tls::TlsArguments,
    units,
};

/// Measures the echo latency and the throughput of a WebSocket server. Without a URL it starts a
/// wireloop server as a process of its own and measures that.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "wireloop-bench",
    version,
    disable_help_flag = true,
    long_about = None,
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    after_help = manual::closing()
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) manual: ManualArguments,

    #[command(flatten)]
    pub(crate) run: RunArguments,

    #[command(flatten)]
    pub(crate) group: GroupArguments,

    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What there is to do besides a run.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Say whether the results of runs, as --json writes them, differ
    Compare(CompareArguments),
}

/// What concerns the run as a whole.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Run")]
pub(crate) struct RunArguments {
    /// File with several groups of connections that run at once
    #[arg(long, value_name = "FILE")]
    pub(crate) scenario: Option<PathBuf>,

    /// Threads, among which the connections are divided
    #[arg(short, long, value_name = "N", default_value = "1")]
    pub(crate) threads: NonZeroUsize,

    /// Processes, among which the connections are divided [default: as many as the limit on open
    /// files asks for]
    #[arg(long, value_name = "N")]
    pub(crate) processes: Option<NonZeroUsize>,

    /// Length of the measurement [default: that of all stages, or 10s]
    #[arg(short, long, value_name = "TIME", value_parser = units::length)]
    pub(crate) duration: Option<Duration>,

    /// Load before the measurement, not counted [default: 1s, or 0 with stages]
    #[arg(long, value_name = "TIME", value_parser = units::read_time)]
    pub(crate) warm_up: Option<Duration>,

    /// Time for late answers after the measurement
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = units::read_time)]
    pub(crate) drain: Duration,

    /// Handshakes in progress at a time
    #[arg(long, value_name = "N", default_value = "256")]
    pub(crate) connecting: NonZeroUsize,

    /// Time for a connection to open
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = units::read_time)]
    pub(crate) connect_timeout: Duration,

    /// Makes payloads the same in each run; otherwise random
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,

    /// Driver of the client: auto, epoll or io-uring
    #[arg(long, value_name = "DRIVER", default_value = "auto", value_parser = driver)]
    pub(crate) driver: DriverKind,

    /// Workers of the server that is started without a URL
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) server_workers: NonZeroUsize,

    /// Driver of the server that is started without a URL: auto, epoll or io-uring
    #[arg(long, value_name = "DRIVER", default_value = "auto", value_parser = driver)]
    pub(crate) server_driver: DriverKind,

    /// Process whose CPU time and memory are reported, if the server is local
    #[arg(long, value_name = "PID", requires = "url")]
    pub(crate) server_pid: Option<u32>,

    /// URL of the server's own metrics for Prometheus, from which its CPU time and memory are read
    #[arg(
        long,
        value_name = "URL",
        requires = "url",
        conflicts_with_all = ["server_pid", "versus"]
    )]
    pub(crate) server_metrics: Option<String>,

    /// Search the highest rate at which EXPR holds, as in p99<5ms, and measure there; repeatable. -R
    /// is the rate to begin with
    #[arg(
        long,
        value_name = "EXPR",
        value_parser = Threshold::parse,
        help_heading = "Decisions",
        conflicts_with_all = ["stages", "sessions", "depth", "think", "idle"]
    )]
    pub(crate) find_max: Vec<Threshold>,

    /// Length of a trial of that search
    #[arg(
        long,
        value_name = "TIME",
        default_value = "2s",
        value_parser = units::length,
        help_heading = "Decisions"
    )]
    pub(crate) probe: Duration,

    /// Trials of full length (-d) that confirm what the search has found
    #[arg(long, value_name = "N", default_value = "3", help_heading = "Decisions")]
    pub(crate) repeats: NonZeroUsize,

    /// Drive another server in turn with the one of the URL argument, and say whether they differ
    #[arg(
        long,
        value_name = "URL",
        help_heading = "Decisions",
        conflicts_with_all = ["stages", "sessions", "idle", "publishers", "scenario", "find_max"]
    )]
    pub(crate) versus: Option<String>,

    /// How long each of both is driven at a time
    #[arg(
        long,
        value_name = "TIME",
        default_value = "100ms",
        value_parser = units::length,
        help_heading = "Decisions"
    )]
    pub(crate) slice: Duration,

    /// Time for which the server that is started without a URL is busy with each message
    #[arg(long, hide = true, value_name = "TIME", value_parser = units::read_time)]
    pub(crate) server_spin: Option<Duration>,

    /// Show nothing while the run goes on
    #[arg(short, long, help_heading = "Output")]
    pub(crate) quiet: bool,

    /// Show progress as lines on a terminal too, in the place of the live view
    #[arg(long, help_heading = "Output")]
    pub(crate) no_tui: bool,

    /// Be the client that the Autobahn suite tests: echo its cases at URL
    #[arg(long, hide = true, requires = "url")]
    pub(crate) autobahn: bool,

    /// Be one of the clients of benches/million.sh: obey the lines on the standard input
    #[arg(long, hide = true, requires = "url")]
    pub(crate) hold: bool,

    /// First loopback address from which those connections come
    #[arg(long, hide = true, value_name = "ADDR", requires = "hold")]
    pub(crate) hold_source: Option<Ipv4Addr>,

    /// Be the server on this port, or a free one: what the process without a URL starts
    #[arg(long, hide = true, value_name = "PORT", conflicts_with = "url")]
    pub(crate) serve: Option<u16>,

    /// Be one of several processes: those workers of all
    #[arg(long, hide = true, value_name = "FROM-UNTIL/ALL", requires = "epoch")]
    pub(crate) child: Option<Share>,

    /// When the times of the run begin, in nanoseconds since the machine did
    #[arg(long, hide = true, value_name = "NS")]
    pub(crate) epoch: Option<u64>,

    /// The server of groups that name none
    #[arg(long, hide = true, value_name = "URL")]
    pub(crate) default_url: Option<String>,

    #[command(flatten)]
    pub(crate) output: OutputArguments,

    #[command(flatten)]
    pub(crate) decisions: DecisionArguments,
}

/// What a group of connections does.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = None::<&str>)]
pub(crate) struct GroupArguments {
    /// Server to measure, as ws://HOST:PORT/PATH, wss:// or ws+unix:/SOCKET:/PATH
    pub(crate) url: Option<String>,

    #[command(flatten)]
    pub(crate) target: TargetArguments,

    #[command(flatten)]
    pub(crate) tls: TlsArguments,

    #[command(flatten)]
    pub(crate) load: LoadArguments,

    #[command(flatten)]
    pub(crate) payload: PayloadArguments,

    #[command(flatten)]
    pub(crate) protocol: ProtocolArguments,
}

fn driver(name: &str) -> Result<DriverKind, String> {
    let all = [DriverKind::Auto, DriverKind::Epoll, DriverKind::IoUring];
    let named = all.into_iter().find(|driver| driver.to_string() == name);
    named.ok_or_else(|| "choose auto, epoll or io-uring".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }
}
