//! wireloop is a WebSocket server library for people who need very many connections and want to
//! know exactly what they cost: one event loop per core, no allocation and no buffer for a
//! connection that is idle, all of RFC 6455, and back-pressure everywhere.
//!
//! A session reads and sends with continuations, which run one after the other on the loop that
//! owns the connection. There is no runtime, no lock and no task:
//!
//! ```no_run
//! use wireloop::{Received, Routes, Server, Session, Socket, StaticFiles};
//!
//! struct Echo;
//!
//! impl Session for Echo {
//!     fn start(&mut self, socket: &mut Socket<'_, Self>) {
//!         socket.read_message(Self::received);
//!     }
//! }
//!
//! impl Echo {
//!     fn received(&mut self, socket: &mut Socket<'_, Self>, received: Received<'_>) {
//!         match received {
//!             Received::Text(text) => {
//!                 socket.send_text(text, |_, socket, _sent| socket.read_message(Self::received));
//!             }
//!             Received::Binary(bytes) => {
//!                 socket.send_binary(bytes, |_, socket, _sent| socket.read_message(Self::received));
//!             }
//!             _ => {} // Closed or failed; no read timeout is set, so none ends here.
//!         }
//!     }
//! }
//!
//! fn main() -> Result<(), wireloop::ServerError> {
//!     let routes = Routes::new()
//!         .get("/**", StaticFiles::new("webroot"))
//!         .websocket("/echo", |_request, protocols| {
//!             protocols.choose("echo").map(|accept| accept.session(Echo))
//!         });
//!     Server::new(routes).listen("[::]:8181")?.run()
//! }
//! ```
//!
//! # What is where
//!
//! [`Routes`], [`Session`], [`Socket`] and [`Received`] are what an application is written with;
//! [`Server`] runs it and [`Config`] says what it grants its peers. The layers below may be used
//! by themselves: [`ws`] is the protocol without I/O, for either end; [`http`] the part of HTTP
//! that leads to it; [`io`] the seam between a loop and the kernel.

mod config;
mod conn;
mod error;
pub mod http;
pub mod io;
pub mod server;
pub mod session;
mod sync;
pub mod ws;

pub use config::{Compression, Config, WhenFull};
pub use conn::{Counters, Frame, Handle, HandleError, Received};
pub use error::Error;
pub use server::{DriverKind, Pin, Server, ServerError, Stopper};
pub use session::{Echo, Handler, Request, Routes, RoutesError, Session, Socket, StaticFiles};
