//! Instructions to stages.

use super::{from, step};
use crate::lint::{self, CheckOptions};
use crate::syntax::{Command, File, Node};
use crate::{Diagnostic, Directives, Dockerfile, Instruction, Stage};

/// When there are so many errors, no more are looked for.
const MAX_ERRORS: usize = 50;

/// The Dockerfile that `file` is. `check` stands in for the file's own `# check=`.
pub(crate) fn dockerfile(file: File, check: Option<&CheckOptions>) -> Result<Dockerfile, Vec<Diagnostic>> {
    let mut errors = file.errors;
    let check = check.cloned().unwrap_or_else(|| own_check(&file.directives, &mut errors));
    let mut warnings = lint::Findings::new(&check);
    lint::syntax::empty_continuations(&file.empty_lines, &mut warnings);
    let mut reader = Reader {
        escape: file.directives.escape,
        global_args: Vec::new(),
        stages: Vec::new(),
        stage_lost: false,
        unknown_before: false,
        errors,
    };
    for node in &file.nodes {
        let local = CheckOptions::from_comments(&node.comments).unwrap_or_default();
        lint::syntax::instruction(node, &local, &mut warnings);
        reader.node(node, local);
        if reader.errors.len() >= MAX_ERRORS {
            break;
        }
    }
    let Reader { global_args, stages, mut errors, .. } = reader;
    if errors.is_empty() {
        errors.extend(nothing_to_build(&file.nodes, &stages));
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    lint::syntax::stage_names(&stages, &mut warnings);
    lint::syntax::instruction_casing(&file.nodes, &mut warnings);
    Ok(Dockerfile { directives: file.directives, global_args, stages, warnings: warnings.sorted(), check })
}

fn own_check(directives: &Directives, errors: &mut Vec<Diagnostic>) -> CheckOptions {
    let Some((text, span)) = &directives.check else { return CheckOptions::default() };
    CheckOptions::parse(text).unwrap_or_else(|error| {
        let message = format!("failed to parse check options: {error}");
        errors.push(Diagnostic::error(*span, message).help("write `# check=skip=RuleA,RuleB;error=true`"));
        CheckOptions::default()
    })
}

fn nothing_to_build(nodes: &[Node], stages: &[Stage]) -> Option<Diagnostic> {
    let message = match (nodes.first(), stages) {
        (None, _) => "file with no instructions",
        (Some(_), []) => "dockerfile contains no stages to build",
        _ => return None,
    };
    Some(Diagnostic::file_error(message).help("a Dockerfile needs at least one `FROM IMAGE`"))
}

struct Reader {
    escape: char,
    global_args: Vec<(crate::Arg, crate::Span)>,
    stages: Vec<Stage>,
    /// The last FROM is wrong: the steps behind it still belong to a stage.
    stage_lost: bool,
    /// The last line was no instruction at all: so are the lines behind it, most likely.
    unknown_before: bool,
    errors: Vec<Diagnostic>,
}

impl Reader {
    fn node(&mut self, node: &Node, check: CheckOptions) {
        let unknown = node.command.is_none() && step::correction(&node.keyword).is_none();
        let unknown_before = std::mem::replace(&mut self.unknown_before, unknown);
        match node.command {
            None if unknown && unknown_before => {}
            None => self.errors.push(step::unknown(node)),
            Some(Command::From) => {
                let stage = from::stage(node, check, &mut self.errors);
                self.stage_lost = stage.is_none();
                self.stages.extend(stage);
            }
            Some(_) => self.step(node, check),
        }
    }

    fn step(&mut self, node: &Node, check: CheckOptions) {
        let Some(step) = step::step(node, self.escape, check, &mut self.errors) else { return };
        if self.stage_lost {
            return;
        }
        match (self.stages.last_mut(), step.instruction) {
            (Some(stage), instruction) => stage.steps.push(crate::Step { instruction, ..step }),
            (None, Instruction::Arg(args)) => {
                self.global_args.extend(args.into_iter().map(|arg| (arg, step.span)));
            }
            (None, _) => {
                let error = Diagnostic::error(node.keyword.span(), "no build stage in current context")
                    .help("only ARG may stand before the first FROM");
                // One is enough: the same is wrong with all of them.
                self.stage_lost = true;
                self.errors.push(error);
            }
        }
    }
}
