//! The echo server of Perfect's guide, line by line: <http://localhost:8181/> is a page to try it,
//! `/echo` the service.
//!
//!     cargo run --example echo

use wireloop::{Received, Routes, Server, ServerError, Session, Socket, StaticFiles};

/// The page of the `wireloop` binary, which any directory with an `index.html` can replace.
const WEBROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/page");

pub(crate) fn routes() -> Routes {
    Routes::new()
        // Add a default route which lets us serve the static index.html file.
        .get("/**", StaticFiles::new(WEBROOT))
        // Add the endpoint for the WebSocket example system. The closure is the producer: it
        // returns our session, or refuses.
        .websocket("/echo", |_request, protocols| {
            // Check to make sure the client is requesting our "echo" service. `choose` instead of
            // `require` would serve a client that offers no subprotocol at all, too.
            let accept = protocols.require("echo")?;

            // Return our session. The answer says "echo" as well: clients insist on it.
            Ok(accept.session(Echo))
        })
}

/// The session of one connection; its fields would be the connection's state.
struct Echo;

impl Session for Echo {
    /// This function is called once, when the WebSocket connection has been established.
    fn start(&mut self, socket: &mut Socket<'_, Self>) {
        // Read a message from the client. Text and binary messages both come here, whole; to
        // get the fragments of a long one as they arrive, call `read_frame`.
        // By default there is no timeout: see `set_read_timeout`.
        socket.read_message(Self::received);
    }
}

impl Echo {
    /// This continuation is called with what was received, after `start` has returned.
    fn received(&mut self, socket: &mut Socket<'_, Self>, received: Received<'_>) {
        match received {
            Received::Text(text) => {
                // Print some information to the console for informational purposes.
                println!("Read msg: {text}");

                // Echo the data we received back to the client.
                // WebSockets has the concept of fragmented messages: if one were streaming a large
                // file such as a video, one would call `send_text_fragment` with `is_final` set
                // only for the last bit of it, as examples/streaming.rs does.
                socket.send_text(text, |session, socket, _sent| {
                    // This continuation is called once the message has been sent. Begin again to
                    // read and echo a new message: it is no recursion, however often it happens.
                    session.start(socket);
                });
            }
            Received::Binary(bytes) => {
                println!("Read msg: {} bytes", bytes.len());
                socket.send_binary(bytes, |session, socket, _sent| session.start(socket));
            }
            // This arm will be executed if, for example, the browser window is closed. The reason
            // is in `code`; the closing handshake has been completed already.
            Received::Closed { code, reason } => println!("Closed: {code} {reason}"),
            // The network failed, or the client broke the rules.
            other => println!("The session is over: {other:?}"),
        }
    }
}

fn main() -> Result<(), ServerError> {
    Server::new(routes()).listen("[::]:8181")?.run()
}
