//! What lbuild writes is valid by the image-spec's own JSON schemas.

use std::fs;

use boon::{Compiler, SchemaIndex, Schemas};
use lbuild_tests::{Image, TestBed, workspace};
use serde_json::Value;

const ADDRESS: &str = "https://opencontainers.org/schema/image/";

/// Where `content-descriptor.json`, by its own id, looks for the schemas that it refers to.
const DESCRIPTOR_ADDRESS: &str = "https://opencontainers.org/schema/";

/// The schemas of `testdata/oci-schema`.
struct Validator {
    schemas: Schemas,
    compiler: Compiler,
}

impl Validator {
    fn new() -> Self {
        let mut compiler = Compiler::new();
        compiler.enable_format_assertions();
        for entry in fs::read_dir(workspace().join("testdata/oci-schema")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "json") {
                let schema: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
                let name = path.file_name().unwrap().to_str().unwrap();
                for address in [ADDRESS, DESCRIPTOR_ADDRESS] {
                    compiler.add_resource(&format!("{address}{name}"), schema.clone()).unwrap();
                }
            }
        }
        Self { schemas: Schemas::new(), compiler }
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

#[test]
fn the_schemas_refuse_wrong_documents() {
    let mut validator = Validator::new();
    for (document, schema) in [
        (serde_json::json!({"architecture": "amd64"}), "config-schema.json"),
        (serde_json::json!({"schemaVersion": 2, "layers": "none"}), "image-manifest-schema.json"),
        (serde_json::json!({"schemaVersion": 1, "manifests": []}), "image-index-schema.json"),
    ] {
        assert!(validator.find_problem(&document, schema).is_some(), "{schema}");
    }
}
