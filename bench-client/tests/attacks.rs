//! Servers that attack the handshake, the connection or the client's memory, at each step of a
//! connection's life: each is counted under its own name, and nothing hangs.

mod support;

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use support::{accept, answer_frames, bench, failure, read_request, serve, serve_all};

/// What the client says of a server that does this with its only connection.
#[track_caller]
fn expect(name: &str, arguments: &str, each: impl Fn(TcpStream) + Send + 'static) {
    let begun = Instant::now();
    let text = failure(&format!("-c 1 --drain 100ms {arguments} {}", serve(1, each)));
    assert!(text.contains(name), "{text}");
    assert!(begun.elapsed() < Duration::from_secs(10), "{text}");
}

/// Sends this in the place of a response, then waits for the client to go.
#[track_caller]
fn expect_response(name: &str, response: impl Into<Vec<u8>>) {
    let response = response.into();
    expect(name, "", move |mut stream| {
        read_request(&mut stream);
        // The client may have seen enough.
        let _ = stream.write_all(&response);
        let _ = stream.read_to_end(&mut Vec::new());
    });
}

/// Ends the connection with a reset.
fn reset(stream: &TcpStream) {
    let socket = socket2::SockRef::from(stream);
    socket.set_linger(Some(Duration::ZERO)).unwrap();
}

const UPGRADE: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n";

#[test]
fn rfc6455_4_1_each_fault_of_a_response_has_its_name() {
    let accept = "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n";
    for (response, name) in [
        (format!("{UPGRADE}Connection: Upgrade\r\n{accept}"), "wrong Sec-WebSocket-Accept"),
        (format!("{UPGRADE}Connection: Upgrade\r\n\r\n"), "wrong Sec-WebSocket-Accept"),
        (format!("{UPGRADE}{accept}"), "no Connection: upgrade"),
        (format!("HTTP/1.1 101 OK\r\nConnection: Upgrade\r\n{accept}"), "no Upgrade"),
        ("HTTP/1.0 101 OK\r\n\r\n".into(), "not HTTP/1.1"),
        ("SSH-2.0-OpenSSH_9.6\r\n\r\n".into(), "not HTTP/1.1"),
    ] {
        expect_response(&format!("1 x invalid handshake: {name}"), response);
    }
}

#[test]
fn refusals_and_redirects_are_counted_by_their_status() {
    for (status, name) in [
        ("301 X", "301 Moved Permanently"),
        ("307 X", "307 Temporary Redirect"),
        ("401 X", "401 Unauthorized"),
        ("200 OK", "200 OK"),
        ("599 X", "599\n"),
    ] {
        let response = format!("HTTP/1.1 {status}\r\nLocation: ws://elsewhere/\r\n\r\n");
        expect_response(&format!("1 x upgrade refused with status {name}"), response);
    }
}

#[test]
fn a_response_head_without_end_is_given_up() {
    expect_response("head too large", [b'a'; 100_000]);
    expect_response("head too large", format!("{UPGRADE}X: {}", "x".repeat(100_000)));
    expect_response("head too large", format!("{UPGRADE}{}", "X: y\r\n".repeat(10_000)));
}

#[test]
fn rfc9110_15_2_interim_responses_are_skipped_but_not_without_end() {
    let url = serve(1, |mut stream| {
        let _ =
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n");
        accept(&mut stream, "");
        answer_frames(stream, |_, frame, answers| answers.push(frame));
    });
    assert!(String::from_utf8_lossy(&bench(&format!("-c 1 -R 10 {url}")).stdout).contains("ok: "));
    expect_response("head too large", "HTTP/1.1 100 Continue\r\n\r\n".repeat(10_000));
}

/// The response and the first frame come in two parts, cut at each place.
#[test]
fn a_response_may_be_cut_anywhere() {
    let url = serve_all(150, |mut stream| {
        let cut = usize::from(stream.peer_addr().unwrap().port()) % 150;
        let mut buffered = Buffered { stream: stream.try_clone().unwrap(), bytes: Vec::new() };
        accept(&mut buffered, "");
        buffered.bytes.extend([0x89, 2, b'h', b'i']);
        let (start, rest) = buffered.bytes.split_at(cut.min(buffered.bytes.len()));
        let _ = stream.set_nodelay(true);
        let _ = stream.write_all(start);
        thread::sleep(Duration::from_millis(20));
        let _ = stream.write_all(rest);
        answer_frames(stream, |_, frame, answers| {
            if frame.first != 0x8a {
                answers.push(frame);
            }
        });
    });
    let text = String::from_utf8(bench(&format!("-c 150 -R 300 {url}")).stdout).unwrap();
    assert!(text.contains("ok: 150 of 150 connections, no errors"), "{text}");
}

/// Keeps what is written.
struct Buffered {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Read for Buffered {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        self.stream.read(bytes)
    }
}

