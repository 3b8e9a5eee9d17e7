//! The command line.

mod archive_limit;
mod build;
mod cache;
mod context_source;
pub mod csv;
mod looking;
mod space;
mod values;

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use lbuild_layer_store::ArchiveLimits;
use lbuild_oci::Reference;

pub use build::{BuildArgs, OnFailure, ProgressStyle, Pull};
pub use cache::{CacheOrigin, CachePlace, CachePruneArgs, CacheSpec, CacheTarget, CarryingImage};
pub use context_source::ContextSource;
pub use looking::{LogsArgs, ShellArgs, WhyArgs};
pub use space::{
    CacheCommand, CacheExportArgs, CacheImportArgs, CacheLsArgs, DfArgs, PruneArgs, StoreCheckArgs,
    StoreCommand,
};
pub use values::{AnnotationTarget, Assignment, BuildNetwork, SshSource, assignment};

use crate::{diagnostics, exit, text};

/// Builds images from Dockerfiles, without a daemon.
///
/// `lbuild -t NAME .` builds the Dockerfile in this folder and keeps the image in the store;
/// `build` may be left out.
#[derive(Debug, Parser)]
#[command(
    name = "lbuild",
    version,
    propagate_version = true,
    disable_help_subcommand = true,
    after_help = exit::HELP,
    after_long_help = long_help()
)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub struct GlobalArgs {
    /// The store's folder [default: /var/lib/lbuild as root, else $XDG_DATA_HOME/lbuild]
    #[arg(long, global = true, value_name = "DIR", env = "LBUILD_ROOT", hide_env_values = true)]
    pub root: Option<PathBuf>,
    /// How a RUN is kept apart [default: auto]; see docs/rootless.md
    #[arg(
        long,
        global = true,
        value_name = "KIND",
        value_enum,
        env = "LBUILD_ISOLATION",
        hide_env_values = true
    )]
    pub isolation: Option<Isolation>,
    /// What an archive from outside may cost, such as entries=1000000,bytes=10g,ratio=1000
    #[arg(
        long,
        global = true,
        value_name = "LIMITS",
        env = "LBUILD_ARCHIVE_LIMIT",
        hide_env_values = true,
        value_parser = archive_limit::parse
    )]
    pub archive_limit: Option<ArchiveLimits>,
}

/// How a RUN is kept apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Isolation {
    /// The best that can be had
    #[default]
    #[value(alias = "default")]
    Auto,
    /// Namespaces, or an error
    Namespaces,
    /// Neither namespaces nor mounts: in a container without privileges
    Chroot,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build an image from a Dockerfile
    #[command(visible_alias = "b", after_long_help = build::EXAMPLES)]
    Build(Box<BuildArgs>),
    /// Check a Dockerfile without building it
    Check(CheckArgs),
    /// Show what a build sees of its context
    #[command(subcommand)]
    Context(ContextCommand),
    /// List images
    #[command(visible_alias = "ls")]
    Images(ImagesArgs),
    /// Show an image's configuration, layers and folders as JSON
    Inspect(InspectArgs),
    /// Show how an image came to be, newest step first
    History(HistoryArgs),
    /// Show what each step of an image added, changed and deleted
    Diff(DiffArgs),
    /// Run a shell in an image's files, whose changes are thrown away
    #[command(after_long_help = looking::SHELL_EXAMPLES)]
    Shell(ShellArgs),
    /// Say why the steps of the last build ran or came from the cache
    #[command(after_long_help = looking::WHY_EXAMPLES)]
    Why(WhyArgs),
    /// Show what the steps of a build printed
    Logs(LogsArgs),
    /// Give an image another name
    Tag(TagArgs),
    /// Remove names, and images that have no other name
    Rmi(RmiArgs),
    /// Bring images from an archive into the store
    Load(LoadArgs),
    /// Write an image to an archive that Docker, podman and skopeo read
    Save(SaveArgs),
    /// Bring images from their registries into the store
    Pull(PullArgs),
    /// Bring an image to a registry
    Push(PushArgs),
    /// Keep the credentials for a registry
    Login(LoginArgs),
    /// Forget the credentials for a registry
    Logout(LogoutArgs),
    /// Look at an image's files, read-only
    Mount(MountArgs),
    /// End a look at an image's files
    #[command(visible_alias = "unmount")]
    Umount(UmountArgs),
    /// Remove what no image and no recent build uses
    Prune(PruneArgs),
    /// Tell how builds run here, what is missing for more, and how to have it
    Doctor(DoctorArgs),
    /// Show what takes the store's disk space
    Df(DfArgs),
    /// List cache mounts, and hand them from machine to machine
    #[command(subcommand)]
    Cache(CacheCommand),
    /// Verify the store
    #[command(subcommand)]
    Store(StoreCommand),
    /// Print a shell's completion script
    Completions(CompletionsArgs),
    /// Print the version
    Version,
}

