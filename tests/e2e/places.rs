//! Where a problem is: the same for people and for programs, and as many as are independent.

use lbuild_tests::{Run, TestBed};
use serde_json::Value;

/// A Dockerfile for each kind of problem.
const WRONG: [&str; 11] = [
    "FORM base\n",
    "RUN true\n",
    "FROM base\nRNU true\nRUN true\nCOPPY a /\n",
    "FROM base\nCOPY --chwon=1 a /\n",
    "FROM base\nENV A\n",
    "FROM base AS 1st\n",
    "FROM base\nHEALTHCHECK --interval=soon CMD true\n",
    "FROM base\nRUN --mount=type=cahce,target=/x true\n",
    "FROM base\nRUN --mount=type=cache,target=/x,sharing=none true\n",
    "FROM base\nRUN <<E\ntrue\n",
    "FROM no-such-image\n",
];

#[test]
fn programs_are_told_the_same_places_as_people() {
    let bed = TestBed::with_base("");
    for text in WRONG {
        bed.dockerfile(text);
        let told = told(&bed.build([""; 0]));
        assert!(!told.is_empty(), "no place is told of {text}");
        let context = bed.context().to_str().unwrap();
        let run = bed.lbuild(["build", "--progress", "rawjson", context]);
        assert_eq!(in_json(&run), told, "{text}{run}");
    }
}

#[test]
fn programs_are_told_in_json_what_fails_outside_of_the_steps() {
    let bed = TestBed::with_base("FROM base\n");
    let context = bed.context().to_str().unwrap();
    for (arguments, status, message) in [
        (&["-f", "/no/such/Dockerfile", context][..], 1, "/no/such/Dockerfile"),
        (&["-o", "type=local,dest=/proc/files", context], 1, "/proc/files"),
        (&["--iidfile", "/no/such/folder/id", context], 1, "/no/such/folder/id"),
    ] {
        let run = bed.lbuild(["build", "--progress=rawjson"].iter().chain(arguments)).failure(status);
        let lines: Vec<Value> =
            run.stderr.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
        let last = lines.last().unwrap();
        assert_eq!(last["event"], "error", "{run}");
        assert!(last["message"].as_str().unwrap().contains(message), "{run}");
        assert_eq!(last["causes"][0], "No such file or directory", "{run}");
    }
}

#[test]
fn independent_problems_of_a_file_are_told_together() {
    for (text, places) in [
        ("FROM base\nRNU true\nENV A\nCOPY --chwon=1 a /\nEXPOSE\n", &["2:1", "3:5", "4:6", "5:1"][..]),
        ("FROM base AS 1st\nRUN --mount=type=cahce,target=/x true\n", &["1:14", "2:"]),
    ] {
        let bed = TestBed::with_base(text);
        let told = told(&bed.build([""; 0]));
        assert_eq!(told.len(), places.len(), "{told:?}");
        for (told, place) in told.iter().zip(places) {
            assert!(told.starts_with(&format!("Dockerfile:{place}")), "{told} is not {place}");
        }
    }
}

/// The places of the errors, from the file's name on.
fn told(run: &Run) -> Vec<String> {
    assert!(!run.status.success(), "{run}");
    let mut is_error = false;
    let mut places = Vec::new();
    for line in run.stderr.lines() {
        is_error = line.starts_with("error") || is_error && !line.starts_with("warning");
        match line.trim_start().strip_prefix("--> ") {
            Some(place) if is_error => {
                places.push(place.rsplit('/').next().unwrap_or_default().trim().to_owned());
            }
            _ => {}
        }
    }
    places
}

/// The same from the objects of `--progress=rawjson`.
fn in_json(run: &Run) -> Vec<String> {
    let objects = run.stderr.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let errors = objects.filter(|object| object["event"] == "error");
    let diagnostics = errors.flat_map(|mut error| match error["diagnostics"].take() {
        Value::Array(diagnostics) => diagnostics,
        _ => Vec::new(),
    });
    let place = |diagnostic: Value| {
        let place = &diagnostic["place"];
        let file = place["file"].as_str()?.rsplit('/').next()?.to_owned();
        Some(format!("{file}:{}:{}", place["line"], place["column"]))
    };
    diagnostics.filter_map(place).collect()
}
