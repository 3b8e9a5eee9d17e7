//! Mounts overlays that no path leads to.
//!
//! An overlay is made detached (fsopen, fsconfig, fsmount) and lives as long as its descriptor, so a
//! killed process leaves no mount. Layers are handed over by descriptor: neither a `:` or `,` in
//! the store's path nor a long path can disturb, and the kernel's 500 layers fit.
//!
//! Kernels before 6.8 lack `lowerdir+`. There, mount(2) is called in a thread with a mount namespace
//! of its own, in a directory of short links to the layers (its options must fit one page), and the
//! mount is cloned out of it.
//!
//! Source: <https://docs.kernel.org/filesystems/overlayfs.html>, fsconfig(2)

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nix::sched::CloneFlags;
use rustix::fs::{CWD, Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, OpenTreeFlags,
};

use crate::StoreError;
use crate::error::OnPath;

/// How many layers the kernel stacks (`OVL_MAX_STACK`).
pub(crate) const MAX_LOWERS: usize = 500;

/// The same options whatever the module's parameters are: a directory is never renamed by reference,
/// a file never copied up without its content, and a copied store mounts.
const OPTIONS: [(&str, &str); 3] = [("redirect_dir", "nofollow"), ("metacopy", "off"), ("index", "off")];

/// Set once the kernel turned out to lack `lowerdir+`.
static IS_CLASSIC: AtomicBool = AtomicBool::new(false);
static CLASSIC_COUNT: AtomicU64 = AtomicU64::new(0);

/// One overlay to be mounted.
pub(crate) struct Overlay<'a> {
    /// Bottom first; at least one, and two without a writable part.
    pub lowers: Vec<Lower<'a>>,
    /// Where changes go, and the work directory beside it.
    pub writable: Option<(BorrowedFd<'a>, BorrowedFd<'a>)>,
    /// Whether overlayfs keeps its marks in `user.*`.
    pub userxattr: bool,
    /// What mountinfo shows as the mount's source.
    pub source: &'a str,
    /// An existing directory in which temporary files may be made.
    pub scratch: &'a Path,
}

/// A lower directory.
pub(crate) enum Lower<'a> {
    /// By its path.
    Path(PathBuf),
    /// As it is open.
    Fd(BorrowedFd<'a>),
}

