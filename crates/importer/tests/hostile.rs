//! What is damaged or malicious is refused, and leaves no image.

#![allow(clippy::unwrap_used)]

mod support;

use lbuild_archive::EntryKind;
use lbuild_importer::{ImportError, Limits, LoadOptions, load_layout};
use lbuild_oci::Digest;
use serde_json::{Value, json};

use support::{
    Bed, Files, INDEX, MANIFEST, add_image, add_index, config, docker_archive, gzip, layer, layers, layout,
    plain, with, zstd,
};

/// Loads `archive`, which must fail, and checks that nothing came in.
fn refused(archive: &[u8]) -> ImportError {
    let bed = Bed::new();
    let error = bed.load(archive).unwrap_err();
    assert!(bed.store.images().unwrap().is_empty(), "an image is there in spite of: {error}");
    error
}

/// A layout whose only image has this manifest.
fn with_manifest(mut files: Files, manifest: &Value) -> Vec<u8> {
    let descriptor = files.blob(MANIFEST, manifest.to_string().as_bytes());
    add_index(&mut files, &[descriptor]);
    files.tar()
}

/// Descriptors of a configuration with one layer and of that layer, whose blobs are in the files.
fn parts() -> (Files, Value, Value) {
    let mut files = Files::default();
    let tar = layer("etc/motd", "hello");
    let config =
        files.blob("application/vnd.oci.image.config.v1+json", &config("amd64", std::slice::from_ref(&tar)));
    let layer = files.blob("application/vnd.oci.image.layer.v1.tar", &tar);
    (files, config, layer)
}

fn manifest(config: &Value, layers: &[Value]) -> Value {
    json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers})
}

#[test]
fn a_sound_manifest_is_the_one_that_the_others_differ_from() {
    let (files, config, layer) = parts();
    assert!(Bed::new().load(&with_manifest(files, &manifest(&config, &[layer]))).is_ok());
}

#[test]
fn descriptors_must_be_true() {
    let (files, config, layer) = parts();
    let other = Digest::of("other");
    for (name, config, layers) in [
        ("a layer's size", config.clone(), vec![with(&layer, &json!({"size": 1}))]),
        ("a layer's digest", config.clone(), vec![with(&layer, &json!({"digest": other}))]),
        ("the configuration's size", with(&config, &json!({"size": 1})), vec![layer.clone()]),
        ("the configuration's digest", with(&config, &json!({"digest": other})), vec![layer.clone()]),
        ("a negative size", config.clone(), vec![with(&layer, &json!({"size": -1}))]),
        ("a path as a digest", config.clone(), vec![with(&layer, &json!({"digest": "sha256:../../x"}))]),
        ("another algorithm", config.clone(), vec![with(&layer, &json!({"digest": "md5:d41d8cd98f00b204"}))]),
        ("an encrypted layer", config.clone(), vec![with(&layer, &json!({"mediaType": "x+encrypted"}))]),
        ("no layer", config.clone(), vec![]),
        ("a layer too many", config.clone(), vec![layer.clone(), layer.clone()]),
        ("no configuration", layer.clone(), vec![layer.clone()]),
    ] {
        let error = refused(&with_manifest(files.clone(), &manifest(&config, &layers)));
        let is_expected = matches!(
            error,
            ImportError::SizeMismatch { .. }
                | ImportError::Missing { .. }
                | ImportError::Parse { .. }
                | ImportError::UnsupportedMediaType { .. }
                | ImportError::LayerCount { .. }
        );
        assert!(is_expected, "{name}: {error}");
    }
}

#[test]
fn a_document_that_is_index_and_manifest_at_once_is_refused() {
    let (files, config, layer) = parts();
    for declared in [MANIFEST, INDEX] {
        let both = with(
            &manifest(&config, std::slice::from_ref(&layer)),
            &json!({"manifests": [], "mediaType": declared}),
        );
        let mut files = files.clone();
        let descriptor = files.blob(declared, both.to_string().as_bytes());
        add_index(&mut files, &[descriptor]);
        let error = refused(&files.tar());
        assert!(error.to_string().contains("index and a manifest at once"), "{error}");
    }
}

