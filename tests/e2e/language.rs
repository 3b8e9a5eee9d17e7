//! The cases in `testdata/language` and `testdata/lint`: what the shared conformance cases have none of.
//!
//! A case is a Dockerfile that checks itself with RUN. Comments at its top say more: `# args:` further
//! arguments, `# config:` what the image's configuration must hold, `# docker:` the oldest Docker that
//! can build it, which `against_docker::language` has it do.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use lbuild_tests::{BaseImage, TestBed, workspace};
use serde_json::Value;

/// One file of `testdata/language`.
pub struct Case {
    /// Without `.Dockerfile`.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// What the cases' arguments name, in a bed of their own.
pub struct Surroundings {
    pub bed: TestBed,
    _agent: UnixListener,
}

impl Case {
    /// All cases, sorted.
    pub fn all() -> Vec<Self> {
        dockerfiles("language").into_iter().map(|(name, text)| Self { name, text }).collect()
    }

    /// What the comment `# NAME: …` says.
    fn comment(&self, name: &str) -> Option<&str> {
        let start = format!("# {name}: ");
        self.text.lines().take_while(|line| line.starts_with('#')).find_map(|line| line.strip_prefix(&*start))
    }

    /// The oldest Docker that can build the case.
    pub fn docker(&self) -> &str {
        self.comment("docker").unwrap_or_else(|| panic!("{}: no `# docker:`", self.name))
    }

    /// Further arguments of the build.
    pub fn arguments(&self, surroundings: &Surroundings) -> Vec<String> {
        let replace = |word: &str| {
            let context = surroundings.bed.context().display().to_string();
            word.replace("{context}", &context)
                .replace("{agent}", &surroundings.agent().display().to_string())
        };
        self.comment("args")
            .unwrap_or_default()
            .split("  ")
            .flat_map(str::split_whitespace)
            .map(replace)
            .collect()
    }

    /// Panics unless the image's configuration holds what it must.
    pub fn check(&self, config: &Value) {
        let Some(expected) = self.comment("config") else { return };
        let expected: Value = serde_json::from_str(expected).unwrap();
        for (key, value) in expected.as_object().unwrap() {
            assert_eq!(&config[key], value, "{}: {key}", self.name);
        }
    }
}

impl Surroundings {
    pub fn new() -> Self {
        let bed = TestBed::with_base("");
        copy(&workspace().join("testdata/language/context"), bed.context());
        let agent = UnixListener::bind(bed.folder().join("agent")).unwrap();
        Self { bed, _agent: agent }
    }

    fn agent(&self) -> PathBuf {
        self.bed.folder().join("agent")
    }
}

#[test]
fn each_case_builds_and_finds_what_it_expects() {
    let surroundings = Surroundings::new();
    let bed = &surroundings.bed;
    for case in Case::all() {
        println!("{}", case.name);
        bed.dockerfile(&case.text);
        let mut command = bed.build_command(case.arguments(&surroundings));
        command.env("LBUILD_CASE", "from the environment");
        lbuild_tests::Run::of(&mut command).success();
        case.check(&bed.image(&bed.name()).config["config"]);
    }
}

#[test]
fn each_rule_has_a_dockerfile_that_breaks_it_and_no_other() {
    let bed = TestBed::with_base("");
    bed.load_base("other", &BaseImage::busybox().architecture("s390x"));
    bed.file("ignored", "").file(".dockerignore", "ignored\n");
    let rules = dockerfiles("lint");
    assert_eq!(rules.len(), 22, "BuildKit has 22 rules");
    for (rule, text) in rules {
        bed.dockerfile(&text);
        let context = bed.context().to_str().unwrap();
        let check = bed.lbuild(["check", "--format", "json", context]);
        let found: Value = serde_json::from_str(&check.text()).unwrap_or_else(|_| panic!("{rule}: {check}"));
        assert_eq!(rules_of(&found), [rule.as_str()], "{check}");
    }
}

#[test]
fn a_contradiction_between_an_option_and_its_url_is_refused() {
    let url = "https://127.0.0.1:9/r.git?keep-git-dir=true";
    let bed = TestBed::with_base(&format!("FROM base\nADD --keep-git-dir=false {url} /x/\n"));
    bed.build([""; 0]).failure(1).says(&["Dockerfile:2:26", "keep-git-dir"]);
}

#[test]
fn problems_of_a_step_point_to_the_word() {
    for (text, place) in [
        ("FROM base\nCOPY Dockerfile \\\n  fiel /to/\n", "Dockerfile:3:3"),
        ("FROM base\nCOPY --chmod=what Dockerfile /to\n", "Dockerfile:2:6"),
        ("FROM base\nEXPOSE 80 \\\n  http\n", "Dockerfile:3:3"),
        ("FROM base\nENV a=b c=${d:?none}\n", "Dockerfile:2:11"),
        ("FROM base\nSTOPSIGNAL SIGNOTHING\n", "Dockerfile:2:12"),
        ("FROM base\nUSER ${a:?none}\n", "Dockerfile:2:6"),
        ("FROM base\nCOPY . /etc/motd\n", "Dockerfile:2:8"),
        ("FROM base\nWORKDIR /etc/motd/x\n", "Dockerfile:2:9"),
    ] {
        let bed = TestBed::with_base(text);
        bed.build([""; 0]).failure(1).says(&[place]);
    }
}

#[test]
fn a_disk_that_copy_fills_is_the_stores_failure() {
    let bed = TestBed::new();
    bed.dockerfile("FROM scratch\nCOPY large /\n");
    bed.file("large", vec![b'x'; 12 << 20]);
    // The mount is in a namespace of its own and ends with it.
    let script = "mount -t tmpfs -o size=8m none \"$1\" && exec \"$0\" build --root \"$1\" \"$2\"";
    let store = bed.folder().join("small");
    fs::create_dir(&store).unwrap();
    let mut command = std::process::Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", script]);
    command.arg(lbuild_tests::lbuild_binary()).arg(&store).arg(bed.context());
    lbuild_tests::Run::of(&mut command).failure(4).says(&["Dockerfile:2", "lbuild prune"]);
}

fn rules_of(found: &Value) -> Vec<String> {
    match found {
        Value::Array(list) => list.iter().flat_map(rules_of).collect(),
        Value::Object(fields) => {
            match fields.get("rule").or(fields.get("ruleName")).and_then(Value::as_str) {
                Some(rule) => vec![rule.to_owned()],
                None => fields.values().flat_map(rules_of).collect(),
            }
        }
        _ => Vec::new(),
    }
}

/// The names and texts of the Dockerfiles in a folder of `testdata`.
fn dockerfiles(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(workspace().join("testdata").join(folder)).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "Dockerfile") {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            found.push((name, fs::read_to_string(path).unwrap()));
        }
    }
    found.sort();
    found
}

/// Copies the files of a folder and of those below it.
fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
