//! The cases that the project began from. `against_docker::cases` has Docker run the same images.

use std::fs;
use std::os::linux::fs::MetadataExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use lbuild_tests::{TestBed, debian_rootfs};

/// A base image made from a distribution's root file system, as Debian's and Ubuntu's are.
pub const ROOT_FILE_SYSTEM: &str = r#"FROM scratch
ADD rootfs.tar.gz /

RUN set -e \
    && printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d \
    && chmod +x /usr/sbin/policy-rc.d \
    && dpkg-divert --local --rename --add /usr/bin/ischroot \
    && ln -s /bin/true /usr/bin/ischroot \
    && echo 'force-unsafe-io' > /etc/dpkg/dpkg.cfg.d/unsafe-io \
    && echo 'Dir::Cache::pkgcache ""; Dir::Cache::srcpkgcache "";' > /etc/apt/apt.conf.d/no-cache \
    && sed -i 's/Debian/Debian, rebuilt/' /etc/issue

RUN test -z "$(apt-get indextargets)"

RUN mkdir -p /run/systemd && echo 'docker' > /run/systemd/container

CMD ["/bin/bash"]
"#;

/// A file is made by one step and removed by the next.
pub const MADE_AND_REMOVED: &str = "FROM base\nRUN touch /hello\nRUN rm /hello\n";

/// A file of the base image gets another line.
pub const CHANGED: &str = "FROM base\nRUN echo more >> /etc/motd\n";

/// A folder of the base image is removed and made again.
pub const REPLACED_FOLDER: &str = "FROM base\nRUN rm -r /d && mkdir /d && echo new > /d/n\n";

/// One file is in three layers.
pub const IN_THREE_LAYERS: &str = "FROM base\nRUN echo one > /f\nRUN echo two > /f\nRUN echo three > /f\n";

/// A bed whose context has Debian's root file system.
pub fn root_file_system() -> TestBed {
    let bed = TestBed::new();
    fs::copy(debian_rootfs(), bed.context().join("rootfs.tar.gz")).unwrap();
    bed.dockerfile(ROOT_FILE_SYSTEM);
    bed
}

#[test]
fn a_root_file_system_archive_and_three_runs_make_three_layers() {
    let bed = root_file_system();
    let image = bed.built();

    assert_eq!(image.history_layers(), [true, true, false, true, false]);
    let [root, changes, container] = &image.layers[..] else { panic!("{} layers", image.layers.len()) };
    assert!(root.paths().contains(&"usr/bin/dpkg"), "{:?}", root.paths());

    assert_eq!(changes.entry("usr/sbin/policy-rc.d").mode, 0o755);
    assert_eq!(changes.entry("usr/bin/ischroot").link.as_deref(), Some("/bin/true"));
    assert_eq!(changes.entry("usr/bin/ischroot.distrib").content, root.entry("usr/bin/ischroot").content);
    assert!(changes.entry("etc/issue").content.starts_with(b"Debian, rebuilt GNU/Linux"));
    for stub in ["proc/", "sys/", "dev/", "etc/resolv.conf", "etc/hosts", "etc/hostname"] {
        assert!(!changes.paths().contains(&stub), "{stub} is in the layer");
    }
    assert_eq!(container.paths(), ["run/", "run/systemd/", "run/systemd/container"]);
    assert_eq!(image.config["config"]["Cmd"], serde_json::json!(["/bin/bash"]));
}

#[test]
fn a_removed_file_is_a_whiteout_in_the_layer_and_a_device_in_the_store() {
    let bed = TestBed::with_base(MADE_AND_REMOVED);
    let image = bed.built();

    assert_eq!(image.layers.len(), 3);
    assert_eq!(image.layers[1].paths(), ["hello"]);
    assert_eq!(image.layers[2].paths(), [".wh.hello"]);
    assert!(image.layers[2].entry(".wh.hello").is_plain_empty_file());

    let device = upper_directory(&bed).join("hello").symlink_metadata().unwrap();
    assert!(device.file_type().is_char_device(), "{device:?}");
    assert_eq!(device.st_rdev(), 0);
}

