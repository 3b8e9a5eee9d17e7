//! Walks a layer's directory in the order of its tar.
//!
//! [`seal`] takes the upper directory that a step left, compares it with what lay below, removes
//! what is no change (a copy-up that changed nothing, a whiteout of nothing, the mark of an opaque
//! directory that hides nothing, sockets) and hands the rest to a [`Sink`]. After that the entries
//! depend on the directory alone, and [`replay`] gives the same again.
//!
//! A directory is handed over only when it differs itself or something in it is: until then its
//! header waits in `pending`. So one pass finds the entries, and parents come before children.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use lbuild_archive::{DeviceNote, EntryKind, Header};
use rustix::fs::{self, AtFlags, FileType, Stat};

use crate::StoreError;
use crate::below::{Below, lower_stat};
use crate::content::{self, Content};
use crate::directory::{self, error};
use crate::hollow::{self, Listed};
use crate::whiteout::{self, DirectoryMark, Marks};

/// Paths longer than the kernel's PATH_MAX could not be unpacked again; in a tar, a directory's has a
/// slash at the end.
const MAX_PATH: usize = 4094;

/// Where the entries of a layer go.
pub(crate) trait Sink {
    /// Takes the next entry. `content` is there for a regular file.
    fn entry(&mut self, header: &Header, content: Option<&Content>) -> Result<(), StoreError>;
}

/// Removes from `upper` what is no change against `below`, and hands over the rest.
pub(crate) fn seal(
    upper: BorrowedFd<'_>,
    below: &Below<'_>,
    marks: Marks,
    latest_mtime: Option<i64>,
    sink: &mut dyn Sink,
) -> Result<(), StoreError> {
    Walk::new(Some(below), marks, latest_mtime, sink).run(upper, below.root())
}

/// Hands over everything in the sealed directory `layer`.
pub(crate) fn replay(
    layer: BorrowedFd<'_>,
    marks: Marks,
    latest_mtime: Option<i64>,
    sink: &mut dyn Sink,
) -> Result<(), StoreError> {
    Walk::new(None, marks, latest_mtime, sink).run(layer, None)
}

struct Walk<'a> {
    /// `None` if the directory is sealed.
    below: Option<&'a Below<'a>>,
    marks: Marks,
    latest_mtime: Option<i64>,
    sink: &'a mut dyn Sink,
    /// The directories on the way to here that were not handed over.
    pending: Vec<Header>,
    /// The first path of each file with several names, by inode number.
    links: HashMap<u64, Vec<u8>>,
    /// From the root, without a leading slash.
    path: Vec<u8>,
}

/// A directory that is being walked. They are a list and no recursion: a step may nest them deeper
/// than a thread's stack.
struct Level {
    directory: OwnedFd,
    /// Its name in the level above.
    name: CString,
    /// As it was before anything was removed from it.
    stat: Stat,
    mark: DirectoryMark,
    /// The same directory below; `None` where nothing shows through.
    lower: Option<OwnedFd>,
    /// What is left to be looked at.
    names: std::vec::IntoIter<CString>,
    /// The length of its path.
    length: usize,
    /// The place of its header in `pending`; `None` if that was handed over at once.
    waits: Option<usize>,
    /// Whether something was removed, so that its time must be restored.
    is_touched: bool,
}

impl Level {
    fn lower(&self) -> Option<BorrowedFd<'_>> {
        self.lower.as_ref().map(AsFd::as_fd)
    }
}

impl<'a> Walk<'a> {
    fn new(
        below: Option<&'a Below<'a>>,
        marks: Marks,
        latest_mtime: Option<i64>,
        sink: &'a mut dyn Sink,
    ) -> Self {
        let (pending, links, path) = (Vec::new(), HashMap::new(), Vec::new());
        Self { below, marks, latest_mtime, sink, pending, links, path }
    }

    fn run(&mut self, root: BorrowedFd<'_>, lower: Option<BorrowedFd<'_>>) -> Result<(), StoreError> {
        // The caller's descriptors may have been listed to their ends.
        let directory = self.open(root, c".")?;
        let lower = lower.map(|lower| self.open(lower, c".")).transpose()?;
        let stat = fs::fstat(&directory).map_err(|e| self.error("read", e))?;
        let mark = self.marks.directory(&directory).map_err(|e| self.error("read", e))?;
        let mut levels = vec![self.enter(directory, c"", stat, mark, lower)?];
        while let Some(level) = levels.last_mut() {
            self.path.truncate(level.length);
            match level.names.next() {
                Some(name) => {
                    if level.length > 0 {
                        self.path.push(b'/');
                    }
                    self.path.extend_from_slice(name.to_bytes());
                    let inner = self.entry(level, &name)?;
                    levels.extend(inner);
                }
                None => {
                    let above = levels.len().checked_sub(2);
                    let level = levels.pop();
                    self.leave(level, above.and_then(|above| levels.get_mut(above)))?;
                }
            }
        }
        Ok(())
    }

