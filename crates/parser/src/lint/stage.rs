//! What is known at one step of a stage.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use regex::Regex;

use super::Rule;
use super::facts::Facts;
use super::findings::{Findings, place};
use crate::expand::{Expanded, Expander};
use crate::expose::Ports;
use crate::suggest::similar;
use crate::{Add, Arg, CommandLine, Copy, Instruction, Mount, Pair, Source, Span, Step, parse_onbuild};

#[allow(clippy::unwrap_used)] // A constant.
static SECRET: LazyLock<Regex> = LazyLock::new(|| {
    let words = "apikey|auth|credential|credentials|key|password|pword|passwd|secret|token";
    Regex::new(&format!("(?i)(?:_|^)(?:{words})(?:_|$)")).unwrap()
});

#[allow(clippy::unwrap_used)] // A constant.
static NO_SECRET: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("(?i)(?:_|^)(?:public|file|version)(?:_|$)").unwrap());

/// Arguments that never become variables.
const NO_VARIABLES: [&str; 2] = ["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"];

/// A stage while its steps are looked at. A stage that starts from it takes over a copy.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    pub(super) env: BTreeMap<String, String>,
    /// The base image is not known, so any variable may be set.
    pub(super) env_unknown: bool,
    pub(super) has_shell: bool,
    /// Names of ARGs, with or without a value.
    args: BTreeSet<String>,
    workdir_set: bool,
    /// The last CMD, ENTRYPOINT and HEALTHCHECK of this stage, by name.
    last: BTreeMap<&'static str, Span>,
    /// Triggers for stages that start from this one.
    pub(super) onbuild: Vec<String>,
}

/// Looks at steps.
pub(super) struct Walker<'a, 'f> {
    pub(super) source: &'a str,
    pub(super) escape: char,
    pub(super) facts: &'a dyn Facts,
    pub(super) build_args: &'a BTreeMap<String, String>,
    pub(super) global_args: &'a BTreeMap<String, String>,
    pub(super) findings: &'a mut Findings<'f>,
}

/// The step that is looked at.
struct Place<'a> {
    step: &'a Step,
    span: Span,
}

impl State {
    /// What a stage knows that starts from this one.
    pub(super) fn inherited(&self) -> Self {
        Self { last: BTreeMap::new(), onbuild: Vec::new(), ..self.clone() }
    }

    fn get(&self, name: &str) -> Option<String> {
        self.env.get(name).cloned()
    }

    fn set(&mut self, name: &str, value: String) {
        self.env.insert(name.to_owned(), value);
    }
}

impl Walker<'_, '_> {
    /// Looks at triggers, whose place is the FROM that sets them off.
    pub(super) fn triggers(&mut self, triggers: &[String], from: Span, state: &mut State) {
        for trigger in triggers {
            let Ok(step) = parse_onbuild(trigger, '\\') else { continue };
            self.step(&Place { step: &step, span: from }, state);
        }
    }

    /// Looks at the steps of a stage.
    pub(super) fn steps(&mut self, steps: &[Step], state: &mut State) {
        for step in steps {
            self.step(&Place { step, span: step.span }, state);
        }
    }

    fn step(&mut self, place: &Place<'_>, state: &mut State) {
        match &place.step.instruction {
            Instruction::Add(add) => self.add(add, place, state),
            Instruction::Arg(args) => args.iter().for_each(|arg| self.arg(arg, place, state)),
            Instruction::Cmd(command) => self.command("CMD", command, place, state),
            Instruction::Copy(copy) => self.copy(copy, place, state),
            Instruction::Entrypoint(command) => self.command("ENTRYPOINT", command, place, state),
            Instruction::Env(pairs) => self.env(pairs, place, state),
            Instruction::Expose(ports) => self.expose(ports, place, state),
            Instruction::Healthcheck(_) => self.once("HEALTHCHECK", place, state),
            Instruction::Label(pairs) => {
                self.legacy(pairs, place);
                self.pairs(pairs, place, state);
            }
            Instruction::Onbuild(onbuild) => state.onbuild.push(onbuild.text.clone()),
            Instruction::Run(run) => run.mounts.iter().for_each(|mount| self.mount(mount, place, state)),
            Instruction::Shell(words) => state.has_shell = !words.is_empty(),
            Instruction::Stopsignal(word) | Instruction::User(word) => {
                self.word(word, place, state);
            }
            Instruction::Volume(words) => self.words(words, place, state),
            Instruction::Workdir(path) => self.workdir(path, place, state),
            Instruction::Maintainer(_) => {}
        }
    }

    fn add(&mut self, add: &Add, place: &Place<'_>, state: &State) {
        self.words([&add.chown, &add.chmod, &add.checksum].into_iter().flatten(), place, state);
        self.sources("Add", &add.sources, true, place, state);
        self.word(&add.destination, place, state);
    }

