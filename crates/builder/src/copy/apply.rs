//! Applying a copy to a tree: places for the sources, and sources that are no trees.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use lbuild_archive::{ExtractOptions, Limits, Reader};
use lbuild_build_context::{Kind, Metadata, Pick, Selection, SourceTree, Time};
use lbuild_confined::{Located, Root};
use rustix::fs::{self, AtFlags, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::cancel::{Cancellable, IsCancelled};
use super::content::{self, ContentCopier};
use super::destination::Destination;
use super::error::CopyError;
use super::mode::ModeChange;
use super::node::{self, Attributes, Node};

const INLINE_MODE: u32 = 0o644;
const DOWNLOAD_MODE: u32 = 0o600;
const MADE_MODE: u32 = 0o755;

/// What a copy noticed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CopyReport {
    /// Sources that changed after they were listed. The result holds them as they were when they were
    /// copied, so it must not be cached under the digest.
    pub changed: Vec<PathBuf>,
}

/// Copies one source after the other to the same destination.
pub(super) struct Copier<'a> {
    pub(super) root: &'a Root,
    destination: &'a Destination,
    pub(super) owner: Option<(u32, u32)>,
    mode: Option<&'a ModeChange>,
    created_mtime: Option<i64>,
    pub(super) content: ContentCopier<'a>,
    pub(super) archive_limits: Limits,
    /// Whether empty files stand for devices.
    pub(super) notes_devices: bool,
    is_cancelled: IsCancelled<'a>,
    /// Directories made on the way, in the order in which they were.
    made: Vec<PathBuf>,
    /// First copies of files with several names, by device and inode: hard links stay within a source.
    pub(super) links: HashMap<(u64, u64), PathBuf>,
    pub(super) report: CopyReport,
}

impl<'a> Copier<'a> {
    pub(super) fn new(
        root: &'a Root,
        destination: &'a Destination,
        owner: Option<(u32, u32)>,
        mode: Option<&'a ModeChange>,
        created_mtime: Option<i64>,
        is_cancelled: IsCancelled<'a>,
    ) -> Self {
        Self {
            root,
            destination,
            owner,
            mode,
            created_mtime,
            content: ContentCopier::new(is_cancelled),
            archive_limits: Limits::default(),
            notes_devices: false,
            is_cancelled,
            made: Vec::new(),
            links: HashMap::new(),
            report: CopyReport::default(),
        }
    }

    /// Copies what a pattern picked from a tree.
    pub(super) fn copy(
        &mut self,
        tree: &SourceTree<'_>,
        selection: &Selection,
        pick: &Pick,
    ) -> Result<(), CopyError> {
        self.links.clear();
        if pick.metadata().is_directory() {
            let target = self.directory_target()?;
            return self.copy_directory(tree, selection, pick, target);
        }
        let target = self.file_target(&pick.name)?;
        self.copy_single(tree, pick, &target)
    }

