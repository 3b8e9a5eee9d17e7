//! Build checks: what the Dockerfile could do better, told with what only the build knows.

use std::collections::{BTreeMap, BTreeSet};

use lbuild_oci::{Platform, Reference};
use lbuild_parser::Diagnostic;
use lbuild_parser::lint::{self, BaseImage, Facts};

use crate::arguments::predefined;
use crate::base::{Images, stage_platform};
use crate::context::Contexts;
use crate::plan::Plan;
use crate::prepared::Prepared;
use crate::request::BuildRequest;

/// All findings, those of the parser first.
pub(crate) fn findings(
    request: &BuildRequest,
    prepared: &Prepared,
    contexts: &Contexts<'_>,
) -> Vec<Diagnostic> {
    let Prepared { dockerfile, plan, images, .. } = prepared;
    let facts = BuildFacts { request, plan, images, contexts, needed: plan.needed() };
    let text = lbuild_parser::text(&request.dockerfile);
    let mut findings = dockerfile.warnings.clone();
    findings.extend(lint::check(dockerfile, &text, &facts));
    findings
}

struct BuildFacts<'a> {
    request: &'a BuildRequest,
    plan: &'a Plan,
    images: &'a Images,
    contexts: &'a Contexts<'a>,
    needed: BTreeSet<usize>,
}

impl Facts for BuildFacts<'_> {
    fn build_args(&self) -> BTreeMap<String, String> {
        self.request.build_args.clone()
    }

    fn platform_args(&self) -> Vec<(String, String)> {
        let platform = stage_platform(self.request, None);
        let target = self.request.target.as_deref().unwrap_or_default();
        let predefined = predefined(&self.request.build_args, &platform, target);
        predefined.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    fn is_built(&self, stage: usize) -> bool {
        self.needed.contains(&stage)
    }

    fn base_image(&self, stage: usize, name: &str) -> Option<BaseImage> {
        let planned = self.plan.stages.get(stage)?;
        let platform = stage_platform(self.request, planned.platform.as_ref());
        let config = self.images.get(&(name.to_owned(), platform))?;
        let pair = |entry: &String| {
            let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
            (name.to_owned(), value.to_owned())
        };
        Some(BaseImage {
            env: config.config.env.iter().map(pair).collect(),
            has_shell: config.config.shell.as_ref().is_some_and(|shell| !shell.is_empty()),
            onbuild: config.config.on_build.clone(),
            platform: Some(shown(&config.platform())),
        })
    }

    fn platform(&self, text: Option<&str>) -> Option<lint::Platform> {
        match text {
            None => Some(shown(&stage_platform(self.request, None))),
            Some(text) => text.parse::<Platform>().ok().as_ref().map(shown),
        }
    }

    fn is_image_name(&self, name: &str) -> bool {
        name.parse::<Reference>().is_ok()
    }

    fn is_ignored(&self, path: &str) -> bool {
        self.contexts.hides(path)
    }
}

fn shown(platform: &Platform) -> lint::Platform {
    lint::Platform {
        os: platform.os.clone(),
        architecture: platform.architecture.clone(),
        text: platform.to_string(),
    }
}
