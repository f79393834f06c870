//! The connections of a worker, by token.

use slab::Slab;

use super::Connection;
use crate::io::{SendState, SendStates, Token};

/// Connections in a slab. A token whose connection has gone finds nothing, although its place
/// may be in use again.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    slab: Slab<Connection>,
    /// How many connections there have been, modulo 2^32 - 1, which drivers keep for themselves.
    generation: u32,
}

impl Connections {
    /// Adds the connection that `make` returns for its generation.
    pub(crate) fn insert(&mut self, make: impl FnOnce(u32) -> Connection) -> Token {
        self.generation = (self.generation + 1) % u32::MAX;
        let entry = self.slab.vacant_entry();
        let token = Token { index: entry.key() as u32, generation: self.generation };
        entry.insert(make(self.generation));
        token
    }

    pub(crate) fn get(&mut self, token: Token) -> Option<&mut Connection> {
        let connection = self.slab.get_mut(token.index as usize)?;
        (connection.generation() == token.generation).then_some(connection)
    }

    /// The token of the connection at a place, whichever it is.
    pub(crate) fn at(&self, index: u32) -> Option<Token> {
        let generation = self.slab.get(index as usize)?.generation();
        Some(Token { index, generation })
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
        let token = |(index, connection): (usize, &Connection)| Token {
            index: index as u32,
            generation: connection.generation(),
        };
        self.slab.iter().map(token).collect()
    }
}

impl SendStates for Connections {
    fn send_state(&mut self, token: Token) -> Option<&mut SendState> {
        self.get(token).map(|connection| connection.output())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the slab keeps for each place.
    #[expect(dead_code, reason = "only its size is of interest")]
    enum Place {
        Vacant(usize),
        Occupied(Connection),
    }

    #[test]
    fn a_connection_takes_one_cache_line() {
        assert_eq!((size_of::<Connection>(), size_of::<Place>()), (64, 64));
    }
}
