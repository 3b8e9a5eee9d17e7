//! What grows.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::Path;

use crate::bench::growth::bed::{Bed, curves};
use crate::bench::growth::curve::Curve;
use crate::bench::remove;
use crate::command::{Failure, command, run_quietly};

/// Something of which there can be more.
pub struct Axis {
    /// Its name on the command line.
    pub name: &'static str,
    /// What the plot says above.
    pub title: &'static str,
    /// What the amount counts.
    pub unit: &'static str,
    /// Measures its curves.
    pub measure: fn(&Bed) -> Result<Vec<Curve>, Failure>,
}

/// The kernel stacks 499 layers below a step; one of them is a base, or none.
const MOST_LAYERS: u64 = 498;

/// All of them.
pub const AXES: [Axis; 6] = [
    Axis { name: "steps", title: "Steps of a Dockerfile", unit: "steps", measure: steps },
    Axis { name: "layers", title: "Layers of an image", unit: "layers", measure: layers },
    Axis { name: "files", title: "Files in the context", unit: "files", measure: files },
    Axis { name: "bytes", title: "Size of one file", unit: "megabytes", measure: bytes },
    Axis { name: "images", title: "Images in the store", unit: "images", measure: images },
    Axis { name: "builds", title: "Builds at the same time", unit: "builds", measure: builds },
];

impl Axis {
    /// The file of its plot.
    pub fn plot(&self) -> String {
        format!("growth-{}.svg", self.name)
    }
}

/// RUNs of a shell that makes a file.
fn steps(bed: &Bed) -> Result<Vec<Curve>, Failure> {
    let [mut cold, mut cached] = curves(["all steps run", "nothing changed"]);
    bed.with_shell("steps")?;
    let mut text = String::from("FROM scratch\nADD rootfs.tar.gz /\n");
    let mut written = 0;
    for amount in [10, 50, 100, 250, MOST_LAYERS] {
        bed.write("steps/Dockerfile", "FROM scratch\nADD rootfs.tar.gz /\n")?;
        run_quietly(&mut bed.build("store", "steps"))?;
        for number in written..amount {
            let _ = writeln!(text, "RUN echo {number} > /f{number}");
        }
        written = amount;
        bed.write("steps/Dockerfile", &text)?;
        bed.measure(&mut cold, amount, &bed.build("store", "steps"))?;
        bed.measure(&mut cached, amount, &bed.build("store", "steps"))?;
        remove(&bed.folder.join("store"))?;
    }
    Ok(vec![cold, cached])
}

/// Copies of a file, a layer each.
fn layers(bed: &Bed) -> Result<Vec<Curve>, Failure> {
    let [mut build, mut save, mut load] = curves(["build", "save", "load"]);
    bed.write("layers/file", "a file\n")?;
    let archive = bed.folder.join("image.tar");
    for amount in [10, 50, 100, 250, MOST_LAYERS] {
        let copies: String = (0..amount).map(|number| format!("COPY file /f{number}\n")).collect();
        bed.write("layers/Dockerfile", &format!("FROM scratch\n{copies}"))?;
        bed.measure(&mut build, amount, &bed.build("store", "layers"))?;
        bed.measure(
            &mut save,
            amount,
            bed.lbuild("store").args(["save", "--output"]).arg(&archive).arg("layers"),
        )?;
        bed.measure(&mut load, amount, bed.lbuild("another").args(["load", "--input"]).arg(&archive))?;
        for used in ["store", "another", "image.tar"] {
            remove(&bed.folder.join(used))?;
        }
    }
    Ok(vec![build, save, load])
}

/// Files without content, of which a file system makes many.
fn files(bed: &Bed) -> Result<Vec<Curve>, Failure> {
    const A_FOLDER: u64 = 500;
    let [mut cold, mut cached] = curves(["copied", "nothing changed"]);
    bed.write("files/Dockerfile", "FROM scratch\nCOPY tree /tree\n")?;
    let tree = bed.folder.join("files/tree");
    let mut made = 0;
    for amount in [1_000, 10_000, 100_000, 1_000_000] {
        for number in made..amount {
            let folder = tree.join(format!("{:03}/{:03}", number / A_FOLDER / 50, number / A_FOLDER % 50));
            let make = || {
                if number % A_FOLDER == 0 {
                    fs::create_dir_all(&folder)?;
                }
                File::create(folder.join(format!("file{number}"))).map(drop)
            };
            make().map_err(Failure::of(format!("cannot make a file in {}", folder.display())))?;
        }
        made = amount;
        bed.measure(&mut cold, amount, &bed.build("store", "files"))?;
        bed.measure(&mut cached, amount, &bed.build("store", "files"))?;
        remove(&bed.folder.join("store"))?;
    }
    Ok(vec![cold, cached])
}

