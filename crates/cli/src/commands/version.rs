//! `lbuild version`.

use std::io::{self, Write};

use lbuild_oci::Platform;

use crate::failure::Failure;

/// Prints the version and what it was built for.
pub fn run() -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "lbuild {} {}", env!("CARGO_PKG_VERSION"), Platform::host())?;
    Ok(())
}
