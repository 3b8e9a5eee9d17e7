//! What `lbuild check` knows of a build that it does not do.

use lbuild_oci::{Platform, Reference};
use lbuild_parser::lint::{self, Facts};

/// A build for this machine, whose base images are not looked at.
pub struct LocalFacts;

impl Facts for LocalFacts {
    fn platform_args(&self) -> Vec<(String, String)> {
        let host = Platform::host();
        ["BUILD", "TARGET"]
            .into_iter()
            .flat_map(|prefix| {
                [
                    ("PLATFORM", host.to_string()),
                    ("OS", host.os.clone()),
                    ("OSVERSION", String::new()),
                    ("ARCH", host.architecture.clone()),
                    ("VARIANT", host.variant().to_owned()),
                ]
                .map(|(name, value)| (format!("{prefix}{name}"), value))
            })
            .chain([("TARGETSTAGE".to_owned(), "default".to_owned())])
            .collect()
    }

    fn platform(&self, text: Option<&str>) -> Option<lint::Platform> {
        let platform = match text {
            Some(text) => text.parse().ok()?,
            None => Platform::host(),
        };
        let text = platform.to_string();
        Some(lint::Platform { os: platform.os, architecture: platform.architecture, text })
    }

    fn is_image_name(&self, name: &str) -> bool {
        name.parse::<Reference>().is_ok()
    }
}
