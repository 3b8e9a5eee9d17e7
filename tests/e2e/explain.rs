//! Why steps run: `--explain`, `lbuild why`, `--plan`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use lbuild_tests::{BaseImage, Run, TestBed};
use serde_json::Value;

/// Builds, and returns each miss: the instruction and the first reason.
#[track_caller]
fn misses(bed: &TestBed, arguments: &[&str]) -> Vec<(String, String)> {
    let build = bed.build(["--explain"].iter().chain(arguments)).success();
    let mut titles = std::collections::BTreeMap::new();
    let mut misses = Vec::new();
    for line in build.stderr.lines() {
        let Some((number, text)) = line.strip_prefix('#').and_then(|line| line.split_once(' ')) else {
            continue;
        };
        if let Some((_, instruction)) = text.split_once("] ") {
            titles.entry(number).or_insert_with(|| instruction.to_owned());
        }
        if let Some(reason) = text.strip_prefix("MISS: ") {
            misses.push((titles[number].clone(), reason.to_owned()));
        }
    }
    misses
}

/// The reason of the only miss.
#[track_caller]
fn reason(bed: &TestBed, arguments: &[&str]) -> String {
    let misses = misses(bed, arguments);
    let [(_, reason)] = &misses[..] else { panic!("not one miss: {misses:?}") };
    reason.clone()
}

/// A bed whose Dockerfile has been built once.
fn built(dockerfile: &str) -> TestBed {
    let bed = TestBed::with_base(dockerfile);
    bed.file("f", "1").file("d/g", "1");
    bed.build([""; 0]).success();
    bed
}

#[test]
fn changed_files_are_named() {
    let bed = TestBed::with_base("FROM base\nCOPY d /d\n");
    for name in ["a", "b", "c"] {
        bed.file(&format!("d/{name}"), "1");
    }
    assert_eq!(reason(&bed, &[]), "no earlier build of this Dockerfile and context is known");
    assert_eq!(misses(&bed, &[]), []);
    bed.file("d/b", "2");
    assert_eq!(reason(&bed, &[]), "d/b has other content");
    let file = bed.context().join("d/a");
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(reason(&bed, &[]), "d/a has mode 755 and had 644");
    bed.file("d/new", "");
    assert_eq!(reason(&bed, &[]), "d/new was added");
    fs::remove_file(bed.context().join("d/c")).unwrap();
    assert_eq!(reason(&bed, &[]), "d/c was removed");
    fs::remove_file(bed.context().join("d/new")).unwrap();
    fs::create_dir(bed.context().join("d/new")).unwrap();
    assert_eq!(reason(&bed, &[]), "d/new is another kind of file");
    for number in 0..10 {
        bed.file(&format!("d/new/{number}"), "");
    }
    let said = reason(&bed, &[]);
    assert!(said.starts_with("10 files changed: d/new/0 was added, ") && said.ends_with(", …"), "{said}");
}

#[test]
fn files_of_another_stage_are_named_with_their_owner() {
    let dockerfile = |owner: &str| {
        format!("FROM base AS first\nRUN touch /f && chown {owner} /f\nFROM base\nCOPY --from=first /f /\n")
    };
    let bed = TestBed::with_base(&dockerfile("1:1"));
    bed.build([""; 0]).success();
    bed.dockerfile(&dockerfile("2:3"));
    let misses = misses(&bed, &[]);
    assert_eq!(misses[0].1, "the instruction was: RUN touch /f && chown 1:1 /f");
    assert_eq!(misses[1].1, "f belongs to 2:3 and did to 1:1");
}

#[test]
fn changed_instructions_arguments_and_variables_are_named() {
    let bed = built("FROM base\nARG V=1\nENV E=1\nRUN echo $V $E\n");
    assert_eq!(reason(&bed, &["--build-arg", "V=2"]), "the argument V is 2; it was 1");
    bed.dockerfile("FROM base\nARG V=1\nENV E=2\nRUN echo $V $E\n");
    assert_eq!(reason(&bed, &[]), "the environment variable E is 2; it was 1");
    bed.dockerfile("FROM base\nARG V=1\nENV E=2 N=new\nRUN echo $V $E\n");
    assert_eq!(reason(&bed, &[]), "the environment variable N is new: new");
    bed.dockerfile("FROM base\nARG V=1\nENV E=2 N=new\nRUN echo $V\n");
    assert_eq!(reason(&bed, &[]), "the instruction was: RUN echo $V $E");
    bed.dockerfile("FROM base\nARG V=1\nENV E=2 N=new\nRUN echo $V\nRUN another\n");
    let run = bed.build(["--explain"]).failure(1);
    assert!(run.stderr.contains("MISS: earlier builds had no such step"), "{run}");
    let run = bed.build(["--explain"]).failure(1);
    assert!(run.stderr.contains("MISS: it failed in the earlier build"), "{run}");
}

