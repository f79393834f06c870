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

impl Payloads {
    /// Payloads of `size` bytes; printable if they are to be text.
    pub(crate) fn new(size: usize, is_text: bool, rng: &mut StdRng) -> Self {
        let mut block = vec![0; OFFSETS + size];
        rng.fill_bytes(&mut block);
        if is_text {
            for byte in &mut block {
                *byte = b' ' + *byte % 95;
            }
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
            let payloads = Payloads::new(size, false, &mut rng);
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
    fn text_is_printable() {
        let payloads = Payloads::new(100, true, &mut StdRng::seed_from_u64(1));
        let mut buffer = Vec::new();
        payloads.write(1, u64::MAX, &mut buffer);
        assert!(buffer.iter().all(|byte| (b' '..=b'~').contains(byte)));
    }
}
