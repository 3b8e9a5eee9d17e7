//! What lbuild writes is valid by the image-spec's own JSON schemas.
//!
//! The schemas are not part of this repository. They are looked for in the folder that
//! `LBUILD_CONFORMANCE` names, else in `shared/conformance` beside the repository. Without them, the
//! documents are only held to what is written here, and the tests say so.

use std::path::PathBuf;
use std::{env, fs};

use boon::{Compiler, SchemaIndex, Schemas};
use lbuild_tests::{Image, TestBed, workspace};
use serde_json::{Value, json};

const ADDRESS: &str = "https://opencontainers.org/schema/image/";

/// Where `content-descriptor.json`, by its own id, looks for the schemas that it refers to.
const DESCRIPTOR_ADDRESS: &str = "https://opencontainers.org/schema/";

/// The image-spec's schemas.
struct Validator {
    schemas: Schemas,
    compiler: Compiler,
}

impl Validator {
    /// `None` if the schemas are not on this machine.
    #[expect(clippy::print_stdout, reason = "a check that does not run must say so")]
    fn new() -> Option<Self> {
        let beside = || workspace().join("../shared/conformance");
        let folder = env::var_os("LBUILD_CONFORMANCE").map_or_else(beside, PathBuf::from);
        let folder = folder.join("unit/oci-schema");
        if !folder.exists() {
            println!("NOT RUN: validation by the OCI schemas; {} is not there", folder.display());
            return None;
        }
        let mut compiler = Compiler::new();
        compiler.enable_format_assertions();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "json") {
                let schema: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
                let name = path.file_name().unwrap().to_str().unwrap();
                for address in [ADDRESS, DESCRIPTOR_ADDRESS] {
                    compiler.add_resource(&format!("{address}{name}"), schema.clone()).unwrap();
                }
            }
        }
        Some(Self { schemas: Schemas::new(), compiler })
    }

    fn find_problem(&mut self, document: &Value, schema: &str) -> Option<String> {
        let address = format!("{ADDRESS}{schema}");
        let index: SchemaIndex = self.compiler.compile(&address, &mut self.schemas).unwrap();
        self.schemas.validate(document, index).err().map(|error| format!("{error:#}"))
    }
}

#[test]
fn every_document_of_an_archive_is_valid() {
    let bed = TestBed::with_base(
        "FROM base
         LABEL a=b
         ENV A=b
         EXPOSE 80
         VOLUME /v
         WORKDIR /w
         USER user
         STOPSIGNAL SIGTERM
         HEALTHCHECK --interval=5s CMD true
         ENTRYPOINT [\"sh\"]
         CMD [\"-c\", \"true\"]
         RUN echo > /tmp/f",
    );
    let mut validator = Validator::new();
    for (output, further_name) in [
        ("type=docker", None),
        ("type=oci", Some("registry.test/further:2")),
        ("type=oci,compression=gzip", None),
        ("type=oci,compression=zstd", None),
    ] {
        let archive = bed.folder().join("image.tar");
        let output = format!("{output},dest={}", archive.display());
        bed.build(["-o", &output].into_iter().chain(further_name.into_iter().flat_map(|name| ["-t", name])))
            .success();
        let image = Image::read(&archive);
        assert_structure(&image);
        let Some(validator) = &mut validator else { continue };
        for (document, schema) in [
            (&image.config, "config-schema.json"),
            (&image.manifest, "image-manifest-schema.json"),
            (&image.index, "image-index-schema.json"),
            (&image.layout, "image-layout-schema.json"),
            (&image.index["manifests"][0], "content-descriptor.json"),
        ] {
            let problem = validator.find_problem(document, schema);
            assert_eq!(problem, None, "{output}: {schema}: {document}");
        }
    }
}

/// What each document must say, and of which other one.
fn assert_structure(image: &Image) {
    assert_eq!(image.layout, json!({"imageLayoutVersion": "1.0.0"}));
    assert_eq!(image.index["schemaVersion"], 2);
    for entry in image.index["manifests"].as_array().unwrap() {
        assert_eq!(entry["mediaType"], "application/vnd.oci.image.manifest.v1+json");
        assert_eq!(entry["digest"], image.manifest_digest);
        assert!(entry["size"].is_u64(), "{entry}");
    }
    assert_eq!(image.manifest["schemaVersion"], 2);
    assert_eq!(image.manifest["config"]["mediaType"], "application/vnd.oci.image.config.v1+json");
    assert_eq!(image.manifest["config"]["digest"], image.id);
    let layers = image.manifest["layers"].as_array().unwrap();
    for layer in layers {
        let media_type = layer["mediaType"].as_str().unwrap();
        assert!(media_type.starts_with("application/vnd.oci.image.layer.v1.tar"), "{media_type}");
    }
    let diff_ids: Vec<&str> = image.layers.iter().map(|layer| layer.diff_id.as_str()).collect();
    assert_eq!(layers.len(), diff_ids.len());
    assert_eq!(image.config["rootfs"], json!({"type": "layers", "diff_ids": diff_ids}));
    for text in ["architecture", "os", "created"] {
        assert!(image.config[text].is_string(), "{text}: {}", image.config);
    }
}

#[test]
fn the_schemas_refuse_wrong_documents() {
    let Some(mut validator) = Validator::new() else {
        panic!(
            "this test needs the OCI schemas; `cargo xtask test` does without it where they are not there"
        );
    };
    for (document, schema) in [
        (json!({"architecture": "amd64"}), "config-schema.json"),
        (json!({"schemaVersion": 2, "layers": "none"}), "image-manifest-schema.json"),
        (json!({"schemaVersion": 1, "manifests": []}), "image-index-schema.json"),
    ] {
        assert!(validator.find_problem(&document, schema).is_some(), "{schema}");
    }
}
