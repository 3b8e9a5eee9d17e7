//! Archives and layouts hold the image, in a form that every reader takes.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::slice;

use lbuild_exporter::{
    Compression, ExportError, ExportOptions, manifest, write_archive, write_oci_archive, write_oci_layout,
};
use lbuild_importer::{LoadOptions, load, load_layout};
use lbuild_layer_store::{Store, StoreError, StoreOptions};
use lbuild_oci::{DiffId, Digest, Reference, spec};
use serde_json::{Value, json};

use support::{Bed, base_layer, entries, files, put_image};

fn named(names: &[&str]) -> ExportOptions {
    let names = names.iter().map(|name| name.parse().unwrap()).collect();
    ExportOptions { names, ..ExportOptions::default() }
}

fn document(files: &BTreeMap<String, Vec<u8>>, path: &str) -> Value {
    serde_json::from_slice(&files[path]).unwrap()
}

/// The manifest of an archive, as its index names it.
fn manifest_of(files: &BTreeMap<String, Vec<u8>>) -> Value {
    let index = document(files, "index.json");
    let digest: Digest = index["manifests"][0]["digest"].as_str().unwrap().parse().unwrap();
    document(files, &format!("blobs/sha256/{}", digest.hex()))
}

const ALL: [Compression; 3] = [Compression::None, Compression::GZIP, Compression::ZSTD];

#[test]
fn what_is_written_can_be_loaded_and_is_the_same_image() {
    let bed = Bed::new();
    for compression in ALL {
        for force_compression in [false, true] {
            let options = ExportOptions { compression, force_compression, ..named(&["app:1", "b.c/app:2"]) };
            let (archive, written) = bed.archive(&options);
            let folder = tempfile::tempdir().unwrap();
            let other = Store::open(folder.path(), StoreOptions::default()).unwrap();
            let loaded = load(&other, &archive[..], &LoadOptions::default()).unwrap();
            assert_eq!(loaded.len(), 1);
            assert_eq!((loaded[0].id, written.image), (bed.image.id, bed.image.id));
            assert_eq!(loaded[0].layers, bed.image.layers);
            let names: Vec<_> = loaded[0].names.iter().map(Reference::familiar).collect();
            assert_eq!(names, ["app:1", "b.c/app:2"]);
            let image = other.image(&bed.image.id).unwrap().unwrap();
            assert_eq!(image.manifest, Some(written.manifest));
            let view = other.view(&image.layers).unwrap();
            assert_eq!(view.root().read("etc/motd", 10).unwrap(), b"hello");
            assert!(view.root().lstat("etc/gone").is_err());
        }
    }
}

#[test]
fn every_file_of_an_archive_is_referred_to_and_true() {
    let (archive, written) = Bed::new().archive(&named(&["app:1"]));
    let files = files(&archive);
    let manifest = manifest_of(&files);
    let docker = document(&files, "manifest.json");
    let path = |descriptor: &Value| {
        let digest: Digest = descriptor["digest"].as_str().unwrap().parse().unwrap();
        let path = format!("blobs/sha256/{}", digest.hex());
        assert_eq!(Digest::of(&files[&path]), digest);
        assert_eq!(json!(files[&path].len()), descriptor["size"]);
        path
    };
    let layers: Vec<_> = manifest["layers"].as_array().unwrap().iter().map(path).collect();
    let config = path(&manifest["config"]);
    assert_eq!(docker, json!([{"Config": config, "Layers": layers, "RepoTags": ["app:1"]}]));
    let mut expected = layers;
    expected.extend([config, path(&document(&files, "index.json")["manifests"][0])]);
    expected.extend(["index.json", "manifest.json", "oci-layout"].map(str::to_owned));
    expected.sort();
    assert_eq!(files.keys().cloned().collect::<Vec<_>>(), expected);
    let blobs: usize =
        files.iter().filter(|(path, _)| path.starts_with("blobs")).map(|(_, blob)| blob.len()).sum();
    assert_eq!(written.size, blobs as u64);
}

#[test]
fn the_same_image_and_options_give_the_same_bytes() {
    for compression in ALL {
        let options = ExportOptions { compression, ..named(&["app:1"]) };
        // Two stores, so that nothing is left over from the first time.
        assert!(Bed::new().archive(&options) == Bed::new().archive(&options), "{compression:?}");
    }
}

#[test]
fn entries_tell_nothing_of_the_host() {
    let bed = Bed::new();
    for (timestamp, expected) in [(None, 0), (Some(1234), 1234)] {
        let (archive, _) = bed.archive(&ExportOptions { timestamp, ..ExportOptions::default() });
        for (header, _) in entries(&archive) {
            assert_eq!((header.uid, header.gid, header.mtime, header.mtime_nanos), (0, 0, expected, 0));
            assert!(matches!(header.mode, 0o644 | 0o755), "{header:?}");
        }
    }
}

