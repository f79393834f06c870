//! What connections are given: by their worker to work with, and by the application as answers.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use super::{AnySession, Inbox, Tick};
use crate::{
    Config,
    config::Compression,
    http::{DeflateParams, Request, Response},
    io::Token,
    ws::{Deflater, Inflater},
};

/// What the connections of a worker share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) config: Arc<Config>,
    pub(crate) application: Arc<dyn Application>,
    pub(crate) inbox: Arc<Inbox>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }
}

/// What answers requests.
pub(crate) trait Application: Send + Sync {
    /// Answers a request. If it is to be upgraded, the 101 has been appended to `out`; what it
    /// says of compression is within `compression`.
    fn answer<'a>(
        &'a self,
        request: Request<'a>,
        peer: Option<SocketAddr>,
        compression: Option<&Compression>,
        out: &mut Vec<u8>,
    ) -> Answer;
}

/// An answer to a request.
pub(crate) enum Answer {
    Respond(Response),
    Upgraded(Box<dyn AnySession>, Option<DeflateParams>),
}

/// What compresses the messages of all of a worker's connections.
#[derive(Debug)]
pub(crate) struct Codec {
    pub(super) inflater: Inflater,
    pub(super) deflater: Deflater,
}

impl Codec {
    /// The codec of a worker. What inflating takes apart from the message is taken now, so that no
    /// peer makes the process grow by more than its message.
    pub(crate) fn new(config: &Config) -> Self {
        let compression = config.compression.clone().unwrap_or_default();
        let mut inflater = Inflater::new();
        if config.compression.is_some() {
            inflater.warm_up();
        }
        Self { inflater, deflater: Deflater::new(compression.level, compression.threshold_bytes) }
    }
}

/// What a connection needs while it handles something.
pub(crate) struct Context<'w> {
    /// The connection's.
    pub(crate) token: Token,
    pub(crate) now: Duration,
    /// The current date for HTTP.
    pub(crate) date: &'w str,
    /// Output is appended here.
    pub(crate) out: &'w mut Vec<u8>,
    /// Where the connection's output of this pass begins.
    pub(crate) out_start: usize,
    pub(crate) codec: &'w mut Codec,
    pub(crate) shared: &'w Shared,
}

impl Context<'_> {
    pub(super) fn tick(&self) -> Tick {
        Tick::at(self.now)
    }
}