#[test]
fn a_blob_must_be_what_its_name_says() {
    for size in [10, 2 << 20] {
        let mut files = Files::default();
        files.file(&format!("blobs/sha256/{}", Digest::of("x").hex()), vec![0; size]);
        let error = refused(&files.tar());
        let is_expected = matches!(error, ImportError::DigestMismatch { .. } | ImportError::Store { .. });
        assert!(is_expected, "{size}: {error}");
    }
}

#[test]
fn a_layer_must_be_the_one_that_the_configuration_names() {
    let honest = layer("etc/motd", "hello");
    for compress in [plain, gzip, zstd] {
        let mut files = Files::default();
        let (_, other) = compress(&layer("etc/motd", "other"));
        let config = config("amd64", std::slice::from_ref(&honest));
        files.file("config.json", config).file("layer.tar", other);
        files.json("manifest.json", &json!([{"Config": "config.json", "Layers": ["layer.tar"]}]));
        let error = refused(&files.tar());
        assert!(matches!(error, ImportError::DiffIdMismatch { .. }), "{error}");
    }
}

#[test]
fn damaged_compression_is_an_error() {
    for compress in [gzip, zstd] {
        let mut files = Files::default();
        let tar = layer("etc/motd", &"hello".repeat(1000));
        let (_, mut blob) = compress(&tar);
        blob.truncate(blob.len() / 2);
        files.file("config.json", config("amd64", &[tar])).file("layer.tar", blob);
        files.json("manifest.json", &json!([{"Config": "config.json", "Layers": ["layer.tar"]}]));
        let error = refused(&files.tar());
        assert!(matches!(error, ImportError::Layer { .. }), "{error}");
    }
}

#[test]
fn truncated_archives_are_refused() {
    for archive in [layout().tar(), docker_archive().tar()] {
        for length in (0..archive.len() - 1024).step_by(700) {
            let error = refused(&archive[..length]);
            assert!(!matches!(error, ImportError::Store { .. }), "the store is not to blame: {error}");
        }
    }
}

#[test]
fn every_flipped_bit_is_seen_or_has_no_effect() {
    let archive = layout().tar();
    let id = Bed::new().load(&archive).unwrap()[0].id;
    for position in (0..archive.len()).step_by(97) {
        let mut damaged = archive.clone();
        damaged[position] ^= 1;
        if let Ok(loaded) = Bed::new().load(&damaged) {
            assert_eq!(loaded[0].id, id, "byte {position}");
        }
    }
}

#[test]
fn links_lead_nowhere_but_into_the_archive() {
    for (path, target) in [
        ("2/layer.tar", "../../../etc/passwd"),
        ("2/layer.tar", "/etc/passwd"),
        ("2/layer.tar", "layer.tar"),
        ("2/layer.tar", "../gone.tar"),
    ] {
        let mut files = docker_archive().without("2/layer.tar");
        files.entry(path, EntryKind::Symlink(target.into()));
        let error = refused(&files.tar());
        assert!(
            matches!(error, ImportError::Invalid { .. } | ImportError::Missing { .. }),
            "{target}: {error}"
        );
    }
    let mut files = Files::default();
    files.file("../manifest.json", "[]");
    assert!(matches!(refused(&files.tar()), ImportError::Invalid { .. }));
}

#[test]
fn one_path_has_one_content() {
    let mut twice = docker_archive();
    let same = twice.contents()["manifest.json"].clone();
    twice.file("manifest.json", same);
    assert!(Bed::new().load(&twice.tar()).is_ok());
    twice.file("./manifest.json", "[]");
    assert!(matches!(refused(&twice.tar()), ImportError::Duplicate { .. }));
}

#[test]
fn large_documents_are_refused() {
    let limits = Limits { document: 100, ..Limits::default() };
    let options = LoadOptions { limits, ..LoadOptions::default() };
    let error = Bed::new().load_with(&layout().tar(), &options).unwrap_err();
    assert!(matches!(error, ImportError::DocumentTooLarge { limit: 100, .. }), "{error}");
}

