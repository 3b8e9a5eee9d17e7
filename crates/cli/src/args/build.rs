//! `lbuild build`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use lbuild_builder::{Entitlement, Secret};
use lbuild_oci::{Platform, Reference};

use super::cache::{self, CacheOrigin, CacheTarget};
use super::context_source::{self, ContextSource};
use super::values::{self, Annotation, Assignment, BuildNetwork, SshSource};
use crate::call::Call;
use crate::images::Place;
use crate::output::Output;
use crate::units;

pub const EXAMPLES: &str = "\
Examples:
  lbuild -t app:1.2 -t app .
  lbuild -f docker/Dockerfile --target test --build-arg VERSION=1.2 .
  lbuild -o type=oci,dest=app.tar,compression=zstd .
  lbuild --secret id=token,env=TOKEN --ssh default -t app .
  lbuild - < Dockerfile                  no context
  lbuild - < context.tar.gz              an archive as the context
  lbuild https://host/app.git#v1:folder  a folder of a repository at a tag
  lbuild -t app -o - . | docker load
  SOURCE_DATE_EPOCH=0 lbuild -t app .    the same bytes each time";

/// `lbuild build`. As with Docker, the last of an option that is given twice counts.
#[derive(Debug, Args)]
#[command(args_override_self = true)]
pub struct BuildArgs {
    /// The context: the folder whose files COPY and ADD see, a git repository, or the URL of an archive;
    /// - reads a Dockerfile or an archive from standard input
    #[arg(default_value = ".")]
    pub path: PathBuf,

