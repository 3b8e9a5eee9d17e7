//! Build arguments: the predefined ones and the ARGs before the first FROM.
//!
//! Source: <https://docs.docker.com/reference/dockerfile/#automatic-platform-args-in-the-global-scope>

use std::collections::BTreeMap;

use lbuild_oci::Platform;
use lbuild_parser::expand::{ExpandError, Expander, add_text};
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
) -> Result<Environment, Box<Diagnostic>> {
    let mut environment = predefined(build_args, target_platform, target_name);
    let mut length = 0;
    for (arg, _) in &dockerfile.global_args {
        let failed = |error: ExpandError| Box::new(Diagnostic::error(arg.span, error.to_string()));
        let value = match (build_args.get(&arg.name), &arg.default) {
            (Some(value), _) => Some(value.clone()),
            (None, Some(default)) => {
                let lookup = |name: &str| environment.get(name).map(str::to_owned);
                let expanded = Expander::new(dockerfile.directives.escape, &lookup).word(default);
                Some(expanded.map_err(failed)?.text)
            }
            (None, None) => None,
        };
        if let Some(value) = value {
            add_text(&mut length, &value).map_err(failed)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn value(head: &str, build_args: &[(&str, &str)], name: &str) -> Option<String> {
        let text = format!("{head}\nFROM scratch\n");
        let dockerfile = lbuild_parser::parse(text.as_bytes()).unwrap();
        let platform = "linux/arm/v7".parse().unwrap();
        let globals = globals(&dockerfile, &values(build_args), &platform, "final").unwrap();
        globals.get(name).map(str::to_owned)
    }

    #[test]
    fn proxies_are_known_in_either_case() {
        for (name, expected) in [
            ("http_proxy", true),
            ("HTTPS_PROXY", true),
            ("Ftp_Proxy", true),
            ("no_proxy", true),
            ("ALL_PROXY", true),
            ("MY_HTTP_PROXY", false),
            ("http_proxy_", false),
        ] {
            assert_eq!(is_proxy(name), expected, "{name}");
        }
    }

    #[test]
    fn arguments_before_from_take_the_given_value_or_their_default() {
        for (head, build_args, name, expected) in [
            ("ARG A=1", &[][..], "A", Some("1")),
            ("ARG A=1", &[("A", "2")], "A", Some("2")),
            ("ARG A", &[], "A", None),
            ("ARG A", &[("A", "2")], "A", Some("2")),
            ("ARG A=1\nARG B=${A}x", &[], "B", Some("1x")),
            ("ARG A=1\nARG B=${A}x", &[("A", "2")], "B", Some("2x")),
            ("ARG A=1\nARG A=3", &[], "A", Some("3")),
            ("ARG B=${TARGETARCH}${TARGETVARIANT}", &[], "B", Some("armv7")),
            ("", &[("A", "2")], "A", None),
        ] {
            assert_eq!(value(head, build_args, name).as_deref(), expected, "{head} {build_args:?}");
        }
    }

    #[test]
    fn some_arguments_need_no_declaration() {
        let host = Platform::host();
        for (name, expected) in [
            ("TARGETPLATFORM", "linux/arm/v7"),
            ("TARGETOS", "linux"),
            ("TARGETARCH", "arm"),
            ("TARGETVARIANT", "v7"),
            ("TARGETSTAGE", "final"),
            ("BUILDPLATFORM", &host.to_string()),
            ("BUILDARCH", &host.architecture),
            ("BUILDOSVERSION", ""),
        ] {
            assert_eq!(value("", &[], name).as_deref(), Some(expected), "{name}");
        }
        assert_eq!(value("", &[("TARGETARCH", "mine")], "TARGETARCH").as_deref(), Some("mine"));
    }

    #[test]
    fn a_default_that_cannot_be_expanded_is_told_with_its_place() {
        let dockerfile = lbuild_parser::parse(b"ARG A=${B:?lost}\nFROM scratch\n").unwrap();
        let problem = globals(&dockerfile, &BTreeMap::new(), &Platform::host(), "").unwrap_err();
        assert!(problem.message.contains("lost"), "{}", problem.message);
        assert_eq!(problem.span, Some(dockerfile.global_args[0].0.span));
    }
}
