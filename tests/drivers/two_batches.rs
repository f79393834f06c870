//! Two batches that are flushed before the next wait. On io_uring the kernel reads what is flushed
//! only when it is submitted, so each batch has to keep its own memory until then, and afterwards as
//! long as a connection has not taken all of it.

use std::{
    io::{self, Read},
    os::{fd::OwnedFd, unix::net::UnixStream},
    thread,
    time::{Duration, Instant},
};

use wireloop::io::{Driver, SendBatch};

use crate::{
    attach_one,
    support::{DEADLINE, drivers, on_driver},
    token,
};

/// More than a pair of sockets takes, and different.
const LENGTHS: [usize; 2] = [1_000_000, 900_000];

#[test]
fn batches_that_are_sent_whole_reach_their_own_connections() {
    drivers().for_each(|kind| on_driver!(kind, sent_whole));
}

#[test]
fn what_is_left_of_each_batch_follows_to_its_own_connection() {
    drivers().for_each(|kind| on_driver!(kind, sent_in_parts));
}

/// The caller fills the same batch again at once: its memory is the caller's after each flush.
fn sent_whole<D: Driver<Stream = OwnedFd>>(driver: fn() -> io::Result<D>) {
    let mut driver = driver().expect("there are descriptors left");
    let peers = [0, 1, 2].map(|index| attach_one(&mut driver, index));
    let mut batch = SendBatch::default();
    for number in 0..3_u8 {
        let start = batch.bytes.len();
        batch.bytes.extend_from_slice(&[number; 100]);
        batch.push(token(number.into()), start);
        driver.flush(&mut batch, |_| {});
    }
    batch.bytes.extend_from_slice(&[9; 100]);
    driver.wait(Some(Duration::ZERO), &mut Vec::new()).expect("the driver works");
    for (number, mut peer) in (0..).zip(&peers) {
        let mut bytes = [9; 100];
        peer.set_read_timeout(Some(Duration::from_secs(20))).expect("not zero");
        peer.read_exact(&mut bytes).expect("it was sent");
        assert_eq!(bytes, [number; 100]);
    }
}

/// Each connection takes a part of its batch at first, and the rest while its peer reads.
pub(crate) fn sent_in_parts<D: Driver<Stream = OwnedFd>>(driver: fn() -> io::Result<D>) {
    let mut driver = driver().expect("there are descriptors left");
    let peers = [0, 1].map(|index| attach_one(&mut driver, index));
    for (index, length) in (0_u8..).zip(LENGTHS) {
        let mut batch = SendBatch::default();
        batch.bytes.resize(length, index);
        batch.push(token(index.into()), 0);
        driver.flush(&mut batch, |_| {});
    }
    let mut unsent = Vec::new();
    // Nobody reads yet, so that each has something left.
    let begun = Instant::now();
    while unsent.len() < LENGTHS.len() && begun.elapsed() < DEADLINE {
        driver.wait(Some(Duration::from_millis(20)), &mut unsent).expect("the driver works");
    }
    let mut lengths = LENGTHS.into_iter();
    let readers = peers.map(|peer| {
        let length = lengths.next().expect("there is one for each");
        thread::spawn(move || read_until_silent(peer, length))
    });
    while readers.iter().any(|reader| !reader.is_finished()) {
        driver.wait(Some(Duration::from_millis(20)), &mut unsent).expect("the driver works");
        while driver.next().is_some() {}
    }
    for ((index, length), reader) in (0_u8..).zip(LENGTHS).zip(readers) {
        let bytes = reader.join().expect("reading does not panic");
        assert!(bytes.iter().all(|byte| *byte == index), "bytes of the other connection");
        assert_eq!(bytes.len(), length);
    }
    unsent.sort_by_key(|one| one.token.index);
    assert_eq!(unsent.iter().map(|one| one.token.index).collect::<Vec<_>>(), [0, 1]);
}

/// So many bytes, and what comes after them.
fn read_until_silent(mut peer: UnixStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    peer.set_read_timeout(Some(DEADLINE)).expect("it is open");
    peer.read_exact(&mut bytes).expect("all of it arrives");
    // Ends with the timeout: the connection stays open.
    peer.set_read_timeout(Some(Duration::from_millis(100))).expect("it is open");
    let _ = peer.read_to_end(&mut bytes);
    bytes
}
