//! A git source's commit, and its files.

use std::fs;
use std::path::{Path, PathBuf};

use lbuild_confined::Root;
use rustix::fs::FileType;

use super::error::RemoteError;
use super::git::Git;
use super::git_source::{CheckoutTime, GitSource, is_commit};
use super::{settle, submodules};

/// What a source's reference stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedGit {
    /// The commit, or the annotated tag of it.
    object: String,
    /// The commit of an annotated tag.
    tagged: Option<String>,
    /// The full name; none if the source names the commit itself.
    reference: Option<String>,
}

impl GitSource {
    /// Asks the repository what the reference stands for. A whole commit is not asked for.
    ///
    /// # Errors
    /// [`RemoteError::Git`] if the repository cannot be reached, [`RemoteError::NoSuchRef`], or
    /// [`RemoteError::Commit`] if it is not at the commit that it must be at.
    pub fn resolve(&self, git: &Git<'_>) -> Result<ResolvedGit, RemoteError> {
        let resolved = match &self.reference {
            Some(reference) if is_commit(reference) => ResolvedGit::commit(reference.clone(), None),
            reference => match self.checksum.as_ref().filter(|_| self.fetch_by_commit) {
                Some(commit) => ResolvedGit::commit(commit.clone(), reference.as_deref().map(branch)),
                None => self.ask(git)?,
            },
        };
        let objects = || std::iter::once(&resolved.object).chain(&resolved.tagged);
        match &self.checksum {
            Some(expected) if !objects().any(|object| object.starts_with(expected)) => {
                Err(RemoteError::Commit {
                    url: self.url(),
                    expected: expected.clone(),
                    found: resolved.commit_or_tag().to_owned(),
                })
            }
            _ => Ok(resolved),
        }
    }

    fn ask(&self, git: &Git<'_>) -> Result<ResolvedGit, RemoteError> {
        let git = git.with_remote(&self.remote);
        let name = match &self.reference {
            Some(reference) => reference.clone(),
            None => self.default_branch(&git)?,
        };
        let peeled = format!("{name}^{{}}");
        let listed = git.run(
            &format!("list the references of {}", self.url()),
            ["ls-remote", "--", &self.remote, &name, &peeled],
        )?;
        chosen(&String::from_utf8_lossy(&listed), &name)
            .ok_or_else(|| RemoteError::NoSuchRef { url: self.url(), reference: name })
    }

    fn default_branch(&self, git: &Git<'_>) -> Result<String, RemoteError> {
        let what = format!("find the default branch of {}", self.url());
        let listed = git.run(&what, ["ls-remote", "--symref", "--", &self.remote, "HEAD"])?;
        let listed = String::from_utf8_lossy(&listed);
        let line = listed.lines().find_map(|line| line.strip_prefix("ref: "));
        let name =
            line.and_then(|line| line.split('\t').next()).filter(|name| name.starts_with("refs/heads/"));
        name.map(str::to_owned)
            .ok_or_else(|| RemoteError::NoSuchRef { url: self.url(), reference: "HEAD".to_owned() })
    }

