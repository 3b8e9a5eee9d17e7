//! Contexts that come as a stream.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::io::Cursor;
use std::os::unix::fs::MetadataExt;

use common::folder;
use lbuild_archive::{EntryKind, Header, Limits, Writer};
use lbuild_build_context::{ContextError, Stream};

fn archive(path: &str) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    let header = Header { size: 5, uid: 12, ..Header::new(path, EntryKind::File, 0o640) };
    writer.append(&header, &mut Cursor::new("hello")).unwrap();
    writer.finish().unwrap()
}

#[test]
fn an_archive_is_unpacked_with_its_owners() {
    let folder = folder(&[]);
    let read = Stream::read(Cursor::new(archive("d/Dockerfile")), folder.path(), &Limits::default()).unwrap();
    assert_eq!(read, Stream::Context);
    let unpacked = fs::metadata(folder.path().join("d/Dockerfile")).unwrap();
    assert_eq!((unpacked.uid(), unpacked.mode() & 0o7777, unpacked.len()), (12, 0o640, 5));
}

#[test]
fn anything_else_is_a_dockerfile() {
    let folder = folder(&[]);
    for text in ["", "FROM scratch\n", "\x1f\u{8b}not gzip", &"# x\n".repeat(1 << 20)] {
        let read = Stream::read(Cursor::new(text), folder.path(), &Limits::default()).unwrap();
        assert!(read == Stream::Dockerfile(text.as_bytes().to_owned()), "{:.20}", text);
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn an_archive_that_leads_outside_is_refused() {
    let folder = folder(&["in/"]);
    let read = Stream::read(Cursor::new(archive("../out")), &folder.path().join("in"), &Limits::default());
    assert!(matches!(read, Err(ContextError::Archive(_))), "{read:?}");
    assert!(!folder.path().join("out").exists());
}

#[test]
fn a_truncated_archive_is_an_error() {
    let folder = folder(&[]);
    let bytes = archive("a");
    let read = Stream::read(Cursor::new(&bytes[..514]), folder.path(), &Limits::default());
    assert!(matches!(read, Err(ContextError::Archive(_))), "{read:?}");
}
