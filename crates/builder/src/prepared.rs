//! A Dockerfile made ready to be built: parsed, planned, its images looked up.

use std::collections::BTreeSet;

use lbuild_layer_store::Store;
use lbuild_oci::Platform;
use lbuild_parser::lint::CheckOptions;
use lbuild_parser::{Diagnostic, Dockerfile};

use crate::BuildError;
use crate::base::{self, Images, Missing};
use crate::environment::Environment;
use crate::plan::{Plan, PlanError, PlanInput};
use crate::request::BuildRequest;

/// The build argument that stands in for the Dockerfile's own `# check=`.
const CHECK_ARGUMENT: &str = "BUILDKIT_DOCKERFILE_CHECK";

/// What the preparation is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// A build: every image that the target needs must be there.
    Build,
    /// A look at what the target needs; images may be missing.
    Outline,
    /// A look at every stage unless a target is named; images may be missing.
    Check,
}

/// What a build knows before its first step.
pub(crate) struct Prepared {
    /// What the Dockerfile says.
    pub dockerfile: Dockerfile,
    /// What FROM may refer to.
    pub globals: Environment,
    /// The stages and what they need.
    pub plan: Plan,
    /// Images that the needed stages name.
    pub images: Images,
}

impl Prepared {
    /// Reads and plans what `request` asks for, and looks up its images.
    ///
    /// # Errors
    /// Every independent problem of the Dockerfile, a target that is not there, and for a build also
    /// images that are not.
    pub fn new(store: &Store, request: &BuildRequest, scope: Scope) -> Result<Self, BuildError> {
        let check = check_options(request)?;
        let dockerfile =
            lbuild_parser::parse_with(&request.dockerfile, check.as_ref()).map_err(BuildError::Dockerfile)?;
        let globals = globals(request, &dockerfile)?;
        let mut plan = plan(request, &dockerfile, &globals)?;
        plan.needs_all = scope == Scope::Check && request.target.is_none();
        let missing = if scope == Scope::Build { Missing::Refuse } else { Missing::Ignore };
        let images = base::resolve(store, request, &mut plan, missing)?;
        Ok(Self { dockerfile, globals, plan, images })
    }
}

fn check_options(request: &BuildRequest) -> Result<Option<CheckOptions>, BuildError> {
    let Some(text) = request.build_args.get(CHECK_ARGUMENT) else { return Ok(None) };
    CheckOptions::parse(text).map(Some).map_err(|error| {
        let message = format!("the build argument {CHECK_ARGUMENT}: {error}");
        let help = "write skip=RULE,RULE;error=true;experimental=RULE, or skip=all";
        BuildError::Dockerfile(vec![Diagnostic::file_error(message).help(help)])
    })
}

fn globals(request: &BuildRequest, dockerfile: &Dockerfile) -> Result<Environment, BuildError> {
    let platform = request.platform.clone().unwrap_or_else(Platform::host);
    let last = dockerfile.stages.last().and_then(|stage| stage.name.as_deref());
    let target = request.target.as_deref().or(last).unwrap_or_default();
    crate::arguments::globals(dockerfile, &request.build_args, &platform, target)
        .map_err(|problem| BuildError::Dockerfile(vec![*problem]))
}

fn plan(request: &BuildRequest, dockerfile: &Dockerfile, globals: &Environment) -> Result<Plan, BuildError> {
    let named: BTreeSet<String> = request.named_contexts.keys().cloned().collect();
    let input = PlanInput { globals, named: &named, target: request.target.as_deref() };
    Plan::new(dockerfile, &input).map_err(|error| match error {
        PlanError::Dockerfile(problems) => BuildError::Dockerfile(problems),
        PlanError::NoSuchTarget(name) => {
            let stages = dockerfile.stages.iter().filter_map(|stage| stage.name.clone()).collect();
            BuildError::NoSuchTarget { name, stages }
        }
    })
}
