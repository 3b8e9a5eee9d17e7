//! The files of a copy, as they are remembered to tell later which of them changed.
//!
//! A list is written and compared as a stream, so that its length does not matter. Each file has the
//! length of what its path shares with the one before, the rest of the path, a letter for its kind, mode,
//! owner, and the beginning of its content's digest. Numbers are LEB128.

use std::cmp::Ordering;
use std::io::{self, Read, Write};

use super::reason::{Change, FileChange, FileChanges};

/// As much of a digest as tells two contents apart where nobody is out to deceive.
pub(crate) const DIGEST_BYTES: usize = 8;
/// As many changes as are told by name.
const FIRST: usize = 5;
/// The longest path that a damaged list may claim to hold.
const LONGEST_PATH: u64 = 1 << 20;

/// A file of a copy. Of what does not reach the copy, such as the owner with `--chown`, nothing is said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ListedFile {
    /// Which source of the instruction it belongs to.
    pub source: u64,
    /// Its path in the tree, as bytes.
    pub path: Vec<u8>,
    /// A letter for its kind.
    pub kind: u8,
    /// Its permissions.
    pub mode: Option<u32>,
    /// Its user and group.
    pub owner: Option<(u32, u32)>,
    /// The beginning of the digest of its content.
    pub digest: [u8; DIGEST_BYTES],
}

/// Writes a list, file by file.
pub(crate) struct ListWriter<'a> {
    out: &'a mut dyn Write,
    last: Vec<u8>,
}

impl<'a> ListWriter<'a> {
    /// Writes to `out`, which should have a buffer.
    pub fn new(out: &'a mut dyn Write) -> Self {
        Self { out, last: Vec::new() }
    }

    /// Adds a file.
    ///
    /// # Errors
    /// Those of the output.
    pub fn write(&mut self, file: &ListedFile) -> io::Result<()> {
        let shared = self.last.iter().zip(&file.path).take_while(|(one, other)| one == other).count();
        let mut bytes = Vec::with_capacity(file.path.len() + 40);
        number(&mut bytes, file.source);
        number(&mut bytes, shared as u64);
        number(&mut bytes, (file.path.len() - shared) as u64);
        bytes.extend_from_slice(&file.path[shared..]);
        bytes.push(file.kind);
        number(&mut bytes, file.mode.map_or(0, |mode| u64::from(mode) + 1));
        number(&mut bytes, file.owner.map_or(0, |(uid, _)| u64::from(uid) + 1));
        number(&mut bytes, file.owner.map_or(0, |(_, gid)| u64::from(gid) + 1));
        bytes.extend_from_slice(&file.digest);
        self.last.clone_from(&file.path);
        self.out.write_all(&bytes)
    }
}

/// Compares an earlier list with files that come in the same order.
pub(crate) struct Comparison<R> {
    earlier: ListReader<R>,
    /// The next file of the earlier list.
    next: Option<ListedFile>,
    count: u64,
    first: Vec<FileChange>,
}

impl<R: Read> Comparison<R> {
    /// Begins with an earlier list.
    ///
    /// # Errors
    /// Those of reading it; it may be damaged.
    pub fn new(earlier: R) -> io::Result<Self> {
        let mut earlier = ListReader { from: earlier, last: Vec::new() };
        let next = earlier.next()?;
        Ok(Self { earlier, next, count: 0, first: Vec::new() })
    }

    /// Takes the next file of now.
    ///
    /// # Errors
    /// As [`Comparison::new`].
    pub fn push(&mut self, file: &ListedFile) -> io::Result<()> {
        while let Some(earlier) = &self.next {
            match order(earlier, file) {
                Ordering::Less => self.removed()?,
                Ordering::Equal => {
                    if let Some(change) = changes(earlier, file) {
                        self.note(file, change);
                    }
                    self.next = self.earlier.next()?;
                    return Ok(());
                }
                Ordering::Greater => break,
            }
        }
        self.note(file, Change::Added);
        Ok(())
    }

    /// What is different.
    ///
    /// # Errors
    /// As [`Comparison::new`].
    pub fn finish(mut self) -> io::Result<FileChanges> {
        while self.next.is_some() {
            self.removed()?;
        }
        Ok(FileChanges { count: Some(self.count), first: self.first })
    }

    fn removed(&mut self) -> io::Result<()> {
        if let Some(file) = std::mem::replace(&mut self.next, self.earlier.next()?) {
            self.note(&file, Change::Removed);
        }
        Ok(())
    }

    fn note(&mut self, file: &ListedFile, change: Change) {
        self.count += 1;
        if self.first.len() < FIRST {
            let path = String::from_utf8_lossy(&file.path).into_owned();
            self.first.push(FileChange { path, change });
        }
    }
}

/// The one thing that is told of a file that is there before and now.
fn changes(before: &ListedFile, now: &ListedFile) -> Option<Change> {
    if before.kind != now.kind {
        return Some(Change::Kind);
    }
    if before.digest != now.digest {
        return Some(Change::Content);
    }
    if let (Some(old), Some(new)) = (before.mode, now.mode)
        && old != new
    {
        return Some(Change::Mode(old, new));
    }
    match (before.owner, now.owner) {
        (Some(old), Some(new)) if old != new => Some(Change::Owner(old, new)),
        _ => None,
    }
}

