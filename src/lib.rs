//! wireloop: a WebSocket server for very many connections.

pub mod http;
pub mod io;
pub mod session;
pub mod ws;
