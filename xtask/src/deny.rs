//! The dependencies' licences and sources: `cargo xtask deny`.

use crate::command::{Failure, find_program, run};
use crate::workspace::{cargo, installation};

/// The version that `deny.toml` is written for.
const VERSION: &str = "^0.20";

/// Checks `deny.toml`'s rules; installs cargo-deny if it is missing.
pub fn check() -> Result<(), Failure> {
    if find_program("cargo-deny").is_none() {
        println!("installing cargo-deny (a few minutes)");
        run(&mut installation("cargo-deny", VERSION))?;
    }
    run(cargo().args(["deny", "--locked", "check", "--hide-inclusion-graph", "bans", "licenses", "sources"]))
}
