//! A client of `benches/million.sh`, which runs many of them: it opens connections and holds them,
//! and does what the lines on its standard input say, each of which it answers with one of JSON.
//!
//! - `open`: opens all connections;
//! - `load RATE PHASE SECONDS`: sends one message after the other, each on the next connection, the
//!   n-th at `(n + PHASE) / RATE` seconds, and tells the latencies;
//! - `check`: has one message echoed on every connection.
//!
//! It ends with its input. What fails is said on stderr and is missing in the answers.

use std::{
    collections::HashMap,
    io::{self, BufRead, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use wireloop::{
    http::{ClientHandshake, ClientRequest},
    io::{Completion, Driver, Epoll, Token, Waker, sys},
    ws::{
        Event, HEADER_BYTES_MAX, Input, Kind, Limits, ReadMode, Receiver, Role, Rules, Sender,
        Workspace,
    },
};

use crate::{
    cli::Arguments,
    connection::{ended, not_connected},
    measure::{failure::Failure, times::Times},
    pacer::Pacer,
    run::Keys,
    target::Target,
};

/// How many connections one source address makes: a third of its ports, since the last free ones
/// are expensive to find.
const CONNECTIONS_PER_SOURCE: usize = 10_000;

/// How many failures are said.
const COMPLAINTS: u64 = 3;

/// How long opening and checking go on without any progress, and how long late echoes are awaited.
const PATIENCE: Duration = Duration::from_secs(30);

const LOOK_AROUND: Duration = Duration::from_millis(100);

/// The number of the connection, and that of the message.
type Payload = [u8; 20];

/// Runs until the end of the input.
pub(crate) fn run(arguments: &Arguments) -> Result<(), String> {
    sys::raise_file_limit();
    let driver = Epoll::new().map_err(|error| format!("cannot run: {error}"))?;
    let commands = commands(driver.waker());
    let mut client = Client {
        driver,
        target: Target::resolve(
            arguments.group.url.as_deref().unwrap_or_default(),
            &arguments.group.target,
        )?,
        source: arguments.run.hold_source.unwrap_or(Ipv4Addr::LOCALHOST),
        wanted: arguments.group.load.connections.get(),
        connecting: arguments.run.connecting.get(),
        epoch: Instant::now(),
        connections: Vec::with_capacity(arguments.group.load.connections.get()),
        failed: Vec::new(),
        shared: Shared {
            keys: Keys::new(),
            workspace: Workspace::new(),
            in_flight: HashMap::new(),
            opening: 0,
            open: 0,
            echoes: 0,
            failures: 0,
            response: Times::new(),
            service: Times::new(),
        },
    };
    client.obey(&commands).map_err(|error| format!("cannot run: {error}"))
}

/// The lines of the standard input, each of which wakes the driver; as does their end.
fn commands(waker: Waker) -> mpsc::Receiver<String> {
    let (sender, commands) = mpsc::channel();
    thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            // Refused when nobody obeys any more.
            let _ = sender.send(line);
            waker.wake();
        }
        drop(sender);
        waker.wake();
    });
    commands
}

/// The connections of this process.
struct Client<D> {
    driver: D,
    target: Target,
    /// The first source address; the others follow it.
    source: Ipv4Addr,
    wanted: usize,
    connecting: usize,
    epoch: Instant,
    connections: Vec<Connection>,
    failed: Vec<(Token, Failure)>,
    shared: Shared,
}

/// What all connections need to handle something.
struct Shared {
    keys: Keys,
    workspace: Workspace,
    /// The messages that are not answered, by the index of their connection: when they were due,
    /// and when they were sent.
    in_flight: HashMap<u32, (Duration, Duration)>,
    /// How many connections are neither open nor lost.
    opening: usize,
    open: usize,
    echoes: u64,
    failures: u64,
    /// From the moment a message was due to its echo.
    response: Times,
    /// From its sending to its echo.
    service: Times,
}

/// One connection: as little memory as possible.
struct Connection {
    state: State,
    receiver: Receiver,
    sequence: u32,
}

enum State {
    Connecting,
    Handshaking(Box<(ClientHandshake, Vec<u8>)>),
    Open,
    Lost,
}

impl<D: Driver> Client<D> {
    fn obey(&mut self, commands: &mpsc::Receiver<String>) -> io::Result<()> {
        loop {
            match commands.try_recv() {
                Ok(command) => {
                    let answer = self.command(&command)?;
                    writeln!(io::stdout(), "{answer}")?;
                }
                Err(mpsc::TryRecvError::Empty) => self.pass(None)?,
                Err(mpsc::TryRecvError::Disconnected) => return Ok(()),
            }
        }
    }

    fn command(&mut self, command: &str) -> io::Result<String> {
        let words: Vec<_> = command.split(' ').collect();
        let number = |word: &str| word.parse::<f64>().ok().filter(|number| *number >= 0.0);
        if let ["load", rate, phase, seconds] = *words
            && let (Some(rate), Some(phase), Some(seconds)) =
                (number(rate), number(phase), number(seconds))
            && rate > 0.0
            && !self.connections.is_empty()
        {
            return self.load(rate, phase, seconds);
        }
        match command {
            "open" => self.open(),
            "check" => self.check(),
            _ => Err(io::Error::other(format!("\"{command}\" is not to be obeyed now"))),
        }
    }