#[test]
fn imported_layers_stay_as_they_came_unless_it_is_forced() {
    let bed = Bed::new();
    let (tar, gzip) = base_layer();
    let own = *bed.image.layers[1].digest();
    let media_type = |suffix: &str| format!("application/vnd.oci.image.layer.v1.tar{suffix}");
    for (compression, force_compression, base, base_type, own_type) in [
        (Compression::None, false, Some(gzip), "+gzip", ""),
        (Compression::None, true, Some(tar), "", ""),
        (Compression::GZIP, false, Some(gzip), "+gzip", "+gzip"),
        (Compression::ZSTD, false, Some(gzip), "+gzip", "+zstd"),
        (Compression::ZSTD, true, None, "+zstd", "+zstd"),
    ] {
        let options = ExportOptions { compression, force_compression, ..ExportOptions::default() };
        let (archive, _) = bed.archive(&options);
        let manifest = manifest_of(&files(&archive));
        let layers = manifest["layers"].as_array().unwrap();
        assert_eq!(layers[0]["mediaType"], media_type(base_type), "{options:?}");
        assert_eq!(layers[1]["mediaType"], media_type(own_type), "{options:?}");
        if let Some(base) = base {
            assert_eq!(layers[0]["digest"], json!(base), "{options:?}");
        }
        assert_eq!(layers[1]["digest"] == json!(own), own_type.is_empty(), "{options:?}");
    }
}

#[test]
fn a_zstd_layer_is_unpacked_for_docker_only() {
    let bed = Bed::new();
    let zstd = ExportOptions { compression: Compression::ZSTD, force_compression: true, ..named(&["z"]) };
    let folder = tempfile::tempdir().unwrap();
    let other = Store::open(folder.path(), StoreOptions::default()).unwrap();
    load(&other, &bed.archive(&zstd).0[..], &LoadOptions::default()).unwrap();
    let image = other.find("z").unwrap().unwrap();
    let options = ExportOptions::default();
    let layer_type = |archive: &[u8]| manifest_of(&files(archive))["layers"][0]["mediaType"].clone();
    let mut both = Vec::new();
    write_archive(&other, &image, &mut both, &options).unwrap();
    assert_eq!(layer_type(&both), "application/vnd.oci.image.layer.v1.tar");
    let mut oci = Vec::new();
    write_oci_archive(&other, slice::from_ref(&image), &mut oci, &options).unwrap();
    assert_eq!(layer_type(&oci), "application/vnd.oci.image.layer.v1.tar+zstd");
}

#[test]
fn an_oci_archive_has_no_docker_part() {
    let bed = Bed::new();
    let mut archive = Vec::new();
    let written =
        write_oci_archive(&bed.store, slice::from_ref(&bed.image), &mut archive, &named(&["app:1"])).unwrap();
    assert_eq!(written, bed.archive(&named(&["app:1"])).1);
    assert!(!files(&archive).contains_key("manifest.json"));
}

