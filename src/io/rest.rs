//! What the kernel has not taken of a send.

/// Memory that is being sent, and how much of it the kernel has taken.
#[derive(Debug, Default)]
pub(super) struct Rest {
    bytes: Vec<u8>,
    taken: usize,
}

impl Rest {
    /// What is left of `head` and `bytes`, one behind the other, when so many bytes of them have been
    /// taken.
    pub(super) fn of(head: &[u8], bytes: Vec<u8>, taken: usize) -> Self {
        match taken.checked_sub(head.len()) {
            Some(taken) => Self { bytes, taken },
            None => [&head[taken..], &bytes].concat().into(),
        }
    }

    /// What is to be sent.
    pub(super) fn left(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    /// Notes that so much more has been taken.
    pub(super) fn take(&mut self, bytes: usize) {
        self.taken = (self.taken + bytes).min(self.bytes.len());
    }

    /// The memory, for other bytes.
    pub(super) fn into_memory(self) -> Vec<u8> {
        self.bytes
    }
}

impl From<Vec<u8>> for Rest {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, taken: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_begins_behind_what_was_taken() {
        for taken in 0..=7 {
            let rest = Rest::of(b"abc", b"defg".to_vec(), taken);
            assert_eq!(rest.left(), &b"abcdefg"[taken..], "{taken}");
        }
        assert_eq!(Rest::of(b"abc", b"defg".to_vec(), 7).into_memory(), b"defg");
    }

    #[test]
    fn what_follows_the_head_is_not_moved() {
        let bytes = vec![1; 1000];
        let place = bytes.as_ptr();
        let mut rest = Rest::of(b"abc", bytes, 10);
        rest.take(93);
        assert_eq!((rest.left().len(), rest.left().as_ptr()), (900, place.wrapping_add(100)));
        rest.take(2000);
        assert!(rest.left().is_empty());
        let memory = rest.into_memory();
        assert_eq!(memory.as_ptr(), place);
    }
}
