//! The file system that a run sees, put together from mounts by descriptor.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use lbuild_confined::Root;
use rustix::fs::{FileType, Mode, OFlags, fstat};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MountPropagationFlags, UnmountFlags, mount_change, unmount};
use rustix::process::{chdir, fchdir, pivot_root};

use crate::detached::Detached;
use crate::devices::Devices;
use crate::kernel_views::{KernelViews, is_kernel_view};
use crate::scratch::Scratch;
use crate::spec::Security;
use crate::wire::{Failure, Order, OrderedMount, OrderedSource};

/// Makes `root` this mount namespace's root, with all that `order` mounts in it, and forgets the
/// old one. `trees` are the order's trees, in its order.
///
/// # Errors
/// Says which mount failed.
pub(crate) fn enter(order: &Order, root: Detached, trees: Vec<Detached>) -> Result<(), Failure> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(|error| Failure::setup("make the mounts private", error))?;
    let views = KernelViews::new(order.security)?;
    let scratch = Scratch::new().map_err(|error| Failure::setup("make files in memory", error))?;
    let devices = Devices::new(&scratch, order.security, order.shm_size)?;
    let root = attach_root(root, &scratch, order.security)
        .map_err(|error| Failure::setup("mount the root file system", error))?;

    attach_view(&views.proc, &root, "/proc")?;
    attach_view(&views.sys, &root, "/sys")?;
    let null = devices.attach(fixed(&root, "/dev")?.as_fd())?;
    views.protect(order.security, &null, &scratch)?;
    attach_ordered(order, &root, &scratch, trees)?;

    change_root(&root).map_err(|error| Failure::setup("change to the root file system", error))
}

/// A device file that is opened elsewhere than in `/dev` would be the host's.
fn no_devices(security: Security) -> MountAttrFlags {
    match security {
        Security::Sandbox => MountAttrFlags::MOUNT_ATTR_NODEV,
        Security::Insecure => MountAttrFlags::empty(),
    }
}

fn attach_root(root: Detached, scratch: &Scratch, security: Security) -> io::Result<Root> {
    root.set(no_devices(security))?;
    root.attach(scratch.staging())?;
    Ok(Root::from_fd(root.into_fd()))
}

fn attach_view(view: &Detached, root: &Root, path: &str) -> Result<(), Failure> {
    let target = fixed(root, path)?;
    view.attach(target.as_fd()).map_err(|error| Failure::setup(format!("mount {path}"), error))
}

/// A directory of the image that must be no symbolic link.
fn fixed(root: &Root, path: &str) -> Result<OwnedFd, Failure> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    root.open_at(path, flags, Mode::empty())
        .map_err(|error| Failure::setup(format!("mount {path} on a directory of the image"), error))
}

fn attach_ordered(
    order: &Order,
    root: &Root,
    scratch: &Scratch,
    trees: Vec<Detached>,
) -> Result<(), Failure> {
    for (path, name, content) in
        [("/etc/hosts", "hosts", &order.hosts), ("/etc/resolv.conf", "resolv.conf", &order.resolv_conf)]
    {
        scratch
            .file(name, &content.0, 0o644, (0, 0))
            .and_then(|file| attach_at(root, Path::new(path), &file))
            .map_err(|error| Failure::setup(format!("mount {path}"), error))?;
    }
    let mut trees = trees.into_iter();
    for (index, mount) in order.mounts.iter().enumerate() {
        let source = match &mount.source {
            OrderedSource::Tree { path } => {
                let tree = trees.next().ok_or_else(|| Errno::BADF.into());
                match path {
                    None => tree,
                    Some(path) => {
                        tree.and_then(|tree| scratch.part(&format!("tree-{index}"), tree, path.as_path()))
                    }
                }
            }
            OrderedSource::Tmpfs { size, mode } => tmpfs(*size, *mode),
            OrderedSource::File { content, mode, uid, gid } => {
                scratch.file(&format!("file-{index}"), &content.0, *mode, (*uid, *gid))
            }
        };
        source
            .and_then(|source| attach_mount(root, mount, &source, order.security))
            .map_err(|error| Failure::setup(format!("mount {}", mount.target.as_path().display()), error))?;
    }
    Ok(())
}

fn attach_mount(root: &Root, mount: &OrderedMount, source: &Detached, security: Security) -> io::Result<()> {
    let read_only = if mount.read_only { MountAttrFlags::MOUNT_ATTR_RDONLY } else { MountAttrFlags::empty() };
    source.set(no_devices(security) | read_only)?;
    attach_at(root, mount.target.as_path(), source)
}

fn tmpfs(size: Option<u64>, mode: u32) -> io::Result<Detached> {
    let (mode, size) = (format!("{mode:o}"), size.map(|size| size.to_string()));
    let mut options = vec![("mode", mode.as_str())];
    options.extend(size.as_deref().map(|size| ("size", size)));
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    Detached::new("tmpfs", &options, attributes)
}

/// Attaches `mount` to what `path` leads to inside `root`, which must not be a file of the kernel.
fn attach_at(root: &Root, path: &Path, mount: &Detached) -> io::Result<()> {
    let target = match root.open_at(path, OFlags::PATH, Mode::empty()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_target(root, path, mount)?;
            root.open_at(path, OFlags::PATH, Mode::empty())
        }
        target => target,
    }?;
    if is_kernel_view(&target)? {
        return Err(io::Error::from(Errno::PERM));
    }
    mount.attach(target.as_fd()).map_err(|error| match (is_directory(mount), is_directory(&target)) {
        // The kernel only says that this is invalid.
        (Ok(true), Ok(false)) => Errno::NOTDIR.into(),
        (Ok(false), Ok(true)) => Errno::ISDIR.into(),
        _ => error,
    })
}

fn is_directory(fd: impl AsFd) -> rustix::io::Result<bool> {
    Ok(FileType::from_raw_mode(fstat(fd)?.st_mode) == FileType::Directory)
}

/// Makes a missing mount point, if it lies in another mount: what is made there stays out of the root.
fn make_target(root: &Root, path: &Path, mount: &Detached) -> io::Result<()> {
    let place = root.resolve(path)?;
    let above = place.ancestors().skip(1).find_map(|above| root.stat(above).ok());
    if above.is_none_or(|above| fstat(root).is_ok_and(|stat| stat.st_dev == above.st_dev)) {
        return Err(Errno::NOENT.into());
    }
    let is_directory = FileType::from_raw_mode(fstat(mount)?.st_mode) == FileType::Directory;
    let directory = if is_directory { place.as_path() } else { place.parent().unwrap_or(Path::new("/")) };
    root.create_dir_all(directory, Mode::from(0o755))?;
    if !is_directory {
        root.open_at(&place, OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW, Mode::from(0o644))?;
    }
    Ok(())
}

fn change_root(root: &Root) -> io::Result<()> {
    fchdir(root)?;
    // The old root comes to lie over the new one, and is taken off there.
    pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    Ok(chdir("/")?)
}
