//! How connections end, and what their sessions are told: closing in both directions, failures,
//! panics, and the order of the last continuations.

mod support;

use std::{sync::mpsc, time::Duration};

use http::StatusCode;
use support::{BINARY, CLOSE, Client, Events, Log, TEXT, config, script, serve, serve_with};
use wireloop::{
    Echo, Handle, HandleError, Routes, Session, Socket,
    http::{Body, Response, Source, SourceError},
    ws::CloseCode,
};

#[test]
fn a_session_closes_with_a_code_and_reads_until_the_peers_close() {
    let (log, events) = Events::new();
    let routes = || {
        let log = log.clone();
        script(move |socket| {
            let (message, end) = (log.clone(), log.clone());
            socket.close(CloseCode(4321), "enough").expect("it is open");
            socket.read_message(move |_, socket, received| {
                message.say(received);
                socket.read_message(move |_, _, received| end.say(received));
            });
        })
    };
    serve(routes, |server| {
        let mut client = server.upgrade("/");
        client.send_text("sent before I saw your Close");
        assert_eq!(client.expect_close(4321), "enough");
        client.send_close(4321, "enough for me too");
        client.expect_eof();
        events.expect("Text(\"sent before I saw your Close\")");
        events.expect("Closed { code: 4321, reason: \"enough for me too\" }");
    });
}

#[test]
fn what_was_sent_before_the_close_goes_before_it() {
    let routes = || {
        script(|socket| {
            (0..100).for_each(|_| socket.send_binary(&[5; 5000], |_, _, _| {}));
            socket.close(CloseCode::NORMAL, "").expect("it is open");
        })
    };
    serve(routes, |server| {
        let mut client = server.upgrade("/");
        (0..100).for_each(|_| client.expect_frame(true, BINARY, &[5; 5000]));
        client.expect_closing(1000);
    });
}

#[test]
fn closes_that_are_not_allowed_are_refused_with_a_typed_error() {
    let (log, events) = Events::new();
    let routes = || {
        let log = log.clone();
        script(move |socket| {
            for code in [0, 999, 1004, 1005, 1006, 1015, 2999, 5000] {
                log.say(socket.close(CloseCode(code), ""));
            }
            log.say(socket.close(CloseCode::NORMAL, &"x".repeat(124)));
            log.say(socket.close(CloseCode::NORMAL, &"x".repeat(123)));
            log.say(socket.close(CloseCode::NORMAL, ""));
        })
    };
    serve(routes, |server| {
        let mut client = server.upgrade("/");
        assert_eq!(client.expect_close(1000), "x".repeat(123));
        for code in [0, 999, 1004, 1005, 1006, 1015, 2999, 5000] {
            events.expect(&format!("Err(InvalidCloseCode({code}))"));
        }
        events.expect("Err(CloseReasonTooLong)");
        events.expect("Ok(())");
        events.expect("Err(Closing)");
    });
}

#[test]
fn a_handle_closes_and_a_close_that_may_not_be_sent_becomes_1011() {
    let (sender, receiver) = mpsc::channel::<Handle>();
    let routes = || {
        let sender = sender.clone();
        script(move |socket| sender.send(socket.handle()).expect("the test waits"))
    };
    serve(routes, |server| {
        for (code, sent) in [(CloseCode(3000), 3000), (CloseCode(1006), 1011)] {
            let mut client = server.upgrade("/");
            let handle = receiver.recv().expect("the session starts");
            handle.send_text("before").expect("the server runs");
            handle.close(code, "").expect("the server runs");
            handle.send_text("after").expect("the server runs");
            client.expect_text("before");
            client.expect_closing(sent);
        }
    });
}

#[test]
fn a_handle_of_a_stopped_server_says_so() {
    let (sender, receiver) = mpsc::channel::<Handle>();
    let routes = || {
        let sender = sender.clone();
        script(move |socket| sender.send(socket.handle()).expect("the test waits"))
    };
    for driver in support::drivers() {
        let server = support::TestServer::start(driver, routes(), wireloop::Config::default());
        let client = server.upgrade("/");
        let handle = receiver.recv().expect("the session starts");
        drop((client, server));
        assert_eq!(handle.send_text("anyone?"), Err(HandleError::Stopped));
    }
}

