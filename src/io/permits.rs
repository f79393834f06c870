//! How many connections may be accepted, by all workers together.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Permits to accept connections, which all workers of a server share. A driver takes one before
/// it accepts, so that there is never a connection, or its descriptor, too many.
#[derive(Clone, Debug)]
pub struct Permits(Arc<AtomicUsize>);

impl Permits {
    /// So many permits.
    pub fn new(permits: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(permits)))
    }

    /// Whether there is a permit left.
    pub fn has_any(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }

    /// Takes a permit, if there is one left.
    pub(crate) fn take(&self) -> bool {
        let take = |left: usize| left.checked_sub(1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    /// Gives permits back: that many connections are no more, descriptors included.
    pub fn give_back(&self, permits: usize) {
        self.0.fetch_add(permits, Ordering::Relaxed);
    }
}
