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

/// A ring with the newest features that the kernel has. Completions of receives are run when we wait for them, not when they
/// interrupt something else (`DEFER_TASKRUN`, Linux 6.1), or else at our next system call.
pub(super) fn set_up() -> io::Result<IoUring> {
    let build = |ask: fn(&mut io_uring::Builder) -> &mut io_uring::Builder| {
        let mut builder = IoUring::builder();
        builder.setup_cqsize(COMPLETIONS).setup_clamp().setup_submit_all();
        ask(&mut builder).build(SUBMISSIONS)
    };
    build(|builder| builder.setup_single_issuer().setup_defer_taskrun().setup_no_sqarray())
        .or_else(|_| build(|builder| builder.setup_single_issuer().setup_defer_taskrun()))
        .or_else(|_| build(|builder| builder.setup_coop_taskrun()))
}
