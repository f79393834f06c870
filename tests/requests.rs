//! HTTP before and beside WebSocket: requests one after the other, what ends a connection, and
//! what a producer sees and answers.

mod support;

use http::{HeaderName, HeaderValue, Method, StatusCode};
use support::{Client, TEXT, frame, handshake, script, serve};
use wireloop::{
    Echo, Request, Routes, Session, Socket,
    http::{Body, Refusal, Response, Source, SourceError},
};

/// Says its path.
fn say_path(request: &Request<'_>) -> Response {
    Response::text(StatusCode::OK, request.path().to_owned())
}

fn routes() -> Routes {
    Routes::new()
        .get("/pages/**", say_path)
        .route(Method::POST, "/form", say_path)
        .get("/panic", |_: &Request<'_>| -> Response { panic!("a panic for the test") })
        .websocket("/echo", |_request, protocols| Ok(protocols.none().session(Echo)))
        .websocket::<Echo>("/refused", |_request, _protocols| {
            Err(Refusal::new(StatusCode::FORBIDDEN))
        })
        .websocket::<Echo>("/panic/upgrade", |_request, _protocols| panic!("a panic for the test"))
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n")
}

/// The end of a connection to which we have nothing more to say.
#[track_caller]
fn expect_end(mut client: Client) {
    client.shutdown();
    client.expect_eof();
}

#[test]
fn requests_are_answered_in_order_however_they_arrive() {
    serve(routes, |server| {
        let mut client = server.connect();
        let pipelined: String = (0..100).map(|n| get(&format!("/pages/{n}"))).collect();
        client.send_raw(pipelined.as_bytes());
        for number in 0..100 {
            assert_eq!(client.read_response().text(), format!("/pages/{number}"));
        }
        for byte in get("/pages/slow").into_bytes() {
            client.send_raw(&[byte]);
        }
        assert_eq!(client.read_response().text(), "/pages/slow");
        // The last one upgrades, and what follows it are frames.
        let mut last = (get("/pages/last") + &handshake("/echo", "")).into_bytes();
        last.extend(frame(true, TEXT, [9; 4], b"hello"));
        client.send_raw(&last);
        assert_eq!(client.read_response().text(), "/pages/last");
        assert_eq!(client.read_response().status, 101);
        client.expect_text("hello");
    });
}

#[test]
fn a_connection_ends_when_the_client_says_so_or_is_of_http_1_0() {
    serve(routes, |server| {
        let close = "GET /pages/a HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
        for request in [close, "GET /pages/a HTTP/1.0\r\n\r\n"] {
            let mut client = server.connect();
            let response = client.request(request);
            assert_eq!((response.status, response.header("Connection")), (200, Some("close")));
            client.expect_eof();
        }
        let mut client = server.connect();
        let keep = "GET /pages/a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
        assert_eq!(client.request(keep).header("Connection"), Some("keep-alive"));
        assert_eq!(client.request(keep).status, 200);
    });
}

#[test]
fn head_options_and_other_methods_are_answered_as_rfc_9110_says() {
    serve(routes, |server| {
        let mut client = server.connect();
        let request = |method, path| format!("{method} {path} HTTP/1.1\r\nHost: test\r\n\r\n");
        let got = client.request(&request("GET", "/pages/a"));
        client.send_raw(request("HEAD", "/pages/a").as_bytes());
        let head = client.read_head();
        assert_eq!((head.status, head.head.len()), (200, got.head.len()));
        assert_eq!(head.header("Content-Length"), Some("8"));

        let options = client.request(&request("OPTIONS", "/pages/a"));
        assert_eq!(options.status, 204);
        let allow = options.header("Allow").expect("OPTIONS says what is allowed");
        assert!(["GET", "HEAD", "OPTIONS"].iter().all(|method| allow.contains(method)), "{allow}");

        let wrong = client.request(&request("GET", "/form"));
        assert_eq!(wrong.status, 405);
        let allow = wrong.header("Allow").expect("405 says what is allowed");
        assert!(allow.contains("POST") && !allow.contains("GET"), "{allow}");

        assert_eq!(client.request(&request("GET", "/nothing/here")).status, 404);
        // 15.5.22: a plain request for a WebSocket is told to upgrade.
        let plain = client.request(&request("GET", "/echo"));
        assert_eq!(plain.status, 426);
        assert_eq!(plain.header("Upgrade").map(str::to_lowercase), Some("websocket".into()));
    });
}

#[test]
fn what_follows_a_refused_upgrade_is_never_taken_for_a_request() {
    serve(routes, |server| {
        for path in ["/refused", "/nothing/here", "/pages/not-a-websocket"] {
            let mut client = server.connect();
            // A masked frame whose bytes are a request: a proxy would think them a frame.
            let smuggled = frame(true, TEXT, [0; 4], get("/pages/smuggled").as_bytes());
            let bytes = [handshake(path, "").into_bytes(), smuggled, get("/pages/b").into()];
            client.send_raw(&bytes.concat());
            let response = client.read_response();
            assert_ne!(response.status, 101);
            let connection = response.header("Connection").unwrap_or_default();
            assert!(connection.contains("close"), "{path}: {}", response.head);
            expect_end(client);
        }
    });
}

#[test]
fn a_body_is_not_taken_for_a_request() {
    serve(routes, |server| {
        let body = get("/pages/smuggled");
        for framing in [
            format!("Content-Length: {}\r\n\r\n{body}", body.len()),
            format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len()),
        ] {
            let mut client = server.connect();
            let request = format!("POST /form HTTP/1.1\r\nHost: test\r\n{framing}");
            let response = client.request(&request);
            assert_eq!((response.status, response.text()), (200, "/form"));
            assert_eq!(response.header("Connection"), Some("close"));
            expect_end(client);
        }
    });
}

