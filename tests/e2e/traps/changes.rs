//! What counts as a change, and how deletions are written.

use lbuild_tests::TestBed;

/// Builds `instruction` on the base image and returns the paths of the layer that it makes, none
/// if it makes none.
#[track_caller]
fn layer_of(instruction: &str) -> Vec<String> {
    let bed = TestBed::with_base(&format!("FROM base\n{instruction}\n"));
    let image = bed.built();
    assert_eq!(image.history_layers(), [true, image.layers.len() == 2]);
    match &image.layers[1..] {
        [] => Vec::new(),
        [layer] => layer.paths().into_iter().map(str::to_owned).collect(),
        more => panic!("{} layers", more.len()),
    }
}

#[test]
fn steps_that_change_nothing_make_no_layer() {
    for instruction in [
        "RUN true",
        "RUN touch /d/x && rm /d/x",
        "RUN mkdir /d/x && rmdir /d/x",
        "RUN chmod 700 /d && chmod 755 /d",
        "RUN chown 1:1 /d/sub && chown 0:0 /d/sub",
        "RUN cat /d/a > /dev/null && ls -R /d",
        "WORKDIR /",
        "WORKDIR /d/sub",
    ] {
        assert_eq!(layer_of(instruction), [""; 0], "{instruction}");
    }
}

#[test]
fn steps_that_change_something_make_a_layer_of_just_that() {
    for (instruction, expected) in [
        ("RUN echo > /d/n", vec!["d/", "d/n"]),
        ("RUN mkdir /new", vec!["new/"]),
        ("RUN mkdir -p /new/sub && echo > /new/sub/f", vec!["new/", "new/sub/", "new/sub/f"]),
        ("RUN chmod 700 /d", vec!["d/"]),
        ("RUN chmod 700 /d/a", vec!["d/", "d/a"]),
        ("RUN ln -s a /d/l", vec!["d/", "d/l"]),
        ("WORKDIR /new/sub", vec!["new/", "new/sub/"]),
        ("COPY Dockerfile /d/", vec!["d/", "d/Dockerfile"]),
        ("RUN rm /d/sub/c", vec!["d/", "d/sub/", "d/sub/.wh.c"]),
        ("RUN rm -r /d/sub", vec!["d/", "d/.wh.sub"]),
        ("RUN rm -r /d && echo > /d", vec!["d"]),
        ("RUN rm /d/a && mkdir /d/a", vec!["d/", "d/a/"]),
        ("RUN mkdir /new && rm -r /new && mkdir /new && echo > /new/f", vec!["new/", "new/f"]),
    ] {
        assert_eq!(layer_of(instruction), expected, "{instruction}");
    }
}

#[test]
fn a_renamed_folder_is_a_deletion_and_a_full_copy() {
    assert_eq!(layer_of("RUN mv /d /d2"), [".wh.d", "d2/", "d2/a", "d2/b", "d2/sub/", "d2/sub/c"]);
}

#[test]
fn only_a_folder_with_something_below_it_is_opaque() {
    assert_eq!(layer_of("RUN mkdir /new && touch /new/f"), ["new/", "new/f"]);
    assert_eq!(layer_of("RUN rm -r /d && mkdir /d && touch /d/n"), ["d/", "d/.wh..wh..opq", "d/n"]);
}

#[test]
fn two_deletions_are_two_plain_files() {
    let bed = TestBed::with_base("FROM base\nRUN rm /d/a /d/b\n");
    let image = bed.built();
    assert_eq!(image.top_layer().paths(), ["d/", "d/.wh.a", "d/.wh.b"]);
    for name in ["d/.wh.a", "d/.wh.b"] {
        let whiteout = image.top_layer().entry(name);
        assert!(whiteout.is_plain_empty_file(), "{whiteout:?}");
        assert_eq!((whiteout.uid, whiteout.gid, whiteout.mtime), (0, 0, 0), "{whiteout:?}");
    }
}

#[test]
fn a_file_named_like_a_whiteout_fails_the_step_that_makes_it() {
    let bed = TestBed::with_base("FROM base\nRUN true\nRUN touch /d/.wh.f\n");
    bed.build([""; 0]).failure(1).says(&["d/.wh.f", "Dockerfile:3"]);

    bed.file("files/.wh.g", "").dockerfile("FROM base\nCOPY files /files\n");
    bed.build([""; 0]).failure(1).says(&[".wh.g", "Dockerfile:2"]);
}
