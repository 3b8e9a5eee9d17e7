//! The same inputs give the same bytes.

use std::time::Duration;

use lbuild_tests::{Image, Run, TestBed};

/// Builds with a set time, without the cache.
fn build_at(bed: &TestBed, seconds: &str) -> Image {
    Run::of(bed.build_command(["--no-cache"]).env("SOURCE_DATE_EPOCH", seconds)).success();
    bed.image(&bed.name())
}

#[test]
fn two_stores_give_one_manifest() {
    let digests = [(); 2].map(|()| {
        let bed = crate::cases::root_file_system();
        build_at(&bed, "1700000000").manifest_digest
    });
    assert_eq!(digests[0], digests[1]);
}

#[test]
fn a_later_build_of_every_kind_of_step_gives_the_same_manifest() {
    let bed = TestBed::with_base(
        "FROM base AS first
         ARG NAME=value
         WORKDIR /made
         COPY --chown=1000:1000 folder folder
         RUN mkdir n && echo $NAME > n/f && ln n/f n/g && ln -s f n/l && rm -r /d && mkfifo p
         FROM base
         LABEL b=2 a=1 c=3
         ENV A=1 B=2
         EXPOSE 80 443/udp
         VOLUME /v /w
         COPY --from=first /made /made
         ADD Dockerfile /
         USER user
         CMD [\"true\"]",
    );
    bed.file("folder/b", "b").file("folder/a", "a").file("folder/sub/c", "c");
    let first = build_at(&bed, "1700000000");
    std::thread::sleep(Duration::from_millis(1100));
    bed.file("folder/b", "b");
    let second = build_at(&bed, "1700000000");
    assert_eq!(first.diff_ids(), second.diff_ids());
    assert_eq!(first.config, second.config);
    assert_eq!(first.manifest_digest, second.manifest_digest);
    assert_ne!(build_at(&bed, "1600000000").manifest_digest, second.manifest_digest);
}

#[test]
fn a_saved_image_has_the_same_bytes_each_time() {
    let bed = TestBed::with_base("FROM base\nRUN echo > /f\n");
    bed.build([""; 0]).success();
    let save = || bed.lbuild(["save", &bed.name()]).success().stdout;
    assert!(save() == save());
}

#[test]
fn the_image_names_nothing_of_this_machine() {
    let bed = TestBed::with_base("FROM base\nRUN hostname > /h; env > /e; cat /etc/hosts > /dev/null\n");
    let image = bed.built();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let text = image.config.to_string();
    for word in [host.trim(), &bed.token()] {
        assert!(
            !text.contains(&format!("\"{word}\"")) && !text.contains(&bed.token()),
            "{word} is in {text}"
        );
    }
    let environment = String::from_utf8_lossy(&image.top_layer().entry("e").content).into_owned();
    for name in ["LBUILD_ROOT", "TMPDIR", "CARGO", "HOSTNAME"] {
        assert!(!environment.contains(&format!("{name}=")), "{name} is in {environment}");
    }
    assert_ne!(image.top_layer().entry("h").content, host.as_bytes());
}
