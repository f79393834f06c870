//! HTTP/1.1 before the upgrade, as RFC 9110 and RFC 9112 have it.

use std::time::{Duration, SystemTime};

use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use wireloop::{
    Echo, Request, Routes,
    http::{Body, Response},
};

use crate::support::{Client, TestServer, handshake, serve};

fn ok(text: &'static str) -> impl Fn(&Request<'_>) -> Response + Send + Sync + 'static {
    move |_| Response::text(StatusCode::OK, text)
}

/// Answers with the status that is its path.
fn status(request: &Request<'_>) -> Response {
    let status = request.variable("status").and_then(|status| status.parse().ok());
    Response::text(status.expect("the path is a status"), "a body")
}

fn routes() -> Routes {
    Routes::new()
        .get("/", ok("root"))
        .get("/next", ok("next"))
        .get("/status/{status}", status)
        .get("/host", |request: &Request<'_>| {
            Response::text(StatusCode::OK, request.host().unwrap_or_default().to_owned())
        })
        .route(Method::POST, "/form", ok("form"))
        .get("/panic", |_: &Request<'_>| -> Response { panic!("a panic for the test") })
        .websocket("/echo", |_request, protocols| Ok(protocols.none().session(Echo)))
}

const NEXT: &str = "GET /next HTTP/1.1\r\nHost: test\r\n\r\n";

/// The status of a request after which the connection ends, although another one follows.
#[track_caller]
fn last(server: &TestServer, request: impl AsRef<[u8]>) -> u16 {
    let mut client = server.connect();
    client.send_raw(&[request.as_ref(), NEXT.as_bytes()].concat());
    let response = client.read_response();
    let shown = request.as_ref().escape_ascii();
    assert_eq!(response.header("Connection"), Some("close"), "{shown}\n{}", response.head);
    client.shutdown();
    client.expect_eof();
    response.status
}

/// The status of a request after which the connection goes on.
#[track_caller]
fn kept(server: &TestServer, request: &str) -> u16 {
    let mut client = server.connect();
    client.send_raw((request.to_owned() + NEXT).as_bytes());
    let response = client.read_response();
    assert_eq!(client.read_response().text(), "next", "{request}");
    response.status
}

#[test]
fn rfc9112_2_2_empty_lines_before_a_request_are_skipped() {
    serve(routes, |server| {
        assert_eq!(kept(server, "\r\nGET / HTTP/1.1\r\nHost: test\r\n\r\n"), 200);
        assert_eq!(last(server, "\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: test\r\n\r\n"), 400);
        assert_eq!(last(server, " \r\nGET / HTTP/1.1\r\nHost: test\r\n\r\n"), 400);
    });
}

#[test]
fn rfc9112_3_the_request_line_has_three_parts_and_single_spaces() {
    serve(routes, |server| {
        for line in [
            "GET /",
            "GET",
            "GET  / HTTP/1.1",
            "GET /  HTTP/1.1",
            "GET / HTTP/1.1 ",
            " GET / HTTP/1.1",
            "GET\t/ HTTP/1.1",
            "GET / x HTTP/1.1",
            "GET / HTTP/1.1\tx",
            "GET / http/1.1",
            "GET / HTTP/1",
            "GET / HTTP/1.",
            "GET / HTTP/11",
            "GET / HTTP/1.10",
            "GET / HTTP/+1.1",
            "GET / ICAP/1.1",
            "G\x01T / HTTP/1.1",
            "G{T / HTTP/1.1",
            "GET /\x00 HTTP/1.1",
            "GET /\x7f HTTP/1.1",
            "GET /\u{e9} HTTP/1.1",
            "GET /a\rb HTTP/1.1",
            "GET /#a HTTP/1.1",
            "GET test/ HTTP/1.1",
            "GET http:/test HTTP/1.1",
        ] {
            assert_eq!(last(server, format!("{line}\r\nHost: test\r\n\r\n")), 400, "{line:?}");
        }
    });
}

