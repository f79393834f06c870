//! Connections that send long messages: the kernel keeps more of their output than of others'.
//!
//! `TCP_NOTSENT_LOWAT` bounds what the kernel keeps for a peer that does not read. It also cuts long
//! sends into many, which cost 1.3 times as much at 1 MiB (docs/BENCHMARKING.md). So some connections
//! at a time have a higher bound: those that sent a long message last. What the kernel keeps beyond
//! the bound of all is at most [`CONNECTIONS`] times [`UNSENT_BYTES`] for each driver.

use std::{io, os::fd::OwnedFd};

use socket2::SockRef;

use super::{Token, rest::Rest, sys};

/// Shorter sends are cut into few.
const LONG_BYTES: usize = 256 << 10;

/// What the kernel may keep unsent of a connection that sends long messages.
const UNSENT_BYTES: u32 = 1 << 20;

/// How many connections have the higher bound at a time.
const CONNECTIONS: usize = 32;

/// The connections that have the higher bound.
#[derive(Debug, Default)]
pub(super) struct LongSends {
    raised: Vec<Raised>,
    /// The place of the one that is next to have its own bound again.
    next: usize,
}

#[derive(Debug)]
struct Raised {
    token: Token,
    /// The bound that it had before, in bytes.
    unsent_bytes: u32,
}

