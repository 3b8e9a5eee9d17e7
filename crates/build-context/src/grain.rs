//! How soon after a change a further one shows in a file's times.

use std::os::fd::AsFd;
use std::time::Duration;

use crate::metadata::Metadata;

/// Longer than the grain of any file system's timestamps (2 s on FAT).
pub(crate) const COARSEST: Duration = Duration::from_secs(3);

/// Longer than a tick of the kernel's clock, by which it dates files on this machine's disks: at most 10 ms.
const TICK: Duration = Duration::from_millis(100);

/// What such disks hold (`linux/magic.h`): ext4, XFS, Btrfs, F2FS, and tmpfs. Of others, the times may be a server's.
const OWN: [u64; 5] = [0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010, 0x0102_1994];

/// A change of `file` that follows this much after the last one has another time.
pub(crate) fn grain(file: impl AsFd, metadata: &Metadata) -> Duration {
    // Unlike mtime, ctime is the kernel's alone. Where it is kept in seconds or milliseconds, the rest is 0.
    let is_fine = !metadata.ctime.nanos.is_multiple_of(1_000_000);
    let is_own = || rustix::fs::fstatfs(file).is_ok_and(|found| OWN.contains(&(found.f_type as u64)));
    if is_fine && is_own() { TICK } else { COARSEST }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Time;

    #[test]
    fn only_fine_times_of_own_disks_are_trusted() {
        let file = tempfile::tempfile().unwrap();
        let real = Metadata::of(&rustix::fs::fstat(&file).unwrap());
        let with = |nanos| Metadata { ctime: Time { nanos, ..real.ctime }, ..real };
        let pipe = std::io::pipe().unwrap().0;
        assert_eq!(grain(&file, &with(120_000_000)), COARSEST);
        assert_eq!(grain(&pipe, &with(123_456_789)), COARSEST);
        let kind = rustix::fs::fstatfs(&file).unwrap().f_type as u64;
        let expected = if OWN.contains(&kind) { TICK } else { COARSEST };
        assert_eq!(grain(&file, &with(123_456_789)), expected);
    }
}
