//! Small texts that mean much work: each costs no more than it is long.

use std::time::{Duration, Instant};

use crate::row::Mode;
use crate::scene::Scene;

/// What takes the square of such a text, or more, takes hours.
const LIMIT: Duration = Duration::from_secs(100);

/// Builds, with success or without, in a time that no square has.
#[track_caller]
fn in_time(scene: &Scene, dockerfile: &str) -> lbuild_tests::Run {
    scene.dockerfile(dockerfile);
    let start = Instant::now();
    let run = scene.tried(&["--no-cache"]);
    assert!(start.elapsed() < LIMIT, "{:?}", start.elapsed());
    run
}

/// Variables without number, each of which could be another's.
pub fn names_without_number(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    let pairs: String = (0..30_000).map(|number| format!(" V{number}=x")).collect();
    for instruction in ["ENV", "ARG", "LABEL"] {
        let run = in_time(&scene, &format!("FROM base\n{instruction}{pairs}\n"));
        assert!(run.status.success(), "{instruction}: {run}");
    }
}

/// Every port a thousand times.
pub fn ports_without_number(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    assert!(in_time(&scene, "FROM base\nEXPOSE 1-65535 1-65535/udp 1-65535/sctp\n").status.success());
    let run = in_time(&scene, &format!("FROM base\nEXPOSE{}\n", " 1-65535".repeat(1000)));
    assert!(!run.status.success(), "{run}");
    run.says(&["EXPOSE names more ports than there are", "Dockerfile:2"]);
}

/// Patterns that match everything in every way.
pub fn patterns_that_match_in_every_way(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    scene.file(&format!("{}/f", ["a"; 60].join("/")), "x");
    scene.file(".dockerignore", format!("{}x\n", "**/".repeat(2000)).repeat(50));
    assert!(in_time(&scene, "FROM base\nCOPY . /c/\n").status.success());
    scene.file(".dockerignore", "");
    let exclude = format!("--exclude={}", "**/a*".repeat(2000));
    assert!(in_time(&scene, &format!("FROM base\nCOPY {exclude} . /c/\n")).status.success());
}

/// Long texts, each of them allowed, that grow and grow.
pub fn texts_without_number(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    let doubled = |instruction: &str| {
        (1..=22).fold(format!("{instruction} A0=x\n"), |all, number| {
            all + &format!("{instruction} A{number}=$A{0}$A{0}\n", number - 1)
        })
    };
    let many = |instruction: &str| -> String {
        (0..300).map(|number| format!("{instruction} B{number}=$A22\n")).collect()
    };
    let on_one_line: String = (0..300).map(|number| format!(" B{number}=$A22")).collect();
    for dockerfile in [
        format!("{}{}FROM base\n", doubled("ARG"), many("ARG")),
        format!("FROM base\n{}{}", doubled("ARG"), many("ARG")),
        format!("FROM base\n{}{}", doubled("ENV"), many("LABEL")),
        format!("FROM base\n{}ARG{on_one_line}\n", doubled("ENV")),
        format!("FROM base\n{}LABEL{on_one_line}\n", doubled("ENV")),
    ] {
        let run = in_time(&scene, &dockerfile);
        assert!(!run.status.success(), "{run}");
        run.says(&["longer than 16 MiB together", "Dockerfile:"]);
    }
}
