//! Payloads that are cut from one block of random content, each somewhere else.

use rand::{Rng, rngs::StdRng};

use super::{Content, sizes::Sizes};

/// How far into the block a payload may begin.
const OFFSETS: usize = 1 << 16;

/// The connection and the sequence number stand in the first bytes, in eight digits each, if there
/// is room.
pub(crate) const NAME_BYTES: usize = 16;

/// What payloads are cut from.
#[derive(Debug)]
pub(crate) struct Block {
    bytes: Vec<u8>,
    sizes: Sizes,
    /// What the sizes follow from, with the numbers of connection and message.
    seed: u64,
}

impl Block {
    pub(crate) fn new(sizes: Sizes, content: Content, rng: &mut StdRng) -> Self {
        let mut bytes = vec![0; OFFSETS + sizes.largest()];
        rng.fill_bytes(&mut bytes);
        match content {
            Content::Bytes => {}
            Content::Text => bytes.iter_mut().for_each(|byte| *byte = b' ' + *byte % 95),
            Content::Json => bytes = records(bytes.len(), rng),
        }
        Self { bytes, sizes, seed: rng.next_u64() }
    }

    /// Whether all payloads have room for their name.
    pub(crate) fn are_named(&self) -> bool {
        self.sizes.smallest() >= NAME_BYTES
    }

    pub(crate) fn sizes(&self) -> &Sizes {
        &self.sizes
    }

    pub(crate) fn size(&self, connection: u32, sequence: u32) -> usize {
        if let Sizes::Constant(bytes) = self.sizes {
            return bytes;
        }
        // The finalizer of SplitMix64: all bits of the numbers reach all bits of the result.
        let mut mixed = self.seed ^ number(connection, sequence);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        self.sizes.of(mixed ^ (mixed >> 31))
    }

    /// Appends a payload.
    pub(crate) fn write(&self, connection: u32, sequence: u32, buffer: &mut Vec<u8>) {
        let start = buffer.len();
        buffer.extend_from_slice(self.tail(connection, sequence, 0));
        if self.are_named() {
            buffer[start..start + NAME_BYTES].copy_from_slice(&name(connection, sequence));
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

    /// The payload without its first bytes, as the block has it.
    fn tail(&self, connection: u32, sequence: u32, skipped: usize) -> &[u8] {
        // A multiplicative hash: neighbours in either number lie far apart in the block.
        let hash = number(connection, sequence).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let start = (hash >> 48) as usize;
        &self.bytes[start + skipped..start + self.size(connection, sequence)]
    }
}

fn number(connection: u32, sequence: u32) -> u64 {
    u64::from(connection) << 32 | u64::from(sequence)
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
    let number = number(connection, sequence);
    std::array::from_fn(|place| {
        let nibble = (number >> (4 * (NAME_BYTES - 1 - place))) & 0xf;
        b"0123456789abcdef"[nibble as usize]
    })
}
