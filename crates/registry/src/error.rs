//! Why a registry could not be used.

use std::io;

use lbuild_oci::Digest;
use ureq::Timeout;

/// Why a registry could not be used. Nothing in it holds a credential.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// There was no connection, or it broke.
    #[error("cannot reach {host}")]
    Connection {
        /// The registry or the server that it sent us to.
        host: String,
        /// Whether the way there is a proxy.
        is_proxied: bool,
        /// What happened.
        source: Box<ureq::Error>,
    },
    /// The registry has no such thing.
    #[error("{what} is not on {host}")]
    NotFound {
        /// What was asked for.
        what: String,
        /// The registry.
        host: String,
    },
    /// The registry wants other credentials, or any.
    #[error("{host} refuses access to {what}{message}")]
    Unauthorized {
        /// The registry or its token server.
        host: String,
        /// What was asked for.
        what: String,
        /// What it said, beginning with `: `; may be empty.
        message: String,
        /// Whether credentials were sent.
        is_logged_in: bool,
    },
    /// The registry wants fewer requests than we would wait for.
    #[error("{host} allows no more requests for now{message}")]
    TooManyRequests {
        /// The registry.
        host: String,
        /// What it said, beginning with `: `; may be empty.
        message: String,
        /// How many seconds it wants us to wait.
        seconds: Option<u64>,
    },
    /// A manifest was put whose blobs the registry says it does not have. They were put before: a
    /// registry may see them only a moment later, above all where several clients put the same one.
    #[error("{host} does not have the blobs of {what} that were put there{message}")]
    MissingBlob {
        /// The registry.
        host: String,
        /// The manifest.
        what: String,
        /// What it said, beginning with `: `; may be empty.
        message: String,
    },
    /// Any other refusal or failure of the server.
    #[error("{host} answers {status} to {what}{message}")]
    Status {
        /// The registry.
        host: String,
        /// What was asked for.
        what: String,
        /// The status of HTTP.
        status: u16,
        /// What it said, beginning with `: `; may be empty.
        message: String,
        /// How many seconds it wants us to wait.
        seconds: Option<u64>,
    },
    /// The content broke off again and again.
    #[error("cannot read {what} from {host}")]
    Body {
        /// The registry.
        host: String,
        /// What was read.
        what: String,
        /// What happened last.
        source: io::Error,
    },
    /// What is to be uploaded cannot be read.
    #[error("cannot read what is to be uploaded as {what}")]
    Source {
        /// What was uploaded.
        what: String,
        /// What happened.
        source: io::Error,
    },
    /// The content is not what its digest names.
    #[error("{what} from {host} has the digest {found}: the registry or the connection damaged it")]
    Digest {
        /// The registry.
        host: String,
        /// What was read.
        what: String,
        /// What it is.
        found: Digest,
    },
    /// The content is longer or shorter than it is said to be.
    #[error("{what} from {host} has {found} bytes instead of {expected}")]
    Size {
        /// The registry.
        host: String,
        /// What was read.
        what: String,
        /// What was said.
        expected: u64,
        /// What came; where it is more, reading ended there.
        found: u64,
    },
    /// The answer is not what the protocol says.
    #[error("{host} does not answer as a registry does: {reason}")]
    Protocol {
        /// The registry.
        host: String,
        /// What is wrong.
        reason: String,
    },
    /// A document breaks a rule of its format.
    #[error("{what}: {reason}")]
    Document {
        /// Which one.
        what: String,
        /// Which rule.
        reason: String,
    },
    /// The registry sends us, or our credentials, to a place that is not safe.
    #[error("{host} sends us to {to}, which is refused: {reason}")]
    UnsafeAddress {
        /// The registry.
        host: String,
        /// Where it would have us go.
        to: String,
        /// Why not.
        reason: &'static str,
    },
    /// The configuration forbids the registry.
    #[error("the registry {name} is blocked by {path}")]
    Blocked {
        /// The registry, or a part of it.
        name: String,
        /// The file that says so.
        path: String,
    },
    /// A configuration, credential or certificate file cannot be used.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// A credential helper failed.
    #[error("the credential helper {program} failed: {reason}")]
    Helper {
        /// The program.
        program: String,
        /// What it said, or what happened.
        reason: String,
    },
    /// The user interrupted it.
    #[error("the transfer was interrupted")]
    Interrupted,
}

impl RegistryError {
    /// Why `agent` has no answer of `host`.
    pub(crate) fn connection(agent: &ureq::Agent, host: &str, source: ureq::Error) -> Self {
        let is_proxied = agent.config().proxy().is_some();
        Self::Connection { host: host.to_owned(), is_proxied, source: Box::new(source) }
    }

    /// What the user can do about it.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::Connection { source, is_proxied, .. } => connection_help(source, *is_proxied).to_owned(),
            Self::NotFound { .. } => {
                "check the name and the tag; a private repository may look the same: `lbuild login`"
                    .to_owned()
            }
            Self::Unauthorized { host, is_logged_in: false, .. } => {
                format!(
                    "`lbuild login {host}` keeps credentials; a repository that does not exist may look the same"
                )
            }
            Self::Unauthorized { host, is_logged_in: true, .. } => {
                format!("the credentials for {host} do not suffice; `lbuild login {host}` keeps others")
            }
            Self::TooManyRequests { seconds: Some(seconds), .. } => {
                format!("try again in {seconds} seconds, log in, or use a mirror")
            }
            Self::TooManyRequests { .. } => "try again later, log in, or use a mirror".to_owned(),
            Self::Status { status: 500.., .. } | Self::Body { .. } | Self::MissingBlob { .. } => {
                "try again later".to_owned()
            }
            Self::Digest { .. } | Self::Size { .. } => {
                "try again; if it stays, the registry's content is damaged".to_owned()
            }
            _ => return None,
        })
    }

    /// Whether the registry answered that the thing is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }
}

fn connection_help(error: &ureq::Error, is_proxied: bool) -> &'static str {
    match error {
        ureq::Error::HostNotFound => "the name of the registry is not known: check it and the network",
        // The system's resolver has no kind of its own for it.
        ureq::Error::Io(error) if error.to_string().contains("lookup") => {
            "the name of the registry is not known: check it and the network"
        }
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => TLS_HELP,
        ureq::Error::Tls(_) | ureq::Error::Rustls(_) | ureq::Error::Pem(_) => TLS_HELP,
        ureq::Error::ConnectProxyFailed(_) => PROXY_HELP,
        _ if is_proxied => PROXY_HELP,
        ureq::Error::Timeout(Timeout::PerRead | Timeout::PerWrite | Timeout::RecvResponse) => {
            "it was silent, or slow, for too long: try again later, or set LBUILD_REGISTRY_TIMEOUT=SECONDS"
        }
        _ => "check the name and the network",
    }
}

const PROXY_HELP: &str = "the way there is a proxy: check HTTPS_PROXY and NO_PROXY";

const TLS_HELP: &str = "put the certificate of the registry's authority into /etc/docker/certs.d/HOST/ca.crt; \
                        for a registry without TLS, set `insecure = true` in registries.conf";
