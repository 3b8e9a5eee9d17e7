//! What the rules ask the build.

use std::collections::BTreeMap;

/// What only the build knows.
///
/// Each method has an answer for a caller that does not know: the rules that need it find nothing
/// then.
pub trait Facts {
    /// Values of `--build-arg`.
    fn build_args(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    /// Arguments that exist without being declared, such as TARGETPLATFORM, with their values.
    fn platform_args(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    /// Whether the target needs the stage of that index; steps of others are not looked at.
    fn is_built(&self, stage: usize) -> bool {
        let _ = stage;
        true
    }

    /// The image that the stage of that index starts from; `name` is what FROM says after
    /// expansion. Not asked for `scratch` and for other stages.
    fn base_image(&self, stage: usize, name: &str) -> Option<BaseImage> {
        let _ = (stage, name);
        None
    }

    /// The platform that `--platform` names; by default that of the build, for `None`.
    fn platform(&self, text: Option<&str>) -> Option<Platform> {
        let _ = text;
        None
    }

    /// Whether `name` can be the name of an image.
    fn is_image_name(&self, name: &str) -> bool {
        let _ = name;
        true
    }

    /// Whether `.dockerignore` excludes a source of COPY or ADD, a cleaned path such as `a/b`.
    ///
    /// As in BuildKit the answer is to be false if the file has any exception (`!`), and for `.`
    /// and `/` unless a pattern is `*`, `**` or `**/*`.
    fn is_ignored(&self, path: &str) -> bool {
        let _ = path;
        false
    }
}

/// Facts that nobody knows: only the Dockerfile is looked at.
impl Facts for () {}

/// An image that FROM names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BaseImage {
    /// Its environment.
    pub env: Vec<(String, String)>,
    /// Whether its configuration has a SHELL.
    pub has_shell: bool,
    /// Its ONBUILD triggers.
    pub onbuild: Vec<String>,
    /// The platform it is for, if it is known.
    pub platform: Option<Platform>,
}

/// An operating system and an architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    /// The operating system, such as `linux`.
    pub os: String,
    /// The architecture, such as `amd64`.
    pub architecture: String,
    /// All of it as it is shown, such as `linux/arm/v7`.
    pub text: String,
}
