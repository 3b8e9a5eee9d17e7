//! A directory tree as an open directory.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{self, AtFlags, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

/// As many as the kernel follows in one path.
const MAX_SYMLINKS: usize = 40;

/// A directory tree that no path leads out of.
#[derive(Debug)]
pub struct Root {
    directory: OwnedFd,
}

/// A place in a tree, whose last component need not exist: the open parent directory and the name
/// in it. An empty name stands for the root itself.
#[derive(Debug)]
pub struct Located {
    /// The directory that holds (or would hold) the entry.
    pub parent: OwnedFd,
    /// The entry's name in it.
    pub name: OsString,
}

impl Root {
    /// Opens the directory `path` of this process's own file system.
    ///
    /// # Errors
    /// As open(2); `ENOTDIR` if `path` is no directory.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { directory: fs::open(path.as_ref(), flags, Mode::empty())? })
    }

    /// Takes an open directory, such as a detached mount.
    pub fn from_fd(directory: OwnedFd) -> Self {
        Self { directory }
    }

    /// A second handle of the same tree.
    ///
    /// # Errors
    /// As dup(2).
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { directory: self.directory.try_clone()? })
    }

    /// The open directory.
    pub fn into_fd(self) -> OwnedFd {
        self.directory
    }

    /// Opens what `path` names, following symbolic links inside the tree.
    ///
    /// # Errors
    /// As openat2(2); `EXDEV` or `ELOOP` where a link would lead out or is a `/proc` magic link.
    pub fn open_at(&self, path: impl AsRef<Path>, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        self.open_resolving(path.as_ref(), flags, mode, ResolveFlags::IN_ROOT)
    }

    /// As [`Root::open_at`], but what leads out of the tree is an error instead of being taken to mean
    /// a place inside: `..` above it, an absolute path, an absolute link.
    ///
    /// # Errors
    /// As [`Root::open_at`]; `EXDEV` where `path` leads out.
    pub fn open_beneath(&self, path: impl AsRef<Path>, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        self.open_resolving(path.as_ref(), flags, mode, ResolveFlags::BENEATH)
    }

    fn open_resolving(
        &self,
        path: &Path,
        flags: OFlags,
        mode: Mode,
        resolve: ResolveFlags,
    ) -> io::Result<OwnedFd> {
        let resolve = resolve | ResolveFlags::NO_MAGICLINKS;
        // openat2 refuses an empty path.
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        loop {
            match fs::openat2(&self.directory, path, flags | OFlags::CLOEXEC, mode, resolve) {
                // The kernel could not be sure that nothing moved meanwhile: it asks to try again.
                Err(Errno::AGAIN | Errno::INTR) => {}
                result => return Ok(result?),
            }
        }
    }

    /// Opens a path without following a symbolic link in its last component (`O_PATH`).
    ///
    /// # Errors
    /// As [`Root::open_at`].
    pub fn handle(&self, path: impl AsRef<Path>) -> io::Result<OwnedFd> {
        self.open_at(path, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())
    }

    /// The directory `path` as a tree of its own.
    ///
    /// # Errors
    /// As [`Root::open_at`]; `ENOTDIR` if it is no directory.
    pub fn subtree(&self, path: impl AsRef<Path>) -> io::Result<Self> {
        let directory = self.open_at(path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
        Ok(Self { directory })
    }

    /// Metadata of what `path` names, links followed inside the tree.
    ///
    /// # Errors
    /// As [`Root::open_at`].
    pub fn stat(&self, path: impl AsRef<Path>) -> io::Result<Stat> {
        Ok(fs::fstat(self.open_at(path, OFlags::PATH, Mode::empty())?)?)
    }

    /// Metadata of `path` itself, even if it is a symbolic link.
    ///
    /// # Errors
    /// As [`Root::open_at`].
    pub fn lstat(&self, path: impl AsRef<Path>) -> io::Result<Stat> {
        Ok(fs::fstat(self.handle(path)?)?)
    }

    /// The target of the symbolic link `path`.
    ///
    /// # Errors
    /// As readlinkat(2); `ENOENT` or `EINVAL` if it is no symbolic link.
    pub fn read_link(&self, path: impl AsRef<Path>) -> io::Result<PathBuf> {
        let target = fs::readlinkat(self.handle(path)?, "", Vec::new())?;
        Ok(PathBuf::from(OsStr::from_bytes(target.as_bytes())))
    }

    /// The content of the regular file `path`, never more than `limit` bytes.
    ///
    /// Does not hang on a FIFO and does not trust the size that the file system gives.
    ///
    /// # Errors
    /// `InvalidInput` if it is no regular file, `FileTooLarge` if it holds more; else as open(2).
    pub fn read(&self, path: impl AsRef<Path>, limit: u64) -> io::Result<Vec<u8>> {
        let path = path.as_ref();
        let kind = fs::FileType::from_raw_mode(self.stat(path)?.st_mode);
        if kind != fs::FileType::RegularFile {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let file = File::from(self.open_at(path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())?);
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let mut content = Vec::new();
        file.take(limit + 1).read_to_end(&mut content)?;
        if content.len() as u64 > limit {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        Ok(content)
    }

    /// Opens the directory that holds `path`'s last component, following links on the way there
    /// but not that component itself.
    ///
    /// # Errors
    /// As [`Root::open_at`]; `InvalidInput` if `path` ends in `..`.
    pub fn locate(&self, path: impl AsRef<Path>) -> io::Result<Located> {
        let path = path.as_ref();
        let mut components = path.components();
        let name = match components.next_back() {
            Some(Component::Normal(name)) => name.to_owned(),
            None | Some(Component::RootDir | Component::CurDir) => OsString::new(),
            Some(_) => return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path ends in `..`")),
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        Ok(Located { parent: self.open_at(components.as_path(), flags, Mode::empty())?, name })
    }

    /// The path inside the tree that `path` stands for once every symbolic link on the way is
    /// followed, the last component's too. What does not exist is kept as it is written.
    ///
    /// The answer may be out of date as soon as it is given: use it to name a place that will be
    /// made, not to reach a file.
    ///
    /// # Errors
    /// `ELOOP` after 40 links; else as [`Root::open_at`].
    pub fn resolve(&self, path: impl AsRef<Path>) -> io::Result<PathBuf> {
        let mut resolved = PathBuf::from("/");
        let mut pending: Vec<OsString> = components_reversed(path.as_ref());
        let mut links = 0;
        while let Some(name) = pending.pop() {
            if name == ".." {
                resolved.pop();
                continue;
            }
            let next = resolved.join(&name);
            match self.lstat(&next) {
                Ok(stat) if fs::FileType::from_raw_mode(stat.st_mode) == fs::FileType::Symlink => {
                    links += 1;
                    if links > MAX_SYMLINKS {
                        return Err(Errno::LOOP.into());
                    }
                    let target = self.read_link(&next)?;
                    if target.is_absolute() {
                        resolved = PathBuf::from("/");
                    }
                    pending.extend(components_reversed(&target));
                }
                Ok(_) => resolved = next,
                Err(error) if is_absent(&error) => resolved = next,
                Err(error) => return Err(error),
            }
        }
        Ok(resolved)
    }

    /// Makes the directory `path` and its missing parents, links followed inside the tree, and
    /// returns the paths that it made, outermost first. New directories get `mode` whatever the
    /// umask is.
    ///
    /// # Errors
    /// `ENOTDIR` if a component is another kind of file; else as mkdir(2).
    pub fn create_dir_all(&self, path: impl AsRef<Path>, mode: Mode) -> io::Result<Vec<PathBuf>> {
        let resolved = self.resolve(path)?;
        let mut made = Vec::new();
        let mut current = PathBuf::from("/");
        let mut directory = self.directory.try_clone()?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        for component in resolved.components() {
            let Component::Normal(name) = component else { continue };
            current.push(name);
            let is_new = match fs::mkdirat(&directory, name, mode) {
                Ok(()) => true,
                Err(Errno::EXIST) => false,
                Err(error) => return Err(error.into()),
            };
            // The path was resolved a moment ago; a link that came since is an error, not a way out.
            directory = fs::openat(&directory, name, flags, Mode::empty())?;
            if is_new {
                fs::chmodat(&directory, ".", mode, AtFlags::empty())?;
                made.push(current.clone());
            }
        }
        Ok(made)
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

fn components_reversed(path: &Path) -> Vec<OsString> {
    path.components()
        .rev()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            _ => None,
        })
        .collect()
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A tree with links that point out of it, beside a secret.
    fn bed() -> (tempfile::TempDir, Root) {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "s").unwrap();
        let inside = outside.path().join("root");
        std::fs::create_dir_all(inside.join("etc")).unwrap();
        std::fs::write(inside.join("etc/motd"), "hello").unwrap();
        symlink("/etc", inside.join("absolute")).unwrap();
        symlink("../../../../../etc", inside.join("etc/up")).unwrap();
        symlink("loop", inside.join("loop")).unwrap();
        symlink("/gone/further", inside.join("dangling")).unwrap();
        symlink("../secret", inside.join("out")).unwrap();
        let root = Root::open(&inside).unwrap();
        (outside, root)
    }

    #[test]
    fn links_are_followed_inside_the_tree() {
        let (_bed, root) = bed();
        for path in ["etc/motd", "/etc/motd", "absolute/motd", "etc/up/motd", "../../etc/motd"] {
            assert_eq!(root.read(path, 100).unwrap(), b"hello", "{path}");
        }
        assert!(root.read("out", 100).is_err());
        assert!(root.read("../secret", 100).is_err());
    }

    #[test]
    fn links_that_lead_out_can_be_refused() {
        let (_bed, root) = bed();
        for (path, expected) in [
            ("etc/motd", Ok(())),
            ("etc/../etc/motd", Ok(())),
            ("", Ok(())),
            ("/etc/motd", Err(Some(Errno::XDEV))),
            ("absolute/motd", Err(Some(Errno::XDEV))),
            ("etc/up/motd", Err(Some(Errno::XDEV))),
            ("../root/etc", Err(Some(Errno::XDEV))),
        ] {
            let opened = root.open_beneath(path, OFlags::PATH, Mode::empty());
            let opened = opened.map(drop).map_err(|error| Errno::from_io_error(&error));
            assert_eq!(opened, expected, "{path}");
        }
    }

    #[test]
    fn reading_is_bounded_and_never_hangs() {
        let (bed, root) = bed();
        assert_eq!(root.read("etc/motd", 4).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert!(root.read("etc", 4).is_err());
        let fifo = bed.path().join("root/fifo");
        fs::mkfifoat(fs::CWD, &fifo, Mode::RWXU).unwrap();
        assert_eq!(root.read("fifo", 4).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn resolving_names_the_place_inside() {
        let (_bed, root) = bed();
        for (path, expected) in [
            ("", "/"),
            ("absolute/motd", "/etc/motd"),
            ("etc/up/up/motd", "/etc/motd"),
            ("dangling/x", "/gone/further/x"),
            ("no/such/../thing", "/no/thing"),
            ("/../..", "/"),
        ] {
            assert_eq!(root.resolve(path).unwrap(), Path::new(expected), "{path}");
        }
        assert!(root.resolve("loop").is_err());
    }

    #[test]
    fn missing_directories_are_made_behind_links() {
        let (bed, root) = bed();
        let made = root.create_dir_all("dangling/x", Mode::from(0o750)).unwrap();
        assert_eq!(made, [Path::new("/gone"), Path::new("/gone/further"), Path::new("/gone/further/x")]);
        assert!(bed.path().join("root/gone/further/x").is_dir());
        assert!(root.create_dir_all("etc/motd/x", Mode::from(0o750)).is_err());
        assert!(root.create_dir_all("etc", Mode::from(0o750)).unwrap().is_empty());
    }

    #[test]
    fn locating_does_not_follow_the_last_component() {
        let (_bed, root) = bed();
        let place = root.locate("absolute/up").unwrap();
        assert_eq!(place.name, "up");
        assert!(fs::readlinkat(&place.parent, &place.name, Vec::new()).is_ok());
        assert_eq!(root.locate("/").unwrap().name, "");
    }
}
