//! Mount points that an image lacks, without a trace in the layer.
//!
//! A RUN has `/proc`, `/etc/resolv.conf` and its mounts' targets, whether or not the image has
//! them. Making them in the step's tree and cleaning up behind the RUN leaves traces, and a hostile
//! RUN can lead the cleaning astray. Here nothing is made and nothing is cleaned: the mount points
//! lie in a directory of their own, which the step sees as one more layer.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use lbuild_confined::Root;
use lbuild_layer_store::{ActiveSnapshot, PrepareOptions, Store};
use lbuild_oci::DiffId;
use lbuild_runner::DEFAULT_MOUNT_POINTS;
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, Stat, Timespec, Timestamps, Uid, chmodat, chownat, utimensat,
};

use crate::BuildError;
use crate::problem::Problem;

/// The mode of a directory that is made for a mount: what a tmpfs has where the image has no directory.
const STUB_MODE: u32 = 0o1777;

/// The usual mount points, made once a build.
pub(crate) struct DefaultStubs {
    directory: OnceLock<Root>,
}

impl DefaultStubs {
    /// Nothing is made before the first RUN.
    pub fn new() -> Self {
        Self { directory: OnceLock::new() }
    }

    fn get(&self, store: &Store) -> Result<&Root, BuildError> {
        if let Some(root) = self.directory.get() {
            return Ok(root);
        }
        let directory = store.scratch()?;
        let made = make_default(&directory).map_err(BuildError::io("cannot prepare mount points"))?;
        Ok(self.directory.get_or_init(|| made))
    }

    /// A tree on top of `layers` in which every one of `points` exists; each is a path and whether
    /// it is a directory.
    ///
    /// # Errors
    /// The store's, or a mount point that cannot be: its path leads through a file, or it exists
    /// and is of the other kind.
    pub fn prepare(
        &self,
        store: &Store,
        layers: &[DiffId],
        points: &[(PathBuf, bool)],
    ) -> Result<ActiveSnapshot, StubError> {
        let stubs = self.get(store)?;
        let options = PrepareOptions { stubs: Some(stubs.as_fd()), overlay_stubs: None };
        let active = store.prepare(layers, &options).map_err(BuildError::from)?;
        let missing = missing(active.root(), points)?;
        if missing.is_empty() {
            return Ok(active);
        }
        // The rare case: a mount elsewhere, or a layer that deleted a usual mount point.
        let directory = store.scratch().map_err(BuildError::from)?;
        let above = mirror(active.root(), &directory, &missing)
            .map_err(|error| Problem::because("cannot prepare the mount points of this RUN", error))?;
        drop(active);
        let options = PrepareOptions { stubs: Some(stubs.as_fd()), overlay_stubs: Some(above.as_fd()) };
        Ok(store.prepare(layers, &options).map_err(BuildError::from)?)
    }
}

/// The build's problem, or this step's.
pub(crate) enum StubError {
    Build(BuildError),
    Step(Problem),
}

impl From<BuildError> for StubError {
    fn from(error: BuildError) -> Self {
        Self::Build(error)
    }
}

impl From<Problem> for StubError {
    fn from(problem: Problem) -> Self {
        Self::Step(problem)
    }
}

fn make_default(directory: &Path) -> io::Result<Root> {
    for (path, is_directory) in DEFAULT_MOUNT_POINTS {
        let place = directory.join(path.trim_start_matches('/'));
        let folder = if is_directory { place.as_path() } else { place.parent().unwrap_or(directory) };
        fs::create_dir_all(folder)?;
        if !is_directory {
            fs::write(&place, "")?;
        }
    }
    let root = Root::open(directory)?;
    for path in ["/dev", "/proc", "/sys", "/etc", "/"] {
        chmodat(root.handle(path)?, ".", Mode::from(0o755), AtFlags::empty())?;
    }
    Ok(root)
}

