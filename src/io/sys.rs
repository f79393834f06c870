//! Socket options, limits and placement: what the kernel is asked for once, not per message.

use std::{
    io::{self, IoSlice},
    net::{IpAddr, SocketAddr, TcpListener},
    os::fd::{AsRawFd, OwnedFd},
    time::Duration,
};

use rustix::{
    io::Errno,
    net::{RecvFlags, SendAncillaryBuffer, SendFlags, SocketAddrAny},
    process::{Resource, Rlimit, getrlimit, setrlimit},
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::{Address, OutputProgress};

/// The length of the kernel's queue of connections that wait to be accepted, as far as
/// `net.core.somaxconn` allows.
const BACKLOG: i32 = 65_535;

/// A listening socket that shares its address with those of other workers (`SO_REUSEPORT`) and
/// whose connections send at once (`TCP_NODELAY`) and have urgent data in its place among the rest
/// (`SO_OOBINLINE`): both are inherited from it. One for `[::]` serves IPv6
/// alone (`IPV6_V6ONLY`), so that one for `0.0.0.0` can have the same port.
///
/// # Errors
///
/// The kernel's: the address is in use, is not of this machine, or needs a privilege.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = bindable(address)?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_port(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_out_of_band_inline(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Binds the address without `SO_REUSEPORT` and lets it go: fails if any other process listens
/// there, which a socket with that option would silently share.
///
/// # Errors
///
/// The kernel's, such as `EADDRINUSE`.
pub fn check_address_is_free(address: SocketAddr) -> io::Result<()> {
    bindable(address)?.bind(&address.into())
}

/// A socket that can be bound to the address, for its family alone, though connections of an
/// earlier process are still closing there.
fn bindable(address: SocketAddr) -> io::Result<Socket> {
    let kind = Type::STREAM.cloexec();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    // Only for the unspecified address does it make a difference; an IPv4-mapped one needs it off.
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

/// Whether the error says that the machine has no addresses of this family: the kernel does without
/// it (`EAFNOSUPPORT`), or has been given none (`EADDRNOTAVAIL`).
pub fn lacks_family(error: &io::Error) -> bool {
    let errors = [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL].map(|error| error.raw_os_error());
    error.raw_os_error().is_some_and(|error| errors.contains(&error))
}

/// A socket that is connecting to `address`, without waiting.
pub(super) fn connect(address: &Address, source: Option<SocketAddr>) -> io::Result<OwnedFd> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let address = match address {
        Address::Internet(address) => *address,
        Address::Unix(path) => {
            let socket = Socket::new(Domain::UNIX, kind, None)?;
            // Done at once or not at all.
            socket.connect(&SockAddr::unix(path)?)?;
            return Ok(socket.into());
        }
    };
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    if let Some(source) = source {
        // The port is then chosen when the destination is known, which makes four times as many
        // connections possible as the port range has ports.
        set_bind_address_no_port(&socket)?;
        socket.bind(&source.into())?;
    }
    match socket.connect(&address.into()) {
        Ok(()) => Ok(socket.into()),
        Err(error) if error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error()) => {
            Ok(socket.into())
        }
        Err(error) => Err(error),
    }
}

/// `IP_BIND_ADDRESS_NO_PORT` (Linux 4.2), which no safe wrapper offers.
fn set_bind_address_no_port(socket: &Socket) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: setsockopt(2) reads `optlen` bytes at `optval`, which is what `on` has, and keeps
    // no pointer; the descriptor is open as long as `socket` is borrowed.
    #[expect(unsafe_code, reason = "a system call that socket2 and rustix do not wrap")]
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Receives what is there, at least one byte; zero at the end.
pub(super) fn receive(fd: &OwnedFd, buffer: &mut [u8]) -> Result<usize, Errno> {
    rustix::io::retry_on_intr(|| rustix::net::recv(fd, &mut *buffer, RecvFlags::empty()))
        .map(|(_, received)| received)
}

/// The same for up to `most` bytes, which are appended to memory that has room for them.
pub(super) fn receive_to(fd: &OwnedFd, memory: &mut Vec<u8>, most: usize) -> Result<usize, Errno> {
    let most = most.min(memory.capacity() - memory.len());
    let room = &mut memory.spare_capacity_mut()[..most];
    let received = rustix::io::retry_on_intr(|| {
        let ((bytes, _), _) = rustix::net::recv(fd, &mut *room, RecvFlags::empty())?;
        Ok(bytes.len())
    })?;
    // SAFETY: the first `received` bytes of the spare capacity are what rustix has returned as
    // initialised.
    #[expect(unsafe_code, reason = "rustix fills no part of a vector's capacity")]
    unsafe {
        memory.set_len(memory.len() + received);
    }
    Ok(received)
}

/// Sends what the kernel takes at once, which may be nothing.
pub(super) fn send(fd: &OwnedFd, bytes: &[u8]) -> Result<usize, Errno> {
    at_once(|flags| rustix::net::send(fd, bytes, flags))
}

/// The same for two parts, one behind the other.
pub(super) fn send_parts(fd: &OwnedFd, parts: [&[u8]; 2]) -> Result<usize, Errno> {
    let slices = parts.map(IoSlice::new);
    let nothing = &mut SendAncillaryBuffer::default();
    at_once(|flags| rustix::net::sendmsg(fd, &slices, nothing, flags))
}

