//! The programming model: reads, sends and their continuations, as a session sees them and as its
//! peer sees them. How connections end is in `endings.rs`, HTTP in `requests.rs`.

mod support;

use std::{sync::mpsc, thread, time::Duration};

use support::{
    BINARY, CONTINUATION, Client, DEADLINE, Events, Log, PING, PONG, Script, TEXT, config, frame,
    script, serve, serve_with,
};
use wireloop::{Error, Handle, Received, Routes, Session, Socket};

/// Reads for ever and says what was read.
struct Reader {
    log: Log,
    by_frame: bool,
}

impl Session for Reader {
    fn start(&mut self, socket: &mut Socket<'_, Self>) {
        if self.by_frame {
            socket.read_frame(Self::received);
        } else {
            socket.read_message(Self::received);
        }
    }

    fn pong(&mut self, _socket: &mut Socket<'_, Self>, payload: &[u8]) {
        self.log.note(format!("pong {}", payload.escape_ascii()));
    }
}

impl Reader {
    fn received(&mut self, socket: &mut Socket<'_, Self>, received: Received<'_>) {
        let has_ended = matches!(received, Received::Closed { .. } | Received::Failed(_));
        self.log.say(received);
        if !has_ended {
            self.start(socket);
        }
    }
}

fn reader(log: &Log, by_frame: bool) -> Routes {
    let log = log.clone();
    Routes::new().websocket("/", move |_request, protocols| {
        Ok(protocols.none().session(Reader { log: log.clone(), by_frame }))
    })
}

/// "Hi" in three fragments, with a ping in the middle.
fn send_fragmented(client: &mut Client) {
    client.send_frame(false, TEXT, b"H");
    client.send_frame(false, CONTINUATION, b"");
    client.send_frame(true, PING, b"in between");
    client.send_frame(true, CONTINUATION, b"i");
    client.expect_frame(true, PONG, b"in between");
}

#[test]
fn read_message_gets_whole_messages() {
    let (log, events) = Events::new();
    serve(
        || reader(&log, false),
        |server| {
            let mut client = server.upgrade("/");
            send_fragmented(&mut client);
            events.expect("Text(\"Hi\")");
            client.send_frame(true, BINARY, b"\x00\xff");
            events.expect("Binary([0, 255])");
            client.send_text("");
            events.expect("Text(\"\")");
            client.close();
            events.expect("Closed { code: 1000, reason: \"\" }");
        },
    );
}

#[test]
fn read_frame_gets_every_fragment_with_its_opcode_and_whether_it_is_the_last() {
    let (log, events) = Events::new();
    serve(
        || reader(&log, true),
        |server| {
            let mut client = server.upgrade("/");
            send_fragmented(&mut client);
            events.expect("Frame(Frame { opcode: Text, is_final: false, payload: [72] })");
            events.expect("Frame(Frame { opcode: Continuation, is_final: false, payload: [] })");
            events.expect("Frame(Frame { opcode: Continuation, is_final: true, payload: [105] })");
            client.send_frame(true, BINARY, b"!");
            events.expect("Frame(Frame { opcode: Binary, is_final: true, payload: [33] })");
        },
    );
}

#[test]
fn a_message_that_arrives_byte_by_byte_is_read_once() {
    let (log, events) = Events::new();
    serve(
        || reader(&log, false),
        |server| {
            let mut client = server.upgrade("/");
            for byte in frame(true, TEXT, [1, 2, 3, 4], b"slowly") {
                client.send_raw(&[byte]);
            }
            events.expect("Text(\"slowly\")");
            events.expect_none();
        },
    );
}

#[test]
fn messages_of_every_length_form_arrive_and_return() {
    let routes = || Routes::new().websocket("/", |_, p| Ok(p.none().session(wireloop::Echo)));
    serve(routes, |server| {
        let mut client = server.upgrade("/");
        for length in [0, 1, 125, 126, 127, 65_535, 65_536, 3_000_000] {
            let payload: Vec<u8> = (0..length).map(|index| (index % 251) as u8).collect();
            let mut socket = client.socket();
            let bytes = frame(true, BINARY, [0xde, 0xad, 0xbe, 0xef], &payload);
            thread::scope(|scope| {
                scope.spawn(move || std::io::Write::write_all(&mut socket, &bytes));
                client.expect_frame(true, BINARY, &payload);
            });
        }
    });
}