    /// Unpacks what a pattern picked, if it is an archive; else does nothing and says so.
    pub(super) fn unpack(
        &mut self,
        tree: &SourceTree<'_>,
        pick: &Pick,
        pattern: &str,
    ) -> Result<bool, CopyError> {
        if pick.metadata().kind != Kind::File {
            return Ok(false);
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = tree.root().open_at(&pick.path, flags, Mode::empty());
        let unreadable = |source| CopyError::Read { path: pick.path.clone(), source };
        let file = File::from(file.map_err(unreadable)?);
        let is_unpacked = self.unpack_open(file.try_clone().map_err(unreadable)?, pattern, &pick.path)?;
        let after = fs::fstat(&file).map_err(|error| unreadable(error.into()))?;
        if is_unpacked && Metadata::of(&after).has_changed_since(pick.metadata()) {
            self.report.changed.push(pick.path.clone());
        }
        Ok(is_unpacked)
    }

    /// Unpacks a file of this process, if it is an archive; else does nothing and says so.
    pub(super) fn unpack_file(&mut self, file: &Path, name: &str) -> Result<bool, CopyError> {
        let open = File::open(file).map_err(|source| CopyError::Read { path: file.to_owned(), source })?;
        self.unpack_open(open, name, file)
    }

    /// Writes a file from memory.
    pub(super) fn write_inline(&mut self, name: &str, content: &[u8]) -> Result<(), CopyError> {
        let mtime = self.created_mtime.unwrap_or(0);
        self.put(name, INLINE_MODE, mtime, |_, target| content::write(target, content))
    }

    /// Copies a file of this process.
    pub(super) fn copy_download(
        &mut self,
        file: &Path,
        name: &str,
        mtime: Option<i64>,
    ) -> Result<(), CopyError> {
        let unreadable = |source| CopyError::Read { path: file.to_owned(), source };
        let source = File::open(file).map_err(unreadable)?;
        let size = source.metadata().map_err(unreadable)?.len();
        let mtime = mtime.or(self.created_mtime).unwrap_or(0);
        self.put(name, DOWNLOAD_MODE, mtime, |copier, target| {
            copier.content.copy(&source, target, size, u64::MAX)
        })
    }

    /// Gives the directories that were made their time.
    pub(super) fn finish(self) -> Result<CopyReport, CopyError> {
        if let Some(seconds) = self.created_mtime {
            for path in self.made.iter().rev() {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
                let directory = self.root.open_at(path, flags, Mode::empty());
                directory
                    .and_then(|directory| {
                        Ok(fs::futimens(directory, &node::times(Time { seconds, nanos: 0 }))?)
                    })
                    .map_err(|source| CopyError::Write { path: path.clone(), source })?;
            }
        }
        Ok(self.report)
    }

    /// What a copy of a file with this metadata gets.
    pub(super) fn attributes(&self, metadata: &Metadata) -> Attributes {
        let (uid, gid) = self.owner.unwrap_or((metadata.uid, metadata.gid));
        let changed = |change: &ModeChange| change.apply(metadata.mode, metadata.is_directory());
        Attributes { uid, gid, mode: self.mode.map_or(metadata.mode, changed), mtime: metadata.mtime }
    }

    /// Opens the directory of a place whose path is resolved.
    pub(super) fn locate(&self, path: &Path) -> Result<Located, CopyError> {
        self.root.locate(path).map_err(|source| CopyError::Write { path: path.to_owned(), source })
    }

    /// The place of a source that is a directory; it is made, and may turn out to be no directory.
    fn directory_target(&mut self) -> Result<PathBuf, CopyError> {
        self.make_directories(self.destination.certain_directory(), self.made_mode())?;
        let target = self.resolved_destination()?;
        if self.kind_at(&target)?.is_none() {
            self.make_directories(&target, self.made_mode())?;
        }
        Ok(target)
    }

    /// The place of a source that is none, whose directory is made.
    fn file_target(&mut self, name: &OsStr) -> Result<PathBuf, CopyError> {
        self.make_directories(self.destination.certain_directory(), self.made_mode())?;
        let target = self.resolved_destination()?;
        if self.kind_at(&target)? == Some(Kind::Directory) {
            return Ok(target.join(name));
        }
        self.make_directories(target.parent().unwrap_or(&target), self.made_mode())?;
        Ok(target)
    }

    fn resolved_destination(&self) -> Result<PathBuf, CopyError> {
        let path = self.destination.path();
        self.root.resolve(path).map_err(|source| CopyError::Write { path: path.to_owned(), source })
    }

    fn kind_at(&self, path: &Path) -> Result<Option<Kind>, CopyError> {
        match self.root.lstat(path) {
            Ok(stat) => Ok(Some(Metadata::of(&stat).kind)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(CopyError::Write { path: path.to_owned(), source }),
        }
    }

    fn made_mode(&self) -> u32 {
        self.mode.map_or(MADE_MODE, ModeChange::for_made_directory)
    }

    /// Makes a directory and those above it, links followed.
    fn make_directories(&mut self, path: &Path, mode: u32) -> Result<(), CopyError> {
        let made = self.root.create_dir_all(path, Mode::from_raw_mode(mode));
        let made = made.map_err(|source| CopyError::Write { path: path.to_owned(), source })?;
        if let Some((uid, gid)) = self.owner {
            let (user, group) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
            for path in &made {
                let place = self.locate(path)?;
                fs::chownat(&place.parent, &place.name, user, group, AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(|error| node::not_owned(path, uid, gid, error))?;
            }
        }
        self.made.extend(made);
        Ok(())
    }

    /// Makes a file that comes from no tree: root's, unless `--chown` says otherwise.
    fn put(
        &mut self,
        name: &str,
        mode: u32,
        mtime: i64,
        write: impl FnOnce(&mut Self, &File) -> io::Result<()>,
    ) -> Result<(), CopyError> {
        let name = Path::new(name).file_name().unwrap_or(OsStr::new(name));
        let path = self.file_target(name)?;
        let place = self.locate(&path)?;
        let node = Node { place: place.parent.as_fd(), name: &place.name, path: &path };
        let file = node.create()?;
        write(self, &file).map_err(|error| node.failed(error))?;
        let (uid, gid) = self.owner.unwrap_or((0, 0));
        let mode = self.mode.map_or(mode, |change| change.apply(mode, false));
        let attributes = Attributes { uid, gid, mode, mtime: Time { seconds: mtime, nanos: 0 } };
        node::set_attributes(&file, attributes, None, &path)
    }

    fn unpack_open(&mut self, mut file: File, name: &str, path: &Path) -> Result<bool, CopyError> {
        let is_archive = content::is_archive(&mut file);
        if !is_archive.map_err(|source| CopyError::Read { path: path.to_owned(), source })? {
            return Ok(false);
        }
        self.make_directories(self.destination.path(), MADE_MODE)?;
        let target = self.resolved_destination()?;
        let options = ExtractOptions {
            owner: self.owner,
            note_devices: self.notes_devices,
            ..ExtractOptions::default()
        };
        let limits = self.archive_limits;
        lbuild_archive::decompress_within(file, &limits)
            .map_err(lbuild_archive::ArchiveError::Read)
            .and_then(|(_, stream)| {
                let mut reader = Reader::new(Cancellable::new(stream, self.is_cancelled), limits);
                lbuild_archive::extract(&mut reader, self.root, &target, &options)
            })
            .map_err(|source| CopyError::Archive { name: name.to_owned(), source })?;
        Ok(true)
    }
}

/// What it means that a source cannot be opened.
pub(super) fn not_opened(path: &Path, error: impl Into<io::Error>) -> CopyError {
    let source = error.into();
    match Errno::from_io_error(&source) {
        Some(Errno::LOOP | Errno::NOTDIR | Errno::NXIO) => CopyError::Replaced { path: path.to_owned() },
        _ => CopyError::Read { path: path.to_owned(), source },
    }
}