    fn open(&mut self) -> io::Result<String> {
        let mut progress = Progress::new(self.now());
        while self.connections.len() < self.wanted || self.shared.opening > 0 {
            while self.shared.opening < self.connecting && self.connections.len() < self.wanted {
                self.connect();
            }
            self.pass(Some(LOOK_AROUND))?;
            if progress.stalls(self.shared.open as u64, self.now()) {
                break;
            }
        }
        Ok(format!("{{\"open\": {}}}", self.shared.open))
    }

    fn connect(&mut self) {
        let index = self.connections.len();
        let token = token(index);
        let block = (index / CONNECTIONS_PER_SOURCE) as u32;
        let source = IpAddr::V4(Ipv4Addr::from(u32::from(self.source) + block));
        let source = Some(SocketAddr::new(source, 0));
        self.connections.push(Connection {
            state: State::Connecting,
            receiver: Receiver::default(),
            sequence: 0,
        });
        self.shared.opening += 1;
        if let Err(error) = self.driver.connect(token, self.target.address(index), source) {
            self.lose(token, not_connected(&error));
        }
    }

    /// A trickle over all connections, each of which gets its turn.
    fn load(&mut self, rate: f64, phase: f64, seconds: f64) -> io::Result<String> {
        self.shared.echoes = 0;
        self.shared.response.clear();
        self.shared.service.clear();
        let start = self.now() + Duration::from_secs_f64(phase / rate);
        let end = start + Duration::from_secs_f64(seconds);
        let mut pacer = Pacer::new(rate);
        let (mut sent, mut missed) = (0, 0);
        while self.now() < end {
            while let Some((number, due)) = pacer.take(self.now().saturating_sub(start)) {
                if start + due < end {
                    let index = (number % self.connections.len() as u64) as usize;
                    let is_sent = self.send(index, start + due);
                    sent += u64::from(is_sent);
                    missed += u64::from(!is_sent);
                }
            }
            let due = (start + pacer.due()).min(end);
            self.pass(Some(due.saturating_sub(self.now())))?;
        }
        self.await_echoes(0)?;
        Ok(format!(
            "{{\"sent\": {sent}, \"missed\": {missed}, \"echoes\": {}, \"response\": {}, \
             \"service\": {}}}",
            self.shared.echoes,
            counts(&self.shared.response),
            counts(&self.shared.service)
        ))
    }

    /// One message on every connection.
    fn check(&mut self) -> io::Result<String> {
        self.shared.echoes = 0;
        for index in 0..self.connections.len() {
            let now = self.now();
            self.send(index, now);
            if self.shared.in_flight.len() >= self.connecting {
                self.await_echoes(self.connecting / 2)?;
            }
        }
        self.await_echoes(0)?;
        Ok(format!("{{\"alive\": {}}}", self.shared.echoes))
    }

    /// Waits until no more than `most` messages are not answered, as long as there is progress.
    fn await_echoes(&mut self, most: usize) -> io::Result<()> {
        let mut progress = Progress::new(self.now());
        while self.shared.in_flight.len() > most {
            self.pass(Some(LOOK_AROUND))?;
            if progress.stalls(self.shared.echoes, self.now()) {
                break;
            }
        }
        Ok(())
    }

    /// Sends the next message of a connection, if it is open and its last one was answered.
    fn send(&mut self, index: usize, due: Duration) -> bool {
        let now = self.now();
        let connection = &mut self.connections[index];
        let is_free = !self.shared.in_flight.contains_key(&(index as u32));
        if !matches!(connection.state, State::Open) || !is_free {
            return false;
        }
        connection.sequence += 1;
        let payload = payload(index as u32, connection.sequence);
        let mut frame = Vec::with_capacity(payload.len() + HEADER_BYTES_MAX);
        let key = Some(self.shared.keys.mask());
        // A connection's sender only remembers fragments and Closes: here there are none.
        let result = Sender::default().message(&mut frame, Kind::Binary, &payload, key);
        debug_assert!(result.is_ok());
        self.shared.in_flight.insert(index as u32, (due, now));
        // The last send has completed, for its message was answered.
        self.driver.send(token(index), frame);
        true
    }

