//! Early cut-off: steps that run again to the same layer, and what is not in a step's key.

use std::fs;
use std::time::{Duration, SystemTime};

use lbuild_tests::{Run, TestBed};

/// The instructions of the steps that ran.
fn ran(build: &Run) -> Vec<String> {
    let mut titles = std::collections::BTreeMap::new();
    let mut ran = Vec::new();
    for line in build.stderr.lines() {
        let Some((number, text)) = line.strip_prefix('#').and_then(|line| line.split_once(' ')) else {
            continue;
        };
        if let Some((_, instruction)) = text.split_once("] ") {
            titles.entry(number).or_insert_with(|| instruction.to_owned());
        }
        if text.starts_with("DONE") {
            ran.push(titles[number].clone());
        }
    }
    ran
}

#[test]
fn steps_after_one_that_made_the_same_layer_stay_cached() {
    let bed = TestBed::with_base(
        "FROM base AS first\nARG V\nRUN echo $V > /dev/null; echo same > /made && touch -d @5 /made /\n\
         RUN cat /made\nFROM base\nCOPY --from=first /made /\nRUN --mount=type=bind,from=first,target=/m cat /m/made\n",
    );
    bed.build(["--build-arg", "V=1"]).success();
    let again = bed.build(["--no-cache-filter", "nothing", "--build-arg", "V=2"]).success();
    // `cat /made` sees V too; what stands on the stage does not.
    let ran = ran(&again);
    assert_eq!(ran.len(), 2, "{ran:?}");
    assert!(ran.iter().all(|step| step.starts_with("RUN echo") || step == "RUN cat /made"), "{ran:?}");
}

#[test]
fn times_do_not_defeat_the_cut_off_with_source_date_epoch() {
    let bed = TestBed::with_base(
        "FROM base\nRUN --mount=type=bind,target=/c grep -v '^#' /c/source > /made; mkdir -p /d/e\nRUN cat /made > /copy\n\
         COPY other /other\n",
    );
    bed.file("source", "# one\ncode\n").file("other", "");
    let epoch = ["--build-arg", "SOURCE_DATE_EPOCH=1000000000"];
    bed.build(epoch).success();
    // Another second, so that unclamped times would differ.
    std::thread::sleep(Duration::from_millis(1100));
    bed.file("source", "# two\ncode\n");
    let again = ran(&bed.build(epoch).success());
    assert_eq!(again.len(), 1, "{again:?}");
    let layers = bed.image(&bed.name());
    assert!(layers.top_layer().entry("other").mtime <= 1_000_000_000);
    // Without it, the times are part of the layer.
    let bed = TestBed::with_base(
        "FROM base\nRUN --mount=type=bind,target=/c cat /c/f > /dev/null; touch /made\nRUN true\n",
    );
    bed.file("f", "1");
    bed.build([""; 0]).success();
    std::thread::sleep(Duration::from_millis(1100));
    bed.file("f", "2");
    assert_eq!(ran(&bed.build([""; 0]).success()).len(), 2);
}

#[test]
fn what_a_step_cannot_see_is_not_in_its_key() {
    let bed = TestBed::with_base(
        "FROM base\nARG UNUSED_BY_COPY\nCOPY f /\nCOPY --from=base /etc/motd /motd\nWORKDIR /made/here\n",
    );
    bed.file("f", "1");
    bed.build([""; 0]).success();
    for options in [
        &["--label", "a=b"][..],
        &["--build-arg", "UNUSED_BY_COPY=1"],
        &["--build-arg", "HTTP_PROXY=http://proxy"],
        &["--ulimit", "nofile=99"],
        &["--add-host", "a:1.2.3.4"],
        &["--shm-size", "1m"],
        &["--network", "none"],
        &["--security-opt", "no-new-privileges"],
        &["--memory", "1g"],
        &["-t", "another/name"],
        &["--platform", "linux/amd64"],
    ] {
        if options[0] == "--platform" && !cfg!(target_arch = "x86_64") {
            continue;
        }
        assert_eq!(ran(&bed.build(options).success()), [""; 0], "{options:?}");
    }
    let file = fs::File::options().write(true).open(bed.context().join("f")).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(1000)).unwrap();
    assert_eq!(ran(&bed.build([""; 0]).success()), [""; 0], "a time");
}

#[test]
fn metadata_secrets_and_caches_leave_a_run_cached() {
    let text = |label: &str| {
        format!(
            "FROM base\nLABEL a={label}\nCMD [\"{label}\"]\nEXPOSE {label}\nHEALTHCHECK CMD {label}\nARG NEVER={label}\n\
             FROM base\nLABEL a={label}\nEXPOSE {label}\nRUN --mount=type=secret,id=s --mount=type=cache,target=/c true\n"
        )
    };
    let bed = TestBed::with_base(&text("1"));
    let secret = bed.folder().join("secret");
    let option = format!("id=s,src={}", secret.display());
    fs::write(&secret, "one").unwrap();
    bed.build(["--secret", &option]).success();
    fs::write(&secret, "another").unwrap();
    bed.dockerfile(&text("2"));
    for more in [&["--memory", "1g"][..], &["--pids-limit", "99"], &["--build-arg", "http_proxy=x"]] {
        let build = bed.build(["--secret", &option].iter().chain(more)).success();
        assert_eq!(ran(&build), [""; 0], "{more:?}");
    }
}