    fn copy(&mut self, copy: &Copy, place: &Place<'_>, state: &State) {
        self.words([&copy.chown, &copy.chmod].into_iter().flatten(), place, state);
        self.sources("Copy", &copy.sources, copy.from.is_none(), place, state);
        self.word(&copy.destination, place, state);
    }

    fn sources(
        &mut self,
        command: &str,
        sources: &[Source],
        from_context: bool,
        place: &Place<'_>,
        state: &State,
    ) {
        for source in sources {
            match source {
                Source::Heredoc(heredoc) if heredoc.expand => {
                    let lookup = |name: &str| state.get(name);
                    let expanded = Expander::heredoc(&lookup).word(&heredoc.content);
                    self.undefined(expanded.as_ref().ok(), place, state);
                }
                Source::Heredoc(_) => {}
                Source::Path(path, span) => {
                    let Some(path) = self.word(path, place, state) else { continue };
                    if from_context && !is_remote(&path) {
                        let span = if place.span == place.step.span { *span } else { place.span };
                        self.ignored(command, &path, place, span);
                    }
                }
            }
        }
    }

    /// `CopyIgnoredFile`.
    fn ignored(&mut self, command: &str, path: &str, place: &Place<'_>, span: Span) {
        let path = clean(path);
        if self.facts.is_ignored(&path) {
            let message =
                format!("Attempting to {command} file \"{path}\" that is excluded by .dockerignore");
            self.findings.add(Rule::CopyIgnoredFile, &place.step.check, span, message);
        }
    }

    fn arg(&mut self, arg: &Arg, place: &Place<'_>, state: &mut State) {
        self.secret("ARG", &arg.name, arg.span, place);
        let global = self.global_args.get(&arg.name).cloned();
        let value = match (self.build_args.get(&arg.name), &arg.default) {
            (Some(value), _) => Some(value.clone()),
            (None, Some(default)) => self.word(default, place, state),
            (None, None) => global,
        };
        if let Some(value) = value.filter(|_| !NO_VARIABLES.contains(&arg.name.as_str())) {
            state.set(&arg.name, value);
        }
        state.args.insert(arg.name.clone());
    }

    fn env(&mut self, pairs: &[Pair], place: &Place<'_>, state: &mut State) {
        self.legacy(pairs, place);
        for (pair, (name, value)) in pairs.iter().zip(self.pairs(pairs, place, state)) {
            self.secret("ENV", &name, pair.span, place);
            state.set(&name, value);
        }
    }

    /// Names and values after expansion.
    fn pairs(&mut self, pairs: &[Pair], place: &Place<'_>, state: &State) -> Vec<(String, String)> {
        let mut expand = |word: &str| self.word(word, place, state).unwrap_or_default();
        pairs.iter().map(|pair| (expand(&pair.name), expand(&pair.value))).collect()
    }

    /// `LegacyKeyValueFormat`.
    fn legacy(&mut self, pairs: &[Pair], place: &Place<'_>) {
        let name = keyword(place.step);
        for pair in pairs.iter().filter(|pair| pair.legacy) {
            let message =
                format!("\"{name} key=value\" should be used instead of legacy \"{name} key value\" format");
            self.add_at(Rule::LegacyKeyValueFormat, place, pair.span, message);
        }
    }

    /// `SecretsUsedInArgOrEnv`.
    fn secret(&mut self, command: &str, name: &str, span: Span, place: &Place<'_>) {
        if SECRET.is_match(name) && !NO_SECRET.is_match(name) {
            let message =
                format!("Do not use ARG or ENV instructions for sensitive data ({command} \"{name}\")");
            self.add_at(Rule::SecretsUsedInArgOrEnv, place, span, message);
        }
    }

    /// `JSONArgsRecommended` and `MultipleInstructionsDisallowed`.
    fn command(&mut self, name: &'static str, command: &CommandLine, place: &Place<'_>, state: &mut State) {
        self.once(name, place, state);
        if matches!(command, CommandLine::Shell(_)) && !state.has_shell {
            let message = format!(
                "JSON arguments recommended for {} to prevent unintended behavior related to OS signals",
                keyword(place.step)
            );
            self.add_at(Rule::JSONArgsRecommended, place, place.span, message);
        }
    }

    /// `MultipleInstructionsDisallowed`, placed at the one that has no effect.
    fn once(&mut self, name: &'static str, place: &Place<'_>, state: &mut State) {
        if let Some(earlier) = state.last.insert(name, place.span) {
            let message = format!(
                "Multiple {} instructions should not be used in the same stage because only the last one \
                 will be used",
                keyword(place.step)
            );
            self.add_at(Rule::MultipleInstructionsDisallowed, place, earlier, message);
        }
    }

