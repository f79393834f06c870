//! What was wrong in the source of Perfect-WebSockets must not be wrong here: a test for each
//! defect, most serious first. Its end after a failed accept (7) is tested in `limits.rs`, its
//! unbounded stack (12) in `pipelining.rs`; what its users met is in `perfect_handshakes.rs`.

mod support;

use std::{sync::mpsc, thread, time::Duration};

use support::{
    BINARY, CLOSE, CONTINUATION, Events, PING, Script, TEXT, config, frame, handshake, script,
    serve, serve_with,
};
use wireloop::{Echo, Handle, Received, Routes, Socket, ws::CloseCode};

/// The echo service as the seed has it, which insisted on its subprotocol.
fn echo() -> Routes {
    Routes::new().websocket("/echo", |_request, protocols| {
        protocols.choose("echo").map(|accept| accept.session(Echo))
    })
}

/// Sends bytes that violate the protocol: the connection is closed with `code`, and the server
/// serves the next one.
#[track_caller]
fn expect_refused(bytes: &[u8], code: u16) {
    serve(echo, |server| {
        let mut client = server.upgrade("/echo");
        client.send_raw(bytes);
        client.expect_closing(code);
        let mut next = server.upgrade("/echo");
        next.send_text("still here");
        next.expect_text("still here");
    });
}

