//! How many completions to wait for.
//!
//! A thread that sleeps until there is one completion is woken for each. Waiting for more saves
//! wake-ups, 2 to 5 % of all CPU under full load (docs/BENCHMARKING.md), and costs latency. So it
//! is done only when the worker has next to no time to sleep and finds many completions in each
//! pass anyway, never for longer than a moment, never for more connections than are likely to have
//! something to say, and no more as soon as the time runs out before they have said it.

use std::time::Duration;

/// How often the load is measured.
const WINDOW: Duration = Duration::from_millis(4);

/// The worker is under full load when it works for more of the time than this, in percent, and
/// remains so until it works for less than that.
const FULL_LOAD: u32 = 82;
const LESS_LOAD: u32 = 55;

/// How many completions a pass must find by itself, on average.
const CROWD: usize = 24;

/// The longest wait for more.
const PATIENCE: Duration = Duration::from_micros(100);

/// The most that is waited for, in completions and in bytes: what is received is to be in the
/// second-level cache still when its answers are sent.
const MOST: usize = 128;
const MOST_BYTES: usize = 256 << 10;

/// So many completions of receives the kernel runs when one enters, unless more are waited for
/// (`IO_LOCAL_TW_DEFAULT_MAX`, Linux 6.13).
pub(super) const RUN_AT_ONCE: usize = 20;

/// Decides how many completions to wait for.
#[derive(Debug, Default)]
pub(super) struct Batching {
    is_full_load: bool,
    window: Window,
    /// The mean length of what was received in the window before.
    mean_bytes: usize,
    /// How many completions the last pass found.
    found: usize,
}

/// What happened since a moment.
#[derive(Debug, Default)]
struct Window {
    start: Duration,
    /// The processor time of the thread then.
    processor: Duration,
    receives: usize,
    bytes: usize,
    passes: usize,
    /// Passes that were to find more than they did.
    short: usize,
}

impl Batching {
    /// How many completions to wait for and for how long, where more than one is worth it.
    /// `active` connections have said something lately.
    pub(super) fn more(&self, active: usize) -> Option<(u32, Duration)> {
        let most = MOST.min(MOST_BYTES / self.mean_bytes.max(1)).min(active / 2);
        (self.is_full_load && most > 1).then_some((most as u32, PATIENCE))
    }

    /// How many completions a pass asks for that does not wait. If there are more than the kernel
    /// runs at once, as far as is known, it has to ask for them: a worker that sends on its own
    /// account never waits, and would be late for as long as it does.
    pub(super) fn at_once(&self) -> u32 {
        if self.found >= RUN_AT_ONCE { MOST as u32 } else { 0 }
    }

    /// Notes a receive.
    pub(super) fn received(&mut self, bytes: usize) {
        self.window.receives += 1;
        self.window.bytes += bytes;
    }

    /// Notes a pass that found so many completions where it waited for `want`.
    pub(super) fn passed(&mut self, found: usize, want: u32) {
        self.found = found;
        self.window.passes += usize::from(found > 0);
        self.window.short += usize::from(found < want as usize);
    }

    /// Measures the load, when it is time to; `processor` is the processor time of the thread.
    pub(super) fn look(&mut self, now: Duration, processor: impl FnOnce() -> Duration) {
        let wall = now.saturating_sub(self.window.start);
        if wall < WINDOW {
            return;
        }
        let processor = processor();
        let worked = processor.saturating_sub(self.window.processor);
        let percent = (100 * worked.as_nanos() / wall.as_nanos()) as u32;
        self.is_full_load = if self.is_full_load {
            percent > LESS_LOAD && 2 * self.window.short < self.window.passes
        } else {
            percent > FULL_LOAD && self.window.receives > CROWD * self.window.passes
        };
        self.mean_bytes = self.window.bytes / self.window.receives.max(1);
        self.window = Window { start: now, processor, ..Window::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets the worker work for a part of some windows, and find so many messages of a length in
    /// each of ten passes.
    fn work(batching: &mut Batching, percent: u32, found: usize, bytes: usize) {
        let Window { start, processor, .. } = batching.window;
        for window in 1..=3 {
            for _ in 0..10 {
                (0..found).for_each(|_| batching.received(bytes));
                batching.passed(found, batching.more(1000).map_or(1, |(want, _)| want));
            }
            let now = start + WINDOW * window;
            batching.look(now, || processor + WINDOW * window * percent / 100);
        }
    }

    const ALL: Option<(u32, Duration)> = Some((128, PATIENCE));

    #[test]
    fn nothing_is_waited_for_as_long_as_there_is_time_to_sleep() {
        let mut batching = Batching::default();
        assert_eq!(batching.more(1000), None);
        work(&mut batching, 75, 200, 20);
        assert_eq!(batching.more(1000), None);
        work(&mut batching, 90, 200, 20);
        assert_eq!(batching.more(1000), ALL);
        work(&mut batching, 75, 200, 20);
        assert_eq!(batching.more(1000), ALL);
        work(&mut batching, 50, 200, 20);
        assert_eq!(batching.more(1000), None);
    }

    #[test]
    fn nothing_is_waited_for_that_does_not_come() {
        let mut batching = Batching::default();
        work(&mut batching, 95, 10, 20);
        assert_eq!(batching.more(1000), None, "few come at once");
        work(&mut batching, 95, 200, 20);
        assert_eq!(batching.more(1000), ALL);
        work(&mut batching, 95, 20, 20);
        assert_eq!(batching.more(1000), None, "the time runs out before they have come");
    }

    #[test]
    fn never_for_more_than_can_come_or_than_the_cache_holds() {
        let mut batching = Batching::default();
        work(&mut batching, 95, 200, 20);
        assert_eq!(batching.more(20), Some((10, PATIENCE)));
        assert_eq!(batching.more(3), None);
        work(&mut batching, 95, 200, 16 << 10);
        assert_eq!(batching.more(1000), Some((16, PATIENCE)));
        work(&mut batching, 95, 200, 1 << 20);
        assert_eq!(batching.more(1000), None);
    }
}
