//! A store, a folder and a request for the tests of a build's parts.

use std::collections::BTreeMap;

use lbuild_layer_store::{ImageRecord, Store, StoreOptions};
use lbuild_oci::{Digest, ImageConfig, Platform, Reference, json};
use lbuild_runner::Cancel;

use crate::BuildError;
use crate::context::Contexts;
use crate::journal::Journal;
use crate::prepared::{Prepared, Scope};
use crate::request::{BuildRequest, ContextFolder};
use crate::solve::{Build, Solver};

/// A build that a test is about.
pub(crate) struct Bed {
    pub store: Store,
    pub request: BuildRequest,
    folder: tempfile::TempDir,
}

impl Bed {
    /// A build of `dockerfile` with an empty store and an empty context.
    pub fn new(dockerfile: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("context")).unwrap();
        let store = Store::open(&folder.path().join("store"), StoreOptions::default()).unwrap();
        let mut request = BuildRequest::new(dockerfile);
        request.context = Some(ContextFolder::of_user(folder.path().join("context")));
        Self { store, request, folder }
    }

    /// Where a file for the build, or of its context (`context/…`), lies.
    pub fn path(&self, path: &str) -> std::path::PathBuf {
        self.folder.path().join(path)
    }

    /// Puts an image without layers into the store.
    pub fn add_image(&self, name: &str, platform: &Platform, change: impl FnOnce(&mut ImageConfig)) {
        let mut config = ImageConfig::scratch(platform);
        change(&mut config);
        let bytes = json::canonical(&config);
        let image = ImageRecord {
            id: Digest::of(&bytes),
            layers: Vec::new(),
            platform: platform.clone(),
            created: None,
            manifest: None,
            annotations: BTreeMap::new(),
        };
        self.store.put_image(&image, &bytes).unwrap();
        self.store.tag(&name.parse::<Reference>().unwrap(), &image.id).unwrap();
    }

    /// The build as it stands before its first step.
    pub fn prepare(&self) -> Result<Prepared, BuildError> {
        Prepared::new(&self.store, &self.request, Scope::Build)
    }

    /// Calls `test` with the build as its steps see it.
    pub fn with_solver<T>(&self, test: impl FnOnce(&Solver<'_>) -> T) -> T {
        let Prepared { dockerfile, globals, plan, images } = self.prepare().unwrap();
        let contexts = Contexts::new(&self.store, &self.request);
        let journal = Journal::new(&self.store, &self.request);
        test(&Solver::new(Build {
            store: &self.store,
            request: &self.request,
            dockerfile: &dockerfile,
            plan: &plan,
            globals: &globals,
            images: &images,
            events: &|_| {},
            cancel: &Cancel::new().unwrap(),
            contexts: &contexts,
            journal: &journal,
            is_forecast: false,
            failed: None,
        }))
    }
}
