//! How many connections may be in their opening handshake.

use std::collections::VecDeque;

use crate::io::Token;

/// The connections of a worker that have yet to send their first request. When there are too many,
/// the oldest is ended: peers that hold connections open without a request keep nobody out for
/// longer than it takes others to come.
#[derive(Debug)]
pub(super) struct Handshakes {
    limit: usize,
    /// How many there are.
    open: usize,
    /// In the order in which they were accepted, also such as have sent their request since.
    tokens: VecDeque<Token>,
}

impl Handshakes {
    /// At most `limit`, at least one.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), open: 0, tokens: VecDeque::new() }
    }

    /// A connection was accepted. Returns the one that is to be ended, if there are too many.
    pub(super) fn add(
        &mut self,
        token: Token,
        mut is_open: impl FnMut(Token) -> bool,
    ) -> Option<Token> {
        self.open += 1;
        self.tokens.push_back(token);
        if self.tokens.len() > self.limit.saturating_mul(2) {
            self.tokens.retain(|token| is_open(*token));
        }
        if self.open <= self.limit {
            return None;
        }
        std::iter::from_fn(|| self.tokens.pop_front()).find(|token| is_open(*token))
    }

    /// A connection has sent its first request, or has ended before.
    pub(super) fn done(&mut self) {
        self.open -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(index: u32) -> Token {
        Token { index, generation: 1 }
    }

    #[test]
    fn the_oldest_that_is_open_is_ended_when_there_are_too_many() {
        let mut handshakes = Handshakes::new(2);
        assert_eq!(handshakes.add(token(0), |_| true), None);
        assert_eq!(handshakes.add(token(1), |_| true), None);
        assert_eq!(handshakes.add(token(2), |_| true), Some(token(0)));
        handshakes.done();
        // The oldest has sent its request.
        handshakes.done();
        assert_eq!(handshakes.add(token(3), |other| other != token(1)), None);
        assert_eq!(handshakes.add(token(4), |other| other != token(1)), Some(token(2)));
    }

    #[test]
    fn those_that_are_done_are_forgotten() {
        let mut handshakes = Handshakes::new(10);
        for index in 0..1000 {
            assert_eq!(handshakes.add(token(index), |other| other == token(index)), None);
            handshakes.done();
            assert!(handshakes.tokens.len() <= 20);
        }
    }
}
