//! The client's side of the opening handshake: what it asks for, and which answers it takes.

use super::*;
use crate::http::{DeflatePolicy, Upgrade, parse};
use ::http::{HeaderValue, header::ORIGIN};

/// The example of RFC 6455 1.3.
const KEY: [u8; 16] = *b"the sample nonce";
const ACCEPT: &str = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\n";
const OFFER: DeflateParams = DeflateParams {
    server_no_context_takeover: false,
    client_no_context_takeover: false,
    server_max_window_bits: None,
    client_max_window_bits: Some(DeflateParams::ANY_WINDOW),
};
const HOP: &str = "Upgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n";

fn request(headers: &HeaderMap) -> ClientRequest<'_> {
    ClientRequest {
        host: "a:8181",
        target: "/chat?room=1",
        key: KEY,
        protocols: &["chat", "echo"],
        deflate: Some(OFFER),
        headers,
    }
}

fn start() -> (ClientHandshake, Vec<u8>) {
    let mut out = Vec::new();
    let handshake = ClientHandshake::start(&request(&HeaderMap::new()), &mut out);
    (handshake.expect("a valid request"), out)
}

fn read(response: &str) -> Result<Option<Established>, HandshakeError> {
    start().0.read(response.as_bytes())
}

fn error(lines: &[&str]) -> Option<HandshakeError> {
    read(&format!("{SWITCHING}{}\r\n", lines.concat())).err()
}

#[test]
fn the_request_is_what_the_rfc_asks_for() {
    let mut headers = HeaderMap::new();
    headers.insert(ORIGIN, HeaderValue::from_static("http://a"));
    let mut out = Vec::new();
    ClientHandshake::start(&request(&headers), &mut out).expect("a valid request");
    assert_eq!(
        String::from_utf8(out).expect("ASCII"),
        "GET /chat?room=1 HTTP/1.1\r\nHost: a:8181\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat, echo\r\n\
         Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\
         Origin: http://a\r\n\r\n"
    );
}

#[test]
fn the_request_is_one_our_server_accepts() {
    let (mut handshake, out) = start();
    let mut slots = HeaderSlots::new();
    let parsed = parse(&out, &Limits::default(), &mut slots).expect("valid");
    let (request, length) = parsed.expect("complete");
    assert_eq!(length, out.len());
    let upgrade = Upgrade::validate(&request).expect("a valid handshake");
    let accept = upgrade.protocols().choose("echo").expect("offered");
    let mut response = Vec::new();
    let policy = DeflatePolicy {
        server_context_takeover: false,
        client_context_takeover: true,
        server_window_bits: 12,
    };
    let deflate = DeflateParams::negotiate(&upgrade.extensions(), &policy).expect("acceptable");
    upgrade.write_accept(&accept, Some(&deflate), &mut response);
    let established = handshake.read(&response).expect("valid").expect("complete");
    assert_eq!(established.consumed, response.len());
    assert_eq!(established.protocol.as_deref(), Some("echo"));
    assert_eq!(established.deflate, Some(deflate));
}

#[test]
fn keys_are_encoded_canonically() {
    assert_eq!(encode_key([0; 16]), "AAAAAAAAAAAAAAAAAAAAAA==");
    assert_eq!(encode_key([0xff; 16]), "/////////////////////w==");
    assert_eq!(encode_key(KEY), "dGhlIHNhbXBsZSBub25jZQ==");
}

#[test]
fn nothing_can_be_injected_into_the_request() {
    let with = |change: fn(&mut ClientRequest<'_>)| {
        let headers = HeaderMap::new();
        let mut request = request(&headers);
        change(&mut request);
        let mut out = Vec::new();
        let error = ClientHandshake::start(&request, &mut out).err();
        assert!(out.is_empty());
        error
    };
    assert_eq!(with(|request| request.host = "a\r\nX: y"), Some(HandshakeError::InvalidHost));
    assert_eq!(with(|request| request.host = ""), Some(HandshakeError::InvalidHost));
    assert_eq!(
        with(|request| request.target = "/ HTTP/1.1\r\n"),
        Some(HandshakeError::InvalidTarget)
    );
    assert_eq!(with(|request| request.target = "chat"), Some(HandshakeError::InvalidTarget));
    assert_eq!(with(|request| request.protocols = &["a, b"]), Some(HandshakeError::InvalidOffer));
}

#[test]
fn no_header_of_the_handshake_can_be_added() {
    for name in ["host", "upgrade", "sec-websocket-protocol", "content-length"] {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_static("a"));
        let error = ClientHandshake::start(&request(&headers), &mut Vec::new()).err();
        assert_eq!(error, Some(HandshakeError::ReservedHeader), "{name}");
    }
}

