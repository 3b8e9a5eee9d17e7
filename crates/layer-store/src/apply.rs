//! Makes a layer's directory out of its tar.
//!
//! Nothing outside the directory is touched: paths are walked by descriptor, no symbolic link is
//! followed, and an entry beneath one is refused. Deletions become overlayfs's; where nothing lies
//! below they have no effect. What the tar takes for granted is looked up below: the owner and mode
//! of a directory that it omits, and the file that a hard link of it leads to.
//!
//! The layers below may still be on their way. So what all layers need of them, deletions and the owner of
//! the root, comes last: until then only a tar that omits something waits.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use lbuild_archive::{ArchiveError, EntryKind, Header, Limits, Reader};
use lbuild_oci::DiffId;
use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps};
use rustix::io::Errno;

use crate::ground::Ground;
use crate::hollow::{self, Token};
use crate::listing::LISTED;
use crate::whiteout::{DirectoryMark, Marks, Whiteout};
use crate::{StoreError, directory};

/// Deletions are put off until their paths take so many bytes.
const MAX_PUT_OFF: usize = 4 << 20;

/// A layer on its way into a directory.
pub(crate) struct Application<'a> {
    root: OwnedFd,
    below: Ground<'a>,
    marks: Marks,
    diff_id: &'a DiffId,
    /// The directory of the last entry, and its path.
    parent: Option<(Vec<u8>, OwnedFd)>,
    /// When each directory was changed last, for when nothing changes it any more.
    times: BTreeMap<Vec<u8>, (i64, u32)>,
    is_root_opaque: bool,
    /// Whether the tar says what the root is.
    has_root: bool,
    /// Whiteouts whose deletions were not made yet, by path and time.
    put_off: Vec<Header>,
    put_off_bytes: usize,
    /// Marks the files of a listing.
    listed_by: Option<Token>,
}

/// Why an entry was not made.
enum Refusal {
    Forbidden(&'static str),
    Failed(io::Error),
    /// What lies below cannot be had.
    Below(StoreError),
}

impl<E: Into<io::Error>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl<'a> Application<'a> {
    /// Starts with the empty directory `root`, which lies on `below`.
    pub fn new(root: OwnedFd, below: Ground<'a>, marks: Marks, diff_id: &'a DiffId) -> Self {
        Self {
            root,
            below,
            marks,
            diff_id,
            parent: None,
            times: BTreeMap::new(),
            is_root_opaque: false,
            has_root: false,
            put_off: Vec::new(),
            put_off_bytes: 0,
            listed_by: None,
        }
    }

    /// The same for the tar of a listing, if there is a token: its files become hollow.
    pub fn listed_by(self, token: Option<Token>) -> Self {
        Self { listed_by: token, ..self }
    }

    /// Makes all entries of the tar, as many as `limits` allow.
    pub fn run(mut self, tar: &mut dyn Read, limits: &Limits) -> Result<(), StoreError> {
        let mut reader = Reader::new(tar, *limits);
        while let Some(mut entry) = reader.next().map_err(|source| self.unreadable(source))? {
            let header = entry.header.clone();
            self.entry(&header, &mut entry).map_err(|refusal| self.error(&header, refusal))?;
        }
        self.delete_all()?;
        let root = Header::new(*b"/", EntryKind::Directory, 0);
        let finished = self.inherit_root().and_then(|()| self.hide_root()).and_then(|()| self.set_times());
        finished.map_err(|refusal| self.error(&root, refusal))
    }

    /// Makes the deletions that were put off.
    fn delete_all(&mut self) -> Result<(), StoreError> {
        self.put_off_bytes = 0;
        for header in std::mem::take(&mut self.put_off) {
            self.deletion(&header).map_err(|refusal| self.error(&header, refusal))?;
        }
        Ok(())
    }

