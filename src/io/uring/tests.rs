//! What a ring does when the kernel refuses to take operations, as it does when it is short of
//! memory: calls of io_uring_enter(2) fail here without being made.

use std::{io::Read, os::unix::net::UnixStream};

use super::{setup::SUBMISSIONS, *};
use crate::io::{Completion, Driver, Token};

/// The errors that the next calls fail with.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    pub(super) error: i32,
    pub(super) calls: usize,
}

impl Refusals {
    pub(super) fn next(&mut self) -> Option<i32> {
        self.calls = self.calls.checked_sub(1)?;
        Some(self.error)
    }
}

/// More than the queue holds.
const CONNECTIONS: u32 = SUBMISSIONS * 2 + 10;

fn token(index: u32) -> Token {
    Token { index, generation: 1 }
}

/// A driver that looks after one end of so many connections, and the others.
fn connected(connections: u32) -> (Uring, Vec<UnixStream>) {
    let mut driver = Uring::new().unwrap();
    let attach = |index| {
        let (near, far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        driver.attach(token(index), near.into()).unwrap();
        far.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        far
    };
    let peers = (0..connections).map(attach).collect();
    (driver, peers)
}

#[test]
fn operations_that_the_kernel_refuses_for_a_moment_are_neither_lost_nor_an_error() {
    for error in [libc::EAGAIN, libc::EINTR, libc::EBUSY, libc::ENOMEM] {
        let (mut driver, peers) = connected(CONNECTIONS);
        let mut batch = SendBatch::default();
        for index in 0..CONNECTIONS {
            driver.receive(token(index));
            let start = batch.bytes.len();
            batch.bytes.extend_from_slice(&index.to_le_bytes());
            batch.push(token(index), start);
        }
        driver.ring.refusals = Refusals { error, calls: 7 };
        driver.flush(&mut batch, |_| {});
        assert_eq!(driver.ring.refusals.calls, 0, "the queue was full");
        driver.ring.refusals = Refusals { error, calls: 7 };
        driver.wait(Some(Duration::ZERO), &mut Vec::new()).unwrap();
        for (index, mut peer) in (0..).zip(&peers) {
            let mut bytes = [0; 4];
            peer.read_exact(&mut bytes).unwrap();
            assert_eq!(u32::from_le_bytes(bytes), index, "error {error}");
        }
    }
}

#[test]
fn a_kernel_that_takes_nothing_any_more_is_an_error_and_no_endless_loop() {
    let (mut driver, _peers) = connected(CONNECTIONS);
    driver.ring.patience = Duration::from_millis(20);
    driver.ring.refusals = Refusals { error: libc::EAGAIN, calls: usize::MAX };
    (0..CONNECTIONS).for_each(|index| driver.receive(token(index)));
    let error = driver.wait(None, &mut Vec::new()).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EAGAIN));
}

#[test]
fn what_completes_while_the_kernel_refuses_is_not_lost() {
    let (mut driver, peers) = connected(2);
    driver.receive(token(0));
    driver.wait(Some(Duration::ZERO), &mut Vec::new()).unwrap();
    io::Write::write_all(&mut &peers[0], b"x").unwrap();
    driver.receive(token(1));
    driver.ring.refusals = Refusals { error: libc::EAGAIN, calls: 1 };
    driver.wait(Some(Duration::from_secs(5)), &mut Vec::new()).unwrap();
    let received = driver.next();
    assert!(matches!(received, Some(Completion::Received { bytes: [b'x'], .. })), "{received:?}");
}
