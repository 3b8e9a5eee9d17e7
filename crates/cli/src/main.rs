//! The `lbuild` command: arguments in, progress and problems out, everything else in the crates below.

// The arguments' documentation is the text of `--help`, where brackets mean what may be left out.
#![allow(rustdoc::broken_intra_doc_links)]

mod args;
mod aside;
mod cache;
mod call;
mod commands;
mod config;
mod contexts;
mod diagnostics;
mod dockerfile;
mod exit;
mod export;
mod failure;
mod fetch;
mod images;
mod output;
mod progress;
mod registry;
mod root;
mod signals;
mod size;
mod subject;
mod table;
mod terminal;
mod text;
mod timings;
mod units;
mod uploads;

use std::process::ExitCode;

use exit::Exit;

fn main() -> ExitCode {
    lbuild_runner::supervise_if_asked();
    explain_panics();
    let cli = args::parse();
    let exit = match commands::run(cli) {
        Ok(()) => Exit::Success,
        Err(failure) => failure.report(),
    };
    exit.into()
}

/// An error of lbuild's own is said in one line that can be reported.
fn explain_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or("unknown");
        let version = env!("CARGO_PKG_VERSION");
        diagnostics::print(&format!(
            "error: internal error in lbuild {version} at {place}: {message}\n  \
             help: please report this at {}/issues",
            env!("CARGO_PKG_REPOSITORY")
        ));
    }));
}
