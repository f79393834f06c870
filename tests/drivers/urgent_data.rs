//! Urgent data is part of the stream, and a receive that stops at it is not the last one: what lay
//! behind it waited until the peer sent something else.

use std::{
    io::{self, Write},
    net::{TcpListener, TcpStream},
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use rustix::net::SendFlags;
use wireloop::io::{Completion, Driver, sys};

use crate::{
    support::{DEADLINE, drivers, on_driver},
    token,
};

#[test]
fn urgent_data_does_not_hold_up_what_follows() {
    drivers().for_each(|kind| on_driver!(kind, check));
}

pub(crate) fn check<D>(driver: fn() -> io::Result<D>)
where
    D: Driver<Stream = OwnedFd, Listener = TcpListener>,
{
    let mut driver = driver().expect("there are descriptors left");
    let any_port = "127.0.0.1:0".parse().expect("it is an address");
    let listener = sys::listen(any_port).expect("port 0 can always be listened on");
    let address = listener.local_addr().expect("it is bound");
    let listener = driver.listen(listener).expect("it can be watched");
    driver.accept(listener);
    let mut peer = TcpStream::connect(address).expect("it listens");
    peer.set_nodelay(true).expect("it is open");
    accept(&mut driver);
    // All is there before the first receive.
    peer.write_all(b"one").expect("it is open");
    rustix::net::send(&peer, b"!", SendFlags::OOB).expect("it is open");
    peer.write_all(b"two").expect("it is open");
    let start = Instant::now();
    driver.receive(token(0));
    let mut bytes = Vec::new();
    while bytes.len() < 7 && start.elapsed() < DEADLINE {
        driver.wait(Some(Duration::from_millis(50)), &mut Vec::new()).expect("the driver works");
        while let Some(completion) = driver.next() {
            if let Completion::Received { bytes: more, .. } = completion {
                bytes.extend_from_slice(more);
            }
        }
    }
    assert_eq!(bytes, b"one!two");
    // A connection that has become quiet is looked at again after a second.
    assert!(start.elapsed() < Duration::from_millis(500), "after {:?}", start.elapsed());
}

/// Attaches the first connection that comes.
fn accept(driver: &mut impl Driver<Stream = OwnedFd>) {
    loop {
        driver.wait(Some(DEADLINE), &mut Vec::new()).expect("the driver works");
        let mut accepted = None;
        while let Some(completion) = driver.next() {
            if let Completion::Accepted { stream, .. } = completion {
                accepted = Some(stream);
            }
        }
        if let Some(stream) = accepted {
            return driver.attach(token(0), stream).expect("it can be watched");
        }
    }
}
