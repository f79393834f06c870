//! Payloads that can be checked byte for byte without being kept: each is a function of its
//! connection and its sequence number.
//!
//! One of 16 bytes and more begins with both, so that an echo tells which message it answers even
//! if others were lost, overtaken or repeated. A shorter one is only compared with the payload that
//! is expected next: a fault is seen, but not which, and after a message was lost all echoes look
//! corrupt. From 20 bytes on what follows the name proves it, so that a corrupt name is not taken
//! for that of another message.

use rand::{Rng, rngs::StdRng};

/// How far into the block a payload may begin.
const OFFSETS: usize = 1 << 16;

/// The connection and the sequence number stand in the first bytes, in eight digits each, if there
/// is room.
const NAME_BYTES: usize = 16;

/// What the payloads of a run are cut from.
#[derive(Debug)]
pub(crate) struct Payloads {
    block: Vec<u8>,
    size: usize,
}

/// What payloads hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Any bytes.
    Bytes,
    /// Printable characters.
    Text,
    /// Parts of a list of records with numbers, names, flags and times.
    Json,
}

impl Payloads {
    /// Payloads of `size` bytes.
    pub(crate) fn new(size: usize, content: Content, rng: &mut StdRng) -> Self {
        let mut block = vec![0; OFFSETS + size];
        rng.fill_bytes(&mut block);
        match content {
            Content::Bytes => {}
            Content::Text => block.iter_mut().for_each(|byte| *byte = b' ' + *byte % 95),
            Content::Json => block = records(block.len(), rng),
        }
        Self { block, size }
    }

    /// The size of the largest one.
    pub(crate) fn largest(&self) -> usize {
        self.size
    }

    /// The size of one of them.
    pub(crate) fn size(&self, _connection: u32, _sequence: u32) -> usize {
        self.size
    }

    /// Whether the payloads say which they are.
    pub(crate) fn are_named(&self) -> bool {
        is_named(self.size)
    }

    /// Writes a payload to `buffer`, replacing what was there.
    pub(crate) fn write(&self, connection: u32, sequence: u32, buffer: &mut Vec<u8>) {
        buffer.clear();
        buffer.extend_from_slice(self.tail(connection, sequence, 0));
        if self.are_named() {
            buffer[..NAME_BYTES].copy_from_slice(&name(connection, sequence));
        }
    }

    /// Whether this is the payload, to the last byte.
    pub(crate) fn is(&self, payload: &[u8], connection: u32, sequence: u32) -> bool {
        if !self.are_named() {
            return payload == self.tail(connection, sequence, 0);
        }
        payload.split_at_checked(NAME_BYTES).is_some_and(|(start, rest)| {
            start == name(connection, sequence)
                && rest == self.tail(connection, sequence, NAME_BYTES)
        })
    }

    /// The connection and the sequence number that a payload names, true or not.
    pub(crate) fn named(&self, payload: &[u8]) -> Option<(u32, u32)> {
        let digits = payload.get(..NAME_BYTES).filter(|_| self.are_named())?;
        let mut number = 0u64;
        for digit in digits {
            number = number << 4 | u64::from((*digit as char).to_digit(16)?);
        }
        Some(((number >> 32) as u32, number as u32))
    }

    /// How many bytes of the payload are where this message has them.
    pub(crate) fn likeness(&self, payload: &[u8], connection: u32, sequence: u32) -> usize {
        let name = name(connection, sequence);
        let named = if self.are_named() { name.len() } else { 0 };
        let bytes = name[..named].iter().chain(self.tail(connection, sequence, named));
        payload.iter().zip(bytes).filter(|(byte, sent)| byte == sent).count()
    }

    /// Whether so many equal bytes make this a damaged echo, and not a message of its own.
    pub(crate) fn is_like_enough(&self, payload: &[u8], likeness: usize) -> bool {
        payload.len() == self.size || 2 * likeness >= self.size.max(payload.len())
    }

    /// The payload without its first bytes, as the block has it.
    fn tail(&self, connection: u32, sequence: u32, skipped: usize) -> &[u8] {
        // A multiplicative hash: neighbours in either number lie far apart in the block.
        let number = u64::from(connection) << 32 | u64::from(sequence);
        let start = (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as usize;
        &self.block[start + skipped..start + self.size]
    }
}

/// Whether payloads of this size have room for their name.
pub(crate) fn is_named(size: usize) -> bool {
    size >= NAME_BYTES
}

/// JSON as services send it: names that repeat, and values that do not.
fn records(size: usize, rng: &mut StdRng) -> Vec<u8> {
    let names = ["Alice", "Bob", "Charlie", "Dana", "Eve", "Frank", "Grace", "Heidi"];
    let states = ["open", "filled", "cancelled", "pending"];
    let mut text = String::with_capacity(size + 200);
    while text.len() < size {
        let random = rng.next_u64();
        let pick = |shift: u32, count: u64| (random >> shift) % count;
        text += &format!(
            "{{\"id\":{},\"user\":\"{}\",\"state\":\"{}\",\"price\":{}.{:02},\"amount\":{},\
             \"active\":{},\"time\":\"2026-11-{:02}T{:02}:{:02}:{:02}Z\"}},",
            pick(0, 1 << 24),
            names[pick(24, 8) as usize],
            states[pick(27, 4) as usize],
            pick(29, 1000),
            pick(39, 100),
            pick(9, 5000),
            pick(46, 2) == 1,
            1 + pick(47, 28),
            pick(52, 24),
            pick(3, 60),
            pick(33, 60),
        );
    }
    text.truncate(size);
    text.into_bytes()
}

/// Both numbers in hexadecimal digits: text as well as bytes.
fn name(connection: u32, sequence: u32) -> [u8; NAME_BYTES] {
    let number = u64::from(connection) << 32 | u64::from(sequence);
    std::array::from_fn(|place| {
        let nibble = (number >> (4 * (NAME_BYTES - 1 - place))) & 0xf;
        b"0123456789abcdef"[nibble as usize]
    })
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn a_payload_is_recognised_and_no_other_is() {
        let mut rng = StdRng::seed_from_u64(1);
        for size in [0, 1, 15, 16, 20, 300] {
            let payloads = Payloads::new(size, Content::Bytes, &mut rng);
            let mut buffer = Vec::new();
            payloads.write(3, 99, &mut buffer);
            assert_eq!(buffer.len(), size);
            assert!(payloads.is(&buffer, 3, 99));
            let named = payloads.named(&buffer);
            assert_eq!(named, (size >= 16).then_some((3, 99)));
            assert_eq!(payloads.likeness(&buffer, 3, 99), size);
            if size >= 20 {
                assert!(!payloads.is(&buffer, 3, 100));
                assert!(!payloads.is(&buffer, 4, 99));
                assert!(!payloads.is(&buffer[1..], 3, 99));
                for place in 0..size {
                    buffer[place] ^= 1;
                    assert!(!payloads.is(&buffer, 3, 99), "byte {place}");
                    buffer[place] ^= 1;
                }
            }
        }
    }

    #[test]
    fn text_and_json_are_printable() {
        for content in [Content::Text, Content::Json] {
            let payloads = Payloads::new(100, content, &mut StdRng::seed_from_u64(1));
            let mut buffer = Vec::new();
            payloads.write(1, u32::MAX, &mut buffer);
            assert!(buffer.iter().all(|byte| (b' '..=b'~').contains(byte)));
        }
    }
}
