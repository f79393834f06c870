//! The driver on io_uring: all that needs `unsafe`. The driver itself is in [`driver`].
//!
//! A [`Ring`] owns what the kernel reads and writes on behalf of operations: the buffers that it
//! receives into, the batch that is being sent, and what is left of sends that were cut short. So
//! its methods are safe to call with any argument; at worst an operation fails.

use std::{
    collections::HashMap,
    fmt, io,
    marker::PhantomData,
    mem::ManuallyDrop,
    os::fd::{AsRawFd, BorrowedFd, RawFd},
    sync::atomic::{AtomicU16, Ordering},
    time::{Duration, Instant},
};

use io_uring::{EnterFlags, IoUring, cqueue, opcode, squeue, types};
use memmap2::MmapMut;

mod batching;
mod driver;
mod enter;
mod event;
mod proof;
mod quiet;
mod setup;
mod socket;
mod sockets;
mod span;
mod tag;
#[cfg(test)]
mod tests;
mod watching;

pub use driver::Uring;
pub use setup::UringFeatures;

use self::{
    enter::PATIENCE,
    event::{Event, Parts},
    setup::{BUFFER_BYTES, BUFFERS, WHOLE_BUFFER_BYTES, WHOLE_BUFFERS, set_up},
    span::Span,
};
use super::{BATCH_BYTES_KEPT, SendBatch, rest::Rest};

/// The group of the receive buffers.
const GROUP: u16 = 0;

/// What is polled for (poll(2)): bytes or the peer's end; room for bytes.
const READABLE: u32 = (libc::POLLIN | libc::POLLRDHUP) as u32;
const WRITABLE: u32 = libc::POLLOUT as u32;

/// `IOU_PBUF_RING_INC` (Linux 6.12): a receive takes only as much of a buffer as it fills.
const PBUF_RING_INC: u16 = 2;

/// `IORING_REGISTER_RING_FDS` (Linux 5.18).
const REGISTER_RING_FDS: libc::c_uint = 20;
/// `IORING_UNREGISTER_RING_FDS`.
const UNREGISTER_RING_FDS: libc::c_uint = 21;

/// An io_uring with what belongs to its operations. The number to enter it by is registered with
/// the thread that made it, and `SINGLE_ISSUER` lets no other thread enter.
struct Ring {
    ring: IoUring,
    /// The number to enter by: registered, or else the descriptor.
    enter_fd: RawFd,
    enter_flags: EnterFlags,
    /// This and the next fields are memory that operations use: see `drop`.
    buffers: ManuallyDrop<Buffers>,
    /// What is being sent; replaced only when its parts are done with.
    batch: ManuallyDrop<SendBatch>,
    parts: Parts,
    /// What is left of sends, by user data.
    rests: ManuallyDrop<HashMap<u64, Rest>>,
    /// Completions that were taken to make room for others.
    taken: Vec<Event>,
    /// Since when the kernel has refused to take any operation.
    refused_since: Option<Instant>,
    /// How long it may.
    patience: Duration,
    /// What the next calls of io_uring_enter(2) fail with.
    #[cfg(test)]
    refusals: tests::Refusals,
    /// Neither `Send` nor `Sync`.
    thread: PhantomData<*mut ()>,
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").field("rests", &self.rests.len()).finish_non_exhaustive()
    }
}

impl Ring {
    /// A ring with those of the features that the kernel has.
    ///
    /// # Errors
    ///
    /// `ENOSYS` and `EPERM` where io_uring is switched off or filtered, `EINVAL` where the kernel
    /// is too old (before Linux 6.0).
    pub(super) fn new(features: UringFeatures) -> io::Result<Self> {
        let ring = set_up(features)?;
        let buffers = Buffers::register(&ring, features.incremental_buffers)?;
        let mut enter_flags = EnterFlags::GETEVENTS | EnterFlags::EXT_ARG;
        let mut enter_fd = ring.as_raw_fd();
        if features.registered_ring
            && let Some(registered) = register_ring(&ring, REGISTER_RING_FDS, u32::MAX)
        {
            enter_fd = registered;
            enter_flags |= EnterFlags::REGISTERED_RING;
        }
        if ring.params().is_feature_no_iowait() {
            enter_flags |= EnterFlags::NO_IOWAIT;
        }
        Ok(Self {
            ring,
            enter_fd,
            enter_flags,
            buffers: ManuallyDrop::new(buffers),
            batch: ManuallyDrop::default(),
            parts: Parts::Done,
            rests: ManuallyDrop::default(),
            taken: Vec::new(),
            refused_since: None,
            patience: PATIENCE,
            #[cfg(test)]
            refusals: tests::Refusals::default(),
            thread: PhantomData,
        })
    }

