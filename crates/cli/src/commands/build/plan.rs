//! `lbuild build --plan`: what a build would do.

use std::io::{self, Write};
use std::time::Duration;

use lbuild_builder::{BuildEvent, BuildRequest, Cancel, Forecast, ForecastStep, Reason};
use lbuild_layer_store::Store;
use serde_json::{Value, json};

use crate::diagnostics::{self, Source, Style};
use crate::failure::{self, Failure};
use crate::progress::json::explained;
use crate::progress::steps::Steps;
use crate::table::Table;
use crate::{text, units};

/// The columns of an instruction.
const INSTRUCTION: usize = 50;

/// Prints which steps would run, why and for how long, below `heading` if there is one.
pub fn run(
    store: &Store,
    request: &BuildRequest,
    source: &Source,
    cancel: &Cancel,
    json: bool,
    heading: Option<String>,
) -> Result<(), Failure> {
    let tell = |event| match event {
        BuildEvent::Warning(warning) if !json => {
            diagnostics::print(&format!("{}\n", source.render(&warning, &Style::of_stderr())));
        }
        BuildEvent::Note(note) => diagnostics::print(&format!("note: {note}")),
        _ => {}
    };
    let forecast = lbuild_builder::forecast(store, request, &tell, cancel)
        .map_err(|error| failure::tell(source, &error))?;
    let mut out = io::stdout().lock();
    if json {
        writeln!(out, "{}", text::json_line(&object(&forecast)))?;
    } else {
        if let Some(heading) = heading {
            writeln!(out, "{heading}")?;
        }
        table(&forecast).write(&mut out)?;
        writeln!(out, "\n{}", summary(&forecast))?;
    }
    Ok(())
}

fn object(forecast: &Forecast) -> Value {
    let step = |forecast: &ForecastStep| {
        let ForecastStep { step, reasons, took } = forecast;
        json!({
            "step": step.id.0 + 1,
            "stage": step.stage,
            "number": step.number,
            "of": step.of,
            "text": step.text,
            "cached": reasons.is_none(),
            "certain": !is_uncertain(forecast),
            "reasons": reasons.iter().flatten().map(explained).collect::<Vec<_>>(),
            "seconds": took.map(|took| took.as_secs_f64()),
        })
    };
    json!({
        "steps": forecast.steps.iter().map(step).collect::<Vec<_>>(),
        "running": forecast.running().count(),
        "seconds": total(forecast).as_secs_f64(),
    })
}

fn table(forecast: &Forecast) -> Table {
    let mut steps = Steps::default();
    steps.add(&forecast.steps.iter().map(|step| step.step.clone()).collect::<Vec<_>>());
    let mut table = Table::new(["", "STEP", "PLAN", "TIME", "WHY"]);
    for step in &forecast.steps {
        let reason = step.reasons.as_ref().and_then(|reasons| reasons.first());
        let plan = match &step.reasons {
            None => "cached",
            Some(_) if is_uncertain(step) => "may run",
            Some(_) => "runs",
        };
        table.row([
            format!("#{}", step.step.id.0 + 1),
            text::cut(&steps.title(step.step.id), INSTRUCTION),
            plan.to_owned(),
            step.took.map(units::duration).unwrap_or_default(),
            reason.map(|reason| text::printable(reason.to_string().as_bytes())).unwrap_or_default(),
        ]);
    }
    table
}

fn summary(forecast: &Forecast) -> String {
    let (running, all) = (forecast.running().count(), forecast.steps.len());
    if running == 0 {
        return format!("None of {all} steps would run.");
    }
    let unknown = forecast.running().filter(|step| step.took.is_none()).count();
    let time = match unknown {
        _ if unknown == running => "no earlier build tells for how long".to_owned(),
        0 => format!("at most {}, going by earlier builds", units::duration(total(forecast))),
        _ => format!("{} for those that ran in earlier builds", units::duration(total(forecast))),
    };
    format!("{running} of {all} steps would run: {time}.")
}

/// Steps of several stages run at the same time, so this is the most.
fn total(forecast: &Forecast) -> Duration {
    forecast.running().filter_map(|step| step.took).sum()
}

/// Whether the step is cached after all if the steps before it give what they gave.
fn is_uncertain(step: &ForecastStep) -> bool {
    step.reasons.as_ref().is_some_and(|reasons| reasons.contains(&Reason::Unknown))
}
