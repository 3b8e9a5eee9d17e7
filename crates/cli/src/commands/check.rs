//! `lbuild check`.

use std::io::{self, Write};

use lbuild_builder::{BuildError, BuildRequest, Checked, ContextFolder};
use lbuild_layer_store::Store;
use lbuild_parser::{Diagnostic, Severity};
use serde_json::{Value, json};

use crate::args::{CheckArgs, CheckFormat};
use crate::diagnostics::{Source, Style};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::{diagnostics, dockerfile};

/// Reads a Dockerfile and says what is wrong with it or could be better.
///
/// # Errors
/// [`Exit::Dockerfile`] if there are errors, [`Exit::Failed`] if there are warnings only.
pub fn run(store: &Store, args: &CheckArgs) -> Result<(), Failure> {
    if args.file.is_none() {
        dockerfile::check_context(&args.path)?;
    }
    let file = dockerfile::read(args.file.as_deref(), &args.path)?;
    let source = Source::new(&file.name, &file.content);
    let request = BuildRequest {
        context: args.path.is_dir().then(|| ContextFolder::of_user(&args.path)),
        dockerfile_path: file.path,
        ..BuildRequest::new(file.content)
    };
    let findings = findings(lbuild_builder::check(store, &request));
    match args.format {
        CheckFormat::Human => print_human(&source, &findings)?,
        CheckFormat::Json => print_json(&json(&source, &findings))?,
        CheckFormat::Sarif => print_json(&sarif(&source, &findings))?,
    }
    match findings.iter().map(|finding| finding.severity).max() {
        None => Ok(()),
        Some(Severity::Warning) => Err(Failure::Reported(Exit::Failed)),
        Some(Severity::Error) => Err(Failure::Reported(Exit::Dockerfile)),
    }
}

/// Errors and what could be better, in the order of the file.
fn findings(checked: Checked) -> Vec<Diagnostic> {
    let mut findings = checked.warnings;
    match checked.error {
        None => {}
        Some(BuildError::Dockerfile(problems)) => findings.extend(problems),
        Some(error) => findings.push(Diagnostic::file_error(error.to_string())),
    }
    findings.sort_by_key(|finding| finding.span);
    findings
}

fn print_human(source: &Source, findings: &[Diagnostic]) -> Result<(), Failure> {
    let style = Style::of_stderr();
    for finding in findings {
        diagnostics::print(&format!("{}\n", source.render(finding, &style)));
    }
    if findings.is_empty() {
        writeln!(io::stdout().lock(), "{}: nothing to report", source.name())?;
    } else {
        let plural = if findings.len() == 1 { "" } else { "s" };
        diagnostics::print(&format!("{}: {} finding{plural}", source.name(), findings.len()));
    }
    Ok(())
}

fn print_json(value: &Value) -> Result<(), Failure> {
    writeln!(io::stdout().lock(), "{}", crate::text::json_lines(value))?;
    Ok(())
}

fn json(source: &Source, findings: &[Diagnostic]) -> Value {
    findings.iter().map(|finding| source.json(finding)).collect()
}

/// Source: <https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>
fn sarif(source: &Source, findings: &[Diagnostic]) -> Value {
    let results: Vec<Value> = findings.iter().map(|finding| sarif_result(source, finding)).collect();
    let mut rules: Vec<(&str, Option<&str>)> =
        findings.iter().filter_map(|finding| Some((finding.rule?, finding.url))).collect();
    rules.sort();
    rules.dedup();
    let rules: Vec<Value> = rules.iter().map(|(rule, url)| json!({ "id": rule, "helpUri": url })).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "lbuild",
                "version": env!("CARGO_PKG_VERSION"),
                "informationUri": env!("CARGO_PKG_REPOSITORY"),
                "rules": rules,
            }},
            "results": results,
        }],
    })
}

fn sarif_result(source: &Source, finding: &Diagnostic) -> Value {
    let mut physical = json!({ "artifactLocation": { "uri": source.name() } });
    if let Some(span) = finding.span {
        let place = source.place(span);
        physical["region"] = json!({
            "startLine": place["line"],
            "startColumn": place["column"],
            "endLine": place["end_line"],
            "endColumn": place["end_column"],
        });
    }
    let mut text = finding.message.clone();
    if let Some(help) = &finding.help {
        text += &format!(": {help}");
    }
    let mut result = json!({
        "level": finding.severity,
        "message": { "text": text },
        "locations": [{ "physicalLocation": physical }],
    });
    if let Some(rule) = finding.rule {
        result["ruleId"] = rule.into();
    }
    result
}

#[cfg(test)]
mod tests {
    use lbuild_parser::Span;

    use super::*;

    #[test]
    fn findings_are_in_the_order_of_the_file() {
        let at = |start| Span::new(start..start + 1);
        let checked = Checked {
            warnings: vec![Diagnostic::warning(at(5), "second"), Diagnostic::warning(at(1), "first")],
            error: Some(BuildError::Dockerfile(vec![Diagnostic::error(at(9), "third")])),
        };
        let found: Vec<_> =
            findings(checked).into_iter().map(|finding| (finding.message, finding.severity)).collect();
        let expected = [
            ("first".to_owned(), Severity::Warning),
            ("second".to_owned(), Severity::Warning),
            ("third".to_owned(), Severity::Error),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn an_error_without_a_place_is_a_finding() {
        let checked = Checked { warnings: Vec::new(), error: Some(BuildError::Interrupted) };
        let found = findings(checked);
        assert_eq!((found[0].severity, found[0].span), (Severity::Error, None));
    }

    #[test]
    fn sarif_has_lines_and_columns_from_one() {
        let source = Source::new("Dockerfile", b"FROM a\nRUN b\n");
        let mut finding = Diagnostic::warning(Span::new(11..12), "too short");
        finding.rule = Some("Short");
        let sarif = sarif(&source, &[finding]);
        let result = &sarif["runs"][0]["results"][0];
        assert_eq!(result["level"], "warning");
        assert_eq!(result["ruleId"], "Short");
        let region = &result["locations"][0]["physicalLocation"]["region"];
        assert_eq!(region, &json!({ "startLine": 2, "startColumn": 5, "endLine": 2, "endColumn": 6 }));
        assert_eq!(sarif["runs"][0]["tool"]["driver"]["rules"][0]["id"], "Short");
    }
}