#[test]
fn what_else_a_run_sees_is_named() {
    let run = |before: &str, options: &str| format!("FROM base\n{before}\nRUN {options} true\n");
    let bed = built(&run("", ""));
    for (before, options, expected) in [
        ("USER 7", "", "the user is 7; it was \"\""),
        ("WORKDIR /etc", "", "the working directory is /etc; it was /"),
        ("SHELL [\"/bin/busybox\", \"sh\", \"-c\"]", "", "SHELL is /bin/busybox sh -c; it was /bin/sh -c"),
    ] {
        bed.dockerfile(&run(before, options));
        let said = misses(&bed, &[]);
        assert_eq!(said.last().unwrap().1, expected);
    }
    let bed = built(&run("", ""));
    for (option, expected) in [
        (["--network", "none"], "the network is None; it was Default"),
        (["--add-host", "a:1.2.3.4"], "--add-host is new: [[\"a\",\"1.2.3.4\"]]"),
        (["--shm-size", "1m"], "--shm-size is new: 1048576"),
        (["--ulimit", "nofile=9"], "--ulimit is new: [[\"nofile\",9,9]]"),
        (["--security-opt", "no-new-privileges"], "--security-opt no-new-privileges is true; it was false"),
        (["--build-arg", "SOURCE_DATE_EPOCH=1"], "SOURCE_DATE_EPOCH is new: 1"),
    ] {
        assert_eq!(reason(&bed, &option), expected);
    }
}

#[test]
fn changed_mounts_and_secrets_are_named() {
    let bed = built("FROM base\nRUN --mount=type=bind,target=/m,source=d true\n");
    bed.file("d/g", "2");
    assert_eq!(reason(&bed, &[]), "the files that it sees at /m changed");
    fs::write(bed.folder().join("token"), "token").unwrap();
    let secret = format!("id=token,src={}", bed.folder().join("token").display());
    let bed = built("FROM base\nRUN --mount=type=secret,id=token true\n");
    let said = reason(&bed, &["--secret", &secret]);
    assert!(said.starts_with("the secret mount at /run/secrets/token is new"), "{said}");
}

#[test]
fn what_a_copy_is_told_is_named() {
    let bed =
        built("FROM base\nARG TO=/a\nARG MODE=644\nARG WHOSE=1\nCOPY --chown=$WHOSE --chmod=$MODE f $TO\n");
    assert_eq!(reason(&bed, &["--build-arg", "TO=/b"]), "its destination is /b; it was /a");
    assert_eq!(reason(&bed, &["--build-arg", "MODE=600"]), "--chmod is 600; it was 644");
    assert_eq!(reason(&bed, &["--build-arg", "WHOSE=2"]), "owner is 2; it was 1");
    let bed = built("FROM base\nARG TEXT=1\nCOPY <<EOF /f\n$TEXT\nEOF\n");
    assert_eq!(reason(&bed, &["--build-arg", "TEXT=2"]), "the text of <<EOF is 2; it was 1");
}

#[test]
fn a_linked_copy_is_explained_by_its_files_and_not_by_what_is_below() {
    let bed = built("FROM base\nRUN touch /1\nCOPY --link f /\n");
    bed.dockerfile("FROM base\nRUN touch /2\nCOPY --link f /\n");
    assert_eq!(misses(&bed, &[]).len(), 1, "the copy serves on any base");
    bed.dockerfile("FROM base\nRUN touch /3\nCOPY --link f /\n");
    bed.file("f", "2");
    assert_eq!(misses(&bed, &[]).last().unwrap().1, "f has other content");
}

#[test]
fn another_base_and_the_step_before_are_named() {
    let bed = built("FROM base\nRUN touch /1\nRUN touch /2\n");
    bed.load_base("base", &BaseImage::busybox().layer(one_file("etc/another")));
    let said = misses(&bed, &[]);
    assert!(said[0].1.starts_with("its base base is another one: sha256:"), "{said:?}");
    bed.dockerfile("FROM base\nRUN touch /one\nRUN touch /2\n");
    let said = misses(&bed, &[]);
    assert_eq!(said[0].1, "the instruction was: RUN touch /1");
    assert_eq!(said[1].1, "the step before it gave another layer: RUN touch /one");
}

#[test]
fn a_cache_that_was_not_asked_pruned_or_damaged_is_told() {
    let bed = built("FROM base\nRUN touch /1\n");
    assert_eq!(reason(&bed, &["--no-cache"]), "--no-cache asks for it");
    assert_eq!(reason(&bed, &["--no-cache-filter", "stage-0"]), "--no-cache asks for it");
    for record in files_below(&bed.store().join("cache")) {
        fs::write(record, "torn").unwrap();
    }
    assert_eq!(reason(&bed, &[]), "the result of the earlier build is damaged");
    for record in files_below(&bed.store().join("cache")) {
        fs::remove_file(record).unwrap();
    }
    assert_eq!(reason(&bed, &[]), "the result of the earlier build was removed since");
}

