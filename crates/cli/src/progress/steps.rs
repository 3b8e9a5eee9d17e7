//! The steps of a build, as renderers name them.

use std::collections::BTreeMap;
use std::time::Duration;

use lbuild_builder::{LayerSummary, PlannedStep, StepId};

use crate::{text, units};

/// The steps that were announced.
#[derive(Default)]
pub struct Steps {
    steps: BTreeMap<StepId, Step>,
    several_stages: bool,
}

struct Step {
    planned: PlannedStep,
    /// Since the build began.
    started: Option<Duration>,
}

impl Steps {
    /// Adds steps.
    pub fn add(&mut self, steps: &[PlannedStep]) {
        for planned in steps {
            self.steps.insert(planned.id, Step { planned: planned.clone(), started: None });
        }
        let mut stages = self.steps.values().map(|step| &step.planned.stage);
        let first = stages.next();
        self.several_stages = stages.any(|stage| Some(stage) != first);
    }

    /// How many steps there are.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Notes that a step began at `at`; whether it had not begun before.
    pub fn start(&mut self, id: StepId, at: Duration) -> bool {
        match self.steps.get_mut(&id) {
            Some(step) if step.started.is_none() => {
                step.started = Some(at);
                true
            }
            _ => false,
        }
    }

    /// The time from a step's start to `at`.
    pub fn elapsed(&self, id: StepId, at: Duration) -> Duration {
        let started = self.steps.get(&id).and_then(|step| step.started);
        started.map_or(Duration::ZERO, |started| at.saturating_sub(started))
    }

    /// `[stage 2/5] RUN make`; the stage is left out where there is only one and it has no name.
    pub fn title(&self, id: StepId) -> String {
        let Some(Step { planned, .. }) = self.steps.get(&id) else { return format!("step {}", id.0) };
        let numbered = planned.stage.bytes().all(|byte| byte.is_ascii_digit());
        let stage = match (numbered, self.several_stages) {
            (true, false) => String::new(),
            (true, true) => format!("stage-{} ", planned.stage),
            (false, _) => format!("{} ", text::printable(planned.stage.as_bytes())),
        };
        let instruction = text::printable(planned.text.as_bytes());
        format!("[{stage}{}/{}] {instruction}", planned.number, planned.of)
    }
}

/// `layer sha256:0123456789ab 1.2 kB (3 entries)`.
pub fn layer(layer: &LayerSummary) -> String {
    // An import does not always tell how much a layer holds.
    if layer.size == 0 {
        return format!("layer sha256:{}", layer.diff_id.digest().short());
    }
    let entries = if layer.entries == 1 { "entry" } else { "entries" };
    format!(
        "layer sha256:{} {} ({} {entries})",
        layer.diff_id.digest().short(),
        units::size(layer.size),
        layer.entries
    )
}

#[cfg(test)]
mod tests {
    use lbuild_parser::Span;

    use super::*;

    fn step(id: usize, stage: &str) -> PlannedStep {
        PlannedStep {
            id: StepId(id),
            stage: stage.to_owned(),
            number: 1,
            of: 1,
            text: "FROM\tx\u{1b}[2J".to_owned(),
            span: Span::default(),
        }
    }

    #[test]
    fn titles_name_the_stage_where_it_matters() {
        let mut steps = Steps::default();
        steps.add(&[step(0, "0")]);
        assert_eq!(steps.title(StepId(0)), "[1/1] FROM    x");
        steps.add(&[step(1, "build")]);
        assert_eq!(steps.title(StepId(0)), "[stage-0 1/1] FROM    x");
        assert_eq!(steps.title(StepId(1)), "[build 1/1] FROM    x");
        assert_eq!(steps.title(StepId(7)), "step 7");
    }
}