#[test]
fn frame_and_message_reads_do_not_mix_within_a_message() {
    let (log, events) = Events::new();
    let routes = || {
        let log = log.clone();
        script(move |socket| {
            let log = log.clone();
            socket.read_frame(move |_, socket, received| {
                log.say(received);
                let rest = log.clone();
                socket.read_message(move |_, socket, received| {
                    log.say(received);
                    socket.read_frame(move |_, socket, received| {
                        rest.say(received);
                        socket.read_message(move |_, _, received| rest.say(received));
                    });
                });
            });
        })
    };
    serve(routes, |server| {
        let mut client = server.upgrade("/");
        client.send_frame(false, BINARY, &[1]);
        client.send_frame(true, CONTINUATION, &[2]);
        client.send_text("whole");
        events.expect("Frame(Frame { opcode: Binary, is_final: false, payload: [1] })");
        events.expect("Failed(Misuse(MessageInProgress))");
        events.expect("Frame(Frame { opcode: Continuation, is_final: true, payload: [2] })");
        events.expect("Text(\"whole\")");
    });
}

#[test]
fn a_second_read_is_refused_and_the_first_one_stands() {
    let (log, events) = Events::new();
    let routes = || {
        let log = log.clone();
        script(move |socket| {
            let (first, second) = (log.clone(), log.clone());
            socket.read_message(move |_, _, received| first.say(received));
            socket.read_frame(move |_, _, received| second.say(received));
        })
    };
    serve(routes, |server| {
        let mut client = server.upgrade("/");
        events.expect("Failed(Misuse(ReadOutstanding))");
        client.send_text("for the first");
        events.expect("Text(\"for the first\")");
    });
}

#[test]
fn read_timeouts_repeat_and_can_be_changed_while_a_read_is_outstanding() {
    struct Impatient(Log, u32);
    impl Session for Impatient {
        fn start(&mut self, socket: &mut Socket<'_, Self>) {
            socket.read_message(Self::received);
            socket.set_read_timeout(Some(Duration::from_millis(10)));
        }
    }
    impl Impatient {
        fn received(&mut self, socket: &mut Socket<'_, Self>, received: Received<'_>) {
            self.0.say(received);
            self.1 += 1;
            socket.read_message(Self::received);
            if self.1 == 3 {
                socket.set_read_timeout(None);
                socket.send_text("I wait now", |_, _, _| {});
            }
        }
    }
    let (log, events) = Events::new();
    let routes = || {
        let log = log.clone();
        Routes::new().websocket("/", move |_request, protocols| {
            Ok(protocols.none().session(Impatient(log.clone(), 0)))
        })
    };
    serve(routes, |server| {
        let mut client = server.upgrade("/");
        (0..3).for_each(|_| events.expect("TimedOut"));
        client.expect_text("I wait now");
        // Four times as long as a read could wait before.
        client.expect_silence(Duration::from_millis(250));
        events.expect_none();
        client.send_text("at last");
        events.expect("Text(\"at last\")");
    });
}

#[test]
fn fragments_are_sent_as_fragments_and_pings_are_answered_between() {
    let routes = || {
        script(|socket| {
            socket.send_binary_fragment(b"a", false, |_, _, _| {});
            socket.send_ping(b"mine", |_, _, _| {});
            socket.read_message(|_, socket, _| {
                socket.send_binary_fragment(b"", false, |_, _, _| {});
                socket.send_binary_fragment(b"b", true, |_, _, _| {});
                socket.send_text_fragment("alone", true, |_, _, _| {});
            });
        })
    };
    serve(routes, |server| {
        let mut client = server.upgrade("/");
        client.expect_frame(false, BINARY, b"a");
        client.expect_frame(true, PING, b"mine");
        client.ping_and_wait(b"theirs");
        client.send_text("go on");
        client.expect_frame(false, CONTINUATION, b"");
        client.expect_frame(true, CONTINUATION, b"b");
        client.expect_text("alone");
    });
}

