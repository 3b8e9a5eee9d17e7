//! Cache mounts as archives, so that machines can hand them on.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use lbuild_archive::{ArchiveError, EntryKind, ExtractOptions, Header, Reader, Writer};
use lbuild_confined::Root;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, StatxFlags};

use crate::cache_mount::{CacheMountSharing, ID_FILE};
use crate::error::OnPath;
use crate::lock::PATIENCE;
use crate::{Store, StoreError, directory, usage};

/// A cache mount, for people to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheMount {
    /// Its id.
    pub id: String,
    /// Bytes on disk, of all its copies.
    pub bytes: u64,
    /// When a run took it last.
    pub last_used: SystemTime,
    /// Whether one has it now.
    pub is_in_use: bool,
}

/// A directory that is being walked.
struct Level {
    directory: OwnedFd,
    path: Vec<u8>,
    names: std::vec::IntoIter<std::ffi::CString>,
}

impl Store {
    /// All cache mounts, by id.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn cache_mounts(&self) -> Result<Vec<CacheMount>, StoreError> {
        let folders = {
            // To see whether one is in use is to lock it, which must not look like a use to a build.
            let _alone = self.lock.exclusive(self.root(), PATIENCE)?;
            self.cache_mount_folders()?
        };
        let mut mounts = Vec::new();
        for folder in folders {
            // One that was pruned meanwhile is none.
            let Ok(id) = fs::read_to_string(folder.folder.join(ID_FILE)) else { continue };
            let bytes = usage::of(&folder.folder).bytes;
            mounts.push(CacheMount { id, bytes, last_used: folder.last_used, is_in_use: folder.is_in_use });
        }
        mounts.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(mounts)
    }

    /// Writes the files of the cache mount `id` as a tar, with zstd if `is_compressed`; `false` if there is none. Waits for runs that
    /// have it, until `cancelled` is true, which is [`StoreError::Busy`].
    ///
    /// # Errors
    /// [`StoreError::Io`], [`StoreError::Pack`].
    pub fn export_cache_mount(
        &self,
        id: &str,
        cancelled: &dyn Fn() -> bool,
        is_compressed: bool,
        output: &mut dyn Write,
    ) -> Result<bool, StoreError> {
        if !self.cache_mounts()?.iter().any(|mount| mount.id == id) {
            return Ok(false);
        }
        let mut leave_empty = |_: &Root| Ok::<(), StoreError>(());
        let guard = self.cache_mount(id, CacheMountSharing::Locked, cancelled, &mut leave_empty)?;
        let guard = guard.ok_or_else(|| StoreError::Busy { path: self.root().to_owned() })?;
        let failed = |error| StoreError::Pack(ArchiveError::Write(error));
        if is_compressed {
            let mut encoder = zstd::Encoder::new(output, zstd::DEFAULT_COMPRESSION_LEVEL).map_err(failed)?;
            pack(guard.root(), &mut encoder)?;
            encoder.finish().map_err(failed)?;
        } else {
            pack(guard.root(), output)?;
        }
        Ok(true)
    }

    /// Makes the files of an archive, compressed or not, those of the cache mount `id`, in place of those
    /// that it had. Waits as [`Store::export_cache_mount`] does.
    ///
    /// # Errors
    /// [`StoreError::Import`] for a bad archive, after which the cache mount is as it was.
    pub fn import_cache_mount(
        &self,
        id: &str,
        cancelled: &dyn Fn() -> bool,
        archive: File,
    ) -> Result<u64, StoreError> {
        let scratch = self.staging.directory()?;
        let entries = self.unpack_archive(archive, scratch.path()).map_err(StoreError::Import)?;
        let mut leave_empty = |_: &Root| Ok::<(), StoreError>(());
        let guard = self.cache_mount(id, CacheMountSharing::Locked, cancelled, &mut leave_empty)?;
        let _guard = guard.ok_or_else(|| StoreError::Busy { path: self.root().to_owned() })?;
        let copy = self.cache_mount_copy(id);
        let old = self.staging.directory()?;
        rustix::fs::syncfs(directory::open(scratch.path()).on("open", scratch.path())?)
            .on("sync", self.root())?;
        fs::rename(&copy, old.path().join("old")).on("rename", &copy)?;
        fs::rename(scratch.keep(), &copy).on("rename", &copy)?;
        Ok(entries)
    }

    fn unpack_archive(&self, archive: File, target: &Path) -> Result<u64, ArchiveError> {
        let limits = self.archive_limits();
        let (_, tar) = lbuild_archive::decompress_within(archive, limits).map_err(ArchiveError::Read)?;
        let root =
            Root::open(target).map_err(|source| ArchiveError::Unpack { path: target.to_owned(), source })?;
        let options = ExtractOptions { preserve_root_metadata: true, ..ExtractOptions::default() };
        let report = lbuild_archive::extract(&mut Reader::new(tar, *limits), &root, Path::new(""), &options)?;
        Ok(report.entries)
    }

    fn cache_mount_copy(&self, id: &str) -> PathBuf {
        self.layout.cache_mounts().join(lbuild_oci::Digest::of(id).hex()).join("0")
    }
}

