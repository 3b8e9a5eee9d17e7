//! `lbuild completions`.

use std::io::{self, Write};

use clap::CommandFactory;

use crate::args::{Cli, CompletionsArgs};
use crate::failure::Failure;

/// Prints a shell's completion script.
pub fn run(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "lbuild", &mut script);
    io::stdout().lock().write_all(&script)?;
    Ok(())
}
