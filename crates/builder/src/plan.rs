//! The stages as a graph: what each begins with, what it copies from, and which ones the target
//! needs. Pure: images are named here, not looked up.

use std::collections::{BTreeSet, HashMap};

use lbuild_oci::{Platform, Reference};
use lbuild_parser::expand::Expander;
use lbuild_parser::{Diagnostic, Dockerfile, Instruction, Span, Step};

use crate::environment::Environment;

/// What a stage begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Base {
    /// Nothing.
    Scratch,
    /// An earlier stage, by its place in the Dockerfile.
    Stage(usize),
    /// An image.
    Image(String),
    /// A named context, by its name.
    Named(String),
}

/// Where the files of a COPY, ADD or mount come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The build context.
    Context,
    /// Nowhere: an empty directory.
    Empty,
    /// A stage, by its place in the Dockerfile.
    Stage(usize),
    /// An image.
    Image(String),
    /// A named context, by its name.
    Named(String),
}

/// A step with its origins resolved.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Task {
    /// What the Dockerfile (or an image's trigger) says.
    pub step: Step,
    /// One origin of a COPY or ADD, or one for each mount of a RUN.
    pub origins: Vec<Origin>,
    /// Whether it comes from an ONBUILD of the base.
    pub trigger: bool,
}

/// A stage of the plan.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PlannedStage {
    /// Its name, or `stage-N`.
    pub label: String,
    /// Its name as the Dockerfile gives it, lower-case.
    pub name: Option<String>,
    /// What it begins with.
    pub base: Base,
    /// Whether a named context stands in for all of it: then it does nothing, triggers included.
    pub is_replaced: bool,
    /// `--platform` of its FROM.
    pub platform: Option<Platform>,
    /// FROM as it is written.
    pub text: String,
    /// Where FROM stands.
    pub span: Span,
    /// Where the base's name stands.
    pub base_span: Span,
    /// What it does.
    pub tasks: Vec<Task>,
}

/// All stages, and the one to build.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    /// Every stage of the Dockerfile.
    pub stages: Vec<PlannedStage>,
    /// The stage that the build is for.
    pub target: usize,
    /// Whether every stage counts as needed.
    pub needs_all: bool,
    names: StageNames,
}

/// The stages by their names.
#[derive(Debug, Clone, PartialEq)]
struct StageNames {
    /// The places of the stages with a name, in order.
    places: HashMap<String, Vec<usize>>,
    /// How many stages there are.
    count: usize,
}

/// What planning needs beside the Dockerfile.
pub(crate) struct PlanInput<'a> {
    /// Global arguments.
    pub globals: &'a Environment,
    /// Names given by `--build-context`.
    pub named: &'a BTreeSet<String>,
    /// `--target`.
    pub target: Option<&'a str>,
}

/// Why there is no plan.
#[derive(Debug)]
pub(crate) enum PlanError {
    /// Problems in the Dockerfile.
    Dockerfile(Vec<Diagnostic>),
    /// `--target` names no stage.
    NoSuchTarget(String),
}

impl Plan {
    /// Plans `dockerfile`.
    ///
    /// # Errors
    /// [`PlanError`] with every independent problem.
    pub fn new(dockerfile: &Dockerfile, input: &PlanInput<'_>) -> Result<Self, PlanError> {
        let names = StageNames::of(dockerfile);
        let mut problems = Vec::new();
        let mut stages = Vec::new();
        for (index, stage) in dockerfile.stages.iter().enumerate() {
            match plan_stage(dockerfile, &names, index, input) {
                Ok(planned) => stages.push(planned),
                Err(problem) => problems.push(*problem),
            }
            // A stage that a named context stands in for does nothing of its own.
            let is_replaced =
                stage.name.as_deref().is_some_and(|name| find_named(input.named, name).is_some());
            for step in stage.steps.iter().filter(|_| !is_replaced) {
                match origins(&names, &step.instruction, input.named) {
                    Ok(origins) if problems.is_empty() => {
                        let task = Task { step: step.clone(), origins, trigger: false };
                        stages[index].tasks.push(task);
                    }
                    Ok(_) => {}
                    Err(problem) => problems.push(*problem),
                }
            }
        }
        if !problems.is_empty() {
            return Err(PlanError::Dockerfile(problems));
        }
        let target = match input.target {
            None => stages.len() - 1,
            Some(name) => names.find_target(name).ok_or_else(|| PlanError::NoSuchTarget(name.to_owned()))?,
        };
        let plan = Self { stages, target, needs_all: false, names };
        plan.refuse_cycles()?;
        Ok(plan)
    }

