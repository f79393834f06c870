//! Batches of sends have numbers by which a connection knows whether the present one has output of
//! it. The io_uring driver gave two of them the same number: a load generator sent late, and a server
//! sent in two steps.

use std::{
    io::{self, Read},
    os::fd::OwnedFd,
    time::Duration,
};

use wireloop::io::{Driver, SendBatch, SendQueue};

use crate::{
    attach_one,
    support::{drivers, on_driver},
    token,
};

#[test]
fn a_connection_is_free_to_send_in_each_batch() {
    drivers().for_each(|kind| on_driver!(kind, check));
}

fn check<D: Driver<Stream = OwnedFd>>(driver: fn() -> io::Result<D>) {
    let mut driver = driver().expect("there are descriptors left");
    let mut far = attach_one(&mut driver, 0);
    let mut batch = SendBatch::default();
    let mut queue = SendQueue::<()>::default();
    for pass in 0..20_u8 {
        assert!(queue.is_free(&batch), "pass {pass}");
        // Not all passes have output.
        if pass % 5 != 3 {
            let start = batch.bytes.len();
            batch.bytes.push(pass);
            queue.submit(token(0), &mut batch, start);
        }
        driver.flush(&mut batch, |_| {});
        driver.wait(Some(Duration::ZERO)).expect("the driver works");
        assert!(driver.unsent().is_none());
    }
    let mut bytes = [0; 16];
    far.read_exact(&mut bytes).expect("it was sent");
    assert!(bytes.into_iter().eq((0..20).filter(|pass| pass % 5 != 3)), "{bytes:?}");
}
