//! One instruction of a stage.

use super::{arguments, files, health, onbuild, run};
use crate::lint::CheckOptions;
use crate::suggest::similar;
use crate::syntax::{Arguments, Command, Node};
use crate::text::Text;
use crate::{Diagnostic, Instruction, Step, Word};

/// The step that `node` is; `None` if something is wrong with it. Not for FROM.
pub(super) fn step(
    node: &Node,
    escape: char,
    check: CheckOptions,
    errors: &mut Vec<Diagnostic>,
) -> Option<Step> {
    let before = errors.len();
    let instruction = instruction(node, escape, errors)?;
    let text = node.line.trim().to_owned();
    (errors.len() == before).then_some(Step { instruction, span: node.span, text, check, words: words(node) })
}

/// The flags and words, with their places.
fn words(node: &Node) -> Vec<Word> {
    let arguments: Vec<&Text> = match &node.arguments {
        Arguments::Words(words) | Arguments::Json(words) => words.iter().collect(),
        Arguments::Pairs(pairs) => pairs.iter().flat_map(|pair| [&pair.name, &pair.value]).collect(),
        _ => Vec::new(),
    };
    let word = |text: &Text| Word { text: text.to_string(), span: text.span() };
    node.flags.iter().chain(arguments).map(word).collect()
}

/// The step of a file that holds one instruction and nothing else.
pub(crate) fn single_step(node: &Node, escape: char) -> Result<Step, Vec<Diagnostic>> {
    let mut errors = Vec::new();
    let check = CheckOptions::from_comments(&node.comments).unwrap_or_default();
    let step = match node.command {
        Some(Command::From) => {
            errors.push(Diagnostic::error(node.keyword.span(), "FROM isn't allowed as an ONBUILD trigger"));
            None
        }
        None => {
            errors.push(unknown(node));
            None
        }
        Some(_) => step(node, escape, check, &mut errors),
    };
    step.ok_or(errors)
}

/// The error of an instruction that does not exist.
pub(super) fn unknown(node: &Node) -> Diagnostic {
    let keyword = &*node.keyword;
    if keyword.is_empty() {
        return Diagnostic::error(node.span, "unknown instruction: ")
            .label("nothing follows this line continuation");
    }
    let error = Diagnostic::error(node.keyword.span(), format!("unknown instruction: {keyword}"));
    error.help(correction(keyword).unwrap_or_else(|| {
        "if this line belongs to the instruction above, end the line above with `\\`".to_owned()
    }))
}

/// What an unknown instruction was meant to be, if that can be guessed.
pub(super) fn correction(keyword: &str) -> Option<String> {
    // Only ordinary blanks end the keyword; others, such as U+00A0, look the same.
    let first = keyword.split(char::is_whitespace).next().unwrap_or_default();
    if first != keyword && Command::named(first).is_some() {
        return Some(format!("write an ordinary blank behind `{first}`"));
    }
    let names = Command::ALL.map(|(name, _)| name);
    similar(&keyword.to_uppercase(), names).map(|similar| format!("did you mean `{similar}`?"))
}

fn instruction(node: &Node, escape: char, errors: &mut Vec<Diagnostic>) -> Option<Instruction> {
    let flagless = |errors: &mut Vec<Diagnostic>| {
        super::flags::Flags::read(node, &[], errors);
    };
    match node.command? {
        Command::Add => files::add(node, errors),
        Command::Arg => arguments::arg(node, errors).map(Instruction::Arg),
        Command::Cmd => {
            flagless(errors);
            Some(Instruction::Cmd(arguments::command(node)))
        }
        Command::Copy => files::copy(node, escape, errors),
        Command::Entrypoint => {
            flagless(errors);
            Some(Instruction::Entrypoint(arguments::command(node)))
        }
        Command::Env => arguments::pairs(node, errors).map(Instruction::Env),
        Command::Expose => arguments::expose(node, errors),
        Command::From => None,
        Command::Healthcheck => health::healthcheck(node, errors),
        Command::Label => arguments::pairs(node, errors).map(Instruction::Label),
        Command::Maintainer => {
            flagless(errors);
            arguments::exactly_one(node, errors).map(Instruction::Maintainer)
        }
        Command::Onbuild => onbuild::onbuild(node, errors),
        Command::Run => run::run(node, errors),
        Command::Shell => arguments::shell(node, errors),
        // BuildKit ignores flags here.
        Command::Stopsignal => arguments::exactly_one(node, errors).map(Instruction::Stopsignal),
        Command::User => {
            flagless(errors);
            arguments::exactly_one(node, errors).map(Instruction::User)
        }
        Command::Volume => arguments::volume(node, errors),
        Command::Workdir => {
            flagless(errors);
            arguments::exactly_one(node, errors).map(Instruction::Workdir)
        }
    }
}
