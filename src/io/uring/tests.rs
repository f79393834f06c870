//! What a ring does when the kernel refuses to take operations, as it does when it is short of
//! memory: calls of io_uring_enter(2) fail here without being made.

use std::{io::Read, os::unix::net::UnixStream, thread};

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

/// Whether memory is mapped at the address.
fn is_mapped(address: usize) -> bool {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().any(|line| {
        let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let [start, end] = [start, end].map(|text| usize::from_str_radix(text, 16).unwrap());
        (start..end).contains(&address)
    })
}

/// Lets the thread cancel nothing more at once.
fn forbid_cancelling() {
    use seccompiler::{BpfProgram, SeccompFilter, SeccompRule};
    use seccompiler::{SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition};
    /// `IORING_REGISTER_SYNC_CANCEL`.
    const SYNC_CANCEL: u64 = 24;
    let (length, equal) = (SeccompCmpArgLen::Dword, SeccompCmpOp::Eq);
    let condition = SeccompCondition::new(1, length, equal, SYNC_CANCEL).unwrap();
    let rule = SeccompRule::new(vec![condition]).unwrap();
    let calls = [(libc::SYS_io_uring_register, vec![rule])].into();
    let fails = SeccompAction::Errno(libc::EINVAL as u32);
    let architecture = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(calls, SeccompAction::Allow, fails, architecture).unwrap();
    seccompiler::apply_filter(&BpfProgram::try_from(filter).unwrap()).unwrap();
}

#[test]
fn memory_of_operations_that_cannot_be_cancelled_is_never_freed() {
    let test = || {
        let (mut driver, peers) = connected(1);
        driver.receive(token(0));
        driver.wait(Some(Duration::ZERO), &mut Vec::new()).unwrap();
        let storage = driver.ring.buffers.storage.as_ptr() as usize;
        forbid_cancelling();
        drop((driver, peers));
        assert!(is_mapped(storage));
    };
    thread::spawn(test).join().unwrap();
}

#[test]
fn a_buffer_of_which_more_is_filled_than_there_is_comes_back() {
    let mut buffers = Buffers::new(2, 100).unwrap();
    assert!(buffers.take(1, 60, true).is_some());
    assert!(buffers.take(1, 60, true).is_none());
    assert!(buffers.take(1, 1, true).is_none(), "where the kernel goes on is unknown");
    assert_eq!(buffers.tail, 0, "the kernel still has it");
    assert!(buffers.take(1, u32::MAX, false).is_none());
    assert_eq!((buffers.tail, buffers.filled[1]), (1, 0));
    assert!(buffers.take(7, 1, false).is_none());
}
