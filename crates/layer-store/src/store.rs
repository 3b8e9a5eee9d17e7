//! Opening a store, and making durable what was put into it.

use std::collections::{HashMap, HashSet};
use std::fs::{self, DirBuilder, File};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use lbuild_archive::Limits as ArchiveLimits;
use lbuild_oci::{ChainId, DiffId, Digest, lock};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::cache::CacheRecord;
use crate::error::OnPath;
use crate::fetch::Fetcher;
use crate::hollow::Hollow;
use crate::layout::Layout;
use crate::lock::{Looking, StoreLock};
use crate::overlay::{Lower, Overlay};
use crate::snapshots::Snapshots;
use crate::staging::Staging;
use crate::whiteout::Marks;
use crate::{Damage, Layer, StoreError, directory, format, record, step_lock};

/// `OVERLAYFS_SUPER_MAGIC` of linux/magic.h.
const OVERLAY_MAGIC: i64 = 0x794c_7630;

/// How a store is opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreOptions {
    /// Whether this process is in a user namespace, where overlayfs keeps its marks in `user.*`.
    pub userxattr: bool,
    /// Whose files the snapshots hold.
    pub ownership: Ownership,
    /// How trees are made.
    pub trees: Trees,
    /// What an archive from outside may cost: a layer that is unpacked, and what the store's users read.
    pub archive_limits: ArchiveLimits,
}

/// Whose files the snapshots of a store hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Ownership {
    /// Their owners', on this disk.
    #[default]
    Real,
    /// This user's: the owners are noted beside the files, and only lbuild shows them.
    Noted,
}

/// How the trees that steps work in are made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Trees {
    /// By overlays; where the kernel refuses them to a user namespace, by copying.
    #[default]
    Overlays,
    /// By copying the layers: slower, and every step takes the place of a whole image meanwhile.
    Copies,
}

/// A store of layers, snapshots, cache records and images, shared by the threads of a process and,
/// through its directory, by several processes.
#[derive(Debug)]
pub struct Store {
    pub(crate) layout: Layout,
    pub(crate) options: StoreOptions,
    pub(crate) marks: Marks,
    /// Whether the store lies on an overlay, which takes no upper directory: steps then work in
    /// memory and are copied.
    pub(crate) is_nested: bool,
    /// Two empty directories: an overlay takes no directory twice.
    pub(crate) empty: [PathBuf; 2],
    /// Where no overlay can be mounted: directories that show stacks of layers, by links.
    pub(crate) unions: Option<Mutex<HashMap<ChainId, PathBuf>>>,
    pub(crate) staging: Arc<Staging>,
    /// The store's directory, open since before anything was written: syncfs then tells of every write
    /// that failed meanwhile.
    disk: File,
    pub(crate) snapshots: Snapshots,
    /// Directories of layers that are elsewhere.
    pub(crate) hollow: Hollow,
    pub(crate) pending: Mutex<Pending>,
    /// Layers whose records were read.
    pub(crate) layers: Mutex<HashMap<DiffId, Layer>>,
    /// What fetches layers that are elsewhere.
    pub(crate) fetcher: OnceLock<Arc<dyn Fetcher>>,
    /// One lock for each blob that is being fetched.
    pub(crate) fetching: Mutex<HashMap<Digest, Arc<Mutex<()>>>>,
    /// Why layers were forgotten that should have been elsewhere.
    pub(crate) lost: Mutex<HashMap<DiffId, String>>,
    /// On an overlay: what the snapshots that were looked at delete.
    pub(crate) whiteouts: Mutex<HashMap<ChainId, Arc<[Vec<u8>]>>>,
    /// What was found damaged and not told yet.
    pub(crate) damage: Mutex<Vec<Damage>>,
    /// Where all that was, told or not.
    pub(crate) set_aside: Mutex<HashSet<PathBuf>>,
    /// Held by the one thread that flushes.
    flushing: Mutex<()>,
    pub(crate) lock: StoreLock,
}

/// What only this process knows before the next flush.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// Where the blobs are.
    pub blobs: HashMap<Digest, PathBuf>,
    pub layers: HashMap<DiffId, Layer>,
    pub cache: HashMap<Digest, CacheRecord>,
}

impl Store {
    /// What an archive from outside may cost.
    pub fn archive_limits(&self) -> &ArchiveLimits {
        &self.options.archive_limits
    }

    /// Whether empty files stand for devices in this store's trees
    /// ([`DeviceNote`](lbuild_archive::DeviceNote)).
    pub fn notes_devices(&self) -> bool {
        self.options.userxattr
    }

