//! The commands that look into images and builds.

use std::path::PathBuf;

use clap::Args;

pub const SHELL_EXAMPLES: &str = "\
Examples:
  lbuild shell app                       the image's shell
  lbuild shell app@3                     as it was after step 3 of `lbuild history`
  lbuild shell app -- ls -l /etc         a command
  echo ls | lbuild shell app             what the shell reads";

pub const WHY_EXAMPLES: &str = "\
Examples:
  lbuild why                             every step of the last build of ./Dockerfile
  lbuild why 4                           step #4 of it, with all reasons
  lbuild why -f docker/Dockerfile 4 app  with another Dockerfile and context
  lbuild build --plan .                  what a build would do now

A folder whose name is a number is written with a ./ before it.";

/// `lbuild why`.
#[derive(Debug, Args)]
pub struct WhyArgs {
    /// The Dockerfile [default: PATH/Dockerfile]; - is standard input
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Only builds of this stage
    #[arg(long, value_name = "STAGE")]
    pub target: Option<String>,
    /// Another build than the last, by its number in `lbuild logs --list`
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["file", "target"])]
    pub build: Option<u64>,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
    /// The step's number as progress shows it, and the context's folder [default: .]
    #[arg(value_name = "STEP] [PATH", num_args = 0..=2)]
    pub words: Vec<String>,
}

/// `lbuild logs`.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// The build's number in `lbuild logs --list` [default: the last]
    pub build: Option<u64>,
    /// The step's number as progress shows it [default: all]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub step: Option<u32>,
    /// List the builds that are remembered
    #[arg(long, conflicts_with_all = ["build", "step", "raw"])]
    pub list: bool,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
    /// A step's output as it came, with control sequences
    #[arg(long, requires = "step", conflicts_with = "json")]
    pub raw: bool,
}

/// `lbuild shell`.
#[derive(Debug, Args)]
pub struct ShellArgs {
    /// A name or an id, and perhaps @ and a step as `lbuild history` counts them, the oldest being 1
    #[arg(value_name = "IMAGE[@STEP]")]
    pub image: String,
    /// A command in place of the shell
    #[arg(last = true)]
    pub command: Vec<String>,
}
