//! Every split of the input gives the same events; every violation has its name.

use super::*;
use crate::ws::{CloseCode, Sender};

const RULES: Rules =
    Rules::new(Role::Server, Limits { frame_bytes: 1000, message_bytes: 2000, fragments: 8 });
const KEY: Option<[u8; 4]> = Some([0xa1, 0x5c, 0x03, 0xf0]);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Owned {
    Text(String),
    Binary(Vec<u8>),
    Frame(OpCode, bool, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
    Failed(ProtocolError),
}

impl From<Event<'_>> for Owned {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Text(text) => Self::Text(text.into()),
            Event::Binary(bytes) => Self::Binary(bytes.into()),
            Event::Frame { opcode, is_final, payload } => {
                Self::Frame(opcode, is_final, payload.into())
            }
            Event::Ping(payload) => Self::Ping(payload.into()),
            Event::Pong(payload) => Self::Pong(payload.into()),
            Event::Close(frame) => Self::Close(frame.map(|f| (f.code.0, f.reason.into()))),
        }
    }
}

/// Feeds `parts` one after the other and collects the events.
fn feed(parts: &[&[u8]], wanted: Option<ReadMode>, receiver: &mut Receiver) -> Vec<Owned> {
    let mut events = Vec::new();
    for part in parts {
        let mut bytes = part.to_vec();
        let mut input = Input::new(&mut bytes);
        loop {
            match receiver.next_event(&mut input, wanted, &RULES, &mut Workspace::new()) {
                Ok(Some(event)) => events.push(event.into()),
                Ok(None) => break,
                Err(error) => {
                    events.push(Owned::Failed(error));
                    return events;
                }
            }
        }
        assert!(input.is_empty());
    }
    events
}

fn receive(bytes: &[u8], wanted: ReadMode) -> Vec<Owned> {
    feed(&[bytes], Some(wanted), &mut Receiver::default())
}

/// Messages whole and fragmented, text cut within a character, control frames between fragments.
fn conversation() -> Vec<u8> {
    let mut sender = Sender::default();
    let mut out = Vec::new();
    let text = "κόσμε 😀".as_bytes();
    sender.message(&mut out, Kind::Text, text, KEY).unwrap();
    sender.message(&mut out, Kind::Binary, &[], KEY).unwrap();
    sender.fragment(&mut out, Kind::Text, false, &text[..3], KEY).unwrap();
    sender.ping(&mut out, b"are you there", KEY).unwrap();
    sender.fragment(&mut out, Kind::Text, false, b"", KEY).unwrap();
    sender.fragment(&mut out, Kind::Text, true, &text[3..], KEY).unwrap();
    sender.pong(&mut out, b"", KEY).unwrap();
    sender.message(&mut out, Kind::Binary, &[7; 130], KEY).unwrap();
    let close = CloseFrame { code: CloseCode(3001), reason: "bye" };
    sender.close(&mut out, Some(close), KEY).unwrap();
    out
}

fn messages_of_conversation() -> Vec<Owned> {
    vec![
        Owned::Text("κόσμε 😀".into()),
        Owned::Binary(vec![]),
        Owned::Ping(b"are you there".to_vec()),
        Owned::Text("κόσμε 😀".into()),
        Owned::Pong(vec![]),
        Owned::Binary(vec![7; 130]),
        Owned::Close(Some((3001, "bye".into()))),
    ]
}

#[test]
fn every_split_in_two_gives_the_same_messages() {
    let bytes = conversation();
    for cut in 0..=bytes.len() {
        let mut receiver = Receiver::default();
        let parts = [&bytes[..cut], &bytes[cut..]];
        let events = feed(&parts, Some(ReadMode::Message), &mut receiver);
        assert_eq!(events, messages_of_conversation(), "cut at {cut}");
        assert!(receiver.partial.is_none() || receiver.backlog_bytes() == 0);
    }
}

#[test]
fn every_chunk_size_gives_the_same_messages_and_the_same_frames() {
    let bytes = conversation();
    let frames = receive(&bytes, ReadMode::Frame);
    assert_eq!(frames.len(), 9);
    assert!(frames.contains(&Owned::Frame(OpCode::Continuation, false, vec![])));
    for size in 1..=bytes.len() {
        let parts: Vec<&[u8]> = bytes.chunks(size).collect();
        let events = feed(&parts, Some(ReadMode::Message), &mut Receiver::default());
        assert_eq!(events, messages_of_conversation(), "chunks of {size}");
        let events = feed(&parts, Some(ReadMode::Frame), &mut Receiver::default());
        assert_eq!(events, frames, "chunks of {size}");
    }
}