    /// Fetches the files into `folder`, which must be empty, and returns the folder that holds them.
    ///
    /// They have mode 644 or 755 and the time of the commit, unless the URL says otherwise.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub fn checkout(
        &self,
        resolved: &ResolvedGit,
        git: &Git<'_>,
        folder: &Path,
    ) -> Result<PathBuf, RemoteError> {
        let files = folder.join("files");
        let repository = if self.keeps_git_dir() { files.join(".git") } else { folder.join("repository") };
        fs::create_dir(&files)
            .map_err(|source| RemoteError::Io { what: format!("make {}", files.display()), source })?;
        let git = git.with_remote(&self.remote).on(&repository, &files);
        self.fetch(resolved, &git, &repository)?;
        let commit = format!("{}^{{commit}}", resolved.object);
        let what = |what: &str| format!("{what} {}", self.url());
        git.run(&what("check out"), ["checkout", "--quiet", "--force", "--detach", &commit])?;
        if self.submodules {
            submodules::update(&git, &self.url(), &files, self.keeps_git_dir())?;
        }
        let time = git.run(&what("date"), ["log", "-1", "--format=%ct", &commit, "--"])?;
        let time = String::from_utf8_lossy(&time).trim().parse().ok();
        if self.keeps_git_dir() {
            self.tidy(&git, &repository, &commit)?;
        }
        let unsettled = |source| RemoteError::Io { what: format!("prepare {}", files.display()), source };
        settle::settle(&files, time.filter(|_| self.time == CheckoutTime::Commit)).map_err(unsettled)?;
        self.subdir(&files)
    }

    /// Gets the commit, as little else as the server lets.
    fn fetch(&self, resolved: &ResolvedGit, git: &Git<'_>, repository: &Path) -> Result<(), RemoteError> {
        let format = if resolved.object.len() == 64 { "sha256" } else { "sha1" };
        let format = format!("--object-format={format}");
        git.run("make a repository", ["init", "--quiet", &format])?;
        git.run("name the remote", ["remote", "add", "--", "origin", &self.remote])?;
        if let Some(reference) = resolved.reference.as_ref().filter(|_| !self.fetch_by_commit) {
            self.fetch_shallow(git, &format!("+{reference}:{reference}"))?;
        }
        // The reference may have moved since it was asked for.
        let has_object = || git.run("look", ["cat-file", "-e", &format!("{}^{{commit}}", resolved.object)]);
        if has_object().is_ok() {
            return Ok(());
        }
        match self.fetch_shallow(git, &resolved.object) {
            Ok(()) => {}
            Err(RemoteError::Git { output, .. })
                if output.contains("not our ref") || output.contains("unadvertised object") =>
            {
                self.fetch_all(git, repository)?;
            }
            Err(error) => return Err(error),
        }
        let gone = || RemoteError::NoSuchRef { url: self.url(), reference: resolved.object.clone() };
        has_object().map(drop).map_err(|error| match error {
            RemoteError::Git { .. } => gone(),
            error => error,
        })
    }

    fn fetch_shallow(&self, git: &Git<'_>, refspec: &str) -> Result<(), RemoteError> {
        let what = format!("fetch {}", self.url());
        let fetch = ["fetch", "--quiet", "--no-tags", "--update-head-ok"];
        let operands = ["--", "origin", refspec];
        match git.run(&what, fetch.iter().chain(&["--depth=1"]).chain(&operands)) {
            // A server of plain files has no shallow copies.
            Err(RemoteError::Git { output, .. }) if output.contains("shallow") => {
                git.run(&what, fetch.iter().chain(&operands)).map(drop)
            }
            result => result.map(drop),
        }
    }

    /// For servers that hand out no commit by its digits.
    fn fetch_all(&self, git: &Git<'_>, repository: &Path) -> Result<(), RemoteError> {
        let deepen = repository.join("shallow").exists().then_some("--unshallow");
        let all = ["--", "origin", "+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"];
        let fetch = ["fetch", "--quiet", "--no-tags"].into_iter().chain(deepen).chain(all);
        git.run(&format!("fetch all of {}", self.url()), fetch).map(drop)
    }

    /// Leaves in the `.git` nothing that differs from one checkout to the next, and no password.
    fn tidy(&self, git: &Git<'_>, repository: &Path, commit: &str) -> Result<(), RemoteError> {
        git.run("name the remote", ["remote", "set-url", "--", "origin", &self.url()])?;
        for name in ["index", "FETCH_HEAD"] {
            match fs::remove_file(repository.join(name)) {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    return Err(RemoteError::Io { what: format!("remove {name}"), source });
                }
                _ => {}
            }
        }
        // An index made without looking at the files has none of their inodes and times.
        git.run("list the files", ["read-tree", commit]).map(drop)
    }

    /// The subdirectory's folder, if no link leads to it (CVE-2026-33748).
    fn subdir(&self, files: &Path) -> Result<PathBuf, RemoteError> {
        let wrong =
            |reason: String| RemoteError::Subdir { url: self.url(), subdir: self.subdir.clone(), reason };
        let root = Root::open(files).map_err(|error| wrong(error.to_string()))?;
        let mut path = PathBuf::new();
        for name in self.subdir.split('/').filter(|name| !name.is_empty()) {
            path.push(name);
            let stat = root.lstat(&path).map_err(|_| wrong(format!("{} does not exist", path.display())))?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                return Err(wrong(format!("{} is no directory", path.display())));
            }
        }
        Ok(files.join(path))
    }
}

