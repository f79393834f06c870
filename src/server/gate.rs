//! Where workers wait for each other before the first one accepts.

use std::sync::PoisonError;

use crate::sync::{Condvar, Mutex, MutexGuard};

/// Opens when all workers have arrived. It stays closed for ever if one of them fails before.
///
/// A server whose last worker lacks a descriptor would otherwise serve for a moment, and then end.
#[derive(Debug)]
pub(super) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// So many have not arrived.
    Waiting(usize),
    Open,
    Failed,
}

impl Gate {
    pub(super) fn new(workers: usize) -> Self {
        Self { state: Mutex::new(State::Waiting(workers)), changed: Condvar::new() }
    }

    /// Waits for all others. Returns false if one of them has failed.
    pub(super) fn arrive(&self) -> bool {
        let mut state = self.lock();
        match *state {
            State::Waiting(missing @ 2..) => *state = State::Waiting(missing - 1),
            State::Waiting(_) => self.set(&mut state, State::Open),
            State::Open | State::Failed => {}
        }
        let is_waiting = |state: &mut State| matches!(state, State::Waiting(_));
        let state = self.changed.wait_while(state, is_waiting);
        *state.unwrap_or_else(PoisonError::into_inner) == State::Open
    }

    /// A worker has ended. Unless all have arrived, the others wait for it in vain and return.
    pub(super) fn fail(&self) {
        let mut state = self.lock();
        if *state != State::Open {
            self.set(&mut state, State::Failed);
        }
    }

    fn set(&self, state: &mut State, new: State) {
        *state = new;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that holds the lock can panic half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread, time::Duration};

    use super::*;

    #[test]
    fn it_opens_when_the_last_one_arrives() {
        let gate = &Gate::new(3);
        let (sender, passed) = mpsc::channel();
        thread::scope(|scope| {
            for _ in 0..2 {
                let sender = sender.clone();
                scope.spawn(move || sender.send(gate.arrive()).expect("the test waits"));
            }
            let early = passed.recv_timeout(Duration::from_millis(20));
            assert!(early.is_err(), "one is missing");
            assert!(gate.arrive());
            assert_eq!(passed.iter().take(2).collect::<Vec<_>>(), [true, true]);
        });
        gate.fail();
        assert!(gate.arrive(), "who ends later keeps nobody out");
    }

    #[test]
    fn nobody_passes_when_one_fails() {
        let gate = Gate::new(3);
        thread::scope(|scope| {
            let waiting = [0; 2].map(|_| scope.spawn(|| gate.arrive()));
            gate.fail();
            assert!(waiting.into_iter().all(|thread| !thread.join().expect("it returns")));
        });
        assert!(!gate.arrive());
    }
}

/// Tests that Shuttle runs: a worker that nobody wakes is reported.
#[cfg(all(test, shuttle))]
mod interleavings {
    use std::sync::Arc;

    use shuttle::{check_random, thread};

    use super::*;
    use crate::sync::ORDERS;

    /// Whether the gate has let each of three workers pass, of which so many fail before.
    fn passes(failing: usize) -> Vec<bool> {
        let gate = Arc::new(Gate::new(3));
        let threads = [0, 1, 2].map(|number| {
            let gate = Arc::clone(&gate);
            thread::spawn(move || {
                let has_passed = number >= failing && gate.arrive();
                // As `EndsOthers` does.
                gate.fail();
                has_passed
            })
        });
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    }

    #[test]
    fn all_workers_pass_or_none() {
        check_random(|| assert_eq!(passes(0), [true; 3]), ORDERS);
        check_random(|| assert_eq!(passes(1), [false; 3]), ORDERS);
    }
}