#[test]
fn rfc9110_2_5_another_major_version_is_505_and_a_higher_minor_one_is_served() {
    serve(routes, |server| {
        for version in ["0.9", "2.0", "3.0", "9.9"] {
            let request = format!("GET / HTTP/{version}\r\nHost: test\r\n\r\n");
            assert_eq!(last(server, request), 505, "{version}");
        }
        assert_eq!(kept(server, "GET / HTTP/1.9\r\nHost: test\r\n\r\n"), 200);
    });
}

#[test]
fn rfc9112_5_a_header_line_that_is_none_is_400() {
    serve(routes, |server| {
        for line in [
            "A : b",
            "A\t: b",
            " A: b",
            "\tA: b",
            ": b",
            "A",
            "A b: c",
            "A(b): c",
            "\u{e9}: b",
            "A: b\r\n c",
            "A: b\r\n\tc",
            "A: \0",
            "A: b\x01",
            "A: b\x7f",
            "A: b\rc: d",
            "A: b\nC: d",
            "A: b\n c",
            "A: b\r\r\nC: d",
        ] {
            let request = format!("GET / HTTP/1.1\r\nHost: test\r\n{line}\r\n\r\n");
            assert_eq!(last(server, request), 400, "{line:?}");
        }
        for line in ["A:", "A:\t b\t ", "!#$%&'*+-.^_`|~9: x", "A: \u{e9}", "a: ,;=\"(){}"] {
            let request = format!("GET / HTTP/1.1\r\nHost: test\r\n{line}\r\n\r\n");
            assert_eq!(kept(server, &request), 200, "{line:?}");
        }
        assert_eq!(last(server, "GET / HTTP/1.1\r\n Host: test\r\n\r\n"), 400);
        assert_eq!(last(server, "GET / HTTP/1.1\r\nHost: test\r\n\n"), 400);
        assert_eq!(last(server, "GET / HTTP/1.1\nHost: test\n\n"), 400);
    });
}

#[test]
fn rfc9112_3_2_host_is_there_once_and_valid_also_beside_an_absolute_target() {
    serve(routes, |server| {
        for target in ["/", "http://test/"] {
            for host in
                ["", "Host:\r\n", "Host: a\r\nHost: a\r\n", "Host: a b\r\n", "Host: a:b\r\n"]
            {
                let request = format!("GET {target} HTTP/1.1\r\n{host}\r\n");
                assert_eq!(last(server, request), 400, "{target} {host}");
            }
        }
        assert_eq!(last(server, "GET / HTTP/1.0\r\n\r\n"), 200);
    });
}

#[test]
fn rfc9112_3_2_2_the_authority_of_an_absolute_target_precedes_host() {
    serve(routes, |server| {
        let mut client = server.connect();
        for (target, host) in [
            ("/host", "test"),
            ("http://other:8181/host", "other:8181"),
            ("HTTPS://[::1]/host?a", "[::1]"),
        ] {
            let request = format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n");
            assert_eq!(client.request(&request).text(), host, "{target}");
        }
        for target in ["http:///host", "http://a@test/host", "http://a b/host", "ftp://test/host"] {
            let request = format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n");
            assert_eq!(last(server, request), 400, "{target}");
        }
    });
}

#[test]
fn rfc9112_3_2_4_an_asterisk_is_for_options() {
    serve(routes, |server| {
        for target in ["*", "http://test"] {
            let request = format!("OPTIONS {target} HTTP/1.1\r\nHost: test\r\n\r\n");
            assert_eq!(kept(server, &request), 204, "{target}");
        }
        assert_eq!(last(server, "GET * HTTP/1.1\r\nHost: test\r\n\r\n"), 400);
    });
}

