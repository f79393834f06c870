//! How the protocol is spoken: what the server sees of each option.

mod support;

use std::{
    io::{Read, Write},
    sync::mpsc,
    thread,
    time::Duration,
};

use support::{Row, accept, answer_frames, bench, failure, serve, serve_all, success};

const TIMEOUT: Duration = Duration::from_secs(10);

#[test]
fn the_handshake_has_what_was_asked_for() {
    let (tell, told) = mpsc::channel();
    let url = serve(1, move |mut stream| {
        let head = accept(&mut stream, "Sec-WebSocket-Protocol: b\r\n");
        let _ = tell.send(String::from_utf8(head).unwrap());
        answer_frames(stream, |_, frame, answers| answers.push(frame));
    });
    success(&format!(
        "-c 1 -H X-One:1 -H X-Two:2 --cookie a=b --user me:secret --origin http://there \
         --host here:9 --subprotocol a --subprotocol b {url}"
    ));
    let head = told.recv_timeout(TIMEOUT).unwrap().to_ascii_lowercase();
    for line in [
        "x-one: 1",
        "x-two: 2",
        "cookie: a=b",
        "authorization: basic bwu6c2vjcmv0",
        "origin: http://there",
        "host: here:9",
        "sec-websocket-protocol: a, b",
    ] {
        assert_eq!(head.matches(&format!("\r\n{line}\r\n")).count(), 1, "{line} in {head}");
    }
}

#[test]
fn a_subprotocol_that_was_not_offered_is_refused() {
    let url = serve(1, |mut stream| {
        accept(&mut stream, "Sec-WebSocket-Protocol: c\r\n");
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let text = failure(&format!("-c 1 --subprotocol a {url}"));
    assert!(text.contains("1 x invalid handshake: subprotocol not offered"), "{text}");
}

/// Reads masked frames until the stream ends: the first byte, the key and the payload of each.
fn frames(stream: &mut impl Read) -> impl Iterator<Item = (u8, [u8; 4], Vec<u8>)> {
    std::iter::from_fn(move || {
        let mut header = [0; 6];
        stream.read_exact(&mut header).ok()?;
        let mut payload = vec![0; usize::from(header[1] & 0x7f)];
        stream.read_exact(&mut payload).ok()?;
        let key = [header[2], header[3], header[4], header[5]];
        payload.iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
        Some((header[0], key, payload))
    })
}

#[test]
fn messages_are_cut_into_fragments_with_keys_of_their_own() {
    for (options, distinct) in [("", 4), ("--fixed-mask", 1)] {
        let (tell, told) = mpsc::channel();
        let url = serve(1, move |mut stream| {
            accept(&mut stream, "");
            let four: Vec<_> = frames(&mut stream).take(4).collect();
            let _ = tell.send(four);
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let text = failure(&format!(
            "-c 1 -d 100ms -s 100 --fragment 30 --text --drain 10ms {options} {url}"
        ));
        assert!(text.contains("in fragments of 30 B"), "{text}");
        assert_eq!(text.contains("(not RFC 6455)"), !options.is_empty(), "{text}");
        let four = told.recv_timeout(TIMEOUT).unwrap();
        let shape: Vec<_> = four.iter().map(|(first, _, data)| (*first, data.len())).collect();
        assert_eq!(shape, [(0x01, 30), (0x00, 30), (0x00, 30), (0x80, 10)]);
        let mut keys: Vec<_> = four.iter().map(|(_, key, _)| *key).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), distinct);
    }
}

#[test]
fn fragments_come_back_as_whole_messages() {
    success("-c 4 --depth 4 -s 1000 --fragment 7");
    success("-c 4 -s 3 --fragment 1 --text");
}

#[test]
fn pings_are_spread_and_answered() {
    let (tell, told) = mpsc::channel();
    let url = serve_all(4, move |mut stream| {
        accept(&mut stream, "");
        let mut pings = 0;
        let mut writer = stream.try_clone().unwrap();
        for (first, _, payload) in frames(&mut stream) {
            pings += u32::from(first == 0x89);
            let first = if first == 0x89 { 0x8a } else { first };
            let answer = [&[first, payload.len() as u8], &payload[..]].concat();
            if writer.write_all(&answer).is_err() || first == 0x88 {
                break;
            }
        }
        let _ = tell.send(pings);
    });
    // 600 ms with the warm-up.
    success(&format!("-c 4 -R 100 --ping-every 100ms {url}"));
    for _ in 0..4 {
        let pings = told.recv_timeout(TIMEOUT).unwrap();
        assert!((5..=7).contains(&pings), "{pings} pings");
    }
}

#[test]
fn connections_are_closed_with_the_code_that_is_given() {
    let (tell, told) = mpsc::channel();
    let url = serve(1, move |mut stream| {
        accept(&mut stream, "");
        let mut writer = stream.try_clone().unwrap();
        for (first, _, payload) in frames(&mut stream) {
            let answer = [&[first, payload.len() as u8], &payload[..]].concat();
            let _ = writer.write_all(&answer);
            if first == 0x88 {
                let _ = tell.send(payload);
                break;
            }
        }
    });
    success(&format!("-c 1 --close-code 3210 {url}"));
    assert_eq!(told.recv_timeout(TIMEOUT).unwrap(), 3210u16.to_be_bytes());
}

#[test]
fn compression_and_fragments_exclude_each_other() {
    let output = bench("--compression kept --fragment 10");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn an_answer_that_is_slow_to_come_shows_in_its_phase() {
    let url = serve(1, |mut stream| {
        thread::sleep(Duration::from_millis(100));
        accept(&mut stream, "");
        answer_frames(stream, |_, frame, answers| answers.push(frame));
    });
    let text = success(&format!("-c 1 -R 10 {url}"));
    let row = Row::of(&text, "opening");
    assert!(row.max.time >= Duration::from_millis(100), "{text}");
}

#[test]
fn what_was_agreed_and_pinged_is_in_the_summary() {
    let text =
        success("-c 4 --compression kept --json-like -s 200 --ping-every 100ms --subprotocol chat");
    assert!(text.contains("\n  compression: ") && text.contains(" : 1 received"), "{text}");
    assert!(text.contains("\n  subprotocols: none on 4\n"), "{text}");
    assert!(text.contains("\n  ping "), "{text}");
    let text = success("-c 4");
    for word in ["compression:", "subprotocols:", "\n  ping ", "\n  session"] {
        assert!(!text.contains(word), "{word}: {text}");
    }
    assert!(text.contains(" MiB resident under load"), "{text}");
    assert!(!text.contains("per idle connection"), "{text}");
}
