//! What a build is remembered as.

use std::env;
use std::path::Path;

use lbuild_builder::Subject;
use lbuild_layer_store::KeepBuilds;

use crate::dockerfile::Dockerfile;
use crate::failure::Failure;

/// The variable that says how many builds of the same Dockerfile and context are remembered.
const KEEP: &str = "LBUILD_KEEP_BUILDS";

/// The subject of a build of `dockerfile` with the context that was named as `context`.
pub fn of(context: &Path, dockerfile: &Dockerfile) -> Subject {
    Subject {
        dockerfile: dockerfile.path.as_deref().map_or_else(|| dockerfile.name.clone(), absolute),
        context: absolute(context),
    }
}

/// How many builds are remembered.
///
/// # Errors
/// The variable holds no number.
pub fn keep_builds() -> Result<KeepBuilds, Failure> {
    let default = KeepBuilds::default();
    let Ok(text) = env::var(KEEP) else { return Ok(default) };
    let of_subject = text.parse().map_err(|_| Failure::usage(format!("{KEEP} is {text:?}, not a number")))?;
    Ok(KeepBuilds { of_subject, all: default.all.max(of_subject) })
}

/// What is no file here stays as it is written: a URL, standard input.
fn absolute(path: &Path) -> String {
    path.canonicalize().unwrap_or_else(|_| path.to_owned()).to_string_lossy().into_owned()
}
