#![no_main]
//! The receiver: any frames, cut anywhere, at both ends and for every kind of reader, against a
//! plain reading of the RFC that sees the whole input at once.

use libfuzzer_sys::fuzz_target;
use wireloop::ws::{Event, Input, Limits, OpCode, ReadMode, Receiver, Role, Rules, Workspace};
use wireloop_fuzz::{
    Choices, Cuts, Random,
    frames::{Owned, receive},
};

/// More than what a frame costs while nobody reads it.
const FRAME_BYTES: usize = 40;

const UNLIMITED: Limits =
    Limits { frame_bytes: usize::MAX, message_bytes: usize::MAX, fragments: u32::MAX };

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices(data);
    let role = choices.one_of(&[Role::Server, Role::Client]);
    let limits = choices.one_of(&[
        Limits::default(),
        Limits { frame_bytes: 100, message_bytes: 300, fragments: 5 },
        Limits { frame_bytes: 300, message_bytes: 100, fragments: 1 },
        Limits { frame_bytes: 0, message_bytes: 1000, fragments: 3 },
        UNLIMITED,
    ]);
    let cuts = Cuts(choices.byte());
    let is_raw = choices.flag();
    let wire = if is_raw { choices.0.to_vec() } else { structured(choices, role) };
    let case = Case { wire: &wire, cuts, rules: Rules::new(role, limits) };
    case.always_messages();
    case.always_frames();
    case.never();
    case.changing();
});

/// Frames with good headers, long ones among them, of which the choices say everything.
fn structured(mut choices: Choices<'_>, role: Role) -> Vec<u8> {
    let mut wire = Vec::new();
    while !choices.0.is_empty() && wire.len() < 5000 {
        let first = choices.byte();
        let length = match choices.byte() {
            byte @ 0..=200 => usize::from(byte),
            byte => [126, 127, 128, 300, 1000, 65_535, 65_536][usize::from(byte) % 7],
        };
        wire.push(first);
        let masked = if role == Role::Server { 0x80 } else { 0 };
        match length {
            0..=125 => wire.push(masked | length as u8),
            126..=0xffff => {
                wire.push(masked | 126);
                wire.extend((length as u16).to_be_bytes());
            }
            _ => {
                wire.push(masked | 127);
                wire.extend((length as u64).to_be_bytes());
            }
        }
        let key = [first, length as u8, 0x5a, 0xa5];
        if role == Role::Server {
            wire.extend(key);
        }
        let given = choices.0.len().min(length).min(64);
        let start = choices.0[..given].to_vec();
        choices.0 = &choices.0[given..];
        let payload = start.into_iter().chain(std::iter::repeat(b'x')).take(length);
        let is_masked = role == Role::Server;
        wire.extend(
            payload.zip(key.iter().cycle()).map(|(a, b)| if is_masked { a ^ b } else { a }),
        );
    }
    wire
}

struct Case<'c> {
    wire: &'c [u8],
    cuts: Cuts,
    rules: Rules,
}

