//! The end of a connection: its last output, then its socket.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Connection, Incoming, State, Tick, progress::Measured};

/// What is to be done to the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// End our direction; the peer's goes on until it ends.
    Shutdown,
    /// Close it.
    Close,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Termination {
    /// The last output is being sent: a response, or the last frames of a WebSocket.
    Flushing { is_websocket: bool },
    /// Our direction is shut down. What arrives is dropped until the peer ends too, so that no
    /// reset destroys what it has not read yet (RFC 6455 section 7.1.1).
    Draining,
    /// The driver closes the socket.
    Closing,
}

impl Connection {
    /// What is to be done to the socket next, once.
    pub(crate) fn next_step(&mut self, now: Tick) -> Option<Step> {
        let State::Terminating(termination) = &mut self.state else { return None };
        let (next, step) = match termination {
            Termination::Closing => return None,
            _ if self.incoming == Incoming::Broken => (Termination::Closing, Step::Close),
            Termination::Flushing { .. } | Termination::Draining
                if self.incoming == Incoming::Ended =>
            {
                if !self.output.is_idle() {
                    return None;
                }
                (Termination::Closing, Step::Close)
            }
            Termination::Flushing { .. } if self.output.is_idle() => {
                (Termination::Draining, Step::Shutdown)
            }
            Termination::Flushing { .. } | Termination::Draining => return None,
        };
        *termination = next;
        self.since = now;
        Some(step)
    }

    /// Whether only the last frames of a WebSocket are to be sent, for which its peer does not wait.
    #[inline]
    pub(crate) fn is_parting(&self) -> bool {
        matches!(self.state, State::Terminating(Termination::Flushing { is_websocket: true }))
    }

    /// The one way to an end: nobody is told anything more, what was to be told has been.
    pub(super) fn terminate(&mut self, now: Tick) {
        self.since = now;
        self.measured = Measured::Nothing;
        let is_websocket = matches!(self.state, State::Active(_));
        let next = State::Terminating(Termination::Flushing { is_websocket });
        let ended = std::mem::replace(&mut self.state, next);
        // What a session or the source of a response owns is the application's.
        if catch_unwind(AssertUnwindSafe(|| drop(ended))).is_err() {
            tracing::error!("a session or a source panicked while it was dropped");
        }
    }
}