    /// The stages that `stage` uses directly: its base and what it copies or mounts from.
    pub fn dependencies(&self, stage: usize) -> BTreeSet<usize> {
        let stage = &self.stages[stage];
        let base = match stage.base {
            Base::Stage(index) => Some(index),
            _ => None,
        };
        let origins = stage.tasks.iter().flat_map(|task| &task.origins).filter_map(|origin| match origin {
            Origin::Stage(index) => Some(*index),
            _ => None,
        });
        base.into_iter().chain(origins).collect()
    }

    /// The stages that the target needs, itself included.
    pub fn needed(&self) -> BTreeSet<usize> {
        let mut needed = BTreeSet::new();
        let mut pending = if self.needs_all { (0..self.stages.len()).collect() } else { vec![self.target] };
        while let Some(stage) = pending.pop() {
            if needed.insert(stage) {
                pending.extend(self.dependencies(stage));
            }
        }
        needed
    }

    /// Puts the triggers of a stage's base before its own steps.
    ///
    /// # Errors
    /// A trigger that copies from something that cannot be.
    pub fn add_triggers(
        &mut self,
        stage: usize,
        triggers: Vec<Step>,
        named: &BTreeSet<String>,
    ) -> Result<(), Box<Diagnostic>> {
        let mut tasks = Vec::new();
        for step in triggers {
            let origins = origins(&self.names, &step.instruction, named)?;
            tasks.push(Task { step, origins, trigger: true });
        }
        self.stages[stage].tasks.splice(0..0, tasks);
        Ok(())
    }

    /// Refuses stages that need a later stage or themselves.
    ///
    /// # Errors
    /// Each such use among the needed stages.
    pub fn refuse_forward_uses(&self) -> Result<(), PlanError> {
        let mut problems = Vec::new();
        for stage in self.needed() {
            for task in &self.stages[stage].tasks {
                let later = task.origins.iter().find_map(|origin| match origin {
                    Origin::Stage(index) if *index >= stage => Some(*index),
                    _ => None,
                });
                if let Some(later) = later {
                    problems.push(self.forward_use(stage, task, later));
                }
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(PlanError::Dockerfile(problems)) }
    }

    fn forward_use(&self, stage: usize, task: &Task, later: usize) -> Diagnostic {
        let place = if task.trigger { self.stages[stage].span } else { task.step.span };
        let message = if later == stage {
            format!("stage {:?} uses its own files", self.stages[stage].label)
        } else {
            format!("stage {:?} is used before it is defined", self.stages[later].label)
        };
        Diagnostic::error(place, message)
            .related(self.stages[later].span, "the stage begins here")
            .help("a stage can only use the stages above it; move it up")
    }

    fn refuse_cycles(&self) -> Result<(), PlanError> {
        #[derive(Clone, Copy, PartialEq)]
        enum Mark {
            New,
            Open,
            Done,
        }
        let mut marks = vec![Mark::New; self.stages.len()];
        for start in 0..self.stages.len() {
            let mut stack = vec![(start, false)];
            while let Some((stage, leave)) = stack.pop() {
                if leave {
                    marks[stage] = Mark::Done;
                    continue;
                }
                if marks[stage] != Mark::New {
                    continue;
                }
                marks[stage] = Mark::Open;
                stack.push((stage, true));
                for dependency in self.dependencies(stage) {
                    if marks[dependency] == Mark::Open {
                        let problem = Diagnostic::error(
                            self.stages[stage].span,
                            format!("stage {:?} needs itself in the end", self.stages[stage].label),
                        )
                        .help("a stage can only use the stages above it");
                        return Err(PlanError::Dockerfile(vec![problem]));
                    }
                    stack.push((dependency, false));
                }
            }
        }
        Ok(())
    }
}

fn plan_stage(
    dockerfile: &Dockerfile,
    names: &StageNames,
    index: usize,
    input: &PlanInput<'_>,
) -> Result<PlannedStage, Box<Diagnostic>> {
    let stage = &dockerfile.stages[index];
    let lookup = |name: &str| input.globals.get(name).map(str::to_owned);
    let expander = Expander::new(dockerfile.directives.escape, &lookup);
    let expand = |word: &str| {
        expander
            .word(word)
            .map(|expanded| expanded.text)
            .map_err(|error| Box::new(Diagnostic::error(stage.base_span, error.to_string())))
    };
    let base = expand(&stage.base)?;
    if base.is_empty() {
        let message = format!("the base name ({}) is blank", stage.base);
        return Err(Diagnostic::error(stage.base_span, message)
            .label("expands to nothing")
            .help("give the ARG above the first FROM a default, or pass it with --build-arg")
            .into());
    }
    let platform = match &stage.platform {
        None => None,
        Some(platform) => {
            let text = expand(platform)?;
            let parsed = text.parse().map_err(|error: lbuild_oci::PlatformError| {
                Diagnostic::error(stage.span, error.to_string())
            })?;
            Some(parsed)
        }
    };
    let named_stage = stage.name.as_deref().and_then(|name| find_named(input.named, name));
    let is_replaced = named_stage.is_some();
    let base = match (named_stage, names.find_earlier(index, &base)) {
        (Some(context), _) => Base::Named(context),
        (None, Some(earlier)) => Base::Stage(earlier),
        (None, None) if base == "scratch" => Base::Scratch,
        (None, None) => find_named(input.named, &base).map_or(Base::Image(base), Base::Named),
    };
    Ok(PlannedStage {
        label: stage.name.clone().unwrap_or_else(|| format!("stage-{index}")),
        name: stage.name.clone(),
        base,
        is_replaced,
        platform,
        text: stage.text.clone(),
        span: stage.span,
        base_span: stage.base_span,
        tasks: Vec::new(),
    })
}

impl StageNames {
    fn of(dockerfile: &Dockerfile) -> Self {
        let mut places: HashMap<String, Vec<usize>> = HashMap::new();
        for (place, stage) in dockerfile.stages.iter().enumerate() {
            if let Some(name) = &stage.name {
                places.entry(name.clone()).or_default().push(place);
            }
        }
        Self { places, count: dockerfile.stages.len() }
    }

