//! How time and memory grow with the amount of work: `cargo xtask bench growth`.

mod axes;
mod bed;
mod curve;
mod plot;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Instant;

use crate::bench::remove;
use crate::command::Failure;
use crate::{packages, unstable, workspace};

use axes::{AXES, Axis};
use bed::Bed;
use curve::{Curve, STEEPEST, STEEPEST_TIME};

/// What was measured along an axis.
struct Grown {
    axis: &'static Axis,
    /// Or why it could not be measured.
    curves: Result<Vec<Curve>, String>,
}

/// Measures the axes that `names` name, or all, and writes `bench/GROWTH.md` and a plot of each. Returns
/// whether no curve is worse than linear, but for what the kernel does.
pub fn run(names: &[String]) -> Result<bool, Failure> {
    let axes = chosen(names)?;
    packages::ensure(&packages::BENCH_TOOLS)?;
    let lbuild = workspace::lbuild()?;
    let folder = workspace::target("bench/growth")?;
    let written = workspace::root().join("bench");
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
    let began = Instant::now();
    let mut grown = Vec::new();
    for axis in axes {
        println!("{}", axis.title);
        let bed = Bed::new(&lbuild, &folder)?;
        let curves = (axis.measure)(&bed).map_err(|failure| failure.0);
        if let Ok(curves) = &curves {
            unstable::write(&written.join(axis.plot()), &plot::draw(axis.title, axis.unit, curves))?;
        }
        let one = Grown { axis, curves };
        println!("{}", section(&one));
        grown.push(one);
        remove(&folder)?;
    }
    println!("measured in {:.1} minutes", began.elapsed().as_secs_f64() / 60.0);
    // A part of the axes is no report.
    if names.is_empty() {
        write(&grown, &load, &written)?;
    }
    let is_linear = |one: &Grown| {
        let is_bound = !one.axis.bound.is_empty();
        one.curves.as_ref().is_ok_and(|curves| curves.iter().all(|curve| curve.is_linear(is_bound)))
    };
    Ok(grown.iter().all(is_linear))
}

fn chosen(names: &[String]) -> Result<Vec<&'static Axis>, Failure> {
    if names.is_empty() {
        return Ok(AXES.iter().collect());
    }
    let find = |name: &String| {
        AXES.iter().find(|axis| axis.name == name).ok_or_else(|| {
            let known: Vec<&str> = AXES.iter().map(|axis| axis.name).collect();
            Failure(format!("there is no growth with {name:?}: {}", known.join(", ")))
        })
    };
    names.iter().map(find).collect()
}

fn write(grown: &[Grown], load: &str, folder: &Path) -> Result<(), Failure> {
    let mut text = format!(
        "# How lbuild grows\n\n\
         Written by `cargo xtask bench growth`. Seconds, those of processors beside them, and the memory of the \
         largest process; what takes little is run up to three times, and the least told. The slope is the power \
         of the amount that a figure rises with: 1 is linear, 0 is no growth, a dash says that it never took a \
         tenth of a second, or 24 MB. No slope may be above {STEEPEST}; that of the time from the start to the \
         end, which what else runs on the machine lengthens, may be {STEEPEST_TIME}. Where the kernel itself does \
         more for each amount than for the one before, which the section then says, times may rise with the square. \
         Load before: {load}.\n\n"
    );
    for one in grown {
        text += &section(one);
    }
    unstable::write(&folder.join("GROWTH.md"), &text)
}

/// An axis as Markdown.
fn section(grown: &Grown) -> String {
    let Grown { axis, curves } = grown;
    let curves = match curves {
        Ok(curves) => curves,
        Err(why) => return format!("## {}\n\nNot measured: {}\n\n", axis.title, why.trim()),
    };
    let mut text = format!("## {}\n\n![{}]({})\n\n| {} ", axis.title, axis.title, axis.plot(), axis.unit);
    for curve in curves {
        let _ = write!(text, "| {}: s | processor s | MB ", curve.name);
    }
    let _ = writeln!(text, "|\n|---{}|", "|---|---|---".repeat(curves.len()));
    let amounts = curves.first().map(|curve| curve.points.len()).unwrap_or_default();
    for row in 0..amounts {
        let points = curves.iter().filter_map(|curve| curve.points.get(row));
        let amount = points.clone().next().map(|point| point.amount).unwrap_or_default();
        let _ = write!(text, "| {amount} ");
        points.for_each(|point| {
            let _ = write!(text, "| {:.3} | {:.2} | {:.0} ", point.seconds, point.processor, point.megabytes);
        });
        text += "|\n";
    }
    let shown = |slope: Option<f64>| slope.map_or("–".to_owned(), |slope| format!("{slope:.2}"));
    let _ = write!(text, "| slope ");
    for curve in curves {
        for slope in [curve.time_slope(), curve.processor_slope(), curve.memory_slope()] {
            let _ = write!(text, "| {} ", shown(slope));
        }
    }
    text += "|\n\n";
    if axis.bound.is_empty() { text } else { text + axis.bound + "\n\n" }
}

#[cfg(test)]
mod tests {
    use super::curve::Point;
    use super::*;

    #[test]
    fn axes_are_found_by_name() {
        let names = |axes: Vec<&Axis>| axes.iter().map(|axis| axis.name).collect::<Vec<_>>();
        assert_eq!(names(chosen(&["files".to_owned()]).unwrap()), ["files"]);
        assert_eq!(chosen(&[]).unwrap().len(), AXES.len());
        assert!(chosen(&["fils".to_owned()]).is_err());
    }

    #[test]
    fn a_section_has_a_row_for_each_amount() {
        let points = [1.0, 10.0].map(|amount| Point {
            amount,
            seconds: amount,
            processor: amount / 2.0,
            megabytes: 9.0,
        });
        let text = section(&Grown {
            axis: &AXES[0],
            curves: Ok(vec![Curve { name: "cold", points: points.to_vec() }]),
        });
        let rows = "| 1 | 1.000 | 0.50 | 9 |\n| 10 | 10.000 | 5.00 | 9 |\n| slope | 1.00 | 1.00 | – |";
        assert!(text.contains(rows), "{text}");
    }
}