#[test]
fn a_changed_file_is_whole_in_the_layer_and_as_it_was_below() {
    let bed = TestBed::with_base(CHANGED);
    let image = bed.built();

    assert_eq!(image.top_layer().paths(), ["etc/", "etc/motd"]);
    assert_eq!(image.top_layer().entry("etc/motd").content, b"Welcome.\nmore\n");
    let below = lower_directories(&bed, &bed.name()).pop().unwrap();
    assert_eq!(fs::read_to_string(below.join("etc/motd")).unwrap(), "Welcome.\n");
}

#[test]
fn a_folder_that_was_removed_and_made_again_is_opaque() {
    let bed = TestBed::with_base(REPLACED_FOLDER);
    let image = bed.built();

    assert_eq!(image.top_layer().paths(), ["d/", "d/.wh..wh..opq", "d/n"]);
    let tree = bed.folder().join("tree");
    bed.build(["-o", tree.to_str().unwrap()]).success();
    assert_eq!(names(&tree.join("d")), ["n"]);
}

#[test]
fn the_topmost_layer_that_has_a_path_gives_its_file() {
    let bed = TestBed::with_base(IN_THREE_LAYERS);
    let image = bed.built();

    let contents: Vec<_> =
        image.layers[1..].iter().map(|layer| layer.entry("f").content.as_slice()).collect();
    assert_eq!(contents, [b"one\n".as_slice(), b"two\n", b"three\n"]);
    let tree = bed.folder().join("tree");
    bed.build(["-o", tree.to_str().unwrap()]).success();
    assert_eq!(fs::read_to_string(tree.join("f")).unwrap(), "three\n");
}

#[test]
fn images_on_one_base_share_its_layers_on_disk() {
    let bed = TestBed::with_base("FROM base\nRUN echo 1 > /1\n");
    bed.build(["-t", "first"]).success();
    bed.dockerfile("FROM base\nRUN echo 2 > /2\n");
    bed.build(["-t", "second"]).success();

    let first = lower_directories(&bed, "first");
    assert_eq!(first, lower_directories(&bed, "second"));
    assert!(first[0].join("bin/busybox").exists(), "{first:?}");
    assert_eq!(names(&bed.store().join("snapshots")).len(), 3, "the base and a layer for each image");
}

#[test]
fn prune_removes_what_nothing_uses_and_nothing_else() {
    let bed = TestBed::with_base("FROM base\nRUN echo 1 > /1\n");
    bed.build(["-t", "kept"]).success();
    bed.dockerfile("FROM base\nRUN echo 2 > /2\n");
    bed.build(["-t", "removed"]).success();
    let kept = upper_directory_of(&bed, "kept");
    let removed = upper_directory_of(&bed, "removed");
    bed.lbuild(["rmi", "removed", &bed.name()]).success();

    bed.lbuild(["prune"]).success();
    assert!(removed.exists(), "a build used it a moment ago");

    bed.lbuild(["prune", "--all"]).success();
    assert!(!removed.exists(), "nothing uses it any more");
    assert!(kept.exists() && lower_directories(&bed, "kept")[0].exists(), "an image uses it");
    bed.dockerfile("FROM kept\nRUN test -e /1 && test ! -e /2\n");
    bed.build([""; 0]).success();
}

fn upper_directory(bed: &TestBed) -> PathBuf {
    upper_directory_of(bed, &bed.name())
}

/// The directory of an image's top layer.
fn upper_directory_of(bed: &TestBed, name: &str) -> PathBuf {
    bed.inspect(name)["GraphDriver"]["Data"]["UpperDir"].as_str().unwrap().into()
}

/// The directories of an image's other layers, topmost first.
fn lower_directories(bed: &TestBed, name: &str) -> Vec<PathBuf> {
    let inspect = bed.inspect(name);
    inspect["GraphDriver"]["Data"]["LowerDir"].as_str().unwrap().split(':').map(PathBuf::from).collect()
}

/// The names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
