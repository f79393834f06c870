//! How much a pass does, and the turns of connections that have more input than one turn takes, or got
//! none in its pass.

use std::io;

use super::Worker;
use crate::{
    conn::Desk,
    io::{Driver, Token},
};

/// How much of each kind of work is done in a pass whose time is over.
pub(super) const AT_LEAST: usize = 16;

/// How much of each kind of work is done in a pass at most.
pub(super) const AT_MOST: usize = 256;

impl<D: Driver> Worker<D> {
    /// Does one thing after the other until there is none left, or the time of the pass is over;
    /// but then a few of them all the same, or one if they take long. And not too many: each may send
    /// something, which takes its time at the end of the pass.
    pub(super) fn repeat(&mut self, next: impl FnMut(&mut Self) -> Option<()>) {
        self.repeat_up_to(AT_MOST, next);
    }

    /// The same, so many times at most.
    pub(super) fn repeat_up_to(
        &mut self,
        most: usize,
        mut next: impl FnMut(&mut Self) -> Option<()>,
    ) {
        for count in 0.. {
            if count == most {
                self.leaves_over = true;
                break;
            }
            let pace = &self.cx.desk.pace;
            let may_go_on = !pace.is_over() || count == 0 || (count < AT_LEAST && !pace.is_late());
            if !may_go_on || next(self).is_none() {
                break;
            }
        }
    }

    /// Takes what earlier passes have left over and comes first. Returns how many connections wait
    /// for a turn that have had one.
    pub(super) fn take_left_over(&mut self) -> usize {
        if !self.cx.desk.pace.catches_up() {
            self.repeat(|worker| {
                let (token, result) = worker.sent.pop_front()?;
                worker.sent(token, result);
                Some(())
            });
        }
        self.repeat(|worker| worker.held.next_first().map(|token| worker.resume(token)));
        self.held.others()
    }

    /// Gives so many connections a turn that have more input than one turn takes, or at least one
    /// of them.
    pub(super) fn take_held(&mut self, turns: usize) {
        for _ in 0..turns {
            if let Some(token) = self.held.next_other() {
                self.resume(token);
            }
            if self.cx.desk.pace.is_over() {
                break;
            }
        }
    }

    /// Gives a connection the input that is held for it.
    pub(super) fn resume(&mut self, token: Token) {
        let Some(mut entry) = self.held.take(token) else { return };
        let Some(connection) = self.connections.get(token) else { return };
        if entry.is_empty() {
            // It has sent nothing more since its last turn.
            self.go_on_receiving(token);
            self.count_memory(token);
            return;
        }
        let takes_input = connection.is_receiving();
        let turn = self.cx.turn_to(token, connection);
        connection.resume(if takes_input { entry.bytes() } else { &mut [] }, turn);
        let desk = &mut self.cx.desk;
        let left = if desk.pace.is_cut() { desk.left_bytes } else { 0 };
        let left = if takes_input { left } else { entry.bytes().len() };
        entry.keep(left);
        self.limits.count(token, 0, desk.pace.messages(), desk.now);
        let end = entry.end.take_if(|_| takes_input && !desk.pace.is_cut());
        self.held.put(token, entry);
        self.settle(token);
        if let Some(end) = end {
            self.held.remove(token);
            self.receive_ended(token, end);
        } else if !self.cx.desk.pace.is_cut() && self.go_on_receiving(token) {
            self.held.queue(token, false);
        }
    }

    /// Receives again from a connection that takes input, for which nothing is held any more. Whether
    /// it does.
    fn go_on_receiving(&mut self, token: Token) -> bool {
        let Some(connection) = self.connections.get(token) else { return false };
        let receives = connection.is_receiving();
        if connection.is_filling() {
            self.driver.watch(token);
        } else if receives {
            self.driver.receive(token);
        }
        receives
    }

    /// Receives from a connection to where its message is put together.
    #[inline(never)]
    pub(super) fn fill(&mut self, token: Token) {
        let Some(connection) = self.connections.get(token) else { return };
        if !connection.is_filling() || self.held.has(token) {
            // It is watched again when it is to be.
            return;
        }
        let turn = self.cx.turn_to(token, connection);
        let runs = !turn.desk.pace.is_over();
        let receive = |memory: &mut Vec<u8>, most| self.driver.receive_to(token, memory, most);
        let bytes = connection.fill(turn, runs, receive);
        let Desk { pace, now, .. } = &self.cx.desk;
        self.limits.count(token, bytes, pace.messages(), *now);
        if !runs {
            self.held.cut(token, &[]);
            self.driver.pause_receive(token);
        }
        self.settle(token);
    }

    /// The turn of a connection ends before it has done everything: because it has had its share, or
    /// because it echoes a message that has to be sent from where it was put together.
    #[inline(never)]
    pub(super) fn cut(&mut self, token: Token) {
        let Some(connection) = self.connections.get(token) else { return };
        if let Some((header, message)) = connection.place_kept(&mut self.cx.desk)
            && let Some(memory) = self.driver.send_at_once(token, &header, message)
        {
            self.cx.keep(memory);
        }
        self.held.cut(token, &self.cx.desk.left_kept);
        self.cx.desk.left_kept.clear();
        self.driver.pause_receive(token);
    }

    pub(super) fn receive_ended(&mut self, token: Token, result: io::Result<()>) {
        if let Some(result) = self.held.end(token, result) {
            self.with(token, |connection, turn| connection.receive_ended(result, turn));
        }
    }
}
