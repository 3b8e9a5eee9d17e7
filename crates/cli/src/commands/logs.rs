//! `lbuild logs`.

use std::io::{self, Read, Write};

use jiff::Timestamp;
use lbuild_builder::{BuildReport, StepId, Stream};
use lbuild_layer_store::{BuildName, Store};
use serde_json::{Value, json};

use super::why::{seconds, titles};
use crate::args::LogsArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::progress::lines::Lines;
use crate::progress::steps::Steps;
use crate::table::Table;
use crate::{diagnostics, text, units};

/// As much of a log as is in memory at once.
const PART: usize = 64 << 10;

/// Prints what steps printed, or lists the builds.
pub fn run(store: &Store, args: &LogsArgs) -> Result<(), Failure> {
    let builds = store.builds()?;
    if args.list {
        return list(store, &builds, args.json);
    }
    let found = match args.build {
        Some(number) => builds.into_iter().find(|build| build.number == number),
        None => builds.into_iter().next(),
    };
    let build = found.ok_or_else(|| {
        Failure::new(Exit::Failed, "there is no such build")
            .help("`lbuild logs --list` lists those that are remembered")
    })?;
    let report = BuildReport::read(store, &build);
    let mut out = io::stdout().lock();
    let steps = match args.step {
        Some(step) => vec![step as usize - 1],
        None => store.logged_steps(&build)?,
    };
    if steps.is_empty() && !args.json {
        let number = build.number;
        diagnostics::print(&format!(
            "note: the steps of build {number} printed nothing; `lbuild logs --list` says how many ran"
        ));
    }
    let log = Log { store, build: &build, report: report.as_ref(), args };
    for step in steps {
        log.write(&mut out, step)?;
    }
    Ok(())
}

/// A build's log.
struct Log<'a> {
    store: &'a Store,
    build: &'a BuildName,
    report: Option<&'a BuildReport>,
    args: &'a LogsArgs,
}

impl Log<'_> {
    /// Writes what a step printed; of one that printed nothing, nothing.
    fn write(&self, out: &mut impl Write, step: usize) -> Result<(), Failure> {
        let Some(mut log) = self.store.log(self.build, step)? else { return self.check(step) };
        if self.args.raw {
            io::copy(&mut log, out)?;
            return Ok(());
        }
        if self.args.step.is_none() && !self.args.json {
            let titles = self.report.map_or_else(Steps::default, titles);
            writeln!(out, "#{} {}", step + 1, titles.title(StepId(step)))?;
        }
        let (mut lines, mut part) = (Lines::default(), vec![0; PART]);
        loop {
            let length = log.read(&mut part).map_err(Failure::io("cannot read the log"))?;
            if length == 0 {
                break;
            }
            for line in lines.push(StepId(step), Stream::Stdout, &part[..length]) {
                self.line(out, step, &line)?;
            }
        }
        for (_, line) in lines.end(StepId(step)) {
            self.line(out, step, &line)?;
        }
        Ok(())
    }

    fn line(&self, out: &mut impl Write, step: usize, line: &[u8]) -> io::Result<()> {
        if self.args.json {
            let line = String::from_utf8_lossy(line);
            let line = json!({ "build": self.build.number, "step": step + 1, "line": line });
            return writeln!(out, "{}", text::json_line(&line));
        }
        writeln!(out, "{}", text::printable(text::last_overwrite(line)))
    }

    /// A step that is not there is an error; one that printed nothing is not.
    fn check(&self, step: usize) -> Result<(), Failure> {
        match self.report {
            Some(report) if step >= report.steps.len() => {
                let message = format!("build {} has no step {}", self.build.number, step + 1);
                Err(Failure::new(Exit::Failed, message)
                    .help(format!("its steps are 1 to {}", report.steps.len())))
            }
            _ => Ok(()),
        }
    }
}

fn list(store: &Store, builds: &[BuildName], json: bool) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let mut table = Table::new(["BUILD", "STARTED", "TOOK", "STEPS", "RESULT", "DOCKERFILE"]);
    for build in builds {
        let report = BuildReport::read(store, build);
        if json {
            writeln!(out, "{}", text::json_line(&object(build, report.as_ref())))?;
        } else {
            table.row(row(build, report.as_ref()));
        }
    }
    if !json {
        table.write(&mut out)?;
    }
    Ok(())
}

fn row(build: &BuildName, report: Option<&BuildReport>) -> [String; 6] {
    let number = build.number.to_string();
    let Some(report) = report else {
        return [number, String::new(), String::new(), String::new(), "not ended".to_owned(), String::new()];
    };
    let (ran, all) = (report.steps_run(), report.steps.len());
    let result = report.image.map_or_else(|| "failed".to_owned(), |image| image.short());
    [
        number,
        units::age(Some(&report.started), Timestamp::now()),
        units::duration(seconds(report.seconds)),
        format!("{ran} of {all} ran"),
        result,
        text::printable(report.subject.dockerfile.as_bytes()),
    ]
}

fn object(build: &BuildName, report: Option<&BuildReport>) -> Value {
    let Some(report) = report else { return json!({ "build": build.number, "ended": false }) };
    json!({
        "build": build.number,
        "ended": true,
        "started": report.started,
        "seconds": report.seconds,
        "dockerfile": report.subject.dockerfile,
        "context": report.subject.context,
        "target": report.target,
        "image": report.image,
        "error": report.error,
        "steps": report.steps.len(),
        "executed": report.steps_run(),
    })
}
