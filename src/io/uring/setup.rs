//! How a ring is set up: its size, and what is asked of the kernel.

use std::io;

use io_uring::IoUring;

/// Operations that are queued before they have to be submitted.
pub(super) const SUBMISSIONS: u32 = 256;

/// Completions that fit; beyond that the kernel keeps them, and ends multishot operations.
const COMPLETIONS: u32 = 4096;

/// The receive buffers: their number, a power of two, and the bytes in each.
pub(super) const BUFFERS: u16 = 16;
pub(super) const BUFFER_BYTES: usize = 64 << 10;

/// The same where the kernel cannot fill a buffer with several receives (before Linux 6.12).
pub(super) const WHOLE_BUFFERS: u16 = 256;
pub(super) const WHOLE_BUFFER_BYTES: usize = 16 << 10;

/// Which optional features of the kernel a ring uses where there are any. Without some of them it
/// works as on an older kernel, for tests.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct UringFeatures {
    /// `IORING_SETUP_SINGLE_ISSUER` (Linux 6.0); needed for `defer_taskrun`.
    pub single_issuer: bool,
    /// `IORING_SETUP_DEFER_TASKRUN` (Linux 6.1): completions of receives are run when they are
    /// waited for, not at the next system call.
    pub defer_taskrun: bool,
    /// `IORING_SETUP_NO_SQARRAY` (Linux 6.6).
    pub no_sqarray: bool,
    /// `IOU_PBUF_RING_INC` (Linux 6.12): a receive takes only as much of a buffer as it fills.
    pub incremental_buffers: bool,
    /// `IORING_REGISTER_RING_FDS` (Linux 5.18): spares the look-up of the descriptor.
    pub registered_ring: bool,
}

impl UringFeatures {
    /// All of them.
    pub const ALL: Self = Self {
        single_issuer: true,
        defer_taskrun: true,
        no_sqarray: true,
        incremental_buffers: true,
        registered_ring: true,
    };

    /// These features, then those of ever older kernels.
    fn steps(self) -> [Self; 3] {
        let without_sqarray = Self { no_sqarray: false, ..self };
        let first = Self { single_issuer: false, defer_taskrun: false, ..without_sqarray };
        [self, without_sqarray, first]
    }
}

/// A ring with the newest features that the kernel has, of those that are to be used.
pub(super) fn set_up(features: UringFeatures) -> io::Result<IoUring> {
    let [newest, newer, old] = features.steps().map(build);
    newest().or_else(|_| newer()).or_else(|_| old())
}

/// Sets up a ring with just these features.
fn build(features: UringFeatures) -> impl FnOnce() -> io::Result<IoUring> {
    move || {
        let mut builder = IoUring::builder();
        builder.setup_cqsize(COMPLETIONS).setup_clamp().setup_submit_all();
        if features.single_issuer {
            builder.setup_single_issuer();
        }
        if features.single_issuer && features.defer_taskrun {
            builder.setup_defer_taskrun();
        } else {
            builder.setup_coop_taskrun();
        }
        if features.no_sqarray {
            builder.setup_no_sqarray();
        }
        builder.build(SUBMISSIONS)
    }
}
