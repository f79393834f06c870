//! RFC 6455 sections 5.5.1, 7.1 and 7.4: how connections end, in order and without.

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::Duration,
};

use wireloop::{Config, ws::CloseCode};

use super::{
    echo,
    support::{
        BINARY, CLOSE, Client, Events, PING, TEXT, config, frame, script, serve, serve_with,
    },
};

/// A server that does not wait long for peers that stay after the end.
fn impatient() -> Config {
    config(|config| config.close_timeout = Duration::from_millis(100))
}

/// Also CVE-2026-45736 of `ws`: a reason whose copy held memory of others.
#[test]
fn rfc6455_5_5_1_a_close_is_answered_with_its_code_and_reason_of_every_length() {
    let reason = |length: usize| -> String { ('!'..='~').cycle().take(length).collect() };
    serve(echo, |server| {
        for length in 0..=123 {
            let mut client = server.upgrade("/");
            client.send_close(3000 + length as u16, &reason(length));
            assert_eq!(client.expect_close(3000 + length as u16), reason(length));
            client.expect_eof();
        }
    });
}

#[test]
fn rfc6455_5_5_1_a_close_without_a_body_is_answered_without_one() {
    serve(echo, |server| {
        let mut client = server.upgrade("/");
        client.send_frame(true, CLOSE, b"");
        client.expect_frame(true, CLOSE, b"");
        client.expect_eof();
    });
}

#[test]
fn rfc6455_5_5_1_a_close_body_of_one_byte_is_refused() {
    serve(echo, |server| {
        for byte in [0, 3, 255] {
            let mut client = server.upgrade("/");
            client.send_frame(true, CLOSE, &[byte]);
            client.expect_close(1002);
            client.expect_eof();
        }
    });
}

#[test]
fn rfc6455_5_5_1_a_reason_is_utf8() {
    serve(echo, |server| {
        for reason in [&b"\xff"[..], b"a\xc3", b"\xed\xa0\x80", &[0x80; 123]] {
            let mut client = server.upgrade("/");
            client.send_frame(true, CLOSE, &[&1000_u16.to_be_bytes(), reason].concat());
            client.expect_close(1007);
            client.expect_eof();
        }
        let mut client = server.upgrade("/");
        client.send_close(1000, "tschüß 😀");
        assert_eq!(client.expect_close(1000), "tschüß 😀");
    });
}

/// 7.4.1 and 7.4.2, with the codes that were registered later: 1000 to 1003, 1007 to 1014, and
/// all from 3000 to 4999 are answered with themselves, all others are protocol errors.
#[test]
fn rfc6455_7_4_every_code_is_one_that_may_be_sent_or_is_refused() {
    let registered = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014];
    serve(echo, |server| {
        for code in (0..=5001).chain([6000, 10_000, 32_768, 65_535]) {
            let is_good = registered.contains(&code) || (3000..=4999).contains(&code);
            let mut client = server.upgrade("/");
            client.send_close(code, "");
            client.expect_close(if is_good { code } else { 1002 });
            client.expect_eof();
        }
    });
}

/// The server ends its direction first, and does not reset: the client reads to the end although
/// it has not ended its own.
#[test]
fn rfc6455_7_1_1_the_server_closes_first() {
    serve_with(impatient(), echo, |server| {
        let mut client = server.upgrade("/");
        client.send_close(1000, "");
        client.expect_close(1000);
        client.expect_eof();
        // And then it is gone: nothing holds what a peer forgets to close.
        expect_reset_at_last(client.socket());
    });
}

/// The same, for a connection that fails.
#[test]
fn rfc6455_7_1_7_the_server_closes_first_when_it_fails_the_connection() {
    serve_with(impatient(), echo, |server| {
        let mut client = server.upgrade("/");
        client.send_raw(&[0xff]);
        client.expect_close(1002);
        client.send_close(1002, "");
        client.expect_eof();
        expect_reset_at_last(client.socket());
    });
}

/// The peer is gone: the kernel resets what it is sent, sooner or later.
fn expect_reset_at_last(mut socket: TcpStream) {
    while socket.write_all(&[0; 100]).is_ok() {
        thread::yield_now();
    }
}

/// A server that closed its socket while data is in flight would reset the connection, and the
/// Close would be lost with it.
#[test]
fn rfc6455_7_1_1_a_close_is_seen_although_data_was_in_flight() {
    serve(echo, |server| {
        for code in [1002, 1009] {
            let mut client = server.upgrade("/");
            let bad = match code {
                1002 => vec![0x83, 0x80, 0, 0, 0, 0],
                _ => [&[0x82, 0xff][..], &(1_u64 << 40).to_be_bytes(), &[0; 4]].concat(),
            };
            let mut socket = client.socket();
            let flood = thread::spawn(move || {
                let _ = socket.write_all(&bad);
                // Far more than both kernels keep: the server has to take it from them.
                (0..64).take_while(|_| socket.write_all(&[0x55; 256 << 10]).is_ok()).count()
            });
            assert_eq!(flood.join().expect("it does not panic"), 64, "nothing is reset");
            client.expect_close(code);
            client.send_close(code, "");
            client.expect_eof();
        }
    });
}

