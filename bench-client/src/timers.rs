//! What is due on single connections at some time.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

use wireloop::io::Token;

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// The next message of a closed loop, after the time to think.
    Send,
    /// Its time is over: it leaves.
    Leave,
    /// It may read again.
    Receive,
    /// The server has had its time to answer the Close.
    GiveUp,
    /// Another one comes in its place, for it has failed.
    Replace,
}

/// The timers of a thread. One whose connection is gone is known by its token.
#[derive(Debug, Default)]
pub(crate) struct Timers(BinaryHeap<Reverse<(Duration, Token, Timer)>>);

impl Timers {
    pub(crate) fn push(&mut self, at: Duration, token: Token, timer: Timer) {
        self.0.push(Reverse((at, token, timer)));
    }

    /// When the next one is due.
    pub(crate) fn due(&self) -> Duration {
        self.0.peek().map_or(Duration::MAX, |Reverse((at, ..))| *at)
    }

    /// The next one, if it is due.
    pub(crate) fn take(&mut self, now: Duration) -> Option<(Token, Timer)> {
        if self.due() > now {
            return None;
        }
        self.0.pop().map(|Reverse((_, token, timer))| (token, timer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_come_in_their_order() {
        let token = |index| Token { index, generation: 1 };
        let mut timers = Timers::default();
        for index in [3, 1, 2] {
            timers.push(Duration::from_secs(index.into()), token(index), Timer::Send);
        }
        assert_eq!(timers.due(), Duration::from_secs(1));
        let now = Duration::from_secs(2);
        let taken: Vec<_> = std::iter::from_fn(|| timers.take(now)).collect();
        assert_eq!(taken, [(token(1), Timer::Send), (token(2), Timer::Send)]);
    }
}
