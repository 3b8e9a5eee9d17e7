//! What a git URL asks for.
//!
//! Source: <https://docs.docker.com/build/concepts/context/#git-repositories> and BuildKit's `dfgitutil`

use super::error::RemoteError;
use super::url::{self, Url, pairs, redacted};
use crate::clean;

/// Transports that are git's even without `.git` at the end of the path.
const ALWAYS_GIT: [&str; 2] = ["git", "ssh"];

/// A repository, and what of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitSource {
    /// What git is given, credentials included.
    pub(super) remote: String,
    /// Branch, tag, full reference or commit; the default branch without it.
    pub(super) reference: Option<String>,
    /// Relative, cleaned; empty for all.
    pub(super) subdir: String,
    /// The digits that the commit must begin with.
    pub(super) checksum: Option<String>,
    pub(super) keep_git_dir: Option<bool>,
    pub(super) submodules: bool,
    pub(super) time: CheckoutTime,
    /// Trust the checksum as the commit and do not ask what the reference stands for.
    pub(super) fetch_by_commit: bool,
}

/// Which time files get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CheckoutTime {
    /// The commit's: the same each time.
    Commit,
    /// When they are checked out.
    Checkout,
}

impl GitSource {
    /// Reads a git URL; `None` for what is none.
    ///
    /// `github.com/…` without a scheme is one only for contexts: see [`super::Remote::of_context`].
    ///
    /// # Errors
    /// [`RemoteError::Options`] for a git URL whose query or reference has no meaning.
    pub(super) fn parse(text: &str) -> Result<Option<Self>, RemoteError> {
        let Some((remote, query, fragment)) = split(text) else { return Ok(None) };
        let (reference, subdir) = fragment.split_once(':').unwrap_or((&fragment, ""));
        let mut source = Self {
            remote,
            reference: Some(reference.to_owned()).filter(|reference| !reference.is_empty()),
            subdir: clean::from_root(subdir),
            checksum: None,
            keep_git_dir: None,
            submodules: true,
            time: CheckoutTime::Commit,
            fetch_by_commit: false,
        };
        source.read_query(&query).and_then(|()| source.check()).map_err(|reason| source.wrong(reason))?;
        Ok(Some(source))
    }

    /// The repository, without credentials.
    pub fn url(&self) -> String {
        redacted(&self.remote)
    }

    /// The server's name, with its port.
    pub fn host(&self) -> &str {
        let (authority, end) = match self.remote.split_once("://") {
            Some((_, rest)) => (rest, '/'),
            None => (self.remote.as_str(), ':'),
        };
        let authority = authority.split(end).next().unwrap_or_default();
        authority.rsplit_once('@').map_or(authority, |(_, host)| host)
    }

    /// Takes over `ADD --keep-git-dir` and `--checksum`.
    ///
    /// # Errors
    /// [`RemoteError::Options`] if the URL says otherwise.
    pub fn with_flags(
        mut self,
        keep_git_dir: Option<bool>,
        checksum: Option<&str>,
    ) -> Result<Self, RemoteError> {
        match (keep_git_dir, self.keep_git_dir) {
            (Some(flag), Some(own)) if flag != own => {
                return Err(self.wrong("its keep-git-dir contradicts --keep-git-dir"));
            }
            (flag, own) => self.keep_git_dir = own.or(flag),
        }
        match (checksum, self.checksum.as_deref()) {
            (Some(flag), Some(own)) if flag != own => {
                return Err(self.wrong(format!("its checksum {own} contradicts --checksum={flag}")));
            }
            (Some(flag), None) => self.checksum = Some(flag.to_owned()),
            _ => {}
        }
        self.check().map_err(|reason| self.wrong(reason))?;
        Ok(self)
    }

    /// Whether the checkout has its `.git`. As in BuildKit, that of a subdirectory never has.
    pub(super) fn keeps_git_dir(&self) -> bool {
        self.keep_git_dir == Some(true) && self.subdir.is_empty()
    }

