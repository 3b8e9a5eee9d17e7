//! How a figure grows with the amount of work.

use crate::bench::measure::Cost;

/// Nothing is told of times below: a process has to start.
const LEAST_SECONDS: f64 = 0.1;

/// Nothing is told of less memory, in megabytes.
const LEAST_MEGABYTES: f64 = 24.0;

/// What a processor does and memory rise with the amount to this power at most: linear, and what measuring is off
/// by.
pub const STEEPEST: f64 = 1.15;

/// The same of the time from the start to the end, which what else runs on the machine lengthens.
pub const STEEPEST_TIME: f64 = 1.3;

/// The same of both where the kernel itself does more for each amount than for the one before: the square, and what
/// measuring is off by.
pub const STEEPEST_BOUND: f64 = 2.15;

/// What one amount of work cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// How much work.
    pub amount: f64,
    /// Seconds from the start to the end.
    pub seconds: f64,
    /// Seconds of processors.
    pub processor: f64,
    /// Megabytes of memory of the largest process.
    pub megabytes: f64,
}

impl Point {
    /// Before anything was measured.
    pub fn none(amount: u64) -> Self {
        let none = f64::INFINITY;
        Self { amount: amount as f64, seconds: none, processor: none, megabytes: none }
    }

    /// Takes over what `cost` has less of.
    pub fn lower(&mut self, cost: &Cost) {
        self.seconds = self.seconds.min(cost.seconds);
        self.processor = self.processor.min(cost.processor);
        self.megabytes = self.megabytes.min(cost.peak as f64 / 1e6);
    }
}

/// A line of a plot.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// What was done.
    pub name: &'static str,
    /// In the order of the amounts.
    pub points: Vec<Point>,
}

impl Curve {
    /// The power of the amount that the time of processors rises with, as far as they have anything to do.
    pub fn processor_slope(&self) -> Option<f64> {
        slope(self.points.iter().map(|point| (point.amount, point.processor)), LEAST_SECONDS)
    }

    /// The same of the time from the start to the end.
    pub fn time_slope(&self) -> Option<f64> {
        slope(self.points.iter().map(|point| (point.amount, point.seconds)), LEAST_SECONDS)
    }

    /// The same of the memory.
    pub fn memory_slope(&self) -> Option<f64> {
        slope(self.points.iter().map(|point| (point.amount, point.megabytes)), LEAST_MEGABYTES)
    }

    /// Whether none is worse than linear, or than what the kernel needs where that bounds times.
    pub fn is_linear(&self, is_bound: bool) -> bool {
        let (processor, time) = match is_bound {
            true => (STEEPEST_BOUND, STEEPEST_BOUND),
            false => (STEEPEST, STEEPEST_TIME),
        };
        [(self.processor_slope(), processor), (self.memory_slope(), STEEPEST), (self.time_slope(), time)]
            .into_iter()
            .all(|(slope, steepest)| slope.is_none_or(|slope| slope <= steepest))
    }
}

/// The slope of the line through the logarithms, by least squares, of the figures that are not below `least`.
/// The last figure below it counts as `least`, so that a leap out of nothing is seen.
fn slope(figures: impl Iterator<Item = (f64, f64)>, least: f64) -> Option<f64> {
    let mut logarithms: Vec<(f64, f64)> = Vec::new();
    for (amount, figure) in figures {
        if figure < least {
            logarithms = vec![(amount.ln(), least.ln())];
        } else {
            logarithms.push((amount.ln(), figure.ln()));
        }
    }
    if logarithms.len() < 2 {
        return None;
    }
    let count = logarithms.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| logarithms.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|it| it.0), mean(|it| it.1));
    let above: f64 = logarithms.iter().map(|it| (it.0 - x) * (it.1 - y)).sum();
    let below: f64 = logarithms.iter().map(|it| (it.0 - x).powi(2)).sum();
    Some(above / below)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(seconds: fn(f64) -> f64) -> Curve {
        let points = [10.0, 100.0, 1000.0, 10_000.0]
            .map(|amount| {
                let seconds = seconds(amount);
                Point { amount, seconds, processor: seconds, megabytes: 10.0 }
            })
            .to_vec();
        Curve { name: "a curve", points }
    }

    #[test]
    fn the_power_is_found_and_squares_are_not_linear() {
        for (seconds, expected) in [
            ((|amount| amount / 10.0) as fn(f64) -> f64, Some(1.0)),
            (|amount| amount * amount, Some(2.0)),
            (|_| 5.0, Some(0.0)),
            (|_| 0.01, None),
        ] {
            let curve = curve(seconds);
            let found = curve.time_slope();
            let rounded = found.map(|slope| (slope * 1000.0).round() / 1000.0);
            assert_eq!(rounded, expected);
            assert_eq!(curve.is_linear(false), expected.is_none_or(|slope| slope < 1.15));
            assert!(curve.is_linear(true));
        }
    }

    #[test]
    fn waiting_more_than_the_work_grows_is_no_line_either() {
        let mut found = curve(|amount| amount / 10.0);
        assert!(found.is_linear(false));
        for point in &mut found.points {
            point.seconds = point.amount.powf(1.5);
        }
        assert!(!found.is_linear(false), "{:?}", found.time_slope());
    }

    #[test]
    fn a_leap_out_of_nothing_is_no_line() {
        let found = curve(|amount| if amount < 5000.0 { 0.05 } else { 50.0 });
        assert!(!found.is_linear(false), "{:?}", found.time_slope());
    }
}
