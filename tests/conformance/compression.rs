//! RFC 7692, and what its implementations got wrong. The client compresses with C's idea of
//! DEFLATE through a library of its own, never with the server's code.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use wireloop::Config;

use super::{
    echo,
    support::{
        BINARY, Binary, CONTINUATION, Client, PING, TEXT, config, handshake, serve, serve_with,
    },
};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// How far off the kernel's count of resident memory may be: 32 pages for each of two processors.
const COUNTER_ERROR: usize = 256 * KIB;

/// RSV1, which marks a compressed message.
const RSV1: u8 = 0x40;
const FIN: u8 = 0x80;
pub(super) const OFFER: &str = "permessage-deflate; client_max_window_bits";

/// RFC 7692 section 7.2.1.
fn deflate(compress: &mut Compress, message: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(message.len() + 1000);
    compress.compress_vec(message, &mut bytes, FlushCompress::Sync).expect("it does not end");
    bytes.strip_suffix(&[0, 0, 0xff, 0xff]).expect("it is flushed").to_vec()
}

fn fresh(message: &[u8]) -> Vec<u8> {
    deflate(&mut Compress::new(Compression::best(), false), message)
}

/// RFC 7692 section 7.2.2.
fn inflate(decompress: &mut Decompress, payload: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(MIB);
    let whole = [payload, &[0, 0, 0xff, 0xff]].concat();
    decompress.decompress_vec(&whole, &mut message, FlushDecompress::Sync).expect("DEFLATE");
    message
}

/// The extensions that the server accepts of these.
pub(super) fn answer(client: &mut Client, path: &str, offers: &str) -> Option<String> {
    let response =
        client.request(&handshake(path, &format!("Sec-WebSocket-Extensions: {offers}\r\n")));
    assert_eq!(response.status, 101, "{}", response.head);
    response.header("Sec-WebSocket-Extensions").map(Into::into)
}

/// A connection on which this was offered and accepted.
fn compressed(mut client: Client, path: &str) -> Client {
    assert!(answer(&mut client, path, OFFER).is_some());
    client
}

pub(super) fn kept() -> Config {
    config(|config| {
        let compression = config.compression.as_mut().expect("it is the default");
        compression.server_context_takeover = true;
        compression.client_context_takeover = true;
    })
}

#[test]
fn rfc7692_7_1_2_1_the_server_keeps_to_the_window_it_is_asked_for() {
    let noise: Vec<u8> =
        (0_u32..600).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    // It repeats itself beyond a window of 512 bytes.
    let message = noise.repeat(4);
    serve_with(kept(), echo, |server| {
        for bits in 9..=15 {
            let offer = format!("permessage-deflate; server_max_window_bits={bits}");
            let mut client = server.connect();
            assert_eq!(answer(&mut client, "/", &offer).as_deref(), Some(offer.as_str()));
            let mut decompress = Decompress::new_with_window_bits(false, bits);
            for _ in 0..3 {
                client.send_frame(true, BINARY, &message);
                let (first, payload) = client.read_any_frame();
                assert_eq!(first, FIN | RSV1 | BINARY);
                assert!(inflate(&mut decompress, &payload) == message, "{bits}");
            }
        }
    });
}

#[test]
fn rfc7692_6_uncompressed_messages_are_allowed() {
    serve(echo, |server| {
        let mut client = compressed(server.connect(), "/");
        client.send_text("as it is");
        client.expect_text("as it is");
    });
}

#[test]
fn rfc7692_6_only_the_first_frame_of_a_message_is_marked() {
    serve(echo, |server| {
        let payload = fresh(b"Hello");
        let mut client = compressed(server.connect(), "/");
        client.send_any_frame(RSV1 | TEXT, &payload[..3]);
        client.send_frame(false, CONTINUATION, &payload[3..5]);
        client.ping_and_wait(b"between");
        client.send_frame(true, CONTINUATION, &payload[5..]);
        client.expect_text("Hello");

        let mut client = compressed(server.connect(), "/");
        client.send_any_frame(RSV1 | TEXT, &payload[..3]);
        client.send_any_frame(FIN | RSV1 | CONTINUATION, &payload[3..]);
        client.expect_closing(1002);
    });
}

