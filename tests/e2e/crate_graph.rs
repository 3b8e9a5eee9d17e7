//! Holds the workspace to its crate graph: a new edge is a design decision.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Which of our crates each of them may depend on.
const ALLOWED: [(&str, &[&str]); 16] = [
    ("parser", &[]),
    ("oci", &[]),
    ("confined", &[]),
    ("docker", &[]),
    ("registry", &["oci"]),
    ("archive", &["confined"]),
    ("runner", &["confined"]),
    ("build-context", &["archive", "confined", "oci"]),
    ("layer-store", &["archive", "confined", "oci"]),
    ("importer", &["archive", "confined", "docker", "layer-store", "oci", "registry"]),
    ("exporter", &["archive", "confined", "docker", "layer-store", "oci", "registry"]),
    ("shared-cache", &["exporter", "layer-store", "oci", "registry"]),
    (
        "builder",
        &[
            "archive",
            "build-context",
            "confined",
            "importer",
            "layer-store",
            "oci",
            "parser",
            "registry",
            "runner",
            "shared-cache",
        ],
    ),
    (
        "cli",
        &[
            "build-context",
            "builder",
            "docker",
            "exporter",
            "importer",
            "layer-store",
            "oci",
            "parser",
            "registry",
            "runner",
            "shared-cache",
        ],
    ),
    ("tests", &[]),
    ("xtask", &[]),
];

#[test]
fn no_crate_depends_on_another_than_the_design_allows() {
    let allowed: BTreeMap<&str, BTreeSet<&str>> =
        ALLOWED.iter().map(|(name, edges)| (*name, edges.iter().copied().collect())).collect();
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap();
    for package in packages {
        let name = short(package["name"].as_str().unwrap());
        let Some(allowed) = allowed.get(name) else {
            panic!("the crate {name} is not in the list of crates: add it with its edges");
        };
        for dependency in package["dependencies"].as_array().unwrap() {
            // A dependency of ours has a path. Tests of a crate may use what the crate may not.
            if dependency["path"].is_null() || dependency["kind"] == "dev" {
                continue;
            }
            let edge = short(dependency["name"].as_str().unwrap());
            assert!(allowed.contains(edge), "{name} must not depend on {edge}");
        }
    }
    assert_eq!(packages.len(), ALLOWED.len(), "a crate in the list is gone");
}

fn metadata() -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
    let output = Command::new(cargo)
        .current_dir(lbuild_tests::workspace())
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A crate's name as its folder has it.
fn short(package: &str) -> &str {
    package.strip_prefix("lbuild-").unwrap_or(package)
}
