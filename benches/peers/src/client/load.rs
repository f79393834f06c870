//! The load: one thread, one event queue, and slices that end when every message is home.
//!
//! It reads from all connections that are ready, up to 256, before it sends on any.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::{
    event::{Timespec, epoll},
    fd::OwnedFd,
    io::Errno,
    time::{ClockId, clock_gettime},
};

use super::{connection::Connection, handshake, message::Message};
use crate::{cli::ClientOptions, figures};

/// A server that sends nothing for so long is stuck.
const PATIENCE: Duration = Duration::from_secs(10);

/// Connections that are read before any is written.
const EVENTS_MAX: usize = 256;

/// Connections that start between two looks at what has come back.
const STARTS_MAX: usize = 64;

/// So long before a message is due the thread no longer sleeps.
const SPIN: Duration = Duration::from_micros(150);

/// Different messages; connections share them.
const MESSAGES: usize = 16;

const BUFFER_BYTES: usize = 256 << 10;

/// All connections to one server.
pub(super) struct Load {
    port: u16,
    path: String,
    depth: usize,
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    buffer: Vec<u8>,
    messages: Vec<Message>,
    connections: Vec<Connection>,
    /// The connections that had echoes in the last poll, and how many.
    ready: Vec<(usize, usize)>,
    in_flight: usize,
    random: fastrand::Rng,
    began: Instant,
    /// Nanoseconds from when a message had to be sent until its echo was whole.
    pub(super) latencies: Histogram<u64>,
}

/// What a slice came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    pub(crate) messages: u64,
    /// Until the last message was home.
    pub(crate) elapsed: Duration,
    /// CPU time of the client.
    pub(crate) cpu: Duration,
}

