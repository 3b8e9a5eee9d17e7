//! Curves, drawn with logarithms on both axes.

use std::fmt::Write as _;

use crate::bench::growth::curve::{Curve, Point};

const PANEL_WIDTH: f64 = 330.0;
const PANEL_HEIGHT: f64 = 240.0;
const LEFT: f64 = 60.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 45.0;
const WIDTH: f64 = 2.0 * (LEFT + PANEL_WIDTH) + 20.0;
const HEIGHT: f64 = TOP + PANEL_HEIGHT + BOTTOM;

const COLOURS: [&str; 3] = ["#d1495b", "#30638e", "#5f8f4e"];

/// A decade of each axis, from its lower to its upper end.
struct Range {
    low: f64,
    high: f64,
}

/// A figure of a point, its name, and the least that is shown.
struct Panel {
    left: f64,
    name: &'static str,
    figure: fn(&Point) -> f64,
}

/// An SVG with a panel for seconds and one for memory.
pub fn draw(title: &str, unit: &str, curves: &[Curve]) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" \
         height=\"{HEIGHT}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n"
    );
    text(&mut svg, LEFT, 20.0, "#222222", title);
    let panels = [
        Panel { left: LEFT, name: "seconds", figure: |point| point.seconds },
        Panel {
            left: 2.0 * LEFT + PANEL_WIDTH,
            name: "megabytes of memory",
            figure: |point| point.megabytes,
        },
    ];
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let amounts = Range::around(points().map(|point| point.amount));
    for panel in &panels {
        let figures = Range::around(points().map(panel.figure));
        panel.frame(&mut svg, unit, &amounts, &figures);
        for (curve, colour) in curves.iter().zip(COLOURS) {
            panel.line(&mut svg, curve, colour, &amounts, &figures);
        }
    }
    for (number, (curve, colour)) in curves.iter().zip(COLOURS).enumerate() {
        text(&mut svg, LEFT + 8.0, TOP + 16.0 + 14.0 * number as f64, colour, curve.name);
    }
    svg + "</svg>\n"
}

impl Panel {
    fn frame(&self, svg: &mut String, unit: &str, amounts: &Range, figures: &Range) {
        let Self { left, name, .. } = self;
        let bottom = TOP + PANEL_HEIGHT;
        let _ = writeln!(
            svg,
            "<rect x=\"{left}\" y=\"{TOP}\" width=\"{PANEL_WIDTH}\" height=\"{PANEL_HEIGHT}\" fill=\"none\" \
             stroke=\"#aaaaaa\"/>"
        );
        text(svg, *left, TOP - 8.0, "#222222", name);
        text(svg, left + PANEL_WIDTH - 60.0, HEIGHT - 8.0, "#222222", unit);
        for amount in amounts.decades() {
            let x = left + amounts.place(amount) * PANEL_WIDTH;
            rule(svg, (x, TOP), (x, bottom));
            text(svg, x - 8.0, bottom + 16.0, "#555555", &format!("{amount}"));
        }
        for figure in figures.decades() {
            let y = bottom - figures.place(figure) * PANEL_HEIGHT;
            rule(svg, (*left, y), (left + PANEL_WIDTH, y));
            text(svg, left - 42.0, y + 4.0, "#555555", &format!("{figure}"));
        }
    }

    fn line(&self, svg: &mut String, curve: &Curve, colour: &str, amounts: &Range, figures: &Range) {
        let place = |point: &Point| {
            let x = self.left + amounts.place(point.amount) * PANEL_WIDTH;
            (x, TOP + PANEL_HEIGHT - figures.place((self.figure)(point)) * PANEL_HEIGHT)
        };
        let places: Vec<(f64, f64)> = curve.points.iter().map(place).collect();
        let corners: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            corners.join(" ")
        );
        for (x, y) in places {
            let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>");
        }
    }
}

impl Range {
    /// From the power of ten that is not above the smallest figure to one that is not below the largest.
    fn around(figures: impl Iterator<Item = f64> + Clone) -> Self {
        let positive = figures.filter(|figure| *figure > 0.0);
        let low = positive.clone().fold(f64::INFINITY, f64::min).log10().floor();
        let high = positive.fold(f64::NEG_INFINITY, f64::max).log10().ceil();
        if !low.is_finite() || !high.is_finite() {
            return Self { low: 0.0, high: 1.0 };
        }
        Self { low, high: high.max(low + 1.0) }
    }

    /// Where a figure lies, 0 at the lower end and 1 at the upper.
    fn place(&self, figure: f64) -> f64 {
        ((figure.log10() - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    fn decades(&self) -> impl Iterator<Item = f64> {
        (self.low as i32..=self.high as i32).map(|power| 10_f64.powi(power))
    }
}

fn rule(svg: &mut String, from: (f64, f64), to: (f64, f64)) {
    let _ = writeln!(
        svg,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"#e4e4e4\"/>",
        from.0, from.1, to.0, to.1
    );
}

fn text(svg: &mut String, x: f64, y: f64, colour: &str, content: &str) {
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" fill=\"{colour}\">{content}</text>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_holds_its_figures_between_powers_of_ten() {
        for (figures, low, high) in [(&[3.0, 250.0][..], 0.0, 3.0), (&[10.0], 1.0, 2.0), (&[], 0.0, 1.0)] {
            let range = Range::around(figures.iter().copied());
            assert_eq!((range.low, range.high), (low, high), "{figures:?}");
        }
    }
}
