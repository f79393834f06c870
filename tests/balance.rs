//! Connections are dealt evenly: with a thousand of them or more no worker has over a tenth more
//! than the mean, whatever the kernel's hash says and whoever has left. A connection that was
//! handed from one worker to another is like any other.

mod support;

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use fastrand::Rng;
use support::{BINARY, Client, DEADLINE, Script, TestServer, config, drivers, handshake, script};
use wireloop::{Config, Received, Routes, Socket, io::sys};

/// How many connections there are.
const CONNECTIONS: usize = 1000;

/// Sessions that say on which worker they run, and then echo.
fn routes() -> Routes {
    script(|socket| {
        let thread = thread::current();
        socket.send_text(thread.name().unwrap_or_default(), |_, socket, _| echo(socket));
    })
}

fn echo(socket: &mut Socket<'_, Script>) {
    socket.read_message(|_, socket, received| {
        if let Received::Binary(bytes) = received {
            socket.send_binary(bytes, |_, socket, _| echo(socket));
        }
    });
}

fn serve(workers: usize, config: &Config, test: impl Fn(&TestServer)) {
    sys::raise_file_limit();
    for driver in drivers() {
        test(&TestServer::start_with_workers(driver, routes(), config.clone(), workers));
    }
}

/// A connection, and which worker has it.
struct Place {
    client: Client,
    worker: String,
}

impl Place {
    fn new(server: &TestServer) -> Self {
        let mut client = server.upgrade("/");
        let (_, _, name) = client.read_frame();
        Self { client, worker: String::from_utf8(name).expect("it is text") }
    }
}

/// Asserts that no worker has over a tenth more than the mean; how many each has.
#[track_caller]
fn assert_balanced(places: &[Place], workers: usize) {
    let mut counts = BTreeMap::<&str, usize>::new();
    for place in places {
        *counts.entry(&place.worker).or_default() += 1;
    }
    let most = counts.values().max().copied().unwrap_or(0);
    assert!(most * workers * 10 <= places.len() * 11, "{workers} workers: {counts:?}");
}

fn stays_balanced(workers: usize) {
    serve(workers, &Config::default(), |server| {
        let mut rng = Rng::with_seed(workers as u64);
        let mut places: Vec<Place> = (0..CONNECTIONS).map(|_| Place::new(server)).collect();
        assert_balanced(&places, workers);
        for round in 0..6 {
            rng.shuffle(&mut places);
            if round % 2 == 0 {
                // All at once, as when a network fails.
                places.truncate(CONNECTIONS / 2);
                places.resize_with(CONNECTIONS, || Place::new(server));
            } else {
                // One after the other.
                for place in &mut places[..CONNECTIONS / 2] {
                    *place = Place::new(server);
                }
            }
            assert_balanced(&places, workers);
        }
        // All of them work, wherever they are.
        for (number, Place { client, .. }) in places.iter_mut().enumerate() {
            client.send_frame(true, BINARY, &number.to_be_bytes());
        }
        for (number, Place { client, .. }) in places.iter_mut().enumerate() {
            client.expect_frame(true, BINARY, &number.to_be_bytes());
            client.ping_and_wait(b"there?");
        }
    });
}

#[test]
fn two_workers_stay_balanced_through_churn() {
    stays_balanced(2);
}

#[test]
fn eight_workers_stay_balanced_through_churn() {
    stays_balanced(8);
}

/// Whoever has been handed a connection counts its time from then on.
#[test]
fn a_connection_that_was_handed_over_has_its_deadline() {
    let timeout = Duration::from_millis(150);
    let limits = config(|config| config.handshake_timeout = timeout);
    serve(8, &limits, |server| {
        let begun = Instant::now();
        let mut silent: Vec<Client> = (0..64).map(|_| server.connect()).collect();
        silent.iter_mut().for_each(Client::expect_gone);
        let took = begun.elapsed();
        assert!(timeout <= took && took < Duration::from_secs(5), "{took:?}");
    });
}

/// The limit is the server's: what is handed over counts once, and no more when it has ended.
#[test]
fn the_limit_on_connections_counts_what_is_handed_over() {
    const LIMIT: usize = 50;
    const WORKERS: usize = 8;
    let limits = config(|config| config.connections = LIMIT);
    serve(WORKERS, &limits, |server| {
        for _ in 0..20 {
            let places: Vec<Place> = (0..LIMIT - WORKERS).map(|_| Place::new(server)).collect();
            for mut place in places {
                place.client.close();
            }
        }
        let mut served: Vec<Place> = (0..LIMIT).map(|_| Place::new(server)).collect();
        let mut waiting: Vec<Client> = (0..3 * WORKERS).map(|_| server.connect()).collect();
        waiting.iter_mut().for_each(|client| client.send_raw(handshake("/", "").as_bytes()));
        let silent = waiting.iter().filter(|client| is_silent(&client.socket())).count();
        assert_eq!(silent, waiting.len(), "all of them wait");
        served.clear();
        for client in &mut waiting {
            assert_eq!(client.read_head().status, 101);
        }
    });
}

/// Whether nothing arrives for a while: for what must not happen there is nothing to wait for.
fn is_silent(socket: &TcpStream) -> bool {
    socket.set_read_timeout(Some(Duration::from_millis(10))).expect("not zero");
    let is_silent = socket.peek(&mut [0]).is_err();
    socket.set_read_timeout(Some(DEADLINE)).expect("not zero");
    is_silent
}

/// A server that stops while connections are handed about keeps none of them.
#[test]
fn a_server_stops_while_connections_are_handed_over() {
    serve(8, &Config::default(), |server| {
        let address = server.address();
        let (sender, served) = mpsc::channel();
        thread::scope(|scope| {
            for _ in 0..2 {
                let sender = sender.clone();
                scope.spawn(move || while connect_again(address, &sender).is_ok() {});
            }
            for _ in 0..200 {
                served.recv_timeout(DEADLINE).expect("connections are served");
            }
            server.stop();
        });
    });
}

/// Opens a connection and goes; an error when there is no server any more.
fn connect_again(server: SocketAddr, served: &mpsc::Sender<()>) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.write_all(handshake("/", "").as_bytes())?;
    stream.read_exact(&mut [0; 100])?;
    // The test may have seen enough.
    let _ = served.send(());
    Ok(())
}
