//! Every limit and every deadline: what is beyond it is refused with the code or status that says
//! so, costs no memory, and harms no other connection.

mod support;

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use support::{
    BINARY, Binary, CONTINUATION, Client, DEADLINE, Events, PING, PONG, TEXT, TestServer, at_once,
    config, drivers, frame, handshake, script, serve_at_once, serve_with,
};
use wireloop::{Config, Echo, Handle, Routes};

const SOON: Duration = Duration::from_millis(150);

fn echo() -> Routes {
    Routes::new().websocket("/", |_request, protocols| Ok(protocols.none().session(Echo)))
}

#[test]
fn a_request_head_that_is_too_long_is_refused() {
    let limits = config(|config| {
        config.head.head_bytes = 1000;
        config.head.headers = 10;
        config.head.target_bytes = 100;
    });
    let target = |length: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(length));
    let headers = |count| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(count));
    let long = format!("GET /none HTTP/1.1\r\nHost: a\r\nA: {}\r\n\r\n", "x".repeat(1000));
    let endless = format!("GET /none HTTP/1.1\r\nHost: a\r\nA: {}", "x".repeat(1000));
    serve_with(limits, echo, |server| {
        for (status, request) in [
            (404, &target(99)),
            (414, &target(100)),
            (414, &"GET /".to_owned().repeat(100)),
            (426, &headers(9)),
            (431, &headers(10)),
            (431, &long),
            // It is refused although its end has not been seen.
            (431, &endless),
        ] {
            let mut client = server.connect();
            assert_eq!(client.request(request).status, status, "{request}");
        }
    });
}

/// A peer that sends a byte now and then gets on, but not far enough.
#[test]
fn a_handshake_that_takes_too_long_is_ended() {
    let limits = config(|config| config.handshake_timeout = SOON);
    serve_with(limits, echo, |server| {
        let mut silent = server.connect();
        let mut slow = server.connect();
        let socket = slow.socket();
        let begun = Instant::now();
        thread::scope(|scope| {
            scope.spawn(move || {
                for byte in handshake("/", "").bytes() {
                    // It fails when the server has had enough.
                    if (&socket).write_all(&[byte]).is_err() {
                        return;
                    }
                    thread::sleep(Duration::from_millis(10));
                }
                panic!("it was allowed to take its time");
            });
            slow.expect_gone();
            silent.expect_gone();
        });
        assert!(begun.elapsed() >= SOON, "nobody is ended early");
    });
}

#[test]
fn what_is_too_long_is_refused_from_its_header_alone() {
    let limits = config(|config| {
        config.frames.frame_bytes = 1000;
        config.frames.message_bytes = 1500;
        config.frames.fragments = 3;
    });
    let exact = frame(true, BINARY, [0; 4], &[1; 1000]);
    let whole = |payload: &[u8]| frame(false, BINARY, [0; 4], payload);
    let more = |payload: &[u8]| frame(false, CONTINUATION, [0; 4], payload);
    // Of each last frame only the header is sent.
    let refused = [
        frame(true, BINARY, [0; 4], &[1; 1001])[..8].to_vec(),
        [whole(&[1; 1000]), more(&[1; 501])[..8].to_vec()].concat(),
        [whole(&[]), more(&[]), more(&[]), more(&[1; 10])[..6].to_vec()].concat(),
    ];
    serve_with(limits, echo, |server| {
        for bytes in &refused {
            let mut client = server.upgrade("/");
            client.send_raw(&exact);
            client.expect_frame(true, BINARY, &[1; 1000]);
            client.send_raw(bytes);
            client.expect_closing(1009);
        }
    });
}

/// The peer takes nothing: what is sent to it is kept up to the limit, then it is disconnected.
#[test]
fn a_peer_that_does_not_take_what_is_sent_is_disconnected_with_1008() {
    let (sender, receiver) = mpsc::channel::<Handle>();
    let (log, events) = Events::new();
    let routes = || {
        let (sender, log) = (sender.clone(), log.clone());
        script(move |socket| {
            let log = log.clone();
            sender.send(socket.handle()).expect("the test waits");
            socket.read_message(move |_, _, received| log.say(received));
        })
    };
    let limits = config(|config| config.send_queue_bytes = 1 << 20);
    serve_with(limits, routes, |server| {
        let mut client = Client::connect_narrow(server.address());
        client.upgrade("/");
        let handle = receiver.recv().expect("the session starts");
        for _ in 0..20 {
            handle.send_binary(vec![7; 1 << 20]).expect("the inbox has room");
        }
        events.expect("Failed(SendQueueFull)");
        let mut taken = 0;
        let code = loop {
            match client.read_frame() {
                (true, BINARY, payload) => taken += payload.len(),
                (true, 8, payload) => break payload[..2].to_vec(),
                other => panic!("not a frame of this test: {} {}", other.0, other.1),
            }
        };
        assert_eq!(code, 1008_u16.to_be_bytes());
        assert!(taken < 20 << 20, "the queue has a limit");
        client.expect_eof();
    });
}

