//! The rules.

/// A rule that a Dockerfile should follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Rule {
    StageNameCasing,
    FromAsCasing,
    NoEmptyContinuation,
    ConsistentInstructionCasing,
    DuplicateStageName,
    ReservedStageName,
    JSONArgsRecommended,
    MaintainerDeprecated,
    UndefinedArgInFrom,
    WorkdirRelativePath,
    UndefinedVar,
    MultipleInstructionsDisallowed,
    LegacyKeyValueFormat,
    InvalidBaseImagePlatform,
    RedundantTargetPlatform,
    SecretsUsedInArgOrEnv,
    InvalidDefaultArgInFrom,
    FromPlatformFlagConstDisallowed,
    CopyIgnoredFile,
    InvalidDefinitionDescription,
    ExposeProtoCasing,
    ExposeInvalidFormat,
}

impl Rule {
    /// All rules.
    pub const ALL: [Self; 22] = [
        Self::StageNameCasing,
        Self::FromAsCasing,
        Self::NoEmptyContinuation,
        Self::ConsistentInstructionCasing,
        Self::DuplicateStageName,
        Self::ReservedStageName,
        Self::JSONArgsRecommended,
        Self::MaintainerDeprecated,
        Self::UndefinedArgInFrom,
        Self::WorkdirRelativePath,
        Self::UndefinedVar,
        Self::MultipleInstructionsDisallowed,
        Self::LegacyKeyValueFormat,
        Self::InvalidBaseImagePlatform,
        Self::RedundantTargetPlatform,
        Self::SecretsUsedInArgOrEnv,
        Self::InvalidDefaultArgInFrom,
        Self::FromPlatformFlagConstDisallowed,
        Self::CopyIgnoredFile,
        Self::InvalidDefinitionDescription,
        Self::ExposeProtoCasing,
        Self::ExposeInvalidFormat,
    ];

