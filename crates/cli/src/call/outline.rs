//! `--call=outline`.
//!
//! Source: BuildKit's `frontend/subrequests/outline`

use lbuild_builder::{Outline, OutlineArgument, OutlineMount};
use serde::Serialize;

use super::Text;
use super::go::{self, Location};
use crate::diagnostics::Source;

/// An outline in BuildKit's form.
#[derive(Debug, Serialize)]
pub struct Answer {
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    args: Vec<Argument>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    secrets: Vec<Mount>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ssh: Vec<Mount>,
    sources: [String; 1],
}

#[derive(Debug, Serialize)]
struct Argument {
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    value: String,
    location: Location,
}

#[derive(Debug, Serialize)]
struct Mount {
    name: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    required: bool,
    location: Location,
}

impl Answer {
    /// The answer for `dockerfile`, which is the text of `source` as it came.
    pub fn new(outline: &Outline, source: &Source, dockerfile: &[u8]) -> Self {
        let argument = |argument: &OutlineArgument| Argument {
            name: argument.name.clone(),
            description: argument.description.clone().unwrap_or_default(),
            value: argument.value.clone().unwrap_or_default(),
            location: Location::new(source, Some(argument.span)),
        };
        let mount = |mount: &OutlineMount| Mount {
            name: mount.id.clone(),
            required: mount.required,
            location: Location::new(source, Some(mount.span)),
        };
        Self {
            name: outline.name.clone().unwrap_or_default(),
            description: outline.description.clone().unwrap_or_default(),
            args: outline.arguments.iter().map(argument).collect(),
            secrets: outline.secrets.iter().map(mount).collect(),
            ssh: outline.agents.iter().map(mount).collect(),
            sources: [go::bytes(dockerfile)],
        }
    }
}

impl Text for Answer {
    fn text(&self) -> String {
        let mut blocks = Vec::new();
        if !self.name.is_empty() || !self.description.is_empty() {
            let name = if self.name.is_empty() { "(default)" } else { &self.name };
            let mut rows = vec![["TARGET:", name]];
            if !self.description.is_empty() {
                rows.push(["DESCRIPTION:", &self.description]);
            }
            blocks.push(go::table(&rows, 1));
        }
        if !self.args.is_empty() {
            let mut rows = vec![["BUILD ARG", "VALUE", "DESCRIPTION"]];
            rows.extend(self.args.iter().map(|arg| [arg.name.as_str(), &arg.value, &arg.description]));
            blocks.push(go::table(&rows, 3));
        }
        for (title, mounts) in [("SECRET", &self.secrets), ("SSH", &self.ssh)] {
            if !mounts.is_empty() {
                let mut rows = vec![[title, "REQUIRED"]];
                for mount in mounts {
                    rows.push([&mount.name, if mount.required { "true" } else { "" }]);
                }
                blocks.push(go::table(&rows, 3));
            }
        }
        blocks.into_iter().map(|block| block + "\n").collect()
    }
}

#[cfg(test)]
mod tests {
    use lbuild_parser::Span;

    use super::*;

    #[test]
    fn an_outline_is_shown_as_docker_shows_it() {
        let span = Span::new(0..4);
        let argument = |name: &str, value: Option<&str>, description: Option<&str>| OutlineArgument {
            name: name.to_owned(),
            description: description.map(str::to_owned),
            value: value.map(str::to_owned),
            span,
        };
        let mount = |id: &str, required| OutlineMount { id: id.to_owned(), required, span };
        let outline = Outline {
            name: Some("final".to_owned()),
            description: Some("is what runs".to_owned()),
            arguments: vec![
                argument("VERSION", Some("latest"), Some("of the base")),
                argument("A", None, None),
            ],
            secrets: vec![mount("token", true), mount("key", false)],
            agents: vec![mount("default", false)],
        };
        let text = Answer::new(&outline, &Source::new("Dockerfile", b"FROM a\n"), b"FROM a\n").text();
        assert_eq!(
            text,
            "TARGET:      final\nDESCRIPTION: is what runs\n\n\
             BUILD ARG   VALUE    DESCRIPTION\nVERSION     latest   of the base\nA                    \n\n\
             SECRET   REQUIRED\ntoken    true\nkey      \n\n\
             SSH       REQUIRED\ndefault   \n\n"
        );
    }

    #[test]
    fn what_is_empty_is_left_out() {
        let answer = Answer::new(&Outline::default(), &Source::new("Dockerfile", b"a"), b"a");
        assert_eq!(answer.text(), "");
        assert_eq!(go::json(&answer), "{\n  \"sources\": [\n    \"YQ==\"\n  ]\n}\n");
    }
}