/// Back-pressure: an echo whose peer does not read stops reading, and keeps no more than its
/// limits allow. The rest waits in the kernel, which stops the peer.
#[test]
fn an_echo_whose_peer_does_not_read_stops_the_peer() {
    let server = Binary::start(&[]);
    let mut client = server.upgrade("/echo");
    let message = frame(true, BINARY, [1, 2, 3, 4], &[9; 10_000]);
    let before = server.resident_bytes();
    let sent = client.fill(&message, 256 << 20);
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(sent < 64 << 20, "the peer is stopped, but not after {sent} bytes");
    assert!(grown < 4 << 20, "the server has kept {grown} bytes");
    // Nothing is lost: all that was sent comes back.
    let rest = message[sent % message.len()..].to_vec();
    let mut socket = client.socket();
    let writer = thread::spawn(move || socket.write_all(&rest));
    (0..sent.div_ceil(message.len())).for_each(|_| client.expect_frame(true, BINARY, &[9; 10_000]));
    writer.join().expect("it does not panic").expect("the server takes the rest");
    client.ping_and_wait(b"alive");
}

/// The same before the upgrade: whoever asks and does not read is not asked for more.
#[test]
fn requests_whose_responses_are_not_read_stop_the_peer() {
    let server = Binary::start(&[]);
    let mut client = Client::connect(server.address());
    let request = b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let before = server.resident_bytes();
    let sent = client.fill(request, 64 << 20);
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(sent < 32 << 20, "the peer is stopped, but not after {sent} bytes");
    assert!(grown < 4 << 20, "the server has kept {grown} bytes");
    for _ in 0..1000 {
        assert_eq!(client.read_response().status, 404);
    }
}

/// The same for a session that never reads at all.
#[test]
fn a_session_that_never_reads_stops_its_peer() {
    serve_at_once(
        Config::default(),
        || script(|_socket| {}),
        |server| {
            let mut client = server.upgrade("/");
            client.send_frame(true, TEXT, &[b'x'; 32 << 10]);
            client.ping_and_wait(b"within the bound");
            let sent = client.fill(&frame(true, BINARY, [0; 4], &[9; 10_000]), 256 << 20);
            assert!(sent < 64 << 20, "the peer is stopped, but not after {sent} bytes");
            // The connection is not lost on the rest: it is closed in order when the server stops,
            // which drops what was not read.
            server.stop();
            client.expect_close(1001);
        },
    );
}

/// How much that is: 64 KiB and the receive that exceeds them.
#[test]
fn what_a_session_does_not_read_is_received_up_to_its_bound() {
    serve_with(
        Config::default(),
        || script(|_socket| {}),
        |server| {
            let mut client = server.upgrade("/");
            client.send_frame(true, BINARY, &[1; 60_000]);
            client.ping_and_wait(b"within the bound");
            // One write, and so one receive: with the pong the bound has been exceeded.
            let ping = frame(true, PING, [0; 4], b"at the bound");
            client.send_raw(&[ping, frame(true, BINARY, [0; 4], &[1; 10_000])].concat());
            client.expect_frame(true, PONG, b"at the bound");
            client.send_frame(true, PING, b"beyond the bound");
            client.expect_silence(SOON);
            server.stop();
            client.expect_close(1001);
        },
    );
}

