//! Why a command failed, as the user is told.

use std::error::Error;
use std::io;

use lbuild_build_context::ContextError;
use lbuild_build_context::remote::RemoteError;
use lbuild_builder::BuildError;
use lbuild_docker::HostError;
use lbuild_exporter::ExportError;
use lbuild_importer::ImportError;
use lbuild_layer_store::StoreError;
use lbuild_registry::RegistryError;
use lbuild_shared_cache::CacheError;

use crate::diagnostics::{self, Source, Style};
use crate::exit::Exit;
use crate::registry;
use crate::text::json_line;

/// Why a command failed.
#[derive(Debug)]
pub enum Failure {
    /// The user was told already.
    Reported(Exit),
    /// Whoever read standard output went away: nothing is said.
    ClosedOutput,
    /// The user is still to be told.
    Error {
        /// How the process exits.
        exit: Exit,
        /// What happened.
        error: Box<dyn Error + Send + Sync>,
        /// What to do.
        help: Option<String>,
    },
}

impl Failure {
    /// A failure that has no other cause.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self::Error { exit, error: message.into().into(), help: None }
    }

    /// A wrong command line that clap cannot see.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// A file of the user's that cannot be read or written; `what` was being done.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| {
            let help = file_advice(&source);
            Self::Error {
                exit: Exit::Failed,
                error: Box::new(Doing { what, source: Box::new(source) }),
                help,
            }
        }
    }

    /// An image that is not there.
    pub fn no_image(name: &str) -> Self {
        Self::new(Exit::Failed, format!("there is no image {name}"))
            .help("`lbuild images` lists what is there")
    }

    /// The same with what was being done, where the error does not tell.
    pub fn during(self, what: impl Into<String>) -> Self {
        match self {
            Self::Error { exit, error: source, help } => {
                Self::Error { exit, error: Box::new(Doing { what: what.into(), source }), help }
            }
            told => told,
        }
    }

    /// The same with advice.
    pub fn help(mut self, text: impl Into<String>) -> Self {
        if let Self::Error { help, .. } = &mut self {
            *help = Some(text.into());
        }
        self
    }

    /// Tells a program instead of a person, as `--progress=rawjson` asks for.
    pub fn told_as_json(self) -> Self {
        let Self::Error { exit, error, help } = self else { return self };
        diagnostics::print(&json_line(&diagnostics::failure_json(&*error, help.as_deref())));
        Self::Reported(exit)
    }

    /// Tells the user of what fails no command.
    pub fn warn(self) {
        if let Self::Error { error, help, .. } = self {
            diagnostics::print_warning(&*error, help.as_deref());
        }
    }

    /// Tells the user, and returns how the process exits.
    pub fn report(self) -> Exit {
        match self {
            Self::Reported(exit) => exit,
            Self::ClosedOutput => Exit::Success,
            Self::Error { exit, error, help } => {
                diagnostics::print_error(&*error, help.as_deref());
                exit
            }
        }
    }
}

/// What was being done when something failed.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
struct Doing {
    what: String,
    source: Box<dyn Error + Send + Sync>,
}

/// An error while standard output was written.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::ClosedOutput;
        }
        Self::io("cannot write to standard output")(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let (exit, help) = store_exit(&error);
        Self::Error { exit, error: Box::new(error), help }
    }
}

impl From<ImportError> for Failure {
    fn from(error: ImportError) -> Self {
        let (exit, help) = match &error {
            ImportError::Store { source, .. } => store_exit(source),
            _ => (Exit::Failed, registry::help(&error)),
        };
        Self::Error { exit, error: Box::new(error), help }
    }
}

impl From<HostError> for Failure {
    fn from(error: HostError) -> Self {
        Self::Error { exit: Exit::Failed, error: Box::new(error), help: None }
    }
}

impl From<RemoteError> for Failure {
    fn from(error: RemoteError) -> Self {
        let exit = if matches!(error, RemoteError::Options { .. }) { Exit::Usage } else { Exit::Failed };
        let help = error.help().map(str::to_owned);
        Self::Error { exit, error: Box::new(error), help }
    }
}

impl From<CacheError> for Failure {
    fn from(error: CacheError) -> Self {
        let help = match &error {
            CacheError::Registry(error) => error.help(),
            CacheError::Io { source, .. } => file_advice(source),
            _ => None,
        };
        Self::Error { exit: Exit::Failed, error: Box::new(error), help }
    }
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        let help = error.help();
        Self::Error { exit: Exit::Failed, error: Box::new(error), help }
    }
}

