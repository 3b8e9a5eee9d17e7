//! What a RUN needs to have mounted leaves no trace.

use std::fs;

use lbuild_tests::{BaseImage, TestBed};
use tar::EntryType;

#[test]
fn mount_points_in_an_empty_image_leave_no_trace() {
    let bed = TestBed::new();
    fs::copy("/bin/busybox", bed.context().join("busybox")).unwrap();
    bed.dockerfile(
        "FROM scratch
         COPY busybox /busybox
         RUN [\"/busybox\", \"test\", \"-d\", \"/proc/self\"]
         RUN [\"/busybox\", \"touch\", \"/f\"]
         RUN [\"/busybox\", \"sh\", \"-c\", \"/busybox test -s /etc/resolv.conf && /busybox mkdir -p /etc/x\"]",
    );
    let image = bed.built();
    assert_eq!(image.history_layers(), [true, false, true, true]);
    let paths: Vec<_> = image.layers.iter().map(|layer| layer.paths()).collect();
    assert_eq!(paths, [vec!["busybox"], vec!["f"], vec!["etc/", "etc/x/"]]);
}

#[test]
fn changes_to_resolv_conf_and_hosts_are_not_in_the_layer() {
    let bed = TestBed::with_base(
        "FROM base
         RUN echo 'nameserver 192.0.2.1' >> /etc/resolv.conf && echo '192.0.2.2 x' >> /etc/hosts",
    );
    assert_eq!(bed.built().history_layers(), [true, false]);
}

#[test]
fn the_images_own_resolv_conf_is_kept() {
    let bed = TestBed::new();
    let mut layer = tar::Builder::new(Vec::new());
    lbuild_tests::entry(&mut layer, "etc/", EntryType::Directory, 0o755, b"");
    lbuild_tests::entry(&mut layer, "etc/resolv.conf", EntryType::Regular, 0o600, b"# the image's own\n");
    bed.load_base("base", &BaseImage::busybox().layer(layer.into_inner().unwrap()));
    bed.dockerfile(
        "FROM base
         RUN ! grep own /etc/resolv.conf && echo 'nameserver 192.0.2.1' >> /etc/resolv.conf && touch /etc/f
         RUN ! grep 192.0.2.1 /etc/resolv.conf",
    );
    let image = bed.built();
    assert_eq!(image.history_layers(), [true, true, true, false]);
    assert_eq!(image.top_layer().paths(), ["etc/", "etc/f"]);
    let tree = bed.folder().join("tree");
    bed.build(["-o", tree.to_str().unwrap()]).success();
    assert_eq!(fs::read_to_string(tree.join("etc/resolv.conf")).unwrap(), "# the image's own\n");
}

#[test]
fn the_parents_of_a_mount_target_stay_as_they_are() {
    let bed =
        TestBed::with_base("FROM base\nRUN --mount=type=tmpfs,target=/tmp/b/c touch /tmp/b/c/f /tmp/x\n");
    let image = bed.built();
    assert_eq!(image.top_layer().paths(), ["tmp/", "tmp/x"]);
    let folder = image.top_layer().entry("tmp/");
    assert_eq!((folder.mode, folder.uid, folder.gid), (0o1777, 0, 0));
}
