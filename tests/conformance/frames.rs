//! RFC 6455 sections 5.1 to 5.6, 7.1.7 and 8: what a frame and a message may look like, and with
//! which code everything else ends.

use std::time::Duration;

use super::{
    echo,
    support::{
        BINARY, CLOSE, CONTINUATION, Client, PING, PONG, TEXT, TestServer, config, frame, serve,
        serve_with,
    },
};

const KEY: [u8; 4] = [0x12, 0x9a, 0x00, 0xfe];

/// Each of these, sent by itself to an echo, is answered with a Close of this code only, although
/// more follows (7.1.7: nothing is processed after a failure).
#[track_caller]
fn refuses(code: u16, wires: &[Vec<u8>]) {
    serve(echo, |server| {
        for wire in wires {
            let mut client = server.upgrade("/");
            client.send_raw(&[&wire[..], &frame(true, TEXT, KEY, b"too late")].concat());
            expect_failing(&mut client, code, wire);
        }
        server.upgrade("/").close();
    });
}

#[track_caller]
fn expect_failing(client: &mut Client, code: u16, wire: &[u8]) {
    let (is_final, opcode, payload) = client.read_frame();
    let shown = wire[..wire.len().min(20)].escape_ascii();
    assert_eq!((is_final, opcode), (true, CLOSE), "{shown}");
    assert_eq!(payload[..2], code.to_be_bytes(), "{shown}");
    client.send_close(code, "");
    client.expect_eof();
}

/// The start of a masked frame of any first byte, with the length in a form of choice.
fn header(first: u8, length: u64, form: u8) -> Vec<u8> {
    let mut bytes = vec![first, 0x80 | form];
    match form {
        126 => bytes.extend((length as u16).to_be_bytes()),
        127 => bytes.extend(length.to_be_bytes()),
        _ => assert_eq!(u64::from(form), length),
    }
    bytes.extend(KEY);
    bytes
}

#[test]
fn rfc6455_5_1_an_unmasked_frame_is_refused() {
    let unmasked = |first| vec![first, 1, b'x'];
    let empty = |first| vec![first, 0];
    let opcodes = [TEXT, BINARY, CLOSE, PING, PONG].map(|opcode| 0x80 | opcode);
    refuses(1002, &[opcodes.map(unmasked), opcodes.map(empty)].concat());
    // Within a message as well.
    refuses(1002, &[[frame(false, TEXT, KEY, b"a"), vec![0x80, 1, b'b']].concat()]);
}

#[test]
fn rfc6455_5_2_reserved_bits_are_zero() {
    let mut wires = Vec::new();
    for bit in [0x40, 0x20, 0x10, 0x70] {
        for opcode in [TEXT, BINARY, CLOSE, PING, PONG] {
            wires.push(header(0x80 | bit | opcode, 0, 0));
        }
        let start = frame(false, TEXT, KEY, b"a");
        wires.push([start, header(0x80 | bit | CONTINUATION, 0, 0)].concat());
    }
    refuses(1002, &wires);
}

#[test]
fn rfc6455_5_2_reserved_opcodes_are_refused() {
    let reserved = || (3..=7).chain(11..=15);
    let whole = reserved().map(|opcode| header(0x80 | opcode, 0, 0));
    let start = || frame(false, BINARY, KEY, b"a");
    let within = reserved().map(|opcode| [start(), header(opcode, 5, 5)].concat());
    refuses(1002, &whole.chain(within).collect::<Vec<_>>());
}

#[test]
fn rfc6455_5_2_lengths_are_minimal() {
    let forms = [(0, 126), (1, 126), (125, 126), (0, 127), (125, 127), (126, 127), (0xffff, 127)];
    let wires = forms.map(|(length, form)| header(0x80 | BINARY, length, form));
    refuses(1002, &wires);
    // Ours are: the client of these tests asserts it of every frame.
    serve(echo, |server| {
        let mut client = server.upgrade("/");
        for length in [0, 1, 125, 126, 127, 0xffff, 0x1_0000] {
            client.send_frame(true, BINARY, &vec![3; length]);
            client.expect_frame(true, BINARY, &vec![3; length]);
        }
    });
}

#[test]
fn rfc6455_5_2_the_top_bit_of_a_length_is_zero() {
    let lengths = [1 << 63, (1 << 63) | 5, u64::MAX, u64::MAX - 3];
    refuses(1002, &lengths.map(|length| header(0x80 | BINARY, length, 127)));
}

