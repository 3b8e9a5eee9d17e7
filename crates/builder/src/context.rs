//! The trees that COPY, ADD and mounts read: contexts, stages and images.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use lbuild_build_context::remote::UrlMemo;
use lbuild_build_context::{Context, ContextError, DigestMemo, Ignore, Relevant, Selector, SourceTree};
use lbuild_confined::Root;
use lbuild_layer_store::{Store, View};
use lbuild_oci::{ChainId, DiffId};
use lbuild_parser::Span;
use serde_json::{Value, json};

use crate::BuildError;
use crate::base::stage_platform;
use crate::copy::{CopyError, CopyRequest, CopySource, Unpack, prepare};
use crate::plan::Origin;
use crate::problem::Problem;
use crate::request::{BuildRequest, ContextFolder, NamedContext};
use crate::solve::Solver;

/// The build's folders, opened when a step needs them first.
pub(crate) struct Contexts<'a> {
    store: &'a Store,
    request: &'a BuildRequest,
    main: OnceLock<Context>,
    named: BTreeMap<&'a str, OnceLock<Context>>,
    /// Opening is rare: one lock for all of it.
    opening: Mutex<()>,
    memo: OnceLock<DigestMemo>,
    urls: UrlMemo,
}

/// An open tree.
pub(crate) enum Tree<'a> {
    Folder(&'a Context),
    Layers(View),
}

impl Tree<'_> {
    /// The tree as COPY reads it.
    pub fn source(&self) -> SourceTree<'_> {
        match self {
            Self::Folder(context) => context.tree(),
            Self::Layers(view) => SourceTree::new(view.root()),
        }
    }
}

impl<'a> Contexts<'a> {
    /// Nothing is opened yet.
    pub fn new(store: &'a Store, request: &'a BuildRequest) -> Self {
        Self {
            store,
            request,
            main: OnceLock::new(),
            named: request.named_contexts.keys().map(|name| (name.as_str(), OnceLock::new())).collect(),
            opening: Mutex::new(()),
            memo: OnceLock::new(),
            urls: UrlMemo::open(store.root().join("known-urls")),
        }
    }

    /// Whether the ignore rules hide a path of the main context. As in BuildKit, rules with exceptions
    /// are not looked at.
    pub fn hides(&self, path: &str) -> bool {
        if self.request.context.is_none() || matches!(path, "" | "." | "/") {
            return false;
        }
        let Ok(context) = self.folder(&Origin::Context) else { return false };
        !context.ignore().has_exceptions() && context.ignore().is_ignored(path)
    }

    /// What is remembered of files' contents.
    pub fn memo(&self) -> &DigestMemo {
        self.memo.get_or_init(|| {
            let in_store = |name| self.store.root().join(name);
            DigestMemo::open(in_store("context-digests"), in_store("selection-digests"))
        })
    }

    /// What is remembered of URLs.
    pub fn urls(&self) -> &UrlMemo {
        &self.urls
    }

    /// Keeps what was learned for the next build.
    pub fn save_memo(&self) {
        if let Some(memo) = self.memo.get() {
            // The memo only saves time: a build does not fail because it cannot be kept.
            let _ = memo.save();
        }
    }

    /// The layers of a stage or an image; `None` for a folder.
    ///
    /// Waits for a stage: to be called before a step begins its work.
    ///
    /// # Errors
    /// [`BuildError::Interrupted`] if the stage failed.
    pub fn layers(&self, solver: &Solver<'_>, origin: &Origin) -> Result<Option<Vec<DiffId>>, BuildError> {
        let platform = stage_platform(self.request, None);
        Ok(match origin {
            Origin::Empty => Some(Vec::new()),
            Origin::Stage(index) => Some(solver.stage(*index)?.layers.clone()),
            Origin::Image(name) => Some(solver.image(name, &platform)?.rootfs.diff_ids),
            Origin::Named(name) => match self.request.named_contexts.get(name) {
                Some(NamedContext::Image(image)) => Some(solver.image(image, &platform)?.rootfs.diff_ids),
                _ => None,
            },
            Origin::Context if self.request.context.is_none() => Some(Vec::new()),
            Origin::Context => None,
        })
    }