    fn enter(
        &mut self,
        directory: OwnedFd,
        name: &CStr,
        stat: Stat,
        mark: DirectoryMark,
        lower: Option<OwnedFd>,
    ) -> Result<Level, StoreError> {
        let names = directory::names(directory.as_fd()).map_err(|e| self.error("read", e))?.into_iter();
        let (name, length) = (name.to_owned(), self.path.len());
        Ok(Level { directory, name, stat, mark, lower, names, length, waits: None, is_touched: false })
    }

    /// Ends a directory; if neither it nor anything in it was handed over, it is no change.
    fn leave(&mut self, level: Option<Level>, above: Option<&mut Level>) -> Result<(), StoreError> {
        let Some(level) = level else { return Ok(()) };
        if level.is_touched {
            directory::restore_times(&level.directory, &level.stat).map_err(|e| self.error("write", e))?;
        }
        match (above, level.waits) {
            (Some(above), Some(place)) if self.pending.len() > place => {
                self.pending.truncate(place);
                self.remove(above, &level.name, AtFlags::REMOVEDIR)
            }
            _ => Ok(()),
        }
    }

    /// Takes an entry, and returns the directory that it is.
    fn entry(&mut self, level: &mut Level, name: &CStr) -> Result<Option<Level>, StoreError> {
        if whiteout::is_reserved(name.to_bytes()) {
            return Err(StoreError::ReservedName { path: directory::to_path(&self.path) });
        }
        if self.path.len() > MAX_PATH {
            return Err(self.error("pack", rustix::io::Errno::NAMETOOLONG));
        }
        let stat = fs::statat(&level.directory, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|e| self.error("read", e))?;
        let is_whiteout = self.marks.is_whiteout(level.directory.as_fd(), name, &stat, level.mark);
        if is_whiteout.map_err(|e| self.error("read", e))? {
            return self.whiteout(level, name).map(|()| None);
        }
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => return self.directory(level, name, stat).map(Some),
            FileType::RegularFile => self.file(level, name, &stat)?,
            FileType::Socket => self.remove(level, name, AtFlags::empty())?,
            _ => self.special(level, name, &stat)?,
        }
        Ok(None)
    }

    fn whiteout(&mut self, level: &mut Level, name: &CStr) -> Result<(), StoreError> {
        if let Some(below) = self.below
            && !below.has(level.lower(), name, &self.path)?
        {
            return self.remove(level, name, AtFlags::empty());
        }
        let parent = &self.path[..self.path.len() - name.to_bytes().len()];
        let path = [parent, &whiteout::oci_name(name.to_bytes())].concat();
        self.hand_over(&Header::new(path, EntryKind::File, 0), None)
    }

    fn directory(&mut self, level: &Level, name: &CStr, stat: Stat) -> Result<Level, StoreError> {
        let directory = self.open(level.directory.as_fd(), name)?;
        let lower = level.lower().map(|lower| directory::open_at(lower, name)).transpose();
        let lower = lower.map_err(|e| self.error("open", e))?.flatten();
        let mark = self.settle_mark(&directory, lower.as_ref().map(AsFd::as_fd))?;
        let is_opaque = mark == DirectoryMark::Opaque;
        let capability = content::capability(directory.as_fd()).map_err(|e| self.error("read", e))?;
        let is_same = !is_opaque && self.is_same_directory(lower.as_ref(), &stat, capability.as_deref())?;

        let mut header = self.header(EntryKind::Directory, &stat, capability);
        header.path.push(b'/');
        let waits = is_same.then_some(self.pending.len());
        if is_same {
            self.pending.push(header);
        } else {
            self.hand_over(&header, None)?;
        }
        if is_opaque {
            let path = [&self.path, &b"/"[..], whiteout::oci_opaque_name()].concat();
            self.hand_over(&Header::new(path, EntryKind::File, 0), None)?;
        }
        let lower = lower.filter(|_| !is_opaque);
        Ok(Level { waits, ..self.enter(directory, name, stat, mark, lower)? })
    }

    /// The directory's mark, after one that hides nothing was removed.
    fn settle_mark(
        &self,
        directory: &OwnedFd,
        lower: Option<BorrowedFd<'_>>,
    ) -> Result<DirectoryMark, StoreError> {
        let mark = self.marks.directory(directory).map_err(|e| self.error("read", e))?;
        match self.below {
            Some(below) if mark == DirectoryMark::Opaque && !below.has_content(lower, &self.path)? => {
                self.marks.clear_opaque(directory).map_err(|e| self.error("write", e))?;
                Ok(DirectoryMark::Merged)
            }
            _ => Ok(mark),
        }
    }

    fn is_same_directory(
        &self,
        lower: Option<&OwnedFd>,
        stat: &Stat,
        capability: Option<&[u8]>,
    ) -> Result<bool, StoreError> {
        let Some(lower) = lower else { return Ok(false) };
        let lower_stat = fs::fstat(lower).map_err(|e| self.error("read", e))?;
        let lower_capability = content::capability(lower.as_fd()).map_err(|e| self.error("read", e))?;
        Ok(content::same_owner_and_mode(stat, &lower_stat) && capability == lower_capability.as_deref())
    }

    fn file(&mut self, level: &mut Level, name: &CStr, stat: &Stat) -> Result<(), StoreError> {
        let opened = if self.marks.notes_devices() && stat.st_size == 0 {
            let content = self.open_file(level, name, stat)?;
            if let Some(note) = content.device.clone() {
                return self.noted_device(level, name, stat, &content, note);
            }
            Some(content)
        } else {
            None
        };
        let is_linked = stat.st_nlink > 1;
        if is_linked && let Some(first) = self.links.get(&stat.st_ino) {
            let header = self.header(EntryKind::HardLink(first.clone()), stat, None);
            return self.hand_over(&Header { size: 0, ..header }, None);
        }
        let content = opened.map_or_else(|| self.open_file(level, name, stat), Ok)?;
        if let Some(token) = self.below.and_then(|below| below.hollow)
            && token.read(&content.file).map_err(|e| self.error("read", e))?.is_some()
        {
            return Err(StoreError::Hollow { path: directory::to_path(&self.path) });
        }
        // Several names in the upper directory were made by the step: that is a change by itself.
        if !is_linked && self.is_same_file(level, name, stat, &content)? {
            return self.remove(level, name, AtFlags::empty());
        }
        let header = self.header(EntryKind::File, stat, content.capability.clone());
        self.hand_over(&header, Some(&content))?;
        if is_linked {
            self.links.insert(stat.st_ino, self.path.clone());
        }
        Ok(())
    }

    fn open_file(&self, level: &Level, name: &CStr, stat: &Stat) -> Result<Content, StoreError> {
        Content::open(level.directory.as_fd(), name, stat).map_err(|e| self.error("open", e))
    }

    /// Takes the file for the device that `note` says it stands for. As with real ones, each of several names
    /// is a device.
    fn noted_device(
        &mut self,
        level: &mut Level,
        name: &CStr,
        stat: &Stat,
        content: &Content,
        note: DeviceNote,
    ) -> Result<(), StoreError> {
        if self.is_same_file(level, name, stat, content)? {
            return self.remove(level, name, AtFlags::empty());
        }
        let header = self.header(EntryKind::File, stat, None).of_noted_device(note);
        self.hand_over(&header, None)
    }

    fn is_same_file(
        &self,
        level: &Level,
        name: &CStr,
        stat: &Stat,
        content: &Content,
    ) -> Result<bool, StoreError> {
        let token = self.below.and_then(|below| below.hollow);
        let listed = hollow::listed_below(token, level.lower(), name).map_err(|e| self.error("read", e))?;
        if let Some(listed) = listed {
            return self.is_as_listed(level, name, stat, content, listed);
        }
        let Some((lower, lower_stat)) = self.same_metadata(level, name, stat)? else { return Ok(false) };
        Content::open(lower, name, &lower_stat)
            .and_then(|lower| content.equals(&lower))
            .map_err(|e| self.error("read", e))
    }

    /// [`Walk::is_same_file`] for a file below that is hollow.
    fn is_as_listed(
        &self,
        level: &Level,
        name: &CStr,
        stat: &Stat,
        content: &Content,
        listed: Listed,
    ) -> Result<bool, StoreError> {
        // A hollow file has no bytes.
        let mut sized = *stat;
        sized.st_size = 0;
        let Some((lower, _)) = self.same_metadata(level, name, &sized)? else { return Ok(false) };
        let capability = hollow::capability(lower, name).map_err(|e| self.error("read", e))?;
        let is_same = listed.is_same(&content.file, stat).map_err(|e| self.error("read", e))?;
        let unknown = || StoreError::Hollow { path: directory::to_path(&self.path) };
        Ok(capability == content.capability && is_same.ok_or_else(unknown)?)
    }

    /// A symbolic link, a FIFO or a device.
    fn special(&mut self, level: &mut Level, name: &CStr, stat: &Stat) -> Result<(), StoreError> {
        let kind = self.special_kind(level.directory.as_fd(), name, stat)?;
        if let Some((lower, lower_stat)) = self.same_metadata(level, name, stat)?
            && kind == self.special_kind(lower, name, &lower_stat)?
        {
            return self.remove(level, name, AtFlags::empty());
        }
        let header = self.header(kind, stat, None);
        self.hand_over(&Header { size: 0, ..header }, None)
    }

    fn special_kind(
        &self,
        directory: BorrowedFd<'_>,
        name: &CStr,
        stat: &Stat,
    ) -> Result<EntryKind, StoreError> {
        let (major, minor) = (fs::major(stat.st_rdev), fs::minor(stat.st_rdev));
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => {
                let target =
                    fs::readlinkat(directory, name, Vec::new()).map_err(|e| self.error("read", e))?;
                Ok(EntryKind::Symlink(target.into_bytes()))
            }
            FileType::Fifo => Ok(EntryKind::Fifo),
            FileType::CharacterDevice => Ok(EntryKind::CharDevice { major, minor }),
            FileType::BlockDevice => Ok(EntryKind::BlockDevice { major, minor }),
            _ => Err(StoreError::UnsupportedFile { path: directory::to_path(&self.path) }),
        }
    }

    /// The lower directory and its `name`, if that would have the same header in a tar.
    fn same_metadata<'l>(
        &self,
        level: &'l Level,
        name: &CStr,
        stat: &Stat,
    ) -> Result<Option<(BorrowedFd<'l>, Stat)>, StoreError> {
        let found = lower_stat(level.lower(), name).map_err(|e| self.error("read", e))?;
        Ok(level.lower().zip(found).filter(|(_, lower)| {
            content::same_owner_and_mode(stat, lower)
                && stat.st_size == lower.st_size
                && self.clamp(stat.st_mtime) == self.clamp(lower.st_mtime)
        }))
    }

    /// Removes what is no change. In a sealed directory there is no such thing.
    fn remove(&mut self, level: &mut Level, name: &CStr, flags: AtFlags) -> Result<(), StoreError> {
        if self.below.is_none() {
            return Err(StoreError::Damaged {
                path: directory::to_path(&self.path),
                reason: "a stored layer holds what no layer can".to_owned(),
            });
        }
        level.is_touched = true;
        fs::unlinkat(&level.directory, name, flags).map_err(|e| self.error("remove", e))
    }

    fn hand_over(&mut self, header: &Header, content: Option<&Content>) -> Result<(), StoreError> {
        for parent in self.pending.drain(..) {
            self.sink.entry(&parent, None)?;
        }
        self.sink.entry(header, content)
    }

    fn header(&self, kind: EntryKind, stat: &Stat, capability: Option<Vec<u8>>) -> Header {
        let mut header = Header::new(self.path.clone(), kind, stat.st_mode & 0o7777);
        header.uid = stat.st_uid;
        header.gid = stat.st_gid;
        header.mtime = self.clamp(stat.st_mtime);
        if header.kind == EntryKind::File {
            header.size = stat.st_size as u64;
        }
        header.xattrs.extend(capability.map(|value| (content::CAPABILITY.to_bytes().to_vec(), value)));
        header
    }

    fn clamp(&self, mtime: i64) -> i64 {
        self.latest_mtime.map_or(mtime, |latest| mtime.min(latest))
    }

    fn open(&self, parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, StoreError> {
        let opened = directory::open_at(parent, name).map_err(|e| self.error("open", e))?;
        opened.ok_or_else(|| self.error("open", rustix::io::Errno::NOTDIR))
    }

    fn error(&self, action: &'static str, cause: impl Into<std::io::Error>) -> StoreError {
        error(action, &self.path, cause)
    }
}
