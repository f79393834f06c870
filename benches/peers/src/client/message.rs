//! Messages as they go out: framed and masked once, before the first is sent.

/// The largest payload whose length fits the first two bytes, and those that follow them.
const SHORT_MAX: usize = 125;
const MEDIUM_MAX: usize = 65_535;

/// As many copies stand one behind the other as fit here, to be sent at once.
const COPIES_BYTES: usize = 256 << 10;

/// A binary message with a random payload.
#[derive(Debug)]
pub(super) struct Message {
    payload: Vec<u8>,
    /// One or more copies of the frame.
    copies: Vec<u8>,
    frame_bytes: usize,
}

impl Message {
    /// A message of `size` bytes, of which up to `depth` are sent at once.
    pub(super) fn new(size: usize, depth: usize, random: &mut fastrand::Rng) -> Self {
        let payload: Vec<u8> = (0..size).map(|_| random.u8(..)).collect();
        let frame = frame(&payload, random.u32(..).to_be_bytes());
        let count = depth.min(COPIES_BYTES / frame.len()).max(1);
        Self { payload, frame_bytes: frame.len(), copies: frame.repeat(count) }
    }

    /// What has to come back.
    pub(super) fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The bytes of one message on the wire.
    pub(super) fn frame_bytes(&self) -> usize {
        self.frame_bytes
    }

    /// What is left to send of `count` messages, if `sent` bytes of the first have been sent; not
    /// all of it if it is much.
    pub(super) fn unsent(&self, count: usize, sent: usize) -> &[u8] {
        &self.copies[sent..self.copies.len().min(count * self.frame_bytes)]
    }
}

/// A final binary frame, masked (RFC 6455 section 5.2).
fn frame(payload: &[u8], key: [u8; 4]) -> Vec<u8> {
    const MASKED: u8 = 0x80;
    let mut frame = vec![0x82];
    match payload.len() {
        length @ 0..=SHORT_MAX => frame.push(MASKED | length as u8),
        length @ 0..=MEDIUM_MAX => {
            frame.push(MASKED | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(MASKED | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(key);
    frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_those_of_the_rfc() {
        // 5.7: a single-frame masked message with "Hello", here as binary.
        let key = [0x37, 0xfa, 0x21, 0x3d];
        let hello = [0x82, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        assert_eq!(frame(b"Hello", key), hello);
        assert_eq!(frame(&[0; 256], key)[..4], [0x82, 0xfe, 1, 0]);
        let long = [0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0];
        assert_eq!(frame(&[0; 65_536], key)[..10], long);
    }

    #[test]
    fn copies_are_sent_at_once_but_not_too_many() {
        let mut random = fastrand::Rng::with_seed(1);
        let small = Message::new(20, 16, &mut random);
        assert_eq!(small.frame_bytes(), 26);
        assert_eq!(small.unsent(16, 0).len(), 16 * 26);
        assert_eq!(small.unsent(2, 25).len(), 27);
        assert_eq!(small.unsent(100, 1).len(), 16 * 26 - 1);
        let large = Message::new(100_000, 64, &mut random);
        assert_eq!(large.unsent(64, 0).len(), 2 * large.frame_bytes());
        let huge = Message::new(1 << 20, 64, &mut random);
        assert_eq!(huge.unsent(64, 10).len(), huge.frame_bytes() - 10);
    }
}
