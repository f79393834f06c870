//! The options that say what messages hold.

use std::path::PathBuf;

use clap::Args;

use super::{Content, sizes::Sizes, template::Template};

/// What messages hold.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Payload")]
pub(crate) struct PayloadArguments {
    /// Payload of a message: 20, 16k, 16-4k (uniform), exp:1k (exponential, cut at 16 times its
    /// mean) or 64:80,16k:20 (weighted). From 16 bytes on it names its connection and its place
    /// there, so that lost, repeated and reordered messages are told apart; shorter ones are
    /// compared with the one that is due
    #[arg(short, long, value_name = "SIZE", default_value = "20", value_parser = Sizes::read)]
    pub(crate) size: Sizes,

    /// Send text; otherwise binary
    #[arg(long)]
    pub(crate) text: bool,

    /// Send JSON-like text, which compresses as real messages do
    #[arg(long = "json-like", conflicts_with = "text")]
    pub(crate) json: bool,

    /// Send a file as each message
    #[arg(long, value_name = "FILE", conflicts_with_all = ["size", "json"])]
    pub(crate) payload_file: Option<PathBuf>,

    /// Send the lines of a file, one as each message, in turn
    #[arg(long, value_name = "FILE", conflicts_with_all = ["size", "json", "payload_file"])]
    pub(crate) payload_lines: Option<PathBuf>,

    /// Send a text, with the numbers of its connection and message for {connection} and {sequence}
    #[arg(
        long,
        value_name = "TEXT",
        value_parser = Template::read,
        conflicts_with_all = ["size", "text", "json", "payload_file", "payload_lines"]
    )]
    pub(crate) payload_text: Option<Template>,
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