#[test]
fn a_request_that_could_be_read_in_two_ways_is_refused() {
    let both =
        "POST /form HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n";
    let refused = [
        (400, both),
        (400, "GET /pages/a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        (400, "GET /pages/a HTTP/1.1\r\n\r\n"),
        (400, "GET /pages/a HTTP/1.1\r\nHost : a\r\n\r\n"),
        (400, "GET /pages/a HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n"),
        (400, "GET /pages/a HTTP/1.1\nHost: a\n\n"),
        (400, "GET /pages/ a HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "POST /form HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"),
        (501, "BREW /pages/a HTTP/1.1\r\nHost: a\r\n\r\n"),
        (505, "GET /pages/a HTTP/2.0\r\nHost: a\r\n\r\n"),
    ];
    serve(routes, |server| {
        for (status, request) in refused {
            let mut client = server.connect();
            let response = client.request(request);
            assert_eq!(response.status, status, "{request}");
            assert_eq!(response.header("Connection"), Some("close"), "{request}");
            expect_end(client);
        }
    });
}

#[test]
fn a_panic_in_a_handler_or_producer_is_a_500_and_harms_no_other() {
    serve(routes, |server| {
        let mut other = server.upgrade("/echo");
        for request in [get("/panic"), handshake("/panic/upgrade", "")] {
            let response = server.connect().request(&request);
            assert_eq!((response.status, response.header("Connection")), (500, Some("close")));
        }
        other.send_text("unharmed");
        other.expect_text("unharmed");
    });
}

#[test]
fn the_producer_sees_the_request_and_adds_to_the_answer() {
    struct Greeter(String);
    impl Session for Greeter {
        fn start(&mut self, socket: &mut Socket<'_, Self>) {
            socket.send_text(&self.0, |_, _, _| {});
        }
    }
    let routes = || {
        Routes::new().websocket("/rooms/{room}/**", |request, protocols| {
            let words = [
                request.variable("room"),
                request.query(),
                request.header_text("cookie"),
                request.header_text("origin"),
            ];
            assert!(request.peer().is_some_and(|peer| peer.ip().is_loopback()));
            let accept = protocols.choose_any(&["v2", "v1"])?;
            let accept = accept.header("set-cookie", "seen=1").expect("a header of its own");
            Ok(accept.session(Greeter(words.map(Option::unwrap_or_default).join(" | "))))
        })
    };
    serve(routes, |server| {
        let mut client = server.connect();
        let headers = "Cookie: id=7\r\nOrigin: https://example.org\r\n\
                       Sec-WebSocket-Protocol: v1, v2\r\n";
        let response = client.request(&handshake("/rooms/caf%C3%A9/a/b?token=1", headers));
        assert_eq!(response.status, 101);
        assert_eq!(response.header("Set-Cookie"), Some("seen=1"));
        assert_eq!(response.header("Sec-WebSocket-Protocol"), Some("v2"));
        client.expect_text("café | token=1 | id=7 | https://example.org");
    });
}

#[test]
fn a_refusal_has_a_status_headers_and_a_body() {
    let routes = || {
        Routes::new().websocket::<Echo>("/busy", |_request, _protocols| {
            let body = Body::Bytes(b"come back later"[..].into());
            let retry = HeaderName::from_static("retry-after");
            Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE)
                .header(retry, HeaderValue::from_static("120"))
                .body(body))
        })
    };
    serve(routes, |server| {
        let mut client = server.connect();
        let response = client.request(&handshake("/busy", ""));
        assert_eq!((response.status, response.text()), (503, "come back later"));
        assert_eq!(response.header("Retry-After"), Some("120"));
        expect_end(client);
    });
}

#[test]
fn a_client_that_ends_its_direction_still_gets_its_answers() {
    serve(routes, |server| {
        let mut client = server.connect();
        client.send_raw((get("/pages/a") + &get("/pages/b")).as_bytes());
        client.shutdown();
        assert_eq!(client.read_response().text(), "/pages/a");
        assert_eq!(client.read_response().text(), "/pages/b");
        client.expect_eof();
    });
}

/// Produces zeros.
struct Zeros;

impl Source for Zeros {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, SourceError> {
        buffer.fill(0);
        Ok(buffer.len())
    }
}

/// A request behind it is not answered any more.
#[test]
fn a_server_that_stops_ends_the_response_that_it_is_sending() {
    const BODY_BYTES: usize = 32 << 20;
    let routes = || {
        routes().get("/zeros", |_: &Request<'_>| {
            let body = Body::Stream { length: BODY_BYTES as u64, source: Box::new(Zeros) };
            Response::new(StatusCode::OK).body(body)
        })
    };
    serve(routes, |server| {
        let mut witness = server.upgrade("/echo");
        // More than the kernel keeps for a peer that does not read.
        let mut client = Client::connect_narrow(server.address());
        client.send_raw((get("/zeros") + &get("/pages/next")).as_bytes());
        assert_eq!(client.read_head().status, 200);
        server.stop();
        witness.expect_close(1001);
        assert!(client.read_bytes(BODY_BYTES).iter().all(|byte| *byte == 0));
        client.expect_eof();
    });
}

/// A session whose start is all there is keeps its connection until somebody ends it.
#[test]
fn an_upgrade_leaves_http_behind() {
    serve(
        || script(|_socket| {}),
        |server| {
            let mut client = server.upgrade("/");
            client.send_raw(get("/").as_bytes());
            // 'G' is FIN 0, RSV1 set, opcode 7.
            client.expect_closing(1002);
        },
    );
}
