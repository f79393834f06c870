//! The public face: what an application is written with.
//!
//! [`Routes`] say what is served where. A producer looks at the request and the subprotocols the
//! client offers, and accepts with a [`Session`] or refuses. The session is a value owned by the
//! connection; it reads and sends through a [`Socket`], and every read and send names what is to
//! happen afterwards: its continuation.

mod cell;
mod echo;
mod routes;
mod socket;
pub mod static_files;

pub use echo::Echo;
pub use routes::{Handler, Request, Routes, RoutesError};
pub use socket::{Session, Socket};
pub use static_files::StaticFiles;

pub(crate) use cell::SessionCell;