#[test]
fn rfc7692_6_1_control_frames_are_not_compressed() {
    serve(echo, |server| {
        for opcode in [PING, 0xA, 0x8] {
            let mut client = compressed(server.connect(), "/");
            client.send_any_frame(FIN | RSV1 | opcode, b"");
            client.expect_closing(1002);
        }
    });
}

/// aiohttp 12976: inflating although nothing was negotiated.
#[test]
fn rfc7692_6_rsv1_without_agreement_is_refused() {
    serve(echo, |server| {
        for offer in [None, Some("permessage-deflate; unknown")] {
            let mut client = server.connect();
            match offer {
                None => client.upgrade("/"),
                Some(offer) => assert_eq!(answer(&mut client, "/", offer), None),
            }
            client.send_any_frame(FIN | RSV1 | TEXT, &fresh(b"Hello"));
            client.expect_closing(1002);
        }
    });
}

#[test]
fn rfc7692_6_the_other_reserved_bits_stay_refused() {
    serve(echo, |server| {
        for bits in [0x20, 0x10, 0x60, 0x50, 0x70] {
            let mut client = compressed(server.connect(), "/");
            client.send_any_frame(FIN | bits | TEXT, &fresh(b"Hello"));
            client.expect_closing(1002);
        }
    });
}

#[test]
fn rfc7692_7_2_1_what_is_sent_is_compressed_without_its_tail() {
    let message = "a message that is worth compressing, ".repeat(100);
    serve(echo, |server| {
        let mut client = compressed(server.connect(), "/");
        for _ in 0..2 {
            client.send_text(&message);
            let (first, payload) = client.read_any_frame();
            assert_eq!(first, FIN | RSV1 | TEXT);
            assert!(payload.len() < message.len() / 10);
            assert!(!payload.ends_with(&[0, 0, 0xff, 0xff]));
            // Each stands by itself.
            assert!(inflate(&mut Decompress::new(false), &payload) == message.as_bytes());
        }
    });
}

#[test]
fn rfc7692_7_2_1_short_and_incompressible_messages_are_sent_as_they_are() {
    let noise: Vec<u8> = (0_u64..5000)
        .map(|n| {
            (n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(n) >> 40) as u8
        })
        .collect();
    serve(echo, |server| {
        let mut client = compressed(server.connect(), "/");
        for message in [&b""[..], &[b'a'; 255], &noise] {
            client.send_frame(true, BINARY, message);
            client.expect_frame(true, BINARY, message);
        }
        client.send_frame(true, BINARY, &[b'a'; 256]);
        assert_eq!(client.read_any_frame().0, FIN | RSV1 | BINARY);
    });
}

#[test]
fn rfc7692_7_2_2_messages_are_inflated_however_they_are_cut() {
    let message = "cut anywhere ".repeat(50);
    let payload = fresh(message.as_bytes());
    serve(echo, |server| {
        for cut in 0..payload.len() {
            let mut client = compressed(server.connect(), "/");
            client.send_any_frame(RSV1 | TEXT, &payload[..cut]);
            client.send_frame(true, CONTINUATION, &payload[cut..]);
            let (first, payload) = client.read_any_frame();
            assert_eq!(first, FIN | RSV1 | TEXT);
            assert!(inflate(&mut Decompress::new(false), &payload) == message.as_bytes());
        }
    });
}

#[test]
fn rfc7692_7_2_2_text_is_utf8_after_inflating() {
    serve(echo, |server| {
        for text in [&b"\xff"[..], b"cut \xe4\xb8", b"\xed\xa0\x80"] {
            let mut client = compressed(server.connect(), "/");
            client.send_any_frame(FIN | RSV1 | TEXT, &fresh(text));
            client.expect_closing(1007);
        }
    });
}

