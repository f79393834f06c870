//! What other threads ask of a worker's connections.

use std::{
    fmt,
    sync::{Arc, PoisonError},
};

use crate::{
    io::{Token, Waker},
    sync::{Mutex, MutexGuard},
    ws::{CloseCode, Kind},
};

/// How many bytes of messages may wait in a worker's inbox, if its memory budget allows it.
pub(crate) const INBOX_BYTES_MAX: usize = 64 << 20;

/// What one command costs beside its payload, in bytes.
const COMMAND_BYTES: usize = 128;

/// A request from another thread.
#[derive(Debug)]
pub(crate) enum Command {
    Send {
        token: Token,
        kind: Kind,
        payload: Vec<u8>,
    },
    Close {
        token: Token,
        code: CloseCode,
        reason: String,
    },
    /// Close all connections in good order and end.
    Stop,
}

/// A worker's inbox: one lock for a whole batch of commands, one wake for as many as come before
/// the worker looks.
#[derive(Debug)]
pub(crate) struct Inbox {
    queue: Mutex<Queue>,
    /// How many bytes may wait.
    limit: usize,
    waker: Waker,
}

#[derive(Debug, Default)]
struct Queue {
    commands: Vec<Command>,
    bytes: usize,
    /// Whether the worker has ended.
    is_closed: bool,
}

impl Inbox {
    pub(crate) fn new(waker: Waker, limit: usize) -> Self {
        Self { queue: Mutex::default(), limit, waker }
    }

    /// Adds a command and wakes the worker if it has none yet.
    pub(crate) fn push(&self, command: Command) -> Result<(), HandleError> {
        let cost = COMMAND_BYTES
            + match &command {
                Command::Send { payload, .. } => payload.len(),
                Command::Close { .. } | Command::Stop => 0,
            };
        let mut queue = self.lock();
        if queue.is_closed {
            return Err(HandleError::Stopped);
        }
        if queue.bytes > self.limit && !matches!(command, Command::Stop) {
            return Err(HandleError::Full);
        }
        queue.bytes += cost;
        queue.commands.push(command);
        let is_first = queue.commands.len() == 1;
        drop(queue);
        if is_first {
            self.waker.wake();
        }
        Ok(())
    }

    /// Takes all commands.
    pub(crate) fn take(&self) -> Vec<Command> {
        let mut queue = self.lock();
        queue.bytes = 0;
        std::mem::take(&mut queue.commands)
    }

    /// Refuses further commands.
    pub(crate) fn close(&self) {
        let mut queue = self.lock();
        queue.is_closed = true;
        queue.commands = Vec::new();
    }

    /// Whether the worker has ended.
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing that holds the lock can panic half way.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends to a connection, or closes it, from any thread.
///
/// What is sent takes its place among what the session sends, whole: never within a fragmented
/// message. If the connection has ended meanwhile, nothing happens.
#[derive(Clone, Debug)]
pub struct Handle {
    token: Token,
    inbox: Arc<Inbox>,
}

impl Handle {
    pub(crate) fn new(token: Token, inbox: Arc<Inbox>) -> Self {
        Self { token, inbox }
    }

    /// Sends a text message.
    ///
    /// # Errors
    ///
    /// [`HandleError::Full`] if the worker does not keep up, [`HandleError::Stopped`] if it ended.
    pub fn send_text(&self, text: impl Into<String>) -> Result<(), HandleError> {
        self.send(Kind::Text, text.into().into_bytes())
    }

    /// Sends a binary message.
    ///
    /// # Errors
    ///
    /// As [`send_text`](Self::send_text).
    pub fn send_binary(&self, bytes: impl Into<Vec<u8>>) -> Result<(), HandleError> {
        self.send(Kind::Binary, bytes.into())
    }

    /// Starts the closing handshake, as [`Socket::close`](crate::Socket::close) does. A code or
    /// reason that must not be sent closes with 1011.
    ///
    /// # Errors
    ///
    /// As [`send_text`](Self::send_text).
    pub fn close(&self, code: CloseCode, reason: impl Into<String>) -> Result<(), HandleError> {
        self.inbox.push(Command::Close { token: self.token, code, reason: reason.into() })
    }

