//! Mounts of a RUN made ready: trees opened, caches locked, agents served.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lbuild_build_context::{Metadata, SourceTree};
use lbuild_confined::Root;
use lbuild_layer_store::{ActiveSnapshot, CacheMountGuard, CacheMountSharing, PrepareOptions};
use lbuild_parser::Sharing;
use lbuild_runner::{Mount, MountSource};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid, chmodat, chownat, utimensat};

use crate::BuildError;
use crate::copy::times;
use crate::plan::Origin;
use crate::problem::Problem;
use crate::solve::{Solver, StepPlace};
use crate::step::agent::Agent;
use crate::step::mount::{CacheMount, EmptyCache, Files, ResolvedMount};

/// What the mounts need to stay alive while the command runs.
pub(crate) struct Attached<'a> {
    mounts: &'a [ResolvedMount],
    parts: Vec<Part>,
}

/// One mount's.
pub(crate) enum Part {
    /// Files to bind, in a tree that writes do not leave.
    Tree {
        _owner: Box<ActiveSnapshot>,
        root: Root,
        /// Files that changed while they were copied.
        changed: Vec<PathBuf>,
    },
    Cache(Arc<CacheMountGuard>),
    Agent(Agent),
    None,
}

impl<'a> Attached<'a> {
    /// Makes `mounts` ready.
    ///
    /// # Errors
    /// A source that does not exist, an agent that does not answer, the store's errors.
    pub fn new(
        solver: &Solver<'_>,
        place: StepPlace,
        mounts: &'a [ResolvedMount],
    ) -> Result<Self, BuildError> {
        let caches = caches(solver, place, mounts)?;
        let parts = mounts.iter().map(|mount| match mount {
            ResolvedMount::Bind { files, source, .. } => bind(solver, place, files, source),
            ResolvedMount::Cache(cache) => Ok(Part::Cache(Arc::clone(&caches[cache.directory.as_str()]))),
            ResolvedMount::Ssh { socket: Some(socket), mode, uid, gid, id, .. } => {
                let path = solver.build.store.scratch()?.join("agent");
                let agent = Agent::start(path, socket, *mode, *uid, *gid).map_err(|error| {
                    Problem::because(format!("cannot reach SSH agent {id:?} at {}", socket.display()), error)
                        .help("is the agent running? SSH_AUTH_SOCK names its socket")
                        .at(place.span)
                })?;
                Ok(Part::Agent(agent))
            }
            ResolvedMount::Tmpfs { .. }
            | ResolvedMount::Secret(_)
            | ResolvedMount::Ssh { socket: None, .. } => Ok(Part::None),
        });
        Ok(Self { mounts, parts: parts.collect::<Result<_, BuildError>>()? })
    }

    /// Files of the context that are not those that the step's key was made of.
    pub fn changed(&self) -> impl Iterator<Item = &Path> {
        self.parts.iter().flat_map(|part| match part {
            Part::Tree { changed, .. } => changed.iter().map(PathBuf::as_path).collect(),
            _ => Vec::new(),
        })
    }

    /// What has to stay alive for [`Attached::mounts`].
    pub fn into_parts(self) -> Vec<Part> {
        self.parts
    }

    /// The mounts as the runner takes them.
    ///
    /// # Errors
    /// A source that cannot be opened.
    pub fn mounts(&self) -> Result<Vec<Mount>, Problem> {
        let mut mounts = Vec::new();
        for (mount, part) in self.mounts.iter().zip(&self.parts) {
            mounts.extend(runner_mount(mount, part)?);
        }
        Ok(mounts)
    }
}

