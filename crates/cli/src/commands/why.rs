//! `lbuild why`.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use lbuild_builder::{BuildReport, Fate, PlannedStep, StepId, StepReport, Subject};
use lbuild_layer_store::{BuildName, Store};
use lbuild_parser::Span;
use serde_json::{Value, json};

use crate::args::WhyArgs;
use crate::dockerfile::{self, Dockerfile, is_stdin};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::progress::json::explained;
use crate::progress::steps::Steps;
use crate::{subject, text, units};

/// Prints what became of the last build's steps and why.
pub fn run(store: &Store, args: &WhyArgs) -> Result<(), Failure> {
    let (step, context) = words(&args.words)?;
    let (name, report) = find(store, args, context)?;
    if let Some(step) = step.filter(|step| *step > report.steps.len()) {
        return Err(Failure::new(Exit::Failed, format!("build {} has no step {step}", name.number))
            .help(format!("its steps are 1 to {}", report.steps.len())));
    }
    let titles = titles(&report);
    let mut out = io::stdout().lock();
    if !args.json {
        writeln!(out, "{}", heading(&name, &report))?;
    }
    for (index, report) in report.steps.iter().enumerate() {
        if step.is_some_and(|step| step != index + 1) {
            continue;
        }
        let title = titles.title(StepId(index));
        if args.json {
            writeln!(out, "{}", text::json_line(&object(&name, index, report)))?;
        } else {
            write_step(&mut out, index, &title, report, step.is_some())?;
        }
    }
    Ok(())
}

/// The names of a build's steps.
pub fn titles(report: &BuildReport) -> Steps {
    let stage_length = |stage: &str| report.steps.iter().filter(|step| step.stage == stage).count();
    let planned = |(index, step): (usize, &StepReport)| PlannedStep {
        id: StepId(index),
        stage: step.stage.clone(),
        number: step.number,
        of: stage_length(&step.stage),
        text: step.text.clone(),
        span: Span::default(),
    };
    let mut steps = Steps::default();
    steps.add(&report.steps.iter().enumerate().map(planned).collect::<Vec<_>>());
    steps
}

/// A step, which is a number, and a context.
fn words(words: &[String]) -> Result<(Option<usize>, &Path), Failure> {
    let number = |word: &String| word.parse().ok().filter(|number| *number > 0);
    match words {
        [] => Ok((None, Path::new("."))),
        [word] => Ok(match number(word) {
            Some(step) => (Some(step), Path::new(".")),
            None => (None, Path::new(word)),
        }),
        [step, context, ..] => match number(step) {
            Some(step) => Ok((Some(step), Path::new(context))),
            None => Err(Failure::usage(format!("{step:?} is no step: expected a number from 1"))),
        },
    }
}

fn find(store: &Store, args: &WhyArgs, context: &Path) -> Result<(BuildName, BuildReport), Failure> {
    if let Some(number) = args.build {
        let build = store.builds()?.into_iter().find(|build| build.number == number);
        let report = build.and_then(|build| Some((build.clone(), BuildReport::read(store, &build)?)));
        return report.ok_or_else(|| {
            Failure::new(Exit::Failed, format!("build {number} is not remembered, or has not ended"))
                .help("`lbuild logs --list` lists the builds")
        });
    }
    let subject = subject(args, context)?;
    let mut builds = BuildReport::of_subject(store, &subject)?;
    builds.find(|(_, report)| args.target.is_none() || report.target == args.target).ok_or_else(|| {
        let Subject { dockerfile, context } = subject;
        Failure::new(
            Exit::Failed,
            format!("no build of {dockerfile} with the context {context} is remembered"),
        )
        .help("`lbuild logs --list` lists the builds; `lbuild build --plan` says what one would do")
    })
}

/// What a build with these arguments is remembered as.
fn subject(args: &WhyArgs, context: &Path) -> Result<Subject, Failure> {
    let is_folder = context.is_dir();
    let dockerfile = match &args.file {
        Some(file) if is_stdin(file) => unread("<stdin>".to_owned()),
        Some(file) if is_folder => Dockerfile { path: Some(file.clone()), ..unread(String::new()) },
        Some(file) => unread(file.display().to_string()),
        None if is_folder => dockerfile::read(None, context)?,
        None if is_stdin(context) => unread("<stdin>".to_owned()),
        None => unread("Dockerfile".to_owned()),
    };
    Ok(subject::of(context, &dockerfile))
}

fn unread(name: String) -> Dockerfile {
    Dockerfile { name, content: Vec::new(), path: None }
}

fn heading(name: &BuildName, report: &BuildReport) -> String {
    let ran = report.steps_run();
    let end = match &report.error {
        None => String::new(),
        Some(error) => format!(", failed: {}", text::printable(error.as_bytes())),
    };
    format!(
        "Build {}, {}: {ran} of {} steps ran, {}{end}",
        name.number,
        units::age(Some(&report.started), Timestamp::now()),
        report.steps.len(),
        units::duration(seconds(report.seconds)),
    )
}

fn write_step(
    out: &mut impl Write,
    index: usize,
    title: &str,
    step: &StepReport,
    whole: bool,
) -> io::Result<()> {
    let word = match step.fate {
        Fate::Cached => "HIT",
        Fate::NotReached if step.reasons.is_empty() => "not reached",
        _ => "MISS",
    };
    writeln!(out, "#{} {title}", index + 1)?;
    let mut reasons = step.reasons.iter().map(|reason| text::printable(reason.to_string().as_bytes()));
    match reasons.next() {
        None => writeln!(out, "   {word}")?,
        Some(reason) => writeln!(out, "   {word}: {reason}")?,
    }
    if whole {
        for reason in reasons {
            writeln!(out, "   and: {reason}")?;
        }
    }
    match step.fate {
        Fate::Failed => writeln!(out, "   failed"),
        Fate::NotReached if !step.reasons.is_empty() => writeln!(out, "   stopped before its end"),
        _ => Ok(()),
    }
}

fn object(name: &BuildName, index: usize, step: &StepReport) -> Value {
    json!({
        "build": name.number,
        "step": index + 1,
        "stage": step.stage,
        "number": step.number,
        "text": step.text,
        "fate": step.fate,
        "reasons": step.reasons.iter().map(explained).collect::<Vec<_>>(),
        "seconds": step.seconds,
    })
}

/// Seconds of a record, which may hold any number.
pub fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_step_and_anything_else_a_context() {
        let read = |line: &str| {
            let given: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            words(&given).ok().map(|(step, path)| (step, path.to_owned()))
        };
        for (line, expected) in [
            ("", Some((None, "."))),
            ("3", Some((Some(3), "."))),
            ("app", Some((None, "app"))),
            ("./3", Some((None, "./3"))),
            ("3 app", Some((Some(3), "app"))),
            ("app 3", None),
            ("0", Some((None, "0"))),
        ] {
            assert_eq!(read(line), expected.map(|(step, path)| (step, path.into())), "{line}");
        }
    }
}
