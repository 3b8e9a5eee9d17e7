//! The times of all builders, drawn.

use std::fmt::Write as _;

use crate::bench::costs::{Costs, Measured};
use crate::bench::targets::COMPARISONS;

const NAME_WIDTH: usize = 120;
const PANEL_WIDTH: usize = 250;
const BAR_HEIGHT: usize = 15;
const GAP: usize = 14;
const TOP: usize = 44;

/// Room for the figure behind the longest bar.
const FIGURE_WIDTH: usize = 70;

/// An SVG: a row for each workload, a panel for each comparison, a bar for each builder. The longest bar of
/// a row and panel is the slowest builder there.
pub fn draw(measured: &[Measured]) -> String {
    let rows: Vec<usize> = measured.iter().map(|one| compared(one).len() * BAR_HEIGHT + GAP).collect();
    let height = TOP + rows.iter().sum::<usize>() + BAR_HEIGHT;
    let width = NAME_WIDTH + COMPARISONS.len() * PANEL_WIDTH;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
    );
    for (panel, comparison) in COMPARISONS.iter().enumerate() {
        let title = match comparison.name {
            "sum" => "cold build and archive, seconds",
            "cached" => "nothing changed, seconds",
            _ => "one late file changed, with archive",
        };
        text(&mut svg, NAME_WIDTH + panel * PANEL_WIDTH, 24, "#222222", title);
    }
    let mut top = TOP;
    for (one, row) in measured.iter().zip(rows) {
        text(&mut svg, 10, top + BAR_HEIGHT - 4, "#222222", one.workload.name);
        for (panel, comparison) in COMPARISONS.iter().enumerate() {
            bars(&mut svg, (NAME_WIDTH + panel * PANEL_WIDTH, top), &compared(one), |costs| {
                (comparison.seconds)(costs).median()
            });
        }
        top += row;
    }
    svg += "</svg>\n";
    svg
}

/// The builders that are drawn: each as it is by default.
fn compared(measured: &Measured) -> Vec<&Costs> {
    measured.costs.iter().filter(|costs| costs.compression.is_none()).collect()
}

fn bars(svg: &mut String, (left, top): (usize, usize), costs: &[&Costs], seconds: impl Fn(&Costs) -> f64) {
    let longest =
        costs.iter().map(|costs| seconds(costs)).filter(|seconds| seconds.is_finite()).fold(0.0, f64::max);
    for (number, costs) in costs.iter().enumerate() {
        let seconds = seconds(costs);
        if !seconds.is_finite() {
            let label = format!("– {}", costs.builder);
            text(svg, left, top + (number + 1) * BAR_HEIGHT - 5, "#555555", &label);
            continue;
        }
        let length = (seconds / longest * (PANEL_WIDTH - FIGURE_WIDTH - 60) as f64).max(1.0);
        let y = top + number * BAR_HEIGHT;
        let colour = if number == 0 { "#d1495b" } else { "#8d99ae" };
        let _ = writeln!(
            svg,
            "<rect x=\"{left}\" y=\"{y}\" width=\"{length:.1}\" height=\"{}\" fill=\"{colour}\"/>",
            BAR_HEIGHT - 3
        );
        let digits = if seconds < 0.1 { 3 } else { 2 };
        let label = format!("{seconds:.digits$} {}", costs.builder);
        text(svg, left + length as usize + 5, y + BAR_HEIGHT - 5, "#555555", &label);
    }
}

fn text(svg: &mut String, x: usize, y: usize, colour: &str, content: &str) {
    let _ = writeln!(svg, "<text x=\"{x}\" y=\"{y}\" fill=\"{colour}\">{content}</text>");
}
