//! Options to a request that the builder takes.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::Path;

use lbuild_builder::{BuildRequest, CacheUse, RunOptions, Secret};
use lbuild_runner::{NetworkHelper, NetworkHelperKind};

use crate::args::{Assignment, BuildArgs, BuildNetwork, CacheTarget, assignment};
use crate::dockerfile::Dockerfile;
use crate::exit::Exit;
use crate::failure::Failure;

const SOURCE_DATE_EPOCH: &str = "SOURCE_DATE_EPOCH";
const INLINE_CACHE: &str = "BUILDKIT_INLINE_CACHE";

/// The build that `args` ask for, without contexts and agents.
pub fn new(args: &BuildArgs, dockerfile: Dockerfile) -> Result<BuildRequest, Failure> {
    check_files(args)?;
    let build_args = build_args(args)?;
    let source_date_epoch = source_date_epoch(&build_args)?;
    let is_inline = |target: &CacheTarget| matches!(target, CacheTarget::Inline { .. });
    let carries_cache = args.cache_to.iter().any(is_inline) || asks_for_inline_cache(&build_args);
    Ok(BuildRequest {
        dockerfile_path: dockerfile.path,
        target: args.target.clone().filter(|target| !target.is_empty()),
        build_args,
        labels: values(&args.labels),
        platform: args.platforms.first().cloned(),
        cache: cache(args),
        source_date_epoch,
        carries_cache,
        verifies_layers: args.cache_from.iter().any(|origin| origin.verifies),
        run: run_options(args)?,
        allow: args.allow.clone(),
        secrets: args.secrets.iter().cloned().collect(),
        ..BuildRequest::new(dockerfile.content)
    })
}

/// Names and values; a name alone has the empty value.
fn values(assignments: &[Assignment]) -> BTreeMap<String, String> {
    assignments
        .iter()
        .map(|assignment| (assignment.name.clone(), assignment.value.clone().unwrap_or_default()))
        .collect()
}

/// Secrets that are missing are told before the build rather than in the middle of it.
fn check_files(args: &BuildArgs) -> Result<(), Failure> {
    for (id, secret) in &args.secrets {
        match secret {
            Secret::File(path) => {
                let failed = Failure::io(format!("cannot read the secret {id} from {}", path.display()));
                fs::File::open(path).map_err(failed)?;
            }
            Secret::Env(name) if env::var_os(name).is_none() => {
                return Err(Failure::usage(format!(
                    "the secret {id} comes from the variable {name}, which is not set"
                )));
            }
            Secret::Env(_) => {}
        }
    }
    Ok(())
}

/// Files first, then options, then what the environment says of the time.
fn build_args(args: &BuildArgs) -> Result<BTreeMap<String, String>, Failure> {
    let mut all = BTreeMap::new();
    let mut given = Vec::new();
    for path in &args.build_arg_files {
        given.extend(build_arg_file(path)?);
    }
    given.extend(args.build_args.iter().cloned());
    for Assignment { name, value } in given {
        // As Docker does: a name that the environment does not have is left out.
        if let Some(value) = value.or_else(|| env::var(&name).ok()) {
            all.insert(name, value);
        }
    }
    if let Ok(epoch) = env::var(SOURCE_DATE_EPOCH) {
        all.entry(SOURCE_DATE_EPOCH.to_owned()).or_insert(epoch);
    }
    Ok(all)
}

fn build_arg_file(path: &Path) -> Result<Vec<Assignment>, Failure> {
    let text = fs::read_to_string(path).map_err(Failure::io(format!("cannot read {}", path.display())))?;
    parse_build_arg_file(&text)
        .map_err(|line| Failure::usage(format!("{}:{line}: expected NAME=VALUE", path.display())))
}

/// Lines as `--build-arg` takes them; empty lines and those that begin with # are comments.
///
/// # Errors
/// The number of a line that is neither.
fn parse_build_arg_file(text: &str) -> Result<Vec<Assignment>, usize> {
    let lines = text.lines().map(str::trim).enumerate();
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(index, line)| assignment(line).map_err(|_| index + 1))
        .collect()
}