impl LongSends {
    /// Sends `head` and behind it `bytes`, with the higher bound if they are long; `socket` returns the
    /// socket of a connection that there is. Returns what the kernel has not taken: nothing, if the
    /// connection is gone.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub(super) fn send<'s>(
        &mut self,
        token: Token,
        head: &[u8],
        bytes: Vec<u8>,
        socket: impl Fn(Token) -> Option<&'s OwnedFd>,
    ) -> io::Result<Rest> {
        let Some(fd) = socket(token) else {
            let all = bytes.len();
            return Ok(Rest::of(&[], bytes, all));
        };
        self.begin(token, head.len() + bytes.len(), socket);
        let taken = sys::send_parts(fd, [head, &bytes])?;
        Ok(Rest::of(head, bytes, taken))
    }

    /// A connection is about to send so many bytes; `socket` returns the socket of a connection that
    /// there is. Raises the connection's bound if it is long and there is a place, or one that another
    /// connection does not need: its peer has taken what it was sent.
    #[inline]
    fn begin<'s>(
        &mut self,
        token: Token,
        bytes: usize,
        socket: impl Fn(Token) -> Option<&'s OwnedFd>,
    ) {
        if bytes >= LONG_BYTES {
            self.raise(token, socket);
        }
    }

    #[inline(never)]
    fn raise<'s>(&mut self, token: Token, socket: impl Fn(Token) -> Option<&'s OwnedFd>) {
        if self.raised.iter().any(|raised| raised.token == token) {
            return;
        }
        let Some(fd) = socket(token) else { return };
        // Only TCP has it; zero and the largest number stand for no bound.
        let unsent_bytes = SockRef::from(fd).tcp_notsent_lowat().unwrap_or(0);
        if unsent_bytes == 0 || unsent_bytes >= UNSENT_BYTES || !self.make_place(socket) {
            return;
        }
        if SockRef::from(fd).set_tcp_notsent_lowat(UNSENT_BYTES).is_ok() {
            self.raised.push(Raised { token, unsent_bytes });
        }
    }

    /// Whether there is a place, after one was taken from a connection if need be.
    fn make_place<'s>(&mut self, socket: impl Fn(Token) -> Option<&'s OwnedFd>) -> bool {
        if self.raised.len() < CONNECTIONS {
            return true;
        }
        self.next = (self.next + 1) % CONNECTIONS;
        let Raised { token, unsent_bytes } = self.raised[self.next];
        if let Some(fd) = socket(token) {
            let progress = sys::output_progress(fd);
            let needs = progress.is_some_and(|p| p.outstanding_bytes > unsent_bytes as usize);
            if needs || SockRef::from(fd).set_tcp_notsent_lowat(unsent_bytes).is_err() {
                return false;
            }
        }
        self.raised.swap_remove(self.next);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        net::{TcpListener, TcpStream},
    };

    use super::*;

    const BOUND: u32 = 128 << 10;

    /// Connections with a bound, and their peers.
    struct Bench {
        sockets: Vec<OwnedFd>,
        peers: Vec<TcpStream>,
        sends: LongSends,
    }

    impl Bench {
        fn new(count: usize) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let (mut sockets, mut peers) = (Vec::new(), Vec::new());
            for _ in 0..count {
                peers.push(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
                let (socket, _) = listener.accept().unwrap();
                SockRef::from(&socket).set_tcp_notsent_lowat(BOUND).unwrap();
                sockets.push(OwnedFd::from(socket));
            }
            Self { sockets, peers, sends: LongSends::default() }
        }

        fn begin(&mut self, index: usize, bytes: usize) {
            let token = Token { index: index as u32, generation: 1 };
            self.sends.begin(token, bytes, |token| self.sockets.get(token.index as usize));
        }

        fn bound(&self, index: usize) -> u32 {
            SockRef::from(&self.sockets[index]).tcp_notsent_lowat().unwrap()
        }
    }

    #[test]
    fn a_connection_has_the_higher_bound_when_it_sends_a_long_message() {
        let mut bench = Bench::new(1);
        bench.begin(0, LONG_BYTES - 1);
        assert_eq!(bench.bound(0), BOUND);
        bench.begin(0, LONG_BYTES);
        assert_eq!(bench.bound(0), UNSENT_BYTES);
        let chosen = 4 << 20;
        SockRef::from(&bench.sockets[0]).set_tcp_notsent_lowat(chosen).unwrap();
        bench.sends = LongSends::default();
        bench.begin(0, LONG_BYTES);
        assert_eq!(bench.bound(0), chosen, "a bound that is higher stays");
    }

    #[test]
    fn so_many_have_it_at_a_time_and_a_place_is_taken_only_from_those_that_need_it_no_more() {
        let mut bench = Bench::new(CONNECTIONS + 2);
        (0..CONNECTIONS).for_each(|index| bench.begin(index, LONG_BYTES));
        assert!((0..CONNECTIONS).all(|index| bench.bound(index) == UNSENT_BYTES));
        // Every peer but one leaves what it is sent.
        let message = vec![0; 2 * BOUND as usize];
        let mut streams: Vec<TcpStream> =
            bench.sockets.iter().map(|fd| fd.try_clone().unwrap().into()).collect();
        for index in (0..CONNECTIONS).filter(|index| *index != 5) {
            SockRef::from(&bench.peers[index]).set_recv_buffer_size(4096).unwrap();
            streams[index].set_nonblocking(true).unwrap();
            while streams[index].write(&message).is_ok() {}
        }
        (0..CONNECTIONS).for_each(|_| bench.begin(CONNECTIONS, LONG_BYTES));
        assert_eq!(bench.bound(CONNECTIONS), UNSENT_BYTES);
        assert_eq!(bench.bound(5), BOUND, "its peer waits for nothing");
        (0..CONNECTIONS).for_each(|_| bench.begin(CONNECTIONS + 1, LONG_BYTES));
        let raised = (0..CONNECTIONS + 2).filter(|&index| bench.bound(index) == UNSENT_BYTES);
        assert_eq!(raised.count(), CONNECTIONS);
    }

    #[test]
    fn the_place_of_a_connection_that_is_gone_is_free() {
        let mut bench = Bench::new(CONNECTIONS + 1);
        (0..CONNECTIONS).for_each(|index| bench.begin(index, LONG_BYTES));
        let place = bench.sends.next + 1;
        bench.sends.raised[place].token.index = u32::MAX;
        bench.begin(CONNECTIONS, LONG_BYTES);
        assert_eq!(bench.bound(CONNECTIONS), UNSENT_BYTES);
    }
}