    /// A name for the image, NAME[:TAG]; may be repeated
    #[arg(short, long = "tag", value_name = "NAME")]
    pub tags: Vec<Reference>,
    /// The Dockerfile [default: PATH/Dockerfile]; - reads it from standard input
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The stage to build, by name or number [default: the last]
    #[arg(long, value_name = "STAGE")]
    pub target: Option<String>,
    /// Set an ARG; without a value, to the one in the environment
    #[arg(long = "build-arg", value_name = "NAME[=VALUE]", value_parser = values::assignment)]
    pub build_args: Vec<Assignment>,
    /// Set ARGs from a file of NAME=VALUE lines
    #[arg(long = "build-arg-file", value_name = "FILE")]
    pub build_arg_files: Vec<PathBuf>,
    /// Add a label to the image
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = values::assignment)]
    pub labels: Vec<Assignment>,
    /// Add an annotation to the image's manifest, or with index:NAME=VALUE to the index of several
    #[arg(long = "annotation", value_name = "NAME=VALUE", value_parser = values::annotation)]
    pub annotations: Vec<Annotation>,
    /// Answer a question instead of building: check, outline or targets, with format=json for programs
    #[arg(long, value_name = "METHOD[,format=FORMAT]", value_parser = Call::parse, conflicts_with = "check")]
    call: Option<Call>,
    /// Say what is wrong with the Dockerfile or could be better: --call=check
    #[arg(long)]
    check: bool,
    /// The platform to build for, or several, whose images an index ties together [default: this machine's]
    #[arg(
        long = "platform",
        value_name = "OS/ARCH",
        value_delimiter = ',',
        env = "DOCKER_DEFAULT_PLATFORM",
        hide_env_values = true
    )]
    pub platforms: Vec<Platform>,
    /// Another source for COPY --from and FROM: a folder, an image, oci-layout://FOLDER[:TAG], a URL or a
    /// git repository
    #[arg(long = "build-context", value_name = "NAME=SOURCE", value_parser = context_source::named_context)]
    pub build_contexts: Vec<(String, ContextSource)>,

    /// Where images are looked for, in this order, whose names do not say where they are
    #[arg(
        long,
        value_enum,
        value_name = "PLACE",
        value_delimiter = ',',
        env = "LBUILD_IMAGE_SOURCES",
        hide_env_values = true,
        default_values_t = [Place::Store, Place::Registry]
    )]
    pub image_sources: Vec<Place>,

    /// Run every step anew
    #[arg(long, help_heading = "Cache", conflicts_with = "no_cache_filter")]
    pub no_cache: bool,
    /// Run the steps of these stages anew
    #[arg(long, help_heading = "Cache", value_name = "STAGE", value_delimiter = ',')]
    pub no_cache_filter: Vec<String>,
    /// Fail rather than run a step that is not in the cache
    #[arg(long, help_heading = "Cache", conflicts_with_all = ["no_cache", "no_cache_filter"])]
    pub frozen: bool,
    /// Say for each step whether it is in the cache and, if not, why
    #[arg(long, help_heading = "Cache")]
    pub explain: bool,
    /// Only say which steps would run, why, and for how long
    #[arg(long, help_heading = "Cache", conflicts_with_all = ["call", "check", "frozen"])]
    pub plan: bool,
    /// With --plan: as JSON
    #[arg(long, help_heading = "Cache", requires = "plan")]
    pub json: bool,
    /// Use what other machines recorded: type=registry,ref=NAME, a cache or an image that carries one, or
    /// type=local,src=DIR[,namespace=NAME][,verify=true]
    #[arg(long, help_heading = "Cache", value_name = "CACHE", value_parser = cache::cache_from)]
    pub cache_from: Vec<CacheOrigin>,
    /// Record for other machines: type=registry,ref=NAME or
    /// type=local,dest=DIR[,namespace=NAME][,mode=min|max][,claim=true][,ignore-error=true], or type=inline
    /// in the image itself
    #[arg(long, help_heading = "Cache", value_name = "CACHE", value_parser = cache::cache_to)]
    pub cache_to: Vec<CacheTarget>,
    /// When base images are looked for elsewhere than in the store
    #[arg(
        long,
        help_heading = "Cache",
        value_enum,
        value_name = "WHEN",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "always"
    )]
    pub pull: Option<Pull>,

    /// Where the image goes: NAME.tar, -, a folder, or type=docker|oci|registry|tar|local,dest=PATH[,compression=gzip]
    #[arg(short, long = "output", help_heading = "Result", value_name = "OUTPUT", value_parser = Output::parse)]
    pub outputs: Vec<Output>,
    /// Push the image to the registries of its names
    #[arg(long, help_heading = "Result")]
    pub push: bool,
    /// Hand the image to the local Docker
    #[arg(long, help_heading = "Result")]
    pub load: bool,
    /// Write the image's id to a file
    #[arg(long, help_heading = "Result", value_name = "FILE")]
    pub iidfile: Option<PathBuf>,
    /// Write the image's id, digest and names to a file, as JSON
    #[arg(long, help_heading = "Result", value_name = "FILE")]
    pub metadata_file: Option<PathBuf>,
    /// Write where the time went to a file, as a trace for chrome://tracing or Perfetto
    #[arg(long, help_heading = "Result", value_name = "FILE")]
    pub timings: Option<PathBuf>,
    /// Print only the image's id
    #[arg(short, long, help_heading = "Result")]
    pub quiet: bool,
    /// What to do about a RUN that fails: shell opens one in the files that it left
    #[arg(long, help_heading = "Result", value_enum, value_name = "ACTION")]
    pub on_failure: Option<OnFailure>,
    /// How progress is shown on standard error
    #[arg(
        long,
        help_heading = "Result",
        value_enum,
        value_name = "STYLE",
        default_value = "auto",
        env = "BUILDKIT_PROGRESS",
        hide_env_values = true
    )]
    pub progress: ProgressStyle,

    /// The network of RUN: default, none, host; pasta or slirp4netns for one of its own
    #[arg(long, help_heading = "RUN", value_name = "MODE", value_parser = values::network)]
    pub network: Option<BuildNetwork>,
    /// Add a line to /etc/hosts
    #[arg(long = "add-host", help_heading = "RUN", value_name = "NAME:ADDRESS", value_parser = values::host)]
    pub hosts: Vec<(String, String)>,
    /// The size of /dev/shm, such as 64m
    #[arg(long, help_heading = "RUN", value_name = "SIZE", value_parser = units::parse_size)]
    pub shm_size: Option<u64>,
    /// A resource limit, such as nofile=1024:4096
    #[arg(
        long = "ulimit",
        help_heading = "RUN",
        value_name = "NAME=SOFT[:HARD]",
        value_parser = values::ulimit
    )]
    pub ulimits: Vec<(String, u64, u64)>,
    /// The memory that a step may use, such as 512m
    #[arg(short, long, help_heading = "RUN", value_name = "SIZE", value_parser = values::memory)]
    pub memory: Option<u64>,
    /// The processors that a step may use, such as 1.5
    #[arg(long, help_heading = "RUN", value_name = "NUMBER", value_parser = values::cpus)]
    pub cpus: Option<f64>,
    /// The processes that a step may have
    #[arg(long, help_heading = "RUN", value_name = "NUMBER", allow_negative_numbers = true)]
    pub pids_limit: Option<i64>,
    /// no-new-privileges: setuid programs gain nothing
    #[arg(
        long = "security-opt",
        help_heading = "RUN",
        value_name = "OPTION",
        value_parser = values::no_new_privileges
    )]
    pub no_new_privileges: Vec<bool>,
    /// Let the Dockerfile use security.insecure or network.host
    #[arg(
        long = "allow",
        help_heading = "RUN",
        value_name = "ENTITLEMENT",
        value_delimiter = ',',
        value_parser = values::entitlement
    )]
    pub allow: Vec<Entitlement>,
    /// A secret for RUN --mount=type=secret: id=NAME,src=FILE or id=NAME,env=VARIABLE
    #[arg(long = "secret", help_heading = "RUN", value_name = "SECRET", value_parser = values::secret)]
    pub secrets: Vec<(String, Secret)>,
    /// Let a step write its secrets into its layer
    #[arg(long, help_heading = "RUN")]
    pub allow_secret_in_layer: bool,
    /// An SSH agent for RUN --mount=type=ssh: default, ID=SOCKET or ID=KEY[,KEY]
    #[arg(long = "ssh", help_heading = "RUN", value_name = "AGENT", value_parser = values::ssh)]
    pub ssh: Vec<(String, SshSource)>,

    /// Options of `docker build` that are accepted without effect.
    #[command(flatten)]
    pub ignored: Ignored,
}

