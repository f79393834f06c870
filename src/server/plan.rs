//! What the workers of a server have in common, and the life of each.

use std::{io, net::TcpListener, os::fd::OwnedFd, sync::Arc, thread};

use super::{
    Stopper, balance::Balance, gate::Gate, placement::Placement, refusing::Room, worker::Worker,
};
use crate::{
    Config,
    conn::Inbox,
    io::{Driver, sys},
    session::Routes,
};

/// What the workers have in common.
pub(super) struct Plan {
    pub(super) routes: Arc<Routes>,
    pub(super) config: Arc<Config>,
    pub(super) room: Room,
    pub(super) balance: Arc<Balance<OwnedFd>>,
    pub(super) gate: Gate,
    pub(super) stopper: Stopper,
    pub(super) placement: Placement,
}

impl Plan {
    /// Runs a worker for each set of listeners, until all have ended.
    pub(super) fn run(
        &self,
        listeners: Vec<Vec<TcpListener>>,
        work: impl Fn(usize, Vec<TcpListener>) -> io::Result<()> + Sync,
    ) -> io::Result<()> {
        let work = &work;
        thread::scope(|scope| {
            let spawn = |(number, listeners)| {
                thread::Builder::new()
                    .name(format!("worker {number}"))
                    .spawn_scoped(scope, move || work(number, listeners))
                    .inspect_err(|_| drop(EndsOthers(self)))
            };
            let threads: Vec<_> = listeners.into_iter().enumerate().map(spawn).collect();
            threads.into_iter().try_for_each(|thread| {
                thread?.join().unwrap_or_else(|_| Err(io::Error::other("a worker panicked")))
            })
        })
    }

    /// The life of one worker. However it ends, the others end too: a server that listens and
    /// does not serve would be worse than none. None accepts before all have what they need.
    pub(super) fn work<D: Driver<Listener = TcpListener, Stream = OwnedFd>>(
        &self,
        number: usize,
        listeners: Vec<TcpListener>,
        driver: impl FnOnce(usize) -> io::Result<D>,
    ) -> io::Result<()> {
        let _ends_others = EndsOthers(self);
        if let Some(processor) = self.placement.processor(number)
            && let Err(error) = sys::pin_thread(processor)
        {
            tracing::warn!(%error, processor, "a worker is not pinned");
        }
        let driver = driver(self.config.receive_bytes)?;
        let inbox = Arc::new(Inbox::new(driver.waker()));
        let seat = self.balance.seat(number, driver.waker());
        let mut worker = Worker::with_others(
            driver,
            Arc::clone(&self.routes) as _,
            Arc::clone(&self.config),
            Arc::clone(&inbox),
            self.room.clone(),
            Some(seat),
            listeners,
        )?;
        self.stopper.register(inbox);
        if !self.gate.arrive() {
            // The one that failed returns why.
            return Ok(());
        }
        worker.accept();
        worker.run()
    }
}

/// Ends the other workers when it is dropped, those that wait at the gate as well.
struct EndsOthers<'a>(&'a Plan);

impl Drop for EndsOthers<'_> {
    fn drop(&mut self) {
        self.0.gate.fail();
        self.0.stopper.stop();
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, net::TcpStream, time::Duration};

    use super::*;
    use crate::{
        io::Epoll,
        server::{Pin, listeners::Listeners},
    };

    /// The first workers used to accept while the last one found no descriptor and ended the server.
    #[test]
    fn no_worker_accepts_before_the_last_one_has_its_driver() {
        let plan = Plan {
            routes: Arc::default(),
            config: Arc::default(),
            room: Room::new(&Config::default()),
            balance: Arc::new(Balance::new(2)),
            gate: Gate::new(2),
            stopper: Stopper::default(),
            placement: Placement::new(Some(2), Pin::Off),
        };
        let mut listeners = Listeners::default();
        listeners.add(&[([127, 0, 0, 1], 0).into()], false).unwrap();
        let address = listeners.addresses().next().unwrap();
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
        client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        // Worker 1 could serve the client.
        let mut listeners = listeners.per_worker(1).unwrap();
        listeners.insert(0, Vec::new());
        let client = &client;
        let result = plan.run(listeners, |number, listeners| {
            plan.work(number, listeners, |_| match number {
                1 => Epoll::new(),
                _ => {
                    // That nothing comes takes time to see.
                    let mut byte = [0];
                    let error = client.peek(&mut byte).unwrap_err();
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                    Err(io::ErrorKind::OutOfMemory.into())
                }
            })
        });
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::OutOfMemory);
    }
}
