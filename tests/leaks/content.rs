//! What the messages say: every byte follows from the number of its connection, the number of the
//! message, and its place. So a byte of another connection, or of another message, shows.

use fastrand::Rng;

/// One message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Content {
    seed: u64,
    pub(crate) length: usize,
}

impl Content {
    /// The message with this number on the connection with that one: 1 B to 200 KB, most of them
    /// short, unless they are to be long.
    pub(crate) fn new(connection: u32, message: u32, is_long: bool) -> Self {
        let seed = u64::from(connection) << 32 | u64::from(message);
        let mut rng = Rng::with_seed(seed);
        let length = match rng.u32(0..1000) {
            0..3 => rng.usize(20_000..=200_000),
            3..30 => rng.usize(4096..20_000),
            _ if is_long => rng.usize(4096..20_000),
            30..150 => rng.usize(126..4096),
            _ => rng.usize(1..126),
        };
        Self { seed, length }
    }

    fn byte(self, place: usize) -> u8 {
        let word = (self.seed ^ (place as u64 >> 3) << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((word ^ word >> 32) >> ((place & 7) * 8)) as u8
    }

    pub(crate) fn bytes(self) -> Vec<u8> {
        (0..self.length).map(|place| self.byte(place)).collect()
    }

    /// The header of the only frame of its echo (RFC 6455 section 5.2).
    pub(crate) fn header(self) -> Vec<u8> {
        let mut header = vec![0x82];
        match self.length {
            length @ 0..=125 => header.push(length as u8),
            length @ 126..=0xffff => {
                header.push(126);
                header.extend((length as u16).to_be_bytes());
            }
            length => {
                header.push(127);
                header.extend((length as u64).to_be_bytes());
            }
        }
        header
    }

    /// Where these bytes, which are to be those from `start` on, are others.
    pub(crate) fn difference(self, start: usize, bytes: &[u8]) -> Option<usize> {
        let is_wrong = |(place, byte): (usize, &u8)| *byte != self.byte(place);
        (start..).zip(bytes).position(is_wrong)
    }
}
