//! Whatever bytes a peer sends before its upgrade, what comes back are whole and valid responses,
//! and nothing after one that ends the connection.

use http::{Method, StatusCode};
use wireloop::{Echo, Request, Routes, http::Response};

use crate::{
    files::{Site, get},
    support::{handshake, serve},
};

const ROUNDS: u64 = 3_000;

/// What the grammars of HTTP are sensitive to.
const FRAGMENTS: [&[u8]; 24] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b",",
    b";",
    b":",
    b"/",
    b"..",
    b"%2e",
    b"\"",
    b"=",
    b"*",
    b"\xff",
    b"\r\n\r\n",
    b"HTTP/1.0",
    b"HEAD ",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"Expect: 100-continue\r\n",
    b"Range: bytes=1-2\r\n",
];

fn routes(site: &Site) -> Routes {
    let text = |_: &Request<'_>| Response::text(StatusCode::OK, "form");
    site.routes()
        .route(Method::POST, "/form", text)
        .websocket("/echo", |_request, protocols| Ok(protocols.none().session(Echo)))
}

/// A few requests in a row with some bytes changed.
fn mutated(random: &mut fastrand::Rng) -> Vec<u8> {
    let seeds = [
        get("/ten.txt", "Accept-Encoding: gzip;q=0.5, br\r\nIf-None-Match: \"a\", W/\"b\"\r\n"),
        get("/dir/../ten.txt?a=b", "Range: bytes=-3\r\nIf-Range: \"a\"\r\n"),
        get("http://test/dir", "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n"),
        "POST /form HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello".to_owned(),
        "OPTIONS * HTTP/1.1\r\nHost: test\r\n\r\n".to_owned(),
        handshake("/echo", "Origin: null\r\nSec-WebSocket-Protocol: a, b\r\n"),
    ];
    let count = random.usize(1..4);
    let requests = (0..count).map(|_| seeds[random.usize(..seeds.len())].as_str());
    let mut bytes = requests.collect::<String>().into_bytes();
    for _ in 0..random.usize(..4) {
        let place = random.usize(..bytes.len());
        let fragment = FRAGMENTS[random.usize(..FRAGMENTS.len())];
        let replaced = if random.bool() { fragment.len() } else { 0 };
        let end = (place + replaced).min(bytes.len());
        bytes.splice(place..end, fragment.iter().copied());
    }
    bytes
}

/// Takes a response apart, as strictly as the RFC allows; what follows it.
fn check_response<'b>(bytes: &'b [u8], shown: &str, statuses: &mut [u32]) -> &'b [u8] {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no whole head to {shown}: {}", bytes.escape_ascii()));
    let head = str::from_utf8(&bytes[..end]).expect("a head is text");
    let rest = &bytes[end + 4..];
    let mut lines = head.split("\r\n");
    let status_line = lines.next().expect("there is a line");
    let code = status_line.strip_prefix("HTTP/1.1 ").and_then(|line| line.get(..3)?.parse().ok());
    let status: usize = code.unwrap_or_else(|| panic!("{status_line:?} to {shown}"));
    assert_ne!(status, 500, "to {shown}");
    statuses[status / 100] += 1;
    let (mut length, mut dates, mut is_last) = (None, 0, status == 101);
    for line in lines {
        let (name, value) = line.split_once(": ").expect("a name and a value");
        assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'), "{line:?}");
        assert!(value.bytes().all(|b| (b' '..0x7f).contains(&b)), "{line:?}");
        match name {
            "Content-Length" => {
                let repeated = length.replace(value.parse::<usize>().expect("a number"));
                assert_eq!(repeated, None, "to {shown}");
            }
            "Transfer-Encoding" => panic!("nothing is sent in chunks"),
            "Date" => dates += 1,
            "Connection" => is_last |= value.contains("close"),
            _ => {}
        }
    }
    assert_eq!(dates, u32::from(status != 101), "dates to {shown}");
    assert_eq!(length.is_none(), matches!(status, 101 | 204 | 304), "{status} to {shown}");
    // The answer to HEAD has a length and no body: the next head begins, or nothing follows.
    let is_of_head = rest.is_empty() || rest.starts_with(b"HTTP/1.1 ");
    let rest = if is_of_head { rest } else { rest.get(length.unwrap_or(0)..).expect("a body") };
    if is_last && status != 101 {
        assert!(rest.is_empty(), "after the last answer to {shown}: {}", rest.escape_ascii());
    }
    if status == 101 { &[] } else { rest }
}

#[test]
fn whatever_is_sent_the_answers_are_whole_and_valid() {
    let site = Site::new();
    serve(
        || routes(&site),
        |server| {
            let mut statuses = [0; 10];
            for seed in 0..ROUNDS {
                let bytes = mutated(&mut fastrand::Rng::with_seed(seed));
                let shown = format!("seed {seed}, {}", bytes.escape_ascii());
                let mut client = server.connect();
                client.send_raw(&bytes);
                client.shutdown();
                let answers = client.read_to_end();
                let mut rest = &answers[..];
                while !rest.is_empty() {
                    rest = check_response(rest, &shown, &mut statuses);
                }
            }
            let seen = statuses.map(|count| count > 10);
            assert_eq!(seen[1..6], [true, true, true, true, true], "{statuses:?}");
        },
    );
}
