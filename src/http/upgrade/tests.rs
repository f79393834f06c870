//! The opening handshake: which requests are one, and what the others are told.

use super::*;
use crate::http::{HeadOptions, HeaderSlots, Limits, parse};

const UPGRADE_LINE: &str = "Upgrade: websocket\r\n";
const CONNECTION: &str = "Connection: Upgrade\r\n";
const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";

fn validate_request(line: &str, lines: &[&str]) -> Result<String, UpgradeError> {
    let input = format!("{line}\r\nHost: a\r\n{}\r\n", lines.concat());
    let mut slots = HeaderSlots::new();
    let parsed = parse(input.as_bytes(), &Limits::default(), &mut slots);
    let (request, _) = parsed.expect("a valid request").expect("a complete head");
    Upgrade::validate(&request).map(|upgrade| upgrade.accept_key().to_owned())
}

fn validate(lines: &[&str]) -> Result<String, UpgradeError> {
    validate_request("GET / HTTP/1.1", lines)
}

fn error(lines: &[&str]) -> Option<(UpgradeError, u16)> {
    validate(lines).err().map(|error| (error, error.status().as_u16()))
}

/// The error of an otherwise valid handshake with one line more.
fn error_with(line: &str) -> Option<UpgradeError> {
    validate(&[UPGRADE_LINE, CONNECTION, KEY, VERSION, line]).err()
}

