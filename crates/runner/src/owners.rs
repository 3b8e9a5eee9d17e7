//! Remembers the owners that the kernel refuses, where a user namespace has a single id.
//!
//! lbuild and all that it starts run under a system call filter that asks a process of its own, the
//! *keeper*, about three kinds of calls: those that change an owner, those that tell one, and those
//! that change or tell who a process is. The keeper notes an owner in an extended attribute of the
//! file and shows it to whoever asks. So nothing else in lbuild, nor in a RUN, knows the difference,
//! and what becomes of a `chown` in a RUN is what the packing of its layer sees.
//!
//! The keeper has no rights that a RUN lacks. It resolves a path as the kernel would for the caller:
//! from the caller's own descriptors, with the caller's root as its root. It never answers from what
//! the caller may change meanwhile, but acts itself on what it has opened.
//!
//! Source: seccomp_unotify(2)

mod creation;
mod filter;
mod keeper;
mod people;
mod record;
mod serialise;
mod target;

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

use crate::sys;

/// Starts the keeper and places this process, which must have one thread, under the filter for good.
///
/// # Errors
/// As seccomp(2): `EBUSY` where something else already answers for this process's calls.
pub(crate) fn start() -> io::Result<()> {
    let flags = SocketFlags::CLOEXEC;
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let Some(_) = sys::fork()? else {
        drop(ours);
        let kept = receive(theirs).and_then(keeper::keep);
        std::process::exit(i32::from(kept.is_err()));
    };
    drop(theirs);
    let listener = sys::install_listening_filter(&filter::program())?;
    send(&ours, &listener)
}

fn send(socket: &OwnedFd, listener: &OwnedFd) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let files = [listener.as_fd()];
    ancillary.push(SendAncillaryMessage::ScmRights(&files));
    sendmsg(socket, &[IoSlice::new(b"l")], &mut ancillary, SendFlags::empty())?;
    Ok(())
}

fn receive(socket: OwnedFd) -> io::Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    recvmsg(&socket, &mut [IoSliceMut::new(&mut [0])], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let files = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut files) => files.next(),
        _ => None,
    });
    files.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}
