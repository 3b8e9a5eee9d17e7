//! How a figure grows with the amount of work.

/// Nothing is told of times below: a process has to start.
const LEAST_SECONDS: f64 = 0.1;

/// Nothing is told of less memory, in megabytes.
const LEAST_MEGABYTES: f64 = 24.0;

/// Times rise with the amount to this power at most: linear, and what measuring is off by.
pub const STEEPEST: f64 = 1.15;

/// What one amount of work cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// How much work.
    pub amount: f64,
    /// Seconds.
    pub seconds: f64,
    /// Megabytes of memory of the largest process.
    pub megabytes: f64,
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
    /// The power of the amount that the time rises with, as far as it takes time at all.
    pub fn time_slope(&self) -> Option<f64> {
        slope(self.points.iter().map(|point| (point.amount, point.seconds)), LEAST_SECONDS)
    }

    /// The same of the memory.
    pub fn memory_slope(&self) -> Option<f64> {
        slope(self.points.iter().map(|point| (point.amount, point.megabytes)), LEAST_MEGABYTES)
    }

    /// Whether neither is worse than linear.
    pub fn is_linear(&self) -> bool {
        [self.time_slope(), self.memory_slope()].into_iter().flatten().all(|slope| slope <= STEEPEST)
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
            .map(|amount| Point { amount, seconds: seconds(amount), megabytes: 10.0 })
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
            assert_eq!(curve.is_linear(), expected.is_none_or(|slope| slope < 1.15));
        }
    }

    #[test]
    fn a_leap_out_of_nothing_is_no_line() {
        let found = curve(|amount| if amount < 5000.0 { 0.05 } else { 50.0 });
        assert!(!found.is_linear(), "{:?}", found.time_slope());
    }
}
