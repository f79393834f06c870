//! The command line: what is measured, by which groups of connections, for how long, and what is
//! told about it. Each area has its own options; `scenario.rs` reads the same from a file.

use std::{net::Ipv4Addr, num::NonZeroUsize, time::Duration};

use clap::{Args, Parser};
use wireloop::DriverKind;

use crate::{
    compression::Compression, decisions::DecisionArguments, output::arguments::OutputArguments,
    payload::Content, units,
};

/// Measures the echo latency and the throughput of a WebSocket server. Without a URL it starts a
/// wireloop server as a process of its own and measures that.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "wireloop-bench",
    version,
    long_about = None,
    after_help = "Sizes take k, m or g (1024), rates k or m (1000), times ms, s, m or h.\n\
        A message without an answer counts with the age at which it was given up; figures that \
        it may have made too small are marked >.\n\
        Exit codes, of which the first that fits counts: 2 a wrong argument, 1 the run was not \
        possible or nothing was measured, 99 a threshold was broken, 1 something failed or an echo \
        was wrong or missing, 3 all went well but the figures are INVALID, which is more the \
        client's doing than the server's, 0 all went well. Ctrl-C ends the run early and tells what \
        there is; a second one ends the process with 130."
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) run: RunArguments,

    #[command(flatten)]
    pub(crate) group: GroupArguments,
}

/// What concerns the run as a whole.
#[derive(Args, Clone, Debug)]
pub(crate) struct RunArguments {
    /// Threads, among which the connections are divided
    #[arg(short, long, value_name = "N", default_value = "1")]
    pub(crate) threads: NonZeroUsize,

    /// Length of the measurement
    #[arg(short, long, value_name = "TIME", default_value = "10s", value_parser = units::read_time)]
    pub(crate) duration: Duration,

    /// Load before the measurement, not counted
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = units::read_time)]
    pub(crate) warm_up: Duration,

    /// Time for late answers after the measurement
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = units::read_time)]
    pub(crate) drain: Duration,

    /// Handshakes in progress at a time
    #[arg(long, value_name = "N", default_value = "256")]
    pub(crate) connecting: NonZeroUsize,

    /// Time for a connection to open
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = units::read_time)]
    pub(crate) connect_timeout: Duration,

    /// Workers of the server that is started without a URL
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) server_workers: NonZeroUsize,

    /// Driver of the server that is started without a URL: auto, epoll or io-uring
    #[arg(long, value_name = "DRIVER", default_value = "auto", value_parser = driver)]
    pub(crate) server_driver: DriverKind,

    /// Process whose CPU time and memory are reported, if the server is local
    #[arg(long, value_name = "PID", requires = "url")]
    pub(crate) server_pid: Option<u32>,

    /// No progress lines
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// Be the client that the Autobahn suite tests: echo its cases at URL
    #[arg(long, hide = true, requires = "url")]
    pub(crate) autobahn: bool,

    /// Be one of the clients of benches/million.sh: obey the lines on the standard input
    #[arg(long, hide = true, requires = "url")]
    pub(crate) hold: bool,

    /// First loopback address from which those connections come
    #[arg(long, hide = true, value_name = "ADDR", requires = "hold")]
    pub(crate) hold_source: Option<Ipv4Addr>,

    /// Be the server: what the process without a URL starts
    #[arg(long, hide = true, conflicts_with = "url")]
    pub(crate) serve: bool,

    #[command(flatten)]
    pub(crate) output: OutputArguments,

    #[command(flatten)]
    pub(crate) decisions: DecisionArguments,
}

/// What a group of connections does.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = None::<&str>)]
pub(crate) struct GroupArguments {
    /// Server to measure, as ws://HOST:PORT/PATH
    pub(crate) url: Option<String>,

    #[command(flatten)]
    pub(crate) load: LoadArguments,

    #[command(flatten)]
    pub(crate) payload: PayloadArguments,

    #[command(flatten)]
    pub(crate) protocol: ProtocolArguments,
}

/// When messages are sent.
#[derive(Args, Clone, Debug)]
pub(crate) struct LoadArguments {
    /// Connections
    #[arg(short, long, value_name = "N", default_value = "100")]
    pub(crate) connections: NonZeroUsize,

    /// Open loop: messages per second over all connections, sent on schedule whether or not the
    /// server answers. Without it, closed loop: an answer releases the next message
    #[arg(short = 'R', long, value_name = "RATE", value_parser = units::rate)]
    pub(crate) rate: Option<f64>,

    /// Closed loop: messages in flight on each connection
    #[arg(long, value_name = "N", default_value = "1", conflicts_with = "rate")]
    pub(crate) depth: NonZeroUsize,

    /// Closed loop: time after which another message is sent in the place of one without answer
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = units::read_time)]
    pub(crate) answer_timeout: Duration,

    /// Open loop: messages in flight on a connection beyond which a message is counted as missed
    #[arg(long, value_name = "N", default_value = "1024")]
    pub(crate) max_in_flight: NonZeroUsize,
}

/// What messages hold.
#[derive(Args, Clone, Debug)]
pub(crate) struct PayloadArguments {
    /// Payload of a message. From 16 bytes on it names its connection and its place there, so that
    /// lost, repeated and reordered messages are told apart; shorter ones are compared with the one
    /// that is due
    #[arg(short, long, value_name = "SIZE", default_value = "20", value_parser = units::size)]
    pub(crate) size: usize,

    /// Send text; otherwise binary
    #[arg(long)]
    pub(crate) text: bool,

    /// Send JSON-like text, which compresses as real messages do
    #[arg(long = "json-like", conflicts_with = "text")]
    pub(crate) json: bool,
}

/// How the protocol is spoken.
#[derive(Args, Clone, Debug)]
pub(crate) struct ProtocolArguments {
    /// permessage-deflate to offer: off, fresh (each message by itself) or kept (messages may
    /// refer to earlier ones)
    #[arg(
        long,
        value_enum,
        value_name = "MODE",
        default_value = "off",
        hide_possible_values = true
    )]
    pub(crate) compression: Compression,
}

impl PayloadArguments {
    pub(crate) fn content(&self) -> Content {
        match (self.json, self.text) {
            (true, _) => Content::Json,
            (false, true) => Content::Text,
            (false, false) => Content::Bytes,
        }
    }
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
