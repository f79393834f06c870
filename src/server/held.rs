//! Input that connections were not given in the pass in which it came, or did not take in their
//! turn.
//!
//! When the time of a pass is over, what else has been received is kept here, so that the drivers'
//! buffers are free again; and a connection that has had its share is cut off within its input.
//! Those that have had nothing and have little come first in the next pass. So one that is quiet
//! waits for a pass, not for everybody who has sent more than can be handled. Nothing is received
//! from a connection as long as something is held for it.

use std::{
    collections::{HashMap, VecDeque},
    io,
};

use crate::io::Token;

/// The held input of a worker's connections.
#[derive(Debug, Default)]
pub(super) struct Held {
    entries: HashMap<Token, Entry>,
    /// Connections that have had no turn yet, and have little.
    first: VecDeque<Token>,
    /// All others, in turn.
    others: VecDeque<Token>,
}

/// The held input of a connection. It stays in its place for one more turn when it has become
/// empty, so that a connection which always sends more does not become one that has had no turn.
#[derive(Debug, Default)]
pub(super) struct Entry {
    bytes: Vec<u8>,
    /// How many of them have been taken.
    taken: usize,
    /// How receiving ended after these bytes.
    pub(super) end: Option<io::Result<()>>,
    /// Whether the connection has to be run though there are no bytes.
    has_more: bool,
    is_queued: bool,
}

impl Entry {
    /// What is held.
    pub(super) fn bytes(&mut self) -> &mut [u8] {
        &mut self.bytes[self.taken..]
    }

    /// The connection has taken everything but the last `left` bytes.
    pub(super) fn keep(&mut self, left: usize) {
        self.taken = self.bytes.len() - left;
        self.has_more = false;
        if left == 0 {
            self.bytes = Vec::new();
            self.taken = 0;
        }
    }

    /// Puts bytes before those that are held.
    fn prepend(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.bytes.splice(..self.taken, bytes.iter().copied());
            self.taken = 0;
        }
    }

    /// Whether there is nothing to be done.
    pub(super) fn is_empty(&self) -> bool {
        self.taken == self.bytes.len() && self.end.is_none() && !self.has_more
    }
}

impl Held {
    /// Whether something is held for the connection, or was in its last turn.
    pub(super) fn has(&self, token: Token) -> bool {
        self.entries.contains_key(&token)
    }

    /// Whether a connection waits for its turn.
    pub(super) fn has_turns(&self) -> bool {
        !self.first.is_empty() || !self.others.is_empty()
    }

    /// Holds bytes of a connection that has had no turn in this pass; if there are few of them and it
    /// had none before, it is among the first in the next one.
    pub(super) fn add(&mut self, token: Token, bytes: &[u8], are_few: bool) {
        let is_first = !self.has(token) && are_few;
        self.append(token, bytes);
        self.queue(token, is_first);
    }

    /// Holds bytes that a connection has not taken in its turn, which was [cut](Self::cut).
    pub(super) fn append(&mut self, token: Token, bytes: &[u8]) {
        self.entries.entry(token).or_default().bytes.extend_from_slice(bytes);
    }

    /// Notes how receiving ended; returns it if nothing is held for the connection.
    pub(super) fn end(&mut self, token: Token, result: io::Result<()>) -> Option<io::Result<()>> {
        match self.entries.get_mut(&token) {
            Some(entry) => {
                entry.end = Some(result);
                None
            }
            None => Some(result),
        }
    }

    /// Takes out what is held for a connection, to be put [back](Self::put) after its turn.
    pub(super) fn take(&mut self, token: Token) -> Option<Entry> {
        self.entries.remove(&token)
    }

    /// Holds an entry that was taken out, or a new one.
    pub(super) fn put(&mut self, token: Token, entry: Entry) {
        self.entries.insert(token, Entry { is_queued: false, ..entry });
    }

    /// Notes that a connection has more to do than its turn allowed: bytes that it did not take,
    /// which come before those that are held already, or work for which no bytes are needed.
    pub(super) fn cut(&mut self, token: Token, left: &[u8]) {
        let entry = self.entries.entry(token).or_default();
        entry.prepend(left);
        entry.has_more = true;
        self.queue(token, false);
    }

    /// Puts a connection in line, if something is held for it and it does not stand there.
    pub(super) fn queue(&mut self, token: Token, is_first: bool) {
        if let Some(entry) = self.entries.get_mut(&token)
            && !std::mem::replace(&mut entry.is_queued, true)
        {
            let queue = if is_first { &mut self.first } else { &mut self.others };
            queue.push_back(token);
        }
    }

    /// Whether something is held for any connection.
    #[inline]
    pub(super) fn is_in_use(&self) -> bool {
        !self.entries.is_empty()
    }

    /// How much memory is taken by what is held for the connection, in bytes.
    pub(super) fn memory_bytes(&self, token: Token) -> usize {
        let entry = self.entries.get(&token);
        entry.map_or(0, |entry| size_of::<(Token, Entry)>() + entry.bytes.capacity())
    }

    /// How many of the others stand in line.
    pub(super) fn others(&self) -> usize {
        self.others.len()
    }

    /// The next connection that has had no turn yet and has little.
    pub(super) fn next_first(&mut self) -> Option<Token> {
        self.first.pop_front()
    }

    /// The next of the others.
    pub(super) fn next_other(&mut self) -> Option<Token> {
        self.others.pop_front()
    }

    /// The connection has gone.
    pub(super) fn remove(&mut self, token: Token) {
        if !self.entries.is_empty() {
            self.entries.remove(&token);
        }
    }
}
