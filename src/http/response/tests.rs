//! Response heads, byte by byte.

use super::*;
use ::http::header::{ETAG, SEC_WEBSOCKET_VERSION, SET_COOKIE};

const KEEP: HeadOptions<'_> = HeadOptions { keep_alive: true, http10: false, date: "" };
const CLOSE: HeadOptions<'_> = HeadOptions { keep_alive: false, ..KEEP };
const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

fn head(response: &Response, options: HeadOptions<'_>) -> String {
    let mut out = Vec::new();
    response.write_head(&mut out, options);
    String::from_utf8(out).expect("the head is ASCII")
}

#[test]
fn a_head_has_date_length_and_headers() {
    let response =
        Response::text(StatusCode::OK, "hello").header(ETAG, HeaderValue::from_static("\"1\""));
    assert_eq!(
        head(&response, HeadOptions { date: DATE, ..KEEP }),
        "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 5\r\n\
         Content-Type: text/plain; charset=utf-8\r\nETag: \"1\"\r\n\r\n"
    );
    let Body::Bytes(body) = response.into_body() else { panic!("the body is bytes") };
    assert_eq!(*body, *b"hello");
}

#[test]
fn names_are_spelt_as_people_expect() {
    for name in ["ETag", "Sec-WebSocket-Version", "WWW-Authenticate", "Content-Type", "X-A"] {
        let response = Response::new(StatusCode::OK).try_header(name, "a").expect("valid");
        assert!(head(&response, KEEP).contains(&format!("\r\n{name}: a\r\n")), "{name}");
    }
}

#[test]
fn repeated_headers_stay_apart() {
    let cookie = HeaderValue::from_static;
    let response = Response::new(StatusCode::OK)
        .header(SET_COOKIE, cookie("a"))
        .header(SET_COOKIE, cookie("b"));
    assert!(head(&response, KEEP).contains("Set-Cookie: a\r\nSet-Cookie: b\r\n"));
}

#[test]
fn statuses_without_a_body_have_no_length() {
    for status in [204, 304] {
        let status = StatusCode::from_u16(status).expect("a status");
        let response = Response::text(status, "never sent");
        assert!(!head(&response, KEEP).contains("Content-Length"), "{status}");
        assert!(response.into_body().is_empty(), "{status}");
    }
    assert!(head(&Response::new(StatusCode::NOT_FOUND), KEEP).contains("Content-Length: 0\r\n"));
    let reset = Response::text(StatusCode::RESET_CONTENT, "never sent");
    assert!(head(&reset, KEEP).contains("Content-Length: 0\r\n"));
    assert!(reset.into_body().is_empty());
}

#[test]
fn an_interim_status_is_no_answer() {
    for status in [100, 101, 103, 199] {
        let status = StatusCode::from_u16(status).expect("a status");
        assert_eq!(Response::new(status).status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
}

#[test]
fn connection_says_whether_it_goes_on() {
    let response = Response::new(StatusCode::OK);
    assert!(!head(&response, KEEP).contains("Connection"));
    assert!(head(&response, CLOSE).contains("Connection: close\r\n"));
    let old = HeadOptions { http10: true, ..KEEP };
    assert!(head(&response, old).contains("Connection: keep-alive\r\n"));
    assert!(
        head(&response, HeadOptions { http10: true, ..CLOSE }).contains("Connection: close\r\n")
    );
}

#[test]
fn who_sends_upgrade_names_it_in_connection() {
    let response = Response::new(StatusCode::UPGRADE_REQUIRED)
        .header(UPGRADE, HeaderValue::from_static("websocket"));
    assert!(head(&response, KEEP).contains("\r\nConnection: upgrade\r\n"));
    assert!(head(&response, CLOSE).contains("\r\nConnection: upgrade, close\r\n"));
}

#[test]
fn what_the_writer_owns_cannot_be_written_twice() {
    let response = Response::text(StatusCode::OK, "hello")
        .header(CONTENT_LENGTH, HeaderValue::from_static("1"))
        .header(TRANSFER_ENCODING, HeaderValue::from_static("chunked"))
        .header(CONNECTION, HeaderValue::from_static("keep-alive"));
    let head = head(&response, CLOSE);
    assert_eq!(head.matches("Content-Length").count(), 1);
    assert!(head.contains("Content-Length: 5\r\n") && !head.contains("Transfer-Encoding"));
    assert!(!head.contains("keep-alive"));
    for name in ["Content-Length", "transfer-encoding", "Connection", "date"] {
        let refused = Response::new(StatusCode::OK).try_header(name, "1");
        assert_eq!(refused.err(), Some(InvalidHeader::Reserved), "{name}");
    }
}

#[test]
fn no_control_character_reaches_the_wire() {
    let with =
        |name: &str, value: &str| Response::new(StatusCode::OK).try_header(name, value).err();
    for character in ["\r", "\n", "\0", "\r\nSet-Cookie: a=b", "\x7f", "\x1b[31m"] {
        assert_eq!(with("X-A", &format!("a{character}b")), Some(InvalidHeader::Value));
        assert_eq!(with(&format!("X{character}"), "a"), Some(InvalidHeader::Name));
    }
    for name in ["", "a b", "a:", "\u{e9}"] {
        assert_eq!(with(name, "a"), Some(InvalidHeader::Name), "{name:?}");
    }
    assert_eq!(with("x-a", "caf\u{e9}"), None);
}

#[test]
fn a_stream_promises_its_length() {
    struct Zeros;
    impl Source for Zeros {
        fn read(&mut self, buffer: &mut [u8]) -> Result<usize, SourceError> {
            buffer.fill(0);
            Ok(buffer.len())
        }
    }
    let body = Body::Stream { length: 1 << 40, source: Box::new(Zeros) };
    let response = Response::new(StatusCode::OK).body(body);
    assert!(head(&response, KEEP).contains("Content-Length: 1099511627776\r\n"));
    assert!(format!("{response:?}").contains("Stream { length: 1099511627776 }"));
}

#[test]
fn a_rejected_request_is_told_why() {
    let response = Response::rejected(RequestError::MissingHost);
    assert!(head(&response, CLOSE).starts_with("HTTP/1.1 400 Bad Request\r\n"));
    assert!(!response.into_body().is_empty());
}

#[test]
fn switching_protocols_has_neither_length_nor_date() {
    let mut out = Vec::new();
    let mut extra = HeaderMap::new();
    extra.append(SET_COOKIE, HeaderValue::from_static("a=b"));
    write_switching_protocols(&mut out, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", Some("chat"), None, &extra);
    assert_eq!(
        String::from_utf8(out).expect("ASCII"),
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\
         Set-Cookie: a=b\r\n\r\n"
    );
}

#[test]
fn allow_lists_the_methods() {
    let allow = Methods::default().with(&::http::Method::GET);
    let response = Response::method_not_allowed(allow);
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert!(head(&response, KEEP).contains("Allow: GET\r\n"));
    let options = head(&Response::options(allow), KEEP);
    assert!(options.starts_with("HTTP/1.1 204") && options.contains("Allow: GET\r\n"));
    assert!(!options.contains(SEC_WEBSOCKET_VERSION.as_str()));
}
