//! Build arguments: the predefined ones and the ARGs before the first FROM.
//!
//! Source: <https://docs.docker.com/reference/dockerfile/#automatic-platform-args-in-the-global-scope>

use std::collections::BTreeMap;

use lbuild_oci::Platform;
use lbuild_parser::expand::Expander;
use lbuild_parser::{Diagnostic, Dockerfile};

use crate::environment::Environment;

/// Arguments that reach a RUN without an ARG, and stay out of the history and the cache key.
const PROXIES: [&str; 5] = ["http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy"];

/// Whether `name` is a predefined proxy argument, in either case.
pub(crate) fn is_proxy(name: &str) -> bool {
    PROXIES.iter().any(|proxy| proxy.eq_ignore_ascii_case(name))
}

/// What FROM may refer to: the platforms' parts, the target's name, then the global ARGs.
///
/// # Errors
/// The ARG whose default cannot be expanded.
pub(crate) fn globals(
    dockerfile: &Dockerfile,
    build_args: &BTreeMap<String, String>,
    target_platform: &Platform,
    target_name: &str,
) -> Result<Environment, Diagnostic> {
    let mut environment = predefined(build_args, target_platform, target_name);
    for (arg, _) in &dockerfile.global_args {
        let value = match (build_args.get(&arg.name), &arg.default) {
            (Some(value), _) => Some(value.clone()),
            (None, Some(default)) => {
                let lookup = |name: &str| environment.get(name).map(str::to_owned);
                let expanded = Expander::new(dockerfile.directives.escape, &lookup).word(default);
                Some(expanded.map_err(|error| Diagnostic::error(arg.span, error.to_string()))?.text)
            }
            (None, None) => None,
        };
        if let Some(value) = value {
            environment.set(&arg.name, &value);
        }
    }
    Ok(environment)
}

/// The arguments that exist without being declared.
pub(crate) fn predefined(
    build_args: &BTreeMap<String, String>,
    target: &Platform,
    target_name: &str,
) -> Environment {
    let build = Platform::host();
    let target_name = if target_name.is_empty() { "default" } else { target_name };
    let mut environment = Environment::new();
    for (name, value) in [
        ("BUILDPLATFORM", build.to_string().as_str()),
        ("BUILDOS", &build.os),
        ("BUILDOSVERSION", ""),
        ("BUILDARCH", &build.architecture),
        ("BUILDVARIANT", build.variant()),
        ("TARGETPLATFORM", &target.to_string()),
        ("TARGETOS", &target.os),
        ("TARGETOSVERSION", ""),
        ("TARGETARCH", &target.architecture),
        ("TARGETVARIANT", target.variant()),
        ("TARGETSTAGE", target_name),
    ] {
        environment.set(name, build_args.get(name).map_or(value, String::as_str));
    }
    environment
}