    /// What a layer may cost that is in the store already: no less than usual.
    pub(crate) fn layer_limits(&self) -> ArchiveLimits {
        let (given, usual) = (self.options.archive_limits, ArchiveLimits::default());
        ArchiveLimits {
            entries: given.entries.max(usual.entries),
            bytes: given.bytes.max(usual.bytes),
            ratio: given.ratio.max(usual.ratio),
            ..given
        }
    }

    /// Opens the store at `root`, which is made if it does not exist, and clears what killed processes
    /// left. Raises this process's limit of open files.
    ///
    /// # Errors
    /// [`StoreError::NewerVersion`], [`StoreError::NotAStore`], [`StoreError::OtherMarks`],
    /// [`StoreError::OtherOwner`], [`StoreError::ReadOnly`] or [`StoreError::Io`].
    pub fn open(root: &Path, options: StoreOptions) -> Result<Self, StoreError> {
        Self::open_or_create(root, options).map_err(|error| match error {
            StoreError::Io { source, .. } if source.kind() == ErrorKind::ReadOnlyFilesystem => {
                StoreError::ReadOnly { path: root.to_owned() }
            }
            error => error,
        })
    }

    fn open_or_create(root: &Path, options: StoreOptions) -> Result<Self, StoreError> {
        DirBuilder::new().recursive(true).mode(0o700).create(root).on("create", root)?;
        let layout = Layout::new(root.canonicalize().on("open", root)?);
        check_owner(layout.root())?;
        let disk = File::open(layout.root()).on("open", layout.root())?;
        format::check(&layout, options)?;
        let directories =
            [layout.snapshots(), layout.layers(), layout.blobs(), layout.images(), layout.names()];
        for directory in directories.into_iter().chain([layout.cache(), layout.tmp()]) {
            fs::create_dir_all(&directory).on("create", directory)?;
        }
        raise_open_files();
        // What cannot be removed is in nobody's way; prune says why.
        if Staging::clear_dead(&layout.tmp(), false).is_ok_and(|freed| freed.count > 0) {
            step_lock::clear_dead(&layout);
        }
        let staging = Arc::new(Staging::create(&layout.tmp())?);
        let lock = StoreLock::open(layout.lock(), staging.lease())?;
        let empty = ["empty", "void"].map(|name| staging.path().join(name));
        for directory in &empty {
            directory::create(directory).on("create", directory)?;
        }
        let is_nested = is_overlay(layout.root())?;
        let copies = options.trees == Trees::Copies
            || (options.userxattr && !can_mount(&empty, staging.path(), options.userxattr)?);
        Ok(Self {
            marks: Marks::new(options.userxattr, is_nested),
            layout,
            options,
            is_nested,
            empty,
            unions: copies.then(Mutex::default),
            staging,
            disk,
            snapshots: Snapshots::default(),
            hollow: Hollow::new(),
            pending: Mutex::default(),
            layers: Mutex::default(),
            fetcher: OnceLock::new(),
            fetching: Mutex::default(),
            lost: Mutex::default(),
            whiteouts: Mutex::default(),
            damage: Mutex::default(),
            set_aside: Mutex::default(),
            flushing: Mutex::default(),
            lock,
        })
    }

    /// The store's directory.
    pub fn root(&self) -> &Path {
        self.layout.root()
    }

    /// Whether steps work in memory and are copied afterwards, since the store lies on an overlay, as
    /// in a container without a volume: slower, and bounded by the memory. People should be told.
    pub fn works_in_memory(&self) -> bool {
        self.is_nested && !self.copies()
    }

    /// Whether the trees that steps work in are copied, since no overlay can be mounted. People should
    /// be told.
    pub fn copies(&self) -> bool {
        self.unions.is_some()
    }

