//! Entering the kernel, which may refuse to take operations for a while.

use std::{
    io, thread,
    time::{Duration, Instant},
};

use io_uring::types;

use super::{
    Ring,
    event::{Event, Parts},
};

/// How long the kernel may refuse to take operations before the ring is given up, and how long one
/// of them waits to be tried again.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
const RETRY_AFTER: Duration = Duration::from_millis(1);

impl Ring {
    /// Submits what is queued and runs what is due, then waits until there are `want` completions
    /// or the time is over. Returns early where the kernel refuses to take operations for the
    /// moment (`EAGAIN`, `EBUSY`, `ENOMEM`): they stay queued.
    ///
    /// # Errors
    ///
    /// The kernel's, when the ring is of no more use; or its last refusal after a [long](PATIENCE)
    /// series of them.
    pub(super) fn enter(&mut self, want: u32, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = timeout.map(types::Timespec::from);
        loop {
            let queued = self.queued();
            let result = self.enter_once(queued, want, timeout.as_ref());
            let left = self.queued();
            if left == 0 && self.parts == Parts::Queued {
                self.parts = Parts::Submitted;
            }
            if self.refused_since.is_some() && (left < queued || left == 0) {
                self.refused_since = None;
            }
            let error = match result {
                Ok(()) if left == 0 => return Ok(()),
                // What could not be taken with the others is tried by itself.
                Ok(()) if left < queued => continue,
                Ok(()) => io::ErrorKind::WouldBlock.into(),
                Err(error) => error,
            };
            return match error.raw_os_error() {
                Some(libc::EINTR | libc::ETIME) if left == 0 => Ok(()),
                None | Some(libc::EINTR | libc::EAGAIN | libc::EBUSY | libc::ENOMEM) => {
                    self.back_off(error)
                }
                Some(_) => Err(error),
            };
        }
    }

    /// Submits everything that is queued, however often the kernel has to be asked.
    ///
    /// # Errors
    ///
    /// As those of [`enter`](Self::enter).
    pub(super) fn submit(&mut self) -> io::Result<()> {
        self.enter(0, None)?;
        while self.queued() > 0 {
            self.enter(0, None)?;
        }
        Ok(())
    }

    /// Gives the kernel what a refusal may be for want of: room for completions, and memory, which
    /// it gets back as operations complete. Without submitting, since a kernel that can submit
    /// nothing does not go on to run completions.
    #[cold]
    fn back_off(&mut self, refusal: io::Error) -> io::Result<()> {
        if self.refused_since.get_or_insert_with(Instant::now).elapsed() > self.patience {
            return Err(refusal);
        }
        self.taken.extend(self.ring.completion().map(Event::from));
        match self.enter_once(0, 1, Some(&RETRY_AFTER.into())) {
            Err(error) if error.raw_os_error() != Some(libc::ETIME) => thread::sleep(RETRY_AFTER),
            _ => {}
        }
        Ok(())
    }
}
