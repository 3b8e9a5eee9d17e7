//! One instruction as it is written.

use std::ops::Range;

use super::heredoc::{Mark, heredoc_marks};
use super::json::{Form, strings};
use super::{flag, word};
use crate::charset::is_ascii_space;
use crate::text::Text;
use crate::{Diagnostic, Heredoc, Span};

/// An instruction's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub(crate) enum Command {
    Add,
    Arg,
    Cmd,
    Copy,
    Entrypoint,
    Env,
    Expose,
    From,
    Healthcheck,
    Label,
    Maintainer,
    Onbuild,
    Run,
    Shell,
    Stopsignal,
    User,
    Volume,
    Workdir,
}

impl Command {
    /// All of them, by name.
    pub(crate) const ALL: [(&str, Self); 18] = [
        ("ADD", Self::Add),
        ("ARG", Self::Arg),
        ("CMD", Self::Cmd),
        ("COPY", Self::Copy),
        ("ENTRYPOINT", Self::Entrypoint),
        ("ENV", Self::Env),
        ("EXPOSE", Self::Expose),
        ("FROM", Self::From),
        ("HEALTHCHECK", Self::Healthcheck),
        ("LABEL", Self::Label),
        ("MAINTAINER", Self::Maintainer),
        ("ONBUILD", Self::Onbuild),
        ("RUN", Self::Run),
        ("SHELL", Self::Shell),
        ("STOPSIGNAL", Self::Stopsignal),
        ("USER", Self::User),
        ("VOLUME", Self::Volume),
        ("WORKDIR", Self::Workdir),
    ];

    /// The command of that name, in any case.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let found = Self::ALL.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, command)| command)
    }
}

/// An instruction, not yet understood.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    /// The name as it is written.
    pub(crate) keyword: Text,
    /// What the name means; `None` for an unknown instruction.
    pub(crate) command: Option<Command>,
    /// Flags, their quotes and escapes resolved.
    pub(crate) flags: Vec<Text>,
    /// What follows the flags.
    pub(crate) arguments: Arguments,
    /// The whole instruction, continuation lines joined.
    pub(crate) line: Text,
    /// The heredocs, in their order.
    pub(crate) heredocs: Vec<Heredoc>,
    /// The comments right above.
    pub(crate) comments: Vec<String>,
    /// Where the instruction stands, heredocs included.
    pub(crate) span: Span,
}

/// Arguments, split by the instruction's own rule.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Arguments {
    /// Words as they are written; a text that is not split is one word.
    Words(Vec<Text>),
    /// Strings of a JSON array.
    Json(Vec<Text>),
    /// `name=value` pairs, or one `name value`.
    Pairs(Vec<Pair>),
    /// HEALTHCHECK's type and its command, in JSON or not.
    Health { kind: Option<Text>, command: Vec<Text>, json: bool },
    /// ONBUILD's instruction.
    Trigger(Option<Box<Node>>),
    /// Those of an unknown instruction.
    Unknown,
}

/// A name and a value, as they are written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pair {
    pub(crate) name: Text,
    pub(crate) value: Text,
    /// Separated by a blank and not by `=`.
    pub(crate) legacy: bool,
}

impl Node {
    /// Reads one instruction without its heredocs. `line` may have white space around it.
    ///
    /// # Errors
    /// What is wrong with its syntax.
    pub(crate) fn read(line: Text, escape: char, depth: usize) -> Result<Self, Diagnostic> {
        let Range { start, end } = line.trimmed_range();
        let (keyword, rest) = match word::split_first(&line[start..end]) {
            Some((length, rest)) => (start..start + length, start + rest..end),
            None => (start..end, end..end),
        };
        let (keyword, span) = (line.slice(keyword), line.part(start..end));
        let (flags, rest) = flag::split_flags(line.slice(rest), escape);
        let command = Command::named(&keyword);
        let arguments = match command {
            Some(command) => {
                let trimmed = rest.trimmed_range();
                read_arguments(command, rest.cut(trimmed), escape, depth)?
            }
            None => Arguments::Unknown,
        };
        Ok(Self {
            keyword,
            command,
            flags,
            arguments,
            line,
            heredocs: Vec::new(),
            comments: Vec::new(),
            span,
        })
    }

