//! tungstenite as a peer: another reading of the same RFC. Both sides have to agree on every kind
//! of frame, in both directions.

mod support;

use std::net::TcpStream;

use support::{DEADLINE, TestServer, serve};
use tungstenite::{
    Bytes, Message, Utf8Bytes, WebSocket,
    client::IntoClientRequest,
    protocol::{
        CloseFrame,
        frame::{
            Frame,
            coding::{CloseCode, Data, OpCode},
        },
    },
};
use wireloop::{Echo, Routes};

fn echo() -> Routes {
    Routes::new().websocket("/echo", |_request, protocols| {
        protocols.require("echo").map(|accept| accept.session(Echo))
    })
}

fn connect(server: &TestServer) -> WebSocket<TcpStream> {
    let stream = TcpStream::connect(server.address()).expect("the server listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("not zero");
    let mut request =
        format!("ws://{}/echo", server.address()).into_client_request().expect("a valid address");
    let offer = "chat, echo".parse().expect("a header value");
    request.headers_mut().insert("Sec-WebSocket-Protocol", offer);
    let (socket, response) = tungstenite::client(request, stream).expect("it is accepted");
    assert_eq!(response.headers()["Sec-WebSocket-Protocol"], "echo");
    socket
}

#[test]
fn messages_of_both_kinds_return_as_they_were() {
    serve(echo, |server| {
        let mut socket = connect(server);
        for length in [0, 1, 125, 126, 65_535, 65_536, 1_000_000] {
            for message in [Message::text("é".repeat(length / 2)), Message::binary(vec![7; length])]
            {
                socket.send(message.clone()).expect("it is open");
                assert!(socket.read().expect("the echo") == message, "{length} bytes");
            }
        }
    });
}

#[test]
fn a_fragmented_message_with_a_ping_inside_returns_whole() {
    serve(echo, |server| {
        let mut socket = connect(server);
        let fragment = |text: &str, data, is_final| {
            let bytes = Bytes::copy_from_slice(text.as_bytes());
            Message::Frame(Frame::message(bytes, OpCode::Data(data), is_final))
        };
        socket.send(fragment("frag", Data::Text, false)).expect("it is open");
        socket.send(Message::Ping(Bytes::from_static(b"inside"))).expect("it is open");
        socket.send(fragment("men", Data::Continue, false)).expect("it is open");
        socket.send(fragment("ted", Data::Continue, true)).expect("it is open");
        assert_eq!(socket.read().expect("the pong"), Message::Pong(Bytes::from_static(b"inside")));
        assert_eq!(socket.read().expect("the echo"), Message::text("fragmented"));
    });
}

#[test]
fn the_closing_handshake_is_completed() {
    serve(echo, |server| {
        let mut socket = connect(server);
        let reason = Utf8Bytes::from_static("done");
        let frame = CloseFrame { code: CloseCode::Normal, reason };
        socket.close(Some(frame.clone())).expect("it is open");
        assert_eq!(socket.read().expect("the answer"), Message::Close(Some(frame)));
        let end = socket.read().expect_err("the connection has ended");
        assert!(matches!(end, tungstenite::Error::ConnectionClosed), "{end}");

        let mut socket = connect(server);
        server.stop();
        let Message::Close(Some(frame)) = socket.read().expect("a Close") else {
            panic!("the server says why it goes");
        };
        assert_eq!(frame.code, CloseCode::Away);
        let end = socket.read().expect_err("the connection has ended");
        assert!(matches!(end, tungstenite::Error::ConnectionClosed), "{end}");
    });
}
