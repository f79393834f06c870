//! What sessions tell the test: lines through a channel, which the test awaits. And a session
//! whose behaviour is one closure, so that a test can be read from top to bottom.

use std::{
    cell::RefCell,
    fmt,
    rc::{Rc, Weak},
    sync::{
        Arc,
        mpsc::{self, Receiver, Sender},
    },
};

use wireloop::{Routes, Session, Socket};

use super::DEADLINE;

/// The end of the channel that sessions have.
#[derive(Clone, Debug)]
pub(crate) struct Log(Sender<String>);

/// The end of the channel that the test has.
#[derive(Debug)]
pub(crate) struct Events(Rc<Receiver<String>>);

thread_local! {
    /// The events of the test that runs in this thread.
    static OF_THIS_TEST: RefCell<Vec<Weak<Receiver<String>>>> = RefCell::default();
}

/// Forgets what the sessions of a server have said that has ended.
pub(super) fn forget() {
    OF_THIS_TEST.with_borrow(|all| {
        all.iter().filter_map(Weak::upgrade).for_each(|events| events.try_iter().for_each(drop));
    });
}

impl Events {
    pub(crate) fn new() -> (Log, Self) {
        let (sender, receiver) = mpsc::channel();
        let receiver = Rc::new(receiver);
        OF_THIS_TEST.with_borrow_mut(|all| all.push(Rc::downgrade(&receiver)));
        (Log(sender), Self(receiver))
    }

    /// The next event, whichever it is.
    #[track_caller]
    pub(crate) fn next(&self) -> String {
        self.0.recv_timeout(DEADLINE).expect("an event is due")
    }

    /// The next event, which must be this one.
    #[track_caller]
    pub(crate) fn expect(&self, event: &str) {
        assert_eq!(self.next(), event);
    }

    /// Asserts that nothing else has been said so far.
    #[track_caller]
    pub(crate) fn expect_none(&self) {
        if let Ok(event) = self.0.try_recv() {
            panic!("nothing is due, but there is: {event}");
        }
    }
}

impl Log {
    /// Says what a session was told, as `{:?}` has it.
    pub(crate) fn say(&self, event: impl fmt::Debug) {
        // The test may have ended.
        let _ = self.0.send(format!("{event:?}"));
    }

    /// Says a word.
    pub(crate) fn note(&self, event: impl Into<String>) {
        let _ = self.0.send(event.into());
    }
}

type Start = dyn Fn(&mut Socket<'_, Script>) + Send + Sync;

/// A session that does what a closure says. Its state is what the closure's continuations capture.
pub(crate) struct Script(Arc<Start>);

impl Session for Script {
    fn start(&mut self, socket: &mut Socket<'_, Self>) {
        (Arc::clone(&self.0))(socket);
    }
}

/// Routes with one WebSocket at `/`, whose sessions start with `start`.
pub(crate) fn script(start: impl Fn(&mut Socket<'_, Script>) + Send + Sync + 'static) -> Routes {
    let start: Arc<Start> = Arc::new(start);
    Routes::new().websocket("/", move |_request, protocols| {
        Ok(protocols.none().session(Script(Arc::clone(&start))))
    })
}