    /// Opens the tree of an origin whose layers are these.
    ///
    /// # Errors
    /// [`BuildError::Context`] for a folder that cannot be read, or the store's.
    pub fn open(&self, origin: &Origin, layers: Option<&[DiffId]>) -> Result<Tree<'_>, BuildError> {
        match layers {
            Some(layers) => Ok(Tree::Layers(self.store.view(layers)?)),
            None => Ok(Tree::Folder(self.folder(origin)?)),
        }
    }

    fn folder(&self, origin: &Origin) -> Result<&Context, BuildError> {
        let missing = || BuildError::Context("there is no build context".into());
        let (cell, folder, dockerfile) = match origin {
            Origin::Named(name) => match self.request.named_contexts.get(name) {
                Some(NamedContext::Folder(folder)) => (&self.named[name.as_str()], folder, None),
                _ => return Err(missing()),
            },
            _ => {
                let folder = self.request.context.as_ref().ok_or_else(missing)?;
                (&self.main, folder, self.request.dockerfile_path.as_deref())
            }
        };
        let _opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        match cell.get() {
            Some(context) => Ok(context),
            None => {
                let context =
                    open_folder(folder, dockerfile).map_err(|error| BuildError::Context(error.into()))?;
                Ok(cell.get_or_init(|| context))
            }
        }
    }

    /// What a bind mount of `source` shows, for the key.
    ///
    /// # Errors
    /// A source that does not exist.
    pub fn mount_digest(
        &self,
        solver: &Solver<'_>,
        origin: &Origin,
        layers: Option<&[DiffId]>,
        source: &str,
        span: Span,
    ) -> Result<Value, BuildError> {
        if let Some(layers) = layers {
            return Ok(json!(ChainId::of(layers).map(|chain| chain.to_string())));
        }
        let tree = self.open(origin, layers)?;
        let tree = tree.source();
        let pattern = literal(source);
        let selector = Selector { pattern: &pattern, exclude: &[], parents: false };
        let relevant = Relevant { owner: true, mode: true };
        let is_cancelled = || solver.build.cancel.is_cancelled();
        let digest = lbuild_build_context::select(&tree, &selector)
            .and_then(|selection| selection.digest(&tree, self.memo(), relevant, &is_cancelled))
            .map_err(|error| match error {
                ContextError::Interrupted => BuildError::Interrupted,
                error => Problem::from(error).at(span),
            })?;
        Ok(json!(digest))
    }

    /// Copies `source` of a tree to `target` below `destination`, as a COPY would; returns the files that
    /// changed while they were copied.
    ///
    /// # Errors
    /// A source that does not exist or cannot be copied.
    pub fn copy_out(
        &self,
        solver: &Solver<'_>,
        tree: &SourceTree<'_>,
        source: &str,
        destination: &Root,
        target: &str,
        span: Span,
    ) -> Result<Vec<PathBuf>, BuildError> {
        let request = CopyRequest {
            sources: vec![CopySource::Tree { tree: *tree, pattern: literal(source) }],
            destination: target,
            workdir: Path::new("/"),
            owner: None,
            mode: None,
            exclude: &[],
            parents: false,
            unpack: Unpack::Never,
            created_mtime: Some(0),
        };
        let report = prepare(request)
            .and_then(|prepared| prepared.apply(destination, &|| solver.build.cancel.is_cancelled()))
            .map_err(|error| match error {
                CopyError::Interrupted => BuildError::Interrupted,
                error => Problem::from(error).at(span),
            })?;
        Ok(report.changed)
    }
}

fn open_folder(folder: &ContextFolder, dockerfile: Option<&Path>) -> Result<Context, ContextError> {
    let context = if folder.has_ignore_files {
        Context::discover(&folder.path, dockerfile)?
    } else {
        Context::open(&folder.path, Ignore::default())?
    };
    Ok(context.with_owners(folder.owners))
}

/// A pattern that matches this path and no other.
fn literal(path: &str) -> String {
    let mut pattern = String::with_capacity(path.len());
    for character in path.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}
