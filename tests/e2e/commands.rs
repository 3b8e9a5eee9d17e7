//! The commands besides `build`.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use lbuild_tests::TestBed;
use serde_json::Value;

/// A bed with an image `app` of three steps, one of which makes no layer.
fn bed() -> TestBed {
    let bed =
        TestBed::with_base("FROM base\nRUN rm /d/a && echo more >> /etc/motd\nRUN true\nLABEL colour=blue\n");
    bed.build(["-t", "app"]).success();
    bed
}

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn images_lists_names_and_ids() {
    let bed = bed();
    let table = bed.lbuild(["images"]).success().text();
    for part in ["app", "base", "latest"] {
        assert!(table.contains(part), "{part:?} is not in\n{table}");
    }
    let ids = bed.lbuild(["images", "--quiet", "--no-trunc", "app"]).success().text();
    assert_eq!(ids.trim(), bed.image("app").id);
    assert!(json_lines(&bed.lbuild(["images", "--format", "json"]).success().text()).len() >= 2);
}

#[test]
fn inspect_shows_the_configuration_the_layers_and_their_folders() {
    let bed = bed();
    let image = bed.image("app");
    let inspect = bed.inspect("app");
    assert_eq!(inspect["Id"], *image.id);
    assert_eq!(inspect["RootFS"]["Layers"], serde_json::json!(image.diff_ids()));
    assert_eq!(inspect["Config"]["Labels"], serde_json::json!({"colour": "blue"}));
    assert_eq!(
        (&inspect["Os"], &inspect["Architecture"]),
        (&image.config["os"], &image.config["architecture"])
    );
    assert!(inspect["RepoTags"].to_string().contains("app:latest"), "{inspect}");

    let data = &inspect["GraphDriver"]["Data"];
    for name in ["LowerDir", "UpperDir", "MergedDir", "WorkDir"] {
        assert!(data[name].is_string(), "{name} is not in {inspect}");
    }
    let upper = Path::new(data["UpperDir"].as_str().unwrap());
    assert_eq!(fs::read_to_string(upper.join("etc/motd")).unwrap(), "Welcome.\nmore\n");

    let id = &image.id["sha256:".len()..][..12];
    assert_eq!(bed.inspect(id)["Id"], *image.id, "an image is found by the beginning of its id");
    let both = bed.lbuild(["inspect", "app", "base"]).success().json();
    assert_eq!(both.as_array().unwrap().len(), 2);
}

#[test]
fn history_shows_each_step_newest_first_with_those_that_made_no_layer() {
    let bed = bed();
    let steps = json_lines(&bed.lbuild(["history", "--format", "json", "app"]).success().text());
    let texts: Vec<String> = steps.iter().map(Value::to_string).collect();
    assert_eq!(steps.len(), 4, "{texts:?}");
    for (text, part) in texts.iter().zip(["colour=blue", "true", "rm /d/a", "test bed"]) {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    let table = bed.lbuild(["history", "app"]).success().text();
    assert!(table.lines().count() >= 5 && table.contains("rm /d/a"), "{table}");
}

#[test]
fn diff_shows_what_each_step_changed() {
    let bed = bed();
    let text = bed.lbuild(["diff", "app", "2"]).success().text();
    for part in ["d/a", "etc/motd"] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    assert!(!text.contains("busybox"), "{text}");
}

#[test]
fn names_can_be_given_and_taken() {
    let bed = bed();
    let id = bed.image("app").id;
    bed.lbuild(["tag", "app", "other:1", "registry.test/team/app:2"]).success();
    for name in ["other:1", "registry.test/team/app:2"] {
        assert_eq!(bed.inspect(name)["Id"], *id, "{name}");
    }
    bed.lbuild(["rmi", "app", "other:1"]).success();
    bed.lbuild(["inspect", "other:1"]).failure(1).says(&["other:1"]);
    assert_eq!(bed.inspect("registry.test/team/app:2")["Id"], *id);

    bed.lbuild(["rmi", &id]).failure(1).says(&["names"]);
    bed.lbuild(["rmi", "--force", &id]).success();
    bed.lbuild(["inspect", &id]).failure(1);
    assert!(bed.lbuild(["images", "--quiet", "base"]).success().text().len() > 12, "the base is still there");
}

#[test]
fn an_image_goes_from_store_to_store_through_an_archive() {
    let bed = bed();
    let image = bed.image("app");
    let archive = bed.save("app");
    let other = TestBed::new();
    other.lbuild([OsStr::new("load"), OsStr::new("-i"), archive.as_os_str()]).success();
    let loaded = other.image("app");
    assert_eq!((&loaded.id, loaded.diff_ids()), (&image.id, image.diff_ids()));
    other.dockerfile("FROM app\nRUN test ! -e /d/a && grep more /etc/motd\n");
    other.build([""; 0]).success();
}

#[test]
fn an_image_can_be_looked_at() {
    let bed = bed();
    let tree = bed.folder().join("tree");
    fs::create_dir(&tree).unwrap();
    bed.lbuild(["mount", "app", tree.to_str().unwrap()]).success();
    let motd = fs::read_to_string(tree.join("etc/motd"));
    let deleted = tree.join("d/a").exists();
    let written = fs::write(tree.join("f"), "");
    let others = bed.lbuild(["rmi", &bed.name()]);
    let last = bed.lbuild(["rmi", "app"]);
    bed.lbuild(["umount", tree.to_str().unwrap()]).success();
    others.success();
    assert_eq!(last.failure(1).says(&["mounted"]).text(), "");
    bed.lbuild(["inspect", "app"]).success();
    assert_eq!(motd.unwrap(), "Welcome.\nmore\n");
    assert!(!deleted && written.is_err(), "deleted: {deleted}, written: {written:?}");
    assert_eq!(fs::read_dir(&tree).unwrap().count(), 0);
    bed.lbuild(["umount", tree.to_str().unwrap()]).failure(1);
}

#[test]
fn prune_can_say_what_it_would_remove() {
    let bed = bed();
    bed.lbuild(["rmi", "app", &bed.name()]).success();
    let count = || fs::read_dir(bed.store().join("snapshots")).unwrap().count();
    let before = count();
    let usage = bed.lbuild(["df", "--json"]).success().json();
    let bytes = |part: &str| usage.pointer(part).unwrap().as_u64().unwrap();
    assert!(bytes("/builds/bytes") > 0 && bytes("/total") >= bytes("/prunableAll"), "{usage}");
    bed.lbuild(["prune", "--all", "--dry-run"]).success();
    assert_eq!(count(), before);
    bed.lbuild(["prune", "--all"]).success();
    assert!(count() < before);
}

#[test]
fn help_and_version_are_for_people() {
    let bed = TestBed::new();
    let help = bed.lbuild(["--help"]).success().text();
    for part in ["build", "images", "history", "Examples:", "Exit status:"] {
        assert!(help.contains(part), "{part:?} is not in\n{help}");
    }
    let version = bed.lbuild(["version"]).success().text();
    assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
}
