//! What the builds of a workload cost a builder.

use crate::bench::builders::{Builder, Compression};
use crate::bench::measure::Cost;
use crate::bench::phases::Phase;
use crate::bench::samples::Samples;
use crate::bench::workload::Workload;

/// The costs of a workload.
pub struct Measured {
    /// The workload.
    pub workload: Workload,
    /// lbuild first.
    pub costs: Vec<Costs>,
}

/// What the builds of a workload cost one builder, run by run.
#[derive(Debug, Default)]
pub struct Costs {
    /// The builder's name.
    pub builder: String,
    /// How its archives are compressed, if not as it does by default.
    pub compression: Option<Compression>,
    /// Whether it is lbuild.
    pub is_own: bool,
    /// Without a cache.
    pub cold: Vec<Cost>,
    /// The archive of that.
    pub export: Vec<Cost>,
    /// Nothing changed.
    pub cached: Vec<Cost>,
    /// A late file changed; with the archive.
    pub change: Vec<Cost>,
    /// Where the time of the builds without a cache went, if the builder tells.
    pub cold_phases: Slowest,
    /// The same where nothing changed.
    pub cached_phases: Slowest,
    /// The same where a late file changed, without the archive.
    pub change_phases: Slowest,
    /// Why it was not measured to the end.
    pub failure: Option<String>,
}

/// Where the time of the slowest of several builds went.
#[derive(Debug, Default)]
pub struct Slowest {
    /// What it took.
    pub seconds: f64,
    /// The longest first.
    pub phases: Vec<Phase>,
}

impl Slowest {
    /// Takes over a build that was slower.
    pub fn add(&mut self, cost: &Cost, phases: Vec<Phase>) {
        if cost.seconds > self.seconds {
            *self = Self { seconds: cost.seconds, phases };
        }
    }
}

impl Measured {
    /// lbuild as it is by default.
    pub fn own(&self) -> Option<&Costs> {
        self.costs.iter().find(|costs| costs.is_own && costs.compression.is_none())
    }

    /// The other builder that is fastest by `seconds`, of those that `is_meant`.
    pub fn fastest(
        &self,
        seconds: fn(&Costs) -> Samples,
        is_meant: impl Fn(&Costs) -> bool,
    ) -> Option<&Costs> {
        let others = self.costs.iter().filter(|costs| !costs.is_own && is_meant(costs));
        let measured = others.filter(|costs| !seconds(costs).is_empty());
        measured.min_by(|one, two| seconds(one).median().total_cmp(&seconds(two).median()))
    }
}

impl Costs {
    /// Nothing measured yet.
    pub fn of(builder: &dyn Builder) -> Self {
        Self {
            builder: builder.name().to_owned(),
            compression: builder.compression(),
            is_own: builder.trace().is_some(),
            ..Self::default()
        }
    }

    /// The builder's name and how its archives are compressed.
    pub fn label(&self) -> String {
        match self.compression {
            None => self.builder.clone(),
            Some(compression) => format!("{}, {}", self.builder, compression.name()),
        }
    }

    /// Seconds of a build without a cache.
    pub fn cold(&self) -> Samples {
        seconds(&self.cold)
    }

    /// Seconds of writing the archive.
    pub fn export(&self) -> Samples {
        seconds(&self.export)
    }

    /// Seconds of a build without a cache and its archive.
    pub fn sum(&self) -> Samples {
        self.cold().zip(&self.export(), |cold, export| cold + export)
    }

    /// Seconds of a build where nothing changed.
    pub fn cached(&self) -> Samples {
        seconds(&self.cached)
    }

    /// Seconds of a build where a late file changed, and its archive.
    pub fn change(&self) -> Samples {
        seconds(&self.change)
    }

    /// Megabytes of memory that its largest process had at any time.
    pub fn peak(&self) -> Option<f64> {
        let all = [&self.cold, &self.export, &self.cached, &self.change];
        all.into_iter().flatten().map(|cost| cost.peak).max().map(|bytes| bytes as f64 / 1e6)
    }

    /// Megabytes that the build without a cache and its archive had written to disk.
    pub fn written(&self) -> Samples {
        self.cold
            .iter()
            .zip(&self.export)
            .map(|(cold, export)| (cold.written + export.written) as f64 / 1e6)
            .collect()
    }
}

fn seconds(costs: &[Cost]) -> Samples {
    costs.iter().map(|cost| cost.seconds).collect()
}
