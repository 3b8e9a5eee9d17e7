//! What a build takes and what it can make: `--call=outline` and `--call=targets`.
//!
//! Nothing is built: images that are not in the store count as images without variables.
//!
//! Source: BuildKit's `frontend.outline` and `frontend.targets`

use std::collections::{BTreeMap, BTreeSet};

use lbuild_parser::expand::Expander;
use lbuild_parser::{Arg, Diagnostic, Dockerfile, Instruction, Run, Span};

use crate::BuildError;
use crate::base::stage_platform;
use crate::metadata::{self, Scope};
use crate::plan::{Base, PlannedStage};
use crate::prepared::Prepared;
use crate::problem::Problem;
use crate::request::BuildRequest;
use crate::state::StageState;
use crate::step::mount::{agent_id, expanded, secret_id};

/// What the build of a target takes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outline {
    /// The target's name, if it has one.
    pub name: Option<String>,
    /// What the comment above its FROM says.
    pub description: Option<String>,
    /// Arguments that the target or what it needs declares, in the order of the file.
    pub arguments: Vec<OutlineArgument>,
    /// Secrets that RUN mounts, in the order of the file.
    pub secrets: Vec<OutlineMount>,
    /// SSH agents that RUN mounts, in the order of the file.
    pub agents: Vec<OutlineMount>,
}

/// A build argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutlineArgument {
    /// The name.
    pub name: String,
    /// What the comment above says.
    pub description: Option<String>,
    /// The value that it would have.
    pub value: Option<String>,
    /// The instruction that declares it.
    pub span: Span,
}

/// A secret or an SSH agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutlineMount {
    /// The id to give it by.
    pub id: String,
    /// Whether the build fails without it.
    pub required: bool,
    /// The first RUN that mounts it.
    pub span: Span,
}

/// A stage that can be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// What the comment above its FROM says.
    pub description: Option<String>,
    /// What it starts from, as FROM has it.
    pub base: String,
    /// `--platform` as FROM has it.
    pub platform: Option<String>,
    /// Whether it is built unless another one is named.
    pub is_default: bool,
    /// Its FROM.
    pub span: Span,
}

/// The stages of a Dockerfile.
///
/// # Errors
/// All that is wrong with the Dockerfile.
pub fn targets(dockerfile: &[u8]) -> Result<Vec<Target>, Vec<Diagnostic>> {
    let stages = lbuild_parser::parse(dockerfile)?.stages;
    let last = stages.len().saturating_sub(1);
    let target = |(index, stage): (usize, lbuild_parser::Stage)| Target {
        name: stage.name,
        description: stage.description,
        base: stage.base,
        platform: stage.platform,
        is_default: index == last,
        span: stage.span,
    };
    Ok(stages.into_iter().enumerate().map(target).collect())
}

/// The outline of a prepared build.
///
/// # Errors
/// An instruction whose words cannot be expanded.
pub(crate) fn outline(request: &BuildRequest, prepared: &Prepared) -> Result<Outline, BuildError> {
    let Prepared { dockerfile, globals, plan, .. } = prepared;
    let scope = Scope { escape: dockerfile.directives.escape, build_args: &request.build_args, globals };
    let global = Globals::new(dockerfile, &scope);
    let mut stages: BTreeMap<usize, StageOutline> = BTreeMap::new();
    for index in plan.needed() {
        let planned = &plan.stages[index];
        let parent = match planned.base {
            Base::Stage(parent) => stages.get(&parent).map(|stage| stage.state.child()),
            _ => None,
        };
        let state = parent.unwrap_or_else(|| first_state(request, prepared, planned));
        stages.insert(index, StageOutline::new(&global, dockerfile, index, planned, state, &scope)?);
    }
    let target = &dockerfile.stages[plan.target];
    let mut outline =
        Outline { name: target.name.clone(), description: target.description.clone(), ..Outline::default() };
    for index in nearest_first(prepared) {
        if let Some(stage) = stages.remove(&index) {
            stage.add_to(&mut outline, &global);
        }
    }
    outline.arguments.sort_by_key(|argument| argument.span);
    outline.secrets.sort_by_key(|secret| secret.span);
    outline.agents.sort_by_key(|agent| agent.span);
    Ok(outline)
}

