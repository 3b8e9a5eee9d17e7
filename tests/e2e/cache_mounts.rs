//! What `RUN --mount=type=cache` keeps: listed, handed from store to store, and left alone by others.

use lbuild_tests::TestBed;

const FILLED: &str = "FROM base\nRUN --mount=type=cache,target=/c echo kept > /c/file\n";
const SHOWN: &str = "FROM base\nRUN --mount=type=cache,target=/c cp /c/file /shown\n";

#[test]
fn a_cache_mount_goes_from_store_to_store_by_its_id() {
    let one = TestBed::with_base(FILLED);
    one.build([""; 0]).success();
    let listed = one.lbuild(["cache", "ls", "--json"]).success().json();
    assert_eq!((listed["id"].as_str(), listed["inUse"].as_bool()), (Some("/c"), Some(false)), "{listed}");
    let file = one.folder().join("c.tar.zst");
    let file = file.to_str().unwrap();
    one.lbuild(["cache", "export", "/c", "-o", file]).success();

    let two = TestBed::with_base(SHOWN);
    let limited = ["cache", "import", "--archive-limit", "entries=0", "/c", file];
    two.lbuild(limited).failure(1).says(&["limit of 0 entries"]);
    two.lbuild(["cache", "import", "/c", file]).success();
    assert_eq!(two.built().top_layer().entry("shown").content, b"kept\n");
}

#[test]
fn what_is_no_cache_mount_is_neither_exported_nor_imported() {
    let bed = TestBed::with_base(FILLED);
    let file = bed.folder().join("c.tar");
    let file = file.to_str().unwrap();
    bed.lbuild(["cache", "export", "/other", "-o", file])
        .failure(1)
        .says(&["no cache mount /other", "cache ls"]);
    assert!(!bed.folder().join("c.tar").exists());
    bed.file("text", "no archive, and long enough to be looked at as one\n".repeat(50));
    let text = bed.context().join("text");
    bed.lbuild(["cache", "import", "/c", text.to_str().unwrap()]).failure(1);
    bed.lbuild(["cache", "ls"]).success();
    bed.assert_nothing_left();
}
