//! Rules that need nothing but the syntax.

use std::collections::HashSet;

use super::{CheckOptions, Findings, Rule};
use crate::syntax::{Arguments, Command, Node};
use crate::text::Text;
use crate::{Span, Stage};

/// Names that mean something else than a stage.
const RESERVED: [&str; 2] = ["context", "scratch"];

/// `NoEmptyContinuation`.
pub(crate) fn empty_continuations(lines: &[Span], findings: &mut Findings<'_>) {
    for line in lines {
        let message = "Empty continuation line".to_owned();
        findings.add(Rule::NoEmptyContinuation, &CheckOptions::default(), *line, message);
    }
}

/// Rules that look at one instruction.
pub(crate) fn instruction(node: &Node, local: &CheckOptions, findings: &mut Findings<'_>) {
    let Arguments::Words(words) = &node.arguments else { return };
    match node.command {
        Some(Command::Maintainer) => {
            let message = "Maintainer instruction is deprecated in favor of using label".to_owned();
            findings.add(Rule::MaintainerDeprecated, local, node.keyword.span(), message);
        }
        Some(Command::From) => {
            if let [_, keyword, name] = &words[..] {
                from_casing(node, keyword, name, local, findings);
                description(node, "FROM", &[&name.to_lowercase()], local, findings);
            }
        }
        Some(Command::Arg) => {
            let names: Vec<_> = words.iter().filter_map(|word| word.split('=').next()).collect();
            description(node, "ARG", &names, local, findings);
        }
        _ => {}
    }
}

/// `DuplicateStageName` and `ReservedStageName`.
pub(crate) fn stage_names(stages: &[Stage], findings: &mut Findings<'_>) {
    let mut seen = HashSet::new();
    for stage in stages {
        let Some(name) = stage.name.as_deref() else { continue };
        let file_only = CheckOptions::default();
        if RESERVED.contains(&name) {
            let message = format!("Stage name should not use the same name as reserved stage \"{name}\"");
            findings.add(Rule::ReservedStageName, &file_only, stage.span, message);
        }
        if !seen.insert(name) {
            let message = format!("Duplicate stage name \"{name}\", stage names should be unique");
            findings.add(Rule::DuplicateStageName, &file_only, stage.span, message);
        }
    }
}

/// `ConsistentInstructionCasing`: all instructions from the first FROM on should be written as
/// most of them are.
pub(crate) fn instruction_casing(nodes: &[Node], findings: &mut Findings<'_>) {
    let is_from = |node: &Node| node.command == Some(Command::From);
    let keywords = || nodes.iter().skip_while(|node| !is_from(node)).map(|node| &node.keyword);
    let lower = keywords().filter(|keyword| is_lower(keyword)).count();
    let upper = keywords().filter(|keyword| is_upper(keyword)).count();
    let (casing, fits): (_, fn(&str) -> bool) =
        if lower > upper { ("lowercase", is_lower) } else { ("uppercase", is_upper) };
    for keyword in keywords().filter(|keyword| !fits(keyword)) {
        let message =
            format!("Command '{}' should match the case of the command majority ({casing})", &**keyword);
        let file_only = CheckOptions::default();
        findings.add(Rule::ConsistentInstructionCasing, &file_only, keyword.span(), message);
    }
}

/// `StageNameCasing` and `FromAsCasing`.
fn from_casing(node: &Node, keyword: &Text, name: &Text, local: &CheckOptions, findings: &mut Findings<'_>) {
    if !is_lower(name) {
        let message = format!("Stage name '{}' should be lowercase", &**name);
        findings.add(Rule::StageNameCasing, local, name.span(), message);
    }
    let from = &node.keyword;
    let differs = if is_lower(from) { !is_lower(keyword) } else { is_upper(from) && !is_upper(keyword) };
    if differs {
        let message = format!("'{}' and '{}' keywords' casing do not match", &**keyword, &**from);
        findings.add(Rule::FromAsCasing, local, keyword.span(), message);
    }
}

/// `InvalidDefinitionDescription`: the comment right above describes something else.
fn description(
    node: &Node,
    instruction: &str,
    names: &[&str],
    local: &CheckOptions,
    findings: &mut Findings<'_>,
) {
    let Some(comment) = node.comments.last() else { return };
    if names.is_empty() || comment.split(' ').next().is_some_and(|first| names.contains(&first)) {
        return;
    }
    let name = if let [name] = names { name } else { "<arg_key>" };
    let message = format!("Comment for {instruction} should follow the format: `# {name} <description>`");
    findings.add(Rule::InvalidDefinitionDescription, local, node.keyword.span(), message);
}

fn is_lower(text: &str) -> bool {
    text == text.to_lowercase()
}

fn is_upper(text: &str) -> bool {
    text == text.to_uppercase()
}
