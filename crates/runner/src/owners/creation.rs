//! Files that are made by who is not simply root, or where a directory hands down its group: they belong to them.

use std::fs;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, fstat, mkdirat, mknodat, open, openat, statat, symlinkat};
use rustix::io::Errno;

use super::people::Person;
use super::record::{self, Owner};
use super::target::{Opened, Place, Target, handle_path};

/// What is made.
pub(super) enum Making {
    Directory,
    Link(Vec<u8>),
    /// A regular file, a FIFO or a socket.
    Node(FileType),
}

/// Makes something for a person.
pub(super) fn make(
    target: Target,
    place: Place,
    making: Making,
    mode: u32,
    person: &Person,
) -> rustix::io::Result<()> {
    let mode = Mode::from_raw_mode(mode & 0o7777 & !umask(target));
    match &making {
        Making::Directory => mkdirat(&place.directory, &*place.name, mode)?,
        Making::Link(content) => symlinkat(&**content, &place.directory, &*place.name)?,
        Making::Node(kind) => mknodat(&place.directory, &*place.name, *kind, mode, 0)?,
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(&place.directory, &*place.name, flags, Mode::empty())?;
    give(file, place, person).map(drop)
}

/// Opens a file that is to be made for a person. `None` if it is there already.
pub(super) fn create(
    target: Target,
    place: Place,
    flags: u32,
    mode: u32,
    person: &Person,
) -> rustix::io::Result<Option<OwnedFd>> {
    if statat(&place.directory, &*place.name, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
        return Ok(None);
    }
    let mode = Mode::from_raw_mode(mode & 0o7777 & !umask(target));
    let creating = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let made = match openat(&place.directory, &*place.name, creating, mode) {
        // Somebody else was faster.
        Err(Errno::EXIST) => return Ok(None),
        made => made?,
    };
    let made = give(made, place, person)?;
    let wanted = OFlags::from_bits_retain(flags) - (OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW);
    open(handle_path(&made), wanted | OFlags::CLOEXEC, Mode::empty()).map(Some)
}

/// The group that a directory hands down to what is made in it.
pub(super) fn handed_down(directory: &OwnedFd) -> Option<u32> {
    let stat = fstat(directory).ok()?;
    if stat.st_mode & 0o2000 == 0 {
        return None;
    }
    let file = directory.try_clone().ok()?;
    Some(record::read(&Opened { file, place: None }, &stat).unwrap_or_default().gid)
}

/// Notes whom a new file belongs to.
fn give(file: OwnedFd, place: Place, person: &Person) -> rustix::io::Result<OwnedFd> {
    let stat = fstat(&file)?;
    let gid = handed_down(&place.directory).unwrap_or(person.group.file_system);
    let opened = Opened { file, place: Some(place) };
    record::write(&opened, &stat, Owner { uid: person.user.file_system, gid })?;
    Ok(opened.file)
}

fn umask(target: Target) -> u32 {
    let status = fs::read_to_string(format!("/proc/{}/status", target.thread)).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    mask.and_then(|mask| u32::from_str_radix(mask.trim(), 8).ok()).unwrap_or(0o022)
}
