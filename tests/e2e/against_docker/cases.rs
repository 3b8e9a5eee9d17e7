//! The images of [`crate::cases`], loaded, inspected and run.

use lbuild_tests::{Docker, TestBed};
use serde_json::Value;

use super::load_into_docker;
use crate::cases;

#[test]
fn a_root_file_system_archive_runs() {
    let bed = cases::root_file_system();
    let docker = load_into_docker(&bed);
    assert_same_layers(&bed, &docker, 3);

    let script = "cat /run/systemd/container && /usr/bin/ischroot && dpkg --audit && apt-get --version";
    let run = docker.shell(&bed.name(), script).success();
    assert!(run.text().starts_with("docker\napt "), "{run}");

    let sizes: Vec<bool> = docker.history(&bed.name()).iter().map(|step| step["Size"] != "0B").collect();
    assert_eq!(sizes, [true, true, false, true, false], "steps without a layer are in the history");
    assert_eq!(docker.inspect(&bed.name())["Config"]["Cmd"], serde_json::json!(["/bin/bash"]));
}

#[test]
fn a_file_that_was_made_and_removed_is_not_there() {
    let bed = TestBed::with_base(cases::MADE_AND_REMOVED);
    let docker = load_into_docker(&bed);
    assert_same_layers(&bed, &docker, 3);
    docker.shell(&bed.name(), "test ! -e /hello").success();
    assert_eq!(steps(&docker.history(&bed.name())), ["test bed", "touch /hello", "rm /hello"]);
}

#[test]
fn a_changed_file_has_both_its_lines() {
    let bed = TestBed::with_base(cases::CHANGED);
    let docker = load_into_docker(&bed);
    assert_same_layers(&bed, &docker, 2);
    assert_eq!(docker.shell(&bed.name(), "cat /etc/motd").success().text(), "Welcome.\nmore\n");
}

#[test]
fn a_folder_that_was_removed_and_made_again_has_only_its_new_file() {
    let bed = TestBed::with_base(cases::REPLACED_FOLDER);
    let docker = load_into_docker(&bed);
    assert_same_layers(&bed, &docker, 2);
    assert_eq!(docker.shell(&bed.name(), "ls -A /d").success().text(), "n\n");
}

#[test]
fn the_topmost_layer_that_has_a_path_gives_its_file() {
    let bed = TestBed::with_base(cases::IN_THREE_LAYERS);
    let docker = load_into_docker(&bed);
    assert_same_layers(&bed, &docker, 4);
    assert_eq!(docker.shell(&bed.name(), "cat /f").success().text(), "three\n");
}

#[test]
fn images_on_one_base_share_its_layers() {
    let bed = TestBed::with_base("FROM base\nRUN echo 1 > /1\n");
    let first = format!("{}-first", bed.name());
    bed.build(["-t", &first]).success();
    bed.dockerfile("FROM base\nRUN echo 2 > /2\n");
    let docker = load_into_docker(&bed);
    docker.load(&bed.save(&first));

    let lower = |name: &str| docker.inspect(name)["GraphDriver"]["Data"]["LowerDir"].take();
    assert!(lower(&first).is_string(), "{:?}", docker.inspect(&first)["GraphDriver"]);
    assert_eq!(lower(&first), lower(&bed.name()), "Docker keeps the base's layer twice");
    assert_eq!(docker.diff_ids(&first)[0], docker.diff_ids(&bed.name())[0]);
    assert_ne!(docker.diff_ids(&first)[1], docker.diff_ids(&bed.name())[1]);
}

#[test]
fn an_image_whose_neighbour_was_pruned_still_runs() {
    let bed = TestBed::with_base("FROM base\nRUN echo 1 > /1\n");
    bed.build(["-t", "removed"]).success();
    bed.lbuild(["rmi", "removed", &bed.name()]).success();
    bed.dockerfile("FROM base\nRUN echo 2 > /2\n");
    bed.build([""; 0]).success();
    bed.lbuild(["prune", "--all"]).success();
    let docker = load_into_docker(&bed);
    docker.shell(&bed.name(), "test ! -e /1 && test -e /2 && test -e /etc/motd").success();
}

/// Docker and `lbuild inspect` name the same `count` layers.
#[track_caller]
fn assert_same_layers(bed: &TestBed, docker: &Docker, count: usize) {
    let layers: Vec<String> =
        serde_json::from_value(bed.inspect(&bed.name())["RootFS"]["Layers"].take()).unwrap();
    assert_eq!(layers.len(), count);
    assert_eq!(docker.diff_ids(&bed.name()), layers);
}

/// The commands of a history, without the shell that ran them.
fn steps(history: &[Value]) -> Vec<&str> {
    history
        .iter()
        .map(|step| {
            let text = step["CreatedBy"].as_str().unwrap();
            let text = text.strip_prefix("RUN ").unwrap_or(text);
            text.strip_prefix("/bin/sh -c ").unwrap_or(text).trim_end_matches(" # buildkit")
        })
        .collect()
}