/// The state of a stage that begins with an image or with nothing.
fn first_state(request: &BuildRequest, prepared: &Prepared, planned: &PlannedStage) -> StageState {
    let platform = stage_platform(request, planned.platform.as_ref());
    let image = match &planned.base {
        Base::Image(name) => prepared.images.get(&(name.clone(), platform.clone())),
        _ => None,
    };
    image.map_or_else(|| StageState::scratch(&platform), |image| StageState::new(image.clone()))
}

/// The needed stages, the target first, each one's base before what it copies from: where two declare the
/// same name, the first counts.
fn nearest_first(prepared: &Prepared) -> Vec<usize> {
    let plan = &prepared.plan;
    let (mut order, mut pending) = (Vec::new(), vec![plan.target]);
    while let Some(stage) = pending.pop() {
        if order.contains(&stage) {
            continue;
        }
        order.push(stage);
        let base = match plan.stages[stage].base {
            Base::Stage(parent) => Some(parent),
            _ => None,
        };
        let others = plan.dependencies(stage).into_iter().filter(|other| Some(*other) != base);
        // The last in is the first out.
        pending.extend(others.rev().chain(base));
    }
    order
}

/// The ARGs before the first FROM.
struct Globals {
    arguments: BTreeMap<String, OutlineArgument>,
    /// Which other arguments the value of each one is made of.
    parts: BTreeMap<String, BTreeSet<String>>,
}

impl Globals {
    fn new(dockerfile: &Dockerfile, scope: &Scope<'_>) -> Self {
        let mut globals = Self { arguments: BTreeMap::new(), parts: BTreeMap::new() };
        for (arg, span) in &dockerfile.global_args {
            let is_given = scope.build_args.contains_key(&arg.name);
            let mut parts = match &arg.default {
                Some(default) if !is_given => used(default, scope),
                _ => BTreeSet::new(),
            };
            if parts.remove(&arg.name) {
                parts.extend(globals.parts.remove(&arg.name).unwrap_or_default());
            }
            globals.parts.insert(arg.name.clone(), parts);
            let has_value = is_given || arg.default.is_some();
            let value = scope.globals.get(&arg.name).filter(|_| has_value).map(str::to_owned);
            globals.arguments.insert(arg.name.clone(), argument(arg, value, *span));
        }
        globals
    }

    /// `names` and all that their values are made of.
    fn closure(&self, names: BTreeSet<String>) -> BTreeSet<String> {
        let mut pending: Vec<String> = names.into_iter().collect();
        let mut all = BTreeSet::new();
        while let Some(name) = pending.pop() {
            if all.insert(name.clone()) {
                pending.extend(self.parts.get(&name).into_iter().flatten().cloned());
            }
        }
        all
    }
}

fn argument(arg: &Arg, value: Option<String>, span: Span) -> OutlineArgument {
    OutlineArgument { name: arg.name.clone(), description: arg.description.clone(), value, span }
}

/// The global arguments that a word uses.
fn used(word: &str, scope: &Scope<'_>) -> BTreeSet<String> {
    let lookup = |name: &str| scope.globals.get(name).map(str::to_owned);
    let expanded = Expander::new(scope.escape, &lookup).word(word);
    expanded.map(|expanded| expanded.used.into_iter().collect()).unwrap_or_default()
}

/// What one stage takes.
struct StageOutline {
    state: StageState,
    used: BTreeSet<String>,
    /// Declared in the stage with a value of their own.
    own: BTreeMap<String, OutlineArgument>,
    secrets: Vec<OutlineMount>,
    agents: Vec<OutlineMount>,
}

