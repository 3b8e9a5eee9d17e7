//! What a run finds in its root besides the image, where nothing can be mounted.
//!
//! What stands in the place of something is put aside, outside of the root, and comes back to it. Every
//! place is held by its open directory: whatever the run does with paths, nothing else is touched.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use lbuild_confined::{Located, Root};
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, chownat, fchmod, fchown,
    fstat, futimens, linkat, makedev, mkdirat, mknodat, openat, renameat, statat, symlinkat,
};
use rustix::io::Errno;

use crate::devices::{LINKS, NODES};
use crate::wire::{Failure, Order, OrderedSource};

/// Files of the kernel that programs look at and that are the same for every process.
const KERNEL_FILES: [&str; 7] = ["cpuinfo", "filesystems", "loadavg", "meminfo", "stat", "uptime", "version"];

/// All that was put into a root.
#[derive(Debug)]
pub(super) struct Furniture {
    /// Outside of the root, on its file system.
    aside: PathBuf,
    pieces: Vec<Piece>,
}

/// One thing that was put into a root.
#[derive(Debug)]
struct Piece {
    place: Located,
    /// Where what stood there is.
    replaced: Option<PathBuf>,
    home: Option<Home>,
}

/// Where a directory came from and goes back to.
#[derive(Debug, Clone)]
struct Home {
    path: PathBuf,
    /// Which it is: the run may have put something else in its place, such as a link to anywhere.
    file: (u64, u64),
}

impl Furniture {
    /// Puts everything that `order` mounts into `root`.
    ///
    /// # Errors
    /// Says what failed; then what was put in is out again.
    pub(super) fn bring(order: &Order, root: BorrowedFd<'_>, trees: Vec<OwnedFd>) -> Result<Self, Failure> {
        let path = own_path(root).map_err(|error| Failure::setup("find the root file system", error))?;
        let mut aside = path.into_os_string();
        aside.push(".aside");
        fs::create_dir(&aside).map_err(|error| Failure::setup("make a place to put files aside", error))?;
        let mut furniture = Self { aside: aside.into(), pieces: Vec::new() };
        match furniture.bring_all(order, root, trees) {
            Ok(()) => Ok(furniture),
            Err(failure) => {
                // What is said is why it could not be put in.
                let _ = furniture.take_out();
                Err(failure)
            }
        }
    }

    fn bring_all(&mut self, order: &Order, root: BorrowedFd<'_>, trees: Vec<OwnedFd>) -> Result<(), Failure> {
        let failed = |path: &Path| {
            let what = format!("put {} into the root file system", path.display());
            move |error: io::Error| Failure::setup(what, error)
        };
        let root = root.try_clone_to_owned().map(Root::from_fd);
        let root = root.map_err(|error| Failure::setup("open the root file system", error))?;
        let dev = Path::new("/dev");
        self.directory(&root, dev, 0o755).and_then(|made| devices(made.as_fd())).map_err(failed(dev))?;
        let proc = Path::new("/proc");
        self.directory(&root, proc, 0o555)
            .and_then(|made| kernel_files(made.as_fd()))
            .map_err(failed(proc))?;
        let sys = Path::new("/sys");
        self.directory(&root, sys, 0o555).map_err(failed(sys))?;
        for (path, content) in [("/etc/hosts", &order.hosts), ("/etc/resolv.conf", &order.resolv_conf)] {
            let path = Path::new(path);
            self.file(&root, path, &content.0, 0o644, (0, 0)).map_err(failed(path))?;
        }
        let mut trees = trees.into_iter();
        for mount in &order.mounts {
            let target = mount.target.as_path();
            let made = match &mount.source {
                OrderedSource::Tree { path } => match trees.next() {
                    Some(tree) => self.tree(&root, target, tree, path.as_ref().map(|path| path.as_path())),
                    None => Err(Errno::BADF.into()),
                },
                OrderedSource::Tmpfs { mode, .. } => self.directory(&root, target, *mode).map(drop),
                OrderedSource::File { content, mode, uid, gid } => {
                    self.file(&root, target, &content.0, *mode, (*uid, *gid))
                }
            };
            made.map_err(failed(target))?;
        }
        Ok(())
    }

    fn directory(&mut self, root: &Root, path: &Path, mode: u32) -> io::Result<OwnedFd> {
        self.put(root, path, None, |place| {
            mkdirat(&place.parent, &place.name, Mode::from(0o700))?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let made = openat(&place.parent, &place.name, flags, Mode::empty())?;
            fchmod(&made, Mode::from(mode))?;
            Ok(made)
        })
    }

    fn file(
        &mut self,
        root: &Root,
        path: &Path,
        content: &[u8],
        mode: u32,
        owner: (u32, u32),
    ) -> io::Result<()> {
        self.put(root, path, None, |place| {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            let mut file = File::from(openat(&place.parent, &place.name, flags, Mode::from(0o600))?);
            file.write_all(content)?;
            fchown(&file, Some(Uid::from_raw(owner.0)), Some(Gid::from_raw(owner.1)))?;
            Ok(fchmod(&file, Mode::from(mode))?)
        })
    }

