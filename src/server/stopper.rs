//! What stops a server.

use std::sync::{Arc, PoisonError};

use crate::{
    conn::{Command, Inbox},
    sync::{Mutex, MutexGuard},
};

/// Stops a server in good order: what had arrived is served, then no more connections are accepted,
/// every peer gets a Close frame with 1001, and what has not ended after [`Config::shutdown_grace`](crate::Config::shutdown_grace) is reset.
#[derive(Clone, Debug, Default)]
pub struct Stopper(Arc<Mutex<Stopping>>);

#[derive(Debug, Default)]
struct Stopping {
    is_stopped: bool,
    inboxes: Vec<Arc<Inbox>>,
}

impl Stopper {
    /// Begins to stop the server; it has stopped when [`Server::run`](super::Server::run) returns.
    pub fn stop(&self) {
        let mut stopping = self.lock();
        stopping.is_stopped = true;
        for inbox in stopping.inboxes.drain(..) {
            // Fails only if the worker has ended.
            let _ = inbox.push(Command::Stop);
        }
    }

    pub(super) fn register(&self, inbox: Arc<Inbox>) {
        let mut stopping = self.lock();
        if stopping.is_stopped {
            let _ = inbox.push(Command::Stop);
        } else {
            // That of a worker that has failed, in whose place this one is.
            stopping.inboxes.retain(|inbox| !inbox.is_closed());
            stopping.inboxes.push(inbox);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Stopping> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tests that Shuttle runs: a worker that is not stopped is reported.
#[cfg(all(test, shuttle))]
mod interleavings {
    use shuttle::{check_random, thread};

    use super::*;
    use crate::{
        io::Waker,
        sync::{ORDERS, Signal},
    };

    #[test]
    fn every_worker_is_stopped_once_whether_it_starts_before_or_after() {
        check_random(
            || {
                let stopper = Stopper::default();
                let workers = [(); 2].map(|()| {
                    let stopper = stopper.clone();
                    thread::spawn(move || {
                        let signal = Arc::new(Signal::default());
                        let wakes = Arc::clone(&signal);
                        let inbox = Arc::new(Inbox::new(Waker::new(move || wakes.raise())));
                        stopper.register(Arc::clone(&inbox));
                        signal.wait();
                        inbox.take().len()
                    })
                });
                stopper.stop();
                stopper.stop();
                let commands = workers.map(|worker| worker.join().unwrap());
                assert_eq!(commands, [1, 1]);
            },
            ORDERS,
        );
    }
}
