//! The builds that are measured, made from nothing so that they are the same everywhere.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::bench::random::Random;
use crate::command::Failure;

/// The image that all workloads but `seed` begin with.
pub const BASE: &str = "base:deb";

/// A build: a folder with a Dockerfile, and a file in it that a small change touches.
#[derive(Debug, Clone, Copy)]
pub struct Workload {
    /// The folder's name.
    pub name: &'static str,
    /// What it shows, in a few words.
    pub shows: &'static str,
    /// The file that a small change touches.
    pub touched: &'static str,
    /// Whether it needs [`BASE`].
    pub has_base: bool,
    /// Ratios to the fastest other builder that are aimed at: sum, cached, change.
    pub goals: [f64; 3],
    write: fn(&Path, &Path) -> std::io::Result<()>,
}

/// All workloads.
pub const WORKLOADS: [Workload; 5] = [
    Workload {
        name: "runs20",
        shows: "twenty tiny steps: the fixed cost of a step",
        touched: "late.txt",
        has_base: true,
        goals: [0.20, 0.20, 0.50],
        write: runs20,
    },
    Workload {
        name: "seed",
        shows: "ADD of a Debian root file system on scratch, three RUNs",
        touched: "late.txt",
        has_base: false,
        goals: [0.35, 0.25, 0.60],
        write: seed,
    },
    Workload {
        name: "aptlike",
        shows: "a RUN that makes 10,000 files, one that changes the mode of 2,000",
        touched: "late.txt",
        has_base: true,
        goals: [0.35, 0.25, 0.60],
        write: aptlike,
    },
    Workload {
        name: "copybig",
        shows: "COPY of 20,000 files and 12 blobs (530 MB), a RUN that deletes half",
        touched: "late.txt",
        has_base: true,
        goals: [0.25, 0.15, 0.50],
        write: copybig,
    },
    Workload {
        name: "multistage",
        shows: "four independent stages that only compute, and one that nobody needs",
        touched: "d.txt",
        has_base: true,
        goals: [0.85, 0.25, 0.85],
        write: multistage,
    },
];

impl Workload {
    /// The workload of that name.
    pub fn named(name: &str) -> Option<Self> {
        WORKLOADS.into_iter().find(|workload| workload.name == name)
    }

    /// Makes the folder anew. `rootfs` is a gzipped tar of a Debian.
    pub fn generate(&self, folder: &Path, rootfs: &Path) -> Result<(), Failure> {
        let write = || {
            if folder.exists() {
                fs::remove_dir_all(folder)?;
            }
            fs::create_dir_all(folder)?;
            (self.write)(folder, rootfs)
        };
        write().map_err(Failure::of(format!("cannot write {}", folder.display())))
    }
}