/// `lbuild check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The Dockerfile [default: PATH/Dockerfile]; - reads it from standard input
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The form of the findings
    #[arg(long, value_enum, default_value_t = CheckFormat::Human)]
    pub format: CheckFormat,
    /// The context's folder
    #[arg(default_value = ".")]
    pub path: PathBuf,
}

/// `lbuild context`.
#[derive(Debug, Subcommand)]
pub enum ContextCommand {
    /// List the files that a build would see
    Ls(ContextLsArgs),
}

/// `lbuild context ls`.
#[derive(Debug, Args)]
pub struct ContextLsArgs {
    /// Also list what is excluded, and the line of the ignore file that decides
    #[arg(long)]
    pub explain: bool,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
    /// The Dockerfile, whose own ignore file FILE.dockerignore comes first [default: PATH/Dockerfile]
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The context's folder
    #[arg(default_value = ".")]
    pub path: PathBuf,
}

/// The form of `check`'s findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs)]
pub enum CheckFormat {
    Human,
    Json,
    Sarif,
}

/// A table for people, or JSON for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs)]
pub enum TableFormat {
    Table,
    /// One JSON object a line.
    Json,
}

/// `lbuild images`.
#[derive(Debug, Args)]
pub struct ImagesArgs {
    /// Only images whose name begins with this
    pub name: Option<String>,
    /// Only print ids
    #[arg(short, long)]
    pub quiet: bool,
    /// A table, or one JSON object a line
    #[arg(long, value_enum, default_value_t = TableFormat::Table)]
    pub format: TableFormat,
    /// Do not shorten ids
    #[arg(long)]
    pub no_trunc: bool,
}

/// `lbuild inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// Names or ids
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<String>,
}

/// `lbuild history`.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// A name or an id
    pub image: String,
    /// A table, or one JSON object a line
    #[arg(long, value_enum, default_value_t = TableFormat::Table)]
    pub format: TableFormat,
    /// Do not shorten ids and instructions
    #[arg(long)]
    pub no_trunc: bool,
}

/// `lbuild diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// A name or an id
    pub image: String,
    /// Only this step, counted as `lbuild history` lists them, the oldest being 1
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub step: Option<u32>,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// `lbuild tag`.
#[derive(Debug, Args)]
pub struct TagArgs {
    /// A name or an id
    pub source: String,
    /// The new name
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<Reference>,
}

/// `lbuild rmi`.
#[derive(Debug, Args)]
pub struct RmiArgs {
    /// Names or ids
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<String>,
    /// Remove an image that is given by its id and has several names; say nothing of missing ones
    #[arg(short, long)]
    pub force: bool,
}

/// `lbuild load`.
#[derive(Debug, Args)]
pub struct LoadArgs {
    /// The archive, or an OCI layout's folder [default: standard input]
    #[arg(short, long, value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// A name for the image, if the archive holds one
    #[arg(short, long = "tag", value_name = "NAME")]
    pub tags: Vec<Reference>,
    /// Which image to take where the archive has one for several
    #[arg(long, value_name = "OS/ARCH")]
    pub platform: Option<lbuild_oci::Platform>,
    /// Only print ids
    #[arg(short, long)]
    pub quiet: bool,
}

/// `lbuild save`.
#[derive(Debug, Args)]
pub struct SaveArgs {
    /// A name or an id
    pub image: String,
    /// The file; - is standard output
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    pub output: PathBuf,
}

