//! Whether io_uring does here what the driver relies on. Kernels differ, and some have had faults
//! in just these operations; a few microseconds at the start are better than lost bytes later.

use std::{io, os::fd::OwnedFd, time::Duration};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair, sockopt};

use super::driver::Uring;
use crate::io::{Completion, Driver, SendBatch, Token};

const FROM: Token = Token { index: 0, generation: 1 };
const TO: Token = Token { index: 1, generation: 2 };

/// More than the sockets take.
const BYTES: usize = 100_000;

/// How often that is sent: more than all buffers hold. Their memory is taken now, so that no peer
/// makes the process grow by it.
const TIMES: usize = 12;

/// How long a kernel may take that does not lose anything.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sends a batch through a pair of sockets: first a little, then more than they take at once.
///
/// # Errors
///
/// `Unsupported` if what arrives is not what was sent.
pub(super) fn prove(driver: &mut Uring) -> io::Result<()> {
    let (from, to) = pair()?;
    driver.attach(FROM, from)?;
    driver.attach(TO, to)?;
    driver.receive(TO);
    let few: Vec<u8> = (0..100).collect();
    let many: Vec<u8> = (0..BYTES).map(|number| (number % 251) as u8).collect();
    for bytes in [&few, &few].into_iter().chain([&many; TIMES]) {
        if send(driver, bytes)? != *bytes {
            return Err(wrong());
        }
    }
    if close(driver)? { Ok(()) } else { Err(wrong()) }
}

fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (family, kind) = (AddressFamily::UNIX, SocketType::STREAM);
    let (from, to) = socketpair(family, kind, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_send_buffer_size(&from, 16 << 10)?;
    Ok((from, to))
}

/// Sends bytes as a batch and returns what arrives. What the batch has left must be known when
/// the wait is over.
fn send(driver: &mut Uring, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut batch = SendBatch::default();
    batch.bytes.extend_from_slice(bytes);
    batch.push(FROM, 0);
    driver.flush(&mut batch, |_| {});
    let start = driver.now();
    let (mut received, mut unsent, mut left) = (Vec::new(), Vec::new(), None);
    let mut has_sent = false;
    while received.len() < bytes.len() && driver.now() - start < PATIENCE {
        driver.wait(Some(PATIENCE), &mut unsent)?;
        for one in unsent.drain(..) {
            left = Some(one.result?);
        }
        while let Some(completion) = driver.next() {
            match completion {
                Completion::Received { bytes, .. } => received.extend_from_slice(bytes),
                Completion::Sent { result, .. } => {
                    result?;
                    has_sent = true;
                }
                _ => {}
            }
        }
    }
    // A short send is a failed one, and tells how much was taken.
    let was_short = bytes.len() == BYTES;
    let is_told = left.is_some_and(|left| 0 < left && left < bytes.len());
    if (was_short && is_told && has_sent) || (!was_short && left.is_none()) {
        Ok(received)
    } else {
        Err(wrong())
    }
}

/// Closes both ends; whether that is confirmed.
fn close(driver: &mut Uring) -> io::Result<bool> {
    driver.close(FROM);
    driver.close(TO);
    let start = driver.now();
    let mut closed = 0;
    while closed < 2 && driver.now() - start < PATIENCE {
        driver.wait(Some(PATIENCE), &mut Vec::new())?;
        while let Some(completion) = driver.next() {
            closed += usize::from(matches!(completion, Completion::Closed { .. }));
        }
    }
    Ok(closed == 2)
}

fn wrong() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "this kernel's io_uring does not work as it should")
}
