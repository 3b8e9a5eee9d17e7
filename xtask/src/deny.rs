//! The dependencies' licences and sources: `cargo xtask deny`.

use crate::command::{Failure, find_program, run};
use crate::workspace::cargo;

/// The version that `deny.toml` is written for.
const VERSION: &str = "^0.20";

/// Checks `deny.toml`'s rules; installs cargo-deny if it is missing.
pub fn check() -> Result<(), Failure> {
    if find_program("cargo-deny").is_none() {
        install()?;
    }
    run(cargo().args(["deny", "--locked", "check", "--hide-inclusion-graph", "bans", "licenses", "sources"]))
}

/// Builds cargo-deny without optimisation: it runs for a second, and the build is the longer part.
fn install() -> Result<(), Failure> {
    println!("installing cargo-deny (a few minutes)");
    run(cargo()
        .args(["install", "--quiet", "--locked", "cargo-deny", "--version", VERSION])
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0")
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
        .env_remove("CARGO_TARGET_DIR"))
}
