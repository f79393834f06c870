//! Connections that have become quiet: they are polled in place of received from, which takes 256 bytes
//! of kernel memory in place of 864.

use std::{io, time::Duration};

use super::{
    Ring,
    socket::{Flow, Operation},
    sockets::Sockets,
};

/// A connection from which nothing came for this long, or up to twice as long, is polled.
const QUIET_AFTER: Duration = Duration::from_secs(1);

/// How many connections a pass begins to poll: each takes three operations of the ring.
const QUIET_PER_PASS: usize = 64;

impl Sockets {
    /// When the next look for quiet connections is.
    pub(super) fn next_look(&self) -> Option<Duration> {
        if self.quiet.is_empty() { self.look } else { Some(Duration::ZERO) }
    }

    /// Looks, now and then, for connections that have become quiet, and polls some of them in each
    /// pass.
    pub(super) fn look_for_quiet(&mut self, now: Duration, ring: &mut Ring) -> io::Result<()> {
        if !self.look.map_or(self.busy.is_empty(), |look| now < look) {
            self.find_quiet(now);
        }
        for _ in 0..QUIET_PER_PASS {
            let Some(token) = self.quiet.pop() else { break };
            let Some(socket) = self.open(token) else { continue };
            match (socket.operation, socket.flow) {
                (Operation::Receive, Flow::Quiet) => socket.disarm(token, ring)?,
                // Something has come meanwhile.
                (Operation::Receive, _) => self.note_busy(token),
                _ => {}
            }
        }
        Ok(())
    }

    fn find_quiet(&mut self, now: Duration) {
        let mut busy = std::mem::take(&mut self.busy);
        let mut quiet = std::mem::take(&mut self.quiet);
        busy.retain(|&token| {
            let Some(socket) = self.open(token) else { return false };
            let is_received_from = socket.operation == Operation::Receive;
            let was_quiet = socket.flow == Flow::Quiet;
            if is_received_from {
                socket.flow = Flow::Quiet;
            }
            if was_quiet && is_received_from {
                quiet.push(token);
            }
            socket.is_busy = is_received_from && !was_quiet;
            socket.is_busy
        });
        self.busy = busy;
        self.quiet = quiet;
        self.look = (!self.busy.is_empty()).then(|| now + QUIET_AFTER);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::io::{Token, uring::setup::UringFeatures};

    const TOKEN: Token = Token { index: 0, generation: 1 };

    /// Cost only: a connection that is looked at too often would be polled between any two messages.
    #[test]
    fn quiet_connections_are_looked_for_once_a_second() {
        let mut ring = Ring::new(UringFeatures::ALL).expect("the tests need io_uring");
        let (near, _far) = UnixStream::pair().unwrap();
        let mut sockets = Sockets::default();
        sockets.add(TOKEN, near.into());
        sockets.receive(TOKEN, &mut ring).unwrap();
        let start = Duration::from_secs(7);
        sockets.look_for_quiet(start, &mut ring).unwrap();
        assert_eq!(sockets.next_look(), Some(start + QUIET_AFTER));
        for early in [Duration::ZERO, QUIET_AFTER - Duration::from_nanos(1)] {
            sockets.look_for_quiet(start + early, &mut ring).unwrap();
            assert_eq!(sockets.next_look(), Some(start + QUIET_AFTER));
            assert_eq!(sockets.open(TOKEN).unwrap().operation, Operation::Receive);
        }
        sockets.look_for_quiet(start + QUIET_AFTER, &mut ring).unwrap();
        assert_eq!(sockets.open(TOKEN).unwrap().operation, Operation::Cancelled);
        assert_eq!(sockets.next_look(), None, "there is no other connection");
    }

    /// All of them in one pass would keep others waiting.
    #[test]
    fn a_pass_polls_only_some_of_the_quiet_connections_and_none_that_has_said_something() {
        const COUNT: usize = QUIET_PER_PASS * 2 + 10;
        let mut ring = Ring::new(UringFeatures::ALL).expect("the tests need io_uring");
        let mut sockets = Sockets::default();
        let tokens = (0..COUNT as u32).map(|index| Token { index, generation: 1 });
        let _peers: Vec<UnixStream> = tokens
            .clone()
            .map(|token| {
                let (near, far) = UnixStream::pair().unwrap();
                sockets.add(token, near.into());
                sockets.receive(token, &mut ring).unwrap();
                far
            })
            .collect();
        let polled = |sockets: &mut Sockets| {
            let mut tokens = tokens.clone();
            let mut is_polled =
                |token| sockets.open(token).unwrap().operation != Operation::Receive;
            tokens.by_ref().filter(|&token| is_polled(token)).count()
        };
        let start = Duration::from_secs(7);
        sockets.look_for_quiet(start, &mut ring).unwrap();
        sockets.look_for_quiet(start + QUIET_AFTER, &mut ring).unwrap();
        assert_eq!(polled(&mut sockets), QUIET_PER_PASS);
        assert_eq!(sockets.next_look(), Some(Duration::ZERO));
        let last = *sockets.quiet.first().unwrap();
        sockets.open(last).unwrap().flow = Flow::Steady;
        for passes in 2..=3 {
            sockets.look_for_quiet(start + QUIET_AFTER, &mut ring).unwrap();
            assert_eq!(polled(&mut sockets), (QUIET_PER_PASS * passes).min(COUNT - 1));
        }
        assert!(sockets.busy == [last] && sockets.open(last).unwrap().is_busy);
    }
}