impl ResolvedGit {
    /// What the files of a source depend on, for a step's key.
    pub fn identity(&self, source: &GitSource) -> String {
        let mut identity = if source.keeps_git_dir() {
            let reference = self.reference.as_deref().unwrap_or_default();
            format!("{}.git#{reference} {}", self.object, source.url())
        } else {
            self.commit_or_tag().to_owned()
        };
        if !source.subdir.is_empty() {
            identity.push_str(&format!(":{}", source.subdir));
        }
        if !source.submodules {
            identity.push_str(" without submodules");
        }
        if source.time == CheckoutTime::Checkout {
            identity.push_str(" with the time of the checkout");
        }
        identity
    }

    fn commit(object: String, reference: Option<String>) -> Self {
        Self { object, tagged: None, reference }
    }

    fn commit_or_tag(&self) -> &str {
        self.tagged.as_ref().unwrap_or(&self.object)
    }
}

/// A name that is no full reference as that of a branch.
fn branch(name: &str) -> String {
    if name.starts_with("refs/") { name.to_owned() } else { format!("refs/heads/{name}") }
}

/// What `name` stands for among the lines of `git ls-remote`: a full name first, then a branch, then a
/// tag.
fn chosen(listed: &str, name: &str) -> Option<ResolvedGit> {
    let find = |wanted: &str| {
        let object = listed.lines().find_map(|line| line.split_once('\t').filter(|(_, own)| *own == wanted));
        object.map(|(object, _)| object.to_owned()).filter(|object| is_commit(object))
    };
    let short = name.strip_prefix("refs/").unwrap_or(name);
    let bare = |prefix: &str| name.strip_prefix(prefix).unwrap_or(name).to_owned();
    let names = [
        format!("refs/{short}"),
        format!("refs/heads/{}", bare("refs/heads/")),
        format!("refs/tags/{}", bare("refs/tags/")),
    ];
    let reference = names.into_iter().find(|name| find(name).is_some())?;
    let tagged = reference.starts_with("refs/tags/").then(|| find(&format!("{reference}^{{}}"))).flatten();
    Some(ResolvedGit { object: find(&reference)?, tagged, reference: Some(reference) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_wins_over_a_tag_of_the_same_name() {
        let [head, tag, commit] = ["a", "b", "c"].map(|digit| digit.repeat(40));
        let listed = format!(
            "{head}\trefs/heads/v1\n{tag}\trefs/tags/v1\n{commit}\trefs/tags/v1^{{}}\n{tag}\trefs/heads/x/v1\n"
        );
        let resolved = |name: &str| chosen(&listed, name);
        let branch = ResolvedGit { object: head, tagged: None, reference: Some("refs/heads/v1".into()) };
        assert_eq!(resolved("v1").as_ref(), Some(&branch));
        assert_eq!(resolved("refs/heads/v1").as_ref(), Some(&branch));
        assert_eq!(resolved("heads/v1").as_ref(), Some(&branch));
        let tag = ResolvedGit { object: tag, tagged: Some(commit), reference: Some("refs/tags/v1".into()) };
        assert_eq!(resolved("refs/tags/v1").as_ref(), Some(&tag));
        assert_eq!(resolved("v2"), None);
        assert_eq!(chosen("no-commit\trefs/heads/v1\n", "v1"), None);
    }
}
