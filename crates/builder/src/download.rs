//! Remote sources of an ADD. What they are goes into the step's key, and only a miss fetches them.

use std::path::PathBuf;

use lbuild_build_context::remote::{
    Git, GitSource, Http, HttpFile, Remote, RemoteError, ResolvedGit, file_name,
};
use lbuild_build_context::{Owners, SourceTree};
use lbuild_confined::Root;
use lbuild_oci::Digest;

use crate::access::git_access;
use crate::copy::CopySource;
use crate::problem::Problem;
use crate::solve::Solver;

/// A remote source of an ADD.
#[derive(Debug)]
pub(crate) struct Download {
    /// As it is written.
    pub url: String,
    content: Content,
}

#[derive(Debug)]
enum Content {
    File {
        digest: Digest,
        mtime: Option<i64>,
        /// Where it is, once it is fetched; it goes when the process ends.
        file: Option<PathBuf>,
    },
    Tree {
        source: Box<GitSource>,
        resolved: ResolvedGit,
        /// The files, once they are fetched.
        root: Option<Root>,
    },
}

/// What an ADD says of its remote sources.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct DownloadFlags<'a> {
    /// `--checksum`.
    pub checksum: Option<&'a str>,
    /// `--keep-git-dir`.
    pub keep_git_dir: Option<bool>,
}

impl Download {
    /// Finds out what a source is: a file's digest, a repository's commit.
    ///
    /// # Errors
    /// A server that cannot be reached or refuses, a checksum that is none or that of another content.
    pub fn look(
        solver: &Solver<'_>,
        url: &str,
        remote: Remote,
        flags: DownloadFlags<'_>,
    ) -> Result<Self, Problem> {
        let content = match (remote, flags.checksum) {
            (Remote::Http(url), None) => {
                let folder = solver.build.store.scratch()?;
                let look = |http: Http<'_>| http.look(&url, &folder);
                let HttpFile { digest, mtime, file } = with_http(solver, look)?;
                Content::File { digest, mtime, file }
            }
            (Remote::Http(_), Some(checksum)) => {
                let digest = checksum.parse().map_err(|error: lbuild_oci::DigestError| {
                    Problem::from(error).help("write --checksum=sha256:DIGITS")
                })?;
                Content::File { digest, mtime: None, file: None }
            }
            (Remote::Git(source), checksum) => {
                let source = source.with_flags(flags.keep_git_dir, checksum).map_err(problem)?;
                let resolved = with_git(solver, &source, |git| source.resolve(git))?;
                Content::Tree { source: Box::new(source), resolved, root: None }
            }
        };
        Ok(Self { url: url.to_owned(), content })
    }

    /// All that a copy of it depends on.
    pub fn identity(&self) -> String {
        match &self.content {
            Content::File { digest, .. } => format!("{digest} {}", file_name(&self.url)),
            Content::Tree { source, resolved, .. } => format!("git {}", resolved.identity(source)),
        }
    }

    /// Fetches it, if that was not done yet.
    ///
    /// # Errors
    /// As [`Download::look`].
    pub fn fetch(&mut self, solver: &Solver<'_>, checksum: Option<&str>) -> Result<(), Problem> {
        match &mut self.content {
            Content::File { file: Some(_), .. } | Content::Tree { root: Some(_), .. } => {}
            Content::File { digest, mtime, file } => {
                let folder = solver.build.store.scratch()?;
                let fetched = with_http(solver, |http| http.fetch(&self.url, &folder))?;
                if checksum.is_some() && fetched.digest != *digest {
                    return Err(problem(RemoteError::Digest {
                        url: self.url.clone(),
                        expected: *digest,
                        found: fetched.digest,
                    }));
                }
                // Without a checksum, it is whatever the server gives now.
                (*digest, *mtime, *file) = (fetched.digest, fetched.mtime, fetched.file);
            }
            Content::Tree { source, resolved, root } => {
                let folder = solver.build.store.scratch()?;
                let files = with_git(solver, source, |git| source.checkout(resolved, git, &folder))?;
                let open = Root::open(&files);
                *root = Some(open.map_err(|error| Problem::because("cannot open the checkout", error))?);
            }
        }
        Ok(())
    }

    /// The source of a copy; `None` as long as it is not fetched.
    pub fn source(&self) -> Option<CopySource<'_>> {
        Some(match &self.content {
            Content::File { file, mtime, .. } => {
                CopySource::Download { file: file.as_deref()?, name: file_name(&self.url), mtime: *mtime }
            }
            Content::Tree { root, .. } => CopySource::Tree {
                tree: SourceTree::new(root.as_ref()?).with_owners(Owners::Root),
                pattern: "/".to_owned(),
            },
        })
    }
}

fn with_http(
    solver: &Solver<'_>,
    fetch: impl FnOnce(Http<'_>) -> Result<HttpFile, RemoteError>,
) -> Result<HttpFile, Problem> {
    let interrupted = || solver.build.cancel.is_cancelled();
    fetch(Http::new(solver.build.contexts.urls(), &interrupted)).map_err(problem)
}

fn with_git<T>(
    solver: &Solver<'_>,
    source: &GitSource,
    fetch: impl FnOnce(&Git<'_>) -> Result<T, RemoteError>,
) -> Result<T, Problem> {
    let access = git_access(&solver.build.request.secrets, &solver.build.request.ssh, source)
        .map_err(|error| Problem::because("cannot read the secret for git", error))?;
    let interrupted = || solver.build.cancel.is_cancelled();
    fetch(&Git::new(&access, &interrupted)).map_err(problem)
}

/// A problem with a remote source, as the user is told.
pub(crate) fn problem(error: RemoteError) -> Problem {
    let help = error.help();
    let problem = Problem::from(error);
    match help {
        Some(help) => problem.help(help),
        None => problem,
    }
}

/// Reads a source of an ADD or COPY; `None` for a path.
///
/// # Errors
/// A git URL that has no meaning.
pub(crate) fn remote(source: &str) -> Result<Option<Remote>, Problem> {
    Remote::of_add(source).map_err(problem)
}
