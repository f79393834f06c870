//! HTTP/1.1 as far as a WebSocket server needs it, without I/O.
//!
//! Bytes come in as slices and go out into a caller's `Vec`; the time is an argument. The path of
//! a request is [`HeadScanner`] (is the head complete?), [`Request::parse`] (is it valid?),
//! [`Router::find`] (whose is it?), then [`Upgrade::validate`] or a [`Response`]. `conn` calls
//! all of it; this module calls nobody.

mod client;
mod coding;
mod date;
mod deflate;
mod error;
mod extensions;
mod files;
mod framing;
mod head;
mod headers;
mod hosts;
mod methods;
mod origin;
mod protocols;
mod request;
mod response;
mod route;
mod syntax;
mod target;
mod upgrade;

pub use client::{ClientHandshake, ClientRequest, Established, HandshakeError};
pub use coding::{AcceptEncoding, ContentCoding};
pub(crate) use date::Date;
pub use deflate::{DeflateParams, DeflatePolicy};
pub use error::{InvalidHeader, RequestError};
pub use extensions::{Extension, Extensions};
pub use files::{
    Decision, FileInfo, InvalidPath, content_type, decide, file_response, is_dotfile, relative_path,
};
pub use framing::Framing;
pub use head::{Head, HeadScanner, Limits, is_head_request};
pub use headers::{HeaderSlots, Headers, MAX_HEADERS};
pub use hosts::{Host, Hosts, InvalidHost};
pub use methods::Methods;
pub use origin::{InvalidOrigin, Origin, Origins};
pub use protocols::{Accept, Accepted, Protocols, Refusal};
pub use request::{Request, parse};
pub use response::{Body, HeadOptions, Response, Source, SourceError, write_switching_protocols};
pub use route::{Lookup, PatternError, Router, TRAILING_WILDCARD, Variables};
pub use upgrade::{Upgrade, UpgradeError};

#[cfg(test)]
mod tests;
