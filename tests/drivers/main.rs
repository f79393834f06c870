//! What a server's connections do not show by themselves: the drivers, each by itself, with
//! nothing but sockets.

#[path = "../support/mod.rs"]
mod support;

mod batches;
mod catching_up;
mod full_pass;
mod many_failures;
mod older_kernels;
mod second_send;
mod two_batches;
mod urgent_data;
mod watching;

use std::os::{fd::OwnedFd, unix::net::UnixStream};

use wireloop::io::{Driver, Token};

/// The token of the connection in this place.
fn token(index: u32) -> Token {
    Token { index, generation: 1 }
}

/// Lets a driver look after one end of a connection, in this place; the other end.
fn attach_one(driver: &mut impl Driver<Stream = OwnedFd>, index: u32) -> UnixStream {
    let (near, far) = UnixStream::pair().expect("there are descriptors left");
    near.set_nonblocking(true).expect("it is open");
    driver.attach(token(index), near.into()).expect("it can be watched");
    far
}
