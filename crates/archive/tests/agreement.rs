//! Other readers see in our archives what we wrote, and we see in theirs what they see.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};

use lbuild_archive::{EntryKind, ExtractOptions, Header, Writer};
use support::{Bed, describe, python, read};

/// Headers that need every form that the writer knows.
fn headers() -> Vec<(Header, Vec<u8>)> {
    let deep = "d/".repeat(60) + "f";
    let long = "n".repeat(200);
    let file = |path: &str| Header::new(path, EntryKind::File, 0o640);
    let mut entries: Vec<_> =
        (1..=60).map(|depth| Header::new("d/".repeat(depth), EntryKind::Directory, 0o755)).collect();
    entries.extend([
        Header {
            mtime: 1_700_000_000,
            uid: 1000,
            gid: 100,
            ..Header::new("dir/", EntryKind::Directory, 0o1755)
        },
        file("dir/plain"),
        file(&"n".repeat(100)),
        file(&deep),
        file(&long),
        file("grüße"),
        Header { path: b"not-\xff-text".to_vec(), ..file("") },
        Header::new(format!("dir/{}/", "s".repeat(150)), EntryKind::Directory, 0o700),
        Header::new("symlink", EntryKind::Symlink(b"dir/plain".to_vec()), 0o777),
        Header::new("long-symlink", EntryKind::Symlink(long.clone().into_bytes()), 0o777),
        Header::new("hard-link", EntryKind::HardLink(b"dir/plain".to_vec()), 0o640),
        Header::new("long-hard-link", EntryKind::HardLink(deep.into_bytes()), 0o640),
        Header::new("fifo", EntryKind::Fifo, 0o622),
        Header::new("null", EntryKind::CharDevice { major: 1, minor: 3 }, 0o666),
        Header::new("disk", EntryKind::BlockDevice { major: 4095, minor: 1_048_575 }, 0o660),
        Header { uid: 2_097_151, gid: 2_097_151, ..file("ids that fit") },
        Header { uid: 2_097_152, gid: u32::MAX - 1, ..file("ids that do not") },
        Header { mtime: 0o77777777777, ..file("latest time that fits") },
        Header { mtime: -1, mode: 0o6755, ..file("before the epoch") },
    ]);
    let mut attributes = file("attributes");
    attributes.xattrs.insert(b"user.empty".to_vec(), Vec::new());
    attributes.xattrs.insert(b"user.binary".to_vec(), b"\n12 path=x\n\0\xff=".to_vec());
    entries.push(attributes);
    entries
        .into_iter()
        .enumerate()
        .map(|(index, mut header)| {
            let content = match header.kind {
                EntryKind::File => vec![index as u8; index * 20],
                _ => Vec::new(),
            };
            header.size = content.len() as u64;
            (header, content)
        })
        .collect()
}

fn write(entries: &[(Header, Vec<u8>)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (header, content) in entries {
        writer.append(header, &mut &content[..]).unwrap();
    }
    writer.finish().unwrap()
}

fn gnu_tar(arguments: &[&str], directory: &Path, archive: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut tar = Command::new("tar")
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = tar.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || drop(stdin.write_all(archive)));
        tar.wait_with_output().unwrap()
    });
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn what_is_written_is_read_back() {
    let entries = headers();
    assert_eq!(read(&write(&entries)).unwrap(), entries);
}

#[test]
fn python_reads_what_is_written() {
    let entries = headers();
    assert_eq!(python::listing(&write(&entries)), python::expected(&entries));
}

#[test]
fn gnu_tar_unpacks_what_is_written_as_we_do() {
    let bytes = write(&headers());
    let (ours, theirs) = (Bed::new(), Bed::new());
    let options =
        ExtractOptions { keep_xattr: &|_| true, preserve_root_metadata: true, ..ExtractOptions::default() };
    ours.extract_with(&bytes, &options).unwrap();
    gnu_tar(
        &[
            "-xp",
            // Else it changes directories after it gave them their time.
            "--delay-directory-restore",
            "--numeric-owner",
            "--xattrs",
            "--xattrs-include=*",
            "-f",
            "-",
        ],
        &theirs.path(""),
        &bytes,
    );
    // The destination itself is as old as the test.
    let tree = |bed: &Bed| -> Vec<String> { describe(&bed.path("")).into_iter().skip(1).collect() };
    let (ours, theirs) = (tree(&ours), tree(&theirs));
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(ours.len(), theirs.len());
}

#[test]
fn the_same_entries_make_the_same_bytes() {
    let entries = headers();
    let mut with_fractions = entries.clone();
    for (header, _) in &mut with_fractions {
        header.mtime_nanos = 123;
    }
    assert!(write(&entries) == write(&entries));
    assert!(write(&entries) == write(&with_fractions), "fractions of seconds are not written");
}