/// Defect 1: ten bytes crashed the process, by a length that does not fit into a signed integer.
#[test]
fn a_64_bit_length_above_2_63_does_not_crash() {
    expect_refused(b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff", 1002);
    expect_refused(b"\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00", 1002);
}

/// Defect 2: whatever length a header promised was waited for and kept.
#[test]
fn an_endless_frame_is_refused_from_its_header_alone() {
    expect_refused(b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00", 1009);
}

/// Defect 2: a message of endless fragments was kept as well, by every application itself.
#[test]
fn an_endless_message_is_refused() {
    let limits = config(|config| config.frames.message_bytes = 10_000);
    serve_with(limits, echo, |server| {
        let mut client = server.upgrade("/echo");
        client.send_frame(false, BINARY, &[7; 6000]);
        client.send_frame(false, CONTINUATION, &[7; 6000]);
        client.expect_closing(1009);
    });
}

/// Defect 3: a write that had to wait replaced the callback of the read for ever.
#[test]
fn a_slow_reader_does_not_lose_its_session_the_reader() {
    let message = vec![b'x'; 16 << 20];
    let limits = config(|config| config.send_queue_bytes = 64 << 20);
    let routes = || {
        script(|socket| {
            socket.read_message(read_and_answer);
            // More than both kernels take, so that the write has to wait for the peer.
            socket.send_binary(&vec![b'x'; 16 << 20], |_, _, _| {});
        })
    };
    serve_with(limits, routes, |server| {
        let mut client = server.upgrade("/");
        client.send_text("while the write waits");
        client.expect_frame(true, BINARY, &message);
        client.expect_text("while the write waits");
        client.ping_and_wait(b"after it");
        client.close();
    });
}

fn read_and_answer(_: &mut Script, socket: &mut Socket<'_, Script>, received: Received<'_>) {
    if let Received::Text(text) = received {
        socket.send_text(text, |_, socket, _| socket.read_message(read_and_answer));
    }
}

/// Sessions that give their handle to the test.
fn handles(sender: &mpsc::Sender<Handle>) -> Routes {
    let sender = sender.clone();
    script(move |socket| {
        let _ = sender.send(socket.handle());
    })
}

/// Defect 4: sends from two threads wrote into each other's frames.
#[test]
fn concurrent_sends_do_not_corrupt_the_stream() {
    const EACH: usize = 500;
    let (sender, receiver) = mpsc::channel();
    let limits = config(|config| config.send_queue_bytes = 64 << 20);
    serve_with(
        limits,
        || handles(&sender),
        |server| {
            let mut client = server.upgrade("/");
            let handle = receiver.recv().expect("the session starts");
            thread::scope(|scope| {
                for name in *b"abcd" {
                    let handle = handle.clone();
                    scope.spawn(move || {
                        for length in 1..=EACH {
                            handle.send_binary(vec![name; length]).expect("there is room");
                        }
                    });
                }
                let mut lengths = [0; 4];
                for _ in 0..4 * EACH {
                    let (is_final, opcode, payload) = client.read_frame();
                    assert_eq!((is_final, opcode), (true, BINARY));
                    let name = payload[0];
                    assert!(payload.iter().all(|byte| *byte == name), "frames are mixed");
                    let last = &mut lengths[usize::from(name - b'a')];
                    assert_eq!(payload.len(), *last + 1, "one sender's messages stay in order");
                    *last = payload.len();
                }
            });
        },
    );
}

/// Defect 5: an automatic pong between two fragments left as the message's last fragment, with
/// the ping's payload inside, and a Close left as a continuation.
#[test]
fn control_frames_within_a_fragmented_send_stay_control_frames() {
    let routes = || {
        script(|socket| {
            socket.send_text_fragment("one ", false, |_, _, _| {});
            socket.read_message(|_, socket, _| {
                socket.send_ping(b"own", |_, _, _| {});
                socket.send_text_fragment("two ", false, |_, _, _| {});
                socket.close(CloseCode::NORMAL, "").expect("it is open");
            });
        })
    };
    serve(routes, |server| {
        let mut client = server.upgrade("/");
        client.expect_frame(false, TEXT, b"one ");
        client.ping_and_wait(b"between");
        client.send_text("go on");
        client.expect_frame(true, PING, b"own");
        client.expect_frame(false, CONTINUATION, b"two ");
        client.expect_closing(1000);
    });
}

/// Defect 6 and ISS-342: a timeout was armed and never delivered.
#[test]
fn a_read_timeout_is_delivered_and_the_session_goes_on() {
    let (log, events) = Events::new();
    let routes = || {
        let log = log.clone();
        script(move |socket| {
            let log = log.clone();
            socket.set_read_timeout(Some(Duration::from_millis(20)));
            socket.read_message(move |_, socket, received| {
                log.say(received);
                socket.set_read_timeout(None);
                socket.read_message(move |_, _, received| log.say(received));
            });
        })
    };
    serve(routes, |server| {
        let mut client = server.upgrade("/");
        // Half a frame is no message: the timeout comes, and the half is kept.
        let hello = frame(true, TEXT, [1, 2, 3, 4], b"hello");
        client.send_raw(&hello[..8]);
        events.expect("TimedOut");
        client.send_raw(&hello[8..]);
        events.expect("Text(\"hello\")");
    });
}

/// Defect 8: a string ended at its first bad byte, as if the rest had not been sent.
#[test]
fn text_that_is_not_utf8_is_refused_and_never_truncated() {
    expect_refused(&frame(true, TEXT, [9, 8, 7, 6], b"good\xffbad"), 1007);
}

/// Defect 8: a character that a fragment cut was lost, and the whole next fragment with it.
#[test]
fn a_character_cut_by_a_fragment_arrives_whole() {
    serve(echo, |server| {
        let mut client = server.upgrade("/echo");
        let text = "αβγ€𝄞";
        for cut in 1..text.len() {
            client.send_frame(false, TEXT, &text.as_bytes()[..cut]);
            client.send_frame(true, CONTINUATION, &text.as_bytes()[cut..]);
            client.expect_text(text);
        }
    });
}

/// Defect 9: neither code nor reason were sent, shown or answered, and nil meant five things.
#[test]
fn close_codes_and_reasons_pass_both_ways() {
    let (log, events) = Events::new();
    let routes = || {
        let log = log.clone();
        script(move |socket| {
            let log = log.clone();
            socket.read_message(move |_, socket, received| {
                log.say(&received);
                if let Received::Text(reason) = received {
                    socket.close(CloseCode(4001), reason).expect("it is open");
                }
            });
        })
    };
    serve(routes, |server| {
        let mut client = server.upgrade("/");
        client.send_close(4000, "theirs");
        assert_eq!(client.expect_close(4000), "theirs");
        client.expect_eof();
        events.expect("Closed { code: 4000, reason: \"theirs\" }");

        let mut client = server.upgrade("/");
        client.send_text("ours");
        assert_eq!(client.expect_close(4001), "ours");
        client.send_close(4001, "");
        client.expect_eof();
        events.expect("Text(\"ours\")");
    });
}

/// Defect 9: a peer that vanished, one that closed and one that broke the rules looked the same.
#[test]
fn the_ways_to_end_are_told_apart() {
    let (log, events) = Events::new();
    let routes = || {
        let log = log.clone();
        script(move |socket| {
            let log = log.clone();
            socket.read_message(move |_, _, received| log.say(received));
        })
    };
    serve(routes, |server| {
        server.upgrade("/").send_frame(true, CLOSE, b"");
        events.expect("Closed { code: 1005, reason: \"\" }");
        server.upgrade("/").shutdown();
        events.expect("Closed { code: 1006, reason: \"\" }");
        let client = server.upgrade("/");
        let socket = socket2::SockRef::from(&client.socket()).set_linger(Some(Duration::ZERO));
        socket.expect("a socket can be told to reset");
        drop(client);
        let event = events.next();
        assert!(event.starts_with("Failed(Io(") && event.contains("ConnectionReset"), "{event}");
        server.upgrade("/").send_raw(b"\x81\x00");
        events.expect("Failed(Protocol(UnmaskedFrame))");
    });
}

/// Defect 10: all of this was accepted, and reserved opcodes came with their payload.
#[test]
fn violations_of_the_protocol_are_refused() {
    let masked = |head: &[u8], payload: usize| [head, &[0; 4], &vec![0; payload]].concat();
    let violations = [
        ("RSV1", masked(b"\xc1\x80", 0)),
        ("RSV2", masked(b"\xa1\x80", 0)),
        ("RSV3", masked(b"\x91\x80", 0)),
        ("opcode 3", masked(b"\x83\x80", 0)),
        ("opcode 7", masked(b"\x87\x80", 0)),
        ("opcode 11", masked(b"\x8b\x80", 0)),
        ("opcode 15", masked(b"\x8f\x80", 0)),
        ("a ping of 126 bytes", masked(b"\x89\xfe\x00\x7e", 126)),
        ("a fragmented ping", masked(b"\x09\x80", 0)),
        ("a fragmented close", masked(b"\x08\x80", 0)),
        ("a close of one byte", masked(b"\x88\x81", 1)),
        ("a close code of 0", masked(b"\x88\x82", 2)),
        ("an orphan continuation", masked(b"\x80\x80", 0)),
        ("a message in a message", [masked(b"\x01\x80", 0), masked(b"\x81\x80", 0)].concat()),
        ("5 bytes in 16 bits", masked(b"\x82\xfe\x00\x05", 5)),
        ("5 bytes in 64 bits", masked(b"\x82\xff\x00\x00\x00\x00\x00\x00\x00\x05", 5)),
        ("65535 in 64 bits", masked(b"\x82\xff\x00\x00\x00\x00\x00\x00\xff\xff", 65_535)),
        ("no mask", b"\x81\x05hello".to_vec()),
    ];
    serve(echo, |server| {
        for (name, bytes) in &violations {
            let mut client = server.upgrade("/echo");
            client.send_raw(bytes);
            let (is_final, opcode, payload) = client.read_frame();
            assert_eq!((is_final, opcode), (true, CLOSE), "{name}");
            assert_eq!(payload.get(..2), Some(&1002_u16.to_be_bytes()[..]), "{name}");
            client.send_close(1002, "");
            client.expect_eof();
        }
    });
}

/// Defect 11: the completion of a send was the same whether it had been sent or not.
#[test]
fn a_send_tells_its_result() {
    let (log, events) = Events::new();
    let routes = || {
        let log = log.clone();
        script(move |socket| {
            let (sent, refused) = (log.clone(), log.clone());
            socket.send_text("out", move |_, _, result| sent.say(result));
            socket.close(CloseCode::NORMAL, "").expect("it is open");
            socket.send_text("too late", move |_, _, result| refused.say(result));
        })
    };
    serve(routes, |server| {
        let mut client = server.upgrade("/");
        client.expect_text("out");
        client.expect_closing(1000);
        events.expect("Ok(())");
        events.expect("Err(Misuse(Closing))");
    });
}

/// Defect 13: without an outstanding read no ping was answered and no Close was seen.
#[test]
fn pings_and_close_are_served_without_a_read() {
    serve(
        || script(|_socket| {}),
        |server| {
            let mut client = server.upgrade("/");
            client.ping_and_wait(b"anyone?");
            client.send_text("that nobody reads");
            client.ping_and_wait(b"behind it");
            client.close();
        },
    );
}

/// Defect 14 and scratch-link #98, #117: two threads that closed at once crashed the process.
#[test]
fn threads_that_close_at_once_do_no_harm() {
    let (sender, receiver) = mpsc::channel();
    serve(
        || handles(&sender),
        |server| {
            for _ in 0..50 {
                let mut client = server.upgrade("/");
                let handle = receiver.recv().expect("the session starts");
                thread::scope(|scope| {
                    for code in [4001, 4002] {
                        let handle = handle.clone();
                        scope.spawn(move || handle.close(CloseCode(code), "").expect("it runs"));
                    }
                });
                let (_, opcode, payload) = client.read_frame();
                assert_eq!(opcode, CLOSE);
                assert!(matches!(payload[..], [0x0f, 0xa1 | 0xa2]), "{payload:?}");
                client.send_close(4001, "");
                client.expect_eof();
            }
        },
    );
}

/// Defect 15: sockets were compared by descriptor, which the next connection gets again.
#[test]
fn a_handle_of_an_ended_connection_never_reaches_its_successor() {
    let (sender, receiver) = mpsc::channel();
    serve(
        || handles(&sender),
        |server| {
            server.upgrade("/").close();
            let old = receiver.recv().expect("the session starts");
            let mut successor = server.upgrade("/");
            let new = receiver.recv().expect("the session starts");
            old.send_text("for the one before").expect("the server runs");
            old.close(CloseCode::NORMAL, "").expect("the server runs");
            new.send_text("for this one").expect("the server runs");
            successor.expect_text("for this one");
            successor.close();
        },
    );
}

/// Defect 16: frames that came with the handshake were thrown away.
#[test]
fn frames_sent_with_the_handshake_are_served() {
    serve(echo, |server| {
        let mut client = server.connect();
        let mut eager = handshake("/echo", "").into_bytes();
        eager.extend(frame(true, TEXT, [1, 2, 3, 4], b"eager"));
        eager.extend(&frame(true, TEXT, [1, 2, 3, 4], b"cut")[..7]);
        client.send_raw(&eager);
        assert_eq!(client.read_response().status, 101);
        client.expect_text("eager");
        client.send_raw(&frame(true, TEXT, [1, 2, 3, 4], b"cut")[7..]);
        client.expect_text("cut");
    });
}

/// Defect 17: the 101 had a Content-Length, which RFC 9110 section 8.6 forbids.
#[test]
fn the_101_has_no_content_length() {
    serve(echo, |server| {
        let response = server.connect().request(&handshake("/echo", ""));
        assert_eq!(response.status, 101);
        assert_eq!(response.header("Content-Length"), None);
        assert_eq!(response.header("Transfer-Encoding"), None);
        assert_eq!(response.header("Connection").map(str::to_lowercase), Some("upgrade".into()));
    });
}
