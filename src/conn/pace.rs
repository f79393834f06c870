//! How long a pass may take, and how much of it is one connection's.
//!
//! A pass ends for everybody when its time is over, and a turn of a connection ends when it has
//! done its share: what is left comes in a later pass. Work is counted in units of about the cost
//! of a small message, because reading the clock for each message would cost as much as it does.

use std::time::Duration;

use crate::io::Clock;

/// How long a pass may take, as far as that depends on the connections' number and what they send.
/// One call of a session cannot be interrupted.
const PASS_TIME: Duration = Duration::from_millis(2);

/// After this time not even those have a turn that have had none and have sent little. Until then
/// handling it costs less than keeping it for the next pass.
const LATE_TIME: Duration = Duration::from_millis(8);

/// After how much work, and after how many turns, the clock is looked at; powers of two.
const LOOK_UNITS: u32 = 32;
const LOOK_TURNS: u32 = 8;

/// How many bytes that are inflated, deflated or copied count as one unit.
const UNIT_BYTES: usize = 4 << 10;

/// The time of a pass, and a connection's share of it.
#[derive(Debug)]
pub(crate) struct Pace {
    clock: Clock,
    /// How much a connection may do in one turn.
    share: u32,
    /// The time when the clock was looked at last.
    now: Duration,
    /// When the pass is over.
    end: Duration,
    turns: u32,
    /// What is left of the share of this turn; zero: the turn is over and the connection has more
    /// to do.
    left: u32,
    messages: u32,
    is_over: bool,
    is_late: bool,
    /// Whether a turn was cut in this pass.
    has_cut: bool,
    /// Whether the pass [catches up](Self::catches_up), and until when the next ones do.
    catches_up: bool,
    catches_up_until: Option<Duration>,
}

impl Pace {
    /// A pace at which a connection may do so much in one turn, at least one unit.
    pub(crate) fn new(clock: Clock, share: u32) -> Self {
        let share = share.max(1);
        Self {
            clock,
            share,
            now: Duration::ZERO,
            end: Duration::ZERO,
            turns: 0,
            left: share,
            messages: 0,
            is_over: false,
            is_late: false,
            has_cut: false,
            catches_up: false,
            catches_up_until: None,
        }
    }

    /// A pass begins.
    pub(crate) fn begin_pass(&mut self, now: Duration) {
        self.now = now;
        self.end = now + PASS_TIME;
        self.turns = 0;
        self.left = self.share;
        self.catches_up = self.catches_up_until.is_some_and(|until| now < until);
        self.is_over = self.catches_up;
        self.is_late = false;
        self.has_cut = false;
    }

    /// A pass ends. If it was late, the next ones catch up.
    #[inline]
    pub(crate) fn end_pass(&mut self) {
        if self.is_over || self.was_long() {
            self.judge_pass();
        }
    }

    #[inline(never)]
    fn judge_pass(&mut self) {
        self.look();
        if self.is_late && !self.catches_up {
            self.catches_up_until = Some(self.now + LATE_TIME);
        }
    }

    /// Whether the pass only receives what has arrived during one that was late, and handles what is
    /// little: otherwise what came last would wait for several such passes. For some time only, so
    /// that what is received is handled as well.
    #[inline]
    pub(crate) fn catches_up(&self) -> bool {
        self.catches_up
    }

    /// Nothing has arrived that has not been received: the pass goes on as usual.
    pub(crate) fn caught_up(&mut self) {
        self.catches_up = false;
        self.catches_up_until = None;
        self.look();
    }

    /// The time, or an earlier one by less than a short pass takes.
    #[inline]
    pub(crate) fn now(&self) -> Duration {
        self.now
    }

    /// Whether the last turn took long.
    fn was_long(&self) -> bool {
        self.left + LOOK_UNITS < self.share
    }

    /// A connection's turn begins.
    #[inline]
    pub(crate) fn begin_turn(&mut self) {
        self.turns += 1;
        if self.was_long() || self.turns.is_multiple_of(LOOK_TURNS) || self.share < LOOK_UNITS {
            self.look();
        }
        self.left = self.share;
        self.messages = 0;
    }

    /// Whether the time of the pass is over. There may be more turns where they are needed.
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Whether even those that have sent little are to wait for the next pass.
    #[inline]
    pub(crate) fn is_late(&self) -> bool {
        self.is_late
    }

    /// Whether something may be left over for the next pass.
    #[inline]
    pub(crate) fn leaves_over(&self) -> bool {
        self.is_over || self.has_cut
    }

    /// Whether the connection had more to do when its turn ended.
    #[inline]
    pub(crate) fn is_cut(&self) -> bool {
        self.left == 0
    }

    /// Ends the connection's turn, which goes on in the next pass.
    pub(crate) fn cut(&mut self) {
        self.left = 0;
        self.has_cut = true;
    }

    /// Counts a message of the connection; what follows from it is counted by
    /// [`spend`](Self::spend).
    #[inline]
    pub(crate) fn count_message(&mut self) {
        self.messages += 1;
    }

    /// How many messages the connection has sent in this turn.
    pub(crate) fn messages(&self) -> u32 {
        self.messages
    }

    /// Counts one unit of work: whether the connection may go on.
    #[inline]
    pub(crate) fn spend(&mut self) -> bool {
        self.left = self.left.saturating_sub(1);
        !self.left.is_multiple_of(LOOK_UNITS) || self.may_go_on()
    }

