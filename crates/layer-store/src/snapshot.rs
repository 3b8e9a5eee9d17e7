//! Merged trees: a writable one for a step, a read-only one to look at.

use std::collections::HashMap;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use lbuild_confined::Root;
use lbuild_oci::{ChainId, DiffId, lock};
use rustix::fs::{AtFlags, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::below::Below;
use crate::copied::{self, CopiedTree};
use crate::error::OnPath;
use crate::hollow::{Depth, Token};
use crate::overlay::{Lower, MAX_LOWERS, Overlay};
use crate::pack::{Packed, TarSink};
use crate::snapshots::Known;
use crate::staging::Staging;
use crate::workspace::{Finished, Workspace};
use crate::{Layer, Ownership, Store, StoreError, directory, noted, seal};

/// What mountinfo shows for a tree that is attached nowhere.
const SOURCE: &str = "lbuild";

/// Directories that a step sees besides its layers, so that mount points need not be made.
#[derive(Debug, Clone, Copy, Default)]
pub struct PrepareOptions<'a> {
    /// Below all layers: seen where the layers have nothing.
    pub stubs: Option<BorrowedFd<'a>>,
    /// Above all layers: hides what the layers have.
    pub overlay_stubs: Option<BorrowedFd<'a>>,
}

/// How a step becomes a layer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CommitOptions {
    /// Later times are clamped to this, in seconds since the Unix epoch (`SOURCE_DATE_EPOCH`).
    pub latest_mtime: Option<i64>,
}

/// A writable tree on top of layers; dropping it discards what was written.
#[derive(Debug)]
pub struct ActiveSnapshot {
    root: Root,
    parent: Vec<DiffId>,
    stubs: Stubs,
    /// The tree, where it is none of an overlay.
    copied: Option<CopiedTree>,
    /// Where files below may be hollow: what tells them.
    pub(crate) hollow: Option<Token>,
    /// After `root`, whose mount must go first.
    workspace: Workspace,
}

/// A read-only tree of merged layers.
#[derive(Debug)]
pub struct View {
    root: Root,
    _staging: Arc<Staging>,
}

/// What lies around the layers.
#[derive(Debug, Default)]
struct Stubs {
    below: Option<OwnedFd>,
    above: Option<OwnedFd>,
    /// What the layers themselves may be.
    depth: Depth,
}

impl ActiveSnapshot {
    /// The merged tree: a mount that no path of the file system leads to.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// What the step wrote, in overlayfs's form.
    ///
    /// # Errors
    /// [`StoreError::Io`], where what a step changed must be found first.
    pub(crate) fn upper(&self) -> Result<BorrowedFd<'_>, StoreError> {
        if let Some(copied) = &self.copied {
            copied.collect(self.workspace.upper())?;
        }
        Ok(self.workspace.upper())
    }

    /// The layers below, bottom first.
    pub fn parent(&self) -> &[DiffId] {
        &self.parent
    }
}

impl View {
    /// The merged tree.
    pub fn root(&self) -> &Root {
        &self.root
    }
}

impl Stubs {
    fn new(options: &PrepareOptions<'_>) -> Result<Self, StoreError> {
        let keep = |fd: Option<BorrowedFd<'_>>| {
            fd.map(|fd| fd.try_clone_to_owned().on("keep", "the mount points")).transpose()
        };
        let (below, above) = (keep(options.stubs)?, keep(options.overlay_stubs)?);
        Ok(Self { below, above, depth: Depth::Whole })
    }

    /// Without stubs, on layers of this depth.
    fn none(depth: Depth) -> Self {
        Self { depth, ..Self::default() }
    }

    fn is_empty(&self) -> bool {
        self.count() == 0
    }

    fn count(&self) -> usize {
        usize::from(self.below.is_some()) + usize::from(self.above.is_some())
    }
}

/// Takes a tar that nobody needs, until that is cancelled.
struct Watch<'a> {
    cancelled: &'a dyn Fn() -> bool,
    bytes: usize,
}

