//! `--call`: the answers in `testdata/call`, which Docker 28 gave, compared byte for byte.

use std::fs;
use std::path::PathBuf;

use lbuild_tests::{Run, TestBed, workspace};

/// What lbuild says otherwise, each told in `docs/compatibility.md`: in which answer, Docker's words, and
/// lbuild's.
const DIFFERENT: [(&str, &str, &str); 4] = [
    // An empty line in an instruction: the place is that line, and not the one after it.
    ("empty-continuation.check.text", "Dockerfile:4\n", "Dockerfile:3\n"),
    (
        "empty-continuation.check.text",
        "   2 |     COPY a \\\n   3 |     \n   4 | >>>   b /x/\n",
        "   1 |     FROM scratch\n   2 |     COPY a \\\n   3 | >>> \n   4 |       b /x/\n",
    ),
    ("empty-continuation.check.json", "\"line\": 4\n", "\"line\": 3\n"),
    // Errors have words of lbuild's own.
    (
        "wrong.check.json",
        "dockerfile parse error on line 2: unknown instruction: COPPY (did you mean COPY?)",
        "unknown instruction: COPPY",
    ),
];

/// A question about one of the Dockerfiles.
pub struct Call {
    name: String,
    method: &'static str,
    format: &'static str,
}

/// The folder of the Dockerfiles and of the answers.
pub fn folder() -> PathBuf {
    workspace().join("testdata/call")
}

/// The names of the Dockerfiles, without `.Dockerfile`.
pub fn dockerfiles() -> Vec<String> {
    let files = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name());
    let files = files.map(|file| file.into_string().unwrap());
    files.filter_map(|file| file.strip_suffix(".Dockerfile").map(str::to_owned)).collect()
}

/// An answer without what BuildKit says of how it read each source: a graph that names its session.
pub fn without_definitions(answer: &str) -> String {
    let mut kept = String::new();
    let mut inside = false;
    for line in answer.split_inclusive('\n') {
        inside |= line == "      \"definition\": {\n";
        if !inside {
            kept.push_str(line);
        }
        inside &= line != "      },\n";
    }
    kept
}

impl Call {
    /// Each question in each format about the Dockerfile of that name.
    pub fn all_of(name: &str) -> impl Iterator<Item = Self> {
        let name = name.to_owned();
        ["check", "outline", "targets"].into_iter().flat_map(move |method| {
            let name = name.clone();
            ["text", "json"].into_iter().map(move |format| Self { name: name.clone(), method, format })
        })
    }

    /// The option that asks.
    pub fn argument(&self) -> String {
        format!("--call={},format={}", self.method, self.format)
    }

    /// The Dockerfile, in the folder.
    pub fn dockerfile(&self) -> String {
        format!("{}.Dockerfile", self.name)
    }

    /// The file with the answer.
    pub fn file(&self) -> String {
        format!("{}.{}.{}", self.name, self.method, self.format)
    }

    /// What Docker answered.
    pub fn recorded(&self) -> String {
        fs::read_to_string(folder().join(self.file())).unwrap()
    }

    /// What lbuild shall answer.
    fn expected(&self) -> String {
        let mut text = self.recorded();
        for (_, docker, lbuild) in DIFFERENT.iter().filter(|(file, ..)| *file == self.file()) {
            assert!(text.contains(docker), "{} does not say {docker:?}", self.file());
            text = text.replace(docker, lbuild);
        }
        text
    }
}

#[test]
fn calls_are_answered_as_docker_answers() {
    let bed = TestBed::new();
    for call in dockerfiles().iter().flat_map(|name| Call::all_of(name)) {
        let mut command = bed.command(["build", &call.argument(), "--file", &call.dockerfile(), "."]);
        let run = Run::of(command.current_dir(folder()));
        assert_eq!(run.text(), call.expected(), "{}: {run}", call.file());
    }
}

#[test]
fn the_source_in_json_has_its_name_without_a_folder() {
    let bed = TestBed::new();
    bed.file("docker/web.Dockerfile", "FROM scratch\nMAINTAINER me\n");
    let path = bed.context().join("docker/web.Dockerfile").display().to_string();
    let run = bed.build(["--call=check,format=json,ignorestatus", "--file", &path]).success();
    assert_eq!(run.json()["sources"][0]["filename"], "web.Dockerfile");
}
