//! The process whose call is answered: its memory, its open files and its root.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::sys::uio::{RemoteIoVec, process_vm_readv, process_vm_writev};
use nix::unistd::Pid;
use rustix::fs::{CWD, Mode, OFlags, Stat, fstat, openat, readlinkat};
use rustix::io::Errno;
use rustix::process::{chroot, fchdir};

use super::record::has_attributes;

const MAX_PATH: usize = libc::PATH_MAX as usize;
const PAGE: usize = 4096;

/// A thread that waits for the answer to its call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    pub(super) thread: i32,
}

/// The keeper's own root, to which it returns.
#[derive(Debug)]
pub(super) struct Home {
    root: OwnedFd,
    stat: Stat,
    /// The keeper's own open files, by their numbers.
    descriptors: OwnedFd,
}

impl Home {
    pub(super) fn find() -> rustix::io::Result<Self> {
        let root = open_path("/")?;
        let stat = fstat(&root)?;
        Ok(Self { root, stat, descriptors: open_path("/proc/self/fd")? })
    }

    /// Does `work`, which opens files, with the target's root as the root.
    fn visit<T>(
        &self,
        target: Target,
        work: impl FnOnce(bool) -> rustix::io::Result<T>,
    ) -> rustix::io::Result<T> {
        let root = open_path(&format!("/proc/{}/root", target.thread))?;
        let stat = fstat(&root)?;
        if (stat.st_dev, stat.st_ino) == (self.stat.st_dev, self.stat.st_ino) {
            return work(true);
        }
        fchdir(&root)?;
        chroot(".")?;
        let result = work(false);
        let returned = fchdir(&self.root).and_then(|()| chroot("."));
        if returned.is_err() {
            // Nothing may be answered from a stranger's root.
            std::process::exit(1);
        }
        result
    }

    /// Opens what `path` leads to for the target, itself and not its content, and the directory that
    /// holds its last component.
    pub(super) fn open(
        &self,
        target: Target,
        directory: i32,
        path: &[u8],
        follows: bool,
    ) -> rustix::io::Result<Opened> {
        if path.is_empty() {
            return self.open_number(target, directory);
        }
        let base = if path.starts_with(b"/") { None } else { Some(target.file(directory)?) };
        self.visit(target, |is_home| {
            let path = if is_home { own_processes(target, path) } else { path.to_vec() };
            let base = base.as_ref().map_or(CWD, AsFd::as_fd);
            let follow = if follows { OFlags::empty() } else { OFlags::NOFOLLOW };
            let file = openat(base, &*path, OFlags::PATH | OFlags::CLOEXEC | follow, Mode::empty())?;
            let place = if follows { self.place_of(&file) } else { Place::open(base, &path) };
            Ok(Opened { file, place })
        })
    }

    /// An open file of the target, or its working directory.
    pub(super) fn open_number(&self, target: Target, number: i32) -> rustix::io::Result<Opened> {
        let file = target.file(number)?;
        let place = match fstat(&file) {
            Ok(stat) if !has_attributes(&stat) => self.visit(target, |_| Ok(self.place_of(&file)))?,
            _ => None,
        };
        Ok(Opened { file, place })
    }

    /// Where the file lies that a followed link or a number led to: asked of the kernel, and tried. Only of a
    /// file that can have no attributes of its own.
    fn place_of(&self, file: &OwnedFd) -> Option<Place> {
        let stat = fstat(file).ok().filter(|stat| !has_attributes(stat))?;
        let path = readlinkat(&self.descriptors, file.as_raw_fd().to_string(), Vec::new()).ok()?;
        let place = Place::open(CWD, path.as_bytes()).filter(|_| path.as_bytes().starts_with(b"/"))?;
        let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let found = openat(&place.directory, &*place.name, flags, Mode::empty()).ok()?;
        let found = fstat(found).ok()?;
        ((found.st_dev, found.st_ino) == (stat.st_dev, stat.st_ino)).then_some(place)
    }

    /// Opens the directory in which the target makes or changes `path`.
    pub(super) fn open_place(
        &self,
        target: Target,
        directory: i32,
        path: &[u8],
    ) -> rustix::io::Result<Place> {
        let base = if path.starts_with(b"/") { None } else { Some(target.file(directory)?) };
        self.visit(target, |_| Place::open(base.as_ref().map_or(CWD, AsFd::as_fd), path).ok_or(Errno::NOENT))
    }
}