/// Sends without waiting: zero, if there is no room.
#[inline(always)]
fn at_once(mut send: impl FnMut(SendFlags) -> Result<usize, Errno>) -> Result<usize, Errno> {
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    match rustix::io::retry_on_intr(|| send(flags)) {
        Err(Errno::AGAIN) => Ok(0),
        other => other,
    }
}

/// How far the peer of a TCP connection has got with what it was sent (tcp(7), `TCP_INFO`, and
/// `SIOCOUTQ`; Linux 4.1, and 5.4 for the window).
pub(super) fn output_progress(fd: &OwnedFd) -> Option<OutputProgress> {
    /// The beginning of `struct tcp_info`, of which libc has less.
    #[repr(C)]
    #[derive(Default)]
    struct TcpInfo {
        before: [u32; 30],
        bytes_acked: u64,
        between: [u32; 25],
        snd_wnd: u32,
    }
    let mut info = TcpInfo::default();
    let mut length = size_of::<TcpInfo>() as libc::socklen_t;
    let mut outstanding: libc::c_int = 0;
    // SAFETY: getsockopt(2) writes at most `length` bytes to `info`, where all values are valid,
    // and ioctl(2) writes an int for this request. Neither keeps a pointer, and the descriptor is
    // open as long as `fd` is borrowed.
    #[expect(unsafe_code, reason = "system calls that socket2 and rustix do not wrap")]
    let results = unsafe {
        let option = (&raw mut info).cast();
        let fd = fd.as_raw_fd();
        (
            libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, option, &raw mut length),
            libc::ioctl(fd, libc::TIOCOUTQ, &raw mut outstanding),
        )
    };
    // What an older kernel does not write stays zero.
    (results == (0, 0)).then_some(OutputProgress {
        taken_bytes: info.bytes_acked + u64::from(info.snd_wnd),
        outstanding_bytes: usize::try_from(outstanding).unwrap_or(0),
    })
}

/// The address, if it is one of the internet's. That of an IPv4 peer is an IPv4 address, though an
/// IPv6 socket has it as `::ffff:a.b.c.d` (RFC 4291 section 2.5.5.2).
pub(super) fn socket_address(address: SocketAddrAny) -> Option<SocketAddr> {
    let address = SocketAddr::try_from(address).ok()?;
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => Some(SocketAddr::from((ip, address.port()))),
        IpAddr::V6(_) => Some(address),
    }
}

/// The soft limit on open files.
pub(crate) fn file_limit() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
}

/// Raises the soft limit on open files to the hard limit, and returns it.
pub fn raise_file_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let Some(maximum) = limit.maximum else { return limit.current.unwrap_or(u64::MAX) };
    let raised = Rlimit { current: Some(maximum), maximum: Some(maximum) };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum,
        Err(_) => limit.current.unwrap_or(maximum),
    }
}

/// How much memory the machine has, in bytes (sysinfo(2)).
pub(crate) fn machine_memory() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalram.saturating_mul(info.mem_unit.into())
}

/// How much address space the process may have, in bytes (`RLIMIT_AS`).
pub(crate) fn address_space_limit() -> Option<u64> {
    getrlimit(Resource::As).current
}

/// Has glibc keep freed memory for messages of the usual lengths, and give back what a burst has
/// left, which workers trim. Blocks of 8 MiB or more come from the
/// kernel each time, and go back to it; so does what is free at the end of a heap, beyond 8 MiB. By
/// itself glibc raises these bounds to 32 and 64 MiB. Does nothing with other C libraries. For the
/// whole process: a program decides on it, not a library.
pub fn bound_freed_memory() {
    #[cfg(target_env = "gnu")]
    {
        const BYTES: libc::c_int = 8 << 20;
        // SAFETY: mallopt(3) takes two numbers. Other threads may allocate meanwhile.
        #[expect(unsafe_code, reason = "nothing wraps it")]
        let results = unsafe {
            [libc::M_MMAP_THRESHOLD, libc::M_TRIM_THRESHOLD]
                .map(|parameter| libc::mallopt(parameter, BYTES))
        };
        debug_assert_eq!(results, [1, 1]);
    }
}

/// Gives pages of freed memory back to the kernel (malloc_trim(3)), in a thread of its own: what
/// allocates meanwhile may wait for it, but an echo does not. Does nothing with other C libraries,
/// and no harm with other allocators.
pub(crate) fn trim_heap() {
    #[cfg(target_env = "gnu")]
    {
        let trim = || {
            // SAFETY: malloc_trim(3) takes a number. Other threads may allocate meanwhile.
            #[expect(unsafe_code, reason = "nothing wraps it")]
            unsafe {
                libc::malloc_trim(0)
            };
        };
        // Without a thread the memory stays, as it would without this.
        let _ = std::thread::Builder::new().name("trim".into()).spawn(trim);
    }
}

/// The processor time that the calling thread has used (clock_gettime(2)).
pub(super) fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes the structure that it is given, and keeps no pointer.
    #[expect(unsafe_code, reason = "rustix looks for the vDSO first, which valgrind hides")]
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    debug_assert_eq!(result, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The processors that this process may use, in ascending order.
pub fn allowed_processors() -> Vec<usize> {
    let Ok(set) = sched_getaffinity(None) else { return vec![] };
    (0..CpuSet::MAX_CPU).filter(|&processor| set.is_set(processor)).collect()
}

/// Keeps the calling thread on one processor.
///
/// # Errors
///
/// The kernel's, if the process may not use that processor.
pub fn pin_thread(processor: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(processor);
    Ok(sched_setaffinity(None, &set)?)
}