#[test]
fn a_result_that_was_not_kept_is_told() {
    let bed = TestBed::with_base("FROM base\nCOPY d /d\n");
    // Copying these takes time enough to change the last one meanwhile.
    for number in 0..10_000 {
        bed.file(&format!("d/{number:05}"), "");
    }
    bed.file("d/last", "1");
    let mut build = bed.start_build(["--explain"]);
    build.wait_until_it_says("MISS");
    bed.file("d/last", "2");
    build.end().success().says(&["last changed while it was copied"]);
    bed.file("d/last", "1");
    let expected = "files changed while the earlier build copied them, so that it was not kept";
    assert_eq!(reason(&bed, &[]), expected);
    assert_eq!(misses(&bed, &[]), [], "nothing changed this time");
}

#[test]
fn why_explains_the_last_build_of_a_context() {
    let bed = built("FROM base\nCOPY f /\nRUN true\n");
    bed.file("f", "2");
    bed.build([""; 0]).success();
    let context = bed.context().to_str().unwrap();
    let why = bed.lbuild(["why", context]).success();
    assert!(why.text().contains("2 of 3 steps ran"), "{why}");
    assert!(why.text().contains("MISS: f has other content"), "{why}");
    assert!(why.text().contains("MISS: the step before it gave another layer: COPY f /"), "{why}");
    let one = bed.lbuild(["why", "2", context]).success();
    assert!(one.text().contains("COPY f /") && !one.text().contains("RUN true"), "{one}");
    let line = bed.lbuild(["why", "--json", "2", context]).success().json();
    assert_eq!(line["reasons"][0]["reason"], "files");
    assert_eq!(line["reasons"][0]["first"][0]["path"], "f");
    bed.lbuild(["why", "--build", "1"]).success();
    bed.lbuild(["why", "9", context]).failure(1).says(&["no step 9"]);
    bed.lbuild(["why", bed.folder().to_str().unwrap(), "-f", "x"]).failure(1).says(&["is remembered"]);
}

#[test]
fn a_plan_says_what_would_run_and_does_nothing() {
    let bed =
        built("FROM base AS first\nRUN sleep 0.3 && touch /1\nCOPY f /\nFROM base\nCOPY --from=first /1 /\n");
    let plan = |arguments: &[&str]| -> Value {
        let words = ["build", "--plan", "--json"].iter().chain(arguments).copied();
        bed.lbuild(words.chain([bed.context().to_str().unwrap()])).success().json()
    };
    assert_eq!(plan(&[])["running"], 0);
    bed.dockerfile(
        "FROM base AS first\nRUN sleep 0.3 && touch /1 /2\nCOPY f /\nFROM base\nCOPY --from=first /1 /\n",
    );
    let before = files_below(bed.store());
    let forecast = plan(&[]);
    let after = files_below(bed.store());
    assert_eq!(before, after, "nothing is recorded");
    assert_eq!(forecast["running"], 3);
    assert!(forecast["seconds"].as_f64().unwrap() >= 0.3, "{forecast}");
    let step = |index: usize| &forecast["steps"][index];
    assert_eq!(step(1)["certain"], true);
    assert_eq!(step(1)["reasons"][0]["reason"], "instruction");
    assert_eq!((&step(2)["certain"], &step(2)["reasons"][0]["reason"]), (&false.into(), &"unknown".into()));
    assert_eq!(step(4)["reasons"][0]["reason"], "unknown", "{forecast}");
    let text = bed.lbuild(["build", "--plan", bed.context().to_str().unwrap()]).success();
    assert!(text.text().contains("3 of 5 steps would run"), "{text}");
    assert!(text.text().contains("may run"), "{text}");
}

#[test]
fn frozen_says_why_and_runs_nothing() {
    let bed = built("FROM base\nRUN true\nRUN touch /1\n");
    bed.dockerfile("FROM base\nRUN echo it ran\nRUN touch /1\n");
    let run: Run = bed.build(["--frozen"]).failure(1).says(&["the instruction was: RUN true"]);
    assert!(!run.stderr.contains("DONE") && !run.stderr.contains("#2 0."), "{run}");
}

/// A layer with an empty file.
fn one_file(path: &str) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_data(&mut tar::Header::new_gnu(), path, &b""[..]).unwrap();
    tar.into_inner().unwrap()
}

/// The files below a folder, sorted; not the memo of what files hold.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(entry.path()),
                false => files.push(entry.path()),
            }
        }
    }
    files.retain(|file| !file.ends_with("context-digests") && !file.ends_with("selection-digests"));
    files.sort();
    files
}
