//! HTTP/1.1 as far as a WebSocket server needs it, without I/O.
