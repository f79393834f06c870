//! A thread that always has something to send never waits. It has to hear of what has come all the
//! same, and not only of as many receives as the kernel completes at a time (20 since Linux 6.13):
//! a load generator saw its echoes 41 ms late.

use std::{
    io::{self, Write},
    os::{fd::OwnedFd, unix::net::UnixStream},
    time::Duration,
};

use wireloop::io::{Completion, Driver};

use crate::{
    attach_one,
    support::{drivers, on_driver},
    token,
};

const CONNECTIONS: u32 = 300;

#[test]
fn who_never_waits_catches_up() {
    drivers().for_each(|kind| on_driver!(kind, check));
}

pub(crate) fn check<D: Driver<Stream = OwnedFd>>(driver: fn() -> io::Result<D>) {
    let mut driver = driver().expect("there are descriptors left");
    let peers: Vec<UnixStream> = (0..CONNECTIONS)
        .map(|index| {
            let far = attach_one(&mut driver, index);
            driver.receive(token(index));
            far
        })
        .collect();
    driver.wait(Some(Duration::ZERO), &mut Vec::new()).expect("the driver works");
    for mut peer in &peers {
        peer.write_all(b"x").expect("it is open");
    }
    let found: Vec<usize> = (0..5).map(|_| received(&mut driver)).collect();
    assert_eq!(found.iter().sum::<usize>(), peers.len(), "{found:?}");
}

/// How many connections a pass has received something from.
fn received(driver: &mut impl Driver) -> usize {
    driver.wait(Some(Duration::ZERO), &mut Vec::new()).expect("the driver works");
    let mut count = 0;
    while let Some(completion) = driver.next() {
        count += usize::from(matches!(completion, Completion::Received { .. }));
    }
    count
}
