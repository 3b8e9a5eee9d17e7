//! How time and memory grow with the amount of work: `cargo xtask bench growth`.

mod axes;
mod bed;
mod curve;
mod plot;

use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

use crate::bench::remove;
use crate::command::Failure;
use crate::{packages, unstable, workspace};

use axes::{AXES, Axis};
use bed::Bed;
use curve::{Curve, STEEPEST};

/// What was measured along an axis.
struct Grown {
    axis: &'static Axis,
    /// Or why it could not be measured.
    curves: Result<Vec<Curve>, String>,
}

/// Measures the axes that `names` name, or all, and writes `bench/GROWTH.md` and a plot of each. Returns
/// whether no curve is worse than linear.
pub fn run(names: &[String]) -> Result<bool, Failure> {
    let axes = chosen(names)?;
    packages::ensure(&packages::BENCH_TOOLS)?;
    let lbuild = workspace::lbuild()?;
    let folder = workspace::target("bench/growth")?;
    let written = workspace::root().join("bench");
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
        write(&grown, &written)?;
    }
    Ok(grown.iter().all(|one| one.curves.as_ref().is_ok_and(|curves| curves.iter().all(Curve::is_linear))))
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

fn write(grown: &[Grown], folder: &Path) -> Result<(), Failure> {
    let mut text = format!(
        "# How lbuild grows\n\n\
         Written by `cargo xtask bench growth`. Seconds and the memory of the largest process, one run each. \
         The slope is the power of the amount that a figure rises with: 1 is linear, 0 is no growth, a dash \
         says that it never took a tenth of a second, or 24 MB. No slope may be above {STEEPEST}.\n\n"
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
        let _ = write!(text, "| {}: s | MB ", curve.name);
    }
    let _ = writeln!(text, "|\n|---{}|", "|---|---".repeat(curves.len()));
    let amounts = curves.first().map(|curve| curve.points.len()).unwrap_or_default();
    for row in 0..amounts {
        let points = curves.iter().filter_map(|curve| curve.points.get(row));
        let amount = points.clone().next().map(|point| point.amount).unwrap_or_default();
        let _ = write!(text, "| {amount} ");
        points.for_each(|point| {
            let _ = write!(text, "| {:.3} | {:.0} ", point.seconds, point.megabytes);
        });
        text += "|\n";
    }
    let shown = |slope: Option<f64>| slope.map_or("–".to_owned(), |slope| format!("{slope:.2}"));
    let _ = write!(text, "| slope ");
    for curve in curves {
        let _ = write!(text, "| {} | {} ", shown(curve.time_slope()), shown(curve.memory_slope()));
    }
    text + "|\n\n"
}

#[cfg(test)]
mod tests {
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
        let points =
            [1.0, 10.0].map(|amount| curve::Point { amount, seconds: amount, megabytes: 9.0 }).to_vec();
        let text = section(&Grown { axis: &AXES[0], curves: Ok(vec![Curve { name: "cold", points }]) });
        assert!(text.contains("| 1 | 1.000 | 9 |\n| 10 | 10.000 | 9 |\n| slope | 1.00 | – |"), "{text}");
    }
}