/// RFC 9931 8: what follows a refused CONNECT may be what the client wanted to tunnel.
#[test]
fn rfc9110_9_3_6_connect_is_refused_and_ends_the_connection() {
    serve(routes, |server| {
        for target in ["test:443", "/", "http://test/", "*"] {
            let request = format!("CONNECT {target} HTTP/1.1\r\nHost: test:443\r\n\r\n");
            assert_eq!(last(server, request), 501, "{target}");
        }
    });
}

#[test]
fn rfc9110_9_1_an_unknown_method_is_501_and_a_known_one_405() {
    serve(routes, |server| {
        for method in ["BREW", "get", "GETT", "M-SEARCH"] {
            let request = format!("{method} / HTTP/1.1\r\nHost: test\r\n\r\n");
            assert_eq!(last(server, request), 501, "{method}");
        }
        // 9.3.8: TRACE would give away the headers that a proxy adds.
        for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE"] {
            let mut client = server.connect();
            let request = format!("{method} / HTTP/1.1\r\nHost: test\r\nCookie: secret\r\n\r\n");
            let response = client.request(&request);
            assert_eq!(response.status, 405, "{method}");
            assert_eq!(response.header("Allow"), Some("GET, HEAD, OPTIONS"));
            assert!(!response.text().contains("secret"));
        }
    });
}

#[test]
fn rfc9110_10_1_1_100_continue_is_answered_with_the_final_status_at_once() {
    serve(routes, |server| {
        for (method, path, status) in
            [("POST", "/form", 200), ("PUT", "/form", 405), ("POST", "/nothing", 404)]
        {
            for framing in ["Content-Length: 1000000", "Transfer-Encoding: chunked"] {
                let mut client = server.connect();
                // The body is never sent.
                let response = client.request(&format!(
                    "{method} {path} HTTP/1.1\r\nHost: test\r\nExpect: 100-Continue\r\n{framing}\r\n\r\n"
                ));
                assert_eq!(response.status, status, "{method} {path}");
                assert_eq!(response.header("Connection"), Some("close"));
                client.expect_eof();
            }
        }
        let without_body = "GET / HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\n\r\n";
        assert_eq!(kept(server, without_body), 200);
        let upgrade = handshake("/echo", "Expect: 100-continue\r\n");
        assert_eq!(server.connect().request(&upgrade).status, 101);
    });
}

#[test]
fn rfc9110_10_1_1_an_unknown_expectation_is_417() {
    serve(routes, |server| {
        for value in ["200-ok", "100-continue, meaning", "100-continue;q=1"] {
            let request = format!("GET / HTTP/1.1\r\nHost: test\r\nExpect: {value}\r\n\r\n");
            assert_eq!(last(server, request), 417, "{value}");
        }
        // HTTP/1.0 has no expectations.
        assert_eq!(last(server, "GET / HTTP/1.0\r\nExpect: 200-ok\r\n\r\n"), 200);
    });
}

#[test]
fn rfc9112_9_3_a_connection_persists_as_version_and_connection_say() {
    let request =
        |version: &str, line: &str| format!("GET / HTTP/{version}\r\nHost: test\r\n{line}\r\n");
    serve(routes, |server| {
        for line in ["", "Connection: keep-alive\r\n", "Connection: x\r\n", "Connection:\r\n"] {
            assert_eq!(kept(server, &request("1.1", line)), 200, "{line}");
        }
        for line in
            ["Connection: close\r\n", "Connection: x, Close\r\n", "connection:keep-alive,close\r\n"]
        {
            assert_eq!(last(server, request("1.1", line)), 200, "{line}");
            assert_eq!(last(server, request("1.0", line)), 200, "{line}");
        }
        for line in ["", "Connection: x\r\n", "Keep-Alive: timeout=5\r\n"] {
            assert_eq!(last(server, request("1.0", line)), 200, "{line}");
        }
        let mut client = server.connect();
        let response = client.request(&request("1.0", "Connection: Keep-Alive\r\n"));
        assert_eq!(response.header("Connection"), Some("keep-alive"));
        assert_eq!(client.request(NEXT).text(), "next");
    });
}

