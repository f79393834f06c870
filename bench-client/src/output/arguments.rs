//! The options that say where results are written and in which form.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, ValueEnum};

/// Where results go.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArguments {
    /// What is written to the standard output: text, or json with all figures and histograms
    #[arg(
        long,
        value_enum,
        value_name = "FORM",
        default_value = "text",
        hide_possible_values = true
    )]
    pub(crate) format: Format,

    /// Write all figures and histograms as JSON
    #[arg(long = "json", value_name = "FILE")]
    pub(crate) json_file: Option<PathBuf>,

    /// Write a report for the browser, complete in one file
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,

    /// Write the response times by percentile, in milliseconds, as HdrHistogram's plotter reads
    /// them. The service times of an open loop, and each of several groups, go to files beside it:
    /// run.hgrm has run.service.hgrm and run.GROUP.hgrm
    #[arg(long, value_name = "FILE")]
    pub(crate) hgrm: Option<PathBuf>,

    /// Write a histogram for each second, group and kind of time, as HdrHistogram's log tools read
    /// them (version 1.3, in nanoseconds), while the run goes on. Tags are response and service, or
    /// GROUP.response and GROUP.service
    #[arg(long, value_name = "FILE")]
    pub(crate) hlog: Option<PathBuf>,

    /// Serve the figures so far to Prometheus, at http://ADDR/metrics. Port 0 takes a free one
    #[arg(long, value_name = "ADDR")]
    pub(crate) prometheus: Option<SocketAddr>,
}

/// The form of the standard output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    #[default]
    Text,
    Json,
}