#[test]
fn layers_that_unpack_to_too_much_are_refused() {
    let tar = layer("zeros", &"0".repeat(1 << 20));
    for compress in [gzip, zstd] {
        let mut files = Files::default();
        let image = add_image(&mut files, "amd64", std::slice::from_ref(&tar), compress);
        add_index(&mut files, &[image]);
        let limits = Limits { layer: 1 << 20, ..Limits::default() };
        let options = LoadOptions { limits, ..LoadOptions::default() };
        let error = Bed::new().load_with(&files.tar(), &options).unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("1048576 bytes that are allowed"), "{error}: {source}");
    }
}

#[test]
fn indexes_end_somewhere() {
    let mut files = Files::default();
    let mut descriptor = add_image(&mut files, "amd64", &layers(), plain);
    for _ in 0..10 {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor]});
        descriptor = files.blob(INDEX, index.to_string().as_bytes());
    }
    add_index(&mut files, &[descriptor]);
    assert!(matches!(refused(&files.tar()), ImportError::Invalid { .. }));
}

#[test]
fn indexes_that_name_one_another_often_are_read_once() {
    for (inner, outer, is_refused) in [(100, 1, false), (1, 5000, true)] {
        let mut files = Files::default();
        let mut descriptor = add_image(&mut files, "amd64", &layers(), plain);
        for _ in 0..3 {
            let manifests = vec![&descriptor; inner];
            let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
            descriptor = files.blob(INDEX, index.to_string().as_bytes());
        }
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": vec![&descriptor; outer]});
        let descriptor = files.blob(INDEX, index.to_string().as_bytes());
        add_index(&mut files, &[descriptor]);
        let options =
            LoadOptions { platform: Some("linux/amd64".parse().unwrap()), ..LoadOptions::default() };
        let start = std::time::Instant::now();
        match Bed::new().load_with(&files.tar(), &options) {
            Err(error) => assert!(is_refused && error.to_string().contains("more than 4096"), "{error}"),
            Ok(loaded) => assert!(!is_refused && loaded.len() == 1),
        }
        // A million manifests took half a minute.
        assert!(start.elapsed() < std::time::Duration::from_secs(10));
    }
}

#[test]
fn what_is_no_image_is_told_with_what_to_do() {
    let tar = |path: &str| {
        let mut files = Files::default();
        files.file(path, "");
        files.tar()
    };
    for (archive, expected) in [
        (b"FROM scratch\n".to_vec(), "no tar archive"),
        (Vec::new(), "empty"),
        (tar("etc/passwd"), "FROM scratch and ADD"),
        (tar("Dockerfile"), "neither a manifest.json nor an index.json"),
        (tar("repositories"), "Docker before 1.10"),
        (docker_archive().without("manifest.json").tar(), "neither a manifest.json nor an index.json"),
    ] {
        let error = refused(&archive);
        assert!(matches!(error, ImportError::NotAnImage { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
    let folder = tempfile::tempdir().unwrap();
    let error = load_layout(&Bed::new().store, folder.path(), &LoadOptions::default()).unwrap_err();
    assert!(error.to_string().contains("no OCI layout"), "{error}");
}

#[test]
fn a_name_comes_only_with_a_sound_image() {
    let mut files = layout();
    let broken = with(
        &add_image(&mut files, "amd64", &layers()[..1], plain),
        &json!({"size": 1, "annotations": {"io.containerd.image.name": "broken:1"}}),
    );
    let index: Value = serde_json::from_slice(&files.contents()["index.json"]).unwrap();
    let sound = index["manifests"][0].clone();
    let mut files = files.without("index.json").without("oci-layout");
    add_index(&mut files, &[sound, broken]);
    let bed = Bed::new();
    assert!(bed.load(&files.tar()).is_err());
    assert!(bed.store.find("app:1").unwrap().is_none());
}
