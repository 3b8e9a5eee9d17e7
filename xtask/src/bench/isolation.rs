//! What it costs to keep a RUN apart: `cargo xtask bench isolation`.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::Value;

use crate::bench::remove;
use crate::bench::report::machine;
use crate::bench::samples::Samples;
use crate::command::{Failure, command, find_program, run, run_quietly};
use crate::packages::{self, Package};
use crate::workspace::{self, cargo};

/// What a step's isolation may add, in milliseconds.
const MOST: f64 = 5.0;

const TURNS: &str = "200";

const TOOLS: [Package; 2] = [packages::BUSYBOX, packages::UIDMAP];

/// Runs the rest as a user whom the machine need not know, with subordinate ids: by account files in a mount
/// namespace.
const AS_USER: &str = r#"set -e
for file in passwd subuid subgid; do
    cat /etc/$file "$0/$file" > "$0/all-$file"
    mount --bind "$0/all-$file" /etc/$file
done
exec setpriv --reuid=54321 --regid=54321 --clear-groups "$@""#;

const ACCOUNTS: [(&str, &str); 3] = [
    ("passwd", "lbuild-bench:x:54321:54321::/:/bin/sh\n"),
    ("subuid", "lbuild-bench:2000000:65536\n"),
    ("subgid", "lbuild-bench:2000000:65536\n"),
];

/// Measures runs as root and as an ordinary user, writes `bench/ISOLATION.md` and returns whether the isolation
/// of a step costs less than [`MOST`].
pub fn measure() -> Result<bool, Failure> {
    packages::ensure(&TOOLS)?;
    run(cargo().args(["build", "--quiet", "--release", "--package", "lbuild-runner", "--example", "cost"]))?;
    let bed = Bed::new()?;
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let people = [
        People { who: "root", figures: bed.measure(&[])? },
        People { who: "an ordinary user with subordinate ids", figures: bed.measure(&bed.as_user())? },
    ];
    let report = format!(
        "# What it costs to keep a RUN apart\n\n\
         Written by `cargo xtask bench isolation`, which runs a static `/bin/true` {TURNS} times in each of these \
         ways, in turns, with the highest priority. A cell is the median in milliseconds and, in brackets, the smallest and the largest.\n\n\
         Machine: {}. Load before: {}.\n\n{}",
        machine(),
        load.split_whitespace().take(3).collect::<Vec<_>>().join(" "),
        people.iter().map(People::section).collect::<Vec<_>>().join("\n"),
    );
    let file = workspace::root().join("bench/ISOLATION.md");
    fs::write(&file, report).map_err(Failure::of(format!("cannot write {}", file.display())))?;
    for people in &people {
        println!("{}: isolation adds {} ms", people.who, people.added().shown(2));
    }
    println!("written: {}", file.display());
    bed.remove()?;
    Ok(people.iter().all(|people| people.added().median() < MOST))
}

/// A root file system, a copy of the program that measures, and account files.
struct Bed {
    folder: PathBuf,
}

impl Bed {
    fn new() -> Result<Self, Failure> {
        // Not below the workspace, which others may not be allowed to enter.
        let folder = std::env::temp_dir().join(format!("lbuild-isolation-{}", std::process::id()));
        let bed = Self { folder };
        bed.fill().map_err(Failure::of(format!("cannot fill {}", bed.folder.display())))?;
        Ok(bed)
    }

    fn fill(&self) -> std::io::Result<()> {
        let root = self.folder.join("root");
        for directory in ["bin", "dev", "proc", "sys", "etc"] {
            fs::create_dir_all(root.join(directory))?;
        }
        for file in ["etc/hosts", "etc/resolv.conf"] {
            File::create(root.join(file))?;
        }
        let busybox = find_program("busybox").ok_or(std::io::ErrorKind::NotFound)?;
        fs::copy(busybox, root.join("bin/true"))?;
        fs::copy(workspace::target_folder().join("release/examples/cost"), self.program())?;
        for (file, line) in ACCOUNTS {
            fs::write(self.folder.join(file), line)?;
        }
        fs::set_permissions(&self.folder, fs::Permissions::from_mode(0o755))
    }

    fn program(&self) -> PathBuf {
        self.folder.join("cost")
    }

    fn as_user(&self) -> [&OsStr; 6] {
        let folder = self.folder.as_os_str();
        ["unshare".as_ref(), "--mount".as_ref(), "sh".as_ref(), "-c".as_ref(), AS_USER.as_ref(), folder]
    }

    /// By a program that runs its last arguments, before all else that the machine does.
    fn measure(&self, launcher: &[&OsStr]) -> Result<Value, Failure> {
        let mut cost = command("nice", ["-n", "-20"]);
        cost.args(launcher).arg(self.program()).arg(self.folder.join("root")).arg(TURNS);
        let printed = run_quietly(&mut cost)?;
        serde_json::from_str(&printed).map_err(Failure::of("the program that measures prints no JSON"))
    }

    fn remove(self) -> Result<(), Failure> {
        remove(&self.folder)
    }
}

/// What was measured as somebody.
struct People {
    who: &'static str,
    figures: Value,
}

impl People {
    /// Milliseconds.
    fn samples(&self, name: &str) -> Samples {
        let figures = self.figures["microseconds"][name].as_array();
        figures.into_iter().flatten().filter_map(Value::as_f64).map(|figure| figure / 1e3).collect()
    }

    /// What a run takes beyond starting its program.
    fn added(&self) -> Samples {
        self.samples("run").zip(&self.samples("floor"), |run, floor| run - floor)
    }

    fn section(&self) -> String {
        let run = self.samples("run");
        let more = |name: &str| self.samples(name).zip(&run, |other, run| other - run);
        let rows = [
            ("`/bin/true` alone: fork and exec", self.samples("floor")),
            ("the same in a RUN, with all isolation", run.clone()),
            ("**added by isolation**", self.added()),
            ("of that: lbuild's supervisor, a process that starts and ends", self.samples("supervisor")),
            ("of that: mount, PID, IPC, UTS and cgroup namespaces", self.samples("namespaces")),
            (
                "of that: the system call filter and fewer capabilities",
                run.zip(&self.samples("without seccomp and with all capabilities"), |run, without| {
                    run - without
                }),
            ),
            ("of that: mounts, `/dev`, and the end of the namespaces", self.rest()),
            ("besides, with `--network=none`: a network namespace", more("with a network namespace")),
            ("besides, with `--pids-limit`: a control group", more("with a control group")),
        ];
        let mut section = format!("## As {}\n\n| what | ms |\n|---|---|\n", self.who);
        for (what, samples) in rows {
            let shown = if samples.is_empty() { "not allowed here".to_owned() } else { samples.shown(2) };
            let _ = writeln!(section, "| {what} | {shown} |");
        }
        section
    }

    /// What is left of a run's cost when what was measured by itself is taken off.
    fn rest(&self) -> Samples {
        let without = self.samples("without seccomp and with all capabilities");
        let parts = self.samples("supervisor").zip(&self.samples("namespaces"), |one, two| one + two);
        let floor = self.samples("floor");
        without.zip(&floor, |without, floor| without - floor).zip(&parts, |rest, parts| rest - parts)
    }
}
