//! The system calls that have no safe wrapper: the only unsafe code there is.
//!
//! Each function is safe to call; what makes it so is said at its `unsafe` block.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use libc::sock_filter;
use nix::unistd::{ForkResult, Pid};
use rustix::mount::MountAttrFlags;

/// Sets attributes such as `MOUNT_ATTR_RDONLY` on the mount at `fd`, and on those below it if
/// `recursive`.
///
/// # Errors
/// As mount_setattr(2).
pub(crate) fn set_mount_attributes(
    fd: BorrowedFd<'_>,
    attributes: MountAttrFlags,
    recursive: bool,
) -> io::Result<()> {
    set_mount(fd, attributes, 0, recursive)
}

/// Sees to it that what is mounted below the mount at `fd` appears nowhere else.
///
/// # Errors
/// As mount_setattr(2).
pub(crate) fn make_mount_private(fd: BorrowedFd<'_>) -> io::Result<()> {
    set_mount(fd, MountAttrFlags::empty(), libc::MS_PRIVATE, false)
}

fn set_mount(
    fd: BorrowedFd<'_>,
    attributes: MountAttrFlags,
    propagation: u64,
    recursive: bool,
) -> io::Result<()> {
    let attr_set = u64::from(attributes.bits());
    let change = libc::mount_attr { attr_set, attr_clr: 0, propagation, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a NUL-terminated literal and `change` outlives the call, which only
    // reads it and is told its size.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const change,
            size_of::<libc::mount_attr>(),
        )
    };
    check(result)
}

/// Closes every file descriptor from `first` on. To be called only where no value in use owns one
/// of them: in a process that has just started, or that is about to execute another program.
pub(crate) fn close_from(first: RawFd) -> io::Result<()> {
    // SAFETY: takes plain numbers. Our two callers own no descriptor in that range any more.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) })
}

/// Takes over a file descriptor that this process was started with, and sees to it that no other
/// program inherits it.
///
/// # Errors
/// `EBADF` if there is none of this number.
pub(crate) fn take_inherited(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: takes plain numbers, and fails where the descriptor is not open.
    check(i64::from(unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) }))?;
    // SAFETY: it is open, and the supervisor takes each of its numbers once, at its start.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Forks this process and returns the child's id, or `None` in the child.
///
/// # Errors
/// As fork(2).
pub(crate) fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: the supervisor has one thread, so that the child finds every lock free.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(Some(child)),
        ForkResult::Child => Ok(None),
    }
}

/// Gives every signal its default disposition. The C library's own function leaves out the two that
/// it uses itself, which posix_spawn(3) had ignored.
pub(crate) fn reset_signals() {
    // More than the kernel's `struct sigaction` has on any machine.
    static DEFAULT: [u64; 8] = [0; 8];
    const SIGNALS: libc::c_int = 64;
    for signal in 1..=SIGNALS {
        // SAFETY: all zeros is the default disposition, which runs no code of ours; the kernel only
        // reads it, and refuses it for SIGKILL and SIGSTOP.
        unsafe {
            libc::syscall(libc::SYS_rt_sigaction, signal, &raw const DEFAULT, std::ptr::null::<u8>(), 8_usize)
        };
    }
}

/// Installs a system call filter on this thread, for good.
///
/// # Errors
/// `EACCES` without CAP_SYS_ADMIN and without `no_new_privs`.
pub(crate) fn install_filter(program: &[sock_filter]) -> io::Result<()> {
    let length = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    // SAFETY: `program` points to `length` instructions, which the kernel copies during the call.
    check(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) })
}

/// Leaves the session keyring of whoever started the build for a new one, where the kernel has any.
pub(crate) fn leave_session_keyring() {
    // SAFETY: takes plain numbers; a null name makes a nameless keyring. Kernels without keyrings
    // refuse it, and then there is none to leave.
    unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, std::ptr::null::<u8>()) };
}

/// Brings up the loopback interface of this network namespace.
///
/// # Errors
/// As netdevice(7).
pub(crate) fn bring_up_loopback(socket: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: all-zero bytes are a valid `ifreq`, a structure of plain numbers.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(*b"lo\0") {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads an `ifreq`, which `request` is.
    check(i64::from(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) }))
}

/// A call that waits for an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Notification {
    pub(crate) id: u64,
    /// The thread, as this process's PID namespace numbers it.
    pub(crate) thread: i32,
    pub(crate) number: i64,
    pub(crate) arguments: [u64; 6],
}

