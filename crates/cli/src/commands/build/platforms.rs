//! `--platform`: one build, or one for each platform.

use std::collections::BTreeSet;

use lbuild_builder::BuildRequest;
use lbuild_oci::Platform;

use crate::args::{AnnotationTarget, BuildArgs};
use crate::contexts::Contexts;
use crate::failure::Failure;

/// Leaves each platform once, and gives the outputs what belongs to the index of several.
pub fn settle(args: &mut BuildArgs) {
    let mut seen = BTreeSet::new();
    args.platforms.retain(|platform| seen.insert(platform.clone()));
    for annotation in args.annotations.iter().filter(|one| one.targets.contains(&AnnotationTarget::Index)) {
        for output in &mut args.outputs {
            output.index_annotations.insert(annotation.key.clone(), annotation.value.clone());
        }
    }
}

/// The builds that are asked for: `request`, for each platform.
///
/// # Errors
/// A context that cannot be fetched.
pub fn requests(
    request: &BuildRequest,
    contexts: &Contexts<'_>,
    args: &BuildArgs,
) -> Result<Vec<BuildRequest>, Failure> {
    let of_platform = |platform: Option<&Platform>| {
        let named = args.build_contexts.iter();
        let named = named.map(|(name, source)| Ok((name.clone(), contexts.named(source, platform)?)));
        let named_contexts = named.collect::<Result<_, Failure>>()?;
        Ok(BuildRequest { platform: platform.cloned(), named_contexts, ..request.clone() })
    };
    if args.platforms.is_empty() {
        return Ok(vec![of_platform(None)?]);
    }
    args.platforms.iter().map(|platform| of_platform(Some(platform))).collect()
}

/// What stands before all that is told of `request`, if it is one of several.
pub fn heading(all: &[BuildRequest], request: &BuildRequest) -> Option<String> {
    let platform = request.platform.as_ref().filter(|_| all.len() > 1)?;
    Some(format!("== {platform}"))
}
