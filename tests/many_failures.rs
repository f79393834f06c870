//! More sends of one batch fail than the kernel's queue of completions holds, as when a network
//! with thousands of peers goes away. The next wait must tell of all of them: after it another
//! batch may be sent, and what comes late would be taken for a part of that one.

mod support;

use std::{
    io,
    os::{fd::OwnedFd, unix::net::UnixStream},
    time::Duration,
};

use support::drivers;
use wireloop::{
    DriverKind,
    io::{Driver, Epoll, SendBatch, Token, Uring, sys},
};

/// More than `COMPLETIONS` in src/io/uring.rs.
const CONNECTIONS: u32 = 5000;

#[test]
fn the_next_wait_tells_of_every_send_that_failed() {
    sys::raise_file_limit();
    for driver in drivers() {
        match driver {
            DriverKind::IoUring => check(Uring::new),
            _ => check(Epoll::new),
        }
    }
}

fn check<D: Driver<Stream = OwnedFd>>(driver: fn() -> io::Result<D>) {
    let mut driver = driver().expect("there are descriptors left");
    let mut batch = SendBatch::default();
    for index in 0..CONNECTIONS {
        let (near, far) = UnixStream::pair().expect("there are descriptors left");
        near.set_nonblocking(true).expect("it is open");
        let token = Token { index, generation: 1 };
        driver.attach(token, near.into()).expect("it can be watched");
        drop(far);
        let start = batch.bytes.len();
        batch.bytes.extend_from_slice(b"nobody hears it");
        batch.push(token, start);
    }
    driver.flush(&mut batch, |_| {});
    driver.wait(Some(Duration::ZERO)).expect("the driver works");
    let mut failed: Vec<u32> = Vec::new();
    while let Some((token, result)) = driver.unsent() {
        assert_eq!(result.expect_err("nobody hears it").kind(), io::ErrorKind::BrokenPipe);
        failed.push(token.index);
    }
    failed.sort_unstable();
    assert!(failed.iter().copied().eq(0..CONNECTIONS), "only {} are told of", failed.len());
}
