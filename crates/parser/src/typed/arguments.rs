//! Instructions whose arguments need little more than counting.

use std::collections::HashMap;

use super::flags::Flags;
use crate::syntax::{Arguments, Node};
use crate::text::Text;
use crate::{Arg, CommandLine, Diagnostic, Instruction, Pair};

/// The words of the arguments, in JSON or not.
pub(super) fn words(node: &Node) -> &[Text] {
    match &node.arguments {
        Arguments::Words(words) | Arguments::Json(words) => words,
        _ => &[],
    }
}

/// A shell or exec form. Without arguments it is an empty text for the shell.
pub(super) fn command_line(words: &[Text], json: bool) -> CommandLine {
    if json {
        CommandLine::Exec(words.iter().map(|word| word.to_string()).collect())
    } else {
        CommandLine::Shell(words.first().map(|word| word.to_string()).unwrap_or_default())
    }
}

/// CMD, ENTRYPOINT and RUN's command.
pub(super) fn command(node: &Node) -> CommandLine {
    command_line(words(node), matches!(node.arguments, Arguments::Json(_)))
}

/// The only argument of MAINTAINER, STOPSIGNAL, USER and WORKDIR.
pub(super) fn exactly_one(node: &Node, errors: &mut Vec<Diagnostic>) -> Option<String> {
    match words(node) {
        [word] => Some(word.to_string()),
        _ => {
            errors.push(missing(node, "requires exactly one argument"));
            None
        }
    }
}

/// `COMMAND what`, placed at the end of the instruction where the arguments should be.
pub(super) fn missing(node: &Node, what: &str) -> Diagnostic {
    let command = node.keyword.to_ascii_uppercase();
    Diagnostic::error(node.keyword.span(), format!("{command} {what}"))
}

/// ARG. Its flags are ignored, as in BuildKit.
pub(super) fn arg(node: &Node, errors: &mut Vec<Diagnostic>) -> Option<Vec<Arg>> {
    if words(node).is_empty() {
        errors.push(
            missing(node, "requires at least one argument").help("write `ARG NAME` or `ARG NAME=DEFAULT`"),
        );
        return None;
    }
    let descriptions: HashMap<_, _> =
        node.comments.iter().rev().filter_map(|comment| comment.split_once(' ')).collect();
    let mut args = Vec::new();
    for word in words(node) {
        let (name, default) = match word.split_once('=') {
            Some((name, default)) => (name, Some(default.to_owned())),
            None => (&**word, None),
        };
        if name.is_empty() {
            errors.push(Diagnostic::error(word.span(), "ARG names can not be blank"));
            continue;
        }
        let description =
            descriptions.get(name).filter(|text| !text.is_empty()).map(|text| (*text).to_owned());
        args.push(Arg { name: name.to_owned(), default, span: word.span(), description });
    }
    Some(args)
}

/// ENV and LABEL.
pub(super) fn pairs(node: &Node, errors: &mut Vec<Diagnostic>) -> Option<Vec<Pair>> {
    Flags::read(node, &[], errors);
    let Arguments::Pairs(pairs) = &node.arguments else { return None };
    if pairs.is_empty() {
        errors.push(missing(node, "requires at least one argument"));
        return None;
    }
    let mut found = Vec::with_capacity(pairs.len());
    for pair in pairs {
        let span = crate::Span { start: pair.name.span().start, end: pair.value.span().end };
        if pair.name.is_empty() {
            errors.push(
                Diagnostic::error(
                    span,
                    format!("{} names can not be blank", node.keyword.to_ascii_uppercase()),
                )
                .label("a name is missing before `=`"),
            );
            continue;
        }
        found.push(Pair {
            name: pair.name.to_string(),
            value: pair.value.to_string(),
            legacy: pair.legacy,
            span,
        });
    }
    Some(found)
}

/// EXPOSE, sorted as BuildKit sorts it.
pub(super) fn expose(node: &Node, errors: &mut Vec<Diagnostic>) -> Option<Instruction> {
    Flags::read(node, &[], errors);
    let mut ports: Vec<_> = words(node).iter().map(|word| word.to_string()).collect();
    if ports.is_empty() {
        errors.push(missing(node, "requires at least one argument"));
        return None;
    }
    ports.sort();
    Some(Instruction::Expose(ports))
}

/// VOLUME.
pub(super) fn volume(node: &Node, errors: &mut Vec<Diagnostic>) -> Option<Instruction> {
    Flags::read(node, &[], errors);
    if words(node).is_empty() {
        errors.push(missing(node, "requires at least one argument"));
        return None;
    }
    let mut volumes = Vec::new();
    for word in words(node) {
        if word.trim().is_empty() {
            errors.push(Diagnostic::error(word.span(), "VOLUME specified can not be an empty string"));
        }
        volumes.push(word.trim().to_owned());
    }
    Some(Instruction::Volume(volumes))
}

/// SHELL, which must be in JSON form.
pub(super) fn shell(node: &Node, errors: &mut Vec<Diagnostic>) -> Option<Instruction> {
    Flags::read(node, &[], errors);
    let error = match (words(node), &node.arguments) {
        ([], _) => missing(node, "requires at least one argument"),
        (words, Arguments::Json(_)) => {
            return Some(Instruction::Shell(words.iter().map(|word| word.to_string()).collect()));
        }
        ([first, ..], _) => {
            Diagnostic::error(first.span(), "SHELL requires the arguments to be in JSON form")
        }
    };
    errors.push(error.help(r#"write `SHELL ["/bin/sh", "-c"]`"#));
    None
}

/// The text behind `name ` in the first comment that begins so.
pub(super) fn description(comments: &[String], name: &str) -> Option<String> {
    let text = |comment: &String| Some(comment.strip_prefix(name)?.strip_prefix(' ')?.to_owned());
    comments.iter().find_map(text).filter(|text| !text.is_empty())
}
