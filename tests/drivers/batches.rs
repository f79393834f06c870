//! Batches of sends have numbers by which a connection knows whether the present one has output of
//! it. The io_uring driver gave two of them the same number: a load generator sent late, and a server
//! sent in two steps.

use std::{
    io::{self, Read},
    os::fd::OwnedFd,
    time::Duration,
};

use wireloop::io::{Driver, Outbox, SendState, SendStates, Token};

use crate::{
    attach_one,
    support::{drivers, on_driver},
    token,
};

#[test]
fn a_connection_is_free_to_send_in_each_batch() {
    drivers().for_each(|kind| on_driver!(kind, check));
}

/// The only connection there is.
struct One(SendState);

impl SendStates for One {
    fn send_state(&mut self, _: Token) -> Option<&mut SendState> {
        Some(&mut self.0)
    }
}

pub(crate) fn check<D: Driver<Stream = OwnedFd>>(driver: fn() -> io::Result<D>) {
    let mut driver = driver().expect("there are descriptors left");
    let mut far = attach_one(&mut driver, 0);
    let mut outbox = Outbox::default();
    let mut one = One(SendState::default());
    for pass in 0..20_u8 {
        assert!(outbox.is_free(&one.0), "pass {pass}");
        // Not all passes have output.
        if pass % 5 != 3 {
            outbox.begin(token(0), &one.0);
            outbox.buffer().push(pass);
            outbox.submit(&mut one.0);
        }
        outbox.flush(&mut driver, |_| {});
        outbox.wait(&mut driver, Some(Duration::ZERO), &mut one).expect("the driver works");
        assert!(outbox.next_result().is_none() && one.0.is_idle());
    }
    let mut bytes = [0; 16];
    far.read_exact(&mut bytes).expect("it was sent");
    assert!(bytes.into_iter().eq((0..20).filter(|pass| pass % 5 != 3)), "{bytes:?}");
}
