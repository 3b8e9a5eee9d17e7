//! What counts for the cache.
//!
//! CVE-2024-24557: Docker's classic builder took a pulled image for the cache of a `FROM scratch` build if
//! its history looked alike, and did not see changes of HEALTHCHECK and ONBUILD.

use std::fs;

use lbuild_tests::{BaseImage, Image, entry};
use serde_json::{Value, json};
use tar::{Builder, EntryType};

use crate::row::Mode;
use crate::scene::{Scene, base};

/// Whichever part of the configuration an instruction changes, the image changes.
pub fn every_instruction_counts(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    for (one, other, part) in [
        ("HEALTHCHECK CMD true", "HEALTHCHECK CMD evil", "Healthcheck"),
        ("HEALTHCHECK --interval=1s CMD true", "HEALTHCHECK --interval=2s CMD true", "Healthcheck"),
        ("HEALTHCHECK NONE", "HEALTHCHECK CMD evil", "Healthcheck"),
        ("ONBUILD RUN true", "ONBUILD RUN evil", "OnBuild"),
        ("ENTRYPOINT [\"a\"]", "ENTRYPOINT [\"b\"]", "Entrypoint"),
        ("CMD a", "CMD b", "Cmd"),
        ("USER 1", "USER 2", "User"),
        ("STOPSIGNAL 9", "STOPSIGNAL 15", "StopSignal"),
        ("VOLUME /a", "VOLUME /b", "Volumes"),
        ("EXPOSE 1", "EXPOSE 2", "ExposedPorts"),
        ("LABEL a=1", "LABEL a=2", "Labels"),
        ("SHELL [\"/bin/sh\", \"-c\"]", "SHELL [\"/bin/sh\", \"-ec\"]", "Shell"),
    ] {
        let built = [one, other].map(|instruction| {
            scene.dockerfile(&format!("FROM base\nRUN echo x > /x\n{instruction}\nRUN echo y > /tmp/y\n"));
            scene.image_of_build()
        });
        assert_ne!(built[0].config["config"][part], built[1].config["config"][part], "{one}");
        assert_ne!(built[0].id, built[1].id, "{one}");
        // It makes no difference to what was run: those layers are the same.
        assert_eq!(built[0].diff_ids()[..2], built[1].diff_ids()[..2], "{one}");
    }
}

/// The same for what the base image brings along.
pub fn the_configuration_of_the_base_counts(mode: Mode) {
    let scene = Scene::with_base(mode, "FROM base\nRUN echo x > /x\n");
    let configs = [
        json!({"Healthcheck": {"Test": ["CMD", "true"]}}),
        json!({"Healthcheck": {"Test": ["CMD", "evil"]}}),
        json!({"OnBuild": ["RUN echo good > /good"]}),
        json!({"OnBuild": ["RUN echo evil > /evil"]}),
        json!({"Env": ["PATH=/bin", "A=1"]}),
        json!({"Env": ["PATH=/bin", "A=2"]}),
        json!({"User": "1000"}),
        json!({"Shell": ["/bin/sh", "-ec"]}),
    ];
    let mut ids = Vec::new();
    for config in configs {
        let mut whole = json!({"Env": ["PATH=/bin"], "Cmd": ["sh"]});
        whole.as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
        scene.load_base("base", &base().config(whole));
        let run = scene.build([""; 0]);
        if config["User"] == Value::Null {
            let image = scene.image(&{
                run.success();
                scene.name()
            });
            if let Some(trigger) = config["OnBuild"][0].as_str() {
                let file = trigger.rsplit('/').next().unwrap();
                assert_eq!(image.layers[image.layers.len() - 2].paths(), [file]);
                assert_eq!(image.config["config"]["OnBuild"], Value::Null);
            }
            ids.push(image.id);
        }
    }
    let all = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), all, "a change of the base made no other image");
}

/// The layers and the history of `image`, with another content in its last layer.
fn poisoned(image: &Image) -> BaseImage {
    let mut tar = Builder::new(Vec::new());
    entry(&mut tar, "result", EntryType::Regular, 0o644, b"poison\n");
    let mut config = image.config["config"].clone();
    config["Labels"] = json!({"moby.buildkit.cache.v0": "[]"});
    BaseImage::new().layer(tar.into_inner().unwrap()).config(config).history(image.config["history"].clone())
}

/// An image that came from outside claims, in every way that one can, to be what the build makes.
pub fn an_image_from_outside_is_never_the_cache(mode: Mode) {
    for dockerfile in ["FROM scratch\nCOPY source /result\n", "FROM base\nRUN cat /d/a > /result\n"] {
        let honest = {
            let scene = Scene::with_base(mode, dockerfile);
            scene.file("source", "honest\n");
            scene.image_of_build()
        };
        let scene = Scene::with_base(mode, dockerfile);
        scene.file("source", "honest\n");
        let archive = scene.folder().join("poisoned.tar");
        poisoned(&honest).write(&scene.name(), &archive);
        scene.lbuild(["load", "-i", archive.to_str().unwrap()]).success();
        fs::remove_file(archive).unwrap();
        let image = scene.image_of_build();
        let content = &image.top_layer().entry("result").content;
        assert_ne!(content, b"poison\n", "a loaded image was taken for the result of {dockerfile}");
        let name = scene.name();
        scene.build(["--cache-from", name.as_str()]).success();
        assert_ne!(scene.image(&name).top_layer().entry("result").content, b"poison\n");
    }
}

