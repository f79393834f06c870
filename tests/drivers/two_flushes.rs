//! Two batches in a pass, both with more than a connection takes at once: what is left of the first
//! was looked for in the second on io_uring.

use std::{
    io::{self, Read},
    os::{fd::OwnedFd, unix::net::UnixStream},
    thread,
    time::Duration,
};

use wireloop::io::{Driver, SendBatch};

use crate::{
    attach_one,
    support::{drivers, on_driver},
    token,
};

/// More than a pair of sockets takes, and different.
const LENGTHS: [usize; 2] = [1_000_000, 900_000];

#[test]
fn what_is_left_of_each_batch_follows_to_its_own_connection() {
    drivers().for_each(|kind| on_driver!(kind, check));
}

pub(crate) fn check<D: Driver<Stream = OwnedFd>>(driver: fn() -> io::Result<D>) {
    let mut driver = driver().expect("there are descriptors left");
    let peers = [0, 1].map(|index| attach_one(&mut driver, index));
    for (index, length) in (0_u8..).zip(LENGTHS) {
        let mut batch = SendBatch::default();
        batch.bytes.resize(length, index);
        batch.push(token(index.into()), 0);
        driver.flush(&mut batch, |_| {});
    }
    let readers = peers.map(|peer| thread::spawn(move || read_until_silent(peer)));
    let mut unsent = Vec::new();
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

fn read_until_silent(mut peer: UnixStream) -> Vec<u8> {
    peer.set_read_timeout(Some(Duration::from_secs(1))).expect("it is open");
    let mut bytes = Vec::new();
    // Ends with the timeout: the connection stays open.
    let _ = peer.read_to_end(&mut bytes);
    bytes
}
