//! Layers' directories put together into one, where no overlay can be mounted.
//!
//! Either by links, to be read only, or by copies, to be written to. What overlayfs does when it is
//! asked for a name is done here once for all names, bottom layer first.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use lbuild_archive::{EntryKind, Header};
use rustix::fs::{self, AtFlags, FileType, Gid, Mode, OFlags, Stat, StatxFlags, Uid};
use rustix::io::Errno;

use crate::directory;
use crate::whiteout::{DirectoryMark, Marks};

/// How a file gets into the union.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// It is the same file.
    Link,
    /// It is another one.
    Copy,
}

/// What tells each directory of a union from any other that may take its path.
pub(crate) type Directories = HashMap<Vec<u8>, Identity>;

/// Inode and time of birth, as far as the file system tells that: inodes are used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity(u64, i64, u32);

impl Identity {
    pub fn of(directory: impl AsFd) -> io::Result<Self> {
        let mask = StatxFlags::INO | StatxFlags::BTIME;
        let stat = fs::statx(directory, "", AtFlags::EMPTY_PATH, mask)?;
        Ok(Self(stat.stx_ino, stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec))
    }
}

/// Puts `sources`, bottom first, together in the empty directory `target`.
pub(crate) fn unite(
    sources: &[OwnedFd],
    target: BorrowedFd<'_>,
    marks: Marks,
    how: How,
) -> io::Result<Directories> {
    let mut union = Union { target, marks, how, links: HashMap::new(), times: BTreeMap::new() };
    for source in sources {
        union.links.clear();
        union.add(source.as_fd())?;
    }
    union.finish()
}

struct Union<'a> {
    target: BorrowedFd<'a>,
    marks: Marks,
    how: How,
    /// Where the first copy of a file with several names is, by its inode in the source.
    links: HashMap<u64, Vec<u8>>,
    /// What each directory is in the topmost source, for when nothing is put into it any more.
    times: BTreeMap<Vec<u8>, Stat>,
}

struct Level {
    source: OwnedFd,
    target: OwnedFd,
    mark: DirectoryMark,
    path: Vec<u8>,
    names: std::vec::IntoIter<CString>,
}

impl Union<'_> {
    fn add(&mut self, source: BorrowedFd<'_>) -> io::Result<()> {
        let source = reopen(source)?;
        let stat = fs::fstat(&source)?;
        self.times.insert(Vec::new(), stat);
        lbuild_archive::set_metadata(self.target, &header(&source, &stat, EntryKind::Directory)?)?;
        let mut levels = vec![self.enter(source, reopen(self.target)?, Vec::new())?];
        while let Some(level) = levels.last_mut() {
            match level.names.next() {
                Some(name) => {
                    let inner = self.entry(level, &name)?;
                    levels.extend(inner);
                }
                None => drop(levels.pop()),
            }
        }
        Ok(())
    }

    fn enter(&self, source: OwnedFd, target: OwnedFd, path: Vec<u8>) -> io::Result<Level> {
        let mark = self.marks.directory(&source)?;
        let names = directory::names(source.as_fd())?.into_iter();
        Ok(Level { source, target, mark, path, names })
    }

    fn entry(&mut self, level: &Level, name: &CStr) -> io::Result<Option<Level>> {
        let (source, target) = (level.source.as_fd(), level.target.as_fd());
        let os_name = OsStr::from_bytes(name.to_bytes());
        let stat = fs::statat(source, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if self.marks.is_whiteout(source, name, &stat, level.mark)? {
            remove(target, os_name)?;
            return Ok(None);
        }
        let path = directory::join(&level.path, name.to_bytes());
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            let directory = directory::open_at(source, name)?.ok_or(Errno::NOTDIR)?;
            if self.marks.directory(&directory)? == DirectoryMark::Opaque {
                remove(target, os_name)?;
            }
            let header = header(&directory, &stat, EntryKind::Directory)?;
            lbuild_archive::place(target, os_name, &header, &mut io::empty())?;
            let made = directory::open_at(target, name)?.ok_or(Errno::NOTDIR)?;
            self.times.insert(path.clone(), stat);
            return self.enter(directory, made, path).map(Some);
        }
        if self.how == How::Link && link(source, name, target, &stat)? {
            return Ok(None);
        }
        self.copy(level, name, &stat, path).map(|()| None)
    }

    fn copy(&mut self, level: &Level, name: &CStr, stat: &Stat, path: Vec<u8>) -> io::Result<()> {
        let (target, os_name) = (level.target.as_fd(), OsStr::from_bytes(name.to_bytes()));
        if stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&stat.st_ino) {
                remove(target, os_name)?;
                let first = OsStr::from_bytes(first);
                return Ok(fs::linkat(self.target, first, target, name, AtFlags::empty())?);
            }
            self.links.insert(stat.st_ino, path);
        }
        copy_entry(level.source.as_fd(), name, stat, target)
    }

    fn finish(self) -> io::Result<Directories> {
        let mut directories = Directories::new();
        for (path, stat) in &self.times {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            // What a layer above replaced is not there.
            if let Some(directory) = directory::open_beneath(self.target, path, flags)? {
                directory::restore_times(&directory, stat)?;
                directories.insert(path.clone(), Identity::of(&directory)?);
            }
        }
        Ok(directories)
    }
}

