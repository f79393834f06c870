//! A connection has one send in flight. Whoever begins another one has made a mistake, which must
//! be told: the io_uring driver freed the bytes of the first while the kernel still read them.

use std::{io, time::Duration};

use wireloop::{
    DriverKind,
    io::{Driver, Uring},
};

use crate::{attach_one, support::drivers, token};

#[test]
fn a_second_send_is_refused() {
    if !drivers().any(|kind| kind == DriverKind::IoUring) {
        return;
    }
    let mut driver = Uring::new().expect("there are descriptors left");
    let _far = attach_one(&mut driver, 0);
    for byte in [1, 2] {
        // More than a pair of sockets takes.
        driver.send(token(0), vec![byte; 8 << 20]);
    }
    let error =
        driver.wait(Some(Duration::ZERO), &mut Vec::new()).expect_err("there is one in flight");
    assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
}
