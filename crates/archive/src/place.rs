//! Makes one file system entry by an open directory and a name.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;

use rustix::fs::{self, AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use crate::remove::remove;
use crate::{DeviceNote, EntryKind, Header};

const BUFFER_BYTES: u64 = 128 << 10;

/// What became of an entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Placed {
    /// Whether something else stood there and was removed.
    pub replaced: bool,
    /// The extended attributes that the file system or our rights do not allow.
    pub refused_xattrs: Vec<Vec<u8>>,
}

/// Makes the entry `name` of `parent` with all of `header`'s metadata; a regular file gets
/// `header.size` bytes of `data`.
///
/// A directory is merged into one that stands there; anything else that stands there is removed first,
/// with all it holds. No symbolic link is followed. Extended attributes are added to those that a
/// merged directory has. `header.path` is not looked at.
///
/// # Errors
/// `InvalidInput` for a hard link (see [`link`]) or a name that is not one component; `UnexpectedEof`
/// if `data` is too short; else as the system calls. What was begun is left as it is.
pub fn place(parent: impl AsFd, name: &OsStr, header: &Header, data: &mut dyn Read) -> io::Result<Placed> {
    let parent = parent.as_fd();
    check_name(name)?;
    match &header.kind {
        EntryKind::File => place_file(parent, name, header, data),
        EntryKind::Directory => place_directory(parent, name, header),
        EntryKind::Symlink(target) => {
            let target = OsStr::from_bytes(target);
            let replaced = replacing(parent, name, || fs::symlinkat(target, parent, name))?.1;
            set_node(parent, name, header, replaced)
        }
        EntryKind::HardLink(_) => Err(io::Error::from(io::ErrorKind::InvalidInput)),
        EntryKind::Fifo => place_node(parent, name, header, FileType::Fifo, (0, 0)),
        EntryKind::CharDevice { major, minor } => {
            place_node(parent, name, header, FileType::CharacterDevice, (*major, *minor))
        }
        EntryKind::BlockDevice { major, minor } => {
            place_node(parent, name, header, FileType::BlockDevice, (*major, *minor))
        }
    }
}

/// As [`place`], but a device is not made: an empty file notes it ([`DeviceNote`]).
///
/// # Errors
/// As [`place`]; `Unsupported` where the file system has no attributes for notes.
pub fn place_noting_devices(
    parent: impl AsFd,
    name: &OsStr,
    header: &Header,
    data: &mut dyn Read,
) -> io::Result<Placed> {
    let noted = header.clone().with_device_noted();
    let placed = place(parent, name, &noted, data)?;
    if placed.refused_xattrs.iter().any(|name| DeviceNote::is_attribute(name)) {
        let message = "the file system has no extended attributes, by which a device could be noted";
        return Err(io::Error::new(io::ErrorKind::Unsupported, message));
    }
    Ok(placed)
}

/// Makes `name` of `parent` another name of `target_name` of `target_parent`, and gives that file
/// `header`'s metadata. What stands there is removed first.
///
/// # Errors
/// `EPERM` if the target is a directory; else as [`place`].
pub fn link(
    parent: impl AsFd,
    name: &OsStr,
    target_parent: impl AsFd,
    target_name: &OsStr,
    header: &Header,
) -> io::Result<Placed> {
    let (parent, target_parent) = (parent.as_fd(), target_parent.as_fd());
    check_name(name)?;
    check_name(target_name)?;
    let target = fs::statat(target_parent, target_name, AtFlags::SYMLINK_NOFOLLOW)?;
    let replaced = match fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        // Removing it first would leave nothing to link to.
        Ok(stat) if (stat.st_dev, stat.st_ino) == (target.st_dev, target.st_ino) => false,
        Ok(_) | Err(Errno::NOENT) => {
            replacing(parent, name, || {
                fs::linkat(target_parent, target_name, parent, name, AtFlags::empty())
            })?
            .1
        }
        Err(error) => return Err(error.into()),
    };
    set_node(parent, name, header, replaced)
}

