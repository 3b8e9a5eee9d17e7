//! `lbuild store`.

use std::io::{self, Write};

use lbuild_layer_store::{CheckReport, Store};
use serde_json::json;

use crate::args::{StoreCheckArgs, StoreCommand};
use crate::exit::Exit;
use crate::failure::Failure;

/// Verifies the store, and says what is wrong with it.
pub fn run(store: &Store, command: &StoreCommand) -> Result<(), Failure> {
    let StoreCommand::Check(args) = command;
    let report = store.check(args.repair)?;
    let mut out = io::stdout().lock();
    out.write_all(describe(&report, args).as_bytes())?;
    if report.findings.iter().any(|finding| !finding.is_repaired) {
        return Err(Failure::Reported(Exit::Failed));
    }
    Ok(())
}

fn describe(report: &CheckReport, args: &StoreCheckArgs) -> String {
    if args.json {
        let findings = report.findings.iter().map(|finding| {
            json!({ "path": finding.path, "reason": finding.reason, "repaired": finding.is_repaired })
        });
        let findings: Vec<_> = findings.collect();
        let report = json!({
            "verified": report.verified,
            "unnamed": report.unnamed,
            "elsewhere": report.elsewhere,
            "findings": findings,
        });
        return format!("{report}\n");
    }
    let mut text = String::new();
    for finding in &report.findings {
        let done = if finding.is_repaired { ": moved to quarantine" } else { "" };
        text += &format!("{}: {}{done}\n", finding.path.display(), finding.reason);
    }
    text += &format!("{} verified, {} damaged\n", report.verified, report.findings.len());
    if report.elsewhere > 0 {
        text += &format!("layers not here, to be verified when they are fetched: {}\n", report.elsewhere);
    }
    if report.findings.iter().any(|finding| !finding.is_repaired) {
        text +=
            "`lbuild store check --repair` moves it out of the way; the next build or load makes it again\n";
    }
    text
}
