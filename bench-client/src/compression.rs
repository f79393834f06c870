//! What the client offers and does about permessage-deflate (RFC 7692).

use clap::ValueEnum;
use wireloop::{
    http::DeflateParams,
    ws::{Context, Deflation},
};

/// zlib's level for what the client sends: the fastest.
pub(crate) const LEVEL: u32 = 1;

/// The client compresses every message: it was asked to load the server with that.
pub(crate) const THRESHOLD_BYTES: usize = 0;

/// What is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compression {
    /// Nothing.
    Off,
    /// That each message stands by itself.
    Fresh,
    /// That messages may refer to earlier ones.
    Kept,
}

impl Compression {
    pub(crate) fn offer(self) -> Option<DeflateParams> {
        let is_fresh = self == Self::Fresh;
        (self != Self::Off).then_some(DeflateParams {
            server_no_context_takeover: is_fresh,
            client_no_context_takeover: is_fresh,
            server_max_window_bits: None,
            client_max_window_bits: Some(DeflateParams::ANY_WINDOW),
        })
    }
}

/// The client's side of what was agreed.
pub(crate) fn client_side(agreed: DeflateParams) -> Deflation {
    let context = |is_fresh| if is_fresh { Context::Fresh } else { Context::Kept };
    Deflation::new(
        context(agreed.server_no_context_takeover),
        context(agreed.client_no_context_takeover),
        agreed.client_max_window_bits.unwrap_or(15),
    )
}