    fn read_query(&mut self, query: &str) -> Result<(), String> {
        let (mut tag, mut branch) = (None, None);
        let mut seen = Vec::new();
        for (name, value) in pairs(query) {
            if seen.contains(&name) {
                return Err(format!("query {name:?} has multiple values"));
            }
            let is_switch = ["submodules", "keep-git-dir", "fetch-by-commit"].contains(&name.as_str());
            if value.is_empty() && !is_switch {
                return Err(format!("query {name:?} has no value"));
            }
            match name.as_str() {
                "ref" => set_reference(&mut self.reference, value)?,
                "tag" => tag = Some(value),
                "branch" => branch = Some(value),
                "subdir" => {
                    let subdir = clean::from_root(&value);
                    if !self.subdir.is_empty() && self.subdir != subdir {
                        return Err(format!("subdir conflicts: {:?} vs {value:?}", self.subdir));
                    }
                    self.subdir = subdir;
                }
                "checksum" | "commit" => self.checksum = Some(value),
                "keep-git-dir" => self.keep_git_dir = Some(switch(&name, &value)?),
                "submodules" => self.submodules = switch(&name, &value)?,
                "fetch-by-commit" => self.fetch_by_commit = switch(&name, &value)?,
                "mtime" => {
                    self.time = match value.as_str() {
                        "commit" => CheckoutTime::Commit,
                        "checkout" => CheckoutTime::Checkout,
                        _ => return Err(format!("invalid mtime {value:?}: expected checkout or commit")),
                    }
                }
                _ => return Err(format!("unexpected query {name:?}")),
            }
            seen.push(name);
        }
        if tag.is_some() && branch.is_some() {
            return Err("branch conflicts with tag".to_owned());
        }
        for (prefix, name) in [("refs/tags/", tag), ("refs/heads/", branch)] {
            if let Some(name) = name {
                let full = if name.starts_with(prefix) { name } else { format!("{prefix}{name}") };
                set_reference(&mut self.reference, full)?;
            }
        }
        Ok(())
    }

    /// Refuses what git could take for an option or a pattern, and checksums that are none.
    fn check(&self) -> Result<(), String> {
        if let Some(reference) = self.reference.as_deref().filter(|reference| !is_ref_name(reference)) {
            return Err(format!("{reference:?} is no name of a branch, tag or commit"));
        }
        let is_hex = |text: &str| !text.is_empty() && text.chars().all(|digit| digit.is_ascii_hexdigit());
        if let Some(checksum) = self.checksum.as_deref().filter(|checksum| !is_hex(checksum)) {
            return Err(format!("invalid checksum {checksum:?}: expected a commit's hexadecimal digits"));
        }
        if self.fetch_by_commit && !self.checksum.as_deref().is_some_and(is_commit) {
            return Err("fetch-by-commit needs a checksum of all the commit's digits".to_owned());
        }
        Ok(())
    }

    fn wrong(&self, reason: impl Into<String>) -> RemoteError {
        RemoteError::Options { url: self.url(), reason: reason.into() }
    }
}

/// Whether a text is a whole commit: 40 or 64 lower-case digits.
pub(super) fn is_commit(text: &str) -> bool {
    [40, 64].contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// A git URL's remote, query and fragment.
fn split(text: &str) -> Option<(String, String, String)> {
    if text.starts_with("./") || text.starts_with("../") {
        return None;
    }
    if text.contains("://") {
        let url = Url::parse(text)?;
        let is_http = ["http", "https"].contains(&url.scheme.as_str());
        let is_git = ALWAYS_GIT.contains(&url.scheme.as_str())
            || is_http && url::decoded(&url.path).is_some_and(|path| path.ends_with(".git"));
        // git would hand a host with a dash to ssh as an option.
        let is_option =
            url.host.starts_with('-') || url.user.as_deref().is_some_and(|user| user.starts_with('-'));
        return (is_git && !is_option).then(|| (url.without_options(), url.query, url.fragment));
    }
    let (user, rest) = text.split_once('@')?;
    let (host, rest) = rest.split_once(':')?;
    let is_word = |word: &str, more: &str| {
        let is_part = |character: char| character.is_ascii_alphanumeric() || more.contains(character);
        !word.is_empty() && !word.starts_with('-') && word.chars().all(is_part)
    };
    if !is_word(user, "-_") || !is_word(host, "-.") || text.contains(['\n', '\r']) {
        return None;
    }
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    Some((format!("{user}@{host}:{path}"), query.to_owned(), fragment.to_owned()))
}

fn set_reference(reference: &mut Option<String>, value: String) -> Result<(), String> {
    match reference {
        Some(own) if *own != value => Err(format!("ref conflicts: {own:?} vs {value:?}")),
        _ => {
            *reference = Some(value);
            Ok(())
        }
    }
}

/// Go's `strconv.ParseBool`; a name alone switches on.
fn switch(name: &str, value: &str) -> Result<bool, String> {
    match value {
        "" | "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("invalid {name} value {value:?}: expected true or false")),
    }
}

/// Source: git-check-ref-format(1)
fn is_ref_name(name: &str) -> bool {
    !name.starts_with('-')
        && !name.contains("..")
        && !name.contains("@{")
        && !name.contains([' ', '~', '^', ':', '?', '*', '[', '\\'])
        && !name.contains(char::is_control)
}

#[cfg(test)]
mod tests;
