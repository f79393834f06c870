//! What a worker does about its memory budget; see [`conn::memory`](crate::conn::Memory).

use super::Worker;
use crate::{
    conn::Connection,
    io::{Driver, Token},
};

impl<D: Driver> Worker<D> {
    /// Notes how much memory a connection takes now.
    #[inline(never)]
    pub(super) fn count_memory(&mut self, token: Token) {
        let Some(connection) = self.connections.get(token) else { return };
        let input = self.held.memory_bytes(token);
        self.cx.desk.count_memory(token, connection, input);
    }

    /// Notes what became of the last batch.
    pub(super) fn count_blocked(&mut self) {
        for place in 0..self.cx.desk.outbox.blocked().len() {
            let token = self.cx.desk.outbox.blocked()[place];
            self.count_memory(token);
        }
    }

    /// Receives again from those that sent too fast, when their time has come.
    #[inline(never)]
    pub(super) fn release_limited(&mut self) {
        self.repeat(|worker| {
            let token = worker.limits.take(worker.cx.desk.now)?;
            worker.with(token, |_, _| {});
            Some(())
        });
    }

    /// Ends the connections that hold most if all hold too much, and receives again from those that
    /// waited until there is room.
    #[inline(never)]
    pub(super) fn keep_budget(&mut self) {
        let tick = self.tick();
        let memory = &mut self.cx.desk.memory;
        if memory.is_short() && self.shortage.count(tick).is_some() {
            memory.log();
        }
        if memory.trims(tick) {
            self.cx.free_kept();
        }
        let memory = &self.cx.desk.memory;
        if memory.is_exceeded() && self.shedding.is_empty() {
            self.shedding = memory.largest();
        }
        if !self.shedding.is_empty() {
            self.repeat(|worker| worker.shedding.pop_front().map(|token| worker.shed(token)));
            self.leaves_over |= !self.shedding.is_empty();
        }
        if self.looking.is_empty() {
            self.looking = self.cx.desk.memory.look_at_paused(tick);
        }
        if !self.looking.is_empty() {
            self.repeat(|worker| worker.looking.pop().map(|token| worker.look_at_paused(token)));
            self.leaves_over |= !self.looking.is_empty();
        }
    }

    /// Receives from a connection again, ends it, or lets it wait.
    fn look_at_paused(&mut self, token: Token) {
        if self.cx.desk.memory.gives_up(token, self.tick()) {
            self.shed(token);
        } else {
            self.with(token, |_, _| {});
        }
    }

    fn shed(&mut self, token: Token) {
        self.held.remove(token);
        self.with(token, Connection::shed);
    }
}