impl From<ContextError> for Failure {
    fn from(error: ContextError) -> Self {
        Self::Error { exit: Exit::Failed, error: Box::new(error), help: None }
    }
}

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Self {
        let (exit, help) = match find::<StoreError>(&error) {
            Some(store) => store_exit(store),
            None => {
                let help = || find::<io::Error>(&error).and_then(file_advice);
                (Exit::Failed, registry::help(&error).or_else(help))
            }
        };
        Self::Error { exit, error: Box::new(error), help }
    }
}

/// Tells why a build failed, in the file where that is.
pub fn tell(source: &Source, error: &BuildError) -> Failure {
    if source.concerns(error) {
        diagnostics::print(&source.render_error(error, &Style::of_stderr()));
    } else {
        // Nothing of the Dockerfile's: no place in it to show.
        diagnostics::print_error(error, build_help(error).as_deref());
    }
    Failure::Reported(build_exit(error))
}

/// How the process exits after a failed build.
pub fn build_exit(error: &BuildError) -> Exit {
    match error {
        BuildError::Dockerfile(_) => Exit::Dockerfile,
        BuildError::Store(error) => store_exit(error).0,
        BuildError::Step { is_disk_full: true, .. } => Exit::Store,
        _ => Exit::Failed,
    }
}

/// What to do about an error of the build that carries no advice itself.
pub fn build_help(error: &BuildError) -> Option<String> {
    match error {
        BuildError::NoSuchImage { name, .. } => Some(format!(
            "bring it in with `docker save {name} | lbuild load`; `lbuild images` lists what is there"
        )),
        BuildError::WrongPlatform { found, .. } => {
            Some(format!("build with --platform {found}, or load the image for the other platform"))
        }
        BuildError::NoSuchTarget { stages, .. } if stages.is_empty() => {
            Some("its stages have no names; give a number, 0 for the first".to_owned())
        }
        BuildError::NoSuchTarget { stages, .. } => Some(format!("its stages are {}", stages.join(", "))),
        BuildError::Image { source, .. } => registry::help(&**source),
        BuildError::Frozen { .. } => Some("build once without --frozen".to_owned()),
        BuildError::Store(error) => store_exit(error).1,
        BuildError::Io { source, .. } => advice(source),
        _ => None,
    }
}

/// How the process exits after an error of the store, and what to do.
fn store_exit(error: &StoreError) -> (Exit, Option<String>) {
    let another = || Some("name another store with --root or LBUILD_ROOT".to_owned());
    match error {
        StoreError::Io { source, .. } => (Exit::Store, advice(source)),
        StoreError::Mount { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
            (Exit::Store, Some("mounting an overlay needs root".to_owned()))
        }
        StoreError::ReadOnly { .. } | StoreError::OtherOwner { .. } | StoreError::NewerVersion { .. } => {
            (Exit::Store, another())
        }
        StoreError::UnknownImage(_) | StoreError::Ambiguous { .. } => {
            (Exit::Failed, Some("`lbuild images --no-trunc` lists what is there".to_owned()))
        }
        StoreError::ReservedName { .. }
        | StoreError::BadLayer { .. }
        | StoreError::Import(_)
        | StoreError::TooManyLayers { .. }
        | StoreError::Mounted(_)
        | StoreError::NotMounted { .. } => (Exit::Failed, None),
        _ => (Exit::Store, None),
    }
}

/// What to do where the folder that paths are relative to is no more.
pub fn removed_folder() -> Option<String> {
    let is_gone = std::env::current_dir().is_err();
    is_gone.then(|| "the current folder has been removed: change to one that is there".to_owned())
}

/// What to do about a system error at a file that is not the store's.
fn file_advice(error: &io::Error) -> Option<String> {
    if let Some(help) = removed_folder() {
        return Some(help);
    }
    let text = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "this user may not: look at the modes of the file and of the folders above it"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free space where it is written to, or name another place"
        }
        _ => return None,
    };
    Some(text.to_owned())
}

/// What to do about a system error at the store.
fn advice(error: &io::Error) -> Option<String> {
    if let Some(help) = removed_folder() {
        return Some(help);
    }
    let text = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "run lbuild as root, or name a store of your own with --root or LBUILD_ROOT"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "`lbuild prune` removes what no image and no recent build uses"
        }
        _ => return None,
    };
    Some(text.to_owned())
}

/// The first cause of a type.
fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}
