//! The files of an image, without the image.

#![allow(clippy::unwrap_used)]

mod support;

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use lbuild_archive::EntryKind;
use lbuild_exporter::{ExportError, write_rootfs_dir, write_rootfs_tar};

use support::{Bed, entries};

fn tar(bed: &Bed, timestamp: Option<i64>) -> Vec<u8> {
    let mut tar = Vec::new();
    write_rootfs_tar(&bed.store, &bed.image, &mut tar, timestamp).unwrap();
    tar
}

#[test]
fn the_tar_has_the_merged_files() {
    let bed = Bed::new();
    let entries = entries(&tar(&bed, None));
    let paths: Vec<_> =
        entries.iter().map(|(header, _)| String::from_utf8(header.path.clone()).unwrap()).collect();
    assert_eq!(paths, ["etc/", "etc/link", "etc/motd", "etc/new", "su", "su2"]);
    let (motd, content) = &entries[2];
    assert_eq!((motd.mode, motd.mtime, &content[..]), (0o640, 1000, &b"hello"[..]));
    assert_eq!(entries[0].0.mode, 0o750);
    assert_eq!(entries[1].0.kind, EntryKind::Symlink(b"/etc/motd".to_vec()));
    assert_eq!((entries[4].0.mode, entries[4].1.len()), (0o4755, 400_000));
    assert_eq!(entries[5].0.kind, EntryKind::HardLink(b"su".to_vec()));
}

#[test]
fn a_timestamp_makes_the_tar_reproducible() {
    let first = tar(&Bed::new(), Some(5));
    assert!(first == tar(&Bed::new(), Some(5)));
    assert!(entries(&first).iter().all(|(header, _)| header.mtime == 5));
}

#[test]
fn the_folder_has_the_merged_files() {
    let bed = Bed::new();
    let folder = bed.path("deep/out");
    write_rootfs_dir(&bed.store, &bed.image, &folder, None).unwrap();
    assert_eq!(std::fs::read(folder.join("etc/motd")).unwrap(), b"hello");
    assert!(!folder.join("etc/gone").exists());
    assert_eq!(std::fs::read_link(folder.join("etc/link")).unwrap().to_str(), Some("/etc/motd"));
    let etc = folder.join("etc").metadata().unwrap();
    assert_eq!(etc.permissions().mode() & 0o7777, 0o750);
    let (su, su2) = (folder.join("su").metadata().unwrap(), folder.join("su2").metadata().unwrap());
    assert_eq!((su.permissions().mode() & 0o7777, su.ino()), (0o4755, su2.ino()));
}

#[test]
fn files_that_are_there_stay_and_links_do_not_lead_out() {
    let bed = Bed::new();
    let (folder, outside) = (bed.path("out"), bed.path("outside"));
    std::fs::create_dir(&folder).unwrap();
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(folder.join("mine"), "x").unwrap();
    std::fs::write(outside.join("sentinel"), "x").unwrap();
    symlink(outside.join("sentinel"), folder.join("su")).unwrap();
    write_rootfs_dir(&bed.store, &bed.image, &folder, None).unwrap();
    assert_eq!(std::fs::read(folder.join("mine")).unwrap(), b"x");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
    assert_eq!(std::fs::read(outside.join("sentinel")).unwrap(), b"x");
    assert!(folder.join("su").symlink_metadata().unwrap().is_file());
}

#[test]
fn a_folder_may_be_written_again() {
    let bed = Bed::new();
    let folder = bed.path("out");
    for _ in 0..2 {
        write_rootfs_dir(&bed.store, &bed.image, &folder, None).unwrap();
    }
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 3);
}

#[test]
fn no_link_is_replaced_by_a_directory() {
    let bed = Bed::new();
    let (folder, outside) = (bed.path("out"), bed.path("outside"));
    std::fs::create_dir(&folder).unwrap();
    std::fs::create_dir(&outside).unwrap();
    symlink(&outside, folder.join("etc")).unwrap();
    let refused = write_rootfs_dir(&bed.store, &bed.image, &folder, None).unwrap_err();
    assert!(matches!(refused, ExportError::InTheWay { path } if path.to_str() == Some("etc")));
    assert!(folder.join("etc").symlink_metadata().unwrap().is_symlink());
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn the_root_of_the_file_system_is_no_output_folder() {
    let bed = Bed::new();
    let link = bed.path("link");
    symlink("/", &link).unwrap();
    let refused = write_rootfs_dir(&bed.store, &bed.image, &link, None).unwrap_err();
    assert!(matches!(refused, ExportError::RootFolder { .. }));
}
