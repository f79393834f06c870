//! How fast a connection may send: beyond that nothing is received from it for a while.
//!
//! Each connection has a moment up to which what it has sent is paid for at the rate (the generic
//! cell rate algorithm, ITU-T I.371). As long as that is at most a second ahead of the clock, it may
//! go on: so much may come at once. What has been received is never lost.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    time::Duration,
};

use crate::{Config, io::Token};

/// How far ahead of the rate a connection may be.
const BURST: Duration = Duration::from_secs(1);

/// The rates of a worker's connections.
#[derive(Debug)]
pub(super) struct Rates {
    bytes_per_second: Option<u32>,
    messages_per_second: Option<u32>,
    /// Up to when what a connection has sent is paid for: bytes, then messages.
    paid: HashMap<Token, [Duration; 2]>,
    /// Connections that are not received from, and until when.
    waiting: HashMap<Token, Duration>,
    /// The same in the order of time.
    order: BinaryHeap<Reverse<(Duration, Token)>>,
}

impl Rates {
    /// The limits, if there are any.
    pub(super) fn new(config: &Config) -> Option<Self> {
        let (bytes_per_second, messages_per_second) = (config.byte_rate, config.message_rate);
        (bytes_per_second.is_some() || messages_per_second.is_some()).then(|| Self {
            bytes_per_second,
            messages_per_second,
            paid: HashMap::new(),
            waiting: HashMap::new(),
            order: BinaryHeap::new(),
        })
    }

    /// A connection has sent so much.
    pub(super) fn count(&mut self, token: Token, bytes: usize, messages: u32, now: Duration) {
        let paid = self.paid.entry(token).or_insert([now; 2]);
        let costs = [
            cost(bytes as u64, self.bytes_per_second),
            cost(messages.into(), self.messages_per_second),
        ];
        for (paid, cost) in paid.iter_mut().zip(costs) {
            *paid = (*paid).max(now) + cost;
        }
        let until = paid[0].max(paid[1]).saturating_sub(BURST);
        if until > now {
            self.waiting.insert(token, until);
            self.order.push(Reverse((until, token)));
        }
    }

    /// Whether nothing is to be received from a connection.
    pub(super) fn is_waiting(&self, token: Token) -> bool {
        self.waiting.contains_key(&token)
    }

    /// When the next connection has waited enough.
    pub(super) fn next(&self) -> Option<Duration> {
        self.order.peek().map(|Reverse((until, _))| *until)
    }

    /// A connection that has waited enough.
    pub(super) fn take(&mut self, now: Duration) -> Option<Token> {
        while self.next()? <= now {
            let Reverse((until, token)) = self.order.pop()?;
            // It may have been told to wait for longer.
            if self.waiting.get(&token) == Some(&until) {
                self.waiting.remove(&token);
                return Some(token);
            }
        }
        None
    }

    /// The connection has gone.
    pub(super) fn remove(&mut self, token: Token) {
        self.paid.remove(&token);
        self.waiting.remove(&token);
    }
}

/// The time that so much takes at a rate.
fn cost(count: u64, per_second: Option<u32>) -> Duration {
    let nanos = |rate: u32| count.saturating_mul(1_000_000_000) / u64::from(rate.max(1));
    Duration::from_nanos(per_second.map_or(0, nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Token = Token { index: 0, generation: 1 };
    const TWO: Token = Token { index: 1, generation: 2 };

    fn rates(bytes: Option<u32>, messages: Option<u32>) -> Rates {
        let mut config = Config::default();
        (config.byte_rate, config.message_rate) = (bytes, messages);
        Rates::new(&config).expect("there is a limit")
    }

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn without_a_limit_nothing_is_counted() {
        assert!(Rates::new(&Config::default()).is_none());
    }

    #[test]
    fn a_connection_at_its_rate_never_waits() {
        let mut rates = rates(Some(1000), Some(10));
        for second in 0..100 {
            rates.count(ONE, 500, 10, ms(1000 * second));
            assert!(!rates.is_waiting(ONE), "{second}");
        }
    }

    #[test]
    fn one_that_is_faster_waits_until_it_is_a_second_ahead_at_most() {
        for mut rates in [rates(Some(1000), None), rates(None, Some(20))] {
            rates.count(ONE, 3000, 60, ms(0));
            rates.count(TWO, 1500, 30, ms(0));
            assert!(rates.is_waiting(ONE) && rates.is_waiting(TWO));
            assert_eq!(rates.next(), Some(ms(500)));
            assert_eq!(rates.take(ms(499)), None);
            assert_eq!((rates.take(ms(500)), rates.take(ms(500))), (Some(TWO), None));
            assert!(!rates.is_waiting(TWO));
            assert_eq!((rates.take(ms(2000)), rates.next()), (Some(ONE), None));
        }
    }

    #[test]
    fn one_that_has_gone_waits_no_more() {
        let mut rates = rates(Some(1), None);
        rates.count(ONE, 100, 0, ms(0));
        rates.count(ONE, 100, 0, ms(10));
        rates.remove(ONE);
        assert_eq!((rates.is_waiting(ONE), rates.take(ms(1_000_000))), (false, None));
        assert_eq!(rates.next(), None);
    }
}