impl Write for Buffered {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.bytes.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn resets_and_ends_are_counted_at_each_step() {
    expect("1 x connection reset", "", |stream| reset(&stream));
    expect("1 x connection reset", "", |mut stream| {
        read_request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 101 Switch");
        reset(&stream);
    });
    expect("1 x connection ended within the handshake", "", |mut stream| {
        read_request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 101 Switch");
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    });
    expect("1 x connection reset", "", |mut stream| {
        accept(&mut stream, "");
        let _ = stream.read(&mut [0; 3]);
        reset(&stream);
    });
    expect("1 x connection ended without a Close", "", |mut stream| {
        accept(&mut stream, "");
        let _ = stream.write_all(&[0x82, 20, 1, 2]);
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    });
}

#[test]
fn a_reset_in_the_place_of_a_close_is_no_failure_of_the_load() {
    let url = serve(1, |mut stream| {
        accept(&mut stream, "");
        let to_reset = stream.try_clone().unwrap();
        loop {
            let mut frame = [0; 26];
            if stream.read_exact(&mut frame[..8]).is_err() || frame[0] == 0x88 {
                break reset(&to_reset);
            }
            stream.read_exact(&mut frame[8..]).unwrap();
            let key = [frame[2], frame[3], frame[4], frame[5]];
            frame[6..].iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
            stream.write_all(&[&[0x82, 20], &frame[6..]].concat()).unwrap();
        }
    });
    let text = String::from_utf8(bench(&format!("-c 1 -R 50 {url}")).stdout).unwrap();
    assert!(text.contains("ok: 1 of 1 connections, no errors"), "{text}");
}

#[test]
fn messages_that_nobody_asked_for_are_counted() {
    expect("x message that nobody asked for", "-R 1", |mut stream| {
        accept(&mut stream, "");
        while stream.write_all(&[0x82, 3, 1, 2, 3]).is_ok() {
            thread::sleep(Duration::from_millis(1));
        }
    });
}

#[test]
fn a_close_that_is_none_is_refused() {
    for (frame, name) in [
        (vec![0x88, 1, 3], "invalid close code"),
        (vec![0x88, 2, 0x03, 0xed], "invalid close code"),
        (vec![0x88, 3, 0x03, 0xe8, 0xff], "close reason is not UTF-8"),
        (vec![0x08, 0], "control frame too long or in fragments"),
        (vec![0x8a, 126, 0, 126], "control frame too long or in fragments"),
        (vec![0x80, 0], "fragments out of order"),
    ] {
        expect(&format!("1 x protocol error: {name}"), "", move |mut stream| {
            accept(&mut stream, "");
            let _ = stream.write_all(&frame);
            let _ = stream.read_to_end(&mut Vec::new());
        });
    }
}

/// The largest resident memory of a run, in KiB.
fn peak_memory(arguments: &str) -> u64 {
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_wireloop-bench"))
        .args(["--quiet", "--warm-up", "0", "-d", "2s", "--drain", "0"])
        .args(arguments.split_whitespace())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let path = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let status = std::fs::read_to_string(&path).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let size = line.and_then(|line| line.trim().split(' ').next()?.parse().ok());
        peak = peak.max(size.unwrap_or(0));
        thread::sleep(Duration::from_millis(20));
    }
    peak
}

#[test]
fn a_server_that_reads_nothing_costs_bounded_memory() {
    let url = serve_all(2, |mut stream| {
        accept(&mut stream, "");
        thread::sleep(Duration::from_secs(5));
    });
    // 2,000 MB are due in an open loop.
    let peak = peak_memory(&format!("-c 1 -R 2000 -s 1m {url}"));
    assert!(peak < 100 << 10, "{peak} KiB");
}

#[test]
fn a_server_that_pings_and_reads_nothing_costs_bounded_memory() {
    let (tell, told) = mpsc::channel();
    let url = serve(1, move |mut stream| {
        accept(&mut stream, "");
        let ping: Vec<u8> = [&[0x89, 125][..], &[0; 125]].concat().repeat(1000);
        let mut sent = 0;
        while stream.write_all(&ping).is_ok() {
            sent += ping.len();
        }
        let _ = tell.send(sent);
    });
    let peak = peak_memory(&format!("-c 1 -R 1 {url}"));
    let sent = told.recv_timeout(Duration::from_secs(10)).unwrap();
    assert!(sent > 100 << 20, "{sent} B were sent");
    assert!(peak < 100 << 10, "{peak} KiB");
}

#[test]
fn a_server_that_sends_a_byte_at_a_time_without_end_ends_at_the_deadline() {
    expect("1 x connection not open in time", "--connect-timeout 300ms", |mut stream| {
        while stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").is_ok() {
            thread::sleep(Duration::from_millis(50));
        }
    });
}
