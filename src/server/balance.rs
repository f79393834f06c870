//! How connections are dealt to workers. The kernel deals them by hash, which gives one worker a
//! sixth more than the mean; a worker that has accepted more than its share hands a new connection,
//! before anything was received from it, to the worker with the fewest.

use std::{
    net::SocketAddr,
    sync::{Arc, PoisonError},
};

use crate::{
    io::Waker,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
};

/// A connection that was accepted, and its peer's address.
type Accepted<S> = (S, Option<SocketAddr>);

/// How many connections each worker has, and what others have handed to it.
#[derive(Debug)]
pub(super) struct Balance<S>(Box<[Place<S>]>);

#[derive(Debug)]
struct Place<S> {
    /// Those in the queue included.
    connections: AtomicUsize,
    queue: Mutex<Queue<S>>,
}

#[derive(Debug)]
struct Queue<S> {
    accepted: Vec<Accepted<S>>,
    /// Wakes the worker; there is none before it starts and when it stops, and then nothing is
    /// handed to it.
    waker: Option<Waker>,
}

impl<S> Balance<S> {
    pub(super) fn new(workers: usize) -> Self {
        let place = |_| Place {
            connections: AtomicUsize::new(0),
            queue: Mutex::new(Queue { accepted: Vec::new(), waker: None }),
        };
        Self((0..workers).map(place).collect())
    }

    /// The seat of the worker with this number, which from now on can be handed connections.
    /// It may take the place of one that has failed, with what is still in its queue.
    pub(super) fn seat(self: &Arc<Self>, number: usize, waker: Waker) -> Seat<S> {
        let mut queue = self.0[number].lock();
        if !queue.accepted.is_empty() {
            waker.wake();
        }
        queue.waker = Some(waker);
        drop(queue);
        Seat { balance: Arc::clone(self), number }
    }
}

impl<S> Place<S> {
    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Hands the worker a connection: returns it if it takes none.
    fn hand(&self, accepted: Accepted<S>) -> Option<Accepted<S>> {
        let mut queue = self.lock();
        let Some(waker) = queue.waker.clone() else { return Some(accepted) };
        queue.accepted.push(accepted);
        self.connections.fetch_add(1, Ordering::Relaxed);
        let is_first = queue.accepted.len() == 1;
        drop(queue);
        if is_first {
            waker.wake();
        }
        None
    }

    fn lock(&self) -> MutexGuard<'_, Queue<S>> {
        // Nothing that holds the lock can panic half way.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One worker's part in the balance.
#[derive(Debug)]
pub(super) struct Seat<S> {
    balance: Arc<Balance<S>>,
    number: usize,
}

impl<S> Seat<S> {
    /// Deals a connection that this worker has accepted: returns it if it is to stay here.
    pub(super) fn deal(&self, accepted: Accepted<S>) -> Option<Accepted<S>> {
        let places = &self.balance.0;
        let number = choose(places.iter().map(Place::connections), self.number);
        let is_own = number == self.number;
        let kept = if is_own { Some(accepted) } else { places[number].hand(accepted) };
        if kept.is_some() {
            self.place().connections.fetch_add(1, Ordering::Relaxed);
        }
        kept
    }

    /// Takes what others have handed to this worker, which counts already.
    pub(super) fn take(&self) -> Vec<Accepted<S>> {
        std::mem::take(&mut self.place().lock().accepted)
    }