    /// Receives into the ring's buffers until cancelled, at the end, or out of buffers.
    pub(super) fn receive(&mut self, socket: BorrowedFd<'_>, user_data: u64) -> io::Result<()> {
        let receive = opcode::RecvMulti::new(types::Fd(socket.as_raw_fd()), GROUP);
        self.push(receive.build(), user_data)
    }

    /// Receives once, no more than fits one of the ring's buffers.
    pub(super) fn receive_once(
        &mut self,
        socket: BorrowedFd<'_>,
        user_data: u64,
    ) -> io::Result<()> {
        let bytes = self.buffers.buffer_bytes as u32;
        let receive = opcode::Recv::new(types::Fd(socket.as_raw_fd()), std::ptr::null_mut(), bytes);
        let receive = receive.buf_group(GROUP).build().flags(squeue::Flags::BUFFER_SELECT);
        self.push(receive, user_data)
    }

    /// Waits for one of the poll(2) `events`, once or until cancelled.
    pub(super) fn poll(
        &mut self,
        fd: BorrowedFd<'_>,
        events: u32,
        multishot: bool,
        user_data: u64,
    ) -> io::Result<()> {
        let poll = opcode::PollAdd::new(types::Fd(fd.as_raw_fd()), events);
        self.push(poll.multi(multishot).build(), user_data)
    }

    /// Cancels the operation with this user data, whose last completion then comes soon. There is
    /// a completion of the cancelling itself only if it fails.
    pub(super) fn cancel(&mut self, operation: u64, user_data: u64) -> io::Result<()> {
        let cancel = opcode::AsyncCancel::new(operation).build();
        self.push(cancel.flags(squeue::Flags::SKIP_SUCCESS), user_data)
    }

    /// Takes a batch, of which the parts are then [sent](Self::send_part), and leaves the one
    /// before, for its room. Nothing happens before the completions of that one have been
    /// [taken](Self::take_events), which refer to it.
    pub(super) fn take_batch(&mut self, batch: &mut SendBatch) -> io::Result<bool> {
        if self.parts == Parts::Queued {
            self.submit()?;
        }
        let is_done = self.parts == Parts::Done;
        if is_done {
            self.batch.swap(batch);
        }
        Ok(is_done)
    }

    /// Whether sends of the batch have not been submitted.
    pub(super) fn has_queued_parts(&self) -> bool {
        self.parts == Parts::Queued
    }

    /// Gives back the memory of a batch that has been sent, if a long message has grown it: the
    /// next one may be a long time off.
    pub(super) fn release_batch(&mut self) {
        if self.parts == Parts::Done && self.batch.bytes.capacity() > BATCH_BYTES_KEPT {
            self.batch.clear();
        }
    }

    /// The batch that was taken last.
    pub(super) fn batch(&self) -> &SendBatch {
        &self.batch
    }

    /// Sends the part of the batch at `place` to the socket, as much as it takes at once. There
    /// is a completion only if that is not everything.
    pub(super) fn send_part(
        &mut self,
        socket: BorrowedFd<'_>,
        place: usize,
        user_data: u64,
    ) -> io::Result<()> {
        let Some((_, bytes)) = self.batch.get(place) else { return Ok(()) };
        // MSG_DONTWAIT ends the operation while it is submitted, MSG_WAITALL makes a short send a
        // failed one: success needs no completion.
        let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT | libc::MSG_WAITALL;
        let send = send(socket, bytes, flags).flags(squeue::Flags::SKIP_SUCCESS);
        // Not before: room in the queue is made by submitting all of it.
        self.push(send, user_data)?;
        self.parts = Parts::Queued;
        Ok(())
    }

