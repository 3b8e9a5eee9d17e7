//! What counts for the cache.
//!
//! CVE-2024-24557: Docker's classic builder took a pulled image for the cache of a `FROM scratch` build if
//! its history looked alike, and did not see changes of HEALTHCHECK and ONBUILD.

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
        std::fs::remove_file(archive).unwrap();
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
    std::fs::remove_file(archive).unwrap();
    let again = scene.image_of_build();
    assert_eq!(
        (again.id, again.layers.last().unwrap().diff_id.clone()),
        (honest.id, honest.layers.last().unwrap().diff_id.clone())
    );
    scene.dockerfile("FROM base\nRUN echo honest > /result\nRUN cat /result\n");
    scene.build([""; 0]).success().says(&["honest"]);
}