/// What every response but 101 says of its time (RFC 9110 6.6.1).
#[track_caller]
fn expect_date(client: &mut Client, request: &str, status: u16) {
    let response = client.request(request);
    assert_eq!(response.status, status, "{request}");
    let date = response.header("Date").expect("a date");
    let date = httpdate::parse_http_date(date).expect("an HTTP date");
    let now = SystemTime::now();
    let apart = now.duration_since(date).unwrap_or_else(|error| error.duration());
    assert!(apart < Duration::from_secs(30), "{date:?} is not now");
}

#[test]
fn rfc9110_6_6_1_every_response_has_a_date() {
    serve(routes, |server| {
        let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n");
        for (request, status) in [
            (get("/"), 200),
            (get("/status/204"), 204),
            (get("/status/304"), 304),
            (get("/status/503"), 503),
            (get("/nothing"), 404),
            (get("/form"), 405),
            (get("/echo"), 426),
            (get("/panic"), 500),
            (get(&format!("/{}", "x".repeat(9000))), 414),
            ("OPTIONS * HTTP/1.1\r\nHost: test\r\n\r\n".into(), 204),
            ("GET / HTTP/1.1\r\n\r\n".into(), 400),
            ("GET / HTTP/1.1\r\nHost: test\r\nExpect: x\r\n\r\n".into(), 417),
            (format!("GET / HTTP/1.1\r\nHost: test\r\n{}\r\n", "a:b\r\n".repeat(101)), 431),
            ("BREW / HTTP/1.1\r\nHost: test\r\n\r\n".into(), 501),
            ("GET / HTTP/2.0\r\nHost: test\r\n\r\n".into(), 505),
        ] {
            expect_date(&mut server.connect(), &request, status);
        }
    });
}

#[test]
fn rfc9112_6_3_204_304_and_head_end_with_their_head() {
    serve(routes, |server| {
        let mut client = server.connect();
        // The handler gives all of them a body.
        for (status, length) in [(204, None), (304, None), (205, Some("0")), (200, Some("6"))] {
            let request =
                |method| format!("{method} /status/{status} HTTP/1.1\r\nHost: test\r\n\r\n{NEXT}");
            client.send_raw(request("HEAD").as_bytes());
            let head = client.read_head();
            assert_eq!((head.status, head.header("Content-Length")), (status, length));
            assert_eq!(head.header("Transfer-Encoding"), None);
            assert_eq!(client.read_response().text(), "next");
            client.send_raw(request("GET").as_bytes());
            let got = client.read_response();
            assert_eq!((got.status, got.header("Content-Length")), (status, length));
            assert_eq!(client.read_response().text(), "next");
        }
    });
}

#[test]
fn rfc9110_9_3_2_head_has_no_body_whatever_is_wrong_with_it() {
    serve(routes, |server| {
        for (request, status) in [
            ("HEAD /nothing HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n", 404),
            ("HEAD / HTTP/1.1\r\n\r\n", 400),
            ("\r\nHEAD / HTTP/1.1\r\nHost: test\r\nA : b\r\n\r\n", 400),
            ("HEAD / HTTP/1.1\nHost: test\r\n\r\n", 400),
            ("HEAD / HTTP/2.0\r\nHost: test\r\n\r\n", 505),
            ("HEAD / HTTP/1.1\r\nHost: test\r\nExpect: x\r\n\r\n", 417),
            ("HEAD /panic HTTP/1.1\r\nHost: test\r\n\r\n", 500),
        ] {
            let mut client = server.connect();
            client.send_raw(request.as_bytes());
            assert_eq!(client.read_head().status, status, "{request}");
            client.shutdown();
            client.expect_eof();
        }
    });
}

