//! A server starts as a whole or not at all: it accepts no connection before all of its workers have
//! what they need.
//!
//! A file of its own, since it lowers the file limit of its process.

mod support;

use std::{fs::File, net::SocketAddr, os::fd::AsRawFd, sync::mpsc, thread};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::{Client, DEADLINE, TestServer, drivers, handshake, script};
use wireloop::{DriverKind, Server, ServerError};

const WORKERS: usize = 4;

fn server(driver: DriverKind) -> Server {
    let server = Server::new(script(|_| {})).workers(WORKERS).driver(driver);
    server.listen("127.0.0.1:0").expect("port 0 can always be listened on")
}

fn address(server: &Server) -> SocketAddr {
    server.addresses().next().expect("it listens")
}

/// The lowest descriptor that is free: the file limit that leaves room for those below it.
fn files() -> u64 {
    let free = File::open("/dev/null").expect("there is a free one");
    free.as_raw_fd().cast_unsigned().into()
}

fn limit_files(files: u64) {
    let limit = getrlimit(Resource::Nofile);
    let lower = Rlimit { current: Some(files), maximum: limit.maximum };
    setrlimit(Resource::Nofile, lower).expect("the soft limit may be changed");
}

/// How many descriptors the workers take: their listeners and drivers.
fn files_of_workers(driver: DriverKind) -> u64 {
    let before = files();
    let server = TestServer::run(server(driver));
    // It serves, so all workers have their descriptors; two more are this connection.
    let _client = server.upgrade("/");
    files() - before - 2
}

/// Whatever the first descriptor that is missing was wanted for: no worker waits for ever for one
/// that has failed.
#[test]
fn nothing_is_accepted_when_a_worker_cannot_start() {
    let limit = getrlimit(Resource::Nofile).current.expect("there is a limit");
    for driver in drivers() {
        let needed = files_of_workers(driver);
        for missing in 1..needed {
            let server = server(driver);
            let mut client = Client::connect(address(&server));
            client.send_raw(handshake("/", "").as_bytes());
            let (end, ended) = mpsc::channel();
            // One of the workers' descriptors is the listener that is open already.
            limit_files(files() + needed - 1 - missing);
            thread::spawn(move || end.send(server.run()));
            let result = ended.recv_timeout(DEADLINE).expect("it does not serve");
            limit_files(limit);
            match result {
                Err(ServerError::Worker(error) | ServerError::Driver(error)) => {
                    assert_eq!(error.raw_os_error(), Some(libc::EMFILE), "{driver} {missing}");
                }
                Err(ServerError::Listen { .. }) => {}
                other => panic!("{driver} {missing}: {other:?}"),
            }
            let mut byte = [0];
            assert!(!matches!(client.socket().peek(&mut byte), Ok(1)), "{driver} {missing}");
        }
    }
}
