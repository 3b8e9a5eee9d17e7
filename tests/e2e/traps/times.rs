//! Times are whole seconds, and clamped only in layers of our own.

use lbuild_tests::{BaseImage, TestBed};

/// 2001-09-09, before the base image's files.
const EPOCH: u64 = 1_000_000_000;

#[test]
fn times_are_whole_seconds_without_access_or_change_times() {
    let bed = TestBed::with_base("FROM base\nRUN touch /f && rm /d/a && ln -s f /l\n");
    let image = bed.built();
    for entry in &image.top_layer().entries {
        for record in ["mtime", "atime", "ctime", "LIBARCHIVE.creationtime"] {
            assert!(!entry.pax.contains_key(record), "{record} of {}", entry.path);
        }
    }
    assert_eq!(image.top_layer().entry("d/.wh.a").mtime, 0);
}

#[test]
fn source_date_epoch_clamps_only_what_the_build_makes() {
    let bed = TestBed::new();
    bed.load_base("base", &BaseImage::busybox());
    bed.dockerfile(
        "FROM base\nRUN touch /f && touch -d @1 /old && touch -d @4000000000 /new\nCOPY Dockerfile /\n",
    );
    let mut build = bed.build_command([""; 0]);
    lbuild_tests::Run::of(build.env("SOURCE_DATE_EPOCH", EPOCH.to_string())).success();
    let image = bed.image(&bed.name());

    assert!(image.layers[0].entries.iter().all(|entry| entry.mtime > EPOCH), "the base's layer is as it was");
    for (layer, path, expected) in
        [(1, "f", EPOCH), (1, "old", 1), (1, "new", EPOCH), (2, "Dockerfile", EPOCH)]
    {
        assert_eq!(image.layers[layer].entry(path).mtime, expected, "{path}");
    }
    assert_eq!(image.config["created"], "2001-09-09T01:46:40Z");
}