/// The second attack of 0ang3el: a backend that is made to say 101 opens a tunnel in the proxy.
#[test]
fn rfc9110_15_2_an_application_cannot_answer_with_an_interim_status() {
    serve(routes, |server| {
        for status in [100, 101, 102, 103] {
            for method in ["GET", "HEAD"] {
                let mut client = server.connect();
                let path = format!("/status/{status}");
                client.send_raw(format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
                assert_eq!(client.read_head().status, 500, "{status}");
            }
        }
    });
}

/// Values of all kinds, half of which would split the response if they were written.
fn hostile_value(random: &mut fastrand::Rng) -> Vec<u8> {
    let injected: [&[u8]; 6] = [
        b"\r\nInjected: yes",
        b"\nInjected: yes",
        b"\rInjected: yes",
        b"\r\n\r\nHTTP/1.1 200 OK\r\nInjected: yes\r\n\r\n",
        b"\0Injected: yes",
        b"%0d%0aInjected: yes",
    ];
    let mut value: Vec<u8> = (0..random.usize(..8)).map(|_| random.u8(..)).collect();
    value.extend(injected[random.usize(..injected.len())]);
    value.extend((0..random.usize(..8)).map(|_| random.u8(..)));
    value
}

/// What an application gives as header names and values comes to it from anywhere. Either it is
/// told that it will not do, or it stands on the wire as one line.
#[test]
fn cve_2026_1527_no_value_splits_a_response() {
    let routes = || {
        let answer = |request: &Request<'_>| {
            let seed = request.variable("seed").and_then(|seed| seed.parse().ok());
            let mut random = fastrand::Rng::with_seed(seed.expect("a number"));
            let status = StatusCode::from_u16(random.u16(200..1000)).expect("three digits");
            let value = hostile_value(&mut random);
            let mut response = Response::new(status).body(Body::Bytes(b"end"[..].into()));
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                response = response.header(header::LOCATION, value);
            }
            let text = String::from_utf8_lossy(&value).into_owned();
            for (name, value) in [("x-a", &*text), (&*text, "x"), ("content-length", "0")] {
                response = response.try_header(name, value).unwrap_or_else(|_| {
                    let fallback = HeaderName::from_static("x-refused");
                    Response::new(status).header(fallback, HeaderValue::from_static("1"))
                });
            }
            response
        };
        Routes::new().get("/{seed}", answer).websocket("/ws/{seed}", |request, protocols| {
            let seed = request.variable("seed").and_then(|seed| seed.parse().ok());
            let mut random = fastrand::Rng::with_seed(seed.expect("a number"));
            let text = String::from_utf8_lossy(&hostile_value(&mut random)).into_owned();
            let accept = protocols.choose(&text)?;
            let plain = accept.clone();
            Ok(accept.header("x-a", &text).unwrap_or(plain).session(Echo))
        })
    };
    serve(routes, |server| {
        let mut client = server.connect();
        for seed in 0..1000 {
            let request = format!("GET /{seed} HTTP/1.1\r\nHost: test\r\n\r\n");
            let response = client.request(&request);
            assert!(!response.head.lines().any(|line| line.starts_with("Injected")), "{seed}");
            assert!(!response.head.contains('\0') && !response.head.contains("\r\r"), "{seed}");
        }
        for seed in 0..200 {
            let offer = if seed % 2 == 0 { "Sec-WebSocket-Protocol: chat\r\n" } else { "" };
            let response = server.connect().request(&handshake(&format!("/ws/{seed}"), offer));
            assert!(!response.head.lines().any(|line| line.starts_with("Injected")), "{seed}");
        }
    });
}

/// A TLS hello has no line end to wait for.
#[test]
fn rfc9112_2_2_what_is_not_http_is_refused_at_its_first_byte() {
    serve(routes, |server| {
        for bytes in [&b"\x16\x03\x01\x02\x00\x01\x00"[..], b"\0", b"\x80\x2e\x01", b"\xff"] {
            let mut client = server.connect();
            client.send_raw(bytes);
            assert_eq!(client.read_response().status, 400);
            client.shutdown();
            client.expect_eof();
        }
    });
}
