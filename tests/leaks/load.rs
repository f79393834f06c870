//! The load: many connections at a time, each followed by another when it ends, on one thread.

use std::net::SocketAddr;

use fastrand::Rng;
use mio::{Events, Interest, Poll, Token};

use super::{
    peer::{End, Peer, Turn},
    support::DEADLINE,
};

/// What a load has done.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) connections: u32,
    /// Messages that came back, byte for byte.
    pub(crate) messages: u64,
    pub(crate) closed: u32,
    pub(crate) half_closed: u32,
    pub(crate) resets: u32,
    /// How often the server, or the kernel, did not take what it was sent.
    pub(crate) blocked: u64,
}

/// The connections.
struct Load {
    poll: Poll,
    server: SocketAddr,
    rng: Rng,
    peers: Vec<Option<Peer>>,
    /// Those that have something to do.
    due: Vec<usize>,
    figures: Figures,
}

/// Echoes this many messages with this many connections at a time. What it does follows from the
/// seed, but for the kernel's timing.
pub(crate) fn run(server: SocketAddr, seed: u64, messages: u64, connections: usize) -> Figures {
    let mut load = Load {
        poll: Poll::new().expect("there is a descriptor left"),
        server,
        rng: Rng::with_seed(seed),
        peers: Vec::new(),
        due: Vec::new(),
        figures: Figures::default(),
    };
    load.peers.resize_with(connections, || None);
    for place in 0..connections {
        load.connect(place);
    }
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; 64 << 10];
    while load.peers.iter().any(Option::is_some) {
        load.take_events(&mut events);
        for place in std::mem::take(&mut load.due) {
            load.turn(place, &mut buffer, messages);
        }
    }
    load.figures
}

impl Load {
    fn connect(&mut self, place: usize) {
        let mut peer = Peer::new(self.figures.connections, &mut self.rng, self.server);
        self.figures.connections += 1;
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        registry.register(&mut peer.stream, Token(place), interest).expect("it can be watched");
        self.peers[place] = Some(peer);
    }

    fn take_events(&mut self, events: &mut Events) {
        let timeout = if self.due.is_empty() { DEADLINE } else { Default::default() };
        self.poll.poll(events, Some(timeout)).expect("epoll works");
        if self.due.is_empty() && events.is_empty() {
            let open: Vec<_> = self.peers.iter().flatten().take(5).collect();
            panic!("the server does nothing any more, among others for {open:#?}");
        }
        for event in events.iter() {
            let Some(peer) = &mut self.peers[event.token().0] else { continue };
            peer.is_readable |= event.is_readable();
            peer.is_writable |= event.is_writable();
            self.due.push(event.token().0);
        }
    }

    fn turn(&mut self, place: usize, buffer: &mut [u8], messages: u64) {
        let Some(peer) = &mut self.peers[place] else { return };
        let answered = peer.answered;
        let turn = peer.turn(buffer);
        self.figures.messages += u64::from(peer.answered - answered);
        let is_last = self.figures.messages >= messages;
        if is_last {
            peer.finish();
        }
        match turn {
            Turn::Waits => {}
            Turn::GoesOn => self.due.push(place),
            Turn::Ended(end) => {
                self.figures.blocked += u64::from(peer.blocked);
                match end {
                    End::Closed => self.figures.closed += 1,
                    End::HalfClosed => self.figures.half_closed += 1,
                    End::Reset => self.figures.resets += 1,
                }
                self.peers[place] = None;
                if !is_last {
                    self.connect(place);
                }
            }
        }
    }
}
