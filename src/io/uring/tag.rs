//! What an operation's user data says: four bits for its kind, 28 of the connection's generation,
//! and 32 for its index.

use crate::io::Token;

/// The bits of a generation that user data has room for.
const GENERATION: u32 = (1 << 28) - 1;

/// The kinds of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Wake,
    /// The index is the listener's number.
    Accept,
    Receive,
    Poll,
    /// The send of a part of the batch; the index is its place there.
    Part,
    Send,
    Connect,
    Cancel,
}

impl Kind {
    const ALL: [Self; 8] = [
        Self::Wake,
        Self::Accept,
        Self::Receive,
        Self::Poll,
        Self::Part,
        Self::Send,
        Self::Connect,
        Self::Cancel,
    ];

    /// The kind of the operation with this user data.
    pub(super) fn of(user_data: u64) -> Self {
        Self::ALL[(user_data >> 60) as usize % Self::ALL.len()]
    }

    /// The user data of such an operation of a connection.
    pub(super) fn tag(self, token: Token) -> u64 {
        let generation = u64::from(token.generation & GENERATION);
        (self as u64) << 60 | generation << 32 | u64::from(token.index)
    }

    /// The user data of such an operation of something that is numbered otherwise.
    pub(super) fn number(self, number: usize) -> u64 {
        self.tag(Token { index: number as u32, generation: 0 })
    }
}

/// The index, or the number.
pub(super) fn index(user_data: u64) -> usize {
    user_data as u32 as usize
}

/// Whether this can be the generation.
pub(super) fn is_of(user_data: u64, generation: u32) -> bool {
    (user_data >> 32) as u32 & GENERATION == generation & GENERATION
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_data_comes_back() {
        for kind in Kind::ALL {
            let token = Token { index: u32::MAX - 7, generation: 0xf123_4567 };
            let tag = kind.tag(token);
            assert_eq!(Kind::of(tag), kind);
            assert_eq!(index(tag), token.index as usize);
            assert!(is_of(tag, token.generation) && !is_of(tag, token.generation + 1));
        }
    }
}
