//! Images come in whole, whoever wrote them.

#![allow(clippy::unwrap_used)]

mod support;

use lbuild_importer::{ImportError, LoadOptions, load_layout};
use lbuild_oci::{DiffId, Digest, MediaType, Reference};
use serde_json::json;

use support::{
    Bed, Files, INDEX, add_image, add_index, bzip2, config, docker_archive, gzip, layer, layers, layout,
    plain, with, xz, zstd,
};

/// The image that [`layout`] and [`docker_archive`] hold.
fn app() -> Digest {
    Digest::of(config("amd64", &layers()))
}

fn names(names: &[Reference]) -> Vec<String> {
    names.iter().map(Reference::familiar).collect()
}

#[test]
fn every_form_of_archive_gives_the_same_image() {
    let mut both = layout();
    for (path, content) in docker_archive().contents() {
        both.file(&path, content);
    }
    for (form, files) in [("layout", layout()), ("docker archive", docker_archive()), ("both", both)] {
        let bed = Bed::new();
        let loaded = bed.load(&files.tar()).unwrap();
        assert_eq!(loaded.len(), 1, "{form}");
        assert_eq!(loaded[0].id, app(), "{form}");
        assert_eq!(names(&loaded[0].names), ["app:1"], "{form}");
        assert_eq!(loaded[0].platform, "linux/amd64".parse().unwrap(), "{form}");
        assert_eq!(loaded[0].size, layers().iter().map(|layer| layer.len() as u64).sum::<u64>(), "{form}");
        let image = bed.store.find("app:1").unwrap().unwrap();
        assert_eq!(image.layers, loaded[0].layers, "{form}");
        let view = bed.store.view(&image.layers).unwrap();
        assert_eq!(view.root().read("etc/issue", 10).unwrap(), b"world", "{form}");
        assert_eq!(bed.store.image_config(&image.id).unwrap().1, config("amd64", &layers()), "{form}");
    }
}

#[test]
fn the_archive_itself_may_be_compressed() {
    for compress in [plain, gzip, bzip2, xz, zstd] {
        for archive in [layout(), docker_archive()] {
            let (_, archive) = compress(&archive.tar());
            assert_eq!(Bed::new().load(&archive).unwrap()[0].id, app());
        }
    }
}

