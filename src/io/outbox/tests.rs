//! The outbox with a simulated driver: order, back-pressure and failures of one connection's
//! output.

use super::*;
use crate::io::sim::{Faults, Sim};

const TOKEN: Token = Token { index: 0, generation: 1 };

/// A worker with one connection.
struct Bench {
    driver: Sim,
    outbox: Outbox,
    state: SendState,
    peer: crate::io::sim::Peer,
}

impl SendStates for SendState {
    fn send_state(&mut self, token: Token) -> Option<&mut SendState> {
        (token == TOKEN).then_some(self)
    }
}

impl Bench {
    /// The peer lets `window` bytes lie unread.
    fn new(window: usize) -> Self {
        let mut driver = Sim::new(0, Faults::default());
        let peer = driver.connect_peer();
        driver.set_window(peer, window);
        driver.attach(TOKEN, 0).unwrap();
        Self { driver, outbox: Outbox::default(), state: SendState::default(), peer }
    }

    fn submit(&mut self, bytes: &[u8]) {
        self.outbox.begin(TOKEN, &self.state);
        self.outbox.buffer().extend_from_slice(bytes);
        self.outbox.submit(&mut self.state);
    }

    /// Flushes, and handles the results of the next wait; how many there were.
    fn pass(&mut self) -> usize {
        self.outbox.flush(&mut self.driver, |_| {});
        self.outbox.wait(&mut self.driver, None, &mut self.state).unwrap();
        let mut results = 0;
        while let Some((token, result)) = self.outbox.next_result() {
            self.outbox.sent(&mut self.driver, token, &mut self.state, &result);
            results += 1;
        }
        while let Some(completion) = self.driver.next() {
            if let crate::io::Completion::Sent { token, result, .. } = completion {
                self.outbox.sent(&mut self.driver, token, &mut self.state, &result);
            }
        }
        results
    }

    fn pending(&self) -> usize {
        self.outbox.pending_bytes(TOKEN, &self.state)
    }
}

#[test]
fn a_batch_holds_one_send_of_a_connection_and_the_rest_follows_in_order() {
    let mut bench = Bench::new(100);
    for bytes in [&b"one"[..], b"two", b"three"] {
        bench.submit(bytes);
    }
    assert_eq!(bench.outbox.batch.sends().collect::<Vec<_>>(), [(TOKEN, &b"one"[..])]);
    assert_eq!(bench.pending(), 8);
    assert!(!bench.state.is_idle(), "what waits needs the result of what was sent");
    assert_eq!(bench.pass(), 1);
    bench.pass();
    assert_eq!(bench.driver.read(bench.peer), b"onetwothree");
    assert!(bench.state.is_idle() && bench.outbox.queues.is_empty());
}

#[test]
fn output_goes_behind_a_send_that_the_peer_has_not_taken() {
    let mut bench = Bench::new(1);
    bench.submit(b"one");
    assert_eq!(bench.pass(), 0, "nothing needs the result");
    bench.submit(b"two");
    bench.submit(b"three");
    assert_eq!(bench.outbox.batch.sends().count(), 0);
    assert_eq!(bench.pending(), 10);
    bench.driver.set_window(bench.peer, 100);
    bench.pass();
    bench.pass();
    assert_eq!(bench.driver.read(bench.peer), b"onetwothree");
    assert!(bench.state.is_idle());
}

#[test]
fn what_the_batch_holds_already_goes_behind_a_send_that_is_cut_short() {
    let mut bench = Bench::new(1);
    bench.submit(b"one");
    bench.outbox.flush(&mut bench.driver, |_| {});
    // Between a flush and the next wait a connection may send again.
    bench.submit(b"two");
    bench.outbox.wait(&mut bench.driver, None, &mut bench.state).unwrap();
    assert_eq!(bench.outbox.batch.sends().count(), 0);
    assert_eq!(bench.pending(), 5);
    bench.driver.set_window(bench.peer, 100);
    bench.pass();
    bench.pass();
    assert_eq!(bench.driver.read(bench.peer), b"onetwo");
}

#[test]
fn nothing_is_not_sent() {
    let mut bench = Bench::new(100);
    bench.submit(b"");
    assert!(bench.outbox.batch.is_empty() && bench.state.is_idle());
}

#[test]
fn a_connection_that_is_given_up_leaves_nothing_behind() {
    let mut bench = Bench::new(1);
    bench.submit(b"one");
    bench.pass();
    bench.submit(b"two");
    bench.outbox.give_up(TOKEN, &mut bench.state);
    assert!(bench.state.is_idle() && bench.outbox.queues.is_empty());
    assert_eq!(bench.pending(), 0);
}

#[test]
fn a_send_that_fails_is_a_result_and_drops_what_waits() {
    let mut bench = Bench::new(100);
    bench.submit(b"one");
    bench.submit(b"two");
    bench.driver.reset(bench.peer);
    bench.outbox.flush(&mut bench.driver, |_| {});
    bench.outbox.wait(&mut bench.driver, None, &mut bench.state).unwrap();
    let (token, result) = bench.outbox.next_result().expect("it failed");
    assert!(token == TOKEN && result.is_err());
    assert!(bench.outbox.next_result().is_none(), "one result for one send");
    assert!(bench.state.is_idle() && bench.outbox.queues.is_empty());
}

#[test]
fn what_is_postponed_is_sent_when_its_owner_says_so_and_stands_in_order() {
    let mut bench = Bench::new(1000);
    bench.outbox.begin(TOKEN, &bench.state);
    assert!(!bench.outbox.postpone(&mut bench.state), "there is nothing to postpone");
    bench.outbox.buffer().extend_from_slice(b"la");
    assert!(bench.outbox.postpone(&mut bench.state));
    bench.outbox.begin(TOKEN, &bench.state);
    bench.outbox.buffer().extend_from_slice(b"te");
    assert!(!bench.outbox.postpone(&mut bench.state), "it waits behind the first part");
    bench.submit(b"r");
    bench.pass();
    assert_eq!((bench.driver.read(bench.peer), bench.pending()), (Vec::new(), 5));
    bench.outbox.sent(&mut bench.driver, TOKEN, &mut bench.state, &Ok(()));
    bench.pass();
    assert_eq!(bench.driver.read(bench.peer), b"later");
    assert!(bench.state.is_idle());
}