impl BuildArgs {
    /// What is asked.
    pub fn call(&self) -> Call {
        match self.call {
            _ if self.check => Call::CHECK,
            Some(call) => call,
            None => Call::BUILD,
        }
    }
}

/// `--on-failure`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnFailure {
    /// A shell with the step's files, variables, mounts and secrets, on a terminal
    Shell,
}

/// `--pull`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs)]
pub enum Pull {
    #[value(alias = "false")]
    Never,
    Missing,
    #[value(alias = "true")]
    Always,
}

/// `--progress`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProgressStyle {
    /// tty on a terminal, plain elsewhere
    Auto,
    /// Running steps with their last lines of output
    Tty,
    /// Every line of output
    Plain,
    /// One JSON object a line
    Rawjson,
    /// Nothing but the image's id, as -q
    #[value(alias = "none")]
    Quiet,
}

/// Options of `docker build` that are accepted so that scripts keep working.
#[derive(Debug, Clone, Default, Args)]
pub struct Ignored {
    // These ask for what lbuild does anyway, or for parts that it does not have.
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    rm: Option<bool>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    force_rm: Option<bool>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    compress: Option<bool>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    disable_content_trust: Option<bool>,
    #[arg(long, hide = true)]
    builder: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    provenance: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    sbom: Option<String>,
    #[arg(long, hide = true)]
    attest: Vec<String>,

    #[arg(short = 'D', long, hide = true)]
    debug: bool,

    /// Refused, with what to do instead.
    #[arg(long, hide = true)]
    pub squash: bool,

    // These ask for something that the build will not have.
    #[arg(long, hide = true)]
    cgroup_parent: Option<String>,
    #[arg(long, hide = true)]
    cpu_period: Option<String>,
    #[arg(long, hide = true)]
    cpu_quota: Option<String>,
    #[arg(short = 'c', long, hide = true)]
    cpu_shares: Option<String>,
    #[arg(long, hide = true)]
    cpuset_cpus: Option<String>,
    #[arg(long, hide = true)]
    cpuset_mems: Option<String>,
    #[arg(long, hide = true)]
    memory_swap: Option<String>,
}

impl Ignored {
    /// The given options whose absence the user may notice.
    pub fn without_effect(&self) -> Vec<&'static str> {
        [
            ("--attest", !self.attest.is_empty()),
            ("--cgroup-parent", self.cgroup_parent.is_some()),
            ("--cpu-period", self.cpu_period.is_some()),
            ("--cpu-quota", self.cpu_quota.is_some()),
            ("--cpu-shares", self.cpu_shares.is_some()),
            ("--cpuset-cpus", self.cpuset_cpus.is_some()),
            ("--cpuset-mems", self.cpuset_mems.is_some()),
            ("--memory-swap", self.memory_swap.is_some()),
            ("--provenance", is_asked(self.provenance.as_deref())),
            ("--sbom", is_asked(self.sbom.as_deref())),
        ]
        .into_iter()
        .filter_map(|(name, given)| given.then_some(name))
        .collect()
    }
}

/// Whether a value asks for something, unlike `false`.
fn is_asked(value: Option<&str>) -> bool {
    value.is_some_and(|value| value != "false")
}