impl StageOutline {
    fn new(
        globals: &Globals,
        dockerfile: &Dockerfile,
        index: usize,
        planned: &PlannedStage,
        state: StageState,
        scope: &Scope<'_>,
    ) -> Result<Self, BuildError> {
        let stage = &dockerfile.stages[index];
        let words = [Some(&stage.base), stage.platform.as_ref()];
        let mut used: BTreeSet<String> =
            words.into_iter().flatten().flat_map(|word| used(word, scope)).collect();
        used.retain(|name| globals.arguments.contains_key(name));
        let mut outline = Self { state, used, own: BTreeMap::new(), secrets: Vec::new(), agents: Vec::new() };
        for task in &planned.tasks {
            let span = if task.trigger { planned.span } else { task.step.span };
            outline.apply(&task.step.instruction, span, scope).map_err(|problem| problem.at(span))?;
        }
        Ok(outline)
    }

    fn apply(&mut self, instruction: &Instruction, span: Span, scope: &Scope<'_>) -> Result<(), Problem> {
        match instruction {
            Instruction::Run(run) => self.mounts(run, span, scope),
            Instruction::Copy(_) | Instruction::Add(_) | Instruction::Workdir(_) => Ok(()),
            other => {
                metadata::apply(&mut self.state, other, scope)?;
                if let Instruction::Arg(args) = other {
                    args.iter().for_each(|arg| self.declare(arg, span, scope));
                }
                Ok(())
            }
        }
    }

    /// An ARG that only repeats a global one is that one's.
    fn declare(&mut self, arg: &Arg, span: Span, scope: &Scope<'_>) {
        let is_given = scope.build_args.contains_key(&arg.name);
        let is_inherited = arg.default.is_none() && !is_given && scope.globals.get(&arg.name).is_some();
        if !is_inherited {
            let declared = self.state.arguments.iter().rev().find(|(name, _)| *name == arg.name);
            let value = declared.and_then(|(_, value)| value.clone());
            self.own.insert(arg.name.clone(), argument(arg, value, span));
        }
        self.used.insert(arg.name.clone());
    }

    fn mounts(&mut self, run: &Run, span: Span, scope: &Scope<'_>) -> Result<(), Problem> {
        for mount in &run.mounts {
            let mount = expanded(scope.escape, &self.state, mount)?;
            let (list, id) = match mount.kind {
                lbuild_parser::MountKind::Secret => (&mut self.secrets, secret_id(&mount)?),
                lbuild_parser::MountKind::Ssh => (&mut self.agents, agent_id(&mount)),
                _ => continue,
            };
            if !list.iter().any(|known| known.id == id) {
                list.push(OutlineMount { id, required: mount.required, span });
            }
        }
        Ok(())
    }

