#![no_main]
//! Compressed messages: what is inflated in any pieces is what a plain reading of RFC 1951 makes
//! of the whole, within the limit; and what is deflated comes back.

use libfuzzer_sys::fuzz_target;
use wireloop::ws::{
    Context, Deflater, Deflation, Event, Input, Kind, Limits, ReadMode, Receiver, Role, Rules,
    Sender, Workspace,
};
use wireloop_fuzz::{Choices, Cuts, puff};

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices(data);
    let context = choices.one_of(&[Context::Fresh, Context::Kept]);
    let limit = choices.one_of(&[100_000, 5000, 100]);
    let cuts = Cuts(choices.byte());
    // Making a compressor takes long: seldom.
    if choices.byte() == 1 {
        round_trip(choices, context, cuts);
    } else {
        arbitrary(choices, context, limit, cuts);
    }
});

/// Payloads of which the choices give the lengths.
fn arbitrary(choices: Choices<'_>, context: Context, limit: usize, cuts: Cuts) {
    let payloads = parts(choices);
    let mut wire = Vec::new();
    payloads.iter().for_each(|payload| frame(&mut wire, payload));
    let whole = receive(&wire, context, limit, None, ReadMode::Message);
    assert_eq!(whole, expected(&payloads, context, limit));
    for mode in [ReadMode::Message, ReadMode::Frame] {
        assert_eq!(receive(&wire, context, limit, Some(cuts), mode), whole, "{mode:?}");
    }
}

/// Messages of our own.
fn round_trip(mut choices: Choices<'_>, context: Context, cuts: Cuts) {
    let window_bits = 8 + choices.byte() % 8;
    let level = 1 + u32::from(choices.byte()) % 9;
    // Repeated, so that there is something to refer to.
    let messages: Vec<Vec<u8>> = parts(choices).iter().map(|part| part.repeat(3)).collect();
    let mut deflater = Deflater::new(level, 0);
    let mut deflation = Deflation::new(Context::Fresh, context, window_bits);
    let mut wire = Vec::new();
    for message in &messages {
        Sender::default()
            .deflated_message(&mut wire, Kind::Binary, message, None, &mut deflation, &mut deflater)
            .expect("nothing stands against it");
    }
    let received = receive(&wire, context, 1 << 20, Some(cuts), ReadMode::Message);
    assert_eq!(received, (messages, true));
}

fn parts(mut choices: Choices<'_>) -> Vec<Vec<u8>> {
    let mut parts = Vec::new();
    while !choices.0.is_empty() {
        let length = match choices.byte() {
            255 => choices.0.len(),
            byte => usize::from(byte).min(choices.0.len()),
        };
        let part;
        (part, choices.0) = choices.0.split_at(length);
        parts.push(part.to_vec());
    }
    parts
}

/// A compressed binary message from a server.
fn frame(wire: &mut Vec<u8>, payload: &[u8]) {
    wire.push(0xc2);
    match payload.len() {
        length @ 0..=125 => wire.push(length as u8),
        length => {
            wire.push(126);
            wire.extend((length as u16).to_be_bytes());
        }
    }
    wire.extend(payload);
}

/// The messages, and whether nothing was refused.
type Received = (Vec<Vec<u8>>, bool);

fn expected(payloads: &[Vec<u8>], context: Context, limit: usize) -> Received {
    let mut messages: Vec<Vec<u8>> = Vec::new();
    for payload in payloads {
        let before = if context == Context::Kept { messages.concat() } else { Vec::new() };
        match puff::message(payload, &before) {
            Some(message) if payload.len() <= limit && message.len() <= limit => {
                messages.push(message);
            }
            _ => return (messages, false),
        }
    }
    (messages, true)
}

fn receive(
    wire: &[u8],
    context: Context,
    limit: usize,
    cuts: Option<Cuts>,
    mode: ReadMode,
) -> Received {
    let limits = Limits { message_bytes: limit, ..Limits::DEFAULT };
    let rules = Rules { compression: Some(context), ..Rules::new(Role::Client, limits) };
    let (mut receiver, mut workspace) = (Receiver::default(), Workspace::new());
    let mut messages = Vec::new();
    let whole = Some(wire).filter(|_| cuts.is_none());
    let cut = cuts.into_iter().flat_map(|cuts| cuts.pieces(wire));
    for piece in whole.into_iter().chain(cut) {
        let mut piece = piece.to_vec();
        let mut input = Input::new(&mut piece);
        loop {
            match receiver.next_event(&mut input, Some(mode), &rules, &mut workspace) {
                Ok(None) => break,
                Ok(Some(Event::Binary(payload) | Event::Frame { payload, .. })) => {
                    assert!(payload.len() <= limit);
                    messages.push(payload.to_vec());
                }
                Ok(Some(other)) => panic!("{other:?}"),
                Err(_) => return (messages, false),
            }
        }
    }
    (messages, true)
}