/// Gives an open directory or file `header`'s owner, extended attributes, mode and time, and returns the
/// attributes that were refused.
///
/// # Errors
/// As the system calls.
pub fn set_metadata(file: impl AsFd, header: &Header) -> io::Result<Vec<Vec<u8>>> {
    let file = file.as_fd();
    let stat = fs::fstat(file)?;
    // A new owner takes the capabilities and the setuid bits away: it comes first, the mode last.
    let is_chowned = needs_chown(&stat, header);
    if is_chowned {
        let (owner, group) = (Uid::from_raw(header.uid), Gid::from_raw(header.gid));
        fs::fchown(file, Some(owner), Some(group)).map_err(|error| chown_error(error, header))?;
    }
    let refused =
        set_xattrs(&header.xattrs, |name, value| fs::fsetxattr(file, name, value, XattrFlags::empty()))?;
    if is_chowned || needs_chmod(&stat, header) {
        fs::fchmod(file, Mode::from_raw_mode(header.mode & 0o7777))?;
    }
    fs::futimens(file, &times(header))?;
    Ok(refused)
}

fn place_file(
    parent: BorrowedFd<'_>,
    name: &OsStr,
    header: &Header,
    data: &mut dyn Read,
) -> io::Result<Placed> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(header.mode & 0o777);
    let (file, replaced) = replacing(parent, name, || fs::openat(parent, name, flags, mode))?;
    let file = File::from(file);
    write_content(&file, data, header.size)?;
    Ok(Placed { replaced, refused_xattrs: set_metadata(&file, header)? })
}

/// Writes `size` bytes; long runs of zeros become holes.
fn write_content(file: &File, data: &mut dyn Read, size: u64) -> io::Result<()> {
    if size == 0 {
        return Ok(());
    }
    let mut buffer = vec![0; size.min(BUFFER_BYTES) as usize];
    let mut position = 0;
    let mut ends_in_hole = false;
    while position < size {
        let wanted = (size - position).min(BUFFER_BYTES) as usize;
        let chunk = &mut buffer[..wanted];
        data.read_exact(chunk)?;
        ends_in_hole = wanted as u64 == BUFFER_BYTES && chunk.iter().all(|&byte| byte == 0);
        if !ends_in_hole {
            file.write_all_at(chunk, position)?;
        }
        position += wanted as u64;
    }
    if ends_in_hole {
        file.set_len(size)?;
    }
    Ok(())
}

fn place_directory(parent: BorrowedFd<'_>, name: &OsStr, header: &Header) -> io::Result<Placed> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(header.mode & 0o777);
    let mut replaced = false;
    let directory = match fs::mkdirat(parent, name, mode) {
        Ok(()) => fs::openat(parent, name, flags, Mode::empty())?,
        Err(Errno::EXIST) => match fs::openat(parent, name, flags, Mode::empty()) {
            Err(Errno::NOTDIR | Errno::LOOP) => {
                remove(parent, name)?;
                replaced = true;
                fs::mkdirat(parent, name, mode)?;
                fs::openat(parent, name, flags, Mode::empty())?
            }
            result => result?,
        },
        Err(error) => return Err(error.into()),
    };
    Ok(Placed { replaced, refused_xattrs: set_metadata(&directory, header)? })
}

fn place_node(
    parent: BorrowedFd<'_>,
    name: &OsStr,
    header: &Header,
    file_type: FileType,
    (major, minor): (u32, u32),
) -> io::Result<Placed> {
    let mode = Mode::from_raw_mode(header.mode & 0o777);
    let device = fs::makedev(major, minor);
    let made = replacing(parent, name, || fs::mknodat(parent, name, file_type, mode, device));
    let replaced = made.map_err(|error| device_error(error, file_type))?.1;
    set_node(parent, name, header, replaced)
}

