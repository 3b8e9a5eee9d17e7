//! Texts of strangers that come to the terminal, to logs and to documents.

use std::fs;

use lbuild_tests::Run;
use serde_json::json;

use crate::row::Mode;
use crate::scene::{Scene, base};
use crate::web::{Answer, Web};

/// What drives a terminal, or begins a line that a CI system takes for its own.
const FORBIDDEN: [&str; 6] = ["\u{1b}", "\u{7}", "\u{8}", "\u{9b}", "\n::error", "\n::add-mask"];

/// Names, arguments and instructions of the Dockerfile, which are shown as they run and in errors.
pub fn control_characters_in_a_dockerfile(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    const EVIL: &str = "\u{1b}]0;t\u{7}\u{1b}[2J\u{9b}8m\u{8}\r::error::x";
    for text in [
        "FROM base\nRUN echo 'EVIL' > /x\n",
        "FROM base\nRUN exit 3 # EVIL\n",
        "FROM base\nLABEL a='EVIL'\nENV B='EVIL'\nRUN false\n",
        "FROM base\nCOPY EVIL /\n",
        "FROM base\nCOPY --from=EVIL a /\n",
        "FROM base AS EVIL\nRUN false\n",
        "FROM EVIL\n",
        "EVIL base\n",
        "FROM base\nRUN --mount=type=EVIL true\n",
        "FROM base\nARG EVIL=1\nUSER EVIL\nRUN true\n",
        "FROM base\nWORKDIR /EVIL\nRUN pwd; false\n",
        "FROM base\nADD http://127.0.0.1:1/EVIL /\n",
        "FROM base\nRUN <<E\necho \"EVIL\"\nfalse\nE\n",
        "# syntax=EVIL\n# escape=EVIL\nFROM base\n",
        "FROM base\nRUN touch \"/.wh.EVIL\"\n",
    ] {
        scene.dockerfile(&text.replace("EVIL", EVIL));
        for progress in ["plain", "auto", "rawjson"] {
            let run: Run = scene.unseen(Run::of(&mut scene.build_showing(progress, &["--no-cache"])));
            assert!(!run.stderr.contains("panicked"), "{run}");
            let shown = FORBIDDEN.iter().find(|text| run.stderr.contains(**text));
            assert_eq!(shown, None, "{progress}: {text:?}: {run:?}");
        }
    }
    let run = scene.build(["--target", EVIL, "--build-arg", &format!("{EVIL}=1")]);
    assert!(!FORBIDDEN.iter().any(|text| run.stderr.contains(text)), "{run:?}");
}

/// Configurations of base images whose values are absurd.
pub fn configurations_that_are_absurd(mode: Mode) {
    let scene = Scene::new(mode);
    let long = "x".repeat(1 << 20);
    let many: Vec<_> = (0..20_000).map(|number| format!("V{number}=x")).collect();
    for config in [
        json!({"Env": ["PATH=/bin", "A=b\u{0}c"]}),
        json!({"Env": ["PATH=/bin", "", "=", "=x", "NOVALUE", "A=\u{1b}[2J"]}),
        json!({"Env": ["PATH=/bin", format!("A={long}")]}),
        json!({"Env": many}),
        json!({"Env": null, "Cmd": null, "Labels": null, "OnBuild": null}),
        json!({"Env": ["PATH=/bin"], "Entrypoint": [], "Cmd": ["\u{0}"], "Shell": []}),
        json!({"Env": ["PATH=/bin"], "Shell": ["\u{0}"]}),
        json!({"Env": ["PATH=/bin"], "Shell": [long]}),
        json!({"Env": ["PATH=/bin"], "WorkingDir": "/\u{0}"}),
        json!({"Env": ["PATH=/bin"], "WorkingDir": format!("/{long}")}),
        json!({"Env": ["PATH=/bin"], "OnBuild": ["FROM base", "ONBUILD RUN x", "\u{0}", "RUN <<E"]}),
        json!({"Env": ["PATH=/bin"], "Volumes": {"/../../..": {}, "": {}, "\u{0}": {}}}),
        json!({"Env": ["PATH=/bin"], "ExposedPorts": {"99999999/x": {}}, "StopSignal": "-1"}),
        json!({"Env": ["PATH=/bin"], "Healthcheck": {"Interval": -1, "Retries": -5}}),
        json!({"Env": ["PATH=/bin"], "Healthcheck": {"Interval": i64::MIN, "Timeout": i64::MAX}}),
        json!({"Env": ["PATH=/bin"], "Labels": {long.clone(): long.clone()}}),
        json!({"Env": "PATH=/bin"}),
        json!([]),
        json!("x"),
    ] {
        try_base(&scene, base().config(config));
    }
    for history in [
        json!([{"created_by": "\u{1b}[2J"}, {"empty_layer": true}]),
        json!([{"empty_layer": false}, {}, {}, {}, {}, {}, {}, {}]),
        json!(vec![json!({"created": "9999-99-99T99:99:99Z"}); 2]),
        json!(vec![json!({"empty_layer": true}); 10_000]),
        json!([null, 1, "x"]),
        json!({}),
    ] {
        try_base(&scene, base().history(history));
    }
}

