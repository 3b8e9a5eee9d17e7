//! `RUN --mount`: what each mount shows, and what of it counts for the cache.

use std::path::{Path, PathBuf};

use lbuild_oci::{ChainId, DiffId};
use lbuild_parser::{Mount, MountKind, Sharing};
use serde_json::{Value, json};

use crate::BuildError;
use crate::path::absolute;
use crate::plan::Origin;
use crate::problem::Problem;
use crate::request::Secret;
use crate::solve::Solver;
use crate::state::StageState;

/// As large a secret as is read.
const MAX_SECRET: u64 = 500 << 10;
const DEFAULT_CACHE_MODE: u32 = 0o755;
/// What of a cache's mode counts: Docker's builder makes the directory with mkdir(2) and the umask 022.
const CACHE_MODE_BITS: u32 = 0o755;
/// The build argument whose value keeps a project's caches apart from those of others.
const CACHE_NAMESPACE_ARGUMENT: &str = "BUILDKIT_CACHE_MOUNT_NS";

/// A mount with its words expanded and its defaults filled in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ResolvedMount {
    /// Files of the context, a stage or an image. Writes are discarded.
    Bind { files: Files, source: String, target: PathBuf, read_only: bool },
    /// A directory that outlives the build.
    Cache(CacheMount),
    /// An empty directory in memory.
    Tmpfs { target: PathBuf, size: Option<u64>, read_only: bool },
    /// A secret as a file or a variable or both.
    Secret(SecretMount),
    /// An agent's socket; nothing is there if none was given, but SSH_AUTH_SOCK names it.
    Ssh { id: String, target: PathBuf, socket: Option<PathBuf>, mode: u32, uid: u32, gid: u32 },
}

/// The tree that a mount's files come from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Files {
    pub origin: Origin,
    /// Its layers; `None` for a folder.
    pub layers: Option<Vec<DiffId>>,
}

/// A cache mount.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CacheMount {
    pub id: String,
    /// Which directory it is kept in.
    pub directory: String,
    pub sharing: Sharing,
    pub files: Files,
    pub source: String,
    pub target: PathBuf,
    pub read_only: bool,
    /// What it begins with instead of the files: an empty directory.
    pub empty: Option<EmptyCache>,
}

/// The empty directory that a cache with an owner or mode of its own begins with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct EmptyCache {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

/// A secret mount whose secret is there, or has a variable, which is then empty.
#[derive(Clone, PartialEq)]
pub(crate) struct SecretMount {
    pub id: String,
    pub content: Vec<u8>,
    pub target: Option<PathBuf>,
    pub variable: Option<String>,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

impl std::fmt::Debug for SecretMount {
    /// Never shows the content.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretMount")
            .field("id", &self.id)
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

/// The trees that the mounts of a RUN come from, once the stages among them are finished.
///
/// # Errors
/// As [`crate::context::Contexts::layers`].
pub(crate) fn files(solver: &Solver<'_>, origins: &[Origin]) -> Result<Vec<Files>, BuildError> {
    let files = |origin: &Origin| {
        let layers = solver.build.contexts.layers(solver, origin)?;
        Ok(Files { origin: origin.clone(), layers })
    };
    origins.iter().map(files).collect()
}

/// Resolves the mounts of a RUN. A secret or agent that is not required and not there is
/// left out, but for a secret's variable, which is empty.
///
/// # Errors
/// Words that cannot be expanded, a target at the root, a required secret or agent that is missing.
pub(crate) fn resolve(
    solver: &Solver<'_>,
    state: &StageState,
    mounts: &[Mount],
    files: Vec<Files>,
) -> Result<Vec<ResolvedMount>, Problem> {
    let mut resolved = Vec::new();
    let mut agents = 0;
    for (mount, files) in mounts.iter().zip(files) {
        let mount = &expanded(solver.build.dockerfile.directives.escape, state, mount)?;
        let words =
            Words { target: mount.target.clone(), source: mount.source.clone(), id: mount.id.clone() };
        match mount.kind {
            MountKind::Bind => resolved.push(ResolvedMount::Bind {
                files,
                source: words.source(),
                target: words.target(state)?,
                read_only: mount.read_only.unwrap_or(true),
            }),
            MountKind::Cache => {
                resolved.push(ResolvedMount::Cache(cache(solver, state, mount, files, &words)?))
            }
            MountKind::Tmpfs => {
                resolved.push(ResolvedMount::Tmpfs {
                    target: words.target(state)?,
                    size: mount.size,
                    read_only: mount.read_only.unwrap_or(false),
                });
            }
            MountKind::Secret => resolved.extend(secret(solver, state, mount, &words)?),
            MountKind::Ssh => {
                resolved.push(ssh(solver, state, mount, &words, agents)?);
                agents += 1;
            }
        }
    }
    // As in BuildKit, so that a mount below another one is not hidden by it.
    resolved.sort_by(|one, other| one.target().cmp(&other.target()));
    Ok(resolved)
}

/// The mount with its variables replaced.
///
/// # Errors
/// Words that cannot be expanded or mean nothing.
pub(crate) fn expanded(escape: char, state: &StageState, mount: &Mount) -> Result<Mount, Problem> {
    mount
        .expand(&mut |word| state.expand(escape, word).map(|expanded| expanded.text))
        .map_err(|diagnostic| Problem::from_diagnostic(&diagnostic))
}

/// The id of the secret that an expanded mount shows.
///
/// # Errors
/// There is none.
pub(crate) fn secret_id(mount: &Mount) -> Result<String, Problem> {
    match (&mount.source, &mount.id, &mount.target) {
        (Some(source), _, _) if !source.is_empty() => Ok(source.clone()),
        (_, Some(id), _) if !id.is_empty() => Ok(id.clone()),
        (_, _, Some(target)) => Ok(base_name(target).to_owned()),
        _ => Err(Problem::new("a secret mount needs an id or a target").help("write id=NAME")),
    }
}

/// The id of the agent that an expanded mount shows.
pub(crate) fn agent_id(mount: &Mount) -> String {
    mount.id.clone().filter(|id| !id.is_empty()).unwrap_or_else(|| "default".to_owned())
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').find(|part| !part.is_empty()).unwrap_or_default()
}

/// A mount's expanded words.
struct Words {
    target: Option<String>,
    source: Option<String>,
    id: Option<String>,
}

impl Words {
    fn target(&self, state: &StageState) -> Result<PathBuf, Problem> {
        let target = self.target.as_deref().unwrap_or_default();
        let path = absolute(&state.workdir(), target);
        if path == "/" {
            return Err(Problem::new(format!("invalid mount target {target:?}"))
                .help("a mount needs a target below the root: target=/some/path"));
        }
        Ok(path.into())
    }

