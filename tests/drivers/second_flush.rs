//! Two batches may be flushed before the next wait. On io_uring the kernel reads the first one only
//! when it is submitted: the driver must not give its memory back before that.

use std::{
    io::{self, Read},
    os::fd::OwnedFd,
    time::Duration,
};

use wireloop::io::{Driver, SendBatch};

use crate::{
    attach_one,
    support::{drivers, on_driver},
    token,
};

#[test]
fn a_batch_is_sent_as_it_was_though_another_one_follows_at_once() {
    drivers().for_each(|kind| on_driver!(kind, check));
}

fn check<D: Driver<Stream = OwnedFd>>(driver: fn() -> io::Result<D>) {
    let mut driver = driver().expect("there are descriptors left");
    let peers = [0, 1, 2].map(|index| attach_one(&mut driver, index));
    let mut batch = SendBatch::default();
    for number in 0..3_u8 {
        let start = batch.bytes.len();
        batch.bytes.extend_from_slice(&[number; 100]);
        batch.push(token(number.into()), start);
        driver.flush(&mut batch, |_| {});
    }
    // The memory of the batches is the caller's again.
    batch.bytes.extend_from_slice(&[9; 100]);
    driver.wait(Some(Duration::ZERO), &mut Vec::new()).expect("the driver works");
    for (number, mut peer) in (0..).zip(&peers) {
        let mut bytes = [9; 100];
        peer.set_read_timeout(Some(Duration::from_secs(20))).expect("not zero");
        peer.read_exact(&mut bytes).expect("it was sent");
        assert_eq!(bytes, [number; 100]);
    }
}
