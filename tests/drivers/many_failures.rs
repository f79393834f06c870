//! More sends of one batch fail than the kernel's queue of completions holds, as when a network
//! with thousands of peers goes away. The next wait must tell of all of them: after it another
//! batch may be sent, and what comes late would be taken for a part of that one.

use std::{
    io,
    os::fd::OwnedFd,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use wireloop::io::{Driver, SendBatch, Unsent, sys};

use crate::{
    attach_one,
    support::{drivers, on_driver},
    token,
};

/// More than `COMPLETIONS` in src/io/uring.rs.
const CONNECTIONS: u32 = 5000;

/// Other tests do the same, and a process may not have so many descriptors.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

#[test]
fn the_next_wait_tells_of_every_send_that_failed() {
    sys::raise_file_limit();
    drivers().for_each(|kind| on_driver!(kind, check));
}

pub(crate) fn check<D: Driver<Stream = OwnedFd>>(driver: fn() -> io::Result<D>) {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut driver = driver().expect("there are descriptors left");
    let mut batch = SendBatch::default();
    for index in 0..CONNECTIONS {
        drop(attach_one(&mut driver, index));
        let start = batch.bytes.len();
        batch.bytes.extend_from_slice(b"nobody hears it");
        batch.push(token(index), start);
    }
    driver.flush(&mut batch, |_| {});
    let (mut unsent, mut failed) = (Vec::new(), Vec::new());
    driver.wait(Some(Duration::ZERO), &mut unsent).expect("the driver works");
    for Unsent { token, result } in unsent {
        assert_eq!(result.expect_err("nobody hears it").kind(), io::ErrorKind::BrokenPipe);
        failed.push(token.index);
    }
    failed.sort_unstable();
    assert!(failed.iter().copied().eq(0..CONNECTIONS), "only {} are told of", failed.len());
}
