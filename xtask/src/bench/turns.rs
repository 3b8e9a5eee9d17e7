//! A workload that builders build in turn.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::bench::builders::{Builder, reset};
use crate::bench::costs::{Costs, Measured, Slowest};
use crate::bench::measure::{Cost, measure};
use crate::bench::workload::Workload;
use crate::bench::{phases, remove};
use crate::command::Failure;

/// A builder that took this many times as long as the fastest other one is not measured again.
const SLOW: f64 = 2.0;

/// One workload, ready to be built.
pub struct Turns<'a> {
    /// The workload.
    pub workload: Workload,
    /// The folder that it was made in.
    pub context: &'a Path,
    /// A docker archive of the base image.
    pub base: &'a Path,
    /// Where archives are written.
    pub folder: &'a Path,
    /// After that nothing is measured again.
    pub end: Instant,
}

impl Turns<'_> {
    /// Lets the builders take turns. One that fails is not measured further, and the reason kept; only
    /// lbuild's is a failure.
    pub fn measure(&self, builders: &[Box<dyn Builder>], runs: usize) -> Result<Measured, Failure> {
        let costs = builders.iter().map(|builder| Costs::of(builder.as_ref())).collect();
        let mut measured = Measured { workload: self.workload, costs };
        for run in 1..=runs {
            for (number, builder) in builders.iter().enumerate() {
                if run > 1 && (Instant::now() > self.end || !is_worth_more(&measured, number)) {
                    continue;
                }
                let costs = &mut measured.costs[number];
                println!("{}, run {run} of {runs}: {}", self.workload.name, costs.label());
                let result = self.once(builder.as_ref(), costs).and_then(|()| builder.clear());
                match result {
                    Err(failure) if !costs.is_own => {
                        println!("{} is not measured further: {failure}", costs.label());
                        costs.failure = Some(failure.0);
                    }
                    result => result?,
                }
            }
        }
        Ok(measured)
    }

    fn once(&self, builder: &dyn Builder, costs: &mut Costs) -> Result<(), Failure> {
        let base = self.workload.has_base.then_some(self.base);
        reset(builder, base, &self.folder.join("first"))?;
        let archive = self.folder.join("image.tar");
        let cost = |command: Command| measure(&command, builder.daemon());
        let build = || cost(builder.build(self.context));
        let export = || {
            let exported = cost(builder.export(self.context, &archive));
            remove(&archive).and(exported)
        };

        self.touch("0")?;
        let traced = |slowest: &mut Slowest| {
            let cost = build()?;
            if let Some(trace) = builder.trace() {
                slowest.add(&cost, phases::read(trace)?);
            }
            Ok(cost)
        };
        costs.cold.push(traced(&mut costs.cold_phases)?);
        costs.export.push(export()?);
        costs.cached.push(traced(&mut costs.cached_phases)?);
        self.touch("1")?;
        costs.change.push(traced(&mut costs.change_phases)?.then(export()?));
        Ok(())
    }

    fn touch(&self, content: &str) -> Result<(), Failure> {
        let file = self.context.join(self.workload.touched);
        fs::write(&file, format!("{content}\n"))
            .map_err(Failure::of(format!("cannot write {}", file.display())))
    }
}

/// Whether a builder that was measured is measured again: lbuild is, and what is about as fast as the
/// fastest other one, since lbuild is compared with that.
fn is_worth_more(measured: &Measured, number: usize) -> bool {
    let costs = &measured.costs[number];
    let fastest = measured.fastest(Costs::sum, |_| true).map_or(f64::INFINITY, |fastest| fastest.sum().min());
    costs.is_own || costs.failure.is_none() && costs.sum().min() <= SLOW * fastest
}

impl Cost {
    /// This and afterwards `next`.
    fn then(self, next: Self) -> Self {
        Self {
            seconds: self.seconds + next.seconds,
            processor: self.processor + next.processor,
            peak: self.peak.max(next.peak),
            written: self.written + next.written,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::workload::WORKLOADS;

    #[test]
    fn only_lbuild_and_the_fastest_others_are_measured_again() {
        let costs = |seconds: f64, is_own: bool| {
            let cost = vec![Cost { seconds, ..Cost::default() }];
            Costs { is_own, cold: cost.clone(), export: cost, ..Costs::default() }
        };
        let mut failed = costs(1.0, false);
        failed.failure = Some("why".to_owned());
        let costs = vec![costs(9.0, true), costs(1.5, false), costs(1.0, false), costs(2.1, false), failed];
        let measured = Measured { workload: WORKLOADS[0], costs };
        let again: Vec<bool> = (0..5).map(|number| is_worth_more(&measured, number)).collect();
        assert_eq!(again, [true, true, true, false, false]);
    }
}