fn seed(folder: &Path, rootfs: &Path) -> std::io::Result<()> {
    fs::copy(rootfs, folder.join("rootfs.tar.gz"))?;
    fs::write(folder.join("late.txt"), "0\n")?;
    fs::write(
        folder.join("Dockerfile"),
        "FROM scratch
ADD rootfs.tar.gz /
RUN for i in 1 2 3 4 5 6 7 8 9; do echo line $i > /etc/seed-$i; done
RUN true
RUN mkdir -p /srv/app/data && echo hello > /srv/app/data/hello
COPY late.txt /srv/app/late.txt
CMD [\"/bin/sh\"]
",
    )
}

fn runs20(folder: &Path, _: &Path) -> std::io::Result<()> {
    let mut text = format!("FROM {BASE}\n");
    for number in 1..20 {
        let _ = writeln!(text, "RUN echo {number} > /f{number}");
    }
    text += "COPY late.txt /late.txt\nRUN echo 20 > /f20\n";
    fs::write(folder.join("Dockerfile"), text)?;
    fs::write(folder.join("late.txt"), "0\n")
}

fn aptlike(folder: &Path, _: &Path) -> std::io::Result<()> {
    let program = r#"for $d (0..99){mkdir "all/p$d"; for $f (0..99){open F,">","all/p$d/f$f"; print F "package $d file $f\n" x (1+($d*$f)%400); close F}}"#;
    let text = format!(
        "FROM {BASE}
RUN mkdir -p /opt/pkg/all && cd /opt/pkg && perl -e '{program}'
RUN chmod 0600 /opt/pkg/all/p[0-9]/* /opt/pkg/all/p1[0-9]/*
COPY late.txt /opt/late.txt
"
    );
    fs::write(folder.join("Dockerfile"), text)?;
    fs::write(folder.join("late.txt"), "0\n")
}

fn multistage(folder: &Path, _: &Path) -> std::io::Result<()> {
    let spin = "i=0; while [ $i -lt 1000000 ]; do i=$((i+1)); done; echo $i > /out";
    let mut text = String::new();
    for stage in ["a", "b", "c", "d"] {
        let _ = writeln!(text, "FROM {BASE} AS s{stage}\nCOPY {stage}.txt /in\nRUN {spin}-{stage}\n");
        fs::write(folder.join(format!("{stage}.txt")), format!("{stage}\n"))?;
    }
    let _ = writeln!(text, "FROM {BASE} AS unused\nRUN {spin}-unused\n\nFROM {BASE}");
    for stage in ["a", "b", "c", "d"] {
        let _ = writeln!(text, "COPY --from=s{stage} /out-{stage} /out-{stage}");
    }
    text += "RUN cat /out-* > /all\n";
    fs::write(folder.join("Dockerfile"), text)
}

/// Files in the tree of `copybig` besides its blobs.
const FILES: usize = 20_000;
const FILES_A_FOLDER: usize = 20;
const FOLDERS_A_GROUP: usize = 10;
const LARGEST_FILE: usize = 200_000;

const BLOBS: usize = 12;
const BLOB_BYTES: usize = 35 << 20;

fn copybig(folder: &Path, _: &Path) -> std::io::Result<()> {
    fs::write(
        folder.join("Dockerfile"),
        format!(
            "FROM {BASE}
COPY tree /data
RUN rm -rf /data/d0* /data/d1* /data/d2* /data/d3* /data/d4*
COPY late.txt /data/late.txt
"
        ),
    )?;
    fs::write(folder.join("late.txt"), "0\n")?;
    let mut random = Random::new(1);
    small_files(&mut random, &folder.join("tree"), FILES)?;
    large_files(&mut random, &folder.join("tree/big"), BLOBS)
}

/// Writes `count` files, most of them small, into folders below `tree`.
pub fn small_files(random: &mut Random, tree: &Path, count: usize) -> std::io::Result<()> {
    for number in 0..count {
        let (group, inner) = (number / (FILES_A_FOLDER * FOLDERS_A_GROUP), number / FILES_A_FOLDER);
        let place = tree.join(format!("d{group:02}/s{}", inner % FOLDERS_A_GROUP));
        fs::create_dir_all(&place)?;
        let length = ((random.pareto(1.1) * 700.0) as usize).min(LARGEST_FILE);
        let content = if number % 4 == 0 { random.bytes(length) } else { random.text(length) };
        fs::write(place.join(format!("file{number:05}.txt")), content)?;
    }
    Ok(())
}

/// Writes `count` files of [`BLOB_BYTES`] into `folder`.
pub fn large_files(random: &mut Random, folder: &Path, count: usize) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    for number in 0..count {
        fs::write(folder.join(format!("blob{number:02}.bin")), blob(random, number % 3))?;
    }
    Ok(())
}

/// Zeros with a little noise, text, or noise alone.
fn blob(random: &mut Random, kind: usize) -> Vec<u8> {
    match kind {
        0 => [vec![0; 4000], random.bytes(96)].concat().repeat(BLOB_BYTES / 4096),
        1 => {
            let chunk = random.text(1 << 20);
            let mut blob = Vec::with_capacity(BLOB_BYTES);
            while blob.len() < BLOB_BYTES {
                let (end, start) = chunk.split_at(random.below(chunk.len()));
                blob.extend_from_slice(start);
                blob.extend_from_slice(end);
            }
            blob
        }
        _ => random.bytes(BLOB_BYTES),
    }
}
