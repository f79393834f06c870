//! What the workers of a server have in common, and the life of each.

use std::{
    io,
    net::TcpListener,
    os::fd::OwnedFd,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::Instant,
};

#[cfg(test)]
mod faulty;

use super::{
    DriverKind, Stopper,
    addresses::Addresses,
    balance::Balance,
    budget,
    gate::Gate,
    limits::Limits,
    placement::Placement,
    refusing::Room,
    restarting::{Failed, Restarts, Start},
    worker::{Part, Worker},
};
use crate::{
    Config,
    conn::{Counters, Inbox, Memory},
    io::{Driver, sys},
    session::Routes,
};

/// What the workers have in common.
pub(super) struct Plan {
    /// How much the connections of one worker may hold, in bytes.
    pub(super) worker_memory_bytes: usize,
    pub(super) counters: Counters,
    pub(super) addresses: Option<Addresses>,
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

    /// The life of one worker, which `serve` makes [serve](Self::serve) with a driver of a kind. If
    /// it fails when it has begun to, it starts again, and the others know nothing of it. However it
    /// ends, the others end too: a server that listens and does not serve would be worse than none.
    pub(super) fn work(
        &self,
        number: usize,
        listeners: Vec<TcpListener>,
        driver: DriverKind,
        serve: impl Fn(DriverKind, Start) -> Result<(), Failed>,
    ) -> io::Result<()> {
        let _ends_others = EndsOthers(self);
        self.pin(number);
        let mut restarts = Restarts::new(driver);
        let mut start = Start { number, listeners, is_first: true };
        loop {
            let is_first = start.is_first;
            let Err(failed) = serve(restarts.driver(), start) else { return Ok(()) };
            if is_first && failed.began.is_none() {
                return Err(failed.error);
            }
            let (error, connections) = (&failed.error, failed.connections);
            if !restarts.goes_on(failed.served()) {
                tracing::error!(worker = number, %error, connections, "a worker failed again");
                return Err(failed.error);
            }
            tracing::error!(
                worker = number, %error, connections,
                "a worker failed, and its connections are lost: it starts again with {}",
                restarts.driver()
            );
            start = Start { number, listeners: failed.listeners, is_first: false };
        }
    }

    fn pin(&self, number: usize) {
        if let Some(processor) = self.placement.processor(number)
            && let Err(error) = sys::pin_thread(processor)
        {
            tracing::warn!(%error, processor, "a worker is not pinned");
        }
    }

    /// Serves with one driver, until the server is stopped or the driver fails. No worker accepts
    /// before all have what they need.
    pub(super) fn serve<D: Driver<Listener = TcpListener, Stream = OwnedFd>>(
        &self,
        start: Start,
        driver: impl FnOnce(usize) -> io::Result<D>,
    ) -> Result<(), Failed> {
        let Start { number, listeners, is_first } = start;
        // Sockets that a driver does not take are closed.
        let copies = match copies(&listeners, is_first) {
            Ok(copies) => copies,
            Err(error) => return Err(Failed::to_start(error, listeners)),
        };
        let driver = match driver(self.config.receive_bytes) {
            Ok(driver) => driver,
            Err(error) => return Err(Failed::to_start(error, listeners)),
        };
        let mut worker = match self.worker(number, driver, listeners) {
            Ok(worker) => worker,
            Err(error) => return Err(Failed::to_start(error, copies)),
        };
        drop(copies);
        if is_first && !self.gate.arrive() {
            // The one that failed returns why.
            return Ok(());
        }
        worker.accept();
        let began = Some(Instant::now());
        let result = catch_unwind(AssertUnwindSafe(|| worker.run()));
        let Err(error) = result.unwrap_or_else(|_| Err(io::Error::other("it panicked"))) else {
            return Ok(());
        };
        let listeners = worker.driver().take_listeners();
        let connections = worker.connections();
        // What a session owns is the application's, and may panic.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(worker)));
        Err(Failed { error, listeners, connections, began })
    }

    /// A worker that can be stopped and handed connections.
    fn worker<D: Driver<Listener = TcpListener, Stream = OwnedFd>>(
        &self,
        number: usize,
        driver: D,
        listeners: Vec<TcpListener>,
    ) -> io::Result<Worker<D>> {
        let (memory_bytes, inbox_bytes) = budget::divide(self.worker_memory_bytes);
        let inbox = Arc::new(Inbox::new(driver.waker(), inbox_bytes));
        let seat = self.balance.seat(number, driver.waker());
        let part = Part {
            application: Arc::clone(&self.routes) as _,
            config: Arc::clone(&self.config),
            inbox: Arc::clone(&inbox),
            room: self.room.clone(),
            memory: Memory::new(memory_bytes, self.counters.clone()),
            limits: Limits::new(&self.config, self.placement.workers, self.addresses.clone()),
            seat: Some(seat),
        };
        let worker = Worker::of_server(driver, part, listeners)?;
        self.stopper.register(inbox);
        Ok(worker)
    }
}

/// Copies of the sockets, with which a worker that starts again may try once more.
fn copies(listeners: &[TcpListener], is_first: bool) -> io::Result<Vec<TcpListener>> {
    let wanted = if is_first { &[] } else { listeners };
    wanted.iter().map(TcpListener::try_clone).collect()
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

    impl Plan {
        /// A plan for so many workers that serve nothing.
        pub(in crate::server) fn sample(config: Config, workers: usize) -> Self {
            Self {
                worker_memory_bytes: 1 << 20,
                counters: Counters::default(),
                addresses: None,
                routes: Arc::default(),
                room: Room::new(&config),
                config: Arc::new(config),
                balance: Arc::new(Balance::new(workers)),
                gate: Gate::new(workers),
                stopper: Stopper::default(),
                placement: Placement::new(Some(workers), Pin::Off),
            }
        }
    }

    /// The first workers used to accept while the last one found no descriptor and ended the server.
    #[test]
    fn no_worker_accepts_before_the_last_one_has_its_driver() {
        let plan = Plan::sample(Config::default(), 2);
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
            let driver = |_| match number {
                1 => Epoll::new(),
                _ => {
                    // That nothing comes takes time to see.
                    let mut byte = [0];
                    let error = client.peek(&mut byte).unwrap_err();
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                    Err(io::ErrorKind::OutOfMemory.into())
                }
            };
            plan.work(number, listeners, DriverKind::Epoll, |_, start| plan.serve(start, driver))
        });
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::OutOfMemory);
    }
}
