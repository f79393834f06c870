//! The rules of the RFCs and what other implementations got wrong, one test each. A test is named
//! after its rule; docs/CONFORMANCE.md lists them all.

#[path = "../support/mod.rs"]
mod support;

mod admission;
mod closing;
mod compression;
mod costs;
mod file_requests;
mod files;
mod frames;
mod handshake;
mod http;
mod memory;
mod mutations;
mod negotiation;
mod smuggling;

use support::serve;
use wireloop::{Echo, Routes};

/// An echo service at `/`.
fn echo() -> Routes {
    Routes::new().websocket("/", |_request, protocols| Ok(protocols.none().session(Echo)))
}

#[test]
fn rfc6455_1_3_the_accept_value_of_the_sample_key() {
    serve(echo, |server| drop(server.upgrade("/")));
}
