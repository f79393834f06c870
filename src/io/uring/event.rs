//! What the kernel reports about an operation: an entry of the completion queue.

use io_uring::cqueue;

/// A completion.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    /// That of the operation.
    pub(super) user_data: u64,
    /// What the operation returns: a count, or a negative error number.
    pub(super) result: i32,
    /// `IORING_CQE_F_*`.
    pub(super) flags: u32,
}

impl Event {
    /// Whether more completions of the operation follow.
    pub(super) fn more(self) -> bool {
        cqueue::more(self.flags)
    }

    /// Whether the socket had more bytes than the receive took.
    pub(super) fn has_more_bytes(self) -> bool {
        cqueue::sock_nonempty(self.flags)
    }
}

impl From<cqueue::Entry> for Event {
    fn from(entry: cqueue::Entry) -> Self {
        Self { user_data: entry.user_data(), result: entry.result(), flags: entry.flags() }
    }
}

/// How far the sends of a batch have got. A part that is sent short completes while it is
/// submitted; the others do not report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parts {
    /// Some may not have been submitted.
    Queued,
    /// All have been submitted; completions may not have been taken.
    Submitted,
    /// No completion refers to the batch any more.
    Done,
}
