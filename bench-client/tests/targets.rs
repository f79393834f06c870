//! Where the server is and from where it is reached: Unix sockets, IPv6, source addresses.

mod support;

use std::{
    collections::BTreeMap,
    net::TcpListener,
    os::unix::net::UnixListener,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use support::{bench, echo, failure, refusal, success};

#[test]
fn a_unix_socket_with_a_short_queue_is_asked_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("echo.sock");
    // A queue of one, from which connections are taken slowly.
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    socket.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
    socket.listen(1).unwrap();
    let listener = UnixListener::from(socket);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            thread::spawn(move || echo(stream, |_, _| {}));
            thread::sleep(Duration::from_millis(5));
        }
    });
    let text = success(&format!("-c 30 ws+unix:{}:/echo?x=1", path.display()));
    assert!(text.contains("ok: 30 of 30 connections"), "{text}");
}

#[test]
fn a_unix_socket_that_is_never_served_ends_at_the_deadline() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("echo.sock");
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    socket.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
    socket.listen(1).unwrap();
    let url = format!("ws+unix:{}:/", path.display());
    let text = failure(&format!("-c 10 --connect-timeout 300ms {url}"));
    assert!(text.contains("10 x connection not open in time"), "{text}");
    drop(socket);
    let text = failure(&format!("-c 10 {url}"));
    assert!(text.contains("10 x connection refused"), "{text}");
    let text = failure("-c 2 ws+unix:/nowhere/x.sock:/");
    assert!(text.contains("2 x connecting failed: No such file"), "{text}");
}

/// An echo at an address; how many connections came from each other one.
fn echo_at(address: &str) -> (String, Arc<Mutex<BTreeMap<String, usize>>>) {
    let listener = TcpListener::bind(address).unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(BTreeMap::new()));
    let seen_by_server = Arc::clone(&seen);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            let peer = stream.peer_addr().unwrap().ip().to_string();
            *seen_by_server.lock().unwrap().entry(peer).or_default() += 1;
            thread::spawn(move || echo(stream, |_, _| {}));
        }
    });
    (url, seen)
}

#[test]
fn connections_come_from_each_source_in_turn() {
    let (url, seen) = echo_at("127.0.0.1:0");
    success(&format!("-c 9 --source 127.0.0.5,127.0.0.2-127.0.0.3 {url}"));
    let seen: Vec<_> = seen.lock().unwrap().clone().into_iter().collect();
    assert_eq!(seen, ["127.0.0.2", "127.0.0.3", "127.0.0.5"].map(|name| (name.into(), 3)));
}

#[test]
fn ipv6_is_reached_and_has_sources() {
    let (url, seen) = echo_at("[::1]:0");
    success(&format!("-c 2 -6 --source ::1 {url}"));
    assert_eq!(seen.lock().unwrap()["::1"], 2);
}

#[test]
fn a_name_leads_to_the_family_that_is_asked_for() {
    let (url, seen) = echo_at("127.0.0.1:0");
    let url = url.replace("127.0.0.1", "localhost");
    success(&format!("-c 2 --ipv4 {url}"));
    assert_eq!(seen.lock().unwrap()["127.0.0.1"], 2);
}

#[test]
fn a_source_that_this_machine_has_not_is_refused_in_a_line() {
    let output = bench("--source 192.0.2.7 ws://127.0.0.1:1/");
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("192.0.2.7 is not an address of this machine"), "{text}");
}

#[test]
fn more_connections_than_there_are_ports_are_refused_at_once() {
    let text = refusal("-c 70000 --source 127.0.0.1 ws://127.0.0.1:1/");
    assert!(text.contains("70,000 connections from one address to 127.0.0.1:1"), "{text}");
    assert!(text.contains("more addresses with --source"), "{text}");
}
