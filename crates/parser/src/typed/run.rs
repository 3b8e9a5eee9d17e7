//! RUN.

use super::arguments::command;
use super::csv;
use super::flags::{Flags, Kind};
use super::mount;
use crate::go::parse_bool;
use crate::suggest::advice;
use crate::syntax::{Node, heredoc_mark};
use crate::text::Text;
use crate::{CommandLine, Device, Diagnostic, Instruction, Network, Run, Script, Security};

const FLAGS: [(&str, Kind); 4] =
    [("mount", Kind::List), ("network", Kind::Value), ("security", Kind::Value), ("device", Kind::List)];

const NETWORKS: [(&str, Network); 3] =
    [("default", Network::Default), ("none", Network::None), ("host", Network::Host)];

const SECURITIES: [(&str, Security); 2] = [("sandbox", Security::Sandbox), ("insecure", Security::Insecure)];

pub(super) fn run(node: &Node, errors: &mut Vec<Diagnostic>) -> Option<Instruction> {
    let flags = Flags::read(node, &FLAGS, errors);
    let mut collect = |result: Result<_, Diagnostic>| result.map_err(|error| errors.push(error)).ok();
    let mounts = flags.values("mount").filter_map(|spec| collect(mount::read(spec))).collect();
    let network = choice(&flags, "network", "invalid network mode", &NETWORKS, errors);
    let security = choice(&flags, "security", "invalid security mode", &SECURITIES, errors);
    let mut collect = |result: Result<_, Diagnostic>| result.map_err(|error| errors.push(error)).ok();
    let devices = flags.values("device").filter_map(|spec| collect(device(spec))).collect();
    Some(Instruction::Run(Run {
        command: command(node),
        heredocs: node.heredocs.clone(),
        mounts,
        network,
        security,
        devices,
    }))
}

/// A flag whose value is one of `known`.
fn choice<T: Copy>(
    flags: &Flags,
    flag: &str,
    message: &str,
    known: &[(&'static str, T)],
    errors: &mut Vec<Diagnostic>,
) -> Option<T> {
    let value = flags.values(flag).next()?;
    let found = known.iter().find(|(name, _)| *name == &**value);
    if found.is_none() {
        let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
        let message = format!("{message} \"{}\"", &**value);
        errors.push(Diagnostic::error(value.span(), message).help(advice(value, &names)));
    }
    found.map(|(_, choice)| *choice)
}

/// `--device=NAME,required` or `--device=name=NAME,required=true`.
fn device(spec: &Text) -> Result<Device, Diagnostic> {
    let mut name: Option<Text> = None;
    let mut required = false;
    for field in csv::fields(spec)? {
        let (key, value) = match field.find('=') {
            Some(equals) => (field[..equals].to_lowercase(), Some(field.tail(equals + 1))),
            None => (field.to_lowercase(), None),
        };
        match (key.as_str(), value) {
            ("required", None) => required = true,
            ("required", Some(value)) => {
                required = parse_bool(&value).ok_or_else(|| {
                    Diagnostic::error(value.span(), format!("invalid value for required: {}", &*value))
                        .help("write `true` or `false`")
                })?;
            }
            ("name", Some(value)) if name.is_none() => name = Some(value),
            ("name", Some(_)) => {
                let given = name.map(Text::into_string).unwrap_or_default();
                let message = format!("device name already set to {given}");
                return Err(Diagnostic::error(field.span(), message));
            }
            _ if name.is_none() => name = Some(field),
            (_, None) => {
                let message = format!("invalid field '{}' must be a key=value pair", &*field);
                return Err(Diagnostic::error(field.span(), message));
            }
            (_, Some(_)) => {
                let message = format!("unexpected key '{key}' in '{}'", &*field);
                return Err(Diagnostic::error(field.span(), message).help("the keys are name and required"));
            }
        }
    }
    Ok(Device { name: name.map(Text::into_string).unwrap_or_default(), required, span: spec.span() })
}

impl Run {
    /// What is executed, heredocs included.
    ///
    /// A command that is nothing but a heredoc is the heredoc's body, or a file if the body begins
    /// with `#!`. Any other heredocs are left to the shell, behind the line that announces them.
    pub fn script(&self) -> Script {
        let line = match &self.command {
            CommandLine::Exec(words) => return Script::Exec(words.clone()),
            CommandLine::Shell(line) => line,
        };
        match (self.heredocs.first(), heredoc_mark(line)) {
            (None, _) => Script::Shell(line.clone()),
            (Some(only), Some(_)) if only.content.starts_with("#!") => {
                Script::File { name: only.name.clone(), content: only.content.clone() }
            }
            (Some(only), Some(_)) => Script::Shell(only.content.clone()),
            (Some(_), None) => {
                let mut script = line.clone();
                for heredoc in &self.heredocs {
                    script.push('\n');
                    script.push_str(&heredoc.raw);
                    script.push_str(&heredoc.name);
                }
                Script::Shell(script)
            }
        }
    }

    /// The first line of a command that is nothing but a heredoc, with `...` if there are more:
    /// what the progress shows in parentheses behind the instruction.
    pub fn summary(&self) -> Option<String> {
        let CommandLine::Shell(line) = &self.command else { return None };
        heredoc_mark(line)?;
        let body = self.heredocs.first()?.raw.trim();
        let (first, more) = match body.split_once('\n') {
            Some((first, _)) => (first.strip_suffix('\r').unwrap_or(first), "..."),
            None => (body, ""),
        };
        Some(format!("{first}{more}"))
    }
}
