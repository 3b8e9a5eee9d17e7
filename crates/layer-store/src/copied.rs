//! A step's tree where no overlay can be mounted: a copy of all layers, and afterwards what differs.
//!
//! A file was changed by the step if its metadata differ from those below, or if its ctime is later
//! than the copy: no program can set that. A directory is the one below if it is the one
//! that the copy made. What differs is copied once more, into a directory of the form that an overlay would
//! have left; from there on there is no difference between the two.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::Duration;

use lbuild_archive::EntryKind;
use lbuild_oci::lock;
use rustix::fs::{self, AtFlags, FileType, Stat};
use rustix::io::Errno;

use crate::below::lower_stat;
use crate::error::OnPath;
use crate::staging::{Scratch, Staging};
use crate::union::{self, Directories, How, Identity, copy_entry, unite};
use crate::whiteout::Marks;
use crate::{StoreError, content, directory};

/// How often the clock of a file system is looked at.
const TICK: Duration = Duration::from_millis(1);

/// A step's tree.
#[derive(Debug)]
pub(crate) struct CopiedTree {
    tree: Scratch,
    /// What lay below, by links.
    reference: Scratch,
    marks: Marks,
    directories: Directories,
    /// The latest ctime of the copy.
    copied: (i64, i64),
    is_collected: Mutex<bool>,
}

impl CopiedTree {
    /// Copies `sources`, bottom first.
    pub fn new(staging: &Arc<Staging>, sources: &[OwnedFd], marks: Marks) -> Result<Self, StoreError> {
        let reference = linked(staging, sources, marks)?;
        let tree = staging.directory()?;
        let target = directory::open(tree.path()).on("open", tree.path())?;
        let directories =
            unite(sources, target.as_fd(), marks, How::Copy).on("copy the layers to", tree.path())?;
        let copied = wait_for_clock(staging)?;
        Ok(Self { tree, reference, marks, directories, copied, is_collected: Mutex::new(false) })
    }

    /// The tree, to be written to.
    pub fn open(&self) -> Result<OwnedFd, StoreError> {
        directory::open(self.tree.path()).on("open", self.tree.path())
    }

    /// What lay below.
    pub fn open_reference(&self) -> Result<OwnedFd, StoreError> {
        directory::open(self.reference.path()).on("open", self.reference.path())
    }

    /// Copies what the step changed into `upper`, once.
    pub fn collect(&self, upper: BorrowedFd<'_>) -> Result<(), StoreError> {
        let mut is_collected = lock(&self.is_collected);
        if !*is_collected {
            let (tree, reference) = (self.open()?, self.open_reference()?);
            let mut collection = Collection {
                of: self,
                links: HashMap::new(),
                times: BTreeMap::new(),
                upper,
                levels: Vec::new(),
            };
            collection.run(tree, reference).on("find what a step changed in", self.tree.path())?;
            *is_collected = true;
        }
        Ok(())
    }
}

/// A directory that shows `sources`, bottom first, by links: to be read only.
pub(crate) fn linked(
    staging: &Arc<Staging>,
    sources: &[OwnedFd],
    marks: Marks,
) -> Result<Scratch, StoreError> {
    let scratch = staging.directory()?;
    let target = directory::open(scratch.path()).on("open", scratch.path())?;
    unite(sources, target.as_fd(), marks, How::Link).on("link the layers to", scratch.path())?;
    Ok(scratch)
}

/// Waits until what changes from now on has a later ctime than what was changed before.
fn wait_for_clock(staging: &Arc<Staging>) -> Result<(i64, i64), StoreError> {
    let now = || {
        let (file, path) = staging.file()?;
        let stat = fs::fstat(&file).on("read", &path)?;
        std::fs::remove_file(&path).on("remove", path)?;
        Ok::<_, StoreError>(changed_at(&stat))
    };
    let before = now()?;
    while now()? <= before {
        sleep(TICK);
    }
    Ok(before)
}

fn changed_at(stat: &Stat) -> (i64, i64) {
    (stat.st_ctime, stat.st_ctime_nsec as i64)
}

struct Collection<'a> {
    of: &'a CopiedTree,
    upper: BorrowedFd<'a>,
    levels: Vec<Level>,
    /// The first name of each file with several ones, by its inode.
    links: HashMap<u64, Vec<u8>>,
    /// What the directories are that were made in the upper directory.
    times: BTreeMap<Vec<u8>, Stat>,
}

struct Level {
    directory: OwnedFd,
    /// The same directory below; `None` where nothing shows through.
    reference: Option<OwnedFd>,
    /// The same directory in the upper one, once there is something in it.
    upper: Option<OwnedFd>,
    path: Vec<u8>,
    names: std::vec::IntoIter<CString>,
}