/// gorilla/websocket, Tomcat CVE-2020-13935, undici CVE-2026-1528 and others: a length that
/// overflows whatever it is added to. All are refused from the header, without the payload.
#[test]
fn cve_2020_27813_a_length_that_overflows_is_refused_from_the_header() {
    let most = u64::MAX >> 1;
    let lengths = [most, most - 13, 1 << 62, 1 << 32, (1 << 32) - 1, 1 << 31, (1 << 31) - 1];
    let start = frame(false, BINARY, KEY, &[7; 100]);
    serve(echo, |server| {
        for length in lengths {
            let alone = header(0x80 | BINARY, length, 127);
            let first = header(BINARY, length, 127);
            let sum = [&start[..], &header(0x80 | CONTINUATION, length, 127)].concat();
            for wire in [alone, first, sum] {
                let mut client = server.upgrade("/");
                client.send_raw(&wire);
                expect_failing(&mut client, 1009, &wire);
            }
        }
    });
}

/// Sixteen fragments of the longest frame, none of which is too long by itself (Java-WebSocket
/// 1508, libhv 875, fastwebsockets 140).
#[test]
fn rfc6455_10_4_the_frames_of_a_message_are_limited_together() {
    let limits = config(|config| {
        config.frames.frame_bytes = 1000;
        config.frames.message_bytes = 3000;
    });
    serve_with(limits, echo, |server| {
        let mut client = server.upgrade("/");
        client.send_frame(false, BINARY, &[7; 1000]);
        for _ in 0..2 {
            client.send_frame(false, CONTINUATION, &[7; 1000]);
        }
        client.ping_and_wait(b"3000 bytes are allowed");
        client.send_frame(false, CONTINUATION, &[7; 1]);
        client.expect_closing(1009);
        // Up to the limit, and for each message anew.
        let mut client = server.upgrade("/");
        for _ in 0..3 {
            client.send_frame(false, BINARY, &[7; 1000]);
            client.send_frame(false, CONTINUATION, &[7; 1000]);
            client.send_frame(true, CONTINUATION, &[7; 1000]);
            client.expect_frame(true, BINARY, &[7; 3000]);
        }
    });
}

/// actix-http 3723: fourteen bytes that made it panic.
#[test]
fn actix_3723_a_header_of_fourteen_bytes_is_refused() {
    let wire = [&[0x0a][..], &[0xff; 10], &[0xeb, 0x0e, 0x8f]].concat();
    refuses(1002, &[wire]);
}

#[test]
fn rfc6455_5_3_every_key_unmasks() {
    let keys = [[0; 4], [0xff; 4], [1, 0, 0, 0], [0, 0, 0, 1], *b"\x81\x05He", KEY];
    serve(echo, |server| {
        let mut client = server.upgrade("/");
        for key in keys {
            for length in 0..20 {
                let text = &"masked with any key"[..length.min(19)];
                client.send_raw(&frame(true, TEXT, key, text.as_bytes()));
                client.expect_text(text);
            }
        }
    });
}

#[test]
fn rfc6455_5_4_fragments_are_one_message() {
    serve(echo, |server| {
        let mut client = server.upgrade("/");
        client.send_frame(false, TEXT, b"a");
        client.send_frame(false, CONTINUATION, b"");
        client.send_frame(false, CONTINUATION, b"bc");
        client.send_frame(true, CONTINUATION, b"");
        client.expect_text("abc");
        // Empty ones all of them, and those of a message without text.
        client.send_frame(false, BINARY, b"");
        client.send_frame(false, CONTINUATION, b"");
        client.send_frame(true, CONTINUATION, b"");
        client.expect_frame(true, BINARY, b"");
    });
}

#[test]
fn rfc6455_5_4_control_frames_may_stand_between_fragments() {
    serve(echo, |server| {
        let mut client = server.upgrade("/");
        client.send_frame(false, TEXT, b"fr");
        client.ping_and_wait(b"is answered before the message is whole");
        client.send_frame(true, PONG, b"is ignored");
        client.send_frame(false, CONTINUATION, b"agm");
        client.ping_and_wait(b"");
        client.send_frame(true, CONTINUATION, b"ent");
        client.expect_text("fragment");
        // A Close ends a message that has not ended.
        client.send_frame(false, TEXT, b"unfinished");
        client.close();
    });
}

#[test]
fn rfc6455_5_4_a_continuation_continues_something() {
    let orphan = |is_final| frame(is_final, CONTINUATION, KEY, b"x");
    refuses(1002, &[orphan(true), orphan(false), frame(true, CONTINUATION, KEY, b"")]);
    serve(echo, |server| {
        for is_final in [false, true] {
            let mut client = server.upgrade("/");
            client.send_frame(false, TEXT, b"a");
            client.send_frame(true, CONTINUATION, b"");
            client.send_raw(&orphan(is_final));
            client.expect_text("a");
            client.expect_closing(1002);
        }
    });
}