    /// One pass: receives from everything that is ready.
    fn pass(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.driver.wait(timeout, &mut Vec::new())?;
        while let Some(completion) = self.driver.next() {
            match completion {
                Completion::Received { token, bytes } => {
                    let now = self.epoch.elapsed();
                    let connection = &mut self.connections[token.index as usize];
                    let result = connection.received(token.index, bytes, now, &mut self.shared);
                    self.failed.extend(result.err().map(|failure| (token, failure)));
                }
                Completion::Connected { token, result } => self.connected(token, result),
                Completion::ReceiveEnded { token, result } => {
                    let connection = &self.connections[token.index as usize];
                    let was_open = matches!(connection.state, State::Open);
                    self.failed.push((token, ended(result, was_open)));
                }
                Completion::Sent { token, result: Err(error), .. } => {
                    self.failed.push((token, ended(Err(error), true)));
                }
                _ => {}
            }
        }
        for (token, failure) in std::mem::take(&mut self.failed) {
            self.lose(token, failure);
        }
        Ok(())
    }

    fn connected(&mut self, token: Token, result: io::Result<()>) {
        if let Err(error) = result {
            self.lose(token, not_connected(&error));
            return;
        }
        let request = ClientRequest {
            host: &self.target.host,
            target: &self.target.path,
            key: self.shared.keys.handshake(),
            protocols: &[],
            deflate: None,
            headers: &http::HeaderMap::new(),
        };
        let mut head = Vec::new();
        match ClientHandshake::start(&request, &mut head) {
            Ok(handshake) => {
                let connection = &mut self.connections[token.index as usize];
                connection.state = State::Handshaking(Box::new((handshake, Vec::new())));
                self.driver.send(token, head);
                self.driver.receive(token);
            }
            Err(error) => self.lose(token, error.into()),
        }
    }

    fn lose(&mut self, token: Token, failure: Failure) {
        let state = &mut self.connections[token.index as usize].state;
        match std::mem::replace(state, State::Lost) {
            State::Lost => return,
            State::Open => self.shared.open -= 1,
            _ => self.shared.opening -= 1,
        }
        self.shared.in_flight.remove(&token.index);
        self.shared.failures += 1;
        if self.shared.failures <= COMPLAINTS {
            eprintln!("wireloop-bench: connection {}: {failure}", token.index);
        }
        self.driver.close(token);
    }

    fn now(&self) -> Duration {
        self.epoch.elapsed()
    }
}

impl Connection {
    /// Takes what has arrived.
    fn received(
        &mut self,
        index: u32,
        bytes: &mut [u8],
        now: Duration,
        shared: &mut Shared,
    ) -> Result<(), Failure> {
        let State::Handshaking(handshaking) = &mut self.state else {
            return self.take_frames(index, bytes, now, shared);
        };
        let (handshake, input) = &mut **handshaking;
        input.extend_from_slice(bytes);
        let Some(established) = handshake.read(input)? else { return Ok(()) };
        let mut rest = input.split_off(established.consumed);
        self.state = State::Open;
        shared.opening -= 1;
        shared.open += 1;
        self.take_frames(index, &mut rest, now, shared)
    }

    fn take_frames(
        &mut self,
        index: u32,
        bytes: &mut [u8],
        now: Duration,
        shared: &mut Shared,
    ) -> Result<(), Failure> {
        let rules = Rules::new(Role::Client, Limits::DEFAULT);
        let mut input = Input::new(bytes);
        loop {
            let wanted = Some(ReadMode::Message);
            match self.receiver.next_event(&mut input, wanted, &rules, &mut shared.workspace)? {
                None => return Ok(()),
                Some(Event::Binary(bytes)) => {
                    let Some((due, sent)) = shared.in_flight.remove(&index) else {
                        return Err(Failure::Unexpected);
                    };
                    if bytes != payload(index, self.sequence) {
                        return Err(Failure::WrongContent);
                    }
                    shared.echoes += 1;
                    shared.response.record(now.saturating_sub(due));
                    shared.service.record(now.saturating_sub(sent));
                }
                Some(Event::Close(frame)) => {
                    let code = frame.map_or(1005, |frame| frame.code.0);
                    return Err(Failure::ClosedByServer(code));
                }
                Some(Event::Text(_)) => return Err(Failure::WrongKind),
                // The servers do not ping.
                Some(Event::Ping(_) | Event::Pong(_) | Event::Frame { .. }) => {
                    return Err(Failure::Unexpected);
                }
            }
        }
    }
}

/// When something was last achieved.
struct Progress {
    achieved: u64,
    since: Duration,
}

impl Progress {
    fn new(now: Duration) -> Self {
        Self { achieved: 0, since: now }
    }

    fn stalls(&mut self, achieved: u64, now: Duration) -> bool {
        if achieved != self.achieved {
            *self = Self { achieved, since: now };
        }
        now.saturating_sub(self.since) > PATIENCE
    }
}

fn token(index: usize) -> Token {
    Token { index: index as u32, generation: 1 }
}

fn payload(index: u32, sequence: u32) -> Payload {
    let mut payload = Payload::default();
    payload[..4].copy_from_slice(&index.to_le_bytes());
    payload[4..8].copy_from_slice(&sequence.to_le_bytes());
    payload
}

/// Pairs of nanoseconds and how often they came.
fn counts(times: &Times) -> String {
    let pairs: Vec<_> = times.counts().map(|(time, count)| format!("[{time},{count}]")).collect();
    format!("[{}]", pairs.join(","))
}
