//! What grows.

use std::fs::{self, File};
use std::path::Path;

use crate::bench::growth::bed::{Bed, Memory, curves};
use crate::bench::growth::curve::Curve;
use crate::command::{Failure, run_quietly};

/// Something of which there can be more.
pub struct Axis {
    /// Its name on the command line.
    pub name: &'static str,
    /// What the plot says above.
    pub title: &'static str,
    /// What the amount counts.
    pub unit: &'static str,
    /// What bounds it, for the report; may be empty.
    pub bound: &'static str,
    /// Measures its curves.
    pub measure: fn(&Bed) -> Result<Vec<Curve>, Failure>,
}

/// The kernel stacks 499 layers below a step; one of them is a base, or none.
const MOST_LAYERS: u64 = 498;

/// What a step costs more, the more layers lie below it.
const MOUNTS: &str = "The kernel is told each layer below a step, for each of its two mounts: a quarter of a million calls for 498 \
    steps, which is what rises faster than the steps do.";

/// All of them.
pub const AXES: [Axis; 6] = [
    Axis { name: "steps", title: "Steps of a Dockerfile", unit: "steps", bound: MOUNTS, measure: steps },
    Axis { name: "layers", title: "Layers of an image", unit: "layers", bound: MOUNTS, measure: layers },
    Axis { name: "files", title: "Files in the context", unit: "files", bound: "", measure: files },
    Axis { name: "bytes", title: "Size of one file", unit: "megabytes", bound: "", measure: bytes },
    Axis { name: "images", title: "Images in the store", unit: "images", bound: "", measure: images },
    Axis { name: "builds", title: "Builds at the same time", unit: "builds", bound: "", measure: builds },
];

impl Axis {
    /// The file of its plot.
    pub fn plot(&self) -> String {
        format!("growth-{}.svg", self.name)
    }
}

/// RUNs of a shell that makes a file.
fn steps(bed: &Bed) -> Result<Vec<Curve>, Failure> {
    const BASE: &str = "FROM scratch\nADD rootfs.tar.gz /\n";
    let [mut cold, mut cached] = curves(["all steps run", "nothing changed"]);
    bed.with_shell("steps")?;
    for amount in [10, 50, 100, 250, MOST_LAYERS] {
        let runs: String = (0..amount).map(|number| format!("RUN echo {number} > /f{number}\n")).collect();
        bed.measure(&mut cold, amount, |_| {
            bed.remove("store")?;
            bed.write("steps/Dockerfile", BASE)?;
            run_quietly(&mut bed.build("store", "steps"))?;
            bed.write("steps/Dockerfile", &format!("{BASE}{runs}"))?;
            Ok(bed.build("store", "steps"))
        })?;
        bed.measure(&mut cached, amount, |_| Ok(bed.build("store", "steps")))?;
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
        bed.measure(&mut build, amount, |_| {
            bed.remove("store")?;
            Ok(bed.build("store", "layers"))
        })?;
        bed.measure(&mut save, amount, |_| {
            let mut save = bed.lbuild("store");
            save.args(["save", "--output"]).arg(&archive).arg("layers");
            Ok(save)
        })?;
        bed.measure(&mut load, amount, |_| {
            bed.remove("another")?;
            let mut load = bed.lbuild("another");
            load.args(["load", "--input"]).arg(&archive);
            Ok(load)
        })?;
    }
    Ok(vec![build, save, load])
}

/// Files without content, of which a file system makes many.
fn files(bed: &Bed) -> Result<Vec<Curve>, Failure> {
    let [mut cold, mut cached] = curves(["copied", "nothing changed"]);
    bed.write("files/Dockerfile", "FROM scratch\nCOPY tree /tree\n")?;
    let mut made = 0;
    for amount in [1_000, 10_000, 100_000, 1_000_000] {
        for number in made..amount {
            empty_file(&bed.folder.join("files/tree"), number)?;
        }
        made = amount;
        copied(bed, "files", amount, &mut cold, &mut cached)?;
    }
    Ok(vec![cold, cached])
}

