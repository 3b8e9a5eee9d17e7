//! Programs of this machine that lbuild itself uses.

use std::path::PathBuf;

/// The program `name` in this process's `PATH`. What is found relative to the working directory is none: anyone
/// may have put it there.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let programs = std::env::split_paths(&path).map(|folder| folder.join(name));
    programs.into_iter().find(|program| program.is_absolute() && program.is_file())
}