/// `lbuild pull`.
#[derive(Debug, Args)]
pub struct PullArgs {
    /// Names
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<Reference>,
    /// Which image to take where there is one for several [default: this machine's]
    #[arg(long, value_name = "OS/ARCH", env = "DOCKER_DEFAULT_PLATFORM", hide_env_values = true)]
    pub platform: Option<lbuild_oci::Platform>,
    /// Fetch layers that the registry does not have from where the manifest says
    #[arg(long)]
    pub allow_foreign_layers: bool,
    /// Only print ids
    #[arg(short, long)]
    pub quiet: bool,
}

/// `lbuild push`.
#[derive(Debug, Args)]
pub struct PushArgs {
    /// A name or an id
    pub image: String,
    /// Where to [default: the name of the image]
    #[arg(value_name = "NAME")]
    pub names: Vec<Reference>,
    /// How layers that are not compressed yet are: gzip, zstd or uncompressed [default: gzip]
    #[arg(long, value_name = "FORM", value_parser = crate::output::compression)]
    pub compression: Option<crate::output::Compression>,
    /// The compressor's level
    #[arg(long, value_name = "LEVEL", requires = "compression")]
    pub compression_level: Option<u8>,
    /// Compress layers anew that are compressed already
    #[arg(long)]
    pub force_compression: bool,
    /// Write the digest into a file, as JSON
    #[arg(long, value_name = "FILE")]
    pub metadata_file: Option<PathBuf>,
    /// Only print the digest
    #[arg(short, long)]
    pub quiet: bool,
}

/// `lbuild login`.
#[derive(Debug, Args)]
pub struct LoginArgs {
    /// The registry, HOST[:PORT]
    #[arg(default_value = "docker.io")]
    pub registry: String,
    /// The user's name
    #[arg(short, long, value_name = "NAME")]
    pub username: Option<String>,
    /// Read the password or token from standard input
    #[arg(long)]
    pub password_stdin: bool,
}

/// `lbuild logout`.
#[derive(Debug, Args)]
pub struct LogoutArgs {
    /// The registry, HOST[:PORT]
    #[arg(default_value = "docker.io")]
    pub registry: String,
}

/// `lbuild mount`.
#[derive(Debug, Args)]
pub struct MountArgs {
    /// A name or an id
    pub image: String,
    /// An empty folder [default: one in the store, which is printed]
    pub dir: Option<PathBuf>,
}

/// `lbuild umount`.
#[derive(Debug, Args)]
pub struct UmountArgs {
    /// The folder
    pub dir: PathBuf,
}

/// `lbuild doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// One JSON document
    #[arg(long)]
    pub json: bool,
}

/// `lbuild completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// Reads the command line; ends the process with a message where it is wrong or asks for help.
pub fn parse() -> Cli {
    let command = without_empty_variables(Cli::command());
    let args = with_default_command(std::env::args_os().collect());
    let matches = command.try_get_matches_from(args);
    matches.and_then(|matches| Cli::from_arg_matches(&matches)).unwrap_or_else(|error| refuse(&error))
}

/// Ends the process as clap does, but shows no value of a megabyte.
fn refuse(error: &clap::Error) -> ! {
    if !error.use_stderr() {
        error.exit();
    }
    let text = error.render().ansi().to_string();
    let lines: Vec<String> = text.lines().map(text::shortened).collect();
    diagnostics::print(&lines.join("\n"));
    std::process::exit(error.exit_code());
}

/// Variables that are set to nothing are as good as not set, for each option of `command`.
fn without_empty_variables(command: clap::Command) -> clap::Command {
    command
        .mut_args(|arg| {
            let is_empty = arg.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
            if is_empty { arg.env(None::<&str>) } else { arg }
        })
        .mut_subcommands(without_empty_variables)
}

