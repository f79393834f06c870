//! Batches of sends have numbers by which a connection knows whether the present one has output of
//! it. The io_uring driver gave two of them the same number: a load generator sent late, and a server
//! sent in two steps.

mod support;

use std::{
    io::{self, Read},
    os::{fd::OwnedFd, unix::net::UnixStream},
    time::Duration,
};

use support::drivers;
use wireloop::{
    DriverKind,
    io::{Driver, Epoll, SendBatch, SendQueue, Token, Uring},
};

const TOKEN: Token = Token { index: 0, generation: 1 };

#[test]
fn a_connection_is_free_to_send_in_each_batch() {
    for driver in drivers() {
        match driver {
            DriverKind::IoUring => check(Uring::new),
            _ => check(Epoll::new),
        }
    }
}

fn check<D: Driver<Stream = OwnedFd>>(driver: fn() -> io::Result<D>) {
    let mut driver = driver().expect("there are descriptors left");
    let (near, mut far) = UnixStream::pair().expect("there are descriptors left");
    near.set_nonblocking(true).expect("it is open");
    driver.attach(TOKEN, near.into()).expect("it can be watched");
    let mut batch = SendBatch::default();
    let mut queue = SendQueue::<()>::default();
    for pass in 0..20_u8 {
        assert!(queue.is_free(&batch), "pass {pass}");
        // Not all passes have output.
        if pass % 5 != 3 {
            let start = batch.bytes.len();
            batch.bytes.push(pass);
            queue.submit(TOKEN, &mut batch, start);
        }
        driver.flush(&mut batch, |_| {});
        driver.wait(Some(Duration::ZERO)).expect("the driver works");
        assert!(driver.unsent().is_none());
    }
    let mut bytes = [0; 16];
    far.read_exact(&mut bytes).expect("it was sent");
    assert!(bytes.into_iter().eq((0..20).filter(|pass| pass % 5 != 3)), "{bytes:?}");
}
