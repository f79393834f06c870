//! Subprotocols: how an offer is read, and that only what was offered is chosen.

use super::*;
use crate::http::HeaderSlots;

fn with_offer<R>(
    lines: &[&str],
    look: impl FnOnce(Protocols<'_>) -> R,
) -> Result<R, InvalidProtocols> {
    let lines: Vec<_> =
        lines.iter().map(|line| format!("sec-websocket-protocol: {line}\r\n")).collect();
    let fields = lines.concat() + "\r\n";
    let mut slots = HeaderSlots::new();
    let headers = slots.parse(fields.as_bytes(), 100).expect("valid header lines");
    Protocols::parse(&headers).map(look)
}

fn chosen(
    lines: &[&str],
    choose: impl FnOnce(Protocols<'_>) -> Result<Accept, Refusal>,
) -> Result<Option<String>, StatusCode> {
    let answer = with_offer(lines, choose).expect("a valid offer");
    answer
        .map(|accept| accept.protocol().map(str::to_owned))
        .map_err(|refusal| refusal.into_response().status())
}

const REFUSED: Result<Option<String>, StatusCode> = Err(StatusCode::BAD_REQUEST);

#[test]
fn an_offer_of_several_lines_is_one_list_in_order() {
    let offer = with_offer(&[" ,chat,\tv2.echo ,", "", "other"], |offer| {
        assert!(offer.contains("v2.echo") && !offer.contains("V2.echo") && !offer.is_empty());
        offer.iter().map(str::to_owned).collect::<Vec<_>>()
    });
    assert_eq!(offer.expect("valid"), ["chat", "v2.echo", "other"]);
}

#[test]
fn an_offer_is_of_different_tokens() {
    for lines in [&["a b"][..], &["a/b"], &["\"a\""], &["caf\u{e9}"], &["a, a"], &["a", "b, a"]] {
        assert!(with_offer(lines, |_| ()).is_err(), "{lines:?}");
    }
    assert!(with_offer(&["a, A"], |_| ()).is_ok(), "names have case");
}

#[test]
fn an_offer_of_thousands_is_not_quadratic() {
    let names: Vec<_> = (0..200_000).map(|number| number.to_string()).collect();
    assert!(with_offer(&[&names.join(",")], |_| ()).is_ok());
}

#[test]
fn spaces_in_an_offer_cost_linear_time() {
    let spaces = format!("b{}x", " ".repeat(1 << 20));
    assert!(with_offer(&[&spaces], |_| ()).is_err());
}

#[test]
fn choose_takes_what_is_offered() {
    assert_eq!(chosen(&["chat, echo"], |offer| offer.choose("echo")), Ok(Some("echo".into())));
}

#[test]
fn choose_serves_a_client_that_offers_none() {
    assert_eq!(chosen(&[], |offer| offer.choose("echo")), Ok(None));
    assert_eq!(chosen(&[" , "], |offer| offer.choose("echo")), Ok(None));
}

#[test]
fn choose_refuses_a_client_that_offers_only_others() {
    assert_eq!(chosen(&["chat"], |offer| offer.choose("echo")), REFUSED);
    let refusal = with_offer(&["chat"], |offer| offer.choose("echo")).expect("valid");
    let Body::Bytes(text) = refusal.expect_err("refused").into_response().into_body() else {
        panic!("a refusal says why")
    };
    assert!(str::from_utf8(&text).expect("text").contains("offer the subprotocol echo"));
}

#[test]
fn require_refuses_a_client_that_offers_none() {
    assert_eq!(chosen(&[], |offer| offer.require("echo")), REFUSED);
    assert_eq!(chosen(&["chat"], |offer| offer.require("echo")), REFUSED);
    assert_eq!(chosen(&["echo"], |offer| offer.require("echo")), Ok(Some("echo".into())));
}

#[test]
fn choose_any_follows_the_servers_preference() {
    let lines = ["v1, v2"];
    assert_eq!(
        chosen(&lines, |offer| offer.choose_any(&["v3", "v2", "v1"])),
        Ok(Some("v2".into()))
    );
    assert_eq!(chosen(&lines, |offer| offer.choose_any(&["v4"])), REFUSED);
    assert_eq!(chosen(&lines, |offer| offer.choose_any(&[])), REFUSED);
    assert_eq!(chosen(&lines, |offer| Ok(offer.none())), Ok(None));
}

#[test]
fn accept_takes_no_header_of_the_handshake() {
    let accept = || with_offer(&[], |offer| offer.none()).expect("valid");
    let reserved = [
        "Upgrade",
        "connection",
        "Content-Length",
        "Transfer-Encoding",
        "Sec-WebSocket-Accept",
        "sec-websocket-protocol",
        "SEC-WEBSOCKET-EXTENSIONS",
    ];
    for name in reserved {
        assert_eq!(accept().header(name, "a").err(), Some(InvalidHeader::Reserved), "{name}");
    }
    assert_eq!(accept().header("a\r\nb", "c").err(), Some(InvalidHeader::Name));
    assert_eq!(accept().header("a", "b\r\nc: d").err(), Some(InvalidHeader::Value));
    let accepted = accept().header("Set-Cookie", "a=b").expect("allowed").session(7);
    assert_eq!(accepted.accept.headers().len(), 1);
    assert_eq!(accepted.session, 7);
}

#[test]
fn a_refusal_never_looks_like_success() {
    for (asked, sent) in [(101, 403), (200, 403), (204, 403), (302, 302), (401, 401), (503, 503)] {
        let refusal = Refusal::new(StatusCode::from_u16(asked).expect("a status"));
        assert_eq!(refusal.into_response().status().as_u16(), sent);
    }
}

#[test]
fn a_refusal_has_status_headers_and_body() {
    let refusal = Refusal::new(StatusCode::UNAUTHORIZED)
        .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic"))
        .body(Body::Bytes(b"who are you?".as_slice().into()));
    let response = refusal.into_response();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert!(response.headers().contains_key(header::WWW_AUTHENTICATE));
    assert_eq!(response.into_body().len(), 12);
}
