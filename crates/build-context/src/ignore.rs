//! `.dockerignore`: which files of a context a build sees.
//!
//! An excluded directory is looked into only if an exception is written below it (`!dir/file`), and is
//! then part of the context itself; an exception that begins with a wildcard does not reopen it. So
//! does the client of Docker 20.10; later ones search all excluded directories once an exception has a
//! wildcard, and leave out those in which they find nothing.
//!
//! Source: <https://docs.docker.com/build/concepts/context/#dockerignore-files>

use std::io::Read;
use std::path::{Path, PathBuf};
use std::{fs, io};

use lbuild_confined::Root;

use crate::clean;
use crate::error::ContextError;
use crate::pattern::Pattern;
use crate::patterns::{Hits, Patterns};

/// More than any ignore file that a person writes.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// The rules of one ignore file.
#[derive(Debug, Clone, Default)]
pub struct Ignore {
    file: Option<PathBuf>,
    patterns: Patterns,
    /// As written, and where: one for each of `patterns`.
    lines: Vec<Line>,
}

#[derive(Debug, Clone)]
struct Line {
    number: usize,
    text: String,
}

/// The line of an ignore file that decides about a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// The ignore file, if it has a name.
    pub file: Option<PathBuf>,
    /// The line in it, from 1.
    pub line: usize,
    /// The pattern as it is written there.
    pub pattern: String,
    /// Whether the path is excluded; otherwise an exception brings it back.
    pub excludes: bool,
}

impl Ignore {
    /// Reads rules, one a line.
    ///
    /// # Errors
    /// [`ContextError::IgnoreLine`] for a line that has no meaning.
    pub fn parse(text: &str) -> Result<Self, ContextError> {
        Self::parse_named(text, None)
    }

    /// Reads the ignore file that a build uses: `<Dockerfile>.dockerignore` beside the Dockerfile, or
    /// else `.dockerignore` or else `.containerignore` at the context's top. Without any, nothing is
    /// ignored.
    ///
    /// `dockerfile` is a path of this process, `None` where the Dockerfile is no file.
    ///
    /// # Errors
    /// [`ContextError::IgnoreFile`] if a file that exists cannot be read, or [`Ignore::parse`]'s.
    pub fn find(context: &Root, dockerfile: Option<&Path>) -> Result<Self, ContextError> {
        if let Some(dockerfile) = dockerfile {
            let mut path = dockerfile.as_os_str().to_owned();
            path.push(".dockerignore");
            let path = PathBuf::from(path);
            if let Some(text) = read(&path, read_beside(&path))? {
                return Self::parse_named(&text, Some(path));
            }
        }
        for name in [".dockerignore", ".containerignore"] {
            let path = PathBuf::from(name);
            if let Some(text) = read(&path, context.read(name, MAX_FILE_BYTES))? {
                return Self::parse_named(&text, Some(path));
            }
        }
        Ok(Self::default())
    }

    fn parse_named(text: &str, file: Option<PathBuf>) -> Result<Self, ContextError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut lines = Vec::new();
        let mut patterns = Vec::new();
        for (index, line) in text.lines().enumerate() {
            // Only a `#` in the first column makes a comment.
            if line.starts_with('#') || line.trim().is_empty() {
                continue;
            }
            let number = index + 1;
            match Pattern::parse(&from_context_root(line.trim())) {
                Ok(Some(pattern)) => {
                    patterns.push(pattern);
                    lines.push(Line { number, text: line.trim().to_owned() });
                }
                Ok(None) => {}
                Err(source) => return Err(ContextError::IgnoreLine { file, line: number, source }),
            }
        }
        Ok(Self { file, patterns: patterns.into_iter().collect(), lines })
    }

    /// Whether the rules exclude `path` (slash-separated, relative to the context).
    ///
    /// A directory that is excluded may be part of the context all the same, see
    /// [`Ignore::may_have_exceptions_below`].
    pub fn is_ignored(&self, path: impl AsRef<Path>) -> bool {
        self.patterns.matches(bytes(path.as_ref()))
    }

    /// Whether there is any exception (`!`).
    pub fn has_exceptions(&self) -> bool {
        self.patterns.iter().any(|pattern| pattern.is_exception())
    }

    /// Whether an exception is written below the directory `path`.
    pub fn may_have_exceptions_below(&self, path: impl AsRef<Path>) -> bool {
        let below = [bytes(path.as_ref()), b"/"].concat();
        let mut exceptions = self.patterns.iter().filter(|pattern| pattern.is_exception());
        exceptions.any(|pattern| format!("{}/", pattern.text()).as_bytes().starts_with(&below))
    }

    /// The line that decides about `path`, if any matches it.
    pub fn explain(&self, path: impl AsRef<Path>) -> Option<Reason> {
        let index = self.patterns.deciding(bytes(path.as_ref()))?;
        let line = self.lines.get(index)?;
        let excludes = !self.patterns.iter().nth(index)?.is_exception();
        Some(Reason { file: self.file.clone(), line: line.number, pattern: line.text.clone(), excludes })
    }

    /// Whether the build sees `path`, given what it is and that it sees the directories above.
    pub fn shows(&self, path: impl AsRef<Path>, is_directory: bool) -> bool {
        let path = path.as_ref();
        !self.is_ignored(path) || is_directory && self.may_have_exceptions_below(path)
    }

    /// [`Patterns::top`].
    pub(crate) fn top(&self) -> Hits {
        self.patterns.top()
    }

    /// [`Ignore::shows`] for a `path` right below a directory with these `hits`.
    pub(crate) fn shows_in(&self, path: &Path, is_directory: bool, hits: &Hits) -> bool {
        !self.patterns.matches_in(bytes(path), hits) || is_directory && self.may_have_exceptions_below(path)
    }

    /// [`Patterns::descend`].
    pub(crate) fn descend(&self, path: &Path, hits: &Hits) -> Hits {
        self.patterns.descend(bytes(path), hits)
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let verb = if self.excludes { "excluded" } else { "kept" };
        let file = self.file.as_deref().unwrap_or(Path::new(".dockerignore"));
        write!(f, "{verb} by line {} of {}: {}", self.line, file.display(), self.pattern)
    }
}

/// A pattern cleaned and without the slash before it, which means the context's root.
fn from_context_root(pattern: &str) -> String {
    let (mark, pattern) = match pattern.strip_prefix('!') {
        Some(rest) => ("!", rest.trim()),
        None => ("", pattern),
    };
    if pattern.is_empty() {
        return mark.to_owned();
    }
    let cleaned = clean::path(pattern);
    let relative = cleaned.strip_prefix('/').filter(|rest| !rest.is_empty()).unwrap_or(&cleaned);
    format!("{mark}{relative}")
}

/// The ignore file beside a Dockerfile; links are followed, but what never ends is not read.
fn read_beside(path: &Path) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut content = Vec::new();
    fs::File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MAX_FILE_BYTES {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(content)
}

/// The text of an ignore file, `None` if there is no such file.
fn read(path: &Path, content: io::Result<Vec<u8>>) -> Result<Option<String>, ContextError> {
    match content {
        // Bytes that are no UTF-8 become a character that also stands for them in paths.
        Ok(content) => Ok(Some(String::from_utf8_lossy(&content).into_owned())),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(source) => Err(ContextError::IgnoreFile { path: path.to_owned(), source }),
    }
}

fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_encoded_bytes()
}