/// What other threads send waits for the end of a fragmented message. That is output which the peer
/// has not taken, and has the same limit.
#[test]
fn messages_that_wait_for_the_end_of_another_have_a_limit() {
    let (sender, receiver) = mpsc::channel::<Handle>();
    let (log, events) = Events::new();
    let routes = || {
        let (sender, log) = (sender.clone(), log.clone());
        script(move |socket| {
            let log = log.clone();
            socket.send_binary_fragment(b"begun", false, |_, _, _| {});
            socket.read_message(move |_, _, received| log.say(received));
            sender.send(socket.handle()).expect("the test waits");
        })
    };
    let limits = config(|config| config.send_queue_bytes = 1 << 20);
    serve_with(limits, routes, |server| {
        let mut client = server.upgrade("/");
        let handle = receiver.recv().expect("the session starts");
        // The last one finds more than the limit.
        for _ in 0..3 {
            handle.send_binary(vec![7; 1 << 20]).expect("the inbox has room");
        }
        events.expect("Failed(SendQueueFull)");
        client.expect_frame(false, BINARY, b"begun");
        client.expect_closing(1008);
    });
}

#[test]
fn a_silent_peer_is_pinged_and_a_vanished_one_disconnected() {
    let limits = config(|config| {
        config.ping_interval = Some(SOON);
        config.pong_timeout = Duration::from_secs(1);
    });
    at_once(|driver| {
        let (log, events) = Events::new();
        let routes = script(move |socket| {
            let log = log.clone();
            socket.read_message(move |_, _, received| log.say(received));
        });
        let server = TestServer::start(driver, routes, limits.clone());
        let mut client = server.upgrade("/");
        for _ in 0..3 {
            let (is_final, opcode, payload) = client.read_frame();
            assert_eq!((is_final, opcode), (true, PING));
            client.send_frame(true, PONG, &payload);
        }
        // Anything else that arrives is a sign of life, too.
        assert_eq!(client.read_frame().1, PING);
        client.send_frame(true, PING, b"I live");
        client.expect_frame(true, PONG, b"I live");
        assert_eq!(client.read_frame().1, PING);
        events.expect_none();
        client.expect_gone();
        events.expect("Failed(PongTimeout)");
    });
}

/// With none at all the server used to accept one connection, and never another.
#[test]
fn a_limit_of_no_connections_is_one_connection() {
    serve_with(config(|config| config.connections = 0), echo, |server| {
        for _ in 0..3 {
            let mut client = server.upgrade("/");
            client.send_text("served");
            client.expect_text("served");
            client.close();
        }
    });
}

/// A burst was accepted as a whole on io_uring, and each further one again.
#[test]
fn connections_beyond_the_limit_take_no_descriptors() {
    for driver in drivers() {
        let arguments = ["--max-connections=10", &format!("--driver={driver}")];
        let server = Binary::start(&arguments);
        let mut served: Vec<Client> = (0..9).map(|_| server.upgrade("/echo")).collect();
        let files = server.open_files();
        for _ in 0..3 {
            let burst: Vec<Client> = (0..100).map(|_| Client::connect(server.address())).collect();
            served[0].send_text("served");
            served[0].expect_text("served");
            assert!(server.open_files() <= files + 1, "{driver}: {}", server.open_files());
            drop(burst);
        }
    }
}

#[test]
fn connections_beyond_the_limit_wait_and_are_served_when_others_end() {
    let limits = config(|config| config.connections = 2);
    serve_with(limits, echo, |server| {
        let mut first = server.upgrade("/");
        let mut second = server.upgrade("/");
        let mut third = server.connect();
        third.send_raw(handshake("/", "").as_bytes());
        third.expect_silence(SOON);
        first.ping_and_wait(b"served");
        second.close();
        drop(second);
        assert_eq!(third.read_response().status, 101);
        third.send_text("served");
        third.expect_text("served");
    });
}

/// Whoever comes when all connections are in use is told so, without a reset that would destroy the
/// answer, and takes one of a few descriptors.
#[test]
fn connections_beyond_the_limit_can_be_refused() {
    for (driver, workers) in drivers().flat_map(|driver| [(driver, 1), (driver, 4)]) {
        let arguments = ["--max-connections=10", "--when-full=refuse", "--quiet"];
        let others = [format!("--driver={driver}"), format!("--workers={workers}")];
        let arguments = [&arguments[..], &others.each_ref().map(|other| &**other)].concat();
        let server = Binary::start_at(([127, 0, 0, 1], 0).into(), &arguments);
        let mut served = server.upgrade("/echo");
        let mut more: Vec<Client> = (1..10).map(|_| server.upgrade("/echo")).collect();
        let files = server.open_files();
        let burst: Vec<Client> = (0..300).map(|_| Client::connect(server.address())).collect();
        thread::scope(|scope| {
            let refused = burst.into_iter().map(|client| scope.spawn(|| expect_refusal(client)));
            let mut refused: Vec<_> = refused.collect();
            while !refused.is_empty() {
                assert!(server.open_files() <= files + 16, "{driver}: {}", server.open_files());
                refused.retain(|client| !client.is_finished());
            }
        });
        served.ping_and_wait(b"served");
        drop(more.pop());
        // The server learns of it in its own time.
        let upgrades = || Client::connect(server.address()).request(&handshake("/echo", "")).status;
        let begun = Instant::now();
        while upgrades() != 101 {
            assert!(begun.elapsed() < DEADLINE, "{driver}: nobody is served any more");
        }
    }
}

