//! The same figure, measured several times.

/// Figures in the order in which they were measured.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// Adds a figure.
    pub fn push(&mut self, figure: f64) {
        self.0.push(figure);
    }

    /// The middle one; the mean of the two in the middle of an even number.
    pub fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        match sorted.len() {
            0 => f64::NAN,
            length if length % 2 == 1 => sorted[length / 2],
            length => (sorted[length / 2 - 1] + sorted[length / 2]) / 2.0,
        }
    }

    /// Whether nothing was measured.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The smallest.
    pub fn min(&self) -> f64 {
        self.0.iter().copied().fold(f64::NAN, f64::min)
    }

    /// The largest.
    pub fn max(&self) -> f64 {
        self.0.iter().copied().fold(f64::NAN, f64::max)
    }

    /// Run by run, what `combine` makes of these and others.
    pub fn zip(&self, other: &Self, combine: impl Fn(f64, f64) -> f64) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(one, two)| combine(*one, *two)).collect())
    }

    /// The median without digits, or a dash.
    pub fn shown_short(&self) -> String {
        if self.is_empty() { "–".to_owned() } else { format!("{:.0}", self.median()) }
    }

    /// The median, and the spread in brackets if there are several; a dash if there is none.
    pub fn shown(&self, digits: usize) -> String {
        if self.0.len() < 2 {
            return self.0.first().map_or("–".to_owned(), |only| format!("{only:.digits$}"));
        }
        format!("{:.digits$} ({:.digits$}–{:.digits$})", self.median(), self.min(), self.max())
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(figures: I) -> Self {
        Self(figures.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_and_the_spread_are_shown() {
        for (figures, expected) in [
            (&[3.0, 1.0, 2.0][..], "2.0 (1.0–3.0)"),
            (&[1.0, 2.0], "1.5 (1.0–2.0)"),
            (&[4.0], "4.0"),
            (&[], "–"),
        ] {
            let samples: Samples = figures.iter().copied().collect();
            assert_eq!(samples.shown(1), expected);
        }
    }
}
