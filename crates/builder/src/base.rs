//! Images that a Dockerfile names, looked up in the store.

use std::collections::BTreeMap;

use lbuild_layer_store::Store;
use lbuild_oci::{ImageConfig, Platform, Reference};
use lbuild_parser::{Diagnostic, Dockerfile, Span, Step};

use crate::BuildError;
use crate::plan::{Base, Origin, Plan, PlanError};
use crate::request::{BuildRequest, NamedContext};

/// The configurations of all images that the needed stages name, by name and platform.
pub(crate) type Images = BTreeMap<(String, Platform), ImageConfig>;

/// Looks up every image that the target needs. ONBUILD triggers join their stage's steps, which may
/// add stages and images to look up.
///
/// # Errors
/// An image that is not there or is for another platform, or a trigger that is no instruction.
pub(crate) fn resolve(
    store: &Store,
    request: &BuildRequest,
    dockerfile: &Dockerfile,
    plan: &mut Plan,
) -> Result<Images, BuildError> {
    let mut resolver = Resolver { store, request, images: Images::new() };
    let named = request.named_contexts.keys().cloned().collect();
    let mut seen = std::collections::BTreeSet::new();
    // A trigger may need further stages, so the set is computed again until nothing is new.
    while let Some(stage) = plan.needed().into_iter().find(|stage| !seen.contains(stage)) {
        seen.insert(stage);
        let triggers = resolver.base_triggers(plan, stage)?;
        if !triggers.is_empty() {
            let steps = parse_triggers(&triggers, plan.stages[stage].span)?;
            plan.add_triggers(dockerfile, stage, steps, &named)
                .map_err(|problem| BuildError::Dockerfile(vec![problem]))?;
        }
        resolver.origins(plan, stage)?;
    }
    plan.refuse_forward_uses().map_err(|error| match error {
        PlanError::Dockerfile(problems) => BuildError::Dockerfile(problems),
        PlanError::NoSuchTarget(name) => BuildError::NoSuchTarget { name, stages: Vec::new() },
    })?;
    Ok(resolver.images)
}

/// The platform of a stage: its own, or the one that the build is for.
pub(crate) fn stage_platform(request: &BuildRequest, own: Option<&Platform>) -> Platform {
    own.or(request.platform.as_ref()).cloned().unwrap_or_else(Platform::host)
}

struct Resolver<'a> {
    store: &'a Store,
    request: &'a BuildRequest,
    images: Images,
}

impl Resolver<'_> {
    /// Looks up the stage's base; returns its ONBUILD triggers.
    fn base_triggers(&mut self, plan: &Plan, stage: usize) -> Result<Vec<String>, BuildError> {
        let planned = &plan.stages[stage];
        let platform = stage_platform(self.request, planned.platform.as_ref());
        match &planned.base {
            Base::Scratch => Ok(Vec::new()),
            Base::Stage(parent) => Ok(plan.stages[*parent]
                .tasks
                .iter()
                .filter_map(|task| match &task.step.instruction {
                    lbuild_parser::Instruction::Onbuild(trigger) => Some(trigger.text.clone()),
                    _ => None,
                })
                .collect()),
            Base::Image(name) => {
                let config = self.look_up(name, &platform, planned.base_span)?;
                Ok(config.config.on_build.clone())
            }
            Base::Named(name) => match self.request.named_contexts.get(name) {
                Some(NamedContext::Image(image)) => {
                    let config = self.look_up(&image.clone(), &platform, planned.base_span)?;
                    Ok(config.config.on_build.clone())
                }
                _ => Ok(Vec::new()),
            },
        }
    }

    /// Looks up the images that the stage copies or mounts from.
    fn origins(&mut self, plan: &Plan, stage: usize) -> Result<(), BuildError> {
        let planned = &plan.stages[stage];
        let platform = stage_platform(self.request, planned.platform.as_ref());
        for task in &planned.tasks {
            let place = if task.trigger { planned.span } else { task.step.span };
            for origin in &task.origins {
                let name = match origin {
                    Origin::Image(name) => name,
                    Origin::Named(name) => match self.request.named_contexts.get(name) {
                        Some(NamedContext::Image(image)) => image,
                        _ => continue,
                    },
                    Origin::Context | Origin::Empty | Origin::Stage(_) => continue,
                };
                self.look_up(&name.clone(), &platform, place)?;
            }
        }
        Ok(())
    }

    fn look_up(&mut self, name: &str, platform: &Platform, span: Span) -> Result<ImageConfig, BuildError> {
        let entry = (name.to_owned(), platform.clone());
        if let Some(config) = self.images.get(&entry) {
            return Ok(config.clone());
        }
        let record = self.store.find(name)?.ok_or_else(|| no_such_image(name, span))?;
        if record.platform != *platform && self.request.platform.is_some() {
            return Err(BuildError::WrongPlatform {
                name: name.to_owned(),
                found: record.platform,
                wanted: platform.clone(),
                span: Some(span),
            });
        }
        let (config, _) = self.store.image_config(&record.id)?;
        self.images.insert(entry, config.clone());
        Ok(config)
    }
}

fn no_such_image(name: &str, span: Span) -> BuildError {
    match name.parse::<Reference>() {
        Ok(_) => BuildError::NoSuchImage { name: name.to_owned(), span: Some(span) },
        Err(error) => BuildError::Dockerfile(vec![
            Diagnostic::error(span, error.to_string()).help("write NAME[:TAG], such as debian:12"),
        ]),
    }
}

fn parse_triggers(triggers: &[String], place: Span) -> Result<Vec<Step>, BuildError> {
    let mut steps = Vec::new();
    for trigger in triggers {
        // A trigger is an instruction of its own, parsed without directives.
        let step = lbuild_parser::parse_onbuild(trigger, '\\').map_err(|problems| {
            let reasons: Vec<String> = problems.into_iter().map(|problem| problem.message).collect();
            let message =
                format!("the base's ONBUILD trigger {trigger:?} is invalid: {}", reasons.join("; "));
            BuildError::Dockerfile(vec![Diagnostic::error(place, message)])
        })?;
        steps.push(Step { span: place, ..step });
    }
    Ok(steps)
}