    /// A new, empty directory on the store's disk, mode 755, that is removed when this store is closed.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn scratch(&self) -> Result<PathBuf, StoreError> {
        Ok(self.staging.directory()?.keep())
    }

    /// Makes everything that was put into the store durable and visible to other processes: one
    /// syncfs, then names. Costs nothing if there is nothing.
    ///
    /// # Errors
    /// [`StoreError::Io`]; what was not named yet is tried again by the next flush.
    pub fn flush(&self) -> Result<(), StoreError> {
        let _alone = lock(&self.flushing);
        // A record is put in after what it needs, so it is collected before that.
        let (cache, layers, blobs) = {
            let pending = lock(&self.pending);
            (pending.cache.clone(), pending.layers.clone(), pending.blobs.clone())
        };
        let snapshots = self.snapshots.staged();
        if cache.is_empty() && layers.is_empty() && blobs.is_empty() && snapshots.is_empty() {
            return Ok(());
        }
        rustix::fs::syncfs(&self.disk).on("sync", self.root())?;
        for (digest, path) in blobs {
            self.publish_blob(&digest, &path)?;
        }
        for chain in snapshots {
            self.snapshots.publish(&self.layout, &chain)?;
        }
        for layer in layers.into_values() {
            self.publish_layer(layer)?;
        }
        for (key, record) in cache {
            if !record.is_from_elsewhere || !CacheRecord::is_known(&self.layout, &key) {
                record.write(&self.staging, &self.layout, &key)?;
            }
            let mut pending = lock(&self.pending);
            if pending.cache.get(&key).is_some_and(|latest| *latest == record) {
                pending.cache.remove(&key);
            }
        }
        Ok(())
    }

    /// While the result is held, nothing loses its name; what it holds keeps it as long as this process
    /// lives.
    pub(crate) fn looking(&self) -> Result<Looking<'_>, StoreError> {
        self.lock.look()
    }

    /// Keeps prunes of other processes from what is known by `digests`.
    pub(crate) fn hold<'d>(&self, digests: impl IntoIterator<Item = &'d Digest>) -> Result<(), StoreError> {
        let mut missing = digests.into_iter().filter(|digest| !self.lock.holds(digest)).peekable();
        if missing.peek().is_some() {
            let looking = self.looking()?;
            missing.for_each(|digest| looking.hold(digest));
        }
        Ok(())
    }

    /// Whether a snapshot is there, which then stays.
    pub(crate) fn has_snapshot(&self, chain: &ChainId) -> Result<bool, StoreError> {
        if self.snapshots.known().path(chain).is_some() {
            return Ok(true);
        }
        let looking = self.looking()?;
        let is_there = self.snapshots.has(&self.layout, chain);
        if is_there {
            looking.hold(chain.digest());
        }
        Ok(is_there)
    }

    fn publish_blob(&self, digest: &Digest, path: &Path) -> Result<(), StoreError> {
        let mut pending = lock(&self.pending);
        fs::rename(path, self.layout.blob(digest)).on("rename", path)?;
        pending.blobs.remove(digest);
        Ok(())
    }

    fn publish_layer(&self, layer: Layer) -> Result<(), StoreError> {
        let path = self.layout.layer(&layer.diff_id);
        let other: Option<Layer> = record::read_json(&path)?;
        // Another process's record fits the snapshot that it named.
        let is_whole = match &other {
            Some(other) => self.is_here(other)? || !self.is_here(&layer)? && *other == layer,
            None => false,
        };
        if !is_whole {
            record::write(&self.staging, &path, &lbuild_oci::json::canonical(&layer))?;
        }
        lock(&self.pending).layers.remove(&layer.diff_id);
        Ok(())
    }
}

/// Makes sure that the store `root`, if it is there, is this user's.
///
/// To be asked before a user namespace is entered too: there, other users' ids cannot be told.
///
/// # Errors
/// [`StoreError::OtherOwner`], and [`StoreError::Io`] for `root`.
pub fn check_owner(root: &Path) -> Result<(), StoreError> {
    let owner = match fs::metadata(root) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        found => found.on("read", root)?.uid(),
    };
    let user = rustix::process::geteuid().as_raw();
    if owner != user {
        return Err(StoreError::OtherOwner { path: root.to_owned(), owner, user });
    }
    Ok(())
}

/// A walk holds every directory on its way open, and the usual limit of 1024 files is one for programs
/// that use select(2).
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    // Where it cannot be raised, only deep trees fail, and say so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// Whether the kernel mounts overlays for this process.
fn can_mount(empty: &[PathBuf; 2], scratch: &Path, userxattr: bool) -> Result<bool, StoreError> {
    let lowers = empty.iter().cloned().map(Lower::Path).collect();
    let overlay = Overlay { lowers, writable: None, userxattr, source: "lbuild", scratch };
    match overlay.mount() {
        Ok(_) => Ok(true),
        Err(StoreError::Mount { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_overlay(path: &Path) -> Result<bool, StoreError> {
    Ok(rustix::fs::statfs(path).on("read", path)?.f_type as i64 == OVERLAY_MAGIC)
}
