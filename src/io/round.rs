//! How far a driver has got with what had arrived at some moment.
//!
//! A deadline may be judged only after everything that had arrived by then was received: when a
//! process has stood still, thousands of answers that came in time may be waiting, more than one
//! pass takes. So the worker has its driver make a round. It begins with a wait and ends when each
//! connection that had something then has had its turn, however much has come meanwhile.

/// The round that a driver makes.
#[derive(Debug, Default)]
pub(super) enum Round {
    /// None.
    #[default]
    Ended,
    /// The next wait begins it.
    Begins,
    /// The kernel may have this many events more from before the round. It reports them in the
    /// order in which they came.
    Waits(usize),
    /// Everything has been reported; this many connections have yet to be served, in order.
    Serves(usize),
}

impl Round {
    /// Whether there is a round that has not ended.
    pub(super) fn goes_on(&self) -> bool {
        !matches!(self, Self::Ended)
    }

    /// Whether connections are being served that had something when the round began.
    pub(super) fn is_serving(&self) -> bool {
        matches!(self, Self::Serves(_))
    }

    /// A wait has brought so many events, where it can bring `most`. The kernel has at most
    /// `sockets` of them at a time. Now `ready` connections are to be served.
    pub(super) fn waited(&mut self, events: usize, most: usize, sockets: usize, ready: usize) {
        let left = match *self {
            Self::Ended | Self::Serves(_) => return,
            Self::Begins => sockets,
            Self::Waits(left) => left,
        };
        let left = if events < most { 0 } else { left.saturating_sub(events) };
        *self = match (left, ready) {
            (0, 0) => Self::Ended,
            (0, _) => Self::Serves(ready),
            _ => Self::Waits(left),
        };
    }

    /// The next connection in order has been served.
    pub(super) fn served(&mut self) {
        if let Self::Serves(left) = self {
            *left -= 1;
            if *left == 0 {
                *self = Self::Ended;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_ends_when_everything_from_before_it_was_served() {
        let mut round = Round::Begins;
        round.waited(10, 100, 1000, 3);
        (0..2).for_each(|_| round.served());
        // What comes meanwhile is not part of it.
        round.waited(100, 100, 1000, 50);
        assert!(round.goes_on());
        round.served();
        assert!(!round.goes_on());
        // There is none until one is asked for.
        round.waited(0, 100, 1000, 0);
        assert!(!round.goes_on());
    }

    #[test]
    fn a_round_ends_though_every_wait_brings_as_much_as_it_can() {
        let mut round = Round::Begins;
        for wait in 0..10 {
            assert!(round.goes_on(), "{wait}");
            round.waited(100, 100, 1000, 0);
        }
        assert!(!round.goes_on());
    }

    #[test]
    fn a_wait_that_brings_nothing_is_a_round() {
        let mut round = Round::Begins;
        round.waited(0, 100, 1000, 0);
        assert!(!round.goes_on());
    }
}