#[test]
fn layers_stay_as_they_came_unless_no_image_may_have_them_so() {
    for (compress, media_type, stays) in [
        (plain as fn(&[u8]) -> (&'static str, Vec<u8>), MediaType::Layer, true),
        (gzip, MediaType::LayerGzip, true),
        (zstd, MediaType::LayerZstd, true),
        (bzip2, MediaType::Layer, false),
        (xz, MediaType::Layer, false),
    ] {
        let mut files = Files::default();
        let image = add_image(&mut files, "amd64", &layers(), compress);
        add_index(&mut files, &[image]);
        let bed = Bed::new();
        let loaded = bed.load(&files.tar()).unwrap();
        assert_eq!(loaded[0].id, app());
        for tar in layers() {
            let layer = bed.store.layer(&DiffId(Digest::of(&tar))).unwrap().unwrap();
            let blob = layer.blob.unwrap();
            assert_eq!(blob.media_type, media_type);
            assert_eq!(blob.digest == Digest::of(compress(&tar).1), stays, "{media_type:?}");
            let mut back = Vec::new();
            bed.store.write_layer_tar(&layer.diff_id, &mut back).unwrap();
            assert_eq!(back, tar);
        }
    }
}

#[test]
fn kaniko_names_files_after_digests() {
    let tar = layer("etc/motd", "hello");
    let (_, blob) = gzip(&tar);
    let config = config("amd64", &[tar]);
    let (id, layer) = (Digest::of(&config).to_string(), format!("{}.tar.gz", Digest::of(&blob).hex()));
    let mut files = Files::default();
    files.file(&id, config).file(&layer, blob);
    files.json("manifest.json", &json!([{"Config": id, "RepoTags": ["k:1"], "Layers": [layer]}]));
    let loaded = Bed::new().load(&files.tar()).unwrap();
    assert_eq!((loaded[0].id.to_string(), names(&loaded[0].names)), (id, vec!["k:1".to_owned()]));
}

#[test]
fn the_manifest_and_its_annotations_are_kept() {
    let bed = Bed::new();
    bed.load(&layout().tar()).unwrap();
    let image = bed.store.find("app:1").unwrap().unwrap();
    assert_eq!(image.annotations["test"], "kept");
    assert!(bed.store.has_blob(&image.manifest.unwrap()));
}

#[test]
fn names_of_the_archive_are_replaced_by_those_that_are_given() {
    let bed = Bed::new();
    let options = LoadOptions { names: vec!["mine:2".parse().unwrap()], ..LoadOptions::default() };
    let loaded = bed.load_with(&docker_archive().tar(), &options).unwrap();
    assert_eq!(names(&loaded[0].names), ["mine:2"]);
    assert!(bed.store.find("mine:2").unwrap().is_some());
    assert!(bed.store.find("app:1").unwrap().is_none());
}

#[test]
fn an_image_may_come_without_a_name() {
    let bed = Bed::new();
    let options = LoadOptions { is_unnamed: true, ..LoadOptions::default() };
    let loaded = bed.load_with(&docker_archive().tar(), &options).unwrap();
    assert!(loaded[0].names.is_empty());
    assert!(bed.store.find("app:1").unwrap().is_none());
    assert!(bed.store.find(&loaded[0].id.to_string()).unwrap().is_some());
}

/// A layout with the images `a:1` and `b:1`, and `manifest.json` that names the first `c:1` too.
fn two_images() -> Files {
    let mut files = Files::default();
    let named = |image, name| with(&image, &json!({"annotations": {"io.containerd.image.name": name}}));
    let first = add_image(&mut files, "amd64", &layers(), gzip);
    let second = add_image(&mut files, "amd64", &layers()[..1], gzip);
    add_index(&mut files, &[named(first, "a:1"), named(second, "b:1")]);
    let config = format!("blobs/sha256/{}", app().hex());
    files.json("manifest.json", &json!([{"Config": config, "RepoTags": ["c:1"], "Layers": []}]));
    files
}

#[test]
fn an_archive_may_hold_several_images() {
    let loaded = Bed::new().load(&two_images().tar()).unwrap();
    let names: Vec<_> = loaded.iter().map(|image| names(&image.names)).collect();
    assert_eq!(names, [vec!["a:1", "c:1"], vec!["b:1"]]);
}

#[test]
fn one_of_several_images_is_selected_and_named() {
    let bed = Bed::new();
    let mut options = LoadOptions { names: vec!["mine".parse().unwrap()], ..LoadOptions::default() };
    let error = bed.load_with(&two_images().tar(), &options).unwrap_err();
    assert!(matches!(error, ImportError::SeveralImages { count: 2 }), "{error}");
    options.select = Some("b:1".to_owned());
    assert_eq!(bed.load_with(&two_images().tar(), &options).unwrap()[0].layers.len(), 1);
    options.select = Some("d:1".to_owned());
    let error = bed.load_with(&two_images().tar(), &options).unwrap_err();
    assert_eq!(error.to_string(), r#"no image is named "d:1" here; there is a:1, b:1"#);
}

/// An index of images for two platforms, with an attestation of which no blob is there.
fn two_platforms() -> Files {
    let mut files = Files::default();
    let platform =
        |os: &str, architecture: &str| json!({"platform": {"os": os, "architecture": architecture}});
    let amd64 = add_image(&mut files, "amd64", &layers(), plain);
    let arm64 = add_image(&mut files, "arm64", &layers(), plain);
    let attestation = with(&amd64, &json!({"digest": Digest::of("missing")}));
    let index = json!({
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [
            with(&attestation, &platform("unknown", "unknown")),
            with(&arm64, &platform("linux", "arm64")),
            with(&amd64, &platform("linux", "amd64")),
        ],
    });
    let index = files.blob(INDEX, index.to_string().as_bytes());
    add_index(&mut files, &[with(&index, &json!({"annotations": {"io.containerd.image.name": "app:1"}}))]);
    files
}

#[test]
fn the_wanted_platform_is_chosen() {
    for (platform, expected) in
        [("linux/amd64", "amd64"), ("linux/arm64", "arm64"), ("linux/arm64/v8", "arm64")]
    {
        let options = LoadOptions { platform: Some(platform.parse().unwrap()), ..LoadOptions::default() };
        let loaded = Bed::new().load_with(&two_platforms().tar(), &options).unwrap();
        assert_eq!(loaded[0].id, Digest::of(config(expected, &layers())), "{platform}");
    }
    let options = LoadOptions { platform: Some("linux/s390x".parse().unwrap()), ..LoadOptions::default() };
    for archive in [two_platforms(), layout(), docker_archive()] {
        let error = Bed::new().load_with(&archive.tar(), &options).unwrap_err();
        assert!(matches!(error, ImportError::NoPlatform { .. }), "{error}");
    }
}

#[test]
fn a_single_image_is_taken_whatever_its_platform() {
    let mut files = Files::default();
    let image = add_image(&mut files, "s390x", &layers(), plain);
    add_index(&mut files, &[image]);
    assert_eq!(Bed::new().load(&files.tar()).unwrap()[0].platform, "linux/s390x".parse().unwrap());
}

#[test]
fn a_layout_folder_is_an_image_too() {
    let folder = tempfile::tempdir().unwrap();
    for (path, content) in layout().contents() {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let bed = Bed::new();
    for _ in 0..2 {
        let loaded = load_layout(&bed.store, folder.path(), &LoadOptions::default()).unwrap();
        assert_eq!((loaded[0].id, names(&loaded[0].names)), (app(), vec!["app:1".to_owned()]));
    }
}

#[test]
fn loading_an_image_again_repairs_its_blobs() {
    let folder = tempfile::tempdir().unwrap();
    for (path, content) in layout().contents() {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let bed = Bed::new();
    let load_archive = || bed.load(&layout().tar()).unwrap();
    let load_folder = || load_layout(&bed.store, folder.path(), &LoadOptions::default()).unwrap();
    let image = load_archive().remove(0);
    for load in [&load_archive as &dyn Fn() -> Vec<_>, &load_folder] {
        for diff_id in &image.layers {
            let blob = bed.store.layer(diff_id).unwrap().unwrap().blob.unwrap();
            let path = bed.store.root().join("blobs/sha256").join(blob.digest.hex());
            let mut content = std::fs::read(&path).unwrap();
            *content.last_mut().unwrap() ^= 1;
            std::fs::write(&path, content).unwrap();
            assert!(bed.store.write_layer_tar(diff_id, &mut std::io::sink()).is_err());
        }
        load();
        for diff_id in &image.layers {
            bed.store.write_layer_tar(diff_id, &mut std::io::sink()).unwrap();
        }
    }
}

#[test]
fn links_in_a_layout_folder_do_not_lead_out() {
    let secret = tempfile::NamedTempFile::new().unwrap();
    let tar = layer("etc/motd", "hello");
    std::fs::write(secret.path(), &tar).unwrap();
    let mut files = Files::default();
    let image = add_image(&mut files, "amd64", std::slice::from_ref(&tar), plain);
    add_index(&mut files, &[image]);
    let folder = tempfile::tempdir().unwrap();
    let layer = format!("blobs/sha256/{}", Digest::of(&tar).hex());
    for (path, content) in files.contents() {
        let file = folder.path().join(&path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        if path == layer {
            std::os::unix::fs::symlink(secret.path(), file).unwrap();
        } else {
            std::fs::write(file, content).unwrap();
        }
    }
    let error = load_layout(&Bed::new().store, folder.path(), &LoadOptions::default()).unwrap_err();
    assert!(matches!(error, ImportError::Missing { .. }), "{error}");
}
