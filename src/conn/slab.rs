//! The connections of a worker, by token.

use slab::Slab;

use super::Connection;
use crate::io::Token;

/// Connections in a slab. A token whose connection has gone finds nothing, although its place
/// may be in use again.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    slab: Slab<Connection>,
    /// How many connections there have been, modulo 2^32 - 1, which drivers keep for themselves.
    generation: u32,
}

impl Connections {
    /// Adds the connection that `make` returns for its token.
    pub(crate) fn insert(&mut self, make: impl FnOnce(Token) -> Connection) -> Token {
        self.generation = (self.generation + 1) % u32::MAX;
        let entry = self.slab.vacant_entry();
        let token = Token { index: entry.key() as u32, generation: self.generation };
        entry.insert(make(token));
        token
    }

    pub(crate) fn get(&mut self, token: Token) -> Option<&mut Connection> {
        let connection = self.slab.get_mut(token.index as usize)?;
        (connection.token() == token).then_some(connection)
    }

    /// The connection at a place, whichever it is.
    pub(crate) fn at(&mut self, index: u32) -> Option<&mut Connection> {
        self.slab.get_mut(index as usize)
    }

    pub(crate) fn remove(&mut self, token: Token) {
        if self.get(token).is_some() {
            self.slab.remove(token.index as usize);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.slab.len()
    }

    pub(crate) fn tokens(&self) -> Vec<Token> {
        self.slab.iter().map(|(_, connection)| connection.token()).collect()
    }
}