/// Builds on an image, which may be refused, and looks at what comes of it.
#[track_caller]
fn try_base(scene: &Scene, image: lbuild_tests::BaseImage) {
    let archive = scene.folder().join("absurd.tar");
    image.write("absurd", &archive);
    let loaded = scene.unseen(scene.lbuild(["load", "-i", archive.to_str().unwrap()]));
    fs::remove_file(archive).unwrap();
    let mut runs = vec![loaded];
    if runs[0].status.success() {
        scene.dockerfile("FROM absurd\nRUN true\n");
        runs.push(scene.tried(&[]));
        runs.push(scene.lbuild(["history", "absurd"]));
        runs.push(scene.lbuild(["inspect", "absurd"]));
        runs.push(scene.lbuild(["rmi", "absurd"]));
    }
    for run in &runs {
        assert!(run.status.code().is_some_and(|code| code < 100), "{run:?}");
        assert!(!run.stderr.contains("panicked"), "{run:?}");
        let shown = [&run.stderr, &run.text()].iter().any(|text| text.contains('\u{1b}'));
        assert!(!shown, "it drives the terminal: {run:?}");
    }
}

/// What is told of an image as JSON is printable too, and means what it meant.
pub fn documents_that_drive_the_terminal(mode: Mode) {
    const EVIL: &str = "\u{9b}2J\u{202e}\u{7f}";
    let scene = Scene::with_base(mode, "");
    scene.dockerfile(&format!(
        "FROM base\nLABEL a='{EVIL}'\nENV B='{EVIL}'\nRUN echo '{EVIL}'; touch '/tmp/{EVIL}'\n"
    ));
    scene.build([""; 0]).success();
    let name = scene.name();
    for command in [
        &["inspect", &name][..],
        &["diff", "--json", &name],
        &["history", "--format=json", &name],
        &["logs", "--json"],
        &["logs"],
        &["diff", &name],
        &["history", &name],
    ] {
        let text = scene.lbuild(command).success().text();
        let shown = text.contains(|c: char| (c.is_control() && c != '\n') || c == '\u{202e}');
        assert!(!shown, "{command:?} drives the terminal: {text:?}");
    }
    let inspected: serde_json::Value =
        serde_json::from_str(&scene.lbuild(["inspect", &name]).success().text()).unwrap();
    assert_eq!(inspected[0]["Config"]["Labels"]["a"], EVIL);
}

/// A web server sends ADD elsewhere: to files of this machine, to other schemes.
pub fn redirects_to_other_schemes(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    let victim = format!("file://{}/victim", scene.outside_text());
    for target in [
        victim.as_str(),
        "file:///etc/hostname",
        "gopher://127.0.0.1:1/",
        "ftp://127.0.0.1:1/x",
        "//",
        "data:,x",
        "\u{1b}[2J",
    ] {
        let location = target.to_owned();
        let web = Web::start(move |_| Answer::status("302 Found").header("Location", location.clone()));
        scene.dockerfile(&format!("FROM base\nADD http://{}/x /x\nRUN cat /x\n", web.address));
        let run = scene.refused(&["--no-cache"], &[]);
        assert!(!run.stderr.contains('\u{1b}'), "{run:?}");
    }
    // Even what the Dockerfile itself says is no file of this machine.
    for source in [victim.as_str(), "file:///etc/hostname", "http:///etc/hostname"] {
        scene.dockerfile(&format!("FROM base\nADD {source} /x\nRUN cat /x\n"));
        scene.refused(&["--no-cache"], &[]);
    }
}