    /// A connection of this worker has ended.
    pub(super) fn ended(&self) {
        self.place().connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// Nothing more is handed to this worker. Returns what it has not taken, which counts already.
    pub(super) fn close(&self) -> Vec<Accepted<S>> {
        let mut queue = self.place().lock();
        queue.waker = None;
        std::mem::take(&mut queue.accepted)
    }

    fn place(&self) -> &Place<S> {
        &self.balance.0[self.number]
    }
}

impl<S> Drop for Seat<S> {
    /// A worker that has failed has lost its connections, but not those in its queue.
    fn drop(&mut self) {
        let mut queue = self.place().lock();
        queue.waker = None;
        self.place().connections.store(queue.accepted.len(), Ordering::Relaxed);
    }
}

/// Which worker is to have a connection that the one called `own` has accepted, by the number of
/// connections that each has: `own` up to 3 % and two connections above the mean, so that few are
/// handed over; beyond, the one with the fewest.
fn choose(connections: impl Iterator<Item = usize>, own: usize) -> usize {
    let mut mine = 1;
    let (mut total, mut fewest) = (1, (usize::MAX, own));
    let mut workers = 0;
    for (number, count) in connections.enumerate() {
        workers += 1;
        total += count;
        fewest = fewest.min((count, number));
        if number == own {
            mine += count;
        }
    }
    let is_fair = mine * workers * 100 <= total * 103 + workers * 200;
    if is_fair { own } else { fewest.1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever accepts them, and whichever end, no worker has much more than the mean.
    #[test]
    fn no_worker_has_over_a_tenth_more_than_the_mean() {
        for workers in [1, 2, 3, 8, 64] {
            let mut state = workers as u64;
            // Knuth's MMIX generator: any will do.
            let mut below = |limit: usize| {
                state = state.wrapping_mul(6_364_136_223_846_793_005);
                state = state.wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) as usize % limit
            };
            let mut counts = vec![0; workers];
            let mut ends = Vec::new();
            for number in 0..20_000 {
                // Some workers accept much more than others.
                let own = below(workers).min(below(workers));
                let place = choose(counts.iter().copied(), own);
                counts[place] += 1;
                ends.push(place);
                if number >= 16 * workers.max(64) {
                    let ended = ends.swap_remove(below(ends.len()));
                    counts[ended] -= 1;
                }
                let max = counts.iter().max().copied().unwrap_or(0);
                let mean = ends.len() as f64 / workers as f64;
                assert!(max as f64 <= mean * 1.1 + 3.0, "{workers} {number}: {counts:?}");
            }
        }
    }

    #[test]
    fn a_worker_keeps_its_share_and_hands_on_what_is_above() {
        let balance = Arc::new(Balance::new(2));
        let seats = [0, 1].map(|number| balance.seat(number, Waker::new(|| {})));
        let kept = (0..100).filter_map(|n| seats[0].deal((n, None))).count();
        let handed = seats[1].take().len();
        assert_eq!(kept + handed, 100);
        assert!((50..=54).contains(&kept), "{kept}");
        (0..kept).for_each(|_| seats[0].ended());
        assert!(seats[0].deal((0, None)).is_some(), "it has none any more");
    }

    #[test]
    fn a_worker_that_stops_takes_what_is_in_its_queue_and_nothing_more() {
        let balance = Arc::new(Balance::new(2));
        let seats = [0, 1].map(|number| balance.seat(number, Waker::new(|| {})));
        let deal = || seats[0].deal(((), None)).is_some();
        let kept = (0..10).filter(|_| deal()).count();
        assert_eq!(seats[1].close().len(), 10 - kept);
        assert_eq!(balance.0[1].connections(), 10 - kept);
        (kept..10).for_each(|_| seats[1].ended());
        assert!((0..10).all(|_| deal()), "there is nobody to hand them to");
    }

    #[test]
    fn what_is_in_the_queue_of_a_worker_that_fails_is_that_of_the_next() {
        let balance = Arc::new(Balance::new(2));
        let mut seats = [0, 1].map(|number| Some(balance.seat(number, Waker::new(|| {}))));
        let dealer = seats[0].take().unwrap();
        let handed = (0..10).filter(|_| dealer.deal(((), None)).is_none()).count();
        seats[1] = None;
        assert_eq!(balance.0[1].connections(), handed);
        let (sender, wakes) = std::sync::mpsc::channel();
        let next = balance.seat(1, Waker::new(move || sender.send(()).unwrap()));
        assert!(wakes.try_recv().is_ok(), "it does not hear of them");
        assert_eq!(next.take().len(), handed);
        drop(next);
        assert_eq!(balance.0[1].connections(), 0, "it has lost them");
    }
}

/// Tests that Shuttle runs: a wake-up that is lost leaves a worker waiting, which it reports.
#[cfg(all(test, shuttle))]
mod interleavings {
    use shuttle::{check_random, thread};

    use super::*;
    use crate::sync::{ORDERS, Signal};

    const ACCEPTED: usize = 10;

    /// One worker deals connections; the other takes what it is handed until `ends` says so.
    fn deal(ends: fn(usize) -> bool) {
        let signal = Arc::new(Signal::default());
        let wakes = Arc::clone(&signal);
        let balance = Arc::new(Balance::new(2));
        let dealer = balance.seat(0, Waker::new(|| {}));
        let taker = balance.seat(1, Waker::new(move || wakes.raise()));
        let taking = thread::spawn(move || {
            let mut taken = 0;
            while !ends(taken) {
                signal.wait();
                taken += taker.take().len();
            }
            // One that is dropped has failed, and its connections count no more.
            (taken, taker.close().len(), taker)
        });
        let kept = (0..ACCEPTED).filter(|number| dealer.deal((*number, None)).is_some()).count();
        let (taken, closed, _taker) = taking.join().unwrap();
        assert_eq!(kept + taken + closed, ACCEPTED, "no connection is lost, and none counts twice");
        assert_eq!(balance.0[0].connections(), kept);
        assert_eq!(balance.0[1].connections(), taken + closed);
    }

    #[test]
    fn a_worker_hears_of_what_it_is_handed() {
        check_random(|| deal(|taken| taken >= 3), ORDERS);
    }

    #[test]
    fn no_connection_is_lost_on_a_worker_that_stops() {
        check_random(|| deal(|taken| taken >= 1), ORDERS);
    }
}
