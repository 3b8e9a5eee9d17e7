//! `--check`.
//!
//! Source: BuildKit's `frontend/subrequests/lint`

use std::path::Path;

use lbuild_builder::{BuildError, Checked};
use lbuild_parser::lint::Rule;
use lbuild_parser::{Diagnostic, Span};
use serde::Serialize;

use super::Text;
use super::go::{self, Location};
use crate::diagnostics::Source;

/// The findings in BuildKit's form.
#[derive(Debug, Serialize)]
pub struct Answer {
    /// Nothing is `null` in Go.
    warnings: Option<Vec<Warning>>,
    sources: [SourceInfo; 1],
    #[serde(rename = "buildError", skip_serializing_if = "Option::is_none")]
    error: Option<Failure>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Warning {
    rule_name: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    url: &'static str,
    detail: String,
    location: Location,
    /// The lines around, for people.
    #[serde(skip)]
    excerpt: String,
}

#[derive(Debug, Serialize)]
struct SourceInfo {
    filename: String,
    data: String,
    language: &'static str,
}

#[derive(Debug, Serialize)]
struct Failure {
    message: String,
    location: Location,
}

impl Answer {
    /// The answer for `dockerfile`, which is the text of `source` as it came.
    pub fn new(checked: &Checked, source: &Source, dockerfile: &[u8]) -> Self {
        let mut found: Vec<&Diagnostic> = checked.warnings.iter().collect();
        found.sort_by_key(|warning| warning.span);
        let instructions = instructions(dockerfile);
        let warning = |found| Warning::new(found, source, &instructions);
        let warnings: Vec<Warning> = found.into_iter().map(warning).collect();
        let info = SourceInfo {
            filename: file_name(source.name()),
            data: go::bytes(dockerfile),
            language: "Dockerfile",
        };
        Self {
            warnings: (!warnings.is_empty()).then_some(warnings),
            sources: [info],
            error: checked.error.as_ref().map(|error| Failure::new(error, source)),
        }
    }
}

impl Warning {
    /// The finding with the place of its whole instruction, which is all that BuildKit knows of.
    fn new(found: &Diagnostic, source: &Source, instructions: &[Span]) -> Self {
        let rule = found.rule.unwrap_or_default();
        let instruction = |span: Span| {
            let around = |whole: &&Span| whole.start <= span.start && span.end <= whole.end;
            instructions.iter().find(around).copied().unwrap_or(span)
        };
        let span = match rule == Rule::NoEmptyContinuation.name() {
            true => found.span,
            false => found.span.map(instruction),
        };
        let description = Rule::ALL.into_iter().find(|known| known.name() == rule).map(Rule::description);
        Self {
            rule_name: rule,
            description: description.unwrap_or_default(),
            url: found.url.unwrap_or_default(),
            detail: found.message.clone(),
            location: Location::new(source, span),
            excerpt: span.map(|span| source.excerpt(span)).unwrap_or_default(),
        }
    }
}

/// A Dockerfile's name without its folder: clients send the folder and the name apart.
fn file_name(path: &str) -> String {
    Path::new(path).file_name().map_or(path.into(), |name| name.to_string_lossy()).into_owned()
}

/// Where the instructions stand, if the file is right.
fn instructions(dockerfile: &[u8]) -> Vec<Span> {
    let Ok(dockerfile) = lbuild_parser::parse(dockerfile) else { return Vec::new() };
    let globals = dockerfile.global_args.iter().map(|(_, span)| *span);
    let stages = dockerfile.stages.iter();
    let steps =
        stages.flat_map(|stage| std::iter::once(stage.span).chain(stage.steps.iter().map(|step| step.span)));
    globals.chain(steps).collect()
}

impl Failure {
    fn new(error: &BuildError, source: &Source) -> Self {
        match error {
            BuildError::Dockerfile(problems) if !problems.is_empty() => Self {
                message: problems[0].message.clone(),
                location: Location::new(source, problems[0].span),
            },
            error => Self { message: error.to_string(), location: Location::default() },
        }
    }
}

impl Text for Answer {
    fn text(&self) -> String {
        let warnings = self.warnings.as_deref().unwrap_or_default();
        let mut text = match (warnings.len(), &self.error) {
            (0, Some(_)) => return String::new(),
            (0, None) => "Check complete, no warnings found.\n".to_owned(),
            (1, _) => "Check complete, 1 warning has been found!\n".to_owned(),
            (count, _) => format!("Check complete, {count} warnings have been found!\n"),
        };
        for warning in warnings {
            text.push_str(&format!("\nWARNING: {}", warning.rule_name));
            if !warning.url.is_empty() {
                text.push_str(&format!(" - {}", warning.url));
            }
            text.push_str(&format!("\n{}\n{}", warning.detail, warning.excerpt));
        }
        if self.error.is_some() {
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCKERFILE: &[u8] = b"FROM a\nMAINTAINER me\nRUN b\nRUN c\n";

    fn answer(rules: &[Rule], error: Option<BuildError>) -> Answer {
        let warning = |rule: &Rule| {
            let mut found = Diagnostic::warning(Span::new(7..20), "it is old");
            found.rule = Some(rule.name());
            found.url = rule.url();
            found
        };
        let checked = Checked { warnings: rules.iter().map(warning).collect(), error };
        Answer::new(&checked, &Source::new("Dockerfile", DOCKERFILE), DOCKERFILE)
    }

    #[test]
    fn findings_are_shown_as_docker_shows_them() {
        assert_eq!(
            answer(&[Rule::MaintainerDeprecated], None).text(),
            "Check complete, 1 warning has been found!\n\n\
             WARNING: MaintainerDeprecated - https://docs.docker.com/go/dockerfile/rule/maintainer-deprecated/\n\
             it is old\n\
             Dockerfile:2\n\
             --------------------\n   1 |     FROM a\n   2 | >>> MAINTAINER me\n   3 |     RUN b\n   4 |     RUN c\n\
             --------------------\n"
        );
    }

    #[test]
    fn the_first_line_counts_the_findings() {
        let error = || Some(BuildError::Dockerfile(vec![Diagnostic::file_error("wrong")]));
        let rule = Rule::MaintainerDeprecated;
        for (rules, error, expected) in [
            (&[][..], None, "Check complete, no warnings found."),
            (&[rule], error(), "Check complete, 1 warning has been found!"),
            (&[rule, rule], None, "Check complete, 2 warnings have been found!"),
            (&[], error(), ""),
        ] {
            let text = answer(rules, error).text();
            assert_eq!(text.lines().next().unwrap_or_default(), expected);
        }
    }

    #[test]
    fn programs_get_rules_places_and_the_error() {
        let error = BuildError::Dockerfile(vec![Diagnostic::error(Span::new(21..26), "wrong")]);
        let json = serde_json::to_value(answer(&[Rule::MaintainerDeprecated], Some(error))).unwrap();
        assert_eq!(json["warnings"][0]["ruleName"], "MaintainerDeprecated");
        assert_eq!(json["warnings"][0]["location"]["ranges"][0]["end"]["line"], 2);
        assert_eq!(json["buildError"]["message"], "wrong");
        assert_eq!(json["buildError"]["location"]["ranges"][0]["start"]["line"], 3);
        assert_eq!(serde_json::to_value(answer(&[], None)).unwrap()["warnings"], serde_json::Value::Null);
    }
}
