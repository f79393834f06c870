//! What the protocol costs without the kernel: receiving and echoing a frame, masking, UTF-8, and
//! the opening handshake.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use wireloop::{
    http::{self, HeaderSlots, Request, Upgrade},
    ws::{
        Event, Inflater, Input, Kind, Limits, ReadMode, Receiver, Role, Rules, Sender, apply_mask,
    },
};

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const SIZES: [usize; 3] = [20, 512, 16_384];

fn echo(criterion: &mut Criterion) {
    let rules = Rules::new(Role::Server, Limits::DEFAULT);
    let mut group = criterion.benchmark_group("echo");
    for kind in [Kind::Text, Kind::Binary] {
        for size in SIZES {
            let mut frame = Vec::new();
            let payload = vec![b'a'; size];
            Sender::default().message(&mut frame, kind, &payload, Some(KEY)).unwrap();
            let mut receiver = Receiver::default();
            let mut sender = Sender::default();
            let mut inflater = Inflater::new();
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
                    match receiver.next_event(&mut input, wanted, &rules, &mut inflater) {
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

criterion_group!(benches, echo, mask, upgrade);
criterion_main!(benches);
