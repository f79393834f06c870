//! A connection that is watched: its bytes are reported, and received by its owner.

use std::{
    io::{self, Write},
    net::Shutdown,
    os::fd::OwnedFd,
    time::Duration,
};

use wireloop::io::{Completion, Driver};

use crate::{
    attach_one,
    support::{drivers, on_driver},
    token,
};

/// What a connection has brought.
#[derive(Debug, Default)]
struct Brought {
    bytes: Vec<u8>,
    /// How much of it the driver has received.
    received: usize,
    has_ended: bool,
}

/// Makes a pass; what is readable is received in parts of at most so many bytes.
fn pass<D: Driver<Stream = OwnedFd>>(driver: &mut D, most: usize, brought: &mut Brought) -> usize {
    driver.wait(Some(Duration::from_millis(50)), &mut Vec::new()).expect("the driver works");
    let mut reported = Vec::new();
    while let Some(completion) = driver.next() {
        match completion {
            Completion::Received { bytes, .. } => {
                brought.bytes.extend_from_slice(bytes);
                brought.received += bytes.len();
            }
            Completion::Readable { token } => {
                reported.push(token);
                let before = brought.bytes.len();
                brought.bytes.reserve(2 * most);
                let count = driver.receive_to(token, &mut brought.bytes, most);
                assert_eq!(brought.bytes.len() - before, count);
                assert!(count <= most, "{count} bytes, where {most} were to be received");
            }
            Completion::ReceiveEnded { result, .. } => {
                result.expect("the peer has ended in good order");
                brought.has_ended = true;
            }
            _ => {}
        }
    }
    reported.len()
}

/// Makes passes until this is so.
fn until<D: Driver<Stream = OwnedFd>>(
    driver: &mut D,
    most: usize,
    brought: &mut Brought,
    is_so: impl Fn(&Brought) -> bool,
) {
    for _ in 0..400 {
        if is_so(brought) {
            return;
        }
        pass(driver, most, brought);
    }
    panic!("it does not come: {} bytes", brought.bytes.len());
}

#[test]
fn bytes_are_received_in_order_whichever_way_the_owner_chooses() {
    drivers().for_each(|kind| on_driver!(kind, check_order));
}

fn check_order<D: Driver<Stream = OwnedFd>>(driver: fn() -> io::Result<D>) {
    let mut driver = driver().expect("there are descriptors left");
    let mut far = attach_one(&mut driver, 0);
    let payload: Vec<u8> = (0..600_000_usize).map(|place| (place / 3 % 251) as u8).collect();
    let written = payload.clone();
    let writing = std::thread::spawn(move || {
        far.write_all(&written).expect("the driver goes on receiving");
        far.shutdown(Shutdown::Write).expect("it is open");
        far
    });
    let mut brought = Brought::default();
    for number in 0..60 {
        if number % 2 == 0 {
            driver.watch(token(0));
        } else {
            driver.receive(token(0));
        }
        pass(&mut driver, 7000, &mut brought);
    }
    until(&mut driver, 7000, &mut brought, |brought| brought.has_ended);
    assert!(brought.bytes == payload, "{} bytes", brought.bytes.len());
    assert!(brought.received > 0 && brought.received < payload.len(), "{}", brought.received);
    writing.join().expect("everything is written");
}

#[test]
fn what_is_not_received_is_reported_again_and_nothing_while_it_is_paused() {
    drivers().for_each(|kind| on_driver!(kind, check_reports));
}

fn check_reports<D: Driver<Stream = OwnedFd>>(driver: fn() -> io::Result<D>) {
    let mut driver = driver().expect("there are descriptors left");
    let mut far = attach_one(&mut driver, 0);
    let mut brought = Brought::default();
    driver.watch(token(0));
    assert_eq!(pass(&mut driver, 10, &mut brought), 0, "nothing has come");
    far.write_all(b"abcdefghij").expect("it is open");
    until(&mut driver, 4, &mut brought, |brought| brought.bytes.len() == 4);
    driver.pause_receive(token(0));
    for _ in 0..3 {
        assert_eq!(pass(&mut driver, 4, &mut brought), 0, "it is paused");
    }
    driver.watch(token(0));
    until(&mut driver, 4, &mut brought, |brought| brought.bytes.len() == 10);
    assert_eq!(brought.bytes, b"abcdefghij");
    drop(far);
    until(&mut driver, 4, &mut brought, |brought| brought.has_ended);
    assert_eq!(brought.received, 0);
}
