//! ADD and COPY.

use std::collections::HashMap;

use super::arguments::{missing, words};
use super::flags::{Flags, Kind};
use crate::expand::Expander;
use crate::syntax::{Node, chomp, heredoc_mark};
use crate::text::Text;
use crate::{Add, Copy, Diagnostic, Heredoc, Instruction, Source};

const ADD_FLAGS: [(&str, Kind); 7] = [
    ("chown", Kind::Value),
    ("chmod", Kind::Value),
    ("link", Kind::Switch),
    ("keep-git-dir", Kind::Switch),
    ("checksum", Kind::Value),
    ("unpack", Kind::Switch),
    ("exclude", Kind::List),
];

const COPY_FLAGS: [(&str, Kind); 6] = [
    ("chown", Kind::Value),
    ("from", Kind::Value),
    ("chmod", Kind::Value),
    ("link", Kind::Switch),
    ("exclude", Kind::List),
    ("parents", Kind::Switch),
];

/// One body may be named by many words; together they may have this many bytes.
const MAX_HEREDOCS_LEN: usize = 64 << 20;

pub(super) fn add(node: &Node, errors: &mut Vec<Diagnostic>) -> Option<Instruction> {
    let flags = Flags::read(node, &ADD_FLAGS, errors);
    let (sources, destination) = sources(node, errors)?;
    Some(Instruction::Add(Add {
        sources,
        destination,
        chown: flags.value("chown").map(|value| value.to_string()),
        chmod: flags.value("chmod").map(|value| value.to_string()),
        link: flags.switch("link").unwrap_or_default(),
        exclude: flags.values("exclude").map(|value| value.to_string()).collect(),
        keep_git_dir: flags.switch("keep-git-dir"),
        checksum: flags.value("checksum").map(|value| value.to_string()),
        unpack: flags.switch("unpack"),
    }))
}

pub(super) fn copy(node: &Node, escape: char, errors: &mut Vec<Diagnostic>) -> Option<Instruction> {
    let flags = Flags::read(node, &COPY_FLAGS, errors);
    let from = flags.value("from");
    errors.extend(from.and_then(|from| check_from(from, escape)));
    let (sources, destination) = sources(node, errors)?;
    Some(Instruction::Copy(Copy {
        sources,
        destination,
        from: from.map(|from| (from.to_string(), from.span())),
        chown: flags.value("chown").map(|value| value.to_string()),
        chmod: flags.value("chmod").map(|value| value.to_string()),
        link: flags.switch("link").unwrap_or_default(),
        parents: flags.switch("parents").unwrap_or_default(),
        exclude: flags.values("exclude").map(|value| value.to_string()).collect(),
    }))
}

/// `--from` must mean the same before and after expansion.
fn check_from(from: &Text, escape: char) -> Option<Diagnostic> {
    let expanded = Expander::new(escape, &|_| None).word(from);
    if expanded.is_ok_and(|expanded| expanded.text == **from) {
        return None;
    }
    Some(
        Diagnostic::error(
            from.span(),
            "variable expansion is not supported for --from, define a new stage with FROM using ARG from \
             global scope as a workaround",
        )
        .help(format!("write `FROM {} AS NAME` above and `--from=NAME` here", &**from)),
    )
}

fn sources(node: &Node, errors: &mut Vec<Diagnostic>) -> Option<(Vec<Source>, String)> {
    let (destination, sources) = match words(node) {
        [sources @ .., destination] if !sources.is_empty() => (destination, sources),
        _ => {
            let what = "requires at least two arguments, but only one was provided. Destination could not \
                        be determined";
            let command = node.keyword.to_ascii_uppercase();
            errors.push(missing(node, what).help(format!("write `{command} SOURCE DESTINATION`")));
            return None;
        }
    };
    if heredoc_mark(destination).is_some() {
        let message =
            format!("{} cannot accept a heredoc as a destination", node.keyword.to_ascii_uppercase());
        errors.push(Diagnostic::error(destination.span(), message).label("the last word is the destination"));
        return None;
    }
    // Of several heredocs with the same name the last one counts.
    let bodies: HashMap<_, _> = node.heredocs.iter().map(|body| (body.name.as_str(), body)).collect();
    let mut length = 0;
    let mut found = Vec::with_capacity(sources.len());
    for word in sources {
        let source = source(word, &bodies);
        if let Source::Heredoc(heredoc) = &source {
            length += heredoc.raw.len();
        }
        if length > MAX_HEREDOCS_LEN {
            errors.push(Diagnostic::error(word.span(), "the heredocs of one instruction are too long"));
            return None;
        }
        found.push(source);
    }
    Some((found, destination.to_string()))
}

fn source(word: &Text, bodies: &HashMap<&str, &Heredoc>) -> Source {
    let Some(mark) = heredoc_mark(word) else { return Source::Path(word.to_string(), word.span()) };
    let raw = bodies.get(mark.name.as_str()).map(|body| body.raw.clone()).unwrap_or_default();
    let content = if mark.chomp { chomp(&raw) } else { raw.clone() };
    Source::Heredoc(Heredoc {
        name: mark.name,
        expand: mark.expand,
        chomp: mark.chomp,
        fd: mark.fd,
        content,
        raw,
    })
}