    fn deletion(&mut self, header: &Header) -> Result<(), Refusal> {
        let path = components(&header.path)?;
        let Some((name, parents)) = path.split_last() else { return Ok(()) };
        match Whiteout::from_oci_name(name).map_err(Refusal::Forbidden)? {
            Some(Whiteout::Entry(name)) => self.delete(parents, name, header),
            Some(Whiteout::Opaque) => self.hide(parents, header),
            None | Some(Whiteout::Metadata) => Ok(()),
        }
    }

    /// A deletion concerns what lies below, so it can wait until that is there.
    fn put_off(&mut self, header: &Header) -> Result<(), StoreError> {
        self.put_off_bytes += header.path.len() + size_of::<Header>();
        let mut plain = Header::new(header.path.clone(), EntryKind::File, 0);
        (plain.mtime, plain.mtime_nanos) = (header.mtime, header.mtime_nanos);
        self.put_off.push(plain);
        if self.put_off_bytes > MAX_PUT_OFF { self.delete_all() } else { Ok(()) }
    }

    fn entry(&mut self, header: &Header, data: &mut dyn Read) -> Result<(), Refusal> {
        let path = components(&header.path)?;
        let Some((name, parents)) = path.split_last() else {
            return match header.kind {
                EntryKind::Directory => self.set_root(header),
                _ => Err(Refusal::Forbidden("the root can only be a directory")),
            };
        };
        if let Some(reserved) = parents.iter().find_map(|name| Whiteout::from_oci_name(name).transpose()) {
            return match reserved.map_err(Refusal::Forbidden)? {
                Whiteout::Metadata => Ok(()),
                _ => Err(Refusal::Forbidden("it lies beneath a whiteout")),
            };
        }
        match Whiteout::from_oci_name(name).map_err(Refusal::Forbidden)? {
            None => self.put(&path.join(&b'/'), parents, name, header, data),
            Some(Whiteout::Entry(_) | Whiteout::Opaque) => self.put_off(header).map_err(Refusal::Below),
            Some(Whiteout::Metadata) => Ok(()),
        }
    }

    fn put(
        &mut self,
        path: &[u8],
        parents: &[&[u8]],
        name: &[u8],
        header: &Header,
        data: &mut dyn Read,
    ) -> Result<(), Refusal> {
        let mut header = header.clone();
        header.xattrs.retain(|name, _| !Marks::is_reserved_attribute(name));
        let listed = self.listed_by.and_then(|token| Some((token, header.xattrs.remove(LISTED)?)));
        let hollow = hollow::ATTRIBUTE.to_bytes();
        header.xattrs.extend(listed.iter().map(|(token, listed)| (hollow.to_vec(), token.attribute(listed))));
        let name = OsStr::from_bytes(name);
        match &header.kind {
            EntryKind::CharDevice { major: 0, minor: 0 } => {
                return Err(Refusal::Forbidden("a device that overlayfs takes for a deletion"));
            }
            EntryKind::HardLink(target) => return self.link(parents, name, target, &header),
            EntryKind::Directory => {
                self.times.insert(path.to_vec(), (header.mtime, header.mtime_nanos));
            }
            _ => {}
        }
        let marks = self.marks;
        let parent = self.parent(parents, &header)?;
        let was_deleted = header.kind == EntryKind::Directory && is_whiteout(marks, parent, name)?;
        let placed = match marks.notes_devices() {
            true => lbuild_archive::place_noting_devices(parent, name, &header, data)?,
            false => lbuild_archive::place(parent, name, &header, data)?,
        };
        if was_deleted {
            let name = CString::new(name.as_bytes())?;
            let made = directory::open_at(parent, &name)?.ok_or(Errno::NOTDIR)?;
            marks.set_opaque(made)?;
        }
        if listed.is_some() && placed.refused_xattrs.iter().any(|name| name == hollow) {
            return Err(Errno::NOTSUP.into());
        }
        if placed.replaced {
            // The open directory may be the one that was removed.
            self.parent = None;
        }
        Ok(())
    }

