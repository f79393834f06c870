//! Servers that break the protocol: each is counted under its own name, told why with a Close
//! frame where it can be, and costs neither memory nor time.

mod support;

use std::{
    collections::HashSet,
    io::{Read, Write},
    net::TcpStream,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use support::{accept, failure, serve};

/// A server that accepts with these header lines, then sends these bytes; what the client says, and
/// the code of the Close frame that it sends.
fn report_on(arguments: &str, lines: &'static str, bytes: Vec<u8>) -> (String, Option<u16>) {
    let (tell, told) = mpsc::channel();
    let url = serve(1, move |mut stream| {
        accept(&mut stream, lines);
        // The client may have seen enough.
        let _ = stream.write_all(&bytes);
        let _ = tell.send(close_code(&mut stream));
    });
    let text = failure(&format!("-c 1 {arguments} {url}"));
    (text, told.recv_timeout(Duration::from_secs(10)).unwrap())
}

/// The code of the next Close frame, behind short masked frames of other kinds.
fn close_code(stream: &mut TcpStream) -> Option<u16> {
    loop {
        let mut header = [0; 6];
        stream.read_exact(&mut header).ok()?;
        let mut payload = vec![0; usize::from(header[1] & 0x7f)];
        stream.read_exact(&mut payload).ok()?;
        if header[0] == 0x88 {
            let byte = |place: usize| payload[place] ^ header[2 + place];
            return Some(u16::from_be_bytes([byte(0), byte(1)]));
        }
    }
}

#[track_caller]
fn expect_refused(bytes: &[u8], name: &str, code: u16) {
    let (text, close) = report_on("", "", bytes.to_vec());
    assert!(text.contains(&format!("1 x protocol error: {name}")), "{text}");
    assert_eq!(close, Some(code), "{name}");
}

#[test]
fn rfc6455_5_1_a_masked_frame_from_the_server_is_refused() {
    expect_refused(&[0x82, 0x81, 1, 2, 3, 4, 5], "masked frame", 1002);
}

#[test]
fn garbage_behind_the_handshake_is_refused() {
    expect_refused(&[0xff; 100], "reserved bits", 1002);
    expect_refused(b"\x03\x00", "reserved opcode", 1002);
    expect_refused(&[0x82, 126, 0, 1, 0], "length not minimal", 1002);
}

#[test]
fn undici_4899_a_frame_of_8_gib_is_refused_with_its_header() {
    expect_refused(&[0x82, 127, 0, 0, 0, 2, 0, 0, 0, 0], "too large", 1009);
}

#[test]
fn text_that_is_not_utf8_is_refused() {
    expect_refused(&[0x81, 1, 0xff], "text is not UTF-8", 1007);
}

#[test]
fn undici_4899_a_bomb_is_refused_at_the_limit() {
    let mut compress = flate2::Compress::new(flate2::Compression::best(), false);
    let mut payload = Vec::with_capacity(1 << 20);
    compress.compress_vec(&vec![0; 256 << 20], &mut payload, flate2::FlushCompress::Sync).unwrap();
    let bomb = &payload[..payload.len() - 4];
    let mut bytes = vec![0xc2, 127];
    bytes.extend((bomb.len() as u64).to_be_bytes());
    bytes.extend(bomb);
    let lines = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n";
    let (text, close) = report_on("--compression fresh", lines, bytes);
    assert!(text.contains("1 x protocol error: too large"), "{text}");
    assert_eq!(close, Some(1009));
}

#[test]
fn rfc7692_7_answers_that_do_not_fit_the_offer_are_refused() {
    for (arguments, answer) in [
        ("", "permessage-deflate"),
        ("--compression fresh", "x-other"),
        ("--compression fresh", "permessage-deflate"),
        ("--compression kept", "permessage-deflate; unknown"),
        ("--compression kept", "permessage-deflate; client_max_window_bits"),
        ("--compression kept", "permessage-deflate; server_max_window_bits=16"),
        ("--compression kept", "permessage-deflate, permessage-deflate"),
    ] {
        let line = format!("Sec-WebSocket-Extensions: {answer}\r\n");
        let url = serve(1, move |mut stream| {
            accept(&mut stream, &line);
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let text = failure(&format!("-c 1 {arguments} {url}"));
        let name = "1 x invalid handshake: extension not offered, or not so";
        assert!(text.contains(name), "{answer}: {text}");
    }
}

#[test]
fn rfc7692_6_rsv1_without_agreement_is_refused() {
    expect_refused(&[0xc1, 1, 0], "reserved bits", 1002);
}

#[test]
fn a_message_that_is_not_deflate_is_refused() {
    let lines = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n";
    let (text, close) = report_on("--compression fresh", lines, vec![0xc1, 2, 0xff, 0xff]);
    assert!(text.contains("1 x protocol error: compressed message is not DEFLATE"), "{text}");
    assert_eq!(close, Some(1007));
}

#[test]
fn one_byte_a_second_ends_at_the_deadline() {
    let url = serve(1, |mut stream| {
        for byte in b"HTTP/1.1 101 Switching Protocols\r\n" {
            if stream.write_all(&[*byte]).is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
    });
    let begun = Instant::now();
    let text = failure(&format!("-c 1 --connect-timeout 500ms {url}"));
    assert!(text.contains("1 x connection not open in time"), "{text}");
    assert!(begun.elapsed() < Duration::from_secs(8));
}

/// curl CVE-2025-10148: a mask that can be foreseen lets a client write what it likes into caches.
#[test]
fn cve_2025_10148_masking_keys_are_all_different() {
    const FRAMES: usize = 10_000;
    let (tell, told) = mpsc::channel();
    let url = serve(1, move |mut stream| {
        accept(&mut stream, "");
        let mut keys = HashSet::new();
        // Of 10,000 random keys one pair may be equal in 86 runs, two pairs hardly ever.
        for _ in 0..FRAMES {
            let mut frame = [0; 26];
            if stream.read_exact(&mut frame).is_err() {
                break;
            }
            keys.insert([frame[2], frame[3], frame[4], frame[5]]);
        }
        let _ = tell.send(keys);
        let _ = stream.read_to_end(&mut Vec::new());
    });
    failure(&format!("-c 1 --depth {FRAMES} --drain 10ms {url}"));
    let keys = told.recv_timeout(Duration::from_secs(10)).unwrap();
    assert!(keys.len() >= FRAMES - 2, "{} keys", keys.len());
}
