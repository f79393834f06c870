//! Sessions that take long for each message: what arrives meanwhile is received before the next of
//! them has its turn, so that a message which is handled in no time waits for few of them.

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use support::{BINARY, Client, serve, serve_at_once};
use wireloop::{Config, Received, Routes, Session, Socket, io::sys};

/// How many messages take long, and how long a message is: so much that a driver's pass receives
/// only some of them.
const MESSAGES: usize = 120;
const BYTES: usize = 50_000;

/// Longer than a pass is to take.
const WORK: Duration = Duration::from_millis(12);

/// How many of them may be handled before a message that came last.
const BEFORE_MAX: usize = 8;

/// Works for some time for each binary message, and counts it; answers each text with the count.
struct Counting(Arc<AtomicUsize>);

impl Session for Counting {
    fn start(&mut self, socket: &mut Socket<'_, Self>) {
        socket.read_message(Self::received);
    }
}

impl Counting {
    fn received(&mut self, socket: &mut Socket<'_, Self>, received: Received<'_>) {
        match received {
            Received::Binary(bytes) => {
                // The first message keeps the worker busy until all others have been written.
                thread::sleep(if bytes.len() < BYTES { 40 * WORK } else { WORK });
                self.0.fetch_add(1, Ordering::Relaxed);
            }
            Received::Text(_) => {
                let count = self.0.load(Ordering::Relaxed).to_string();
                socket.send_text(&count, |_, _, sent| assert!(sent.is_ok()));
            }
            _ => return,
        }
        socket.read_message(Self::received);
    }
}

fn routes() -> Routes {
    let count = Arc::new(AtomicUsize::new(0));
    Routes::new().websocket("/", move |_, protocols| {
        Ok(protocols.none().session(Counting(Arc::clone(&count))))
    })
}

#[test]
fn what_is_quick_waits_for_few_that_take_long_however_many_came_before_it() {
    serve_at_once(Config::default(), routes, |server| {
        let mut first = server.upgrade("/");
        let mut slow: Vec<Client> = (0..MESSAGES).map(|_| server.upgrade("/")).collect();
        let mut quick = server.upgrade("/");
        first.send_frame(true, BINARY, b"keep it busy");
        for client in &mut slow {
            client.send_frame(true, BINARY, &[0; BYTES]);
        }
        quick.send_text("how many?");
        let (_, count) = quick.read_any_frame();
        let count: usize = String::from_utf8_lossy(&count).parse().expect("it is a number");
        assert!(count <= BEFORE_MAX, "{count} came before it");
    });
}

/// How many connections are failed at once, by a frame that is not masked.
const ERRORS: usize = 2000;
const UNMASKED: &[u8] = b"\x82\x01x";

/// Whether something has arrived that the client has not read.
fn has_input(client: &Client) -> bool {
    let socket = client.socket();
    socket.set_nonblocking(true).expect("it is open");
    let has_input = socket.peek(&mut [0]).is_ok_and(|bytes| bytes > 0);
    socket.set_nonblocking(false).expect("it is open");
    has_input
}

#[test]
fn connections_that_are_failed_are_closed_after_what_came_with_them_was_answered() {
    sys::raise_file_limit();
    serve(routes, |server| {
        let mut first = server.upgrade("/");
        let mut wrong: Vec<Client> = (0..ERRORS).map(|_| server.upgrade("/")).collect();
        let mut quick = server.upgrade("/");
        first.send_frame(true, BINARY, b"keep it busy");
        for client in &mut wrong {
            client.send_raw(UNMASKED);
        }
        quick.send_text("how many?");
        quick.read_any_frame();
        let closed = wrong.iter().filter(|client| has_input(client)).count();
        assert!(closed < ERRORS / 2, "{closed} were closed before it");
        for client in &mut wrong {
            client.expect_close(1002);
        }
    });
}