    /// The rule's name, as `# check=skip=` takes it.
    pub fn name(self) -> &'static str {
        self.facts().0
    }

    /// Where the rule is described. BuildKit gives no address for `InvalidBaseImagePlatform`.
    pub fn url(self) -> Option<&'static str> {
        Some(self.facts().1).filter(|url| !url.is_empty())
    }

    /// What the rule asks for, as BuildKit says it.
    pub fn description(self) -> &'static str {
        self.facts().2
    }

    /// Whether the rule counts only when it is asked for by `# check=experimental=`.
    pub fn is_experimental(self) -> bool {
        self == Self::InvalidDefinitionDescription
    }

    /// Name, address, description.
    #[rustfmt::skip]
    fn facts(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::StageNameCasing => (
                "StageNameCasing",
                "https://docs.docker.com/go/dockerfile/rule/stage-name-casing/",
                "Stage names should be lowercase",
            ),
            Self::FromAsCasing => (
                "FromAsCasing",
                "https://docs.docker.com/go/dockerfile/rule/from-as-casing/",
                "The 'as' keyword should match the case of the 'from' keyword",
            ),
            Self::NoEmptyContinuation => (
                "NoEmptyContinuation",
                "https://docs.docker.com/go/dockerfile/rule/no-empty-continuation/",
                "Empty continuation lines will become errors in a future release",
            ),
            Self::ConsistentInstructionCasing => (
                "ConsistentInstructionCasing",
                "https://docs.docker.com/go/dockerfile/rule/consistent-instruction-casing/",
                "All commands within the Dockerfile should use the same casing (either upper or lower)",
            ),
            Self::DuplicateStageName => (
                "DuplicateStageName",
                "https://docs.docker.com/go/dockerfile/rule/duplicate-stage-name/",
                "Stage names should be unique",
            ),
            Self::ReservedStageName => (
                "ReservedStageName",
                "https://docs.docker.com/go/dockerfile/rule/reserved-stage-name/",
                "Reserved words should not be used as stage names",
            ),
            Self::JSONArgsRecommended => (
                "JSONArgsRecommended",
                "https://docs.docker.com/go/dockerfile/rule/json-args-recommended/",
                "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals",
            ),
            Self::MaintainerDeprecated => (
                "MaintainerDeprecated",
                "https://docs.docker.com/go/dockerfile/rule/maintainer-deprecated/",
                "The MAINTAINER instruction is deprecated, use a label instead to define an image author",
            ),
            Self::UndefinedArgInFrom => (
                "UndefinedArgInFrom",
                "https://docs.docker.com/go/dockerfile/rule/undefined-arg-in-from/",
                "FROM command must use declared ARGs",
            ),
            Self::WorkdirRelativePath => (
                "WorkdirRelativePath",
                "https://docs.docker.com/go/dockerfile/rule/workdir-relative-path/",
                "Relative workdir without an absolute workdir declared within the build can have unexpected results if the base image changes",
            ),
            Self::UndefinedVar => (
                "UndefinedVar",
                "https://docs.docker.com/go/dockerfile/rule/undefined-var/",
                "Variables should be defined before their use",
            ),
            Self::MultipleInstructionsDisallowed => (
                "MultipleInstructionsDisallowed",
                "https://docs.docker.com/go/dockerfile/rule/multiple-instructions-disallowed/",
                "Multiple instructions of the same type should not be used in the same stage",
            ),
            Self::LegacyKeyValueFormat => (
                "LegacyKeyValueFormat",
                "https://docs.docker.com/go/dockerfile/rule/legacy-key-value-format/",
                "Legacy key/value format with whitespace separator should not be used",
            ),
            Self::InvalidBaseImagePlatform => (
                "InvalidBaseImagePlatform",
                "",
                "Base image platform does not match expected target platform",
            ),
            Self::RedundantTargetPlatform => (
                "RedundantTargetPlatform",
                "https://docs.docker.com/go/dockerfile/rule/redundant-target-platform/",
                "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
            ),
            Self::SecretsUsedInArgOrEnv => (
                "SecretsUsedInArgOrEnv",
                "https://docs.docker.com/go/dockerfile/rule/secrets-used-in-arg-or-env/",
                "Sensitive data should not be used in the ARG or ENV commands",
            ),
            Self::InvalidDefaultArgInFrom => (
                "InvalidDefaultArgInFrom",
                "https://docs.docker.com/go/dockerfile/rule/invalid-default-arg-in-from/",
                "Default value for global ARG results in an empty or invalid base image name",
            ),
            Self::FromPlatformFlagConstDisallowed => (
                "FromPlatformFlagConstDisallowed",
                "https://docs.docker.com/go/dockerfile/rule/from-platform-flag-const-disallowed/",
                "FROM --platform flag should not use a constant value",
            ),
            Self::CopyIgnoredFile => (
                "CopyIgnoredFile",
                "https://docs.docker.com/go/dockerfile/rule/copy-ignored-file/",
                "Attempting to Copy file that is excluded by .dockerignore",
            ),
            Self::InvalidDefinitionDescription => (
                "InvalidDefinitionDescription",
                "https://docs.docker.com/go/dockerfile/rule/invalid-definition-description/",
                "Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. If this is not intended to be a description comment, add an empty line or comment between the instruction and the comment.",
            ),
            Self::ExposeProtoCasing => (
                "ExposeProtoCasing",
                "https://docs.docker.com/go/dockerfile/rule/expose-proto-casing/",
                "Protocol in EXPOSE instruction should be lowercase",
            ),
            Self::ExposeInvalidFormat => (
                "ExposeInvalidFormat",
                "https://docs.docker.com/go/dockerfile/rule/expose-invalid-format/",
                "IP address and host-port mapping should not be used in EXPOSE instruction. This will become an error in a future release",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_follow_from_names() {
        for rule in Rule::ALL {
            let Some(url) = rule.url() else {
                assert_eq!(rule, Rule::InvalidBaseImagePlatform);
                continue;
            };
            let name = url.strip_prefix("https://docs.docker.com/go/dockerfile/rule/").unwrap();
            assert_eq!(name.replace(['-', '/'], ""), rule.name().to_lowercase());
        }
    }
}
