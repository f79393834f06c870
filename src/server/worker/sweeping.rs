//! Deadlines: those of the connections, and the worker's own.

use super::Worker;
use crate::{
    conn::{Output, Tick},
    io::Driver,
};

impl<D: Driver> Worker<D> {
    /// When something is to be done about memory, or about connections that sent too fast.
    pub(super) fn limited_until(&self) -> Option<Tick> {
        let look = self.cx.desk.memory.next();
        if !self.limits.has_rates() {
            return look;
        }
        [look, self.limits.next()].into_iter().flatten().reduce(Tick::min)
    }

    /// Looks at the connections whose deadline has come, and at the worker's own.
    pub(super) fn sweep(&mut self) {
        let tick = self.tick();
        self.accepting.check(&mut self.driver, tick);
        if self.accepting.is_refusing() {
            self.end_refusals();
        }
        if self.stopping.is_some() {
            self.go_on_stopping();
        }
        match self.round {
            None if self.due.is_empty() && self.deadlines.next_sweep().has_come(tick) => {
                // A deadline is judged when everything has been received that came before it.
                self.driver.begin_round();
                self.round = Some(self.cx.desk.now);
            }
            Some(start) if !self.driver.is_in_round() => {
                self.round = None;
                self.cx.desk.seen = start;
                self.deadlines.sweep(Tick::at(start), &mut self.due);
            }
            _ => {}
        }
        if !self.due.is_empty() {
            self.repeat(|worker| worker.due.pop().map(|index| worker.check_deadlines(index)));
        }
    }

    fn check_deadlines(&mut self, index: u32) {
        self.deadlines.set(index, self.tick().far());
        let Some(token) = self.connections.at(index) else { return };
        let Some(connection) = self.connections.get(token) else { return };
        let mut output = Output::default();
        if connection.judges_output(&self.cx.desk) {
            let pending = self.cx.desk.outbox.pending_bytes(token, connection.output());
            output = Output { queued_bytes: pending, kernel: self.driver.output_progress(token) };
        }
        self.with(token, |connection, turn| connection.check_deadlines(&output, turn));
    }
}