/// Both ends start the closing handshake before they see the other's Close: one each is enough.
/// A thousand times, because it is a race (Tomcat CVE-2024-23672, CVE-2022-25762).
#[test]
fn rfc6455_7_1_5_both_ends_may_close_at_once() {
    let routes = || {
        script(|socket| {
            socket.read_message(|_, socket, _| {
                socket.close(CloseCode(4001), "mine").expect("it is open");
            });
        })
    };
    serve(routes, |server| {
        for number in 0..1000 {
            let mut client = server.upgrade("/");
            let start = frame(true, TEXT, [0; 4], b"close");
            let close = frame(true, CLOSE, [0; 4], &4002_u16.to_be_bytes());
            if number % 2 == 0 {
                // In one segment: both are there before the server's Close leaves.
                client.send_raw(&[start, close].concat());
            } else {
                client.send_raw(&start);
                client.send_raw(&close);
            }
            assert_eq!(client.expect_close(4001), "mine");
            client.expect_eof();
        }
    });
}

/// What arrives between our Close and the peer's is read, pings are not answered (5.5.2), and
/// nothing is sent any more.
#[test]
fn rfc6455_5_5_1_nothing_is_sent_after_a_close() {
    let (log, events) = Events::new();
    let routes = || {
        let log = log.clone();
        script(move |socket| {
            let log = log.clone();
            socket.close(CloseCode(4001), "").expect("it is open");
            socket.send_text("too late", {
                let log = log.clone();
                move |_, _, result| log.say(result)
            });
            socket.read_message(move |_, _, received| log.say(received));
        })
    };
    serve(routes, |server| {
        let mut client = server.upgrade("/");
        client.send_frame(true, PING, b"not answered");
        client.send_text("read");
        client.expect_close(4001);
        events.expect("Err(Misuse(Closing))");
        events.expect("Text(\"read\")");
        client.send_frame(true, PING, b"not answered");
        client.send_close(4001, "");
        client.expect_eof();
    });
}

/// A peer that ends its direction without a Close has lost the connection, but still gets what
/// it has asked for.
#[test]
fn rfc6455_7_1_4_after_the_peers_end_what_it_asked_for_is_sent() {
    serve(echo, |server| {
        let mut client = server.upgrade("/");
        client.send_text("one");
        client.send_frame(true, BINARY, &[2; 100_000]);
        client.shutdown();
        client.expect_text("one");
        client.expect_frame(true, BINARY, &[2; 100_000]);
        client.expect_gone();
    });
}

/// An end anywhere in a frame: the session is told that it was none in order, once.
#[test]
fn rfc6455_7_1_5_an_end_without_a_close_is_abnormal() {
    let (log, events) = Events::new();
    let routes = || {
        let log = log.clone();
        script(move |socket| {
            let log = log.clone();
            socket.read_message(move |_, _, received| log.say(received));
        })
    };
    let wire = frame(true, TEXT, [1, 2, 3, 4], &[b'x'; 200]);
    serve(routes, |server| {
        for cut in [0, 1, 2, 3, 5, 8, 9, 100, wire.len() - 1] {
            let mut client = server.upgrade("/");
            client.send_raw(&wire[..cut]);
            client.shutdown();
            client.expect_gone();
            events.expect("Closed { code: 1006, reason: \"\" }");
        }
        events.expect_none();
    });
}

/// The same with a reset.
#[test]
fn rfc6455_7_1_5_a_reset_anywhere_in_a_frame_harms_no_other() {
    let (log, events) = Events::new();
    let routes = || {
        let log = log.clone();
        script(move |socket| {
            let log = log.clone();
            socket.read_message(move |_, _, received| log.say(received));
        })
    };
    let wire = frame(true, TEXT, [1, 2, 3, 4], &[b'x'; 200]);
    serve(routes, |server| {
        for cut in [0, 1, 2, 3, 5, 8, 9, 100, wire.len() - 1] {
            let mut other = server.upgrade("/");
            let mut client = server.upgrade("/");
            client.send_raw(&wire[..cut]);
            reset(client);
            let event = events.next();
            assert!(event.contains("ConnectionReset"), "{event}");
            other.ping_and_wait(b"served");
            other.send_close(1000, "");
            other.expect_close(1000);
            events.expect("Closed { code: 1000, reason: \"\" }");
        }
        events.expect_none();
    });
}

/// Closes the connection with a reset in place of an end.
fn reset(client: Client) {
    let socket = socket2::Socket::from(client.socket());
    socket.set_linger(Some(Duration::ZERO)).expect("the socket is open");
    drop((socket, client));
}

/// Whoever neither answers our Close nor ends is disconnected at the deadline, however it goes on
/// sending.
#[test]
fn rfc6455_7_1_1_a_peer_that_never_answers_the_close_is_disconnected() {
    serve_with(impatient(), echo, |server| {
        let mut client = server.upgrade("/");
        let mut other = server.upgrade("/");
        client.send_raw(&[0x83]);
        client.expect_close(1002);
        let mut socket = client.socket();
        while socket.write_all(&frame(true, TEXT, [0; 4], b"still here")).is_ok() {
            thread::yield_now();
        }
        assert!(!matches!(socket.read(&mut [0; 1]), Ok(1)));
        other.ping_and_wait(b"served");
    });
}