/// A reserved block type, wrong lengths, a distance before the start, garbage, every message that
/// is cut short, and one whose stored block would be completed by the octets that senders remove.
#[test]
fn rfc7692_7_2_2_what_is_not_deflate_fails_the_connection() {
    let hello = fresh(b"Hello, Hello, Hello");
    let mut broken: Vec<Vec<u8>> = vec![
        vec![0x06],
        vec![0xff; 100],
        vec![0x00, 0x05, 0x00, 0x05, 0x00],
        vec![0x00, 0x05, 0x00, 0xfa, 0xff, 0x61],
        vec![0xf2, 0x00, 0x11, 0x00, 0x00],
        b"garbage, not DEFLATE".to_vec(),
    ];
    broken.extend((1..hello.len() - 1).map(|end| hello[..end].to_vec()));
    serve(echo, |server| {
        for payload in &broken {
            let mut client = compressed(server.connect(), "/");
            client.send_any_frame(FIN | RSV1 | BINARY, payload);
            client.expect_closing(1007);
        }
    });
}

#[test]
fn rfc7692_7_2_3_1_one_compressed_block() {
    expect_hello(&[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]);
}

#[test]
fn rfc7692_7_2_3_2_the_context_is_kept_where_that_was_agreed() {
    serve_with(kept(), echo, |server| {
        let mut client = compressed(server.connect(), "/");
        client.send_any_frame(FIN | RSV1 | TEXT, &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]);
        client.expect_text("Hello");
        client.send_text("not part of the context");
        client.expect_text("not part of the context");
        client.send_any_frame(FIN | RSV1 | TEXT, &[0xf2, 0x00, 0x11, 0x00, 0x00]);
        client.expect_text("Hello");
    });
    serve(echo, |server| {
        let mut client = compressed(server.connect(), "/");
        client.send_any_frame(FIN | RSV1 | TEXT, &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]);
        client.expect_text("Hello");
        client.send_any_frame(FIN | RSV1 | TEXT, &[0xf2, 0x00, 0x11, 0x00, 0x00]);
        client.expect_closing(1007);
    });
}

/// Both contexts over many messages, far beyond the window.
#[test]
fn rfc7692_7_2_3_2_the_window_slides_in_both_directions() {
    serve_with(kept(), echo, |server| {
        let mut client = compressed(server.connect(), "/");
        let mut compress = Compress::new(Compression::default(), false);
        let mut decompress = Decompress::new(false);
        let mut total = 0;
        for round in 0..40_u32 {
            let line = format!("round {round} of many, {}; ", round.wrapping_mul(2_654_435_761));
            let message = line.repeat(20 + 37 * round as usize);
            client.send_any_frame(FIN | RSV1 | TEXT, &deflate(&mut compress, message.as_bytes()));
            let (first, payload) = client.read_any_frame();
            assert_eq!(first, FIN | RSV1 | TEXT);
            assert!(inflate(&mut decompress, &payload) == message.as_bytes());
            total += message.len();
        }
        assert!(total > 10 * 32 * KIB);
    });
}

#[test]
fn rfc7692_7_2_3_3_a_block_without_compression() {
    expect_hello(&[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00]);
}

#[test]
fn rfc7692_7_2_3_4_a_final_block() {
    expect_hello(&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00]);
}

#[test]
fn rfc7692_7_2_3_5_two_blocks() {
    expect_hello(&[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00]);
}

#[track_caller]
fn expect_hello(payload: &[u8]) {
    serve(echo, |server| {
        let mut client = compressed(server.connect(), "/");
        client.send_any_frame(FIN | RSV1 | TEXT, payload);
        client.expect_text("Hello");
    });
}

#[test]
fn rfc7692_7_2_3_6_an_empty_message_is_one_octet() {
    let always = config(|config| {
        config.compression.as_mut().expect("it is the default").threshold_bytes = 0;
    });
    serve_with(always, echo, |server| {
        let mut client = compressed(server.connect(), "/");
        // The second as peers send it that leave the octet out.
        for payload in [&[0x00][..], &[]] {
            client.send_any_frame(FIN | RSV1 | TEXT, payload);
            assert_eq!(client.read_any_frame(), (FIN | RSV1 | TEXT, vec![0x00]));
        }
    });
}