impl Overlay<'_> {
    /// Mounts the overlay, attached nowhere; read-only without a writable part.
    ///
    /// # Errors
    /// [`StoreError::TooManyLayers`], [`StoreError::Mount`], and [`StoreError::Io`] if the disk is full.
    pub fn mount(&self) -> Result<OwnedFd, StoreError> {
        if self.lowers.len() > MAX_LOWERS {
            return Err(StoreError::TooManyLayers { count: self.lowers.len(), limit: MAX_LOWERS });
        }
        let mount = self.mount_by_any_way()?;
        if let Some((_, work)) = self.writable {
            self.check_writable(&mount, work)?;
        }
        Ok(mount)
    }

    /// overlayfs mounts read-only, and says so only to the kernel's log, what it cannot make a folder of its own
    /// for: for want of space or quota.
    fn check_writable(&self, mount: &OwnedFd, work: BorrowedFd<'_>) -> Result<(), StoreError> {
        let status = rustix::fs::fstatvfs(mount).map_err(|error| self.error(None, error))?;
        if !status.f_flag.contains(StatVfsMountFlags::RDONLY) {
            return Ok(());
        }
        // The reason is the same for any folder.
        rustix::fs::mkdirat(work, "reason", Mode::RWXU)
            .map_err(io::Error::from)
            .on("create", "a folder of the step")?;
        Err(self.error(None, Errno::ROFS))
    }

    fn mount_by_any_way(&self) -> Result<OwnedFd, StoreError> {
        if !IS_CLASSIC.load(Ordering::Relaxed) {
            match self.mount_detached()? {
                Some(mount) => return Ok(mount),
                None => IS_CLASSIC.store(true, Ordering::Relaxed),
            }
        }
        self.mount_classic()
    }

    /// `None` if the kernel lacks `lowerdir+`.
    fn mount_detached(&self) -> Result<Option<OwnedFd>, StoreError> {
        let context = match rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC) {
            Ok(context) => context,
            Err(Errno::NOSYS) => return Ok(None),
            Err(error) => return Err(self.error(None, error)),
        };
        let set = |key: &str, value: &str| {
            rustix::mount::fsconfig_set_string(&context, key, value)
                .map_err(|error| self.error(Some(&context), error))
        };
        set("source", self.source)?;
        for (key, value) in OPTIONS {
            set(key, value)?;
        }
        if self.userxattr {
            self.set_flag(&context, "userxattr")?;
        }
        for (index, lower) in self.lowers.iter().rev().enumerate() {
            match set_lower(&context, lower)? {
                Ok(()) => {}
                Err(Errno::INVAL) if index == 0 => return Ok(None),
                Err(error) => return Err(self.error(Some(&context), error)),
            }
        }
        if let Some((upper, work)) = self.writable {
            set("upperdir", &fd_path(upper))?;
            set("workdir", &fd_path(work))?;
            self.set_flag(&context, "volatile")?;
        }
        rustix::mount::fsconfig_create(&context).map_err(|error| self.error(Some(&context), error))?;
        let attributes = match self.writable {
            Some(_) => MountAttrFlags::empty(),
            None => MountAttrFlags::MOUNT_ATTR_RDONLY,
        };
        rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
            .map(Some)
            .map_err(|error| self.error(Some(&context), error))
    }

    fn set_flag(&self, context: &OwnedFd, key: &str) -> Result<(), StoreError> {
        rustix::mount::fsconfig_set_flag(context, key).map_err(|error| self.error(Some(context), error))
    }

    fn mount_classic(&self) -> Result<OwnedFd, StoreError> {
        let directory =
            self.scratch.join(format!("classic-{}", CLASSIC_COUNT.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir(&directory).on("create", &directory)?;
        let result = self.link_layers(&directory).and_then(|()| {
            let (options, is_read_only) = (self.classic_options(), self.writable.is_none());
            let thread = std::thread::scope(|scope| {
                let mount = || mount_in_own_namespace(&directory, self.source, &options, is_read_only);
                scope.spawn(mount).join()
            });
            let mount = thread.unwrap_or_else(|_| Err(io::Error::other("the mounting thread failed")));
            mount.map_err(|error| self.error(None, error))
        });
        fs::remove_dir_all(&directory).on("remove", &directory)?;
        result
    }

    /// Short names for the layers: a number for each lower directory, the topmost first.
    fn link_layers(&self, directory: &Path) -> Result<(), StoreError> {
        let link = |target: PathBuf, name: &str| {
            let path = directory.join(name);
            symlink(target, &path).on("create", path)
        };
        for (index, lower) in self.lowers.iter().rev().enumerate() {
            let target = match lower {
                Lower::Path(path) => path.clone(),
                Lower::Fd(fd) => named(*fd)?,
            };
            link(target, &index.to_string())?;
        }
        if let Some((upper, work)) = self.writable {
            link(named(upper)?, "u")?;
            link(named(work)?, "w")?;
        }
        let target = directory.join("m");
        fs::create_dir(&target).on("create", target)
    }

    fn classic_options(&self) -> String {
        let mut options: Vec<String> = OPTIONS.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let lowers: Vec<String> = (0..self.lowers.len()).map(|index| index.to_string()).collect();
        options.push(format!("lowerdir={}", lowers.join(":")));
        if self.userxattr {
            options.push("userxattr".to_owned());
        }
        if self.writable.is_some() {
            options.push("upperdir=u,workdir=w,volatile".to_owned());
        }
        options.join(",")
    }

    fn error(&self, context: Option<&OwnedFd>, error: impl Into<io::Error>) -> StoreError {
        let reason = context.and_then(kernel_message);
        let path = self.writable.and_then(|(upper, _)| named(upper).ok());
        StoreError::Mount {
            path: path.unwrap_or_else(|| self.scratch.to_owned()),
            reason: reason.unwrap_or_else(|| "the kernel refused it".to_owned()),
            source: error.into(),
        }
    }
}

/// Mounts an overlay as a step's in a user namespace, with its changes in a new directory where the
/// store `root` is or would be.
///
/// # Errors
/// What the kernel says.
pub fn try_overlay(root: &Path) -> io::Result<()> {
    let place = root.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/"));
    let scratch = place.join(format!(".lbuild-try-{}", std::process::id()));
    fs::create_dir(&scratch)?;
    let tried = ["lower", "upper", "work"]
        .iter()
        .try_for_each(|name| fs::create_dir(scratch.join(name)))
        .and_then(|()| {
            let open = |name: &str| Ok::<_, io::Error>(crate::directory::open(&scratch.join(name))?);
            let (upper, work) = (open("upper")?, open("work")?);
            let lowers = vec![Lower::Path(scratch.join("lower"))];
            let writable = Some((upper.as_fd(), work.as_fd()));
            let overlay = Overlay { lowers, writable, userxattr: true, source: "lbuild", scratch: &scratch };
            overlay.mount().map(drop).map_err(|error| match error {
                StoreError::Mount { source, .. } | StoreError::Io { source, .. } => source,
                other => io::Error::other(other.to_string()),
            })
        });
    fs::remove_dir_all(&scratch)?;
    tried
}

/// Mounts an empty file system in memory, attached nowhere, for a store at `place` whose disk cannot
/// hold an upper directory.
///
/// # Errors
/// [`StoreError::Mount`].
pub(crate) fn mount_memory(place: &Path) -> Result<OwnedFd, StoreError> {
    let mount = || {
        let context = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        rustix::mount::fsconfig_set_string(&context, "mode", "0700")?;
        rustix::mount::fsconfig_create(&context)?;
        rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
    };
    mount().map_err(|error: Errno| StoreError::Mount {
        path: place.to_owned(),
        reason: "the store lies on an overlay, and no file system in memory can be mounted".to_owned(),
        source: error.into(),
    })
}

/// The outer error is about the layer itself, the inner one the kernel's answer.
fn set_lower(context: &OwnedFd, lower: &Lower<'_>) -> Result<Result<(), Errno>, StoreError> {
    let opened;
    let fd = match lower {
        Lower::Fd(fd) => *fd,
        Lower::Path(path) => {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            opened = rustix::fs::open(path, flags, Mode::empty()).on("open", path)?;
            opened.as_fd()
        }
    };
    Ok(rustix::mount::fsconfig_set_string(context, "lowerdir+", fd_path(fd)))
}

/// Runs in a thread of its own, whose mount namespace ends with it.
fn mount_in_own_namespace(
    directory: &Path,
    source: &str,
    options: &str,
    is_read_only: bool,
) -> io::Result<OwnedFd> {
    nix::sched::unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS)?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private)?;
    std::env::set_current_dir(directory)?;
    let flags = if is_read_only { MountFlags::RDONLY } else { MountFlags::empty() };
    let options = CString::new(options)?;
    rustix::mount::mount(source, "m", "overlay", flags, options.as_c_str())?;
    let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    Ok(rustix::mount::open_tree(CWD, "m", clone)?)
}