#[test]
fn without_a_reader_control_frames_pass_and_data_waits_in_order() {
    let bytes = conversation();
    for size in [1, 2, 7, bytes.len()] {
        let parts: Vec<&[u8]> = bytes.chunks(size).collect();
        for mode in [ReadMode::Message, ReadMode::Frame] {
            let mut receiver = Receiver::default();
            let (control, data): (Vec<_>, Vec<_>) =
                receive(&bytes, mode).into_iter().partition(|event| {
                    matches!(event, Owned::Ping(_) | Owned::Pong(_) | Owned::Close(_))
                });
            assert_eq!(feed(&parts, None, &mut receiver), control);
            assert!(receiver.backlog_bytes() >= 130);
            assert_eq!(feed(&[b""], Some(mode), &mut receiver), data);
            assert_eq!(receiver.backlog_bytes(), 0);
            assert!(receiver.partial.is_none());
        }
    }
}

#[test]
fn a_reader_may_turn_from_messages_to_frames_between_messages() {
    let bytes = conversation();
    let mut receiver = Receiver::default();
    let mut bytes = bytes.clone();
    let mut input = Input::new(&mut bytes);
    let mut modes = [ReadMode::Message, ReadMode::Frame].into_iter().cycle();
    let mut events: Vec<Owned> = Vec::new();
    loop {
        let wanted = if receiver.is_mid_message() { Some(ReadMode::Frame) } else { modes.next() };
        match receiver.next_event(&mut input, wanted, &RULES, &mut Workspace::new()).unwrap() {
            Some(event) => events.push(event.into()),
            None => break,
        }
    }
    assert_eq!(events[0], Owned::Text("κόσμε 😀".into()));
    assert_eq!(events[1], Owned::Frame(OpCode::Binary, true, vec![]));
    assert!(matches!(events.last(), Some(Owned::Close(_))));
}

#[test]
fn text_is_refused_with_the_first_byte_that_cannot_be_continued() {
    let mut bytes = vec![0x81, 0x84, 0, 0, 0, 0];
    bytes.extend_from_slice(&[0xf4, 0x90, b'a', b'b']);
    let parts: Vec<&[u8]> = bytes[..8].chunks(1).collect();
    let events = feed(&parts, Some(ReadMode::Message), &mut Receiver::default());
    assert_eq!(events, [Owned::Failed(ProtocolError::InvalidUtf8)]);
    let events = feed(&parts, None, &mut Receiver::default());
    assert_eq!(events, [Owned::Failed(ProtocolError::InvalidUtf8)]);
}

#[test]
fn text_that_ends_within_a_character_is_refused_at_its_end() {
    for mode in [ReadMode::Message, ReadMode::Frame] {
        let bytes = [0x81, 0x81, 0, 0, 0, 0, 0xe2];
        assert_eq!(receive(&bytes, mode), [Owned::Failed(ProtocolError::InvalidUtf8)]);
        let parts: Vec<&[u8]> = bytes.chunks(1).collect();
        let events = feed(&parts, Some(mode), &mut Receiver::default());
        assert_eq!(events, [Owned::Failed(ProtocolError::InvalidUtf8)]);
    }
}

#[test]
fn fragments_out_of_order_are_refused() {
    let orphan = [0x80, 0x80, 0, 0, 0, 0];
    let nested = [0x01, 0x80, 0, 0, 0, 0, 0x81, 0x80, 0, 0, 0, 0];
    for mode in [ReadMode::Message, ReadMode::Frame] {
        assert_eq!(
            receive(&orphan, mode).last(),
            Some(&Owned::Failed(ProtocolError::UnexpectedContinuation))
        );
        assert_eq!(
            receive(&nested, mode).last(),
            Some(&Owned::Failed(ProtocolError::ExpectedContinuation))
        );
    }
}

#[test]
fn limits_are_checked_from_the_header_alone() {
    let mut frame = Vec::new();
    FrameHeader {
        is_final: true,
        is_compressed: false,
        opcode: OpCode::Binary,
        mask: KEY,
        payload_bytes: 1001,
    }
    .encode(&mut frame);
    assert_eq!(receive(&frame, ReadMode::Message), [Owned::Failed(ProtocolError::FrameTooLarge)]);
    let huge = FrameHeader {
        is_compressed: false,
        is_final: false,
        opcode: OpCode::Text,
        mask: KEY,
        payload_bytes: u64::MAX >> 1,
    };
    frame.clear();
    huge.encode(&mut frame);
    assert_eq!(receive(&frame, ReadMode::Message), [Owned::Failed(ProtocolError::FrameTooLarge)]);
}

#[test]
fn a_message_of_many_frames_is_limited_in_bytes_and_in_frames() {
    let mut sender = Sender::default();
    let mut out = Vec::new();
    for _ in 0..3 {
        sender.fragment(&mut out, Kind::Binary, false, &[0; 900], KEY).unwrap();
    }
    assert_eq!(receive(&out, ReadMode::Message), [Owned::Failed(ProtocolError::MessageTooLarge)]);
    assert_eq!(frames_received(&out), 3);

    let mut sender = Sender::default();
    out.clear();
    for _ in 0..9 {
        sender.fragment(&mut out, Kind::Binary, false, &[], KEY).unwrap();
    }
    assert_eq!(receive(&out, ReadMode::Message), [Owned::Failed(ProtocolError::TooManyFragments)]);
    assert_eq!(frames_received(&out), 9, "a frame that was delivered counts no more");
}

