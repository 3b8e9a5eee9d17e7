//! Devices, FIFOs, sockets, holes, extended attributes.

use std::fs;
use std::process::Command;

use lbuild_tests::{BaseImage, Run, TestBed, debian_rootfs, host_rootfs};
use tar::EntryType;

#[test]
fn devices_and_fifos_are_kept_and_sockets_are_not() {
    let bed = TestBed::new();
    fs::copy(debian_rootfs(), bed.context().join("rootfs.tar.gz")).unwrap();
    bed.dockerfile(
        r#"FROM scratch
ADD rootfs.tar.gz /
RUN mkdir /n && mkfifo -m 640 /n/fifo && mknod /n/zero c 1 5 && mknod /n/loop b 7 0
RUN perl -MSocket -e 'socket(S, PF_UNIX, SOCK_STREAM, 0) && bind(S, sockaddr_un("/n/socket")) || die $!' \
    && test -S /n/socket
"#,
    );
    let image = bed.built();
    assert_eq!(image.history_layers(), [true, true, false], "a socket is no change");
    let layer = image.top_layer();
    assert_eq!(layer.paths(), ["n/", "n/fifo", "n/loop", "n/zero"]);
    assert_eq!((layer.entry("n/fifo").kind, layer.entry("n/fifo").mode), (EntryType::Fifo, 0o640));
    assert_eq!(layer.entry("n/loop").kind, EntryType::Block);
    assert_eq!(layer.entry("n/zero").kind, EntryType::Char);
}

#[test]
fn a_hole_of_two_gigabytes_is_never_in_memory() {
    const SIZE: u64 = 2 << 30;
    let bed = TestBed::with_base("FROM base\nRUN truncate -s 2G /big && echo end >> /big\n");
    // The address space that lbuild gets is smaller than the file.
    let build = bed.build_command([""; 0]);
    let mut limited = Command::new("prlimit");
    limited.arg("--as=1500000000").arg(build.get_program()).args(build.get_args());
    limited.envs(build.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Run::of(&mut limited).success();

    let image = bed.image(&bed.name());
    let file = image.top_layer().entry("big");
    assert_eq!((file.kind, file.size), (EntryType::Regular, SIZE + 4));
    assert!(image.top_layer().size > SIZE, "dense in the tar");
}

#[test]
fn a_layer_keeps_file_capabilities_and_drops_user_attributes() {
    let bed = host_bed();
    bed.dockerfile(
        "FROM scratch
         ADD rootfs.tar.gz /
         RUN touch /f && setcap cap_net_raw=ep /f && setfattr -n user.colour -v blue /f",
    );
    let image = bed.built();
    let file = image.top_layer().entry("f");
    assert_eq!(file.xattrs(), ["security.capability"]);
    let value = &file.pax["SCHILY.xattr.security.capability"];
    assert_eq!((value.len(), value[3]), (20, 2), "version 2: {value:?}");
}

#[test]
fn attributes_of_a_base_image_are_unpacked_as_they_are() {
    let bed = host_bed();
    let mut root = Vec::new();
    let archive = fs::File::open(bed.context().join("rootfs.tar.gz")).unwrap();
    std::io::copy(&mut flate2::read::GzDecoder::new(archive), &mut root).unwrap();
    let mut layer = tar::Builder::new(Vec::new());
    layer.append_pax_extensions([("SCHILY.xattr.user.colour", b"blue".as_slice())]).unwrap();
    lbuild_tests::entry(&mut layer, "f", EntryType::Regular, 0o644, b"");
    bed.load_base("base", &BaseImage::new().layer(root).layer(layer.into_inner().unwrap()));
    bed.dockerfile("FROM base\nRUN test \"$(getfattr --only-values -n user.colour /f)\" = blue\n");
    bed.build([""; 0]).success();
}

/// A bed whose context has a root file system with `setcap` and `setfattr`.
fn host_bed() -> TestBed {
    let bed = TestBed::new();
    fs::copy(host_rootfs(), bed.context().join("rootfs.tar.gz")).unwrap();
    bed
}
