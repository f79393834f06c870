//! What compressed messages cost without the kernel, and how much shorter they become: JSON-like
//! text of several lengths, at zlib's levels, each message by itself or with its context kept.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use wireloop::ws::{
    Context, Deflater, Deflation, Event, Input, Kind, Limits, ReadMode, Receiver, Role, Rules,
    Sender, Workspace,
};

const SIZES: [usize; 6] = [128, 256, 512, 1024, 4096, 16_384];
const LEVELS: [u32; 3] = [1, 3, 6];

/// A list of records whose names repeat and whose values do not.
fn json(size: usize) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(1);
    let states = ["open", "filled", "cancelled", "pending"];
    let mut text = String::new();
    while text.len() < size {
        text += &format!(
            "{{\"id\":{},\"user\":\"user{}\",\"state\":\"{}\",\"price\":{}.{:02},\"active\":{}}},",
            rng.u32(..1 << 24),
            rng.u16(..),
            states[rng.usize(..4)],
            rng.u16(..1000),
            rng.u8(..100),
            rng.bool(),
        );
    }
    text.truncate(size);
    text.into_bytes()
}

/// The frame of a compressed message, after as many as the context can hold.
fn frame(message: &[u8], deflater: &mut Deflater, deflation: &mut Deflation) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..20 {
        out.clear();
        Sender::default()
            .deflated_message(&mut out, Kind::Text, message, None, deflation, deflater)
            .unwrap();
    }
    out
}

fn deflate(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("deflate");
    for size in SIZES {
        let message = json(size);
        for level in LEVELS {
            let mut deflater = Deflater::new(level, 0);
            let mut deflation = Deflation::new(Context::Fresh, Context::Fresh, 15);
            let length = frame(&message, &mut deflater, &mut deflation).len();
            let mut out = Vec::with_capacity(2 * size);
            group.throughput(Throughput::Bytes(size as u64));
            let name = format!("{size} at level {level}, {} %", 100 * length / size);
            group.bench_function(name, |bencher| {
                bencher.iter(|| {
                    out.clear();
                    let (sender, message) = (&mut Sender::default(), black_box(&message));
                    let (deflation, deflater) = (&mut deflation, &mut deflater);
                    sender
                        .deflated_message(&mut out, Kind::Text, message, None, deflation, deflater)
                        .unwrap();
                    black_box(&out);
                });
            });
        }
    }
}

fn inflate(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("inflate");
    for (context, name) in [(Context::Fresh, "fresh"), (Context::Kept, "kept")] {
        let limits = Limits::DEFAULT;
        let rules = Rules { compression: Some(context), ..Rules::new(Role::Client, limits) };
        for size in SIZES {
            let message = json(size);
            let mut deflation = Deflation::new(Context::Fresh, Context::Fresh, 15);
            let frame = frame(&message, &mut Deflater::new(1, 0), &mut deflation);
            let (mut receiver, mut workspace) = (Receiver::default(), Workspace::new());
            let mut bytes = frame.clone();
            group.throughput(Throughput::Bytes(size as u64));
            group.bench_function(format!("{size} {name}"), |bencher| {
                bencher.iter(|| {
                    bytes.copy_from_slice(&frame);
                    let mut input = Input::new(black_box(&mut bytes));
                    let wanted = Some(ReadMode::Message);
                    match receiver.next_event(&mut input, wanted, &rules, &mut workspace) {
                        Ok(Some(Event::Text(text))) => assert_eq!(black_box(text).len(), size),
                        other => panic!("{other:?}"),
                    }
                });
            });
        }
    }
}

criterion_group!(benches, deflate, inflate);
criterion_main!(benches);