/// How many frames a reader of frames gets from these bytes, which break no rule.
fn frames_received(bytes: &[u8]) -> usize {
    let events = receive(bytes, ReadMode::Frame);
    assert!(events.iter().all(|event| matches!(event, Owned::Frame(..))), "{events:?}");
    events.len()
}

#[test]
fn an_announced_length_allocates_nothing_before_the_bytes_arrive() {
    let rules = Rules::new(Role::Server, Limits::DEFAULT);
    let mut frame = Vec::new();
    FrameHeader {
        is_final: true,
        is_compressed: false,
        opcode: OpCode::Binary,
        mask: KEY,
        payload_bytes: 16 << 20,
    }
    .encode(&mut frame);
    let mut receiver = Receiver::default();
    let mut input = Input::new(&mut frame);
    assert_eq!(
        receiver.next_event(&mut input, Some(ReadMode::Message), &rules, &mut Workspace::new()),
        Ok(None)
    );
    assert!(receiver.backlog_bytes() <= 64);
}

/// A receiver of a text message of which this much has arrived, and the rest of it with a ping behind.
fn begun(payload: &[u8], arrived: usize) -> (Receiver, Workspace, Vec<u8>) {
    let (mut sender, mut bytes) = (Sender::default(), Vec::new());
    sender.message(&mut bytes, Kind::Text, payload, KEY).unwrap();
    sender.ping(&mut bytes, b"behind", KEY).unwrap();
    let (mut receiver, mut workspace) = (Receiver::default(), Workspace::new());
    let (first, rest) = bytes.split_at_mut(arrived);
    let wanted = Some(ReadMode::Message);
    let mut first = Input::new(first);
    assert_eq!(receiver.next_event(&mut first, wanted, &LONG, &mut workspace), Ok(None));
    let rest = rest.to_vec();
    (receiver, workspace, rest)
}

const LONG: Rules = Rules::new(Role::Server, Limits::DEFAULT);

#[test]
fn a_long_message_is_received_to_where_it_is_put_together_and_nothing_behind_it() {
    let payload = "aß€😀".repeat(30_000);
    for parts in [1, 3, 1000, usize::MAX] {
        let (mut receiver, mut workspace, rest) = begun(payload.as_bytes(), 100_000);
        let mut rest = &rest[..];
        while receiver.is_fillable() {
            let filled = receiver.fill(&mut workspace, |memory, most| {
                assert!(memory.capacity() - memory.len() >= most);
                let (part, left) = rest.split_at(rest.len().min(most).div_ceil(parts));
                rest = left;
                memory.extend_from_slice(part);
                part.len()
            });
            assert!(filled.unwrap() > 0);
        }
        let mut rest = rest.to_vec();
        let mut input = Input::new(&mut rest);
        let wanted = Some(ReadMode::Message);
        let event = receiver.next_event(&mut input, wanted, &LONG, &mut workspace);
        assert_eq!(event, Ok(Some(Event::Text(&payload))));
        let event = receiver.next_event(&mut input, wanted, &LONG, &mut workspace);
        assert_eq!(event, Ok(Some(Event::Ping(b"behind"))));
    }
}

#[test]
fn a_message_is_fillable_only_while_much_has_come_and_much_is_to_come() {
    let payload = "x".repeat(300_000);
    for (arrived, expected) in [(1000, false), (70_000, true), (230_000, true), (240_000, false)] {
        let (receiver, ..) = begun(payload.as_bytes(), arrived);
        assert_eq!(receiver.is_fillable(), expected, "{arrived}");
    }
}

#[test]
fn text_that_is_not_utf8_is_refused_where_it_is_put_together() {
    let mut payload = vec![b'x'; 300_000];
    payload[200_000] = 0xff;
    let (mut receiver, mut workspace, rest) = begun(&payload, 150_000);
    let filled = receiver.fill(&mut workspace, |memory, most| {
        memory.extend_from_slice(&rest[..most]);
        most
    });
    assert_eq!(filled, Err(ProtocolError::InvalidUtf8));
}

#[test]
fn a_client_reads_unmasked_frames() {
    let rules = Rules { role: Role::Client, ..RULES };
    let mut bytes = [0x81, 2, b'h', b'i'];
    let mut input = Input::new(&mut bytes);
    let mut receiver = Receiver::default();
    let mut workspace = Workspace::new();
    let event = receiver.next_event(&mut input, Some(ReadMode::Message), &rules, &mut workspace);
    assert_eq!(event, Ok(Some(Event::Text("hi"))));
}
