//! Rules that need the values of variables, and what else only the build knows.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::{Facts, Platform};
use super::findings::{Findings, place};
use super::stage::{State, Walker};
use super::{CheckOptions, Rule};
use crate::expand::{ExpandError, Expanded, Expander, add_text};
use crate::suggest::similar;
use crate::{Diagnostic, Dockerfile, Span, Stage};

type Variables = BTreeMap<String, String>;

/// What `dockerfile` could do better, beyond its own [`warnings`](Dockerfile::warnings).
///
/// `source` is the text that the Dockerfile was parsed from, as [`crate::text`] gives it.
pub fn check(dockerfile: &Dockerfile, source: &str, facts: &dyn Facts) -> Vec<Diagnostic> {
    let mut findings = Findings::new(&dockerfile.check);
    let escape = dockerfile.directives.escape;
    let platform_args = facts.platform_args().into_iter().collect();
    let defaults = global_args(dockerfile, &platform_args, &BTreeMap::new());
    if let Ok(defaults) = defaults {
        invalid_defaults(dockerfile, &defaults, facts, &mut findings);
    }
    let build_args = facts.build_args();
    let Ok(global_args) = global_args(dockerfile, &platform_args, &build_args) else {
        return findings.sorted();
    };
    let mut checker = Checker {
        escape,
        source,
        facts,
        declared: declared(dockerfile, &global_args),
        global_args,
        build_args,
        states: Vec::new(),
        names: BTreeMap::new(),
        findings: &mut findings,
    };
    for (index, stage) in dockerfile.stages.iter().enumerate() {
        let state = checker.stage(index, stage);
        checker.states.push(state);
        checker.names.extend(stage.name.as_deref().map(|name| (name, index)));
    }
    findings.sorted()
}

/// The values of the ARGs before the first FROM, behind those that need no declaration.
fn global_args(
    dockerfile: &Dockerfile,
    platform_args: &Variables,
    build_args: &Variables,
) -> Result<Variables, ExpandError> {
    let mut args = platform_args.clone();
    let mut length = 0;
    for (arg, _) in &dockerfile.global_args {
        let value = match (build_args.get(&arg.name), &arg.default) {
            (Some(value), _) => Some(value.clone()),
            (None, Some(default)) => Some(expand(dockerfile.directives.escape, default, &args)?.text),
            (None, None) => None,
        };
        if let Some(value) = value {
            add_text(&mut length, &value)?;
            args.insert(arg.name.clone(), value);
        }
    }
    Ok(args)
}

fn declared(dockerfile: &Dockerfile, global_args: &Variables) -> BTreeSet<String> {
    let names = dockerfile.global_args.iter().map(|(arg, _)| &arg.name);
    names.chain(global_args.keys()).cloned().collect()
}

/// `InvalidDefaultArgInFrom`.
fn invalid_defaults(
    dockerfile: &Dockerfile,
    defaults: &Variables,
    facts: &dyn Facts,
    findings: &mut Findings<'_>,
) {
    for stage in &dockerfile.stages {
        let Ok(base) = expand(dockerfile.directives.escape, &stage.base, defaults) else { return };
        if base.text.is_empty() || !facts.is_image_name(&base.text) {
            let message =
                format!("Default value for ARG {} results in empty or invalid base image name", stage.base);
            let file_only = CheckOptions::default();
            findings.add(Rule::InvalidDefaultArgInFrom, &file_only, stage.base_span, message);
        }
    }
}

fn expand(escape: char, word: &str, args: &Variables) -> Result<Expanded, ExpandError> {
    Expander::new(escape, &|name| args.get(name).cloned()).word(word)
}

struct Checker<'a, 'f> {
    escape: char,
    source: &'a str,
    facts: &'a dyn Facts,
    /// Names that FROM may use.
    declared: BTreeSet<String>,
    global_args: Variables,
    build_args: Variables,
    /// Of the stages so far. A stage that is not built has none.
    states: Vec<Option<State>>,
    /// The last stage of each name so far.
    names: BTreeMap<&'a str, usize>,
    findings: &'a mut Findings<'f>,
}

