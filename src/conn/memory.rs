//! The memory budget of a worker: what its connections hold, and what is shed when that is too much.
//!
//! Counted is everything that a peer can make grow: heads of requests, incomplete messages, input
//! that is held until the connection's turn, and output that its peer has not taken. A connection
//! that holds nothing has no entry.
//!
//! # The order of shedding
//!
//! 1. Above three quarters of the budget the worker is short of memory: requests to upgrade are
//!    refused with 503, and nothing is received from connections that hold more than the average.
//!    One that waits in this way for five seconds, or until a deadline comes, is ended.
//! 2. Above the budget the connections that hold most are ended, until an eighth of it is free: a
//!    WebSocket with close code 1013, a request with 503; one whose peer has not taken its output is
//!    reset, since nothing can be sent to it.

use std::{
    collections::{BinaryHeap, HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{Channel, Connection, Context, Desk, Phase, State, Tick, Turn};
use crate::{
    Error,
    io::Token,
    ws::{Input, Receiver},
};

/// What a connection counts that holds nothing: its slot and its session's, about.
const CONNECTION_BYTES: usize = 128;

/// How often connections that are not received from are looked at again.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// How long nothing is received from a connection before it is ended.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// When so much less is held than there was, the allocator is asked to give pages back...
const TRIM_BYTES: usize = 8 << 20;

/// ... once that has lasted for so long. Under a steady load it would only have to take them again.
const TRIM_AFTER: Duration = Duration::from_secs(2);

/// The memory of a worker's connections. All figures are in bytes.
#[derive(Debug)]
pub(crate) struct Memory {
    budget: usize,
    /// What is held above which memory is short.
    short_above: usize,
    /// What all connections hold, with [`CONNECTION_BYTES`] for each.
    used: usize,
    /// What they hold apart from that.
    held: usize,
    holders: HashMap<Token, usize>,
    /// The most that was held since the allocator gave pages back.
    peak: usize,
    /// When it is to do so.
    trim: Option<Tick>,
    /// Connections that are not received from, and since when.
    paused: HashMap<Token, Tick>,
    /// When they are looked at again.
    look: Option<Tick>,
    counters: Counters,
}

/// How often memory was short, for all workers of a server.
///
/// ```no_run
/// # let server = wireloop::Server::new(wireloop::Routes::new());
/// let counters = server.counters();
/// println!("{} connections were ended for want of memory", counters.connections_ended());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Counters(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    upgrades_refused: AtomicU64,
    connections_paused: AtomicU64,
    connections_ended: AtomicU64,
}

impl Counters {
    /// How many requests to upgrade were refused with 503.
    pub fn upgrades_refused(&self) -> u64 {
        self.0.upgrades_refused.load(Ordering::Relaxed)
    }

    /// How many times receiving from a connection was paused.
    pub fn connections_paused(&self) -> u64 {
        self.0.connections_paused.load(Ordering::Relaxed)
    }

    /// How many connections were ended.
    pub fn connections_ended(&self) -> u64 {
        self.0.connections_ended.load(Ordering::Relaxed)
    }
}

impl Connection {
    /// Whether the connection holds memory or did, so that it has to be counted.
    #[inline]
    pub(crate) fn may_hold_memory(&self) -> bool {
        let holds_here = match &self.state {
            State::Accepting(_) => true,
            State::Active(active) => active.receiver.has_memory() || active.link.has_memory(),
            State::Terminating(_) => false,
        };
        holds_here || self.is_holder || !self.output.is_idle()
    }

    /// How much memory the connection takes for what is incomplete or waits, in bytes: here and
    /// `elsewhere`. `None` if it takes none, as before.
    pub(crate) fn change_memory(&mut self, elsewhere: usize) -> Option<usize> {
        let here = match &self.state {
            State::Accepting(opening) => opening.memory_bytes(),
            State::Active(active) => active.receiver.memory_bytes() + active.link.memory_bytes(),
            State::Terminating(_) => 0,
        };
        let bytes = here + elsewhere;
        let was_holder = std::mem::replace(&mut self.is_holder, bytes > 0);
        (was_holder || self.is_holder).then_some(bytes)
    }

    /// Ends the connection because the worker is short of memory; what it holds is dropped.
    pub(crate) fn shed(&mut self, mut cx: Turn<'_>) {
        self.begin_shedding(&mut cx);
        self.advance(&mut Input::new(&mut []), &mut cx);
    }

    /// The same, but for what follows from it.
    pub(super) fn begin_shedding(&mut self, cx: &mut Context) {
        cx.desk.memory.ended();
        match &mut self.state {
            State::Accepting(opening) if opening.phase() != Phase::Response => {
                opening.shed(&mut cx.desk);
                self.terminate(cx.tick());
            }
            State::Active(active) if self.output.is_idle() => {
                active.receiver = Receiver::default();
                let mut channel = Channel { link: &mut active.link, desk: &mut cx.desk };
                channel.fail(Error::MemoryShort);
            }
            _ => self.break_off(Error::MemoryShort, cx),
        }
    }
}

impl Desk {
    /// Notes how much memory a connection takes now; `input` bytes are held for it by the worker.
    #[inline(never)]
    pub(crate) fn count_memory(&mut self, token: Token, connection: &mut Connection, input: usize) {
        let output = self.outbox.memory_bytes(token, &connection.output);
        if let Some(bytes) = connection.change_memory(output + input) {
            self.memory.set(token, bytes);
        }
    }
}

impl Memory {
    pub(crate) fn new(budget: usize, counters: Counters) -> Self {
        Self {
            budget,
            short_above: budget / 4 * 3,
            used: 0,
            held: 0,
            holders: HashMap::new(),
            peak: 0,
            trim: None,
            paused: HashMap::new(),
            look: None,
            counters,
        }
    }

    /// What all connections may hold, in bytes.
    pub(super) fn budget(&self) -> usize {
        self.budget
    }

    /// Another connection exists.
    pub(crate) fn opened(&mut self) {
        self.used += CONNECTION_BYTES;
        self.peak = self.peak.max(self.used);
    }

    /// A connection exists no more.
    pub(crate) fn closed(&mut self, token: Token) {
        self.used -= CONNECTION_BYTES;
        self.set(token, 0);
        self.resume(token);
    }

    /// Notes how much a connection holds now.
    pub(crate) fn set(&mut self, token: Token, bytes: usize) {
        let before = match bytes {
            0 => self.holders.remove(&token),
            _ => self.holders.insert(token, bytes),
        };
        let before = before.unwrap_or(0);
        self.held = self.held + bytes - before;
        self.used = self.used + bytes - before;
        self.peak = self.peak.max(self.used);
        if !self.has_fallen() {
            self.trim = None;
        }
    }

    /// Whether much less is held than there was.
    #[inline]
    fn has_fallen(&self) -> bool {
        self.peak - self.used >= TRIM_BYTES
    }

    /// Whether it is time to have the allocator give pages back; once.
    pub(crate) fn trims(&mut self, now: Tick) -> bool {
        if !self.has_fallen() {
            return false;
        }
        let trims = self.trim.get_or_insert_with(|| now.after(TRIM_AFTER)).has_come(now);
        if trims {
            self.trim = None;
            self.peak = self.used;
        }
        trims
    }

    /// Whether memory is short.
    #[inline]
    pub(crate) fn is_short(&self) -> bool {
        self.used > self.short_above
    }

    /// Whether there is anything to be done about memory.
    #[inline]
    pub(crate) fn needs_care(&self) -> bool {
        self.is_short() || self.look.is_some() || self.has_fallen()
    }

    /// Whether more may be received from a connection.
    #[inline]
    pub(crate) fn may_receive(&self, token: Token) -> bool {
        !self.is_short() || self.holds_little(token)
    }

    fn holds_little(&self, token: Token) -> bool {
        let average = self.held / self.holders.len().max(1);
        self.holders.get(&token).is_none_or(|bytes| *bytes <= average)
    }

    /// Notes that nothing is received from a connection from now on.
    pub(crate) fn pause(&mut self, token: Token, now: Tick) {
        self.counters.0.connections_paused.fetch_add(1, Ordering::Relaxed);
        self.paused.insert(token, now);
        self.look.get_or_insert_with(|| now.after(LOOK_INTERVAL));
    }

    /// The connection is received from again, or needs not be.
    #[inline]
    pub(crate) fn resume(&mut self, token: Token) {
        if !self.paused.is_empty() {
            self.paused.remove(&token);
        }
    }

    /// When there is something to be done about memory.
    pub(crate) fn next(&self) -> Option<Tick> {
        match (self.look, self.trim) {
            (Some(look), Some(trim)) => Some(look.min(trim)),
            (look, trim) => look.or(trim),
        }
    }

    /// The connections that are not received from, if it is time to look at them again.
    pub(crate) fn look_at_paused(&mut self, now: Tick) -> Vec<Token> {
        if !self.look.is_some_and(|look| look.has_come(now)) {
            return Vec::new();
        }
        self.look = (!self.paused.is_empty()).then(|| now.after(LOOK_INTERVAL));
        self.paused.keys().copied().collect()
    }

    /// Whether a connection that is not received from has waited for so long that it is to be ended.
    pub(crate) fn gives_up(&self, token: Token, now: Tick) -> bool {
        let since = self.paused.get(&token);
        !self.may_receive(token) && since.is_some_and(|since| since.after(PAUSE_MAX).has_come(now))
    }

    /// Whether an upgrade is to be refused, which is counted.
    pub(crate) fn refuses_upgrade(&self) -> bool {
        if self.is_short() {
            self.counters.0.upgrades_refused.fetch_add(1, Ordering::Relaxed);
        }
        self.is_short()
    }

    /// Notes that a connection is ended because memory is short.
    pub(crate) fn ended(&self) {
        self.counters.0.connections_ended.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether more is held than the budget allows.
    #[inline]
    pub(crate) fn is_exceeded(&self) -> bool {
        self.used > self.budget
    }

    /// The connections to be ended, the largest first.
    pub(crate) fn largest(&self) -> VecDeque<Token> {
        let mut excess = self.used.saturating_sub(self.budget / 8 * 7);
        let mut holders: BinaryHeap<_> =
            self.holders.iter().map(|(token, bytes)| (*bytes, *token)).collect();
        let mut largest = VecDeque::new();
        while excess > 0
            && let Some((bytes, token)) = holders.pop()
        {
            excess = excess.saturating_sub(bytes);
            largest.push_back(token);
        }
        largest
    }

    /// Writes to the log that memory is short.
    pub(crate) fn log(&self) {
        tracing::warn!(
            held_bytes = self.used,
            budget_bytes = self.budget,
            upgrades_refused = self.counters.upgrades_refused(),
            connections_paused = self.counters.connections_paused(),
            connections_ended = self.counters.connections_ended(),
            "memory is short (the counts are those of all workers since the start)"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(index: u32) -> Token {
        Token { index, generation: 1 }
    }

    /// A memory whose connections hold so much, one after the other.
    fn memory(budget: usize, held: &[usize]) -> Memory {
        let mut memory = Memory::new(budget, Counters::default());
        for (index, bytes) in (0..).zip(held) {
            memory.opened();
            memory.set(token(index), *bytes);
        }
        memory
    }

    #[test]
    fn it_is_short_above_three_quarters_and_exceeded_above_all_of_the_budget() {
        let mut memory = memory(100_000, &[0, 0]);
        for (bytes, is_short, is_exceeded) in [
            (75_000 - 2 * CONNECTION_BYTES, false, false),
            (75_001 - 2 * CONNECTION_BYTES, true, false),
            (100_000 - 2 * CONNECTION_BYTES, true, false),
            (100_001 - 2 * CONNECTION_BYTES, true, true),
            (0, false, false),
        ] {
            memory.set(token(1), bytes);
            assert_eq!((memory.is_short(), memory.is_exceeded()), (is_short, is_exceeded));
        }
    }

    #[test]
    fn what_a_connection_held_is_free_when_it_holds_less_or_has_gone() {
        let mut memory = memory(1000, &[700, 50]);
        assert!(memory.is_short());
        memory.set(token(0), 20);
        assert_eq!(memory.used, 70 + 2 * CONNECTION_BYTES);
        memory.closed(token(0));
        memory.closed(token(1));
        assert_eq!((memory.used, memory.holders.len()), (0, 0));
    }

    #[test]
    fn who_holds_more_than_the_average_is_not_received_from() {
        let memory = memory(1000, &[100, 300, 500]);
        let may_receive = |index| memory.may_receive(token(index));
        assert_eq!([0, 1, 2, 3].map(may_receive), [true, true, false, true]);
        let memory = self::memory(10_000, &[100, 300, 500]);
        assert!(memory.may_receive(token(2)), "there is room");
    }

    #[test]
    fn the_largest_are_ended_until_an_eighth_is_free() {
        let memory = memory(16_000, &[100, 4000, 5000, 7000, 200]);
        let excess = memory.used - 14_000;
        assert!((1..7000).contains(&excess));
        assert_eq!(memory.largest(), [token(3)]);
        let memory = self::memory(8000, &[100, 4000, 5000, 7000, 200]);
        assert_eq!(memory.largest(), [token(3), token(2)]);
        assert_eq!(self::memory(1 << 20, &[100]).largest(), []);
    }

    #[test]
    fn pages_are_given_back_some_time_after_a_burst_and_not_within_it() {
        let mut memory = memory(1 << 30, &[1000, 50 << 20]);
        let start = Tick::at(Duration::ZERO);
        let (soon, late) = (start.after(TRIM_AFTER / 2), start.after(TRIM_AFTER));
        assert!(!memory.trims(late), "it holds as much as ever");
        memory.set(token(1), 40 << 20);
        assert!(!memory.trims(start) && !memory.trims(soon));
        memory.set(token(1), 49 << 20);
        assert!(!memory.trims(late), "the burst goes on");
        memory.closed(token(1));
        assert!(!memory.trims(late));
        assert_eq!(memory.next(), Some(late.after(TRIM_AFTER)));
        assert!(memory.trims(late.after(TRIM_AFTER)));
        assert!(!memory.needs_care(), "once");
    }

    #[test]
    fn paused_connections_are_looked_at_every_moment_and_given_up_after_some_time() {
        let mut memory = memory(1000, &[900, 100]);
        let start = Tick::at(Duration::ZERO);
        memory.pause(token(0), start);
        assert_eq!(memory.look_at_paused(start.after(LOOK_INTERVAL / 2)), []);
        assert_eq!(memory.look_at_paused(start.after(LOOK_INTERVAL)), [token(0)]);
        assert_eq!(memory.next(), Some(start.after(2 * LOOK_INTERVAL)));
        assert!(!memory.gives_up(token(0), start.after(PAUSE_MAX / 2)));
        assert!(memory.gives_up(token(0), start.after(PAUSE_MAX)));
        memory.set(token(0), 100);
        assert!(!memory.gives_up(token(0), start.after(PAUSE_MAX)), "there is room");
        memory.resume(token(0));
        assert_eq!(memory.look_at_paused(start.after(2 * LOOK_INTERVAL)), []);
        assert_eq!(memory.next(), None);
        assert_eq!(memory.counters.connections_paused(), 1);
    }
}