fn runner_mount(mount: &ResolvedMount, part: &Part) -> Result<Option<Mount>, Problem> {
    let made = match (mount, part) {
        (ResolvedMount::Bind { source, target, read_only, .. }, Part::Tree { root, .. }) => {
            Mount { source: bind_source(root, source)?, target: target.clone(), read_only: *read_only }
        }
        (ResolvedMount::Cache(cache), Part::Cache(guard)) => Mount {
            source: MountSource::Tree(guard.root().try_clone()?.into_fd()),
            target: cache.target.clone(),
            read_only: cache.read_only,
        },
        (ResolvedMount::Ssh { target, .. }, Part::Agent(agent)) => {
            let socket = rustix::fs::open(agent.path(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
                .map_err(std::io::Error::from)?;
            Mount { source: MountSource::Tree(socket), target: target.clone(), read_only: false }
        }
        (ResolvedMount::Tmpfs { target, size, read_only }, _) => Mount {
            source: MountSource::Tmpfs { size: *size, mode: 0o1777 },
            target: target.clone(),
            read_only: *read_only,
        },
        (ResolvedMount::Secret(secret), _) => {
            let Some(target) = secret.target.clone() else { return Ok(None) };
            let (content, mode) = (secret.content.clone(), secret.mode);
            let source = MountSource::File { content, mode, uid: secret.uid, gid: secret.gid };
            Mount { source, target, read_only: true }
        }
        _ => return Ok(None),
    };
    Ok(Some(made))
}

fn bind_source(root: &Root, source: &str) -> Result<MountSource, Problem> {
    root.stat(source).map_err(|error| {
        Problem::because(format!("cannot mount {source:?}: it is not there"), error)
            .help("source= is a path in the build context, or in what from= names")
    })?;
    Ok(MountSource::TreeAt { root: root.try_clone()?.into_fd(), path: source.into() })
}

fn bind(solver: &Solver<'_>, place: StepPlace, files: &Files, source: &str) -> Result<Part, BuildError> {
    // A tree of its own: what the RUN writes there ends with the step.
    let below = files.layers.as_deref().unwrap_or_default();
    let active = solver.build.store.prepare(below, &PrepareOptions::default())?;
    let changed = match files.layers {
        Some(_) => Vec::new(),
        None => {
            let tree = solver.build.contexts.open(&files.origin, None)?;
            let (contexts, tree) = (&solver.build.contexts, tree.source());
            let changed = contexts.copy_out(solver, &tree, source, active.root(), source, place.span)?;
            // The folder itself is no file of the context.
            if source != "/" {
                copy_directory(&tree, source, active.root(), source).map_err(unattributed)?;
            }
            changed
        }
    };
    let root = active.root().try_clone().map_err(BuildError::io("cannot open a mount's source"))?;
    Ok(Part::Tree { _owner: Box::new(active), root, changed })
}

/// Takes the caches of a RUN, each directory once, however many mounts show it. All runs take them
/// in the same order, so that no two wait for each other.
fn caches<'a>(
    solver: &Solver<'_>,
    place: StepPlace,
    mounts: &'a [ResolvedMount],
) -> Result<BTreeMap<&'a str, Arc<CacheMountGuard>>, BuildError> {
    let mut wanted: BTreeMap<&str, &CacheMount> = BTreeMap::new();
    for mount in mounts {
        if let ResolvedMount::Cache(cache) = mount {
            let known = wanted.entry(&cache.directory).or_insert(cache);
            // The narrowest sharing that any of the mounts asks for.
            if known.sharing == Sharing::Shared {
                *known = cache;
            }
        }
    }
    let take = |(directory, cache): (&'a str, &CacheMount)| {
        Ok((directory, Arc::new(take_cache(solver, place, cache)?)))
    };
    wanted.into_iter().map(take).collect()
}

fn take_cache(
    solver: &Solver<'_>,
    place: StepPlace,
    cache: &CacheMount,
) -> Result<CacheMountGuard, BuildError> {
    let sharing = match cache.sharing {
        // Where trees are copied it may have to be moved into one, and is in one place only.
        Sharing::Shared if solver.build.store.copies() => CacheMountSharing::Locked,
        Sharing::Shared => CacheMountSharing::Shared,
        Sharing::Private => CacheMountSharing::Private,
        Sharing::Locked => CacheMountSharing::Locked,
    };
    let cancelled = || solver.build.cancel.is_cancelled();
    let mut fill = |root: &Root| fill(solver, place, &cache.files, cache, root);
    let guard = solver.build.store.cache_mount(&cache.directory, sharing, &cancelled, &mut fill)?;
    guard.ok_or(BuildError::Interrupted)
}

/// Gives a new cache its first content, owner and mode.
fn fill(
    solver: &Solver<'_>,
    place: StepPlace,
    files: &Files,
    cache: &CacheMount,
    root: &Root,
) -> Result<(), BuildError> {
    match cache.empty {
        Some(EmptyCache { mode, uid, gid }) => {
            let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
            let set = || -> std::io::Result<()> {
                let directory = root.handle(Path::new("/"))?;
                chownat(&directory, ".", uid, gid, AtFlags::empty())?;
                Ok(chmodat(&directory, ".", Mode::from_raw_mode(mode), AtFlags::empty())?)
            };
            set().map_err(unattributed)
        }
        None if files.origin == Origin::Empty => Ok(()),
        None => {
            let tree = solver.build.contexts.open(&files.origin, files.layers.as_deref())?;
            let (contexts, tree) = (&solver.build.contexts, tree.source());
            contexts.copy_out(solver, &tree, &cache.source, root, "/", place.span)?;
            if files.layers.is_some() || cache.source != "/" {
                copy_directory(&tree, &cache.source, root, "/").map_err(unattributed)?;
            }
            Ok(())
        }
    }
}

/// Gives `target` the owner, mode and time of `source`, if that is a directory.
fn copy_directory(tree: &SourceTree<'_>, source: &str, root: &Root, target: &str) -> std::io::Result<()> {
    let Some(metadata) = tree.lstat(&tree.resolve(source)?)?.filter(Metadata::is_directory) else {
        return Ok(());
    };
    let directory = root.handle(Path::new(target))?;
    let (uid, gid) = (Uid::from_raw(metadata.uid), Gid::from_raw(metadata.gid));
    chownat(&directory, ".", Some(uid), Some(gid), AtFlags::empty())?;
    chmodat(&directory, ".", Mode::from_raw_mode(metadata.mode), AtFlags::empty())?;
    Ok(utimensat(&directory, ".", &times(metadata.mtime), AtFlags::empty())?)
}

fn unattributed(error: std::io::Error) -> BuildError {
    BuildError::io("cannot set the owner of a mount")(error)
}