impl Write for Watch<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        const INTERVAL: usize = 1 << 20;
        self.bytes += bytes.len();
        if self.bytes >= INTERVAL {
            self.bytes = 0;
            if (self.cancelled)() {
                return Err(io::Error::other("interrupted"));
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Store {
    /// A writable tree on top of `layers`, bottom first, which are unpacked if they are not yet.
    ///
    /// # Errors
    /// [`StoreError::UnknownLayer`], [`StoreError::TooManyLayers`], [`StoreError::Mount`], and those
    /// of unpacking.
    pub fn prepare(
        &self,
        layers: &[DiffId],
        options: &PrepareOptions<'_>,
    ) -> Result<ActiveSnapshot, StoreError> {
        let stubs = Stubs::new(options)?;
        self.check_count(layers, &stubs)?;
        self.unpack_missing(layers)?;
        let is_in_memory = self.works_in_memory();
        let workspace = self.workspace(layers, is_in_memory)?;
        if self.copies() {
            let copied = CopiedTree::new(&self.staging, &self.sources(layers, &stubs)?, self.marks)?;
            let root = Root::from_fd(copied.open()?);
            return Ok(ActiveSnapshot {
                root,
                parent: layers.to_vec(),
                stubs,
                copied: Some(copied),
                hollow: None,
                workspace,
            });
        }
        if is_in_memory {
            self.seed(workspace.upper(), layers)?;
            workspace.restore_root()?;
        }
        let writable = (workspace.upper(), workspace.work());
        let mount = self.merge(layers, &stubs, Some(writable), SOURCE)?;
        let (root, parent) = (Root::from_fd(mount), layers.to_vec());
        Ok(ActiveSnapshot { root, parent, stubs, copied: None, hollow: None, workspace })
    }

    /// A writable tree on top of `layers`, of each of which there is a snapshot or a hollow directory.
    pub(crate) fn active_hollow(&self, layers: &[DiffId]) -> Result<ActiveSnapshot, StoreError> {
        let stubs = Stubs::none(Depth::Hollow);
        self.check_count(layers, &stubs)?;
        let workspace = self.workspace(layers, false)?;
        let writable = (workspace.upper(), workspace.work());
        let root = Root::from_fd(self.merge(layers, &stubs, Some(writable), SOURCE)?);
        let hollow = Some(self.hollow.token());
        Ok(ActiveSnapshot { root, parent: layers.to_vec(), stubs, copied: None, hollow, workspace })
    }

    /// The same writable tree anew, with what was written to it so far. A run uses up the mount of a tree;
    /// this lets another one follow. Nothing may use the tree meanwhile.
    ///
    /// # Errors
    /// [`StoreError::Mount`] or [`StoreError::Io`]; what was written is then lost.
    pub fn prepare_again(&self, active: ActiveSnapshot) -> Result<ActiveSnapshot, StoreError> {
        if let Some(copied) = &active.copied {
            return Ok(ActiveSnapshot { root: Root::from_fd(copied.open()?), ..active });
        }
        let ActiveSnapshot { root, parent, stubs, copied, hollow, workspace } = active;
        drop(root);
        // overlayfs refuses what was mounted `volatile` before, unless this is removed.
        let directory = AtFlags::REMOVEDIR;
        for (mark, flags) in [
            (c"work/incompat/volatile/dirty", AtFlags::empty()),
            (c"work/incompat/volatile", directory),
            (c"work/incompat", directory),
        ] {
            match rustix::fs::unlinkat(workspace.work(), mark, flags) {
                Err(error) if error != Errno::NOENT => return Err(error).on("remove", "the overlay's mark"),
                _ => {}
            }
        }
        let writable = (workspace.upper(), workspace.work());
        let mount = self.merge(&parent, &stubs, Some(writable), SOURCE)?;
        Ok(ActiveSnapshot { root: Root::from_fd(mount), parent, stubs, copied, hollow, workspace })
    }

    /// A read-only tree of `layers`, bottom first, which are unpacked if they are not yet; without
    /// layers, an empty directory.
    ///
    /// # Errors
    /// As [`Store::prepare`].
    pub fn view(&self, layers: &[DiffId]) -> Result<View, StoreError> {
        self.check_count(layers, &Stubs::default())?;
        self.unpack_missing(layers)?;
        let mount = self.named_tree(layers, SOURCE)?;
        Ok(View { root: Root::from_fd(mount), _staging: Arc::clone(&self.staging) })
    }

    /// Makes a layer of what a step changed; `None` if it changed nothing.
    ///
    /// The layer is usable at once by this process, and durable and visible to others after
    /// [`Store::flush`]. Nothing may write to the tree any more.
    ///
    /// # Errors
    /// [`StoreError::ReservedName`] for a file that cannot be told from a whiteout,
    /// [`StoreError::Io`], [`StoreError::Pack`]; the store is unchanged.
    pub fn commit(
        &self,
        active: ActiveSnapshot,
        options: &CommitOptions,
    ) -> Result<Option<Layer>, StoreError> {
        self.commit_unless(&|| false, active, options)
    }

    /// [`Store::commit`], which fails soon after `cancelled` is true.
    ///
    /// # Errors
    /// As [`Store::commit`]; [`StoreError::Pack`] if it was cancelled.
    pub fn commit_unless(
        &self,
        cancelled: &dyn Fn() -> bool,
        active: ActiveSnapshot,
        options: &CommitOptions,
    ) -> Result<Option<Layer>, StoreError> {
        active.upper()?;
        let ActiveSnapshot { root, parent, stubs, copied, hollow: _, workspace } = active;
        drop(root);
        workspace.restore_root()?;
        if directory::is_empty(workspace.upper()).on("read", "the upper directory")? {
            return Ok(None);
        }
        let packed = self.seal(cancelled, &parent, &stubs, &workspace, copied.as_ref(), options)?;
        if packed.entries == 0 {
            return Ok(None);
        }
        workspace.restore_root()?;
        let mut layers = parent;
        layers.push(packed.diff_id);
        let chain = self.snapshots.chains(&layers)[layers.len() - 1];
        let layer = Layer {
            diff_id: packed.diff_id,
            size: packed.size,
            entries: packed.entries,
            blob: None,
            latest_mtime: options.latest_mtime,
            sources: Vec::new(),
            is_verified: false,
            snapshot: Some(chain),
        };
        self.stage(&layers, workspace, &layer)?;
        match self.layer(&packed.diff_id)? {
            Some(known) if self.is_here(&known)? => Ok(Some(known)),
            _ => {
                lock(&self.layers).remove(&layer.diff_id);
                lock(&self.pending).layers.insert(layer.diff_id, layer.clone());
                Ok(Some(layer))
            }
        }
    }

    /// The directories of `layers`, bottom first; they may be read only, and only while the store is
    /// open.
    ///
    /// # Errors
    /// As [`Store::view`].
    pub fn layer_directories(&self, layers: &[DiffId]) -> Result<Vec<PathBuf>, StoreError> {
        self.unpack_missing(layers)?;
        let known = self.snapshots.known();
        let chains = self.snapshots.chains(layers);
        Ok(chains.iter().filter_map(|chain| known.path(chain)).map(PathBuf::from).collect())
    }

    fn seal(
        &self,
        cancelled: &dyn Fn() -> bool,
        parent: &[DiffId],
        stubs: &Stubs,
        workspace: &Workspace,
        copied: Option<&CopiedTree>,
        options: &CommitOptions,
    ) -> Result<Packed, StoreError> {
        let open_layers = || self.look(parent, &Stubs::default()).and_then(|found| self.or_empty(found));
        let open_layers: Option<&dyn Fn() -> Result<OwnedFd, StoreError>> =
            if stubs.is_empty() { None } else { Some(&open_layers) };
        let full = match copied {
            Some(copied) => Some(copied.open_reference()?),
            None => self.look(parent, stubs)?,
        };
        let hollow = stubs.depth.is_hollow().then(|| self.hollow.token());
        let below = Below::new(full, open_layers, hollow);
        let mut watch = Watch { cancelled, bytes: 0 };
        let mut sink = TarSink::new(Some(&mut watch));
        seal::seal(workspace.upper(), &below, self.marks, options.latest_mtime, &mut sink)?;
        sink.finish()
    }

    /// The cheapest way to read what lies below a step: no mount for one directory.
    fn look(&self, layers: &[DiffId], stubs: &Stubs) -> Result<Option<OwnedFd>, StoreError> {
        match (layers, &stubs.below, &stubs.above) {
            ([], None, None) => Ok(None),
            ([], Some(one), None) | ([], None, Some(one)) => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                rustix::fs::openat(one, c".", flags, Mode::empty()).map(Some).on("open", "the mount points")
            }
            ([_], None, None) => {
                let known = self.snapshots.known();
                let path = self.directory_of(&known, &self.snapshots.chains(layers)[0], stubs.depth);
                path.map(|path| directory::open(&path).on("open", path)).transpose()
            }
            _ => self.merge(layers, stubs, None, SOURCE).map(Some),
        }
    }

    fn or_empty(&self, found: Option<OwnedFd>) -> Result<OwnedFd, StoreError> {
        match found {
            Some(found) => Ok(found),
            None => directory::open(&self.empty[0]).on("open", &self.empty[0]),
        }
    }

    fn merge(
        &self,
        layers: &[DiffId],
        stubs: &Stubs,
        writable: Option<(BorrowedFd<'_>, BorrowedFd<'_>)>,
        source: &str,
    ) -> Result<OwnedFd, StoreError> {
        if let Some(unions) = &self.unions {
            return self.union(layers, stubs, unions);
        }
        let chains = self.snapshots.chains(layers);
        // Held until the mount has them.
        let known = self.snapshots.known();
        let mut lowers: Vec<Lower<'_>> = Vec::with_capacity(layers.len() + 2);
        lowers.extend(stubs.below.as_ref().map(|stubs| Lower::Fd(stubs.as_fd())));
        for (chain, layer) in chains.iter().zip(layers) {
            let path =
                self.directory_of(&known, chain, stubs.depth).ok_or(StoreError::UnknownLayer(*layer))?;
            lowers.push(Lower::Path(path));
        }
        lowers.extend(stubs.above.as_ref().map(|stubs| Lower::Fd(stubs.as_fd())));
        let wanted = if writable.is_some() { 1 } else { 2 };
        let missing = self.empty.iter().take(wanted - lowers.len().min(wanted));
        lowers.splice(0..0, missing.map(|empty| Lower::Path(empty.clone())));
        Overlay { lowers, writable, userxattr: self.options.userxattr, source, scratch: self.staging.path() }
            .mount()
    }

    /// The directory that shows `layers` by links; kept until the store is closed.
    fn union(
        &self,
        layers: &[DiffId],
        stubs: &Stubs,
        unions: &Mutex<HashMap<ChainId, PathBuf>>,
    ) -> Result<OwnedFd, StoreError> {
        let chain = self.snapshots.chains(layers).pop().filter(|_| stubs.is_empty());
        // Whoever needs the same waits.
        let mut known = lock(unions);
        let path = match chain.and_then(|chain| known.get(&chain).cloned()) {
            Some(path) => path,
            None => {
                let made = copied::linked(&self.staging, &self.sources(layers, stubs)?, self.marks)?.keep();
                known.extend(chain.map(|chain| (chain, made.clone())));
                made
            }
        };
        directory::open(&path).on("open", path)
    }

    /// The directories that a tree is put together of, bottom first.
    fn sources(&self, layers: &[DiffId], stubs: &Stubs) -> Result<Vec<OwnedFd>, StoreError> {
        let open = |fd: &OwnedFd| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::openat(fd, c".", flags, Mode::empty()).on("open", "the mount points")
        };
        let mut sources: Vec<OwnedFd> = stubs.below.iter().map(open).collect::<Result<_, _>>()?;
        let known = self.snapshots.known();
        for (chain, layer) in self.snapshots.chains(layers).iter().zip(layers) {
            let path = known.path(chain).ok_or(StoreError::UnknownLayer(*layer))?;
            sources.push(directory::open(path).on("open", path)?);
        }
        if let Some(stubs) = &stubs.above {
            sources.push(open(stubs)?);
        }
        if layers.is_empty() {
            sources.insert(0, directory::open(&self.empty[0]).on("open", &self.empty[0])?);
        }
        Ok(sources)
    }

    /// What the root of a new tree begins as: what the topmost layer's is.
    pub(crate) fn root_stat(&self, layers: &[DiffId]) -> Result<Stat, StoreError> {
        let path = self.root_path(layers);
        rustix::fs::stat(&path).on("read", path)
    }

    /// Has a new tree's root, which may be changed, note what the topmost layer's does.
    pub(crate) fn carry_notes(&self, layers: &[DiffId], root: BorrowedFd<'_>) -> Result<(), StoreError> {
        match self.options.ownership {
            Ownership::Noted => noted::carry(&self.root_path(layers), root),
            Ownership::Real => Ok(()),
        }
    }

    /// The topmost layer's root.
    fn root_path(&self, layers: &[DiffId]) -> PathBuf {
        let top = self.snapshots.chains(layers).pop();
        // The root of a hollow directory is what the whole one's would be.
        let known = self.snapshots.known();
        let path = top.and_then(|chain| self.directory_of(&known, &chain, Depth::Hollow));
        path.unwrap_or_else(|| self.empty[0].clone())
    }

    fn workspace(&self, layers: &[DiffId], is_in_memory: bool) -> Result<Workspace, StoreError> {
        let workspace = Workspace::new(&self.staging, is_in_memory, &self.root_stat(layers)?)?;
        self.carry_notes(layers, workspace.upper())?;
        Ok(workspace)
    }

    /// The directory of a snapshot that is there, or of one that may be hollow. It stays there as long as
    /// `known` is held.
    fn directory_of(&self, known: &Known<'_>, chain: &ChainId, depth: Depth) -> Option<PathBuf> {
        let whole = known.path(chain).map(PathBuf::from);
        whole.or_else(|| self.hollow.path(chain).filter(|_| depth.is_hollow()))
    }

    /// Makes the snapshot of the stack `layers`, whose top is in `workspace`.
    fn stage(&self, layers: &[DiffId], workspace: Workspace, layer: &Layer) -> Result<(), StoreError> {
        let chain = self.snapshots.chains(layers)[layers.len() - 1];
        let directory = match workspace.finish() {
            Finished::OnDisk(directory) => directory,
            Finished::InMemory { upper, .. } => self.apply(layers, |output| {
                let mut sink = TarSink::new(Some(output));
                seal::replay(upper.as_fd(), self.marks, layer.latest_mtime, &mut sink)?;
                sink.finish().map(|_| ())
            })?,
        };
        self.hold([chain.digest(), layer.diff_id.digest()])?;
        self.snapshots.stage(&self.layout, chain, directory);
        Ok(())
    }

    /// `stubs` take places of layers.
    fn check_count(&self, layers: &[DiffId], stubs: &Stubs) -> Result<(), StoreError> {
        let (count, limit) = (layers.len(), MAX_LOWERS - stubs.count());
        if count > limit { Err(StoreError::TooManyLayers { count, limit }) } else { Ok(()) }
    }

    /// A read-only merged tree of `layers`, which are there, that mountinfo calls `source`.
    pub(crate) fn named_tree(&self, layers: &[DiffId], source: &str) -> Result<OwnedFd, StoreError> {
        self.merge(layers, &Stubs::default(), None, source)
    }

    /// The merged tree of some layers, which are there, for what lies below another.
    pub(crate) fn tree(&self, layers: &[DiffId], depth: Depth) -> Result<Option<Root>, StoreError> {
        Ok(self.look(layers, &Stubs::none(depth))?.map(Root::from_fd))
    }
}
