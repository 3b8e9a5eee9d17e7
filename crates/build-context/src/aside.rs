//! Files that are replaced as a whole.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Replaces a file as a whole. Not synced: a memo that a crash damages is ignored.
pub(crate) fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    write_with(path, |file| file.write_all(content))
}

/// [`write`] for content that `write` writes.
pub(crate) fn write_with(path: &Path, write: impl FnOnce(&mut fs::File) -> io::Result<()>) -> io::Result<()> {
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let unique = format!(".{}.{}.new", std::process::id(), WRITES.fetch_add(1, Ordering::Relaxed));
    let mut aside = path.as_os_str().to_owned();
    aside.push(unique);
    let result = fs::File::create_new(&aside)
        .and_then(|mut file| write(&mut file))
        .and_then(|()| fs::rename(&aside, path));
    if result.is_err() {
        let _ = fs::remove_file(&aside);
    }
    result
}
