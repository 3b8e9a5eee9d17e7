//! Several builds on one store, and several stages of one build.

use lbuild_tests::TestBed;

#[test]
fn builds_of_one_dockerfile_at_once_give_one_image() {
    let bed = TestBed::with_base("FROM base\nRUN echo 1 > /1 && sleep 0.2\nRUN echo 2 > /2\n");
    let builds: Vec<_> = (0..6).map(|_| bed.start_build(["-q"])).collect();
    for build in builds {
        build.end().success();
    }
    let image = bed.image(&bed.name());
    assert_eq!(image.layers.len(), 3);
    assert_eq!(image.top_layer().entry("2").content, b"2\n");
}

#[test]
fn different_builds_and_a_prune_at_once_do_not_harm_each_other() {
    let bed = TestBed::with_base("");
    let dockerfiles: Vec<_> = (0..4).map(|number| format!("{number}.Dockerfile")).collect();
    for (number, name) in dockerfiles.iter().enumerate() {
        bed.file(name, format!("FROM base\nRUN echo shared > /s && sleep 0.1\nRUN echo {number} > /n\n"));
    }
    let builds: Vec<_> = dockerfiles
        .iter()
        .map(|name| bed.start_build(["-t", &name[..1], "-f", bed.context().join(name).to_str().unwrap()]))
        .collect();
    let prunes: Vec<_> = (0..3).map(|_| bed.lbuild(["prune", "--all"])).collect();
    for build in builds {
        build.end().success();
    }
    for prune in prunes {
        prune.success();
    }
    for number in ["0", "1", "2", "3"] {
        let image = bed.image(&format!("{number}:latest"));
        assert_eq!(image.top_layer().entry("n").content, format!("{number}\n").as_bytes());
    }
}

#[test]
fn stages_that_do_not_need_each_other_run_at_the_same_time() {
    // Each stage ends only once it has met the other.
    let meet = |own: &str, other: &str| {
        format!(
            "RUN --mount=type=cache,id=place,target=/place touch /place/{own}; n=0; \
             until test -e /place/{other}; do n=$((n + 1)); test $n -lt 600 || exit 1; sleep 0.1; done; \
             touch /met-{other}"
        )
    };
    let bed = TestBed::with_base(&format!(
        "FROM base AS one\n{}\nFROM base AS two\n{}\nFROM base\nCOPY --from=one /met-two /\nCOPY --from=two /met-one /",
        meet("one", "two"),
        meet("two", "one"),
    ));
    assert_eq!(bed.built().layers.len(), 3);
}

#[test]
fn a_stage_that_the_target_does_not_need_is_not_built() {
    let bed = TestBed::with_base(
        "FROM base AS needed
         RUN touch /needed
         FROM base AS broken
         RUN exit 1
         FROM base AS last
         COPY --from=needed /needed /",
    );
    let build = bed.build([""; 0]).success();
    assert!(!build.stderr.contains("exit 1"), "{build}");
    bed.build(["--target", "needed"]).success();
    bed.build(["--target", "broken"]).failure(1).says(&["Dockerfile:4"]);
}

#[test]
fn a_stage_that_fails_stops_the_others() {
    let bed = TestBed::with_base("");
    bed.dockerfile(&format!(
        "FROM base AS slow\nENV BED={}\nRUN sleep 1000\n\
         FROM base AS broken\nRUN sleep 0.5; exit 9\n\
         FROM base\nCOPY --from=slow /x /\nCOPY --from=broken /x /\n",
        bed.token()
    ));
    bed.build([""; 0]).failure(1).says(&["Dockerfile:5", "exit status 9"]);
    bed.assert_nothing_left();
}
