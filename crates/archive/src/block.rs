//! One 512-byte header block.

use std::ops::Range;

use crate::number;

/// Tar archives consist of blocks of this many bytes.
pub(crate) const BLOCK: usize = 512;

/// A field's place within the block.
type Field = Range<usize>;

pub(crate) const NAME: Field = 0..100;
pub(crate) const MODE: Field = 100..108;
pub(crate) const UID: Field = 108..116;
pub(crate) const GID: Field = 116..124;
pub(crate) const SIZE: Field = 124..136;
pub(crate) const MTIME: Field = 136..148;
pub(crate) const CHECKSUM: Field = 148..156;
pub(crate) const TYPE_FLAG: usize = 156;
pub(crate) const LINK_NAME: Field = 157..257;
pub(crate) const MAGIC_AND_VERSION: Field = 257..265;
pub(crate) const DEVICE_MAJOR: Field = 329..337;
pub(crate) const DEVICE_MINOR: Field = 337..345;
pub(crate) const PREFIX: Field = 345..500;

/// Schily's tar marks its headers here. They look like ustar but keep times in the prefix's end.
const STAR_MARK: Field = 508..512;
const STAR_PREFIX: Field = 345..476;

const GNU_SPARSE: Field = 386..482;
const GNU_IS_EXTENDED: usize = 482;
const GNU_REAL_SIZE: Field = 483..495;

/// Variants of the header that differ in more than the form of their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    /// Before POSIX: no devices, no prefix.
    V7,
    Ustar,
    Star,
    Gnu,
}

/// A header block whose checksum is right.
#[derive(Debug)]
pub(crate) struct Block {
    bytes: [u8; BLOCK],
    dialect: Dialect,
}

impl Block {
    /// Takes a block, or says what is wrong with it.
    pub fn parse(bytes: [u8; BLOCK]) -> Result<Self, &'static str> {
        let stored = number::parse_octal(&bytes[CHECKSUM]).ok_or("the checksum is no number")?;
        if stored != i64::from(checksum(&bytes)) && stored != i64::from(signed_checksum(&bytes)) {
            return Err("the checksum is wrong");
        }
        Ok(Self { dialect: dialect(&bytes), bytes })
    }

    /// The type flag as it stands.
    pub fn type_flag(&self) -> u8 {
        self.bytes[TYPE_FLAG]
    }

    /// The path, the prefix put before it.
    pub fn path(&self) -> Vec<u8> {
        let name = text(&self.bytes[NAME]);
        let prefix = match self.dialect {
            Dialect::Ustar => text(&self.bytes[PREFIX]),
            Dialect::Star => text(&self.bytes[STAR_PREFIX]),
            Dialect::V7 | Dialect::Gnu => &[],
        };
        if prefix.is_empty() { name.to_vec() } else { [prefix, name].join(&b'/') }
    }

    /// The target of a link.
    pub fn link_target(&self) -> &[u8] {
        text(&self.bytes[LINK_NAME])
    }

    /// Bytes of content, not yet overridden by an extension.
    pub fn size(&self) -> Result<u64, &'static str> {
        unsigned(&self.bytes[SIZE]).ok_or("the size is not valid")
    }

    /// Permission bits. Some writers add the type of the file, which is dropped.
    pub fn mode(&self) -> Result<u32, &'static str> {
        let mode = number::parse(&self.bytes[MODE]).ok_or("the mode is not valid")?;
        Ok((mode & 0o7777) as u32)
    }

    /// The owner, not yet checked for its range.
    pub fn uid(&self) -> Result<i64, &'static str> {
        number::parse(&self.bytes[UID]).ok_or("the owner is not valid")
    }

    /// The group, not yet checked for its range.
    pub fn gid(&self) -> Result<i64, &'static str> {
        number::parse(&self.bytes[GID]).ok_or("the group is not valid")
    }

    /// Seconds since the Unix epoch.
    pub fn mtime(&self) -> Result<i64, &'static str> {
        number::parse(&self.bytes[MTIME]).ok_or("the modification time is not valid")
    }

    /// Major and minor number of a device.
    pub fn device(&self) -> Result<(u32, u32), &'static str> {
        if self.dialect == Dialect::V7 {
            return Ok((0, 0));
        }
        let part = |field: Field| {
            unsigned(&self.bytes[field]).and_then(|n| u32::try_from(n).ok()).ok_or("the device is not valid")
        };
        Ok((part(DEVICE_MAJOR)?, part(DEVICE_MINOR)?))
    }

    /// The sparse map's beginning, whether it goes on in the next block, and the file's size with its
    /// holes; of GNU headers only.
    pub fn gnu_sparse(&self) -> Result<(&[u8], bool, u64), &'static str> {
        if self.dialect != Dialect::Gnu {
            return Err("a sparse file that is not in GNU's form is not supported");
        }
        let real_size = unsigned(&self.bytes[GNU_REAL_SIZE]).ok_or("the sparse file's size is not valid")?;
        Ok((&self.bytes[GNU_SPARSE], self.bytes[GNU_IS_EXTENDED] != 0, real_size))
    }
}

/// A field up to its first NUL.
pub(crate) fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
    &field[..end]
}

/// The sum of the block's bytes, the checksum's own taken as spaces.
pub(crate) fn checksum(bytes: &[u8; BLOCK]) -> u32 {
    let stored: u32 = bytes[CHECKSUM].iter().map(|&byte| u32::from(byte)).sum();
    let all: u32 = bytes.iter().map(|&byte| u32::from(byte)).sum();
    all - stored + CHECKSUM.len() as u32 * u32::from(b' ')
}

/// What writers stored whose `char` was signed.
fn signed_checksum(bytes: &[u8; BLOCK]) -> i32 {
    let sum = |bytes: &[u8]| bytes.iter().map(|&byte| i32::from(byte as i8)).sum::<i32>();
    sum(bytes) - sum(&bytes[CHECKSUM]) + CHECKSUM.len() as i32 * i32::from(b' ')
}

fn dialect(bytes: &[u8; BLOCK]) -> Dialect {
    match &bytes[MAGIC_AND_VERSION] {
        b"ustar  \0" => Dialect::Gnu,
        [b'u', b's', b't', b'a', b'r', 0, ..] if bytes[STAR_MARK] == *b"tar\0" => Dialect::Star,
        [b'u', b's', b't', b'a', b'r', 0, ..] => Dialect::Ustar,
        _ => Dialect::V7,
    }
}

fn unsigned(field: &[u8]) -> Option<u64> {
    number::parse(field).and_then(|value| u64::try_from(value).ok())
}
