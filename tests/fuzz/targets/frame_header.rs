#![no_main]
//! Frame headers: the parser against a plain reading of section 5.2, every prefix against the
//! whole, and back to the same bytes.

use libfuzzer_sys::fuzz_target;
use wireloop::ws::{
    Context, FrameHeader, HEADER_BYTES_MAX, Limits, OpCode, ProtocolError, Role, Rules,
};
use wireloop_fuzz::{Choices, frames};

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices(data);
    let (role, other) =
        choices.one_of(&[(Role::Server, Role::Client), (Role::Client, Role::Server)]);
    let compression = choices.one_of(&[None, Some(Context::Fresh), Some(Context::Kept)]);
    let rules = Rules { compression, ..Rules::new(role, Limits::DEFAULT) };
    let other = Rules { role: other, ..rules };
    let bytes = choices.0;

    let parsed = FrameHeader::parse(bytes, &rules);
    assert_eq!(parsed, frames::header(bytes, &rules));
    let verdict = prefixes_agree(bytes, &rules);
    assert_eq!(parsed, verdict, "what is decided is decided early and for good");
    if bytes.len() >= HEADER_BYTES_MAX {
        assert_ne!(parsed, Ok(None), "no header is longer");
    }
    if let Ok(Some((header, size))) = parsed {
        // The shortest form is the only one, so that the bytes must come back.
        let mut encoded = vec![0xee];
        header.encode(&mut encoded);
        assert_eq!(encoded[1..], bytes[..size]);
        let is_other_end = [ProtocolError::UnmaskedFrame, ProtocolError::MaskedFrame];
        let refused = FrameHeader::parse(&bytes[..size], &other);
        assert!(is_other_end.map(Err).contains(&refused), "{refused:?}");
    }
    round_trips(bytes, &rules);
});

/// The verdict on the shortest prefix that has one, which all longer ones share.
fn prefixes_agree(
    bytes: &[u8],
    rules: &Rules,
) -> Result<Option<(FrameHeader, usize)>, ProtocolError> {
    let mut verdict = Ok(None);
    for end in 0..=bytes.len().min(HEADER_BYTES_MAX + 2) {
        let now = FrameHeader::parse(&bytes[..end], rules);
        if let Ok(Some((_, size))) = now {
            assert!(size <= end && size <= HEADER_BYTES_MAX);
        }
        if verdict == Ok(None) {
            verdict = now;
            if let Ok(Some((_, size))) = verdict {
                assert_eq!(size, end, "a header is taken with its last byte");
            }
        }
        assert_eq!(now, verdict);
    }
    verdict
}

/// A header of any fields, encoded and parsed.
fn round_trips(bytes: &[u8], rules: &Rules) {
    let Some((&[first, a, b, c, d, ref length @ ..], _)) = bytes.split_first_chunk::<13>() else {
        return;
    };
    let length = u64::from_be_bytes(*length) >> 1 >> (first >> 2);
    let data = [OpCode::Continuation, OpCode::Text, OpCode::Binary];
    let control = [OpCode::Close, OpCode::Ping, OpCode::Pong, OpCode::Close];
    let opcode = if length > 125 || first & 2 != 0 {
        data[usize::from(first) % 3]
    } else {
        control[usize::from(first) % 4]
    };
    let begins = matches!(opcode, OpCode::Text | OpCode::Binary);
    let header = FrameHeader {
        is_final: length <= 125 || first & 1 != 0,
        is_compressed: begins && rules.compression.is_some() && a & 1 != 0,
        opcode,
        mask: (rules.role == Role::Server).then_some([a, b, c, d]),
        payload_bytes: length,
    };
    let mut encoded = Vec::new();
    header.encode(&mut encoded);
    let size = encoded.len();
    encoded.extend_from_slice(&[0xff; 3]);
    assert_eq!(FrameHeader::parse(&encoded, rules), Ok(Some((header, size))));
}
