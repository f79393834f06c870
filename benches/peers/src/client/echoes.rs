//! What comes back: frames, in pieces of any size, compared byte by byte with what was sent.

/// The longest header of a frame that is not masked.
const HEADER_MAX: usize = 10;

const CONTINUATION: u8 = 0;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;

/// The echoes on one connection: where in them the last bytes have ended.
#[derive(Debug, Default)]
pub(super) struct Echoes {
    /// The start of a header whose end has not come yet.
    header: [u8; HEADER_MAX],
    header_bytes: usize,
    /// What the frame still lacks; `None` if a header is next.
    missing: Option<usize>,
    is_final: bool,
    /// How much of the message has come, in this frame and those before it.
    offset: usize,
}

/// A header, and its length.
struct Header {
    first: u8,
    payload_bytes: u64,
    bytes: usize,
}

impl Echoes {
    /// Takes bytes in, and says how many echoes have become whole; each has to be `expected`.
    pub(super) fn receive(
        &mut self,
        mut bytes: &[u8],
        expected: &[u8],
    ) -> Result<usize, &'static str> {
        let mut whole = 0;
        loop {
            let missing = match self.missing {
                Some(missing) => missing,
                None => match self.next_header(&mut bytes) {
                    Some(header) => self.start_frame(&header, expected.len())?,
                    None => return Ok(whole),
                },
            };
            let (piece, rest) = bytes.split_at(missing.min(bytes.len()));
            if piece != &expected[self.offset..self.offset + piece.len()] {
                return Err("an echo is not what was sent");
            }
            self.offset += piece.len();
            bytes = rest;
            if piece.len() < missing {
                self.missing = Some(missing - piece.len());
                return Ok(whole);
            }
            self.missing = None;
            if self.is_final {
                self.offset = 0;
                whole += 1;
            }
        }
    }

    /// Takes the next header off the bytes, or keeps what there is of it.
    fn next_header(&mut self, bytes: &mut &[u8]) -> Option<Header> {
        if self.header_bytes == 0
            && let Some(header) = Header::parse(bytes)
        {
            *bytes = &bytes[header.bytes..];
            return Some(header);
        }
        let kept = self.header_bytes;
        let more = bytes.len().min(HEADER_MAX - kept);
        self.header[kept..kept + more].copy_from_slice(&bytes[..more]);
        let Some(header) = Header::parse(&self.header[..kept + more]) else {
            self.header_bytes += more;
            *bytes = &[];
            return None;
        };
        self.header_bytes = 0;
        *bytes = &bytes[header.bytes - kept..];
        Some(header)
    }

    /// How much payload the frame has, if it is one that belongs here.
    fn start_frame(&mut self, header: &Header, expected: usize) -> Result<usize, &'static str> {
        self.is_final = header.first & 0x80 != 0;
        match header.first & 0x7f {
            BINARY if self.offset == 0 => {}
            CONTINUATION if self.offset > 0 => {}
            CLOSE => return Err("the server has closed a connection"),
            PING => return Err("the server sends Pings: turn its keep-alive off"),
            _ => return Err("an echo is not a binary message"),
        }
        let left = expected - self.offset;
        let length = usize::try_from(header.payload_bytes).unwrap_or(usize::MAX);
        if length > left || (self.is_final && length < left) {
            return Err("an echo is not as long as what was sent");
        }
        Ok(length)
    }
}

impl Header {
    /// `None` if the header is not whole.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let &[first, length, ref rest @ ..] = bytes else { return None };
        let (payload_bytes, bytes) = match length {
            126 => (u64::from(u16::from_be_bytes(*rest.first_chunk()?)), 4),
            127 => (u64::from_be_bytes(*rest.first_chunk()?), 10),
            // A mask bit makes it too long, which servers' frames may not have.
            short => (u64::from(short), 2),
        };
        Some(Self { first, payload_bytes, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server_frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first];
        match payload.len() {
            length @ 0..126 => frame.push(length as u8),
            length @ 126..65_536 => {
                frame.push(126);
                frame.extend((length as u16).to_be_bytes());
            }
            length => {
                frame.push(127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend(payload);
        frame
    }

    fn receive(bytes: &[u8], expected: &[u8], piece: usize) -> Result<usize, &'static str> {
        let mut echoes = Echoes::default();
        bytes.chunks(piece).try_fold(0, |sum, piece| Ok(sum + echoes.receive(piece, expected)?))
    }

    #[test]
    fn echoes_are_counted_however_they_are_cut() {
        for size in [0, 1, 20, 125, 126, 300, 65_535, 65_536] {
            let payload: Vec<u8> = (0..size).map(|index: u32| index as u8 ^ 0x55).collect();
            let bytes = server_frame(0x82, &payload).repeat(3);
            for piece in [1, 2, 3, 7, 11, 1000, bytes.len()] {
                assert_eq!(receive(&bytes, &payload, piece), Ok(3), "{size} in {piece}");
            }
            assert_eq!(receive(&bytes[..bytes.len() - 1], &payload, 5), Ok(2));
        }
    }

    #[test]
    fn a_server_may_fragment() {
        let mut bytes = server_frame(0x02, b"He");
        bytes.extend(server_frame(0x00, b"l"));
        bytes.extend(server_frame(0x80, b"lo"));
        for piece in 1..=bytes.len() {
            assert_eq!(receive(&bytes, b"Hello", piece), Ok(1));
        }
        bytes[3] ^= 1;
        assert!(receive(&bytes, b"Hello", 3).is_err());
    }

    #[test]
    fn what_is_no_echo_is_refused() {
        let fault = |first, payload: &[u8]| {
            receive(&server_frame(first, payload), b"Hello", 1).expect_err("it is wrong")
        };
        assert!(fault(0x82, b"hello").contains("not what was sent"));
        assert!(fault(0x82, b"Hell").contains("not as long"));
        assert!(fault(0x82, b"Hello!").contains("not as long"));
        assert!(fault(0x81, b"Hello").contains("not a binary"));
        assert!(fault(0xc2, b"Hello").contains("not a binary"));
        assert!(fault(0x80, b"Hello").contains("not a binary"));
        assert!(fault(0x88, &[3, 232]).contains("closed"));
        assert!(fault(0x89, b"").contains("Pings"));
        // A masked frame.
        assert!(receive(&[0x82, 0x85, 1, 2, 3, 4], b"Hello", 6).is_err());
        assert!(receive(&[0x82, 127, 255, 255, 255, 255, 255, 255, 255, 255], b"", 10).is_err());
    }

    #[test]
    fn any_bytes_are_taken_without_panic() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..20_000 {
            let mut bytes: Vec<u8> = (0..random.usize(..40)).map(|_| random.u8(..)).collect();
            if let Some(first) = bytes.first_mut() {
                *first &= 0x82;
            }
            let _ = receive(&bytes, &bytes[bytes.len() / 2..], random.usize(1..10));
        }
    }
}
