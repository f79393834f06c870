//! A session beside its continuations, and the end of its type: what stands below knows only
//! [`AnySession`].

use std::{collections::VecDeque, fmt};

use super::{Session, Socket};
use crate::{
    Error, Received,
    conn::{AnySession, Channel},
    ws::{Misuse, ReadMode},
};

type AfterRead<S> = Box<dyn for<'s, 'r> FnOnce(&mut S, &mut Socket<'s, S>, Received<'r>)>;
type AfterSend<S> = Box<dyn for<'s> FnOnce(&mut S, &mut Socket<'s, S>, Result<(), Error>)>;

/// A session and its continuations.
pub(crate) struct SessionCell<S> {
    session: S,
    continuations: Continuations<S>,
}

/// The continuations that have not been called.
pub(crate) struct Continuations<S> {
    /// The outstanding read.
    read: Option<(ReadMode, AfterRead<S>)>,
    /// The oldest completion. Most sessions never have two, and own no queue then.
    first: Option<Completion<S>>,
    /// The others, in order. Not empty, and `first` is there.
    #[expect(clippy::box_collection, reason = "rarely there: eight bytes instead of 32")]
    others: Option<Box<VecDeque<Completion<S>>>>,
}

/// A continuation that is called in its turn.
enum Completion<S> {
    Sent(AfterSend<S>),
    SendFailed(AfterSend<S>, Error),
    ReadRefused(AfterRead<S>, Misuse),
}

impl<S> Continuations<S> {
    /// Makes this the outstanding read, or refuses it.
    pub(super) fn read(&mut self, mode: ReadMode, then: AfterRead<S>) {
        if self.has_read() {
            self.push(Completion::ReadRefused(then, Misuse::ReadOutstanding));
        } else {
            self.read = Some((mode, then));
        }
    }

    pub(super) fn has_read(&self) -> bool {
        self.read.is_some()
    }

    /// Adds the completion of a send.
    pub(super) fn sent(&mut self, result: Result<(), Error>, then: AfterSend<S>) {
        self.push(match result {
            Ok(()) => Completion::Sent(then),
            Err(error) => Completion::SendFailed(then, error),
        });
    }

    fn push(&mut self, completion: Completion<S>) {
        if self.first.is_none() {
            self.first = Some(completion);
        } else {
            self.others.get_or_insert_default().push_back(completion);
        }
    }

    fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.others.as_ref().map_or(0, |others| others.len())
    }

    /// Takes the oldest completion, if it is due.
    fn pop_due(&mut self, is_writable: bool) -> Option<Completion<S>> {
        if matches!(self.first, Some(Completion::Sent(_))) && !is_writable {
            return None;
        }
        let due = self.first.take();
        if let Some(others) = &mut self.others {
            self.first = others.pop_front();
            if others.is_empty() {
                self.others = None;
            }
        }
        due
    }

    fn fail_sends(&mut self) {
        let others = self.others.iter_mut().flat_map(|others| others.iter_mut());
        for completion in self.first.iter_mut().chain(others) {
            replace_with(completion, |completion| match completion {
                Completion::Sent(then) => Completion::SendFailed(then, Error::Closed),
                other => other,
            });
        }
    }
}

/// Replaces a completion by what `change` makes of it.
fn replace_with<S>(place: &mut Completion<S>, change: impl FnOnce(Completion<S>) -> Completion<S>) {
    // A box of a closure that captures nothing allocates nothing.
    let nothing = Completion::Sent(Box::new(|_: &mut S, _: &mut Socket<'_, S>, _| {}));
    let completion = std::mem::replace(place, nothing);
    *place = change(completion);
}

impl<S: Session> SessionCell<S> {
    pub(crate) fn new(session: S) -> Self {
        let continuations = Continuations { read: None, first: None, others: None };
        Self { session, continuations }
    }

    /// Calls user code with the session and its socket.
    fn call(&mut self, channel: &mut Channel<'_>, code: impl FnOnce(&mut S, &mut Socket<'_, S>)) {
        let mut socket = Socket::new(channel.reborrow(), &mut self.continuations);
        code(&mut self.session, &mut socket);
    }
}

impl<S: Session> AnySession for SessionCell<S> {
    fn start(&mut self, channel: &mut Channel<'_>) {
        self.call(channel, S::start);
    }

    fn wanted(&self) -> Option<ReadMode> {
        self.continuations.read.as_ref().map(|(mode, _)| *mode)
    }

    fn received(&mut self, channel: &mut Channel<'_>, received: Received<'_>) {
        if let Some((_, then)) = self.continuations.read.take() {
            self.call(channel, |session, socket| then(session, socket, received));
        }
    }

    fn refuse_read(&mut self, misuse: Misuse) {
        if let Some((_, then)) = self.continuations.read.take() {
            self.continuations.push(Completion::ReadRefused(then, misuse));
        }
    }

    fn pong(&mut self, channel: &mut Channel<'_>, payload: &[u8]) {
        self.call(channel, |session, socket| session.pong(socket, payload));
    }

    fn run_next(&mut self, channel: &mut Channel<'_>) -> bool {
        let Some(due) = self.continuations.pop_due(channel.is_writable()) else { return false };
        self.call(channel, |session, socket| match due {
            Completion::Sent(then) => then(session, socket, Ok(())),
            Completion::SendFailed(then, error) => then(session, socket, Err(error)),
            Completion::ReadRefused(then, misuse) => {
                then(session, socket, Received::Failed(misuse.into()));
            }
        });
        true
    }

    fn fail_sends(&mut self) {
        self.continuations.fail_sends();
    }

    fn has_pending(&self) -> bool {
        self.continuations.first.is_some()
    }
}

impl<S> fmt::Debug for Continuations<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Continuations")
            .field("reads", &self.has_read())
            .field("completions", &self.len())
            .finish()
    }
}
