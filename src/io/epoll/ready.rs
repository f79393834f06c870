//! Whose turn it is to be received from.

use std::collections::VecDeque;

use crate::io::{Token, round::Round};

/// What one pass may receive, so that what was read is still cached when its answers are sent.
const PASS_BYTES: usize = 512 << 10;

/// Sockets that are receiving and may have something.
#[derive(Debug, Default)]
pub(super) struct Ready {
    /// In order of arrival.
    line: VecDeque<Token>,
    /// Those that had more than one receive took. They come after the others, but for one in each
    /// pass.
    bulk: VecDeque<Token>,
    /// How many of each may still be served in this pass.
    turns: usize,
    bulk_turns: usize,
    bytes_left: usize,
    round: Round,
}

impl Ready {
    pub(super) fn is_empty(&self) -> bool {
        self.line.is_empty() && self.bulk.is_empty()
    }

    /// The socket has something.
    #[inline]
    pub(super) fn push(&mut self, token: Token) {
        self.line.push_back(token);
    }

    /// The socket has had its turn and may have more.
    pub(super) fn push_bulk(&mut self, token: Token) {
        self.bulk.push_back(token);
    }

    /// Begins a round with the next wait; see [`Driver`](crate::io::Driver::begin_round).
    pub(super) fn begin_round(&mut self) {
        self.round = Round::Begins;
    }

    pub(super) fn is_in_round(&self) -> bool {
        self.round.goes_on()
    }

    /// A wait has brought so many events for sockets that were pushed, where it can bring `most`.
    pub(super) fn waited(&mut self, events: usize, most: usize, sockets: usize) {
        if self.round.goes_on() {
            self.round.waited(events, most, sockets, self.line.len());
        }
    }

    /// Begins a pass: everything that is there now may have a turn in it.
    pub(super) fn begin_pass(&mut self) {
        if let Some(token) = self.bulk.pop_front() {
            self.line.push_back(token);
        }
        self.turns = self.line.len();
        self.bulk_turns = self.bulk.len();
        self.bytes_left = PASS_BYTES;
    }

    /// The socket whose turn it is.
    #[inline]
    pub(super) fn next(&mut self) -> Option<Token> {
        if self.bytes_left == 0 {
            return None;
        }
        if self.turns > 0 {
            self.turns -= 1;
            self.round.served();
            return self.line.pop_front();
        }
        self.bulk_turns = self.bulk_turns.checked_sub(1)?;
        self.bulk.pop_front()
    }

    /// So many bytes were received.
    #[inline]
    pub(super) fn received(&mut self, bytes: usize) {
        self.bytes_left = self.bytes_left.saturating_sub(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(index: u32) -> Token {
        Token { index, generation: 1 }
    }

    /// One that always has more does not come before those that have come meanwhile.
    #[test]
    fn those_with_more_than_a_turn_takes_come_last_but_one_of_them_in_each_pass() {
        let mut ready = Ready::default();
        (0..3).for_each(|index| ready.push_bulk(token(index)));
        (10..12).for_each(|index| ready.push(token(index)));
        ready.begin_pass();
        let order: Vec<u32> = std::iter::from_fn(|| ready.next()).map(|t| t.index).collect();
        assert_eq!(order, [10, 11, 0, 1, 2]);
        // A pass that is over by its bytes goes on in the next one.
        (0..2).for_each(|index| ready.push_bulk(token(index)));
        ready.begin_pass();
        assert_eq!(ready.next(), Some(token(0)));
        ready.received(PASS_BYTES);
        assert_eq!(ready.next(), None);
        ready.push(token(10));
        ready.begin_pass();
        let order: Vec<u32> = std::iter::from_fn(|| ready.next()).map(|t| t.index).collect();
        assert_eq!(order, [10, 1]);
    }
}
