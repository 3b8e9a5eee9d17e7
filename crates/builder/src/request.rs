//! What a build is asked for.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::{env, fmt, fs, io};

use lbuild_build_context::Owners;
use lbuild_layer_store::{ImageRecord, KeepBuilds, Store};
use lbuild_oci::Platform;
use lbuild_shared_cache::SharedCache;

use crate::report::Subject;

/// A build's inputs.
#[derive(Debug, Clone)]
pub struct BuildRequest {
    /// The Dockerfile's text, as [`lbuild_parser::parse`] takes it.
    pub dockerfile: Vec<u8>,
    /// The folder whose files COPY and ADD see; `None`: there is none (`lbuild - < Dockerfile`).
    pub context: Option<ContextFolder>,
    /// The Dockerfile's path within or outside the context: `NAME.dockerignore` beside it counts.
    pub dockerfile_path: Option<PathBuf>,
    /// `--build-context`.
    pub named_contexts: BTreeMap<String, NamedContext>,
    /// The stage to build, by name or number; the last one by default.
    pub target: Option<String>,
    /// `--build-arg`.
    pub build_args: BTreeMap<String, String>,
    /// `--label`, added to the result.
    pub labels: BTreeMap<String, String>,
    /// `--platform`; this machine's by default.
    pub platform: Option<Platform>,
    /// Which steps may come from the cache.
    pub cache: CacheUse,
    /// `SOURCE_DATE_EPOCH`, in seconds: clamps the times of our own layers and of the image.
    pub source_date_epoch: Option<i64>,
    /// Stages that run at the same time; 0: as many as there are processors, at least 2.
    pub parallel: usize,
    /// What RUN gets.
    pub run: RunOptions,
    /// `--allow`: entitlements that the Dockerfile may use.
    pub allow: Vec<Entitlement>,
    /// `--secret`, by id.
    pub secrets: BTreeMap<String, Secret>,
    /// `--ssh`: agent sockets by id.
    pub ssh: BTreeMap<String, PathBuf>,
    /// Where the images are that FROM, COPY --from and mounts name; `None`: in the store alone.
    pub images: Option<Arc<dyn ImageSource>>,
    /// What is built, for those who ask later.
    pub subject: Subject,
    /// How many builds are remembered.
    pub keep_builds: KeepBuilds,
    /// `--cache-from` and `--cache-to`: what other machines recorded, and where this one records.
    pub shared_cache: Option<Arc<SharedCache>>,
    /// Whether the image carries the results of its steps (`--cache-to=type=inline`).
    pub carries_cache: bool,
    /// Whether layers of steps that others made are read and checked, also where nothing needs them
    /// (`--cache-from=…,verify=true`).
    pub verifies_layers: bool,
    /// Whether the image's layers must be here in the end, and not only known by where they are.
    pub needs_layers: bool,
}

/// Finds images in the store and elsewhere.
pub trait ImageSource: fmt::Debug + Send + Sync {
    /// The image `name`, preferably for `platform`, brought into the store if it was elsewhere; `None` if
    /// it is nowhere. Its layers may be known only by where they can be fetched.
    ///
    /// # Errors
    /// An image that is there and cannot be brought in, or a place that cannot be asked.
    fn find(
        &self,
        store: &Store,
        name: &str,
        platform: &Platform,
    ) -> Result<Option<ImageRecord>, Box<dyn Error + Send + Sync>>;
}

/// Which steps may come from the cache.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum CacheUse {
    /// Every step.
    #[default]
    All,
    /// None (`--no-cache`).
    None,
    /// All but those of these stages (`--no-cache-filter`).
    Except(Vec<String>),
    /// Every step must be (`--frozen`).
    Only,
}

/// `--build-context NAME=…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamedContext {
    /// A folder.
    Folder(ContextFolder),
    /// An image in the store, by its name or id.
    Image(String),
}

/// A folder that a build copies from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextFolder {
    /// Where it is.
    pub path: PathBuf,
    /// Whose its files are for the build.
    pub owners: Owners,
    /// Whether its ignore files count.
    pub has_ignore_files: bool,
}

impl ContextFolder {
    /// A folder of the user's: root's for the build, without what it ignores.
    pub fn of_user(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), owners: Owners::Root, has_ignore_files: true }
    }

    /// What an archive or a repository was unpacked to. As in BuildKit, its ignore files do not count:
    /// they also could lead out of it.
    pub fn unpacked(path: impl Into<PathBuf>, owners: Owners) -> Self {
        Self { path: path.into(), owners, has_ignore_files: false }
    }
}

/// `--allow`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entitlement {
    /// `RUN --security=insecure`.
    SecurityInsecure,
    /// `RUN --network=host`.
    NetworkHost,
}

/// `--secret`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Secret {
    /// A file's content.
    File(PathBuf),
    /// An environment variable's value.
    Env(String),
}

impl Secret {
    /// The secret itself.
    ///
    /// # Errors
    /// As reading the file; `NotFound` for a variable that is not set.
    pub(crate) fn read(&self) -> io::Result<Vec<u8>> {
        match self {
            Self::File(path) => fs::read(path),
            Self::Env(name) => {
                let value = env::var_os(name).ok_or(io::ErrorKind::NotFound)?;
                Ok(value.into_encoded_bytes())
            }
        }
    }
}

/// What every RUN gets.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// `--add-host`: a name and its address.
    pub hosts: Vec<(String, String)>,
    /// `--shm-size`, in bytes.
    pub shm_size: Option<u64>,
    /// `--ulimit`: name, soft and hard limit.
    pub ulimits: Vec<(String, u64, u64)>,
    /// `--network`: `default`, `host` or `none`.
    pub network: Option<lbuild_parser::Network>,
    /// `--network=pasta` and `--network=slirp4netns`: what connects the networks of RUNs that ask for none
    /// or no other.
    pub network_helper: Option<lbuild_runner::NetworkHelper>,
    /// `--memory`, in bytes.
    pub memory: Option<u64>,
    /// `--cpus`, in processors.
    pub cpus: Option<f64>,
    /// `--pids-limit`.
    pub pids: Option<u64>,
    /// `--security-opt no-new-privileges`.
    pub no_new_privileges: bool,
    /// `--allow-secret-in-layer`: a step may write its secrets into its layer.
    pub allow_secret_in_layer: bool,
}

impl BuildRequest {
    /// A build of `dockerfile` with every option at its default.
    pub fn new(dockerfile: impl Into<Vec<u8>>) -> Self {
        Self {
            dockerfile: dockerfile.into(),
            context: None,
            dockerfile_path: None,
            named_contexts: BTreeMap::new(),
            target: None,
            build_args: BTreeMap::new(),
            labels: BTreeMap::new(),
            platform: None,
            cache: CacheUse::All,
            source_date_epoch: None,
            parallel: 0,
            run: RunOptions::default(),
            allow: Vec::new(),
            secrets: BTreeMap::new(),
            ssh: BTreeMap::new(),
            images: None,
            subject: Subject::default(),
            keep_builds: KeepBuilds::default(),
            shared_cache: None,
            carries_cache: false,
            verifies_layers: false,
            needs_layers: false,
        }
    }
}