    /// Counts work on so many bytes, beyond those of small messages.
    #[inline]
    pub(crate) fn charge(&mut self, bytes: usize) {
        if bytes >= UNIT_BYTES && !self.is_cut() {
            let units = u32::try_from(bytes / UNIT_BYTES).unwrap_or(u32::MAX);
            let left = self.left.saturating_sub(units);
            // The clock is looked at with the next unit.
            self.left = left - left % LOOK_UNITS + 1;
        }
    }

    #[inline(never)]
    fn may_go_on(&mut self) -> bool {
        self.look();
        if self.is_over {
            self.left = 0;
        }
        self.has_cut |= self.is_cut();
        !self.is_cut()
    }

    #[inline(never)]
    fn look(&mut self) {
        self.now = self.clock.now();
        self.is_over = self.now >= self.end || self.catches_up;
        self.is_late = self.now >= self.end + (LATE_TIME - PASS_TIME);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::{
        Driver,
        sim::{Faults, Sim},
    };

    const SHARE: u32 = 1024;

    fn pace() -> (Sim, Pace) {
        let driver = Sim::new(0, Faults::default());
        let mut pace = Pace::new(driver.clock().clone(), SHARE);
        pace.begin_pass(driver.now());
        pace.begin_turn();
        (driver, pace)
    }

    fn spend_all(pace: &mut Pace) -> u32 {
        (0..).take_while(|_| pace.spend()).count() as u32
    }

    #[test]
    fn a_turn_ends_with_its_share_though_there_is_time() {
        let (_, mut pace) = pace();
        assert_eq!(spend_all(&mut pace), SHARE - 1);
        assert!(pace.is_cut() && !pace.is_over());
        pace.begin_turn();
        assert!(!pace.is_cut());
    }

    #[test]
    fn a_turn_ends_with_the_time_of_the_pass() {
        let (mut driver, mut pace) = pace();
        driver.advance(PASS_TIME);
        assert_eq!(spend_all(&mut pace), LOOK_UNITS - 1);
        assert!(pace.is_cut() && pace.is_over());
        pace.begin_pass(driver.now());
        assert!(!pace.is_over());
    }

    #[test]
    fn a_pass_is_late_some_time_after_it_is_over() {
        let (mut driver, mut pace) = pace();
        driver.advance(LATE_TIME - Duration::from_nanos(1));
        spend_all(&mut pace);
        assert!(pace.is_over() && !pace.is_late());
        driver.advance(Duration::from_nanos(1));
        (0..LOOK_TURNS).for_each(|_| pace.begin_turn());
        assert!(pace.is_late());
        pace.begin_pass(driver.now());
        assert!(!pace.is_late());
    }

    #[test]
    fn passes_after_one_that_was_late_catch_up_for_some_time_or_until_nothing_is_left() {
        let (mut driver, mut pace) = pace();
        driver.advance(LATE_TIME - Duration::from_nanos(1));
        spend_all(&mut pace);
        pace.end_pass();
        pace.begin_pass(driver.now());
        assert!(!pace.catches_up(), "it was not late");
        for finds_nothing in [false, true] {
            driver.advance(LATE_TIME);
            spend_all(&mut pace);
            pace.end_pass();
            for _ in 0..2 {
                pace.begin_pass(driver.now());
                assert!(pace.catches_up() && pace.is_over() && !pace.is_late());
                driver.advance(LATE_TIME / 2 - Duration::from_nanos(1));
                pace.end_pass();
            }
            if finds_nothing {
                pace.caught_up();
                assert!(!pace.catches_up());
            } else {
                driver.advance(Duration::from_nanos(2));
            }
            pace.begin_pass(driver.now());
            assert!(!pace.catches_up() && !pace.is_over());
        }
    }

    #[test]
    fn a_pass_leaves_something_over_if_it_is_over_or_a_turn_was_cut() {
        let (mut driver, mut pace) = pace();
        assert!(!pace.leaves_over());
        spend_all(&mut pace);
        pace.begin_turn();
        assert!(pace.leaves_over(), "a turn was cut, though not this one");
        pace.begin_pass(driver.now());
        assert!(!pace.leaves_over());
        driver.advance(PASS_TIME);
        (0..LOOK_TURNS).for_each(|_| pace.begin_turn());
        assert!(pace.leaves_over(), "the time is over, though no turn was cut");
    }

    #[test]
    fn bytes_count_as_work() {
        let (_, mut pace) = pace();
        pace.charge(SHARE as usize * UNIT_BYTES);
        assert_eq!(spend_all(&mut pace), 0);
        pace.begin_turn();
        pace.charge(SHARE as usize / 2 * UNIT_BYTES);
        assert_eq!(spend_all(&mut pace), SHARE / 2);
        pace.begin_turn();
        pace.charge(UNIT_BYTES - 1);
        assert_eq!(spend_all(&mut pace), SHARE - 1);
    }

    #[test]
    fn the_clock_is_looked_at_after_some_turns_or_a_long_one() {
        let (mut driver, mut pace) = pace();
        driver.advance(PASS_TIME);
        pace.begin_turn();
        assert!(!pace.is_over());
        pace.charge(LOOK_UNITS as usize * 2 * UNIT_BYTES);
        pace.begin_turn();
        assert!(pace.is_over());
        pace.begin_pass(driver.now());
        driver.advance(PASS_TIME);
        (0..LOOK_TURNS).for_each(|_| pace.begin_turn());
        assert!(pace.is_over());
    }
}