fn source_date_epoch(build_args: &BTreeMap<String, String>) -> Result<Option<i64>, Failure> {
    match build_args.get(SOURCE_DATE_EPOCH).map(|value| value.trim()) {
        None | Some("") => Ok(None),
        Some(value) => match value.parse() {
            Ok(seconds) if seconds >= 0 => Ok(Some(seconds)),
            _ => Err(Failure::usage(format!("{SOURCE_DATE_EPOCH} is {value:?}, not seconds since 1970"))),
        },
    }
}

/// Whether `BUILDKIT_INLINE_CACHE` has one of the values that Docker's clients take for yes.
fn asks_for_inline_cache(args: &BTreeMap<String, String>) -> bool {
    let value = args.get(INLINE_CACHE).map_or("", String::as_str);
    matches!(value, "1" | "t" | "T" | "true" | "True" | "TRUE")
}

fn cache(args: &BuildArgs) -> CacheUse {
    if args.no_cache {
        CacheUse::None
    } else if args.frozen {
        CacheUse::Only
    } else if args.no_cache_filter.is_empty() {
        CacheUse::All
    } else {
        CacheUse::Except(args.no_cache_filter.clone())
    }
}

/// A program that is missing is told before the build, too.
fn network_helper(kind: NetworkHelperKind) -> Result<NetworkHelper, Failure> {
    NetworkHelper::find(kind).map_err(|error| {
        let help = format!("install it (sudo apt-get install {}), or build without it", error.package);
        Failure::Error { exit: Exit::Usage, error: error.into(), help: Some(help) }
    })
}

fn run_options(args: &BuildArgs) -> Result<RunOptions, Failure> {
    let (network, network_helper) = match args.network {
        Some(BuildNetwork::Through(kind)) => (None, Some(network_helper(kind)?)),
        Some(BuildNetwork::Plain(network)) => (Some(network), None),
        None => (None, None),
    };
    Ok(RunOptions {
        hosts: args.hosts.clone(),
        shm_size: args.shm_size,
        ulimits: args.ulimits.clone(),
        network,
        network_helper,
        memory: args.memory,
        cpus: args.cpus,
        // Docker's "no limit" is -1, and 0 too.
        pids: args.pids_limit.and_then(|limit| u64::try_from(limit).ok()).filter(|limit| *limit > 0),
        no_new_privileges: args.no_new_privileges.last().copied().unwrap_or(false),
        allow_secret_in_layer: args.allow_secret_in_layer,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_arguments_have_comments() {
        let argument = |name: &str, value: Option<&str>| Assignment {
            name: name.to_owned(),
            value: value.map(str::to_owned),
        };
        let expected = vec![argument("A", Some("1")), argument("B", Some("x=y z")), argument("C", None)];
        assert_eq!(parse_build_arg_file("# note\nA=1\n\n  B=x=y z\nC\n"), Ok(expected));
        assert_eq!(parse_build_arg_file("A=1\n\n=2\n"), Err(3));
        assert_eq!(parse_build_arg_file("=1"), Err(1));
    }

    #[test]
    fn an_argument_asks_for_an_image_that_carries_its_cache() {
        for (value, expected) in [("1", true), ("true", true), ("0", false), ("", false), ("yes", false)] {
            let args = BTreeMap::from([(INLINE_CACHE.to_owned(), value.to_owned())]);
            assert_eq!(asks_for_inline_cache(&args), expected, "{value}");
        }
        assert!(!asks_for_inline_cache(&BTreeMap::new()));
    }

    #[test]
    fn the_time_is_in_seconds() {
        for (value, expected) in [("0", Some(0)), ("1700000000", Some(1_700_000_000)), ("", None)] {
            let args = BTreeMap::from([(SOURCE_DATE_EPOCH.to_owned(), value.to_owned())]);
            assert_eq!(source_date_epoch(&args).unwrap(), expected, "{value}");
        }
        for value in ["yesterday", "-1", "1.5"] {
            let args = BTreeMap::from([(SOURCE_DATE_EPOCH.to_owned(), value.to_owned())]);
            assert!(source_date_epoch(&args).is_err(), "{value}");
        }
    }
}