    fn link(
        &mut self,
        parents: &[&[u8]],
        name: &OsStr,
        target: &[u8],
        header: &Header,
    ) -> Result<(), Refusal> {
        let target = components(target)?;
        let Some((target_name, _)) = target.split_last() else {
            return Err(Refusal::Forbidden("a hard link to the root"));
        };
        let target_path = target.join(&b'/');
        let target_parent = target_path.len() - target_name.len();
        let found = directory::open_beneath(
            self.root.as_fd(),
            &target_path[..target_parent],
            OFlags::RDONLY | OFlags::DIRECTORY,
        )?;
        let target_name = OsStr::from_bytes(target_name);
        if let Some(holder) = found
            && stat_at(holder.as_fd(), target_name)?.is_some()
            && !is_whiteout(self.marks, holder.as_fd(), target_name)?
        {
            let parent = self.parent(parents, header)?;
            if lbuild_archive::link(parent, name, holder, target_name, header)?.replaced {
                self.parent = None;
            }
            return Ok(());
        }
        self.copy_from_below(parents, name, &target_path, header)
    }

    /// A hard link to a file of a lower layer: no directory entry can lead there, so it is copied.
    fn copy_from_below(
        &mut self,
        parents: &[&[u8]],
        name: &OsStr,
        target: &[u8],
        header: &Header,
    ) -> Result<(), Refusal> {
        const MISSING: Refusal = Refusal::Forbidden("a hard link to a file that does not exist");
        let Some(below) = self.below.tree().map_err(Refusal::Below)? else { return Err(MISSING) };
        let Some(handle) = directory::open_beneath(below.as_fd(), target, OFlags::PATH)? else {
            return Err(MISSING);
        };
        let stat = fs::fstat(&handle)?;
        let mut copy = Header { path: header.path.clone(), ..metadata(&stat, EntryKind::File) };
        let mut content: Box<dyn Read> = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                let file =
                    directory::open_beneath(below.as_fd(), target, OFlags::RDONLY)?.ok_or(Errno::NOENT)?;
                copy.size = stat.st_size as u64;
                copy.xattrs = lbuild_archive::read_xattrs(&file, Marks::is_kept_by_copies)?;
                Box::new(File::from(file))
            }
            FileType::Symlink => {
                let link = fs::readlinkat(&handle, "", Vec::new())?;
                copy.kind = EntryKind::Symlink(link.into_bytes());
                Box::new(io::empty())
            }
            _ => return Err(Refusal::Forbidden("a hard link to what is no file")),
        };
        let parent = self.parent(parents, header)?;
        if lbuild_archive::place(parent, name, &copy, &mut content)?.replaced {
            self.parent = None;
        }
        Ok(())
    }

    /// A whiteout of `name`, if that lies below. What this layer itself has there stays.
    fn delete(&mut self, parents: &[&[u8]], name: &[u8], header: &Header) -> Result<(), Refusal> {
        let path = [parents, &[name]].concat().join(&b'/');
        self.refuse_links_below(parents)?;
        let lies_below = match self.below.tree().map_err(Refusal::Below)? {
            Some(below) => directory::open_beneath(below.as_fd(), &path, OFlags::PATH)?.is_some(),
            None => false,
        };
        if !lies_below {
            return Ok(());
        }
        let marks = self.marks;
        let parent = self.parent(parents, header)?;
        let name = CString::new(name)?;
        match stat_at(parent, OsStr::from_bytes(name.as_bytes()))? {
            None if marks.directory(parent)? == DirectoryMark::Opaque => Ok(()),
            None => Ok(marks.create(parent, &name)?),
            Some(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                let directory = directory::open_at(parent, &name)?.ok_or(Errno::NOTDIR)?;
                Ok(marks.set_opaque(directory)?)
            }
            Some(_) => Ok(()),
        }
    }

    /// Hides all that lies below in a directory.
    fn hide(&mut self, path: &[&[u8]], header: &Header) -> Result<(), Refusal> {
        self.refuse_links_below(path)?;
        if self.below.tree().map_err(Refusal::Below)?.is_none() {
            return Ok(());
        }
        if path.is_empty() {
            self.is_root_opaque = true;
            return Ok(());
        }
        let marks = self.marks;
        Ok(marks.set_opaque(self.parent(path, header)?)?)
    }

    /// overlayfs never lets a layer's root hide the roots below: what they hold is hidden one by one.
    fn hide_root(&mut self) -> Result<(), Refusal> {
        if !self.is_root_opaque {
            return Ok(());
        }
        let Some(below) = self.below.tree().map_err(Refusal::Below)? else { return Ok(()) };
        let listed = below.open_at("/", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
        for name in directory::names(listed.as_fd())? {
            match directory::open_at(&self.root, &name)? {
                Some(directory) => self.marks.set_opaque(directory)?,
                None if stat_at(self.root.as_fd(), OsStr::from_bytes(name.as_bytes()))?.is_some() => {}
                None => self.marks.create(self.root.as_fd(), &name)?,
            }
        }
        Ok(())
    }

    /// Gives the root owner, mode and time of the one below, if the tar does not say what they are.
    fn inherit_root(&mut self) -> Result<(), Refusal> {
        if self.has_root {
            return Ok(());
        }
        let like = self.below.root().map_err(Refusal::Below)?;
        self.set_root(&directory_header(&like))
    }

    fn set_root(&mut self, header: &Header) -> Result<(), Refusal> {
        self.has_root = true;
        lbuild_archive::set_metadata(&self.root, header)?;
        self.times.insert(Vec::new(), (header.mtime, header.mtime_nanos));
        Ok(())
    }

    fn set_times(&mut self) -> Result<(), Refusal> {
        for (path, &(seconds, nanoseconds)) in &self.times {
            let Some(directory) =
                directory::open_beneath(self.root.as_fd(), path, OFlags::RDONLY | OFlags::DIRECTORY)?
            else {
                // Another entry took its place.
                continue;
            };
            let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() };
            fs::futimens(directory, &Timestamps { last_access: time, last_modification: time })?;
        }
        Ok(())
    }

    /// The open directory `path`, made with its parents where it is missing. `header` is the entry that
    /// needs it.
    fn parent(&mut self, path: &[&[u8]], header: &Header) -> Result<BorrowedFd<'_>, Refusal> {
        let key = path.join(&b'/');
        if self.parent.as_ref().is_none_or(|(open, _)| *open != key) {
            let opened = self.open_or_make(path, header)?;
            self.parent = Some((key, opened));
        }
        match &self.parent {
            Some((_, open)) => Ok(open.as_fd()),
            None => Err(Refusal::Forbidden("its directory is missing")),
        }
    }

    fn open_or_make(&mut self, path: &[&[u8]], header: &Header) -> Result<OwnedFd, Refusal> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut open = fs::openat(&self.root, c".", flags, Mode::empty())?;
        for (depth, name) in path.iter().enumerate() {
            let name = CString::new(*name)?;
            open = match directory::open_at(&open, &name)? {
                Some(inner) => inner,
                None => {
                    let was_deleted = self.clear_way(open.as_fd(), &name)?;
                    let inner = self.make(open.as_fd(), &name, &path[..=depth], header)?;
                    if was_deleted {
                        self.marks.set_opaque(&inner)?;
                    }
                    inner
                }
            };
        }
        Ok(open)
    }

    /// Removes a whiteout that stands where a directory is needed; the answer is whether one did.
    fn clear_way(&self, parent: BorrowedFd<'_>, name: &std::ffi::CStr) -> Result<bool, Refusal> {
        let name = OsStr::from_bytes(name.to_bytes());
        let Some(stat) = stat_at(parent, name)? else { return Ok(false) };
        if is_whiteout(self.marks, parent, name)? {
            fs::unlinkat(parent, name, AtFlags::empty())?;
            return Ok(true);
        }
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => Err(Refusal::Forbidden("it lies beneath a symbolic link")),
            _ => Err(Refusal::Forbidden("it lies beneath what is no directory")),
        }
    }

    /// Makes a directory that the tar has no entry for: as below, or else 755 and root's.
    fn make(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &std::ffi::CStr,
        path: &[&[u8]],
        cause: &Header,
    ) -> Result<OwnedFd, Refusal> {
        let path = path.join(&b'/');
        let lower = match self.below.tree().map_err(Refusal::Below)? {
            Some(below) => directory::open_beneath(below.as_fd(), &path, OFlags::RDONLY | OFlags::DIRECTORY)?,
            None => None,
        };
        let mut header = match lower {
            Some(lower) => {
                let mut header = directory_header(&fs::fstat(&lower)?);
                header.xattrs =
                    lbuild_archive::read_xattrs(&lower, |name| !Marks::is_reserved_attribute(name))?;
                header
            }
            None => {
                let mut header = Header::new(Vec::new(), EntryKind::Directory, 0o755);
                (header.mtime, header.mtime_nanos) = (cause.mtime, cause.mtime_nanos);
                header
            }
        };
        header.path.clone_from(&path);
        lbuild_archive::place(parent, OsStr::from_bytes(name.to_bytes()), &header, &mut io::empty())?;
        self.times.insert(path, (header.mtime, header.mtime_nanos));
        Ok(directory::open_at(parent, name)?.ok_or(Errno::NOTDIR)?)
    }

    /// A deletion beneath what is a symbolic link below would not mean what it says.
    fn refuse_links_below(&self, path: &[&[u8]]) -> Result<(), Refusal> {
        let below = self.below.tree().map_err(Refusal::Below)?;
        let roots = [Some(self.root.as_fd()), below.map(AsFd::as_fd)];
        for root in roots.into_iter().flatten() {
            for length in 1..=path.len() {
                if let Some(handle) =
                    directory::open_beneath(root, &path[..length].join(&b'/'), OFlags::PATH)?
                    && FileType::from_raw_mode(fs::fstat(handle)?.st_mode) == FileType::Symlink
                {
                    return Err(Refusal::Forbidden("a deletion beneath a symbolic link"));
                }
            }
        }
        Ok(())
    }

    fn error(&self, header: &Header, refusal: Refusal) -> StoreError {
        let (diff_id, entry) = (*self.diff_id, String::from_utf8_lossy(&header.path).into_owned());
        match refusal {
            Refusal::Forbidden(reason) => StoreError::BadLayer { diff_id, entry, reason: reason.to_owned() },
            Refusal::Failed(source) => StoreError::Unpack { diff_id, entry, source },
            Refusal::Below(error) => error,
        }
    }

    fn unreadable(&self, source: ArchiveError) -> StoreError {
        StoreError::ReadLayer { diff_id: *self.diff_id, source }
    }
}

