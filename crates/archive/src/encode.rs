//! Headers as bytes.

use std::ops::Range;

use crate::block::{self, BLOCK};
use crate::{EntryKind, Header, number, pax};

/// The path of a PAX header itself. Readers that do not know PAX make a file of it.
const PAX_HEADER_PATH: &[u8] = b"PaxHeaders.0/entry";

const MAGIC_AND_VERSION: &[u8] = b"ustar\x0000";

/// The blocks before an entry's content: its ustar header, and before it a PAX header if it needs one.
///
/// Fails with what is wrong for a header that no archive can hold.
pub(crate) fn encode(header: &Header) -> Result<Vec<u8>, &'static str> {
    let path = path_as_written(header)?;
    let mut records = Vec::new();
    for (name, value) in &header.xattrs {
        if name.is_empty() || name.contains(&0) || name.contains(&b'=') {
            return Err("an extended attribute has a name that cannot be archived");
        }
        pax::write_xattr(&mut records, name, value);
    }
    let block = encode_block(header, &path, &mut records)?;
    if records.is_empty() {
        return Ok(block.to_vec());
    }
    let mut bytes = Vec::with_capacity(3 * BLOCK + records.len());
    bytes.extend_from_slice(&pax_block(records.len() as u64)?);
    bytes.extend_from_slice(&records);
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes.extend_from_slice(&block);
    Ok(bytes)
}

/// The path, which ends in a slash if it is a directory's.
fn path_as_written(header: &Header) -> Result<Vec<u8>, &'static str> {
    let mut path = header.path.clone();
    let is_directory = header.kind == EntryKind::Directory;
    if path.is_empty() {
        return Err("an entry without a path cannot be archived");
    }
    if path.contains(&0) {
        return Err("a path with a NUL byte cannot be archived");
    }
    match (is_directory, path.ends_with(b"/")) {
        (true, false) => path.push(b'/'),
        (false, true) => return Err("only a directory's path may end in a slash"),
        _ => {}
    }
    Ok(path)
}

/// The ustar header. What does not fit it goes to `records`, in the order of their keys.
fn encode_block(header: &Header, path: &[u8], records: &mut Vec<u8>) -> Result<[u8; BLOCK], &'static str> {
    let mut block = [0; BLOCK];
    let (type_flag, link, device) = kind_fields(&header.kind);
    if link.contains(&0) {
        return Err("a link target with a NUL byte cannot be archived");
    }
    let size = if header.kind == EntryKind::File { header.size } else { 0 };
    set_number(&mut block, block::GID, header.gid.into(), b"gid", records);
    set_text(&mut block, block::LINK_NAME, link, b"linkpath", records);
    set_mtime(&mut block, header.mtime, records);
    set_path(&mut block, path, records);
    set_number(&mut block, block::SIZE, size, b"size", records);
    set_number(&mut block, block::UID, header.uid.into(), b"uid", records);
    number::write_octal(&mut block[block::MODE], u64::from(header.mode & 0o7777));
    for (field, value) in [(block::DEVICE_MAJOR, device.0), (block::DEVICE_MINOR, device.1)] {
        if !number::write_octal(&mut block[field], value.into()) {
            return Err("a device with so high a number cannot be archived");
        }
    }
    complete(&mut block, type_flag);
    Ok(block)
}

/// Type flag, link target and device numbers.
fn kind_fields(kind: &EntryKind) -> (u8, &[u8], (u32, u32)) {
    match kind {
        EntryKind::File => (b'0', &[], (0, 0)),
        EntryKind::HardLink(target) => (b'1', target, (0, 0)),
        EntryKind::Symlink(target) => (b'2', target, (0, 0)),
        EntryKind::CharDevice { major, minor } => (b'3', &[], (*major, *minor)),
        EntryKind::BlockDevice { major, minor } => (b'4', &[], (*major, *minor)),
        EntryKind::Directory => (b'5', &[], (0, 0)),
        EntryKind::Fifo => (b'6', &[], (0, 0)),
    }
}

fn set_number(block: &mut [u8; BLOCK], field: Range<usize>, value: u64, key: &[u8], records: &mut Vec<u8>) {
    if !number::write_octal(&mut block[field.clone()], value) {
        number::write_octal(&mut block[field], 0);
        pax::write_record(records, key, value.to_string().as_bytes());
    }
}

fn set_mtime(block: &mut [u8; BLOCK], mtime: i64, records: &mut Vec<u8>) {
    let field = &mut block[block::MTIME];
    if !u64::try_from(mtime).is_ok_and(|seconds| number::write_octal(field, seconds)) {
        number::write_octal(field, 0);
        pax::write_record(records, b"mtime", mtime.to_string().as_bytes());
    }
}

fn set_text(block: &mut [u8; BLOCK], field: Range<usize>, value: &[u8], key: &[u8], records: &mut Vec<u8>) {
    let mut kept = value;
    if value.len() > field.len() {
        // A slash at the end of what is kept would tell some readers that it is a directory.
        kept = &value[..field.len()];
        kept = &kept[..kept.iter().rposition(|&byte| byte != b'/').map_or(0, |last| last + 1)];
    }
    if kept.len() < value.len() || !value.is_ascii() {
        pax::write_record(records, key, value);
    }
    block[field.start..field.start + kept.len()].copy_from_slice(kept);
}

fn set_path(block: &mut [u8; BLOCK], path: &[u8], records: &mut Vec<u8>) {
    match split_path(path) {
        Some((prefix, name)) => {
            set_text(block, block::PREFIX, prefix, b"", &mut Vec::new());
            set_text(block, block::NAME, name, b"", &mut Vec::new());
        }
        None => set_text(block, block::NAME, path, b"path", records),
    }
}