    /// `ExposeProtoCasing` and `ExposeInvalidFormat`.
    fn expose(&mut self, words: &[String], place: &Place<'_>, state: &State) {
        let lookup = |name: &str| state.get(name);
        let expander = Expander::new(self.escape, &lookup);
        for word in words.iter().flat_map(|word| expander.words(word).unwrap_or_default()) {
            let Ok(ports) = Ports::parse(&word) else { continue };
            if ports.odd_casing {
                let message = format!("Defined protocol '{word}' in EXPOSE instruction should be lowercase");
                self.add_at(Rule::ExposeProtoCasing, place, place.span, message);
            }
            if ports.has_host {
                let message = format!(
                    "EXPOSE instruction should not define an IP address or host-port mapping, found '{word}'"
                );
                self.add_at(Rule::ExposeInvalidFormat, place, place.span, message);
            }
        }
    }

    /// `WorkdirRelativePath`: only the first WORKDIR counts, since it fixes the ones behind it.
    fn workdir(&mut self, path: &str, place: &Place<'_>, state: &mut State) {
        let Some(path) = self.word(path, place, state) else { return };
        if !state.workdir_set && !path.starts_with('/') {
            let message =
                format!("Relative workdir \"{path}\" can have unexpected results if the base image changes");
            self.add_at(Rule::WorkdirRelativePath, place, place.span, message);
        }
        state.workdir_set = true;
    }

    fn mount(&mut self, mount: &Mount, place: &Place<'_>, state: &State) {
        if self.findings.is_tired() {
            return;
        }
        let mut expand = |word: &str| {
            let lookup = |name: &str| state.get(name);
            let expanded = Expander::new(self.escape, &lookup).word(word)?;
            self.findings.read(&expanded.text);
            self.undefined(Some(&expanded), place, state);
            Ok(expanded.text)
        };
        // A mount that is wrong fails the build, which says so.
        let _ = mount.expand(&mut expand);
    }

    fn words<'w>(&mut self, words: impl IntoIterator<Item = &'w String>, place: &Place<'_>, state: &State) {
        for word in words {
            self.word(word, place, state);
        }
    }

    /// The expanded word. One that cannot be expanded fails the build, which says so.
    fn word(&mut self, word: &str, place: &Place<'_>, state: &State) -> Option<String> {
        if self.findings.is_tired() {
            return None;
        }
        let lookup = |name: &str| state.get(name);
        let expanded = Expander::new(self.escape, &lookup).word(word).ok()?;
        self.findings.read(&expanded.text);
        self.undefined(Some(&expanded), place, state);
        Some(expanded.text)
    }

    /// `UndefinedVar`.
    fn undefined(&mut self, expanded: Option<&Expanded>, place: &Place<'_>, state: &State) {
        let wanted = !state.env_unknown && !self.findings.is_full();
        let Some(expanded) = expanded.filter(|_| wanted) else { return };
        for name in &expanded.unmatched {
            if state.args.contains(name) || NO_VARIABLES.contains(&name.as_str()) {
                continue;
            }
            let mut message = format!("Usage of undefined variable '${name}'");
            if let Some(similar) = similar(name, state.env.keys().map(String::as_str)) {
                message.push_str(&format!(" (did you mean ${similar}?)"));
            }
            let span = place::of_variable(self.source, place.span, name);
            self.add_at(Rule::UndefinedVar, place, span, message);
        }
    }

    fn add_at(&mut self, rule: Rule, place: &Place<'_>, span: Span, message: String) {
        // Places inside a trigger mean nothing in the Dockerfile.
        let span = if place.span == place.step.span { span } else { place.span };
        self.findings.add(rule, &place.step.check, span, message);
    }
}

/// The instruction's name as it is written.
fn keyword(step: &Step) -> &str {
    step.text.split(char::is_whitespace).next().unwrap_or_default()
}

/// Whether a source of ADD is no path.
fn is_remote(source: &str) -> bool {
    source.contains("://") || source.starts_with("git@")
}

/// `path` without `.`, `..`, doubled and trailing slashes, as Go's `path.Clean` does it.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let absolute = path.starts_with('/');
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if absolute => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (absolute, joined.as_str()) {
        (true, _) => format!("/{joined}"),
        (false, "") => ".".to_owned(),
        (false, _) => joined,
    }
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn paths_are_cleaned_as_go_does() {
        for (path, expected) in [
            ("", "."),
            (".", "."),
            ("./a/", "a"),
            ("a//b/../c", "a/c"),
            ("../a", "../a"),
            ("a/../..", ".."),
            ("/..//a", "/a"),
            ("/", "/"),
        ] {
            assert_eq!(clean(path), expected, "{path}");
        }
    }
}
