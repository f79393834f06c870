//! What the protocol costs without the kernel: frame headers, masking, UTF-8, receiving and echoing
//! a frame, and the opening handshake.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use wireloop::{
    http::{self, HeaderSlots, Request, Upgrade},
    ws::{
        Event, FrameHeader, Input, Kind, Limits, OpCode, ReadMode, Receiver, Role, Rules, Sender,
        Utf8Stream, Workspace, apply_mask,
    },
};

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const SIZES: [usize; 6] = [20, 125, 512, 4096, 16_384, 65_536];

/// Headers, with a length of 7, 16 and 64 bits: how they are read by a server and written by it.
fn frame(criterion: &mut Criterion) {
    let rules = Rules::new(Role::Server, Limits::DEFAULT);
    let mut group = criterion.benchmark_group("frame");
    for size in [20, 512, 65_536] {
        let masked = FrameHeader {
            is_final: true,
            is_compressed: false,
            opcode: OpCode::Binary,
            mask: Some(KEY),
            payload_bytes: size,
        };
        let mut bytes = Vec::new();
        masked.encode(&mut bytes);
        group.bench_function(format!("parse/{size}"), |bencher| {
            bencher.iter(|| FrameHeader::parse(black_box(&bytes), &rules).unwrap());
        });
        let header = FrameHeader { mask: None, ..masked };
        let mut out = Vec::with_capacity(16);
        group.bench_function(format!("write/{size}"), |bencher| {
            bencher.iter(|| {
                out.clear();
                black_box(&header).encode(&mut out);
                black_box(&out);
            });
        });
    }
}

/// Text of one-byte characters, and of characters of one to four bytes.
fn utf8(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("utf8");
    for (name, pattern) in [("ascii", "hello, world "), ("mixed", "aß水🦀 ")] {
        for size in SIZES {
            let mut text = pattern.repeat(size / pattern.len() + 1);
            text.truncate((size..).find(|&end| text.is_char_boundary(end)).unwrap());
            group.throughput(Throughput::Bytes(text.len() as u64));
            group.bench_function(format!("{name}/{size}"), |bencher| {
                bencher.iter(|| {
                    let mut stream = Utf8Stream::default();
                    stream.push(black_box(text.as_bytes())).unwrap();
                    stream.is_complete()
                });
            });
        }
    }
}

fn echo(criterion: &mut Criterion) {
    let rules = Rules::new(Role::Server, Limits::DEFAULT);
    let mut group = criterion.benchmark_group("echo");
    for kind in [Kind::Text, Kind::Binary] {
        for size in [20, 512, 16_384] {
            let mut frame = Vec::new();
            let payload = vec![b'a'; size];
            Sender::default().message(&mut frame, kind, &payload, Some(KEY)).unwrap();
            let mut receiver = Receiver::default();
            let mut sender = Sender::default();
            let mut workspace = Workspace::new();
            let mut bytes = frame.clone();
            let mut out = Vec::with_capacity(size + 14);
            group.throughput(Throughput::Bytes(size as u64));
            group.bench_function(format!("{kind:?}/{size}"), |bencher| {
                bencher.iter(|| {
                    // In parts, as the sender copies.
                    for (to, from) in bytes.chunks_mut(1024).zip(frame.chunks(1024)) {
                        to.copy_from_slice(from);
                    }
                    out.clear();
                    let mut input = Input::new(black_box(&mut bytes));
                    let wanted = Some(ReadMode::Message);
                    match receiver.next_event(&mut input, wanted, &rules, &mut workspace) {
                        Ok(Some(Event::Text(text))) => {
                            sender.message(&mut out, kind, text.as_bytes(), None).unwrap();
                        }
                        Ok(Some(Event::Binary(bytes))) => {
                            sender.message(&mut out, kind, bytes, None).unwrap();
                        }
                        other => panic!("{other:?}"),
                    }
                    black_box(&out);
                });
            });
        }
    }
}

fn mask(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mask");
    for size in SIZES {
        let mut payload = vec![0; size];
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(size.to_string(), |bencher| {
            bencher.iter(|| apply_mask(black_box(&mut payload), KEY, 0));
        });
    }
}

fn upgrade(criterion: &mut Criterion) {
    let head = b"GET /echo HTTP/1.1\r\nHost: localhost:8181\r\nUpgrade: websocket\r\n\
        Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: echo\r\n\
        Origin: http://localhost:8181\r\nUser-Agent: benchmark\r\n\r\n";
    let limits = http::Limits::default();
    criterion.bench_function("upgrade", |bencher| {
        let mut out = Vec::with_capacity(512);
        bencher.iter(|| {
            out.clear();
            let mut slots = HeaderSlots::new();
            let parsed = http::parse(black_box(head), &limits, &mut slots).unwrap();
            let (request, _): (Request<'_>, usize) = parsed.unwrap();
            let upgrade = Upgrade::validate(&request).unwrap();
            let accept = upgrade.protocols().choose("echo").unwrap();
            upgrade.write_accept(&accept, None, &mut out);
            black_box(&out);
        });
    });
}

criterion_group!(benches, frame, mask, utf8, echo, upgrade);
criterion_main!(benches);
