//! wireloop: a WebSocket server for very many connections.

mod config;
mod conn;
mod error;
pub mod http;
pub mod io;
pub mod server;
pub mod session;
pub mod ws;

pub use config::Config;
pub use conn::{Frame, Handle, HandleError, Received};
pub use error::Error;
pub use server::{DriverKind, Server, ServerError, Stopper};
pub use session::{Echo, Handler, Request, Routes, Session, Socket, StaticFiles};