    /// The heredocs that the instruction announces.
    ///
    /// # Errors
    /// A name that cannot be read.
    pub(super) fn heredoc_marks(&self) -> Result<Vec<Mark>, Diagnostic> {
        let carrier = match &self.arguments {
            Arguments::Trigger(Some(trigger)) => trigger,
            _ => self,
        };
        let takes = matches!(carrier.command, Some(Command::Add | Command::Copy | Command::Run));
        if !takes || matches!(carrier.arguments, Arguments::Json(_)) {
            return Ok(Vec::new());
        }
        heredoc_marks(&self.line)
            .map_err(|error| Diagnostic::error(self.span, format!("bad heredoc: {error}")))
    }
}

fn read_arguments(command: Command, rest: Text, escape: char, depth: usize) -> Result<Arguments, Diagnostic> {
    Ok(match command {
        Command::Add | Command::Copy | Command::Volume => match json_form(&rest)? {
            Some(words) => Arguments::Json(words),
            None => Arguments::Words(word::blank_separated(&rest)),
        },
        Command::Cmd | Command::Entrypoint | Command::Run | Command::Shell => match json_form(&rest)? {
            Some(words) => Arguments::Json(words),
            None => Arguments::Words(whole(rest)),
        },
        Command::Expose | Command::From => Arguments::Words(word::blank_separated(&rest)),
        Command::Maintainer | Command::Stopsignal | Command::User | Command::Workdir => {
            Arguments::Words(whole(rest))
        }
        Command::Arg => Arguments::Words(word::quoted_words(&rest, escape)),
        Command::Env => Arguments::Pairs(read_pairs("ENV", &rest, escape)?),
        Command::Label => Arguments::Pairs(read_pairs("LABEL", &rest, escape)?),
        Command::Healthcheck => read_health(&rest)?,
        Command::Onbuild => Arguments::Trigger(read_trigger(rest, escape, depth)?),
    })
}

/// The whole text as one word, or none if it is empty.
fn whole(rest: Text) -> Vec<Text> {
    if rest.is_empty() { Vec::new() } else { vec![rest] }
}

fn json_form(rest: &Text) -> Result<Option<Vec<Text>>, Diagnostic> {
    match strings(rest) {
        Form::Json(words) => Ok(Some(words)),
        Form::Other => Ok(None),
        Form::NotStrings(span) => Err(Diagnostic::error(
            span,
            "when using JSON array syntax, arrays must be comprised of strings only",
        )
        .label("this is not a string")
        .help("put it in double quotes")),
    }
}

fn read_pairs(command: &str, rest: &Text, escape: char) -> Result<Vec<Pair>, Diagnostic> {
    let words = word::quoted_words(rest, escape);
    let Some(first) = words.first() else { return Ok(Vec::new()) };
    if !first.contains('=') {
        let Some((end, start)) = word::split_first(rest) else {
            let message = format!("{command} must have two arguments");
            return Err(Diagnostic::error(rest.span(), message)
                .label("a value is missing")
                .help(format!("write `{command} {}=VALUE`", &**rest)));
        };
        return Ok(vec![Pair { name: rest.slice(0..end), value: rest.tail(start), legacy: true }]);
    }
    words.iter().map(|word| read_pair(command, word)).collect()
}

fn read_pair(command: &str, word: &Text) -> Result<Pair, Diagnostic> {
    let Some(equals) = word.find('=') else {
        let message = format!(
            "Syntax error - can't find = in {}. Must be of the form: name=value",
            super::dump::quoted(word)
        );
        return Err(Diagnostic::error(word.span(), message)
            .label("no `=`")
            .help(format!("a value with blanks must be quoted: `{command} name=\"a value\"`")));
    };
    Ok(Pair { name: word.slice(0..equals), value: word.tail(equals + 1), legacy: false })
}

fn read_health(rest: &Text) -> Result<Arguments, Diagnostic> {
    if rest.is_empty() {
        return Ok(Arguments::Health { kind: None, command: Vec::new(), json: false });
    }
    let end = rest.find(is_ascii_space).unwrap_or(rest.len());
    let behind = rest[end..].trim_start_matches(is_ascii_space).len();
    let command = rest.tail(rest.len() - behind);
    let kind = Some(rest.slice(0..end));
    Ok(match json_form(&command)? {
        Some(command) => Arguments::Health { kind, command, json: true },
        None => Arguments::Health { kind, command: whole(command), json: false },
    })
}

/// ONBUILD ONBUILD is refused later, with a better message; here it only must not recurse forever.
fn read_trigger(rest: Text, escape: char, depth: usize) -> Result<Option<Box<Node>>, Diagnostic> {
    if rest.is_empty() {
        return Ok(None);
    }
    if depth > 8 {
        return Err(Diagnostic::error(rest.span(), "ONBUILD is nested too deeply"));
    }
    Ok(Some(Box::new(Node::read(rest, escape, depth + 1)?)))
}
