//! Why a remote source cannot be had.

use std::io;

use lbuild_oci::Digest;

const UNKNOWN_HOST: &str = "the name of the server is not known: check it and the network";

/// Why a URL or a git repository cannot be fetched. URLs in it have no credentials.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// A git URL's query or fragment has no meaning.
    #[error("{url}: {reason}")]
    Options {
        /// The source.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// The server refused.
    #[error("cannot fetch {url}: the server answers {status}")]
    Status {
        /// The source.
        url: String,
        /// The status of HTTP.
        status: u16,
    },
    /// The server could not be reached, or did not speak HTTP.
    #[error("cannot fetch {url}")]
    Request {
        /// The source.
        url: String,
        /// What went wrong.
        source: Box<ureq::Error>,
    },
    /// The content broke off.
    #[error("cannot fetch {url}")]
    Body {
        /// The source.
        url: String,
        /// What went wrong.
        source: io::Error,
    },
    /// A file of this machine cannot be read or written.
    #[error("cannot {what}")]
    Io {
        /// What was being done.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// The content is not the one that was asked for.
    #[error("{url} has digest {found}, not {expected}")]
    Digest {
        /// The source.
        url: String,
        /// What was asked for.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// The commit is not the one that was asked for.
    #[error("{url} is at commit {found}, which does not begin with {expected}")]
    Commit {
        /// The source.
        url: String,
        /// What was asked for.
        expected: String,
        /// What is there.
        found: String,
    },
    /// There is no `git` on this machine.
    #[error("cannot run git")]
    NoGit {
        /// What the system said.
        source: io::Error,
    },
    /// `git` failed.
    #[error("git cannot {what}: {output}")]
    Git {
        /// What it was to do.
        what: String,
        /// The end of what it wrote to standard error.
        output: String,
    },
    /// The repository has no such branch, tag or commit.
    #[error("{url} has no branch, tag or commit {reference:?}")]
    NoSuchRef {
        /// The source.
        url: String,
        /// The name as given.
        reference: String,
    },
    /// The subdirectory cannot be used.
    #[error("{url} has no directory {subdir:?}: {reason}")]
    Subdir {
        /// The source.
        url: String,
        /// As given.
        subdir: String,
        /// What is there.
        reason: String,
    },
    /// A submodule is not what a well-meaning repository has.
    #[error("{url} has a submodule that is refused: {reason}")]
    Submodule {
        /// The source.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The user interrupted it.
    #[error("the fetch was interrupted")]
    Interrupted,
}

impl RemoteError {
    /// What the user can do about it.
    pub fn help(&self) -> Option<&'static str> {
        Some(match self {
            Self::Status { status: 401 | 403, .. } => {
                "the server wants credentials: write https://USER:PASSWORD@HOST/…, or fetch the file yourself"
            }
            Self::Status { status: 404 | 410, .. } => "check the address",
            Self::Status { .. } | Self::Body { .. } => "try again later",
            Self::Request { source, .. } => match **source {
                ureq::Error::HostNotFound => UNKNOWN_HOST,
                // The system's resolver has no kind of its own for it.
                ureq::Error::Io(ref error) if error.to_string().contains("lookup") => UNKNOWN_HOST,
                ureq::Error::Tls(_) | ureq::Error::Rustls(_) | ureq::Error::Pem(_) => {
                    "the server's certificate is not trusted: add its authority to this machine's, or set SSL_CERT_FILE"
                }
                ureq::Error::TooManyRedirects => "the server sends it round in circles",
                _ => "check the address and the network",
            },
            Self::Digest { .. } => "the file on the server changed, or the checksum is that of another file",
            Self::Commit { .. } => "the branch or tag moved, or the checksum is that of another commit",
            Self::NoGit { .. } => "git sources are fetched by the program git: install it",
            Self::Git { output, .. } => return git_help(output),
            Self::NoSuchRef { .. } => "give a branch, a tag, or a commit with all its digits",
            Self::Subdir { .. } => "what follows the second colon is a directory of the repository",
            Self::Options { .. } | Self::Io { .. } | Self::Submodule { .. } | Self::Interrupted => {
                return None;
            }
        })
    }
}

fn git_help(output: &str) -> Option<&'static str> {
    let says = |parts: &[&str]| parts.iter().any(|part| output.contains(part));
    if says(&["Permission denied (publickey", "Host key verification failed"]) {
        Some("give an agent with --ssh default, and connect to the host once so that its key is known")
    } else if says(&["could not read Username", "Authentication failed", "terminal prompts disabled"]) {
        Some("give a token with --secret id=GIT_AUTH_TOKEN,env=VARIABLE; a wrong address looks the same")
    } else if says(&["transport 'file' not allowed"]) {
        Some("a repository of this machine is not fetched: it could read any of its files")
    } else {
        None
    }
}
