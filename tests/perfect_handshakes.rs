//! What users of Perfect-WebSockets met, from the opening handshake to the end of the server: a
//! test for each report, and for what stood beside the defects of `perfect_defects.rs`.

mod support;

use std::{io::ErrorKind, time::Duration};

use http::{HeaderName, HeaderValue, StatusCode};
use support::{BINARY, CONTINUATION, PONG, TEXT, config, handshake, serve, serve_with};
use wireloop::{
    Echo, Routes,
    http::{Refusal, Response},
};

/// The echo service as the seed has it, which insisted on its subprotocol.
fn echo() -> Routes {
    Routes::new().websocket("/echo", |_request, protocols| {
        protocols.choose("echo").map(|accept| accept.session(Echo))
    })
}

/// ISS-319, #263: the most asked question of all was why a client without subprotocol got 400.
#[test]
fn a_client_without_subprotocol_is_served() {
    serve(echo, |server| {
        let mut client = server.upgrade("/echo");
        client.send_text("no subprotocol");
        client.expect_text("no subprotocol");
    });
}

/// The session's protocol was sent whatever the client had offered, and the offer was read
/// wrongly: tabs and trailing blanks stayed, and of two lines the last one won.
#[test]
fn the_subprotocol_is_one_of_those_offered() {
    serve(echo, |server| {
        for offer in [
            "echo",
            "chat, echo",
            "chat \t,\techo \t",
            "chat\r\nSec-WebSocket-Protocol: echo",
            "echo\r\nSec-WebSocket-Protocol: chat",
        ] {
            let headers = format!("Sec-WebSocket-Protocol: {offer}\r\n");
            let response = server.connect().request(&handshake("/echo", &headers));
            assert_eq!(response.status, 101, "{offer}");
            assert_eq!(response.header("Sec-WebSocket-Protocol"), Some("echo"), "{offer}");
        }
        let only_others = "Sec-WebSocket-Protocol: chat, Echo\r\n";
        let response = server.connect().request(&handshake("/echo", only_others));
        assert_eq!(response.status, 400);
        assert!(!response.body.is_empty(), "a refusal says why");
    });
}

/// ISS-159, ISS-155: what Firefox sends was refused. The repair, a search for the letters
/// "upgrade", accepted too much.
#[test]
fn connection_is_a_list_of_tokens() {
    let shake = |value| handshake("/echo", "").replace("Connection: Upgrade", value);
    serve(echo, |server| {
        for accepted in [
            "Connection: keep-alive, Upgrade",
            "Connection: UPGRADE",
            "Connection: keep-alive\r\nConnection: upgrade",
            "connection:Upgrade,,",
        ] {
            let response = server.connect().request(&shake(accepted));
            assert_eq!(response.status, 101, "{accepted}");
        }
        for refused in ["Connection: no-upgrade", "Connection: keep-alive", "X: upgrade"] {
            let response = server.connect().request(&shake(refused));
            assert_eq!(response.status, 400, "{refused}");
            assert!(!response.body.is_empty(), "a refusal says why");
        }
    });
}

/// A handshake in HTTP/1.0 was answered as such, a key was never looked at, and a version other
/// than 13 got 400 where RFC 6455 section 4.4 has 426.
#[test]
fn a_handshake_that_is_none_is_refused() {
    serve(echo, |server| {
        let valid = handshake("/echo", "");
        let refused = [
            (400, valid.replace("HTTP/1.1", "HTTP/1.0")),
            (400, valid.replace("Host: localhost\r\n", "")),
            (400, valid.replace("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ=")),
            (400, valid.replace("dGhlIHNhbXBsZSBub25jZQ==", "not base64 at all!!!")),
            (405, valid.replace("GET", "POST")),
            (426, valid.replace("Version: 13", "Version: 8")),
        ];
        for (status, request) in refused {
            let response = server.connect().request(&request);
            assert_eq!(response.status, status, "{request}");
            let version = (status == 426).then_some("13");
            assert_eq!(response.header("Sec-WebSocket-Version"), version, "{request}");
        }
    });
}