#[test]
fn the_example_of_the_rfc_is_accepted() {
    let accept_key = validate(&[UPGRADE_LINE, CONNECTION, KEY, VERSION]);
    assert_eq!(accept_key.as_deref(), Ok("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
}

#[test]
fn the_method_is_get() {
    for method in ["POST", "HEAD", "OPTIONS", "PUT"] {
        let lines = [UPGRADE_LINE, CONNECTION, KEY, VERSION];
        let error = validate_request(&format!("{method} / HTTP/1.1"), &lines).err();
        assert_eq!(error, Some(UpgradeError::Method));
    }
    let response = UpgradeError::Method.response();
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(response.headers().get(ALLOW).expect("RFC 9110 15.5.6"), "GET");
}

#[test]
fn the_version_of_http_is_1_1() {
    let lines = [UPGRADE_LINE, CONNECTION, KEY, VERSION];
    let error = validate_request("GET / HTTP/1.0", &lines).err();
    assert_eq!(error, Some(UpgradeError::HttpVersion));
}

#[test]
fn a_body_is_refused_but_an_empty_one_is_none() {
    assert_eq!(error_with("Content-Length: 5\r\n"), Some(UpgradeError::RequestBody));
    assert_eq!(error_with("Transfer-Encoding: chunked\r\n"), Some(UpgradeError::RequestBody));
    assert_eq!(error_with("Content-Length: 0\r\n"), None);
}

#[test]
fn upgrade_lists_websocket_in_any_case_on_any_line() {
    for lines in [
        "Upgrade: WebSocket\r\n",
        "Upgrade: h2c, websocket\r\n",
        "Upgrade: h2c\r\nupgrade: WEBSOCKET\r\n",
    ] {
        assert!(validate(&[lines, CONNECTION, KEY, VERSION]).is_ok(), "{lines:?}");
    }
    for value in ["h2c", "websocket/13", "websockets", "web socket", "", "\"websocket\""] {
        let line = format!("Upgrade: {value}\r\n");
        let found = error(&[&line, CONNECTION, KEY, VERSION]);
        assert_eq!(found, Some((UpgradeError::OtherProtocol, 426)), "{value:?}");
    }
}

#[test]
fn an_ordinary_request_is_told_to_upgrade() {
    assert_eq!(error(&[]), Some((UpgradeError::NoUpgrade, 426)));
    let mut out = Vec::new();
    let options = HeadOptions { keep_alive: false, http10: false, date: "" };
    UpgradeError::NoUpgrade.response().write_head(&mut out, options);
    let head = String::from_utf8(out).expect("ASCII");
    assert!(head.starts_with("HTTP/1.1 426 Upgrade Required\r\n"), "{head}");
    assert!(head.contains("\r\nUpgrade: websocket\r\n"), "{head}");
    assert!(head.contains("\r\nConnection: upgrade, close\r\n"), "{head}");
}

#[test]
fn connection_lists_upgrade_in_any_case_on_any_line() {
    for lines in
        ["Connection: keep-alive, UPGRADE\r\n", "Connection: keep-alive\r\nConnection: upgrade\r\n"]
    {
        assert!(validate(&[UPGRADE_LINE, lines, KEY, VERSION]).is_ok(), "{lines:?}");
    }
    for lines in [
        "",
        "Connection: keep-alive\r\n",
        "Connection: upgraded\r\n",
        "Connection: no-upgrade\r\n",
        "Connection: keep-alive upgrade\r\n",
    ] {
        let found = error(&[UPGRADE_LINE, lines, KEY, VERSION]);
        assert_eq!(found, Some((UpgradeError::Connection, 400)), "{lines:?}");
    }
}

#[test]
fn the_version_is_13_exactly_once() {
    assert!(validate(&[UPGRADE_LINE, CONNECTION, KEY, "Sec-WebSocket-Version: \t13 \r\n"]).is_ok());
    let twice = VERSION.repeat(2);
    let mut bad = vec![String::new(), twice];
    for value in ["", "8", "12", "14", "013", "+13", "13, 8", "13.0", "1 3", "thirteen"] {
        bad.push(format!("Sec-WebSocket-Version: {value}\r\n"));
    }
    for line in bad {
        let found = error(&[UPGRADE_LINE, CONNECTION, KEY, &line]);
        assert_eq!(found, Some((UpgradeError::Version, 426)), "{line:?}");
    }
    let response = UpgradeError::Version.response();
    assert_eq!(response.headers().get(SEC_WEBSOCKET_VERSION).expect("RFC 6455 4.4"), "13");
}

#[test]
fn the_key_is_16_bytes_in_base64_exactly_once() {
    for key in [
        "AAAAAAAAAAAAAAAAAAAAAA==",
        "+/+/+/+/+/+/+/+/+/+/+w==",
        "AQIDBAUGBwgJCgsMDQ4PEC==",
        "dGhlIHNhbXBsZSBub25jZ/==",
    ] {
        let line = format!("Sec-WebSocket-Key: {key}\r\n");
        assert!(validate(&[UPGRADE_LINE, CONNECTION, &line, VERSION]).is_ok(), "{key}");
    }
    let mut bad = vec![String::new(), KEY.repeat(2)];
    let values = [
        "",
        "dGhlIHNhbXBsZSBub25jZQ",
        "dGhlIHNhbXBsZSBub25jZQ=",
        "dGhlIHNhbXBsZSBub25jZQ===",
        "dGhlIHNhbXBsZSBub25jZQ==,",
        "dGhlIHNhbXBsZSBub25jZ===",
        "dGhlIHNhbXBsZSBub25j_Q==",
        "dGhlIHNhbXBsZSBub25j Q==",
        "dGhlIHNhbXBsZSBub25jZWE=",
        "dGhlIHNhbXBsZSBub25jZWFi",
        "dGhlIHNhbXBsZQ==",
        "=GhlIHNhbXBsZSBub25jZQ==",
    ];
    bad.extend(values.iter().map(|value| format!("Sec-WebSocket-Key: {value}\r\n")));
    for line in bad {
        let found = error(&[UPGRADE_LINE, CONNECTION, &line, VERSION]);
        assert_eq!(found, Some((UpgradeError::Key, 400)), "{line:?}");
    }
}

#[test]
fn keys_of_the_hixie_drafts_are_refused() {
    for name in ["Sec-WebSocket-Key1", "Sec-WebSocket-Key2"] {
        let line = format!("{name}: 4 @1  46546xW%0l 1 5\r\n");
        assert_eq!(error(&[UPGRADE_LINE, CONNECTION, &line]), Some((UpgradeError::Hixie, 400)));
        assert_eq!(error_with(&line), Some(UpgradeError::Hixie));
    }
}

#[test]
fn malformed_offers_are_refused() {
    assert_eq!(error_with("Sec-WebSocket-Protocol: a, a\r\n"), Some(UpgradeError::Protocols));
    assert_eq!(error_with("Sec-WebSocket-Protocol: a b\r\n"), Some(UpgradeError::Protocols));
    assert_eq!(error_with("Sec-WebSocket-Extensions: a;\r\n"), Some(UpgradeError::Extensions));
    assert_eq!(error_with("Sec-WebSocket-Extensions: a; b=c, d\r\n"), None);
}

#[test]
fn empty_offers_are_as_good_as_none() {
    for nothing in ["", " , ,"] {
        let line = |name| format!("Sec-WebSocket-{name}: {nothing}\r\n");
        assert_eq!(error_with(&line("Protocol")), None, "{nothing:?}");
        assert_eq!(error_with(&line("Extensions")), None, "{nothing:?}");
        assert_eq!(error_with(&(line("Protocol") + "Sec-WebSocket-Protocol: a\r\n")), None);
    }
}

#[test]
fn what_is_accepted_is_what_tungstenite_accepts() {
    let input =
        format!("GET / HTTP/1.1\r\nHost: a\r\n{UPGRADE_LINE}{CONNECTION}{KEY}{VERSION}\r\n");
    let mut slots = HeaderSlots::new();
    let parsed = parse(input.as_bytes(), &Limits::default(), &mut slots);
    let (request, _) = parsed.expect("valid").expect("complete");
    let upgrade = Upgrade::validate(&request).expect("valid");
    let mut builder = ::http::Request::builder().uri(request.target());
    for (name, value) in request.headers().iter() {
        builder = builder.header(name, value);
    }
    let theirs = tungstenite::handshake::server::create_response(&builder.body(()).expect("valid"));
    let theirs = theirs.expect("tungstenite accepts it");
    let accept = theirs.headers().get("sec-websocket-accept").expect("the accept key");
    assert_eq!(accept.as_bytes(), upgrade.accept_key().as_bytes());
    let mut out = Vec::new();
    upgrade.write_accept(&upgrade.protocols().none(), None, &mut out);
    assert!(out.starts_with(b"HTTP/1.1 101 ") && out.ends_with(b"\r\n\r\n"));
}