#[test]
fn sends_that_are_not_allowed_are_refused_with_a_typed_error_and_no_effect() {
    let (log, events) = Events::new();
    let routes = || {
        let log = log.clone();
        script(move |socket| {
            let say = |log: &Log| {
                let log = log.clone();
                move |_: &mut Script, _: &mut Socket<'_, Script>, result: Result<(), Error>| {
                    log.say(result);
                }
            };
            socket.send_ping(&[0; 126], say(&log));
            socket.send_pong(&[0; 126], say(&log));
            socket.send_text_fragment("begun ", false, say(&log));
            socket.send_text("whole", say(&log));
            socket.send_binary_fragment(b"of another kind", false, say(&log));
            socket.send_pong(b"fine", say(&log));
            socket.send_text_fragment("ended", true, say(&log));
        })
    };
    serve(routes, |server| {
        let mut client = server.upgrade("/");
        client.expect_frame(false, TEXT, b"begun ");
        client.expect_frame(true, PONG, b"fine");
        client.expect_frame(true, CONTINUATION, b"ended");
        let refused = [
            "ControlPayloadTooLong",
            "ControlPayloadTooLong",
            "",
            "MessageInProgress",
            "MessageInProgress",
            "",
            "",
        ];
        for misuse in refused {
            let refused = format!("Err(Misuse({misuse}))");
            events.expect(if misuse.is_empty() { "Ok(())" } else { &refused });
        }
        client.ping_and_wait(b"alive");
    });
}

#[test]
fn continuations_run_once_in_order_and_never_within_the_call_that_names_them() {
    let (log, events) = Events::new();
    let routes = || {
        let log = log.clone();
        script(move |socket| {
            for number in 0..100 {
                let log = log.clone();
                socket.send_text("x", move |_, socket, _| {
                    let inner = log.clone();
                    socket.send_text("y", move |_, _, _| inner.note(format!("second {number}")));
                    log.note(format!("first {number}"));
                });
            }
            log.note("start returns");
        })
    };
    serve(routes, |server| {
        let client = server.upgrade("/");
        events.expect("start returns");
        (0..100).for_each(|number| events.expect(&format!("first {number}")));
        (0..100).for_each(|number| events.expect(&format!("second {number}")));
        drop(client);
        events.expect_none();
    });
}

/// Asks for nothing.
struct Idle;