    /// Sends bytes however long it takes. They are kept until [`finish`](Self::finish).
    ///
    /// # Errors
    ///
    /// `ResourceBusy` if there is such a send already: the kernel may be reading its bytes.
    pub(super) fn send(
        &mut self,
        socket: BorrowedFd<'_>,
        rest: Rest,
        user_data: u64,
    ) -> io::Result<()> {
        if self.has_send(user_data) {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
        let send = send(socket, rest.left(), flags);
        self.rests.insert(user_data, rest);
        self.push(send, user_data)
    }

    /// Whether a [`send`](Self::send) with this user data has not been [finished](Self::finish).
    pub(super) fn has_send(&self, user_data: u64) -> bool {
        !self.rests.is_empty() && self.rests.contains_key(&user_data)
    }

    /// A [`send`](Self::send) has completed: gives back its bytes.
    pub(super) fn finish(&mut self, event: Event) -> Option<Rest> {
        self.rests.remove(&event.user_data)
    }

    /// The bytes that a receive brought.
    pub(super) fn received(&mut self, event: Event) -> Option<Span> {
        let bytes = u32::try_from(event.result).unwrap_or(0);
        let buffer = cqueue::buffer_select(event.flags)?;
        self.buffers.take(buffer, bytes, cqueue::buffer_more(event.flags))
    }

    /// Lends bytes that were received.
    pub(super) fn bytes(&mut self, span: Span) -> &mut [u8] {
        self.buffers.bytes(span)
    }

    /// Takes back bytes that are needed no more.
    pub(super) fn give_back(&mut self, span: Span) {
        (0..span.ended).for_each(|place| self.buffers.give(span.first + place));
    }

    /// How many operations have not been submitted.
    fn queued(&mut self) -> usize {
        self.ring.submission().len()
    }

    /// Takes all the completions that are there; whether the kernel has more, for which to enter.
    pub(super) fn take_events(&mut self, events: &mut Vec<Event>) -> bool {
        if !self.taken.is_empty() {
            events.append(&mut self.taken);
        }
        events.extend(self.ring.completion().map(Event::from));
        let has_more = self.ring.submission().cq_overflow();
        if !has_more && self.parts == Parts::Submitted {
            self.parts = Parts::Done;
        }
        has_more
    }

    fn push(&mut self, entry: squeue::Entry, user_data: u64) -> io::Result<()> {
        let entry = entry.user_data(user_data);
        loop {
            // SAFETY: what the entry points to is part of the batch, which is replaced only when
            // the queue is empty and sends from it have ended, or of `rests`, which stays until
            // the completion. Both outlive the ring (see `drop`). Receives name no memory but
            // the registered buffers. A descriptor that has been closed meanwhile
            // makes an operation fail, or act on another of our sockets.
            #[expect(unsafe_code, reason = "the kernel is given pointers")]
            let pushed = unsafe { self.ring.submission().push(&entry) };
            if pushed.is_ok() {
                return Ok(());
            }
            self.enter(0, None)?;
        }
    }

    /// Submits at most so many operations, and waits.
    fn enter_once(
        &mut self,
        submit: usize,
        want: u32,
        timeout: Option<&types::Timespec>,
    ) -> io::Result<()> {
        #[cfg(test)]
        if let Some(error) = self.refusals.next() {
            return Err(io::Error::from_raw_os_error(error));
        }
        let mut arguments = types::SubmitArgs::new();
        if let Some(timeout) = timeout {
            arguments = arguments.timespec(timeout);
        }
        // SAFETY: io_uring_enter(2) reads the arguments, and the time they point to, during the
        // call; `SubmitArgs` has the layout of `io_uring_getevents_arg`, as EXT_ARG says. The
        // number to enter by is this ring's in the thread that made it, which a `Ring` cannot leave.
        // What it executes was vouched for in `push`.
        #[expect(unsafe_code, reason = "the crate forgets that the ring is registered")]
        let result = unsafe {
            libc::syscall(
                libc::SYS_io_uring_enter,
                self.enter_fd,
                submit as libc::c_uint,
                want,
                self.enter_flags.bits(),
                (&raw const arguments),
                size_of_val(&arguments),
            )
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if self.enter_flags.contains(EnterFlags::REGISTERED_RING) {
            // Or else the ring would be there as long as the thread, and with it the sockets of the
            // operations that are cancelled now: their peers would wait in vain.
            register_ring(&self.ring, UNREGISTER_RING_FDS, self.enter_fd as u32);
        }
        let all = types::CancelBuilder::any();
        match self.ring.submitter().register_sync_cancel(None, all) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // The memory is never freed: operations may still use it.
            Err(_) => return,
        }
        // SAFETY: each is dropped once and not used again, since the ring is being dropped. No
        // operation refers to them any more: all that were submitted have been cancelled, and the
        // others never will be.
        #[expect(unsafe_code, reason = "memory that is shared with the kernel")]
        unsafe {
            ManuallyDrop::drop(&mut self.buffers);
            ManuallyDrop::drop(&mut self.batch);
            ManuallyDrop::drop(&mut self.rests);
        }
    }
}

fn send(socket: BorrowedFd<'_>, bytes: &[u8], flags: i32) -> squeue::Entry {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    opcode::Send::new(types::Fd(socket.as_raw_fd()), bytes.as_ptr(), length).flags(flags).build()
}

/// Spares the kernel the look-up of the descriptor, or no longer; the registration is the thread's
/// and keeps the ring. Returns its number.
fn register_ring(ring: &IoUring, operation: libc::c_uint, number: u32) -> Option<RawFd> {
    /// `struct io_uring_rsrc_update`.
    #[repr(C)]
    struct Update {
        offset: u32,
        reserved: u32,
        data: u64,
    }
    let fd = ring.as_raw_fd();
    let mut update = Update { offset: number, reserved: 0, data: 0 };
    if operation == REGISTER_RING_FDS {
        update.data = fd as u64;
    }
    // SAFETY: io_uring_register(2) reads and writes the one structure that it is told of, during
    // the call.
    #[expect(unsafe_code, reason = "the crate keeps the number where it is lost")]
    let registered =
        unsafe { libc::syscall(libc::SYS_io_uring_register, fd, operation, &raw mut update, 1) };
    (registered == 1).then_some(update.offset as RawFd)
}

/// The buffers that receives take their room from, and the ring in which they are offered.
struct Buffers {
    /// What is never touched is never resident.
    entries: MmapMut,
    storage: MmapMut,
    count: u16,
    buffer_bytes: usize,
    /// Up to where each has been filled.
    filled: Vec<u32>,
    tail: u16,
}

impl Buffers {
    fn register(ring: &IoUring, incremental: bool) -> io::Result<Self> {
        let mut buffers = Self::new(BUFFERS, BUFFER_BYTES)?;
        if !incremental || buffers.register_with(ring, PBUF_RING_INC).is_err() {
            buffers = Self::new(WHOLE_BUFFERS, WHOLE_BUFFER_BYTES)?;
            buffers.register_with(ring, 0)?;
        }
        (0..buffers.count).for_each(|buffer| buffers.give(buffer));
        Ok(buffers)
    }