#[test]
fn after_the_end_reads_and_sends_fail_once_each_and_the_session_is_dropped() {
    struct Ending(Log);
    impl Session for Ending {
        fn start(&mut self, socket: &mut Socket<'_, Self>) {
            socket.read_message(|session, socket, received| {
                session.0.say(received);
                socket.send_text("into the void", |session, socket, result| {
                    session.0.say(result);
                    socket.read_message(|session, _, received| session.0.say(received));
                });
            });
        }
    }
    impl Drop for Ending {
        fn drop(&mut self) {
            self.0.note("dropped");
        }
    }
    let (log, events) = Events::new();
    let routes = || {
        let log = log.clone();
        Routes::new().websocket("/", move |_request, protocols| {
            Ok(protocols.none().session(Ending(log.clone())))
        })
    };
    serve(routes, |server| {
        let mut client = server.upgrade("/");
        client.send_close(1000, "bye");
        client.expect_close(1000);
        client.expect_eof();
        events.expect("Closed { code: 1000, reason: \"bye\" }");
        events.expect("Err(Misuse(Closing))");
        events.expect("Failed(Misuse(Ended))");
        events.expect("dropped");
        events.expect_none();
    });
}

#[test]
fn sends_that_wait_when_the_connection_breaks_fail() {
    let (log, events) = Events::new();
    let routes = || {
        let log = log.clone();
        script(move |socket| {
            let (first, second) = (log.clone(), log.clone());
            socket.send_binary(&vec![0; 32 << 20], move |_, _, result| first.say(result));
            socket.send_text("behind it", move |_, _, result| second.say(result));
            log.note("started");
        })
    };
    let limits = config(|config| config.send_queue_bytes = 64 << 20);
    serve_with(limits, routes, |server| {
        let client = server.upgrade("/");
        events.expect("started");
        // Closing a socket with data that was not read resets the connection.
        drop(client);
        events.expect("Err(Closed)");
        events.expect("Err(Closed)");
        events.expect_none();
    });
}

/// A session that goes on asking after the end would otherwise keep its worker for ever.
#[test]
fn a_session_that_never_gives_up_is_dropped() {
    struct Stubborn(Log);
    impl Session for Stubborn {
        fn start(&mut self, socket: &mut Socket<'_, Self>) {
            socket.read_message(|session, socket, _| session.start(socket));
            socket.send_text("?", |session, socket, result| {
                if result.is_err() {
                    session.start(socket);
                }
            });
        }
    }
    impl Drop for Stubborn {
        fn drop(&mut self) {
            self.0.note("dropped");
        }
    }
    let (log, events) = Events::new();
    let routes = || {
        let log = log.clone();
        echo().websocket("/stubborn", move |_request, protocols| {
            Ok(protocols.none().session(Stubborn(log.clone())))
        })
    };
    serve(routes, |server| {
        let mut other = server.upgrade("/echo");
        let mut client = server.upgrade("/stubborn");
        client.expect_text("?");
        client.close();
        events.expect("dropped");
        other.send_text("served meanwhile");
        other.expect_text("served meanwhile");
    });
}

/// The same while the closing handshake is being made: sends are refused, which is no reason to
/// call the session for ever.
#[test]
fn a_session_that_sends_on_after_its_close_does_not_hold_up_its_worker() {
    struct Endless(Log);
    impl Session for Endless {
        fn start(&mut self, socket: &mut Socket<'_, Self>) {
            self.0.note("sends");
            let _ = socket.close(CloseCode::NORMAL, "");
            socket.send_text("?", |_, socket, _| again(socket));
        }
    }
    fn again(socket: &mut Socket<'_, Endless>) {
        socket.send_text("?", |_, socket, _| again(socket));
    }
    let (log, events) = Events::new();
    let routes = || {
        let log = log.clone();
        echo().websocket("/endless", move |_request, protocols| {
            Ok(protocols.none().session(Endless(log.clone())))
        })
    };
    serve(routes, |server| {
        let mut other = server.upgrade("/echo");
        let mut client = server.connect();
        client.send_raw(support::handshake("/endless", "").as_bytes());
        events.expect("sends");
        other.send_text("served meanwhile");
        other.expect_text("served meanwhile");
        assert_eq!(client.read_response().status, 101);
        client.expect_closing(1000);
    });
}

