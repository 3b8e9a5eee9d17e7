//! Modes and times of a checkout that depend on the commit alone.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, Timespec, Timestamps};

use crate::names::Names;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Gives a folder and all below it the modes that a umask of 022 gives, and the time `mtime` in
/// seconds since the Unix epoch, if any.
///
/// # Errors
/// As the file system's.
pub(super) fn settle(folder: &Path, mtime: Option<i64>) -> io::Result<()> {
    let times = mtime.map(|seconds| {
        let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
        Timestamps { last_access: time, last_modification: time }
    });
    directory(&fs::open(folder, DIRECTORY, Mode::empty())?, times.as_ref())
}

fn directory(open: &OwnedFd, times: Option<&Timestamps>) -> io::Result<()> {
    for name in Names::sorted(open)? {
        let stat = fs::statat(open, &name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => directory(&fs::openat(open, &name, DIRECTORY, Mode::empty())?, times)?,
            FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                finish(fs::openat(open, &name, flags, Mode::empty())?, stat.st_mode, times)?;
            }
            _ => {
                if let Some(times) = times {
                    fs::utimensat(open, &name, times, AtFlags::SYMLINK_NOFOLLOW)?;
                }
            }
        }
    }
    finish(open, 0o755, times)
}

/// What the owner may read and execute, everybody may.
fn finish(file: impl AsFd, mode: u32, times: Option<&Timestamps>) -> io::Result<()> {
    let owner = mode >> 6 & 0o7;
    let others = owner & 0o5;
    fs::fchmod(&file, Mode::from_raw_mode(owner << 6 | others << 3 | others))?;
    if let Some(times) = times {
        fs::futimens(&file, times)?;
    }
    Ok(())
}
