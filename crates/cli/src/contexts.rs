//! Brings contexts that are no folders of the user's into folders or the store.

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File, FileTimes, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use lbuild_build_context::remote::{Git, GitSource, Http, HttpFile, Remote, UrlMemo, redacted};
use lbuild_build_context::{Owners, Stream};
use lbuild_builder::{ContextFolder, NamedContext, Secret, git_access};
use lbuild_importer::LoadOptions;
use lbuild_layer_store::Store;
use lbuild_oci::Platform;

use crate::args::ContextSource;
use crate::diagnostics;
use crate::dockerfile::{self, Dockerfile};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::signals::Watch;

/// The one file of a context that is a file by its URL, as BuildKit names it.
pub const FILE_NAME: &str = "context";

/// As BuildKit gives it.
const FILE_MODE: u32 = 0o600;

/// Fetches what lies elsewhere.
pub struct Contexts<'a> {
    /// Where fetched files are kept until the process ends, and imported images longer.
    pub store: &'a Store,
    /// `--secret`.
    pub secrets: BTreeMap<String, Secret>,
    /// `--ssh`.
    pub ssh: BTreeMap<String, PathBuf>,
    /// Ends a fetch.
    pub watch: &'a Watch,
    /// Whether people are told what is fetched.
    pub tells: bool,
}

/// A main context that was fetched.
pub enum Fetched {
    /// A folder of files.
    Folder(ContextFolder),
    /// A folder of one file, [`FILE_NAME`], which is the Dockerfile.
    Dockerfile(ContextFolder),
}

impl Contexts<'_> {
    /// Fetches the main context: a repository, an archive, or a Dockerfile.
    pub fn fetch(&self, remote: &Remote) -> Result<Fetched, Failure> {
        match remote {
            Remote::Git(source) => {
                // As buildx does: whoever names a repository to build means to use their own agent.
                let mut ssh = self.ssh.clone();
                if let Some(agent) = env::var_os("SSH_AUTH_SOCK").filter(|agent| !agent.is_empty()) {
                    ssh.entry("default".to_owned()).or_insert(agent.into());
                }
                Ok(Fetched::Folder(self.checkout(source, &ssh)?))
            }
            Remote::Http(url) => {
                let (file, mtime) = self.download(url)?;
                let folder = self.store.scratch()?;
                match Stream::read(
                    File::open(&file).map_err(unreadable(&file))?,
                    &folder,
                    self.store.archive_limits(),
                )? {
                    Stream::Context => Ok(Fetched::Folder(ContextFolder::unpacked(folder, Owners::AsFound))),
                    Stream::Dockerfile(_) => Ok(Fetched::Dockerfile(single(&file, mtime, folder)?)),
                }
            }
        }
    }

    /// Fetches a Dockerfile by its URL.
    pub fn dockerfile(&self, url: &str) -> Result<Dockerfile, Failure> {
        let (file, _) = self.download(url)?;
        let content = File::open(&file).and_then(dockerfile::read_bounded).map_err(unreadable(&file))?;
        Ok(Dockerfile { name: redacted(url), content, path: None })
    }

    /// A `--build-context` for the builder, of an image for several platforms the one for `platform`.
    pub fn named(
        &self,
        source: &ContextSource,
        platform: Option<&Platform>,
    ) -> Result<NamedContext, Failure> {
        Ok(match source {
            ContextSource::Folder(path) => NamedContext::Folder(ContextFolder::of_user(path)),
            ContextSource::Empty => {
                NamedContext::Folder(ContextFolder::unpacked(self.store.scratch()?, Owners::Root))
            }
            ContextSource::Image(name) => NamedContext::Image(name.clone()),
            ContextSource::Layout { path, image } => {
                NamedContext::Image(self.import(path, image.as_deref(), platform)?)
            }
            ContextSource::Remote(Remote::Git(source)) => {
                NamedContext::Folder(self.checkout(source, &self.ssh)?)
            }
            // As in BuildKit, archives are not unpacked here.
            ContextSource::Remote(Remote::Http(url)) => {
                let (file, mtime) = self.download(url)?;
                NamedContext::Folder(single(&file, mtime, self.store.scratch()?)?)
            }
        })
    }

    fn checkout(
        &self,
        source: &GitSource,
        ssh: &BTreeMap<String, PathBuf>,
    ) -> Result<ContextFolder, Failure> {
        self.tell(&source.url())?;
        let access =
            git_access(&self.secrets, ssh, source).map_err(Failure::io("cannot read the secret for git"))?;
        let interrupted = || self.watch.cancel().is_cancelled();
        let git = Git::new(&access, &interrupted);
        let folder = self.store.scratch()?;
        let files = source.checkout(&source.resolve(&git)?, &git, &folder)?;
        Ok(ContextFolder::unpacked(files, Owners::Root))
    }

    fn download(&self, url: &str) -> Result<(PathBuf, Option<i64>), Failure> {
        self.tell(&redacted(url))?;
        let memo = UrlMemo::open(self.store.root().join("known-urls"));
        let interrupted = || self.watch.cancel().is_cancelled();
        let folder = self.store.scratch()?;
        let HttpFile { file, mtime, .. } = Http::new(&memo, &interrupted).fetch(url, &folder)?;
        let missing = || Failure::new(Exit::Failed, "the server sent no content");
        Ok((file.ok_or_else(missing)?, mtime))
    }

    /// Imports an image without giving it a name; returns its id.
    fn import(
        &self,
        layout: &Path,
        image: Option<&str>,
        platform: Option<&Platform>,
    ) -> Result<String, Failure> {
        let options = LoadOptions {
            platform: platform.cloned(),
            select: image.map(str::to_owned),
            is_unnamed: true,
            ..LoadOptions::default()
        };
        let loaded = lbuild_importer::load_layout(self.store, layout, &options)?;
        match &loaded[..] {
            [image] => Ok(image.id.to_string()),
            images => {
                let shown = layout.display();
                let message = format!("{shown} holds {} images", images.len());
                Err(Failure::new(Exit::Failed, message).help(format!("name one: oci-layout://{shown}:TAG")))
            }
        }
    }

    /// Tells what is fetched, and ends it on a signal from now on.
    fn tell(&self, url: &str) -> Result<(), Failure> {
        self.watch.begin()?;
        if self.tells {
            diagnostics::print(&format!("fetching {url}"));
        }
        Ok(())
    }
}

/// A folder that holds `file` as [`FILE_NAME`].
fn single(file: &Path, mtime: Option<i64>, folder: PathBuf) -> Result<ContextFolder, Failure> {
    let path = folder.join(FILE_NAME);
    let put = || -> io::Result<()> {
        fs::rename(file, &path)?;
        let open = File::options().write(true).open(&path)?;
        open.set_permissions(Permissions::from_mode(FILE_MODE))?;
        let seconds = u64::try_from(mtime.unwrap_or(0)).unwrap_or(0);
        open.set_times(FileTimes::new().set_modified(UNIX_EPOCH + Duration::from_secs(seconds)))
    };
    put().map_err(Failure::io(format!("cannot write {}", path.display())))?;
    Ok(ContextFolder::unpacked(folder, Owners::Root))
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> Failure {
    Failure::io(format!("cannot read {}", path.display()))
}
