//! Walks the merged files of an image.

use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use lbuild_archive::{DeviceNote, EntryKind, Header, read_xattrs};
use lbuild_confined::Root;
use rustix::fs::{self, AtFlags, Dir, FileType, Mode, OFlags, Statx, StatxFlags};

use crate::ExportError;

/// A directory that is being walked: what is left in it, last name first, and its path with a slash.
struct Open {
    directory: OwnedFd,
    path: Vec<u8>,
    names: Vec<CString>,
}

/// Calls `visit` for every entry under `root`, parents first, each directory's in the order of their
/// bytes. A regular file comes open. Sockets are left out: they mean nothing outside their machine.
pub(crate) fn walk(
    root: &Root,
    notes_devices: bool,
    visit: &mut dyn FnMut(Header, Option<File>) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let top = root.open_at("/", flags, Mode::empty()).map_err(|error| read_error(b"/", error))?;
    let mut links = HashMap::new();
    let mut open = vec![list(top, Vec::new()).map_err(|error| read_error(b"/", error))?];
    while let Some(current) = open.last_mut() {
        let Some(name) = current.names.pop() else {
            open.pop();
            continue;
        };
        let mut path = current.path.clone();
        path.extend_from_slice(name.to_bytes());
        let failed = |error| read_error(&path, error);
        match entry(&current.directory, &name, &path, &mut links).map_err(failed)? {
            None => {}
            Some((header, Some(file))) if notes_devices && header.kind == EntryKind::File => {
                let (header, file) = unless_device(header, file).map_err(failed)?;
                visit(header, file.map(File::from))?;
            }
            Some((header, Some(directory))) if header.kind == EntryKind::Directory => {
                let inner = list(directory, header.path.clone()).map_err(failed)?;
                visit(header, None)?;
                open.push(inner);
            }
            Some((header, file)) => visit(header, file.map(File::from))?,
        }
    }
    Ok(())
}

fn list(directory: OwnedFd, path: Vec<u8>) -> io::Result<Open> {
    let mut names = Vec::new();
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    names.sort_unstable_by(|a, b| b.cmp(a));
    Ok(Open { directory, path, names })
}

/// The header of `name` in `parent`, and the file open if it is regular or a directory; `None` for a
/// socket. `links` has the first path of every file with several.
fn entry(
    parent: &OwnedFd,
    name: &CStr,
    path: &[u8],
    links: &mut HashMap<(u64, u64), Vec<u8>>,
) -> io::Result<Option<(Header, Option<OwnedFd>)>> {
    let wanted = StatxFlags::BASIC_STATS;
    let stat = fs::statx(parent, name, AtFlags::SYMLINK_NOFOLLOW, wanted)?;
    let target = match FileType::from_raw_mode(stat.stx_mode.into()) {
        FileType::Symlink => fs::readlinkat(parent, name, Vec::new())?.into_bytes(),
        _ => Vec::new(),
    };
    let Some(mut header) = Header::from_statx(path, &stat, target) else { return Ok(None) };
    header.mtime_nanos = 0;
    let flags = match header.kind {
        EntryKind::Directory => OFlags::DIRECTORY,
        // Should it be another file by now, opening it does not wait.
        EntryKind::File => OFlags::NONBLOCK,
        _ => return Ok(Some((header, None))),
    };
    if header.kind == EntryKind::Directory {
        header.path.push(b'/');
    } else if let Some(first) = first_link(&stat, path, links) {
        header.kind = EntryKind::HardLink(first);
        header.size = 0;
        return Ok(Some((header, None)));
    }
    let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = fs::openat(parent, name, flags, Mode::empty())?;
    header.xattrs = read_xattrs(&file, is_portable)?;
    Ok(Some((header, Some(file))))
}

/// The same, or the device that the file stands for.
fn unless_device(header: Header, file: OwnedFd) -> io::Result<(Header, Option<OwnedFd>)> {
    let note = DeviceNote::read(&file, &fs::fstat(&file)?)?;
    Ok(match note {
        Some(note) => (header.of_noted_device(note), None),
        None => (header, Some(file)),
    })
}

fn first_link(stat: &Statx, path: &[u8], links: &mut HashMap<(u64, u64), Vec<u8>>) -> Option<Vec<u8>> {
    if stat.stx_nlink < 2 {
        return None;
    }
    let device = u64::from(stat.stx_dev_major) << 32 | u64::from(stat.stx_dev_minor);
    let first = links.entry((device, stat.stx_ino)).or_insert_with(|| path.to_vec());
    (first != path).then(|| first.clone())
}

/// Whether an extended attribute belongs to the file; not the host's label of it, nor what overlayfs
/// keeps for itself.
fn is_portable(name: &[u8]) -> bool {
    let is_ours =
        [&b"trusted.overlay."[..], b"user.overlay.", b"user.lbuild."].iter().any(|own| name.starts_with(own));
    !is_ours && name != b"security.selinux"
}

fn read_error(path: &[u8], source: io::Error) -> ExportError {
    ExportError::Read { path: PathBuf::from(OsStr::from_bytes(path)), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn parents_come_first_and_names_in_byte_order() {
        let bed = tempfile::tempdir().unwrap();
        let path = |name: &str| bed.path().join(name);
        std::fs::create_dir_all(path("a/b")).unwrap();
        std::fs::write(path("a/b/file"), "12345").unwrap();
        std::fs::write(path("a-"), "").unwrap();
        std::fs::write(path("B"), "").unwrap();
        std::fs::hard_link(path("a/b/file"), path("link")).unwrap();
        symlink("/a", path("symlink")).unwrap();
        std::fs::set_permissions(path("a"), PermissionsExt::from_mode(0o1750)).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        let mut seen = Vec::new();
        walk(&Root::open(bed.path()).unwrap(), false, &mut |header, file| {
            assert_eq!(file.is_some(), header.kind == EntryKind::File);
            let path = String::from_utf8(header.path.clone()).unwrap();
            seen.push((path, header.kind, header.mode & 0o7000, header.size));
            Ok(())
        })
        .unwrap();
        let expected = [
            ("B", EntryKind::File, 0, 0),
            ("a/", EntryKind::Directory, 0o1000, 0),
            ("a/b/", EntryKind::Directory, 0, 0),
            ("a/b/file", EntryKind::File, 0, 5),
            ("a-", EntryKind::File, 0, 0),
            ("link", EntryKind::HardLink(b"a/b/file".to_vec()), 0, 0),
            ("symlink", EntryKind::Symlink(b"/a".to_vec()), 0, 0),
        ];
        assert_eq!(seen, expected.map(|(path, kind, mode, size)| (path.to_owned(), kind, mode, size)));
    }

    #[test]
    fn marks_of_the_host_are_left_out() {
        for (name, expected) in [
            ("security.capability", true),
            ("user.mime_type", true),
            ("user.overlay.opaque", false),
            ("trusted.overlay.opaque", false),
            ("user.lbuild.owner", false),
            ("security.selinux", false),
        ] {
            assert_eq!(is_portable(name.as_bytes()), expected, "{name}");
        }
    }
}