impl Collection<'_> {
    fn run(&mut self, tree: OwnedFd, reference: OwnedFd) -> io::Result<()> {
        let upper = directory::open_at(self.upper, c".")?.ok_or(Errno::NOTDIR)?;
        self.enter(tree, Some(reference), Some(upper), Vec::new())?;
        while let Some(level) = self.levels.last_mut() {
            match level.names.next() {
                Some(name) => self.entry(&name)?,
                None => drop(self.levels.pop()),
            }
        }
        for (path, stat) in &self.times {
            let flags = fs::OFlags::RDONLY | fs::OFlags::DIRECTORY;
            if let Some(directory) = directory::open_beneath(self.upper, path, flags)? {
                directory::restore_times(directory, stat)?;
            }
        }
        Ok(())
    }

    fn enter(
        &mut self,
        directory: OwnedFd,
        reference: Option<OwnedFd>,
        upper: Option<OwnedFd>,
        path: Vec<u8>,
    ) -> io::Result<()> {
        let mut names = directory::names(directory.as_fd())?;
        if let Some(reference) = &reference {
            names.extend(directory::names(reference.as_fd())?);
            names.sort_unstable();
            names.dedup();
        }
        self.levels.push(Level { directory, reference, upper, path, names: names.into_iter() });
        Ok(())
    }

    fn entry(&mut self, name: &CStr) -> io::Result<()> {
        let Some(level) = self.levels.last() else { return Ok(()) };
        let below = lower_stat(level.reference.as_ref().map(AsFd::as_fd), name)?;
        let Some(stat) = lower_stat(Some(level.directory.as_fd()), name)? else {
            let marks = self.of.marks;
            let upper = self.upper_directory()?;
            return Ok(marks.create(upper, name)?);
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => self.directory(name, &stat, below.as_ref()),
            FileType::Socket => Ok(()),
            _ if below.is_some_and(|below| self.is_unchanged(&stat, &below)) => Ok(()),
            _ => self.file(name, &stat),
        }
    }

    fn is_unchanged(&self, stat: &Stat, below: &Stat) -> bool {
        content::same_owner_and_mode(stat, below)
            && stat.st_size == below.st_size
            && (stat.st_mtime, stat.st_mtime_nsec) == (below.st_mtime, below.st_mtime_nsec)
            && changed_at(stat) <= self.of.copied
    }

    fn file(&mut self, name: &CStr, stat: &Stat) -> io::Result<()> {
        let path = self.levels.last().map(|level| directory::join(&level.path, name.to_bytes()));
        let root = self.upper;
        let first = if stat.st_nlink > 1 { self.links.get(&stat.st_ino).cloned() } else { None };
        let source = self.levels.last().map(|level| level.directory.try_clone()).transpose()?;
        let upper = self.upper_directory()?;
        if let Some(first) = first {
            return Ok(fs::linkat(root, OsStr::from_bytes(&first), upper, name, AtFlags::empty())?);
        }
        if let Some(source) = source {
            copy_entry(source.as_fd(), name, stat, upper)?;
        }
        if stat.st_nlink > 1 {
            self.links.extend(path.map(|path| (stat.st_ino, path)));
        }
        Ok(())
    }

    fn directory(&mut self, name: &CStr, stat: &Stat, below: Option<&Stat>) -> io::Result<()> {
        let Some(level) = self.levels.last() else { return Ok(()) };
        let path = directory::join(&level.path, name.to_bytes());
        let opened = directory::open_at(&level.directory, name)?.ok_or(Errno::NOTDIR)?;
        let is_below =
            below.is_some_and(|below| FileType::from_raw_mode(below.st_mode) == FileType::Directory);
        if is_below && self.of.directories.get(&path) == Some(&Identity::of(&opened)?) {
            let reference = match &level.reference {
                Some(reference) => directory::open_at(reference, name)?,
                None => None,
            };
            let is_changed = changed_at(stat) > self.of.copied
                || below.is_some_and(|below| !content::same_owner_and_mode(stat, below));
            self.enter(opened, reference, None, path)?;
            return if is_changed { self.upper_directory().map(drop) } else { Ok(()) };
        }
        self.enter(opened, None, None, path)?;
        let marks = self.of.marks;
        let upper = self.upper_directory()?;
        if is_below { Ok(marks.set_opaque(upper)?) } else { Ok(()) }
    }

    /// The upper directory of the last level, made with those above it where it is missing.
    fn upper_directory(&mut self) -> io::Result<BorrowedFd<'_>> {
        for index in 1..self.levels.len() {
            if self.levels[index].upper.is_some() {
                continue;
            }
            let (above, below) = self.levels.split_at_mut(index);
            let (Some(above), Some(level)) = (above.last(), below.first_mut()) else { break };
            let Some(parent) = &above.upper else { break };
            let name = level.path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
            let stat = fs::fstat(&level.directory)?;
            let header = union::header(&level.directory, &stat, EntryKind::Directory)?;
            lbuild_archive::place(parent, OsStr::from_bytes(name), &header, &mut io::empty())?;
            level.upper = directory::open_at(parent, &CString::new(name)?)?;
            self.times.insert(level.path.clone(), stat);
        }
        let upper = self.levels.last().and_then(|level| level.upper.as_ref());
        upper.map(AsFd::as_fd).ok_or_else(|| Errno::NOENT.into())
    }
}
