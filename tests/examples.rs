//! The examples do what they say: each one's routes are served as its `main` would serve them.

#![allow(dead_code, reason = "the `main` of an example is not called here")]

mod support;

#[path = "../examples/broadcast.rs"]
mod broadcast;
#[path = "../examples/echo.rs"]
mod echo;

use support::{BINARY, handshake, serve};

#[test]
fn echo_serves_its_page_and_returns_what_it_gets() {
    serve(echo::routes, |server| {
        let page = server.connect().request("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
        assert_eq!(page.status, 200);
        assert!(page.text().contains("<html"), "it is a page");
        assert_eq!(server.connect().request(&handshake("/echo", "")).status, 400);
        let mut client = server.connect();
        let offer = "Sec-WebSocket-Protocol: echo\r\n";
        let response = client.request(&handshake("/echo", offer));
        assert_eq!(response.header("Sec-WebSocket-Protocol"), Some("echo"));
        client.send_text("hello");
        client.expect_text("hello");
        client.send_frame(true, BINARY, b"bytes");
        client.expect_frame(true, BINARY, b"bytes");
        client.close();
    });
}

#[test]
fn broadcast_tells_everybody_but_the_speaker() {
    serve(broadcast::routes, |server| {
        let mut ann = server.upgrade("/chat/Ann");
        ann.expect_text("Ann has joined");
        let mut bob = server.upgrade("/chat/Bob");
        ann.expect_text("Bob has joined");
        bob.expect_text("Bob has joined");
        assert_eq!(server.connect().request(&handshake("/chat/Bob", "")).status, 409);
        ann.send_text("hi");
        bob.expect_text("Ann: hi");
        bob.close();
        ann.expect_text("Bob has left");
    });
}
