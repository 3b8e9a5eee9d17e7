//! ONBUILD.

use super::arguments::missing;
use super::flags::Flags;
use crate::syntax::{Arguments, Command, Node};
use crate::{Diagnostic, Instruction, Onbuild};

/// What Go's `\s` matches.
const BLANKS: [char; 5] = ['\t', '\n', '\u{c}', '\r', ' '];

pub(super) fn onbuild(node: &Node, errors: &mut Vec<Diagnostic>) -> Option<Instruction> {
    Flags::read(node, &[], errors);
    let Arguments::Trigger(Some(trigger)) = &node.arguments else {
        errors.push(missing(node, "requires at least one argument").help("write `ONBUILD INSTRUCTION`"));
        return None;
    };
    let message = match trigger.command {
        Some(Command::Onbuild) => "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed".to_owned(),
        Some(Command::From | Command::Maintainer) => {
            format!("{} isn't allowed as an ONBUILD trigger", trigger.keyword.to_ascii_uppercase())
        }
        _ => return Some(Instruction::Onbuild(Onbuild { text: text(node) })),
    };
    errors.push(Diagnostic::error(trigger.keyword.span(), message));
    None
}

/// The trigger with its heredocs, as the image's configuration keeps it. Tabs that `<<-` would cut
/// stay. Flags of ONBUILD itself, were there any, would stay too.
fn text(node: &Node) -> String {
    let line = node.line.trim_start_matches(BLANKS);
    let keyword = line.get(..7).filter(|keyword| keyword.eq_ignore_ascii_case("ONBUILD"));
    let mut text = line[keyword.map_or(0, str::len)..].trim_start_matches(BLANKS).to_owned();
    for heredoc in &node.heredocs {
        text.push('\n');
        text.push_str(&heredoc.raw);
        text.push_str(&heredoc.name);
    }
    text
}