/// A file that is one hole: it takes no room on the disk, and is read and digested as any other.
fn bytes(bed: &Bed) -> Result<Vec<Curve>, Failure> {
    let [mut cold, mut cached] = curves(["copied", "nothing changed"]);
    bed.write("bytes/Dockerfile", "FROM scratch\nCOPY file /file\n")?;
    let file = bed.folder.join("bytes/file");
    for megabytes in [64, 512, 2048, 8192] {
        hole(&file, megabytes << 20)?;
        bed.measure(&mut cold, megabytes, &bed.build("store", "bytes"))?;
        bed.measure(&mut cached, megabytes, &bed.build("store", "bytes"))?;
        remove(&bed.folder.join("store"))?;
    }
    Ok(vec![cold, cached])
}

fn hole(file: &Path, bytes: u64) -> Result<(), Failure> {
    let make = || File::create(file)?.set_len(bytes);
    make().map_err(Failure::of(format!("cannot make {}", file.display())))
}

/// Small images with layers and configurations of their own, in one store.
fn images(bed: &Bed) -> Result<Vec<Curve>, Failure> {
    const SCRIPT: &str =
        "seq $0 $1 | xargs -P 2 -I % \"$2\" build --quiet --build-arg N=% --tag image:% \"$3\"";
    let [mut list, mut cached, mut build] = curves(["list", "build, nothing changed", "build another"]);
    bed.write("images/Dockerfile", "FROM scratch\nARG N\nLABEL number=$N\nCOPY file /file-$N\n")?;
    bed.write("images/file", "a file\n")?;
    let context = bed.folder.join("images");
    let mut made = 0;
    for amount in [10, 100, 1_000, 10_000] {
        let mut make = command("sh", ["-c", SCRIPT, &(made + 1).to_string(), &amount.to_string()]);
        let lbuild = bed.lbuild("store");
        make.arg(lbuild.get_program()).arg(&context);
        make.envs(lbuild.get_envs().filter_map(|(name, value)| Some((name, value?))));
        run_quietly(&mut make)?;
        made = amount;
        bed.measure(&mut list, amount, bed.lbuild("store").arg("images"))?;
        bed.measure(&mut cached, amount, bed.build("store", "images").args(["--build-arg", "N=7"]))?;
        let another = format!("N=a{amount}");
        bed.measure(&mut build, amount, bed.build("store", "images").args(["--build-arg", &another]))?;
    }
    Ok(vec![list, cached, build])
}

/// Builds of ten RUNs each, all different, in one store.
fn builds(bed: &Bed) -> Result<Vec<Curve>, Failure> {
    const SCRIPT: &str =
        "for n in $(seq $0); do \"$1\" build --quiet --build-arg N=$0-$n --tag build-$n \"$2\" & done; wait";
    let [mut all] = curves(["all of them"]);
    bed.with_shell("builds")?;
    let runs: String = (0..10).map(|number| format!("RUN echo $N > /f{number}\n")).collect();
    let text = |runs: &str| format!("FROM scratch\nADD rootfs.tar.gz /\nARG N\n{runs}");
    bed.write("builds/Dockerfile", &text(""))?;
    run_quietly(&mut bed.build("store", "builds"))?;
    bed.write("builds/Dockerfile", &text(&runs))?;
    for amount in [1, 2, 4, 8, 16, 32] {
        let lbuild = bed.lbuild("store");
        let mut together = command("sh", ["-c", SCRIPT, &amount.to_string()]);
        together.arg(lbuild.get_program()).arg(bed.folder.join("builds"));
        together.envs(lbuild.get_envs().filter_map(|(name, value)| Some((name, value?))));
        bed.measure(&mut all, amount, &together)?;
    }
    Ok(vec![all])
}
