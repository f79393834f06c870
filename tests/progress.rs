//! Time means progress: a deadline is missed only by a peer that neither sends nor takes anything,
//! and is judged only after what had arrived was read.

mod support;

use std::{
    io::Read,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use http::StatusCode;
use rustix::process::Signal;
use support::{BINARY, Binary, Client, PING, PONG, at_once, config, drivers, frame, serve_at_once};
use wireloop::{
    Config, Echo, Received, Routes, Socket,
    http::Response,
    io::sim::{Faults, Sim},
    server::Worker,
};

fn echo() -> Routes {
    Routes::new().websocket("/", |_, protocols| Ok(protocols.none().session(Echo)))
}

/// Deadlines that a test can wait for, and a rate that every test keeps or is far below.
fn short() -> Config {
    config(|config| {
        config.handshake_timeout = Duration::from_millis(400);
        config.ping_interval = Some(Duration::from_millis(500));
        config.pong_timeout = Duration::from_millis(500);
        config.close_timeout = Duration::from_millis(300);
        config.min_rate_time = Duration::from_millis(600);
    })
}

/// Reads all of `length` bytes, a part every now and then, which takes about `time`.
fn read_slowly(client: &mut Client, length: usize, time: Duration) {
    const PARTS: u32 = 40;
    for part in 0..PARTS as usize {
        let bytes = length * (part + 1) / PARTS as usize - length * part / PARTS as usize;
        client.read_bytes(bytes);
        thread::sleep(time / PARTS);
    }
}

/// More than the kernel keeps for a peer.
const LONG: usize = 12 << 20;

/// A peer that takes a long message slowly was taken for dead, because its pongs were not read.
#[test]
fn a_slow_reader_that_goes_on_reading_is_not_dead() {
    serve_at_once(short(), echo, |server| {
        let mut client = server.upgrade("/");
        let mut writer = client.socket();
        let message = frame(true, BINARY, [0; 4], &vec![7; LONG]);
        let sending = thread::spawn(move || std::io::Write::write_all(&mut writer, &message));
        read_slowly(&mut client, 10 + LONG, Duration::from_secs(3));
        sending.join().expect("it does not panic").expect("the server takes it");
        // It answers pings again, and is served.
        loop {
            let (first, payload) = client.read_any_frame();
            client.send_frame(true, PONG, &payload);
            if first == 0x80 | PING {
                break;
            }
        }
        client.close();
    });
}

/// What was sent before a Close arrives before it, however long that takes (RFC 6455 5.5.1).
#[test]
fn a_close_behind_a_long_message_waits_until_that_was_taken() {
    serve_at_once(short(), echo, |server| {
        let mut client = server.upgrade("/");
        let mut writer = client.socket();
        let mut bytes = frame(true, BINARY, [0; 4], &vec![7; LONG]);
        bytes.extend([0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8]);
        let sending = thread::spawn(move || std::io::Write::write_all(&mut writer, &bytes));
        read_slowly(&mut client, 10 + LONG, Duration::from_secs(3));
        sending.join().expect("it does not panic").expect("the server takes it");
        loop {
            let (first, payload) = client.read_any_frame();
            if first == 0x88 {
                assert_eq!(payload, [0x03, 0xe8]);
                break;
            }
        }
        client.expect_eof();
    });
}

#[test]
fn a_download_that_goes_on_is_not_ended() {
    let routes = || {
        Routes::new()
            .get("/", |_: &wireloop::Request<'_>| Response::text(StatusCode::OK, "x".repeat(LONG)))
    };
    let mut short = short();
    short.keep_alive_timeout = Duration::from_millis(300);
    serve_at_once(short, routes, |server| {
        let mut client = server.connect();
        client.send_raw(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        client.read_head();
        read_slowly(&mut client, LONG, Duration::from_secs(3));
    });
}

#[test]
fn a_download_that_is_not_taken_is_ended() {
    let routes = || {
        Routes::new()
            .get("/", |_: &wireloop::Request<'_>| Response::text(StatusCode::OK, "x".repeat(LONG)))
    };
    serve_at_once(short(), routes, |server| {
        let mut client = Client::connect_narrow(server.address());
        client.send_raw(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        thread::sleep(Duration::from_secs(3));
        let mut rest = Vec::new();
        // A reset, or what the kernels had.
        let _ = client.socket().read_to_end(&mut rest);
        assert!(rest.len() < LONG, "{} bytes", rest.len());
    });
}

#[test]
fn a_peer_that_takes_nothing_and_answers_nothing_is_disconnected() {
    serve_at_once(short(), echo, |server| {
        let mut client = Client::connect_narrow(server.address());
        client.upgrade("/");
        let start = Instant::now();
        let message = frame(true, BINARY, [0; 4], &vec![7; 1 << 20]);
        while client.try_send_raw(&message).is_ok() {
            assert!(start.elapsed() < Duration::from_secs(20), "it is still served");
        }
    });
}

#[test]
fn a_busy_connection_of_http_is_kept_alive() {
    serve_at_once(short(), echo, |server| {
        let mut client = server.connect();
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(1500) {
            let response = client.request("GET /none HTTP/1.1\r\nHost: localhost\r\n\r\n");
            assert_eq!(response.status, 404);
            thread::sleep(Duration::from_millis(200));
        }
    });
}

#[test]
fn an_idle_connection_of_http_lives_as_long_as_keep_alive_says() {
    let mut short = short();
    short.keep_alive_timeout = Duration::from_millis(1500);
    serve_at_once(short, echo, |server| {
        let mut client = server.connect();
        for _ in 0..2 {
            let response = client.request("GET /none HTTP/1.1\r\nHost: localhost\r\n\r\n");
            assert_eq!(response.status, 404);
            // Longer than a handshake may take.
            thread::sleep(Duration::from_millis(800));
        }
        let start = Instant::now();
        client.expect_gone();
        assert!(start.elapsed() < Duration::from_secs(5));
    });
}

#[test]
fn a_request_head_has_a_total() {
    serve_at_once(short(), echo, |server| {
        let mut client = server.connect();
        let head = b"GET /none HTTP/1.1\r\nHost: localhost\r\n";
        let start = Instant::now();
        for byte in head.iter().cycle() {
            if client.try_send_raw(&[*byte]).is_err() {
                break;
            }
            assert!(start.elapsed() < Duration::from_secs(10), "it may go on for ever");
            thread::sleep(Duration::from_millis(20));
        }
        assert!(start.elapsed() >= Duration::from_millis(400));
    });
}

#[test]
fn a_message_that_arrives_too_slowly_ends_with_1008() {
    serve_at_once(short(), echo, |server| {
        let byte_by_byte = (&[0x82, 0xfe, 0x10, 0x00, 0, 0, 0, 0][..], &[0][..]);
        let in_fragments = (&[0x02, 0x81, 0, 0, 0, 0, 7][..], &[0x00, 0x81, 0, 0, 0, 0, 7][..]);
        for (begun, more) in [byte_by_byte, in_fragments] {
            let mut client = server.upgrade("/");
            client.send_raw(begun);
            let start = Instant::now();
            let mut reader = client.socket();
            let trickling = thread::spawn(move || {
                let mut writer = reader.try_clone().expect("there is a descriptor left");
                reader.set_read_timeout(Some(Duration::from_millis(100))).expect("not zero");
                let mut buffer = [0; 256];
                let mut seen = Vec::new();
                while start.elapsed() < Duration::from_secs(10) {
                    match reader.read(&mut buffer) {
                        Ok(0) => break,
                        Ok(read) => seen.extend_from_slice(&buffer[..read]),
                        Err(_) => {}
                    }
                    if seen.windows(4).any(|bytes| bytes[0] == 0x88 && bytes[2..] == [0x03, 0xf0]) {
                        return true;
                    }
                    let _ = std::io::Write::write_all(&mut writer, more);
                }
                false
            });
            assert!(trickling.join().expect("it does not panic"), "there was no Close of 1008");
        }
    });
}

#[test]
fn a_message_that_arrives_fast_enough_may_take_its_time() {
    let mut short = short();
    short.min_rate = 100;
    serve_at_once(short, echo, |server| {
        let mut client = server.upgrade("/");
        let message = frame(true, BINARY, [0; 4], &[7; 2000]);
        for part in message.chunks(100) {
            client.send_raw(part);
            thread::sleep(Duration::from_millis(100));
        }
        loop {
            let (first, payload) = client.read_any_frame();
            if first == 0x82 {
                assert_eq!(payload, [7; 2000]);
                break;
            }
            client.send_frame(true, PONG, &payload);
        }
    });
}

/// A session that does not read pauses receiving; that its peer sends nothing is not the peer's fault.
#[test]
fn a_message_that_the_session_does_not_take_is_not_too_slow() {
    let routes = || {
        support::script(|socket: &mut Socket<'_, support::Script>| {
            socket.set_read_timeout(Some(Duration::from_millis(1500)));
            socket.send_ping(b"", |_, _, _| {});
            socket.read_message(|script, socket, received| {
                assert!(matches!(received, Received::TimedOut), "{received:?}");
                let _ = script;
                let _ = socket.close(wireloop::ws::CloseCode::NORMAL, "");
            });
        })
    };
    let mut short = short();
    short.min_rate = 0;
    serve_at_once(short, routes, |server| {
        let mut client = server.upgrade("/");
        client.send_raw(&[0x82, 0xfe, 0x10, 0x00, 0, 0, 0, 0]);
        loop {
            let (first, payload) = client.read_any_frame();
            match first {
                0x89 => client.send_frame(true, PONG, &payload),
                _ => {
                    assert_eq!((first, &payload[..2]), (0x88, &[0x03, 0xe8][..]));
                    break;
                }
            }
        }
    });
}

/// After a pause of the process, as by SIGSTOP, a frozen container or a suspended machine, whatever
/// had arrived in time is read before anybody is judged.
#[test]
fn after_a_pause_everybody_who_answered_in_time_is_served() {
    const PEERS: usize = 1500;
    wireloop::io::sys::raise_file_limit();
    for driver in drivers() {
        let driver = driver.to_string();
        let mut server = Binary::start(&[
            &format!("--driver={driver}"),
            "--ping-interval=1s",
            "--pong-timeout=1s",
        ]);
        let mut peers: Vec<Client> = (0..PEERS).map(|_| server.upgrade("/echo")).collect();
        for peer in &mut peers {
            assert_eq!(peer.read_any_frame().0, 0x80 | PING, "{driver}");
        }
        server.signal(Signal::STOP);
        for peer in &mut peers {
            peer.send_frame(true, PONG, b"in time");
        }
        thread::sleep(Duration::from_millis(2500));
        server.signal(Signal::CONT);
        // A ping that is late gives the peer all of its time.
        thread::sleep(Duration::from_millis(300));
        let mut served = 0;
        for peer in &mut peers {
            peer.send_text("still there?");
        }
        for peer in &mut peers {
            while let Ok((first, _)) = peer.try_read_short_frame() {
                if first == 0x81 {
                    served += 1;
                    break;
                }
            }
        }
        assert_eq!(served, PEERS, "{driver}");
        server.signal(Signal::KILL);
        server.wait();
    }
}

#[test]
fn handshakes_that_arrived_during_a_pause_are_answered() {
    at_once(|driver| {
        let mut server = Binary::start(&[&format!("--driver={driver}"), "--handshake-timeout=1s"]);
        let mut peers: Vec<Client> = (0..200).map(|_| Client::connect(server.address())).collect();
        // All have been accepted when a later one is served.
        server.upgrade("/echo");
        server.signal(Signal::STOP);
        for peer in &mut peers {
            peer.send_raw(support::handshake("/echo", "").as_bytes());
        }
        thread::sleep(Duration::from_millis(1500));
        server.signal(Signal::CONT);
        for peer in &mut peers {
            assert_eq!(peer.read_response().status, 101, "{driver}");
        }
        server.signal(Signal::KILL);
        server.wait();
    });
}

#[test]
fn connections_that_were_opened_together_do_not_ping_together() {
    let long = config(|config| config.ping_interval = Some(Duration::from_secs(2)));
    serve_at_once(long, echo, |server| {
        let mut peers: Vec<Client> = (0..50).map(|_| server.upgrade("/")).collect();
        let start = Instant::now();
        let readers: Vec<_> = peers
            .drain(..)
            .map(|mut peer| {
                thread::spawn(move || {
                    assert_eq!(peer.read_any_frame().0, 0x80 | PING);
                    start.elapsed()
                })
            })
            .collect();
        let mut times: Vec<Duration> =
            readers.into_iter().map(|reader| reader.join().expect("it is pinged")).collect();
        times.sort();
        assert!(times[49] - times[0] > Duration::from_millis(250), "{times:?}");
    });
}

#[test]
fn pings_that_are_turned_off_never_come() {
    let never = config(|config| config.ping_interval = None);
    let sim = Sim::new(1, Faults::default());
    let mut worker =
        Worker::new(sim, Arc::new(echo()), Arc::new(never), vec![()]).expect("it can listen");
    let peer = worker.driver().connect_peer();
    worker.driver().write(peer, support::handshake("/", "").as_bytes());
    (0..20).for_each(|_| assert!(worker.pass().expect("the driver works")));
    assert!(worker.driver().read(peer).starts_with(b"HTTP/1.1 101"));
    // Milliseconds in 32 bits are 49 days.
    for hour in 0..60 * 24 {
        worker.driver().advance(Duration::from_secs(3600));
        (0..5).for_each(|_| assert!(worker.pass().expect("the driver works")));
        assert!(worker.driver().read(peer).is_empty(), "in hour {hour}");
    }
    assert_eq!(worker.connections(), 1);
}