/// Copies what is no directory, with all its metadata, in place of what is there.
pub(crate) fn copy_entry(
    source: BorrowedFd<'_>,
    name: &CStr,
    stat: &Stat,
    target: BorrowedFd<'_>,
) -> io::Result<()> {
    let (major, minor) = (fs::major(stat.st_rdev), fs::minor(stat.st_rdev));
    let mut content: Box<dyn Read> = Box::new(io::empty());
    let made = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = fs::openat(source, name, flags, Mode::empty())?;
            let mut made = header(&file, stat, EntryKind::File)?;
            made.size = stat.st_size as u64;
            content = Box::new(File::from(file));
            made
        }
        FileType::Symlink => {
            let link = fs::readlinkat(source, name, Vec::new())?.into_bytes();
            plain_header(stat, EntryKind::Symlink(link))
        }
        FileType::Fifo => plain_header(stat, EntryKind::Fifo),
        FileType::CharacterDevice => plain_header(stat, EntryKind::CharDevice { major, minor }),
        FileType::BlockDevice => plain_header(stat, EntryKind::BlockDevice { major, minor }),
        // A socket: nobody listens at a copy.
        _ => return Ok(()),
    };
    lbuild_archive::place(target, OsStr::from_bytes(name.to_bytes()), &made, &mut *content)?;
    Ok(())
}

/// What an open file or directory is made as elsewhere.
pub(crate) fn header(file: impl AsFd, stat: &Stat, kind: EntryKind) -> io::Result<Header> {
    let mut header = plain_header(stat, kind);
    header.xattrs = lbuild_archive::read_xattrs(file, Marks::is_kept_by_copies)?;
    Ok(header)
}

fn plain_header(stat: &Stat, kind: EntryKind) -> Header {
    let mut header = Header::new(Vec::new(), kind, stat.st_mode & 0o7777);
    (header.uid, header.gid) = (stat.st_uid, stat.st_gid);
    (header.mtime, header.mtime_nanos) = (stat.st_mtime, stat.st_mtime_nsec as u32);
    header
}

/// Gives a file another name in `target`; `false` where the file system does not.
fn link(source: BorrowedFd<'_>, name: &CStr, target: BorrowedFd<'_>, stat: &Stat) -> io::Result<bool> {
    let link = || fs::linkat(source, name, target, name, AtFlags::empty());
    let linked = match link() {
        Err(Errno::EXIST) => {
            remove(target, OsStr::from_bytes(name.to_bytes()))?;
            link()
        }
        linked => linked,
    };
    match linked {
        Ok(()) => {}
        Err(Errno::MLINK | Errno::XDEV | Errno::PERM) => return Ok(false),
        Err(error) => return Err(error.into()),
    }
    let is_symlink = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
    if is_symlink && (stat.st_uid, stat.st_gid) != (0, 0) {
        // Where owners are only remembered, a link's is remembered by its directory.
        let (owner, group) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
        fs::chownat(target, name, Some(owner), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(true)
}

fn remove(directory: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    match lbuild_archive::remove(directory, name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn reopen(directory: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    Ok(directory::open_at(directory, c".")?.ok_or(Errno::NOTDIR)?)
}