    /// Moves a tree of lbuild's own into the root, or links a file of it.
    fn tree(&mut self, root: &Root, path: &Path, tree: OwnedFd, part: Option<&Path>) -> io::Result<()> {
        let tree = match part {
            Some(part) => Root::from_fd(tree).open_at(part, OFlags::PATH, Mode::empty())?,
            None => tree,
        };
        let home = own_path(tree.as_fd())?;
        let stat = fstat(&tree)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            let back = Home { path: home.clone(), file: (stat.st_dev, stat.st_ino) };
            return self
                .put(root, path, Some(back), |place| Ok(renameat(CWD, &home, &place.parent, &place.name)?));
        }
        self.put(root, path, None, |place| {
            Ok(linkat(CWD, &home, &place.parent, &place.name, AtFlags::empty())?)
        })
    }

    /// Puts aside what stands at `path`, makes something there and keeps its directory as it looked.
    fn put<T>(
        &mut self,
        root: &Root,
        path: &Path,
        home: Option<Home>,
        make: impl FnOnce(&Located) -> io::Result<T>,
    ) -> io::Result<T> {
        let place = root.locate(root.resolve(path)?)?;
        let before = fstat(&place.parent)?;
        let aside = self.aside.join(self.pieces.len().to_string());
        let replaced = match renameat(&place.parent, &place.name, CWD, &aside) {
            Ok(()) => Some(aside),
            Err(Errno::NOENT) => None,
            Err(error) => return Err(error.into()),
        };
        let made = make(&place);
        restore_times(&place.parent, &before)?;
        let home = home.filter(|_| made.is_ok());
        self.pieces.push(Piece { place, replaced, home });
        made
    }

    /// Takes everything out again, the last piece first.
    ///
    /// # Errors
    /// Says what could not be brought back; the rest is.
    pub(super) fn take_out(self) -> Result<(), Failure> {
        let mut result = Ok(());
        for piece in self.pieces.into_iter().rev() {
            let name = piece.place.name.clone();
            if let Err(error) = piece.take_out() {
                let what = format!("take {} out of the root file system", name.display());
                result = Err(Failure::setup(what, error));
            }
        }
        // Empty unless something failed, and then gone with the step.
        let _ = fs::remove_dir(&self.aside);
        result
    }
}

impl Piece {
    fn take_out(self) -> io::Result<()> {
        let Located { parent, name } = self.place;
        let before = fstat(&parent)?;
        // Unless the run removed it, or its directory.
        if let Some(home) = &self.home
            && home.is_at(&parent, &name)?
        {
            renameat(&parent, &name, CWD, &home.path)?;
        }
        remove(&parent, &name)?;
        if let Some(replaced) = self.replaced {
            match renameat(CWD, &replaced, &parent, &name) {
                // Its directory is gone, and it with it.
                Err(Errno::NOENT) => remove_path(&replaced)?,
                result => result?,
            }
        }
        restore_times(&parent, &before)
    }
}

impl Home {
    /// Whether this is what stands there. Nothing of the run is left that could change it afterwards.
    fn is_at(&self, parent: &OwnedFd, name: &OsStr) -> io::Result<bool> {
        match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok((stat.st_dev, stat.st_ino) == self.file),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

fn devices(directory: BorrowedFd<'_>) -> io::Result<()> {
    for (name, kind, major, minor) in NODES {
        let mode = Mode::from(0o666);
        match mknodat(directory, name, kind, mode, makedev(major, minor)) {
            Ok(()) => {}
            // A file that can be written to, at least.
            Err(Errno::PERM) => mknodat(directory, name, FileType::RegularFile, mode, 0)?,
            Err(error) => return Err(error.into()),
        }
        rustix::fs::chmodat(directory, name, mode, AtFlags::empty())?;
    }
    for (name, target) in LINKS {
        symlinkat(target, directory, name)?;
    }
    for (name, mode) in [("pts", 0o755), ("shm", 0o1777), ("mqueue", 0o1777)] {
        mkdirat(directory, name, Mode::from(0o755))?;
        rustix::fs::chmodat(directory, name, Mode::from(mode), AtFlags::empty())?;
        chownat(directory, name, Some(Uid::ROOT), Some(Gid::ROOT), AtFlags::empty())?;
    }
    Ok(())
}

fn kernel_files(directory: BorrowedFd<'_>) -> io::Result<()> {
    for name in KERNEL_FILES {
        let Ok(content) = fs::read(Path::new("/proc").join(name)) else { continue };
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let mut file = File::from(openat(directory, name, flags, Mode::from(0o444))?);
        file.write_all(&content)?;
    }
    Ok(())
}

/// The path of an open file of lbuild's own.
fn own_path(file: BorrowedFd<'_>) -> io::Result<PathBuf> {
    fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

fn remove(parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
    let directory = OsString::from(format!("/proc/self/fd/{}", parent.as_raw_fd()));
    remove_path(&Path::new(&directory).join(name))
}

/// Follows no link below, and removes one itself.
fn remove_path(path: &Path) -> io::Result<()> {
    let result = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn restore_times(directory: &OwnedFd, stat: &Stat) -> io::Result<()> {
    let times = Timestamps {
        last_access: Timespec { tv_sec: stat.st_atime, tv_nsec: stat.st_atime_nsec as _ },
        last_modification: Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ },
    };
    match futimens(directory, &times) {
        // Opened as a path only.
        Err(Errno::BADF) => {
            let path = format!("/proc/self/fd/{}", directory.as_raw_fd());
            Ok(rustix::fs::utimensat(CWD, path, &times, AtFlags::empty())?)
        }
        result => Ok(result?),
    }
}
