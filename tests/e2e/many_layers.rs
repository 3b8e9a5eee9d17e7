//! Images of many layers: the kernel stacks at most 500 folders.

use std::fmt::Write;

use lbuild_tests::TestBed;

/// A Dockerfile on the base image whose steps make the layers 2 to `layers`, each a file that is
/// named after its layer, with a RUN after each of `checked` that looks at the lowest and the topmost.
fn dockerfile(layers: usize, checked: &[usize]) -> String {
    let mut text = "FROM base\n".to_owned();
    for layer in 2..=layers {
        writeln!(text, "COPY file /layers/{layer}").unwrap();
        if checked.contains(&layer) {
            writeln!(text, "RUN test -s /etc/motd && test -s /layers/2 && test -s /layers/{layer}").unwrap();
        }
    }
    text
}

#[test]
fn a_hundred_and_thirty_layers_build_and_run() {
    let mut text = "FROM base\n".to_owned();
    for layer in 1..130 {
        writeln!(text, "RUN echo {layer} > /f && echo {layer} >> /all").unwrap();
    }
    text += "RUN test \"$(cat /f)\" = 129 && test \"$(wc -l < /all)\" = 129\n";
    let bed = TestBed::with_base(&text);
    let image = bed.built();
    assert_eq!(image.layers.len(), 130);
    assert_eq!(image.top_layer().entry("f").content, b"129\n");
}

#[test]
fn five_hundred_layers_work_and_one_more_is_a_clear_error() {
    // A RUN may need two folders more: mount points that the image lacks.
    let checked = [127, 400, 498];
    let bed = TestBed::with_base(&dockerfile(500, &checked));
    bed.file("file", "content\n");
    bed.build([""; 0]).success();
    let layers = bed.inspect(&bed.name())["RootFS"]["Layers"].as_array().unwrap().len();
    assert_eq!(layers, 500);

    let text = dockerfile(501, &checked) + "RUN true\n";
    let line = text.lines().count();
    bed.dockerfile(&text);
    bed.build([""; 0]).failure(1).says(&["500", &format!("Dockerfile:{line}")]);
}
