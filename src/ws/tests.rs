//! Compressed messages through both halves: in any pieces, with any agreement, and what is refused.

use super::{
    Context, Deflater, Deflation, Event, Input, Kind, Limits, ProtocolError, ReadMode, Receiver,
    Role, Rules, Sender, Workspace,
};

const LIMIT: usize = 1 << 20;

fn rules(context: Context) -> Rules {
    let limits = Limits { frame_bytes: LIMIT, message_bytes: LIMIT, fragments: 1000 };
    Rules { role: Role::Client, limits, compression: Some(context) }
}

/// A frame of less than 64 KiB from a server.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..=125 => frame.push(length as u8),
        length => {
            frame.push(126);
            frame.extend((length as u16).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

/// Receives messages, of which the input comes in parts of a certain size.
struct Peer {
    receiver: Receiver,
    workspace: Workspace,
    rules: Rules,
}

impl Peer {
    fn new(context: Context) -> Self {
        let (receiver, workspace) = (Receiver::default(), Workspace::new());
        Self { receiver, workspace, rules: rules(context) }
    }

    fn receive(
        &mut self,
        bytes: &[u8],
        part_bytes: usize,
        mode: ReadMode,
    ) -> Result<Vec<Vec<u8>>, ProtocolError> {
        let mut messages = Vec::new();
        let mut is_mid_message = false;
        for part in bytes.to_vec().chunks_mut(part_bytes) {
            let mut input = Input::new(part);
            let Self { receiver, workspace, rules } = self;
            while let Some(event) = receiver.next_event(&mut input, Some(mode), rules, workspace)? {
                match event {
                    Event::Text(text) => messages.push(text.as_bytes().to_vec()),
                    Event::Binary(bytes) => messages.push(bytes.to_vec()),
                    Event::Frame { payload, is_final, .. } => {
                        if !std::mem::replace(&mut is_mid_message, !is_final) {
                            messages.push(Vec::new());
                        }
                        messages.last_mut().unwrap().extend_from_slice(payload);
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        Ok(messages)
    }
}

fn receive(bytes: &[u8]) -> Result<Vec<Vec<u8>>, ProtocolError> {
    Peer::new(Context::Fresh).receive(bytes, usize::MAX, ReadMode::Message)
}

/// Knuth's MMIX generator: bytes that do not compress.
fn noise(seed: u64) -> impl Iterator<Item = u8> {
    let step = |state: &u64| {
        Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407))
    };
    std::iter::successors(Some(seed), step).map(|state| (state >> 56) as u8)
}

fn text(seed: u64, bytes: usize) -> Vec<u8> {
    let words = ["alpha", "beta", "gamma", "\"id\":", "true", "Wörter", "{}", "\n"];
    let mut text = String::new();
    for byte in noise(seed) {
        if text.len() >= bytes {
            break;
        }
        text += words[usize::from(byte) % words.len()];
        text += &byte.to_string();
    }
    text.into_bytes()
}

#[test]
fn messages_survive_every_agreement_in_any_parts() {
    for context in [Context::Fresh, Context::Kept] {
        for window_bits in 8..=15 {
            let mut deflation = Deflation::new(Context::Fresh, context, window_bits);
            let mut deflater = Deflater::new(1 + u32::from(window_bits) % 9, 0);
            let mut out = Vec::new();
            let mut messages = Vec::new();
            for size in [0, 1, 5, 200, 0, 3000, 60_000, 200, 200_000, 17] {
                let kind = if size % 3 == 0 { Kind::Text } else { Kind::Binary };
                let message = text(size as u64, size);
                let sender = &mut Sender::default();
                sender
                    .deflated_message(&mut out, kind, &message, None, &mut deflation, &mut deflater)
                    .unwrap();
                messages.push(message);
            }
            for part_bytes in [1, 7, 1000, 65_536, usize::MAX] {
                for mode in [ReadMode::Message, ReadMode::Frame] {
                    let mut peer = Peer::new(context);
                    let received = peer.receive(&out, part_bytes, mode);
                    assert!(received.as_ref() == Ok(&messages), "{window_bits} {part_bytes}");
                }
            }
        }
    }
}

#[test]
fn fragments_of_a_compressed_message_are_inflated_in_order() {
    // RFC 7692 section 7.2.3.1: "Hello" in one frame and in two.
    let whole = frame(0xc1, &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]);
    assert_eq!(receive(&whole), Ok(vec![b"Hello".to_vec()]));
    let mut halves = frame(0x41, &[0xf2, 0x48, 0xcd]);
    halves.extend(frame(0x80, &[0xc9, 0xc9, 0x07, 0x00]));
    for part_bytes in 1..=halves.len() {
        for mode in [ReadMode::Message, ReadMode::Frame] {
            let received = Peer::new(Context::Fresh).receive(&halves, part_bytes, mode);
            assert_eq!(received, Ok(vec![b"Hello".to_vec()]));
        }
    }
}

#[test]
fn the_examples_of_rfc_7692_section_7_2_3() {
    let hello = || Ok(vec![b"Hello".to_vec()]);
    // 7.2.3.3: a block without compression. 7.2.3.4: a final block, then an empty one. 7.2.3.5:
    // two blocks.
    let stored = [0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00];
    let final_block = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
    let two_blocks = [0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00];
    for payload in [&stored[..], &final_block, &two_blocks] {
        assert_eq!(receive(&frame(0xc1, payload)), hello());
    }
    // 7.2.3.2: the second "Hello" refers to the first.
    let mut both = frame(0xc1, &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]);
    both.extend(frame(0xc1, &[0xf2, 0x00, 0x11, 0x00, 0x00]));
    let received = Peer::new(Context::Kept).receive(&both, usize::MAX, ReadMode::Message);
    assert_eq!(received, Ok(vec![b"Hello".to_vec(); 2]));
    // Where no context is kept there is nothing to refer to.
    assert_eq!(receive(&both), Err(ProtocolError::InvalidDeflate));
    // 7.2.3.6: an empty message.
    assert_eq!(receive(&frame(0xc1, &[0x00])), Ok(vec![Vec::new()]));
    // The same from peers that leave the octet out.
    assert_eq!(receive(&frame(0xc1, &[])), Ok(vec![Vec::new()]));
}

#[test]
fn blocks_may_follow_a_final_one() {
    let mut payload = vec![0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    payload.extend([0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]);
    // With the octet of section 7.2.3.4, and from peers that leave it out.
    assert_eq!(receive(&frame(0xc2, &payload)), Ok(vec![b"HelloHello".to_vec()]));
    payload.push(0);
    assert_eq!(receive(&frame(0xc2, &payload)), Ok(vec![b"HelloHello".to_vec()]));
}

#[test]
fn what_is_not_deflate_is_refused() {
    let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    // Every truncation, a reserved block type, and garbage.
    for end in 1..hello.len() {
        assert_eq!(
            receive(&frame(0xc1, &hello[..end])),
            Err(ProtocolError::InvalidDeflate),
            "{end}"
        );
    }
    for payload in [&[0xff; 20][..], &[0x06, 0x00], b"not deflate at all", &[0x03, 0x00, 0x55]] {
        assert_eq!(receive(&frame(0xc2, payload)), Err(ProtocolError::InvalidDeflate));
    }
}

#[test]
fn text_is_checked_after_inflating() {
    let mut out = Vec::new();
    let mut deflater = Deflater::new(1, 0);
    let mut deflation = Deflation::new(Context::Fresh, Context::Fresh, 15);
    let broken = [&[b'a'; 500][..], &[0xff]].concat();
    let sender = &mut Sender::default();
    sender
        .deflated_message(&mut out, Kind::Text, &broken, None, &mut deflation, &mut deflater)
        .unwrap();
    assert_eq!(out[0], 0xc1);
    for part_bytes in [1, usize::MAX] {
        for mode in [ReadMode::Message, ReadMode::Frame] {
            let received = Peer::new(Context::Fresh).receive(&out, part_bytes, mode);
            assert_eq!(received, Err(ProtocolError::InvalidUtf8));
        }
    }
}

#[test]
fn the_limit_holds_while_inflating() {
    for (bytes, is_refused) in [(LIMIT, false), (LIMIT + 1, true), (64 * LIMIT, true)] {
        let mut out = Vec::new();
        let mut deflater = Deflater::new(9, 0);
        let mut deflation = Deflation::new(Context::Fresh, Context::Fresh, 15);
        let sender = &mut Sender::default();
        let message = vec![0; bytes];
        sender
            .deflated_message(&mut out, Kind::Binary, &message, None, &mut deflation, &mut deflater)
            .unwrap();
        for part_bytes in [1000, 65_536, usize::MAX] {
            let mut peer = Peer::new(Context::Fresh);
            let received = peer.receive(&out, part_bytes, ReadMode::Message);
            assert_eq!(
                received.as_ref().err(),
                is_refused.then_some(&ProtocolError::MessageTooLarge)
            );
            assert!(peer.workspace.inflater.output_capacity() <= LIMIT + 1);
        }
    }
}

#[test]
fn short_and_incompressible_messages_are_sent_as_they_are() {
    let noise: Vec<u8> = noise(1).take(5000).collect();
    let mut deflater = Deflater::new(1, 100);
    let mut deflation = Deflation::new(Context::Fresh, Context::Fresh, 15);
    for (message, first) in [(&[0; 99][..], 0x82), (&[0; 100], 0xc2), (&noise, 0x82)] {
        let mut out = Vec::new();
        let sender = &mut Sender::default();
        sender
            .deflated_message(&mut out, Kind::Binary, message, None, &mut deflation, &mut deflater)
            .unwrap();
        assert_eq!(out[0], first);
    }
}

#[test]
fn a_refused_message_does_not_enter_the_context() {
    let mut deflater = Deflater::new(1, 0);
    let mut deflation = Deflation::new(Context::Fresh, Context::Kept, 15);
    let mut sender = Sender::default();
    let mut out = Vec::new();
    sender.fragment(&mut out, Kind::Text, false, b"a", None).unwrap();
    let refused = b"refused refused refused";
    let sent =
        sender.deflated_message(&mut out, Kind::Text, refused, None, &mut deflation, &mut deflater);
    assert!(sent.is_err());
    sender.fragment(&mut out, Kind::Text, true, b"b", None).unwrap();
    sender
        .deflated_message(&mut out, Kind::Text, refused, None, &mut deflation, &mut deflater)
        .unwrap();
    let received = Peer::new(Context::Kept).receive(&out, usize::MAX, ReadMode::Message);
    assert_eq!(received, Ok(vec![b"ab".to_vec(), refused.to_vec()]));
}