/// Splits a path that is too long for the name alone into the ustar prefix and name, if it can be done.
fn split_path(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.len() <= block::NAME.len() || !path.is_ascii() {
        return None;
    }
    // The slash between them is not stored, and one at the very end belongs to the name.
    let end = (block::PREFIX.len() + 1).min(path.len() - 1);
    let slash = path[..end].iter().rposition(|&byte| byte == b'/').filter(|&slash| slash > 0)?;
    let (prefix, name) = (&path[..slash], &path[slash + 1..]);
    (name.len() <= block::NAME.len()).then_some((prefix, name))
}

/// The header of a PAX header with so many bytes of records; all else in it is fixed.
fn pax_block(size: u64) -> Result<[u8; BLOCK], &'static str> {
    let mut block = [0; BLOCK];
    block[..PAX_HEADER_PATH.len()].copy_from_slice(PAX_HEADER_PATH);
    number::write_octal(&mut block[block::MODE], 0o644);
    for field in [block::UID, block::GID, block::MTIME, block::DEVICE_MAJOR, block::DEVICE_MINOR] {
        number::write_octal(&mut block[field], 0);
    }
    if !number::write_octal(&mut block[block::SIZE], size) {
        return Err("so many extended attributes cannot be archived");
    }
    complete(&mut block, b'x');
    Ok(block)
}

fn complete(block: &mut [u8; BLOCK], type_flag: u8) {
    block[block::TYPE_FLAG] = type_flag;
    block[block::MAGIC_AND_VERSION].copy_from_slice(MAGIC_AND_VERSION);
    let sum = block::checksum(block);
    // Six digits, a NUL and a space: as writers have always put it.
    let (digits, space) = (block::CHECKSUM.start..block::CHECKSUM.end - 1, block::CHECKSUM.end - 1);
    number::write_octal(&mut block[digits], sum.into());
    block[space] = b' ';
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(header: &Header) -> String {
        let bytes = encode(header).unwrap();
        match bytes[block::TYPE_FLAG] {
            b'x' => {
                let size = number::parse(&bytes[block::SIZE]).unwrap() as usize;
                String::from_utf8(bytes[BLOCK..BLOCK + size].to_vec()).unwrap()
            }
            _ => String::new(),
        }
    }

    fn file(path: impl Into<Vec<u8>>) -> Header {
        Header::new(path, EntryKind::File, 0o644)
    }

    #[test]
    fn records_are_only_written_for_what_does_not_fit() {
        let mut plain = file("f");
        (plain.uid, plain.gid) = (0o7777777, 0o7777777);
        (plain.size, plain.mtime) = ((8 << 30) - 1, 0o77777777777);
        assert_eq!(records(&plain), "");
        let mut large = file("f");
        (large.uid, large.gid) = (0o10000000, u32::MAX - 1);
        (large.size, large.mtime) = (8 << 30, -1);
        large.xattrs.insert(b"user.a".to_vec(), b"1".to_vec());
        let expected = "25 SCHILY.xattr.user.a=1\n18 gid=4294967294\n12 mtime=-1\n\
                        19 size=8589934592\n15 uid=2097152\n";
        assert_eq!(records(&large), expected);
    }

    #[test]
    fn sizes_beyond_eight_gigabytes_are_read_back() {
        let header = Header { size: (8 << 30) + 5, ..file("f") };
        let bytes = encode(&header).unwrap();
        let mut reader = crate::Reader::new(&bytes[..], crate::Limits::default());
        assert_eq!(reader.next().unwrap().unwrap().header, header);
    }

    #[test]
    fn long_paths_are_split_at_a_slash_or_recorded() {
        let (long, longer) = ("n".repeat(100), "n".repeat(101));
        let prefix = "p".repeat(155);
        for (path, is_recorded) in [
            (long.clone(), false),
            (longer.clone(), true),
            (format!("{prefix}/{long}"), false),
            (format!("{prefix}p/{long}"), true),
            (format!("{prefix}/{longer}"), true),
            (format!("/{longer}"), true),
            (format!("a/b/{long}"), false),
            ("ü".to_owned(), true),
            (format!("{}/", "d".repeat(101)), true),
        ] {
            let kind = if path.ends_with('/') { EntryKind::Directory } else { EntryKind::File };
            let records = records(&Header::new(path.clone(), kind, 0o755));
            assert_eq!(records.contains("path="), is_recorded, "{path}");
        }
    }

    #[test]
    fn a_shortened_path_never_looks_like_a_directory() {
        let path = format!("{}//{}", "d".repeat(98), "f".repeat(101));
        let bytes = encode(&file(path)).unwrap();
        let name = block::text(&bytes[bytes.len() - BLOCK..][block::NAME]);
        assert_eq!(name, "d".repeat(98).as_bytes());
    }

    #[test]
    fn headers_that_no_archive_can_hold_are_refused() {
        let mut xattr = file("f");
        xattr.xattrs.insert(b"user.a=b".to_vec(), Vec::new());
        let device = EntryKind::CharDevice { major: 1 << 21, minor: 0 };
        for header in [
            file(""),
            file("a\0b"),
            file("a/"),
            Header::new("l", EntryKind::Symlink(b"a\0".to_vec()), 0o777),
            Header::new("d", device, 0o600),
            xattr,
        ] {
            assert!(encode(&header).is_err(), "{header:?}");
        }
    }
}