    /// The last stage before `index` with this name.
    fn find_earlier(&self, index: usize, name: &str) -> Option<usize> {
        let places = self.places.get(&name.to_lowercase())?;
        places[..places.partition_point(|place| *place < index)].last().copied()
    }

    /// The last stage with this name.
    fn find(&self, name: &str) -> Option<usize> {
        self.find_earlier(self.count, name)
    }

    /// The last stage with this name, or the one with this number.
    fn find_target(&self, name: &str) -> Option<usize> {
        self.find(name).or_else(|| name.parse().ok().filter(|index| *index < self.count))
    }
}

/// What the files of an instruction come from.
fn origins(
    names: &StageNames,
    instruction: &Instruction,
    named: &BTreeSet<String>,
) -> Result<Vec<Origin>, Box<Diagnostic>> {
    match instruction {
        Instruction::Copy(copy) => match &copy.from {
            None => Ok(vec![Origin::Context]),
            Some((from, place)) => Ok(vec![copy_origin(names, from, *place, named)?]),
        },
        Instruction::Add(_) => Ok(vec![Origin::Context]),
        Instruction::Run(run) => Ok(run
            .mounts
            .iter()
            .map(|mount| match &mount.from {
                None if mount.kind == lbuild_parser::MountKind::Bind => Origin::Context,
                None => Origin::Empty,
                Some(from) => origin(names, from, named),
            })
            .collect()),
        _ => Ok(Vec::new()),
    }
}

fn copy_origin(
    names: &StageNames,
    from: &str,
    place: Span,
    named: &BTreeSet<String>,
) -> Result<Origin, Box<Diagnostic>> {
    match from.parse::<usize>() {
        Ok(index) if index < names.count => Ok(Origin::Stage(index)),
        Ok(index) => Err(Diagnostic::error(place, format!("there is no stage {index}"))
            .help(format!("stages are numbered from 0 to {}", names.count.saturating_sub(1)))
            .into()),
        Err(_) => Ok(origin(names, from, named)),
    }
}

fn origin(names: &StageNames, from: &str, named: &BTreeSet<String>) -> Origin {
    match names.find(from) {
        Some(index) => Origin::Stage(index),
        None if from == "scratch" => Origin::Empty,
        None => find_named(named, from).map_or_else(|| Origin::Image(from.to_owned()), Origin::Named),
    }
}

/// The named context that stands for `name`, as it was given: `--build-context debian=…` serves
/// `docker.io/library/debian:latest` too.
fn find_named(named: &BTreeSet<String>, name: &str) -> Option<String> {
    if ["scratch", "context"].iter().any(|reserved| name.eq_ignore_ascii_case(reserved)) {
        return None;
    }
    let wanted = familiar(name);
    named.iter().find(|context| familiar(context) == wanted).cloned()
}

/// The name as people write it, without Docker Hub's defaults.
fn familiar(name: &str) -> String {
    let reference = name.parse::<Reference>().map(|reference| reference.familiar());
    let name = reference.unwrap_or_else(|_| name.to_lowercase());
    name.strip_suffix(":latest").unwrap_or(&name).to_owned()
}

#[cfg(test)]
mod tests;