impl Load {
    pub(super) fn new(options: &ClientOptions) -> Result<Self, String> {
        let mut random = fastrand::Rng::with_seed(u64::from(options.port));
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)
            .map_err(|error| format!("cannot make an event queue: {error}"))?;
        let message = |_| Message::new(options.size, options.depth, &mut random);
        let messages = (0..MESSAGES).map(message).collect();
        Ok(Self {
            port: options.port,
            path: options.path.clone(),
            depth: options.depth,
            epoll,
            events: Vec::with_capacity(EVENTS_MAX),
            buffer: vec![0; BUFFER_BYTES],
            messages,
            connections: Vec::new(),
            ready: Vec::with_capacity(EVENTS_MAX),
            in_flight: 0,
            random,
            began: Instant::now(),
            latencies: figures::histogram(),
        })
    }

    /// Opens this many connections more.
    pub(super) fn open(&mut self, count: usize) -> Result<(), String> {
        for _ in 0..count {
            let stream = handshake::open(self.port, &self.path)?;
            let index = self.connections.len();
            let data = epoll::EventData::new_u64(index as u64);
            epoll::add(&self.epoll, &stream, data, epoll::EventFlags::IN)
                .map_err(|error| format!("cannot wait for a connection: {error}"))?;
            self.connections.push(Connection::new(stream, index % MESSAGES));
        }
        Ok(())
    }

    /// A slice in which each echo is answered with the next message.
    pub(super) fn closed_loop(&mut self, slice: Duration) -> Result<Outcome, String> {
        let connections = self.connections.len();
        // Where a slice is too short for all connections, it is others each time.
        let first = self.random.usize(..connections.max(1));
        let meter = Meter::start();
        let mut messages = 0;
        let mut started = 0;
        let mut is_on = true;
        while is_on || self.in_flight > 0 {
            if is_on {
                let end = connections.min(started + STARTS_MAX);
                for next in started..end {
                    self.send((first + next) % connections, self.depth, self.now())?;
                }
                started = end;
            }
            let is_starting = is_on && started < connections;
            messages += self.poll(if is_starting { Duration::ZERO } else { PATIENCE })?;
            is_on = meter.began.elapsed() < slice;
            if is_on {
                for next in 0..self.ready.len() {
                    let (index, count) = self.ready[next];
                    self.send(index, count, self.now())?;
                }
            }
        }
        Ok(meter.stop(messages))
    }

    /// A slice in which messages are sent at fixed times, whatever comes back, by the connections
    /// in turn. A server that is too slow is waited for.
    pub(super) fn open_loop(&mut self, rate: u64, slice: Duration) -> Result<Outcome, String> {
        let mut order: Vec<usize> = (0..self.connections.len()).collect();
        self.random.shuffle(&mut order);
        let total = (rate as f64 * slice.as_secs_f64()) as usize;
        let interval = 1e9 / rate.max(1) as f64;
        let meter = Meter::start();
        let start = self.now();
        let due = |number: usize| start + (number as f64 * interval) as u64;
        let mut messages = 0;
        let mut next = 0;
        while next < total || self.in_flight > 0 {
            let now = self.now();
            let end = total.min(next + STARTS_MAX);
            while next < end && due(next) <= now {
                self.send(order[next % order.len()], 1, due(next))?;
                next += 1;
            }
            let pause = match next < total {
                true => Duration::from_nanos(due(next).saturating_sub(now)).saturating_sub(SPIN),
                false => PATIENCE,
            };
            messages += self.poll(pause.min(PATIENCE))?;
        }
        Ok(meter.stop(messages))
    }

    fn send(&mut self, index: usize, count: usize, time: u64) -> Result<(), String> {
        let connection = &mut self.connections[index];
        connection.queue(count, time);
        self.in_flight += count;
        self.write(index)
    }

    fn write(&mut self, index: usize) -> Result<(), String> {
        let connection = &mut self.connections[index];
        let waits = !connection.write(&self.messages[connection.message])?;
        if waits != connection.waits_to_write {
            connection.waits_to_write = waits;
            let mut interest = epoll::EventFlags::IN;
            interest.set(epoll::EventFlags::OUT, waits);
            let data = epoll::EventData::new_u64(index as u64);
            epoll::modify(&self.epoll, &connection.stream, data, interest)
                .map_err(|error| format!("cannot wait for a connection: {error}"))?;
        }
        Ok(())
    }

    /// Waits, and takes in what has come back: how many echoes. They are in `ready`, too.
    fn poll(&mut self, wait: Duration) -> Result<u64, String> {
        self.ready.clear();
        self.events.clear();
        let timeout =
            Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() };
        let events = rustix::buffer::spare_capacity(&mut self.events);
        match epoll::wait(&self.epoll, events, Some(&timeout)) {
            Ok(0) if wait == PATIENCE => {
                let lost = self.in_flight;
                return Err(format!("the server is stuck: no echo for 10 s, {lost} are missing"));
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(format!("cannot wait for events: {error}")),
        }
        let mut messages = 0;
        for next in 0..self.events.len() {
            let (index, flags) = (self.events[next].data.u64() as usize, self.events[next].flags);
            if flags.contains(epoll::EventFlags::OUT) {
                self.write(index)?;
            }
            if flags != epoll::EventFlags::OUT {
                messages += self.read(index)?;
            }
        }
        Ok(messages)
    }

    fn read(&mut self, index: usize) -> Result<u64, String> {
        let connection = &mut self.connections[index];
        let count = connection.read(&self.messages[connection.message], &mut self.buffer)?;
        if count > 0 {
            let now = self.began.elapsed().as_nanos() as u64;
            for time in connection.came_home(count) {
                self.latencies.saturating_record(now.saturating_sub(time).max(1));
            }
            self.in_flight -= count;
            self.ready.push((index, count));
        }
        Ok(count as u64)
    }

    /// Nanoseconds on this load's own clock.
    fn now(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }
}

/// Times a slice.
struct Meter {
    began: Instant,
    cpu: Duration,
}

impl Meter {
    fn start() -> Self {
        Self { began: Instant::now(), cpu: thread_cpu() }
    }

    fn stop(&self, messages: u64) -> Outcome {
        let cpu = thread_cpu().saturating_sub(self.cpu);
        Outcome { messages, elapsed: self.began.elapsed(), cpu }
    }
}

fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