    fn new(count: u16, buffer_bytes: usize) -> io::Result<Self> {
        let entries = MmapMut::map_anon(usize::from(count) * size_of::<types::BufRingEntry>())?;
        let storage = MmapMut::map_anon(usize::from(count) * buffer_bytes)?;
        let filled = vec![0; usize::from(count)];
        Ok(Self { entries, storage, count, buffer_bytes, filled, tail: 0 })
    }

    fn register_with(&mut self, ring: &IoUring, flags: u16) -> io::Result<()> {
        let address = self.entries.as_mut_ptr() as u64;
        let submitter = ring.submitter();
        // SAFETY: `entries` has room for `count` entries and lives as long as the ring, after
        // which nothing is received any more (see `Ring::drop`).
        #[expect(unsafe_code, reason = "the kernel is given a pointer")]
        unsafe {
            submitter.register_buf_ring_with_flags(address, self.count, GROUP, flags)
        }
    }

    /// Offers a buffer to the kernel, all of it.
    fn give(&mut self, buffer: u16) {
        self.filled[usize::from(buffer)] = 0;
        let place = usize::from(self.tail & (self.count - 1));
        let first = self.entries.as_mut_ptr().cast::<types::BufRingEntry>();
        // SAFETY: `place` is below `count`, for which `entries` has room, page-aligned and
        // initialised with zeros. The kernel does not look at this entry before the tail says so.
        // The buffer lies within `storage`. The tail is a number within the first entry that the
        // kernel reads atomically.
        #[expect(unsafe_code, reason = "memory that is shared with the kernel")]
        unsafe {
            let start = self.storage.as_mut_ptr().add(usize::from(buffer) * self.buffer_bytes);
            let entry = &mut *first.add(place);
            entry.set_addr(start as u64);
            entry.set_len(self.buffer_bytes as u32);
            entry.set_bid(buffer);
            self.tail = self.tail.wrapping_add(1);
            let tail = types::BufRingEntry::tail(first);
            AtomicU16::from_ptr(tail.cast_mut()).store(self.tail, Ordering::Release);
        }
    }

    /// Notes that the kernel has filled the next `bytes` of a buffer, which has room left only
    /// `if more`. There are no such bytes if that is more than the buffer has room for.
    fn take(&mut self, buffer: u16, bytes: u32, more: bool) -> Option<Span> {
        let filled = self.filled.get_mut(usize::from(buffer))?;
        let room = self.buffer_bytes as u32 - *filled;
        let start = (usize::from(buffer) * self.buffer_bytes) as u32 + *filled;
        // Where the kernel goes on is unknown after a refusal: the rest is refused as well.
        *filled += bytes.min(room);
        if bytes <= room {
            return Some(Span { start, bytes, ended: u16::from(!more), first: buffer });
        }
        if !more {
            self.give(buffer);
        }
        None
    }

    fn bytes(&mut self, span: Span) -> &mut [u8] {
        let start = span.start as usize;
        // SAFETY: `take` has checked that each part of the span lies within its buffer, and
        // `filled` only grows until the buffer is given back: the kernel has written these bytes
        // and writes behind them, if at all. The borrow of `self` keeps others from having the
        // same bytes.
        #[expect(unsafe_code, reason = "memory that is shared with the kernel")]
        unsafe {
            std::slice::from_raw_parts_mut(self.storage.as_mut_ptr().add(start), span.bytes())
        }
    }
}