/// Writes everything under `root` but sockets, parents first.
fn pack(root: &Root, output: &mut dyn Write) -> Result<(), StoreError> {
    let mut writer = Writer::new(output);
    let top = root.open_at("/", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).on("open", "the cache")?;
    let mut links: HashMap<(u64, u64), Vec<u8>> = HashMap::new();
    let mut levels = vec![Level::new(top, Vec::new())?];
    while let Some(level) = levels.last_mut() {
        let Some(name) = level.names.next() else {
            levels.pop();
            continue;
        };
        let path = directory::join(&level.path, name.to_bytes());
        let failed = |error: rustix::io::Errno| directory::error("read", &path, error);
        let stat =
            rustix::fs::statx(&level.directory, &name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS)
                .map_err(failed)?;
        let target = match FileType::from_raw_mode(stat.stx_mode.into()) {
            FileType::Symlink => {
                rustix::fs::readlinkat(&level.directory, &name, Vec::new()).map_err(failed)?.into_bytes()
            }
            _ => Vec::new(),
        };
        let Some(mut header) = Header::from_statx(path.clone(), &stat, target) else { continue };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match header.kind {
            EntryKind::Directory => {
                header.path.push(b'/');
                writer.append(&header, &mut std::io::empty()).map_err(StoreError::Pack)?;
                if let Some(opened) = directory::open_at(&level.directory, &name).map_err(failed)? {
                    levels.push(Level::new(opened, path)?);
                }
            }
            EntryKind::File => {
                let inode =
                    (u64::from(stat.stx_dev_major) << 32 | u64::from(stat.stx_dev_minor), stat.stx_ino);
                let first = links.entry(inode).or_insert_with(|| path.clone());
                if stat.stx_nlink > 1 && *first != path {
                    header.kind = EntryKind::HardLink(first.clone());
                    header.size = 0;
                    writer.append(&header, &mut std::io::empty()).map_err(StoreError::Pack)?;
                    continue;
                }
                let opened =
                    rustix::fs::openat(&level.directory, &name, flags, Mode::empty()).map_err(failed)?;
                let mut file = File::from(opened);
                writer.append(&header, &mut (&mut file).take(header.size)).map_err(StoreError::Pack)?;
            }
            _ => writer.append(&header, &mut std::io::empty()).map_err(StoreError::Pack)?,
        }
    }
    writer.finish().map(|_| ()).map_err(|error| StoreError::Pack(ArchiveError::Write(error)))
}

impl Level {
    fn new(directory: OwnedFd, path: Vec<u8>) -> Result<Self, StoreError> {
        let names = directory::names(directory.as_fd()).map_err(|e| directory::error("read", &path, e))?;
        Ok(Self { directory, path, names: names.into_iter() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StoreOptions;

    #[test]
    fn what_was_exported_can_be_imported_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let open = |name: &str| Store::open(&folder.path().join(name), StoreOptions::default()).unwrap();
        let (one, two) = (open("one"), open("two"));
        let fill = |store: &Store, id: &str, file: &str| {
            let mut nothing = |_: &Root| Ok::<(), StoreError>(());
            drop(store.cache_mount(id, CacheMountSharing::Shared, &|| false, &mut nothing).unwrap());
            fs::write(store.cache_mount_copy(id).join(file), "content").unwrap();
        };
        fill(&one, "go", "a");
        fs::hard_link(one.cache_mount_copy("go").join("a"), one.cache_mount_copy("go").join("b")).unwrap();
        let path = folder.path().join("cache.tar.zst");
        let never = || false;
        assert!(one.export_cache_mount("go", &never, true, &mut File::create(&path).unwrap()).unwrap());
        assert!(!one.export_cache_mount("absent", &never, false, &mut std::io::sink()).unwrap());

        fill(&two, "other", "old");
        assert_eq!(two.import_cache_mount("other", &never, File::open(&path).unwrap()).unwrap(), 2);
        let copy = two.cache_mount_copy("other");
        assert_eq!(fs::read(copy.join("b")).unwrap(), b"content");
        assert!(!copy.join("old").exists());

        fs::write(&path, "no archive").unwrap();
        let refused = two.import_cache_mount("other", &never, File::open(&path).unwrap());
        assert!(matches!(refused, Err(StoreError::Import(_))), "{refused:?}");
        assert!(copy.join("b").exists());
        let mounts = two.cache_mounts().unwrap();
        assert_eq!((mounts.len(), mounts[0].id.as_str(), mounts[0].is_in_use), (1, "other", false));
    }
}
