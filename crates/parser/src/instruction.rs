//! Instructions, with their words as written.
//!
//! A `String` here is a word before expansion: quotes, escapes and `$variables` are still in it,
//! unless its documentation says otherwise.

use crate::Span;

/// One instruction of a stage.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Instruction {
    Add(Add),
    /// One ARG may declare several.
    Arg(Vec<Arg>),
    Cmd(CommandLine),
    Copy(Copy),
    Entrypoint(CommandLine),
    /// Names and values.
    Env(Vec<Pair>),
    Expose(Vec<String>),
    Healthcheck(Healthcheck),
    /// Names and values.
    Label(Vec<Pair>),
    Maintainer(String),
    Onbuild(Onbuild),
    Run(Run),
    /// Words of the JSON form, final.
    Shell(Vec<String>),
    Stopsignal(String),
    User(String),
    Volume(Vec<String>),
    Workdir(String),
}

/// A command in shell form (a text for the shell) or exec form (its words), both final.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandLine {
    /// Given to the SHELL in one piece. Continuations are joined by BuildKit's rules.
    Shell(String),
    /// Executed as it is.
    Exec(Vec<String>),
}

/// `NAME=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The name.
    pub name: String,
    /// The value.
    pub value: String,
    /// Written as `ENV name value`, without `=`: BuildKit warns.
    pub legacy: bool,
    /// Where the pair stands.
    pub span: Span,
}

/// `ARG NAME[=VALUE]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arg {
    /// The name.
    pub name: String,
    /// The default.
    pub default: Option<String>,
    /// Where it stands.
    pub span: Span,
    /// The comment right above, `# NAME description` (for `--call=outline`).
    pub description: Option<String>,
}

/// A heredoc's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The word after `<<`, without quotes: also the file's name in COPY and ADD.
    pub name: String,
    /// Whether `$variables` in it are expanded: its name was not quoted.
    pub expand: bool,
    /// Whether leading tabs are cut (`<<-`). Already done in `content`.
    pub chomp: bool,
    /// The file descriptor before `<<`, 0 if none.
    pub fd: u32,
    /// The lines, with their line ends.
    pub content: String,
    /// The lines as they are written: with the tabs that `<<-` cuts.
    pub raw: String,
}

/// A source of COPY or ADD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A path, pattern, URL or git reference.
    Path(String, Span),
    /// A file given in the Dockerfile.
    Heredoc(Heredoc),
}

/// COPY.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// What to copy.
    pub sources: Vec<Source>,
    /// Where to.
    pub destination: String,
    /// `--from`: a stage, a number, an image, a named context.
    pub from: Option<(String, Span)>,
    /// `--chown`.
    pub chown: Option<String>,
    /// `--chmod`.
    pub chmod: Option<String>,
    /// `--link`.
    pub link: bool,
    /// `--parents`.
    pub parents: bool,
    /// `--exclude`, any number.
    pub exclude: Vec<String>,
}

/// ADD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Add {
    /// What to add.
    pub sources: Vec<Source>,
    /// Where to.
    pub destination: String,
    /// `--chown`.
    pub chown: Option<String>,
    /// `--chmod`.
    pub chmod: Option<String>,
    /// `--link`.
    pub link: bool,
    /// `--exclude`, any number.
    pub exclude: Vec<String>,
    /// `--keep-git-dir`, if it is said; a URL may say it too.
    pub keep_git_dir: Option<bool>,
    /// `--checksum`.
    pub checksum: Option<String>,
    /// `--unpack`; by default local archives are unpacked and remote ones are not.
    pub unpack: Option<bool>,
}

/// RUN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The command; with heredocs, the line that holds them.
    pub command: CommandLine,
    /// The heredocs of the command line.
    pub heredocs: Vec<Heredoc>,
    /// `--mount`, any number.
    pub mounts: Vec<Mount>,
    /// `--network`.
    pub network: Option<Network>,
    /// `--security`.
    pub security: Option<Security>,
    /// `--device`, any number.
    pub devices: Vec<Device>,
}

/// What a RUN executes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Script {
    /// A text for the SHELL.
    Shell(String),
    /// A file to be given to the SHELL by its path. BuildKit puts it into `/dev/pipes`, mode 0755.
    File {
        /// The file's name.
        name: String,
        /// What is in it; begins with `#!`.
        content: String,
    },
    /// Words to execute without a shell.
    Exec(Vec<String>),
}

/// `--device`: a CDI device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The name, such as `vendor.com/class=name`.
    pub name: String,
    /// Whether the build fails without it.
    pub required: bool,
    /// Where it stands.
    pub span: Span,
}

/// `--network`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Network {
    Default,
    None,
    Host,
}

/// `--security`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Security {
    Sandbox,
    Insecure,
}

/// One `--mount`. Which options go with which type is checked by the parser.
///
/// Values may hold variables. Before [`Mount::expand`], a text that does is here as it is written,
/// and any other value that does is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// `type=`.
    pub kind: MountKind,
    /// `target=` (`dst`, `destination`).
    pub target: Option<String>,
    /// `source=` (`src`).
    pub source: Option<String>,
    /// `from=`.
    pub from: Option<String>,
    /// `readonly` or `readwrite`; `None`: the type's default.
    pub read_only: Option<bool>,
    /// `id=`.
    pub id: Option<String>,
    /// `sharing=`.
    pub sharing: Sharing,
    /// `required`.
    pub required: bool,
    /// `size=`, in bytes.
    pub size: Option<u64>,
    /// `mode=`.
    pub mode: Option<u32>,
    /// `uid=`.
    pub uid: Option<u32>,
    /// `gid=`.
    pub gid: Option<u32>,
    /// `env=`: the variable that gets a secret; with an empty name, the secret's id.
    pub env: Option<String>,
    /// Where it stands.
    pub span: Span,
    /// The flag's value as it is written, quotes and escapes of the line resolved.
    pub spec: String,
}

/// `type=` of a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum MountKind {
    Bind,
    Cache,
    Tmpfs,
    Secret,
    Ssh,
}

/// `sharing=` of a cache mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub enum Sharing {
    #[default]
    Shared,
    Private,
    Locked,
}

/// HEALTHCHECK.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Healthcheck {
    None,
    Check {
        command: CommandLine,
        /// Nanoseconds.
        interval: Option<i64>,
        /// Nanoseconds.
        timeout: Option<i64>,
        /// Nanoseconds.
        start_period: Option<i64>,
        /// Nanoseconds.
        start_interval: Option<i64>,
        retries: Option<i64>,
    },
}

/// ONBUILD: an instruction kept for the builds that start from this image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Onbuild {
    /// The instruction's text, as the configuration keeps it.
    pub text: String,
}
