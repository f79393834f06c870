//! The memory budget: what peers make the server hold stays within it, and in which order it sheds.

mod support;

use std::time::{Duration, Instant};

use http::StatusCode;
use support::{
    BINARY, Binary, Client, DEADLINE, TestServer, config, drivers, frame, handshake, serve_with,
};
use wireloop::{Config, Echo, Request, Routes, http::Response};

fn routes() -> Routes {
    Routes::new()
        .websocket("/", |_, protocols| Ok(protocols.none().session(Echo)))
        .get("/page", |_: &Request<'_>| Response::text(StatusCode::OK, "still here"))
}

/// A budget that a test fills soon, and no deadline that would do its work.
fn budget(bytes: usize) -> Config {
    config(|config| config.memory_bytes = Some(bytes))
}

/// The beginning of a binary message of 4 MiB.
fn part(bytes: usize) -> Vec<u8> {
    let mut part = frame(true, BINARY, [0; 4], &vec![1; 4 << 20]);
    part.truncate(bytes);
    part
}

/// Waits until a condition holds.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < DEADLINE, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Fills what the connections have of a budget of 8 MiB with a message that stays incomplete.
fn fill(server: &TestServer) -> Client {
    let mut large = server.upgrade("/");
    // The connections have 5 MiB of it, and memory is short above three quarters of them.
    large.send_raw(&part((4 << 20) - 1));
    until("memory becomes short", || is_short(server));
    large
}

fn is_short(server: &TestServer) -> bool {
    let mut client = server.connect();
    client.send_raw(handshake("/", "").as_bytes());
    client.read_head().status == 503
}

#[test]
fn near_the_budget_upgrades_are_refused_and_everything_else_is_served() {
    serve_with(budget(8 << 20), routes, |server| {
        let mut before = server.upgrade("/");
        let large = fill(server);
        let mut client = server.connect();
        client.send_raw(handshake("/", "").as_bytes());
        let response = client.read_response();
        assert_eq!((response.status, response.header("Retry-After")), (503, Some("5")));
        assert!(server.counters().upgrades_refused() > 0);
        assert_eq!(server.connect().request("GET /page HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
        before.send_text("who was there before");
        before.expect_text("who was there before");
        assert_eq!(server.counters().connections_ended(), 0);
        // When it has gone there is room.
        drop(large);
        until("there is room again", || !is_short(server));
    });
}

#[test]
fn beyond_the_budget_the_connection_that_holds_most_is_closed_with_1013() {
    serve_with(budget(4 << 20), routes, |server| {
        let mut large = server.upgrade("/");
        // The server ends it before it has sent everything.
        let _ = large.try_send_raw(&part((4 << 20) - 1));
        assert_eq!(large.expect_close(1013), "the server is short of memory");
        assert_eq!(server.counters().connections_ended(), 1);
        until("there is room again", || !is_short(server));
    });
}

#[test]
fn a_connection_that_holds_more_than_the_average_waits_until_there_is_room() {
    serve_with(budget(16 << 20), routes, |server| {
        let message = frame(true, BINARY, [0; 4], &vec![1; 4 << 20]);
        let mut clients = [(); 6].map(|()| server.upgrade("/"));
        let (last, others) = clients.split_last_mut().expect("there are six");
        // The others hold too little to be paused when the last one makes memory short.
        others.iter_mut().for_each(|client| client.send_raw(&message[..1 << 20]));
        let mut writer = last.socket();
        let rest = message.clone();
        let sending = std::thread::spawn(move || std::io::Write::write_all(&mut writer, &rest));
        until("it is paused", || {
            server.counters().connections_paused() > 0 || sending.is_finished()
        });
        others.iter().for_each(Client::shutdown);
        last.read_bytes(10 + (4 << 20));
        sending.join().expect("it does not panic").expect("the server takes it");
        assert_eq!(server.counters().connections_ended(), 0);
    });
}

#[test]
fn a_connection_that_waits_for_room_when_its_deadline_comes_is_closed_with_1013() {
    let config = config(|config| {
        config.memory_bytes = Some(16 << 20);
        config.ping_interval = Some(Duration::from_millis(300));
        config.pong_timeout = Duration::from_millis(300);
    });
    serve_with(config, routes, |server| {
        let mut clients: Vec<_> = (0..6).map(|_| server.upgrade("/")).collect();
        let mut writers: Vec<_> = clients.iter().map(Client::socket).collect();
        for (share, writer) in writers.iter_mut().enumerate() {
            // The server need not take all of it.
            writer.set_write_timeout(Some(Duration::from_millis(50))).expect("it can be set");
            let _ = std::io::Write::write_all(writer, &part((share + 1) << 19));
        }
        until("it is ended", || server.counters().connections_ended() > 0);
        clients.pop().expect("there are six").expect_close(1013);
    });
}

#[test]
fn heads_of_requests_are_counted() {
    serve_with(budget(1 << 20), routes, |server| {
        let head = format!("GET /page HTTP/1.1\r\nHost: a\r\nX: {}", "y".repeat(15_000));
        let mut clients: Vec<_> = (0..80)
            .map(|_| {
                let mut client = server.connect();
                let _ = client.try_send_raw(head.as_bytes());
                client
            })
            .collect();
        until("some are ended", || server.counters().connections_ended() > 0);
        // Which ones is a matter of who came when.
        let refused = clients.iter_mut().filter(|client| {
            let mut byte = [0];
            let socket = client.socket();
            socket.set_nonblocking(true).expect("it can be set");
            socket.peek(&mut byte).is_ok_and(|bytes| bytes == 1)
        });
        let refused: Vec<_> = refused.collect();
        assert!(!refused.is_empty());
        for client in refused {
            client.socket().set_nonblocking(false).expect("it can be set");
            assert_eq!(client.read_response().status, 503);
        }
    });
}

/// Sends what is taken within a moment; the server may have stopped to receive.
fn push(client: &Client, bytes: &[u8]) {
    let mut socket = client.socket();
    socket.set_write_timeout(Some(Duration::from_millis(20))).expect("not zero");
    let _ = std::io::Write::write_all(&mut socket, bytes);
}

/// Floods the binary from many connections and returns by how much its memory grew at most.
fn growth(driver: &str, count: usize, budget: &str, flood: impl Fn(&Client)) -> usize {
    let server = Binary::start(&["--driver", driver, "--memory", budget]);
    let mut neighbour = server.upgrade("/echo");
    let start = server.resident_bytes();
    server.reset_peak();
    let mut peers = Vec::new();
    for _ in 0..count {
        // Near the budget it is refused, which is as good.
        let mut client = Client::connect(server.address());
        client.send_raw(handshake("/echo", "").as_bytes());
        if client.read_head().status == 101 {
            flood(&client);
            peers.push(client);
        }
        neighbour.send_text("served");
        neighbour.expect_text("served");
    }
    server.peak_bytes().saturating_sub(start)
}

#[test]
fn incomplete_messages_of_many_peers_stay_within_the_budget() {
    for driver in drivers() {
        let message = part(2 << 20);
        let grown = growth(&driver.to_string(), 60, "16m", |client| push(client, &message));
        assert!(grown < 24 << 20, "{driver} has grown by {} KiB", grown >> 10);
    }
}

#[test]
fn answers_that_many_peers_do_not_read_stay_within_the_budget() {
    for driver in drivers() {
        let messages = frame(true, BINARY, [0; 4], &vec![1; 60_000]).repeat(100);
        let grown = growth(&driver.to_string(), 150, "8m", |client| push(client, &messages));
        assert!(grown < 16 << 20, "{driver} has grown by {} KiB", grown >> 10);
    }
}