/// As [`install_filter`], for one whose calls of `SECCOMP_RET_USER_NOTIF` the returned listener tells.
///
/// # Errors
/// As seccomp(2); `EBUSY` where there is a listener already.
pub(crate) fn install_listening_filter(program: &[sock_filter]) -> io::Result<OwnedFd> {
    let length = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    let install = |flags: libc::c_ulong| {
        // SAFETY: `program` points to `length` instructions, which the kernel copies during the call.
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) }
    };
    let listening = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    // From Linux 5.19 on, a signal does not interrupt a call that is being answered.
    let mut result = install(listening | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV);
    if result == -1 && io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL) {
        result = install(listening);
    }
    check(result)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(result as RawFd) })
}

/// Waits for a call.
///
/// # Errors
/// `ENOENT` if the caller was killed meanwhile.
pub(crate) fn receive_notification(listener: BorrowedFd<'_>) -> io::Result<Notification> {
    // SAFETY: all-zero bytes are a valid `seccomp_notif`, a structure of plain numbers.
    let mut call: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the request writes a `seccomp_notif`, which `call` is.
    check(i64::from(unsafe {
        libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut call)
    }))?;
    let thread = call.pid.cast_signed();
    Ok(Notification { id: call.id, thread, number: call.data.nr.into(), arguments: call.data.args })
}

/// Whether the caller still waits.
///
/// # Errors
/// `ENOENT` if it does not.
pub(crate) fn is_notification_valid(listener: BorrowedFd<'_>, id: u64) -> io::Result<()> {
    // SAFETY: the request reads a number, which `id` is.
    check(i64::from(unsafe {
        libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &raw const id)
    }))
}

/// Has the kernel do a waiting call.
///
/// # Errors
/// `ENOENT` if the caller is gone.
pub(crate) fn continue_call(listener: BorrowedFd<'_>, id: u64) -> io::Result<()> {
    let flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
    respond(listener, libc::seccomp_notif_resp { id, val: 0, error: 0, flags })
}

/// Has a waiting call return a value.
///
/// # Errors
/// As [`continue_call`].
pub(crate) fn answer_call(listener: BorrowedFd<'_>, id: u64, val: i64) -> io::Result<()> {
    respond(listener, libc::seccomp_notif_resp { id, val, error: 0, flags: 0 })
}

/// Has a waiting call fail.
///
/// # Errors
/// As [`continue_call`].
pub(crate) fn fail_call(listener: BorrowedFd<'_>, id: u64, errno: i32) -> io::Result<()> {
    respond(listener, libc::seccomp_notif_resp { id, val: 0, error: -errno, flags: 0 })
}

fn respond(listener: BorrowedFd<'_>, answer: libc::seccomp_notif_resp) -> io::Result<()> {
    // SAFETY: the request reads a `seccomp_notif_resp`, which `answer` is.
    check(i64::from(unsafe {
        libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw const answer)
    }))
}

/// Has a waiting call return a descriptor of `file` in the caller, with the flags `flags`.
///
/// # Errors
/// As [`continue_call`]; `EMFILE` if the caller has too many.
pub(crate) fn answer_with_file(
    listener: BorrowedFd<'_>,
    id: u64,
    file: BorrowedFd<'_>,
    flags: u32,
) -> io::Result<()> {
    /// Source: linux/seccomp.h
    const SEND: u32 = 1 << 1;
    let srcfd = file.as_raw_fd().cast_unsigned();
    let given = libc::seccomp_notif_addfd { id, flags: SEND, srcfd, newfd: 0, newfd_flags: flags };
    // SAFETY: the request reads a `seccomp_notif_addfd`, which `given` is.
    check(i64::from(unsafe {
        libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ADDFD, &raw const given)
    }))
}

/// Closes every file descriptor beyond standard error except `kept`. To be called only in a process
/// that was just forked, and where no other value in use owns one.
///
/// # Errors
/// As close_range(2).
pub(crate) fn close_all_but(kept: RawFd) -> io::Result<()> {
    if kept > 3 {
        // SAFETY: takes plain numbers. Our one caller owns no other descriptor.
        check(unsafe { libc::syscall(libc::SYS_close_range, 3, kept - 1, 0) })?;
    }
    close_from(kept + 1)
}

fn check(result: i64) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
