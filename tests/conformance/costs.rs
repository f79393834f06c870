//! What a request may cost the server's processor: it grows with the bytes received and nothing
//! else. Costs are compared with each other in processor time, the least of several attempts, so
//! that a busy machine does not matter.

use std::{io::Write, thread, time::Duration};

use crate::{
    files::{Site, get},
    support::{Binary, Client, handshake},
};

/// The processor time that the server needs for a request, in each of several attempts.
fn costs(
    server: &Binary,
    attempts: usize,
    request: impl Fn(&Binary),
) -> impl Iterator<Item = Duration> {
    (0..attempts).map(move |_| {
        let before = server.running_time();
        request(server);
        server.running_time() - before
    })
}

/// The least of that.
fn least(server: &Binary, attempts: usize, request: impl Fn(&Binary)) -> Duration {
    costs(server, attempts, request).min().expect("there are attempts")
}

/// Sends a head in pieces and reads the status.
fn send(server: &Binary, head: &[u8], piece: usize) -> u16 {
    let mut client = Client::connect(server.address());
    for bytes in head.chunks(piece) {
        // The server may have seen enough before all is sent.
        if client.try_send_raw(bytes).is_err() {
            break;
        }
    }
    client.read_response().status
}

fn ratio(large: Duration, small: Duration) -> f64 {
    // Below a tenth of a millisecond it is all accident.
    large.as_secs_f64() / small.as_secs_f64().max(1e-4)
}

/// Sixteen times the bytes cost sixteen times the time; if all were looked at again with each
/// piece, it would be 256 times.
#[test]
fn cve_2023_43669_a_long_header_takes_linear_time() {
    let server = Binary::start(&["--max-head", "8m"]);
    let long = |length: usize| handshake("/echo", &format!("A: {}\r\n", "x".repeat(length)));
    let costs = |length: usize| {
        let head = long(length);
        costs(&server, 3, move |server| assert_eq!(send(server, head.as_bytes(), 100), 101))
    };
    // A server that is asleep finds many pieces at once, and costs less.
    let small = costs(64 << 10).max().expect("there are attempts");
    let large = costs(1 << 20).min().expect("there are attempts");
    assert!(ratio(large, small) < 80.0, "{small:?} for 64 KiB, {large:?} for 1 MiB");
}

/// The limit ends it: whoever sends 20 MB of header has 16 KiB of it looked at. The rest is
/// dropped, until the peer has seen the answer.
#[test]
fn cve_2023_43669_an_endless_header_costs_no_more_than_its_bytes() {
    let server = Binary::start(&[]);
    let endless = handshake("/echo", &format!("A: {}", "x".repeat(20 << 20)));
    let cost = least(&server, 5, |server| {
        let mut client = Client::connect(server.address());
        let _ = client.try_send_raw(endless.as_bytes());
        assert_eq!(client.read_response().status, 431);
    });
    assert!(cost < Duration::from_millis(20), "{cost:?}");
}

#[test]
fn cve_2021_32640_spaces_in_a_subprotocol_take_linear_time() {
    let server = Binary::start(&["--max-head", "64k"]);
    let cost = |spaces: usize| {
        let offer = format!("Sec-WebSocket-Protocol: b{}x\r\n", " ".repeat(spaces));
        let head = handshake("/echo", &offer);
        least(&server, 10, |server| assert_eq!(send(server, head.as_bytes(), 1 << 20), 400))
    };
    let (small, large) = (cost(1 << 10), cost(32 << 10));
    assert!(ratio(large, small) < 40.0, "{small:?} for 1 KiB, {large:?} for 32 KiB");
}

/// CVE-2020-27223 and its like: lists of weights, tags, extensions, subprotocols and ranges as long
/// as a head may be cost what any header of that length costs.
#[test]
fn cve_2020_27223_lists_in_headers_take_linear_time() {
    let site = Site::new();
    let root = site.path("");
    let server = Binary::start(&["--webroot", root.to_str().expect("ASCII"), "--max-head", "256k"]);
    let fill = |name: &str, element: &str, length: usize| {
        format!("{name}: {}\r\n", element.repeat(length / element.len()))
    };
    let numbered = |length: usize| {
        let names: Vec<_> = (0..length / 6).map(|number| format!("p{number:04}")).collect();
        format!("Sec-WebSocket-Protocol: {}\r\n", names.join(","))
    };
    type Lines<'l> = &'l dyn Fn(usize) -> String;
    let lists: [(&str, Lines<'_>); 8] = [
        ("weights", &|length| fill("Accept-Encoding", "a;q=0.1,", length)),
        ("malformed weights", &|length| fill("Accept-Encoding", "br;", length)),
        ("accept", &|length| fill("Accept", "a/b;q=0.1,", length)),
        ("tags", &|length| fill("If-None-Match", "\"a\",", length)),
        ("open tags", &|length| fill("If-None-Match", "W/", length)),
        ("ranges", &|length| "Range: bytes=".to_owned() + &fill("x", "0-,", length)[3..]),
        ("connection", &|length| fill("Connection", "a,", length)),
        ("expect", &|length| fill("Expect", "100-continue,", length)),
    ];
    let cost = |head: &str| {
        least(&server, 5, |server| assert_ne!(send(server, head.as_bytes(), 1 << 20), 431))
    };
    for (name, lines) in lists {
        let small = cost(&get("/ten.txt", &lines(4 << 10)));
        let large = cost(&get("/ten.txt", &lines(128 << 10)));
        assert!(ratio(large, small) < 160.0, "{name}: {small:?} for 4 KiB, {large:?} for 128 KiB");
        assert!(large < Duration::from_millis(20), "{name}: {large:?}");
    }
    for (name, lines) in [
        (
            "extensions",
            &(|length| fill("Sec-WebSocket-Extensions", "a;b=\"c\",", length)) as Lines<'_>,
        ),
        ("quotes", &|length| fill("Sec-WebSocket-Extensions", "a;b=\"\\c\",", length)),
        ("subprotocols", &numbered),
    ] {
        let small = cost(&handshake("/echo", &lines(2 << 10)));
        let large = cost(&handshake("/echo", &lines(56 << 10)));
        assert!(ratio(large, small) < 160.0, "{name}: {small:?} for 2 KiB, {large:?} for 56 KiB");
        assert!(large < Duration::from_millis(20), "{name}: {large:?}");
    }
}

/// Requests that lie in one segment are taken one by one without moving those that follow.
#[test]
fn pipelined_requests_take_linear_time() {
    let server = Binary::start(&[]);
    let cost = |count: usize| {
        let requests = get("/nothing", "").repeat(count);
        least(&server, 5, |server| {
            let mut client = Client::connect(server.address());
            let mut socket = client.socket();
            thread::scope(|scope| {
                scope.spawn(|| socket.write_all(requests.as_bytes()).expect("it takes them"));
                (0..count).for_each(|_| assert_eq!(client.read_response().status, 404));
            });
        })
    };
    let (small, large) = (cost(100), cost(5_000));
    assert!(ratio(large, small) < 200.0, "{small:?} for 100, {large:?} for 5000");
}
