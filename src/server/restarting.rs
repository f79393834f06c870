//! What follows when a worker has failed: it starts again, for a while.

use std::{
    io,
    net::TcpListener,
    time::{Duration, Instant},
};

use super::DriverKind;

/// A worker that fails so soon after it has started again would go on failing.
const SOON: Duration = Duration::from_secs(10);

/// What a worker starts with.
pub(super) struct Start {
    pub(super) number: usize,
    pub(super) listeners: Vec<TcpListener>,
    /// Whether it starts with the others, and not again.
    pub(super) is_first: bool,
}

/// How a worker has failed.
pub(super) struct Failed {
    pub(super) error: io::Error,
    /// Its listening sockets, which are open.
    pub(super) listeners: Vec<TcpListener>,
    /// How many connections it had.
    pub(super) connections: usize,
    /// When it began to serve, if it did.
    pub(super) began: Option<Instant>,
}

impl Failed {
    /// It could not start.
    pub(super) fn to_start(error: io::Error, listeners: Vec<TcpListener>) -> Self {
        Self { error, listeners, connections: 0, began: None }
    }

    /// How long it has served.
    pub(super) fn served(&self) -> Duration {
        self.began.map_or(Duration::ZERO, |began| began.elapsed())
    }
}

/// Which driver a worker has, and which one when it has failed.
#[derive(Debug)]
pub(super) struct Restarts {
    driver: DriverKind,
    has_restarted: bool,
}

impl Restarts {
    pub(super) fn new(driver: DriverKind) -> Self {
        Self { driver, has_restarted: false }
    }

    pub(super) fn driver(&self) -> DriverKind {
        self.driver
    }

    /// The worker has failed when it had served so long. Returns whether it starts again: with the
    /// same driver, but with epoll in place of io_uring if it has failed soon after it was started
    /// again; if epoll does that as well, the worker is given up.
    pub(super) fn goes_on(&mut self, served: Duration) -> bool {
        let has_restarted = std::mem::replace(&mut self.has_restarted, true);
        match self.driver {
            _ if !has_restarted || served >= SOON => {}
            DriverKind::IoUring => self.driver = DriverKind::Epoll,
            _ => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With which drivers a worker starts again that has served for so many seconds each time.
    fn restarts(driver: DriverKind, served: &[u64]) -> Vec<DriverKind> {
        let mut restarts = Restarts::new(driver);
        let again = |seconds: &u64| {
            restarts.goes_on(Duration::from_secs(*seconds)).then_some(restarts.driver())
        };
        served.iter().map_while(again).collect()
    }

    #[test]
    fn a_worker_that_goes_on_failing_takes_epoll_and_then_ends() {
        use DriverKind::{Epoll, IoUring};
        assert_eq!(restarts(IoUring, &[0, 0, 0, 0]), [IoUring, Epoll]);
        assert_eq!(
            restarts(IoUring, &[1, 3600, 9, 10, 11, 0]),
            [IoUring, IoUring, Epoll, Epoll, Epoll]
        );
        assert_eq!(restarts(IoUring, &[3600, 10, 10]), [IoUring; 3]);
        assert_eq!(restarts(Epoll, &[0, 0]), [Epoll]);
        assert_eq!(restarts(Epoll, &[5, 10, 3600, 1]), [Epoll; 3]);
    }
}
