//! A thread that always has something to send never waits. It has to hear of what has come all the
//! same, and not only of as many receives as the kernel completes at a time (20 since Linux 6.13):
//! a load generator saw its echoes 41 ms late.

mod support;

use std::{
    io::{self, Write},
    os::{fd::OwnedFd, unix::net::UnixStream},
    time::Duration,
};

use support::drivers;
use wireloop::{
    DriverKind,
    io::{Completion, Driver, Epoll, Token, Uring},
};

const CONNECTIONS: u32 = 300;

#[test]
fn who_never_waits_catches_up() {
    for driver in drivers() {
        match driver {
            DriverKind::IoUring => check(Uring::new),
            _ => check(Epoll::new),
        }
    }
}

fn check<D: Driver<Stream = OwnedFd>>(driver: fn() -> io::Result<D>) {
    let mut driver = driver().expect("there are descriptors left");
    let peers: Vec<UnixStream> = (0..CONNECTIONS)
        .map(|index| {
            let (near, far) = UnixStream::pair().expect("there are descriptors left");
            near.set_nonblocking(true).expect("it is open");
            let token = Token { index, generation: 1 };
            driver.attach(token, near.into()).expect("it can be watched");
            driver.receive(token);
            far
        })
        .collect();
    driver.wait(Some(Duration::ZERO)).expect("the driver works");
    for mut peer in &peers {
        peer.write_all(b"x").expect("it is open");
    }
    let found: Vec<usize> = (0..5).map(|_| received(&mut driver)).collect();
    assert_eq!(found.iter().sum::<usize>(), peers.len(), "{found:?}");
}

/// How many connections a pass has received something from.
fn received(driver: &mut impl Driver) -> usize {
    driver.wait(Some(Duration::ZERO)).expect("the driver works");
    let mut count = 0;
    while let Some(completion) = driver.next() {
        count += usize::from(matches!(completion, Completion::Received { .. }));
    }
    count
}