/// A connection that is being refused keeps its place for a second, not for as long as it likes.
#[test]
fn a_refusal_waits_for_nobody() {
    for driver in drivers() {
        let arguments =
            ["--max-connections=1", "--when-full=refuse", &format!("--driver={driver}")];
        let server = Binary::start(&arguments);
        let _served = server.upgrade("/echo");
        let mut silent: Vec<Client> = (0..16).map(|_| Client::connect(server.address())).collect();
        let begun = Instant::now();
        expect_refusal(Client::connect(server.address()));
        let took = begun.elapsed();
        assert!(took > Duration::from_millis(500) && took < Duration::from_secs(10), "{took:?}");
        silent.iter_mut().for_each(Client::expect_gone);
    }
}

/// Asks for a WebSocket and gets 503, and the end of the connection behind it.
#[track_caller]
fn expect_refusal(mut client: Client) {
    let response = client.request(&handshake("/echo", ""));
    assert_eq!(response.status, 503);
    assert_eq!(response.header("retry-after"), Some("1"));
    assert_eq!(response.header("connection"), Some("close"));
    client.expect_eof();
}

/// Defect 7 of Perfect-WebSockets: EMFILE ended the server. The binary keeps below its own file
/// limit, so the limit is lowered behind its back, while accepting pauses: io_uring's accept knows
/// the limit of the moment when it was started.
#[test]
fn a_lack_of_descriptors_stops_nobody_and_passes() {
    for driver in drivers() {
        let server = Binary::start(&["--driver", &driver.to_string(), "--max-connections", "60"]);
        let mut existing = server.upgrade("/echo");
        let mut others: Vec<Client> = (1..60).map(|_| server.upgrade("/echo")).collect();
        server.limit_files(50);
        others.truncate(20);
        let mut crowd: Vec<Client> = (0..60).map(|_| Client::connect(server.address())).collect();
        for client in &mut crowd {
            client.send_raw(handshake("/echo", "").as_bytes());
        }
        let used = server.processor_time();
        crowd[59].expect_silence(Duration::from_millis(500));
        let used = server.processor_time() - used;
        assert!(used < Duration::from_millis(250), "waiting for descriptors costs {used:?}");
        existing.send_text("served meanwhile");
        existing.expect_text("served meanwhile");
        let mut last = crowd.pop().expect("there are sixty");
        drop(others);
        drop(crowd);
        assert_eq!(last.read_response().status, 101);
        last.send_text("served at last");
        last.expect_text("served at last");
    }
}

/// A limit below what the server reserves for itself leaves few connections, but not none.
#[test]
fn a_very_low_file_limit_still_serves_one_connection_after_the_other() {
    let server = Binary::start_with_files(50, &["--quiet"]);
    for _ in 0..3 {
        let mut client = server.upgrade("/echo");
        client.send_text("served");
        client.expect_text("served");
        client.close();
    }
}

/// A peer that neither reads nor completes the closing handshake keeps its connection for the
/// deadline of the close only.
#[test]
fn a_peer_that_ignores_the_close_is_reset() {
    let limits = config(|config| config.close_timeout = SOON);
    serve_with(limits, echo, |server| {
        let mut client = server.upgrade("/");
        client.send_raw(b"\xff\xff");
        client.expect_close(1002);
        // Our direction stays open and says nothing: the server's patience ends first.
        let mut socket: TcpStream = client.socket();
        assert!(matches!(socket.read(&mut [0; 10]), Ok(0) | Err(_)));
        while client.try_send_raw(&[0]).is_ok() {
            thread::yield_now();
        }
    });
}
