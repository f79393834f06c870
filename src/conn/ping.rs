//! Pings of our own: the time as payload, and the time until the pong.

use std::time::Duration;

/// The last ping and its answer, in four bytes.
///
/// The upper bit says whether the ping is on its way; the others are then the moment when it was
/// sent, otherwise the last round trip, in microseconds (modulo 36 minutes). Zero: there was none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ping(u32);

const IS_OUT: u32 = 1 << 31;

impl Ping {
    /// Begins a ping; returns its payload.
    pub(super) fn start(&mut self, now: Duration) -> [u8; 4] {
        self.0 = IS_OUT | micros(now);
        self.0.to_be_bytes()
    }

    /// Takes a pong. Whether it answers the ping.
    pub(super) fn answered(&mut self, payload: &[u8], now: Duration) -> bool {
        let is_answer = self.0 & IS_OUT != 0 && payload == self.0.to_be_bytes();
        if is_answer {
            self.0 = (micros(now).wrapping_sub(self.0) & !IS_OUT).max(1);
        }
        is_answer
    }

    /// How long the last ping and its pong took; none while a ping is on its way.
    pub(super) fn round_trip(self) -> Option<Duration> {
        (self.0 & IS_OUT == 0 && self.0 > 0).then(|| Duration::from_micros(self.0.into()))
    }
}

fn micros(now: Duration) -> u32 {
    now.as_micros() as u32 & !IS_OUT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_round_trip_is_that_of_the_last_ping_also_when_the_clock_wraps() {
        let mut ping = Ping::default();
        assert_eq!(ping.round_trip(), None);
        let sent = Duration::from_micros((1 << 31) - 10);
        let payload = ping.start(sent);
        assert_eq!(ping.round_trip(), None);
        assert!(!ping.answered(b"else", sent));
        let round_trip = Duration::from_micros(70);
        assert!(ping.answered(&payload, sent + round_trip));
        assert_eq!(ping.round_trip(), Some(round_trip));
        assert!(!ping.answered(&payload, sent), "only once");
    }
}
