//! Output files that appear under their name only when they are complete.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, open};
use rustix::io::Errno;

/// A file that is being written. Dropped without [`AsideFile::commit`], nothing of it is left.
#[derive(Debug)]
pub struct AsideFile {
    file: File,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// The file has no name; it goes here.
    Nameless(PathBuf),
    /// The file system has no nameless files: written beside its name.
    Beside { temporary: Temporary, target: PathBuf },
    /// A device or a pipe, written to directly.
    Direct,
}

/// A name that is removed again.
#[derive(Debug)]
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Writes `content` to `path`, whole or not at all.
pub fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = AsideFile::create(path)?;
    file.write_all(content)?;
    file.commit()
}

/// Whether a file can be made at `path`: its folder is there, and it is no folder itself.
pub fn check(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => match fs::metadata(folder(path)) {
            Ok(found) if found.is_dir() => Ok(()),
            Ok(_) => Err(io::ErrorKind::NotADirectory.into()),
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    }
}

impl AsideFile {
    /// Begins a file that will be `path`. Through a symbolic link its target is replaced, not the link.
    ///
    /// # Errors
    /// That of the system; `IsADirectory` if a folder has that name.
    pub fn create(path: &Path) -> io::Result<Self> {
        let target = match fs::canonicalize(path) {
            Ok(target) => target,
            Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
            Err(error) => return Err(error),
        };
        check(&target)?;
        if target.exists() && !target.is_file() {
            let file = File::options().write(true).open(&target)?;
            return Ok(Self { file, place: Place::Direct });
        }
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        match open(folder(&target), flags, Mode::from_raw_mode(0o666)) {
            Ok(file) => Ok(Self { file: file.into(), place: Place::Nameless(target) }),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT) => Self::create_beside(target),
            Err(error) => Err(error.into()),
        }
    }

    fn create_beside(target: PathBuf) -> io::Result<Self> {
        let temporary = temporary_name(&target);
        let file = File::create_new(&temporary)?;
        Ok(Self { file, place: Place::Beside { temporary: Temporary(temporary), target } })
    }

    /// Gives the complete file its name; a file that had it is replaced.
    ///
    /// # Errors
    /// That of the system; nothing is left then.
    pub fn commit(mut self) -> io::Result<()> {
        self.file.flush()?;
        match self.place {
            Place::Direct => Ok(()),
            Place::Beside { temporary, target } => fs::rename(&temporary.0, target),
            Place::Nameless(target) => {
                let temporary = Temporary(temporary_name(&target));
                let file = format!("/proc/self/fd/{}", self.file.as_raw_fd());
                linkat(CWD, file, CWD, &temporary.0, AtFlags::SYMLINK_FOLLOW)?;
                fs::rename(&temporary.0, target)
            }
        }
    }
}

impl Write for AsideFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The folder that holds `path`.
fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A hidden name beside `target` that no other process uses.
fn temporary_name(target: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(format!(".{}.partial", std::process::id()));
    folder(target).join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_appears_when_it_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image.tar");
        for begin in [AsideFile::create, |path: &Path| AsideFile::create_beside(path.to_owned())] {
            fs::write(&path, "old").unwrap();
            let mut file = begin(&path).unwrap();
            file.write_all(b"new").unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), "old");
            file.commit().unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), "new");
            assert_eq!(names(folder.path()), ["image.tar"]);
        }
    }

    #[test]
    fn an_abandoned_file_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image.tar");
        for begin in [AsideFile::create, |path: &Path| AsideFile::create_beside(path.to_owned())] {
            let mut file = begin(&path).unwrap();
            file.write_all(b"half").unwrap();
            drop(file);
            assert!(names(folder.path()).is_empty());
        }
    }

    #[test]
    fn links_are_followed_and_devices_are_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("target"), folder.path().join("link"));
        fs::write(&target, "old").unwrap();
        std::os::unix::fs::symlink("target", &link).unwrap();
        write(&link, b"new").unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read_to_string(&target).unwrap(), "new");

        write(Path::new("/dev/null"), b"gone").unwrap();
        assert!(!Path::new("/dev/null").is_file());
    }

    #[test]
    fn folders_are_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(AsideFile::create(folder.path()).unwrap_err().kind(), io::ErrorKind::IsADirectory);
        let missing = folder.path().join("missing/image.tar");
        assert_eq!(AsideFile::create(&missing).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
