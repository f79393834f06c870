//! What a single peer may have: connections of its address, handshakes in progress, a rate.

mod support;

use std::time::{Duration, Instant};

use support::{BINARY, Client, PING, TestServer, config, drivers, serve_with};
use wireloop::{Config, Echo, Routes};

fn echo() -> Routes {
    Routes::new().websocket("/", |_, protocols| Ok(protocols.none().session(Echo)))
}

/// A server with several workers for each driver.
fn serve_with_workers(config: &Config, test: impl Fn(&TestServer)) {
    for driver in drivers() {
        let server = TestServer::start_with_workers(driver, echo(), config.clone(), 3);
        test(&server);
    }
}

#[test]
fn an_address_has_so_many_connections_whichever_workers_they_are_with() {
    let config = config(|config| config.connections_per_address = Some(5));
    serve_with_workers(&config, |server| {
        let mut clients: Vec<_> = (0..5).map(|_| server.upgrade("/")).collect();
        for _ in 0..20 {
            // A reset, if the server closed it before the request came.
            server.connect().expect_gone();
        }
        for client in &mut clients {
            client.send_text("still here");
            client.expect_text("still here");
        }
        clients.pop().expect("there are five").close();
        let start = Instant::now();
        while !is_admitted(&mut server.connect()) {
            assert!(start.elapsed() < support::DEADLINE, "there is room for one");
        }
    });
}

/// Whether a connection gets an answer.
fn is_admitted(client: &mut Client) -> bool {
    let sent = client.try_send_raw(support::handshake("/", "").as_bytes());
    let mut byte = [0];
    sent.is_ok() && client.socket().peek(&mut byte).is_ok_and(|bytes| bytes == 1)
}

#[test]
fn the_oldest_handshake_is_ended_when_there_are_too_many() {
    let config = config(|config| config.handshakes = 8);
    serve_with(config, echo, |server| {
        let mut upgraded = server.upgrade("/");
        let mut waiting: Vec<_> = (0..8).map(|_| server.connect()).collect();
        waiting.iter_mut().for_each(|client| client.send_raw(b"GET / HT"));
        // Each that comes is let in, in place of the oldest.
        let mut others = Vec::new();
        for oldest in &mut waiting {
            others.push(server.connect());
            oldest.expect_gone();
        }
        let mut last = server.upgrade("/");
        last.send_text("hello");
        last.expect_text("hello");
        upgraded.send_text("who was there before");
        upgraded.expect_text("who was there before");
    });
}

#[test]
fn a_connection_that_sends_too_many_messages_is_slowed_down_and_loses_nothing() {
    let config = config(|config| config.message_rate = Some(100));
    serve_with(config, echo, |server| {
        let mut client = server.upgrade("/");
        let mut other = server.upgrade("/");
        let start = Instant::now();
        let batch = support::frame(true, BINARY, [1; 4], b"message").repeat(50);
        for _ in 0..6 {
            client.send_raw(&batch);
            (0..50).for_each(|_| client.expect_frame(true, BINARY, b"message"));
        }
        // The first hundred may come at once, and what is in one receive.
        let elapsed = start.elapsed();
        assert!((1450..4000).contains(&elapsed.as_millis()), "{elapsed:?}");
        other.ping_and_wait(b"nobody else waits");
        assert!(start.elapsed() < elapsed + Duration::from_millis(500));
    });
}

#[test]
fn a_connection_that_sends_too_many_bytes_is_slowed_down_and_not_taken_for_dead() {
    let config = config(|config| {
        config.byte_rate = Some(1_000_000);
        config.ping_interval = Some(Duration::from_millis(300));
        config.pong_timeout = Duration::from_millis(300);
    });
    serve_with(config, echo, |server| {
        let mut client = server.upgrade("/");
        let start = Instant::now();
        let mut writer = client.socket();
        let message = support::frame(true, BINARY, [0; 4], &vec![7; 3_000_000]);
        let sending = std::thread::spawn(move || std::io::Write::write_all(&mut writer, &message));
        let payload = loop {
            let (first, payload) = client.read_any_frame();
            if first == 0x80 | BINARY {
                break payload;
            }
            assert_eq!(first, 0x80 | PING);
        };
        assert_eq!(payload.len(), 3_000_000);
        sending.join().expect("it does not panic").expect("the server takes it");
        let elapsed = start.elapsed();
        assert!((1500..6000).contains(&elapsed.as_millis()), "{elapsed:?}");
    });
}