/// Gives metadata to an entry that must not be opened: a link, a FIFO, a device.
fn set_node(parent: BorrowedFd<'_>, name: &OsStr, header: &Header, replaced: bool) -> io::Result<Placed> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let node = fs::openat(parent, name, flags, Mode::empty())?;
    let stat = fs::fstat(&node)?;
    let is_chowned = needs_chown(&stat, header);
    if is_chowned {
        let (owner, group) = (Uid::from_raw(header.uid), Gid::from_raw(header.gid));
        // By its name: where owners are only remembered, a link's is remembered by its directory.
        fs::chownat(parent, name, Some(owner), Some(group), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| chown_error(error, header))?;
    }
    let is_symlink = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
    let refused_xattrs = set_xattrs(&header.xattrs, |name, value| {
        // Only a path reaches an attribute of what is not open; this one goes through the handle.
        match is_symlink {
            true => Err(Errno::OPNOTSUPP),
            false => fs::setxattr(handle_path(&node), name, value, XattrFlags::empty()),
        }
    })?;
    if !is_symlink && (is_chowned || needs_chmod(&stat, header)) {
        fs::chmod(handle_path(&node), Mode::from_raw_mode(header.mode & 0o7777))?;
    }
    fs::utimensat(&node, "", &times(header), AtFlags::EMPTY_PATH)?;
    Ok(Placed { replaced, refused_xattrs })
}

/// Runs `make`; if something is in its way, removes that and runs it again. Returns whether it did.
fn replacing<T>(
    parent: BorrowedFd<'_>,
    name: &OsStr,
    make: impl Fn() -> rustix::io::Result<T>,
) -> io::Result<(T, bool)> {
    match make() {
        Err(Errno::EXIST) => {
            remove(parent, name)?;
            Ok((make()?, true))
        }
        result => Ok((result?, false)),
    }
}

fn set_xattrs(
    xattrs: &BTreeMap<Vec<u8>, Vec<u8>>,
    set: impl Fn(&[u8], &[u8]) -> rustix::io::Result<()>,
) -> io::Result<Vec<Vec<u8>>> {
    let mut refused = Vec::new();
    for (name, value) in xattrs {
        match set(name, value) {
            Err(Errno::OPNOTSUPP | Errno::PERM) => refused.push(name.clone()),
            result => result?,
        }
    }
    Ok(refused)
}

fn needs_chown(stat: &Stat, header: &Header) -> bool {
    (stat.st_uid, stat.st_gid) != (header.uid, header.gid)
}

fn needs_chmod(stat: &Stat, header: &Header) -> bool {
    stat.st_mode & 0o7777 != header.mode & 0o7777
}

/// In a user namespace, only ids that are mapped exist.
fn chown_error(error: Errno, header: &Header) -> io::Error {
    if error != Errno::INVAL {
        return error.into();
    }
    let message = format!(
        "owner {}:{} does not exist in this user namespace; /etc/subuid and /etc/subgid may grant more",
        header.uid, header.gid
    );
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

/// No user namespace may make devices, whoever is root of it.
fn device_error(error: io::Error, file_type: FileType) -> io::Error {
    if file_type == FileType::Fifo || Errno::from_io_error(&error) != Some(Errno::PERM) {
        return error;
    }
    let message =
        "a device can only be made by root, not in a user namespace; leave devices out of the archive";
    io::Error::new(io::ErrorKind::PermissionDenied, message)
}

fn times(header: &Header) -> Timestamps {
    let time = Timespec { tv_sec: header.mtime, tv_nsec: i64::from(header.mtime_nanos) };
    Timestamps { last_access: time, last_modification: time }
}

/// A path to what `handle` stands for, itself and not what its name means by now.
fn handle_path(handle: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", handle.as_raw_fd())
}

/// Refuses what is not one component.
pub(crate) fn check_name(name: &OsStr) -> io::Result<()> {
    let bytes = name.as_bytes();
    if matches!(bytes, b"" | b"." | b"..") || bytes.contains(&b'/') || bytes.contains(&0) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not the name of a directory entry"));
    }
    Ok(())
}
