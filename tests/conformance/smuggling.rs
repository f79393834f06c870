//! Request smuggling: how the body of a request is delimited, and that no byte of it is ever taken
//! for another request (RFC 9112 sections 6 and 11.2).

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use http::{Method, StatusCode};
use wireloop::{Request, Routes, http::Response};

use crate::support::{Client, TestServer, serve};

/// A request that must not be seen by whoever looks at bodies as such.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n";

/// What a header line does to the framing of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Line {
    /// Nothing: it is not there.
    Nothing,
    /// It says that there is no body.
    Empty,
    /// There is a body.
    Body,
    /// The request is malformed.
    Bad,
    /// A transfer coding that no server has to know.
    Unknown,
}

const LENGTHS: [(&str, Line); 24] = [
    ("", Line::Nothing),
    ("Content-Length: 0\r\n", Line::Empty),
    ("Content-Length: 000\r\n", Line::Empty),
    ("Content-Length: 42\r\n", Line::Body),
    ("content-length:\t0042 \r\n", Line::Body),
    ("Content-Length: 18446744073709551615\r\n", Line::Body),
    ("Content-Length: 18446744073709551616\r\n", Line::Bad),
    ("Content-Length: 99999999999999999999999999\r\n", Line::Bad),
    ("Content-Length: +5\r\n", Line::Bad),
    ("Content-Length: -5\r\n", Line::Bad),
    ("Content-Length: 0x5\r\n", Line::Bad),
    ("Content-Length: 5, 5\r\n", Line::Bad),
    ("Content-Length: 5,\r\n", Line::Bad),
    ("Content-Length: 5 5\r\n", Line::Bad),
    ("Content-Length: 5.0\r\n", Line::Bad),
    ("Content-Length: 5e0\r\n", Line::Bad),
    ("Content-Length: 5;a=b\r\n", Line::Bad),
    ("Content-Length:\r\n", Line::Bad),
    ("Content-Length: \"5\"\r\n", Line::Bad),
    ("Content-Length: \u{665}\r\n", Line::Bad),
    ("Content-Length: \x0b5\r\n", Line::Bad),
    ("Content-Length : 5\r\n", Line::Bad),
    ("Content-Length: 5\r\nContent-Length: 5\r\n", Line::Bad),
    ("Content-Length: 0\r\nContent-Length: 5\r\n", Line::Bad),
];

const CODINGS: [(&str, Line); 26] = [
    ("", Line::Nothing),
    ("Transfer-Encoding: chunked\r\n", Line::Body),
    ("TRANSFER-ENCODING:\tCHUNKED\t\r\n", Line::Body),
    ("Transfer-Encoding: , chunked ,\r\n", Line::Body),
    // Only dashes make it the header that it looks like.
    ("Transfer_Encoding: chunked\r\n", Line::Nothing),
    ("X-Transfer-Encoding: chunked\r\n", Line::Nothing),
    ("Transfer-Encoding: gzip, chunked\r\n", Line::Unknown),
    ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", Line::Unknown),
    ("Transfer-Encoding: identity, chunked\r\n", Line::Unknown),
    ("Transfer-Encoding: xchunked\r\n", Line::Bad),
    ("Transfer-Encoding: identity\r\n", Line::Bad),
    ("Transfer-Encoding: gzip\r\n", Line::Bad),
    ("Transfer-Encoding: chunked, gzip\r\n", Line::Bad),
    ("Transfer-Encoding: chunked, identity\r\n", Line::Bad),
    ("Transfer-Encoding: chunked, chunked\r\n", Line::Bad),
    ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Line::Bad),
    ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", Line::Bad),
    ("Transfer-Encoding: chunked;a=b\r\n", Line::Bad),
    ("Transfer-Encoding: \"chunked\"\r\n", Line::Bad),
    ("Transfer-Encoding:\r\n", Line::Bad),
    ("Transfer-Encoding: \x0bchunked\r\n", Line::Bad),
    ("Transfer-Encoding : chunked\r\n", Line::Bad),
    ("Transfer-Encoding\t: chunked\r\n", Line::Bad),
    ("Transfer-Encoding:\r\n chunked\r\n", Line::Bad),
    ("X: y\nTransfer-Encoding: chunked\r\n", Line::Bad),
    ("X: y\rTransfer-Encoding: chunked\r\n", Line::Bad),
];

/// What RFC 9112 6.1 and 6.3 say of a request with these lines: the status if it is refused, else
/// whether it has a body.
fn framing(length: Line, coding: Line, version: &str) -> Result<bool, &'static [u16]> {
    match (length, coding) {
        (Line::Nothing, Line::Unknown) if version == "1.1" => Err(&[501]),
        (Line::Bad, _) | (_, Line::Bad | Line::Unknown) => Err(&[400]),
        (Line::Empty | Line::Body, Line::Body) => Err(&[400]),
        (_, Line::Body) if version == "1.0" => Err(&[400]),
        (length, coding) => Ok(length == Line::Body || coding == Line::Body),
    }
}

