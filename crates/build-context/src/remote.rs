//! Sources that lie elsewhere: files by URL and git repositories, of ADD and as contexts.
//!
//! What a source *is* (a digest, a commit) is asked first and is cheap: one conditional request, or one
//! `git ls-remote`. It goes into a step's key, and only a miss fetches the content.

mod base64;
mod checkout;
mod error;
mod git;
mod git_source;
mod http;
mod settle;
mod submodules;
mod url;
mod url_memo;

pub use checkout::ResolvedGit;
pub use error::RemoteError;
pub use git::{Git, GitAccess};
pub use git_source::GitSource;
pub use http::{Http, HttpFile, file_name};
pub use url::redacted;
pub use url_memo::UrlMemo;

/// Asked again and again while something is fetched: whether to stop.
pub type Interrupted<'a> = &'a (dyn Fn() -> bool + Sync);

/// A source that is fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remote {
    /// A file by its URL.
    Http(String),
    /// Files of a repository.
    Git(Box<GitSource>),
}

impl Remote {
    /// Reads a source of an ADD; `None` for a path.
    ///
    /// # Errors
    /// [`RemoteError::Options`] for a git URL that has no meaning.
    pub fn of_add(text: &str) -> Result<Option<Self>, RemoteError> {
        if let Some(git) = GitSource::parse(text)? {
            return Ok(Some(Self::Git(Box::new(git))));
        }
        let is_http = text.starts_with("http://") || text.starts_with("https://");
        Ok(is_http.then(|| Self::Http(text.to_owned())))
    }

    /// Reads a context; `None` for a path. Unlike in an ADD, `github.com/…` is a repository.
    ///
    /// # Errors
    /// As [`Remote::of_add`].
    pub fn of_context(text: &str) -> Result<Option<Self>, RemoteError> {
        if !text.starts_with("github.com/") {
            return Self::of_add(text);
        }
        // Its path needs no `.git` at the end, which is all that tells a repository over HTTP.
        let end = text.find(['?', '#']).unwrap_or(text.len());
        let suffix = if text[..end].ends_with(".git") { "" } else { ".git" };
        let git = GitSource::parse(&format!("https://{}{suffix}{}", &text[..end], &text[end..]))?;
        Ok(git.map(|git| Self::Git(Box::new(git))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_urls_and_repositories_are_told_apart() {
        for (text, expected) in [
            ("file.txt", None),
            ("/abs/file.git", None),
            ("github.com/a/b", None),
            ("HTTP://host/file", None),
            ("http://host/file", Some("http")),
            ("https://host/repo.git/file", Some("http")),
            ("https://host/repo.git", Some("git")),
            ("git@host:repo", Some("git")),
        ] {
            let kind = Remote::of_add(text).unwrap().map(|remote| match remote {
                Remote::Http(_) => "http",
                Remote::Git(_) => "git",
            });
            assert_eq!(kind, expected, "{text}");
        }
    }

    #[test]
    fn a_context_may_be_named_as_github_does() {
        for text in ["github.com/moby/buildkit#master:docs", "github.com/moby/buildkit.git#master:docs"] {
            let Some(Remote::Git(git)) = Remote::of_context(text).unwrap() else { panic!("{text}") };
            assert_eq!(git.url(), "https://github.com/moby/buildkit.git", "{text}");
        }
        assert_eq!(Remote::of_context("./github.com/moby").unwrap(), None);
    }
}