/// The order in which a tree is walked: by components, a directory before what it holds.
fn order(one: &ListedFile, other: &ListedFile) -> Ordering {
    one.source.cmp(&other.source).then_with(|| components(&one.path).cmp(components(&other.path)))
}

fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/')
}

struct ListReader<R> {
    from: R,
    last: Vec<u8>,
}

impl<R: Read> ListReader<R> {
    fn next(&mut self) -> io::Result<Option<ListedFile>> {
        let Some(source) = self.first_number()? else { return Ok(None) };
        let (shared, rest) = (self.number()?, self.number()?);
        let shared = usize::try_from(shared).ok().filter(|shared| *shared <= self.last.len());
        let Some(shared) = shared.filter(|_| rest <= LONGEST_PATH) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        self.last.truncate(shared);
        let read = (&mut self.from).take(rest).read_to_end(&mut self.last)?;
        if read as u64 != rest {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let [kind] = self.bytes()?;
        let mode = self.optional()?;
        let owner = self.optional()?.zip(self.optional()?);
        Ok(Some(ListedFile { source, path: self.last.clone(), kind, mode, owner, digest: self.bytes()? }))
    }

    fn optional(&mut self) -> io::Result<Option<u32>> {
        let number = self.number()?;
        Ok(number.checked_sub(1).and_then(|number| u32::try_from(number).ok()))
    }

    fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.from.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// A number, or the end.
    fn first_number(&mut self) -> io::Result<Option<u64>> {
        let mut first = [0];
        match self.from.read(&mut first)? {
            0 => Ok(None),
            _ => self.number_after(first[0]).map(Some),
        }
    }

    fn number(&mut self) -> io::Result<u64> {
        let [first] = self.bytes()?;
        self.number_after(first)
    }

    fn number_after(&mut self, first: u8) -> io::Result<u64> {
        let (mut number, mut byte, mut shift) = (u64::from(first & 0x7f), first, 7);
        while byte & 0x80 != 0 {
            if shift > 56 {
                return Err(io::ErrorKind::InvalidData.into());
            }
            [byte] = self.bytes()?;
            number |= u64::from(byte & 0x7f) << shift;
            shift += 7;
        }
        Ok(number)
    }
}

fn number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number as u8 & 0x7f) | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, content: u8) -> ListedFile {
        ListedFile {
            path: path.into(),
            kind: b'f',
            mode: Some(0o644),
            owner: Some((0, u32::MAX)),
            digest: [content; DIGEST_BYTES],
            ..ListedFile::default()
        }
    }

    fn list(files: &[ListedFile]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = ListWriter::new(&mut out);
        files.iter().for_each(|file| writer.write(file).unwrap());
        out
    }

    fn compared(before: &[ListedFile], now: &[ListedFile]) -> FileChanges {
        let list = list(before);
        let mut comparison = Comparison::new(&list[..]).unwrap();
        now.iter().for_each(|file| comparison.push(file).unwrap());
        comparison.finish().unwrap()
    }

    #[test]
    fn a_list_reads_back() {
        let files = [
            file("", 0),
            ListedFile { mode: None, owner: None, source: 300, ..file("a/b", 1) },
            file("a/bc", 2),
        ];
        let list = list(&files);
        let mut reader = ListReader { from: &list[..], last: Vec::new() };
        for file in files {
            assert_eq!(reader.next().unwrap(), Some(file));
        }
        assert_eq!(reader.next().unwrap(), None);
    }

    #[test]
    fn a_cut_list_is_an_error_and_never_a_panic() {
        let list = list(&[file("some/path", 1), file("some/paths", 2)]);
        for length in 1..list.len() {
            let all = || {
                let mut comparison = Comparison::new(&list[..length])?;
                comparison.push(&file("z", 0))?;
                comparison.finish()
            };
            // A cut between two files is for the store's checksum to see.
            assert!(all().is_err() || list[length..].starts_with(&[0, 9]), "{length}");
        }
        assert!(Comparison::new(&[0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1][..]).is_err());
    }

    #[test]
    fn each_kind_of_change_is_seen() {
        let before = [file("a", 1), file("b", 1), file("c", 1), file("d", 1), file("e", 1), file("f", 1)];
        let now = [
            file("a", 1),
            file("b", 2),
            ListedFile { mode: Some(0o755), ..file("c", 1) },
            ListedFile { owner: Some((1, 2)), ..file("d", 1) },
            ListedFile { kind: b'd', ..file("e", 1) },
            file("g", 1),
        ];
        let changes = compared(&before, &now);
        assert_eq!(changes.count, Some(6));
        let found: Vec<_> = changes.first.iter().map(|file| (file.path.as_str(), file.change)).collect();
        let expected = [
            ("b", Change::Content),
            ("c", Change::Mode(0o644, 0o755)),
            ("d", Change::Owner((0, u32::MAX), (1, 2))),
            ("e", Change::Kind),
            ("f", Change::Removed),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn files_are_compared_in_the_order_of_a_walk() {
        let paths = ["", "a", "a/b", "a/c/d", "a-b", "a.c"];
        let before: Vec<_> = paths.iter().map(|path| file(path, 1)).collect();
        for (left_out, path) in paths.iter().enumerate() {
            let mut now = before.clone();
            now.remove(left_out);
            let removed = compared(&before, &now);
            assert_eq!((removed.count, removed.first[0].path.as_str()), (Some(1), *path));
            let added = compared(&now, &before);
            assert_eq!((added.count, added.first[0].change), (Some(1), Change::Added));
        }
    }
}