/// Inserts `build` where the command line names no command: `lbuild -t x .` is `lbuild build -t x .`.
/// Whoever says nothing at all gets help. What Docker says is understood: `buildx build`, and switches with a value.
fn with_default_command(mut args: Vec<OsString>) -> Vec<OsString> {
    let commands = Cli::command();
    let find =
        |word: &OsStr| commands.get_subcommands().find(|command| names(command).any(|name| word == name));
    // The options of every command may stand before it, their value in a word of its own or not.
    let mut at = 1;
    while let Some(words) = args.get(at).and_then(|arg| global_words(&commands, arg)) {
        at += words;
    }
    match args.get(at).map(OsString::as_os_str) {
        None => args.push("--help".into()),
        Some(word) if ["-h", "--help", "-V", "--version"].iter().any(|option| word == *option) => {
            return args;
        }
        Some(word) if find(word).is_some() => {}
        Some(word) if is_group(word) && args.get(at + 1).is_some_and(|word| word == "build") => {
            args.remove(at);
        }
        Some(_) => args.insert(at, "build".into()),
    }
    match args.get(at).and_then(|word| find(word)) {
        Some(build) if build.get_name() == "build" => without_switch_values(build, args),
        _ => args,
    }
}

fn names(command: &clap::Command) -> impl Iterator<Item = &str> {
    std::iter::once(command.get_name()).chain(command.get_all_aliases())
}

/// Whether Docker has a `build` below this command.
fn is_group(word: &OsStr) -> bool {
    ["buildx", "builder", "image"].iter().any(|group| word == *group)
}

/// `args` of `build` where switches have no values: `--push=true` is `--push`, and `--push=false` takes it back.
fn without_switch_values(build: &clap::Command, args: Vec<OsString>) -> Vec<OsString> {
    let mut kept = Vec::new();
    let mut args = args.into_iter();
    for arg in args.by_ref() {
        match switch_value(build, &arg) {
            Some((switch, true)) => kept.push(switch.into()),
            Some((switch, false)) => kept.retain(|word| word != switch),
            None if arg == "--" => {
                kept.push(arg);
                break;
            }
            None => kept.push(arg),
        }
    }
    kept.extend(args);
    kept
}

/// The switch and the value of a word such as `--push=true`, as Go's `strconv.ParseBool` reads it.
fn switch_value<'a>(build: &clap::Command, word: &'a OsStr) -> Option<(&'a str, bool)> {
    let (switch, value) = word.to_str()?.split_once('=')?;
    let name = switch.strip_prefix("--")?;
    let mut switches = build.get_arguments().filter(|arg| matches!(arg.get_action(), ArgAction::SetTrue));
    let value = match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => true,
        "0" | "f" | "F" | "false" | "FALSE" | "False" => false,
        _ => return None,
    };
    switches.any(|arg| arg.get_long() == Some(name)).then_some((switch, value))
}

/// The command that is written almost like `word`, if there is one.
pub fn similar_command(word: &str) -> Option<String> {
    let commands = Cli::command();
    lbuild_parser::similar(word, commands.get_subcommands().flat_map(names)).map(str::to_owned)
}

/// How many words an option of every command takes, which may stand before the command: one where its value
/// is in the same word. `None` if `word` is no such option.
fn global_words(commands: &clap::Command, word: &OsStr) -> Option<usize> {
    let option = word.to_str()?.strip_prefix("--")?;
    let (name, words) = option.split_once('=').map_or((option, 2), |(name, _)| (name, 1));
    commands.get_arguments().any(|arg| arg.is_global_set() && arg.get_long() == Some(name)).then_some(words)
}