fn echo() -> Routes {
    Routes::new().websocket("/echo", |_request, protocols| Ok(protocols.none().session(Echo)))
}

/// What a session can panic in.
#[derive(Clone, Copy)]
enum PanicIn {
    Start,
    Read,
    Send,
    Pong,
    Drop,
}

impl Session for PanicIn {
    fn start(&mut self, socket: &mut Socket<'_, Self>) {
        assert!(!matches!(self, Self::Start), "a panic for the test");
        socket.read_message(|session, socket, _| {
            assert!(!matches!(session, Self::Read), "a panic for the test");
            socket.send_text("echo", |session, _, _| {
                assert!(!matches!(session, Self::Send), "a panic for the test");
            });
        });
    }

    fn pong(&mut self, _socket: &mut Socket<'_, Self>, _payload: &[u8]) {
        assert!(!matches!(self, Self::Pong), "a panic for the test");
    }
}

/// `PanicIn` has to be `Copy` for its producer, so its destructor is that of another session.
struct PanicsInDrop(PanicIn);

impl Session for PanicsInDrop {
    fn start(&mut self, _socket: &mut Socket<'_, Self>) {}
}

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        assert!(!matches!(self.0, PanicIn::Drop), "a panic for the test");
    }
}

#[test]
fn a_panic_in_a_session_closes_its_connection_with_1011_and_no_other() {
    let routes = || {
        let route = |routes: Routes, path, panics| {
            routes.websocket(path, move |_, protocols| Ok(protocols.none().session(panics)))
        };
        let routes = route(echo(), "/start", PanicIn::Start);
        let routes = route(routes, "/read", PanicIn::Read);
        let routes = route(routes, "/send", PanicIn::Send);
        let routes = route(routes, "/pong", PanicIn::Pong);
        routes.websocket("/drop", |_request, protocols| {
            Ok(protocols.none().session(PanicsInDrop(PanicIn::Drop)))
        })
    };
    serve(routes, |server| {
        let mut other = server.upgrade("/echo");
        for path in ["/start", "/read", "/send", "/pong"] {
            let mut client = server.upgrade(path);
            match path {
                "/start" => {}
                "/pong" => client.send_frame(true, support::PONG, b""),
                _ => client.send_frame(true, TEXT, b"panic"),
            }
            if path == "/send" {
                client.expect_text("echo");
            }
            client.expect_closing(1011);
            other.send_text(path);
            other.expect_text(path);
        }
        server.upgrade("/drop").close();
        other.send_text("unharmed");
        other.expect_text("unharmed");
    });
}

/// Otherwise a peer that reads nothing before it has sent everything would be taken for one that
/// does not answer.
#[test]
fn a_connection_that_closes_receives_though_its_output_waits() {
    const OUTPUT_BYTES: usize = 32 << 20;
    let (log, events) = Events::new();
    let routes = || {
        let log = log.clone();
        script(move |socket| {
            let (message, end) = (log.clone(), log.clone());
            socket.send_binary(&vec![5; OUTPUT_BYTES], |_, _, _| {});
            socket.close(CloseCode::NORMAL, "").expect("it is open");
            socket.read_message(move |_, socket, received| {
                message.say(received);
                socket.read_message(move |_, _, received| end.say(received));
            });
        })
    };
    serve(routes, |server| {
        let mut client = Client::connect_narrow(server.address());
        client.upgrade("/");
        client.send_text("I have read nothing");
        events.expect("Text(\"I have read nothing\")");
        client.send_close(1000, "nor have I now");
        events.expect("Closed { code: 1000, reason: \"nor have I now\" }");
    });
}

