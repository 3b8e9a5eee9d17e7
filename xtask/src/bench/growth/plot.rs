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

/// A figure of a point, and what is drawn dashed beside it.
struct Panel {
    left: f64,
    name: &'static str,
    figure: fn(&Point) -> f64,
    dashed: Option<fn(&Point) -> f64>,
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
        Panel {
            left: LEFT,
            name: "seconds; dashed: of processors",
            figure: |point| point.seconds,
            dashed: Some(|point| point.processor),
        },
        Panel {
            left: 2.0 * LEFT + PANEL_WIDTH,
            name: "megabytes of memory",
            figure: |point| point.megabytes,
            dashed: None,
        },
    ];
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let amounts = Range::around(points().map(|point| point.amount));
    for panel in &panels {
        let dashed = || panel.dashed.into_iter().flat_map(|figure| points().map(figure));
        let figures = Range::around(points().map(panel.figure).chain(dashed()));
        panel.frame(&mut svg, unit, &amounts, &figures);
        for (curve, colour) in curves.iter().zip(COLOURS) {
            panel.line(&mut svg, curve, colour, &amounts, &figures);
            panel.dashed_line(&mut svg, curve, colour, &amounts, &figures);
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
        let places = self.places(curve, self.figure, amounts, figures);
        polyline(svg, &places, colour, "stroke-width=\"2\"");
        for (x, y) in places {
            let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>");
        }
    }

    fn dashed_line(&self, svg: &mut String, curve: &Curve, colour: &str, amounts: &Range, figures: &Range) {
        if let Some(figure) = self.dashed {
            let places = self.places(curve, figure, amounts, figures);
            polyline(svg, &places, colour, "stroke-dasharray=\"4 3\"");
        }
    }

    /// Where the points of a curve lie.
    fn places(
        &self,
        curve: &Curve,
        figure: fn(&Point) -> f64,
        amounts: &Range,
        figures: &Range,
    ) -> Vec<(f64, f64)> {
        let place = |point: &Point| {
            let x = self.left + amounts.place(point.amount) * PANEL_WIDTH;
            (x, TOP + PANEL_HEIGHT - figures.place(figure(point)) * PANEL_HEIGHT)
        };
        curve.points.iter().map(place).collect()
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

fn polyline(svg: &mut String, places: &[(f64, f64)], colour: &str, style: &str) {
    let corners: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let _ = writeln!(
        svg,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" {style}/>",
        corners.join(" ")
    );
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