fn long_help() -> String {
    format!(
        "\
Examples:
  lbuild -t app .                        build ./Dockerfile, keep the image as app:latest
  lbuild -t app -o app.tar .             and write it to an archive
  lbuild save app | docker load          hand an image to Docker
  lbuild push app registry.io/me/app:1   hand it to everybody
  lbuild load -i debian.tar              bring in a base image that `docker save` wrote
  lbuild history app                     the image's steps and what each one weighs
  lbuild diff app                        the files that each step changed
  lbuild why                             why the last build's steps ran

A folder named like a command is written with a ./ before it: lbuild ./images

{}",
        exit::HELP
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(line: &str) -> String {
        let args = with_default_command(line.split(' ').map(OsString::from).collect());
        args.join(OsStr::new(" ")).into_string().unwrap()
    }

    #[test]
    fn build_may_be_left_out() {
        for (line, expected) in [
            ("lbuild -t x .", "lbuild build -t x ."),
            ("lbuild .", "lbuild build ."),
            ("lbuild -", "lbuild build -"),
            ("lbuild -t images .", "lbuild build -t images ."),
            ("lbuild ./images", "lbuild build ./images"),
            ("lbuild --root /s .", "lbuild --root /s build ."),
            ("lbuild --root=/s -t x .", "lbuild --root=/s build -t x ."),
            ("lbuild build .", "lbuild build ."),
            ("lbuild images", "lbuild images"),
            ("lbuild --root images images", "lbuild --root images images"),
            ("lbuild --isolation=chroot images", "lbuild --isolation=chroot images"),
            ("lbuild --archive-limit entries=5 load", "lbuild --archive-limit entries=5 load"),
            ("lbuild --archive-limit=entries=5 .", "lbuild --archive-limit=entries=5 build ."),
            ("lbuild unmount /x", "lbuild unmount /x"),
            ("lbuild --help", "lbuild --help"),
            ("lbuild --version", "lbuild --version"),
            ("lbuild -t x --help", "lbuild build -t x --help"),
            ("lbuild buildx build -t x .", "lbuild build -t x ."),
            ("lbuild --root /s image build .", "lbuild --root /s build ."),
            ("lbuild buildx", "lbuild build buildx"),
            ("lbuild", "lbuild --help"),
            ("lbuild --root /s", "lbuild --root /s --help"),
        ] {
            assert_eq!(completed(line), expected, "{line}");
        }
    }

    #[test]
    fn switches_of_a_build_may_have_values_as_with_docker() {
        for (line, expected) in [
            ("lbuild --push=true --no-cache=1 .", "lbuild build --push --no-cache ."),
            ("lbuild build --load=false --push --push=False .", "lbuild build ."),
            ("lbuild b --push=false --push .", "lbuild b --push ."),
            ("lbuild build --push=maybe --pull=false .", "lbuild build --push=maybe --pull=false ."),
            ("lbuild build --rm=false -- --push=true", "lbuild build --rm=false -- --push=true"),
            ("lbuild images --quiet=true", "lbuild images --quiet=true"),
        ] {
            assert_eq!(completed(line), expected, "{line}");
        }
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_scripts_for_docker_say_is_accepted() {
        let line = "lbuild build --rm --force-rm=false --compress --pull --provenance=false --sbom=false \
                    --builder=default --isolation default --cpu-shares 512 --cache-from x --memory 1g -D -t x -t y:2 .";
        let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
        let Command::Build(build) = cli.command else { panic!("not a build: {cli:?}") };
        assert_eq!(build.tags.len(), 2);
        assert_eq!(build.cache_from.len(), 1);
        assert_eq!(build.memory, Some(1 << 30));
        assert_eq!(build.ignored.without_effect(), ["--cpu-shares"]);
    }

    #[test]
    fn the_last_of_an_option_that_is_given_twice_counts() {
        let line =
            "lbuild build --target a --target b -t x --progress plain -t y --progress tty --pull --pull .";
        let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
        let Command::Build(build) = cli.command else { panic!("not a build: {cli:?}") };
        assert_eq!((build.target.as_deref(), build.tags.len()), (Some("b"), 2));
        assert_eq!(build.progress, ProgressStyle::Tty);
    }

    #[test]
    fn wrong_command_lines_are_refused() {
        for line in [
            "lbuild build -t UPPER .",
            "lbuild build --frozen --no-cache .",
            "lbuild build --progress loud .",
            "lbuild build --memory 4k .",
            "lbuild cache prune --older-than 1d",
            "lbuild cache prune --older-than 1d --ref x --dest y",
            "lbuild build --platform a/b/c/d .",
            "lbuild build . extra",
            "lbuild tag x",
            "lbuild prune --filter label=x",
            "lbuild prune --keep-storage lots",
            "lbuild diff x 0",
            "lbuild save",
        ] {
            let error = Cli::try_parse_from(line.split(' ')).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}