    /// Adds what no nearer stage has.
    fn add_to(mut self, outline: &mut Outline, globals: &Globals) {
        for name in globals.closure(self.used) {
            let argument = self.own.remove(&name).or_else(|| globals.arguments.get(&name).cloned());
            let is_known = outline.arguments.iter().any(|known| known.name == name);
            outline.arguments.extend(argument.filter(|_| !is_known));
        }
        for (from, to) in [(self.secrets, &mut outline.secrets), (self.agents, &mut outline.agents)] {
            for mount in from {
                if !to.iter().any(|known| known.id == mount.id) {
                    to.push(mount);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bed;

    fn outlined(text: &str, target: Option<&str>, build_args: &[(&str, &str)]) -> Outline {
        let mut bed = Bed::new(text);
        bed.request.target = target.map(str::to_owned);
        bed.request.build_args =
            build_args.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        crate::outline(&bed.store, &bed.request, &|_| {}).unwrap_or_else(|error| panic!("{text}: {error:?}"))
    }

    /// `NAME=VALUE`, or the name alone.
    fn arguments(outline: &Outline) -> Vec<String> {
        let text = |argument: &OutlineArgument| match &argument.value {
            Some(value) => format!("{}={value}", argument.name),
            None => argument.name.clone(),
        };
        outline.arguments.iter().map(text).collect()
    }

    #[test]
    fn arguments_are_those_that_the_target_and_what_it_needs_declare_or_use() {
        for (text, build_args, expected) in [
            ("FROM scratch\nARG A\nARG B=1\n", &[][..], &["A", "B=1"][..]),
            ("FROM scratch\nARG A\n", &[("A", "x")], &["A=x"]),
            ("ARG A=1\nFROM scratch\n", &[], &[]),
            ("ARG A=1\nFROM scratch\nARG A\n", &[], &["A=1"]),
            ("ARG A=1\nFROM scratch\nARG A=2\n", &[], &["A=2"]),
            ("ARG A=1\nARG B=${A}x\nFROM base:$B\n", &[], &["A=1", "B=1x"]),
            ("ARG A=1\nARG B=${A}x\nFROM base:$B\n", &[("B", "3")], &["B=3"]),
            ("ARG A=1\nARG A=${A}2\nFROM base:$A\n", &[], &["A=12"]),
            ("FROM scratch\nARG TARGETARCH\n", &[], &[]),
            ("FROM scratch AS a\nARG A=1\nFROM a\nARG B=${A}2\n", &[], &["A=1", "B=12"]),
            ("FROM scratch AS a\nARG A=1\nFROM scratch\nARG A=2\nCOPY --from=a /x /\n", &[], &["A=2"]),
            ("FROM scratch AS a\nARG A=1\nFROM scratch\n", &[], &[]),
            ("FROM scratch AS a\nONBUILD ARG A=1\nFROM a\n", &[], &["A=1"]),
            ("FROM scratch\nENV E=1\nARG A=${E}2\n", &[], &["A=12"]),
        ] {
            assert_eq!(arguments(&outlined(text, None, build_args)), expected, "{text}");
        }
    }

    #[test]
    fn secrets_and_agents_are_listed_once_under_their_ids() {
        let text = "FROM scratch AS a\n\
                    RUN --mount=type=secret,target=/x/key --mount=type=ssh true\n\
                    FROM scratch AS b\n\
                    RUN --mount=type=secret,id=unused true\n\
                    FROM a AS c\n\
                    RUN --mount=type=secret,id=key,required --mount=type=ssh,id=git,required true\n";
        let list = |mounts: &[OutlineMount]| {
            mounts.iter().map(|mount| (mount.id.clone(), mount.required)).collect::<Vec<_>>()
        };
        let outline = outlined(text, None, &[]);
        assert_eq!(list(&outline.secrets), [("key".to_owned(), true)]);
        assert_eq!(list(&outline.agents), [("default".to_owned(), false), ("git".to_owned(), true)]);
        let outline = outlined(text, Some("a"), &[]);
        assert_eq!(list(&outline.secrets), [("key".to_owned(), false)]);
    }

    #[test]
    fn descriptions_are_the_comments_above() {
        let text =
            "# final is what runs\nFROM scratch AS final\n# A one letter\nARG A\n# C not its name\nARG B\n";
        let outline = outlined(text, None, &[]);
        assert_eq!(
            (outline.name.as_deref(), outline.description.as_deref()),
            (Some("final"), Some("is what runs"))
        );
        let descriptions: Vec<_> =
            outline.arguments.iter().map(|argument| argument.description.as_deref()).collect();
        assert_eq!(descriptions, [Some("one letter"), None]);
    }

    #[test]
    fn targets_are_all_stages_as_they_are_written() {
        let text = b"ARG V=1\nFROM --platform=$BUILDPLATFORM base:$V AS Build\nFROM Build\n";
        let targets = targets(text).unwrap();
        let [build, last] = &targets[..] else { panic!("{targets:?}") };
        assert_eq!((build.name.as_deref(), build.base.as_str()), (Some("build"), "base:$V"));
        assert_eq!((build.platform.as_deref(), build.is_default), (Some("$BUILDPLATFORM"), false));
        assert_eq!((last.name.as_deref(), last.base.as_str(), last.is_default), (None, "Build", true));
    }
}