impl Checker<'_, '_> {
    fn stage(&mut self, index: usize, stage: &Stage) -> Option<State> {
        let base = expand(self.escape, &stage.base, &self.global_args).ok()?;
        self.undefined_args(&base, stage);
        let platform = self.platform(stage);
        if !self.facts.is_built(index) {
            return None;
        }
        let (mut state, triggers) = match self.names.get(base.text.as_str()) {
            Some(earlier) => {
                let state = self.states.get(*earlier)?.as_ref()?;
                (state.inherited(), state.onbuild.clone())
            }
            None => self.start(index, stage, &base.text, platform),
        };
        let mut walker = Walker {
            source: self.source,
            escape: self.escape,
            facts: self.facts,
            build_args: &self.build_args,
            global_args: &self.global_args,
            findings: self.findings,
        };
        walker.triggers(&triggers, stage.span, &mut state);
        walker.steps(&stage.steps, &mut state);
        Some(state)
    }

    /// The state and the triggers of an image.
    fn start(
        &mut self,
        index: usize,
        stage: &Stage,
        base: &str,
        expected: Option<Platform>,
    ) -> (State, Vec<String>) {
        let mut state = State::default();
        let mut triggers = Vec::new();
        if base != "scratch" {
            let image = self.facts.base_image(index, base);
            state.env_unknown = image.is_none();
            let image = image.unwrap_or_default();
            state.env = image.env.into_iter().collect();
            state.has_shell = image.has_shell;
            triggers = image.onbuild;
            self.base_platform(stage, base, expected, image.platform);
        }
        let path = || "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned();
        state.env.entry("PATH".to_owned()).or_insert_with(path);
        (state, triggers)
    }

    /// `InvalidBaseImagePlatform`.
    fn base_platform(
        &mut self,
        stage: &Stage,
        base: &str,
        expected: Option<Platform>,
        actual: Option<Platform>,
    ) {
        let (Some(expected), Some(actual)) = (expected, actual) else { return };
        if (&expected.os, &expected.architecture) != (&actual.os, &actual.architecture) {
            let message = format!(
                "Base image {base} was pulled with platform \"{}\", expected \"{}\" for current build",
                actual.text, expected.text
            );
            let file_only = CheckOptions::default();
            self.findings.add(Rule::InvalidBaseImagePlatform, &file_only, stage.base_span, message);
        }
    }

    /// The platform that the stage's image should have.
    fn platform(&mut self, stage: &Stage) -> Option<Platform> {
        let Some(written) = &stage.platform else { return self.facts.platform(None) };
        let expanded = expand(self.escape, written, &self.global_args).ok()?;
        self.undefined_args(&expanded, stage);
        self.redundant_platform(written, &expanded, stage);
        let platform = self.facts.platform(Some(&expanded.text));
        self.constant_platform(&expanded, platform.as_ref(), stage);
        platform
    }

    /// `UndefinedArgInFrom`.
    fn undefined_args(&mut self, expanded: &Expanded, stage: &Stage) {
        for name in expanded.unmatched.iter().filter(|name| !self.declared.contains(*name)) {
            let mut message = format!("FROM argument '{name}' is not declared");
            if let Some(similar) = similar(name, self.declared.iter().map(String::as_str)) {
                message.push_str(&format!(" (did you mean {similar}?)"));
            }
            let span = place::of_variable(self.source, stage.span, name);
            self.findings.add(Rule::UndefinedArgInFrom, &stage.check, span, message);
        }
    }

    /// `RedundantTargetPlatform`.
    fn redundant_platform(&mut self, written: &str, expanded: &Expanded, stage: &Stage) {
        let name = "TARGETPLATFORM";
        let only_it = expanded.unmatched.is_empty() && expanded.used.iter().eq([name]);
        if only_it && self.global_args.get(name) == Some(&expanded.text) {
            let message = format!(
                "Setting platform to predefined {written} in FROM is redundant as this is the default behavior"
            );
            self.findings.add(Rule::RedundantTargetPlatform, &stage.check, self.flag(stage), message);
        }
    }

    /// `FromPlatformFlagConstDisallowed`, unless the stage's name tells the platform.
    fn constant_platform(&mut self, expanded: &Expanded, platform: Option<&Platform>, stage: &Stage) {
        let Some(platform) = platform else { return };
        let name = stage.name.as_deref().unwrap_or_default();
        let is_constant = expanded.used.is_empty() && expanded.unmatched.is_empty();
        if is_constant && !name.contains(&platform.os) && !name.contains(&platform.architecture) {
            let message = format!("FROM --platform flag should not use constant value \"{}\"", expanded.text);
            self.findings.add(Rule::FromPlatformFlagConstDisallowed, &stage.check, self.flag(stage), message);
        }
    }

    /// Where `--platform` stands.
    fn flag(&self, stage: &Stage) -> Span {
        place::of_word(self.source, stage.span, "--platform")
    }
}

#[cfg(test)]
mod tests;
