//! Whole copies: a source tree, a target tree, and what becomes of it.

use std::fs::{self, File, Permissions};
use std::io::Cursor;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lbuild_archive::{EntryKind, Header, Writer};
use lbuild_build_context::{DigestMemo, Owners, SourceTree};
use lbuild_confined::Root;
use lbuild_oci::Digest;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

use super::{CopyError, CopyReport, CopyRequest, CopySource, ModeChange, Unpack, prepare};

/// A source tree and a target tree beside each other.
struct Bed {
    folder: TempDir,
}

/// The parts of a request that tests vary.
#[derive(Clone, Copy)]
struct Step<'a> {
    sources: &'a [&'a str],
    destination: &'a str,
    workdir: &'a str,
    owner: Option<(u32, u32)>,
    mode: Option<&'a str>,
    exclude: &'a [&'a str],
    parents: bool,
    unpack: Unpack,
    created_mtime: Option<i64>,
}

impl<'a> Step<'a> {
    fn new(sources: &'a [&'a str], destination: &'a str) -> Self {
        Self {
            sources,
            destination,
            workdir: "/",
            owner: None,
            mode: None,
            exclude: &[],
            parents: false,
            unpack: Unpack::Never,
            created_mtime: None,
        }
    }
}

impl Bed {
    /// Trees of `dir/`, `link -> target`, and files that hold their own path and have mode 640.
    fn new(source: &[&str], target: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (tree, files) in [("source", source), ("target", target)] {
            fs::create_dir(folder.path().join(tree)).unwrap();
            fs::set_permissions(folder.path().join(tree), Permissions::from_mode(0o755)).unwrap();
            for file in files {
                add(&folder.path().join(tree), file);
            }
        }
        Self { folder }
    }

    fn source(&self, path: &str) -> std::path::PathBuf {
        self.folder.path().join("source").join(path)
    }

    fn target(&self, path: &str) -> std::path::PathBuf {
        self.folder.path().join("target").join(path)
    }

    fn copy(&self, copy: Step<'_>) -> Result<CopyReport, CopyError> {
        self.with(copy, |prepared| prepared.apply(&Root::open(self.target("")).unwrap(), &|| false))
    }

    fn digest(&self, copy: Step<'_>) -> Digest {
        self.with(copy, |prepared| prepared.digest(&DigestMemo::new(), &|| false)).unwrap()
    }

    fn with<T>(
        &self,
        copy: Step<'_>,
        then: impl FnOnce(super::PreparedCopy<'_>) -> Result<T, CopyError>,
    ) -> Result<T, CopyError> {
        let root = Root::open(self.source("")).unwrap();
        let tree = SourceTree::new(&root);
        let exclude: Vec<_> = copy.exclude.iter().map(|&pattern| pattern.to_owned()).collect();
        let sources =
            copy.sources.iter().map(|&pattern| CopySource::Tree { tree, pattern: pattern.to_owned() });
        then(prepare(CopyRequest {
            sources: sources.collect(),
            destination: copy.destination,
            workdir: Path::new(copy.workdir),
            owner: copy.owner,
            mode: copy.mode.map(|mode| ModeChange::parse(mode).unwrap()),
            exclude: &exclude,
            parents: copy.parents,
            unpack: copy.unpack,
            created_mtime: copy.created_mtime,
        })?)
    }

    /// Copies files that come from no tree.
    fn put(&self, source: CopySource<'_>, copy: Step<'_>) -> Result<CopyReport, CopyError> {
        prepare(CopyRequest {
            sources: vec![source],
            destination: copy.destination,
            workdir: Path::new(copy.workdir),
            owner: copy.owner,
            mode: copy.mode.map(|mode| ModeChange::parse(mode).unwrap()),
            exclude: &[],
            parents: false,
            unpack: copy.unpack,
            created_mtime: copy.created_mtime,
        })?
        .apply(&Root::open(self.target("")).unwrap(), &|| false)
    }

    /// The paths in the target: `dir/`, `link -> target`, `file`, or `file = content` if that is not its
    /// name in the source.
    fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        list(&self.target(""), Path::new(""), &mut paths);
        paths
    }