#[test]
fn a_file_with_holes_is_written_as_its_bytes() {
    let bed = tempfile::tempdir().unwrap();
    for (name, size, data) in [
        ("empty", 0u64, &[][..]),
        ("small", 1000, &[(0u64, 10)]),
        ("dense", 700_000, &[(0, 700_000)]),
        ("holes", 1 << 20, &[(0, 5), (300_000, 200_000), (1_000_000, 1)]),
        ("hole at the start", 1 << 20, &[((1 << 20) - 1, 1)]),
        ("hole at the end", 1 << 20, &[(0, 1)]),
        ("all hole", 1 << 20, &[]),
    ] {
        let path = bed.path().join(name);
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        file.set_len(size).unwrap();
        for &(offset, length) in data {
            file.write_all_at(&vec![7; length], offset).unwrap();
        }
        let mut header = Header::new(name, EntryKind::File, 0o644);
        header.size = size;
        let mut writer = Writer::new(Vec::new());
        writer.append_file(&header, &file).unwrap();
        let content = std::fs::read(&path).unwrap();
        assert!(writer.finish().unwrap() == write(&[(header.clone(), content)]), "{name}");
        // A file that has shrunk cannot be written as it was.
        header.size = size + 1;
        let result = Writer::new(Vec::new()).append_file(&header, &file);
        assert!(matches!(result, Err(lbuild_archive::ArchiveError::SizeChanged { .. })), "{name}");
    }
}

#[test]
fn we_read_what_python_writes() {
    const SCRIPT: &str = r#"
import io, sys, tarfile
out = io.BytesIO()
form = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}[sys.stdin.read()]
with tarfile.open(fileobj=out, mode="w", format=form, encoding="utf-8") as archive:
    def add(name, type=tarfile.REGTYPE, **fields):
        member = tarfile.TarInfo(name)
        member.type = type
        for field, value in fields.items():
            setattr(member, field, value)
        content = b"content" if type == tarfile.REGTYPE else b""
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    add("plain", mtime=1700000000, uid=1000, gid=1000, mode=0o4755)
    add("dir", tarfile.DIRTYPE, mode=0o1777)
    add("d/" * 60 + "f")
    add("link", tarfile.SYMTYPE, linkname="t" * 100)
    add("hard", tarfile.LNKTYPE, linkname="plain")
    add("pipe", tarfile.FIFOTYPE)
    add("null", tarfile.CHRTYPE, devmajor=1, devminor=3)
    add("disk", tarfile.BLKTYPE, devmajor=259, devminor=1048575)
    if form != tarfile.USTAR_FORMAT:
        add("n" * 300)
        add("link", tarfile.SYMTYPE, linkname="t" * 300)
        add("hard", tarfile.LNKTYPE, linkname="t/" * 150)
        add("ids", uid=4294967294, gid=2097152)
        add("late", mtime=8589934592)
        add("early", mtime=-1)
        add("gr\u00fc\u00dfe")
        add("odd\udcff")
    if form == tarfile.PAX_FORMAT:
        add("records", pax_headers={"SCHILY.xattr.user.a": "1\n2", "comment": "x", "mtime": "1.5"})
sys.stdout.buffer.write(out.getvalue())
"#;
    for form in ["ustar", "gnu", "pax"] {
        let bytes = python::output(SCRIPT, form.as_bytes());
        let entries = read(&bytes).unwrap();
        assert!(entries.len() >= 8);
        assert_eq!(python::expected(&entries), python::listing(&bytes), "{form}");
    }
}

#[test]
fn we_read_what_gnu_tar_writes() {
    let bed = tempfile::tempdir().unwrap();
    let path = |path: &str| bed.path().join(path);
    std::fs::create_dir_all(path(&"d/".repeat(30))).unwrap();
    std::fs::write(path("file"), "content").unwrap();
    std::fs::hard_link(path("file"), path("hard")).unwrap();
    std::fs::write(path(&("d/".repeat(30) + &"n".repeat(90))), "deep").unwrap();
    std::os::unix::fs::symlink("s".repeat(90), path("symlink")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, path("fifo"), rustix::fs::Mode::RWXU).unwrap();
    for format in ["v7", "ustar", "oldgnu", "gnu", "posix"] {
        // The old form has neither long paths nor FIFOs.
        let names: &[&str] = if format == "v7" { &["file", "hard", "symlink"] } else { &["."] };
        let arguments = [&["-c", "-f", "-", "--sort=name", "--format", format][..], names].concat();
        let bytes = gnu_tar(&arguments, bed.path(), &[]);
        let entries = read(&bytes).unwrap();
        assert!(entries.len() >= 3);
        assert_eq!(python::expected(&entries), python::listing(&bytes), "{format}");
    }
    std::fs::write(path(&("n".repeat(250))), "long").unwrap();
    std::os::unix::fs::symlink("s".repeat(250), path("long-symlink")).unwrap();
    for format in ["oldgnu", "gnu", "posix"] {
        let bytes = gnu_tar(&["-c", "-f", "-", "--sort=name", "--format", format, "."], bed.path(), &[]);
        assert_eq!(python::expected(&read(&bytes).unwrap()), python::listing(&bytes), "{format}");
    }
}
