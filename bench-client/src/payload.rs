//! Payloads that can be checked byte for byte without being kept: each is a function of its
//! connection and its sequence number.

use rand::{Rng, rngs::StdRng};

/// How far into the block a payload may begin.
const OFFSETS: usize = 1 << 16;

/// The sequence number stands in the first bytes, in this many digits, if there is room.
const DIGITS: usize = 8;

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

    /// Writes a payload to `buffer`, replacing what was there.
    pub(crate) fn write(&self, connection: u32, sequence: u64, buffer: &mut Vec<u8>) {
        buffer.clear();
        buffer.extend_from_slice(self.tail(connection, sequence, 0));
        if self.size >= DIGITS {
            buffer[..DIGITS].copy_from_slice(&digits(sequence));
        }
    }

    /// Whether this is the payload, to the last byte.
    pub(crate) fn is(&self, payload: &[u8], connection: u32, sequence: u64) -> bool {
        if self.size < DIGITS {
            return payload == self.tail(connection, sequence, 0);
        }
        payload.split_at_checked(DIGITS).is_some_and(|(start, rest)| {
            start == digits(sequence) && rest == self.tail(connection, sequence, DIGITS)
        })
    }

    /// The payload without its first bytes, as the block has it.
    fn tail(&self, connection: u32, sequence: u64, skipped: usize) -> &[u8] {
        // A multiplicative hash: neighbours in either number lie far apart in the block.
        let mixed = (u64::from(connection) << 40 ^ sequence).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let start = (mixed >> 48) as usize;
        &self.block[start + skipped..start + self.size]
    }
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

/// The sequence number in hexadecimal digits, modulo 2^32: text as well as bytes.
fn digits(sequence: u64) -> [u8; DIGITS] {
    std::array::from_fn(|place| {
        let nibble = (sequence >> (4 * (DIGITS - 1 - place))) & 0xf;
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
        for size in [0, 1, 7, 8, 20, 300] {
            let payloads = Payloads::new(size, Content::Bytes, &mut rng);
            let mut buffer = Vec::new();
            payloads.write(3, 99, &mut buffer);
            assert_eq!(buffer.len(), size);
            assert!(payloads.is(&buffer, 3, 99));
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
            payloads.write(1, u64::MAX, &mut buffer);
            assert!(buffer.iter().all(|byte| (b' '..=b'~').contains(byte)));
        }
    }
}