fn routes(smuggled: &Arc<AtomicUsize>) -> Routes {
    let text = |_: &Request<'_>| Response::text(StatusCode::OK, "ok");
    let smuggled = Arc::clone(smuggled);
    Routes::new().get("/", text).route(Method::POST, "/", text).get(
        "/smuggled",
        move |_: &Request<'_>| {
            smuggled.fetch_add(1, Ordering::Relaxed);
            Response::text(StatusCode::OK, "smuggled")
        },
    )
}

/// Runs a test with a count of the requests that were smuggled.
fn serve_counting(test: impl Fn(&TestServer, &AtomicUsize)) {
    let smuggled = Arc::new(AtomicUsize::new(0));
    serve(|| routes(&smuggled), |server| test(server, &smuggled));
}

fn read(client: &mut Client, method: &str) -> crate::support::Response {
    if method == "HEAD" { client.read_head() } else { client.read_response() }
}

/// Every length with every coding, for methods with and without a body, in both versions: the
/// request is refused, or its body is, or there is none; and the server's opinion on where the
/// next one begins is never in doubt, because there is no next one.
#[test]
fn rfc9112_6_3_content_length_and_transfer_encoding_in_every_combination() {
    serve_counting(|server, smuggled| {
        for (length_line, length) in LENGTHS {
            for (coding_line, coding) in CODINGS {
                for (method, version) in [("GET", "1.1"), ("POST", "1.1"), ("HEAD", "1.0")] {
                    let head = format!(
                        "{method} / HTTP/{version}\r\nHost: test\r\n\
                         Connection: keep-alive\r\n{length_line}{coding_line}\r\n"
                    );
                    let mut client = server.connect();
                    client.send_raw((head.clone() + SMUGGLED).as_bytes());
                    let response = read(&mut client, method);
                    let expected = framing(length, coding, version);
                    let statuses = expected.err().unwrap_or(&[200]);
                    assert!(statuses.contains(&response.status), "{} {head:?}", response.status);
                    let seen = usize::from(expected == Ok(false));
                    if seen == 1 {
                        assert_eq!(client.read_response().text(), "smuggled", "{head:?}");
                    } else {
                        assert_eq!(response.header("Connection"), Some("close"), "{head:?}");
                    }
                    client.shutdown();
                    client.expect_eof();
                    assert_eq!(smuggled.swap(0, Ordering::Relaxed), seen, "{head:?}");
                }
            }
        }
    });
}

/// CVE-2026-33870 and its like: chunks are not parsed, so no two parsers can differ on them.
#[test]
fn rfc9112_7_1_1_chunks_of_any_form_are_never_taken_for_a_request() {
    let bodies = [
        format!("0\r\n\r\n{SMUGGLED}"),
        format!("0;a=\"\r\n\r\n{SMUGGLED}\"\r\n\r\n"),
        format!("0;a=b\n\r\n{SMUGGLED}"),
        format!("1;\"\\\"\r\nx\r\n0\r\n\r\n{SMUGGLED}"),
        format!("0\r\nX: y\r\n\r\n{SMUGGLED}"),
        format!("0\n\n{SMUGGLED}"),
        format!("-1\r\n\r\n{SMUGGLED}"),
        format!("0x0\r\n\r\n{SMUGGLED}"),
        format!("ffffffffffffffff0\r\n\r\n{SMUGGLED}"),
        format!("10000000000000000\r\n\r\n{SMUGGLED}"),
        format!("\r\n{SMUGGLED}"),
        SMUGGLED.to_owned(),
    ];
    serve_counting(|server, smuggled| {
        for body in &bodies {
            let mut client = server.connect();
            let head = "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";
            client.send_raw((head.to_owned() + body).as_bytes());
            let response = client.read_response();
            assert_eq!((response.status, response.header("Connection")), (200, Some("close")));
            client.shutdown();
            client.expect_eof();
            assert_eq!(smuggled.load(Ordering::Relaxed), 0, "{body:?}");
        }
    });
}

/// The body of a request is not waited for, and one that is too long is not read to its end
/// (413 is for servers that would read a shorter one).
#[test]
fn rfc9112_6_a_body_is_dropped_with_its_connection() {
    serve_counting(|server, smuggled| {
        for path in ["/", "/nothing", "/smuggled/../nothing"] {
            let mut client = server.connect();
            let head =
                format!("GET {path} HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\n");
            client.send_raw(head.as_bytes());
            let response = client.read_response();
            assert_eq!(response.header("Connection"), Some("close"));
            client.expect_eof();
            // The server has ended its direction, and drops what still comes.
            let _ = client.try_send_raw(SMUGGLED.repeat(100).as_bytes());
            drop(client);
        }
        let mut client = server.connect();
        client.send_raw(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n");
        assert_eq!(client.read_response().status, 200);
        assert_eq!(smuggled.load(Ordering::Relaxed), 0);
    });
}
