//! The opening handshake, one connection after the other.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    time::Duration,
};

/// How long a server may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The longest head of an answer.
const HEAD_MAX: usize = 4096;
const HEADERS_MAX: usize = 32;

/// The key of RFC 6455 section 1.3, and what a server has to make of it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &[u8] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Opens a WebSocket; from then on nothing waits on it.
pub(super) fn open(port: u16, path: &str) -> Result<TcpStream, String> {
    let failed = |error| format!("cannot open a connection: {error}");
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    stream.set_read_timeout(Some(TIMEOUT)).map_err(failed)?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).map_err(failed)?;
    let mut head = [0; HEAD_MAX];
    let mut length = 0;
    loop {
        let more = stream.read(&mut head[length..]);
        let more = more.map_err(|error| format!("no answer to the handshake: {error}"))?;
        if more == 0 {
            return Err("the server has ended the handshake, or its answer is too long".into());
        }
        length += more;
        if is_accepted(&head[..length])? {
            stream.set_nonblocking(true).map_err(failed)?;
            return Ok(stream);
        }
    }
}

/// Whether the answer is whole; what is not an acceptance is an error.
fn is_accepted(head: &[u8]) -> Result<bool, String> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(head).map_err(|error| format!("not an HTTP answer: {error}"))?;
    let httparse::Status::Complete(length) = parsed else { return Ok(false) };
    let value = |name: &str| {
        let found = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.map(|header| header.value)
    };
    if response.code != Some(101) {
        let code = response.code.unwrap_or_default();
        return Err(format!("the handshake was refused with {code}: is the path right?"));
    }
    if value("Sec-WebSocket-Accept") != Some(ACCEPT) {
        return Err("the handshake was answered with a wrong Sec-WebSocket-Accept".into());
    }
    if value("Sec-WebSocket-Extensions").is_some() {
        return Err("the server wants an extension that was not offered".into());
    }
    if length < head.len() {
        return Err("the server speaks first, which an echo server does not".into());
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_acceptance_is_accepted() {
        let head = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\
             connection: upgrade\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        let check = |text: &str| is_accepted(text.as_bytes());
        assert_eq!(check(head), Ok(true));
        for cut in 0..head.len() {
            assert_eq!(check(&head[..cut]), Ok(false), "{cut}");
        }
        assert!(check(&head.replace("s3p", "s4p")).is_err());
        assert!(check(&head.replace("101", "404")).is_err());
        assert!(
            check(&head.replace("\r\n\r\n", "\r\nSec-WebSocket-Extensions: x\r\n\r\n")).is_err()
        );
        assert!(check(&format!("{head}x")).is_err());
        assert!(check("SSH-2.0-x\r\n").is_err());
    }
}
