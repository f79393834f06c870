//! A session beside its continuations, and the end of its type: what stands below knows only
//! [`AnySession`].

use std::{collections::VecDeque, fmt};

use super::{Session, Socket};
use crate::{
    Error, Received,
    conn::{AnySession, Channel},
    ws::Misuse,
};

type AfterRead<S> = Box<dyn for<'s, 'r> FnOnce(&mut S, &mut Socket<'s, S>, Received<'r>)>;
type AfterSend<S> = Box<dyn for<'s> FnOnce(&mut S, &mut Socket<'s, S>, Result<(), Error>)>;

/// How many completions follow each other before the connection has a look at what else there is.
const COMPLETIONS_IN_A_ROW: usize = 16;

/// A session and its continuations.
pub(crate) struct SessionCell<S> {
    session: S,
    /// The continuation of the outstanding read.
    read: Option<AfterRead<S>>,
    /// Completions that are not due yet, oldest first; never empty. A completion is due at once
    /// in nearly all cases, and most sessions own no queue.
    #[expect(clippy::box_collection, reason = "rarely there: eight bytes instead of 32")]
    waiting: Option<Box<VecDeque<Completion<S>>>>,
}

/// What a session has asked for, where its [`Socket`] can reach it.
pub(super) struct Continuations<'c, S> {
    read: &'c mut Option<AfterRead<S>>,
    /// The completion of a send that succeeded, unless others wait already.
    next: &'c mut Option<AfterSend<S>>,
    #[expect(clippy::box_collection, reason = "that of the cell")]
    waiting: &'c mut Option<Box<VecDeque<Completion<S>>>>,
}

/// A continuation that is called in its turn.
enum Completion<S> {
    Sent(AfterSend<S>),
    SendFailed(AfterSend<S>, Error),
    ReadRefused(AfterRead<S>, Misuse),
}

impl<S> Continuations<'_, S> {
    /// Makes this the outstanding read; or refuses it if there is one, and returns false.
    pub(super) fn read(&mut self, then: AfterRead<S>) -> bool {
        let is_first = self.read.is_none();
        if is_first {
            *self.read = Some(then);
        } else {
            self.push(Completion::ReadRefused(then, Misuse::ReadOutstanding));
        }
        is_first
    }

    /// Adds the completion of a send.
    #[inline]
    pub(super) fn sent(&mut self, result: Result<(), Error>, then: AfterSend<S>) {
        match result {
            Ok(()) if self.next.is_none() && self.waiting.is_none() => *self.next = Some(then),
            Ok(()) => self.push(Completion::Sent(then)),
            Err(error) => self.push(Completion::SendFailed(then, error)),
        }
    }

    #[cold]
    fn push(&mut self, completion: Completion<S>) {
        self.waiting.get_or_insert_default().push_back(completion);
    }
}

impl<S: Session> SessionCell<S> {
    pub(crate) fn new(session: S) -> Self {
        Self { session, read: None, waiting: None }
    }

    /// Calls user code with the session and its socket, then the completions that are due.
    fn call(&mut self, channel: &mut Channel<'_>, code: impl FnOnce(&mut S, &mut Socket<'_, S>)) {
        let mut next = None;
        self.call_once(channel, &mut next, code);
        for _ in 0..COMPLETIONS_IN_A_ROW {
            if channel.is_disturbed() || !channel.is_writable() {
                break;
            }
            let Some(then) = next.take() else { break };
            self.call_once(channel, &mut next, |session, socket| then(session, socket, Ok(())));
        }
        if let Some(then) = next {
            // It is older than those that wait.
            self.waiting.get_or_insert_default().push_front(Completion::Sent(then));
        }
        channel.set_completions_wait(self.waiting.is_some());
    }

    /// `received` makes what was received where it is needed: a value of several words is not
    /// moved from one place to the next.
    #[inline]
    fn complete_read<'r>(
        &mut self,
        channel: &mut Channel<'_>,
        received: impl FnOnce() -> Received<'r>,
    ) {
        channel.read_ends();
        if let Some(then) = self.read.take() {
            self.call(channel, |session, socket| then(session, socket, received()));
        }
    }

    #[inline]
    fn call_once(
        &mut self,
        channel: &mut Channel<'_>,
        next: &mut Option<AfterSend<S>>,
        code: impl FnOnce(&mut S, &mut Socket<'_, S>),
    ) {
        let Self { session, read, waiting } = self;
        let continuations = Continuations { read, next, waiting };
        code(session, &mut Socket::new(channel.reborrow(), continuations));
    }

    fn pop_due(&mut self, channel: &Channel<'_>) -> Option<Completion<S>> {
        let waiting = self.waiting.as_mut()?;
        let is_due = waiting.front().is_some_and(|first| first.is_due(channel));
        let due = if is_due { waiting.pop_front() } else { None };
        if waiting.is_empty() {
            self.waiting = None;
        }
        due
    }
}

impl<S: Session> Completion<S> {
    fn is_due(&self, channel: &Channel<'_>) -> bool {
        !matches!(self, Self::Sent(_)) || channel.is_writable()
    }

    fn call(self, session: &mut S, socket: &mut Socket<'_, S>) {
        match self {
            Self::Sent(then) => then(session, socket, Ok(())),
            Self::SendFailed(then, error) => then(session, socket, Err(error)),
            Self::ReadRefused(then, misuse) => {
                then(session, socket, Received::Failed(misuse.into()));
            }
        }
    }
}

impl<S: Session> AnySession for SessionCell<S> {
    fn start(&mut self, channel: &mut Channel<'_>) {
        self.call(channel, S::start);
    }

    fn text(&mut self, channel: &mut Channel<'_>, text: &str) {
        self.complete_read(channel, || Received::Text(text));
    }

    fn binary(&mut self, channel: &mut Channel<'_>, bytes: &[u8]) {
        self.complete_read(channel, || Received::Binary(bytes));
    }

    fn received(&mut self, channel: &mut Channel<'_>, received: Received<'_>) {
        self.complete_read(channel, || received);
    }

    fn refuse_read(&mut self, channel: &mut Channel<'_>, misuse: Misuse) {
        channel.read_ends();
        if let Some(then) = self.read.take() {
            let refused = Completion::ReadRefused(then, misuse);
            self.waiting.get_or_insert_default().push_back(refused);
            channel.set_completions_wait(true);
        }
    }

    fn pong(&mut self, channel: &mut Channel<'_>, payload: &[u8]) {
        self.call(channel, |session, socket| session.pong(socket, payload));
    }

    fn run_next(&mut self, channel: &mut Channel<'_>) -> bool {
        let Some(due) = self.pop_due(channel) else { return false };
        self.call(channel, |session, socket| due.call(session, socket));
        true
    }

    fn completions(&self) -> usize {
        self.waiting.as_ref().map_or(0, |waiting| waiting.len())
    }

    fn fail_sends(&mut self) {
        for completion in self.waiting.iter_mut().flat_map(|waiting| waiting.iter_mut()) {
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

impl<S> fmt::Debug for Continuations<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has_read = self.read.is_some();
        f.debug_struct("Continuations").field("has_read", &has_read).finish_non_exhaustive()
    }
}