impl Session for Idle {
    fn start(&mut self, _socket: &mut Socket<'_, Self>) {}
}

#[test]
fn the_completion_of_a_send_waits_until_the_peer_takes_it() {
    let (log, events) = Events::new();
    let routes = || {
        let log = log.clone();
        script(move |socket| {
            let (first, second) = (log.clone(), log.clone());
            socket.send_binary(&[0; 100], move |_, _, result| first.say(result));
            socket.send_binary(&vec![0; 16 << 20], move |_, _, _| second.note("taken"));
            log.note("sent");
        })
        .websocket("/idle", |_request, protocols| Ok(protocols.none().session(Idle)))
    };
    let limits = config(|config| config.send_queue_bytes = 32 << 20);
    serve_with(limits, routes, |server| {
        let mut client = Client::connect_narrow(server.address());
        client.upgrade("/");
        events.expect("sent");
        // The worker answers another client: it has done all it could for this one.
        server.upgrade("/idle").ping_and_wait(b"");
        events.expect_none();
        client.expect_frame(true, BINARY, &[0; 100]);
        client.expect_frame(true, BINARY, &vec![0; 16 << 20]);
        // Both were asked for while 16 MiB waited, so both wait for the peer.
        events.expect("Ok(())");
        events.expect("taken");
    });
}

#[test]
fn a_handle_sends_from_any_thread_and_never_into_a_fragmented_message() {
    let (sender, receiver) = mpsc::channel::<Handle>();
    let routes = || {
        let sender = sender.clone();
        script(move |socket| {
            sender.send(socket.handle()).expect("the test waits");
            socket.send_text_fragment("one ", false, |_, _, _| {});
            socket.read_message(|_, socket, _| {
                socket.send_text_fragment("two ", false, |_, _, _| {});
                socket.send_text_fragment("three", true, |_, _, _| {});
                socket.send_text("from the session", |_, _, _| {});
            });
        })
    };
    serve(routes, |server| {
        let mut client = server.upgrade("/");
        let handle = receiver.recv().expect("the session starts");
        client.expect_frame(false, TEXT, b"one ");
        handle.send_text("from the handle").expect("the server runs");
        handle.send_binary(b"and again".to_vec()).expect("the server runs");
        // The worker has looked into its inbox before it can answer what was sent later.
        client.ping_and_wait(b"1");
        client.ping_and_wait(b"2");
        client.send_text("go on");
        client.expect_frame(false, CONTINUATION, b"two ");
        client.expect_frame(true, CONTINUATION, b"three");
        client.expect_text("from the handle");
        client.expect_frame(true, BINARY, b"and again");
        client.expect_text("from the session");
        handle.send_text("outside a message").expect("the server runs");
        client.expect_text("outside a message");
    });
}

#[test]
fn a_pong_comes_to_its_hook_and_the_servers_own_pings_tell_the_round_trip() {
    let (log, events) = Events::new();
    let routes = || {
        let log = log.clone();
        reader(&log, false).websocket("/round-trip", move |_request, protocols| {
            let log = log.clone();
            Ok(protocols.none().session(RoundTrip(log)))
        })
    };
    let limits = config(|config| config.ping_interval = Some(Duration::from_millis(300)));
    serve_with(limits, routes, |server| {
        let mut client = server.upgrade("/");
        client.send_frame(true, PONG, b"unasked");
        events.expect("pong unasked");
        answer_ping(&mut client);
        client.send_text("no pong of the server's own was told");
        events.expect("Text(\"no pong of the server's own was told\")");
        client.close();
        events.expect("Closed { code: 1000, reason: \"\" }");

        let mut client = server.upgrade("/round-trip");
        client.send_text("before");
        events.expect("None");
        answer_ping(&mut client);
        client.send_text("after");
        let round_trip = events.next();
        assert!(round_trip.starts_with("Some(") && round_trip.ends_with("s)"), "{round_trip}");
    });
}

fn answer_ping(client: &mut Client) {
    let (is_final, opcode, payload) = client.read_frame();
    assert_eq!((is_final, opcode), (true, PING));
    client.send_frame(true, PONG, &payload);
}

/// Says the round trip whenever a message arrives.
struct RoundTrip(Log);

impl Session for RoundTrip {
    fn start(&mut self, socket: &mut Socket<'_, Self>) {
        socket.read_message(|session, socket, received| {
            if matches!(received, Received::Text(_)) {
                session.0.say(socket.round_trip());
                session.start(socket);
            }
        });
    }
}

/// However many they are: a session that leaves them to be called does not go on after the end.
#[test]
fn every_send_that_waits_when_the_connection_breaks_is_completed() {
    const SENDS: usize = 5000;
    let (completed, completions) = mpsc::channel();
    let routes = || {
        let completed = completed.clone();
        script(move |socket| {
            for _ in 0..SENDS {
                let completed = completed.clone();
                socket.send_binary(&[0; 4000], move |_, _, result| {
                    completed.send(result.is_ok()).expect("the test goes on");
                });
            }
        })
    };
    let limits = config(|config| config.send_queue_bytes = 64 << 20);
    serve_with(limits, routes, |server| {
        drop(server.upgrade("/"));
        let results: Vec<bool> = (0..SENDS)
            .map(|_| completions.recv_timeout(DEADLINE).expect("each is completed"))
            .collect();
        assert!(results.iter().filter(|is_sent| !**is_sent).count() > 1000);
    });
}