/// An application could refuse with 400 only: no 401, no 403, no header, no body of its own.
#[test]
fn a_refusal_has_the_status_that_the_application_chooses() {
    let routes = || {
        Routes::new().websocket::<Echo>("/private", |_request, _protocols| {
            let challenge = HeaderValue::from_static("Bearer");
            let name = HeaderName::from_static("www-authenticate");
            Err(Refusal::new(StatusCode::UNAUTHORIZED).header(name, challenge))
        })
    };
    serve(routes, |server| {
        let response = server.connect().request(&handshake("/private", ""));
        assert_eq!(response.status, 401);
        assert_eq!(response.header("WWW-Authenticate"), Some("Bearer"));
    });
}

/// Pongs came to the application as text, which the demo echoed.
#[test]
fn a_pong_is_not_echoed() {
    serve(echo, |server| {
        let mut client = server.upgrade("/echo");
        client.send_frame(true, PONG, b"unsolicited");
        client.send_text("next");
        client.expect_text("next");
    });
}

/// scratch-link #61, #64: text and bytes could not be told apart; and every fragment was echoed
/// as a message of its own.
#[test]
fn text_stays_text_bytes_stay_bytes_and_messages_stay_whole() {
    serve(echo, |server| {
        let mut client = server.upgrade("/echo");
        client.send_text("text");
        client.expect_frame(true, TEXT, b"text");
        client.send_frame(true, BINARY, b"\xff\x00bytes");
        client.expect_frame(true, BINARY, b"\xff\x00bytes");
        client.send_frame(false, BINARY, b"in ");
        client.send_frame(false, CONTINUATION, b"");
        client.send_frame(true, CONTINUATION, b"parts");
        client.expect_frame(true, BINARY, b"in parts");
    });
}

/// A malformed request was closed without a word.
#[test]
fn a_malformed_request_is_answered() {
    serve(echo, |server| {
        let mut client = server.connect();
        let response = client.request("this is not HTTP\r\n\r\n");
        assert_eq!(response.status, 400);
        assert_eq!(response.header("Connection"), Some("close"));
        assert!(!response.body.is_empty(), "it says what is wrong");
        client.shutdown();
        client.expect_eof();
    });
}

/// Idle keep-alive connections stayed for ever.
#[test]
fn an_idle_connection_is_ended() {
    let limits = config(|config| config.keep_alive_timeout = Duration::from_millis(100));
    serve_with(limits, echo, |server| {
        let mut client = server.connect();
        assert_eq!(client.request("GET /none HTTP/1.1\r\nHost: test\r\n\r\n").status, 404);
        client.expect_gone();
    });
}

/// A route "*" served one component only (ISS-184), a path with another method was 404, and the
/// request had to match in the order of precedence: all of that is as the documentation says.
#[test]
fn routes_go_by_precedence_and_say_which_methods_there_are() {
    let text =
        |text: &'static str| move |_: &wireloop::Request<'_>| Response::text(StatusCode::OK, text);
    let routes = || {
        echo().get("/**", text("rest")).get("/*", text("one")).get(
            "/users/{name}",
            |r: &wireloop::Request<'_>| {
                Response::text(StatusCode::OK, r.variable("name").unwrap_or("").to_owned())
            },
        )
    };
    serve(routes, |server| {
        let mut client = server.connect();
        for (path, body) in
            [("/a", "one"), ("/css/a/b.css", "rest"), ("/users/Ann%20Lee", "Ann Lee")]
        {
            let response = client.request(&format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"));
            assert_eq!((response.status, response.text()), (200, body), "{path}");
        }
        let response =
            client.request("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(response.status, 405);
        assert!(response.header("Allow").is_some_and(|allow| allow.contains("GET")));
    });
}

/// Stopping left open connections as they were: no Close, no end.
#[test]
fn stopping_says_goodbye() {
    serve(echo, |server| {
        let mut client = server.upgrade("/echo");
        let idle = server.connect();
        server.stop();
        client.expect_closing(1001);
        drop(idle);
        let refused = std::net::TcpStream::connect(server.address()).map_err(|error| error.kind());
        assert!(matches!(refused, Err(ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset)));
    });
}