/// tetsuo-pulse 3473: such a frame went past the check for UTF-8.
#[test]
fn tetsuo_3473_an_orphan_continuation_is_refused_whatever_it_holds() {
    refuses(1002, &[frame(true, CONTINUATION, KEY, b"\xff\xfe\xc0")]);
}

#[test]
fn rfc6455_5_4_messages_are_not_interleaved() {
    let start = |opcode| frame(false, opcode, KEY, b"a");
    let wires: Vec<_> = [(TEXT, TEXT), (TEXT, BINARY), (BINARY, BINARY), (BINARY, TEXT)]
        .into_iter()
        .flat_map(|(first, second)| {
            [false, true]
                .map(|is_final| [start(first), frame(is_final, second, KEY, b"b")].concat())
        })
        .collect();
    refuses(1002, &wires);
}

#[test]
fn rfc6455_5_5_control_frames_have_at_most_125_bytes() {
    let mut wires = Vec::new();
    for opcode in [CLOSE, PING, PONG] {
        wires.push(frame(true, opcode, KEY, &[0; 126]));
        // It is clear from the second byte.
        wires.push(vec![0x80 | opcode, 0xfe]);
        wires.push(vec![0x80 | opcode, 0xff]);
    }
    refuses(1002, &wires);
}

#[test]
fn rfc6455_5_5_control_frames_are_not_fragmented() {
    refuses(1002, &[CLOSE, PING, PONG].map(|opcode| frame(false, opcode, KEY, b"")));
}

#[test]
fn rfc6455_5_5_2_a_pong_has_the_payload_of_its_ping() {
    serve(echo, |server| {
        let mut client = server.upgrade("/");
        for length in 0..=125 {
            let payload: Vec<u8> = (0..length).map(|byte| byte ^ 0x80).collect();
            client.ping_and_wait(&payload);
        }
    });
}

#[test]
fn rfc6455_5_5_3_an_unsolicited_pong_is_ignored() {
    serve(echo, |server| {
        let mut client = server.upgrade("/");
        for length in [0, 1, 125] {
            client.send_frame(true, PONG, &vec![9; length]);
        }
        client.ping_and_wait(b"nothing came before this");
    });
}

/// Only the latest ping needs an answer; all have one, in their order.
#[test]
fn rfc6455_5_5_3_pings_in_a_row_are_answered_in_order() {
    serve(echo, |server| {
        let mut client = server.upgrade("/");
        let pings: Vec<u8> =
            (0..100_u8).flat_map(|number| frame(true, PING, KEY, &[number])).collect();
        client.send_raw(&pings);
        (0..100).for_each(|number| client.expect_frame(true, PONG, &[number]));
    });
}

#[test]
fn rfc6455_5_6_binary_data_is_any_bytes() {
    let all: Vec<u8> = (0..=255).collect();
    serve(echo, |server| {
        let mut client = server.upgrade("/");
        client.send_frame(true, BINARY, &all);
        client.expect_frame(true, BINARY, &all);
    });
}

#[test]
fn rfc6455_8_1_text_is_utf8_over_the_whole_message() {
    let text = "κ€😀";
    serve(echo, |server| {
        let mut client = server.upgrade("/");
        for cut in 0..=text.len() {
            client.send_frame(false, TEXT, &text.as_bytes()[..cut]);
            client.ping_and_wait(b"");
            client.send_frame(true, CONTINUATION, &text.as_bytes()[cut..]);
            client.expect_text(text);
        }
    });
}

/// Text that is no UTF-8: lone bytes, overlong forms, surrogates, beyond U+10FFFF, cut ends.
const BAD_TEXTS: [&[u8]; 14] = [
    b"\x80",
    b"\xbf",
    b"a\xff",
    b"\xfe",
    b"\xc0\xaf",
    b"\xc1\xbf",
    b"\xe0\x80\xaf",
    b"\xe0\x9f\xbf",
    b"\xf0\x80\x80\xaf",
    b"\xed\xa0\x80",
    b"\xed\xbf\xbf",
    b"\xf4\x90\x80\x80",
    b"\xf8\x88\x80\x80\x80",
    b"\xce\x61",
];

