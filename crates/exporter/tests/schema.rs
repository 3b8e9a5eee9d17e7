//! Documents against the image-spec's own JSON schemas.
//!
//! The schemas are not part of this repository. They are looked for in the folder that
//! `LBUILD_CONFORMANCE` names, else in `shared/conformance` beside the repository; without them this
//! test says that it did not run.

#![allow(clippy::unwrap_used)]

mod support;

use std::path::{Path, PathBuf};
use std::{env, fs};

use lbuild_exporter::{Compression, ExportOptions};
use serde_json::Value;

use support::{Bed, files};

#[allow(clippy::print_stdout)] // A test that does not run must say so.
fn schemas() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance");
    let path = env::var_os("LBUILD_CONFORMANCE").map_or_else(beside, PathBuf::from).join("unit/oci-schema");
    if path.exists() {
        return Some(path);
    }
    println!("NOT RUN: {} is not there", path.display());
    None
}

/// Finds the schemas that a schema refers to in their folder.
struct Folder(PathBuf);

impl jsonschema::Retrieve for Folder {
    fn retrieve(
        &self,
        uri: &jsonschema::Uri<String>,
    ) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        let name = uri.path().as_str().rsplit('/').next().unwrap_or_default().to_owned();
        Ok(serde_json::from_slice(&fs::read(self.0.join(name))?)?)
    }
}

#[test]
fn documents_fit_the_schemas() {
    let Some(folder) = schemas() else { return };
    let check = |schema: &str, document: &[u8]| {
        let schema: Value = serde_json::from_slice(&fs::read(folder.join(schema)).unwrap()).unwrap();
        let validator = jsonschema::options().with_retriever(Folder(folder.clone())).build(&schema).unwrap();
        let document = serde_json::from_slice(document).unwrap();
        let errors: Vec<_> = validator.iter_errors(&document).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{document}: {errors:?}");
    };
    let bed = Bed::new();
    for names in [vec![], vec!["app:1".parse().unwrap(), "b.c/app:2".parse().unwrap()]] {
        let options = ExportOptions { names, compression: Compression::GZIP, ..ExportOptions::default() };
        let (archive, written) = bed.archive(&options);
        let files = files(&archive);
        let blob = |digest: lbuild_oci::Digest| &files[&format!("blobs/sha256/{}", digest.hex())];
        check("image-index-schema.json", &files["index.json"]);
        check("image-layout-schema.json", &files["oci-layout"]);
        check("image-manifest-schema.json", blob(written.manifest));
        check("config-schema.json", blob(written.image));
        let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
        check("content-descriptor.json", index["manifests"][0].to_string().as_bytes());
    }
}