/// The points that do not exist, resolved inside the tree.
fn missing(root: &Root, points: &[(PathBuf, bool)]) -> Result<BTreeMap<PathBuf, bool>, Problem> {
    let mut missing = BTreeMap::new();
    for (path, is_directory) in points {
        match root.stat(path) {
            Ok(stat) => {
                let found = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
                if found != *is_directory {
                    let (wanted, other) =
                        if *is_directory { ("a directory", "a file") } else { ("a file", "a directory") };
                    let message =
                        format!("cannot mount {wanted} on {}: the image has {other} there", path.display());
                    return Err(Problem::new(message).help("give the mount another target"));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                missing.insert(root.resolve(path)?, *is_directory);
            }
            Err(error) => {
                return Err(Problem::because(format!("cannot mount on {}", path.display()), error)
                    .help("a part of the path is no directory"));
            }
        }
    }
    Ok(missing)
}

/// Makes the missing points in `directory`. Their parents look as they do in the tree.
fn mirror(tree: &Root, directory: &Path, missing: &BTreeMap<PathBuf, bool>) -> io::Result<Root> {
    let root = Root::open(directory)?;
    copy_attributes(&tree.stat("/")?, &root, Path::new("/"))?;
    for (path, is_directory) in missing {
        let parent = path.parent().unwrap_or(Path::new("/"));
        for made in root.create_dir_all(parent, Mode::from(0o755))? {
            if let Ok(stat) = tree.stat(&made) {
                copy_attributes(&stat, &root, &made)?;
            }
        }
        if *is_directory {
            root.create_dir_all(path, Mode::from(STUB_MODE))?;
        } else {
            let flags = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY;
            root.open_at(path, flags, Mode::from(0o644))?;
        }
    }
    // Making entries changed their parents' times.
    for path in missing.keys() {
        for parent in path.ancestors().skip(1) {
            if let Ok(stat) = tree.stat(parent) {
                set_times(&stat, &root, parent)?;
            }
        }
    }
    Ok(root)
}

fn copy_attributes(stat: &Stat, root: &Root, path: &Path) -> io::Result<()> {
    let directory = root.handle(path)?;
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    chownat(&directory, ".", Some(uid), Some(gid), AtFlags::empty())?;
    chmodat(&directory, ".", Mode::from_raw_mode(stat.st_mode), AtFlags::empty())?;
    set_times(stat, root, path)
}

fn set_times(stat: &Stat, root: &Root, path: &Path) -> io::Result<()> {
    let time = |seconds: i64, nanoseconds: u64| Timespec {
        tv_sec: seconds,
        tv_nsec: i64::try_from(nanoseconds).unwrap_or_default(),
    };
    let times = Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    };
    Ok(utimensat(root.handle(path)?, ".", &times, AtFlags::empty())?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

    use lbuild_layer_store::CommitOptions;

    use super::*;
    use crate::testing::Bed;

    /// A layer with these directories (`…/`) and files.
    fn layer(store: &Store, paths: &[&str]) -> Vec<DiffId> {
        let active = store.prepare(&[], &PrepareOptions::default()).unwrap();
        for path in paths {
            let (directory, file) = path.rsplit_once('/').unwrap();
            active.root().create_dir_all(directory, Mode::from(0o755)).unwrap();
            if !file.is_empty() {
                let flags = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY;
                active.root().open_at(path, flags, Mode::from(0o644)).unwrap();
            }
        }
        vec![store.commit(active, &CommitOptions::default()).unwrap().unwrap().diff_id]
    }

    fn points(paths: &[&str]) -> Vec<(PathBuf, bool)> {
        let point = |path: &&str| (PathBuf::from(path.trim_end_matches('/')), path.ends_with('/'));
        paths.iter().map(point).collect()
    }

    #[test]
    fn mount_points_are_there_and_leave_no_trace() {
        let bed = Bed::new("");
        for (below, asked) in [
            (&["/a/b"][..], &["/proc/", "/etc/hosts"][..]),
            (&["/a/b"], &["/a/new/", "/a/c/d/file"]),
            (&["/a/b", "/proc/"], &["/proc/", "/x/y/"]),
        ] {
            let layers = layer(&bed.store, below);
            let active = DefaultStubs::new().prepare(&bed.store, &layers, &points(asked));
            let active = active.unwrap_or_else(|_| panic!("{asked:?}"));
            for (path, is_directory) in points(asked) {
                let found = active.root().stat(&path).unwrap();
                let found = FileType::from_raw_mode(found.st_mode) == FileType::Directory;
                assert_eq!(found, is_directory, "{}", path.display());
            }
            assert_eq!(bed.store.commit(active, &CommitOptions::default()).unwrap(), None, "{asked:?}");
        }
    }

    #[test]
    fn a_mount_point_of_the_other_kind_is_told() {
        let bed = Bed::new("");
        let layers = layer(&bed.store, &["/file", "/directory/"]);
        for (asked, expected) in [
            ("/file/", "cannot mount a directory on /file: the image has a file there"),
            ("/directory", "cannot mount a file on /directory: the image has a directory there"),
            ("/file/below", "cannot mount on /file/below"),
        ] {
            match DefaultStubs::new().prepare(&bed.store, &layers, &points(&[asked])) {
                Err(StubError::Step(problem)) => {
                    let BuildError::Step { diagnostic, .. } = problem.at(lbuild_parser::Span::default())
                    else {
                        panic!("{asked}")
                    };
                    assert_eq!(diagnostic.message, expected, "{asked}");
                    assert!(diagnostic.help.is_some(), "{asked}");
                }
                _ => panic!("{asked} was not refused"),
            }
        }
    }

    #[test]
    fn parents_of_a_mount_point_look_as_before() {
        let (tree, stubs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let shared = tree.path().join("shared");
        fs::create_dir(&shared).unwrap();
        fs::set_permissions(&shared, fs::Permissions::from_mode(0o1777)).unwrap();
        chown(&shared, Some(5), Some(6)).unwrap();
        let root = Root::open(tree.path()).unwrap();
        let missing = missing(&root, &points(&["/shared/a/b/"])).unwrap_or_else(|_| panic!("refused"));
        mirror(&root, stubs.path(), &missing).unwrap();
        let (before, after) =
            (fs::metadata(&shared).unwrap(), fs::metadata(stubs.path().join("shared")).unwrap());
        let look =
            |data: &fs::Metadata| (data.mode(), data.uid(), data.gid(), data.mtime(), data.mtime_nsec());
        assert_eq!(look(&after), look(&before));
        assert!(stubs.path().join("shared/a/b").is_dir());
    }

    #[test]
    fn missing_points_are_those_behind_the_images_links() {
        let tree = tempfile::tempdir().unwrap();
        fs::create_dir(tree.path().join("real")).unwrap();
        symlink("/real", tree.path().join("link")).unwrap();
        let root = Root::open(tree.path()).unwrap();
        let asked = points(&["/link/new/", "/real/", "/link/../file"]);
        let missing = missing(&root, &asked).unwrap_or_else(|_| panic!("refused"));
        let expected = [(PathBuf::from("/file"), false), (PathBuf::from("/real/new"), true)];
        assert_eq!(missing.into_iter().collect::<Vec<_>>(), expected);
    }
}