#[test]
fn names_and_annotations_stand_where_readers_look() {
    let bed = Bed::new();
    let digest = Digest::of("x");
    let mut options = named(&["app:1", "b.c/app:2", &format!("pinned@{digest}")]);
    options.annotations.insert("from".to_owned(), "options".to_owned());
    let files = files(&bed.archive(&options).0);
    let annotations: Vec<_> = document(&files, "index.json")["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|descriptor| descriptor["annotations"].clone())
        .collect();
    let (full, tag) = ("io.containerd.image.name", "org.opencontainers.image.ref.name");
    assert_eq!(
        annotations,
        [
            json!({full: "docker.io/library/app:1", tag: "1"}),
            json!({full: "b.c/app:2", tag: "2"}),
            json!({full: format!("docker.io/library/pinned@{digest}")}),
        ]
    );
    assert_eq!(document(&files, "manifest.json")[0]["RepoTags"], json!(["app:1", "b.c/app:2"]));
    assert_eq!(manifest_of(&files)["annotations"], json!({"from": "options"}));
}

#[test]
fn an_image_without_layers_or_names_is_written() {
    let bed = Bed::new();
    let platform = "linux/arm/v6".parse().unwrap();
    let config = lbuild_oci::json::canonical(&lbuild_oci::ImageConfig::scratch(&platform));
    let image = lbuild_layer_store::ImageRecord {
        id: Digest::of(&config),
        layers: Vec::new(),
        platform,
        annotations: BTreeMap::new(),
        ..bed.image.clone()
    };
    bed.store.put_image(&image, &config).unwrap();
    let mut archive = Vec::new();
    write_archive(&bed.store, &image, &mut archive, &ExportOptions::default()).unwrap();
    let files = files(&archive);
    assert_eq!(document(&files, "manifest.json")[0]["RepoTags"], Value::Null);
    let platform = &document(&files, "index.json")["manifests"][0]["platform"];
    assert_eq!(*platform, json!({"os": "linux", "architecture": "arm", "variant": "v6"}));
    let loaded = load(&bed.store, &archive[..], &LoadOptions::default()).unwrap();
    assert_eq!(loaded[0].id, image.id);
}

#[test]
fn a_layer_that_is_in_an_image_twice_is_written_once() {
    let bed = Bed::new();
    let mut config = bed.store.image_config(&bed.image.id).unwrap().0;
    config.rootfs.diff_ids.push(bed.image.layers[1]);
    let config = lbuild_oci::json::canonical(&config);
    let mut image = bed.image.clone();
    (image.id, image.layers) = (Digest::of(&config), vec![image.layers[0], image.layers[1], image.layers[1]]);
    bed.store.put_image(&image, &config).unwrap();
    for compression in ALL {
        let mut archive = Vec::new();
        let options = ExportOptions { compression, ..ExportOptions::default() };
        write_archive(&bed.store, &image, &mut archive, &options).unwrap();
        let layers = manifest_of(&files(&archive))["layers"].as_array().unwrap().clone();
        assert_eq!((layers.len(), &layers[1]), (3, &layers[2]));
        let paths: Vec<_> = entries(&archive).into_iter().map(|(header, _)| header.path).collect();
        let unique: std::collections::BTreeSet<_> = paths.iter().collect();
        assert_eq!(paths.len(), unique.len());
    }
}

#[test]
fn the_manifest_is_known_before_anything_is_written() {
    let bed = Bed::new();
    for compression in ALL {
        let options = ExportOptions { compression, ..named(&["app:1"]) };
        let (bytes, digest) = manifest(&bed.store, slice::from_ref(&bed.image), &options).unwrap();
        let (archive, written) = bed.archive(&options);
        assert_eq!(digest, written.manifest);
        assert_eq!(written.manifest_size, bytes.len() as u64);
        assert_eq!(files(&archive)[&format!("blobs/sha256/{}", digest.hex())], bytes);
    }
}

#[test]
fn documents_are_what_the_image_spec_says() {
    let files = files(&Bed::new().archive(&named(&["app:1"])).0);
    serde_json::from_slice::<spec::ImageIndex>(&files["index.json"]).unwrap();
    serde_json::from_slice::<spec::OciLayout>(&files["oci-layout"]).unwrap();
    let manifest: spec::ImageManifest = serde_json::from_value(manifest_of(&files)).unwrap();
    let config = format!("blobs/sha256/{}", manifest.config().digest().digest());
    serde_json::from_slice::<spec::ImageConfiguration>(&files[&config]).unwrap();
}

#[test]
fn a_failing_output_is_an_error() {
    let bed = Bed::new();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let error = write_archive(&bed.store, &bed.image, &mut &full, &named(&["app:1"])).unwrap_err();
    let source = std::error::Error::source(&error).unwrap();
    assert!(matches!(error, ExportError::Output(_)), "{error}");
    assert!(source.to_string().contains("No space left"), "{source}");
}

#[test]
fn a_damaged_layer_is_told_from_a_failing_output() {
    for grown in [b"".as_slice(), &[7; 100_000]] {
        let bed = Bed::new();
        let export =
            || write_archive(&bed.store, &bed.image, &mut std::io::sink(), &ExportOptions::default());
        let (packed, imported) = (bed.image.layers[1], bed.image.layers[0]);
        let blob = bed.store.layer(&imported).unwrap().unwrap().blob.unwrap().digest;
        let path = bed.store.root().join("blobs/sha256").join(blob.hex());
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, [&whole[..whole.len() - 1], b"x", grown].concat()).unwrap();
        assert!(matches!(export(), Err(ExportError::DamagedBlob { .. })), "{:?}", export());
        std::fs::write(&path, whole).unwrap();

        let directory = bed.store.layer_directories(&[imported, packed]).unwrap().pop().unwrap();
        std::fs::write(directory.join("added"), grown).unwrap();
        let error = export().unwrap_err();
        assert!(
            matches!(&error, ExportError::Store { source: StoreError::DigestMismatch { .. }, .. }),
            "{error:?}"
        );
        assert!(matches!(export(), Err(ExportError::MissingLayer { layer, .. }) if layer == packed));
    }
}

