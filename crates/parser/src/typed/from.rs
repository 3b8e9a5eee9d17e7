//! FROM.

use std::sync::LazyLock;

use regex::Regex;

use super::arguments::{description, words};
use super::flags::{Flags, Kind};
use crate::lint::CheckOptions;
use crate::syntax::Node;
use crate::text::Text;
use crate::{Diagnostic, Stage};

#[allow(clippy::unwrap_used)] // A constant.
static NAME: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^[a-z][a-z0-9_.-]*$").unwrap());

/// A stage without steps.
pub(super) fn stage(node: &Node, check: CheckOptions, errors: &mut Vec<Diagnostic>) -> Option<Stage> {
    let flags = Flags::read(node, &[("platform", Kind::Value)], errors);
    let (base, name) = match words(node) {
        [base] => (base, None),
        [base, keyword, name] if keyword.eq_ignore_ascii_case("as") => (base, Some(name)),
        words => {
            errors.push(wrong_count(node, words));
            return None;
        }
    };
    let name = match name.map(stage_name).transpose() {
        Ok(name) => name,
        Err(error) => {
            errors.push(error);
            return None;
        }
    };
    let description = name.as_ref().and_then(|name| description(&node.comments, name));
    Some(Stage {
        name,
        base: base.to_string(),
        base_span: base.span(),
        platform: flags.value("platform").map(|value| value.to_string()),
        description,
        steps: Vec::new(),
        span: node.span,
        text: node.line.trim().to_owned(),
        check,
    })
}

fn stage_name(written: &Text) -> Result<String, Diagnostic> {
    let name = written.to_lowercase();
    if NAME.is_match(&name) {
        return Ok(name);
    }
    let message = format!(
        "invalid name for build stage: \"{}\", name can't start with a number or contain symbols",
        &**written
    );
    Err(Diagnostic::error(written.span(), message)
        .help("a name is a letter, then letters, digits, `-`, `_` and `.`"))
}

fn wrong_count(node: &Node, words: &[Text]) -> Diagnostic {
    let message = "FROM requires either one or three arguments";
    let help = "write `FROM IMAGE` or `FROM IMAGE AS NAME`";
    let error = match words {
        [] => Diagnostic::error(node.keyword.span(), message).label("an image is missing"),
        [_, keyword] if keyword.eq_ignore_ascii_case("as") => {
            Diagnostic::error(keyword.span(), message).label("a name is missing")
        }
        [_, keyword, ..] if !keyword.eq_ignore_ascii_case("as") => {
            Diagnostic::error(keyword.span(), message).label("expected `AS`")
        }
        [.., last] => Diagnostic::error(last.span(), message).label("one word too many"),
    };
    error.help(help)
}
