//! UTF-8 that arrives in parts, refused at the first byte that cannot be continued.

/// Validates text that is cut anywhere, also within a character (RFC 6455 section 8.1).
///
/// An error is reported with the first byte that makes the text invalid, not at its end: whoever
/// sends `F4 90` is told at the `90`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Utf8Stream {
    /// The first `pending_bytes` hold the start of a character whose rest has not arrived.
    pending: [u8; 4],
    pending_bytes: u8,
}

/// The text is not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidUtf8;

impl Utf8Stream {
    /// Takes the next part of the text.
    ///
    /// # Errors
    ///
    /// [`InvalidUtf8`] if no continuation could make the text valid.
    pub fn push(&mut self, part: &[u8]) -> Result<(), InvalidUtf8> {
        let rest = self.finish_character(part)?;
        // The fast validator first: nearly all text is valid and ends with a whole character.
        if simdutf8::basic::from_utf8(rest).is_ok() {
            return Ok(());
        }
        let Err(error) = simdutf8::compat::from_utf8(rest) else { return Ok(()) };
        let tail = &rest[error.valid_up_to()..];
        if error.error_len().is_some() || tail.len() > 3 {
            return Err(InvalidUtf8);
        }
        self.pending[..tail.len()].copy_from_slice(tail);
        self.pending_bytes = tail.len() as u8;
        Ok(())
    }

    /// Whether the text may end here: no character is cut.
    pub fn is_complete(&self) -> bool {
        self.pending_bytes == 0
    }

    /// Completes the pending character from the start of `part` and returns what follows it.
    fn finish_character<'a>(&mut self, mut part: &'a [u8]) -> Result<&'a [u8], InvalidUtf8> {
        while self.pending_bytes > 0 {
            let Some((&byte, rest)) = part.split_first() else { break };
            part = rest;
            // A character has four bytes at the most, and fewer than four are pending: after the
            // fourth the validator below answers yes or no, never "incomplete".
            self.pending[usize::from(self.pending_bytes)] = byte;
            self.pending_bytes += 1;
            match std::str::from_utf8(&self.pending[..usize::from(self.pending_bytes)]) {
                Ok(_) => self.pending_bytes = 0,
                Err(error) if error.error_len().is_none() => {}
                Err(_) => return Err(InvalidUtf8),
            }
        }
        Ok(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The index of the first byte after which no continuation is valid, by the definition.
    fn first_invalid(text: &[u8]) -> Option<usize> {
        (0..text.len()).find(|&i| {
            std::str::from_utf8(&text[..=i]).is_err_and(|error| error.error_len().is_some())
        })
    }

    fn first_refused(text: &[u8]) -> Option<usize> {
        let mut stream = Utf8Stream::default();
        text.iter().position(|&byte| stream.push(&[byte]).is_err())
    }

    #[test]
    fn invalid_text_is_refused_at_the_first_impossible_byte() {
        let samples: &[&[u8]] = &[
            b"plain",
            "κόσμε".as_bytes(),
            &[0xf4, 0x90, 0x80, 0x80],
            &[0xed, 0xa0, 0x80],
            &[0xe0, 0x80, 0xaf],
            &[0xc0, 0xaf],
            &[0xf8, 0x88],
            &[b'a', 0x80],
            &[0xf0, 0x9f, 0x98, b'x'],
            &[0xff],
        ];
        for &sample in samples {
            assert_eq!(first_refused(sample), first_invalid(sample), "{sample:x?}");
        }
    }

    #[test]
    fn every_pair_and_triple_of_lead_bytes_agrees_with_the_standard_library() {
        for a in 0..=255u8 {
            for b in [0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xff] {
                for c in [0x41, 0x80, 0xbf, 0xc2] {
                    let text = [a, b, c, 0x80];
                    assert_eq!(first_refused(&text), first_invalid(&text), "{text:x?}");
                }
            }
        }
    }

    #[test]
    fn every_split_of_a_text_gives_the_same_verdict() {
        let text = "a§€😀z — κόσμε".as_bytes();
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let mut stream = Utf8Stream::default();
                for part in [&text[..first], &text[first..second], &text[second..]] {
                    stream.push(part).unwrap();
                }
                assert!(stream.is_complete());
            }
        }
    }

    #[test]
    fn a_cut_character_is_incomplete() {
        let mut stream = Utf8Stream::default();
        stream.push(&[0xe2, 0x82]).unwrap();
        assert!(!stream.is_complete());
    }
}
