//! What threads share with each other: the standard library's, or Shuttle's, which runs tests with
//! many orders of the threads' steps (docs/HACKING.md).

#[cfg(not(shuttle))]
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, atomic};

#[cfg(shuttle)]
pub(crate) use shuttle::sync::{Condvar, Mutex, MutexGuard, atomic};

/// What a waker does in those tests.
#[cfg(all(test, shuttle))]
#[derive(Debug, Default)]
pub(crate) struct Signal {
    is_raised: Mutex<bool>,
    raised: Condvar,
}

#[cfg(all(test, shuttle))]
impl Signal {
    pub(crate) fn raise(&self) {
        *self.is_raised.lock().unwrap() = true;
        self.raised.notify_one();
    }

    /// Waits until it has been raised since the last time.
    pub(crate) fn wait(&self) {
        let is_raised = self.is_raised.lock().unwrap();
        let mut is_raised = self.raised.wait_while(is_raised, |is_raised| !*is_raised).unwrap();
        *is_raised = false;
    }
}

/// How many orders of the threads' steps a test tries.
#[cfg(all(test, shuttle))]
pub(crate) const ORDERS: usize = 10_000;