#[test]
fn rfc6455_8_1_text_that_is_not_utf8_is_refused() {
    refuses(1007, &BAD_TEXTS.map(|text| frame(true, TEXT, KEY, text)));
    // A character that is not finished is an error only at the end.
    let cut = [&b"\xce"[..], b"ab\xe2\x82", b"\xf0\x9f\x98"];
    refuses(1007, &cut.map(|text| frame(true, TEXT, KEY, text)));
    let in_two = cut
        .map(|text| [frame(false, TEXT, KEY, text), frame(true, CONTINUATION, KEY, b"")].concat());
    refuses(1007, &in_two);
}

/// The frame is announced to be longer, and never is: its error shows before its end.
#[test]
fn rfc6455_8_1_bad_text_is_refused_at_its_first_bad_byte() {
    serve(echo, |server| {
        for text in BAD_TEXTS {
            let whole = frame(true, TEXT, KEY, &[text, &[b'x'; 500]].concat());
            fails_before_its_end(server, b"", &whole[..8 + text.len()]);
            let start = frame(false, TEXT, KEY, text);
            fails_before_its_end(server, &start[..start.len() - text.len()], &start[6..]);
        }
    });
}

fn fails_before_its_end(server: &TestServer, before: &[u8], wire: &[u8]) {
    let mut client = server.upgrade("/");
    if !before.is_empty() {
        client.send_raw(before);
    }
    client.send_raw(wire);
    expect_failing(&mut client, 1007, wire);
}

/// The same with each byte in a segment of its own, which shows when it is noticed: not before
/// the byte, and not after it.
#[test]
fn rfc6455_8_1_autobahn_6_4_text_is_refused_exactly_at_the_bad_byte() {
    let text = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80edited";
    let wire = frame(true, TEXT, KEY, text);
    let bad = 6 + text.iter().position(|&byte| byte == 0x90).expect("it is there");
    serve(echo, |server| {
        let mut client = server.upgrade("/");
        client.send_raw(&wire[..bad]);
        client.expect_silence(Duration::from_millis(50));
        client.send_raw(&wire[bad..=bad]);
        expect_failing(&mut client, 1007, &wire);
    });
}

/// What follows a violation is not even looked at, be it in the same segment or later.
#[test]
fn rfc6455_7_1_7_nothing_is_processed_after_a_failure() {
    serve(echo, |server| {
        let mut client = server.upgrade("/");
        client.send_text("before");
        client.expect_text("before");
        client.send_raw(&[0x83]);
        client.expect_close(1002);
        for _ in 0..10 {
            client.send_text("after");
            client.send_frame(true, PING, b"after");
            client.send_raw(b"\xff\xff\xff");
        }
        client.send_close(1000, "");
        client.expect_eof();
    });
}

/// A violation is reported on the byte that shows it; nothing is waited for.
#[test]
fn rfc6455_7_1_7_a_violation_is_reported_with_its_first_byte() {
    let wires = [
        vec![0xc1],
        vec![0x83],
        vec![0x09],
        vec![0x81, 0x01],
        vec![0x89, 0xfe],
        vec![0x82, 0xff, 0x80],
        vec![0x82, 0xfe, 0x00, 0x05],
    ];
    serve(echo, |server| {
        for wire in &wires {
            let mut client = server.upgrade("/");
            for byte in wire {
                client.send_raw(&[*byte]);
            }
            expect_failing(&mut client, 1002, wire);
        }
    });
}

/// Frames, cut within their headers and payloads, are what they are when they come whole.
#[test]
fn rfc6455_5_2_frames_may_be_cut_anywhere() {
    let message = [
        frame(false, TEXT, KEY, "h€l".as_bytes()),
        frame(true, PING, KEY, b"?"),
        frame(true, CONTINUATION, KEY, &[b'o'; 130]),
    ]
    .concat();
    let text = format!("h€l{}", "o".repeat(130));
    serve(echo, |server| {
        let mut client = server.upgrade("/");
        for cut in 1..message.len() {
            client.send_raw(&message[..cut]);
            client.send_raw(&message[cut..]);
            client.expect_frame(true, PONG, b"?");
            client.expect_text(&text);
        }
    });
}

/// A peer that sends many frames at once does not keep others waiting.
#[test]
fn empty_frames_do_not_keep_others_waiting() {
    serve(echo, |server| {
        let mut other = server.upgrade("/");
        let mut client = server.upgrade("/");
        let pongs: Vec<u8> = (0..10_000).flat_map(|_| frame(true, PONG, KEY, b"")).collect();
        for number in 0..10 {
            client.send_raw(&pongs);
            other.ping_and_wait(&[number]);
        }
        client.ping_and_wait(b"served as well");
    });
}
