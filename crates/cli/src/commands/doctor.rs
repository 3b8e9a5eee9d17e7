//! `lbuild doctor`.

use std::io::{self, Write};

use lbuild_runner::{Feature, Standing};
use serde_json::json;

use crate::args::{DoctorArgs, GlobalArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::root;

/// Tells how builds run here, what is missing for more, and how to have it.
pub fn run(global: &GlobalArgs, args: &DoctorArgs) -> Result<(), Failure> {
    let store = root::path(global)?;
    lbuild_layer_store::check_owner(&store)?;
    let standing = lbuild_runner::foretell();
    let try_overlay = || lbuild_layer_store::try_overlay(&store);
    let findings = lbuild_runner::examine(&store, &try_overlay);
    let mut out = io::stdout().lock();
    if args.json {
        let features = findings.iter().map(|finding| {
            let cause = finding.cause.as_ref();
            json!({
                "feature": name(finding.feature),
                "works": cause.is_none(),
                "cause": cause.map(|cause| &cause.what),
                "instead": cause.map(|_| instead(finding.feature, standing)),
                "mend": cause.map(|cause| &cause.mend).filter(|mend| !mend.is_empty()),
            })
        });
        let report = json!({ "mode": standing.map(mode), "features": features.collect::<Vec<_>>() });
        writeln!(out, "{report:#}")?;
    } else {
        match standing {
            Some(standing) => writeln!(out, "Builds run {}.\n", describe(standing))?,
            None => writeln!(out, "Nothing can be built here.\n")?,
        }
        for finding in &findings {
            match &finding.cause {
                None => writeln!(out, "works    {}", name(finding.feature))?,
                Some(cause) => {
                    writeln!(out, "missing  {}: {}", name(finding.feature), cause.what)?;
                    writeln!(out, "         instead: {}", instead(finding.feature, standing))?;
                    if !cause.mend.is_empty() {
                        writeln!(out, "         to have it: {}", cause.mend)?;
                    }
                }
            }
        }
    }
    if standing.is_none() { Err(Failure::Reported(Exit::Failed)) } else { Ok(()) }
}

fn mode(standing: Standing) -> &'static str {
    match standing {
        Standing::Root => "root",
        Standing::ManyIds => "user-namespace",
        Standing::SingleId => "single-id",
        Standing::Bare => "chroot",
    }
}

fn describe(standing: Standing) -> &'static str {
    match standing {
        Standing::Root => "as root, each RUN in namespaces of its own",
        Standing::ManyIds => "in a user namespace with many ids: the images are those that root builds",
        Standing::SingleId => "in a user namespace with one id: other owners are remembered",
        Standing::Bare => "without namespaces and mounts: each RUN is kept apart by chroot alone",
    }
}

fn name(feature: Feature) -> &'static str {
    match feature {
        Feature::ConfinedPaths => "openat2",
        Feature::UserNamespace => "user namespaces",
        Feature::Mounts => "mounts in a user namespace",
        Feature::SubordinateIds => "subordinate ids",
        Feature::IdPrograms => "newuidmap and newgidmap",
        Feature::NotedOwners => "seccomp user notification",
        Feature::Proc => "a new /proc",
        Feature::Overlay => "overlays in a user namespace",
        Feature::ControlGroup => "control groups",
        Feature::Fuse => "/dev/fuse",
    }
}

/// What lbuild does without a feature.
fn instead(feature: Feature, standing: Option<Standing>) -> &'static str {
    match feature {
        Feature::ConfinedPaths => "nothing: lbuild needs it",
        _ if standing == Some(Standing::Root) && feature != Feature::ControlGroup => {
            "nothing else: root does not need it"
        }
        Feature::UserNamespace | Feature::Mounts if standing == Some(Standing::Bare) => {
            "trees are copied, and a RUN is kept apart by chroot alone"
        }
        Feature::UserNamespace | Feature::Mounts => "nothing: only root can build",
        Feature::SubordinateIds | Feature::IdPrograms => "one id; other owners are remembered",
        Feature::NotedOwners => "nothing: without subordinate ids there is no build",
        Feature::Proc => "a RUN sees the container's /proc",
        Feature::Overlay => "each step works in memory, or in a copy of its layers",
        Feature::ControlGroup => "builds with --memory, --cpus or --pids-limit fail",
        Feature::Fuse => "nothing else: where the kernel mounts no overlay, trees are copied",
    }
}