/// A session that closes and does not read would otherwise have what still comes kept for it.
#[test]
fn what_arrives_for_a_session_that_has_closed_is_dropped_unless_it_reads() {
    struct Late(Log);
    impl Session for Late {
        fn start(&mut self, socket: &mut Socket<'_, Self>) {
            socket.close(CloseCode::NORMAL, "").expect("it is open");
        }

        fn pong(&mut self, socket: &mut Socket<'_, Self>, _payload: &[u8]) {
            socket.read_message(|session, _, received| session.0.say(received));
        }
    }
    let (log, events) = Events::new();
    let routes = || {
        let log = log.clone();
        Routes::new().websocket("/", move |_request, protocols| {
            Ok(protocols.none().session(Late(log.clone())))
        })
    };
    serve(routes, |server| {
        let mut client = server.upgrade("/");
        client.send_text("nobody reads");
        client.send_frame(true, support::PONG, b"read now");
        client.send_text("the session reads");
        client.expect_closing(1000);
        events.expect("Text(\"the session reads\")");
        events.expect_none();
    });
}

#[test]
fn a_peer_that_does_not_complete_the_closing_handshake_is_disconnected() {
    let (log, events) = Events::new();
    let routes = || {
        let log = log.clone();
        script(move |socket| {
            let log = log.clone();
            socket.close(CloseCode::NORMAL, "").expect("it is open");
            socket.read_message(move |_, _, received| log.say(received));
        })
    };
    let limits = config(|config| config.close_timeout = Duration::from_millis(100));
    serve_with(limits, routes, |server| {
        let mut client = server.upgrade("/");
        client.expect_close(1000);
        client.expect_gone();
        events.expect("Failed(CloseTimeout)");
    });
}

#[test]
fn nothing_is_read_or_answered_after_a_close_frame() {
    serve(echo, |server| {
        let mut client = server.upgrade("/echo");
        let mut bytes = support::frame(true, CLOSE, [0; 4], &1000_u16.to_be_bytes());
        bytes.extend(support::frame(true, TEXT, [0; 4], b"not to be echoed"));
        bytes.extend(support::frame(true, support::PING, [0; 4], b"not to be answered"));
        bytes.extend(b"\xff\xff not even a frame");
        client.send_raw(&bytes);
        client.expect_close(1000);
        client.expect_eof();
    });
}

/// A session, or the source of a response, that panics when it is dropped.
struct Fragile;

impl Session for Fragile {
    fn start(&mut self, _: &mut Socket<'_, Self>) {}
}

impl Source for Fragile {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, SourceError> {
        Ok(buffer.len())
    }
}

impl Drop for Fragile {
    fn drop(&mut self) {
        panic!("it panics while it is dropped");
    }
}

/// The source of a response was dropped where nothing caught that, when its peer had gone: the
/// worker ended, and with it the server.
#[test]
fn a_panic_in_the_drop_of_a_session_or_a_source_ends_its_connection_only() {
    let routes = || {
        Routes::new()
            .websocket("/", |_, protocols| Ok(protocols.none().session(Fragile)))
            .websocket("/echo", |_, protocols| Ok(protocols.none().session(Echo)))
            .get("/endless", |_: &wireloop::Request<'_>| {
                let body = Body::Stream { length: 1 << 40, source: Box::new(Fragile) };
                Response::new(StatusCode::OK).body(body)
            })
    };
    serve(routes, |server| {
        let mut other = server.upgrade("/echo");
        let session = server.upgrade("/");
        let mut download = server.connect();
        download.send_raw(b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n");
        download.read_bytes(100_000);
        for peer in [session, download] {
            let socket = peer.socket();
            // A reset.
            socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO)).expect("it is open");
        }
        server.upgrade("/").close();
        let _stays_until_the_server_stops = server.upgrade("/");
        other.send_text("served");
        other.expect_text("served");
        server.stop();
        other.expect_close(1001);
    });
}