    /// The source from the root of its tree, without `.` and `..`.
    fn source(&self) -> String {
        absolute("/", self.source.as_deref().unwrap_or_default())
    }

    /// The id of a cache that has none: the target as it is written, so that a relative one is the same
    /// cache in every working directory.
    fn default_id(&self) -> String {
        let target = self.target.as_deref().unwrap_or_default();
        let clean = absolute("/", target);
        match clean.strip_prefix('/') {
            Some("") => ".".to_owned(),
            Some(relative) if !target.starts_with('/') => relative.to_owned(),
            _ => clean,
        }
    }
}

fn cache(
    solver: &Solver<'_>,
    state: &StageState,
    mount: &Mount,
    files: Files,
    words: &Words,
) -> Result<CacheMount, Problem> {
    let (target, source) = (words.target(state)?, words.source());
    if files.origin == Origin::Empty && source != "/" {
        return Err(Problem::new(format!("cannot mount {source:?}: a cache without from= begins empty"))
            .help("leave source= out, or name with from= what the cache begins with"));
    }
    let id = words.id.clone().filter(|id| !id.is_empty()).unwrap_or_else(|| words.default_id());
    let namespace = solver.build.request.build_args.get(CACHE_NAMESPACE_ARGUMENT);
    let id = namespace.map_or(id.clone(), |namespace| format!("{namespace}/{id}"));
    Ok(CacheMount {
        directory: cache_directory(&id, mount, &files),
        id,
        sharing: mount.sharing,
        files,
        empty: empty_cache(mount).filter(|_| source == "/"),
        source,
        target,
        read_only: mount.read_only.unwrap_or(false),
    })
}

/// What a cache begins with that has an owner or a mode.
fn empty_cache(mount: &Mount) -> Option<EmptyCache> {
    if (mount.mode, mount.uid, mount.gid) == (None, None, None) {
        return None;
    }
    Some(EmptyCache {
        mode: mount.mode.unwrap_or(DEFAULT_CACHE_MODE) & CACHE_MODE_BITS,
        uid: mount.uid.unwrap_or(0),
        gid: mount.gid.unwrap_or(0),
    })
}

/// Which directory a cache is kept in: the id, as it is listed and exported by. As in BuildKit, caches
/// of one id that begin with another owner, mode or content are different caches; they have a name in
/// JSON, which no other id begins like.
fn cache_directory(id: &str, mount: &Mount, files: &Files) -> String {
    let content = files.layers.as_deref().and_then(ChainId::of);
    let first = match (mount.mode, mount.uid, mount.gid) {
        (None, None, None) => None,
        (mode, uid, gid) => Some((mode.unwrap_or(DEFAULT_CACHE_MODE), uid.unwrap_or(0), gid.unwrap_or(0))),
    };
    if content.is_none() && mount.source.is_none() && first.is_none() && !id.starts_with('{') {
        return id.to_owned();
    }
    json!({"id": id, "content": content, "source": mount.source, "first": first}).to_string()
}

fn secret(
    solver: &Solver<'_>,
    state: &StageState,
    mount: &Mount,
    words: &Words,
) -> Result<Option<ResolvedMount>, Problem> {
    let id = secret_id(mount)?;
    let target = match (&words.target, &mount.env) {
        (Some(_), _) => Some(words.target(state)?),
        (None, None) => Some(PathBuf::from(format!("/run/secrets/{}", base_name(&id)))),
        (None, Some(_)) => None,
    };
    let variable = mount.env.clone().map(|name| if name.is_empty() { id.clone() } else { name });
    let Some(content) = secret_content(solver, &id)? else {
        if mount.required {
            return Err(Problem::new(format!("secret {id:?} is required and was not given"))
                .help(format!("pass it with --secret id={id},src=FILE or --secret id={id},env=NAME")));
        }
        return Ok(variable.map(|variable| {
            let (content, target) = (Vec::new(), None);
            ResolvedMount::Secret(SecretMount {
                id,
                content,
                target,
                variable: Some(variable),
                mode: 0,
                uid: 0,
                gid: 0,
            })
        }));
    };
    Ok(Some(ResolvedMount::Secret(SecretMount {
        content,
        target,
        variable,
        mode: mount.mode.unwrap_or(0o400),
        uid: mount.uid.unwrap_or(0),
        gid: mount.gid.unwrap_or(0),
        id,
    })))
}

fn secret_content(solver: &Solver<'_>, id: &str) -> Result<Option<Vec<u8>>, Problem> {
    let content = match solver.build.request.secrets.get(id) {
        None => return Ok(None),
        Some(Secret::Env(name)) => match std::env::var_os(name) {
            Some(value) => std::os::unix::ffi::OsStringExt::into_vec(value),
            None => {
                return Err(Problem::new(format!(
                    "secret {id:?}: the environment variable {name} is not set"
                )));
            }
        },
        Some(Secret::File(path)) => std::fs::read(path).map_err(|error| {
            Problem::because(format!("secret {id:?}: cannot read {}", path.display()), error)
        })?,
    };
    if content.len() as u64 > MAX_SECRET {
        return Err(Problem::new(format!("secret {id:?} is larger than 500 KiB")));
    }
    Ok(Some(content))
}

fn ssh(
    solver: &Solver<'_>,
    state: &StageState,
    mount: &Mount,
    words: &Words,
    number: usize,
) -> Result<ResolvedMount, Problem> {
    let id = agent_id(mount);
    let target = match &words.target {
        Some(_) => words.target(state)?,
        None => PathBuf::from(format!("/run/buildkit/ssh_agent.{number}")),
    };
    let socket = solver.build.request.ssh.get(&id).cloned();
    if socket.is_none() && mount.required {
        return Err(Problem::new(format!("SSH agent {id:?} is required and was not given"))
            .help(format!("pass it with --ssh {id}")));
    }
    Ok(ResolvedMount::Ssh {
        target,
        socket,
        mode: mount.mode.unwrap_or(0o600),
        uid: mount.uid.unwrap_or(0),
        gid: mount.gid.unwrap_or(0),
        id,
    })
}

impl ResolvedMount {
    /// What of the mount is part of the step's key, but for the files of a bind mount. The content
    /// of caches, secrets and agents is not: it does not decide whether the step runs again.
    pub fn key(&self) -> Value {
        match self {
            Self::Bind { source, target, read_only, .. } => {
                json!({"type": "bind", "source": source, "target": target, "read only": read_only})
            }
            Self::Cache(cache) => json!({
                "type": "cache", "id": cache.id, "target": cache.target,
                "directory": cache.directory, "read only": cache.read_only,
            }),
            Self::Tmpfs { target, size, read_only } => {
                json!({"type": "tmpfs", "target": target, "size": size, "read only": read_only})
            }
            Self::Secret(secret) => {
                json!({
                    "type": "secret", "id": secret.id, "target": secret.target, "variable": secret.variable,
                    "mode": secret.mode, "uid": secret.uid, "gid": secret.gid,
                })
            }
            Self::Ssh { id, target, mode, uid, gid, .. } => {
                json!({"type": "ssh", "id": id, "target": target, "mode": mode, "uid": uid, "gid": gid})
            }
        }
    }

    /// Where it is mounted; `None` for a secret that is only a variable.
    fn target(&self) -> Option<&Path> {
        match self {
            Self::Bind { target, .. } | Self::Tmpfs { target, .. } | Self::Ssh { target, .. } => Some(target),
            Self::Cache(cache) => Some(&cache.target),
            Self::Secret(secret) => secret.target.as_deref(),
        }
    }
}

#[cfg(test)]
mod tests;
