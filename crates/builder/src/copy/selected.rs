//! Applying a copy to a tree: what was selected from another tree.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use lbuild_archive::{DeviceNote, EntryKind};
use lbuild_build_context::{Entry, Kind, Metadata, Pick, Selection, SourceTree, capabilities};
use lbuild_confined::Descent;
use rustix::fs::{self, Mode, OFlags};

use super::apply::{Copier, not_opened};
use super::error::CopyError;
use super::node::{self, Node};

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A source by its open directory.
#[derive(Clone, Copy)]
struct Source<'a> {
    directory: BorrowedFd<'a>,
    name: &'a OsStr,
    /// For messages.
    path: &'a Path,
    /// As it was listed.
    metadata: &'a Metadata,
    /// Whether the copy keeps its capabilities.
    keeps_capabilities: bool,
}

/// A directory that is being copied.
struct Level<'a> {
    entry: Cow<'a, Entry>,
    is_new: bool,
}

impl Copier<'_> {
    /// Copies the content of a picked directory to the directory `target`, which is there.
    ///
    /// Both trees are walked by open directories, so that no file costs a look-up from the root.
    pub(super) fn copy_directory(
        &mut self,
        tree: &SourceTree<'_>,
        selection: &Selection,
        pick: &Pick,
        target: PathBuf,
    ) -> Result<(), CopyError> {
        let mut source_path = pick.path.clone();
        let mut target_path = target;
        let mut entries = selection.entries(tree, pick)?;
        let Some(top) = entries.next()? else { return Ok(()) };
        let source = tree.root().open_at(&source_path, DIRECTORY, Mode::empty());
        let source = source.map_err(|error| not_opened(&source_path, error))?;
        let mut source = Descent::new(source);
        let mut target = Descent::new(self.open_target(&target_path)?);
        let mut levels = vec![Level { entry: top, is_new: false }];
        while let Some(entry) = entries.next()? {
            while levels.len() > entry.depth
                && let Some(level) = levels.pop()
            {
                self.leave(level, target.directory(), &target_path)?;
                source_path.pop();
                target_path.pop();
                source.leave().map_err(|error| not_opened(&source_path, error))?;
                target.leave().map_err(|error| not_written(&target_path, error))?;
            }
            source_path.push(&entry.name);
            target_path.push(&entry.name);
            let node = Node { place: target.directory(), name: &entry.name, path: &target_path };
            if entry.metadata.is_directory() {
                let (to, is_new) = node.enter()?;
                let from = source.open(&entry.name).map_err(|error| not_opened(&source_path, error))?;
                source.enter(entry.name.clone(), from);
                target.enter(entry.name.clone(), to);
                levels.push(Level { entry, is_new });
                continue;
            }
            let file = Source {
                directory: source.directory(),
                name: &entry.name,
                path: &source_path,
                metadata: &entry.metadata,
                keeps_capabilities: tree.keeps_capabilities(),
            };
            self.copy_node(file, node)?;
            source_path.pop();
            target_path.pop();
        }
        while let Some(level) = levels.pop() {
            self.leave(level, target.directory(), &target_path)?;
            target_path.pop();
            target.leave().map_err(|error| not_written(&target_path, error))?;
        }
        if entries.has_changed() {
            self.report.changed.push(pick.path.clone());
        }
        Ok(())
    }

    /// Copies a pick that is no directory to `target`.
    pub(super) fn copy_single(
        &mut self,
        tree: &SourceTree<'_>,
        pick: &Pick,
        target: &Path,
    ) -> Result<(), CopyError> {
        let from = tree.root().locate(&pick.path).map_err(|error| not_opened(&pick.path, error))?;
        let to = self.locate(target)?;
        let source = Source {
            directory: from.parent.as_fd(),
            name: &from.name,
            path: &pick.path,
            metadata: pick.metadata(),
            keeps_capabilities: tree.keeps_capabilities(),
        };
        self.copy_node(source, Node { place: to.parent.as_fd(), name: &to.name, path: target })
    }

    fn open_target(&self, path: &Path) -> Result<OwnedFd, CopyError> {
        self.root.open_at(path, DIRECTORY, Mode::empty()).map_err(|source| match source.kind() {
            io::ErrorKind::NotADirectory => CopyError::DirectoryOverFile { path: path.to_owned() },
            _ => not_written(path, source),
        })
    }

    /// Gives a directory its attributes, now that nothing more is made in it.
    fn leave(&self, level: Level<'_>, target: BorrowedFd<'_>, path: &Path) -> Result<(), CopyError> {
        let Level { entry, is_new } = level;
        let failed = |error: rustix::io::Errno| not_written(path, error.into());
        if entry.depth == 0 {
            // The destination stays as it is but for its time.
            return fs::futimens(target, &node::times(entry.metadata.mtime)).map_err(failed);
        }
        if entry.is_implied && !is_new {
            return fs::fchmod(target, Mode::from_raw_mode(entry.metadata.mode)).map_err(failed);
        }
        node::set_attributes(target, self.attributes(&entry.metadata), None, path)
    }

    /// Copies one file that is no directory.
    fn copy_node(&mut self, source: Source<'_>, node: Node<'_>) -> Result<(), CopyError> {
        let attributes = self.attributes(source.metadata);
        match source.metadata.kind {
            Kind::File => return self.copy_file(source, node),
            Kind::Symlink => {
                let target = fs::readlinkat(source.directory, source.name, Vec::new())
                    .map_err(|error| not_opened(source.path, error))?;
                node.symlink(OsStr::from_bytes(target.as_bytes()))?;
            }
            Kind::CharDevice if source.metadata.special == 0 => {
                return Err(CopyError::DeletionMark { path: source.path.to_owned() });
            }
            Kind::CharDevice | Kind::BlockDevice if self.notes_devices => {
                let (major, minor) = (fs::major(source.metadata.special), fs::minor(source.metadata.special));
                let kind = match source.metadata.kind {
                    Kind::BlockDevice => EntryKind::BlockDevice { major, minor },
                    _ => EntryKind::CharDevice { major, minor },
                };
                return self.note_device(&kind, source.metadata.uid, &source, node);
            }
            Kind::CharDevice | Kind::BlockDevice | Kind::Fifo => {
                node.special(source.metadata.kind, source.metadata.special)?;
            }
            // A name that nothing listens on is of no use; BuildKit keeps a file in its place.
            Kind::Socket => drop(node.create()?),
            Kind::Directory => return Err(CopyError::Replaced { path: source.path.to_owned() }),
        }
        node.set_attributes(attributes, source.metadata.kind == Kind::Symlink)
    }

    /// Makes what stands for a device.
    fn note_device(
        &self,
        kind: &EntryKind,
        uid: u32,
        source: &Source<'_>,
        node: Node<'_>,
    ) -> Result<(), CopyError> {
        let mut attributes = self.attributes(source.metadata);
        let owner = self.owner.map_or(uid, |(uid, _)| uid);
        attributes.uid = 0;
        let file = node.create()?;
        if let Some(note) = DeviceNote::new(kind, owner) {
            note.write(&file).map_err(|error| node.failed(error))?;
        }
        node::set_attributes(&file, attributes, None, node.path)
    }

    fn copy_file(&mut self, source: Source<'_>, node: Node<'_>) -> Result<(), CopyError> {
        let Metadata { device, inode, links, .. } = *source.metadata;
        if links > 1 {
            if let Some(first) = self.links.get(&(device, inode)) {
                let first = self.locate(first)?;
                return node.link(&first.parent, &first.name);
            }
            self.links.insert((device, inode), node.path.to_owned());
        }
        let unreadable = |error| not_opened(source.path, error);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let from = fs::openat(source.directory, source.name, flags, Mode::empty()).map_err(unreadable)?;
        let from = File::from(from);
        let before = fs::fstat(&from).map_err(unreadable)?;
        if Metadata::of(&before).kind != Kind::File {
            return Err(CopyError::Replaced { path: source.path.to_owned() });
        }
        if self.notes_devices
            && let Some(note) =
                DeviceNote::read(&from, &before).map_err(|error| not_opened(source.path, error))?
        {
            return self.note_device(&note.kind, note.uid, &source, node);
        }
        let to = node.create()?;
        let blocks = u64::try_from(before.st_blocks).unwrap_or(u64::MAX);
        let size = Metadata::of(&before).size;
        self.content.copy(&from, &to, size, blocks).map_err(|error| node.failed(error))?;
        let capabilities = match source.keeps_capabilities {
            true => capabilities(&from).map_err(|error| not_opened(source.path, error))?,
            false => None,
        };
        node::set_attributes(&to, self.attributes(source.metadata), capabilities.as_deref(), node.path)?;
        let after = fs::fstat(&from).map_err(unreadable)?;
        if Metadata::of(&after).has_changed_since(source.metadata) {
            self.report.changed.push(source.path.to_owned());
        }
        Ok(())
    }
}

fn not_written(path: &Path, source: io::Error) -> CopyError {
    CopyError::Write { path: path.to_owned(), source }
}