/// What a path leads to.
pub(super) struct Opened {
    pub(super) file: OwnedFd,
    /// Only of what can have no attributes of its own, unless no link was followed.
    pub(super) place: Option<Place>,
}

/// A name in an open directory.
pub(super) struct Place {
    pub(super) directory: OwnedFd,
    pub(super) name: Vec<u8>,
}

impl Place {
    fn open(base: std::os::fd::BorrowedFd<'_>, path: &[u8]) -> Option<Self> {
        let end = path.iter().rposition(|&byte| byte != b'/')? + 1;
        let start = path[..end].iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
        let name = path[start..end].to_vec();
        if matches!(&*name, b"." | b"..") {
            return None;
        }
        let parent = if start == 0 { &b"."[..] } else { &path[..start] };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Some(Self { directory: openat(base, parent, flags, Mode::empty()).ok()?, name })
    }
}

impl Target {
    /// An open file of the target, or its working directory.
    pub(super) fn file(self, number: i32) -> rustix::io::Result<OwnedFd> {
        match number {
            libc::AT_FDCWD => open_path(&format!("/proc/{}/cwd", self.thread)),
            0.. => open_path(&format!("/proc/{}/fd/{number}", self.thread)).map_err(|error| match error {
                Errno::NOENT => Errno::BADF,
                error => error,
            }),
            _ => Err(Errno::BADF),
        }
    }

    /// The path at an address.
    pub(super) fn path(self, address: u64) -> rustix::io::Result<Vec<u8>> {
        let mut path = Vec::new();
        let mut at = usize::try_from(address).map_err(|_| Errno::FAULT)?;
        while path.len() < MAX_PATH {
            // What lies beyond the page may not be there.
            let mut chunk = vec![0; PAGE - at % PAGE];
            let count = self.read_some(at, &mut chunk)?;
            let chunk = &chunk[..count];
            if let Some(end) = chunk.iter().position(|&byte| byte == 0) {
                path.extend_from_slice(&chunk[..end]);
                return if path.len() < MAX_PATH { Ok(path) } else { Err(Errno::NAMETOOLONG) };
            }
            path.extend_from_slice(chunk);
            at = at.checked_add(count).ok_or(Errno::FAULT)?;
        }
        Err(Errno::NAMETOOLONG)
    }

    /// `count` numbers at an address.
    pub(super) fn numbers(self, address: u64, count: usize) -> rustix::io::Result<Vec<u32>> {
        let mut bytes = vec![0; count * 4];
        let read = if count == 0 { 0 } else { self.read_some(address as usize, &mut bytes)? };
        if read != bytes.len() {
            return Err(Errno::FAULT);
        }
        let numbers = bytes.chunks_exact(4).filter_map(|bytes| bytes.try_into().ok());
        Ok(numbers.map(u32::from_ne_bytes).collect())
    }

    pub(super) fn write(self, address: u64, bytes: &[u8]) -> rustix::io::Result<()> {
        let remote = [RemoteIoVec { base: address as usize, len: bytes.len() }];
        match process_vm_writev(Pid::from_raw(self.thread), &[IoSlice::new(bytes)], &remote) {
            Ok(count) if count == bytes.len() => Ok(()),
            _ => Err(Errno::FAULT),
        }
    }

    fn read_some(self, address: usize, bytes: &mut [u8]) -> rustix::io::Result<usize> {
        let remote = [RemoteIoVec { base: address, len: bytes.len() }];
        match process_vm_readv(Pid::from_raw(self.thread), &mut [IoSliceMut::new(bytes)], &remote) {
            Ok(0) | Err(_) => Err(Errno::FAULT),
            Ok(count) => Ok(count),
        }
    }
}

/// A path by which the file calls take an open handle: the file itself, also a link.
pub(super) fn handle_path(file: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

fn open_path(path: &str) -> rustix::io::Result<OwnedFd> {
    openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

/// In the keeper's own `/proc`, `self` is the keeper.
fn own_processes(target: Target, path: &[u8]) -> Vec<u8> {
    for own in ["/proc/self/", "/proc/thread-self/"] {
        if let Some(rest) = path.strip_prefix(own.as_bytes()) {
            return [format!("/proc/{}/", target.thread).as_bytes(), rest].concat();
        }
    }
    path.to_vec()
}
