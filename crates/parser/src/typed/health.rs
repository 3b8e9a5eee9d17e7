//! HEALTHCHECK.

use super::arguments::{command_line, missing};
use super::flags::{Flags, Kind};
use crate::go::parse_duration;
use crate::syntax::{Arguments, Node};
use crate::{Diagnostic, Healthcheck, Instruction};

const FLAGS: [(&str, Kind); 5] = [
    ("interval", Kind::Value),
    ("timeout", Kind::Value),
    ("start-period", Kind::Value),
    ("start-interval", Kind::Value),
    ("retries", Kind::Value),
];

/// The shortest interval, in nanoseconds.
const MINIMUM: i64 = 1_000_000;

pub(super) fn healthcheck(node: &Node, errors: &mut Vec<Diagnostic>) -> Option<Instruction> {
    let Arguments::Health { kind, command, json } = &node.arguments else { return None };
    let Some(kind) = kind else {
        let error = missing(node, "requires at least one argument");
        errors.push(error.help("write `HEALTHCHECK CMD COMMAND` or `HEALTHCHECK NONE`"));
        return None;
    };
    if kind.eq_ignore_ascii_case("NONE") {
        if let Some(extra) = command.first() {
            errors.push(Diagnostic::error(extra.span(), "HEALTHCHECK NONE takes no arguments"));
        }
        return Some(Instruction::Healthcheck(Healthcheck::None));
    }
    let flags = Flags::read(node, &FLAGS, errors);
    if !kind.eq_ignore_ascii_case("CMD") {
        let message = format!("Unknown type \"{}\" in HEALTHCHECK (try CMD)", kind.to_uppercase());
        let help = "write `HEALTHCHECK CMD COMMAND`; flags such as `--interval=5s` stand before CMD";
        errors.push(Diagnostic::error(kind.span(), message).help(help));
        return None;
    }
    if command.is_empty() {
        errors.push(Diagnostic::error(kind.span(), "Missing command after HEALTHCHECK CMD"));
        return None;
    }
    Some(Instruction::Healthcheck(Healthcheck::Check {
        command: command_line(command, *json),
        interval: interval(&flags, "interval", errors),
        timeout: interval(&flags, "timeout", errors),
        start_period: interval(&flags, "start-period", errors),
        start_interval: interval(&flags, "start-interval", errors),
        retries: retries(&flags, errors),
    }))
}

/// A duration in nanoseconds. Zero means the default, as if the flag were not there.
fn interval(flags: &Flags, name: &str, errors: &mut Vec<Diagnostic>) -> Option<i64> {
    let value = flags.value(name)?;
    match parse_duration(value) {
        Ok(0) => None,
        Ok(nanoseconds) if nanoseconds >= MINIMUM => Some(nanoseconds),
        Ok(_) => {
            let message = format!("Interval \"{name}\" cannot be less than 1ms");
            errors.push(Diagnostic::error(value.span(), message));
            None
        }
        Err(reason) => {
            errors
                .push(Diagnostic::error(value.span(), reason).help("a duration is such as `30s` or `1m30s`"));
            None
        }
    }
}

/// Zero means the default, as if the flag were not there.
fn retries(flags: &Flags, errors: &mut Vec<Diagnostic>) -> Option<i64> {
    let value = flags.value("retries")?;
    match value.parse::<i32>() {
        Ok(0) => None,
        Ok(retries) if retries > 0 => Some(retries.into()),
        Ok(retries) => {
            let message = format!("--retries cannot be negative ({retries})");
            errors.push(Diagnostic::error(value.span(), message));
            None
        }
        Err(_) => {
            errors.push(
                Diagnostic::error(value.span(), format!("invalid number for --retries: \"{}\"", &**value))
                    .help("write a whole number, such as `--retries=3`"),
            );
            None
        }
    }
}
