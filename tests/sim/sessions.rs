//! Sessions that keep a ledger of their continuations: each must be called exactly once.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use wireloop::{
    Error, Frame, Handle, Received, Routes, Session, Socket,
    ws::{Misuse, OpCode},
};

/// What has been asked for, and what came of it.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    registered: AtomicUsize,
    called: AtomicUsize,
    dropped_uncalled: AtomicUsize,
    started: AtomicUsize,
    ended: AtomicUsize,
    ended_twice: AtomicUsize,
    handles: Mutex<Vec<(usize, Handle)>>,
}

impl Ledger {
    /// The handle of the session that serves this client.
    pub(crate) fn handle(&self, client: usize) -> Option<Handle> {
        let handles = self.handles.lock().unwrap();
        handles.iter().find(|(number, _)| *number == client).map(|(_, handle)| handle.clone())
    }

    /// Checks the balance.
    pub(crate) fn check(&self) {
        assert_eq!(self.dropped_uncalled.load(Relaxed), 0, "continuations were not called");
        assert_eq!(self.registered.load(Relaxed), self.called.load(Relaxed));
        assert_eq!(self.started.load(Relaxed), self.ended.load(Relaxed), "sessions are left");
        assert_eq!(self.ended_twice.load(Relaxed), 0, "an end was told twice");
    }

    fn promise(self: &Arc<Self>) -> Promise {
        self.registered.fetch_add(1, Relaxed);
        Promise(Some(Arc::clone(self)))
    }
}

/// A continuation that has not been called.
struct Promise(Option<Arc<Ledger>>);

impl Promise {
    fn keep(mut self) {
        if let Some(ledger) = self.0.take() {
            ledger.called.fetch_add(1, Relaxed);
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        if let Some(ledger) = self.0.take() {
            ledger.dropped_uncalled.fetch_add(1, Relaxed);
        }
    }
}

/// `/messages/{client}` echoes messages, `/frames/{client}` echoes frame by frame.
pub(crate) fn routes(ledger: &Arc<Ledger>) -> Routes {
    let [messages, frames] = [Arc::clone(ledger), Arc::clone(ledger)];
    Routes::new()
        .websocket("/messages/{client}", move |request, protocols| {
            Ok(protocols.none().session(Ledgered::new(
                &messages,
                request.variable("client"),
                false,
            )))
        })
        .websocket("/frames/{client}", move |request, protocols| {
            Ok(protocols.none().session(Ledgered::new(&frames, request.variable("client"), true)))
        })
}

/// The echo, with its books.
struct Ledgered {
    ledger: Arc<Ledger>,
    client: usize,
    by_frame: bool,
    /// Whether the message that is being echoed by frames is text.
    is_text: bool,
    /// What a text frame ended with: the start of a character.
    cut: Vec<u8>,
    has_ended: bool,
    /// How many sends were asked for, and how many have completed.
    sends: usize,
    sent: usize,
}

impl Ledgered {
    fn new(ledger: &Arc<Ledger>, client: Option<&str>, by_frame: bool) -> Self {
        ledger.started.fetch_add(1, Relaxed);
        Self {
            ledger: Arc::clone(ledger),
            client: client.unwrap().parse().unwrap(),
            by_frame,
            is_text: false,
            cut: Vec::new(),
            has_ended: false,
            sends: 0,
            sent: 0,
        }
    }

    fn read(&self, socket: &mut Socket<'_, Self>) {
        let promise = self.ledger.promise();
        let then =
            move |session: &mut Self, socket: &mut Socket<'_, Self>, received: Received<'_>| {
                promise.keep();
                session.received(socket, received);
            };
        if self.by_frame {
            socket.read_frame(then);
        } else {
            socket.read_message(then);
        }
    }

    /// Sends something beside the echo, whose completion must come before that of the echo.
    fn send_unasked(&mut self, socket: &mut Socket<'_, Self>) {
        let promise = self.ledger.promise();
        let number = self.sends;
        self.sends += 1;
        socket.send_pong(b"unasked", move |session, _, _sent| {
            promise.keep();
            session.completes(number);
        });
    }

    /// Sends complete in the order in which they were asked for.
    fn completes(&mut self, number: usize) {
        assert_eq!(number, self.sent, "a send completed out of order");
        self.sent += 1;
    }

    /// Reads on when something has been sent.
    fn then_read(
        &mut self,
    ) -> impl FnOnce(&mut Self, &mut Socket<'_, Self>, Result<(), Error>) + use<> + 'static {
        let promise = self.ledger.promise();
        let number = self.sends;
        self.sends += 1;
        move |session, socket, _sent| {
            promise.keep();
            session.completes(number);
            session.read(socket);
        }
    }

    /// The text of a frame up to its last whole character, after what the one before cut.
    fn whole_characters(&mut self, payload: &[u8]) -> String {
        self.cut.extend_from_slice(payload);
        let whole = match std::str::from_utf8(&self.cut) {
            Ok(text) => text.len(),
            Err(error) => error.valid_up_to(),
        };
        let rest = self.cut.split_off(whole);
        String::from_utf8(std::mem::replace(&mut self.cut, rest)).unwrap()
    }

    fn received(&mut self, socket: &mut Socket<'_, Self>, received: Received<'_>) {
        if !matches!(received, Received::Closed { .. } | Received::Failed(_)) {
            self.send_unasked(socket);
            self.send_unasked(socket);
        }
        match received {
            Received::Text(text) => socket.send_text(text, self.then_read()),
            Received::Binary(bytes) => socket.send_binary(bytes, self.then_read()),
            Received::Frame(Frame { opcode, is_final, payload }) => {
                if opcode != OpCode::Continuation {
                    self.is_text = opcode == OpCode::Text;
                }
                let then = self.then_read();
                if self.is_text {
                    let text = self.whole_characters(payload);
                    socket.send_text_fragment(&text, is_final, then);
                } else {
                    socket.send_binary_fragment(payload, is_final, then);
                }
            }
            Received::Closed { .. } | Received::Failed(_) => {
                assert!(!matches!(received, Received::Failed(Error::Misuse(Misuse::Ended))));
                if std::mem::replace(&mut self.has_ended, true) {
                    self.ledger.ended_twice.fetch_add(1, Relaxed);
                }
            }
            other => panic!("unexpected: {other:?}"),
        }
    }
}

impl Session for Ledgered {
    fn start(&mut self, socket: &mut Socket<'_, Self>) {
        self.ledger.handles.lock().unwrap().push((self.client, socket.handle()));
        self.read(socket);
        // A second read is refused, in its turn, and the first one stands.
        let promise = self.ledger.promise();
        socket.read_message(move |_, _, received| {
            promise.keep();
            assert!(matches!(received, Received::Failed(Error::Misuse(Misuse::ReadOutstanding))));
        });
    }
}

impl Drop for Ledgered {
    fn drop(&mut self) {
        self.ledger.ended.fetch_add(1, Relaxed);
    }
}
