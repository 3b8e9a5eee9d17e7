//! The kernel's structures of metadata, as bytes.
//!
//! Source: asm/stat.h, linux/stat.h

use rustix::fs::{Stat, Statx};

use super::record::Owner;

/// `struct stat` with another owner.
#[cfg(target_arch = "x86_64")]
pub(super) fn stat(stat: &Stat, owner: Owner) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(144);
    for field in [stat.st_dev, stat.st_ino, stat.st_nlink] {
        bytes.extend(field.to_ne_bytes());
    }
    for field in [stat.st_mode, owner.uid, owner.gid, 0] {
        bytes.extend(field.to_ne_bytes());
    }
    bytes.extend(stat.st_rdev.to_ne_bytes());
    for field in [stat.st_size, stat.st_blksize, stat.st_blocks] {
        bytes.extend(field.to_ne_bytes());
    }
    bytes.extend(times(stat));
    bytes.resize(144, 0);
    bytes
}

/// `struct stat` with another owner.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn stat(stat: &Stat, owner: Owner) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    bytes.extend((stat.st_dev as u64).to_ne_bytes());
    bytes.extend((stat.st_ino as u64).to_ne_bytes());
    for field in [stat.st_mode, stat.st_nlink as u32, owner.uid, owner.gid] {
        bytes.extend(field.to_ne_bytes());
    }
    bytes.extend((stat.st_rdev as u64).to_ne_bytes());
    bytes.extend(0_u64.to_ne_bytes());
    bytes.extend((stat.st_size as i64).to_ne_bytes());
    bytes.extend((stat.st_blksize as i32).to_ne_bytes());
    bytes.extend(0_u32.to_ne_bytes());
    bytes.extend((stat.st_blocks as i64).to_ne_bytes());
    bytes.extend(times(stat));
    bytes.resize(128, 0);
    bytes
}

fn times(stat: &Stat) -> Vec<u8> {
    let times = [
        (stat.st_atime, stat.st_atime_nsec),
        (stat.st_mtime, stat.st_mtime_nsec),
        (stat.st_ctime, stat.st_ctime_nsec),
    ];
    times.iter().flat_map(|(seconds, nanos)| [seconds.to_ne_bytes(), nanos.to_ne_bytes()].concat()).collect()
}

/// `struct statx` with another owner.
pub(super) fn statx(stat: &Statx, owner: Owner) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    bytes.extend(stat.stx_mask.to_ne_bytes());
    bytes.extend(stat.stx_blksize.to_ne_bytes());
    bytes.extend(stat.stx_attributes.bits().to_ne_bytes());
    for field in [stat.stx_nlink, owner.uid, owner.gid] {
        bytes.extend(field.to_ne_bytes());
    }
    bytes.extend(stat.stx_mode.to_ne_bytes());
    bytes.extend([0; 2]);
    for field in [stat.stx_ino, stat.stx_size, stat.stx_blocks, stat.stx_attributes_mask.bits()] {
        bytes.extend(field.to_ne_bytes());
    }
    for time in [stat.stx_atime, stat.stx_btime, stat.stx_ctime, stat.stx_mtime] {
        bytes.extend(time.tv_sec.to_ne_bytes());
        bytes.extend(time.tv_nsec.to_ne_bytes());
        bytes.extend([0; 4]);
    }
    for field in [stat.stx_rdev_major, stat.stx_rdev_minor, stat.stx_dev_major, stat.stx_dev_minor] {
        bytes.extend(field.to_ne_bytes());
    }
    bytes.extend(stat.stx_mnt_id.to_ne_bytes());
    bytes.resize(256, 0);
    bytes
}