    /// Octal mode, user and group of a target file.
    fn attributes(&self, path: &str) -> String {
        let metadata = fs::symlink_metadata(self.target(path)).unwrap();
        format!("{:o} {}:{}", metadata.mode() & 0o7777, metadata.uid(), metadata.gid())
    }
}

fn add(folder: &Path, file: &str) {
    let (name, target) = file.split_once(" -> ").map_or((file, None), |(name, target)| (name, Some(target)));
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    match target {
        Some(target) => symlink(target, path).unwrap(),
        None if name.ends_with('/') => fs::create_dir_all(path).unwrap(),
        None => {
            fs::write(&path, name).unwrap();
            fs::set_permissions(path, Permissions::from_mode(0o640)).unwrap();
        }
    }
}

fn list(root: &Path, below: &Path, paths: &mut Vec<String>) {
    let mut names: Vec<_> =
        fs::read_dir(root.join(below)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    for name in names {
        let path = below.join(name);
        let text = path.to_str().unwrap();
        let full = root.join(&path);
        let kind = fs::symlink_metadata(&full).unwrap().file_type();
        if kind.is_dir() {
            paths.push(format!("{text}/"));
            list(root, &path, paths);
        } else if kind.is_symlink() {
            paths.push(format!("{text} -> {}", fs::read_link(full).unwrap().display()));
        } else {
            paths.push(format!("{text} = {}", fs::read_to_string(full).unwrap()));
        }
    }
}

fn seconds(path: impl AsRef<Path>) -> i64 {
    fs::symlink_metadata(path).unwrap().mtime()
}

fn set_seconds(path: impl AsRef<Path>, seconds: u64) {
    File::open(path).unwrap().set_modified(UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
}

#[test]
fn files_and_directories_find_their_places() {
    let source = ["a", "b", "d/e", "d/f/g", "link -> a", "dirlink -> d", "up -> ../../../d"];
    for (sources, destination, target, expected) in [
        // A file becomes the destination, or goes into it.
        (&["a"][..], "/x", &[][..], &["x = a"][..]),
        (&["a"], "/x/", &[], &["x/", "x/a = a"]),
        (&["a"], "/x/.", &[], &["x/", "x/a = a"]),
        (&["a"], "/x/y", &[], &["x/", "x/y = a"]),
        (&["a"], "/x", &["x/"], &["x/", "x/a = a"]),
        (&["a"], "/x", &["x"], &["x = a"]),
        (&["a"], "", &[], &["a = a"]),
        (&["a"], "..", &[], &["a = a"]),
        (&["a", "b"], "/x/", &[], &["x/", "x/a = a", "x/b = b"]),
        (&["a", "b"], "/x", &[], &["x = b"]),
        (&["[ab]"], "/x/", &[], &["x/", "x/a = a", "x/b = b"]),
        // A directory gives its content.
        (&["d"], "/x", &[], &["x/", "x/e = d/e", "x/f/", "x/f/g = d/f/g"]),
        (&["d/"], "/x/", &[], &["x/", "x/e = d/e", "x/f/", "x/f/g = d/f/g"]),
        (&["d"], "/x", &["x/f/h"], &["x/", "x/e = d/e", "x/f/", "x/f/g = d/f/g", "x/f/h = x/f/h"]),
        (&["d"], "/", &["e"], &["e = d/e", "f/", "f/g = d/f/g"]),
        (&["d/f", "a"], "/x/", &[], &["x/", "x/a = a", "x/g = d/f/g"]),
        // A source that is a link is what it leads to, under the link's name.
        (&["link"], "/x/", &[], &["x/", "x/link = a"]),
        (&["dirlink/f"], "/x/", &[], &["x/", "x/g = d/f/g"]),
        (&["up/f"], "/x/", &[], &["x/", "x/g = d/f/g"]),
        // Links in the target are followed inside it, also those that lead nowhere yet.
        (&["a"], "/l/y", &["l -> /t", "t/"], &["l -> /t", "t/", "t/y = a"]),
        (&["a"], "/l/y", &["l -> ../../t"], &["l -> ../../t", "t/", "t/y = a"]),
        (&["a"], "/l", &["l -> t/u"], &["l -> t/u", "t/", "t/u = a"]),
        (&["a"], "/l", &["l -> t", "t"], &["l -> t", "t = a"]),
        (&["d/f"], "/l", &["l -> t", "t/"], &["l -> t", "t/", "t/g = d/f/g"]),
        (&["a"], "/l/../x", &["l -> t/u"], &["l -> t/u", "x = a"]),
        // But not one that stands where a file goes.
        (&["a"], "/t/", &["t/a -> /b", "b"], &["b = b", "t/", "t/a = a"]),
        (&["d/f"], "/t", &["t/g -> /b"], &["t/", "t/g = d/f/g"]),
    ] {
        let bed = Bed::new(&source, target);
        let report = bed.copy(Step::new(sources, destination));
        assert_eq!(report.unwrap(), CopyReport::default(), "{sources:?} {destination}");
        assert_eq!(bed.paths(), expected, "{sources:?} {destination} {target:?}");
    }
}

#[test]
fn destinations_start_at_the_working_directory() {
    for (destination, expected) in [
        (".", &["w/", "w/a = a"][..]),
        ("x", &["w/", "w/x = a"]),
        ("./x/", &["w/", "w/x/", "w/x/a = a"]),
        ("../x", &["x = a"]),
        ("/x", &["x = a"]),
    ] {
        let bed = Bed::new(&["a"], &[]);
        bed.copy(Step { workdir: "/w", ..Step::new(&["a"], destination) }).unwrap();
        assert_eq!(bed.paths(), expected, "{destination}");
    }
}

#[test]
fn kinds_that_do_not_fit_are_errors() {
    for (source, destination, target) in
        [("d", "/x", &["x/e/"][..]), ("a", "/x/", &["x/a/"]), ("l", "/x", &["x/e/"])]
    {
        let bed = Bed::new(&["a", "d/e", "l/e -> a"], target);
        let error = bed.copy(Step::new(&[source], destination)).unwrap_err();
        assert!(matches!(error, CopyError::FileOverDirectory { .. }), "{source} {target:?}: {error}");
    }
    for target in [&["x"][..], &["x/f"], &["x/f -> /t", "t/"]] {
        let bed = Bed::new(&["d/f/g"], target);
        let error = bed.copy(Step::new(&["d"], "/x")).unwrap_err();
        assert!(matches!(error, CopyError::DirectoryOverFile { .. }), "{target:?}: {error}");
    }
    let bed = Bed::new(&["a"], &["f"]);
    assert!(matches!(bed.copy(Step::new(&["a"], "/f/x")), Err(CopyError::Write { .. })));
    assert!(matches!(bed.copy(Step::new(&["a"], "/f/")), Err(CopyError::Write { .. })));
    assert!(matches!(bed.copy(Step::new(&["gone"], "/")), Err(CopyError::Source(_))));
}

#[test]
fn a_target_link_never_leads_outside() {
    let bed = Bed::new(&["a", "d/a"], &["out -> ../../../outside", "abs -> /outside"]);
    let outside = bed.folder.path().join("outside");
    fs::create_dir(&outside).unwrap();
    for (source, destination) in [("a", "/out/"), ("a", "/abs/x/"), ("d", "/out"), ("d", "/../../outside")] {
        bed.copy(Step::new(&[source], destination)).unwrap();
    }
    assert_eq!(fs::read_dir(outside).unwrap().count(), 0);
    assert!(bed.target("outside/x/a").is_file());
}

#[test]
fn modes_owners_and_times_are_kept() {
    let bed = Bed::new(&["d/e/f", "d/l -> x"], &["d/e/"]);
    fs::set_permissions(bed.source("d/e/f"), Permissions::from_mode(0o6751)).unwrap();
    chown(bed.source("d/e/f"), Some(5), Some(6)).unwrap();
    fs::set_permissions(bed.source("d/e/f"), Permissions::from_mode(0o6751)).unwrap();
    fs::set_permissions(bed.source("d/e"), Permissions::from_mode(0o3711)).unwrap();
    fs::set_permissions(bed.source("d"), Permissions::from_mode(0o700)).unwrap();
    chown(bed.source("d"), Some(7), Some(7)).unwrap();
    std::os::unix::fs::lchown(bed.source("d/l"), Some(8), Some(9)).unwrap();
    for (path, time) in [("d/e/f", 1000), ("d/e", 2000), ("d", 3000)] {
        set_seconds(bed.source(path), time);
    }
    bed.copy(Step::new(&["d"], "/d")).unwrap();
    assert_eq!(bed.attributes("d/e/f"), "6751 5:6");
    assert_eq!(bed.attributes("d/l"), "777 8:9");
    assert_eq!(bed.attributes("d/e"), "3711 0:0", "a directory that is there takes the copied one's mode");
    assert_eq!(bed.attributes("d"), "755 0:0", "the destination keeps its own");
    assert_eq!((seconds(bed.target("d/e/f")), seconds(bed.target("d/e"))), (1000, 2000));
    assert_eq!(seconds(bed.target("d")), 3000);
}

#[test]
fn chown_and_chmod_hold_for_all_that_is_made() {
    let bed = Bed::new(&["d/e/f", "d/l -> x"], &["old/"]);
    fs::set_permissions(bed.source("d/e/f"), Permissions::from_mode(0o4755)).unwrap();
    let owner = Some((5, 6));
    bed.copy(Step { owner, ..Step::new(&["d"], "/old/new/d") }).unwrap();
    for (path, expected) in [
        ("old", "755 0:0"),
        ("old/new", "755 5:6"),
        ("old/new/d", "755 5:6"),
        ("old/new/d/e", "755 5:6"),
        ("old/new/d/e/f", "4755 5:6"),
        ("old/new/d/l", "777 5:6"),
    ] {
        assert_eq!(bed.attributes(path), expected, "{path}");
    }
    bed.copy(Step { mode: Some("2770"), ..Step::new(&["d"], "/m/d") }).unwrap();
    for (path, expected) in
        [("m", "750 0:0"), ("m/d", "750 0:0"), ("m/d/e", "2770 0:0"), ("m/d/e/f", "2770 0:0")]
    {
        assert_eq!(bed.attributes(path), expected, "{path}");
    }
    bed.copy(Step { mode: Some("go=u-w"), ..Step::new(&["d"], "/s/d") }).unwrap();
    assert_eq!(bed.attributes("s"), "755 0:0");
    assert_eq!(bed.attributes("s/d/e/f"), "4755 0:0");
}

#[test]
fn exclusions_and_parents_shape_the_copy() {
    let source = ["a/b/c", "a/b/d", "a/x", "y"];
    for (sources, exclude, parents, expected) in [
        (&["a"][..], &["b"][..], false, &["t/", "t/x = a/x"][..]),
        (&["a"], &["*", "!b/c"], false, &["t/", "t/b/", "t/b/c = a/b/c"]),
        (&["a/b/c"], &[], true, &["t/", "t/a/", "t/a/b/", "t/a/b/c = a/b/c"]),
        (&["a/./b"], &["b/d"], true, &["t/", "t/b/", "t/b/c = a/b/c"]),
        (&["a/./*/c", "y"], &[], true, &["t/", "t/b/", "t/b/c = a/b/c", "t/y = y"]),
        (&["none*"], &[], false, &[]),
        (&["none*"], &[], true, &["t/"]),
    ] {
        let bed = Bed::new(&source, &[]);
        bed.copy(Step { exclude, parents, ..Step::new(sources, "/t/") }).unwrap();
        assert_eq!(bed.paths(), expected, "{sources:?} {exclude:?} {parents}");
    }
}

#[test]
fn directories_on_the_way_keep_their_attributes_with_parents() {
    let bed = Bed::new(&["a/b/c"], &[]);
    fs::set_permissions(bed.source("a"), Permissions::from_mode(0o710)).unwrap();
    chown(bed.source("a"), Some(3), Some(4)).unwrap();
    bed.copy(Step { parents: true, ..Step::new(&["a/b/c"], "/t/") }).unwrap();
    assert_eq!(bed.attributes("t/a"), "710 3:4");
}

#[test]
fn hard_links_stay_within_one_source() {
    let bed = Bed::new(&["d/a", "e/"], &[]);
    fs::hard_link(bed.source("d/a"), bed.source("d/b")).unwrap();
    fs::hard_link(bed.source("d/a"), bed.source("e/c")).unwrap();
    bed.copy(Step::new(&["d", "e"], "/")).unwrap();
    let inode = |path| fs::metadata(bed.target(path)).unwrap().ino();
    assert_eq!(inode("a"), inode("b"));
    assert_ne!(inode("a"), inode("c"));
    // Copied again, both names are made anew.
    bed.copy(Step::new(&["d"], "/")).unwrap();
    assert_eq!(inode("a"), inode("b"));
}

#[test]
fn special_files_are_made_again() {
    let bed = Bed::new(&["d/"], &["fifo"]);
    let mode = Mode::from_raw_mode(0o604);
    let null = rustix::fs::makedev(1, 3);
    mknodat(CWD, bed.source("d/fifo"), FileType::Fifo, mode, 0).unwrap();
    mknodat(CWD, bed.source("d/null"), FileType::CharacterDevice, mode, null).unwrap();
    drop(UnixListener::bind(bed.source("d/socket")).unwrap());
    bed.copy(Step::new(&["d"], "/")).unwrap();
    assert!(fs::metadata(bed.target("fifo")).unwrap().file_type().is_fifo());
    assert_eq!(fs::metadata(bed.target("null")).unwrap().rdev(), null);
    assert_eq!(fs::metadata(bed.target("socket")).unwrap().len(), 0);
    assert!(fs::metadata(bed.target("socket")).unwrap().is_file());

    mknodat(CWD, bed.source("d/deleted"), FileType::CharacterDevice, mode, 0).unwrap();
    assert!(matches!(bed.copy(Step::new(&["d"], "/")), Err(CopyError::DeletionMark { .. })));
}

#[test]
fn capabilities_are_kept_and_other_attributes_are_not() {
    let bed = Bed::new(&["a"], &[]);
    let value = give_capability(&bed.source("a"));
    rustix::fs::setxattr(bed.source("a"), "user.x", b"1", rustix::fs::XattrFlags::empty()).unwrap();
    bed.copy(Step { owner: Some((5, 5)), ..Step::new(&["a"], "/") }).unwrap();
    let file = File::open(bed.target("a")).unwrap();
    assert_eq!(lbuild_build_context::capabilities(&file).unwrap().unwrap(), value);
    assert_eq!(rustix::fs::fgetxattr(&file, "user.x", &mut [0; 8]).unwrap_err(), rustix::io::Errno::NODATA);
}

#[test]
fn files_of_a_users_folder_lose_their_capabilities() {
    let bed = Bed::new(&["a", "d/b"], &[]);
    give_capability(&bed.source("a"));
    give_capability(&bed.source("d/b"));
    let root = Root::open(bed.source("")).unwrap();
    let tree = SourceTree::new(&root).with_owners(Owners::Root);
    for pattern in ["a", "d"] {
        bed.put(CopySource::Tree { tree, pattern: pattern.to_owned() }, Step::new(&[], "/")).unwrap();
    }
    for copy in ["a", "b"] {
        let file = File::open(bed.target(copy)).unwrap();
        assert_eq!(lbuild_build_context::capabilities(&file).unwrap(), None, "{copy}");
    }
}

/// Gives a file a capability, and returns the attribute's value.
fn give_capability(path: &Path) -> &'static [u8] {
    let value = b"\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";
    rustix::fs::setxattr(path, "security.capability", value, rustix::fs::XattrFlags::empty()).unwrap();
    value
}

#[test]
fn large_and_sparse_files_are_copied_exactly() {
    let bed = Bed::new(&[], &[]);
    let pattern: Vec<u8> = (0..700_000_u32).flat_map(u32::to_le_bytes).collect();
    fs::write(bed.source("large"), &pattern).unwrap();
    let sparse = File::create(bed.source("sparse")).unwrap();
    sparse.write_all_at(b"middle", 3 << 20).unwrap();
    sparse.set_len(64 << 20).unwrap();
    File::create(bed.source("hole")).unwrap().set_len(1 << 30).unwrap();
    bed.copy(Step::new(&["."], "/")).unwrap();
    assert!(fs::read(bed.target("large")).unwrap() == pattern);
    assert!(fs::read(bed.target("sparse")).unwrap() == fs::read(bed.source("sparse")).unwrap());
    assert_eq!(fs::metadata(bed.target("hole")).unwrap().len(), 1 << 30);
    assert!(fs::metadata(bed.target("hole")).unwrap().blocks() < 1000);
}

#[test]
fn a_deep_tree_is_copied_whole() {
    // Deeper than files can be open in each tree where the limit is the usual 1024.
    let deep = "d/".repeat(700);
    let bed = Bed::new(&[&format!("{deep}f")], &[]);
    bed.copy(Step::new(&["."], "/")).unwrap();
    assert!(bed.target(&format!("{deep}f")).is_file());
}

#[test]
fn an_interrupt_ends_the_copy_of_a_large_file() {
    let bed = Bed::new(&["large"], &[]);
    File::options().write(true).open(bed.source("large")).unwrap().set_len(1 << 40).unwrap();
    let asked = AtomicUsize::new(0);
    let is_cancelled = || asked.fetch_add(1, Ordering::Relaxed) >= 3;
    let step = || Step::new(&["large"], "/");
    let digest = bed.with(step(), |prepared| prepared.digest(&DigestMemo::new(), &is_cancelled));
    assert!(matches!(digest, Err(CopyError::Interrupted)), "{digest:?}");
    let root = Root::open(bed.target("")).unwrap();
    let copy = bed.with(step(), |prepared| prepared.apply(&root, &is_cancelled));
    assert!(matches!(copy, Err(CopyError::Interrupted)), "{copy:?}");
}

#[test]
fn a_source_that_changes_after_it_was_listed_is_reported() {
    let bed = Bed::new(&["a", "b"], &[]);
    let report = bed.with(Step::new(&["."], "/"), |prepared| {
        fs::write(bed.source("a"), "longer than before").unwrap();
        prepared.apply(&Root::open(bed.target("")).unwrap(), &|| false)
    });
    assert_eq!(report.unwrap().changed, [Path::new("a")]);
    assert_eq!(bed.paths(), ["a = longer than before", "b = b"]);

    let replaced = bed.with(Step::new(&["."], "/"), |prepared| {
        fs::remove_file(bed.source("a")).unwrap();
        symlink("/etc/passwd", bed.source("a")).unwrap();
        prepared.apply(&Root::open(bed.target("")).unwrap(), &|| false)
    });
    assert!(matches!(replaced, Err(CopyError::Replaced { .. })), "{replaced:?}");
}

fn archive(entries: &[(&str, EntryKind)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (path, kind) in entries {
        let content = if *kind == EntryKind::File { "packed" } else { "" };
        let header = Header { size: content.len() as u64, uid: 7, ..Header::new(*path, kind.clone(), 0o600) };
        writer.append(&header, &mut Cursor::new(content)).unwrap();
    }
    writer.finish().unwrap()
}

#[test]
fn add_unpacks_archives_and_copies_the_rest() {
    let bed = Bed::new(&["plain.tar", "d/"], &[]);
    fs::write(bed.source("real"), archive(&[("in/", EntryKind::Directory), ("in/f", EntryKind::File)]))
        .unwrap();
    fs::copy(bed.source("real"), bed.source("d/nested.tar")).unwrap();
    fs::write(bed.source("empty.tar"), [0; 1024]).unwrap();
    let unpack = Unpack::Local;
    bed.copy(Step { unpack, ..Step::new(&["real", "plain.tar", "empty.tar"], "/x/") }).unwrap();
    assert_eq!(fs::read_to_string(bed.target("x/in/f")).unwrap(), "packed");
    assert_eq!(bed.attributes("x/in/f"), "600 7:0");
    assert!(bed.target("x/plain.tar").is_file() && bed.target("x/empty.tar").is_file());
    // Archives in a directory are not unpacked, and COPY unpacks none.
    bed.copy(Step { unpack, ..Step::new(&["d"], "/y") }).unwrap();
    assert!(bed.target("y/nested.tar").is_file());
    bed.copy(Step::new(&["real"], "/z")).unwrap();
    assert!(bed.target("z").is_file());
    // The destination is a directory even without a slash, and --chown holds for what is unpacked.
    bed.copy(Step { unpack, owner: Some((5, 6)), ..Step::new(&["real"], "/v") }).unwrap();
    assert_eq!(bed.attributes("v/in/f"), "600 5:6");
}

#[test]
fn an_archive_through_an_absolute_link_is_refused() {
    let bed = Bed::new(&[], &["t/"]);
    let entries = [("l", EntryKind::Symlink(b"/t".to_vec())), ("l/f", EntryKind::File)];
    fs::write(bed.source("a.tar"), archive(&entries)).unwrap();
    let result = bed.copy(Step { unpack: Unpack::Local, ..Step::new(&["a.tar"], "/x") });
    assert!(matches!(result, Err(CopyError::Archive { .. })), "{result:?}");
    assert_eq!(fs::read_dir(bed.target("t")).unwrap().count(), 0);
}

#[test]
fn heredocs_become_files() {
    let bed = Bed::new(&[], &["d/"]);
    let inline = || CopySource::Inline { name: "EOF".to_owned(), content: b"text".to_vec() };
    bed.put(inline(), Step::new(&[], "/f")).unwrap();
    bed.put(inline(), Step { created_mtime: Some(77), owner: Some((1, 2)), ..Step::new(&[], "/d") }).unwrap();
    bed.put(inline(), Step { mode: Some("777"), ..Step::new(&[], "/new/") }).unwrap();
    assert_eq!(bed.paths(), ["d/", "d/EOF = text", "f = text", "new/", "new/EOF = text"]);
    assert_eq!((bed.attributes("f"), seconds(bed.target("f"))), ("644 0:0".to_owned(), 0));
    assert_eq!((bed.attributes("d/EOF"), seconds(bed.target("d/EOF"))), ("644 1:2".to_owned(), 77));
    assert_eq!(bed.attributes("new/EOF"), "777 0:0");
}

#[test]
fn downloads_become_private_files() {
    let bed = Bed::new(&["data"], &[]);
    let file = bed.source("data");
    let download = |mtime| CopySource::Download { file: &file, name: "tool.tgz".to_owned(), mtime };
    bed.put(download(Some(99)), Step::new(&[], "/bin/")).unwrap();
    assert_eq!(bed.attributes("bin/tool.tgz"), "600 0:0");
    assert_eq!(seconds(bed.target("bin/tool.tgz")), 99);
    // One that is an archive is unpacked only if that is asked for.
    fs::write(&file, archive(&[("f", EntryKind::File)])).unwrap();
    bed.put(download(None), Step { unpack: Unpack::Local, ..Step::new(&[], "/kept") }).unwrap();
    bed.put(download(None), Step { unpack: Unpack::All, ..Step::new(&[], "/unpacked") }).unwrap();
    assert!(bed.target("kept").is_file() && bed.target("unpacked/f").is_file());
}

#[test]
fn made_directories_get_the_time_given() {
    let bed = Bed::new(&["a", "d/e"], &[]);
    set_seconds(bed.source("d"), 1000);
    bed.copy(Step { created_mtime: Some(55), ..Step::new(&["a"], "/x/y/") }).unwrap();
    assert_eq!((seconds(bed.target("x")), seconds(bed.target("x/y"))), (55, 55));
    let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    bed.copy(Step::new(&["a"], "/now/")).unwrap();
    assert!(seconds(bed.target("now")).unsigned_abs() >= before);
}

#[test]
fn the_digest_depends_on_what_the_copy_depends_on() {
    let bed = Bed::new(&["a", "b"], &[]);
    let plain = Step::new(&["a"], "/x");
    let digest = bed.digest(plain);
    assert_eq!(bed.digest(plain), digest);
    for (what, copy) in [
        ("source", Step::new(&["b"], "/x")),
        ("sources", Step::new(&["a", "b"], "/x")),
        ("destination", Step::new(&["a"], "/y")),
        ("slash", Step::new(&["a"], "/x/")),
        ("working directory", Step { workdir: "/w", ..Step::new(&["a"], "x") }),
        ("owner", Step { owner: Some((0, 0)), ..plain }),
        ("mode", Step { mode: Some("640"), ..plain }),
        ("unpacking", Step { unpack: Unpack::Local, ..plain }),
        ("parents", Step { parents: true, ..plain }),
    ] {
        assert_ne!(bed.digest(copy), digest, "{what}");
    }
    // Only what is selected counts, not how.
    assert_eq!(bed.digest(Step { exclude: &["none"], ..plain }), digest);
    assert_eq!(bed.digest(Step::new(&["./[a]"], "x/../x")), digest);
    // The mode that --chmod replaces does not.
    let chmod = Step { mode: Some("600"), ..plain };
    let before = bed.digest(chmod);
    fs::set_permissions(bed.source("a"), Permissions::from_mode(0o777)).unwrap();
    assert_eq!(bed.digest(chmod), before);
}
