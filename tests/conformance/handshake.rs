//! The server's side of the opening handshake: RFC 6455 sections 4.2 and 4.4, and what
//! became an advisory elsewhere.

use http::StatusCode;
use wireloop::{
    Echo, Request, Routes,
    http::{Refusal, Response},
};

use crate::support::{TEXT, TestServer, frame, handshake, serve};

const KEY_LINE: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const VERSION_LINE: &str = "Sec-WebSocket-Version: 13\r\n";

fn routes() -> Routes {
    Routes::new()
        .websocket("/", |_request, protocols| Ok(protocols.none().session(Echo)))
        .websocket("/chat", |_request, protocols| {
            protocols.choose_any(&["v2", "v1"]).map(|accept| accept.session(Echo))
        })
        .websocket::<Echo>("/refused", |_request, _protocols| {
            Err(Refusal::new(StatusCode::FORBIDDEN))
        })
        .get("/private", |_: &Request<'_>| Response::text(StatusCode::OK, "private"))
}

fn get_private() -> String {
    "GET /private HTTP/1.1\r\nHost: test\r\n\r\n".into()
}

/// The handshake of the RFC with one line replaced.
fn with(line: &str, replacement: &str) -> String {
    let valid = handshake("/", "");
    assert!(valid.contains(line), "there is such a line");
    valid.replace(line, replacement)
}

/// A request that is no handshake: its status and one answer only, after which the connection
/// ends although a request follows.
#[track_caller]
pub(crate) fn refused(server: &TestServer, request: &str) -> u16 {
    let mut client = server.connect();
    client.send_raw((request.to_owned() + &get_private()).as_bytes());
    let response = client.read_response();
    assert_ne!(response.status, 101, "{request}");
    let connection = response.header("Connection").unwrap_or_default();
    assert!(connection.split(", ").any(|token| token == "close"), "{request}{}", response.head);
    client.shutdown();
    client.expect_eof();
    response.status
}

#[track_caller]
pub(crate) fn accepted(server: &TestServer, request: &str) {
    let mut client = server.connect();
    let response = client.request(request);
    assert_eq!(response.status, 101, "{request}");
    client.send_text("after the handshake");
    client.expect_text("after the handshake");
}

#[test]
fn rfc6455_4_2_1_the_method_is_get() {
    serve(routes, |server| {
        for method in ["POST", "PUT", "HEAD", "DELETE", "PATCH"] {
            let mut client = server.connect();
            client.send_raw(with("GET", method).as_bytes());
            let response = client.read_head();
            assert_eq!(response.status, 405, "{method}");
            assert!(response.header("Allow").is_some_and(|allow| allow.contains("GET")));
            assert!(response.header("Connection").is_some_and(|value| value.contains("close")));
        }
        assert_eq!(refused(server, &with("GET", "get")), 501);
    });
}

#[test]
fn rfc6455_4_2_1_the_version_of_http_is_at_least_1_1() {
    serve(routes, |server| {
        assert_eq!(refused(server, &with("HTTP/1.1", "HTTP/1.0")), 400);
        assert_eq!(refused(server, &with("HTTP/1.1", "HTTP/0.9")), 505);
        assert_eq!(refused(server, &with("HTTP/1.1", "HTTP/2.0")), 505);
        assert_eq!(refused(server, &with(" HTTP/1.1", "")), 400);
        accepted(server, &with("HTTP/1.1", "HTTP/1.2"));
    });
}

#[test]
fn rfc6455_4_2_1_the_target_is_a_path_or_an_absolute_uri() {
    serve(routes, |server| {
        for target in ["/?a=b&c", "http://test/", "ws://test/", "wss://other:443/?a", "HTTP://test"]
        {
            accepted(server, &with("GET / ", &format!("GET {target} ")));
        }
        for target in ["", "chat", "ftp://test/", "/#fragment", "/\u{e9}", "*", "http://"] {
            assert_eq!(
                refused(server, &with("GET / ", &format!("GET {target} "))),
                400,
                "{target}"
            );
        }
    });
}

#[test]
fn rfc6455_4_2_1_host_is_required() {
    serve(routes, |server| {
        let line = "Host: localhost\r\n";
        for invalid in [
            "",
            "Host:\r\n",
            "Host: a\r\nHost: a\r\n",
            "Host: a b\r\n",
            "Host: a/b\r\n",
            "Host: a@b\r\n",
        ] {
            assert_eq!(refused(server, &with(line, invalid)), 400, "{invalid}");
        }
        for valid in ["hOST:test:8181\r\n", "Host: [::1]:80\r\n", "Host: 127.0.0.1\r\n"] {
            accepted(server, &with(line, valid));
        }
    });
}

#[test]
fn rfc6455_4_2_1_upgrade_lists_websocket_in_any_case() {
    serve(routes, |server| {
        let line = "Upgrade: websocket\r\n";
        for valid in [
            "Upgrade: WebSocket\r\n",
            "UPGRADE:WEBSOCKET\r\n",
            "Upgrade: h2c, websocket\r\n",
            "Upgrade: h2c\r\nUpgrade: websocket\r\n",
            "Upgrade: ,websocket ,\r\n",
        ] {
            accepted(server, &with(line, valid));
        }
        for invalid in [
            "",
            "Upgrade:\r\n",
            "Upgrade: websockets\r\n",
            "Upgrade: web socket\r\n",
            "Upgrade: h2c\r\n",
        ] {
            assert_eq!(refused(server, &with(line, invalid)), 426, "{invalid}");
        }
    });
}

#[test]
fn rfc6455_4_2_1_connection_lists_upgrade_in_any_case() {
    serve(routes, |server| {
        let line = "Connection: Upgrade\r\n";
        for valid in [
            "Connection: upgrade\r\n",
            "Connection: keep-alive, Upgrade\r\n",
            "Connection: keep-alive\r\nConnection: UPGRADE\r\n",
            "Connection:\tkeep-alive\t,\tUpgrade\t\r\n",
        ] {
            accepted(server, &with(line, valid));
        }
        for invalid in [
            "",
            "Connection:\r\n",
            "Connection: keep-alive\r\n",
            "Connection: no-upgrade\r\n",
            "Connection: upgrade;x\r\n",
        ] {
            assert_eq!(refused(server, &with(line, invalid)), 400, "{invalid}");
        }
    });
}

#[test]
fn rfc6455_4_2_1_the_key_is_16_bytes_in_base64_once() {
    serve(routes, |server| {
        for key in [
            "",
            "dGhlIHNhbXBsZSBub25jZQ",
            "dGhlIHNhbXBsZSBub25jZQ=",
            "dGhlIHNhbXBsZSBub25jZQ===",
            // 15 and 17 bytes, base64url, not base64.
            "dGhlIHNhbXBsZSBub25j",
            "dGhlIHNhbXBsZSBub25jZTE=",
            "dGhlIHNhbXBsZSBub25jZ_==",
            "dGhlIHNhbXBsZSBub25j Q==",
            "!!!!!!!!!!!!!!!!!!!!!!==",
            "dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ==",
        ] {
            let line = format!("Sec-WebSocket-Key: {key}\r\n");
            assert_eq!(refused(server, &with(KEY_LINE, &line)), 400, "{key}");
        }
        assert_eq!(refused(server, &with(KEY_LINE, "")), 400);
        assert_eq!(refused(server, &with(KEY_LINE, &KEY_LINE.repeat(2))), 400);
        let spaced = "Sec-WebSocket-Key:  dGhlIHNhbXBsZSBub25jZQ==\t \r\n";
        accepted(server, &with(KEY_LINE, spaced));
    });
}

/// The RFC's own example for the bytes 1 to 16 ends in a digit whose spare bits are not zero.
#[test]
fn rfc6455_4_1_the_example_key_with_spare_bits_is_accepted() {
    serve(routes, |server| {
        for last in ["A", "C", "P", "/"] {
            let line = format!("Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PE{last}==\r\n");
            accepted(server, &with(KEY_LINE, &line));
        }
    });
}

/// 4.2.2 and 4.4: a version that is not 13 is answered with the one that is, so that the client
/// can try again.
#[test]
fn rfc6455_4_4_another_version_gets_426_and_the_right_one() {
    let lines = [
        "0", "7", "8", "12", "14", "013", "13.0", "+13", "0x0D", "13a", "13, 8", "8, 13", "", "255",
    ]
    .map(|version| format!("Sec-WebSocket-Version: {version}\r\n"));
    let missing_or_twice = [String::new(), VERSION_LINE.repeat(2)];
    serve(routes, |server| {
        for line in lines.iter().chain(&missing_or_twice) {
            let request = with(VERSION_LINE, line);
            assert_eq!(refused(server, &request), 426, "{line}");
            let response = server.connect().request(&request);
            assert_eq!(response.header("Sec-WebSocket-Version"), Some("13"));
            assert_eq!(response.header("Upgrade"), Some("websocket"));
        }
        let retried = server.connect().request(&handshake("/", ""));
        assert_eq!(retried.status, 101);
    });
}

/// What was spoken before the RFC is not spoken: hixie-75, hixie-76 and the drafts of hybi.
#[test]
fn cve_2026_54466_drafts_are_refused() {
    let hixie =
        "Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\nSec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\n";
    serve(routes, |server| {
        assert_eq!(refused(server, &with(KEY_LINE, hixie)), 400);
        assert_eq!(refused(server, &(with(KEY_LINE, &format!("{hixie}{KEY_LINE}")))), 400);
        assert_eq!(refused(server, &with(VERSION_LINE, "Sec-WebSocket-Draft: 2\r\n")), 426);
    });
}

#[test]
fn rfc6455_4_2_2_the_response_is_exactly_the_handshake() {
    serve(routes, |server| {
        let headers = "Sec-WebSocket-Protocol: v1\r\nSec-WebSocket-Extensions: x-unknown\r\n";
        let response = server.connect().request(&handshake("/chat", headers));
        assert!(response.head.starts_with("HTTP/1.1 101 "), "{}", response.head);
        // `header` fails where there are two: 11.3.2 to 11.3.4.
        assert_eq!(response.header("Upgrade").map(str::to_lowercase), Some("websocket".into()));
        assert_eq!(response.header("Connection").map(str::to_lowercase), Some("upgrade".into()));
        assert_eq!(response.header("Sec-WebSocket-Accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert_eq!(response.header("Sec-WebSocket-Protocol"), Some("v1"));
        assert_eq!(response.header("Sec-WebSocket-Extensions"), None);
        for absent in ["Content-Length", "Transfer-Encoding", "Sec-WebSocket-Version"] {
            assert_eq!(response.header(absent), None, "{absent}");
        }
    });
}

#[test]
fn rfc6455_4_2_2_the_subprotocol_is_an_offered_one_or_none() {
    serve(routes, |server| {
        let chosen = |path: &str, offer: &str| {
            let response = server.connect().request(&handshake(path, offer));
            assert_eq!(response.status, 101, "{offer}");
            response.header("Sec-WebSocket-Protocol").map(str::to_owned)
        };
        let v2 = Some("v2".to_owned());
        assert_eq!(chosen("/chat", ""), None);
        assert_eq!(chosen("/", "Sec-WebSocket-Protocol: v1, v2\r\n"), None);
        assert_eq!(chosen("/chat", "Sec-WebSocket-Protocol: v1, v2\r\n"), v2);
        let lines = "Sec-WebSocket-Protocol: v1\r\nSec-WebSocket-Protocol: x\t, v2\r\n";
        assert_eq!(chosen("/chat", lines), v2);
        for malformed in ["v 1", "v1, v1", "v1/2", "\"v1\"", "v1;v2"] {
            let line = format!("Sec-WebSocket-Protocol: {malformed}\r\n");
            assert_eq!(refused(server, &handshake("/chat", &line)), 400, "{malformed}");
        }
        // Names have case; nothing that was offered is supported.
        assert_eq!(refused(server, &handshake("/chat", "Sec-WebSocket-Protocol: V1\r\n")), 400);
    });
}

#[test]
fn rfc6455_9_1_an_unknown_extension_is_ignored_and_a_malformed_list_refused() {
    serve(routes, |server| {
        // Names of a JavaScript object's prototype crashed ws before 3.3.1.
        for offer in ["x-unknown", "__proto__, constructor; toString=1", "a; b=\"1\", c"] {
            accepted(server, &handshake("/", &format!("Sec-WebSocket-Extensions: {offer}\r\n")));
        }
        for offer in ["x;", "x; ;", "x; a=", "x; a=\"", "x y", ";", "x; a=\"b c\"", "x=1"] {
            let line = format!("Sec-WebSocket-Extensions: {offer}\r\n");
            assert_eq!(refused(server, &handshake("/", &line)), 400, "{offer}");
        }
    });
}

/// Empty elements of a list are ignored, and a header that has no other elements offers nothing:
/// clients send it to turn compression off, or because they have no subprotocol to offer.
#[test]
fn rfc9110_5_6_1_empty_elements_of_an_offer_are_ignored() {
    serve(routes, |server| {
        let chosen = |lines: &str| {
            let response = server.connect().request(&handshake("/chat", lines));
            assert_eq!(response.status, 101, "{lines}");
            assert_eq!(response.header("Sec-WebSocket-Extensions"), None, "{lines}");
            response.header("Sec-WebSocket-Protocol").map(str::to_owned)
        };
        for empty in ["", " ", ",", ", ,", "\t,\t"] {
            let protocol = format!("Sec-WebSocket-Protocol:{empty}\r\n");
            let extensions = format!("Sec-WebSocket-Extensions:{empty}\r\n");
            assert_eq!(chosen(&protocol), None);
            assert_eq!(chosen(&extensions), None);
            let second_line = protocol + "Sec-WebSocket-Protocol: v1\r\n";
            assert_eq!(chosen(&second_line).as_deref(), Some("v1"));
        }
        assert_eq!(chosen("Sec-WebSocket-Protocol: , ,v1,\r\n").as_deref(), Some("v1"));
        accepted(server, &handshake("/", "Sec-WebSocket-Extensions: , ,x-unknown,,\r\n"));
    });
}

#[test]
fn rfc6455_4_2_2_an_unknown_resource_is_404() {
    serve(routes, |server| {
        assert_eq!(refused(server, &handshake("/nothing", "")), 404);
        assert_eq!(refused(server, &handshake("/refused", "")), 403);
    });
}

/// A body would have to be told from frames, and a proxy may have another opinion on it.
#[test]
fn rfc6455_4_2_1_a_handshake_has_no_body() {
    serve(routes, |server| {
        let body = get_private();
        for framing in [
            format!("Content-Length: {}\r\n", body.len()),
            "Transfer-Encoding: chunked\r\n".to_owned(),
        ] {
            assert_eq!(refused(server, &(handshake("/", &framing) + &body)), 400, "{framing}");
        }
        accepted(server, &handshake("/", "Content-Length: 0\r\n"));
    });
}

/// RFC 9931, and the attack of 0ang3el: a proxy that believes in a tunnel after a failed upgrade
/// lets a client send requests that nobody has looked at.
#[test]
fn rfc9931_after_a_refused_upgrade_nothing_is_parsed() {
    serve(routes, |server| {
        let bad_version = with(VERSION_LINE, "Sec-WebSocket-Version: 777\r\n");
        assert_eq!(refused(server, &bad_version), 426);
        let post = with("GET", "POST").replace("\r\n\r\n", "\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(refused(server, &post), 405);
        // Requests hidden in a frame, as the tunnel would carry them.
        let hidden = frame(true, TEXT, [0; 4], get_private().as_bytes());
        let mut client = server.connect();
        client.send_raw(&[bad_version.as_bytes(), &hidden].concat());
        assert_eq!(client.read_response().status, 426);
        client.shutdown();
        client.expect_eof();
    });
}

#[test]
fn rfc9110_7_8_h2c_is_never_upgraded_to() {
    serve(routes, |server| {
        let h2c =
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n";
        for path in ["/", "/private"] {
            let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\n{h2c}\r\n");
            let status = refused(server, &request);
            assert_eq!(status, if path == "/" { 426 } else { 200 });
        }
        assert_eq!(refused(server, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505);
    });
}

/// A head in pieces of one byte is a head, and the frames may come with its last byte.
#[test]
fn a_handshake_in_pieces_of_one_byte_is_accepted() {
    serve(routes, |server| {
        let mut client = server.connect();
        let head = handshake("/", "");
        let (first, last) = head.as_bytes().split_at(head.len() - 1);
        first.iter().for_each(|byte| client.send_raw(&[*byte]));
        client.send_raw(&[last, &frame(true, TEXT, [1, 2, 3, 4], b"early")].concat());
        assert_eq!(client.read_response().status, 101);
        client.expect_text("early");
    });
}

#[test]
fn cve_2024_37890_too_many_headers_are_431_and_as_many_as_allowed_are_served() {
    serve(routes, |server| {
        // The handshake has five lines of its own.
        for (count, status) in
            [(95, 101), (96, 431), (119, 431), (123, 431), (124, 431), (700, 431), (2000, 431)]
        {
            let lines = "a:b\r\n".repeat(count);
            // Before and after the lines that matter.
            for request in [
                handshake("/", &lines),
                handshake("/", "").replacen("Host", &format!("{lines}Host"), 1),
            ] {
                let mut client = server.connect();
                assert_eq!(client.request(&request).status, status, "{count} lines");
            }
        }
    });
}

#[test]
fn cve_2023_43669_a_head_beyond_its_limit_is_431() {
    serve(routes, |server| {
        let long = format!("A: {}\r\n", "x".repeat(70_000));
        let mut client = server.connect();
        // The server may have seen enough before all is sent.
        let _ = client.try_send_raw(handshake("/", &long).as_bytes());
        let response = client.read_response();
        assert_eq!((response.status, response.header("Connection")), (431, Some("close")));
        let target = handshake(&format!("/{}", "x".repeat(9_000)), "");
        assert_eq!(refused(server, &target), 414);
    });
}
