//! A pass is bounded in bytes, however many connections have something: what it has received is to be
//! in the processor's cache still when the answers are sent.

use std::{
    io::{self, Write},
    os::fd::OwnedFd,
    time::Duration,
};

use wireloop::io::{Completion, Driver};

use crate::{
    attach_one,
    support::{drivers, on_driver},
    token,
};

const CONNECTIONS: u32 = 40;

/// What each connection has to receive.
const BYTES: usize = 100_000;

/// The most that a pass receives on any driver: 512 KiB and the receive that exceeds them on epoll,
/// all buffers on io_uring.
const PASS_BYTES: usize = 1 << 20;

#[test]
fn a_pass_ends_though_more_could_be_received() {
    drivers().for_each(|kind| on_driver!(kind, check));
}

fn check<D: Driver<Stream = OwnedFd>>(driver: fn() -> io::Result<D>) {
    let mut driver = driver().expect("there are descriptors left");
    let payload = vec![1; BYTES];
    let _peers: Vec<_> = (0..CONNECTIONS)
        .map(|index| {
            let mut far = attach_one(&mut driver, index);
            far.write_all(&payload).expect("a pair of sockets takes as much");
            driver.receive(token(index));
            far
        })
        .collect();
    let mut left = CONNECTIONS as usize * BYTES;
    while left > 0 {
        let bytes = received(&mut driver);
        assert!(bytes <= PASS_BYTES, "a pass has received {bytes} bytes");
        left -= bytes;
    }
}

/// How many bytes a pass has received.
fn received(driver: &mut impl Driver) -> usize {
    driver.wait(Some(Duration::from_secs(20)), &mut Vec::new()).expect("the driver works");
    let mut count = 0;
    while let Some(completion) = driver.next() {
        if let Completion::Received { bytes, .. } = completion {
            count += bytes.len();
        }
    }
    count
}