fn fd_path(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// The path of an open directory, which must be valid in another mount namespace.
fn named(fd: BorrowedFd<'_>) -> Result<PathBuf, StoreError> {
    let link = fd_path(fd);
    fs::read_link(&link).on("read", link)
}

/// What the kernel wrote to the context's log, such as `overlay: Unknown parameter 'lowerdir+'`.
fn kernel_message(context: &OwnedFd) -> Option<String> {
    let mut buffer = [0; 256];
    let mut message = None;
    while let Ok(length) = rustix::io::read(context, &mut buffer) {
        let text = String::from_utf8_lossy(&buffer[..length]);
        // The first letter is the level: e, w or i.
        message = Some(text.trim_start_matches(['e', 'w', 'i']).trim().to_owned());
        if length == 0 {
            break;
        }
    }
    message.filter(|message| !message.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory;

    /// Directories `lower0` … and `upper`, `work` in a place whose name would break mount options.
    struct Bed {
        directory: tempfile::TempDir,
        lowers: usize,
    }

    impl Bed {
        fn new(lowers: usize) -> Self {
            let bed = Self { directory: tempfile::tempdir().unwrap(), lowers };
            for index in 0..lowers {
                fs::create_dir_all(bed.path(&format!("lower{index}"))).unwrap();
                fs::write(bed.path(&format!("lower{index}/f{index}")), "").unwrap();
                fs::write(bed.path(&format!("lower{index}/top")), index.to_string()).unwrap();
            }
            for name in ["upper", "work", "scratch"] {
                fs::create_dir_all(bed.path(name)).unwrap();
            }
            bed
        }

        fn path(&self, name: &str) -> PathBuf {
            self.directory.path().join("a:b,c").join(name)
        }

        fn check(&self, mount: impl Fn(&Overlay<'_>) -> Result<OwnedFd, StoreError>) {
            let upper = directory::open(&self.path("upper")).unwrap();
            let work = directory::open(&self.path("work")).unwrap();
            let last = directory::open(&self.path(&format!("lower{}", self.lowers - 1))).unwrap();
            let paths = (0..self.lowers - 1).map(|index| Lower::Path(self.path(&format!("lower{index}"))));
            let scratch = self.path("scratch");
            let mut overlay = Overlay {
                lowers: paths.chain([Lower::Fd(last.as_fd())]).collect(),
                writable: None,
                userxattr: false,
                source: "lbuild",
                scratch: &scratch,
            };
            let view = mount(&overlay).unwrap();
            assert_eq!(directory_names(&view).len(), self.lowers + 1);
            let created = rustix::fs::mkdirat(&view, "new", Mode::from_raw_mode(0o755));
            assert_eq!(created, Err(Errno::ROFS));
            overlay.writable = Some((upper.as_fd(), work.as_fd()));
            let tree = mount(&overlay).unwrap();
            let top = rustix::fs::openat(&tree, "top", OFlags::RDONLY, Mode::empty()).unwrap();
            assert_eq!(io::read_to_string(fs::File::from(top)).unwrap(), (self.lowers - 1).to_string());
            rustix::fs::unlinkat(&tree, "top", rustix::fs::AtFlags::empty()).unwrap();
            rustix::fs::mkdirat(&tree, "new", Mode::from_raw_mode(0o755)).unwrap();
            assert_eq!(directory_names(&upper), [c"new".to_owned(), c"top".to_owned()]);
            assert_eq!(fs::read_dir(&scratch).unwrap().count(), 0);
        }
    }

    fn directory_names(fd: &OwnedFd) -> Vec<CString> {
        let listed = directory::open_at(fd, c".").unwrap().unwrap();
        directory::names(listed.as_fd()).unwrap()
    }

    #[test]
    fn overlays_are_mounted_through_the_mount_api() {
        for lowers in [2, 127, 500] {
            Bed::new(lowers).check(|overlay| Ok(overlay.mount_detached()?.expect("Linux 6.8 or later")));
        }
    }

    #[test]
    fn overlays_are_mounted_on_kernels_without_it() {
        for lowers in [2, 127, 500] {
            Bed::new(lowers).check(|overlay| overlay.mount_classic());
        }
    }

    #[test]
    fn a_refused_mount_says_where_and_why() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("missing");
        let overlay = Overlay {
            lowers: vec![Lower::Path(directory.path().to_owned()), Lower::Path(directory.path().to_owned())],
            writable: None,
            userxattr: false,
            source: "lbuild",
            scratch: directory.path(),
        };
        for result in [overlay.mount(), overlay.mount_classic()] {
            assert!(matches!(result, Err(StoreError::Mount { path, .. }) if path == directory.path()));
        }
        let overlay = Overlay { lowers: vec![Lower::Path(missing.clone())], ..overlay };
        let error = overlay.mount().unwrap_err();
        assert!(matches!(error, StoreError::Io { path, .. } if path == missing));
    }

    #[test]
    fn an_overlay_on_a_full_disk_is_not_taken_for_one_to_read() {
        let place = tempfile::tempdir().unwrap();
        let context = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
        // One for its root and one for each of the directories below.
        rustix::mount::fsconfig_set_string(&context, "nr_inodes", "3").unwrap();
        rustix::mount::fsconfig_create(&context).unwrap();
        let none = MountAttrFlags::empty();
        let full = rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, none).unwrap();
        let [upper, work] = ["upper", "work"].map(|name| {
            rustix::fs::mkdirat(&full, name, Mode::RWXU).unwrap();
            rustix::fs::openat(&full, name, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap()
        });
        let overlay = Overlay {
            lowers: vec![Lower::Path(place.path().to_owned())],
            writable: Some((upper.as_fd(), work.as_fd())),
            userxattr: false,
            source: "lbuild",
            scratch: place.path(),
        };
        let error = overlay.mount().unwrap_err();
        assert!(
            matches!(error, StoreError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull)
        );
    }

    #[test]
    fn more_layers_than_the_kernel_stacks_are_refused() {
        let path = PathBuf::from("/");
        let overlay = Overlay {
            lowers: (0..501).map(|_| Lower::Path(path.clone())).collect(),
            writable: None,
            userxattr: false,
            source: "lbuild",
            scratch: &path,
        };
        assert!(matches!(overlay.mount(), Err(StoreError::TooManyLayers { count: 501, limit: 500 })));
    }
}