/// The components of an entry's path from the layer's root.
fn components(path: &[u8]) -> Result<Vec<&[u8]>, Refusal> {
    let components: Vec<&[u8]> =
        path.split(|&byte| byte == b'/').filter(|part| !matches!(*part, b"" | b".")).collect();
    if components.contains(&&b".."[..]) {
        return Err(Refusal::Forbidden("a path with `..`"));
    }
    Ok(components)
}

fn stat_at(parent: BorrowedFd<'_>, name: &OsStr) -> Result<Option<Stat>, Refusal> {
    match fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn is_whiteout(marks: Marks, parent: BorrowedFd<'_>, name: &OsStr) -> Result<bool, Refusal> {
    let Some(stat) = stat_at(parent, name)? else { return Ok(false) };
    let name = CString::new(name.as_bytes())?;
    Ok(marks.is_whiteout(parent, &name, &stat, marks.directory(parent)?)?)
}

fn directory_header(stat: &Stat) -> Header {
    metadata(stat, EntryKind::Directory)
}

fn metadata(stat: &Stat, kind: EntryKind) -> Header {
    let mut header = Header::new(Vec::new(), kind, stat.st_mode & 0o7777);
    (header.uid, header.gid) = (stat.st_uid, stat.st_gid);
    (header.mtime, header.mtime_nanos) = (stat.st_mtime, stat.st_mtime_nsec as u32);
    header
}