#[test]
fn a_missing_layer_is_an_error() {
    let bed = Bed::new();
    let mut image = bed.image.clone();
    image.layers.push(DiffId(Digest::of("missing")));
    let mut out = Vec::new();
    let error = write_archive(&bed.store, &image, &mut out, &ExportOptions::default()).unwrap_err();
    assert!(matches!(error, ExportError::MissingLayer { .. }), "{error}");
    assert!(out.is_empty());
}

#[test]
fn a_layout_folder_collects_images() {
    let bed = Bed::new();
    let folder = bed.path("layout");
    let write = |options: &ExportOptions| {
        write_oci_layout(&bed.store, slice::from_ref(&bed.image), &folder, options).unwrap();
        let index: Value =
            serde_json::from_slice(&std::fs::read(folder.join("index.json")).unwrap()).unwrap();
        index["manifests"].as_array().unwrap().len()
    };
    assert_eq!(write(&named(&["a:1"])), 1);
    assert_eq!(write(&named(&["a:1"])), 1);
    assert_eq!(write(&named(&["a:2"])), 2);
    assert_eq!(write(&ExportOptions { compression: Compression::GZIP, ..named(&["a:1"]) }), 2);
    assert_eq!(write(&named(&[])), 3);
    let loaded = load_layout(&bed.store, &folder, &LoadOptions::default()).unwrap();
    assert_eq!(loaded.len(), 1, "all are the same image");
    assert_eq!(loaded[0].id, bed.image.id);
    let partial = std::fs::read_dir(folder.join("blobs/sha256")).unwrap();
    assert!(partial.into_iter().all(|entry| entry.unwrap().path().extension().is_none()));
}

#[test]
fn images_for_several_platforms_are_one_index() {
    let bed = Bed::new();
    let arm = put_image(&bed.store, bed.image.layers.clone(), "linux/arm64");
    let images = [bed.image.clone(), arm];
    let note = BTreeMap::from([("of".to_owned(), "all".to_owned())]);
    let options = ExportOptions { index_annotations: note, ..named(&["app:1"]) };
    let mut archive = Vec::new();
    let written = write_oci_archive(&bed.store, &images, &mut archive, &options).unwrap();
    assert_eq!(manifest(&bed.store, &images, &options).unwrap().1, written.manifest);
    let files = files(&archive);
    let top = &document(&files, "index.json")["manifests"];
    assert_eq!(top.as_array().unwrap().len(), 1);
    assert_eq!(top[0]["mediaType"], "application/vnd.oci.image.index.v1+json");
    assert_eq!(
        (&top[0]["digest"], &top[0]["size"]),
        (&json!(written.manifest), &json!(written.manifest_size))
    );
    let index = manifest_of(&files);
    assert_eq!(index["annotations"], json!({ "of": "all" }));
    let platforms: Vec<_> =
        index["manifests"].as_array().unwrap().iter().map(|one| &one["platform"]["architecture"]).collect();
    assert_eq!(platforms, ["amd64", "arm64"]);
    // Two configurations, two manifests, their index, and the two layers that the images share.
    assert_eq!(files.keys().filter(|path| path.starts_with("blobs/")).count(), 7);

    let folder = bed.path("layout");
    assert_eq!(write_oci_layout(&bed.store, &images, &folder, &options).unwrap(), written);
    for (image, platform) in images.iter().zip(["linux/amd64", "linux/arm64"]) {
        let choice = || LoadOptions { platform: Some(platform.parse().unwrap()), ..LoadOptions::default() };
        for loaded in [
            load(&bed.store, &archive[..], &choice()).unwrap(),
            load_layout(&bed.store, &folder, &choice()).unwrap(),
        ] {
            assert_eq!(loaded.iter().map(|loaded| loaded.id).collect::<Vec<_>>(), [image.id], "{platform}");
        }
    }
}

#[test]
fn nothing_is_no_image() {
    let bed = Bed::new();
    let error = write_oci_archive(&bed.store, &[], &mut Vec::new(), &ExportOptions::default()).unwrap_err();
    assert!(matches!(error, ExportError::NoImage), "{error}");
}

#[test]
fn a_folder_with_other_things_is_left_alone() {
    let bed = Bed::new();
    let folder = bed.path("work");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("precious"), "x").unwrap();
    let error = write_oci_layout(&bed.store, slice::from_ref(&bed.image), &folder, &ExportOptions::default())
        .unwrap_err();
    assert!(matches!(error, ExportError::NotALayout { .. }), "{error}");
    std::fs::write(folder.join("index.json"), "[]").unwrap();
    let error = write_oci_layout(&bed.store, slice::from_ref(&bed.image), &folder, &ExportOptions::default())
        .unwrap_err();
    assert!(matches!(error, ExportError::DamagedLayout { .. }), "{error}");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2);
}
