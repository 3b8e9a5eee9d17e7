//! Images that a Dockerfile names, looked up in the store.

use std::collections::BTreeMap;

use lbuild_layer_store::{ImageRecord, Store};
use lbuild_oci::{ImageConfig, Platform, Reference};
use lbuild_parser::{Diagnostic, Span, Step};

use crate::BuildError;
use crate::plan::{Base, Origin, Plan, PlanError};
use crate::request::{BuildRequest, NamedContext};

/// The configurations of all images that the needed stages name, by name and platform.
pub(crate) type Images = BTreeMap<(String, Platform), ImageConfig>;

/// What becomes of an image that is not in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// It is an error.
    Refuse,
    /// Nothing is known of it.
    Ignore,
}

/// Looks up every image that the target needs. ONBUILD triggers join their stage's steps, which may
/// add stages and images to look up.
///
/// # Errors
/// An image that is not there or is for another platform, or a trigger that is no instruction.
pub(crate) fn resolve(
    store: &Store,
    request: &BuildRequest,
    plan: &mut Plan,
    missing: Missing,
) -> Result<Images, BuildError> {
    let mut resolver = Resolver { store, request, missing, images: Images::new() };
    let named = request.named_contexts.keys().cloned().collect();
    let mut seen = std::collections::BTreeSet::new();
    // A trigger may need further stages, so the set is computed again until nothing is new.
    loop {
        let new: Vec<usize> = plan.needed().difference(&seen).copied().collect();
        if new.is_empty() {
            break;
        }
        for stage in new {
            seen.insert(stage);
            let triggers = resolver.base_triggers(plan, stage)?;
            if !triggers.is_empty() {
                let steps = parse_triggers(&triggers, plan.stages[stage].span)?;
                plan.add_triggers(stage, steps, &named)
                    .map_err(|problem| BuildError::Dockerfile(vec![*problem]))?;
            }
            resolver.origins(plan, stage)?;
        }
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
    missing: Missing,
    images: Images,
}

impl Resolver<'_> {
    /// Looks up the stage's base; returns its ONBUILD triggers.
    fn base_triggers(&mut self, plan: &Plan, stage: usize) -> Result<Vec<String>, BuildError> {
        let planned = &plan.stages[stage];
        let platform = stage_platform(self.request, planned.platform.as_ref());
        let is_chosen = planned.platform.is_some();
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
                let config = self.look_up(name, &platform, is_chosen, planned.base_span)?;
                Ok(config.map_or_else(Vec::new, |config| config.config.on_build))
            }
            Base::Named(name) => match self.request.named_contexts.get(name) {
                Some(NamedContext::Image(image)) => {
                    let config = self.look_up(image, &platform, is_chosen, planned.base_span)?;
                    let config = config.filter(|_| !planned.is_replaced);
                    Ok(config.map_or_else(Vec::new, |config| config.config.on_build))
                }
                _ => Ok(Vec::new()),
            },
        }
    }

    /// Looks up the images that the stage copies or mounts from.
    fn origins(&mut self, plan: &Plan, stage: usize) -> Result<(), BuildError> {
        let planned = &plan.stages[stage];
        // As in BuildKit, `--from=IMAGE` is for the target, whatever the stage is for.
        let platform = stage_platform(self.request, None);
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
                self.look_up(name, &platform, false, place)?;
            }
        }
        Ok(())
    }

    /// The configuration of an image; `None` if it is not in the store and need not be. One for another
    /// platform serves unless the stage or the command line chose the platform.
    fn look_up(
        &mut self,
        name: &str,
        platform: &Platform,
        is_chosen: bool,
        span: Span,
    ) -> Result<Option<ImageConfig>, BuildError> {
        let entry = (name.to_owned(), platform.clone());
        if let Some(config) = self.images.get(&entry) {
            return Ok(Some(config.clone()));
        }
        let record = match self.find(name, platform, span)? {
            Some(record) => record,
            None if self.missing == Missing::Ignore => return Ok(None),
            None => return Err(no_such_image(name, span)),
        };
        let is_asked = is_chosen || self.request.platform.is_some();
        if record.platform != *platform && is_asked && self.missing == Missing::Refuse {
            return Err(BuildError::WrongPlatform {
                name: name.to_owned(),
                found: Box::new(record.platform),
                wanted: Box::new(platform.clone()),
                span: Some(span),
            });
        }
        let (config, _) = self.store.image_config(&record.id)?;
        self.images.insert(entry, config.clone());
        Ok(Some(config))
    }

    /// A look at a Dockerfile brings in no image.
    fn find(&self, name: &str, platform: &Platform, span: Span) -> Result<Option<ImageRecord>, BuildError> {
        match &self.request.images {
            Some(images) if self.missing == Missing::Refuse => images
                .find(self.store, name, platform)
                .map_err(|source| BuildError::Image { name: name.to_owned(), span, source }),
            _ => Ok(self.store.find(name)?),
        }
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
        // Its words stand in the image's configuration, not in the file.
        steps.push(Step { span: place, words: Vec::new(), ..step });
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use lbuild_parser::Instruction;

    use super::*;
    use crate::testing::Bed;

    fn arm() -> Platform {
        "linux/arm64".parse().unwrap()
    }

    #[test]
    fn images_are_found_under_the_platform_of_their_stage() {
        let bed = Bed::new("FROM a\nCOPY --from=b /x /\nRUN --mount=from=c,target=/m true\n");
        for name in ["a", "b", "c", "unused"] {
            bed.add_image(name, &Platform::host(), |_| {});
        }
        let prepared = bed.prepare().unwrap();
        let names: Vec<&str> = prepared.images.keys().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"]);
    }

    #[test]
    fn an_image_that_replaces_a_stage_is_found_and_has_no_triggers() {
        let mut bed = Bed::new("FROM a AS x\nRUN true\nFROM x\n");
        bed.request.named_contexts.insert("x".into(), NamedContext::Image("b".into()));
        bed.add_image("b", &Platform::host(), |config| config.config.on_build = vec!["RUN false".into()]);
        let prepared = bed.prepare().unwrap();
        let names: Vec<&str> = prepared.images.keys().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["b"]);
        assert!(prepared.plan.stages[0].tasks.is_empty());
    }

    #[test]
    fn an_image_that_is_not_in_the_store_is_told_with_its_place() {
        for (text, name) in [
            ("FROM nowhere:1\n", "nowhere:1"),
            ("FROM scratch\nCOPY --from=nowhere /x /\n", "nowhere"),
            ("FROM scratch AS a\nFROM gone AS b\nFROM scratch\nCOPY --from=b /x /\n", "gone"),
        ] {
            let bed = Bed::new(text);
            match bed.prepare().map(drop) {
                Err(BuildError::NoSuchImage { name: found, span: Some(span) }) => {
                    assert_eq!(found, name, "{text}");
                    assert!(text[span.range()].contains(name), "{text}");
                }
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn an_image_that_no_needed_stage_uses_may_be_missing() {
        assert!(Bed::new("FROM nowhere AS unused\nFROM scratch\n").prepare().is_ok());
    }

    #[test]
    fn a_name_that_no_image_can_have_is_the_dockerfiles_mistake() {
        match Bed::new("FROM UPPER\n").prepare().map(drop) {
            Err(BuildError::Dockerfile(problems)) => assert!(problems[0].help.is_some(), "{problems:?}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_image_for_another_platform_is_refused_where_a_platform_is_asked_for() {
        let host = || Some(Platform::host());
        for (from, asked, is_refused) in [
            ("FROM a", None, false),
            ("FROM a", host(), true),
            ("FROM a", Some(arm()), false),
            ("FROM --platform=linux/arm64 a", None, false),
            ("FROM --platform=linux/arm64 a", host(), false),
            ("FROM --platform=linux/s390x a", None, true),
        ] {
            let mut bed = Bed::new(&format!("{from}\n"));
            bed.add_image("a", &arm(), |_| {});
            bed.request.platform.clone_from(&asked);
            let result = bed.prepare().map(drop);
            let refused = matches!(result, Err(BuildError::WrongPlatform { .. }));
            assert_eq!(refused, is_refused, "{from} {asked:?}: {result:?}");
        }
    }

    #[test]
    fn triggers_of_images_and_of_stages_join_the_steps_and_what_is_needed() {
        let bed = Bed::new("FROM scratch AS extra\nFROM a AS own\nONBUILD WORKDIR /w\nFROM own\n");
        bed.add_image("a", &Platform::host(), |config| {
            config.config.on_build = vec!["COPY --from=extra /x /".into()];
        });
        let plan = bed.prepare().unwrap().plan;
        let steps = |stage: usize| {
            let tasks = plan.stages[stage].tasks.iter();
            tasks.map(|task| (task.trigger, task.step.text.clone())).collect::<Vec<_>>()
        };
        assert_eq!(steps(1)[0], (true, "COPY --from=extra /x /".to_owned()));
        assert_eq!(steps(2), [(true, "WORKDIR /w".to_owned())], "an image's triggers run once");
        assert!(matches!(plan.stages[2].tasks[0].step.instruction, Instruction::Workdir(_)));
        assert_eq!(plan.needed().len(), 3);
    }

    #[test]
    fn a_trigger_that_is_no_instruction_is_told() {
        let bed = Bed::new("FROM a\n");
        bed.add_image("a", &Platform::host(), |config| config.config.on_build = vec!["DANCE".into()]);
        match bed.prepare().map(drop) {
            Err(BuildError::Dockerfile(problems)) => {
                assert!(problems[0].message.contains("\"DANCE\""), "{problems:?}");
            }
            other => panic!("{other:?}"),
        }
    }
}