    fn send(&self, kind: Kind, payload: Vec<u8>) -> Result<(), HandleError> {
        self.inbox.push(Command::Send { token: self.token, kind, payload })
    }
}

/// Why a [`Handle`] could not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandleError {
    /// More than 64 MiB wait for the worker, or an eighth of its
    /// [memory](crate::Config::memory_bytes), whichever is less.
    Full,
    /// The server has stopped.
    Stopped,
}

impl fmt::Display for HandleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the worker's inbox is full",
            Self::Stopped => "the server has stopped",
        })
    }
}

impl std::error::Error for HandleError {}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: Token = Token { index: 0, generation: 1 };

    fn send(payload_bytes: usize) -> Command {
        Command::Send { token: TOKEN, kind: Kind::Binary, payload: vec![0; payload_bytes] }
    }

    fn close() -> Command {
        Command::Close { token: TOKEN, code: CloseCode::NORMAL, reason: String::new() }
    }

    #[test]
    fn a_full_inbox_refuses_all_but_the_end_until_it_is_taken() {
        let inbox = Inbox::new(Waker::new(|| {}), INBOX_BYTES_MAX);
        // Twice: what was taken counts no more.
        for _ in 0..2 {
            assert_eq!(inbox.push(send(INBOX_BYTES_MAX - COMMAND_BYTES)), Ok(()));
            assert_eq!(inbox.push(send(1)), Ok(()), "it is full only beyond its limit");
            assert_eq!(inbox.push(send(1)), Err(HandleError::Full));
            assert_eq!(inbox.push(close()), Err(HandleError::Full));
            assert_eq!(inbox.push(Command::Stop), Ok(()), "a server can always be stopped");
            assert_eq!(inbox.take().len(), 3);
        }
    }

    #[test]
    fn commands_without_a_payload_fill_the_inbox_as_well() {
        let inbox = Inbox::new(Waker::new(|| {}), INBOX_BYTES_MAX);
        let room = INBOX_BYTES_MAX / COMMAND_BYTES + 1;
        let accepted = (0..2 * room).take_while(|_| inbox.push(close()).is_ok()).count();
        assert_eq!(accepted, room);
    }

    #[test]
    fn the_first_command_wakes_the_worker_and_the_others_do_not() {
        let wakes = Arc::new(Mutex::new(0));
        let counter = Arc::clone(&wakes);
        let inbox = Inbox::new(Waker::new(move || *counter.lock().unwrap() += 1), INBOX_BYTES_MAX);
        for round in 1..=2 {
            (0..3).for_each(|_| inbox.push(close()).unwrap());
            assert_eq!(*wakes.lock().unwrap(), round);
            inbox.take();
        }
    }

    #[test]
    fn an_inbox_that_is_closed_refuses_everything() {
        let inbox = Inbox::new(Waker::new(|| {}), INBOX_BYTES_MAX);
        inbox.push(close()).unwrap();
        inbox.close();
        assert_eq!(inbox.push(Command::Stop), Err(HandleError::Stopped));
        assert_eq!(inbox.take().len(), 0);
    }
}

/// Tests that Shuttle runs: a wake-up that is lost leaves the worker waiting, which it reports.
#[cfg(all(test, shuttle))]
mod interleavings {
    use shuttle::{check_random, thread};

    use super::*;
    use crate::sync::{ORDERS, Signal};

    #[test]
    fn the_worker_hears_of_every_command() {
        check_random(
            || {
                let signal = Arc::new(Signal::default());
                let wakes = Arc::clone(&signal);
                let inbox =
                    Arc::new(Inbox::new(Waker::new(move || wakes.raise()), INBOX_BYTES_MAX));
                for _ in 0..2 {
                    let inbox = Arc::clone(&inbox);
                    thread::spawn(move || (0..2).for_each(|_| inbox.push(Command::Stop).unwrap()));
                }
                let mut taken = 0;
                while taken < 4 {
                    signal.wait();
                    taken += inbox.take().len();
                }
            },
            ORDERS,
        );
    }
}
