//! What a prune forgets, by its flags and by the policy of a configuration file.

use std::fs;

use lbuild_tests::{Run, TestBed};

/// A bed whose only step is cached; no image needs it.
fn bed() -> TestBed {
    let bed = TestBed::with_base("FROM base\nRUN echo made > /made\n");
    bed.build([""; 0]).success();
    bed.lbuild(["rmi", &bed.name()]).success();
    bed
}

/// Whether the step is taken from the cache; builds nothing.
fn is_cached(bed: &TestBed) -> bool {
    let plan = bed.lbuild(["build", "--plan", "--json", bed.context().to_str().unwrap()]).success().json();
    plan["running"] == 0
}

#[test]
fn each_limit_keeps_or_forgets() {
    let bed = bed();
    for (flags, keeps) in [
        (&[][..], true),
        (&["--filter", "until=24h"], true),
        (&["--all", "--filter", "until=24h"], true),
        (&["--keep-duration", "1h"], true),
        (&["--all", "--keep-duration", "1h"], true),
        (&["--keep-storage", "100GB"], true),
        (&["--min-free", "1B"], true),
        (&["--keep-duration", "0s"], false),
        (&["--filter", "until=0s"], false),
        (&["--keep-storage", "1B"], false),
        (&["--min-free", "1000TB"], false),
        (&["--all"], false),
    ] {
        bed.build([""; 0]).success();
        bed.lbuild(["rmi", &bed.name()]).success();
        bed.lbuild(["prune"].iter().chain(flags)).success();
        assert_eq!(is_cached(&bed), keeps, "{flags:?}");
    }
}

#[test]
fn an_image_that_has_a_name_keeps_its_layers_whatever_the_limits() {
    let bed = TestBed::with_base("FROM base\nRUN echo made > /made\n");
    let before = bed.built();
    bed.lbuild(["prune", "--all", "--keep-storage", "1B", "--min-free", "1000TB"]).success();
    let again = bed.lbuild(["prune", "--all"]).success();
    assert!(again.text().contains("Freed 0 B"), "{again}");
    let after = bed.image(&bed.name());
    assert_eq!(before.top_layer().entry("made").content, after.top_layer().entry("made").content);
}

#[test]
fn wrong_limits_are_refused() {
    let bed = TestBed::new();
    for (flags, part) in [
        (["--keep-storage", "much"], "much"),
        (["--min-free", "-1"], "-1"),
        (["--filter", "label=x"], "label"),
        (["--filter", "until=soon"], "soon"),
    ] {
        bed.lbuild(["prune"].iter().chain(&flags)).failure(2).says(&[part]);
    }
}

#[test]
fn a_build_in_which_a_step_ran_applies_the_policy_of_the_configuration() {
    let bed = bed();
    let configuration = bed.folder().join("lbuild/config.toml");
    fs::create_dir(configuration.parent().unwrap()).unwrap();
    let build = |limit: &str, dockerfile: &str| {
        fs::write(&configuration, format!("[prune]\n{limit}\n")).unwrap();
        bed.dockerfile(dockerfile);
        let mut build = bed.build_command([""; 0]);
        Run::of(build.env("XDG_CONFIG_HOME", bed.folder())).success();
        bed.dockerfile("FROM base\nRUN echo made > /made\n");
    };
    build("keep-storage = \"100GB\"", "FROM base\nRUN echo other > /made\n");
    assert!(is_cached(&bed), "there is room");
    build("keep-storage = \"1B\"", "FROM base\nRUN echo other > /made\n");
    assert!(is_cached(&bed), "no step ran");
    build("keep-storage = \"1B\"", "FROM base\nRUN echo third > /made\n");
    assert!(!is_cached(&bed), "there is no room");
}

#[test]
fn a_wrong_policy_is_told_with_its_place_and_fails_no_build() {
    let bed = TestBed::with_base("FROM base\nRUN echo made > /made\n");
    let configuration = bed.folder().join("lbuild/config.toml");
    fs::create_dir(configuration.parent().unwrap()).unwrap();
    fs::write(&configuration, "[prune]\nkeep-storage = \"much\"\n").unwrap();
    let mut build = bed.build_command([""; 0]);
    let build = Run::of(build.env("XDG_CONFIG_HOME", bed.folder())).success();
    build.says(&["warning: cannot prune as the configuration says", "lbuild/config.toml", "much"]);
}