/// websockets CVE-2018-1000518, tornado 2391, undici CVE-2026-1526, websocket-driver
/// CVE-2026-54490: 256 MiB in 260 KB, in one frame, in many, and behind another message.
#[test]
fn cve_2026_1526_a_bomb_costs_no_more_than_the_longest_message() {
    let bomb = fresh(&vec![0; 256 * MIB]);
    assert!(bomb.len() < 270_000);
    let server = Binary::start(&["--max-message", "4m"]);
    // What is used for the first time, code as well, is not the bomb's.
    let mut client = compressed(Client::connect(server.address()), "/echo");
    client.send_any_frame(FIN | RSV1 | BINARY, &fresh(b"before"));
    client.expect_frame(true, BINARY, b"before");
    client.send_raw(&[0x82, 0xff, 0, 0, 0, 0, 1, 0, 0, 0, 1, 2, 3, 4]);
    client.expect_closing(1009);
    for fragment in [bomb.len(), 16_000, 1000] {
        server.reset_peak();
        // The peak counts pages of the program's file too.
        let before = server.peak_bytes();
        let mut client = compressed(Client::connect(server.address()), "/echo");
        client.send_any_frame(FIN | RSV1 | BINARY, &fresh(b"before"));
        client.expect_frame(true, BINARY, b"before");
        for (index, part) in bomb.chunks(fragment).enumerate() {
            let first = if index == 0 { RSV1 | BINARY } else { CONTINUATION };
            let fin = if (index + 1) * fragment >= bomb.len() { FIN } else { 0 };
            // The server may have seen enough.
            let _ = client.try_send_any_frame(fin | first, part);
        }
        client.expect_close(1009);
        let grown = server.peak_bytes().saturating_sub(before);
        assert!(
            grown <= 4 * MIB + 64 * KIB + COUNTER_ERROR,
            "{grown} bytes for fragments of {fragment}"
        );
        drop(client);
    }
}

/// Jetty 13029 and others: a connection that has compressed something and is idle.
#[test]
fn an_idle_compressed_connection_costs_at_most_1_kib_more() {
    let server = Binary::start(&[]);
    let message = "worth compressing ".repeat(50);
    let payload = fresh(message.as_bytes());
    let cost = |is_compressed: bool| {
        // What all of them share is there before.
        compressed(Client::connect(server.address()), "/echo").close();
        let before = server.resident_bytes();
        let clients: Vec<_> = (0..2000)
            .map(|_| {
                let mut client = Client::connect(server.address());
                if is_compressed {
                    client = compressed(client, "/echo");
                    client.send_any_frame(FIN | RSV1 | TEXT, &payload);
                    assert_eq!(client.read_any_frame().0, FIN | RSV1 | TEXT);
                } else {
                    client.upgrade("/echo");
                    client.send_text(&message);
                    client.expect_text(&message);
                }
                client
            })
            .collect();
        let grown = server.resident_bytes().saturating_sub(before);
        drop(clients);
        grown
    };
    let (plain, with_compression) = (cost(false), cost(true));
    let most = plain + 2000 * KIB;
    assert!(with_compression <= most, "{with_compression} bytes, without compression {plain}");
}

/// Messages that are announced, begun and not ended cost what was sent of them.
#[test]
fn a_compressed_message_that_is_begun_costs_what_has_arrived() {
    let server = Binary::start(&[]);
    compressed(Client::connect(server.address()), "/echo").close();
    let before = server.resident_bytes();
    let payload = fresh(&vec![0; 10 * MIB]);
    let mut clients = Vec::new();
    for _ in 0..1000 {
        let mut client = compressed(Client::connect(server.address()), "/echo");
        client.send_any_frame(RSV1 | TEXT, &payload[..500]);
        client.ping_and_wait(b"");
        clients.push(client);
    }
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown <= 1000 * 3 * KIB, "{grown} bytes");
}