impl Case<'_> {
    fn expected(&self, by_frames: bool) -> Vec<Owned> {
        receive(self.wire, self.rules.role, self.rules.limits, by_frames)
    }

    fn always_messages(&self) {
        let expected = self.expected(false);
        let read = |cuts| self.feed(cuts, &self.rules, |_| Some(ReadMode::Message), None);
        assert_eq!(read(None), expected, "in one piece");
        assert_eq!(read(Some(self.cuts)), expected, "{:?}", self.cuts);
    }

    fn always_frames(&self) {
        let expected = self.expected(true);
        let read = |cuts| self.feed(cuts, &self.rules, |_| Some(ReadMode::Frame), None);
        assert_eq!(read(None), expected, "in one piece");
        assert_eq!(read(Some(self.cuts)), expected, "{:?}", self.cuts);
    }

    /// Without a reader, what is no data arrives at once, and violations show as they come.
    fn never(&self) {
        let mut expected = self.expected(false);
        expected.retain(|event| event.is_control() || event.is_end());
        assert_eq!(self.feed(None, &self.rules, |_| None, None), expected, "in one piece");
        assert_eq!(
            self.feed(Some(self.cuts), &self.rules, |_| None, None),
            expected,
            "{:?}",
            self.cuts
        );
    }

    /// A reader who wants something else each time, or nothing: data waits, and is not lost, not
    /// doubled and not in another order.
    fn changing(&self) {
        let mut random = Random(self.wire.len() as u64 + u64::from(self.cuts.0));
        let mut next = |receiver: &Receiver| match random.next() % 3 {
            0 => None,
            1 if !receiver.is_mid_message() => Some(ReadMode::Message),
            _ => Some(ReadMode::Frame),
        };
        let expected = receive(self.wire, self.rules.role, UNLIMITED, true);
        let (expected_control, expected_data) = split(expected);

        let rules = Rules { limits: UNLIMITED, ..self.rules };
        let (control, data) =
            split(self.feed(Some(self.cuts), &rules, &mut next, Some(ReadMode::Frame)));
        assert_eq!(control, expected_control);
        assert!(contents(&expected_data).starts_with(&contents(&data)));
        if !control.iter().any(|event| matches!(event, Owned::Failed(_))) {
            let is_end = |event: &Owned| matches!(event, Owned::Frame { is_final: true, .. });
            let ended = expected_data.iter().rposition(is_end).map_or(0, |last| last + 1);
            assert!(
                contents(&data).starts_with(&contents(&expected_data[..ended])),
                "data is lost"
            );
        }

        // With limits the connection may fail sooner, but says nothing else before.
        let (mut control, data) =
            split(self.feed(Some(self.cuts), &self.rules, &mut next, Some(ReadMode::Frame)));
        control.pop_if(|event| matches!(event, Owned::Failed(_)));
        assert!(expected_control.starts_with(&control));
        assert!(contents(&expected_data).starts_with(&contents(&data)));
    }

    /// Feeds the input to a receiver, in pieces or as it is, then reads the `rest`; the events.
    fn feed(
        &self,
        cuts: Option<Cuts>,
        rules: &Rules,
        mut wanted: impl FnMut(&Receiver) -> Option<ReadMode>,
        rest: Option<ReadMode>,
    ) -> Vec<Owned> {
        let mut receiver = Receiver::default();
        let mut events = Vec::new();
        let mut fed = 0;
        let mut wire = self.wire.to_vec();
        let whole = Some(self.wire).filter(|_| cuts.is_none());
        let cut = cuts.into_iter().flat_map(|cuts| cuts.pieces(self.wire));
        for piece in whole.into_iter().chain(cut) {
            let start = fed;
            fed += piece.len();
            let mut input = Input::new(&mut wire[start..fed]);
            drain(&mut receiver, &mut input, rules, &mut wanted, &mut events);
            if events.last().is_some_and(Owned::is_end) {
                break;
            }
            assert!(input.is_empty());
            check_backlog(&receiver, fed, rules);
        }
        if let Some(mode) = rest
            && !matches!(events.last(), Some(Owned::Failed(_)))
        {
            let mut data = Vec::new();
            drain(&mut receiver, &mut Input::new(&mut []), rules, |_| Some(mode), &mut data);
            assert!(!data.iter().any(Owned::is_control), "it has been told");
            events.extend(data);
        }
        events
    }
}

/// Reads until nothing more comes.
fn drain(
    receiver: &mut Receiver,
    input: &mut Input<'_>,
    rules: &Rules,
    mut wanted: impl FnMut(&Receiver) -> Option<ReadMode>,
    events: &mut Vec<Owned>,
) {
    let mut workspace = Workspace::new();
    loop {
        let mode = wanted(receiver);
        match receiver.next_event(input, mode, rules, &mut workspace) {
            Ok(Some(event)) => {
                let fits = match event {
                    Event::Text(_) | Event::Binary(_) => mode == Some(ReadMode::Message),
                    Event::Frame { .. } => mode == Some(ReadMode::Frame),
                    _ => true,
                };
                assert!(fits, "{event:?} for {mode:?}");
                events.push(event.into());
            }
            Ok(None) => return,
            Err(error) => events.push(Owned::Failed(error)),
        }
        if events.last().is_some_and(Owned::is_end) {
            return;
        }
    }
}

/// What waits costs what was sent, and a little for each frame.
fn check_backlog(receiver: &Receiver, fed: usize, rules: &Rules) {
    let least = if rules.role == Role::Server { 6 } else { 2 };
    let frames = fed / least + 1;
    let backlog = receiver.backlog_bytes();
    assert!(backlog <= fed + FRAME_BYTES * frames, "{backlog} bytes of memory for {fed}");
}

/// What the connection is told at once, and what the reader gets.
fn split(events: Vec<Owned>) -> (Vec<Owned>, Vec<Owned>) {
    events.into_iter().partition(|event| event.is_control() || event.is_end())
}

/// The data of events: per message whether it is text, its payload, and whether it has ended.
fn contents(events: &[Owned]) -> Vec<u8> {
    let mut contents = Vec::new();
    for event in events {
        match event {
            Owned::Message { is_text, payload } => {
                contents.push(if *is_text { b'T' } else { b'B' });
                contents.extend(payload);
                contents.push(b'.');
            }
            Owned::Frame { opcode, is_final, payload } => {
                match opcode {
                    OpCode::Text => contents.push(b'T'),
                    OpCode::Binary => contents.push(b'B'),
                    _ => {}
                }
                contents.extend(payload);
                if *is_final {
                    contents.push(b'.');
                }
            }
            _ => {}
        }
    }
    contents
}