/// A layer of the store's own is not replaced by another that claims its DiffID.
pub fn a_layer_from_outside_replaces_none(mode: Mode) {
    let scene = Scene::with_base(mode, "FROM base\nRUN echo honest > /result\n");
    let honest = scene.image_of_build();
    let mut tar = Builder::new(Vec::new());
    entry(&mut tar, "result", EntryType::Regular, 0o644, b"poison\n");
    let archive = scene.folder().join("claims.tar");
    BaseImage::new()
        .layer(tar.into_inner().unwrap())
        .claiming(honest.diff_ids().last().unwrap())
        .write("claims", &archive);
    let run = scene.lbuild(["load", "-i", archive.to_str().unwrap()]);
    assert_eq!(run.status.code(), Some(1), "{run}");
    fs::remove_file(archive).unwrap();
    let again = scene.image_of_build();
    assert_eq!(
        (again.id, again.layers.last().unwrap().diff_id.clone()),
        (honest.id, honest.layers.last().unwrap().diff_id.clone())
    );
    scene.dockerfile("FROM base\nRUN echo honest > /result\nRUN cat /result\n");
    scene.build([""; 0]).success().says(&["honest"]);
}

/// Whoever may write a folder that machines share changes its records and blobs: a build takes nothing that
/// is not what its key says, and its image is the honest one.
pub fn a_poisoned_record_of_a_shared_cache(mode: Mode) {
    const DOCKERFILE: &str = "FROM base\nRUN echo one > /a\nRUN echo two > /b\nRUN cat /a /b > /c\n";
    let honest = Scene::with_base(mode, DOCKERFILE);
    let cache = honest.folder().join("shared");
    honest.build([&format!("--cache-to=type=local,dest={}", cache.display())]).success();
    let expected = honest.image(&honest.name());
    let files = |folder: &str| {
        let mut files: Vec<_> =
            fs::read_dir(cache.join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    };
    let (records, blobs) = (files("records"), files("blobs/sha256"));
    let originals: Vec<_> =
        records.iter().chain(&blobs).map(|path| (path, fs::read(path).unwrap())).collect();
    assert!(records.len() >= 3 && !blobs.is_empty(), "{records:?} {blobs:?}");
    type Poison<'a> = (&'a str, Box<dyn Fn() + 'a>);
    let rename_in_records = |from: &str, to: &str| {
        for record in &records {
            let text = fs::read_to_string(record).unwrap();
            fs::write(record, text.replace(from, to)).unwrap();
        }
    };
    let hex = |path: &std::path::Path| path.file_name().unwrap().to_string_lossy().into_owned();
    let poisons: Vec<Poison<'_>> = vec![
        (
            "each record under another's name",
            Box::new(|| {
                for (name, other) in records.iter().zip(records.iter().cycle().skip(1)) {
                    let content = originals.iter().find(|(path, _)| *path == other).unwrap().1.clone();
                    fs::write(name, content).unwrap();
                }
            }),
        ),
        (
            "other bytes in every blob",
            Box::new(|| {
                for blob in &blobs {
                    let mut content = fs::read(blob).unwrap();
                    let middle = content.len() / 2;
                    content[middle] ^= 0x20;
                    fs::write(blob, content).unwrap();
                }
            }),
        ),
        (
            "records that name another blob",
            Box::new(|| {
                rename_in_records(&hex(&blobs[0]), &hex(blobs.last().unwrap()));
            }),
        ),
        (
            "records that name a path",
            Box::new(|| {
                rename_in_records(&hex(&blobs[0]), &format!("../../{}", "0".repeat(58)));
            }),
        ),
    ];
    for (what, poison) in poisons {
        originals.iter().for_each(|(path, content)| fs::write(path, content).unwrap());
        poison();
        let victim = Scene::with_base(mode, DOCKERFILE);
        let run = victim.tried(&[&format!("--cache-from=type=local,src={}", cache.display())]);
        if !run.status.success() {
            assert!(run.stderr.contains("error"), "{what}: {run}");
            continue;
        }
        // A layer that nothing needed yet is fetched, and found out, when it is written.
        let archive = victim.folder().join("image.tar");
        let saved = victim.lbuild(["save", "-o", archive.to_str().unwrap(), &victim.name()]);
        if !saved.status.success() {
            assert!(saved.stderr.contains("cannot be fetched"), "{what}: {saved}");
            continue;
        }
        let image = Image::read(&archive);
        assert_eq!(image.layers.len(), expected.layers.len(), "{what}: {run}");
        for (layer, (path, content)) in
            image.layers[2..].iter().zip([("a", "one\n"), ("b", "two\n"), ("c", "one\ntwo\n")])
        {
            assert_eq!(layer.entry(path).content, content.as_bytes(), "{what}: {run}");
        }
    }
}
