//! When to look at which connection: a dense array, swept now and then.
//!
//! A million connections are four megabytes that the processor reads in a fraction of a
//! millisecond; setting a deadline is one store. An entry may be too early, never too late: the
//! connection is then asked when it really wants to be looked at.

use std::time::Duration;

use crate::conn::Tick;

/// How far apart sweeps are at least; no deadline is missed by more.
const SWEEP_INTERVAL: Duration = Duration::from_millis(50);

/// One deadline for each place in the slab.
#[derive(Debug)]
pub(super) struct Deadlines {
    ticks: Vec<Tick>,
    /// No entry is earlier than this.
    earliest: Tick,
    last_sweep: Tick,
}

impl Deadlines {
    pub(super) fn new(now: Tick) -> Self {
        Self { ticks: Vec::new(), earliest: now.far(), last_sweep: now }
    }

    /// Looks at the connection at `deadline`, or earlier if that was asked for.
    pub(super) fn lower(&mut self, index: u32, deadline: Tick) {
        let index = index as usize;
        if index >= self.ticks.len() {
            self.ticks.resize(index + 1, deadline);
        }
        self.ticks[index] = self.ticks[index].min(deadline);
        self.earliest = self.earliest.min(deadline);
    }

    /// Looks at the connection at `deadline`, whatever was asked for.
    pub(super) fn set(&mut self, index: u32, deadline: Tick) {
        if let Some(tick) = self.ticks.get_mut(index as usize) {
            *tick = deadline;
            self.earliest = self.earliest.min(deadline);
        }
    }

    /// When the next sweep is due.
    pub(super) fn next_sweep(&self) -> Tick {
        let next = self.last_sweep.after(SWEEP_INTERVAL);
        if next.has_come(self.earliest) { self.earliest } else { next }
    }

    /// The connections whose deadline has come.
    pub(super) fn sweep(&mut self, now: Tick, due: &mut Vec<u32>) {
        self.last_sweep = now;
        self.earliest = now.far();
        for (index, &tick) in self.ticks.iter().enumerate() {
            if tick.has_come(now) {
                due.push(index as u32);
            } else {
                self.earliest = self.earliest.min(tick);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_due_when_it_has_come_and_not_before() {
        let start = Tick(u32::MAX - 100);
        let mut deadlines = Deadlines::new(start);
        deadlines.lower(3, start.after(Duration::from_millis(200)));
        deadlines.set(1, start.far());
        let mut due = Vec::new();
        deadlines.sweep(start.after(Duration::from_millis(199)), &mut due);
        assert_eq!(due, []);
        deadlines.sweep(start.after(Duration::from_millis(200)), &mut due);
        // The places below were filled with the same deadline.
        assert_eq!(due, [0, 2, 3]);
    }

    #[test]
    fn sweeps_keep_their_distance() {
        let start = Tick(0);
        let mut deadlines = Deadlines::new(start);
        deadlines.lower(0, start.after(Duration::from_millis(1)));
        assert_eq!(deadlines.next_sweep(), start.after(SWEEP_INTERVAL));
        deadlines.set(0, start.after(Duration::from_secs(1)));
        let mut due = Vec::new();
        deadlines.sweep(start.after(SWEEP_INTERVAL), &mut due);
        assert_eq!(deadlines.next_sweep(), start.after(Duration::from_secs(1)));
    }
}
