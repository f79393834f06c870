//! Request heads: what each rule of RFC 9112 accepts and refuses.

use super::*;
use crate::http::{MAX_HEADERS, TRAILING_WILDCARD};

fn with_request<R>(input: &[u8], look: impl FnOnce(&Request<'_>) -> R) -> Result<R, RequestError> {
    let mut slots = HeaderSlots::new();
    let (request, length) =
        parse(input, &Limits::default(), &mut slots)?.expect("the head is complete");
    assert!(length <= input.len());
    Ok(look(&request))
}

fn error(input: impl AsRef<[u8]>) -> Option<RequestError> {
    with_request(input.as_ref(), |_| ()).err()
}

/// The error of a GET request with these header lines beside Host.
fn error_with(lines: &str) -> Option<RequestError> {
    error(format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n"))
}

fn error_of_target(target: &str) -> Option<RequestError> {
    error(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"))
}

#[test]
fn a_valid_request_is_taken_apart() {
    let input = b"GET /chat/%41?room=1?2 HTTP/1.1\r\nhost: example.com:8181\r\nA: 1\r\n\
        X:\t two words\t \r\na: 2\r\nE:\r\n\r\nrest";
    with_request(input, |request| {
        assert_eq!(request.method(), Method::GET);
        assert_eq!(request.target(), "/chat/%41?room=1?2");
        assert_eq!(request.path(), "/chat/%41");
        assert_eq!(request.query(), Some("room=1?2"));
        assert_eq!(request.version(), Version::HTTP_11);
        assert_eq!(request.host(), Some("example.com:8181"));
        assert_eq!(request.header("x"), Some(&b"two words"[..]));
        assert_eq!(request.header_text("E"), Some(""));
        assert_eq!(request.header("absent"), None);
        assert!(request.header_all("A").eq([b"1", b"2"]));
        assert_eq!(request.headers().len(), 5);
        assert_eq!(request.framing(), Framing::None);
        assert!(request.keep_alive() && !request.is_upgrade());
        assert_eq!(request.variable(TRAILING_WILDCARD), None);
    })
    .expect("valid");
}

#[test]
fn every_proper_prefix_is_incomplete() {
    let input = b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for end in 0..input.len() {
        let mut slots = HeaderSlots::new();
        let parsed = parse(&input[..end], &Limits::default(), &mut slots);
        assert!(matches!(parsed, Ok(None)), "{end}");
    }
    assert_eq!(error(input), None);
}

#[test]
fn the_request_line_has_three_parts_and_single_spaces() {
    let bad = [
        "GET / HTTP/1.1 ",
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET /",
        "GET",
        "GET\t/ HTTP/1.1",
        "GET / http/1.1",
        "GET / HTTP/1.1x",
        "GET / HTTP/11",
        "GET / HTTX/1.1",
        "G{T / HTTP/1.1",
        "GET / HTTP/1.1\r",
        "GET /a b HTTP/1.1",
        "GET / HTTP/1.10",
    ];
    for line in bad {
        let found = error(format!("{line}\r\nHost: a\r\n\r\n"));
        assert_eq!(found, Some(RequestError::RequestLine), "{line:?}");
    }
}

#[test]
fn a_higher_minor_version_is_served_as_http_1_1() {
    assert_eq!(error("GET / HTTP/1.2\r\nHost: a\r\n\r\n"), None);
    // With all that 1.1 demands.
    assert_eq!(error("GET / HTTP/1.9\r\n\r\n"), Some(RequestError::MissingHost));
}

#[test]
fn other_versions_are_505_even_with_an_unknown_method() {
    for line in ["GET / HTTP/2.0", "GET / HTTP/3.1", "GET / HTTP/0.9", "PRI * HTTP/2.0"] {
        let found = error(format!("{line}\r\n\r\n")).expect("refused");
        assert_eq!((found, found.status().as_u16()), (RequestError::UnsupportedVersion, 505));
    }
}

#[test]
fn unknown_methods_and_connect_are_501() {
    for line in ["BREW /", "get /", "CONNECT a:443", "CONNECT /", "PROPFIND /"] {
        let found = error(format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n")).expect("refused");
        assert_eq!((found, found.status().as_u16()), (RequestError::UnsupportedMethod, 501));
    }
    for method in crate::http::methods::METHODS {
        assert_eq!(error(format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n")), None);
    }
}

#[test]
fn a_target_is_origin_form_or_absolute_form() {
    let bad = [
        "*",
        "a",
        "a/b",
        "?q",
        "http:/a",
        "ftp://a/",
        "http://",
        "http:///a",
        "http://u@a/",
        "http://a:b/",
        "http://[::1/",
        "a:80",
        "/#fragment",
        "/a#",
        "/\u{e9}",
        "/\x01",
        "/\x7f",
        "/\t",
        "/\0",
    ];
    for target in bad {
        assert_eq!(error_of_target(target), Some(RequestError::Target), "{target:?}");
    }
    for target in
        ["/", "//a", "/%", "/%zz", "/a?b?c", "/{a}|^`\"<>\\", "HTTP://a:80", "ws://[::1]:1/"]
    {
        assert_eq!(error_of_target(target), None, "{target:?}");
    }
}

#[test]
fn an_absolute_target_is_reduced_to_its_path_and_overrides_host() {
    let of = |method, target| {
        let input = format!("{method} {target} HTTP/1.1\r\nHost: other\r\n\r\n");
        with_request(input.as_bytes(), |request| {
            let query = request.query().map(str::to_owned);
            (request.path().to_owned(), query, request.host().map(str::to_owned))
        })
        .expect("valid")
    };
    let host = Some("a:1".to_owned());
    assert_eq!(of("GET", "http://a:1/b?c"), ("/b".into(), Some("c".into()), host.clone()));
    assert_eq!(of("GET", "http://a:1?c"), ("/".into(), Some("c".into()), host.clone()));
    assert_eq!(of("GET", "http://a:1"), ("/".into(), None, host.clone()));
    assert_eq!(of("OPTIONS", "http://a:1"), ("*".into(), None, host));
    assert_eq!(of("OPTIONS", "*").0, "*");
}

#[test]
fn a_target_longer_than_the_limit_is_414() {
    let target = |bytes: usize| format!("/{}", "a".repeat(bytes - 1));
    assert_eq!(error_of_target(&target(8000)), None);
    assert_eq!(error_of_target(&target(8001)), Some(RequestError::TargetTooLong));
}

#[test]
fn header_syntax_is_strict() {
    let bad = [
        (" folded: at the start\r\n", RequestError::HeaderName),
        ("A: 1\r\n folded\r\n", RequestError::HeaderName),
        ("A: 1\r\n\tfolded\r\n", RequestError::HeaderName),
        ("A : 1\r\n", RequestError::HeaderName),
        ("A\t: 1\r\n", RequestError::HeaderName),
        (": 1\r\n", RequestError::HeaderName),
        ("A\r\n", RequestError::HeaderName),
        ("A\0: 1\r\n", RequestError::HeaderName),
        ("A(: 1\r\n", RequestError::HeaderName),
        ("\u{e9}: 1\r\n", RequestError::HeaderName),
        ("\r: 1\r\n", RequestError::HeaderName),
        ("A: 1\0\r\n", RequestError::HeaderValue),
        ("A: 1\x0b\r\n", RequestError::HeaderValue),
        ("A: 1\x7f\r\n", RequestError::HeaderValue),
        ("A: 1\r2\r\n", RequestError::HeaderValue),
        ("A: 1\r\r\n", RequestError::HeaderValue),
        ("A: 1\nB: 2\r\n", RequestError::BareLineFeed),
    ];
    for (lines, expected) in bad {
        assert_eq!(error_with(lines), Some(expected), "{lines:?}");
        assert_eq!(expected.status(), 400);
    }
    assert_eq!(error_with("A: caf\u{e9} \t\r\n"), None, "obs-text is opaque");
}

#[test]
fn every_control_character_in_a_value_is_refused() {
    for byte in (0..=0x1f).chain([0x7f]).filter(|byte| *byte != b'\t') {
        for padding in [0, 1, 40] {
            let mut input = b"GET / HTTP/1.1\r\nHost: a\r\nA: ".to_vec();
            input.extend_from_slice(&vec![b'x'; padding]);
            input.extend_from_slice(&[byte, b'x', b'\r', b'\n', b'\r', b'\n']);
            assert!(error(&input).is_some(), "{byte:#x} after {padding}");
        }
    }
}

#[test]
fn more_headers_than_the_limit_are_431() {
    let with = |count: usize, limit: usize| {
        let lines = "A: 1\r\n".repeat(count - 1);
        let input = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        let limits = Limits { headers: limit, ..Limits::default() };
        parse(input.as_bytes(), &limits, &mut HeaderSlots::new()).err()
    };
    for (count, limit) in [(100, 100), (124, 128), (MAX_HEADERS, MAX_HEADERS), (2, 2)] {
        assert_eq!(with(count, limit), None);
        assert_eq!(with(count + 1, limit.min(count)), Some(RequestError::TooManyHeaders));
    }
    assert_eq!(with(129, 1000), Some(RequestError::TooManyHeaders));
    assert_eq!(with(2000, 100), Some(RequestError::TooManyHeaders));
    assert_eq!(RequestError::TooManyHeaders.status(), 431);
}

#[test]
fn http_1_1_needs_exactly_one_valid_host() {
    let with = |lines: &str| error(format!("GET / HTTP/1.1\r\n{lines}\r\n"));
    assert_eq!(with(""), Some(RequestError::MissingHost));
    assert_eq!(with("Host: a\r\nHost: a\r\n"), Some(RequestError::DuplicateHost));
    assert_eq!(with("Host: a\r\nhOST: b\r\n"), Some(RequestError::DuplicateHost));
    let bad = [
        "", "a b", "a/b", "u@a", "a:b", "a:123456", ":80", "[::1", "::1", "[]", "[::1]x", "a, b",
        "a:80:80", "a\\b", "\u{e9}", "[g h]",
    ];
    for host in bad {
        let found = with(&format!("Host: {host}\r\n"));
        assert_eq!(found, Some(RequestError::InvalidHost), "{host:?}");
    }
    for host in ["a", "127.0.0.1:8181", "[::1]:80", "[fe80::1%25eth0]", "a-b_c.example", "a:"] {
        assert_eq!(with(&format!("Host: {host}\r\n")), None, "{host:?}");
    }
}

#[test]
fn http_1_0_may_leave_host_out_but_not_garble_it() {
    let with = |lines: &str| error(format!("GET / HTTP/1.0\r\n{lines}\r\n"));
    assert_eq!(with(""), None);
    assert_eq!(with("Host: a b\r\n"), Some(RequestError::InvalidHost));
    assert_eq!(with("Host: a\r\nHost: a\r\n"), Some(RequestError::DuplicateHost));
}

#[test]
fn content_length_is_one_plain_number() {
    for value in ["+5", "-5", "", "5 5", "5, 5", "5,6", "0x5", "5.0", "18446744073709551616"] {
        let found = error_with(&format!("Content-Length: {value}\r\n"));
        assert_eq!(found, Some(RequestError::ContentLength), "{value:?}");
    }
    let twice = "Content-Length: 5\r\ncontent-length: 5\r\n";
    assert_eq!(error_with(twice), Some(RequestError::ContentLength));
}

#[test]
fn transfer_encoding_is_exactly_chunked() {
    let with = |lines: &str| error_with(lines).map(|error| (error, error.status().as_u16()));
    let unsupported = Some((RequestError::UnsupportedTransferCoding, 501));
    let invalid = Some((RequestError::TransferEncoding, 400));
    assert_eq!(with("Transfer-Encoding: gzip, chunked\r\n"), unsupported);
    assert_eq!(with("Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n"), unsupported);
    let bad = [
        "chunked, chunked",
        "chunked, gzip",
        "gzip",
        "xchunked",
        "identity",
        "",
        ",",
        "chunked;a=b",
        "\"chunked\"",
        "chunked identity",
    ];
    for value in bad {
        assert_eq!(with(&format!("Transfer-Encoding: {value}\r\n")), invalid, "{value:?}");
    }
    let twice = "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n";
    assert_eq!(with(twice), invalid);
}

#[test]
fn transfer_encoding_excludes_content_length_and_http_1_0() {
    for method in ["GET", "POST"] {
        let both = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n";
        let found = error(format!("{method} / HTTP/1.1\r\nHost: a\r\n{both}\r\n"));
        assert_eq!(found, Some(RequestError::ConflictingFraming));
        let old = format!("{method} / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert_eq!(error(old), Some(RequestError::TransferEncodingInHttp10));
    }
}

#[test]
fn framing_is_told_from_the_headers() {
    let of = |lines: &str| {
        let input = format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        with_request(input.as_bytes(), |request| request.framing()).expect("valid")
    };
    assert_eq!(of(""), Framing::None);
    assert_eq!(of("Content-Length: 0\r\n"), Framing::Length(0));
    assert_eq!(of("Content-Length: 0018\r\n"), Framing::Length(18));
    assert_eq!(of("Transfer-Encoding: , Chunked ,\r\n"), Framing::Chunked);
    assert!(!Framing::Length(0).has_body() && Framing::Chunked.has_body());
}

#[test]
fn keep_alive_follows_version_and_connection() {
    let of = |version: &str, lines: &str| {
        let input = format!("GET / HTTP/{version}\r\nHost: a\r\n{lines}\r\n");
        with_request(input.as_bytes(), |request| request.keep_alive()).expect("valid")
    };
    assert!(of("1.1", ""));
    assert!(of("1.1", "Connection: upgrade\r\n"));
    assert!(!of("1.1", "Connection: a, CLOSE\r\n"));
    assert!(!of("1.1", "Connection: keep-alive\r\nConnection: close\r\n"));
    assert!(!of("1.0", ""));
    assert!(of("1.0", "Connection: Keep-Alive\r\n"));
    assert!(!of("1.0", "Connection: keep-alive, close\r\n"));
}

#[test]
fn an_upgrade_is_seen_in_any_of_its_headers() {
    let of = |lines: &str| {
        let input = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        with_request(input.as_bytes(), |request| request.is_upgrade()).expect("valid")
    };
    assert!(of("Upgrade: h2c\r\n"));
    assert!(of("Connection: keep-alive, Upgrade\r\n"));
    assert!(of("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"));
    assert!(!of("Connection: upgraded\r\n"));
}

#[test]
fn the_only_expectation_is_100_continue() {
    for value in ["100-continue", "100-Continue", "", "100-continue, 100-CONTINUE"] {
        assert_eq!(error_with(&format!("Expect: {value}\r\n")), None, "{value}");
    }
    for value in ["200-ok", "100-continue, x", "100-continue;a=b", "\"100-continue\""] {
        let error = error_with(&format!("Expect: {value}\r\n"));
        assert_eq!(error, Some(RequestError::Expectation), "{value}");
    }
    assert_eq!(error("GET / HTTP/1.0\r\nExpect: 200-ok\r\n\r\n"), None);
}