#[test]
fn every_split_of_a_response_gives_the_same_answer() {
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 100\r\n\r\n";
    let response = format!(
        "{interim}{SWITCHING}{HOP}{ACCEPT}Sec-WebSocket-Protocol: chat\r\n\
         Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=9\r\n\r\n"
    );
    let input = format!("{response}\u{1}frame");
    for split in 0..response.len() {
        let (mut handshake, _) = start();
        assert_eq!(handshake.read(&input.as_bytes()[..split]), Ok(None), "{split}");
        let established = handshake.read(input.as_bytes()).expect("valid").expect("complete");
        assert_eq!(established.consumed, response.len());
        assert_eq!(established.protocol.as_deref(), Some("chat"));
        let agreed = established.deflate.expect("agreed");
        assert_eq!(agreed.client_max_window_bits, Some(9));
    }
}

#[test]
fn another_status_is_reported() {
    for (line, status) in [("400 Bad Request", 400), ("200 OK", 200), ("302 ", 302), ("426", 426)] {
        let found = read(&format!("HTTP/1.1 {line}\r\n\r\n"));
        assert_eq!(found, Err(HandshakeError::UnexpectedStatus(status)));
    }
}

#[test]
fn what_is_not_http_1_1_is_malformed() {
    for line in [
        "HTTP/1.0 101 S",
        "HTTP/1.1 1011",
        "HTTP/1.1  101",
        "HTTP/1.1 1",
        "SSH-2.0-x",
        "HTTP/1.1 001 x",
        "HTTP/1.1 101 a\0b",
        "HTTP/1.1 101 a\u{1b}[2J",
    ] {
        let found = read(&format!("{line}\r\n\r\n"));
        assert_eq!(found, Err(HandshakeError::MalformedResponse), "{line}");
    }
    assert_eq!(read("\u{16}\u{3}"), Err(HandshakeError::MalformedResponse));
    assert_eq!(error(&["Upgrade : websocket\r\n"]), Some(HandshakeError::MalformedResponse));
}

#[test]
fn upgrade_and_connection_must_be_there() {
    assert_eq!(error(&["Connection: upgrade\r\n", ACCEPT]), Some(HandshakeError::Upgrade));
    let other = "Upgrade: h2c\r\nConnection: upgrade\r\n";
    assert_eq!(error(&[other, ACCEPT]), Some(HandshakeError::Upgrade));
    assert_eq!(error(&["Upgrade: websocket\r\n", ACCEPT]), Some(HandshakeError::Connection));
}

#[test]
fn the_accept_key_must_be_right_and_single() {
    assert_eq!(error(&[HOP]), Some(HandshakeError::WrongAccept));
    assert_eq!(error(&[HOP, ACCEPT, ACCEPT]), Some(HandshakeError::WrongAccept));
    let lower = ACCEPT.replace("s3p", "S3p");
    assert_eq!(error(&[HOP, &lower]), Some(HandshakeError::WrongAccept));
    assert_eq!(error(&[HOP, ACCEPT]), None);
}

#[test]
fn only_what_was_offered_may_be_chosen() {
    for value in ["other", "Chat", "chat, echo", ""] {
        let line = format!("Sec-WebSocket-Protocol: {value}\r\n");
        assert_eq!(error(&[HOP, ACCEPT, &line]), Some(HandshakeError::Protocol), "{value:?}");
    }
    let twice = "Sec-WebSocket-Protocol: chat\r\n".repeat(2);
    assert_eq!(error(&[HOP, ACCEPT, &twice]), Some(HandshakeError::Protocol));
    for value in ["x-other", "permessage-deflate, x-other", "permessage-deflate;"] {
        let line = format!("Sec-WebSocket-Extensions: {value}\r\n");
        assert_eq!(error(&[HOP, ACCEPT, &line]), Some(HandshakeError::Extensions), "{value:?}");
    }
}

#[test]
fn endless_responses_are_given_up() {
    let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(1000);
    assert_eq!(read(&interim), Err(HandshakeError::HeadTooLarge));
    let head = format!("{SWITCHING}X: {}", "x".repeat(HEAD_BYTES_MAX));
    assert_eq!(read(&head), Err(HandshakeError::HeadTooLarge));
    let lines = "A: b\r\n".repeat(MAX_HEADERS + 1);
    assert_eq!(error(&[&lines]), Some(HandshakeError::HeadTooLarge));
}

#[test]
fn tungstenite_accepts_our_request_and_we_its_response() {
    use tungstenite::handshake::server::{create_response, write_response};
    let (mut handshake, out) = start();
    let mut slots = HeaderSlots::new();
    let parsed = parse(&out, &Limits::default(), &mut slots).expect("valid");
    let (request, _) = parsed.expect("complete");
    let mut builder = ::http::Request::builder().uri(request.target());
    for (name, value) in request.headers().iter() {
        builder = builder.header(name, value);
    }
    let response = create_response(&builder.body(()).expect("valid")).expect("accepted");
    let mut bytes = Vec::new();
    write_response(&mut bytes, &response).expect("a vector takes everything");
    let established = handshake.read(&bytes).expect("valid").expect("complete");
    assert_eq!(established.protocol, None);
}