/// Five hundred a folder.
fn empty_file(tree: &Path, number: u64) -> Result<(), Failure> {
    const A_FOLDER: u64 = 500;
    let folder = tree.join(format!("{:03}/{:03}", number / A_FOLDER / 50, number / A_FOLDER % 50));
    let make = || {
        if number.is_multiple_of(A_FOLDER) {
            fs::create_dir_all(&folder)?;
        }
        File::create(folder.join(format!("file{number}"))).map(drop)
    };
    make().map_err(Failure::of(format!("cannot make a file in {}", folder.display())))
}

/// A file that is one hole: it takes no room on the disk, and is read and digested as any other.
fn bytes(bed: &Bed) -> Result<Vec<Curve>, Failure> {
    let [mut cold, mut cached] = curves(["copied", "nothing changed"]);
    bed.write("bytes/Dockerfile", "FROM scratch\nCOPY file /file\n")?;
    let file = bed.folder.join("bytes/file");
    for megabytes in [64, 512, 2048, 8192] {
        let make = || File::create(&file)?.set_len(megabytes << 20);
        make().map_err(Failure::of(format!("cannot make {}", file.display())))?;
        copied(bed, "bytes", megabytes, &mut cold, &mut cached)?;
    }
    Ok(vec![cold, cached])
}

/// Builds in an empty store, and again.
fn copied(
    bed: &Bed,
    context: &str,
    amount: u64,
    cold: &mut Curve,
    cached: &mut Curve,
) -> Result<(), Failure> {
    bed.measure(cold, amount, |_| {
        bed.remove("store")?;
        Ok(bed.build("store", context))
    })?;
    bed.measure(cached, amount, |_| Ok(bed.build("store", context)))?;
    bed.remove("store")
}

/// Small images with layers and configurations of their own, in one store. It lies in memory, where that can be: to make
/// them would wait for the disk some ten thousand times, which tells nothing.
fn images(bed: &Bed) -> Result<Vec<Curve>, Failure> {
    const SCRIPT: &str =
        "seq $0 $1 | xargs -P 4 -I % \"$2\" build --quiet --build-arg N=% --tag image:% \"$3\"";
    let [mut list, mut cached, mut build] = curves(["list", "build, nothing changed", "build another"]);
    bed.write("images/Dockerfile", "FROM scratch\nARG N\nLABEL number=$N\nCOPY file /file-$N\n")?;
    bed.write("images/file", "a file\n")?;
    let memory = Memory::new()?;
    let store = memory.store(bed);
    let store = store.as_str();
    let mut made = 0;
    for amount in [10, 100, 1_000, 10_000] {
        let (first, last) = ((made + 1).to_string(), amount.to_string());
        run_quietly(&mut bed.script(store, SCRIPT, &[&first, &last], "images"))?;
        made = amount;
        let another = |number: String| {
            let mut build = bed.build(store, "images");
            build.arg("--build-arg").arg(format!("N={number}"));
            Ok(build)
        };
        bed.measure(&mut list, amount, |_| {
            let mut list = bed.lbuild(store);
            list.arg("images");
            Ok(list)
        })?;
        bed.measure(&mut cached, amount, |_| another("7".to_owned()))?;
        bed.measure(&mut build, amount, |run| another(format!("{amount}-{run}")))?;
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
    for amount in [1_u64, 2, 4, 8, 16, 32] {
        bed.measure(&mut all, amount, |_| {
            bed.remove("store")?;
            bed.write("builds/Dockerfile", &text(""))?;
            run_quietly(&mut bed.build("store", "builds"))?;
            bed.write("builds/Dockerfile", &text(&runs))?;
            Ok(bed.script("store", SCRIPT, &[&amount.to_string()], "builds"))
        })?;
    }
    Ok(vec![all])
}
